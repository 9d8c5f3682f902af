//! The metrics that have a short name here, and the units of answers. Pure.

use starling_proto::catalogue::{self, Metric};

/// A metric by its short name: the series and the statistic behind it.
struct Short {
    name: &'static str,
    series: &'static Metric,
    /// Empty: the value.
    statistic: &'static str,
}

const fn short(name: &'static str, series: &'static Metric) -> Short {
    Short { name, series, statistic: "" }
}

/// The short names: those of the reference, and the summary cards of the page.
static SHORT: [Short; 8] = [
    Short { statistic: "p99", ..short("latency", &catalogue::DURATION) },
    short("throughput", &catalogue::REQUESTS),
    short("requests", &catalogue::REQUESTS),
    short("errors", &catalogue::ERRORS),
    short("errorRatio", &catalogue::ERROR_RATIO),
    short("connections", &catalogue::TCP_OPEN),
    short("cpu", &catalogue::CPU_BUSY),
    short("memory", &catalogue::MEMORY_UTILIZATION),
];

/// The short names, for the index and for errors.
pub(super) fn names() -> String {
    SHORT.iter().map(|short| short.name).collect::<Vec<_>>().join(", ")
}

/// Name of a series and of its statistic for a short name; a name that is none is that of a series.
pub(super) fn series(name: &str) -> (&str, &'static str) {
    let known = SHORT.iter().find(|short| short.name == name);
    known.map_or((name, ""), |short| (short.series.name, short.statistic))
}

/// The unit of an answer and what values in the unit `from` are multiplied with: times are microseconds.
pub(super) fn unit(from: &str) -> (&str, f64) {
    match from {
        "s" => ("us", 1e6),
        "ms" => ("us", 1e3),
        "ns" => ("us", 1e-3),
        other => (other, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_a_series_and_any_other_is_taken_as_it_is() {
        assert_eq!(series("latency"), ("traffic.duration", "p99"));
        assert_eq!(series("cpu"), ("system.cpu.busy", ""));
        assert_eq!(series("app.queue"), ("app.queue", ""));
        assert!(names().starts_with("latency, throughput, requests"));
        assert_eq!((unit("s"), unit("By")), (("us", 1e6), ("By", 1.0)));
    }
}
