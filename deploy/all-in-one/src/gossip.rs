//! `starling gossip`: the keys of gossip of a cluster, seen and changed while it runs.

use std::time::Duration;

use starling_proto::{
    hex,
    v1::{self, GossipSealing, change_gossip_keys_request::Step},
};
use starling_service::grpc::cluster_client::ClusterClient;
use tonic::Request;

use crate::{asked::Asked, ca::report};

/// How long all aggregators together may take: one that is gone is waited for some seconds.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Shows and changes the keys of gossip, at all aggregators. Each step is refused while it would leave one of them deaf.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GossipArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Show the keys, or change them: install a new one, use it, retire the former
    Keys {
        #[command(subcommand)]
        what: Keys,
    },
    /// Go from open to sealed gossip, or back, one step at a time: open, send, require
    Seal {
        /// open: send open datagrams, believe both. send: send sealed ones, believe both. require: believe sealed ones only
        #[arg(value_parser = ["open", "send", "require"])]
        to: String,
        #[command(flatten)]
        step: StepArgs,
    },
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Keys {
    /// Show which keys each aggregator has, and by which it seals
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Make a new key, which opens and does not seal yet
    Install {
        #[command(flatten)]
        step: StepArgs,
    },
    /// Seal by a key that all have
    Use {
        /// Its name, as the list shows it
        #[arg(value_parser = key)]
        key: Key,
        #[command(flatten)]
        step: StepArgs,
    },
    /// Take away a key that nobody seals by any more
    Retire {
        /// Its name, as the list shows it
        #[arg(value_parser = key)]
        key: Key,
        #[command(flatten)]
        step: StepArgs,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct StepArgs {
    /// Do it also when it is refused, and print what it breaks. Those who are cut off get the keys by TLS within seconds, as
    /// long as they can be reached
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    asked: Asked,
}

/// The name of a key.
type Key = [u8; 4];

fn key(text: &str) -> Result<Key, String> {
    hex::decode_array(text).ok_or_else(|| "wanted are 8 hexadecimal digits, as the list shows them".to_owned())
}

impl GossipArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        report("gossip", self.what.run())
    }
}

impl What {
    fn run(self) -> Result<(), String> {
        let (step, StepArgs { force, asked }) = match self {
            Self::Keys { what: Keys::List { asked } } => {
                let keys = asked.ask(|channel| async move {
                    ClusterClient::new(channel).list_gossip_keys(within(v1::ListGossipKeysRequest {})).await
                })?;
                print!("{}", table(&keys));
                return Ok(());
            }
            Self::Keys { what: Keys::Install { step } } => (Step::Install(v1::InstallGossipKey {}), step),
            Self::Keys { what: Keys::Use { key, step } } => (Step::Use(key.to_vec().into()), step),
            Self::Keys { what: Keys::Retire { key, step } } => (Step::Retire(key.to_vec().into()), step),
            Self::Seal { to, step } => {
                let sealing = match to.as_str() {
                    "open" => GossipSealing::Open,
                    "send" => GossipSealing::Send,
                    _ => GossipSealing::Require,
                };
                (Step::Seal(sealing as i32), step)
            }
        };
        let request = within(v1::ChangeGossipKeysRequest { step: Some(step), force });
        let changed =
            asked.ask(|channel| async move { ClusterClient::new(channel).change_gossip_keys(request).await })?;
        for what in &changed.breaks {
            println!("forced although {what}");
        }
        if !changed.key_id.is_empty() {
            println!("new key {}", hex::encode(&changed.key_id));
        }
        print!("{}", table(&changed.keys.unwrap_or_default()));
        Ok(())
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_WAIT);
    request
}

/// A line for each aggregator, and one that says whether the next step can be taken.
fn table(keys: &v1::GossipKeys) -> String {
    let width = keys.members.iter().map(|member| member.aggregator_id.len()).chain([10]).max().unwrap_or(10);
    let mut text = format!("{:width$}  version  gossip   keys, the first seals\n", "aggregator");
    for member in &keys.members {
        let what = match &member.status {
            None => format!("{:>7}  {:7}  none", "-", "-"),
            Some(status) => {
                let ids: Vec<String> = status.key_ids.iter().map(|id| hex::encode(id)).collect();
                let version = if status.from_file { "file".to_owned() } else { status.version.to_string() };
                format!("{version:>7}  {:7}  {}", sealing(status.sealing()), ids.join(" "))
            }
        };
        let unreachable = match member.unreachable.as_str() {
            "" => String::new(),
            why => format!("  (does not answer: {why})"),
        };
        text += &format!("{:width$}  {what}{unreachable}\n", member.aggregator_id);
    }
    let answering = || keys.members.iter().filter(|member| member.unreachable.is_empty());
    let same = answering().all(|member| member.status == answering().next().and_then(|first| first.status.clone()));
    text += if same { "all that answer have the same\n" } else { "they differ: look again in some seconds\n" };
    text
}

const fn sealing(sealing: GossipSealing) -> &'static str {
    match sealing {
        GossipSealing::Unspecified => "-",
        GossipSealing::Open => "open",
        GossipSealing::Send => "send",
        GossipSealing::Require => "require",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_who_has_what() {
        let status = |version: u64, from_file: bool| {
            let key_ids = vec![vec![0xab, 0, 0, 1].into(), vec![0, 0, 0, 2].into()];
            v1::GossipRingStatus { version, sealing: GossipSealing::Require as i32, key_ids, from_file }
        };
        let member = |name: &str, unreachable: &str, status: Option<v1::GossipRingStatus>| v1::GossipKeysOfMember {
            aggregator_id: name.to_owned(),
            unreachable: unreachable.to_owned(),
            status,
        };
        let members = vec![
            member("agg-1", "", Some(status(3, false))),
            member("agg-2", "refused", Some(status(2, false))),
            member("host.example:7400", "no route", None),
        ];
        let text = table(&v1::GossipKeys { members, answered_by: "agg-1".to_owned() });
        assert_eq!(
            text,
            "aggregator         version  gossip   keys, the first seals\n\
             agg-1                    3  require  ab000001 00000002\n\
             agg-2                    2  require  ab000001 00000002  (does not answer: refused)\n\
             host.example:7400        -  -        none  (does not answer: no route)\n\
             all that answer have the same\n"
        );
        let members = vec![member("a", "", Some(status(0, true))), member("b", "", Some(status(1, false)))];
        assert!(table(&v1::GossipKeys { members, answered_by: String::new() }).contains("they differ"));
    }

    #[test]
    fn a_key_is_named_by_eight_digits() {
        assert_eq!(key("ab000001"), Ok([0xab, 0, 0, 1]));
        assert!(key("ab").is_err() && key("zz000001").is_err() && key("+b000001").is_err());
    }
}
