//! Bytes to tables and cells.

use std::sync::{Arc, LazyLock};

use starling_proto::{
    bits,
    catalogue::Kind,
    frame::SeriesText,
    histogram::{Histogram, HistogramAdder, HistogramSum},
    series::Series,
    varint::Reader,
};

use super::{
    Block, BlockError, FRAME_BYTES_MAX,
    bytes::{DERIVED, FLOATS, HISTOGRAMS, Head, Named},
    encode::covered,
    packing::Unpacker,
};
use crate::{
    Selection, SeriesCells, Tier,
    column::{self, ColumnError},
    derive,
    numbers::Numbers,
    table::{Table, Track, components},
};

/// What a histogram series that counted nothing has.
static EMPTY: LazyLock<Arc<Histogram>> = LazyLock::new(Arc::default);

/// Which histograms are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Histograms {
    /// None of the steps that overlap these seconds, only how many values they hold where that stands nowhere else.
    Counted(u32, u32),
    /// Those of the steps that overlap these seconds.
    Each(u32, u32),
    /// The same, those of so many seconds on the grid merged into one.
    Merged(u32, u32, u32),
}

impl Block {
    /// The series it has, and whether each is computed from others. Those that are computed from seconds on reading are
    /// not among them.
    ///
    /// # Errors
    /// [`BlockError`] for damaged names.
    pub fn series(&self) -> Result<Vec<(Series, bool)>, BlockError> {
        let raw = self.names(&mut Unpacker::new())?;
        self.named(&raw)?.iter().map(|named| Ok((named.series()?, named.has(DERIVED)))).collect()
    }

    /// The cells of the wanted series, of the steps that overlap the range; what is computed from others is computed where
    /// seconds are kept, and stands as it was computed in the other tiers. Only the groups of columns that hold a wanted
    /// series are unpacked.
    ///
    /// # Errors
    /// [`BlockError`] for damaged columns.
    pub fn read(&self, selection: &Selection) -> Result<Vec<SeriesCells>, BlockError> {
        self.read_where(selection, |text| selection.wants(text.name, &text.attributes))
    }

    /// As [`Block::read`] for a caller who puts the cells into steps of `step` seconds: the histograms of all cells that begin
    /// in one such step, a multiple of `step` and what follows, stand merged in the last of these cells that has one, at a
    /// fraction of what it takes to make each of them.
    ///
    /// # Errors
    /// [`BlockError`] for damaged columns, or when the counts of a step do not fit 64 bits.
    pub fn read_merged(&self, selection: &Selection, step: u32) -> Result<Vec<SeriesCells>, BlockError> {
        let histograms = match selection.histograms {
            true => Histograms::Merged(selection.from, selection.to, step.max(1)),
            false => Histograms::Counted(selection.from, selection.to),
        };
        self.read_as(selection, histograms, |text| selection.wants(text.name, &text.attributes))
    }

    /// As [`Block::read`], with a condition of the caller's own on the series instead of that of the selection.
    ///
    /// # Errors
    /// [`BlockError`] for damaged columns.
    pub fn read_where(
        &self,
        selection: &Selection,
        wanted: impl Fn(&SeriesText<'_>) -> bool,
    ) -> Result<Vec<SeriesCells>, BlockError> {
        let histograms = match selection.histograms {
            true => Histograms::Each(selection.from, selection.to),
            false => Histograms::Counted(selection.from, selection.to),
        };
        self.read_as(selection, histograms, wanted)
    }

    /// As [`Block::read`] of what [`Block::join`] makes of `blocks`.
    pub(super) fn read_versions(blocks: &[Self], selection: &Selection) -> Result<Vec<SeriesCells>, BlockError> {
        let wanted = |text: &SeriesText<'_>| selection.wants(text.name, &text.attributes);
        // How many values a histogram took in is counted in it: it is there until they are together.
        let histograms = Histograms::Each(selection.from, selection.to);
        let mut all = Self::read_opened(Self::heads(blocks)?.tier, selection, wanted, |wanted| {
            let open = |block: &Self| block.open(histograms, wanted);
            let tables = blocks.iter().map(open).collect::<Result<_, _>>()?;
            let Table { subject, tier, start, steps, .. } = Self::heads(blocks)?;
            Ok(Table::combined(subject, tier, start, steps, tables))
        })?;
        if !selection.histograms {
            all.iter_mut().flat_map(|series| &mut series.cells).for_each(|(_, cell)| cell.histogram = None);
        }
        Ok(all)
    }

    /// The steps of what [`Block::join`] makes of `blocks`, without series.
    pub(super) fn heads(blocks: &[Self]) -> Result<Table, BlockError> {
        let table = |block: &Self| {
            let Head { subject, tier, start, steps, held, .. } = &*block.head;
            let (subject, held) = (subject.clone(), held.clone());
            Table { subject, tier: *tier, start: *start, steps: *steps, held, tracks: Vec::new() }
        };
        match blocks {
            [only] => Ok(table(only)),
            several => {
                let (subject, tier, (start, steps)) = Self::together(several)?;
                Ok(Table::combined(subject, tier, start, steps, several.iter().map(table).collect()))
            }
        }
    }

    fn read_as(
        &self,
        selection: &Selection,
        histograms: Histograms,
        wanted: impl Fn(&SeriesText<'_>) -> bool,
    ) -> Result<Vec<SeriesCells>, BlockError> {
        Self::read_opened(self.tier(), selection, wanted, |wanted| self.open(histograms, wanted))
    }

    /// The cells of the series that are `wanted`, of a table of `tier` that `open` gives with the series that it is asked for.
    fn read_opened(
        tier: Tier,
        selection: &Selection,
        wanted: impl Fn(&SeriesText<'_>) -> bool,
        open: impl FnOnce(&dyn Fn(&SeriesText<'_>) -> bool) -> Result<Table, BlockError>,
    ) -> Result<Vec<SeriesCells>, BlockError> {
        let second = tier == Tier::Second;
        let derived = if second { derive::wanted(|metric| selection.wants_name(metric.name)) } else { Vec::new() };
        let operands = derive::operands(&derived);
        let opened = open(&|text| wanted(text) || operands.contains(&text.name))?;
        let of = |track: &Track| {
            let attributes = track.series.attributes().iter().map(|(key, value)| (&**key, &**value)).collect();
            let (kind, scale) = (track.series.kind(), track.series.scale());
            wanted(&SeriesText { kind, scale, name: track.series.name(), unit: track.series.unit(), attributes })
        };
        let computed = derive::tracks(&opened, &derived);
        let tracks = opened.tracks.iter().chain(&computed).filter(|track| operands.is_empty() || of(track));
        Ok(tracks.map(|track| cells(&opened, track, selection)).collect())
    }

    /// All of it.
    pub(crate) fn table(&self) -> Result<Table, BlockError> {
        let table = self.open(Histograms::Each(0, u32::MAX), |_| true)?;
        if let Some(pair) = table
            .tracks
            .windows(2)
            .find(|pair| (&pair[0].series, pair[0].derived) >= (&pair[1].series, pair[1].derived))
        {
            return Err(BlockError::Series(format!("{} stands twice or out of order", pair[1].series)));
        }
        Ok(table)
    }

    fn open(&self, histograms: Histograms, wanted: impl Fn(&SeriesText<'_>) -> bool) -> Result<Table, BlockError> {
        let mut unpacker = Unpacker::new();
        let raw = self.names(&mut unpacker)?;
        let named = self.named(&raw)?;
        let wanted: Vec<bool> = named.iter().map(|named| wanted(&named.text)).collect();
        let head = &*self.head;
        let mut tracks: Vec<(usize, Track)> = Vec::new();
        let mut first = 0;
        for group in &head.groups {
            let members = first..first + group.series;
            first = members.end;
            if !wanted[members.clone()].contains(&true) {
                continue;
            }
            let raw = unpacker.unpack(&self.bytes, group.place)?;
            let mut reader = Reader::new(&raw);
            let mut ranks: Vec<u16> = Vec::new();
            for number in members {
                let mut columns = Reader::new(reader.bytes(FRAME_BYTES_MAX)?);
                read_ranks(&mut columns, &mut ranks, head.held.len())?;
                if wanted[number] {
                    tracks.push((number, read_columns(&mut columns, &named[number], &ranks, head)?));
                }
            }
            if !reader.is_empty() {
                return Err(BlockError::Trailing(reader.rest().len()));
            }
        }
        // How many values a histogram took in stands in no column of a second: it is counted in the histogram.
        let counted = head.tier == Tier::Second;
        let wanted = !matches!(histograms, Histograms::Counted(..));
        if wanted || counted {
            let needed = |track: &Track| wanted || track.series.kind() == Kind::Histogram;
            self.open_histograms(&mut unpacker, &named, &mut tracks, (histograms, &needed))?;
        }
        let Head { subject, tier, start, steps, held, .. } = head;
        let tracks = tracks.into_iter().map(|(_, track)| track).collect();
        Ok(Table { subject: subject.clone(), tier: *tier, start: *start, steps: *steps, held: held.clone(), tracks })
    }

    /// Adds the histograms to the `needed` tracks that have some.
    fn open_histograms(
        &self,
        unpacker: &mut Unpacker,
        named: &[Named<'_>],
        tracks: &mut [(usize, Track)],
        (wanted, needed): (Histograms, &dyn Fn(&Track) -> bool),
    ) -> Result<(), BlockError> {
        let mut merging = Merging::default();
        let head = &*self.head;
        let place = |number: usize| tracks.binary_search_by_key(&number, |(n, _)| *n).ok();
        let needed: Vec<Option<usize>> =
            (0..named.len()).map(|number| place(number).filter(|at| needed(&tracks[*at].1))).collect();
        let mut with = named.iter().enumerate().filter(|(_, named)| named.has(HISTOGRAMS)).map(|(number, _)| number);
        for group in &head.histograms {
            let members: Vec<usize> = with.by_ref().take(group.series).collect();
            if members.len() < group.series {
                return Err(BlockError::Packed);
            }
            if !members.iter().any(|number| needed[*number].is_some()) {
                continue;
            }
            let raw = unpacker.unpack(&self.bytes, group.place)?;
            let mut reader = Reader::new(&raw);
            for number in members {
                let mut inner = Reader::new(reader.bytes(FRAME_BYTES_MAX)?);
                let Some(at) = needed[number] else { continue };
                let track = &mut tracks[at].1;
                let found = column::read_histograms(&mut inner, track.ranks.len())?;
                if !inner.is_empty() {
                    return Err(BlockError::Trailing(inner.rest().len()));
                }
                let ticks = track.ranks.iter().map(|rank| head.tick(&head.held[usize::from(*rank)]));
                let overlaps = |tick: u32, from, to| tick <= to && tick + (head.tier.seconds() - 1) >= from;
                match wanted {
                    Histograms::Counted(from, to) => {
                        let mut count = |(bytes, tick): (Option<&[u8]>, u32)| {
                            let bytes = bytes.filter(|_| overlaps(tick, from, to));
                            bytes.map_or(Ok(0), |bytes| merging.adder.count(bytes))
                        };
                        let counts = found.into_iter().zip(ticks).map(&mut count).collect::<Result<_, _>>()?;
                        track.counts = Some(counts);
                    }
                    Histograms::Each(from, to) => {
                        let decode = |(bytes, tick): (Option<&[u8]>, u32)| {
                            let bytes = bytes.filter(|_| overlaps(tick, from, to));
                            Ok(bytes.map(Histogram::decode).transpose()?.map(Arc::new))
                        };
                        let all = found.into_iter().zip(ticks).map(decode).collect::<Result<_, BlockError>>()?;
                        track.histograms = Some(all);
                    }
                    Histograms::Merged(from, to, step) => {
                        let group = |tick: u32| overlaps(tick, from, to).then_some(tick / step);
                        let (merged, counts) = merging.run(&found, ticks.map(group))?;
                        (track.histograms, track.counts) = (Some(merged), Some(counts));
                    }
                }
            }
            if !reader.is_empty() {
                return Err(BlockError::Trailing(reader.rest().len()));
            }
        }
        Ok(())
    }

    fn named<'a>(&self, raw: &'a [u8]) -> Result<Vec<Named<'a>>, BlockError> {
        let mut reader = Reader::new(raw);
        let one = |_| {
            let flags = reader.byte()?;
            let text = SeriesText::read(&mut reader).map_err(|error| BlockError::Series(error.to_string()))?;
            Ok(Named { flags, text })
        };
        let named = (0..self.head.series).map(one).collect::<Result<Vec<_>, BlockError>>()?;
        if reader.is_empty() { Ok(named) } else { Err(BlockError::Trailing(reader.rest().len())) }
    }
}

/// Histograms becoming one for each group of them.
#[derive(Default)]
struct Merging {
    adder: HistogramAdder,
    sum: HistogramSum,
}

impl Merging {
    /// Those of one group, which follow each other, in the place of the last of them; and how many values each had.
    #[expect(clippy::type_complexity, reason = "two columns of a track")]
    fn run(
        &mut self,
        found: &[Option<&[u8]>],
        groups: impl Iterator<Item = Option<u32>>,
    ) -> Result<(Vec<Option<Arc<Histogram>>>, Vec<u64>), BlockError> {
        let (mut merged, mut counts) = (vec![None; found.len()], vec![0; found.len()]);
        // Where the sum so far goes, and of which group it is.
        let mut open: Option<(usize, u32)> = None;
        for (at, (bytes, group)) in found.iter().zip(groups).enumerate() {
            let (Some(bytes), Some(group)) = (bytes, group) else { continue };
            if let Some((last, _)) = open.filter(|(_, before)| *before != group) {
                merged[last] = Some(Arc::new(self.sum.to_histogram()));
                self.sum.clear();
            }
            counts[at] = self.adder.add(bytes, &mut self.sum)?;
            open = Some((at, group));
        }
        if let Some((last, _)) = open {
            merged[last] = Some(Arc::new(self.sum.to_histogram()));
            self.sum.clear();
        }
        Ok((merged, counts))
    }
}

/// Leaves `ranks` as they are when they are those of the series before.
fn read_ranks(reader: &mut Reader<'_>, ranks: &mut Vec<u16>, held: usize) -> Result<(), BlockError> {
    match reader.byte()? {
        0 => *ranks = (0..held as u16).collect(),
        1 => *ranks = bits::ones(&column::read_map(reader, held)?).map(|rank| rank as u16).collect(),
        2 => {}
        form => return Err(ColumnError::Form(form).into()),
    }
    Ok(())
}

fn read_columns(reader: &mut Reader<'_>, named: &Named<'_>, ranks: &[u16], head: &Head) -> Result<Track, BlockError> {
    let series = named.series()?;
    let parts = components(head.tier, series.kind(), head.subject.is_merged());
    let mut columns: Vec<Numbers> = Vec::with_capacity(parts.len());
    for part in parts {
        let float = named.has(FLOATS) && part.is_value();
        let covered = covered(&head.held, ranks, head.tier, *part);
        columns.push(Numbers::read(reader, ranks.len(), float, &columns, &covered)?);
    }
    if !reader.is_empty() {
        return Err(BlockError::Trailing(reader.rest().len()));
    }
    Ok(Track { series, derived: named.has(DERIVED), ranks: ranks.to_vec(), columns, histograms: None, counts: None })
}

/// The cells of a track, of the steps that overlap the range.
fn cells(table: &Table, track: &Track, selection: &Selection) -> SeriesCells {
    let merged = table.merged();
    let Selection { from, to, .. } = selection;
    let wanted = |tick: u32| tick <= *to && tick + (table.tier.seconds() - 1) >= *from;
    let cell = |(at, rank): (usize, &u16)| {
        let tick = table.tick(usize::from(*rank));
        if !wanted(tick) {
            return None;
        }
        let histogram = match track.histogram(at) {
            None if track.series.kind() == Kind::Histogram && track.histograms.is_some() => Some(EMPTY.clone()),
            histogram => histogram.cloned(),
        };
        let mut cell = track.exact(at, table.tier, merged).cell(&track.series, histogram);
        if track.derived && merged {
            // What a ratio of sums is at a single node is not known.
            (cell.node_min, cell.node_max) = (None, None);
        }
        Some((tick, cell))
    };
    SeriesCells {
        subject: table.subject.clone(),
        series: track.series.clone(),
        derived: track.derived,
        tier: table.tier,
        cells: track.ranks.iter().enumerate().filter_map(cell).collect(),
    }
}
