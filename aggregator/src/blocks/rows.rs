//! The rows of an open block, as they were written: what is read of them outside of any lock.

use std::{ops::Range, sync::Arc};

use starling_history::column;
use starling_proto::{
    bits,
    catalogue::Kind,
    frame::{Columns, Second},
    histogram::Histogram,
    interner::{Interned, Layout},
    varint::Reader,
};

use super::{Backing, logged::RowBytes};

/// Every so many rows a row has its gauges whole instead of as differences, so that a reader of some seconds begins there.
/// It makes a log 3 % longer.
pub(super) const WHOLE_EVERY: usize = 16;

/// Which series a second has, both parts: shared by all seconds of the same layouts.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) cluster: Arc<Layout>,
    pub(super) node: Arc<Layout>,
    /// Number in the block by position, cluster first.
    pub(super) numbers: Box<[u32]>,
}

impl Plan {
    pub(super) fn is_of(&self, cluster: &Arc<Layout>, node: &Arc<Layout>) -> bool {
        Arc::ptr_eq(&self.cluster, cluster) && Arc::ptr_eq(&self.node, node)
    }

    pub(super) const fn layouts(&self) -> [&Arc<Layout>; 2] {
        [&self.cluster, &self.node]
    }

    /// What a plan takes beside the layouts, which the connection holds too.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.numbers)
    }
}

/// One second.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Seconds after the start of the block.
    pub(super) offset: u16,
    /// Index into the plans.
    pub(super) plan: u16,
    pub(super) dropped: u32,
    /// A bit for each position with a value, then the values: counters as varint, gauges as the zigzag difference to
    /// the row before that has the series (to 0 from every row on whose number is a multiple of [`WHOLE_EVERY`]), histograms
    /// as varint length and sparse bytes. What has no value is 0, the same as before, or empty.
    pub(super) bytes: RowBytes,
}

impl Row {
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + self.bytes.cost()
    }

    fn is_here(&self) -> bool {
        matches!(self.bytes, RowBytes::Here(_))
    }

    /// Its bytes; `None` when the backing does not give back what it took.
    pub(super) fn bytes(&self, backing: Option<&dyn Backing>) -> Option<Arc<[u8]>> {
        self.bytes.read(backing)
    }
}

/// The rows written so far; cheap to clone, to be read outside of a lock.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) start: u32,
    pub(super) plans: Vec<Arc<Plan>>,
    pub(super) rows: Vec<Row>,
    /// Of the series by number.
    pub(super) series: Arc<Vec<Interned>>,
}

/// Some rows that follow each other, of which series are picked.
#[derive(Debug)]
pub(super) struct Tail {
    /// The same for all that is read of one block.
    pub(super) block: Arc<()>,
    pub(super) start: u32,
    /// Seconds that are asked for.
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) plans: Vec<Arc<Plan>>,
    pub(super) series: Arc<Vec<Interned>>,
    /// Number of the first of them.
    pub(super) first: usize,
    pub(super) rows: Vec<Row>,
}

impl Tail {
    /// How many of its rows are in memory, and how many in a log.
    pub(super) fn count(&self) -> (usize, usize) {
        let here = self.rows.iter().filter(|row| row.is_here()).count();
        (here, self.rows.len() - here)
    }
}

impl Rows {
    /// Whether both have one list of series.
    #[cfg(test)]
    pub(super) fn shares_series(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.series, &other.series)
    }

    /// The rows from which the seconds `from..=to` can be read, of which at most `most` are there. The newest are looked at first:
    /// the usual question is about these.
    pub(super) fn range(&self, from: u32, to: u32, most: usize) -> Range<usize> {
        let wanted = |(_, row): &(usize, &Row)| (from..=to).contains(&(self.start + u32::from(row.offset)));
        let mut found = self.rows.iter().enumerate().rev().filter(wanted).map(|(number, _)| number).take(most);
        let none = self.rows.len();
        let Some(last) = found.next() else { return none..none };
        found.last().unwrap_or(last) / WHOLE_EVERY * WHOLE_EVERY..last + 1
    }

    /// The rows from which the seconds `from..=to` can be read, and their bytes up to the first that `backing` does not give
    /// back, since the gauges after it cannot be known.
    pub(super) fn read(&self, backing: Option<&dyn Backing>, from: u32, to: u32) -> (Range<usize>, Vec<Arc<[u8]>>) {
        let range = self.range(from, to, usize::MAX);
        let rows = self.rows.get(range.clone()).unwrap_or_default();
        (range, rows.iter().map_while(|row| row.bytes.read(backing)).collect())
    }

    /// Goes through rows from number `first` on, of which these are the bytes, as they came: each with its plan, its values by
    /// position (0 for histograms) and the bytes of the histograms that are not empty.
    pub(super) fn replay<'a>(
        &'a self,
        first: usize,
        bytes: &'a [Arc<[u8]>],
        mut each: impl FnMut(&'a Row, &'a Plan, &[i64], &[(usize, &'a [u8])]),
    ) {
        let mut last = vec![0i64; self.series.len()];
        let (mut values, mut histograms) = (Vec::new(), Vec::new());
        for ((row, bytes), number) in self.rows.iter().skip(first).zip(bytes).zip(first..) {
            let Some(plan) = self.plans.get(usize::from(row.plan)) else { continue };
            if number.is_multiple_of(WHOLE_EVERY) {
                last.fill(0);
            }
            values.clear();
            histograms.clear();
            let mut reader = Reader::new(bytes);
            // Written by `push`: it can be read.
            let Ok(listed) = column::read_map(&mut reader, plan.numbers.len()) else { continue };
            for (position, &number) in plan.numbers.iter().enumerate() {
                let (number, listed) = (number as usize, bits::is_set(&listed, position));
                let value = match self.series[number].kind() {
                    Kind::Counter if listed => reader.u64().unwrap_or_default().cast_signed(),
                    Kind::Gauge if listed => {
                        last[number] = last[number].wrapping_add(reader.i64().unwrap_or_default());
                        last[number]
                    }
                    Kind::Gauge => last[number],
                    Kind::Histogram if listed => {
                        histograms.push((position, reader.bytes(column::HISTOGRAM_BYTES_MAX).unwrap_or_default()));
                        0
                    }
                    Kind::Counter | Kind::Histogram => 0,
                };
                values.push(value);
            }
            each(row, plan, &values, &histograms);
        }
    }

    /// The seconds `from..=to`, in the order in which they came, and how many rows `backing` did not give back.
    pub(super) fn seconds(&self, backing: Option<&dyn Backing>, from: u32, to: u32) -> (Vec<Second>, usize) {
        let (rows, bytes) = self.read(backing, from, to);
        let mut seconds = Vec::new();
        self.replay(rows.start, &bytes, |row, plan, values, histograms| {
            let tick = self.start + u32::from(row.offset);
            if !(from..=to).contains(&tick) {
                return;
            }
            let split = plan.cluster.series().len();
            let columns = |layout: &Arc<Layout>, values: &[i64], first: usize| {
                let mine = histograms.iter().filter(|(at, _)| (first..first + values.len()).contains(at));
                let decoded = mine.filter_map(|(at, bytes)| {
                    // They were read once when they came.
                    Some(((at - first) as u32, Arc::new(Histogram::decode(bytes).ok()?)))
                });
                Columns::alone(Arc::clone(layout), values.into(), decoded.collect())
            };
            seconds.push(Second {
                tick,
                dropped: row.dropped,
                cluster: columns(&plan.cluster, &values[..split], 0),
                node: columns(&plan.node, &values[split..], split),
            });
        });
        (seconds, rows.len() - bytes.len())
    }
}
