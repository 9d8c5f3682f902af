//! One part of one second of a node, in columns: what is changed, merged and kept without touching a name.

use std::sync::Arc;

use crate::{
    catalogue::Kind,
    histogram::Histogram,
    interner::{Interned, Interner},
    series::{Sample, Value},
};

/// The series of a part by position. Shared by all seconds in which the same series are present, so that two seconds
/// with the same [`Arc`] have the same series at the same positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// No series stands twice.
    pub series: Box<[Interned]>,
}

/// One part of one second: a value of every series of its layout.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Which series, by position.
    pub layout: Arc<Layout>,
    /// By position: increments of counters, values of gauges in fixed point, 0 for histograms.
    pub values: Box<[i64]>,
    /// One bit per position, lowest first: clear when a counter or histogram is empty, or a gauge has the value of
    /// the second before of the same layout.
    pub changed: Box<[u64]>,
    /// Histograms that are not empty, by ascending position.
    pub histograms: Box<[(u32, Arc<Histogram>)]>,
}

impl Columns {
    /// Columns of samples without a second before: all are changed. A series that the full `interner` cannot take is
    /// left out; of two samples of one series the first counts. Returns how many were left out.
    #[must_use]
    pub fn of_samples<'a>(interner: &Interner, samples: impl Iterator<Item = &'a Sample>) -> (Self, usize) {
        let mut left_out = 0;
        let (mut series, mut values, mut histograms) = (Vec::<Interned>::new(), Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        for sample in samples {
            let Some(interned) = interner.intern(&sample.series).filter(|interned| seen.insert(interned.id())) else {
                left_out += 1;
                continue;
            };
            values.push(match &sample.value {
                Value::Counter(increment) => i64::try_from(*increment).unwrap_or(i64::MAX),
                Value::Gauge(value) => *value,
                Value::Histogram(histogram) => {
                    if !histogram.is_empty() {
                        histograms.push((series.len() as u32, Arc::clone(histogram)));
                    }
                    0
                }
            });
            series.push(interned);
        }
        let changed = vec![u64::MAX; series.len().div_ceil(64)].into();
        let layout = Arc::new(Layout { series: series.into() });
        (Self { layout, values: values.into(), changed, histograms: histograms.into() }, left_out)
    }

    /// Whether the value at `position` differs from the second before.
    #[must_use]
    pub fn is_changed(&self, position: usize) -> bool {
        self.changed.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// The histogram at `position`; `None` when it is empty or the series is none.
    #[must_use]
    pub fn histogram(&self, position: usize) -> Option<&Arc<Histogram>> {
        let position = u32::try_from(position).ok()?;
        self.histograms.binary_search_by_key(&position, |(at, _)| *at).ok().map(|at| &self.histograms[at].1)
    }

    /// Every series with its value, by position. Slow: for answers about one node, not for merging.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        self.layout.series.iter().enumerate().map(|(position, series)| {
            let number = self.values.get(position).copied().unwrap_or_default();
            let value = match series.kind() {
                Kind::Counter => Value::Counter(u64::try_from(number).unwrap_or_default()),
                Kind::Gauge => Value::Gauge(number),
                Kind::Histogram => Value::Histogram(self.histogram(position).cloned().unwrap_or_default()),
            };
            Sample { series: series.series().clone(), value }
        })
    }

    /// Number of series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True without series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue, series::Series};

    #[test]
    fn columns_give_their_samples_back() {
        let samples = [
            Sample { series: Series::of(&catalogue::LOAD_1M, &[]), value: Value::Gauge(-5) },
            Sample {
                series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
                value: Value::Histogram(Histogram::of(7, 2).into()),
            },
            Sample { series: Series::of(&catalogue::TCP_OPENED, &[]), value: Value::Counter(3) },
        ];
        let (columns, left_out) = Columns::of_samples(&Interner::default(), samples.iter());
        assert_eq!((left_out, columns.len()), (0, 3));
        assert!(columns.is_changed(2) && columns.histogram(0).is_none());
        assert_eq!(columns.samples().collect::<Vec<_>>(), samples);
        let (_, left_out) = Columns::of_samples(&Interner::new(1), samples.iter());
        assert_eq!(left_out, 2);
    }
}
