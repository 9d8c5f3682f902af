//! Windows of sealed blocks that are in the steps of a question already. A sealed block never changes, so what it comes to
//! in some steps is kept for the next question of the same kind, within a bound. Pure.

use std::sync::Arc;

use starling_history::{Cell, Coverage};
use starling_proto::catalogue::Kind;
use starling_store::{BlockRef, Recent, SegmentId};

use super::{Folded, Key, Part, Span};

/// Bytes of what is kept of sealed blocks: the seconds of a series of some 500 nodes for an hour, or a week of the cluster's
/// histograms by 20 minutes (each up to 46 kB), and some more.
pub(crate) const KEPT_BYTES_MAX: usize = 32 << 20;

/// What a question does with the cells of a subject: puts them into its steps.
pub(crate) struct Folding<'a> {
    /// The steps.
    pub(crate) span: Span,
    /// All that the result depends on beside the cells and the steps: which series, and what is made of them.
    pub(crate) identity: Arc<str>,
    /// Some cells in some steps; `None` when counts do not fit 64 bits.
    pub(crate) fold: &'a (dyn Fn(&Part, &Span) -> Option<Folded> + Sync),
}

/// Which sealed blocks, in which steps of which question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PieceKey {
    question: Arc<str>,
    step: u32,
    /// Whose blocks they are.
    subject: Box<str>,
    blocks: Box<[BlockId]>,
}

/// A sealed block of some subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BlockId {
    segment: SegmentId,
    start: u32,
    end: u32,
    revision: u64,
    checksum: u32,
}

impl BlockId {
    /// Of a block of some subject.
    pub(crate) fn of(block: &BlockRef) -> Self {
        Self {
            segment: block.segment(),
            start: block.window().start,
            end: block.window().end,
            revision: block.revision(),
            checksum: block.checksum(),
        }
    }
}

/// What is kept of sealed blocks. `None` of those that lack seconds, which others may have.
pub(crate) type Pieces = Recent<PieceKey, Option<Arc<Steps>>>;

impl PieceKey {
    /// Of `blocks` of one subject, every version of them.
    pub(crate) fn new(folding: &Folding<'_>, blocks: &[BlockRef]) -> Self {
        Self {
            question: folding.identity.clone(),
            step: folding.span.step,
            subject: blocks.first().map_or("", BlockRef::subject).into(),
            blocks: blocks.iter().map(BlockId::of).collect(),
        }
    }

    /// What it takes in memory, the text of the question included.
    pub(crate) fn bytes(&self) -> usize {
        self.question.len() + self.subject.len() + size_of_val(&*self.blocks)
    }
}

/// A window in steps, small.
#[derive(Debug, PartialEq)]
pub(crate) struct Steps {
    /// In runs of equal ones.
    coverage: Vec<(u32, Coverage)>,
    series: Vec<(Key, Column)>,
    resolution: u32,
}

/// The steps of one series.
#[derive(Debug, PartialEq)]
enum Column {
    /// Each is a second of one node: its value, and what is no number for none.
    Seconds(Box<[f64]>),
    Cells(Box<[Option<Cell>]>),
}

impl Steps {
    /// Of steps that are as long as those of the question.
    pub(crate) fn of(folded: Folded) -> Self {
        let mut coverage: Vec<(u32, Coverage)> = Vec::new();
        for one in folded.coverage {
            match coverage.last_mut() {
                Some((count, last)) if *last == one => *count += 1,
                _ => coverage.push((1, one)),
            }
        }
        let column = |(key, cells): (Key, Vec<Option<Cell>>)| {
            let value = |cell: &Option<Cell>| match cell {
                None => Some(f64::NAN),
                Some(cell) => same(cell, &second(&key, cell.sum)).then_some(cell.sum),
            };
            let seconds: Option<Box<[f64]>> = cells.iter().map(value).collect();
            (key, seconds.map_or_else(|| Column::Cells(cells.into()), Column::Seconds))
        };
        let series = folded.series.into_iter().map(column).collect();
        Self { coverage, series, resolution: folded.resolution }
    }

    /// Puts them into `folded`, from the step `at` on.
    pub(crate) fn put(&self, at: usize, folded: &mut Folded) {
        let points = folded.coverage.len();
        let mut next = at;
        for (count, coverage) in &self.coverage {
            let end = (next + *count as usize).min(points);
            folded.coverage[next.min(end)..end].fill(*coverage);
            next = end;
        }
        for (key, column) in &self.series {
            if !folded.series.contains_key(key) {
                folded.series.insert(key.clone(), vec![None; points]);
            }
            let Some(steps) = folded.series.get_mut(key) else { continue };
            let places = steps.iter_mut().skip(at);
            match column {
                Column::Seconds(values) => {
                    for (place, value) in places.zip(values) {
                        *place = (!value.is_nan()).then(|| second(key, *value));
                    }
                }
                Column::Cells(cells) => places.zip(cells).for_each(|(place, cell)| place.clone_from(cell)),
            }
        }
        folded.resolution = folded.resolution.max(self.resolution);
    }

    /// Which series there are.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.series.iter().map(|(key, _)| key)
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let histogram = |cell: &Cell| cell.histogram.as_ref().map_or(0, |one| one.memory() + 2 * size_of::<usize>());
        let column = |(_, column): &(Key, Column)| {
            size_of::<(Key, Column)>()
                + match column {
                    Column::Seconds(values) => size_of_val(&**values),
                    Column::Cells(cells) => {
                        size_of_val(&**cells) + cells.iter().flatten().map(histogram).sum::<usize>()
                    }
                }
        };
        let series: usize = self.series.iter().map(column).sum();
        size_of::<Self>() + self.coverage.len() * size_of::<(u32, Coverage)>() + series
    }
}

/// A second of one node.
fn second(key: &Key, value: f64) -> Cell {
    let extreme = (key.series.kind() == Kind::Gauge).then_some(value);
    Cell { node_min: extreme, node_max: extreme, ..Cell::second(value) }
}

/// Bit for bit, unlike `==` of floats; never of what is no number.
fn same(a: &Cell, b: &Cell) -> bool {
    let bits = |cell: &Cell| [cell.sum, cell.min, cell.max, cell.last].map(f64::to_bits);
    a == b && bits(a) == bits(b)
}

/// A window of whole steps of a question, without a second missing.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// First second, where a step begins.
    pub(crate) start: u32,
    /// The second after the last one, where a step begins.
    pub(crate) end: u32,
    /// What is there.
    pub(crate) steps: Arc<Steps>,
}

/// What was read of one subject: windows that are in the steps of the question, and cells of the others.
#[derive(Debug, Default)]
pub(crate) struct Mixed {
    /// Ascending; they do not overlap each other, nor the cells.
    pub(crate) pieces: Vec<Piece>,
    /// The cells.
    pub(crate) part: Part,
}

impl Mixed {
    /// Nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.part.coverage.is_empty()
    }

    /// The first second of `from..=to` of which nothing is there; see [`Part::first_missing`].
    pub(crate) fn first_missing(&self, from: u32, to: u32) -> Option<u32> {
        let mut next = from;
        for piece in &self.pieces {
            if next < piece.start
                && let Some(missing) = self.part.first_missing(next, to.min(piece.start - 1))
            {
                return Some(missing);
            }
            next = next.max(piece.end);
        }
        if next > to { None } else { self.part.first_missing(next, to) }
    }

    /// The first second that is known.
    pub(crate) fn first(&self) -> Option<u32> {
        let piece = self.pieces.first().map(|piece| piece.start);
        piece.into_iter().chain(self.part.first()).min()
    }

    /// The series there are, some of them more than once.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let cells = self.part.series.iter();
        let cells = cells.map(|series| Key { series: series.series.clone(), derived: series.derived });
        cells.chain(self.pieces.iter().flat_map(|piece| piece.steps.keys()).cloned())
    }

    /// Adds what another reading knows of the seconds that are not in pieces: these lack nothing. See [`Part::merge`].
    pub(crate) fn merge(&mut self, mut other: Part) {
        for piece in &self.pieces {
            other.leave_out(piece.start, piece.end);
        }
        self.part.merge(other);
    }

    /// All of it in the steps of `span`.
    pub(crate) fn fold<E>(&self, span: &Span, fold: impl FnOnce(&Part) -> Result<Folded, E>) -> Result<Folded, E> {
        let mut folded = fold(&self.part)?;
        for piece in &self.pieces {
            if let Some(point) = span.point_of(piece.start) {
                piece.steps.put(point as usize, &mut folded);
            }
        }
        Ok(folded)
    }
}
