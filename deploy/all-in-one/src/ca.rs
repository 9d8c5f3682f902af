//! `starling ca`: the certificates of a cluster, made without a connection to anything; but for `retire`, which asks.

mod retire;

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use starling_authority::{Authority, Wish, folder};
use starling_proto::ids::NodeId;
use starling_service::{
    credentials::{Standing, standing},
    identity::Role,
};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use self::retire::retire;
use crate::asked::Asked;

/// It was not done.
const FAILED: u8 = 1;
/// Of an authority below the root.
const BELOW_LIFE: Duration = Duration::days(1_825);

/// Makes the certificates of a cluster: a root that stays offline, and one for each node, aggregator, dashboard and operator.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CaArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Make the root of a cluster, and the first key of its gossip. Keep the folder off the network
    Init {
        /// Name of the cluster, as in the settings of its aggregators
        #[arg(long, default_value = "starling")]
        cluster: String,
        /// Folder that is made
        #[arg(long, value_name = "FOLDER", default_value = "starling-ca")]
        dir: PathBuf,
    },
    /// Make a key and a certificate for one of them
    Issue {
        /// What it may do: report one host, keep the ledger with its peers, show the cluster to people, or ask and act
        #[arg(value_parser = role())]
        role: Role,
        /// Its name: the host's, or a person's
        name: String,
        /// Folder of the root
        #[arg(long, value_name = "FOLDER", default_value = "starling-ca")]
        dir: PathBuf,
        /// Folder for certificate.pem, key.pem and ca.pem, and of an aggregator gossip.keyring. Default: the name
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// How long it is valid
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
        /// Host name or address by which other clients, such as grpcurl, check an aggregator. May be repeated
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// Of an aggregator: also make a folder `authority` with an authority below the root, by which it signs for who
        /// joins (`enrolment.authority`). It ends with the root, after five years at the latest
        #[arg(long)]
        signs: bool,
    },
    /// Say whether nobody needs the former authority any more, before it is taken out: who still has a certificate by it is named,
    /// with its end, and the exit code is not 0
    Retire {
        /// PEM file with the authorities that stay
        #[arg(long, value_name = "FILE")]
        keep: PathBuf,
        /// End with 0 all the same, and print what breaks
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Print whom certificates name and how long they are valid
    Show {
        /// Files in PEM
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Reads a role, with all of them in the help.
fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|word| Role::parse(&word).ok_or("no such role"))
}

impl CaArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        let done = match self.what {
            What::Init { cluster, dir } => init(&cluster, &dir),
            What::Issue { role, name, dir, out, days, hosts, signs } => {
                let out = out.unwrap_or_else(|| PathBuf::from(&name));
                issue((role, &name), (&dir, &out), i64::from(days), hosts).and_then(|()| match signs {
                    true => sign(role, &name, (&dir, &out)),
                    false => Ok(()),
                })
            }
            What::Retire { keep, force, asked } => retire(&keep, force, &asked),
            What::Show { files } => show(&files),
        };
        report("ca", done)
    }
}

/// Says what a command did not do; the exit code.
pub(crate) fn report(command: &str, done: Result<(), String>) -> u8 {
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("starling {command}: {error}");
            FAILED
        }
    }
}

fn init(cluster: &str, dir: &Path) -> Result<(), String> {
    let authority = Authority::create(cluster, OffsetDateTime::now_utc()).map_err(|error| error.to_string())?;
    folder::create(dir, &authority).map_err(|error| error.to_string())?;
    let keyring = dir.join(folder::KEYRING);
    folder::write_secret(&keyring, folder::new_keyring().as_bytes()).map_err(|error| error.to_string())?;
    println!("made the root of cluster {cluster} in {}, valid until {}", dir.display(), day(authority.ends()));
    println!("keep {} off the network; next: starling ca issue aggregator NAME", dir.join(folder::CA_KEY).display());
    Ok(())
}

fn issue((role, name): (Role, &str), (dir, out): (&Path, &Path), days: i64, hosts: Vec<String>) -> Result<(), String> {
    let name = NodeId::parse(name).map_err(|error| format!("{name:?}: {error}"))?;
    let authority = folder::open(dir).map_err(|error| error.to_string())?;
    let wish = Wish { role, name, life: Duration::days(days), hosts };
    let issued = authority.issue(&wish, OffsetDateTime::now_utc()).map_err(|error| error.to_string())?;
    folder::write_issued(out, &issued, authority.certificate()).map_err(|error| error.to_string())?;
    if role == Role::Aggregator {
        let keyring = dir.join(folder::KEYRING);
        let content = fs::read(&keyring).map_err(|error| format!("{}: {error}", keyring.display()))?;
        folder::write_secret(&out.join(folder::KEYRING), &content).map_err(|error| error.to_string())?;
    }
    println!("{} in {}, valid until {}", issued.identity, out.display(), day(issued.ends));
    if issued.shortened {
        println!("its end is that of the authority: make a new root before {}", day(authority.ends()));
    }
    Ok(())
}

/// Beside what was issued.
fn sign(role: Role, name: &str, (dir, out): (&Path, &Path)) -> Result<(), String> {
    if role != Role::Aggregator {
        return Err("--signs is for an aggregator".to_owned());
    }
    let root = folder::open(dir).map_err(|error| error.to_string())?;
    let below = root.intermediate(name, BELOW_LIFE, OffsetDateTime::now_utc()).map_err(|error| error.to_string())?;
    let authority = out.join("authority");
    folder::create(&authority, &below).map_err(|error| error.to_string())?;
    println!("an authority that signs in {}, valid until {}", authority.display(), day(below.ends()));
    Ok(())
}

fn show(files: &[PathBuf]) -> Result<(), String> {
    for file in files {
        let found = standing(file).map_err(|error| error.to_string())?;
        for Standing { who, serial, from, until } in found {
            let left = until
                .duration_since(SystemTime::now())
                .map_or_else(|_| "has ended".to_owned(), |left| format!("{} days left", left.as_secs() / 86_400));
            println!("{}: {who}", file.display());
            println!("  serial {serial}, from {} until {}, {left}", day(from.into()), day(until.into()));
        }
    }
    Ok(())
}

/// A day and time by UTC of Unix seconds.
pub(crate) fn day_of(unix_s: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_s).map_or_else(|_| unix_s.to_string(), day)
}

fn day(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}
