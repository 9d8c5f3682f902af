//! Reads values by name: of one second of a node, or of one second added over the nodes of the cluster or of a group.
//!
//! A value is named by its metric, by attributes and by a [`Statistic`]. Attributes select: every series of that name
//! that has all of them is taken, and what they leave open is added up, so that `traffic.requests` is the total over
//! all protocols. Metrics that are computed on reading ([`catalogue::Derivation`]) answer like all others. Pure.
//!
//! What was not reported is `None`: missing is never zero.

mod entry;
pub(crate) mod latency;
pub(crate) mod sections;
mod shortlist;
mod total;

use std::collections::BTreeSet;

use starling_ledger::rollup::Cell;
use starling_proto::{
    catalogue::{self, Attributes, Derivation, Derived, Kind, Metric, OverNodes, Scope, Statistic},
    frame::Second,
    histogram::Histogram,
    series::Series,
};

pub(crate) use entry::{Amount, Entry};
pub(crate) use shortlist::Shortlists;
use total::Total;
pub(crate) use total::of_histogram;

/// One second.
#[derive(Debug, Default)]
pub(crate) struct Reading<'a> {
    /// Sorted by series, hence by name.
    entries: Vec<Entry<'a>>,
}

impl<'a> Reading<'a> {
    /// Of one node, all of it.
    pub(crate) fn of_node(second: &'a Second) -> Self {
        Self::of_columns(second, |_| true)
    }

    /// Of one node, without the series that no view shows: most of its drill-down. Cheaper by what is left out.
    pub(crate) fn of_node_shown(second: &'a Second) -> Self {
        Self::of_columns(second, is_shown)
    }

    /// Of one node, only the series whose name is `wanted`.
    pub(crate) fn of_wanted(second: &'a Second, wanted: impl Fn(&str) -> bool) -> Self {
        Self::of_columns(second, |series| wanted(series.name()))
    }

    fn of_columns(second: &'a Second, wanted: impl Fn(&Series) -> bool) -> Self {
        let mut entries = Vec::new();
        for columns in [&second.cluster, &second.node] {
            for (position, series) in columns.layout.series().iter().enumerate() {
                if wanted(series.series()) {
                    entries.push(Entry::of_column(series.series(), columns, position));
                }
            }
        }
        entries.sort_unstable_by(|a, b| a.series.cmp(b.series));
        Self { entries }
    }

    /// Added over nodes. `cells` are sorted by series.
    pub(crate) fn of_cells(cells: impl Iterator<Item = (&'a Series, &'a Cell)>) -> Self {
        let entries: Vec<_> = cells.map(|(series, cell)| Entry::of_cell(series, cell)).collect();
        debug_assert!(entries.is_sorted_by(|a, b| a.series < b.series));
        Self { entries }
    }

    /// Of these, sorted by series.
    pub(crate) fn of_entries(entries: Vec<Entry<'a>>) -> Self {
        debug_assert!(entries.is_sorted_by(|a, b| a.series < b.series));
        Self { entries }
    }

    /// Every series that was sent, sorted.
    pub(crate) fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The series called `name`, sorted by their attributes.
    pub(crate) fn named(&self, name: &str) -> &[Entry<'a>] {
        let from = self.entries.partition_point(|entry| entry.series.name() < name);
        let count = self.entries[from..].partition_point(|entry| entry.series.name() == name);
        &self.entries[from..from + count]
    }

    fn total(&self, name: &str, with: &Attributes<'_>, without: &Attributes<'_>) -> Option<Total<'a>> {
        Total::of(
            self.named(name).iter().filter(|entry| entry.has(with) && !without.iter().any(|one| entry.has(&[*one]))),
        )
    }

    /// The value of a metric of the catalogue: [`Statistic::Value`].
    pub(crate) fn value(&self, metric: &Metric, with: &Attributes<'_>) -> Option<f64> {
        self.statistic(metric.name, with, Statistic::Value)
    }

    /// One statistic of what is called `name` and has the attributes `with`.
    pub(crate) fn statistic(&self, name: &str, with: &Attributes<'_>, statistic: Statistic) -> Option<f64> {
        self.statistics(name, with, &[statistic])[0]
    }

    /// Several statistics of one name, in their order: histograms are merged once for all of them.
    pub(crate) fn statistics(&self, name: &str, with: &Attributes<'_>, wanted: &[Statistic]) -> Vec<Option<f64>> {
        let metric = catalogue::find(name);
        if let Some(metric) = metric.filter(|metric| !metric.is_sent()) {
            let derived = self.derived(metric, with);
            return wanted.iter().map(|&statistic| statistic_of(derived?, metric, statistic)).collect();
        }
        let Some(total) = self.total(name, with, &[]) else { return vec![None; wanted.len()] };
        total.statistics(metric.map_or(OverNodes::Sum, |metric| metric.over_nodes), wanted)
    }

    /// All values of a histogram metric in one; `None` when none of that name and those attributes was reported.
    pub(crate) fn histogram(&self, name: &str, with: &Attributes<'_>) -> Option<Histogram> {
        self.total(name, with, &[]).filter(|total| total.kind() == Kind::Histogram).map(|total| total.histogram())
    }

    /// What a quantile of a name is read of, with a series in whose fixed point it is: the values of a histogram, or the
    /// nodes' values of a gauge that keeps their distribution.
    pub(crate) fn distribution(&self, name: &str, with: &Attributes<'_>) -> Option<(&'a Series, Histogram)> {
        let total = self.total(name, with, &[])?;
        Some((total.series(), total.distribution()?))
    }

    /// The attributes of the series of `metric` that can be computed here, sorted. Only of derived ones.
    pub(crate) fn derived_series(&self, metric: &Metric) -> Vec<Vec<(&'a str, &'a str)>> {
        if metric.is_sent() {
            return Vec::new();
        }
        let of_metric = |entry: &Entry<'a>| {
            let all = entry.series.attributes().iter().map(|(key, value)| (&**key, &**value));
            all.filter(|(key, _)| metric.attributes.contains(key)).collect::<Vec<_>>()
        };
        let found: BTreeSet<_> = self.named(metric.base().name).iter().map(of_metric).collect();
        found.into_iter().filter(|with| self.derived(metric, with).is_some()).collect()
    }

    /// The sum over nodes of a metric that is sent, or what a derived one is computed to.
    fn derived(&self, metric: &Metric, with: &Attributes<'_>) -> Option<Derived> {
        metric.derive(with, &[], &mut |metric, with, without| {
            let total = self.total(metric.name, with, without)?;
            Some(Derived { value: total.sum()?, nodes: total.nodes(), gauge: total.kind() == Kind::Gauge })
        })
    }
}

fn statistic_of(derived: Derived, metric: &Metric, statistic: Statistic) -> Option<f64> {
    let ratio = matches!(metric.derivation, Some(Derivation::Ratio { .. }));
    match statistic {
        Statistic::Nodes => Some(f64::from(derived.nodes)),
        Statistic::Value => Some(derived.value),
        Statistic::Sum | Statistic::Mean | Statistic::Min | Statistic::Max if derived.nodes <= 1 => Some(derived.value),
        // A ratio of sums is no sum of ratios.
        Statistic::Sum if !ratio => Some(derived.value),
        Statistic::Mean if !ratio => Some(derived.value / f64::from(derived.nodes)),
        _ => None,
    }
}

/// Most series of a node are for drill-down only: leaving them out makes the table of 1,000 nodes cheap.
fn is_shown(series: &Series) -> bool {
    series.scope() == Scope::Cluster || series.is(&catalogue::CORE_UTILIZATION) || series.is(&catalogue::UPTIME)
}

#[cfg(test)]
mod tests;
