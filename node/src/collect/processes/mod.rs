//! Processes: who used the processors, memory and disks, by the name of the command, and how many are in which state.
//!
//! Commands are merged over nodes, so that the cluster answers who it was at a given second. Of each sort the
//! [`commands::COMMANDS_MAX`] largest are named, and stay so for a minute, and what is left stands beside them under a name of its own, so that the named
//! and the rest are all there was: for the processors all that they did, short-lived processes and the kernel's own work
//! included; for memory and disks all of the processes.
//!
//! Names are those the kernel has for a program, at most 15 bytes; a process can give itself any. Control characters and
//! bytes that are no text are escaped as everywhere, and at most [`commands::NAMES_MAX`] names are in use at a time.

mod commands;
mod crowd;
mod each;
mod rank;
mod roll;
mod stat;

use std::{collections::HashMap, sync::Arc, time::Duration};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector, cpu, family,
    kept::{KeptFile, Shape},
    sink::Sink,
};
pub(super) use commands::{Names, Shown};
use crowd::{Crowd, Seen};
pub(crate) use each::EachProcess;
use rank::Remainder;
use roll::PROCESSES_MAX;

/// Memory is added up once in so many seconds.
const MEMORY_SECONDS: u64 = 5;
/// Processes asked for their input and output in a second, about 20 us each: those that used a processor.
const IO_READS_MAX: usize = 48;
/// And of the others, in turn: one that only waits for its disk.
const IO_TURNS: usize = 4;
/// What the processors did may be this part of all that they could, or this many ticks, more than who is known to work has done
/// before the others are looked at too: work of the kernel belongs to nobody, and the two are counted by different clocks.
const SLACK_SHARE: u64 = 100;
const SLACK_TICKS: u64 = 3;
/// Seconds of a processor that the named ones may be ahead of all.
const OWED_SECONDS: u64 = 10;
/// States by their letter in `/proc/PID/stat`: a thread of the kernel that has nothing to do is idle, what is traced
/// counts as stopped, and the dead as defunct.
const STATES: [(&str, &[u8]); 6] = [
    ("running", b"R"),
    ("sleeping", b"S"),
    ("uninterruptible", b"D"),
    ("idle", b"I"),
    ("stopped", b"Tt"),
    ("defunct", b"ZXx"),
];

/// The collector.
pub(super) struct Processes {
    crowd: Crowd,
    stat: KeptFile,
    before: Option<cpu::Times>,
    ticks_per_second: u64,
    page_bytes: u64,
    remainder: Remainder,
    states: [Series; STATES.len()],
    names: Names,
    /// By processor time, memory, bytes read and written.
    shown: [Shown; 4],
    memory: Vec<(Series, u64)>,
    second: u64,
    turn: usize,
}

impl Processes {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            crowd: Crowd::new(config.procfs.clone()),
            stat: KeptFile::new(config.procfs.join("stat"), Shape::Single),
            before: None,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            page_bytes: rustix::param::page_size() as u64,
            remainder: Remainder::default(),
            states: family(&catalogue::PROCESS_STATES, "process.state", STATES.map(|(name, _)| name)),
            names: Names::default(),
            shown: Default::default(),
            memory: Vec::new(),
            second: 0,
            turn: 0,
        }
    }

    /// Ticks that all processors worked since this was asked before, and of how many.
    fn total(&mut self) -> Option<(u64, u64)> {
        // A host whose total cannot be read is named by the collector of the processors.
        let now = self.stat.read().ok().flatten().and_then(cpu::whole);
        let total =
            self.before.zip(now).map(|(before, now)| (cpu::busy_ticks(&before, &now), cpu::ticks(&before, &now)));
        self.before = now;
        total
    }

    fn processors(&mut self, seen: &Seen, all: Option<u64>, sink: &mut Sink<'_>) {
        let mut used = HashMap::new();
        for did in &seen.moved {
            let ticks: &mut u64 = used.entry(Arc::clone(&did.command)).or_default();
            *ticks = ticks.saturating_add(did.ticks);
        }
        if self.second == 1 {
            return;
        }
        let (named, rest) = self.names.admit(&mut self.shown[0], used, self.second);
        let of_named = named.iter().fold(0, |sum: u64, (_, ticks)| sum.saturating_add(*ticks));
        let most = self.ticks_per_second.saturating_mul(OWED_SECONDS);
        let rest = all.map_or(rest, |all| self.remainder.of(all, of_named, most));
        let ms = |ticks: u64| ticks.saturating_mul(1000) / self.ticks_per_second;
        for (command, ticks) in named {
            sink.increment(&self.names.of(&command, self.second).cpu_time, ms(ticks));
        }
        sink.increment(&self.names.rest().cpu_time, ms(rest));
    }

    fn memory(&mut self, sink: &mut Sink<'_>) {
        if self.second % MEMORY_SECONDS == 1 {
            let mut pages = HashMap::new();
            for (command, _, resident) in self.crowd.all() {
                let sum: &mut u64 = pages.entry(Arc::clone(command)).or_default();
                *sum = sum.saturating_add(resident);
            }
            let (named, rest) = self.names.admit(&mut self.shown[1], pages, self.second);
            self.memory.clear();
            for (command, pages) in named {
                let series = self.names.of(&command, self.second).memory.clone();
                self.memory.push((series, pages.saturating_mul(self.page_bytes)));
            }
            self.memory.push((self.names.rest().memory.clone(), rest.saturating_mul(self.page_bytes)));
        }
        for (series, bytes) in &self.memory {
            sink.gauge(series, *bytes);
        }
    }

    fn io(&mut self, seen: &Seen, sink: &mut Sink<'_>) {
        let mut asked: Vec<u32> = seen.moved.iter().map(|did| did.pid).take(IO_READS_MAX).collect();
        let others = seen.read.iter().copied().cycle().skip(self.turn % seen.read.len().max(1)).take(IO_TURNS);
        for pid in others {
            if !asked.contains(&pid) {
                asked.push(pid);
            }
        }
        self.turn = self.turn.wrapping_add(IO_TURNS);
        let mut moved: [HashMap<Arc<str>, u64>; 2] = Default::default();
        for pid in asked {
            let Some((command, bytes)) = self.crowd.io(pid) else { continue };
            for (direction, moved) in moved.iter_mut().enumerate() {
                let sum = moved.entry(Arc::clone(&command)).or_default();
                *sum = sum.saturating_add(bytes[direction]);
            }
        }
        for (direction, moved) in moved.into_iter().enumerate() {
            let (named, rest) = self.names.admit(&mut self.shown[2 + direction], moved, self.second);
            if named.is_empty() && rest == 0 {
                continue;
            }
            for (command, bytes) in named {
                sink.increment(&self.names.of(&command, self.second).io[direction], bytes);
            }
            sink.increment(&self.names.rest().io[direction], rest);
        }
    }
}

impl Collector for Processes {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let total = self.total();
        let accounted = |found: u64| {
            total.is_some_and(|(busy, of)| busy <= found.saturating_add((of / SLACK_SHARE).max(SLACK_TICKS)))
        };
        let Some(seen) = self.crowd.look(accounted)? else { return Ok(Collected::Absent) };
        if seen.read.is_empty() {
            return Ok(Collected::Absent);
        }
        self.second += 1;
        if seen.beyond > 0 {
            sink.left_out(|| format!("{} processes, {PROCESSES_MAX} are followed", seen.beyond + PROCESSES_MAX));
        }
        if let Some(odd) = &seen.odd {
            sink.left_out(|| odd.clone());
        }
        let mut counts = [0; STATES.len()];
        for (_, state, _) in self.crowd.all() {
            if let Some(place) = STATES.iter().position(|(_, letters)| letters.contains(&state)) {
                counts[place] += 1;
            }
        }
        for (series, count) in self.states.iter().zip(counts) {
            sink.gauge(series, count);
        }
        self.processors(&seen, total.map(|(busy, _)| busy), sink);
        self.memory(sink);
        self.io(&seen, sink);
        Ok(Collected::Present)
    }
}

#[cfg(test)]
mod tests;
