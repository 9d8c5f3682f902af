//! One part of a connection: its dictionary, what is present, and the last value of every gauge.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    FORM_BITMAP, FORM_GAPS, FrameError, check_counter, check_gauge, check_histogram,
    columns::Columns,
    places::{Name, Places, Raw},
};
use crate::{
    bits,
    catalogue::{Kind, Scope},
    histogram::Histogram,
    interner::{Resolve, Resolved, SeriesId},
    limits,
    series::Series,
    varint::Reader,
};

/// See the module. Everything is by number of the dictionary, which is dense.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    names: Vec<Name>,
    kinds: Vec<Kind>,
    /// Last value of gauges since the last keyframe; 0 for others.
    last: Vec<i64>,
    /// A bit per number.
    present: Vec<u64>,
    /// Numbers of the process that this dictionary has, sorted.
    known: Vec<SeriesId>,
    places: Places,
}

impl Part {
    /// Series in the dictionary.
    pub(super) const fn dictionary_len(&self) -> usize {
        self.names.len()
    }

    /// Series present in the last frame.
    pub(super) const fn present(&self) -> usize {
        self.places.present
    }

    /// Of these, how many there was no room for.
    pub(super) const fn left_out(&self) -> u32 {
        self.places.left_out
    }

    /// Of these, how many count in a series that stands for many.
    pub(super) const fn others(&self) -> u32 {
        self.places.others
    }

    /// Reads one frame's part: its columns, and the bytes of their histograms in the same order.
    pub(super) fn decode(
        &mut self,
        bytes: &Bytes,
        scope: Scope,
        keyframe: bool,
        names: &impl Resolve,
    ) -> Result<(Columns, Box<[Bytes]>), FrameError> {
        let mut reader = Reader::new(bytes);
        let defined = self.read_new(&mut reader, scope, names)?;
        let (before, found) = if keyframe { (Some(self.forget()), self.ask_again(names)) } else { (None, false) };
        let went = self.read_gone(&mut reader)?;
        let raw = self.read_values(bytes, &mut reader, before.as_ref())?;
        if !reader.is_empty() {
            return Err(FrameError::invalid(format!("{} bytes after the last value", reader.rest().len())));
        }
        let same_present = match &before {
            Some(before) => before.present == self.present,
            None => !went && !raw.appeared,
        };
        let fresh = (defined || found || !same_present) && self.places.renew(&self.names, &self.present, names);
        Ok(self.places.columns(raw, &self.kinds, &self.present, fresh))
    }

    /// Whether any series was defined.
    fn read_new(&mut self, reader: &mut Reader<'_>, scope: Scope, names: &impl Resolve) -> Result<bool, FrameError> {
        let n = reader.u64()?;
        let most = if self.names.is_empty() { limits::SERIES_PER_NODE_MAX } else { limits::DICTIONARY_GROWTH_MAX };
        if n > most as u64 || self.names.len() as u64 + n > limits::DICTIONARY_MAX as u64 {
            return Err(FrameError::invalid(format!(
                "{n} new series beside {}, at most {most} at once and {} in all are taken",
                self.names.len(),
                limits::DICTIONARY_MAX
            )));
        }
        for _ in 0..n {
            let series = read_series(reader, scope)?;
            self.kinds.push(series.kind());
            self.last.push(0);
            self.names.push(match names.resolve(&series) {
                Resolved::Own(interned) => {
                    self.known.push(interned.id());
                    Name::Own(interned)
                }
                Resolved::Other(interned) => Name::Other(interned, series),
                Resolved::LeftOut => Name::LeftOut(series),
            });
        }
        self.present.resize(self.names.len().div_ceil(64), 0);
        if n > 0 {
            self.known.sort_unstable();
            if let Some(twice) = self.known.windows(2).find(|pair| pair[0] == pair[1]) {
                let is_twice = |name: &&Name| matches!(name, Name::Own(interned) if interned.id() == twice[0]);
                let series = self.names.iter().find(is_twice).map(|name| name.series().to_string()).unwrap_or_default();
                return Err(FrameError::invalid(format!("{series} is defined twice")));
            }
        }
        Ok(n > 0)
    }

    /// For a keyframe: nothing is present and every gauge counts from 0. Returns what was.
    fn forget(&mut self) -> Before {
        let zeros = (vec![0; self.last.len()], vec![0; self.present.len()]);
        Before {
            last: std::mem::replace(&mut self.last, zeros.0),
            present: std::mem::replace(&mut self.present, zeros.1),
        }
    }

    /// Whether there is room by now for a series that has no place of its own.
    fn ask_again(&mut self, names: &impl Resolve) -> bool {
        let mut found = false;
        for name in &mut self.names {
            if let Name::Other(_, series) | Name::LeftOut(series) = name
                && let Resolved::Own(interned) = names.resolve(series)
                && let Err(at) = self.known.binary_search(&interned.id())
            {
                self.known.insert(at, interned.id());
                *name = Name::Own(interned);
                found = true;
            }
        }
        found
    }

    /// Whether any series went.
    fn read_gone(&mut self, reader: &mut Reader<'_>) -> Result<bool, FrameError> {
        let n = reader.u64()?;
        if n > self.names.len() as u64 {
            return Err(FrameError::invalid(format!("{n} series go of {}", self.names.len())));
        }
        let mut next = 0;
        for _ in 0..n {
            let number = read_gap(reader, next, self.names.len())?;
            if !bits::is_set(&self.present, number) {
                return Err(FrameError::invalid(format!(
                    "{} goes without having been there",
                    self.names[number].series()
                )));
            }
            self.present[number / 64] &= !(1 << (number % 64));
            next = number + 1;
        }
        Ok(n > 0)
    }

    fn read_values(
        &mut self,
        bytes: &Bytes,
        reader: &mut Reader<'_>,
        before: Option<&Before>,
    ) -> Result<Raw, FrameError> {
        let n = reader.u64()?;
        if n > self.names.len() as u64 {
            return Err(FrameError::invalid(format!("{n} values for {} series", self.names.len())));
        }
        let form = reader.byte()?;
        let mut raw = Raw {
            values: self.last.clone(),
            changed: vec![0; self.present.len()],
            histograms: Vec::new(),
            appeared: false,
        };
        match form {
            FORM_GAPS => {
                let mut next = 0;
                for _ in 0..n {
                    let number = read_gap(reader, next, self.names.len())?;
                    self.read_value(bytes, reader, number, before, &mut raw)?;
                    next = number + 1;
                }
            }
            FORM_BITMAP => {
                let bitmap = reader.take(self.names.len().div_ceil(8))?;
                let set = bitmap.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
                if set != n {
                    return Err(FrameError::invalid(format!("a bitmap with {set} bits for {n} values")));
                }
                for (at, &byte) in bitmap.iter().enumerate() {
                    let mut bits = byte;
                    while bits != 0 {
                        let number = at * 8 + bits.trailing_zeros() as usize;
                        bits &= bits - 1;
                        if number >= self.names.len() {
                            return Err(FrameError::invalid("a bitmap names a series that is not defined"));
                        }
                        self.read_value(bytes, reader, number, before, &mut raw)?;
                    }
                }
            }
            form => return Err(FrameError::invalid(format!("values of form {form}, known are 0 and 1"))),
        }
        Ok(raw)
    }

    fn read_value(
        &mut self,
        bytes: &Bytes,
        reader: &mut Reader<'_>,
        number: usize,
        before: Option<&Before>,
        raw: &mut Raw,
    ) -> Result<(), FrameError> {
        raw.appeared |= !bits::is_set(&self.present, number);
        bits::set(&mut self.present, number);
        let changed = match self.kinds[number] {
            Kind::Counter => {
                let increment = reader.u64()?;
                check_counter(|| self.names[number].series(), increment)?;
                // At most 2^40 by the check.
                raw.values[number] = increment as i64;
                increment > 0
            }
            Kind::Gauge => {
                let value = self.last[number].wrapping_add(reader.i64()?);
                check_gauge(|| self.names[number].series(), value)?;
                let was = before.map_or(self.last[number], |before| before.last[number]);
                (self.last[number], raw.values[number]) = (value, value);
                value != was
            }
            Kind::Histogram => {
                let sparse = reader.bytes(limits::MESSAGE_BYTES_MAX)?;
                let histogram = Histogram::decode(sparse)
                    .map_err(|error| FrameError::invalid(format!("{}: {error}", self.names[number].series())))?;
                check_histogram(|| self.names[number].series(), &histogram)?;
                let changed = !histogram.is_empty();
                if changed {
                    raw.histograms.push((number as u32, Arc::new(histogram), bytes.slice_ref(sparse)));
                }
                changed
            }
        };
        if changed {
            bits::set(&mut raw.changed, number);
        }
        Ok(())
    }
}

/// What a keyframe set aside.
struct Before {
    last: Vec<i64>,
    present: Vec<u64>,
}

fn read_gap(reader: &mut Reader<'_>, next: usize, dictionary: usize) -> Result<usize, FrameError> {
    let gap = reader.u64()?;
    match (next as u64).checked_add(gap) {
        Some(number) if number < dictionary as u64 => Ok(number as usize),
        _ => Err(FrameError::invalid(format!("a series beyond the {dictionary} that are defined"))),
    }
}

/// A series as [`put_series`](super::put_series) wrote it, not yet checked and not yet built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesText<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Decimal digits of fixed point.
    pub scale: u8,
    /// Its name.
    pub name: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// Its attributes, in the order they stand in.
    pub attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> SeriesText<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// [`FrameError::Invalid`], naming what is wrong and the limit.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, FrameError> {
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
        Ok(Self { kind, scale: byte >> 2, name, unit, attributes })
    }
}

/// Reads a series as [`put_series`](super::put_series) wrote it.
///
/// # Errors
/// [`FrameError::Invalid`], naming what is wrong and the limit.
pub fn read_series(reader: &mut Reader<'_>, scope: Scope) -> Result<Series, FrameError> {
    let text = SeriesText::read(reader)?;
    Series::application(text.name, &text.attributes, text.kind, text.unit, text.scale, scope)
        .map_err(|error| FrameError::invalid(error.to_string()))
}

fn read_text<'a>(reader: &mut Reader<'a>, limit: usize) -> Result<&'a str, FrameError> {
    let bytes = reader.bytes(limit)?;
    std::str::from_utf8(bytes).map_err(|_| FrameError::invalid("a text that is not UTF-8"))
}
