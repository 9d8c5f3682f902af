//! `starling token`: who may join a cluster.

use std::{path::PathBuf, time::Duration};

use starling_proto::v1;
use starling_service::{
    grpc::identities_client::IdentitiesClient,
    state_folder::{self, SECRET},
};

use crate::{
    asked::{Asked, author},
    ca::{day_of, report},
};

/// Makes join tokens: who has one becomes a member by `starling-node join`, and needs no certificate from you.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Make a token and print it, once
    Create {
        /// What who joins by it becomes
        #[arg(long, default_value = "node", value_parser = ["node", "aggregator", "dashboard"])]
        role: String,
        /// How long it is valid, such as "30m", "1h" or "7d"; at most 30d
        #[arg(long, default_value = "1h", value_parser = length)]
        ttl: u32,
        /// How many can join by it
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        uses: u32,
        /// Who joins may take the name of one that is silent: for hosts that were installed again
        #[arg(long)]
        replace: bool,
        /// Write the token into a file that only you can read, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        asked: Asked,
    },
    /// List the tokens, without their secrets
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Take a token back. Who has joined by it stays
    Revoke {
        /// Its number, as `starling token list` shows it
        #[arg(value_name = "NUMBER")]
        token: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Whole seconds of a length.
fn length(text: &str) -> Result<u32, String> {
    let ms = starling_alerts::parse_duration(text)?;
    let within = Duration::from_secs(60)..=Duration::from_secs(30 * 86_400);
    match u32::try_from(ms / 1_000) {
        Ok(seconds) if within.contains(&Duration::from_secs(seconds.into())) => Ok(seconds),
        _ => Err("wanted is a length from 1m to 30d".to_owned()),
    }
}

impl TokenArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        report("token", self.what.run())
    }
}

impl What {
    fn run(self) -> Result<(), String> {
        match self {
            Self::Create { role, ttl, uses, replace, out, asked } => {
                let wanted = v1::CreateTokenRequest { role, ttl_s: ttl, uses, replace, author: author() };
                let made =
                    asked.ask(|channel| async move { IdentitiesClient::new(channel).create_token(wanted).await })?;
                match out {
                    None => println!("{}", made.token),
                    Some(file) => state_folder::replace(&file, format!("{}\n", made.token).as_bytes(), SECRET)
                        .map_err(|error| format!("{}: {error}", file.display()))?,
                }
                let status = made.status.unwrap_or_default();
                let (number, until) = (&status.token_id, day_of(status.expires_unix_s));
                eprintln!("token {number}: {} may join as {} until {until}", status.uses, status.role);
                Ok(())
            }
            Self::List { asked } => {
                let list = asked.ask(|channel| async move {
                    IdentitiesClient::new(channel).list_tokens(v1::ListTokensRequest {}).await
                })?;
                println!("{:16}  {:10}  {:>11}  {:20}  made by", "token", "role", "used", "valid until");
                for token in list.tokens {
                    let used = format!("{} of {}", token.used, token.uses);
                    let until = match token.revoked_unix_s {
                        0 => day_of(token.expires_unix_s),
                        at => format!("revoked {}", day_of(at)),
                    };
                    println!("{:16}  {:10}  {used:>11}  {until:20}  {}", token.token_id, token.role, token.author);
                }
                Ok(())
            }
            Self::Revoke { token, asked } => {
                let request = v1::RevokeTokenRequest { token_id: token.clone() };
                asked.ask(|channel| async move { IdentitiesClient::new(channel).revoke_token(request).await })?;
                println!("revoked {token}");
                Ok(())
            }
        }
    }
}
