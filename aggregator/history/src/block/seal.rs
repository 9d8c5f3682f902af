//! Seconds to a block.

use std::{collections::HashMap, sync::Arc};

use starling_proto::{catalogue::Kind, histogram::Histogram, series::Series};

use super::{Block, BlockError, SERIES_MAX};
use crate::{
    Coverage, Subject, Tier,
    table::{Held, Table, Track, components},
};

/// One series in one second. Sums, extremes and histograms are in the fixed point of the series.
#[derive(Debug, Clone, Copy)]
pub enum SecondValue<'a> {
    /// Increments, added over nodes.
    Counter {
        /// Their sum.
        sum: i128,
        /// Nodes behind it, at least 1.
        nodes: u32,
    },
    /// Values, added over nodes.
    Gauge {
        /// Their sum.
        sum: i128,
        /// Nodes behind it, at least 1.
        nodes: u32,
        /// Smallest of a node.
        min: i64,
        /// Largest of a node.
        max: i64,
        /// The nodes' values, where they are kept.
        distribution: Option<&'a Arc<Histogram>>,
    },
    /// The values of a histogram series, merged over nodes.
    Histogram {
        /// The values.
        histogram: &'a Arc<Histogram>,
        /// Nodes behind it, at least 1.
        nodes: u32,
    },
    /// A value that is no fixed point, in the unit of the series: of imports.
    Float {
        /// The value; over several nodes their sum.
        sum: f64,
        /// Nodes behind it, at least 1.
        nodes: u32,
        /// Smallest of a node.
        min: f64,
        /// Largest of a node.
        max: f64,
    },
}

/// Why a second was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Not after the one before, or not in the window of the block.
    #[error(
        "second {tick} is not in the window from {start} of {seconds} seconds, or does not come after the one before"
    )]
    Tick {
        /// The second.
        tick: u32,
        /// First of the block.
        start: u32,
        /// Seconds of the block.
        seconds: u32,
    },
}

/// Builds a block of seconds of one subject, in ascending order.
#[derive(Debug)]
pub struct BlockBuilder {
    table: Table,
    numbers: HashMap<Series, usize>,
    /// The tracks of the second before, in its order: most seconds have the same series.
    before: Vec<usize>,
    left_out: u64,
}

impl BlockBuilder {
    /// For the block that holds `tick`.
    #[must_use]
    pub fn new(subject: Subject, tick: u32) -> Self {
        let seconds = Tier::Second.block_seconds();
        let table = Table {
            subject,
            tier: Tier::Second,
            start: tick - tick % seconds,
            steps: seconds as u16,
            held: Vec::new(),
            tracks: Vec::new(),
        };
        Self { table, numbers: HashMap::new(), before: Vec::new(), left_out: 0 }
    }

    /// Adds a second with its `revision`: a later version of it has a higher one. A second of which the coverage says that
    /// nobody reported counts as one without data: what stands in it was spread over it from the seconds around it. Of a
    /// series that stands twice the first
    /// counts, and a series beyond [`SERIES_MAX`], or of another kind of number than before, is left out.
    ///
    /// # Errors
    /// [`RowError`]; nothing is added then.
    pub fn push<'a>(
        &mut self,
        tick: u32,
        revision: u64,
        coverage: Coverage,
        values: impl IntoIterator<Item = (&'a Series, SecondValue<'a>)>,
    ) -> Result<(), RowError> {
        let (start, seconds) = (self.table.start, u32::from(self.table.steps));
        let step = tick.checked_sub(start).filter(|step| *step < seconds);
        let after = |step: &u32| self.table.held.last().is_none_or(|held| u32::from(held.step) < *step);
        let Some(step) = step.filter(after) else { return Err(RowError::Tick { tick, start, seconds }) };
        let rank = self.table.held.len() as u16;
        self.table.held.push(Held {
            step: step as u16,
            revision,
            coverage: Coverage { seconds: u32::from(coverage.nodes_reporting > 0), ..coverage },
        });
        for (position, (series, value)) in values.into_iter().enumerate() {
            let hint = self.before.get(position).copied();
            let number = match hint.filter(|number| self.table.tracks[*number].series == *series) {
                Some(number) => number,
                None => match self.number(series, matches!(value, SecondValue::Float { .. })) {
                    Some(number) => number,
                    None => {
                        self.left_out += 1;
                        continue;
                    }
                },
            };
            if position < self.before.len() {
                self.before[position] = number;
            } else if position == self.before.len() {
                self.before.push(number);
            }
            if !self.table.tracks[number].put(rank, value) {
                self.left_out += 1;
            }
        }
        Ok(())
    }

    /// Values that were left out so far.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// True before the first second.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.held.is_empty()
    }

    /// The block of the seconds so far.
    ///
    /// # Errors
    /// [`BlockError`] when it is beyond the limits of one.
    pub fn seal(mut self) -> Result<Block, BlockError> {
        self.table.tracks.retain(|track| !track.ranks.is_empty());
        self.table.tracks.sort_unstable_by(|a, b| a.series.cmp(&b.series));
        Block::of_table(&self.table)
    }

    fn number(&mut self, series: &Series, float: bool) -> Option<usize> {
        if let Some(number) = self.numbers.get(series) {
            return Some(*number);
        }
        let number = self.table.tracks.len();
        if number >= SERIES_MAX {
            return None;
        }
        let parts = components(Tier::Second, series.kind(), self.table.merged());
        self.table.tracks.push(Track::new(series.clone(), false, parts, float));
        self.numbers.insert(series.clone(), number);
        Some(number)
    }
}

impl Track {
    /// Appends a second. False when it is there already, or not of the kind of the series.
    fn put(&mut self, rank: u16, value: SecondValue<'_>) -> bool {
        if self.ranks.last() == Some(&rank) {
            return false;
        }
        let float = self.is_float();
        let (numbers, histogram) = match (value, self.series.kind()) {
            (SecondValue::Float { sum, nodes, min, max }, Kind::Counter | Kind::Gauge) if float => {
                self.ranks.push(rank);
                for (number, column) in [sum, f64::from(nodes), min, max].into_iter().zip(&mut self.columns) {
                    if column.is_float() { column.push_float(number) } else { column.push(nodes.into()) }
                }
                return true;
            }
            (SecondValue::Counter { sum, nodes }, Kind::Counter) if !float => ([sum, nodes.into(), 0, 0], None),
            (SecondValue::Gauge { sum, nodes, min, max, distribution }, Kind::Gauge) if !float => {
                ([sum, nodes.into(), min.into(), max.into()], distribution)
            }
            (SecondValue::Histogram { histogram, nodes }, Kind::Histogram) => {
                ([nodes.into(), 0, 0, 0], Some(histogram).filter(|histogram| !histogram.is_empty()))
            }
            _ => return false,
        };
        self.ranks.push(rank);
        self.columns.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number));
        self.push_histogram(histogram.cloned());
        self.complete();
        true
    }
}
