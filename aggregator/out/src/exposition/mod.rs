//! Totals as a scraper takes them.
//!
//! No sample has a time: a scraper that puts its own to them also notices when a series is no longer there, and ends it.

mod format;
mod protobuf;
mod text;

use std::collections::BTreeMap;

use starling_promql::{Labels, NAME};
use starling_proto::catalogue::Kind;

pub use self::format::{Format, accepted};
use crate::Total;

/// The series of one name.
struct Family<'a> {
    name: &'a str,
    kind: Kind,
    help: &'static str,
    /// The unit that the name ends in.
    unit: &'static str,
    members: Vec<&'a Total>,
}

/// Units that a name can end in, by their words in OpenMetrics.
const UNITS: [&str; 5] = ["seconds", "bytes", "ratio", "hertz", "celsius"];

/// These series in `format`, sorted by name and labels.
#[must_use]
pub fn expose<'a>(totals: impl Iterator<Item = &'a Total>, format: Format) -> Vec<u8> {
    let families = families(totals);
    match format {
        Format::Text => text::write(&families, false).into_bytes(),
        Format::OpenMetrics => text::write(&families, true).into_bytes(),
        Format::Protobuf => protobuf::write(&families),
    }
}

fn families<'a>(totals: impl Iterator<Item = &'a Total>) -> Vec<Family<'a>> {
    let mut by_name: BTreeMap<&str, Family<'a>> = BTreeMap::new();
    for total in totals {
        let name = total.labels.get(NAME);
        let kind = total.series.kind();
        let family = by_name.entry(name).or_insert_with(|| Family {
            name,
            kind,
            help: total.help(),
            unit: unit(name),
            members: Vec::new(),
        });
        // Applications may send two kinds under one name: a name has one in all formats, that of the first.
        if family.kind == kind {
            family.members.push(total);
        }
    }
    let mut families: Vec<Family<'_>> = by_name.into_values().collect();
    families.iter_mut().for_each(|family| family.members.sort_unstable_by(|a, b| a.labels.cmp(&b.labels)));
    families
}

fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let last = name.rsplit('_').next().unwrap_or_default();
    UNITS.into_iter().find(|unit| *unit == last).unwrap_or_default()
}

/// The labels without the name.
fn pairs(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().filter(|(key, _)| *key != NAME)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message as _;
    use starling_history::{Cell, SeriesCells, Subject, Tier};
    use starling_proto::{catalogue, group::Group, histogram::Histogram, ids::NodeId, series::Series};

    use super::*;
    use crate::Totals;

    fn totals() -> Totals {
        let mut totals = Totals::new(100);
        let histogram = Histogram::of(2_000_000, 3).plus(&Histogram::of(0, 1)).unwrap();
        let values = Cell { histogram: Some(Arc::new(histogram)), ..Cell::second(4.0) };
        let odd = Series::application("odd", &[("say", "a\"b\\c")], Kind::Gauge, "", 0, catalogue::Scope::Node);
        for subject in [
            Subject::Cluster,
            Group::of("zone", "a").unwrap().into(),
            NodeId::parse("web-1").map(Subject::Node).unwrap(),
        ] {
            let part = [
                (Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]), Cell::second(5.0)),
                (Series::of(&catalogue::LOAD_1M, &[]), Cell::second(0.5)),
                (Series::of(&catalogue::DURATION, &[("protocol", "grpc")]), values.clone()),
                (odd.clone().unwrap(), Cell::second(-1.0)),
            ]
            .map(|(series, cell)| SeriesCells {
                subject: subject.clone(),
                series,
                derived: false,
                tier: Tier::Second,
                cells: vec![(1_000, cell)],
            });
            totals.take(&subject, &[("rack".into(), "r1".into())], &part, |_| true, |_, _| {});
        }
        totals
    }

    fn exposed(format: Format) -> Vec<u8> {
        let totals = totals();
        expose(totals.all(), format)
    }

    #[test]
    fn text_has_every_line_once_and_in_order() {
        let text = String::from_utf8(exposed(Format::Text)).unwrap();
        for line in [
            "# TYPE cluster:traffic_requests_total counter",
            "cluster:traffic_requests_total{protocol=\"grpc\"} 5.0",
            "group:traffic_requests_total{protocol=\"grpc\",zone=\"a\"} 5.0",
            "traffic_requests_total{node=\"web-1\",protocol=\"grpc\",rack=\"r1\"} 5.0",
            "# TYPE cluster:traffic_duration_seconds histogram",
            "cluster:traffic_duration_seconds_bucket{protocol=\"grpc\",le=\"1e-05\"} 1",
            "cluster:traffic_duration_seconds_bucket{protocol=\"grpc\",le=\"0.001\"} 1",
            "cluster:traffic_duration_seconds_bucket{protocol=\"grpc\",le=\"0.002\"} 4",
            "cluster:traffic_duration_seconds_bucket{protocol=\"grpc\",le=\"1000.0\"} 4",
            "cluster:traffic_duration_seconds_bucket{protocol=\"grpc\",le=\"+Inf\"} 4",
            "cluster:traffic_duration_seconds_sum{protocol=\"grpc\"} 0.006",
            "cluster:traffic_duration_seconds_count{protocol=\"grpc\"} 4",
            "odd{node=\"web-1\",rack=\"r1\",say=\"a\\\"b\\\\c\"} -1.0",
        ] {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line}\n{text}");
        }
        assert!(!text.contains("_created") && !text.contains("EOF"));
    }

    #[test]
    fn openmetrics_names_families_without_total_and_says_when_a_counter_began() {
        let text = String::from_utf8(exposed(Format::OpenMetrics)).unwrap();
        for line in [
            "# TYPE cluster:traffic_requests counter",
            "cluster:traffic_requests_total{protocol=\"grpc\"} 5.0",
            "cluster:traffic_requests_created{protocol=\"grpc\"} 999.0",
            "# UNIT cluster:traffic_duration_seconds seconds",
            "cluster:traffic_duration_seconds_created{protocol=\"grpc\"} 999.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn protobuf_has_native_and_classic_buckets() {
        let bytes = exposed(Format::Protobuf);
        let mut rest = &bytes[..];
        let mut families = Vec::new();
        while !rest.is_empty() {
            families.push(protobuf::MetricFamily::decode_length_delimited(&mut rest).unwrap());
        }
        let named = |name: &str| families.iter().find(|family| family.name() == name).unwrap();
        let counter = named("cluster:traffic_requests_total").metric[0].counter.as_ref().unwrap();
        assert_eq!((counter.value, counter.created_timestamp.as_ref().map(|at| at.seconds)), (Some(5.0), Some(999)));
        let family = named("traffic_duration_seconds");
        assert_eq!((family.r#type, family.metric[0].label.len()), (Some(4), 3));
        let histogram = family.metric[0].histogram.as_ref().unwrap();
        assert_eq!((histogram.sample_count, histogram.zero_count, histogram.schema), (Some(4), Some(1), Some(5)));
        assert_eq!((histogram.positive_delta.as_slice(), histogram.positive_span.len()), (&[3i64][..], 1));
        let last = histogram.bucket.last().unwrap();
        assert_eq!((last.cumulative_count, last.upper_bound), (Some(4), Some(f64::INFINITY)));
    }

    #[test]
    fn names_that_end_in_a_unit_say_it() {
        assert_eq!(unit("cluster:system_network_io_bytes_total"), "bytes");
        assert_eq!((unit("system_memory_utilization_ratio"), unit("traffic_requests_total")), ("ratio", ""));
    }
}
