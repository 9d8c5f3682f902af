//! The seconds of a node as it sent them.

use std::sync::Arc;

use starling_proto::{histogram::Histogram, series::Series};

use super::{Block, BlockError};
use crate::{Tier, table::Track};

/// What a block holds of a node, exactly.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeSeconds {
    /// Its series, sorted. Those with fractions, which no node sends, are not among them.
    pub series: Vec<Series>,
    /// Ascending.
    pub seconds: Vec<NodeSecond>,
}

/// One second of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSecond {
    /// Unix seconds.
    pub tick: u32,
    /// Samples that were lost in it.
    pub dropped: u64,
    /// Of the series it has, by number and ascending: the increment of a counter, the fixed-point value of a gauge, 0 of a
    /// histogram.
    pub values: Vec<(u32, i64)>,
    /// Of the histograms that are not empty, by number.
    pub histograms: Vec<(u32, Arc<Histogram>)>,
}

impl Block {
    /// The seconds `from..=to` of a node; none of a block of something else, or of another tier than `1s`.
    ///
    /// # Errors
    /// [`BlockError`] for damaged columns.
    pub fn node_seconds(&self, from: u32, to: u32) -> Result<NodeSeconds, BlockError> {
        if self.tier() != Tier::Second || self.subject().node().is_none() {
            return Ok(NodeSeconds::default());
        }
        let table = self.table()?;
        let exact = |track: &&Track| !track.derived && !track.is_float();
        let tracks: Vec<&Track> = table.tracks.iter().filter(exact).collect();
        let second = |rank: usize| NodeSecond {
            tick: table.tick(rank),
            dropped: table.held[rank].coverage.dropped,
            values: Vec::with_capacity(tracks.len()),
            histograms: Vec::new(),
        };
        let mut seconds: Vec<NodeSecond> = (0..table.held.len()).map(second).collect();
        for (number, track) in (0u32..).zip(&tracks) {
            for (at, rank) in track.ranks.iter().enumerate() {
                let Some(second) = seconds.get_mut(usize::from(*rank)) else { continue };
                let value = track.columns.first().map_or(0, |column| column.whole(at));
                second.values.push((number, i64::try_from(value).unwrap_or(i64::MAX)));
                second.histograms.extend(track.histogram(at).map(|histogram| (number, histogram.clone())));
            }
        }
        seconds.retain(|second| (from..=to).contains(&second.tick));
        Ok(NodeSeconds { series: tracks.into_iter().map(|track| track.series.clone()).collect(), seconds })
    }
}
