//! Which numbers of a second are charted, under which names and in which order: what the catalogue says.
//!
//! The order is the same on every server of one version and after every restart, so that a page can resume at another
//! replica: the charts of the catalogue, those of [`OF_A_MINUTE`], and for a node what only a node has and its cores, by
//! number. `NaN` means no data; it is never zero. The values come by name from the aggregator, so that names and values
//! cannot disagree.

use starling_proto::{
    catalogue::{Good, Unit, charts},
    v1,
};

use super::sections::Second;

/// The column of all requests per second.
pub(crate) const RPS_TOTAL: &str = "rps.total";

/// A column that is not a chart of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct MinuteChart {
    /// Of the column.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// How its values are written.
    pub unit: Unit,
    /// Which direction is good.
    pub good: Good,
    read: fn(&v1::Latency) -> f64,
}

/// Percentiles of the 60 seconds that end with each second, of merged histograms: what they were five minutes ago is the
/// only thing that what they are now may be compared with.
pub const OF_A_MINUTE: [MinuteChart; 1] = [MinuteChart {
    name: "latency.p99_minute",
    title: "Latency, 60 s",
    unit: Unit::Time,
    good: Good::Down,
    read: |is| is.p99_micros,
}];

/// Most cores that get a column: beyond the largest x86 machine sold (2 x 192 cores, two threads each).
pub(crate) const CORES_MAX: usize = 1024;

/// The charts of the catalogue: of every view, or those of a single node only.
fn of_catalogue(of_node: bool) -> impl Iterator<Item = &'static str> {
    charts().filter(move |(_, chart)| chart.of_node == of_node).map(|(_, chart)| chart.name)
}

/// Names of the columns for a view: `node` for a node with `cores` cores.
pub(crate) fn names(node: bool, cores: usize) -> Vec<String> {
    let cores = if node { cores.min(CORES_MAX) } else { 0 };
    let of_a_minute = OF_A_MINUTE.iter().map(|chart| chart.name);
    let of_node = of_catalogue(true).filter(|_| node);
    let charted = of_catalogue(false).chain(of_a_minute).chain(of_node).map(ToOwned::to_owned);
    charted.chain((0..cores).map(|core| format!("core.{core}"))).collect()
}

/// The values of one second, in the order of [`names`].
pub(crate) fn point(second: &Second, node: bool) -> Vec<f32> {
    let values = second.charted();
    let cores = if node { second.cores() } else { &[] };
    let minute = second.traffic().and_then(|traffic| traffic.latency_last_minute.as_ref());
    let value = |name| values.get(name).copied();
    let of_a_minute = OF_A_MINUTE.iter().map(|chart| minute.map(chart.read));
    let charted =
        of_catalogue(false).map(value).chain(of_a_minute).chain(of_catalogue(true).filter(|_| node).map(value));
    charted.chain(cores.iter().take(CORES_MAX).map(|&core| Some(core))).map(narrow).collect()
}

/// A chart is at most a few thousand pixels high: 24 bits are enough, and halve what travels.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn narrow(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, |value| value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_have_one_order() {
        let charted = [("cpu.total", 0.5), ("load.1m", 1.5), ("memory.free", 1.0), ("rps.grpc", 7.0)];
        let view = v1::NodeView {
            charted: charted.map(|(name, value)| (name.to_owned(), value)).into(),
            core_utilization_ratios: vec![0.25, 0.75],
            sections: Some(v1::Sections {
                traffic: Some(v1::Traffic {
                    latency_last_minute: Some(v1::Latency { p99_micros: 9.0, ..Default::default() }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let names = names(true, 2);
        let point = point(&Second::Node(Box::new(view)), true);
        assert_eq!(names.len(), point.len());
        let value = |name: &str| point[names.iter().position(|is| is == name).unwrap()];
        for (name, wanted) in charted {
            assert_eq!(f64::from(value(name)), wanted, "{name}");
        }
        assert_eq!(value("core.1"), 0.75);
        assert_eq!(value("latency.p99_minute"), 9.0);
        assert!(value("rps.http1").is_nan(), "a protocol that was not reported is not zero");
        assert_eq!(point.iter().filter(|value| !value.is_nan()).count(), charted.len() + 3);
    }

    #[test]
    fn the_columns_of_a_cluster_are_a_prefix() {
        let cluster = names(false, 9);
        assert_eq!(point(&Second::Cluster(Box::default()), false).len(), cluster.len());
        assert_eq!(names(true, 9)[..cluster.len()], cluster);
    }
}
