//! `starling ledger`: whether the seconds of the last 15 minutes are whole, balanced, and the same at every aggregator.

use starling_proto::{limits::LIVE_WINDOW, v1};
use starling_service::grpc::cluster_client::ClusterClient;
use tonic::transport::Channel;

use crate::{
    asked::{Asked, said},
    ca::{day_of, report},
};

/// Seconds that are asked for by default.
const LAST: u32 = 60;
/// The newest seconds are left out by default: they are published within 1 s, and an aggregator that is busy needs longer.
const NEWEST: u32 = 3;

/// Compares what every aggregator holds of each second: which nodes are in it, whether its sums equal those of its entries,
/// whether aggregators contradict each other over it, and whether all show the same. Ends with 1 when a second is not balanced,
/// in dispute, or differs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LedgerArgs {
    /// First second, Unix time; default: a minute before the last one
    #[arg(long, value_name = "SECOND")]
    from: Option<u32>,
    /// Last second, Unix time; default: the newest but three
    #[arg(long, value_name = "SECOND")]
    to: Option<u32>,
    /// Print JSON, a line for each second of each aggregator
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

/// What one aggregator says of one second.
type Said = (String, Result<v1::Ledger, String>);

impl LedgerArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        report("ledger", self.check())
    }

    fn check(&self) -> Result<(), String> {
        let seconds = self.asked.with(async |channel| self.gather(channel).await)?;
        if self.json {
            for (tick, said) in &seconds {
                said.iter().for_each(|said| println!("{}", line(*tick, said)));
            }
        } else {
            print!("{}", text(&seconds));
        }
        let wrong = seconds.iter().filter(|(tick, said)| !faults(*tick, said).is_empty()).count();
        if wrong == 0 {
            Ok(())
        } else {
            Err(format!("{wrong} of {} seconds are not balanced, in dispute, or differ", seconds.len()))
        }
    }

    /// Of each second what each aggregator says that is not dead.
    async fn gather(&self, channel: Channel) -> Result<Vec<(u32, Vec<Said>)>, String> {
        let mut first = ClusterClient::new(channel);
        let listed =
            first.list_aggregators(v1::ListAggregatorsRequest {}).await.map_err(|status| said(&status))?.into_inner();
        let to = match self.to {
            Some(to) => to,
            None => {
                first
                    .get_ledger(v1::GetLedgerRequest { tick: 0 })
                    .await
                    .map_err(|status| said(&status))?
                    .into_inner()
                    .tick
                    - NEWEST
            }
        };
        let from = self.from.unwrap_or(to.saturating_sub(LAST - 1));
        if from > to || to - from >= LIVE_WINDOW {
            return Err(format!("--from {from} --to {to}: wanted are 1 to {LIVE_WINDOW} seconds"));
        }
        let mut seconds: Vec<(u32, Vec<Said>)> = (from..=to).map(|tick| (tick, Vec::new())).collect();
        for one in listed.aggregators.iter().filter(|one| one.state() != v1::AggregatorState::Dead) {
            let channel = if one.self_ { Ok(first.clone()) } else { self.dial(one).await };
            for (tick, all) in &mut seconds {
                let answer = match &channel {
                    Ok(client) => {
                        let mut client: ClusterClient<_> = client.clone();
                        let asked = client.get_ledger(v1::GetLedgerRequest { tick: *tick }).await;
                        asked.map(tonic::Response::into_inner).map_err(|status| said(&status))
                    }
                    Err(error) => Err(error.clone()),
                };
                all.push((one.aggregator_id.clone(), answer));
            }
        }
        Ok(seconds)
    }

    async fn dial(&self, one: &v1::Aggregator) -> Result<ClusterClient<Channel>, String> {
        self.asked.connect_to(&one.grpc_address, &one.aggregator_id).await.map(ClusterClient::new)
    }
}

/// What must not be, of one second.
fn faults(tick: u32, said: &[Said]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, answer) in said {
        match answer {
            Err(error) => faults.push(format!("{name}: {error}")),
            Ok(ledger) => {
                let check = ledger.conservation.clone().unwrap_or_default();
                if check.balanced == Some(false) {
                    faults.push(format!("{name}: not balanced: {}", check.detail));
                }
                if ledger.forks() != 0 {
                    faults.push(format!("{name}: {} forks since it started", ledger.forks()));
                }
                // Not `overlaps`, which never falls: what was taken out is no fault any more.
                let here = |dispute: &&v1::LedgerDispute| (dispute.first_tick..=dispute.last_tick).contains(&tick);
                for dispute in ledger.disputes.iter().filter(here) {
                    let (who, frames) = (dispute.aggregator_ids.join(" and "), dispute.frames);
                    let (first, last) = (dispute.first_tick, dispute.last_tick);
                    faults.push(format!("{name}: {who} both claim {frames} frames of the seconds {first} to {last}"));
                }
            }
        }
    }
    let mut held = said.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    if let Some(first) = held.next()
        && held.any(|other| other.view_hash != first.view_hash)
    {
        let hashes: Vec<String> = said
            .iter()
            .filter_map(|(name, answer)| answer.as_ref().ok().map(|one| format!("{name} {}", one.view_hash)))
            .collect();
        faults.push(format!("they differ: {}", hashes.join(", ")));
    }
    faults
}

/// Nodes in it, nodes expected, and the first that are missing; `None` for a second of which nothing is held.
fn nodes(ledger: &v1::Ledger) -> Option<(u32, u32, &[String])> {
    let all = ledger.completeness.as_ref().filter(|_| !ledger.view_hash.is_empty())?;
    Some((all.nodes_reporting(), all.nodes_expected(), &all.nodes_missing[..]))
}

fn line(tick: u32, (name, answer): &Said) -> serde_json::Value {
    match answer {
        Err(error) => serde_json::json!({ "tick": tick, "aggregator": name, "error": error }),
        Ok(ledger) => {
            let held = nodes(ledger);
            let check = ledger.conservation.clone().unwrap_or_default();
            serde_json::json!({
                "tick": tick, "aggregator": name, "nodesReporting": held.map(|held| held.0),
                "nodesExpected": held.map(|held| held.1), "nodesMissing": held.map(|held| held.2),
                "framesCounted": ledger.frames_counted, "balanced": check.balanced, "detail": check.detail,
                "overlaps": ledger.overlaps(), "forks": ledger.forks(), "viewHash": ledger.view_hash,
            })
        }
    }
}

/// A line for each second that is short of nodes or wrong, and one about all.
fn text(seconds: &[(u32, Vec<Said>)]) -> String {
    let mut text = String::new();
    let mut whole = 0;
    let mut asked: Vec<&str> = Vec::new();
    for (tick, said) in seconds {
        asked = said.iter().map(|(name, _)| name.as_str()).collect();
        let faults = faults(*tick, said);
        let held = said.iter().find_map(|(_, one)| one.as_ref().ok()).map(nodes);
        let at = day_of(i64::from(*tick));
        match held {
            Some(Some((reporting, expected, missing))) if reporting < expected => {
                text += &format!("{at}  {tick}  {reporting} of {expected} nodes, missing: {}\n", missing.join(" "));
            }
            Some(None) => text += &format!("{at}  {tick}  no node reported\n"),
            // Whole, or nobody answered, which is a fault.
            Some(Some(_)) => whole += usize::from(faults.is_empty()),
            None => {}
        }
        for fault in &faults {
            text += &format!("{at}  {tick}  {fault}\n");
        }
    }
    text + &format!("{whole} of {} seconds are whole and the same at {}\n", seconds.len(), asked.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(name: &str, reporting: u32, hash: &str) -> Said {
        let completeness = v1::Completeness {
            nodes_reporting: Some(reporting),
            nodes_expected: Some(2),
            nodes_missing: vec!["web-2".to_owned(); 2_usize.saturating_sub(reporting as usize)],
            ..v1::Completeness::default()
        };
        let conservation = v1::Conservation { balanced: Some(true), ..v1::Conservation::default() };
        let ledger = v1::Ledger {
            completeness: Some(completeness),
            conservation: Some(conservation),
            view_hash: hash.to_owned(),
            ..v1::Ledger::default()
        };
        (name.to_owned(), Ok(ledger))
    }

    #[test]
    fn a_second_that_lacks_a_node_is_named_and_is_no_fault() {
        let seconds = [
            (10, vec![second("agg-1", 2, "a"), second("agg-2", 2, "a")]),
            (11, vec![second("agg-1", 1, "b")]),
            (12, vec![second("agg-1", 0, "")]),
        ];
        assert!(seconds.iter().all(|(tick, said)| faults(*tick, said).is_empty()));
        assert_eq!(
            text(&seconds),
            "1970-01-01T00:00:11Z  11  1 of 2 nodes, missing: web-2\n\
             1970-01-01T00:00:12Z  12  no node reported\n1 of 3 seconds are whole and the same at agg-1\n"
        );
    }

    #[test]
    fn what_differs_is_unbalanced_or_unknown_is_a_fault_that_names_who() {
        let differ = [second("agg-1", 2, "a"), second("agg-2", 2, "b")];
        assert_eq!(faults(10, &differ), ["they differ: agg-1 a, agg-2 b"]);
        let silent = [second("agg-1", 2, "a"), ("agg-2".to_owned(), Err("it is away".to_owned()))];
        assert_eq!(faults(10, &silent), ["agg-2: it is away"]);
        let (name, ledger) = second("agg-1", 2, "a");
        let conservation = Some(v1::Conservation { balanced: Some(false), detail: "1 sum".to_owned(), sums: None });
        let dispute = v1::LedgerDispute {
            aggregator_ids: vec!["agg-2".to_owned(), "agg-3".to_owned()],
            frames: 3,
            first_tick: 5,
            last_tick: 9,
            ..v1::LedgerDispute::default()
        };
        let wrong = v1::Ledger { conservation, overlaps: Some(3), disputes: vec![dispute], ..ledger.unwrap() };
        let wrong = [(name, Ok(wrong))];
        let claimed = "agg-1: agg-2 and agg-3 both claim 3 frames of the seconds 5 to 9";
        assert_eq!(faults(9, &wrong), ["agg-1: not balanced: 1 sum", claimed]);
        assert_eq!(faults(10, &wrong), ["agg-1: not balanced: 1 sum"], "what is over is no fault of other seconds");
    }
}
