//! `starling node`: who has joined a cluster.

use starling_proto::v1;
use starling_service::grpc::identities_client::IdentitiesClient;

use crate::{
    asked::{Asked, author},
    ca::{day_of, report},
};

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
    /// Take one out: its certificate is refused everywhere within seconds, and its name is free
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
            Self::Remove { name, role, asked } => {
                let request = v1::RemoveIdentityRequest { role: role.clone(), name: name.clone(), author: author() };
                let answer = asked
                    .ask(|channel| async move { IdentitiesClient::new(channel).remove_identity(request).await })?;
                let until = day_of(answer.ends_unix_s);
                println!("removed {role} {name}; its certificate, valid until {until}, is refused from now on");
                Ok(())
            }
        }
    }
}

fn list(role: Option<String>, json: bool, asked: &Asked) -> Result<(), String> {
    let roles: Vec<String> = role.into_iter().collect();
    let all = asked.ask(|channel| async move {
        let mut client = IdentitiesClient::new(channel);
        let mut all: Vec<v1::JoinedIdentity> = Vec::new();
        loop {
            let after = all.last().map(|last| format!("{} {}", last.role, last.name)).unwrap_or_default();
            let asked = v1::ListIdentitiesRequest { roles: roles.clone(), after };
            let page = client.list_identities(asked).await?.into_inner();
            let is_last = !page.more || page.identities.is_empty();
            all.extend(page.identities);
            if is_last {
                return Ok(tonic::Response::new(all));
            }
        }
    })?;
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
                "removedUnixS": one.removed_unix_s, "removedBy": one.removed_by,
            });
            println!("{line}");
        } else {
            let (joined, until) = (day_of(one.joined_unix_s), day_of(one.ends_unix_s));
            println!("{:10}  {:30}  {joined:20}  {until:20}  {state}", one.role, one.name);
        }
    }
    Ok(())
}
