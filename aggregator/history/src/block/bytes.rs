//! The bytes of a block, and what stands before its columns.

use std::sync::Arc;

use bytes::Bytes;
use starling_proto::{bits, catalogue::Scope, frame::SeriesText, series::Series, varint::Reader};

use super::{
    BlockError, CELLS_MAX, FRAME_BYTES_MAX, SERIES_MAX,
    packing::{Place, Unpacker},
};
use crate::{
    Coverage, Step, Subject, Tier, column,
    table::{Held, STEPS_MAX, Table},
};

/// The form that is written.
pub(super) const VERSION: u8 = 1;
/// A series of node scope.
pub(super) const NODE: u8 = 1;
/// A series that was computed from others.
pub(super) const DERIVED: u8 = 2;
/// A series with histograms.
pub(super) const HISTOGRAMS: u8 = 4;
/// A series of numbers with a fraction.
pub(super) const FLOATS: u8 = 8;

/// See the module. Cheap to clone; its columns stay packed.
#[derive(Debug, Clone)]
pub struct Block {
    pub(super) bytes: Bytes,
    pub(super) head: Arc<Head>,
}

/// What stands before the columns.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) subject: Subject,
    pub(super) tier: Tier,
    pub(super) start: u32,
    pub(super) steps: u16,
    pub(super) held: Vec<Held>,
    pub(super) series: usize,
    pub(super) names: Place,
    pub(super) groups: Vec<Group>,
    pub(super) histograms: Vec<Group>,
}

/// Neighbouring series, or neighbouring ones of those with histograms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) series: usize,
    pub(super) place: Place,
}

/// A series as it stands among the names.
pub(super) struct Named<'a> {
    pub(super) flags: u8,
    pub(super) text: SeriesText<'a>,
}

impl Named<'_> {
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn series(&self) -> Result<Series, BlockError> {
        let scope = if self.has(NODE) { Scope::Node } else { Scope::Cluster };
        let SeriesText { kind, scale, name, unit, attributes } = &self.text;
        Series::kept(name, attributes, *kind, unit, *scale, scope)
            .map_err(|error| BlockError::Series(error.to_string()))
    }
}

impl Block {
    /// Reads what [`Block::encode`] gives, from somebody who is not trusted: everything before the columns. These are
    /// looked into when they are read, by [`Block::read`], or all of them by [`Block::check`].
    ///
    /// Allocates at most what [`FRAME_BYTES_MAX`] and [`STEPS_MAX`] say.
    ///
    /// # Errors
    /// [`BlockError`], naming what is wrong.
    pub fn decode(bytes: Bytes) -> Result<Self, BlockError> {
        let head = Head::read(&bytes)?;
        Ok(Self { bytes, head: Arc::new(head) })
    }

    /// Its bytes; shared, not copied.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Whose.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.head.subject
    }

    /// How long its steps are.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.head.tier
    }

    /// First second of its window.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.head.start
    }

    /// Seconds of its window.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        u32::from(self.head.steps) * self.head.tier.seconds()
    }

    /// The highest revision of its steps.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.head.held.iter().map(|held| held.revision).max().unwrap_or_default()
    }

    /// The steps that are there by their first second, with what is known of them.
    pub fn coverage(&self) -> impl ExactSizeIterator<Item = (u32, Coverage)> + '_ {
        self.head.held.iter().map(|held| (self.head.tick(held), held.coverage))
    }

    /// The steps that are there by their first second, each in its version.
    pub fn steps(&self) -> impl Iterator<Item = (u32, Step)> + '_ {
        self.head.held.iter().map(|held| (self.head.tick(held), held.version()))
    }

    /// Looks into every column.
    ///
    /// # Errors
    /// [`BlockError`], naming what is wrong.
    pub fn check(&self) -> Result<(), BlockError> {
        self.table().map(drop)
    }

    /// The steps of both, whichever is called on the other. Of a step that is in both the one with the higher revision
    /// counts, and then the one with more seconds; of a node, whose seconds never change, first the one with more seconds. The
    /// window spans both.
    ///
    /// # Errors
    /// [`BlockError::Apart`] for another subject or tier, others for damaged columns or too long a window.
    pub fn merge(&self, other: &Self) -> Result<Self, BlockError> {
        Self::join(&[self.clone(), other.clone()])
    }

    /// One block of the steps of several, as [`Block::merge`].
    ///
    /// # Errors
    /// As [`Block::merge`]; [`BlockError::Apart`] for none at all.
    pub fn join(blocks: &[Self]) -> Result<Self, BlockError> {
        let start = blocks.iter().map(Self::start).min().ok_or(BlockError::Apart("no block"))?;
        let end = blocks.iter().map(|block| block.start() + block.seconds()).max().unwrap_or(start);
        Self::of_table(&Self::tables(blocks, start, end - start)?)
    }

    /// One block of several of one window, of which the later ones are corrections of some series: unlike
    /// [`Block::join`] nothing of a step goes, and of a series that several have in it that of the last one counts. A step
    /// has the highest of the revisions.
    ///
    /// # Errors
    /// As [`Block::join`].
    pub fn overlay(blocks: &[Self]) -> Result<Self, BlockError> {
        let start = blocks.iter().map(Self::start).min().ok_or(BlockError::Apart("no block"))?;
        let end = blocks.iter().map(|block| block.start() + block.seconds()).max().unwrap_or(start);
        let (subject, tier, steps, tables) = Self::apart(blocks, start, end - start)?;
        Self::of_table(&Table::overlaid(subject, tier, start, steps, tables))
    }

    /// Blocks of one subject and tier as one table of the window from `start` of so many seconds.
    pub(crate) fn tables(blocks: &[Self], start: u32, seconds: u32) -> Result<Table, BlockError> {
        let (subject, tier, steps, tables) = Self::apart(blocks, start, seconds)?;
        Ok(Table::combined(subject, tier, start, steps, tables))
    }

    /// The tables of blocks that go together, whose they are, and how many steps the window from `start` has.
    fn apart(blocks: &[Self], start: u32, seconds: u32) -> Result<(Subject, Tier, u16, Vec<Table>), BlockError> {
        let (subject, tier) = Self::whose(blocks)?;
        let steps = steps_of(tier, start, seconds)?;
        let tables = blocks.iter().map(Self::table).collect::<Result<Vec<_>, _>>()?;
        Ok((subject, tier, steps, tables))
    }

    /// Whose blocks these are, of which tier.
    fn whose(blocks: &[Self]) -> Result<(Subject, Tier), BlockError> {
        let first = blocks.first().ok_or(BlockError::Apart("no block"))?;
        let (subject, tier) = (first.subject(), first.tier());
        if blocks.iter().any(|block| block.subject() != subject) {
            return Err(BlockError::Apart("several subjects"));
        }
        if blocks.iter().any(|block| block.tier() != tier) {
            return Err(BlockError::Apart("several tiers"));
        }
        Ok((subject.clone(), tier))
    }

    /// Whose blocks these are, of which tier, where the window of all of them begins, and how many steps it has.
    pub(super) fn together(blocks: &[Self]) -> Result<(Subject, Tier, (u32, u16)), BlockError> {
        let (subject, tier) = Self::whose(blocks)?;
        let start = blocks.iter().map(Self::start).min().unwrap_or_default();
        let end = blocks.iter().map(|block| block.start() + block.seconds()).max().unwrap_or(start);
        Ok((subject, tier, (start, steps_of(tier, start, end - start)?)))
    }

    /// The names, unpacked.
    pub(super) fn names(&self, unpacker: &mut Unpacker) -> Result<Vec<u8>, BlockError> {
        unpacker.unpack(&self.bytes, self.head.names)
    }
}

impl Head {
    /// The first second of a held step.
    pub(super) fn tick(&self, held: &Held) -> u32 {
        self.start + u32::from(held.step) * self.tier.seconds()
    }

    fn read(bytes: &[u8]) -> Result<Self, BlockError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(BlockError::Bytes(bytes.len() as u64));
        }
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        let code = reader.byte()?;
        let tier = Tier::from_code(code).ok_or(BlockError::Tier(code))?;
        // The longest is a group; a label of 64 characters has at most four bytes each.
        let subject = reader.bytes(1_024)?;
        let subject = std::str::from_utf8(subject).map_err(|_| BlockError::Subject("not UTF-8".into()))?;
        let subject = Subject::parse(subject).map_err(|error| BlockError::Subject(error.to_string()))?;
        let (start, steps) = (reader.u64()?, reader.u64()?);
        let (start, steps) = window(tier, start, steps)?;
        let map = column::read_map(&mut reader, steps.into())?;
        let steps_held: Vec<usize> = bits::ones(&map).collect();
        let at = |rest: &[u8]| bytes.len() - rest.len();
        let frame = |reader: &mut Reader<'_>| {
            let mut place = Place::read_lengths(reader)?;
            place.at = at(reader.rest());
            reader.take(place.length)?;
            Ok::<_, BlockError>(place)
        };
        let coverage = frame(&mut reader)?;
        let series = reader.u64()?;
        if series > SERIES_MAX as u64 || series * u64::from(steps) > CELLS_MAX as u64 {
            return Err(BlockError::Size { series, steps: steps.into() });
        }
        let names = frame(&mut reader)?;
        let mut groups = read_groups(&mut reader, series as usize)?;
        let mut histograms = read_groups(&mut reader, series as usize)?;
        let mut next = at(reader.rest());
        for group in groups.iter_mut().chain(&mut histograms) {
            group.place.at = next;
            next += group.place.length;
            reader.take(group.place.length)?;
        }
        if !reader.is_empty() {
            return Err(BlockError::Trailing(reader.rest().len()));
        }
        if groups.iter().map(|group| group.series).sum::<usize>() != series as usize {
            return Err(BlockError::Packed);
        }
        let raw = Unpacker::new().unpack(bytes, coverage)?;
        let held = read_coverage(&raw, tier, &steps_held)?;
        Ok(Self { subject, tier, start, steps, held, series: series as usize, names, groups, histograms })
    }
}

/// Steps of `tier` in a window of so many seconds.
fn steps_of(tier: Tier, start: u32, seconds: u32) -> Result<u16, BlockError> {
    let steps = seconds / tier.seconds();
    let fits = u16::try_from(steps).ok().filter(|steps| (1..=STEPS_MAX).contains(&usize::from(*steps)));
    fits.ok_or_else(|| BlockError::Window { start: start.into(), steps: steps.into() })
}

fn window(tier: Tier, start: u64, steps: u64) -> Result<(u32, u16), BlockError> {
    let seconds = u64::from(tier.seconds());
    let fits = (1..=STEPS_MAX as u64).contains(&steps)
        && start.is_multiple_of(seconds)
        && start.checked_add(steps * seconds).is_some_and(|end| end <= u64::from(u32::MAX));
    if fits { Ok((start as u32, steps as u16)) } else { Err(BlockError::Window { start, steps }) }
}

fn read_groups(reader: &mut Reader<'_>, series: usize) -> Result<Vec<Group>, BlockError> {
    let n = reader.u64()?;
    // A group has a series, and three numbers here.
    if n > series as u64 || n > (reader.rest().len() / 3) as u64 {
        return Err(BlockError::Size { series: n, steps: 0 });
    }
    let mut left = series as u64;
    let group = |_| {
        let series = reader.u64()?;
        left = left.checked_sub(series).filter(|_| series > 0).ok_or(BlockError::Packed)?;
        Ok(Group { series: series as usize, place: Place::read_lengths(reader)? })
    };
    (0..n).map(group).collect()
}

fn read_coverage(raw: &[u8], tier: Tier, steps: &[usize]) -> Result<Vec<Held>, BlockError> {
    let mut reader = Reader::new(raw);
    let mut column = || column::read(&mut reader, steps.len());
    let revisions = column()?;
    let seconds = if tier == Tier::Second { None } else { Some(column()?) };
    let (reporting, expected, dropped) = (column()?, column()?, column()?);
    if !reader.is_empty() {
        return Err(BlockError::Trailing(reader.rest().len()));
    }
    let small = |value: i64| u32::try_from(value).map_err(|_| BlockError::Column(column::ColumnError::Beyond));
    let held = |(n, step): (usize, &usize)| {
        let coverage = Coverage {
            // A second from which nobody reported has no data, only what is known of it by those around it.
            seconds: match &seconds {
                None => u32::from(reporting[n] != 0),
                Some(seconds) => small(seconds[n])?.min(tier.seconds()),
            },
            nodes_reporting: small(reporting[n])?,
            nodes_expected: small(expected[n])?,
            dropped: dropped[n].cast_unsigned(),
        };
        Ok(Held { step: *step as u16, revision: revisions[n].cast_unsigned(), coverage })
    };
    steps.iter().enumerate().map(held).collect()
}
