//! The row of a node from its newest second. Pure.
//!
//! A second is columns; where the series of a row stand in them is looked for once per layout, so that a row costs a
//! few reads and one pass over the top of the latency buckets. Nothing is encoded and no dense histogram is built.

use std::sync::Arc;

use starling_proto::{
    catalogue::{self, Metric, PROTOCOLS},
    frame::Columns,
    histogram::{HIGHEST, Histogram, bucket_index, bucket_middle},
    interner::Layout,
    nodes::{Measure, Row},
    series::Series,
};

/// States of TCP sockets that are no open connections.
const NOT_OPEN: [&str; 2] = ["listen", "close"];

/// Where the series of a row stand in columns of one layout.
#[derive(Debug, Default)]
struct Positions {
    cpu: Option<usize>,
    load1: Option<usize>,
    memory_limit: Option<usize>,
    memory_available: Option<usize>,
    requests: Vec<usize>,
    errors: Vec<usize>,
    durations: Vec<usize>,
    connections: Vec<usize>,
    /// With the number of the core.
    cores: Vec<(usize, u32)>,
    /// A series of the traffic model is there.
    traffic: bool,
}

impl Positions {
    fn of(layout: &Layout) -> Self {
        let mut found = Self::default();
        for (position, series) in layout.series().iter().enumerate() {
            found.note(position, series.series());
        }
        found
    }

    fn note(&mut self, position: usize, series: &Series) {
        let name = series.name();
        let is = |metric: &Metric| name == metric.name;
        let attribute = series.attributes().first().map_or("", |(_, value)| value);
        let protocol = PROTOCOLS.contains(&attribute);
        if is(&catalogue::CPU_UTILIZATION) {
            self.cpu = Some(position);
        } else if is(&catalogue::LOAD_1M) {
            self.load1 = Some(position);
        } else if is(&catalogue::MEMORY_LIMIT) {
            self.memory_limit = Some(position);
        } else if is(&catalogue::MEMORY_AVAILABLE) {
            self.memory_available = Some(position);
        } else if is(&catalogue::TCP_CONNECTIONS) {
            if !NOT_OPEN.contains(&attribute) {
                self.connections.push(position);
            }
        } else if is(&catalogue::CORE_UTILIZATION) {
            self.cores.extend(attribute.parse().ok().map(|core| (position, core)));
        } else if is(&catalogue::REQUESTS) && protocol {
            self.requests.push(position);
            self.traffic = true;
        } else if is(&catalogue::ERRORS) && protocol {
            self.errors.push(position);
            self.traffic = true;
        } else if is(&catalogue::DURATION) && protocol {
            self.durations.push(position);
            self.traffic = true;
        } else if is(&catalogue::ACTIVE) && protocol {
            self.traffic = true;
        }
    }
}

/// Reads the seconds of one node; remembers the positions of its layouts.
#[derive(Debug, Default)]
pub(super) struct RowReader {
    /// One for each part of a second.
    parts: Vec<(Arc<Layout>, Positions)>,
}

impl RowReader {
    /// The row of a second that came `delay_ms` after its end. `parts` are its columns, in the same order each time.
    pub(super) fn read(&mut self, tick: u32, delay_ms: u32, parts: &[&Columns]) -> Row {
        self.parts.truncate(parts.len());
        let mut second = Second::default();
        for (place, columns) in parts.iter().enumerate() {
            let known = self.parts.get(place).is_some_and(|(layout, _)| Arc::ptr_eq(layout, &columns.layout));
            if !known {
                self.parts.truncate(place);
                self.parts.push((columns.layout.clone(), Positions::of(&columns.layout)));
            }
            second.add(&self.parts[place].1, columns);
        }
        second.row(tick, delay_ms)
    }
}

/// What was found in the parts of a second.
#[derive(Debug, Default)]
struct Second<'a> {
    row: Row,
    limit: Option<i64>,
    available: Option<i64>,
    traffic: bool,
    requests: i64,
    errors: i64,
    connections: Option<i64>,
    durations: Vec<&'a Histogram>,
}

impl<'a> Second<'a> {
    fn add(&mut self, at: &Positions, columns: &'a Columns) {
        let value = |position: usize| columns.values.get(position).copied();
        let sum =
            |positions: &[usize]| positions.iter().filter_map(|position| value(*position)).reduce(i64::saturating_add);
        let float = |metric: &Metric, position: Option<usize>| Some(metric.float(value(position?)?));
        for (measure, metric, position) in
            [(Measure::Cpu, &catalogue::CPU_UTILIZATION, at.cpu), (Measure::Load1, &catalogue::LOAD_1M, at.load1)]
        {
            if position.is_some() {
                self.row.set(measure, float(metric, position));
            }
        }
        self.limit = self.limit.or(at.memory_limit.and_then(value));
        self.available = self.available.or(at.memory_available.and_then(value));
        self.traffic |= at.traffic;
        self.requests = self.requests.saturating_add(sum(&at.requests).unwrap_or(0));
        self.errors = self.errors.saturating_add(sum(&at.errors).unwrap_or(0));
        self.connections = match (self.connections, sum(&at.connections)) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        self.durations.extend(at.durations.iter().filter_map(|position| columns.histogram(*position)).map(|h| &**h));
        for (position, core) in &at.cores {
            if let Some(busy) = value(*position) {
                self.row.add_core(*core, catalogue::CORE_UTILIZATION.float(busy));
            }
        }
    }

    fn row(self, tick: u32, delay_ms: u32) -> Row {
        let mut row = self.row;
        (row.tick, row.delay_ms) = (tick, delay_ms);
        // As `system.memory.utilization` is derived.
        if let (Some(limit), Some(available)) = (self.limit.filter(|limit| *limit > 0), self.available) {
            row.set(Measure::Memory, Some(1.0 - available as f64 / limit as f64));
        }
        if self.traffic {
            row.set(Measure::Requests, Some(self.requests as f64));
            row.set(Measure::Errors, Some(self.errors as f64));
            row.set(Measure::P99, p99(&self.durations).map(|nanos| nanos as f64 / 1_000.0));
        }
        row.set(Measure::Connections, self.connections.map(|connections| connections as f64));
        row
    }
}

/// The 99th percentile over all of `histograms` together: the middle of its bucket, at most the largest value, as the
/// merged histogram would say. `None` without values.
///
/// Walks down from the highest buckets, so it reads about a hundredth of the values.
fn p99(histograms: &[&Histogram]) -> Option<u64> {
    let count: u64 = histograms.iter().map(|histogram| histogram.count()).fold(0, u64::saturating_add);
    let max = histograms.iter().map(|histogram| histogram.max()).max()?;
    if count == 0 {
        return None;
    }
    // The value of rank ceil(0.99 n) from below has n - rank values above it.
    let rank = count - count / 100;
    let above = count - rank;
    let mut tops: Vec<_> = histograms.iter().map(|histogram| histogram.buckets().rev().peekable()).collect();
    let mut seen = 0u64;
    loop {
        let highest = tops.iter_mut().filter_map(|top| top.peek().map(|(index, _)| *index)).max()?;
        for top in &mut tops {
            if let Some((_, n)) = top.next_if(|(index, _)| *index == highest) {
                seen = seen.saturating_add(n);
            }
        }
        if seen > above {
            // Bytes may name buckets beyond that of the highest value; they count as that one.
            return Some(bucket_middle(highest.min(bucket_index(HIGHEST))).min(max));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::{
        histogram::HistogramSum,
        interner::Interner,
        series::{Sample, Value},
    };

    use super::*;

    fn counter(metric: &'static Metric, attributes: &[(&str, &str)], value: u64) -> Sample {
        Sample { series: Series::of(metric, attributes), value: Value::Counter(value) }
    }

    fn gauge(metric: &'static Metric, attributes: &[(&str, &str)], value: f64) -> Sample {
        Sample { series: Series::of(metric, attributes), value: Value::Gauge(metric.fixed(value)) }
    }

    fn histogram(values: &[u64]) -> Histogram {
        let mut sum = HistogramSum::new();
        values.iter().for_each(|value| sum.record(*value, 1));
        sum.to_histogram()
    }

    fn row_of(samples: &[Sample]) -> Row {
        let (columns, _) = Columns::of_samples(&Interner::default(), samples.iter());
        RowReader::default().read(100, 7, &[&columns])
    }

    #[test]
    fn a_row_is_read_from_the_series_of_the_host_and_its_applications() {
        let duration = |protocol, values: &[u64]| Sample {
            series: Series::of(&catalogue::DURATION, &[("protocol", protocol)]),
            value: Value::Histogram(histogram(values).into()),
        };
        let row = row_of(&[
            gauge(&catalogue::CPU_UTILIZATION, &[], 0.25),
            gauge(&catalogue::LOAD_1M, &[], 1.5),
            gauge(&catalogue::MEMORY_LIMIT, &[], 1_000.0),
            gauge(&catalogue::MEMORY_AVAILABLE, &[], 250.0),
            gauge(&catalogue::TCP_CONNECTIONS, &[("network.connection.state", "established")], 7.0),
            gauge(&catalogue::TCP_CONNECTIONS, &[("network.connection.state", "time_wait")], 2.0),
            gauge(&catalogue::TCP_CONNECTIONS, &[("network.connection.state", "listen")], 3.0),
            counter(&catalogue::REQUESTS, &[("protocol", "http1")], 10),
            counter(&catalogue::REQUESTS, &[("protocol", "grpc")], 5),
            counter(&catalogue::ERRORS, &[("protocol", "grpc")], 1),
            duration("http1", &[1_000_000; 200]),
            duration("grpc", &[2_000_000; 2]),
            gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "10")], 0.1),
            gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "2")], 0.2),
        ]);
        assert_eq!((row.tick, row.delay_ms), (100, 7));
        let near = |measure, wanted: f64| {
            let found = row.value(measure).unwrap();
            assert!((found - wanted).abs() <= wanted * 0.004, "{measure:?}: {found} for {wanted}");
        };
        near(Measure::Cpu, 0.25);
        near(Measure::Load1, 1.5);
        near(Measure::Memory, 0.75);
        near(Measure::Connections, 9.0);
        near(Measure::Requests, 15.0);
        near(Measure::Errors, 1.0);
        near(Measure::P99, 1_000.0);
        assert_eq!(row.busiest().collect::<Vec<_>>(), [(2, 0.2), (10, 0.1)]);
    }

    #[test]
    fn what_was_not_reported_is_absent() {
        let row = row_of(&[gauge(&catalogue::MEMORY_LIMIT, &[], 5.0), gauge(&catalogue::LOAD_1M, &[], 0.5)]);
        let found = Measure::ALL.map(|measure| row.value(measure).is_some());
        assert_eq!(found, [false, false, false, false, false, true, false]);
        // An application without a request this second is there all the same.
        let row = row_of(&[gauge(&catalogue::ACTIVE, &[("protocol", "http1")], 3.0)]);
        assert_eq!((row.value(Measure::Requests), row.value(Measure::P99)), (Some(0.0), None));
    }

    #[test]
    fn positions_are_those_of_the_present_layout() {
        let interner = Interner::default();
        let columns = |samples: &[Sample]| Columns::of_samples(&interner, samples.iter()).0;
        let first = columns(&[gauge(&catalogue::CPU_UTILIZATION, &[], 0.5), gauge(&catalogue::LOAD_1M, &[], 2.0)]);
        let second = columns(&[gauge(&catalogue::LOAD_1M, &[], 4.0)]);
        let mut reader = RowReader::default();
        let cores = columns(&[gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "0")], 0.3)]);
        assert_eq!(reader.read(1, 0, &[&first, &cores]).value(Measure::Load1), Some(2.0));
        let row = reader.read(2, 0, &[&second, &cores]);
        assert_eq!((row.value(Measure::Load1), row.value(Measure::Cpu)), (Some(4.0), None));
        assert_eq!(row.busiest().count(), 1);
    }

    proptest! {
        #[test]
        fn the_percentile_is_that_of_the_merged_histogram(
            parts in prop::collection::vec(prop::collection::vec(1u64..10_000_000_000, 0..300), 0..5)
        ) {
            let histograms: Vec<Histogram> = parts.iter().map(|values| histogram(values)).collect();
            let mut merged = HistogramSum::new();
            histograms.iter().for_each(|histogram| merged.add(histogram).unwrap());
            let found = p99(&histograms.iter().collect::<Vec<_>>());
            prop_assert_eq!(found, merged.to_histogram().quantile(0.99));
        }
    }
}
