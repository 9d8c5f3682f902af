//! The bytes of a segment: what a daemon that is started again reads of the one before.
//!
//! ```text
//! segment  records, one after the other; the first is a head
//! record   2 bytes mark, u32 length of what follows the checksum, u32 CRC-32 of that, 1 byte kind, content
//! head     kind 0: 1 byte form, 16 bytes stream, 16 bytes boot, name of the node
//! frame    kind 1: protocol buffers of a frame; its pin is that of records that follow
//! offered  kind 2: 16 bytes writer, then u32 ticks
//! gone     kind 3: u32 ticks that need not be kept any more
//! ended    kind 4: nothing; the stream has said that it ends
//! ```
//! Numbers are little-endian. The first frame of a segment and every 60th after it have all their names and can be read alone; one
//! between them needs those since then, which makes it a tenth as long. So a record that is damaged costs itself and, if it
//! is a frame, at most a minute.

use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use starling_proto::{
    frame::{Content, Decoder, Encoder, FrameError},
    ids::{NodeId, StreamId, WriterId},
    interner::Interner,
    limits::MESSAGE_BYTES_MAX,
    v1,
};

const MARK: [u8; 2] = [0xb5, 0x5a];
/// Bytes before the kind.
const BEFORE: usize = MARK.len() + 4 + 4;
/// The kind of a frame.
const FRAME: u8 = 1;
/// Of the head: other forms are of another version.
const FORM: u8 = 1;
/// Frames from one that can be read alone to the next: a minute.
const ALONE_EVERY: u32 = 60;
/// A frame with all its names is the first one of a stream, which is at most [`MESSAGE_BYTES_MAX`] long.
const RECORD_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// Whose seconds a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::uplink) struct Head {
    /// The stream.
    pub(in crate::uplink) stream: StreamId,
    /// Start of the machine: after another one, what was written last may be missing.
    pub(in crate::uplink) boot: [u8; 16],
    /// The node.
    pub(in crate::uplink) node: NodeId,
}

/// What is written down.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    Head(Head),
    Frame(Content),
    Offered { writer: WriterId, ticks: Vec<u32> },
    Gone { ticks: Vec<u32> },
    Ended,
}

/// Appends a record.
fn put(out: &mut Vec<u8>, kind: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let from = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; BEFORE - MARK.len()]);
    out.push(kind);
    content(out);
    let body = &out[from + BEFORE..];
    let (length, sum) = (u32::try_from(body.len()).unwrap_or(u32::MAX), crc32fast::hash(body));
    out[from + 2..from + 6].copy_from_slice(&length.to_le_bytes());
    out[from + 6..from + BEFORE].copy_from_slice(&sum.to_le_bytes());
}

pub(super) fn put_head(out: &mut Vec<u8>, head: &Head) {
    put(out, 0, |out| {
        out.push(FORM);
        out.extend_from_slice(head.stream.as_bytes());
        out.extend_from_slice(&head.boot);
        out.extend_from_slice(head.node.as_str().as_bytes());
    });
}

/// The frames of one segment.
#[derive(Debug, Default)]
pub(super) struct Frames {
    encoder: Encoder,
    since_alone: u32,
}

impl Frames {
    /// Appends the next one.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, content: &Content) {
        if self.since_alone >= ALONE_EVERY {
            *self = Self::default();
        }
        self.since_alone += 1;
        let frame = self.encoder.encode(content, None, false);
        put(out, FRAME, |out| {
            out.reserve(frame.encoded_len());
            // Into a vector there is always room.
            let _ = frame.encode(out);
        });
    }
}

pub(super) fn put_offered(out: &mut Vec<u8>, writer: WriterId, ticks: &[u32]) {
    put(out, 2, |out| {
        out.extend_from_slice(&writer.to_bytes());
        ticks.iter().for_each(|&tick| out.put_u32_le(tick));
    });
}

pub(super) fn put_gone(out: &mut Vec<u8>, ticks: &[u32]) {
    put(out, 3, |out| ticks.iter().for_each(|&tick| out.put_u32_le(tick)));
}

pub(super) fn put_ended(out: &mut Vec<u8>) {
    put(out, 4, |_| {});
}

/// Gives the records of a segment one after the other; its frames share `names`. Allocates in proportion to its bytes.
///
/// Returns how many are damaged, stretches of bytes that are no record counted as one, and the bytes of the end that are no
/// whole record: half a record is what a crash leaves.
pub(super) fn each(bytes: &[u8], names: &Interner, mut take: impl FnMut(Record)) -> (u32, usize) {
    let (mut decoder, mut damaged, mut at, mut bad_from) = (Decoder::new(), 0, 0, None);
    while at < bytes.len() {
        match record(&bytes[at..]) {
            Some((kind, body, length)) => {
                damaged += u32::from(bad_from.take().is_some());
                match content(kind, body, &mut decoder, names) {
                    Ok(record) => record.into_iter().for_each(&mut take),
                    Err(FrameLost) => damaged += 1,
                }
                at += length;
            }
            None => {
                bad_from.get_or_insert(at);
                at += 1;
            }
        }
    }
    (damaged, bad_from.map_or(0, |from| bytes.len() - from))
}

/// The kind and content of the record at the start of some bytes, and its length in all.
fn record(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let mut rest = bytes.strip_prefix(&MARK)?;
    if rest.len() < BEFORE - MARK.len() {
        return None;
    }
    let (length, sum) = (rest.get_u32_le() as usize, rest.get_u32_le());
    if length == 0 || length > RECORD_BYTES_MAX {
        return None;
    }
    let body = rest.get(..length)?;
    (crc32fast::hash(body) == sum).then(|| (body[0], &body[1..], BEFORE + length))
}

/// A frame whose bytes are whole and that cannot be read, since one before it is damaged.
struct FrameLost;

/// What a record of `kind` says; `None` for one of a later version, or of a program with a fault.
fn content(kind: u8, body: &[u8], decoder: &mut Decoder, names: &Interner) -> Result<Option<Record>, FrameLost> {
    if kind == FRAME {
        let Ok(frame) = v1::Frame::decode(body) else { return Ok(None) };
        return match decoder.decode(&frame, names) {
            Ok(decoded) => Ok(Some(Record::Frame(decoded.second.content()))),
            Err(FrameError::NeedKeyframe { .. }) => Err(FrameLost),
            Err(_) => Ok(None),
        };
    }
    Ok(other(kind, body))
}

fn other(kind: u8, body: &[u8]) -> Option<Record> {
    match kind {
        0 => {
            let (&form, rest) = body.split_first()?;
            let (stream, rest) = rest.split_at_checked(16)?;
            let (boot, node) = rest.split_at_checked(16)?;
            let node = NodeId::parse(std::str::from_utf8(node).ok()?).ok()?;
            let head = Head { stream: StreamId::parse(stream).ok()?, boot: boot.try_into().ok()?, node };
            (form == FORM).then_some(Record::Head(head))
        }
        2 => {
            let (writer, ticks) = body.split_at_checked(16)?;
            Some(Record::Offered { writer: WriterId::parse(writer).ok()?, ticks: numbers(ticks) })
        }
        3 => Some(Record::Gone { ticks: numbers(body) }),
        4 => Some(Record::Ended),
        _ => None,
    }
}

fn numbers(mut bytes: &[u8]) -> Vec<u32> {
    let mut all = Vec::with_capacity(bytes.len() / 4);
    while bytes.len() >= 4 {
        all.push(bytes.get_u32_le());
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::{
        catalogue,
        histogram::Histogram,
        series::{Sample, Series, Value},
    };

    use super::*;

    fn head() -> Head {
        Head { stream: StreamId::new([7; 16]), boot: [9; 16], node: NodeId::parse("web-1").unwrap() }
    }

    fn second(tick: u32) -> Content {
        let gauge = Sample { series: Series::of(&catalogue::UPTIME, &[]), value: Value::Gauge(i64::from(tick)) };
        let opened = Sample { series: Series::of(&catalogue::TCP_OPENED, &[]), value: Value::Counter(3) };
        let durations = Sample {
            series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
            value: Value::Histogram(Histogram::of(7, 2).into()),
        };
        Content { tick, samples: vec![durations, opened, gauge], dropped: tick % 3 }
    }

    #[derive(Debug, Default)]
    struct Read {
        records: Vec<Record>,
        damaged: u32,
        torn: usize,
    }

    fn read(bytes: &[u8]) -> Read {
        let mut records = Vec::new();
        let (damaged, torn) = each(bytes, &Interner::default(), |record| records.push(record));
        Read { records, damaged, torn }
    }

    /// Records of every kind, and where each begins.
    fn segment() -> (Vec<Record>, Vec<u8>, Vec<usize>) {
        let writer = WriterId::new([4; 16]);
        let (mut bytes, mut begins, mut frames) = (Vec::new(), Vec::new(), Frames::default());
        begins.push(bytes.len());
        put_head(&mut bytes, &head());
        for tick in [100, 101] {
            begins.push(bytes.len());
            frames.put(&mut bytes, &second(tick));
        }
        begins.push(bytes.len());
        put_offered(&mut bytes, writer, &[100, 101]);
        begins.push(bytes.len());
        put_gone(&mut bytes, &[100]);
        begins.push(bytes.len());
        put_ended(&mut bytes);
        begins.push(bytes.len());
        let records = vec![
            Record::Head(head()),
            Record::Frame(second(100)),
            Record::Frame(second(101)),
            Record::Offered { writer, ticks: vec![100, 101] },
            Record::Gone { ticks: vec![100] },
            Record::Ended,
        ];
        (records, bytes, begins)
    }

    /// The order of samples is that of the two parts of a frame.
    fn sorted(record: Record) -> Record {
        match record {
            Record::Frame(mut content) => {
                content.samples.sort_by(|a, b| a.series.cmp(&b.series));
                Record::Frame(content)
            }
            other => other,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let (records, bytes, _) = segment();
        let read = read(&bytes);
        assert_eq!((read.damaged, read.torn), (0, 0));
        let read: Vec<_> = read.records.into_iter().map(sorted).collect();
        assert_eq!(read, records.into_iter().map(sorted).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_end_costs_the_record_that_was_torn() {
        let (_, bytes, begins) = segment();
        for length in 0..bytes.len() {
            let read = read(&bytes[..length]);
            let whole = begins.iter().filter(|&&end| end > 0 && end <= length).count();
            assert_eq!((read.records.len(), read.damaged), (whole, 0), "{length} bytes");
            assert_eq!(read.torn, length - begins.iter().rev().find(|&&end| end <= length).unwrap(), "{length} bytes");
        }
    }

    #[test]
    fn a_flipped_bit_costs_the_record_it_stands_in_and_the_frames_that_need_it() {
        let (records, bytes, begins) = segment();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            let read = read(&bytes);
            // The second frame cannot be read without the first.
            let lost = 1 + usize::from((begins[1]..begins[2]).contains(&at));
            assert_eq!(read.records.len(), records.len() - lost, "byte {at}");
            let last = at >= begins[begins.len() - 2];
            assert_eq!((read.damaged > 0, read.torn > 0), (!last, last), "byte {at}");
        }
    }

    #[test]
    fn a_minute_can_be_read_alone() {
        let (mut bytes, mut frames, mut begins) = (Vec::new(), Frames::default(), Vec::new());
        for tick in 0..150 {
            begins.push(bytes.len());
            frames.put(&mut bytes, &second(tick));
        }
        let length = |nth: usize| begins[nth + 1] - begins[nth];
        assert!(length(0) > 2 * length(1) && length(60) > 2 * length(61), "{begins:?}");
        bytes[begins[30] + BEFORE + 3] ^= 1;
        let read = read(&bytes);
        assert_eq!((read.records.len(), read.damaged), (120, 30));
        assert_eq!(sorted(read.records[30].clone()), sorted(Record::Frame(second(60))));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_to_its_end(
            before in proptest::collection::vec(any::<u8>(), 0..200),
            after in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (records, segment, _) = segment();
            let read = read(&[&before[..], &segment, &after].concat());
            prop_assert_eq!(read.records.len(), records.len());
        }
    }
}
