//! `starling node`: who has joined a cluster.

use std::time::{Duration, Instant};

use starling_proto::{hex, v1};
use starling_service::grpc::identities_client::IdentitiesClient;
use tonic::{Code, transport::Channel};

use crate::{
    asked::{Asked, all_joined, author, said},
    ca::{day_of, report},
};

/// A removed node is refused everywhere within 5 s, and counts as silent 5 s later.
const CUT_WITHIN: Duration = Duration::from_secs(20);
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// Lists who has joined, and takes names out.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// List who has joined by a token, and until when its certificate is valid
    List {
        /// Only this role
        #[arg(long, value_parser = ["node", "aggregator", "dashboard"])]
        role: Option<String>,
        /// Print JSON, a line each
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Take one out: its certificate is refused everywhere within seconds, its name is free, and a node is not expected any more
    Remove {
        /// Its name
        name: String,
        /// What it is
        #[arg(long, default_value = "node", value_parser = ["node", "aggregator", "dashboard"])]
        role: String,
        #[command(flatten)]
        asked: Asked,
    },
}

impl NodeArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        report("node", self.what.run())
    }
}

impl What {
    fn run(self) -> Result<(), String> {
        match self {
            Self::List { role, json, asked } => list(role, json, &asked),
            Self::Remove { name, role, asked } => asked.with(async |channel| remove(channel, &role, &name).await),
        }
    }
}

/// Takes a name out of the register, and a node out of those that are expected.
async fn remove(channel: Channel, role: &str, name: &str) -> Result<(), String> {
    let mut client = IdentitiesClient::new(channel);
    let request = v1::RemoveIdentityRequest { role: role.to_owned(), name: name.to_owned(), author: author() };
    let removed = client.remove_identity(request).await;
    match &removed {
        Ok(answer) => {
            let until = day_of(answer.get_ref().ends_unix_s);
            println!("removed {role} {name}; its certificate, valid until {until}, is refused from now on");
        }
        // It never joined, yet it may have reported: with a certificate that was copied, or in plain text.
        Err(status) if role == "node" && matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {}
        Err(status) => return Err(said(status)),
    }
    if role != "node" {
        return Ok(());
    }
    let until = Instant::now() + CUT_WITHIN;
    loop {
        let request = v1::ForgetNodeRequest { name: name.to_owned(), author: author() };
        match (client.forget_node(request).await, &removed) {
            (Ok(answer), _) => {
                let last = day_of(i64::from(answer.into_inner().last_tick));
                println!("{name} is not expected any more; it reported last at {last}");
                return Ok(());
            }
            // Its stream is being cut.
            (Err(status), Ok(_)) if status.code() == Code::FailedPrecondition && Instant::now() < until => {
                tokio::time::sleep(ASKED_AGAIN).await;
            }
            (Err(status), Ok(_)) if status.code() == Code::NotFound => return Ok(()),
            // Neither is there such a name.
            (Err(status), Err(unknown)) if status.code() == Code::NotFound => return Err(said(unknown)),
            (Err(status), _) => return Err(said(&status)),
        }
    }
}

fn list(role: Option<String>, json: bool, asked: &Asked) -> Result<(), String> {
    let roles: Vec<String> = role.into_iter().collect();
    let all = asked.with(async |channel| all_joined(channel, &roles).await.map_err(|status| said(&status)))?;
    if !json {
        println!("{:10}  {:30}  {:20}  {:20}  state", "role", "name", "joined", "valid until");
    }
    for one in all {
        let state = match one.removed_unix_s {
            0 => String::new(),
            at => format!("removed {} by {}", day_of(at), one.removed_by),
        };
        if json {
            let line = serde_json::json!({
                "role": one.role, "name": one.name, "joinedUnixS": one.joined_unix_s, "renewedUnixS": one.renewed_unix_s,
                "endsUnixS": one.ends_unix_s, "serial": one.serial, "tokenId": one.token_id, "machine": one.machine,
                "removedUnixS": one.removed_unix_s, "removedBy": one.removed_by, "signedBy": hex::encode(&one.signed_by),
            });
            println!("{line}");
        } else {
            let (joined, until) = (day_of(one.joined_unix_s), day_of(one.ends_unix_s));
            println!("{:10}  {:30}  {joined:20}  {until:20}  {state}", one.role, one.name);
        }
    }
    Ok(())
}
