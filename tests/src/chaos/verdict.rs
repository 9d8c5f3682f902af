//! What is true after everything was healed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use starling_proto::v1::ClusterView;
use tokio::time::sleep;

use super::{
    ChaosConfig, Digit, Sum,
    fleet::{ChaosFleet, Said},
    reader::{Expects, Readers, Reads, view},
};
use crate::{
    Oracle, eventually,
    health::{Member, every_log_advances, same_view},
};

/// Wrong claims that are described: they come in long rows.
const CLAIMS_TOLD: u64 = 10;

/// What the run found. Everything but the first few counts must be 0.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Faults by kind.
    pub drawn: String,
    /// Aggregators read.
    pub aggregators: usize,
    /// Seconds read at the end, at each.
    pub seconds: u32,
    /// Answers read while the faults lasted.
    pub reads: u64,
    /// Frames that all starts of all nodes cut.
    pub frames: u64,
    /// Frames that the nodes said they lost; each by its reason at the node, none of them acknowledged.
    pub lost_unacknowledged: u64,
    /// Seconds with a frame twice or in parts, in any read.
    pub counted_twice: u64,
    /// Frames that are acknowledged and missing.
    pub acknowledged_lost: u64,
    /// Frames that no node sent.
    pub invented: u64,
    /// Answers that said to be complete and lacked a node, or did not name who is missing.
    pub wrong_claims: u64,
    /// Seconds of which an aggregator says anything that another does not say.
    pub answers_differ: u64,
    /// Seconds that exist and were not sent by the stream of views of some aggregator.
    pub not_watched: u64,
    /// Second processes of one name that were not refused.
    pub namesakes: u64,
    /// Seconds that aggregators see differently.
    pub hashes_differ: u64,
    /// Seconds whose books do not balance, and overlaps and forks.
    pub unbalanced: u64,
    /// Logs that stopped advancing somewhere.
    pub standing: u64,
    /// Details of all that.
    pub findings: Vec<String>,
}

impl Verdict {
    /// True when nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let wrong = self.counted_twice + self.acknowledged_lost + self.invented;
        let shown = self.wrong_claims + self.answers_differ + self.not_watched + self.namesakes;
        wrong + shown + self.hashes_differ + self.unbalanced + self.standing == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| faults | seconds x aggregators | reads under faults | frames cut | lost and not acknowledged | counted twice | acknowledged and lost | invented | wrong claims | answers differ | not sent by a stream | namesakes | hashes differ | unbalanced | logs that stopped advancing |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
        write!(f, "| {} | {} x {} | {} ", self.drawn, self.seconds, self.aggregators, self.reads)?;
        write!(f, "| {} | {} | {} ", self.frames, self.lost_unacknowledged, self.counted_twice)?;
        write!(f, "| {} | {} | {} ", self.acknowledged_lost, self.invented, self.wrong_claims)?;
        write!(f, "| {} | {} | {} ", self.answers_differ, self.not_watched, self.namesakes)?;
        writeln!(f, "| {} | {} | {} |", self.hashes_differ, self.unbalanced, self.standing)?;
        self.findings.iter().try_for_each(|finding| writeln!(f, "- {finding}"))
    }
}

/// Waits for the healed cluster and reads all its seconds.
pub(super) async fn read(
    config: &ChaosConfig,
    fleet: &ChaosFleet,
    readers: Readers,
    expects: Expects,
    drawn: String,
) -> Result<Verdict, String> {
    fleet.everybody_ready().await;
    eventually("every node that lives has all but its newest frames acknowledged", async || {
        let said = fleet.said();
        let waiting: Vec<_> = said.iter().enumerate().filter(|(_, said)| said.alive && said.unacked > 3).collect();
        if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
    })
    .await;
    let (begin, last) = (expects.begin, Oracle::now());
    // The newest frames are acknowledged, and every entry is everywhere.
    sleep(Duration::from_secs(6)).await;
    let Reads { answered, wrong, claims, watched, findings, .. } = readers.end();
    let mut verdict = Verdict {
        drawn,
        aggregators: config.aggregators,
        seconds: last - begin + 1,
        reads: answered,
        counted_twice: wrong,
        wrong_claims: claims,
        findings,
        ..Verdict::default()
    };
    let members = fleet.members();
    if let Err(standing) = every_log_advances(&members).await {
        verdict.standing += 1;
        verdict.findings.push(standing);
    }
    let said = fleet.said().clone();
    let present = seconds(&members, expects, last, &mut verdict).await?;
    frames(&said, &present, begin, last, &mut verdict);
    streams(&members, &watched, &present, &mut verdict);
    verdict.namesakes += fleet.strange().len() as u64;
    verdict.findings.extend_from_slice(fleet.strange());
    verdict.findings.extend(fleet.errors());
    verdict.findings.truncate(40);
    Ok(verdict)
}

/// Reads every second at every member; gives who is in it.
async fn seconds(
    members: &[Member],
    expects: Expects,
    last: u32,
    verdict: &mut Verdict,
) -> Result<BTreeMap<u32, Sum>, String> {
    let mut present = BTreeMap::new();
    let mut clients: Vec<_> = members.iter().map(|_| None).collect();
    for tick in expects.begin..=last {
        let mut first_answer = None;
        for (member, client) in members.iter().zip(&mut clients) {
            let answer = match view(member, client, tick).await {
                Ok(view) => Some(comparable(view)),
                // A second in which no frame was cut is not there.
                Err(error) if error.contains("NotFound") || error.contains("not found") => None,
                Err(error) => return Err(format!("second {tick} at {}: {error}", member.name)),
            };
            let sum = answer.as_ref().map_or_else(Sum::default, Sum::of);
            if let Some(claim) = answer.as_ref().and_then(|view| expects.wrong_claim(view)) {
                verdict.wrong_claims += 1;
                if verdict.wrong_claims < CLAIMS_TOLD {
                    verdict.findings.push(format!("second {tick} at {}, at the end: {claim}", member.name));
                }
            }
            let known = first_answer.get_or_insert_with(|| answer.clone());
            if *known != answer {
                verdict.answers_differ += 1;
                verdict
                    .findings
                    .push(format!("second {tick} at {}: {answer:?}; the first says {known:?}", member.name));
            }
            if let Some(wrong) = sum.wrong() {
                verdict.counted_twice += 1;
                verdict.findings.push(format!("second {tick} at {}, at the end: {wrong}", member.name));
            }
            let first = present.entry(tick).or_insert_with(|| sum.clone());
            if *first != sum {
                verdict.hashes_differ += 1;
                verdict.findings.push(format!("second {tick} at {} has {sum:?}, the first has {first:?}", member.name));
            }
        }
        if let Err(error) = same_view(members, tick).await {
            *(if error.contains("overlaps") { &mut verdict.unbalanced } else { &mut verdict.hashes_differ }) += 1;
            verdict.findings.push(error);
        }
    }
    Ok(present)
}

/// A view without what belongs to its answer: when it was asked for, and how often this aggregator saw it change.
fn comparable(mut view: ClusterView) -> ClusterView {
    view.revision = 0;
    if let Some(completeness) = &mut view.completeness {
        completeness.age_ms = None;
        // Of the moment, not of the second: what the others said by gossip some seconds ago.
        completeness.copies_on_disk = None;
    }
    view
}

/// Looks for seconds that somebody's stream of views did not send.
fn streams(
    members: &[Member],
    watched: &BTreeMap<String, BTreeSet<u32>>,
    present: &BTreeMap<u32, Sum>,
    verdict: &mut Verdict,
) {
    let with_frames = present.iter().filter(|(_, sum)| !sum.times.is_empty());
    let there: BTreeSet<u32> = with_frames.map(|(&tick, _)| tick).collect();
    for member in members {
        let sent = watched.get(&member.name).cloned().unwrap_or_default();
        let missing: Vec<u32> = there.difference(&sent).copied().collect();
        if !missing.is_empty() {
            verdict.not_watched += missing.len() as u64;
            verdict.findings.push(format!("the stream of {} did not send {missing:?}", member.name));
        }
    }
}

/// Compares who is in the seconds with what the nodes said.
fn frames(said: &[Said], present: &BTreeMap<u32, Sum>, begin: u32, last: u32, verdict: &mut Verdict) {
    for (start, said) in said.iter().enumerate() {
        let Some(digit) = Digit::of(start) else { continue };
        let inside = |sum: &Sum| sum.times.contains_key(&digit);
        let mut missing = Vec::new();
        for tick in said.cut.iter().filter(|tick| (begin..=last).contains(*tick)) {
            verdict.frames += 1;
            if !present.get(tick).is_some_and(inside) {
                missing.push(*tick);
            }
        }
        // Said lost with a reason, or not acknowledged when its process was killed, perhaps one more cut since.
        let forgiven = said.lost + if said.alive { 0 } else { said.unacked + 1 };
        verdict.lost_unacknowledged += (missing.len() as u64).min(forgiven);
        let wrong = (missing.len() as u64).saturating_sub(forgiven);
        if wrong > 0 {
            verdict.acknowledged_lost += wrong;
            verdict.findings.push(format!(
                "start {start}: missing {missing:?}, it said {} acknowledged, {} lost, {} not yet, alive: {}",
                said.acked, said.lost, said.unacked, said.alive
            ));
        }
        let strange: Vec<u32> = present
            .iter()
            .filter(|(tick, sum)| inside(sum) && !said.cut.contains(tick))
            .map(|(tick, _)| *tick)
            .collect();
        if !strange.is_empty() {
            verdict.invented += strange.len() as u64;
            verdict.findings.push(format!("start {start} is in {strange:?} and cut none of these"));
        }
    }
    for (tick, sum) in present {
        let mut nodes: Vec<usize> = sum.times.keys().filter_map(|d| Some(said.get(d.number())?.node)).collect();
        let all = nodes.len();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.len() < all {
            verdict.counted_twice += 1;
            verdict.findings.push(format!("second {tick} has two starts of one node: {:?}", sum.times));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(starts: &[usize]) -> Sum {
        let times = starts.iter().filter_map(|&start| Digit::of(start)).map(|digit| (digit, 1)).collect();
        Sum { times, errors: starts.len() as u64, values: starts.len() as u64 }
    }

    fn judge(said: &Said, present: &[(u32, &[usize])]) -> Verdict {
        let present = present.iter().map(|(tick, starts)| (*tick, sum(starts))).collect();
        let mut verdict = Verdict::default();
        frames(std::slice::from_ref(said), &present, 1, 9, &mut verdict);
        verdict
    }

    #[test]
    fn a_missing_frame_is_forgiven_only_when_its_node_said_so() {
        let alive = Said { cut: vec![1, 2, 3], acked: 3, alive: true, ..Said::default() };
        assert!(judge(&alive, &[(1, &[0]), (2, &[0]), (3, &[0])]).is_good());
        assert_eq!(judge(&alive, &[(1, &[0]), (3, &[0])]).acknowledged_lost, 1);
        let killed = Said { acked: 2, unacked: 0, alive: false, ..alive.clone() };
        assert!(judge(&killed, &[(1, &[0]), (2, &[0])]).is_good(), "the frame it was about to cut");
        assert_eq!(judge(&killed, &[(1, &[0])]).acknowledged_lost, 1);
        assert_eq!(judge(&alive, &[(1, &[0]), (2, &[0]), (3, &[0]), (4, &[0])]).invented, 1);
    }
}
