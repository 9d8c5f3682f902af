//! The metrics Starling knows by name: kind, unit, scale, attributes, how they merge, what they are derived from and how
//! they are shown, in one [`table`].
//!
//! Names and units follow the OpenTelemetry semantic conventions where they have one
//! (`open-telemetry/semantic-conventions:docs/system/system-metrics.md`). The daemon, the aggregator, the dashboard and
//! the page read this table; nothing else defines a metric of the host or of the traffic model.
//!
//! A metric with a [`Derivation`] is never sent: whoever reads it computes it from what was. A total over an attribute
//! needs no name of its own: it is the metric read without that attribute.

mod derivation;
mod display;
mod section;
mod statistic;
pub mod table;

use crate::v1::MetricKind;

pub use derivation::{Attributes, Derivation, Derived, Operand};
pub use display::{Chart, Good, Unit, charts};
pub use section::{Section, SectionSet};
pub use statistic::{Statistic, StatisticError};
pub use table::*;

/// What a series holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Integer increments per tick. Adds over nodes.
    Counter,
    /// Integer in fixed point. Over nodes: sum, count, minimum, maximum, distribution.
    Gauge,
    /// Histogram of the tick. Merges over nodes.
    Histogram,
}

impl Kind {
    /// The lower-case word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// The number on the wire, 1 to 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Counter => 1,
            Self::Gauge => 2,
            Self::Histogram => 3,
        }
    }

    /// The kind for a number on the wire.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Counter),
            2 => Some(Self::Gauge),
            3 => Some(Self::Histogram),
            _ => None,
        }
    }
}

impl From<Kind> for MetricKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter,
            Kind::Gauge => Self::Gauge,
            Kind::Histogram => Self::Histogram,
        }
    }
}

impl TryFrom<MetricKind> for Kind {
    type Error = &'static str;

    fn try_from(kind: MetricKind) -> Result<Self, Self::Error> {
        match kind {
            MetricKind::Unspecified => Err("the kind of a metric is not set"),
            MetricKind::Counter => Ok(Self::Counter),
            MetricKind::Gauge => Ok(Self::Gauge),
            MetricKind::Histogram => Ok(Self::Histogram),
        }
    }
}

/// Where a series is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Over the nodes of the cluster and of each group; travels in the rollup part of a frame.
    Cluster,
    /// Nowhere: drill-down of one node; travels in the node part of a frame.
    Node,
}

/// What the value of a gauge is over several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverNodes {
    /// Their sum: bytes, sockets, cores.
    Sum,
    /// Their mean: shares and loads.
    Mean,
}

/// One metric. Built by `counter`, `gauge` and `histogram`, which set the usual values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Name by the semantic conventions, or our own where they have none.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Unit by UCUM.
    pub unit: &'static str,
    /// Decimal digits of fixed point: value = integer / 10^scale.
    pub scale: u8,
    /// Where it is merged.
    pub scope: Scope,
    /// Gauges of cluster scope: keep a histogram of the nodes' values beside sum, count, minimum and maximum.
    pub distribution: bool,
    /// What its value is over nodes; of gauges only.
    pub over_nodes: OverNodes,
    /// Keys of the attributes every series of it has, sorted.
    pub attributes: &'static [&'static str],
    /// Keys of those of its attributes whose values are names that somebody on a host chose, as those of applications: beyond
    /// the quota they are counted together, and never take the place of what every host has. The other attributes
    /// have few values, known beforehand, and keep them.
    pub open: &'static [&'static str],
    /// What it is computed from on reading; `None` for what nodes send.
    pub derivation: Option<Derivation>,
    /// Its name in a heading or legend, in a few words.
    pub title: &'static str,
    /// How its values are written for people.
    pub shown_as: Unit,
    /// Which direction is good.
    pub good: Good,
    /// What of it is charted on the page and kept for 15 minutes by the dashboard.
    pub charts: &'static [Chart],
    /// What it is, for people: the documentation of its row.
    pub help: &'static str,
}

const fn metric(kind: Kind, name: &'static str, unit: &'static str, scale: u8) -> Metric {
    Metric {
        name,
        kind,
        unit,
        scale,
        scope: Scope::Cluster,
        distribution: false,
        over_nodes: OverNodes::Sum,
        attributes: &[],
        open: &[],
        derivation: None,
        title: "",
        shown_as: Unit::Number,
        good: Good::Neither,
        charts: &[],
        help: "",
    }
}

/// A counter of cluster scope: whole increments.
const fn counter(name: &'static str, unit: &'static str) -> Metric {
    metric(Kind::Counter, name, unit, 0)
}

/// A gauge of cluster scope: whole numbers, added over nodes.
const fn gauge(name: &'static str, unit: &'static str) -> Metric {
    metric(Kind::Gauge, name, unit, 0)
}

/// A histogram of cluster scope.
const fn histogram(name: &'static str, unit: &'static str) -> Metric {
    metric(Kind::Histogram, name, unit, 0)
}

/// What is computed on reading: whatever nodes sent it from.
const fn derived(name: &'static str, unit: &'static str, derivation: Derivation) -> Metric {
    Metric { derivation: Some(derivation), ..metric(Kind::Gauge, name, unit, 0) }
}

impl Metric {
    /// Decimal digits of fixed point.
    const fn scale(self, scale: u8) -> Self {
        Self { scale, ..self }
    }

    /// Drill-down of one node: not merged.
    const fn of_node(self) -> Self {
        Self { scope: Scope::Node, ..self }
    }

    /// Keeps a histogram of the nodes' values.
    const fn with_distribution(self) -> Self {
        Self { distribution: true, ..self }
    }

    /// Over nodes its value is the mean.
    const fn mean_over_nodes(self) -> Self {
        Self { over_nodes: OverNodes::Mean, ..self }
    }

    /// Keys of its attributes, sorted.
    const fn by(self, attributes: &'static [&'static str]) -> Self {
        Self { attributes, ..self }
    }

    /// These attributes hold names that somebody on a host chose.
    const fn open(self, open: &'static [&'static str]) -> Self {
        Self { open, ..self }
    }

    /// Its name for people and how its values are written.
    const fn shown(self, title: &'static str, shown_as: Unit) -> Self {
        Self { title, shown_as, ..self }
    }

    /// More of it is good, or less.
    const fn good(self, good: Good) -> Self {
        Self { good, ..self }
    }

    /// What of it is charted.
    const fn charted(self, charts: &'static [Chart]) -> Self {
        Self { charts, ..self }
    }

    /// `value` in fixed point, rounded to the nearest integer. Not a number becomes 0, infinities saturate.
    #[must_use]
    pub fn fixed(&self, value: f64) -> i64 {
        // `as` saturates and maps NaN to 0 (Rust reference, numeric cast).
        (value * 10f64.powi(i32::from(self.scale))).round() as i64
    }

    /// The inverse of [`Metric::fixed`].
    #[must_use]
    pub fn float(&self, fixed: i64) -> f64 {
        fixed as f64 / 10f64.powi(i32::from(self.scale))
    }

    /// True for a metric that nodes send.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.derivation.is_none()
    }
}

/// Whether `name` is of the catalogue and its series are those every host has, no matter who runs what on it.
#[must_use]
pub fn is_of_every_host(name: &str) -> bool {
    find(name).is_some_and(|metric| metric.open.is_empty())
}

/// Where the metric called `name` stands in the catalogue, which is the order for people; behind all of it for one that is none of
/// its.
#[must_use]
pub fn place(name: &str) -> usize {
    METRICS.iter().position(|metric| metric.name == name).unwrap_or(METRICS.len())
}

/// The metric called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().copied().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn the_table_is_sound() {
        for (i, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..i].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
            assert!(metric.name.len() <= limits::NAME_LEN_MAX && metric.scale <= limits::SCALE_MAX);
            assert!(metric.attributes.is_sorted(), "{}: attributes are sorted", metric.name);
            assert!(!metric.distribution || (metric.kind == Kind::Gauge && metric.scope == Scope::Cluster));
            assert!(metric.help.ends_with('.') && !metric.help.starts_with(' '), "{:?}", metric.help);
            assert!(metric.open.is_empty() || metric.scope == Scope::Cluster, "{}", metric.name);
            assert!(metric.open.iter().all(|key| metric.attributes.contains(key)), "{}", metric.name);
            assert!(metric.charts.is_empty() || !metric.title.is_empty(), "{} is charted without a title", metric.name);
            let named = |(key, _): &(&str, &str)| metric.attributes.contains(key);
            assert!(metric.charts.iter().all(|chart| chart.attributes.iter().all(named)), "{}", metric.name);
            assert_eq!(find(metric.name), Some(*metric));
        }
        assert_eq!(find("nothing"), None);
        assert!(is_of_every_host("system.cpu.time") && !is_of_every_host("system.process.command.cpu.time"));
    }

    #[test]
    fn what_is_derived_comes_from_what_is_sent_or_from_earlier_rows() {
        for (i, metric) in METRICS.iter().enumerate() {
            let Some(derivation) = metric.derivation else { continue };
            assert!(!metric.distribution && metric.scale == 0, "{}: a derived value has no fixed point", metric.name);
            for operand in derivation.operands() {
                assert!(METRICS[..i].iter().any(|earlier| earlier.name == operand.metric.name), "{}", metric.name);
                assert_eq!(operand.metric.scope, metric.scope, "{}", metric.name);
                let known = |key: &str| operand.metric.attributes.contains(&key);
                assert!(operand.with.iter().all(|(key, _)| known(key)), "{}", metric.name);
                assert!(operand.without.iter().all(|(key, _)| known(key)), "{}", metric.name);
            }
            let part = derivation.operands()[0].metric;
            assert!(metric.attributes.iter().all(|key| part.attributes.contains(key)), "{}", metric.name);
        }
    }

    #[test]
    fn fixed_point_keeps_the_scale() {
        assert_eq!(CPU_UTILIZATION.fixed(0.12345), 1235);
        assert!((CPU_UTILIZATION.float(1235) - 0.1235).abs() < 1e-12);
        assert_eq!(LOAD_1M.fixed(f64::NAN), 0);
        assert_eq!(LOAD_1M.fixed(f64::INFINITY), i64::MAX);
    }

    #[test]
    fn kinds_have_stable_numbers() {
        for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram] {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
            assert_eq!(Kind::try_from(MetricKind::from(kind)), Ok(kind));
            assert_eq!(MetricKind::from(kind) as i32, i32::from(kind.code()));
        }
        assert_eq!(Kind::from_code(0), None);
    }
}
