//! Content to frames.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Content, FORM_BITMAP, FORM_GAPS};
use crate::{
    catalogue::Scope,
    ids::WriterId,
    limits,
    series::{Sample, Series, Value},
    v1, varint,
};

/// The sending end of one connection.
#[derive(Debug, Default)]
pub struct Encoder {
    sequence: u32,
    rollup: Part,
    node: Part,
}

impl Encoder {
    /// The encoder of a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the connection's past: the next frame is a keyframe with sequence 1. For a keyframe request.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Encodes one second. `content` must pass [`Content::check`], or the decoder will refuse the frame.
    ///
    /// `pin` is the writer the frame was first offered to, `None` when that is not known. The first frame is always a
    /// keyframe, and the dictionary starts again by itself before it outgrows [`limits::DICTIONARY_MAX`].
    pub fn encode(&mut self, content: &Content, pin: Option<WriterId>, keyframe: bool) -> v1::Frame {
        if self.outgrown(content) {
            self.restart();
        }
        self.sequence += 1;
        let keyframe = keyframe || self.sequence == 1;
        v1::Frame {
            tick: content.tick,
            sequence: self.sequence,
            pin: pin.map_or_else(Bytes::new, WriterId::to_bytes),
            keyframe,
            rollup: self.rollup.encode(content.scope(Scope::Cluster), self.sequence, keyframe),
            node: self.node.encode(content.scope(Scope::Node), self.sequence, keyframe),
            dropped: content.dropped,
        }
    }

    fn outgrown(&self, content: &Content) -> bool {
        if self.sequence == 0 {
            return false;
        }
        [(&self.rollup, Scope::Cluster), (&self.node, Scope::Node)].into_iter().any(|(part, scope)| {
            let new = content.scope(scope).filter(|sample| !part.numbers.contains_key(&sample.series)).count();
            new > limits::DICTIONARY_GROWTH_MAX || part.numbers.len() + new > limits::DICTIONARY_MAX
        })
    }
}

/// One part's dictionary and last values.
#[derive(Debug, Default)]
struct Part {
    numbers: HashMap<Series, u32>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Present in the frame of this sequence; 0 for never.
    present_in: u32,
    last: i64,
}

impl Part {
    fn encode<'a>(&mut self, samples: impl Iterator<Item = &'a Sample>, sequence: u32, keyframe: bool) -> Bytes {
        if keyframe {
            self.entries.fill(Entry::default());
        }
        let mut new = Vec::new();
        let mut new_count = 0u64;
        let mut changed: Vec<(u32, &Value, i64)> = Vec::new();
        for sample in samples {
            let number = *self.numbers.entry(sample.series.clone()).or_insert_with(|| {
                put_series(&mut new, &sample.series);
                new_count += 1;
                self.entries.push(Entry::default());
                (self.entries.len() - 1) as u32
            });
            let entry = &mut self.entries[number as usize];
            if entry.present_in == sequence {
                // A series that stands twice is refused by `Content::check`; here the first one counts.
                continue;
            }
            let appears = entry.present_in == 0 || entry.present_in + 1 != sequence;
            entry.present_in = sequence;
            let (silent, difference) = match &sample.value {
                Value::Counter(increment) => (*increment == 0, 0),
                Value::Gauge(value) => {
                    let difference = value.wrapping_sub(entry.last);
                    entry.last = *value;
                    (difference == 0, difference)
                }
                Value::Histogram(histogram) => (histogram.is_empty(), 0),
            };
            if appears || !silent {
                changed.push((number, &sample.value, difference));
            }
        }
        changed.sort_unstable_by_key(|&(number, ..)| number);

        let mut out = Vec::with_capacity(new.len() + changed.len() * 3 + 8);
        varint::put(&mut out, new_count);
        out.extend_from_slice(&new);
        self.put_gone(&mut out, sequence);
        put_values(&mut out, &changed, self.entries.len());
        out.into()
    }

    /// Lists what was in the frame before and is not in this one.
    fn put_gone(&self, out: &mut Vec<u8>, sequence: u32) {
        let gone = self.entries.iter().enumerate().filter(|(_, e)| e.present_in > 0 && e.present_in + 1 == sequence);
        varint::put(out, gone.clone().count() as u64);
        let mut next = 0;
        for (number, _) in gone {
            varint::put(out, (number - next) as u64);
            next = number + 1;
        }
    }
}

/// Writes a series without its scope: [`read_series`](super::read_series) reads it.
pub fn put_series(out: &mut Vec<u8>, series: &Series) {
    out.push(series.kind().code() | series.scale() << 2);
    varint::put_bytes(out, series.name().as_bytes());
    varint::put_bytes(out, series.unit().as_bytes());
    varint::put(out, series.attributes().len() as u64);
    for (key, value) in series.attributes() {
        varint::put_bytes(out, key.as_bytes());
        varint::put_bytes(out, value.as_bytes());
    }
}

fn put_values(out: &mut Vec<u8>, changed: &[(u32, &Value, i64)], dictionary: usize) {
    varint::put(out, changed.len() as u64);
    let bitmap = changed.len() * 8 > dictionary;
    if bitmap {
        out.push(FORM_BITMAP);
        let from = out.len();
        out.resize(from + dictionary.div_ceil(8), 0);
        for &(number, ..) in changed {
            out[from + number as usize / 8] |= 1 << (number % 8);
        }
    } else {
        out.push(FORM_GAPS);
    }
    let mut next = 0;
    let mut scratch = Vec::new();
    for &(number, value, difference) in changed {
        if !bitmap {
            varint::put(out, u64::from(number - next));
            next = number + 1;
        }
        match value {
            Value::Counter(increment) => varint::put(out, *increment),
            Value::Gauge(_) => varint::put_signed(out, difference),
            Value::Histogram(histogram) => {
                scratch.clear();
                histogram.encode_into(&mut scratch);
                varint::put_bytes(out, &scratch);
            }
        }
    }
}
