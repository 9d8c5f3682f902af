//! Entries read, outside of the ledger: whether they are well formed depends on their bytes alone.

use std::num::NonZeroUsize;

use bytes::Bytes;
use prost::Message as _;
use roaring::RoaringBitmap;
use starling_proto::{
    catalogue::{Kind, Scope},
    group::Group,
    ids::{NodeId, StreamId, WriterId},
    series::Series,
    v1::{self, log_payload},
};

use super::{
    hash::{LogHash, next_hash},
    limits::{ENTRIES_PER_MESSAGE_MAX, ENTRY_BYTES_MAX, ROSTER_MAX, STREAMS_PER_LOG_MAX},
    types::EntriesError,
};
use crate::rollup::{self, NumberedSums};

/// Longest roaring bitmap of [`STREAMS_PER_LOG_MAX`] streams, with room.
const COVERAGE_BYTES_MAX: usize = 4 * STREAMS_PER_LOG_MAX;

/// A run of one log, read.
#[derive(Debug, Clone)]
pub struct DecodedRun {
    /// The log's only author.
    pub(crate) writer: WriterId,
    /// Sequence number of the first entry, from 1.
    pub(crate) first: u64,
    /// Running hash before the first entry.
    pub(crate) previous: LogHash,
    pub(crate) entries: Vec<DecodedEntry>,
    /// What entries before `first` defined, when those are pruned.
    pub(crate) definitions: Option<NewNames>,
    /// Every pruned entry was for a second before this one; 0 when that is not said.
    pub(crate) forgotten: u32,
    /// Why the entry after the last of `entries`, or `definitions`, cannot be read.
    pub(crate) unreadable: Option<String>,
}

/// One entry, read.
#[derive(Debug, Clone)]
pub(crate) struct DecodedEntry {
    /// As its author encoded it.
    pub(crate) payload: Bytes,
    /// Running hash after it.
    pub(crate) hash: LogHash,
    pub(crate) new: NewNames,
    pub(crate) body: Body,
}

/// Numbers that later entries of a log use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NewNames {
    pub(crate) streams: Vec<(u32, NodeId, StreamId)>,
    pub(crate) series: Vec<(u32, Series)>,
    pub(crate) groups: Vec<(u32, Group)>,
}

/// What an entry says.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Merge {
        tick: u32,
        /// By the numbers of the log; not empty.
        coverage: RoaringBitmap,
        sums: NumberedSums,
    },
    Raw {
        tick: u32,
        stream: u32,
        sums: NumberedSums,
    },
    End {
        stream: u32,
        last_tick: u32,
    },
    /// Streams as the author remembers them from before its start: who is expected, and nothing that counts.
    Roster {
        streams: Vec<Remembered>,
    },
    /// A later version's entry: held and relayed, not applied.
    Other,
}

/// A stream of a roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// By the numbers of the log.
    pub(crate) stream: u32,
    /// First tick.
    pub(crate) first: u32,
    /// Last tick.
    pub(crate) last: u32,
    /// Its own end, once it ended on purpose.
    pub(crate) ended: Option<u32>,
}

impl Body {
    /// The tick it is for; 0 when none.
    pub(crate) fn tick(&self) -> u32 {
        match self {
            Self::Merge { tick, .. } | Self::Raw { tick, .. } | Self::End { last_tick: tick, .. } => *tick,
            // Kept for as long as it says of any of them that it is expected.
            Self::Roster { streams } => streams.iter().map(|known| known.last).max().unwrap_or(0),
            Self::Other => 0,
        }
    }
}

impl DecodedRun {
    /// Reads a run. An entry that cannot be read ends it: those before it are good.
    ///
    /// # Errors
    /// [`EntriesError::Writer`] and [`EntriesError::Limit`]: nothing of the run can be used.
    pub fn decode(run: &v1::Entries) -> Result<Self, EntriesError> {
        let writer = WriterId::parse(&run.writer_id)?;
        if run.payloads.len() > ENTRIES_PER_MESSAGE_MAX {
            return Err(EntriesError::Limit { what: "entries of one message", limit: ENTRIES_PER_MESSAGE_MAX });
        }
        let previous = LogHash::try_from(&*run.previous_hash).unwrap_or_default();
        let mut decoded = Self {
            writer,
            first: run.first_sequence.max(1),
            previous,
            entries: Vec::with_capacity(run.payloads.len()),
            definitions: None,
            forgotten: run.forgotten,
            unreadable: None,
        };
        match run.definitions.as_ref().map(NewNames::decode).transpose() {
            Ok(definitions) => decoded.definitions = definitions,
            Err(detail) => {
                decoded.unreadable = Some(detail);
                return Ok(decoded);
            }
        }
        let mut hash = previous;
        for payload in &run.payloads {
            hash = next_hash(&hash, payload);
            match DecodedEntry::decode(payload, hash) {
                Ok(entry) => decoded.entries.push(entry),
                Err(detail) => {
                    decoded.unreadable = Some(detail);
                    break;
                }
            }
        }
        Ok(decoded)
    }

    /// The same run in pieces of at most `most` entries and `bytes`, but of one entry at least, in order: what the ledger
    /// takes at once holds up everything else that is asked of it.
    pub fn pieces(mut self, most: NonZeroUsize, bytes: usize) -> impl Iterator<Item = Self> + Send {
        let mut left = std::mem::take(&mut self.entries).into_iter().peekable();
        let (mut definitions, mut unreadable) = (self.definitions, self.unreadable);
        let (mut first, mut previous) = (Some(self.first), self.previous);
        std::iter::from_fn(move || {
            let begins = first.take()?;
            let mut entries = Vec::with_capacity(left.len().min(most.get()));
            let mut room = bytes;
            while let Some(entry) =
                left.next_if(|next| entries.is_empty() || (entries.len() < most.get() && next.payload.len() <= room))
            {
                room = room.saturating_sub(entry.payload.len());
                entries.push(entry);
            }
            let before = previous;
            previous = entries.last().map_or(before, |entry| entry.hash);
            let ends = left.len() == 0;
            first = (!ends).then_some(begins + entries.len() as u64);
            Some(Self {
                writer: self.writer,
                first: begins,
                previous: before,
                entries,
                definitions: definitions.take(),
                forgotten: self.forgotten,
                unreadable: if ends { unreadable.take() } else { None },
            })
        })
    }

    /// The log's author.
    #[must_use]
    pub const fn writer(&self) -> WriterId {
        self.writer
    }

    /// Entries that can be read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Streams that its entries define.
    pub(crate) fn streams_len(&self) -> usize {
        self.entries.iter().map(|entry| entry.new.streams.len()).sum()
    }

    /// True without entries that can be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl DecodedEntry {
    fn decode(payload: &Bytes, hash: LogHash) -> Result<Self, String> {
        if payload.len() > ENTRY_BYTES_MAX {
            return Err(format!("an entry of {} bytes, at most {ENTRY_BYTES_MAX} are taken", payload.len()));
        }
        let message = v1::LogPayload::decode(payload.clone()).map_err(|error| error.to_string())?;
        let new = NewNames::decode(&message)?;
        Ok(Self { payload: payload.clone(), hash, new, body: Body::decode(message.body)? })
    }
}

impl Body {
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn decode(body: Option<log_payload::Body>) -> Result<Self, String> {
        Ok(match body {
            Some(log_payload::Body::Merge(merge)) => {
                let (coverage, sums) = (coverage(&merge.coverage)?, sums(&merge.sums, &merge.census)?);
                for row in sums.census() {
                    if u64::from(row.frames) > coverage.len() {
                        return Err(format!("group {} has more frames than the merge covers", row.group));
                    }
                    if let Some(core) = row.cores.iter().find(|core| !coverage.contains(core.stream)) {
                        return Err(format!("a busy core of stream {}, which the merge does not cover", core.stream));
                    }
                }
                if let Some(cell) = sums.cells().iter().find(|cell| u64::from(cell.cell.frames) > coverage.len()) {
                    return Err(format!("series {} has more frames than the merge covers", cell.series));
                }
                Self::Merge { tick: merge.tick, coverage, sums }
            }
            Some(log_payload::Body::Raw(raw)) => {
                let sums = sums(&raw.sums, &raw.census)?;
                let several = sums.cells().iter().any(|cell| cell.cell.frames != 1)
                    || sums.census().iter().any(|row| row.frames != 1);
                if several {
                    return Err("a raw frame with sums of several frames".into());
                }
                if sums.census().iter().flat_map(|row| &row.cores).any(|core| core.stream != raw.stream) {
                    return Err("a raw frame with a busy core of another stream".into());
                }
                Self::Raw { tick: raw.tick, stream: raw.stream, sums }
            }
            Some(log_payload::Body::End(end)) => Self::End { stream: end.stream, last_tick: end.last_tick },
            Some(log_payload::Body::Roster(roster)) => Self::Roster { streams: remembered(&roster)? },
            None => Self::Other,
        })
    }
}

fn sums(bytes: &[u8], census: &[u8]) -> Result<NumberedSums, String> {
    let census = rollup::decode_census(census).map_err(|error| error.to_string())?;
    rollup::decode(bytes).map(|sums| sums.with_census(census)).map_err(|error| error.to_string())
}

/// # Errors
/// What is wrong, in words.
pub(crate) fn remembered(roster: &v1::Roster) -> Result<Vec<Remembered>, String> {
    if roster.streams.len() > ROSTER_MAX {
        return Err(format!("a roster of {} streams", roster.streams.len()));
    }
    let remembered = |known: &v1::RosterStream| {
        let (first, last) = (known.first_tick, known.last_tick);
        (first <= last).then_some(Remembered { stream: known.stream, first, last, ended: known.ended })
    };
    let streams: Option<_> = roster.streams.iter().map(remembered).collect();
    Ok(streams.ok_or("a stream of a roster ends before it begins")?)
}

/// # Errors
/// What is wrong, in words.
pub(crate) fn coverage(bytes: &[u8]) -> Result<RoaringBitmap, String> {
    if bytes.len() > COVERAGE_BYTES_MAX {
        return Err("the coverage is too long".into());
    }
    let numbers = RoaringBitmap::deserialize_from(bytes).map_err(|error| error.to_string())?;
    // Runs can claim any number of members in a few bytes.
    if numbers.is_empty() || numbers.len() > STREAMS_PER_LOG_MAX as u64 {
        return Err(format!("the coverage names {} streams", numbers.len()));
    }
    Ok(numbers)
}

impl NewNames {
    fn decode(message: &v1::LogPayload) -> Result<Self, String> {
        let mut new = Self::default();
        for definition in &message.streams {
            let node = NodeId::parse(&definition.node_id).map_err(|error| error.to_string())?;
            let id = StreamId::parse(&definition.stream_id).map_err(|error| error.to_string())?;
            new.streams.push((definition.number, node, id));
        }
        for definition in &message.series {
            new.series.push((definition.number, series(definition)?));
        }
        for definition in &message.groups {
            let group = Group::parse(&definition.name).map_err(|error| error.to_string())?;
            if group.is_cluster() {
                return Err("a definition of the whole cluster".into());
            }
            new.groups.push((definition.number, group));
        }
        Ok(new)
    }

    /// As a message without a body.
    pub(crate) fn message(&self) -> v1::LogPayload {
        let stream = |(number, node, id): &(u32, NodeId, StreamId)| v1::StreamDefinition {
            number: *number,
            node_id: node.to_string(),
            stream_id: id.to_bytes(),
        };
        let series = |(number, series): &(u32, Series)| v1::SeriesDefinition {
            number: *number,
            name: series.name().to_owned(),
            attributes: series.attributes().iter().map(|(key, value)| format!("{key}={value}")).collect(),
            kind: v1::MetricKind::from(series.kind()).into(),
            unit: series.unit().to_owned(),
            scale: series.scale().into(),
        };
        let group =
            |(number, group): &(u32, Group)| v1::GroupDefinition { number: *number, name: group.name().to_owned() };
        v1::LogPayload {
            streams: self.streams.iter().map(stream).collect(),
            series: self.series.iter().map(series).collect(),
            groups: self.groups.iter().map(group).collect(),
            body: None,
        }
    }
}

fn series(definition: &v1::SeriesDefinition) -> Result<Series, String> {
    let kind = v1::MetricKind::try_from(definition.kind)
        .map_err(|error| error.to_string())
        .and_then(|kind| Kind::try_from(kind).map_err(str::to_owned))?;
    let attributes: Option<Vec<_>> = definition.attributes.iter().map(|pair| pair.split_once('=')).collect();
    let attributes = attributes.ok_or("an attribute without '='")?;
    let scale = u8::try_from(definition.scale).map_err(|error| error.to_string())?;
    Series::application(&definition.name, &attributes, kind, &definition.unit, scale, Scope::Cluster)
        .map_err(|error| error.to_string())
}
