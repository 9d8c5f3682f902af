//! Of which streams an entry speaks, and who is expected because of it.

use std::borrow::Cow;

use roaring::RoaringBitmap;
use starling_proto::v1::log_payload;

use super::{
    decode::{Body, Remembered, coverage, remembered},
    streams::{StreamTable, Touched},
};

/// An entry without its sums. Streams are numbers of its log.
#[derive(Debug)]
pub(super) enum Said<'a> {
    /// It has their frames of a tick.
    Frames { tick: u32, coverage: Cow<'a, RoaringBitmap> },
    /// One ended on purpose.
    End { stream: u32, last_tick: u32 },
    /// They were known before its author started.
    Roster(Cow<'a, [Remembered]>),
    /// Nothing.
    Nothing,
}

impl Body {
    /// Of which streams it speaks.
    pub(super) fn said(&self) -> Said<'_> {
        match self {
            Self::Merge { tick, coverage, .. } => Said::Frames { tick: *tick, coverage: Cow::Borrowed(coverage) },
            Self::Raw { tick, stream, .. } => {
                Said::Frames { tick: *tick, coverage: Cow::Owned(RoaringBitmap::from_iter([*stream])) }
            }
            Self::End { stream, last_tick } => Said::End { stream: *stream, last_tick: *last_tick },
            Self::Roster { streams } => Said::Roster(Cow::Borrowed(streams)),
            Self::Other => Said::Nothing,
        }
    }
}

impl Said<'static> {
    /// Reads that of a body, and leaves its sums alone.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn decode(body: Option<log_payload::Body>) -> Result<Self, String> {
        Ok(match body {
            Some(log_payload::Body::Merge(merge)) => {
                Self::Frames { tick: merge.tick, coverage: Cow::Owned(coverage(&merge.coverage)?) }
            }
            Some(log_payload::Body::Raw(raw)) => {
                Self::Frames { tick: raw.tick, coverage: Cow::Owned(RoaringBitmap::from_iter([raw.stream])) }
            }
            Some(log_payload::Body::End(end)) => Self::End { stream: end.stream, last_tick: end.last_tick },
            Some(log_payload::Body::Roster(roster)) => Self::Roster(Cow::Owned(remembered(&roster)?)),
            None => Self::Nothing,
        })
    }
}

impl Said<'_> {
    /// As [`Body::tick`].
    pub(super) fn tick(&self) -> u32 {
        match self {
            Self::Frames { tick, .. } | Self::End { last_tick: tick, .. } => *tick,
            Self::Roster(streams) => streams.iter().map(|known| known.last).max().unwrap_or(0),
            Self::Nothing => 0,
        }
    }

    /// Notes it. `number` gives the stream in `streams` of a number of the log, while it has a meaning there.
    pub(super) fn note(&self, number: impl Fn(u32) -> Option<u32>, streams: &mut StreamTable, touched: &mut Touched) {
        match self {
            Self::Frames { tick, coverage } => {
                coverage.iter().filter_map(number).for_each(|stream| streams.seen(stream, *tick, touched));
            }
            Self::End { stream, last_tick } => {
                if let Some(stream) = number(*stream) {
                    streams.ended(stream, *last_tick, touched);
                }
            }
            Self::Roster(roster) => {
                for known in roster.iter() {
                    let Some(stream) = number(known.stream) else { continue };
                    streams.seen(stream, known.first, touched);
                    streams.seen(stream, known.last, touched);
                    // No frame of it need be held here: it may be missing from its first tick on.
                    touched.begun(known.first, u32::MAX);
                    if let Some(ended) = known.ended {
                        streams.ended(stream, ended, touched);
                    }
                }
            }
            Self::Nothing => {}
        }
    }
}
