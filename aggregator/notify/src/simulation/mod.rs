//! Whole clusters in virtual time: aggregators with their book, their evaluation and their desk, nodes that report planted values,
//! a network that is slow, loses messages or is cut, aggregators that are killed, sleep and start again from what they saved,
//! and a receiver that fails. Only the bytes, the clock and who sees whom are made up; all rules are those that ship.
//!
//! - [`Schedule`]: what is planted in one run, and what befalls it;
//! - [`cluster`]: the run; [`network`]: messages and who sees whom; [`seconds`]: what nodes report and how it is read;
//! - [`oracle`]: what must hold of every run, and what of some.

mod cluster;
mod network;
mod oracle;
mod seconds;
mod tests;

/// The first second.
const T0: u32 = 1_800_000_000;
/// Milliseconds of a step.
const STEP: u64 = 100;

/// What is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A node, at once.
    Busy(usize),
    /// A node, once it has been for 5 s.
    Slow(usize),
    /// The cluster, at once.
    Errors,
    /// The cluster, once it has been for 5 s.
    Load,
    /// A group, at once.
    Zone(usize),
    /// A node reports nothing.
    Gone(usize),
}

impl Cause {
    /// The rule and the subject.
    fn names(self) -> (&'static str, String) {
        match self {
            Self::Busy(node) => ("busy", seconds::node_name(node)),
            Self::Slow(node) => ("slow", seconds::node_name(node)),
            Self::Errors => ("errors", String::new()),
            Self::Load => ("load", String::new()),
            Self::Zone(zone) => ("zone", seconds::zone_name(zone)),
            Self::Gone(node) => ("gone", seconds::node_name(node)),
        }
    }
}

impl Cause {
    /// Seconds that it is bad before it is told.
    const fn pending(self) -> u32 {
        match self {
            Self::Slow(_) | Self::Load => 5,
            Self::Gone(_) => 4,
            Self::Busy(_) | Self::Errors | Self::Zone(_) => 0,
        }
    }
}

const RULES: &str = r#"
[[rule]]
name = "busy"
scope = "node"
expression = "system.cpu.utilization"
above = 0.9
severity = "error"
summary = "is busy"
[[rule]]
name = "slow"
scope = "node"
expression = "system.memory.utilization"
above = 0.9
for = "5s"
hold = "3s"
severity = "warning"
summary = "is slow"
[[rule]]
name = "errors"
scope = "cluster"
expression = "traffic.errors"
above = 1
severity = "error"
summary = "fails"
[[rule]]
name = "load"
scope = "cluster"
expression = "traffic.requests"
above = 1
for = "5s"
severity = "warning"
summary = "is loaded"
[[rule]]
name = "zone"
scope = "group"
expression = "traffic.errors"
above = 1
severity = "error"
summary = "fails"
[[rule]]
name = "gone"
scope = "node"
expression = "node.silent_seconds"
above = 3.5
severity = "error"
summary = "is gone"
"#;

/// Seconds of a run, from its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u32,
    length: u32,
}

impl Span {
    const fn of(from: u32, length: u32) -> Self {
        Self { from, length }
    }

    const fn end(self) -> u32 {
        self.from + self.length
    }

    /// Whether a moment, in milliseconds, is in it.
    const fn has(self, now: u64) -> bool {
        now >= self.from as u64 * 1_000 && now < self.end() as u64 * 1_000
    }
}

/// What befalls a cluster.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// An aggregator ends in the step at `at` milliseconds, before the part `phase` of its step, and starts again so many seconds
    /// later.
    Kill { who: usize, at: u64, phase: u8, back: Option<u32> },
    /// An aggregator sleeps.
    Sleep { who: usize, span: Span },
    /// The aggregators and the nodes whose bits are set are cut off from the others.
    Cut { members: u8, nodes: u8, span: Span },
    /// A node goes to another aggregator.
    Move { node: usize, at: u32 },
}

/// What a person says.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// Of the episode of a cause, at an aggregator.
    Acknowledge { at: u32, who: usize, cause: Cause },
    /// Of a cause, for so long; taken back at another aggregator.
    Silence { span: Span, who: usize, cause: Cause, back: Option<(u32, usize)> },
    /// One whose record is kept until this second.
    Outdated { at: u32, who: usize, until: u32 },
}

/// One run.
#[derive(Debug, Clone)]
struct Schedule {
    members: usize,
    nodes: usize,
    bad: Vec<(Cause, Span)>,
    faults: Vec<Fault>,
    /// When the receiver fails.
    failing: Vec<Span>,
    /// Milliseconds until the receiver takes a message.
    receipt: u64,
    said: Vec<Said>,
    /// Longest way of a message between aggregators, in milliseconds.
    delay: u64,
    /// Messages between aggregators that are lost, of 100.
    loss: u64,
    seconds: u32,
    seed: u64,
}

impl Schedule {
    /// Nothing is wrong, and nothing befalls it.
    const fn calm(members: usize, seconds: u32) -> Self {
        Self {
            members,
            nodes: 4,
            bad: Vec::new(),
            faults: Vec::new(),
            failing: Vec::new(),
            receipt: 100,
            said: Vec::new(),
            delay: 60,
            loss: 0,
            seconds,
            seed: 1,
        }
    }

    /// Whether what connects two bits is not cut, of aggregators or of an aggregator and a node.
    fn connects(&self, now: u64, a: (u8, usize), b: (u8, usize)) -> bool {
        self.faults.iter().all(|fault| match fault {
            Fault::Cut { members, nodes, span } if span.has(now) => {
                let side = |(kind, at): (u8, usize)| (if kind == MEMBER { members } else { nodes } >> at) & 1;
                side(a) == side(b)
            }
            _ => true,
        })
    }
}

const MEMBER: u8 = 0;
const NODE: u8 = 1;

/// A mistake that the oracle must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// What was judged is told before another aggregator has it.
    ToldAtOnce,
    /// Who takes over goes on with nothing.
    AdoptsNothing,
    /// What others told is not heard.
    DeafToDeliveries,
    /// Of two open episodes of one cause none ends.
    KeepsBoth,
    /// Nothing is saved.
    SavesNothing,
    /// What ran out is kept.
    KeepsOutdated,
    /// What is new is not given to others.
    GivesNothing,
}

impl Plant {
    const ALL: [Self; 7] = [
        Self::ToldAtOnce,
        Self::AdoptsNothing,
        Self::DeafToDeliveries,
        Self::KeepsBoth,
        Self::SavesNothing,
        Self::KeepsOutdated,
        Self::GivesNothing,
    ];
}
