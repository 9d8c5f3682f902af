//! `starling-node join` and its like.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use starling_proto::{address::host_port, ids::NodeId};

use super::{
    folder::Folder,
    join::{JoinError, Wish, join, may_join},
    token::{JoinToken, TokenError},
};
use crate::{credentials::TlsSettings, identity::Role, machine, secret};

/// Settings, flags or names are wrong.
const USAGE: u8 = 2;
/// Longest text that is read as a token.
const TOKEN_LEN_MAX: u64 = 4_096;
/// Most aggregators that are tried.
pub(super) const ADDRESSES_MAX: usize = 16;
/// Where aggregators listen by default.
const PORT: u16 = 7400;
/// A flag that is given by this program to itself.
const FROM_INPUT: &str = "-";

/// Becomes a member of a cluster: makes a key, and gets a certificate for it by a join token.
#[derive(Debug, Clone, clap::Args)]
pub struct JoinArgs {
    /// Aggregators that are asked in turn, HOST or HOST:PORT
    #[arg(value_name = "HOST:PORT", required = true, num_args = 1..=ADDRESSES_MAX)]
    aggregators: Vec<String>,
    /// File with the join token in its first line; "-" reads it from standard input. It is emptied when it was used
    #[arg(long, value_name = "FILE", conflicts_with = "token", required_unless_present = "token")]
    token_file: Option<PathBuf>,
    /// The join token itself. Arguments are seen by every user of the host for a moment: prefer --token-file
    #[arg(long, value_name = "TOKEN", env = "STARLING_JOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The name wanted [default: that of the host]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Host name or address by which clients such as grpcurl check this aggregator. May be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// A membership that is there is put aside
    #[arg(long)]
    replace: bool,
    /// Where the membership is kept [default: `identity` in the state folder of the program]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl JoinArgs {
    /// Joins as `role`; the exit code, see [`JoinError::exit_code`]. `program` names the state folder, such as "node".
    #[must_use]
    pub fn run(self, role: Role, program: &str) -> u8 {
        let say = |error: &dyn std::fmt::Display| eprintln!("starling-{program} join: {error}");
        if self.token.is_some() && std::env::var_os("STARLING_JOIN_TOKEN").is_none() {
            // Only returns when it failed.
            say(&again_without_token(self.token.as_deref().unwrap_or_default()));
            return USAGE;
        }
        let wish = match self.wish(role, program) {
            Ok(wish) => wish,
            Err(Wrong::Join(error)) => {
                say(&error);
                return error.exit_code();
            }
            Err(Wrong::Usage(error)) => {
                say(&error);
                return USAGE;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let joined = match runtime {
            Ok(runtime) => runtime.block_on(join(&wish)),
            Err(error) => {
                say(&error);
                return 1;
            }
        };
        match joined {
            Ok(joined) => {
                println!("joined as {}, kept in {}", joined.identity, wish.folder.path().display());
                if let Some(file) = self.token_file.filter(|file| file.as_os_str() != FROM_INPUT)
                    && let Err(error) = std::fs::write(&file, "")
                {
                    say(&format_args!("the token in {} is still there: {error}; remove it", file.display()));
                }
                println!("next: systemctl restart starling-{program}, or start starling-{program}");
                0
            }
            Err(error) => {
                say(&error);
                error.exit_code()
            }
        }
    }

    fn wish(&self, role: Role, program: &str) -> Result<Wish, Wrong> {
        let usage = |what: String| Wrong::Usage(what);
        let name = match &self.name {
            Some(name) => NodeId::parse(name).map_err(|error| usage(format!("--name {name:?}: {error}")))?,
            None => {
                let host = match role {
                    Role::Node => {
                        machine::name_of_host().map_err(|error| usage(format!("{error}: give one by --name")))?
                    }
                    Role::Aggregator | Role::Dashboard | Role::Operator => machine::host_name(),
                };
                of_host(&host).map_err(Wrong::Usage)?
            }
        };
        let addresses = self.aggregators.iter().map(|text| address(text)).collect::<Result<_, _>>().map_err(usage)?;
        let folder = match &self.folder {
            Some(folder) => std::path::absolute(folder).map_err(|error| usage(format!("--folder: {error}")))?,
            None => TlsSettings::joined(program).folder.unwrap_or_default(),
        };
        let (folder, hosts, replace) = (Folder::at(folder), self.hosts.clone(), self.replace);
        // Before the token, which is empty when this is run a second time.
        may_join(&folder, role, replace).map_err(Wrong::Join)?;
        let token: JoinToken = self.token()?.parse().map_err(|error: TokenError| Wrong::Join(error.into()))?;
        Ok(Wish { role, name, token, addresses, hosts, folder, replace })
    }

    /// Its text, by the way that was chosen.
    fn token(&self) -> Result<String, Wrong> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let file = self.token_file.clone().unwrap_or_default();
        let text = if file.as_os_str() == FROM_INPUT {
            let mut text = String::new();
            let read = io::stdin().take(TOKEN_LEN_MAX).read_to_string(&mut text);
            read.map(|_| text).map_err(|error| Wrong::Usage(format!("standard input: {error}")))?
        } else {
            secret::text(&file).map_err(|what| Wrong::Usage(format!("{} {what}", file.display())))?
        };
        match text.lines().next().map(str::trim) {
            Some(line) if !line.is_empty() => Ok(line.to_owned()),
            _ => Err(Wrong::Usage("the token is empty: it was used already, or nothing was given".to_owned())),
        }
    }
}

/// What is wrong with the flags.
enum Wrong {
    Join(JoinError),
    Usage(String),
}

/// Runs this program once more, with the token on its standard input instead of among its arguments, where every user of
/// the host can read it as long as it runs. Returns only when that failed.
fn again_without_token(token: &str) -> String {
    let failed = |error: io::Error| format!("cannot hide the token from other users: {error}; use --token-file");
    let (program, (reader, mut writer)) = match (std::env::current_exe(), io::pipe()) {
        (Ok(program), Ok(pipe)) => (program, pipe),
        (Err(error), _) | (_, Err(error)) => return failed(error),
    };
    // A pipe holds 64 KiB; a token that long is none.
    if token.len() as u64 > TOKEN_LEN_MAX {
        return TokenError::Form.to_string();
    }
    if let Err(error) = writer.write_all(token.as_bytes()) {
        return failed(error);
    }
    drop(writer);
    let mut arguments = Vec::new();
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--token") => drop(given.next()),
            Some(text) if text.starts_with("--token=") => {}
            _ => arguments.push(argument),
        }
    }
    eprintln!(
        "note: a token among the arguments is seen by every user of this host for a moment; --token-file is safer"
    );
    let error =
        Command::new(program).args(arguments).args(["--token-file", FROM_INPUT]).stdin(Stdio::from(reader)).exec();
    failed(error)
}

/// The name of a host, unless it is one that many have.
fn of_host(host: &str) -> Result<NodeId, String> {
    let name = NodeId::sanitised(host);
    let is_nobodys = matches!(name.as_str(), "localhost" | "localhost.localdomain" | "debian" | "ubuntu" | "none");
    if host.is_empty() || is_nobodys {
        return Err(format!("the name of this host is {host:?}, which is nobody's: give one by --name"));
    }
    Ok(name)
}

/// "host" or "host:port".
fn address(text: &str) -> Result<String, String> {
    let whole = if text.ends_with(']') || !text.contains(':') { format!("{text}:{PORT}") } else { text.to_owned() };
    match host_port(&whole) {
        Ok(_) => Ok(whole),
        Err(error) => Err(format!("{text:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_has_the_usual_one() {
        for (text, whole) in [
            ("agg-1", "agg-1:7400"),
            ("agg-1:7500", "agg-1:7500"),
            ("10.0.0.1", "10.0.0.1:7400"),
            ("[fd90::1]", "[fd90::1]:7400"),
            ("[fd90::1]:7500", "[fd90::1]:7500"),
        ] {
            assert_eq!(address(text).unwrap(), whole);
        }
        for odd in ["", "fd90::1", "agg 1", "agg-1:0x1", "agg-1:99999"] {
            assert!(address(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_name_that_many_hosts_have_is_not_taken() {
        assert_eq!(of_host("Web_1.example").unwrap().as_str(), NodeId::sanitised("Web_1.example").as_str());
        for odd in ["", "localhost", "ubuntu"] {
            assert!(of_host(odd).unwrap_err().contains("--name"), "{odd}");
        }
    }
}
