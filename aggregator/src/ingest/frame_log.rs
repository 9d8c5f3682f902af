//! The last quarter of an hour of one node, as the bytes that came. Pure.
//!
//! Decoded, 954 series over 900 s would be 7 MB per node; as received they are about 0.2 MB. Frames are decoded when
//! somebody looks: from the nearest place where the state of the decoder was kept.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use starling_proto::{
    frame::{Content, Decoder},
    interner::Interner,
    limits::HISTORY_SECONDS,
    v1,
};

/// Frames after which the decoder is kept again: reading one second decodes at most this many.
const SEGMENT_FRAMES_MAX: usize = 300;
/// Bytes after which the decoder is kept again, so that the oldest part can go without taking everything along.
const SEGMENT_BYTES_MAX: usize = 256 * 1024;
/// Bytes kept of one node, with what stands around the frames. Beyond it the oldest segment goes: the history of this
/// node is then shorter. The last segment stays, whatever the size of its decoder.
const LOG_BYTES_MAX: usize = 1024 * 1024;
/// What a kept decoder takes per series of its dictionary: an entry of 24 bytes, and a place in a hash set of 8 bytes
/// and a control byte at a load between 7/16 and 7/8. The names are shared with the connection's own decoder.
const DECODER_BYTES_PER_SERIES: usize = 24 + 2 * 9;
/// What a frame takes beside its bytes: its fields, and what the allocator adds.
const FRAME_OVERHEAD: usize = size_of::<Kept>() + 16;

/// Frames of one connection in the order in which they came.
#[derive(Debug)]
struct Segment {
    /// The state before the first frame.
    decoder: Decoder,
    frames: Vec<Kept>,
    /// Of the frames, with their overhead.
    bytes: usize,
    newest: u32,
}

impl Segment {
    /// Bytes of the whole segment.
    fn cost(&self) -> usize {
        size_of::<Self>() + self.decoder.dictionary_len() * DECODER_BYTES_PER_SERIES + self.bytes
    }
}

/// One frame in one allocation: the bytes of a message would pin its whole receive buffer.
#[derive(Debug)]
struct Kept {
    tick: u32,
    sequence: u32,
    dropped: u32,
    keyframe: bool,
    /// `rollup`, then `node`.
    bytes: Box<[u8]>,
    split: u32,
}

impl Kept {
    fn new(frame: &v1::Frame) -> Self {
        let mut bytes = Vec::with_capacity(frame.rollup.len() + frame.node.len());
        bytes.extend_from_slice(&frame.rollup);
        bytes.extend_from_slice(&frame.node);
        Self {
            tick: frame.tick,
            sequence: frame.sequence,
            dropped: frame.dropped,
            keyframe: frame.keyframe,
            bytes: bytes.into_boxed_slice(),
            split: u32::try_from(frame.rollup.len()).unwrap_or(u32::MAX),
        }
    }

    fn frame(&self) -> v1::Frame {
        let (rollup, node) = self.bytes.split_at(self.split as usize);
        v1::Frame {
            tick: self.tick,
            sequence: self.sequence,
            pin: Bytes::new(),
            keyframe: self.keyframe,
            rollup: Bytes::copy_from_slice(rollup),
            node: Bytes::copy_from_slice(node),
            dropped: self.dropped,
        }
    }
}

/// The log of one node, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct FrameLog {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// The next frame must not go into the last segment: its decoder belongs to another connection.
    detached: bool,
}

impl FrameLog {
    /// A new connection begins, with a decoder of its own.
    pub(crate) fn detach(&mut self) {
        self.detached = true;
    }

    /// Whether the next [`FrameLog::push`] needs the connection's decoder as it is before that frame.
    pub(crate) fn wants_decoder(&self) -> bool {
        let full = |segment: &Segment| segment.frames.len() >= SEGMENT_FRAMES_MAX || segment.bytes >= SEGMENT_BYTES_MAX;
        self.detached || self.segments.back().is_none_or(full)
    }

    /// Keeps a frame that the connection's decoder was able to read. `before` is the decoder as it was before the
    /// frame; it is needed when [`FrameLog::wants_decoder`] says so, and without it the frame is not kept then.
    /// Returns how many bytes of older seconds had to go to stay within the bound.
    pub(crate) fn push(&mut self, before: Option<Decoder>, frame: &v1::Frame) -> usize {
        if self.wants_decoder() {
            let Some(decoder) = before else { return 0 };
            let segment = Segment { decoder, frames: Vec::new(), bytes: 0, newest: 0 };
            self.bytes += segment.cost();
            self.segments.push_back(segment);
            self.detached = false;
        }
        let kept = Kept::new(frame);
        if let Some(segment) = self.segments.back_mut() {
            let bytes = kept.bytes.len() + FRAME_OVERHEAD;
            segment.bytes += bytes;
            self.bytes += bytes;
            segment.newest = segment.newest.max(kept.tick);
            segment.frames.push(kept);
        }
        let mut lost = 0;
        while self.bytes > LOG_BYTES_MAX && self.segments.len() > 1 {
            lost += self.drop_oldest();
        }
        lost
    }

    /// Drops segments that hold nothing of the last [`HISTORY_SECONDS`].
    pub(crate) fn prune(&mut self, now_tick: u32) {
        while self.segments.front().is_some_and(|segment| segment.newest + HISTORY_SECONDS < now_tick) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> usize {
        let lost = self.segments.pop_front().map_or(0, |segment| segment.cost());
        self.bytes -= lost;
        lost
    }

    /// Bytes kept.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What can be read of `from..=to`, to be decoded outside of any lock.
    pub(crate) fn slice(&self, from: u32, to: u32, names: Arc<Interner>) -> Slice {
        let wanted = |frame: &Kept| (from..=to).contains(&frame.tick);
        let runs = self
            .segments
            .iter()
            .filter_map(|segment| {
                let last = segment.frames.iter().rposition(wanted)?;
                Some((segment.decoder.clone(), segment.frames[..=last].iter().map(Kept::frame).collect()))
            })
            .collect();
        Slice { from, to, names, runs }
    }
}

/// Frames taken out of a log, still encoded.
#[derive(Debug)]
pub(crate) struct Slice {
    from: u32,
    to: u32,
    names: Arc<Interner>,
    runs: Vec<(Decoder, Vec<v1::Frame>)>,
}

impl Slice {
    /// Decodes the wanted seconds, ascending, each once: a frame that was sent again says the same.
    pub(crate) fn decode(self) -> BTreeMap<u32, Content> {
        let mut contents = BTreeMap::new();
        for (mut decoder, frames) in self.runs {
            for frame in frames {
                // Every frame was read once when it came, from the same state: it cannot fail now. Should it, the
                // rest of the run cannot be read either.
                let Ok(content) = decoder.decode(&frame, &*self.names).map(|frame| frame.second.content()) else {
                    break;
                };
                if (self.from..=self.to).contains(&content.tick) {
                    contents.insert(content.tick, content);
                }
            }
        }
        contents
    }
}

#[cfg(test)]
mod tests {
    use starling_proto::{
        catalogue,
        frame::Encoder,
        series::{Sample, Series, Value},
    };

    use super::*;

    fn content(tick: u32) -> Content {
        let gauge = |metric, value| Sample { series: Series::of(metric, &[]), value: Value::Gauge(value) };
        Content {
            tick,
            samples: vec![
                gauge(&catalogue::CPU_UTILIZATION, i64::from(tick % 7)),
                gauge(&catalogue::UPTIME, tick.into()),
            ],
            dropped: 0,
        }
    }

    /// A connection that sends `ticks` into `log`.
    fn connection(log: &mut FrameLog, ticks: impl IntoIterator<Item = u32>) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        log.detach();
        for tick in ticks {
            let frame = encoder.encode(&content(tick), None, tick.is_multiple_of(300));
            let before = log.wants_decoder().then(|| decoder.clone());
            decoder.decode(&frame, &Interner::default()).unwrap();
            log.push(before, &frame);
        }
    }

    #[test]
    fn any_second_can_be_read_back() {
        let mut log = FrameLog::default();
        connection(&mut log, 1000..1700);
        connection(&mut log, 1690..1900);
        let all = log.slice(0, u32::MAX, Arc::default()).decode();
        assert_eq!(all.len(), 900);
        assert!(all.iter().all(|(tick, found)| *found == content(*tick)));
        let some = log.slice(1301, 1303, Arc::default()).decode();
        assert_eq!(some.keys().copied().collect::<Vec<_>>(), [1301, 1302, 1303]);
        assert!(log.slice(5, 6, Arc::default()).decode().is_empty());
    }

    #[test]
    fn old_segments_go() {
        let mut log = FrameLog::default();
        connection(&mut log, 1000..3000);
        let before = log.bytes();
        log.prune(3000);
        assert!(log.bytes() < before);
        let kept = log.slice(0, u32::MAX, Arc::default()).decode();
        assert!(kept.contains_key(&2100) && !kept.contains_key(&1000));
        log.prune(10_000);
        assert_eq!((log.bytes(), log.slice(0, u32::MAX, Arc::default()).decode().len()), (0, 0));
    }

    #[test]
    fn connections_of_one_frame_are_bounded_too() {
        let mut log = FrameLog::default();
        for tick in 0..20_000 {
            connection(&mut log, [tick]);
            assert!(log.bytes() <= LOG_BYTES_MAX);
        }
        assert!(log.segments.len() * size_of::<Segment>() < LOG_BYTES_MAX, "{} segments", log.segments.len());
        assert!(log.slice(19_999, 19_999, Arc::default()).decode().contains_key(&19_999));
    }

    #[test]
    fn the_bytes_of_a_node_are_bounded() {
        let mut log = FrameLog::default();
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let mut lost = 0;
        for tick in 0..2000u32 {
            let samples = (0..300)
                .map(|i| Sample {
                    series: Series::of(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", &i.to_string())]),
                    value: Value::Gauge(i64::from(tick.wrapping_mul(2_654_435_761) >> (i % 16)) - 1),
                })
                .collect();
            let frame = encoder.encode(&Content { tick, samples, dropped: 0 }, None, false);
            let before = log.wants_decoder().then(|| decoder.clone());
            decoder.decode(&frame, &Interner::default()).unwrap();
            lost += log.push(before, &frame);
            assert!(log.bytes() <= LOG_BYTES_MAX);
        }
        assert!(lost > 0, "the bound was never reached");
        assert!(log.slice(1999, 1999, Arc::default()).decode().contains_key(&1999));
    }
}
