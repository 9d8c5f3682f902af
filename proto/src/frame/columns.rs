//! One second of a node in columns: what is changed, merged and kept without touching a name.

use std::sync::Arc;

use bytes::Bytes;

use super::Content;
use crate::{
    bits,
    catalogue::{Kind, Scope},
    histogram::Histogram,
    interner::{Interned, Interner, Layout, Resolve as _},
    series::{Sample, Value},
};

/// One part of one second: a value of every series of its layout.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Which series, by position.
    pub layout: Arc<Layout>,
    /// By position: increments of counters, values of gauges in fixed point, 0 for histograms.
    pub values: Box<[i64]>,
    /// One bit per position, lowest first: clear when a counter or histogram is empty, or a gauge has the value of
    /// the second that came before it with the same layout. All gauges are changed in the first second of a layout.
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
        let layout = interner.layout(series);
        (Self::alone(layout, values.into(), histograms.into()), left_out)
    }

    /// Columns of which nothing is known of the second before: all are changed.
    #[must_use]
    pub fn alone(layout: Arc<Layout>, values: Box<[i64]>, histograms: Box<[(u32, Arc<Histogram>)]>) -> Self {
        let changed = vec![u64::MAX; values.len().div_ceil(64)].into();
        Self { layout, values, changed, histograms }
    }

    /// Whether the value at `position` differs from the second before.
    #[must_use]
    pub fn is_changed(&self, position: usize) -> bool {
        bits::is_set(&self.changed, position)
    }

    /// Positions whose value differs from the second before, ascending.
    pub fn changed_positions(&self) -> impl Iterator<Item = usize> + '_ {
        bits::ones(&self.changed).take_while(|position| *position < self.values.len())
    }

    /// The histogram at `position`; `None` when it is empty or the series is none.
    #[must_use]
    pub fn histogram(&self, position: usize) -> Option<&Arc<Histogram>> {
        let position = u32::try_from(position).ok()?;
        self.histograms.binary_search_by_key(&position, |(at, _)| *at).ok().map(|at| &self.histograms[at].1)
    }

    /// Every series with its value, by position. Slow: for answers about one node, not for merging.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        self.layout.series().iter().enumerate().map(|(position, series)| {
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

/// One second of a node: both parts of its frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Second {
    /// Unix seconds; increments cover (tick - 1, tick].
    pub tick: u32,
    /// Samples the daemon could not take or keep in this second.
    pub dropped: u32,
    /// Series that are merged over nodes.
    pub cluster: Columns,
    /// Series for drill-down only.
    pub node: Columns,
}

impl Second {
    /// A second from its content, without a second before it. Returns how many samples were left out, as
    /// [`Columns::of_samples`].
    #[must_use]
    pub fn of_content(interner: &Interner, content: &Content) -> (Self, usize) {
        let (cluster, without) = Columns::of_samples(interner, content.scope(Scope::Cluster));
        let (node, further) = Columns::of_samples(interner, content.scope(Scope::Node));
        (Self { tick: content.tick, dropped: content.dropped, cluster, node }, without + further)
    }

    /// The same as samples. Slow: for answers about one node.
    #[must_use]
    pub fn content(&self) -> Content {
        let samples = self.cluster.samples().chain(self.node.samples()).collect();
        Content { tick: self.tick, samples, dropped: self.dropped }
    }
}

/// A frame that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedFrame {
    /// What it says.
    pub second: Second,
    /// The bytes of the histograms of `second.cluster` and of `second.node`, in their order: who keeps the second need
    /// not encode them again.
    pub sparse: [Box<[Bytes]>; 2],
    /// Series present for which there was no room: their values are missing from `second`.
    pub left_out: u32,
    /// Series present that count in one that stands for many, by [`crate::interner::Resolved::Other`].
    pub others: u32,
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
        assert_eq!(columns.changed_positions().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(columns.samples().collect::<Vec<_>>(), samples);
        let (_, left_out) = Columns::of_samples(&Interner::new(1), samples.iter());
        assert_eq!(left_out, 2);
    }
}
