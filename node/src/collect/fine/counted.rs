//! What devices have moved, added up from look to look.

use super::super::sink::{Baseline, Step};

/// Looks between two at what stands on what: ten seconds by default.
pub(super) const LINKS_EVERY_LOOKS: u32 = 100;

/// Bytes in each direction.
pub(super) type Both = [Baseline; 2];

/// Adds what was moved since the look before. A device that is new, or whose counters went back, moved nothing.
pub(super) fn count(before: &mut Both, now: [u64; 2], total: &mut [u64; 2]) {
    for direction in 0..2 {
        if let Step::Increment(bytes) = before[direction].advance(now[direction]) {
            total[direction] = total[direction].saturating_add(bytes);
        }
    }
}
