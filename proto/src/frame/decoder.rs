//! Frames to content, from a peer that is not trusted.

use std::{collections::HashSet, sync::Arc};

use super::{Content, FORM_BITMAP, FORM_GAPS, check_sample};
use crate::{
    catalogue::{Kind, Scope},
    histogram::Histogram,
    limits,
    series::{Sample, Series, Value},
    v1,
    varint::{Reader, VarintError},
};

/// Why a frame was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame is missing before this one, or an earlier one was damaged: the sender must start anew.
    #[error("frame {sequence} follows {last}: a fresh start is needed")]
    NeedKeyframe {
        /// Sequence of the frame.
        sequence: u32,
        /// Sequence of the last good one.
        last: u32,
    },
    /// It breaks a limit or is not a frame.
    #[error("{0}")]
    Invalid(String),
}

impl FrameError {
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid(detail.into())
    }
}

impl From<VarintError> for FrameError {
    fn from(error: VarintError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The receiving end of one connection. A clone taken before a keyframe can read that keyframe and what follows.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    last_sequence: u32,
    damaged: bool,
    rollup: Part,
    node: Part,
}

impl Decoder {
    /// The decoder of a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one frame.
    ///
    /// Allocates in proportion to the bytes of the frame, and for at most [`limits::DICTIONARY_MAX`] series a part.
    /// After an error every frame is refused with [`FrameError::NeedKeyframe`] until one with sequence 1 arrives.
    ///
    /// # Errors
    /// [`FrameError`], naming what is wrong.
    pub fn decode(&mut self, frame: &v1::Frame) -> Result<Content, FrameError> {
        if frame.sequence == 1 && frame.keyframe {
            *self = Self::default();
        } else if self.damaged || frame.sequence != self.last_sequence + 1 || self.last_sequence == 0 {
            return Err(FrameError::NeedKeyframe { sequence: frame.sequence, last: self.last_sequence });
        }
        self.damaged = true;
        let mut samples = Vec::new();
        self.rollup
            .decode(&frame.rollup, Scope::Cluster, frame.keyframe, &mut samples)
            .map_err(|e| within("rollup", e))?;
        self.node.decode(&frame.node, Scope::Node, frame.keyframe, &mut samples).map_err(|e| within("node", e))?;
        if samples.len() > limits::SERIES_PER_NODE_MAX {
            return Err(FrameError::invalid(format!(
                "{} series, at most {} are taken",
                samples.len(),
                limits::SERIES_PER_NODE_MAX
            )));
        }
        self.last_sequence = frame.sequence;
        self.damaged = false;
        Ok(Content { tick: frame.tick, samples, dropped: frame.dropped })
    }

    /// Series in the dictionary, both parts together.
    #[must_use]
    pub fn dictionary_len(&self) -> usize {
        self.rollup.entries.len() + self.node.entries.len()
    }
}

fn within(part: &str, error: FrameError) -> FrameError {
    match error {
        FrameError::Invalid(detail) => FrameError::Invalid(format!("{part} part: {detail}")),
        other => other,
    }
}

#[derive(Debug, Clone, Default)]
struct Part {
    entries: Vec<Entry>,
    known: HashSet<Series>,
}

#[derive(Debug, Clone)]
struct Entry {
    series: Series,
    present: bool,
    last: i64,
}

impl Part {
    fn decode(
        &mut self,
        bytes: &[u8],
        scope: Scope,
        keyframe: bool,
        samples: &mut Vec<Sample>,
    ) -> Result<(), FrameError> {
        let mut reader = Reader::new(bytes);
        self.read_new(&mut reader, scope)?;
        if keyframe {
            for entry in &mut self.entries {
                (entry.present, entry.last) = (false, 0);
            }
        }
        for number in read_numbers(&mut reader, self.entries.len())? {
            let entry = &mut self.entries[number];
            if !std::mem::take(&mut entry.present) {
                return Err(FrameError::invalid(format!("{} goes without having been there", entry.series)));
            }
        }
        let listed = self.read_values(&mut reader)?;
        if !reader.is_empty() {
            return Err(FrameError::invalid(format!("{} bytes after the last value", reader.rest().len())));
        }
        self.collect(listed, samples)
    }

    fn read_new(&mut self, reader: &mut Reader<'_>, scope: Scope) -> Result<(), FrameError> {
        let n = reader.u64()?;
        let most = if self.entries.is_empty() { limits::SERIES_PER_NODE_MAX } else { limits::DICTIONARY_GROWTH_MAX };
        if n > most as u64 || self.entries.len() as u64 + n > limits::DICTIONARY_MAX as u64 {
            return Err(FrameError::invalid(format!(
                "{n} new series beside {}, at most {most} at once and {} in all are taken",
                self.entries.len(),
                limits::DICTIONARY_MAX
            )));
        }
        for _ in 0..n {
            let series = read_series(reader, scope)?;
            if !self.known.insert(series.clone()) {
                return Err(FrameError::invalid(format!("{series} is defined twice")));
            }
            self.entries.push(Entry { series, present: false, last: 0 });
        }
        Ok(())
    }

    fn read_values(&mut self, reader: &mut Reader<'_>) -> Result<Vec<(usize, Value)>, FrameError> {
        let n = reader.u64()?;
        if n > self.entries.len() as u64 {
            return Err(FrameError::invalid(format!("{n} values for {} series", self.entries.len())));
        }
        let mut listed = Vec::with_capacity(n as usize);
        match reader.byte()? {
            FORM_GAPS => {
                let mut next = 0;
                for _ in 0..n {
                    let number = read_gap(reader, next, self.entries.len())?;
                    listed.push((number, self.read_value(reader, number)?));
                    next = number + 1;
                }
            }
            FORM_BITMAP => {
                let bitmap = reader.take(self.entries.len().div_ceil(8))?;
                let set = bitmap.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
                if set != n {
                    return Err(FrameError::invalid(format!("a bitmap with {set} bits for {n} values")));
                }
                for number in (0..bitmap.len() * 8).filter(|i| bitmap[i / 8] >> (i % 8) & 1 == 1) {
                    if number >= self.entries.len() {
                        return Err(FrameError::invalid("a bitmap names a series that is not defined"));
                    }
                    listed.push((number, self.read_value(reader, number)?));
                }
            }
            form => return Err(FrameError::invalid(format!("values of form {form}, known are 0 and 1"))),
        }
        Ok(listed)
    }

    fn read_value(&mut self, reader: &mut Reader<'_>, number: usize) -> Result<Value, FrameError> {
        let entry = &mut self.entries[number];
        entry.present = true;
        Ok(match entry.series.kind() {
            Kind::Counter => Value::Counter(reader.u64()?),
            Kind::Gauge => {
                entry.last = entry.last.wrapping_add(reader.i64()?);
                Value::Gauge(entry.last)
            }
            Kind::Histogram => {
                let bytes = reader.bytes(limits::MESSAGE_BYTES_MAX)?;
                let histogram = Histogram::decode(bytes)
                    .map_err(|error| FrameError::invalid(format!("{}: {error}", entry.series)))?;
                Value::Histogram(Arc::new(histogram))
            }
        })
    }

    /// Every series present, listed or not.
    fn collect(&self, listed: Vec<(usize, Value)>, samples: &mut Vec<Sample>) -> Result<(), FrameError> {
        let mut listed = listed.into_iter().peekable();
        for (number, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.present) {
            let value = match listed.next_if(|&(listed, _)| listed == number) {
                Some((_, value)) => value,
                None => match entry.series.kind() {
                    Kind::Counter => Value::Counter(0),
                    Kind::Gauge => Value::Gauge(entry.last),
                    Kind::Histogram => Value::Histogram(Arc::new(Histogram::empty())),
                },
            };
            let sample = Sample { series: entry.series.clone(), value };
            check_sample(&sample)?;
            samples.push(sample);
        }
        Ok(())
    }
}

fn read_numbers(reader: &mut Reader<'_>, dictionary: usize) -> Result<Vec<usize>, FrameError> {
    let n = reader.u64()?;
    if n > dictionary as u64 {
        return Err(FrameError::invalid(format!("{n} series go of {dictionary}")));
    }
    let mut numbers = Vec::with_capacity(n as usize);
    let mut next = 0;
    for _ in 0..n {
        let number = read_gap(reader, next, dictionary)?;
        numbers.push(number);
        next = number + 1;
    }
    Ok(numbers)
}

fn read_gap(reader: &mut Reader<'_>, next: usize, dictionary: usize) -> Result<usize, FrameError> {
    let gap = reader.u64()?;
    match (next as u64).checked_add(gap) {
        Some(number) if number < dictionary as u64 => Ok(number as usize),
        _ => Err(FrameError::invalid(format!("a series beyond the {dictionary} that are defined"))),
    }
}

fn read_series(reader: &mut Reader<'_>, scope: Scope) -> Result<Series, FrameError> {
    let byte = reader.byte()?;
    let kind = Kind::from_code(byte & 3).ok_or_else(|| FrameError::invalid("a series without a kind"))?;
    let name = read_text(reader, limits::NAME_LEN_MAX)?;
    let unit = read_text(reader, limits::UNIT_LEN_MAX)?;
    let n = reader.u64()?;
    if n > limits::ATTRIBUTES_MAX as u64 {
        return Err(FrameError::invalid(format!(
            "{name} has {n} attributes, at most {} are taken",
            limits::ATTRIBUTES_MAX
        )));
    }
    let mut attributes = Vec::with_capacity(n as usize);
    for _ in 0..n {
        let key = read_text(reader, limits::ATTRIBUTE_KEY_LEN_MAX)?;
        attributes.push((key, read_text(reader, limits::ATTRIBUTE_VALUE_LEN_MAX)?));
    }
    Series::application(name, &attributes, kind, unit, byte >> 2, scope)
        .map_err(|error| FrameError::invalid(error.to_string()))
}

fn read_text<'a>(reader: &mut Reader<'a>, limit: usize) -> Result<&'a str, FrameError> {
    let bytes = reader.bytes(limit)?;
    std::str::from_utf8(bytes).map_err(|_| FrameError::invalid("a text that is not UTF-8"))
}
