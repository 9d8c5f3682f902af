//! The sign of life of judging. Pure.

/// What was judged, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    /// The second that was judged last.
    pub judged_tick: u32,
    /// Rules in force.
    pub rules: u32,
    /// Open episodes.
    pub open: u32,
    /// Of these silenced or acknowledged.
    pub quiet: u32,
    /// Nodes in that second.
    pub nodes_reporting: u32,
    /// Nodes expected in it.
    pub nodes_expected: u32,
}

/// Judging that stood still for longer is no life, in milliseconds. A beat is at most so late after the last second.
const FRESH: u64 = 12_000;

/// One heartbeat. Time is in milliseconds of a clock that never steps: a wall clock that is set back must not end it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heartbeat {
    last: Pulse,
    /// When another second was judged.
    moved: Option<u64>,
    sent: Option<u64>,
}

impl Heartbeat {
    /// Takes in what was judged.
    pub fn judged(&mut self, pulse: Pulse, now: u64) {
        if pulse.judged_tick != self.last.judged_tick {
            self.moved = Some(now);
        }
        self.last = pulse;
    }

    /// What is to be sent now, if anything: every `every` milliseconds while seconds are judged by at least one rule.
    pub fn beat(&mut self, every: u64, now: u64) -> Option<Pulse> {
        let lives = self.last.rules > 0 && self.moved.is_some_and(|moved| now.saturating_sub(moved) <= FRESH);
        let due = self.sent.is_none_or(|sent| now.saturating_sub(sent) >= every);
        if !lives || !due {
            return None;
        }
        self.sent = Some(now);
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beats_while_seconds_are_judged_and_ends_with_them() {
        let (mut heart, mut beats) = (Heartbeat::default(), Vec::new());
        for second in 0_u64..60 {
            let now = second * 1_000;
            if second < 30 {
                // The wall clock is set back by an hour at 15.
                let tick = 10_000 + second as u32 - if second >= 15 { 3_600 } else { 0 };
                heart.judged(Pulse { judged_tick: tick, rules: 3, ..Pulse::default() }, now);
            }
            if heart.beat(10_000, now).is_some() {
                beats.push(second);
            }
        }
        assert_eq!(beats, [0, 10, 20, 30, 40]);
    }

    #[test]
    fn without_rules_or_with_the_same_second_again_there_is_no_life() {
        let mut heart = Heartbeat::default();
        heart.judged(Pulse { judged_tick: 7, ..Pulse::default() }, 0);
        assert_eq!(heart.beat(1_000, 0), None);
        let pulse = Pulse { judged_tick: 8, rules: 1, ..Pulse::default() };
        heart.judged(pulse, 1_000);
        assert_eq!(heart.beat(1_000, 1_000), Some(pulse));
        heart.judged(pulse, 30_000);
        assert_eq!(heart.beat(1_000, 30_000), None);
    }
}
