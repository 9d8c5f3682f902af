//! `starling aggregator`: which aggregators contradict each other, and whose word counts no more.
//!
//! Every aggregator is told by this program itself, under the operator's certificate: none of them would have to believe
//! another one in this.

use std::{collections::BTreeSet, time::Duration};

use starling_proto::v1::{self, AggregatorState};
use starling_service::grpc::cluster_client::ClusterClient;
use tonic::{Code, Request, Status, transport::Channel};

use crate::{
    asked::{Asked, said},
    ca::report,
};

/// How long one aggregator may take to answer: taking the logs of a busy one out adds up its last 18 minutes again.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Shows the aggregators of a cluster and who contradicts whom, and takes the word of one out.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AggregatorArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Show all aggregators, those that claim the same frames, and those in quarantine
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Take the word of an aggregator out at all others: its logs are taken back out of what is counted, it is nobody's
    /// peer and gets no nodes. Stop it as well, and revoke its certificate
    Quarantine {
        /// Its name
        name: String,
        /// Why, for whoever looks later
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Let the word of an aggregator count again, at all others
    Lift {
        /// Its name
        name: String,
        #[command(flatten)]
        asked: Asked,
    },
}

impl AggregatorArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        report("aggregator", self.what.run())
    }
}

/// An aggregator and the way to it, or why there is none.
type Reached = (v1::Aggregator, Result<ClusterClient<Channel>, String>);

impl What {
    fn run(self) -> Result<(), String> {
        match self {
            Self::List { asked } => asked.with(async |channel| {
                let mut first = ClusterClient::new(channel);
                let reached = everybody(&asked, &mut first).await?;
                let ledger = first.get_ledger(within(v1::GetLedgerRequest { tick: 0 })).await;
                let ledger = ledger.map_err(|status| said(&status))?.into_inner();
                print!("{}", table(&reached, &ledger, &quarantined_at(&reached).await));
                Ok(())
            }),
            Self::Quarantine { name, reason, asked } => asked.with(async |channel| {
                let reached = everybody(&asked, &mut ClusterClient::new(channel)).await?;
                let writers = writers_of(&name, &reached).await;
                check_name(&name, &reached, &writers).await?;
                let (aggregator_id, writer_ids) = (name.clone(), writers.into_iter().collect());
                let request =
                    v1::QuarantineAggregatorRequest { aggregator_id, writer_ids, lift: false, reason: reason.clone() };
                tell(&reached, &request).await
            }),
            Self::Lift { name, asked } => asked.with(async |channel| {
                let reached = everybody(&asked, &mut ClusterClient::new(channel)).await?;
                let aggregator_id = name.clone();
                let request = v1::QuarantineAggregatorRequest { aggregator_id, lift: true, ..Default::default() };
                tell(&reached, &request).await
            }),
        }
    }
}

/// The one that is asked, and all that it lists and that are alive.
async fn everybody(asked: &Asked, first: &mut ClusterClient<Channel>) -> Result<Vec<Reached>, String> {
    let request = within(v1::ListAggregatorsRequest {});
    let listed = first.list_aggregators(request).await.map_err(|status| said(&status))?.into_inner();
    let mut reached = Vec::new();
    for one in listed.aggregators {
        let client = match one.state() {
            _ if one.self_ => Ok(first.clone()),
            AggregatorState::Dead => Err("it is dead".to_owned()),
            _ => asked.connect_to(&one.grpc_address, &one.aggregator_id).await.map(ClusterClient::new),
        };
        reached.push((one, client));
    }
    Ok(reached)
}

/// A name is known when it is listed, when it is in quarantine somewhere, or when somebody holds logs of its: else it is
/// mistyped, and "done" everywhere would be believed.
async fn check_name(name: &str, reached: &[Reached], writers: &BTreeSet<String>) -> Result<(), String> {
    let is_listed = reached.iter().any(|(one, _)| one.aggregator_id == name);
    if is_listed || !writers.is_empty() || quarantined_at(reached).await.iter().any(|(_, names)| names.contains(name)) {
        return Ok(());
    }
    let names: Vec<&str> = reached.iter().map(|(one, _)| one.aggregator_id.as_str()).collect();
    Err(format!("no aggregator is called {name}, and nobody holds a log of one: there are {}", names.join(", ")))
}

/// The processes whose logs go with an aggregator: those that spoke to somebody else as it, and those that it brought to
/// somebody and of which nobody else knows another author.
async fn writers_of(name: &str, reached: &[Reached]) -> BTreeSet<String> {
    let (mut own, mut brought, mut others) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (_, client) in reached.iter().filter(|(one, _)| one.aggregator_id != name) {
        let Ok(mut client) = client.clone() else { continue };
        let Ok(ledger) = client.get_ledger(within(v1::GetLedgerRequest { tick: 0 })).await else { continue };
        for log in ledger.into_inner().logs {
            if log.aggregator_id == name {
                own.insert(log.writer_id);
            } else if log.aggregator_id.is_empty() && log.brought_by == name {
                brought.insert(log.writer_id);
            } else if !log.aggregator_id.is_empty() {
                others.insert(log.writer_id);
            }
        }
    }
    own.extend(brought);
    own.difference(&others).cloned().collect()
}

/// Asks everybody but the one that is spoken of, one after the other, and prints what each says.
async fn tell(reached: &[Reached], request: &v1::QuarantineAggregatorRequest) -> Result<(), String> {
    let name = &request.aggregator_id;
    let (mut done, mut before, mut left) = (0, 0, Vec::new());
    for (one, client) in reached.iter().filter(|(one, _)| one.aggregator_id != *name) {
        let answer = match client.clone() {
            Ok(mut client) => client.quarantine_aggregator(within(request.clone())).await,
            Err(why) => Err(Status::unavailable(why)),
        };
        let said = match answer {
            Ok(answer) => {
                done += 1;
                let out = answer.into_inner().logs_taken_out;
                if request.lift { "done".to_owned() } else { format!("done, {out} logs taken out") }
            }
            // Run again for those that did not answer then.
            Err(status) if request.lift && status.code() == Code::NotFound => {
                before += 1;
                format!("{name} is not in quarantine there")
            }
            Err(status) => {
                left.push(one.aggregator_id.as_str());
                format!("not done: {}", said(&status))
            }
        };
        println!("{}: {said}", one.aggregator_id);
    }
    match (done, before, &left[..]) {
        (0, 0, []) => Err(format!("there is no aggregator beside {name}")),
        (0, _, []) => Err(format!("{name} is in quarantine nowhere")),
        (_, _, []) => Ok(()),
        _ => Err(format!("not done at {}: run it again when they answer", left.join(", "))),
    }
}

/// Who is in quarantine at each that answers.
async fn quarantined_at(reached: &[Reached]) -> Vec<(String, BTreeSet<String>)> {
    let mut all = Vec::new();
    for (one, client) in reached {
        let Ok(mut client) = client.clone() else { continue };
        let Ok(ledger) = client.get_ledger(within(v1::GetLedgerRequest { tick: 0 })).await else { continue };
        let names = ledger.into_inner().quarantined.into_iter().map(|one| one.aggregator_id).collect();
        all.push((one.aggregator_id.clone(), names));
    }
    all
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_WAIT);
    request
}

/// A line for each, then who contradicts whom, then who is in quarantine and where not.
fn table(reached: &[Reached], ledger: &v1::Ledger, at: &[(String, BTreeSet<String>)]) -> String {
    let width = reached.iter().map(|(one, _)| one.aggregator_id.len()).chain([10]).max().unwrap_or(10);
    let mut text = format!("{:width$}  state    nodes\n", "aggregator");
    for (one, client) in reached {
        let state = match one.state() {
            AggregatorState::Joining => "joining",
            AggregatorState::Ready => "ready",
            AggregatorState::Leaving => "leaving",
            AggregatorState::Dead => "dead",
            AggregatorState::Unspecified => "-",
        };
        let nodes = one.connected_nodes.map_or("-".to_owned(), |nodes| nodes.to_string());
        let unreachable = match client {
            Err(why) if one.state() != AggregatorState::Dead => format!("  (does not answer: {why})"),
            _ => String::new(),
        };
        text += &format!("{:width$}  {state:7}  {nodes:>5}{unreachable}\n", one.aggregator_id);
    }
    for dispute in &ledger.disputes {
        let nodes: Vec<&str> = dispute.node_ids.iter().map(String::as_str).take(8).collect();
        let more = match dispute.node_ids.len().saturating_sub(nodes.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        text += &format!(
            "{} contradict each other: both claim {} frames of {}{more}\n",
            dispute.aggregator_ids.join(" and "),
            dispute.frames,
            nodes.join(", ")
        );
    }
    for one in &ledger.quarantined {
        let lacking: Vec<&str> = at
            .iter()
            .filter(|(name, there)| *name != one.aggregator_id && !there.contains(&one.aggregator_id))
            .map(|(name, _)| name.as_str())
            .collect();
        let lacking = match lacking.is_empty() {
            true => String::new(),
            false => format!(
                ", NOT at {}: run `starling aggregator quarantine {}` again",
                lacking.join(", "),
                one.aggregator_id
            ),
        };
        let span =
            if one.from_tick == 0 { String::new() } else { format!(", seconds {} to {}", one.from_tick, one.to_tick) };
        let reason = if one.reason.is_empty() { String::new() } else { format!(": {}", one.reason) };
        text += &format!("{} is in quarantine{reason}{span}{lacking}\n", one.aggregator_id);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_who_contradicts_whom_and_where_quarantine_lacks() {
        let reached = |name: &str, state: AggregatorState, client| {
            let row = v1::Aggregator {
                aggregator_id: name.to_owned(),
                state: state.into(),
                connected_nodes: Some(3),
                ..v1::Aggregator::default()
            };
            (row, client)
        };
        let reached = [
            reached("agg-1", AggregatorState::Ready, Err("no route".to_owned())),
            reached("agg-2", AggregatorState::Dead, Err("it is dead".to_owned())),
        ];
        let ledger = v1::Ledger {
            disputes: vec![v1::LedgerDispute {
                aggregator_ids: vec!["agg-1".to_owned(), "agg-2".to_owned()],
                frames: 20,
                node_ids: (0..10).map(|n| format!("web-{n}")).collect(),
                ..v1::LedgerDispute::default()
            }],
            quarantined: vec![v1::QuarantinedAggregator {
                aggregator_id: "agg-3".to_owned(),
                reason: "stolen key".to_owned(),
                from_tick: 5,
                to_tick: 9,
                ..v1::QuarantinedAggregator::default()
            }],
            ..v1::Ledger::default()
        };
        let at = [
            ("agg-1".to_owned(), BTreeSet::from(["agg-3".to_owned()])),
            ("agg-2".to_owned(), BTreeSet::new()),
            ("agg-3".to_owned(), BTreeSet::new()),
        ];
        assert_eq!(
            table(&reached, &ledger, &at),
            "aggregator  state    nodes\n\
             agg-1       ready        3  (does not answer: no route)\n\
             agg-2       dead         3\n\
             agg-1 and agg-2 contradict each other: both claim 20 frames of web-0, web-1, web-2, web-3, web-4, web-5, \
             web-6, web-7 and 2 more\n\
             agg-3 is in quarantine: stolen key, seconds 5 to 9, NOT at agg-2: run `starling aggregator quarantine agg-3` \
             again\n"
        );
    }
}
