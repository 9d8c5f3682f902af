//! What an aggregator knows beside the second of the cluster: the nodes whose stream it has, who is to take care of the others, and
//! what is known of each.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use starling_alerts::{ReadGroup, Rules, Scope, Sources, Stream, Values, blind::UNSURE, facts};
use starling_ledger::TickView;
use starling_proto::{
    catalogue,
    group::Group,
    ids::{NodeId, WriterId},
    series::Series,
};

use crate::{
    catch_up::CatchUp,
    fleet::ClusterFleet,
    ingest::{Latest, Registry},
    ledger_task::LedgerHandle,
    membership::{Membership, MembershipView},
    metrics::Metrics,
    reading::{Reading, Shortlists},
};

/// What is judged, and who knows it.
pub(crate) struct Parts {
    /// Settled seconds.
    pub(crate) ledger: LedgerHandle,
    /// Nodes whose stream is here.
    pub(crate) registry: Arc<Registry>,
    /// Nodes anywhere.
    pub(crate) fleet: Arc<ClusterFleet>,
    /// Who takes care of what.
    pub(crate) membership: Membership,
    /// Whether it answers yet.
    pub(crate) catch_up: Arc<CatchUp>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Frames are wanted on so many aggregators.
    pub(crate) copies: u32,
    /// History is kept here.
    pub(crate) keeps_history: bool,
}

/// See the module.
pub(super) struct Around<'a> {
    pub(super) parts: &'a Parts,
    pub(super) view: &'a MembershipView,
    pub(super) second: &'a TickView,
    pub(super) wanted: &'a HashSet<String>,
    /// Where those stand.
    pub(super) shortlists: &'a Shortlists,
    pub(super) of_groups: &'a HashSet<String>,
    /// The second of our clock.
    pub(super) now: u32,
    /// Those that lost all their nodes at once, with the second in which that was known here.
    pub(super) blinded: &'a BTreeMap<WriterId, u32>,
}

impl Sources for Around<'_> {
    type Latest = Arc<Latest>;

    fn stream(&self, node: &NodeId) -> Stream<Arc<Latest>> {
        let own = self.parts.registry.get(node);
        let latest = own.as_ref().and_then(|own| own.latest()).map(|latest| (latest.second.tick, latest));
        Stream { connected: own.is_some_and(|own| own.presence().0), latest }
    }

    fn takes_care(&self, node: &NodeId) -> bool {
        let elsewhere = self.parts.fleet.place(node).is_some_and(|place| {
            !place.aggregator_id.is_empty() && self.view.others.iter().any(|member| member.writer == place.writer)
        });
        !elsewhere && self.view.is_first(node.as_str())
    }

    fn facts(&self, node: &NodeId) -> BTreeMap<&'static str, f64> {
        let about = self.parts.registry.get(node).map(|own| own.about());
        let clash = self.parts.registry.clashes().of(node.as_str(), self.now).is_some();
        let faults = about.as_ref().map_or(0, |about| about.collector_faults.len());
        let refused = about.as_ref().is_some_and(|about| !about.silent_reason.is_empty());
        BTreeMap::from([
            (facts::NODE_CLASH, f64::from(u8::from(clash))),
            (facts::NODE_FAULTS, faults as f64),
            (facts::NODE_CLOCK, f64::from(u8::from(refused))),
        ])
    }

    fn details(&self, node: &NodeId) -> BTreeMap<&'static str, String> {
        let about = self.parts.registry.get(node).map(|own| own.about());
        let reason = about.map(|about| about.silent_reason.clone()).filter(|reason| !reason.is_empty());
        reason.map(|reason| (facts::NODE_CLOCK, reason)).into_iter().collect()
    }

    fn is_unsure(&self, node: &NodeId) -> bool {
        if self.blinded.is_empty() {
            return false;
        }
        let since = self.parts.fleet.place(node).and_then(|place| self.blinded.get(&place.writer));
        since.is_some_and(|since| since.saturating_add(UNSURE) > self.second.tick)
    }

    fn read(&self, latest: &Arc<Latest>, read: &mut dyn FnMut(&dyn Values)) {
        read(&self.shortlists.read(&latest.second, |name| self.wanted.contains(name)));
    }

    fn groups(&self) -> Vec<Group> {
        self.parts.fleet.groups()
    }

    fn by_group(&self, nodes: &[NodeId]) -> HashMap<Group, u32> {
        self.parts.fleet.by_group(nodes)
    }

    fn read_group(&self, group: &Group, silent: u32, read: &mut ReadGroup<'_>) {
        // Where no rule reads what is merged of groups, the second is not taken apart for each of them.
        if self.of_groups.is_empty() {
            let expected = self.parts.fleet.expected(group, self.second.tick);
            return read(&Reading::of_cells(std::iter::empty()), (expected.saturating_sub(silent), expected));
        }
        let (cells, census) = self.second.sums.some(group, |series: &Series| self.of_groups.contains(series.name()));
        let nodes = self.parts.fleet.coverage(group, self.second.tick, self.second.coverage, census.frames());
        let reading = Reading::of_cells(cells.iter().map(|(series, cell)| (series, cell)));
        read(&reading, (nodes.reporting, nodes.expected));
    }
}

/// The names of metrics that the rules read, those too that computed ones are made of; of one scope, or of all.
pub(super) fn names(rules: &Rules, scope: Option<Scope>) -> HashSet<String> {
    let mut names = HashSet::new();
    let of_scope = rules.all().iter().filter(|rule| scope.is_none_or(|scope| rule.scope == scope));
    let mut left: Vec<String> = of_scope.flat_map(|rule| rule.metrics().map(str::to_owned)).collect();
    while let Some(name) = left.pop() {
        if let Some(derivation) = catalogue::find(&name).and_then(|metric| metric.derivation.as_ref()) {
            left.extend(derivation.operands().iter().map(|operand| operand.metric.name.to_owned()));
        }
        names.insert(name);
    }
    names
}
