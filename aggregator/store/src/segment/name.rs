//! The name of a segment's file says what opening a store must know, so that opening reads no segment.

use std::fmt;

/// Names a segment among all that a store ever had: a rising number (upper half) and 32 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub(crate) u64);

impl SegmentId {
    pub(crate) fn new(number: u32, salt: u32) -> SegmentId {
        SegmentId((u64::from(number) << 32) | u64::from(salt))
    }

    /// Rises with each segment that a store writes, in whatever tier.
    pub fn number(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// `START-END-ID-BYTES.seg`, with `-r` before the dot when the head lists segments that this one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) id: SegmentId,
    pub(crate) bytes: u64,
    pub(crate) replaces: bool,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SegmentName { start, end, id, bytes, replaces } = self;
        write!(f, "{start:010}-{end:010}-{id}-{bytes}{}.seg", if *replaces { "-r" } else { "" })
    }
}

impl SegmentName {
    pub(crate) fn parse(name: &str) -> Option<SegmentName> {
        let stem = name.strip_suffix(".seg")?;
        let (stem, replaces) = stem.strip_suffix("-r").map_or((stem, false), |stem| (stem, true));
        let mut parts = stem.split('-');
        let parsed = SegmentName {
            start: parts.next()?.parse().ok()?,
            end: parts.next()?.parse().ok()?,
            id: SegmentId(u64::from_str_radix(parts.next()?, 16).ok()?),
            bytes: parts.next()?.parse().ok()?,
            replaces,
        };
        let right = parts.next().is_none() && parsed.start < parsed.end && parsed.to_string() == name;
        // Beyond any number a store reaches, and so that the next one exists.
        (right && parsed.id.number() < u32::MAX / 2).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_only_its_one_spelling_does() {
        for replaces in [false, true] {
            let name =
                SegmentName { start: 1_700_000_100, end: 1_700_000_400, id: SegmentId::new(3, 9), bytes: 77, replaces };
            assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        }
        for wrong in [
            "",
            "1-2-3-4.seg",
            "1700000400-1700000100-0000000300000009-77.seg",
            "1700000100-1700000400-0000000300000009-77.tmp",
            "1700000100-1700000400-0000000300000009-077.seg",
            "1700000100-1700000400-0000000300000009-77-x.seg",
            "1700000100-1700000400-ffffffff00000009-77.seg",
        ] {
            assert_eq!(SegmentName::parse(wrong), None, "{wrong}");
        }
    }
}
