//! `starling users` and `starling tokens`: who may use the dashboard.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    path::PathBuf,
};

use rustix::{
    stdio,
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};
use starling_dashboard::access::{self, Accounts, PASSWORD_CHARS_MIN, Role, User};

use crate::ca::report;

/// Where the settings of a package look for it, when they are told to.
const FILE: &str = "/etc/starling/users.toml";
/// Bytes of standard input that are looked at for a password: more is a file that was meant for something else.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

/// The file of users and tokens.
#[derive(Debug, Clone, clap::Args)]
struct In {
    /// The file that the setting `users` of the dashboard names; it is made when it is not there
    #[arg(long, value_name = "FILE", default_value = FILE)]
    file: PathBuf,
}

/// Says who may sign in to the dashboard, and what they may do there.
///
/// Passwords are asked for on the terminal, or are the first line of standard input; they never stand in arguments, which everybody on
/// the host can see. Only their argon2id hashes are kept. The dashboard takes up what changes within 5 seconds; who is taken out is
/// signed out.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct UsersArgs {
    #[command(subcommand)]
    what: Users,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Users {
    /// Add a user, or with --replace give one another password or role
    Add {
        /// Name to sign in with
        name: String,
        /// What the user may do: read everything; also acknowledge and silence; also see and end sessions
        #[arg(long, default_value = "viewer", value_parser = Role::parse)]
        role: Role,
        /// There may be a user of the name, who gets this password and role
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        place: In,
    },
    /// Take a user out
    Remove {
        /// Name of the user
        name: String,
        #[command(flatten)]
        place: In,
    },
    /// List the users and their roles
    List {
        #[command(flatten)]
        place: In,
    },
}

/// Makes tokens by which programs ask the dashboard: scripts, Grafana, Prometheus, `starling top --dashboard`.
///
/// A program sends its token in the header "authorization: Bearer TOKEN". Only SHA-256 sums are kept. Tokens by which programs join
/// a cluster are another thing: `starling token`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TokensArgs {
    #[command(subcommand)]
    what: Tokens,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Tokens {
    /// Make a token and print it, once
    Add {
        /// What the token is for; what is done by it is done in this name
        name: String,
        /// What may be done by it: read everything; also acknowledge and silence; also see and end sessions
        #[arg(long, default_value = "viewer", value_parser = Role::parse)]
        role: Role,
        #[command(flatten)]
        place: In,
    },
    /// Take a token out
    Remove {
        /// What it is for
        name: String,
        #[command(flatten)]
        place: In,
    },
    /// List the tokens, without their secrets
    List {
        #[command(flatten)]
        place: In,
    },
}

impl In {
    /// What is in it; nothing when it is not there and `may_begin`.
    fn read(&self, may_begin: bool) -> Result<Accounts, String> {
        if may_begin && matches!(self.file.try_exists(), Ok(false)) {
            return Ok(Accounts::default());
        }
        access::read(&self.file)
    }

    fn write(&self, accounts: &Accounts) -> Result<(), String> {
        access::write(&self.file, accounts)
    }
}

impl UsersArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        report("users", self.what.run())
    }
}

impl Users {
    fn run(self) -> Result<(), String> {
        match self {
            Self::Add { name, role, replace, place } => {
                let mut accounts = place.read(true)?;
                access::check_name(&name)?;
                let had = accounts.users().contains_key(&name);
                if had && !replace {
                    return Err(format!("there is a user {name} already; --replace gives another password and role"));
                }
                let password = access::hash(&password()?)?;
                accounts.remove_user(&name);
                accounts.add_user(&name, User { role, password })?;
                place.write(&accounts)?;
                println!("{name} may sign in as {role} ({})", place.file.display());
                Ok(())
            }
            Self::Remove { name, place } => {
                let mut accounts = place.read(false)?;
                if !accounts.remove_user(&name) {
                    return Err(format!("there is no user {name} in {}", place.file.display()));
                }
                place.write(&accounts)?;
                println!("removed {name}");
                Ok(())
            }
            Self::List { place } => {
                list("user", place.read(false)?.users().iter().map(|(name, user)| (name, user.role)));
                Ok(())
            }
        }
    }
}

impl TokensArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        report("tokens", self.what.run())
    }
}

impl Tokens {
    fn run(self) -> Result<(), String> {
        match self {
            Self::Add { name, role, place } => {
                let mut accounts = place.read(true)?;
                let token = access::new_token();
                accounts.add_token(&name, role, &token)?;
                place.write(&accounts)?;
                println!("{token}");
                eprintln!("this is the token of {name}, with the role {role}; it is not shown again");
                Ok(())
            }
            Self::Remove { name, place } => {
                let mut accounts = place.read(false)?;
                if !accounts.remove_token(&name) {
                    return Err(format!("there is no token {name} in {}", place.file.display()));
                }
                place.write(&accounts)?;
                println!("removed {name}");
                Ok(())
            }
            Self::List { place } => {
                list("token", place.read(false)?.tokens().iter().map(|(name, token)| (name, token.role)));
                Ok(())
            }
        }
    }
}

fn list<'a>(kind: &str, of: impl Iterator<Item = (&'a String, Role)>) {
    println!("{kind:32}  role");
    for (name, role) in of {
        println!("{name:32}  {role}");
    }
}

/// A new password: from the terminal, twice and without being shown, or the first line of standard input.
fn password() -> Result<String, String> {
    let input = io::stdin();
    let wrong = |error: io::Error| format!("the password cannot be read: {error}");
    if !input.is_terminal() {
        let mut line = String::new();
        input.lock().take(INPUT_BYTES_MAX).read_line(&mut line).map_err(wrong)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first = hidden(&format!("Password, at least {PASSWORD_CHARS_MIN} characters: ")).map_err(wrong)?;
    let second = hidden("The same again: ").map_err(wrong)?;
    if first == second { Ok(first) } else { Err("the two passwords differ; nothing was changed".to_owned()) }
}

/// One line from the terminal, which does not show it.
fn hidden(question: &str) -> io::Result<String> {
    let mut error = io::stderr();
    write!(error, "{question}")?;
    error.flush()?;
    let before = tcgetattr(stdio::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(stdio::stdin(), OptionalActions::Flush, &silent)?;
    let mut line = String::new();
    let read = io::stdin().lock().take(INPUT_BYTES_MAX).read_line(&mut line);
    tcsetattr(stdio::stdin(), OptionalActions::Flush, &before)?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
