//! The block that is being written: what changed, second by second.

use std::{collections::HashMap, ops::Range, sync::Arc};

use bytes::Bytes;
use starling_history::column;
use starling_proto::{
    bits,
    catalogue::Kind,
    frame::Second,
    interner::{Interned, Layout, SeriesId},
    varint::{self, Reader},
};

use super::{
    BLOCK_SECONDS, Backing, LogPlace, LogRow, LogRows, SERIES_MAX,
    logged::RowBytes,
    newest::NewestRows,
    rows::{Plan, Row, Rows, Tail, WHOLE_EVERY},
    sealed::{Block, Cells},
    start_of,
};

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OpenBlock {
    rows: Rows,
    /// Nothing but itself: rows are only ever added to one block, so that what was read of some of them stays right.
    identity: Arc<()>,
    /// A bit per second that is held.
    held: [u64; BLOCK_SECONDS.div_ceil(64) as usize],
    /// Last value of each gauge by number of the series.
    last: Vec<i64>,
    bytes: usize,
    /// Seconds since the last row, as counted by whoever prunes.
    pub(super) quiet: u32,
    /// Rows that a log has.
    pub(super) logged: u32,
    /// Of these the newest.
    newest: NewestRows,
}

impl OpenBlock {
    /// An empty block that begins at `start`.
    #[must_use]
    pub fn new(start: u32) -> Self {
        Self {
            rows: Rows { start, ..Rows::default() },
            identity: Arc::default(),
            held: Default::default(),
            last: Vec::new(),
            bytes: size_of::<Self>(),
            quiet: 0,
            logged: 0,
            newest: NewestRows::default(),
        }
    }

    /// An empty block that begins at `start`, after `self`. When `second` has the series that `self` has, it shares
    /// their list with it: at the turn of a block all nodes come here within moments.
    #[must_use]
    pub(super) fn next(&self, start: u32, second: &Second) -> Self {
        let mut next = Self::new(start);
        let newest = self.rows.plans.iter().rfind(|plan| plan.is_of(&second.cluster.layout, &second.node.layout));
        if let Some(plan) = newest.filter(|plan| plan.numbers.len() == self.rows.series.len()) {
            next.rows.series = Arc::clone(&self.rows.series);
            next.take(Arc::clone(plan), plan.numbers.len());
        }
        next
    }

    /// Its first second.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.rows.start
    }

    /// Seconds it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.rows.len()
    }

    /// True before the first second.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.rows.is_empty()
    }

    /// Bytes it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether `tick` is in it.
    #[must_use]
    pub fn holds(&self, tick: u32) -> bool {
        let offset = tick.checked_sub(self.rows.start).filter(|offset| *offset < BLOCK_SECONDS);
        offset.is_some_and(|offset| bits::is_set(&self.held, offset as usize))
    }

    /// The rows from which series are picked over the seconds `from..=to`; `known` says, of this block and the first of them, the
    /// first one that is not known yet.
    pub(super) fn tail(&self, (from, to): (u32, u32), known: impl Fn(&Arc<()>, usize) -> Option<usize>) -> Tail {
        let offset = |tick: u32| tick.saturating_sub(self.rows.start).min(BLOCK_SECONDS);
        // Each second stands once: with as many as are held all are found.
        let held = |at: &u32| bits::is_set(&self.held, *at as usize);
        let most = (offset(from)..offset(to.saturating_add(1))).filter(held).count();
        let Range { start: first, end } = self.rows.range(from, to, most);
        let first = known(&self.identity, first).unwrap_or(first);
        let Rows { start, plans, rows, series } = &self.rows;
        let rows = rows.get(first..end.max(first)).unwrap_or_default();
        let rows = self.with_newest(rows, first).collect();
        let (block, plans, series) = (self.identity.clone(), plans.clone(), series.clone());
        Tail { block, start: *start, from, to, plans, series, first, rows }
    }

    /// The rows, to be read elsewhere.
    pub(super) fn rows(&self) -> Rows {
        let Rows { start, plans, rows, series } = &self.rows;
        let rows = self.with_newest(rows, 0).collect();
        Rows { start: *start, plans: plans.clone(), rows, series: series.clone() }
    }

    /// `rows`, of which the first has number `first`, with the bytes of those that are in memory.
    fn with_newest<'a>(&'a self, rows: &'a [Row], first: usize) -> impl Iterator<Item = Row> + 'a {
        rows.iter().zip(first..).map(|(row, number)| match self.newest.get(number) {
            Some(bytes) => Row { bytes: RowBytes::Here(bytes.clone()), ..*row },
            None => row.clone(),
        })
    }

    /// Keeps of the rows that a log has at most `most` in memory, too, the newest.
    pub(super) fn keep_newest(&mut self, most: usize) {
        self.bytes -= self.newest.bytes();
        self.newest.keep(most);
        self.bytes += self.newest.bytes();
    }

    /// The rows that are in memory though a log has them: how many, and their bytes.
    pub(super) fn newest_rows(&self) -> (usize, usize) {
        (self.newest.len(), self.newest.bytes())
    }

    /// Keeps a second of this block; `sparse` are the bytes of its histograms, as
    /// [`starling_proto::frame::DecodedFrame::sparse`] has them. A second that is held already says the same and is
    /// passed over. False when there is no room for its series.
    pub fn push(&mut self, second: &Second, sparse: &[Box<[Bytes]>; 2]) -> bool {
        debug_assert_eq!(start_of(second.tick), self.rows.start);
        let offset = second.tick.saturating_sub(self.rows.start);
        if offset >= BLOCK_SECONDS || bits::is_set(&self.held, offset as usize) {
            return true;
        }
        let Some(at) = self.plan(&second.cluster.layout, &second.node.layout) else { return false };
        let plan = Arc::clone(&self.rows.plans[at]);
        self.begin_row();
        let count = plan.numbers.len();
        let mut listed = vec![0u64; count.div_ceil(64)];
        let mut values = Vec::with_capacity(count.div_ceil(8) + count);
        let mut position = 0;
        for (columns, sparse) in [&second.cluster, &second.node].into_iter().zip(sparse) {
            let mut histograms = columns.histograms.iter().map(|(at, _)| *at as usize).zip(sparse).peekable();
            for (at, (facts, &value)) in columns.layout.facts().iter().zip(&columns.values).enumerate() {
                let number = plan.numbers[position] as usize;
                let written = match facts.kind {
                    Kind::Counter if value != 0 => {
                        varint::put(&mut values, value.cast_unsigned());
                        true
                    }
                    Kind::Gauge if value != self.last[number] => {
                        varint::put_signed(&mut values, value.wrapping_sub(self.last[number]));
                        self.last[number] = value;
                        true
                    }
                    Kind::Histogram => match histograms.next_if(|(here, _)| *here == at) {
                        Some((_, bytes)) => {
                            varint::put_bytes(&mut values, bytes);
                            true
                        }
                        None => false,
                    },
                    Kind::Counter | Kind::Gauge => false,
                };
                if written {
                    bits::set(&mut listed, position);
                }
                position += 1;
            }
        }
        let mut bytes = Vec::with_capacity(count.div_ceil(8) + values.len());
        column::put_map(&mut bytes, &listed, count);
        bytes.extend_from_slice(&values);
        // At most 300 rows: both fit 16 bits.
        let row = Row {
            offset: offset as u16,
            plan: at as u16,
            dropped: second.dropped,
            bytes: RowBytes::Here(bytes.into()),
        };
        self.bytes += row.cost();
        self.rows.rows.push(row);
        bits::set(&mut self.held, offset as usize);
        self.quiet = 0;
        true
    }

    /// The rows that no log has; they count as logged from now on.
    pub(super) fn unlogged(&mut self) -> Option<LogRows> {
        let first = std::mem::replace(&mut self.logged, self.rows.rows.len() as u32);
        let rows = self.rows.rows.get(first as usize..).filter(|rows| !rows.is_empty())?;
        let row = |row: &Row| {
            let plan = self.rows.plans.get(usize::from(row.plan))?;
            let layouts = [Arc::clone(&plan.cluster), Arc::clone(&plan.node)];
            // What no log has is here.
            let bytes = row.bytes.read(None)?;
            Some(LogRow { offset: row.offset, dropped: row.dropped, layouts, bytes, place: None })
        };
        Some(LogRows { start: self.rows.start, first, rows: rows.iter().filter_map(row).collect() })
    }

    /// A log has `bytes`, those of row `number`, at `place`: memory need not, and does until [`OpenBlock::keep_newest`] says
    /// otherwise. Nothing changes when that row is another now.
    pub(super) fn now_logged(&mut self, number: usize, bytes: &Arc<[u8]>, place: LogPlace) {
        let Some(row) = self.rows.rows.get_mut(number) else { return };
        if matches!(&row.bytes, RowBytes::Here(held) if Arc::ptr_eq(held, bytes)) {
            let before = row.cost() + self.newest.bytes();
            row.bytes = RowBytes::logged(bytes, place);
            self.newest.push(number, bytes);
            self.bytes = self.bytes - before + row.cost() + self.newest.bytes();
        }
    }

    /// Adds the row that follows those it has, as a log held it. False when it is none of this block, or cannot be read.
    pub(super) fn restore(&mut self, row: LogRow) -> bool {
        let LogRow { offset, dropped, layouts: [cluster, node], bytes, place } = row;
        if u32::from(offset) >= BLOCK_SECONDS || bits::is_set(&self.held, offset.into()) {
            return false;
        }
        let Some(at) = self.plan(&cluster, &node) else { return false };
        let plan = Arc::clone(&self.rows.plans[at]);
        let mut reader = Reader::new(&bytes);
        let Ok(listed) = column::read_map(&mut reader, plan.numbers.len()) else { return false };
        let mut gauges = Vec::new();
        for position in bits::ones(&listed) {
            let number = plan.numbers[position] as usize;
            let read = match self.rows.series[number].kind() {
                Kind::Counter => reader.u64().map(drop),
                Kind::Gauge => reader.i64().map(|difference| gauges.push((number, difference))),
                Kind::Histogram => reader.bytes(column::HISTOGRAM_BYTES_MAX).map(drop),
            };
            if read.is_err() {
                return false;
            }
        }
        if !reader.is_empty() {
            return false;
        }
        self.begin_row();
        for (number, difference) in gauges {
            self.last[number] = self.last[number].wrapping_add(difference);
        }
        let bytes = match place {
            Some(place) => RowBytes::logged(&bytes, place),
            None => RowBytes::Here(bytes),
        };
        let row = Row { offset, plan: at as u16, dropped, bytes };
        self.bytes += row.cost();
        self.rows.rows.push(row);
        bits::set(&mut self.held, offset.into());
        true
    }

    fn begin_row(&mut self) {
        if self.rows.rows.len().is_multiple_of(WHOLE_EVERY) {
            self.last.fill(0);
        }
    }

    /// The last second it holds.
    pub(super) fn newest(&self) -> Option<u32> {
        let (at, word) = self.held.iter().enumerate().rfind(|(_, word)| **word != 0)?;
        Some(self.rows.start + at as u32 * 64 + word.ilog2())
    }

    /// The plan of a second; a new one when its layouts are new. `None` when there is no room for its series.
    fn plan(&mut self, cluster: &Arc<Layout>, node: &Arc<Layout>) -> Option<usize> {
        // Mostly the newest.
        if let Some(at) = self.rows.plans.iter().rposition(|plan| plan.is_of(cluster, node)) {
            return Some(at);
        }
        let all = || cluster.series().iter().chain(node.series());
        let known: HashMap<SeriesId, u32> = self.rows.series.iter().map(|one| one.id()).zip(0u32..).collect();
        let new = all().filter(|one| !known.contains_key(&one.id())).count();
        if self.rows.series.len() + new > SERIES_MAX {
            return None;
        }
        let series = Arc::make_mut(&mut self.rows.series);
        let numbers = all()
            .map(|one| {
                known.get(&one.id()).copied().unwrap_or_else(|| {
                    series.push(one.clone());
                    (series.len() - 1) as u32
                })
            })
            .collect();
        let (cluster, node) = (Arc::clone(cluster), Arc::clone(node));
        self.take(Arc::new(Plan { cluster, node, numbers }), new);
        Some(self.rows.plans.len() - 1)
    }

    /// Takes a plan with so many series that no plan before it has.
    fn take(&mut self, plan: Arc<Plan>, new: usize) {
        self.last.resize(self.rows.series.len(), 0);
        self.bytes += plan.cost() + new * (size_of::<Interned>() + size_of::<i64>());
        self.rows.plans.push(plan);
    }

    /// The same as columns, and how many of its seconds `backing` did not give back: those are not in it.
    #[must_use]
    pub fn seal(&self, backing: Option<&dyn Backing>) -> (Block, usize) {
        let mut cells = vec![Cells::default(); self.rows.series.len()];
        let (mut held, mut dropped) = ([0u64; BLOCK_SECONDS.div_ceil(64) as usize], Vec::new());
        let (rows, bytes) = self.rows.read(backing, 0, u32::MAX);
        self.rows.replay(rows.start, &bytes, |row, plan, values, histograms| {
            bits::set(&mut held, row.offset.into());
            dropped.push((row.offset, i64::from(row.dropped)));
            let mut histograms = histograms.iter().peekable();
            for (position, (&number, &value)) in plan.numbers.iter().zip(values).enumerate() {
                let number = number as usize;
                if self.rows.series[number].kind() == Kind::Histogram {
                    let bytes = histograms.next_if(|(at, _)| *at == position).map(|(_, bytes)| *bytes);
                    cells[number].histograms.push((row.offset, bytes));
                } else {
                    cells[number].integers.push((row.offset, value));
                }
            }
        });
        dropped.sort_unstable();
        let dropped: Vec<i64> = dropped.into_iter().map(|(_, n)| n).collect();
        let block = Block::of(self.rows.start, &held, &dropped, &self.rows.series, cells);
        (block, rows.len() - bytes.len())
    }

    /// Its seconds, ascending, and how many `backing` did not give back.
    #[must_use]
    pub fn seconds(&self, backing: Option<&dyn Backing>) -> (Vec<Second>, usize) {
        let (mut seconds, unread) = self.rows.seconds(backing, 0, u32::MAX);
        seconds.sort_by_key(|second| second.tick);
        (seconds, unread)
    }
}

/// The bytes of the histograms of a second, as [`OpenBlock::push`] takes them.
pub(crate) fn sparse(second: &Second) -> [Box<[Bytes]>; 2] {
    [&second.cluster, &second.node]
        .map(|columns| columns.histograms.iter().map(|(_, histogram)| histogram.encode()).collect())
}
