//! The busiest cores of a second, for the ledger. Pure.

use std::sync::Arc;

use starling_ledger::rollup::{Busy, Cores, SHARE_MAX};
use starling_proto::{catalogue::CORE_UTILIZATION, frame::Columns, interner::Layout};

/// Reads the seconds of one node; remembers where its cores stand in their layout.
#[derive(Debug, Default)]
pub(super) struct CoreReader {
    layout: Option<Arc<Layout>>,
    /// Place in the layout and number of each core.
    cores: Vec<(usize, u32)>,
}

impl CoreReader {
    /// The busiest cores of a second, by its series of node scope.
    pub(super) fn read(&mut self, columns: &Columns) -> Cores {
        if !self.layout.as_ref().is_some_and(|layout| Arc::ptr_eq(layout, &columns.layout)) {
            self.cores = positions(&columns.layout);
            self.layout = Some(Arc::clone(&columns.layout));
        }
        let busy = |&(position, core): &(usize, u32)| {
            let share = columns.values.get(position).copied()?.clamp(0, i64::from(SHARE_MAX));
            Some(Busy { share: u16::try_from(share).ok()?, core })
        };
        Cores::busiest(self.cores.iter().filter_map(busy))
    }
}

fn positions(layout: &Layout) -> Vec<(usize, u32)> {
    let core = |(position, series): (usize, &starling_proto::interner::Interned)| {
        let number = series.attributes().first().filter(|_| series.is(&CORE_UTILIZATION))?.1.parse().ok()?;
        Some((position, number))
    };
    layout.series().iter().enumerate().filter_map(core).collect()
}

#[cfg(test)]
mod tests {
    use starling_proto::{
        catalogue::{self, Metric},
        interner::Interner,
        series::{Sample, Series, Value},
    };

    use super::*;

    #[test]
    fn the_share_of_a_core_is_read_in_ten_thousandths() {
        assert_eq!(CORE_UTILIZATION.fixed(1.0), i64::from(SHARE_MAX), "the scale of the series is that of a census");
        let interner = Interner::default();
        let columns = |samples: &[(&'static Metric, &str, i64)]| {
            let sample = |&(metric, core, value): &(&'static Metric, &str, i64)| {
                let key = metric.attributes.first().copied().unwrap_or_default();
                let attributes = [(key, core)];
                let series = Series::of(metric, if key.is_empty() { &[] } else { &attributes });
                Sample { series, value: Value::Gauge(value) }
            };
            let samples: Vec<Sample> = samples.iter().map(sample).collect();
            Columns::of_samples(&interner, samples.iter()).0
        };
        let mut reader = CoreReader::default();
        let core = &CORE_UTILIZATION;
        let first = columns(&[(&catalogue::UPTIME, "", 5), (core, "0", 10), (core, "10", 10_001), (core, "2", -5)]);
        let busy = |share, core| Busy { share, core };
        let read: Vec<Busy> = reader.read(&first).iter().collect();
        assert_eq!(read, [busy(10_000, 10), busy(10, 0), busy(0, 2)]);
        // Another layout: the cores stand elsewhere.
        assert_eq!(reader.read(&columns(&[(core, "1", 7)])).iter().collect::<Vec<_>>(), [busy(7, 1)]);
        assert_eq!(reader.read(&columns(&[(&catalogue::UPTIME, "", 5)])).iter().count(), 0);
    }
}
