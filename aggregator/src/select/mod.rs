//! The one primitive behind every question over time: the cells of some series of some subjects over a range.
//!
//! - [`Source`]: where cells come from; [`Memory`] is the last 15 minutes, [`Stored`] the disk;
//! - [`Part`]: what was read of one subject, and how two readings become one: each second once;
//! - [`Mixed`]: a part, and beside it what sealed blocks come to in the steps of a question, which is kept in memory; [`chunks`]
//!   are what is kept of the rest;
//! - [`Span`]: which seconds are asked for, in which steps; [`Folded`]: cells in those steps;
//! - [`wire`]: parts as aggregators send them to each other;
//! - [`Stop`]: when work on a question is to end.
//!
//! What is held by other aggregators is asked of them by whoever answers the question (`query`).

mod chunks;
mod fold;
mod memory;
mod part;
mod picks;
mod piece;
mod span;
mod stop;
mod stored;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::{collections::BTreeSet, sync::Arc};

use starling_history::{Selection, Subject};
use starling_proto::ids::NodeId;

use crate::{history::LogHandle, ledger_task::LedgerHandle};

pub(crate) use self::{
    fold::{Folded, Key},
    memory::Memory,
    part::Part,
    piece::{Folding, Mixed},
    span::{Most, NODES_RANGE_MAX, Names, POINTS, POINTS_MAX, POINTS_USUAL, RANGE_MAX, Span},
    stop::{Stop, time_of},
    stored::Stored,
};

/// Where cells come from. Reading blocks: not for a runtime thread.
pub(crate) trait Source: Send + Sync {
    /// Nodes of which something of `from..=to` is held.
    fn nodes(&self, from: u32, to: u32) -> Vec<NodeId>;

    /// The oldest second that is held of anything. `None` without any.
    fn oldest(&self) -> Option<u32>;

    /// The wanted series of `subject`, each second of the range in one step of one tier: the finest that still has it, or
    /// the coarsest of which steps of `step` seconds can be made. With `folding` windows before some second may come in the
    /// steps of the question already. Ends early, with less, once `stop` is due.
    fn read(
        &self,
        subject: &Subject,
        selection: (&Selection, u32),
        folding: Option<(&Folding<'_>, u32)>,
        stop: &Stop,
    ) -> Mixed;
}

/// All that is held here.
#[derive(Clone)]
pub(crate) struct Held {
    /// What is asked first is believed first.
    sources: Arc<[Box<dyn Source>]>,
    /// Where what is answered must stand before.
    log: Option<(LogHandle, LedgerHandle)>,
}

impl Held {
    /// By these sources, of which the earlier ones are asked first: a later one is asked for what they lack.
    pub(crate) fn new(sources: Vec<Box<dyn Source>>, log: Option<(LogHandle, LedgerHandle)>) -> Self {
        Self { sources: sources.into(), log }
    }

    /// After the last reading for an answer, before that is given: what was read survives the end of the process.
    pub(crate) fn written(&self) {
        if let Some((log, ledger)) = &self.log {
            // A sync that others wait for takes its time: only what is not in the log is waited for.
            if !ledger.is_in_log() {
                log.entries_written();
            }
            log.seconds_written();
        }
    }

    /// Nodes of which something of `from..=to` is held, by name.
    pub(crate) fn nodes(&self, from: u32, to: u32) -> BTreeSet<NodeId> {
        self.sources.iter().flat_map(|source| source.nodes(from, to)).collect()
    }

    /// The oldest second that is held of anything. `None` without any.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.sources.iter().filter_map(|source| source.oldest()).min()
    }

    /// The cells that are held of `subject`; see [`Source::read`].
    pub(crate) fn read(&self, subject: &Subject, selection: &Selection, step: u32, stop: &Stop) -> Part {
        self.read_folding(subject, (selection, step), None, stop).part
    }

    /// What is held of `subject`; see [`Source::read`].
    pub(crate) fn read_folding(
        &self,
        subject: &Subject,
        (selection, step): (&Selection, u32),
        folding: Option<&Folding<'_>>,
        stop: &Stop,
    ) -> Mixed {
        let mut mixed = Mixed::default();
        for source in self.sources.iter() {
            let Some(missing) = mixed.first_missing(selection.from, selection.to) else { break };
            if stop.is_due() {
                break;
            }
            // Of what is whole from some second on only the seconds before are lacking.
            let whole = mixed.part.first().filter(|first| mixed.part.first_missing(*first, selection.to).is_none());
            let to = whole.filter(|first| *first > missing).map_or(selection.to, |first| first - 1);
            let rest = Selection { from: missing, to, ..selection.clone() };
            // What is known stands in cells: only windows before it can come in steps.
            let known = mixed.part.coverage.keys().next().map_or(u32::MAX, |(start, _)| *start);
            let folding = folding.filter(|_| mixed.pieces.is_empty()).map(|folding| (folding, known));
            let read = source.read(subject, (&rest, step), folding, stop);
            mixed.merge(read.part);
            mixed.pieces.extend(read.pieces);
        }
        mixed
    }
}
