//! What may go: whole segments, the oldest first.

use std::{ops::Range, sync::PoisonError};

use super::{Store, insert};
use crate::{disk::FileError, segment::SegmentId, shelf::SegmentInfo};

/// How much of a tier is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierLimit {
    /// The tier.
    pub tier: u8,
    /// At least the newest so many seconds **that have data** are kept, and no segment that is older than them.
    /// `None`: time deletes nothing.
    pub seconds: Option<u32>,
    /// At most so many bytes on disk, plus one segment: segments and the notes of corrupt blocks; of tier 0, whose open
    /// part it holds, the log too. `None`: size deletes nothing.
    pub bytes: Option<u64>,
    /// What ends after this second does not go by time, only by bytes: something is still to be made of it.
    pub needed_from: Option<u32>,
}

/// What [`Store::retain`] did.
#[derive(Debug, Default)]
pub struct Retained {
    /// The segments that were deleted.
    pub removed: Vec<SegmentInfo>,
    /// Segments that should have been; they are still there.
    pub failed: Vec<FileError>,
}

impl Store {
    /// Deletes the segments that `limits` leave no place for, and of them only such as end at or before `settled`, Unix
    /// time, the newest second that is known to be final. A segment goes when its age **and** the time with data after it
    /// are both over the limit: a clock that runs a year ahead for ten minutes makes ten minutes of data and so deletes at
    /// most ten minutes more, and a cluster that was down for a week still has its last day. Segments that end after
    /// `settled` neither go nor count as newer data.
    ///
    /// What somebody still holds stays readable for him, and its bytes are free when he lets go.
    pub fn retain(&self, settled: u32, limits: &[TierLimit]) -> Retained {
        let mut done = Retained::default();
        for limit in limits {
            let segments = self.segments(limit.tier);
            let log = if limit.tier == 0 { self.log.stats().bytes } else { 0 };
            let beside = self.quarantine.disk_bytes(limit.tier) + log;
            let ids = expired(&segments, settled, *limit, beside);
            if ids.is_empty() {
                continue;
            }
            let mut gone = Vec::new();
            self.segments.write().unwrap_or_else(PoisonError::into_inner).retain(|segment| {
                let goes = ids.contains(&segment.name.id);
                gone.extend(goes.then(|| segment.clone()));
                !goes
            });
            for segment in gone {
                match segment.remove(&*self.disk) {
                    Ok(()) => {
                        self.forget(&segment);
                        done.removed.push(segment.info());
                    }
                    Err(error) => {
                        insert(&mut self.segments.write().unwrap_or_else(PoisonError::into_inner), segment);
                        done.failed.push(error);
                    }
                }
            }
        }
        done
    }
}

/// The segments of a tier that go. `beside`: bytes that count for it and are no segments.
fn expired(segments: &[SegmentInfo], settled: u32, limit: TierLimit, beside: u64) -> Vec<SegmentId> {
    let mut past: Vec<&SegmentInfo> = segments.iter().filter(|segment| segment.window.end <= settled).collect();
    past.sort_by_key(|segment| (segment.window.end, segment.id));
    let mut gone = 0;
    if let Some(seconds) = limit.seconds {
        let covered = Covered::new(&past);
        let old = |segment: &&SegmentInfo| {
            let end = segment.window.end;
            limit.needed_from.is_none_or(|needed| end <= needed)
                && settled - end >= seconds
                && covered.after(end) >= u64::from(seconds)
        };
        gone = past.iter().take_while(|segment| old(segment)).count();
    }
    if let Some(limit) = limit.bytes {
        let all: u64 = beside + segments.iter().map(|segment| segment.bytes).sum::<u64>();
        let mut left = all - past[..gone].iter().map(|segment| segment.bytes).sum::<u64>();
        while left > limit && gone + 1 < past.len() {
            left -= past[gone].bytes;
            gone += 1;
        }
    }
    past[..gone].iter().map(|segment| segment.id).collect()
}

/// The seconds that segments cover, each once.
struct Covered {
    /// Apart and ascending, each with the seconds covered from its start to the end of all.
    spans: Vec<(Range<u32>, u64)>,
}

impl Covered {
    fn new(segments: &[&SegmentInfo]) -> Covered {
        let mut windows: Vec<Range<u32>> = segments.iter().map(|segment| segment.window.clone()).collect();
        windows.sort_by_key(|window| window.start);
        let mut spans: Vec<(Range<u32>, u64)> = Vec::new();
        for window in windows {
            match spans.last_mut() {
                Some((last, _)) if window.start <= last.end => last.end = last.end.max(window.end),
                _ => spans.push((window, 0)),
            }
        }
        let mut after = 0;
        for (span, from_start) in spans.iter_mut().rev() {
            after += u64::from(span.end - span.start);
            *from_start = after;
        }
        Covered { spans }
    }

    fn after(&self, second: u32) -> u64 {
        let at = self.spans.partition_point(|(span, _)| span.end <= second);
        let Some((span, from_start)) = self.spans.get(at) else { return 0 };
        from_start - u64::from(second.saturating_sub(span.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 86_400;
    const NOW: u32 = 1_700_000_000 / 300 * 300;

    /// One segment of 100 bytes each five minutes.
    fn segments(range: Range<u32>) -> Vec<SegmentInfo> {
        range.step_by(300).enumerate().map(|(at, start)| segment(at as u32 + start, start)).collect()
    }

    fn segment(number: u32, start: u32) -> SegmentInfo {
        SegmentInfo { id: SegmentId::new(number, 0), tier: 0, window: start..start + 300, bytes: 100 }
    }

    fn kept(segments: &[SegmentInfo], settled: u32, limit: (Option<u32>, Option<u64>), beside: u64) -> Vec<u32> {
        let limit = TierLimit { tier: 0, seconds: limit.0, bytes: limit.1, needed_from: None };
        let gone = expired(segments, settled, limit, beside);
        segments.iter().filter(|segment| !gone.contains(&segment.id)).map(|segment| segment.window.start).collect()
    }

    #[test]
    fn what_is_older_than_the_limit_goes_and_nothing_younger() {
        let all = segments(NOW - 2 * DAY..NOW);
        let left = kept(&all, NOW, (Some(DAY), None), 0);
        assert_eq!((left[0], left.len()), (NOW - DAY, 288));
        assert_eq!(kept(&all, NOW, (None, None), 0).len(), 576);
        assert_eq!(kept(&all, NOW, (Some(u32::MAX), None), 0).len(), 576);
    }

    /// Scenario 10: ten minutes with a clock a year ahead, then right again.
    #[test]
    fn a_clock_that_jumps_a_year_ahead_and_back_deletes_no_true_data() {
        let mut all = segments(NOW - DAY..NOW);
        let year = 365 * DAY;
        all.extend(segments(NOW + year..NOW + year + 600));
        // While it is ahead: the true day has less than a day of data after it but for its oldest ten minutes.
        let left = kept(&all, NOW + year + 600, (Some(DAY), None), 0);
        assert_eq!((left[0], left.len()), (NOW - DAY + 600, 288));
        // When it is right again the future neither goes nor counts.
        all.extend(segments(NOW + 600..NOW + 1200));
        let left = kept(&all, NOW + 1200, (Some(DAY), None), 0);
        assert_eq!((left[0], left.len()), (NOW - DAY + 600, 288 + 2));
        let left = kept(&all, NOW + 1200, (Some(DAY), Some(1)), 0);
        assert_eq!(left, [NOW + year, NOW + year + 300, NOW + 900], "by bytes neither");
    }

    #[test]
    fn after_a_week_without_data_the_last_day_is_still_there() {
        let mut all = segments(NOW - DAY..NOW);
        all.extend(segments(NOW + 7 * DAY..NOW + 7 * DAY + 600));
        assert_eq!(kept(&all, NOW + 7 * DAY + 600, (Some(DAY), None), 0).len(), 288);
    }

    /// Scenario 11, both runs.
    #[test]
    fn bytes_are_kept_with_all_that_counts_and_the_oldest_goes_first() {
        let all = segments(NOW - DAY..NOW);
        let left = kept(&all, NOW, (Some(DAY), Some(10_000)), 0);
        assert_eq!((left[0], left.len()), (NOW - 100 * 300, 100));
        assert_eq!(kept(&all, NOW, (Some(DAY), Some(10_000)), 2_500).len(), 75, "the log counts");
        assert_eq!(kept(&all, NOW, (Some(DAY), Some(30_000)), 0).len(), 288, "room for all: nothing goes");
        assert_eq!(kept(&all, NOW, (None, Some(0)), 5_000), [NOW - 300], "the newest stays");
        assert_eq!(kept(&all, NOW - DAY, (Some(0), Some(0)), 0).len(), 288, "nothing behind what is settled");
    }

    #[test]
    fn what_something_is_still_to_be_made_of_goes_by_bytes_alone() {
        let all = segments(NOW - 2 * DAY..NOW);
        let limit = |bytes| TierLimit { tier: 0, seconds: Some(300), bytes, needed_from: Some(NOW - DAY) };
        assert_eq!(expired(&all, NOW, limit(None), 0).len(), 288);
        assert_eq!(expired(&all, NOW, limit(Some(1_000)), 0).len(), 566);
    }

    #[test]
    fn windows_that_overlap_count_once() {
        let mut all = segments(NOW - DAY..NOW);
        all.extend(segments(NOW - DAY..NOW));
        assert_eq!(Covered::new(&all.iter().collect::<Vec<_>>()).after(0), u64::from(DAY));
        assert_eq!(Covered::new(&all.iter().collect::<Vec<_>>()).after(NOW - 450), 450);
        assert_eq!(Covered::new(&all.iter().collect::<Vec<_>>()).after(NOW), 0);
    }
}
