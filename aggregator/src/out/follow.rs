//! Whose series there are here, and their seconds one after another.

use std::{sync::Arc, time::Instant};

use starling_history::{Selection, SeriesCells, Subject, Tier};
use starling_proto::limits::LIVE_WINDOW;

use crate::{
    config::SeriesScope,
    fleet::ClusterFleet,
    ingest::Registry,
    ledger_task::LedgerHandle,
    metrics::Metrics,
    select::{Held, Memory, Source as _, Stop},
};

/// The last 15 minutes of all that is here. Reading blocks: not for a runtime thread.
pub(crate) struct Follow {
    /// What is merged is in memory for 15 minutes.
    memory: Memory,
    /// Of nodes only what is new is in memory.
    held: Held,
    ledger: LedgerHandle,
    registry: Arc<Registry>,
    fleet: Arc<ClusterFleet>,
}

impl Follow {
    /// What these hold.
    pub(crate) fn new(
        held: Held,
        ledger: LedgerHandle,
        registry: Arc<Registry>,
        fleet: Arc<ClusterFleet>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let memory = Memory::new(ledger.clone(), registry.clone(), fleet.clone(), metrics);
        Self { memory, held, ledger, registry, fleet }
    }

    /// The newest settled second.
    pub(crate) fn settled(&self) -> u32 {
        self.ledger.published().borrow().settled
    }

    /// The first second that can still be here.
    pub(crate) fn oldest(&self) -> u32 {
        self.settled().saturating_sub(LIVE_WINDOW - 1)
    }

    /// Whose series there are in `scope`.
    pub(crate) fn subjects(&self, scope: SeriesScope) -> Vec<Subject> {
        match scope {
            SeriesScope::Cluster => vec![Subject::Cluster],
            SeriesScope::Groups => self.fleet.groups().into_iter().map(Subject::from).collect(),
            SeriesScope::Nodes => self.registry.holders().iter().map(|node| Subject::Node(node.id.clone())).collect(),
        }
    }

    /// The last second that is here of a node; of what is merged the newest settled one.
    pub(crate) fn newest(&self, subject: &Subject) -> u32 {
        let settled = self.settled();
        let Some(node) = subject.node() else { return settled };
        self.registry.holder(node).map_or(0, |node| node.newest()).min(settled)
    }

    /// The operator's labels of a node, which it brings when it connects; none of what is merged. `None` of a node that has
    /// not come since the start.
    pub(crate) fn labels(&self, subject: &Subject) -> Option<Vec<(String, String)>> {
        let Some(node) = subject.node() else { return Some(Vec::new()) };
        let about = self.registry.get(node)?.about();
        Some(about.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// All series of `subject` over the settled seconds `from..=to`, and the second after the last one that is taken. Of a
    /// node that is the one after its newest, since what it holds back comes in order. A second of what is merged that lacks
    /// nodes is waited for, with all that follow, for `patience` seconds: a node that sends late, or comes back, is in it then.
    pub(crate) fn read(&self, subject: &Subject, from: u32, to: u32, patience: u32) -> (Vec<SeriesCells>, u32) {
        let to = if subject.is_merged() { self.complete(from, to, patience) } else { to };
        if from > to {
            return (Vec::new(), from);
        }
        let (selection, stop) = (Selection::all(from, to), Stop::at(Instant::now() + STEP_MAX));
        let mut part = match subject.is_merged() {
            true => self.memory.read(subject, (&selection, 1), None, &stop).part,
            false => self.held.read(subject, &selection, 1, &stop),
        };
        part.series.retain(|series| series.tier == Tier::Second);
        let seconds = part.coverage.keys().filter(|(_, tier)| *tier == Tier::Second);
        let newest = seconds.map(|(tick, _)| *tick).max().unwrap_or(from.saturating_sub(1));
        let next = if subject.is_merged() { to + 1 } else { newest + 1 };
        (part.series, next)
    }

    /// The last second before one of `from..=to` that lacks nodes and may still get them.
    fn complete(&self, from: u32, to: u32, patience: u32) -> u32 {
        let lacks = |tick: &u32| {
            let view = self.ledger.view(*tick);
            view.is_none_or(|view| view.coverage.reporting < view.coverage.expected)
        };
        let waits_from = self.settled().saturating_sub(patience).saturating_add(1).max(from);
        (waits_from..=to).find(lacks).map_or(to, |tick| tick - 1)
    }
}

/// Reading takes milliseconds; a step that takes longer than this is broken off and what it read is taken.
const STEP_MAX: std::time::Duration = std::time::Duration::from_secs(60);
