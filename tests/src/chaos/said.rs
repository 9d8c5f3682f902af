//! What the nodes said of themselves, stream by stream: the truth that every answer is held against.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::{Digit, Sum, node::Line};

/// How long after the end of a start its digit is free for another one: beyond all that clocks are set back by.
const FREE_AFTER: Duration = Duration::from_secs(180);

/// What one stream of a node said: a start of a daemon, or what follows a step of its clock.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// Number of the node.
    pub(super) node: usize,
    /// What it sends.
    pub(super) digit: Digit,
    /// How far its clock is ahead.
    pub(super) ahead_ms: i64,
    /// It is of a second daemon, on another machine.
    pub(super) second: bool,
    /// Of a second daemon: something happened to an aggregator or a link in its time, so that it may have found the name
    /// free.
    pub(super) disturbed: bool,
    /// Seconds it cut, or was about to cut when it was killed.
    pub(super) cut: BTreeSet<u32>,
    /// Acknowledged, not acknowledged and lost, as it said last.
    pub(super) acked: u64,
    pub(super) unacked: u64,
    pub(super) lost: u64,
    /// It was neither killed nor asked to stop.
    pub(super) alive: bool,
    /// Since when it cuts nothing more.
    pub(super) over_since: Option<Instant>,
}

impl Said {
    pub(super) const fn new(node: usize, digit: Digit) -> Self {
        Self {
            node,
            digit,
            ahead_ms: 0,
            second: false,
            disturbed: false,
            cut: BTreeSet::new(),
            acked: 0,
            unacked: 0,
            lost: 0,
            alive: true,
            over_since: None,
        }
    }

    /// Takes a line of its process.
    pub(super) fn take(&mut self, line: Line) {
        match line {
            Line::Cut(tick) => drop(self.cut.insert(tick)),
            Line::Stats { acked, unacked, lost, ended } => {
                (self.acked, self.unacked, self.lost) = (acked, unacked, lost);
                if ended {
                    self.over_since.get_or_insert_with(Instant::now);
                }
            }
        }
    }

    /// Its process was ended.
    pub(super) fn end(&mut self) {
        // A stream that has handed over everything before loses nothing by that.
        if self.over_since.is_none() {
            self.alive = false;
            self.over_since = Some(Instant::now());
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.over_since.is_some_and(|since| since.elapsed() > FREE_AFTER)
    }
}

/// Who is in the sum of a second: the numbers of starts.
pub(super) fn starts_in(said: &[Said], sum: &Sum, tick: u32) -> Vec<usize> {
    let start = |digit: &Digit| said.iter().position(|said| said.digit == *digit && said.cut.contains(&tick));
    sum.times.keys().filter_map(start).collect()
}

/// How many nodes they are; `None` when a start is in it whose line was not read yet.
pub(super) fn nodes_in(said: &[Said], sum: &Sum, tick: u32) -> Option<usize> {
    let starts = starts_in(said, sum, tick);
    let nodes: BTreeSet<usize> = starts.iter().map(|&start| said[start].node).collect();
    (starts.len() == sum.times.len()).then_some(nodes.len())
}

/// What all streams said, by number of the start.
pub(super) type AllSaid = Arc<Mutex<Vec<Said>>>;
