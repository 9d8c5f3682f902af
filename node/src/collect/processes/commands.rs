//! The commands that are named, and their series.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use starling_proto::{
    catalogue::{self, Metric},
    series::{OTHER, Series},
};

use super::rank::largest;

/// The largest of a second that are named, of each sort.
pub(super) const COMMANDS_MAX: usize = 20;
/// Names in use: a host has some hundred. When all are, further ones are in the rest until one was not used for
/// [`NAME_SECONDS`].
pub(super) const NAMES_MAX: usize = 512;
/// How long a name is kept that nothing is said of: as long as aggregators remember it.
const NAME_SECONDS: u64 = 900;
/// Commands shown at a time, of each sort.
const SHOWN_MAX: usize = 2 * COMMANDS_MAX;
/// How long one is shown that is not among the largest any more. The series of a node should be the same from one second
/// to the next: one more or less is a new layout for whoever decodes and stores them, one that stays at 0 is nothing.
const SHOWN_SECONDS: u64 = 60;

/// The commands that are shown of one sort, with the second in which each was among the largest last.
#[derive(Default)]
pub(in crate::collect) struct Shown(BTreeMap<Arc<str>, u64>);

impl Shown {
    fn forget(&mut self, second: u64) {
        self.0.retain(|_, last| *last + SHOWN_SECONDS >= second);
        while self.0.len() > SHOWN_MAX {
            let Some(oldest) = self.0.iter().min_by_key(|(_, last)| **last).map(|(name, _)| Arc::clone(name)) else {
                return;
            };
            self.0.remove(&oldest);
        }
    }
}

/// The series of the commands that were named, bounded.
#[derive(Default)]
pub(in crate::collect) struct Names {
    pub(super) known: HashMap<Arc<str>, Command>,
    rest: Option<Command>,
}

/// The series of one command.
pub(in crate::collect) struct Command {
    pub(in crate::collect) cpu_time: Series,
    pub(in crate::collect) memory: Series,
    /// Read and written.
    pub(in crate::collect) io: [Series; 2],
    used: u64,
}

impl Command {
    fn new(name: &str) -> Self {
        let of = |metric: &'static Metric| Series::of(metric, &[(NAME, name)]);
        let io = ["read", "write"]
            .map(|direction| Series::of(&catalogue::COMMAND_IO, &[("disk.io.direction", direction), (NAME, name)]));
        Self { cpu_time: of(&catalogue::COMMAND_CPU_TIME), memory: of(&catalogue::COMMAND_MEMORY), io, used: 0 }
    }
}

/// Key of the attribute.
const NAME: &str = "process.executable.name";

impl Names {
    /// The amounts of those that are shown, by name, and the sum of all others.
    pub(in crate::collect) fn admit(
        &mut self,
        shown: &mut Shown,
        mut amounts: HashMap<Arc<str>, u64>,
        second: u64,
    ) -> (Vec<(Arc<str>, u64)>, u64) {
        // A command that calls itself like the rest is in it.
        let of_that_name = amounts.remove(OTHER).unwrap_or_default();
        for name in largest(&amounts, COMMANDS_MAX) {
            if self.has_room(&name, second) {
                self.of(&name, second);
                shown.0.insert(name, second);
            }
        }
        shown.forget(second);
        let amount = |name: &Arc<str>| (Arc::clone(name), amounts.remove(name).unwrap_or_default());
        let named = shown.0.keys().map(amount).collect();
        let rest = amounts.into_values().fold(of_that_name, u64::saturating_add);
        (named, rest)
    }

    fn has_room(&mut self, name: &Arc<str>, second: u64) -> bool {
        if self.known.contains_key(name) {
            return true;
        }
        if self.known.len() >= NAMES_MAX {
            self.known.retain(|_, command| command.used + NAME_SECONDS >= second);
        }
        self.known.len() < NAMES_MAX
    }

    /// The series of one that was admitted.
    pub(in crate::collect) fn of(&mut self, name: &Arc<str>, second: u64) -> &Command {
        let command = self.known.entry(Arc::clone(name)).or_insert_with(|| Command::new(name));
        command.used = second;
        command
    }

    /// The series of all others together.
    pub(in crate::collect) fn rest(&mut self) -> &Command {
        self.rest.get_or_insert_with(|| Command::new(OTHER))
    }
}
