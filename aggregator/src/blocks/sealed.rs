//! A block that is not written to any more, and its form for others.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use starling_history::column::{self, ColumnError};
use starling_proto::{
    bits,
    catalogue::{Kind, Scope},
    frame::{Columns, Second, put_series, read_series},
    histogram::Histogram,
    interner::{Interned, Interner, Layout},
    limits::{BUCKET_COUNT_MAX, COUNTER_INCREMENT_MAX, GAUGE_MAGNITUDE_MAX},
    series::Series,
    varint::{self, Reader},
};

use super::{BLOCK_BYTES_MAX, BLOCK_SECONDS, BlockError, Picked, PickedValue, SERIES_MAX, start_of};

/// The form that [`Block::encode`] writes.
const VERSION: u8 = 1;
const SECONDS: usize = BLOCK_SECONDS as usize;
/// One bit per second of a block.
type Held = [u64; SECONDS.div_ceil(64)];

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Block {
    start: u32,
    held: Held,
    series: Arc<[Interned]>,
    /// Of each held second how many samples were dropped, as a column; then of each series varint length and column.
    columns: Bytes,
}

/// The cells of one series that are to become a column: seconds after the start of the block, in any order.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells<'a> {
    /// Of counters and gauges.
    pub(super) integers: Vec<(u16, i64)>,
    /// Of histograms: their bytes, `None` for an empty one.
    pub(super) histograms: Vec<(u16, Option<&'a [u8]>)>,
}

/// The series of a second, by number in the block, and their layouts.
struct Present {
    numbers: Vec<usize>,
    cluster: Arc<Layout>,
    node: Arc<Layout>,
}

/// The column of one series, read.
struct Column<'a> {
    /// A bit per held second.
    present: Vec<u64>,
    /// By number among the present.
    values: Values<'a>,
}

enum Values<'a> {
    Integers(Vec<i64>),
    Histograms(Vec<Option<&'a [u8]>>),
}

impl Block {
    /// Of the `cells` of each of `series`, and how many samples were `dropped` in each held second, ascending.
    pub(super) fn of(
        start: u32,
        held: &Held,
        dropped: &[i64],
        series: &Arc<Vec<Interned>>,
        cells: Vec<Cells<'_>>,
    ) -> Self {
        let mut columns = Vec::new();
        column::put(&mut columns, dropped);
        // Which of the held seconds an offset is.
        let mut rank = [0usize; SECONDS];
        bits::ones(held).zip(0..).for_each(|(offset, n)| rank[offset] = n);
        let mut scratch = Vec::new();
        for (one, Cells { mut integers, mut histograms }) in series.iter().zip(cells) {
            scratch.clear();
            if one.kind() == Kind::Histogram {
                histograms.sort_unstable_by_key(|(offset, _)| *offset);
                let ranks = histograms.iter().map(|(offset, _)| rank[usize::from(*offset)]);
                put_present(&mut scratch, ranks, dropped.len());
                let values: Vec<Option<&[u8]>> = histograms.iter().map(|(_, bytes)| *bytes).collect();
                column::put_histograms(&mut scratch, &values);
            } else {
                integers.sort_unstable_by_key(|(offset, _)| *offset);
                let ranks = integers.iter().map(|(offset, _)| rank[usize::from(*offset)]);
                put_present(&mut scratch, ranks, dropped.len());
                let values: Vec<i64> = integers.iter().map(|(_, value)| *value).collect();
                column::put(&mut scratch, &values);
            }
            varint::put_bytes(&mut columns, &scratch);
        }
        columns.shrink_to_fit();
        Self { start, held: *held, series: series.as_slice().into(), columns: columns.into() }
    }

    /// Its first second.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.start
    }

    /// Seconds it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        bits::ones(&self.held).count()
    }

    /// True without seconds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last second it holds.
    pub(super) fn newest(&self) -> Option<u32> {
        Some(self.start + bits::ones(&self.held).last()? as u32)
    }

    /// Whether `other` is a clone of this one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.start == other.start && self.columns.as_ptr() == other.columns.as_ptr()
    }

    /// Bytes it takes. The series themselves are the process's.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.series) + self.columns.len() + 32
    }

    /// Whether `tick` is in it.
    #[must_use]
    pub fn holds(&self, tick: u32) -> bool {
        tick.checked_sub(self.start).is_some_and(|offset| bits::is_set(&self.held, offset as usize))
    }

    /// The seconds `from..=to`, ascending.
    #[must_use]
    pub fn seconds(&self, from: u32, to: u32) -> Vec<Second> {
        // Written by ourselves, or checked by `decode`: it can be read.
        self.read(from, to).unwrap_or_default()
    }

    fn read(&self, from: u32, to: u32) -> Result<Vec<Second>, BlockError> {
        let count = bits::ones(&self.held).count();
        let mut reader = Reader::new(&self.columns);
        let dropped = column::read(&mut reader, count)?;
        let columns =
            self.series.iter().map(|one| read_column(&mut reader, one.kind(), count)).collect::<Result<Vec<_>, _>>()?;
        // Where each column is: its values are those of the seconds that have the series.
        let mut next = vec![0usize; columns.len()];
        let mut seconds: Vec<Second> = Vec::new();
        let mut present = self.present(Vec::new());
        for (rank, offset) in bits::ones(&self.held).enumerate() {
            let has = |number: &usize| bits::is_set(&columns[*number].present, rank);
            let numbers: Vec<usize> = (0..columns.len()).filter(has).collect();
            if numbers != present.numbers {
                present = self.present(numbers);
            }
            let tick = self.start + offset as u32;
            if (from..=to).contains(&tick) {
                let part = |layout, scope| {
                    let mine = present.numbers.iter().filter(|number| self.series[**number].scope() == scope);
                    part_of(layout, mine.map(|number| (&columns[*number].values, next[*number])))
                };
                seconds.push(Second {
                    tick,
                    dropped: u32::try_from(dropped[rank]).unwrap_or(u32::MAX),
                    cluster: part(&present.cluster, Scope::Cluster),
                    node: part(&present.node, Scope::Node),
                });
            }
            present.numbers.iter().for_each(|number| next[*number] += 1);
        }
        Ok(seconds)
    }

    /// Adds the wanted series of the seconds `from..=to` to `picked`.
    pub(super) fn pick(&self, from: u32, to: u32, wanted: &impl Fn(&Series) -> bool, picked: &mut Picked) {
        // Written by ourselves, or checked by `decode`: it can be read.
        let read = self.read_some(from, to, wanted, picked);
        debug_assert_eq!(read, Ok(()));
    }

    fn read_some(
        &self,
        from: u32,
        to: u32,
        wanted: &impl Fn(&Series) -> bool,
        picked: &mut Picked,
    ) -> Result<(), BlockError> {
        let ticks: Vec<u32> = bits::ones(&self.held).map(|offset| self.start + offset as u32).collect();
        let asked = |tick: u32| (from..=to).contains(&tick);
        let mut reader = Reader::new(&self.columns);
        let dropped = column::read(&mut reader, ticks.len())?;
        let lost = dropped.iter().map(|lost| u32::try_from(*lost).unwrap_or(u32::MAX));
        picked.seconds.extend(ticks.iter().copied().zip(lost).filter(|(tick, _)| asked(*tick)));
        for one in self.series.iter() {
            if !wanted(one.series()) {
                reader.bytes(BLOCK_BYTES_MAX)?;
                continue;
            }
            let Column { present, values } = read_column(&mut reader, one.kind(), ticks.len())?;
            for (at, rank) in bits::ones(&present).enumerate().filter(|(_, rank)| asked(ticks[*rank])) {
                let value = match &values {
                    Values::Integers(all) => PickedValue::Integer(all[at]),
                    Values::Histograms(all) => {
                        PickedValue::Histogram(all[at].and_then(|bytes| Histogram::decode(bytes).ok()).map(Arc::new))
                    }
                };
                picked.push(one.series(), ticks[rank], value);
            }
        }
        Ok(())
    }

    fn present(&self, numbers: Vec<usize>) -> Present {
        let layout = |scope| {
            let mine = numbers.iter().map(|number| &self.series[*number]).filter(|one| one.scope() == scope);
            Arc::new(Layout::of(mine.cloned().collect()))
        };
        let (cluster, node) = (layout(Scope::Cluster), layout(Scope::Node));
        Present { numbers, cluster, node }
    }

    /// The block for others: with the names of its series.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.columns.len() + self.series.len() * 48 + 64);
        out.push(VERSION);
        varint::put(&mut out, u64::from(self.start));
        column::put_map(&mut out, &self.held, SECONDS);
        varint::put(&mut out, self.series.len() as u64);
        for one in self.series.iter() {
            out.push(u8::from(one.scope() == Scope::Node));
            put_series(&mut out, one.series());
        }
        out.extend_from_slice(&self.columns);
        out.into()
    }

    /// Reads what [`Block::encode`] wrote, from somebody who is not trusted. Series for which `names` has no room are
    /// left out; returns how many.
    ///
    /// Allocates in proportion to the bytes, and 3 kB at a time to look into the columns.
    ///
    /// # Errors
    /// [`BlockError`], naming what is wrong.
    pub fn decode(bytes: &[u8], names: &Interner) -> Result<(Self, usize), BlockError> {
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(BlockError::Bytes(bytes.len()));
        }
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        let start = reader.u64()?;
        let start = u32::try_from(start).ok().filter(|at| start_of(*at) == *at).ok_or(BlockError::Start(start))?;
        let map = column::read_map(&mut reader, SECONDS)?;
        let mut held = Held::default();
        held.copy_from_slice(&map);
        let series = read_names(&mut reader)?;
        let count = bits::ones(&held).count();
        let before = reader.rest();
        let dropped = column::read(&mut reader, count)?;
        if let Some(wrong) = dropped.iter().find(|n| u32::try_from(**n).is_err()) {
            return Err(BlockError::Refused(format!("{wrong} samples dropped in a second")));
        }
        let mut columns = before[..before.len() - reader.rest().len()].to_vec();
        let (mut kept, mut left_out) = (Vec::with_capacity(series.len()), 0);
        for one in &series {
            let before = reader.rest();
            check(one, &read_column(&mut reader, one.kind(), count)?)?;
            match names.intern(one) {
                Some(interned) => {
                    kept.push(interned);
                    columns.extend_from_slice(&before[..before.len() - reader.rest().len()]);
                }
                None => left_out += 1,
            }
        }
        if !reader.is_empty() {
            return Err(BlockError::Trailing(reader.rest().len()));
        }
        Ok((Self { start, held, series: kept.into(), columns: columns.into() }, left_out))
    }
}

/// Columns of one second from the columns of its series, each at a place.
fn part_of<'a>(layout: &Arc<Layout>, columns: impl Iterator<Item = (&'a Values<'a>, usize)>) -> Columns {
    let (mut values, mut histograms) = (Vec::with_capacity(layout.series().len()), Vec::new());
    for (column, at) in columns {
        match column {
            Values::Integers(integers) => values.push(integers[at]),
            Values::Histograms(all) => {
                if let Some(Ok(histogram)) = all[at].map(Histogram::decode) {
                    histograms.push((values.len() as u32, Arc::new(histogram)));
                }
                values.push(0);
            }
        }
    }
    Columns::alone(Arc::clone(layout), values.into(), histograms.into())
}

fn read_names(reader: &mut Reader<'_>) -> Result<Vec<Series>, BlockError> {
    let n = reader.u64()?;
    // Scope, kind, a name of one character, no unit, no attribute: 6 bytes are the least a series takes.
    if n > SERIES_MAX as u64 || n > (reader.rest().len() / 6) as u64 {
        return Err(BlockError::Series(n));
    }
    let mut series = Vec::with_capacity(n as usize);
    let mut seen = HashSet::with_capacity(n as usize);
    for _ in 0..n {
        let scope = match reader.byte()? {
            0 => Scope::Cluster,
            1 => Scope::Node,
            scope => return Err(BlockError::Refused(format!("scope {scope}, known are 0 and 1"))),
        };
        let one = read_series(reader, scope).map_err(|error| BlockError::Refused(error.to_string()))?;
        if !seen.insert(one.clone()) {
            return Err(BlockError::Refused(format!("{one} stands twice")));
        }
        series.push(one);
    }
    Ok(series)
}

/// Checks values against the limits of a frame.
fn check(series: &Series, column: &Column<'_>) -> Result<(), BlockError> {
    let refused = |what: &dyn std::fmt::Display| BlockError::Refused(format!("{series} {what}"));
    match &column.values {
        Values::Integers(values) => {
            let range = match series.kind() {
                Kind::Counter => 0..=COUNTER_INCREMENT_MAX.cast_signed(),
                Kind::Gauge | Kind::Histogram => -GAUGE_MAGNITUDE_MAX..=GAUGE_MAGNITUDE_MAX,
            };
            match values.iter().find(|value| !range.contains(value)) {
                Some(value) => Err(refused(&format!("is {value}, beyond {}", range.end()))),
                None => Ok(()),
            }
        }
        Values::Histograms(all) => all.iter().flatten().try_for_each(|bytes| match Histogram::decode(bytes) {
            Ok(histogram) if histogram.is_empty() => Err(refused(&"has a histogram of no values")),
            Ok(histogram) if histogram.within(BUCKET_COUNT_MAX) => Ok(()),
            Ok(_) => Err(refused(&format!("has a bucket of more than {BUCKET_COUNT_MAX} values"))),
            Err(error) => Err(refused(&error)),
        }),
    }
}

/// Which of `count` held seconds a series has: 0 for all of them, or 1 and a bit for each.
fn put_present(out: &mut Vec<u8>, ranks: impl ExactSizeIterator<Item = usize>, count: usize) {
    if ranks.len() == count {
        return out.push(0);
    }
    out.push(1);
    let mut present = vec![0u64; count.div_ceil(64)];
    ranks.for_each(|rank| bits::set(&mut present, rank));
    column::put_map(out, &present, count);
}

fn read_column<'a>(reader: &mut Reader<'a>, kind: Kind, count: usize) -> Result<Column<'a>, BlockError> {
    let mut reader = Reader::new(reader.bytes(BLOCK_BYTES_MAX)?);
    let present = match reader.byte()? {
        0 => {
            let mut all = vec![0u64; count.div_ceil(64)];
            (0..count).for_each(|rank| bits::set(&mut all, rank));
            all
        }
        1 => column::read_map(&mut reader, count)?,
        form => return Err(ColumnError::Form(form).into()),
    };
    let held = bits::ones(&present).count();
    let values = if kind == Kind::Histogram {
        Values::Histograms(column::read_histograms(&mut reader, held)?)
    } else {
        Values::Integers(column::read(&mut reader, held)?)
    };
    if reader.is_empty() { Ok(Column { present, values }) } else { Err(BlockError::Trailing(reader.rest().len())) }
}
