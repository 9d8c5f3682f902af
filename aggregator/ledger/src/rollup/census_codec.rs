//! The bytes of `Merge.census` and `Raw.census`.
//!
//! ```text
//! form       1 byte   1
//! groups     varint
//! per group, by ascending number:
//!   number   varint   the first whole, then the distance to the one before less one
//!   frames   varint   0: all is the same as in the first group, and nothing follows
//!   counts   varints  frames by section, in the order of their numbers
//!   cores    varint   at most 8
//!   per core: varint busy share in ten-thousandths, varint number of the core, varint number of the stream
//! ```
//! Numbers of groups and streams are those of the log the entry stands in. No bytes at all are no census.

use starling_proto::{
    catalogue::Section,
    varint::{self, Reader},
};

use super::{
    census::{BUSIEST_MAX, Busy, NumberedCensus, NumberedCore, SHARE_MAX},
    codec::{CELLS_MAX, CodecError, next_number},
};

const FORM: u8 = 1;

/// The bytes of rows that ascend strictly by group.
#[must_use]
pub fn encode_census(rows: &[NumberedCensus]) -> Vec<u8> {
    let Some(first) = rows.first() else { return Vec::new() };
    let mut out = Vec::with_capacity(8 + rows.len() * 8);
    out.push(FORM);
    varint::put(&mut out, rows.len() as u64);
    let mut next_group = 0;
    for (place, row) in rows.iter().enumerate() {
        let group = u64::from(row.group);
        varint::put(&mut out, group - next_group);
        next_group = group + 1;
        if place > 0 && (row.frames, row.counts, &row.cores) == (first.frames, first.counts, &first.cores) {
            varint::put(&mut out, 0);
            continue;
        }
        varint::put(&mut out, u64::from(row.frames));
        row.counts.iter().for_each(|count| varint::put(&mut out, u64::from(*count)));
        varint::put(&mut out, row.cores.len() as u64);
        for core in &row.cores {
            varint::put(&mut out, u64::from(core.busy.share));
            varint::put(&mut out, u64::from(core.busy.core));
            varint::put(&mut out, u64::from(core.stream));
        }
    }
    out
}

/// Reads exactly one census.
///
/// # Errors
/// [`CodecError`], naming what is wrong.
pub fn decode_census(bytes: &[u8]) -> Result<Vec<NumberedCensus>, CodecError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(bytes);
    let form = reader.byte()?;
    if form != FORM {
        return Err(CodecError::Form(form));
    }
    let groups = reader.u64()?;
    // A group takes at least 2 bytes.
    if groups == 0 || groups > (reader.rest().len() / 2).min(CELLS_MAX) as u64 {
        return Err(CodecError::Count(groups));
    }
    let mut rows: Vec<NumberedCensus> = Vec::with_capacity(groups as usize);
    let mut next_group = 0;
    for _ in 0..groups {
        let group = next_number(&mut next_group, reader.u64()?)?;
        let row = match number(&mut reader)? {
            0 => NumberedCensus { group, ..rows.first().cloned().ok_or(CodecError::Count(0))? },
            frames => decode_group(&mut reader, group, frames)?,
        };
        rows.push(row);
    }
    if reader.is_empty() { Ok(rows) } else { Err(CodecError::Trailing(reader.rest().len())) }
}

fn decode_group(reader: &mut Reader<'_>, group: u32, frames: u32) -> Result<NumberedCensus, CodecError> {
    let mut counts = [0; Section::ALL.len()];
    for count in &mut counts {
        *count = number(reader)?;
        if *count > frames {
            return Err(CodecError::Count(u64::from(*count)));
        }
    }
    let many = reader.u64()?;
    if many > BUSIEST_MAX as u64 {
        return Err(CodecError::Count(many));
    }
    let mut cores = Vec::with_capacity(many as usize);
    for _ in 0..many {
        let share = reader.u64()?;
        let share = u16::try_from(share).ok().filter(|share| *share <= SHARE_MAX).ok_or(CodecError::Share(share))?;
        let busy = Busy { share, core: number(reader)? };
        cores.push(NumberedCore { busy, stream: number(reader)? });
    }
    Ok(NumberedCensus { group, frames, counts, cores })
}

fn number(reader: &mut Reader<'_>) -> Result<u32, CodecError> {
    let number = reader.u64()?;
    u32::try_from(number).map_err(|_| CodecError::Count(number))
}
