//! How much of a step there is.

/// What is known of one step of a subject. A step of which nothing is known has none: missing is never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Seconds of the step with data.
    pub seconds: u32,
    /// Nodes that reported, in the second with the fewest; 1 of a node.
    pub nodes_reporting: u32,
    /// Nodes that were expected, in the second with the most; 1 of a node. 0 when their number is not known.
    pub nodes_expected: u32,
    /// Samples that were lost on the way.
    pub dropped: u64,
}

/// A version of one step: what says which of several is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Seconds with data; 0 for nothing.
    pub seconds: u32,
    /// A later version of the same seconds has a higher one.
    pub revision: u64,
}

impl Step {
    /// Of two versions that of the higher rank is kept. What is merged over nodes is counted again as frames come, so that a
    /// newer version knows more; a second of a node never changes, so that whoever has more of them knows more.
    #[must_use]
    pub const fn rank(self, merged: bool) -> (u64, u64) {
        let seconds = self.seconds as u64;
        if merged { (self.revision, seconds) } else { (seconds, self.revision) }
    }
}

impl Coverage {
    /// One second.
    #[must_use]
    pub const fn second(nodes_reporting: u32, nodes_expected: u32, dropped: u64) -> Self {
        Self { seconds: 1, nodes_reporting, nodes_expected, dropped }
    }

    /// Adds other seconds of the same subject.
    pub fn append(&mut self, other: &Self) {
        let silent = |one: &Self| one.seconds == 0 || one.nodes_expected == 0;
        self.nodes_reporting = match (silent(self), silent(other)) {
            (true, _) => other.nodes_reporting,
            (_, true) => self.nodes_reporting,
            _ => self.nodes_reporting.min(other.nodes_reporting),
        };
        self.seconds = self.seconds.saturating_add(other.seconds);
        self.nodes_expected = self.nodes_expected.max(other.nodes_expected);
        self.dropped = self.dropped.saturating_add(other.dropped);
    }

    /// Adds the same step of another node, or of nodes that are not yet in it.
    pub fn add_over_nodes(&mut self, other: &Self) {
        self.seconds = self.seconds.max(other.seconds);
        self.nodes_reporting = self.nodes_reporting.saturating_add(other.nodes_reporting);
        self.nodes_expected = self.nodes_expected.saturating_add(other.nodes_expected);
        self.dropped = self.dropped.saturating_add(other.dropped);
    }

    /// The share of what a step of `step` seconds could hold, 0 to 1: seconds with data, each as complete as the one with
    /// the fewest nodes.
    #[must_use]
    pub fn completeness(&self, step: u32) -> f64 {
        let nodes = if self.nodes_expected == 0 {
            1.0
        } else {
            (f64::from(self.nodes_reporting) / f64::from(self.nodes_expected)).min(1.0)
        };
        (f64::from(self.seconds) / f64::from(step.max(1))).min(1.0) * nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_takes_the_worst_second_and_nodes_add_up() {
        let mut over_time = Coverage::default();
        for second in [Coverage::second(10, 10, 0), Coverage::second(8, 10, 3), Coverage::second(9, 12, 0)] {
            over_time.append(&second);
        }
        assert_eq!(over_time, Coverage { seconds: 3, nodes_reporting: 8, nodes_expected: 12, dropped: 3 });
        assert!((over_time.completeness(4) - 0.75 * 8.0 / 12.0).abs() < 1e-12);
        let mut over_nodes = Coverage::second(1, 1, 0);
        over_nodes.add_over_nodes(&Coverage { seconds: 1, nodes_reporting: 0, nodes_expected: 1, dropped: 0 });
        assert!((over_nodes.completeness(1) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn an_hour_with_sixty_seconds_is_not_an_hour() {
        // Scenario 50: 3,660 of 7,200 seconds.
        let mut both = Coverage { seconds: 3_600, nodes_reporting: 1, nodes_expected: 1, dropped: 0 };
        both.append(&Coverage { seconds: 60, ..both });
        assert!((both.completeness(7_200) - 0.508_333).abs() < 1e-6);
    }
}
