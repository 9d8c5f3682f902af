//! What happens when: draws from a seed. Pure; time is what has passed since the first draw.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use rustix::process::Signal;

use super::network::{Cut, Party};

/// Nothing may be wrong for this long before a second aggregator is killed: by then what it acknowledged is
/// everywhere.
const QUIET: Duration = Duration::from_secs(4);
/// Between two draws.
const DRAW_MS: (u64, u64) = (800, 3_000);
/// How long a process is gone.
const GONE_MS: (u64, u64) = (1_000, 6_000);
/// How long a process or a link is held. Shorter than the 20 s after which an aggregator that is cut off acknowledges
/// on its own.
const HELD_MS: (u64, u64) = (5_000, 15_000);
/// How far the clock of a node is set ahead; negative: back. All beyond the second that is borne; some seconds come too
/// late to be shown at once, some too early, some never.
const AHEAD_MS: [i64; 8] = [-120_000, -20_000, -3_000, -1_500, 1_500, 5_000, 30_000, 3_600_000];
/// How far back a node may bring a second that it cuts now, in seconds: the most of [`AHEAD_MS`], and some.
pub(super) const BEHIND: u32 = 125;
/// Aggregators out of order at one time.
const OUT_MAX: usize = 2;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Send a signal; a killed process is waited for.
    Signal(Party, Signal),
    /// Start a process that was killed.
    Start(Party),
    /// Start another process with the name of this aggregator.
    Namesake(Party),
    /// Start a daemon on another machine with the name of this node, which is well.
    Second(Party),
    /// End that daemon.
    SecondEnds(Party),
    /// Set the clock of this node: milliseconds ahead.
    Clock(Party, i64),
    /// From now on these cuts and no others.
    Network(Vec<Cut>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(party, signal) => write!(f, "{} {party}", name(*signal)),
            Self::Start(party) => write!(f, "start {party}"),
            Self::Namesake(party) | Self::Second(party) => write!(f, "another {party}"),
            Self::SecondEnds(party) => write!(f, "kill the other {party}"),
            Self::Clock(party, ahead_ms) => write!(f, "clock {party} {:+} s", *ahead_ms as f64 / 1_000.0),
            Self::Network(cuts) if cuts.is_empty() => write!(f, "network whole"),
            Self::Network(cuts) => {
                write!(f, "network")?;
                for cut in cuts.iter().take(6) {
                    write!(f, " {}->{} {} %", cut.from, cut.to, cut.percent)?;
                }
                if cuts.len() > 6 { write!(f, " and {} more", cuts.len() - 6) } else { Ok(()) }
            }
        }
    }
}

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::KILL => "kill",
        Signal::TERM => "term",
        Signal::STOP => "stop",
        Signal::CONT => "cont",
        _ => "signal",
    }
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    KillAggregator,
    TermAggregator,
    StopAggregator,
    KillNode,
    TermNode,
    StopNode,
    Namesake,
    SecondNode,
    ClockStep,
    Partition,
    OneWay,
    NodePartition,
    Loss,
}

impl Kind {
    const PROCESSES: [Self; 9] = [
        Self::KillAggregator,
        Self::TermAggregator,
        Self::StopAggregator,
        Self::KillNode,
        Self::TermNode,
        Self::StopNode,
        Self::Namesake,
        Self::SecondNode,
        Self::ClockStep,
    ];
    const NETWORK: [Self; 4] = [Self::Partition, Self::OneWay, Self::NodePartition, Self::Loss];

    const fn name(self) -> &'static str {
        match self {
            Self::KillAggregator => "kill -9",
            Self::TermAggregator => "SIGTERM",
            Self::StopAggregator => "STOP",
            Self::KillNode => "node kill",
            Self::TermNode => "node SIGTERM",
            Self::StopNode => "node STOP",
            Self::Namesake => "namesake",
            Self::SecondNode => "second node",
            Self::ClockStep => "clock step",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::NodePartition => "node partition",
            Self::Loss => "loss",
        }
    }
}

/// The state of the draws.
#[derive(Debug)]
pub(super) struct Plan {
    random: StdRng,
    aggregators: usize,
    nodes: usize,
    network: bool,
    next_draw: Duration,
    /// What ends when.
    ends: Vec<(Duration, Step)>,
    /// Processes that are killed or held.
    out: BTreeSet<Party>,
    /// The network is cut.
    cut: bool,
    /// Since when no aggregator is out and no link is cut.
    quiet_since: Option<Duration>,
    /// An aggregator was killed since the last quiet time.
    killed: bool,
    drawn: BTreeMap<Kind, usize>,
}

impl Plan {
    pub(super) fn new(random: StdRng, aggregators: usize, nodes: usize, network: bool) -> Self {
        Self {
            random,
            aggregators,
            nodes,
            network,
            next_draw: Duration::ZERO,
            ends: Vec::new(),
            out: BTreeSet::new(),
            cut: false,
            quiet_since: Some(Duration::ZERO),
            killed: false,
            drawn: BTreeMap::new(),
        }
    }

    /// When [`Plan::due`] has something to do next.
    pub(super) fn next(&self) -> Duration {
        self.ends.iter().map(|(at, _)| *at).fold(self.next_draw, Duration::min)
    }

    /// What is to be done now, in order.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        let (over, going) = std::mem::take(&mut self.ends).into_iter().partition(|(at, _)| *at <= now);
        self.ends = going;
        for (_, step) in over {
            self.ended(&step);
            steps.push(step);
        }
        self.look(now);
        if now >= self.next_draw {
            self.next_draw = now + self.millis(DRAW_MS);
            steps.extend(self.draw(now));
            self.look(now);
        }
        steps
    }

    /// Ends everything that is going on.
    pub(super) fn heal(&mut self) -> Vec<Step> {
        self.ends.sort_by_key(|(at, _)| *at);
        let steps: Vec<Step> = std::mem::take(&mut self.ends).into_iter().map(|(_, step)| step).collect();
        steps.iter().for_each(|step| self.ended(step));
        steps
    }

    /// How often each kind was drawn and done.
    pub(super) fn drawn(&self) -> String {
        let counts: Vec<String> = self.drawn.iter().map(|(kind, n)| format!("{} {n}", kind.name())).collect();
        counts.join(", ")
    }

    fn ended(&mut self, step: &Step) {
        match step {
            Step::Signal(party, _) | Step::Start(party) | Step::SecondEnds(party) | Step::Clock(party, _) => {
                self.out.remove(party);
            }
            Step::Namesake(_) | Step::Second(_) => {}
            Step::Network(cuts) => self.cut = !cuts.is_empty(),
        }
    }

    /// Notes whether it is quiet.
    fn look(&mut self, now: Duration) {
        if self.cut || self.aggregators_out() > 0 {
            self.quiet_since = None;
        } else {
            let since = *self.quiet_since.get_or_insert(now);
            if now - since >= QUIET {
                self.killed = false;
            }
        }
    }

    fn aggregators_out(&self) -> usize {
        self.out.iter().filter(|party| matches!(party, Party::Aggregator(_))).count()
    }

    fn millis(&mut self, (from, to): (u64, u64)) -> Duration {
        Duration::from_millis(self.random.random_range(from..=to))
    }

    fn aggregator(&mut self) -> Party {
        Party::Aggregator(self.random.random_range(0..self.aggregators))
    }

    fn node(&mut self) -> Party {
        Party::Node(self.random.random_range(0..self.nodes))
    }

    /// Draws a kind and a target; nothing when the target is busy or the promise would not cover it.
    fn draw(&mut self, now: Duration) -> Option<Step> {
        let mut kinds = Kind::PROCESSES.to_vec();
        if self.network {
            kinds.extend(Kind::NETWORK);
        }
        let kind = *kinds.choose(&mut self.random)?;
        let step = match kind {
            Kind::KillAggregator => self.kill(now, Signal::KILL),
            Kind::TermAggregator => self.kill(now, Signal::TERM),
            Kind::StopAggregator => {
                let party = self.aggregator();
                (!self.killed && self.aggregators_out() < OUT_MAX).then_some(())?;
                self.hold(now, party)
            }
            Kind::KillNode => {
                let party = self.node();
                self.end(now, party, Signal::KILL)
            }
            Kind::TermNode => {
                let party = self.node();
                self.end(now, party, Signal::TERM)
            }
            Kind::StopNode => {
                let party = self.node();
                self.hold(now, party)
            }
            Kind::Namesake => {
                let party = self.aggregator();
                self.known_to_be_well().then_some(Step::Namesake(party))
            }
            Kind::SecondNode => {
                let party = self.node();
                self.known_to_be_well().then_some(())?;
                self.change(now, party, Step::Second(party), Step::SecondEnds(party))
            }
            Kind::ClockStep => {
                let (party, ahead_ms) = (self.node(), *AHEAD_MS.choose(&mut self.random)?);
                self.change(now, party, Step::Clock(party, ahead_ms), Step::Clock(party, 0))
            }
            Kind::Partition | Kind::OneWay | Kind::NodePartition | Kind::Loss => self.spoil(now, kind),
        }?;
        *self.drawn.entry(kind).or_default() += 1;
        Some(step)
    }

    /// Kills an aggregator, the only one until it has been quiet.
    fn kill(&mut self, now: Duration, signal: Signal) -> Option<Step> {
        let party = self.aggregator();
        (!self.killed && self.aggregators_out() < OUT_MAX).then_some(())?;
        let step = self.end(now, party, signal)?;
        self.killed = true;
        Some(step)
    }

    fn end(&mut self, now: Duration, party: Party, signal: Signal) -> Option<Step> {
        self.out.insert(party).then_some(())?;
        let back = now + self.millis(GONE_MS);
        self.ends.push((back, Step::Start(party)));
        Some(Step::Signal(party, signal))
    }

    fn hold(&mut self, now: Duration, party: Party) -> Option<Step> {
        self.change(now, party, Step::Signal(party, Signal::STOP), Step::Signal(party, Signal::CONT))
    }

    /// Does something for a while to somebody to whom nothing else is done.
    fn change(&mut self, now: Duration, party: Party, step: Step, end: Step) -> Option<Step> {
        self.out.insert(party).then_some(())?;
        let back = now + self.millis(HELD_MS);
        self.ends.push((back, end));
        Some(step)
    }

    /// Whether every aggregator is well and everyone can know it.
    fn known_to_be_well(&self) -> bool {
        !self.cut && !self.killed && self.aggregators_out() == 0
    }

    /// Cuts or spoils links; one such fault at a time, and none before an aggregator that was killed is made good.
    fn spoil(&mut self, now: Duration, kind: Kind) -> Option<Step> {
        (!self.cut && !self.killed).then_some(())?;
        let mut cuts = Vec::new();
        let mut both = |a, b, percent| {
            cuts.push(Cut { from: a, to: b, percent });
            cuts.push(Cut { from: b, to: a, percent });
        };
        let all = || (0..self.aggregators).map(Party::Aggregator);
        // A few against the rest, at least one on each side.
        let size = self.random.random_range(1..=self.aggregators / 2);
        let mut side = BTreeSet::new();
        while side.len() < size {
            side.insert(Party::Aggregator(self.random.random_range(0..self.aggregators)));
        }
        match kind {
            Kind::Partition => {
                for &a in &side {
                    all().filter(|b| !side.contains(b)).for_each(|b| both(a, b, 100));
                }
            }
            Kind::OneWay => {
                let rest = side.iter().flat_map(|&a| all().filter(|b| !side.contains(b)).map(move |b| (a, b)));
                cuts.extend(rest.map(|(from, to)| Cut { from, to, percent: 100 }));
            }
            Kind::NodePartition => {
                let node = Party::Node(self.random.random_range(0..self.nodes));
                let far: Vec<Party> =
                    if self.random.random_bool(0.5) { all().collect() } else { side.into_iter().collect() };
                if self.random.random_bool(0.5) {
                    far.into_iter().for_each(|a| both(node, a, 100));
                } else {
                    cuts.extend(far.into_iter().map(|from| Cut { from, to: node, percent: 100 }));
                }
            }
            _ => {
                let percent = self.random.random_range(10..=30);
                for &a in &side {
                    all().filter(|&b| b != a).for_each(|b| both(a, b, percent));
                }
            }
        }
        self.cut = true;
        let whole = now + self.millis(HELD_MS);
        self.ends.push((whole, Step::Network(Vec::new())));
        Some(Step::Network(cuts))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    /// Runs a plan to its end and looks at every step.
    fn steps(seed: u64) -> (Vec<(Duration, Step)>, Plan) {
        let mut plan = Plan::new(StdRng::seed_from_u64(seed), 5, 10, true);
        let (mut now, mut all) = (Duration::ZERO, Vec::new());
        while now < Duration::from_secs(600) {
            all.extend(plan.due(now).into_iter().map(|step| (now, step)));
            now = plan.next();
        }
        all.extend(plan.heal().into_iter().map(|step| (now, step)));
        (all, plan)
    }

    #[test]
    fn one_seed_is_one_plan_and_everything_is_made_good() {
        let ((a, plan), (b, _)) = (steps(7), steps(7));
        assert_eq!(a, b);
        assert!(plan.out.is_empty() && !plan.cut && plan.ends.is_empty());
        assert_eq!(plan.drawn.len(), Kind::PROCESSES.len() + Kind::NETWORK.len(), "{}", plan.drawn());
        assert!(plan.drawn.values().sum::<usize>() > 100, "{}", plan.drawn());
    }

    #[test]
    fn a_second_aggregator_is_killed_only_after_a_quiet_time() {
        for seed in 0..20 {
            let (mut trouble, mut quiet_since, mut killed) = (BTreeSet::new(), Duration::ZERO, false);
            for (now, step) in steps(seed).0 {
                if trouble.is_empty() && now - quiet_since >= QUIET {
                    killed = false;
                }
                match &step {
                    Step::Signal(party @ Party::Aggregator(_), Signal::KILL | Signal::TERM) => {
                        assert!(!killed, "seed {seed} at {now:?}");
                        killed = true;
                        trouble.insert(Some(*party));
                    }
                    Step::Signal(party @ Party::Aggregator(_), Signal::STOP) => drop(trouble.insert(Some(*party))),
                    Step::Signal(party, Signal::CONT) | Step::Start(party) => drop(trouble.remove(&Some(*party))),
                    Step::Network(cuts) if cuts.is_empty() => drop(trouble.remove(&None)),
                    Step::Network(_) => drop(trouble.insert(None)),
                    Step::Namesake(party) => assert!(matches!(party, Party::Aggregator(_))),
                    Step::Second(party) | Step::SecondEnds(party) | Step::Clock(party, _) => {
                        assert!(matches!(party, Party::Node(_)));
                    }
                    Step::Signal(..) => {}
                }
                if !trouble.is_empty() {
                    quiet_since = Duration::MAX;
                } else if quiet_since == Duration::MAX {
                    quiet_since = now;
                }
                assert!(trouble.iter().flatten().count() <= OUT_MAX);
            }
        }
    }
}
