//! What is true after everything was healed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
    time::Duration,
};

use starling_proto::v1::ClusterView;
use tokio::time::sleep;

use super::{
    ChaosConfig, Sum,
    fleet::ChaosFleet,
    plan::BEHIND,
    reader::{Expects, Readers, Reads, view},
    said::{Said, starts_in},
    shown::{Answer, Pages, Rates, by_rest, of_view},
};
use crate::{
    Oracle, eventually,
    health::{Member, every_log_advances, same_view},
};

/// Wrong claims that are described: they come in long rows.
const CLAIMS_TOLD: u64 = 10;
/// Findings that are described in all.
const FINDINGS_MAX: usize = 40;
/// Seconds in which the pages must show what the aggregators say.
const PAGES_TRIES: u32 = 20;

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
    /// Seconds that a dashboard shows differently, on its page or by REST.
    pub shown_differ: u64,
    /// Second processes and daemons of one name that were not refused.
    pub namesakes: u64,
    /// Second daemons that found the name free while an aggregator or a link was down: not wrong.
    pub names_changed: u64,
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
        let shown = self.wrong_claims + self.answers_differ + self.not_watched + self.shown_differ + self.namesakes;
        wrong + shown + self.hashes_differ + self.unbalanced + self.standing == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: [(&str, &dyn fmt::Display); 18] = [
            ("faults", &self.drawn),
            ("seconds", &self.seconds),
            ("aggregators", &self.aggregators),
            ("reads under faults", &self.reads),
            ("frames cut", &self.frames),
            ("lost and not acknowledged", &self.lost_unacknowledged),
            ("names that changed hands", &self.names_changed),
            ("counted twice", &self.counted_twice),
            ("acknowledged and lost", &self.acknowledged_lost),
            ("invented", &self.invented),
            ("wrong claims", &self.wrong_claims),
            ("answers differ", &self.answers_differ),
            ("not sent by a stream", &self.not_watched),
            ("dashboards differ", &self.shown_differ),
            ("namesakes", &self.namesakes),
            ("hashes differ", &self.hashes_differ),
            ("unbalanced", &self.unbalanced),
            ("logs that stopped advancing", &self.standing),
        ];
        for (what, figure) in rows {
            writeln!(f, "{what}: {figure}")?;
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "- {finding}"))
    }
}

/// What was found, round by round.
#[derive(Debug)]
pub(super) struct Judge {
    expects: Expects,
    /// The first second that was not read yet.
    next: u32,
    /// Who is in which second.
    present: BTreeMap<u32, Sum>,
    verdict: Verdict,
}

impl Judge {
    pub(super) fn new(config: &ChaosConfig, expects: Expects) -> Self {
        let verdict = Verdict { aggregators: config.aggregators, ..Verdict::default() };
        Self { next: expects.begin, expects, present: BTreeMap::new(), verdict }
    }

    /// Waits for the healed cluster and reads all seconds of this round, everywhere.
    pub(super) async fn round(&mut self, fleet: &ChaosFleet, pages: &Pages) -> Result<(), String> {
        fleet.everybody_ready().await;
        eventually("every node that lives has all but its newest frames acknowledged", async || {
            let said = fleet.said();
            let waiting: Vec<_> = said
                .iter()
                .enumerate()
                .filter(|(_, said)| said.alive && said.unacked > 3)
                .map(|(start, said)| {
                    format!("start {start} of node {}: {} of {}", said.node, said.unacked, said.cut.len())
                })
                .collect();
            if waiting.is_empty() { Ok(()) } else { Err(waiting.join(", ")) }
        })
        .await;
        // Those that clocks which were set back brought since are read again.
        let seconds = (self.next - BEHIND).max(self.expects.begin)..=Oracle::now();
        // The newest frames are acknowledged, and every entry is everywhere.
        sleep(Duration::from_secs(6)).await;
        self.next = *seconds.end() + 1;
        let members = fleet.members();
        let shown = self.seconds(&members, &seconds).await?;
        for dashboard in fleet.dashboards() {
            let answers = by_rest(dashboard, &seconds).await?;
            for (tick, is) in &shown {
                let other = answers.get(tick).filter(|other| *other != is);
                self.differs(other.map(|other| format!("second {tick} by REST of {dashboard}: {other:?}, not {is:?}")));
            }
        }
        self.pages(pages, &shown).await;
        Ok(())
    }

    /// Notes how a dashboard differs.
    fn differs(&mut self, finding: Option<String>) {
        let Some(finding) = finding else { return };
        self.verdict.shown_differ += 1;
        if self.verdict.shown_differ < CLAIMS_TOLD {
            self.verdict.findings.push(finding);
        }
    }

    /// Compares the open pages with what the aggregators say; a correction is on its way for a moment.
    async fn pages(&mut self, pages: &Pages, shown: &BTreeMap<u32, Answer>) {
        let mut other = Vec::new();
        for _ in 0..PAGES_TRIES {
            other = shown
                .iter()
                .flat_map(|(tick, is)| pages.rates(*tick).map(move |page| (*tick, is.rates, page)))
                .filter(|(_, rates, (_, page))| drawn(*rates) != drawn(*page))
                .collect();
            if other.is_empty() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        for (tick, rates, (at, page)) in other {
            self.differs(Some(format!("second {tick} on the page of {at}: {page:?}, not {rates:?}")));
        }
    }

    /// The verdict over all rounds.
    pub(super) async fn end(self, fleet: &ChaosFleet, readers: Readers, drawn: String) -> Verdict {
        let Self { expects, next, present, mut verdict } = self;
        let Reads { answered, wrong, claims, watched, findings, .. } = readers.end();
        verdict.drawn = drawn;
        verdict.seconds = next - expects.begin;
        verdict.reads = answered;
        verdict.counted_twice += wrong;
        verdict.wrong_claims += claims;
        verdict.findings.splice(0..0, findings);
        let members = fleet.members();
        if let Err(standing) = every_log_advances(&members).await {
            verdict.standing += 1;
            verdict.findings.push(standing);
        }
        let said = fleet.said().clone();
        frames(&said, &present, &(expects.begin..=next - 1), &mut verdict);
        streams(&members, &watched, &present, &mut verdict);
        verdict.namesakes += fleet.strange().len() as u64;
        verdict.findings.extend_from_slice(fleet.strange());
        verdict.findings.extend(fleet.errors());
        verdict.findings.truncate(FINDINGS_MAX);
        verdict
    }
}

/// As a chart has it.
fn drawn(rates: Rates) -> [Option<f32>; 5] {
    rates.map(|rate| rate.map(|rate| rate as f32))
}

impl Judge {
    /// Reads every second at every member; gives what is shown of it.
    async fn seconds(
        &mut self,
        members: &[Member],
        seconds: &RangeInclusive<u32>,
    ) -> Result<BTreeMap<u32, Answer>, String> {
        let Self { expects, present, verdict, .. } = self;
        let mut shown = BTreeMap::new();
        let mut clients: Vec<_> = members.iter().map(|_| None).collect();
        for tick in seconds.clone() {
            present.remove(&tick);
            let mut first_answer = None;
            for (member, client) in members.iter().zip(&mut clients) {
                let answer = match view(member, client, tick).await {
                    Ok(view) => Some(comparable(view)),
                    // A second in which no frame was cut is not there.
                    Err(error) if error.contains("NotFound") || error.contains("not found") => None,
                    Err(error) => return Err(format!("second {tick} at {}: {error}", member.name)),
                };
                let sum = answer.as_ref().map_or_else(Sum::default, Sum::of);
                if let Some(claim) = answer.as_ref().and_then(|view| expects.wrong_claim(view, &sum)) {
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
                    verdict
                        .findings
                        .push(format!("second {tick} at {} has {sum:?}, the first has {first:?}", member.name));
                }
            }
            if let Err(error) = same_view(members, tick).await {
                *(if error.contains("overlaps") { &mut verdict.unbalanced } else { &mut verdict.hashes_differ }) += 1;
                verdict.findings.push(error);
            }
            let rates = first_answer.iter().flatten().next().map(of_view).unwrap_or_default();
            let nodes = first_answer
                .flatten()
                .and_then(|view| view.completeness)
                .map(|is| (is.nodes_reporting(), is.nodes_expected()));
            shown.insert(tick, Answer { rates, nodes });
        }
        Ok(shown)
    }
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
fn frames(said: &[Said], present: &BTreeMap<u32, Sum>, seconds: &RangeInclusive<u32>, verdict: &mut Verdict) {
    let inside: BTreeMap<u32, Vec<usize>> =
        present.iter().map(|(tick, sum)| (*tick, starts_in(said, sum, *tick))).collect();
    for (start, is) in said.iter().enumerate() {
        let (mut missing, mut there) = (Vec::new(), 0_u64);
        for tick in is.cut.range(seconds.clone()) {
            verdict.frames += 1;
            if inside.get(tick).is_some_and(|starts| starts.contains(&start)) {
                there += 1;
            } else {
                missing.push(*tick);
            }
        }
        if is.second {
            if there > 0 && is.disturbed {
                verdict.names_changed += 1;
            } else if there > 0 {
                verdict.namesakes += 1;
                verdict.findings.push(format!("start {start}, a second node {}, is in {there} seconds", is.node));
            }
        }
        // Said lost with a reason, or not acknowledged when its process was killed, perhaps one more cut since.
        let forgiven = is.lost + if is.alive { 0 } else { is.unacked + 1 };
        verdict.lost_unacknowledged += (missing.len() as u64).min(forgiven);
        let wrong = (missing.len() as u64).saturating_sub(forgiven);
        if wrong > 0 {
            verdict.acknowledged_lost += wrong;
            verdict.findings.push(format!(
                "start {start}: missing {missing:?}, it said {} acknowledged, {} lost, {} not yet, alive: {}",
                is.acked, is.lost, is.unacked, is.alive
            ));
        }
    }
    for (tick, sum) in present {
        let starts = inside.get(tick).cloned().unwrap_or_default();
        if starts.len() < sum.times.len() {
            verdict.invented += (sum.times.len() - starts.len()) as u64;
            verdict.findings.push(format!("second {tick} holds {:?}, of which only {starts:?} cut it", sum.times));
        }
        // A node whose clock was set has a second twice, and so has a name that changed hands.
        let nodes: Vec<_> =
            starts.iter().map(|&start| (said[start].node, said[start].ahead_ms, said[start].second)).collect();
        if nodes.iter().collect::<BTreeSet<_>>().len() < nodes.len() {
            verdict.counted_twice += 1;
            verdict.findings.push(format!("second {tick} has two starts of one node: {starts:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Digit, *};

    fn sum(digits: &[usize]) -> Sum {
        let times = digits.iter().filter_map(|&digit| Digit::of(digit)).map(|digit| (digit, 1)).collect();
        Sum { times, errors: digits.len() as u64, values: digits.len() as u64 }
    }

    fn said(digit: usize, cut: &[u32]) -> Said {
        Said { cut: cut.iter().copied().collect(), ..Said::new(0, Digit::of(digit).unwrap()) }
    }

    fn judge(said: &[Said], present: &[(u32, &[usize])]) -> Verdict {
        let present = present.iter().map(|(tick, digits)| (*tick, sum(digits))).collect();
        let mut verdict = Verdict::default();
        frames(said, &present, &(1..=9), &mut verdict);
        verdict
    }

    #[test]
    fn a_missing_frame_is_forgiven_only_when_its_node_said_so() {
        let alive = Said { acked: 3, ..said(0, &[1, 2, 3]) };
        let of = |said: &Said, present: &[(u32, &[usize])]| judge(std::slice::from_ref(said), present);
        assert!(of(&alive, &[(1, &[0]), (2, &[0]), (3, &[0])]).is_good());
        assert_eq!(of(&alive, &[(1, &[0]), (3, &[0])]).acknowledged_lost, 1);
        let killed = Said { acked: 2, alive: false, ..alive.clone() };
        assert!(of(&killed, &[(1, &[0]), (2, &[0])]).is_good(), "the frame it was about to cut");
        assert_eq!(of(&killed, &[(1, &[0])]).acknowledged_lost, 1);
        assert_eq!(of(&alive, &[(1, &[0]), (2, &[0]), (3, &[0]), (4, &[0])]).invented, 1);
    }

    #[test]
    fn two_of_one_node_in_a_second_are_right_only_when_its_clock_was_set() {
        let (first, again) = (said(0, &[4, 5]), said(1, &[5, 6]));
        let present: [(u32, &[usize]); 3] = [(4, &[0]), (5, &[0, 1]), (6, &[1])];
        assert_eq!(judge(&[first.clone(), again.clone()], &present).counted_twice, 1);
        assert!(judge(&[first, Said { ahead_ms: -1_500, ..again }], &present).is_good());
    }

    #[test]
    fn a_second_machine_of_a_name_is_right_only_when_the_name_was_free() {
        let second = Said { second: true, ..said(1, &[5]) };
        let all = |second: Said| judge(&[said(0, &[5]), second], &[(5, &[0, 1])]);
        assert_eq!(all(second.clone()).namesakes, 1);
        let free = all(Said { disturbed: true, ..second });
        assert!(free.is_good() && free.names_changed == 1);
    }

    #[test]
    fn a_digit_is_used_again_by_another_start() {
        let two = [said(7, &[1, 2]), Said { node: 1, ..said(7, &[8, 9]) }];
        assert!(judge(&two, &[(1, &[7]), (2, &[7]), (8, &[7]), (9, &[7])]).is_good());
        assert_eq!(judge(&two, &[(1, &[7]), (2, &[7]), (5, &[7]), (8, &[7]), (9, &[7])]).invented, 1);
    }
}
