//! What is added up over the last minute: connections that failed compare with connections that were tried, never with
//! sockets that are open now.

use std::collections::BTreeMap;

use super::sections::Second;

/// Seconds that are added up.
pub(crate) const SECONDS: u32 = 60;
/// TCP connections that were tried and that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Attempts {
    /// Opened or tried, both directions; `None` when no second of the minute reported it.
    pub(crate) opened: Option<f64>,
    /// Refused, unanswered, reset or timed out, as the nodes add it up over their last minute.
    pub(crate) failed: Option<f64>,
    /// Of the failed: those that were established before.
    pub(crate) reset: Option<f64>,
}

/// One minute, or what there is of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LastMinute {
    pub(crate) connections: Attempts,
}

impl LastMinute {
    /// A minute of which one second is known.
    pub(crate) fn of(second: &Second) -> Self {
        let mut all = Self::default();
        if let Some(connections) = second.connections() {
            all.connections = Attempts {
                opened: connections.opened_per_second,
                failed: connections.error,
                reset: connections.resets_per_second,
            };
        }
        all
    }

    /// Adds the second after it. The failed connections are a sum over a minute already.
    fn then(&mut self, next: &Self) {
        let sum = |a: Option<f64>, b: Option<f64>| if a.is_none() { b } else { a.zip(b).map(|(a, b)| a + b).or(a) };
        let (before, now) = (self.connections, next.connections);
        self.connections = Attempts {
            opened: sum(before.opened, now.opened),
            failed: now.failed.or(before.failed),
            reset: sum(before.reset, now.reset),
        };
    }
}

/// The seconds of the last minute of a series. Holds at most [`SECONDS`] of them.
#[derive(Debug, Default)]
pub(crate) struct Minute(BTreeMap<u32, LastMinute>);

impl Minute {
    /// Takes in a second, for the first time or corrected; one that is more than a minute before the newest is none of it.
    pub(crate) fn apply(&mut self, second: &Second) {
        self.0.insert(second.tick(), LastMinute::of(second));
        let newest = self.0.last_key_value().map_or(0, |(tick, _)| *tick);
        self.0 = self.0.split_off(&(newest + 1).saturating_sub(SECONDS));
    }

    /// All of it together.
    pub(crate) fn sum(&self) -> LastMinute {
        let mut sum = LastMinute::default();
        self.0.values().for_each(|second| sum.then(second));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::v1;

    fn second(tick: u32, opened: f64) -> Second {
        let connections = v1::Connections {
            opened_per_second: Some(opened),
            resets_per_second: Some(1.0),
            error: Some(f64::from(tick)),
            ..Default::default()
        };
        let sections = v1::Sections { connections: Some(connections), ..Default::default() };
        Second::Cluster(Box::new(v1::ClusterView { tick, sections: Some(sections), ..Default::default() }))
    }

    #[test]
    fn a_minute_is_sixty_seconds_whatever_their_order() {
        let mut minute = Minute::default();
        for tick in (1..=100).rev() {
            minute.apply(&second(tick, 10.0));
        }
        // Flows are added up; what the nodes added up already is not added again.
        let Attempts { opened, failed, reset } = minute.sum().connections;
        assert_eq!((opened, reset, failed), (Some(600.0), Some(60.0), Some(100.0)));
        minute.apply(&second(100, 11.0));
        assert_eq!(minute.sum().connections.opened, Some(601.0), "a corrected second replaces itself");
        minute.apply(&second(500, 1.0));
        assert_eq!(minute.sum().connections.opened, Some(1.0), "what is older is forgotten");
        assert_eq!(Minute::default().sum().connections, Attempts::default(), "nothing is not zero");
    }
}
