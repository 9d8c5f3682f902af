//! All logs held here, by dense local numbers.

use std::collections::BTreeMap;

use starling_proto::ids::WriterId;

use super::{limits::WRITERS_MAX, log::Log, names::Names};

/// Number of the own log.
pub(super) const OWN: u16 = 0;

/// The logs of all writers. A number is used again once its log was dropped; no tick refers to it then.
#[derive(Debug)]
pub(super) struct Logs {
    logs: Vec<Option<Log>>,
    by_writer: BTreeMap<WriterId, u16>,
    number_seconds: u32,
}

impl Logs {
    pub(super) fn new(own: WriterId, number_seconds: u32) -> Self {
        let log = Log::new(own, number_seconds);
        Self { by_writer: BTreeMap::from([(own, OWN)]), logs: vec![Some(log)], number_seconds }
    }

    pub(super) fn number(&self, writer: WriterId) -> Option<u16> {
        self.by_writer.get(&writer).copied()
    }

    pub(super) fn get(&self, log: u16) -> Option<&Log> {
        self.logs.get(usize::from(log))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, log: u16) -> Option<&mut Log> {
        self.logs.get_mut(usize::from(log))?.as_mut()
    }

    pub(super) fn of(&self, writer: WriterId) -> Option<&Log> {
        self.get(self.number(writer)?)
    }

    pub(super) fn own(&self) -> &Log {
        self.logs[usize::from(OWN)].as_ref().expect("the own log is made first and never dropped")
    }

    pub(super) fn own_mut(&mut self) -> &mut Log {
        self.logs[usize::from(OWN)].as_mut().expect("the own log is made first and never dropped")
    }

    /// Number of a writer's log, a new empty one if need be; `None` when full.
    pub(super) fn open(&mut self, writer: WriterId) -> Option<u16> {
        if let Some(number) = self.number(writer) {
            return Some(number);
        }
        let free = self.logs.iter().position(Option::is_none).unwrap_or(self.logs.len());
        if free >= WRITERS_MAX {
            return None;
        }
        if free == self.logs.len() {
            self.logs.push(None);
        }
        self.logs[free] = Some(Log::new(writer, self.number_seconds));
        self.by_writer.insert(writer, free as u16);
        Some(free as u16)
    }

    /// Every log with its number, in the order of the writers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &Log)> {
        self.by_writer.values().filter_map(|&number| self.get(number).map(|log| (number, log)))
    }

    /// Every log with its number, to change.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut Log)> {
        (0..).zip(&mut self.logs).filter_map(|(number, log)| Some((number, log.as_mut()?)))
    }

    /// Bytes of the entries of all logs.
    pub(super) fn bytes(&self) -> usize {
        self.logs.iter().flatten().map(Log::bytes).sum()
    }

    /// Drops logs of others for which `gone` is true.
    pub(super) fn drop_if(&mut self, names: &mut Names, gone: impl Fn(&Log) -> bool) {
        let Self { logs, by_writer, .. } = self;
        by_writer.retain(|_, &mut number| {
            let place = &mut logs[usize::from(number)];
            let drop = number != OWN && place.as_ref().is_none_or(&gone);
            if drop && let Some(mut log) = place.take() {
                log.release(names);
            }
            !drop
        });
    }
}
