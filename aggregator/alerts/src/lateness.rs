//! How many of the last evaluations were missed.

/// Evaluations that are looked back on.
const LAST: u32 = 60;

/// The last 60 evaluations of a rule, or of all that are judged each second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed {
    /// The newest in the lowest bit; 1 for one that was missed.
    bits: u64,
    seen: u32,
}

impl Missed {
    /// So many were missed, then one was made.
    pub fn made_after(&mut self, missed: u32) {
        let missed_now = missed.min(LAST);
        self.bits =
            if missed_now == 0 { self.bits << 1 } else { ((self.bits << missed_now) | ((1 << missed_now) - 1)) << 1 };
        self.bits &= (1 << LAST) - 1;
        self.seen = self.seen.saturating_add(missed.saturating_add(1)).min(LAST);
    }

    /// How many were missed.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.bits.count_ones()
    }

    /// "14 of 60 missed".
    #[must_use]
    pub fn text(self) -> String {
        format!("{} of {} missed", self.count(), self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_is_counted() {
        let mut missed = Missed::default();
        missed.made_after(0);
        assert_eq!(missed.text(), "0 of 1 missed");
        (0..14).for_each(|_| missed.made_after(1));
        assert_eq!(missed.text(), "14 of 29 missed");
        (0..60).for_each(|_| missed.made_after(0));
        assert_eq!(missed.text(), "0 of 60 missed");
        missed.made_after(1_000);
        assert_eq!(missed.text(), "59 of 60 missed");
    }
}
