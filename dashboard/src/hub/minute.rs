//! What is added up over the last minute: flows that one second says too little about. One failure of five requests is no
//! ratio, and connections that failed compare with connections that were tried, never with sockets that are open now.

use std::collections::BTreeMap;

use starling_proto::catalogue::PROTOCOLS;

use super::sections::Second;

/// Seconds that are added up.
pub(crate) const SECONDS: u32 = 60;
/// Requests the minute must hold before a share of failures is said: one failure of five is no ratio.
const REQUESTS_MIN: f64 = 60.0;

/// Requests and failures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Errors {
    pub(crate) requests: f64,
    pub(crate) errors: f64,
}

impl Errors {
    /// Failed share, 0 to 1; `None` with too few requests to say.
    pub(crate) fn ratio(self) -> Option<f64> {
        (self.requests >= REQUESTS_MIN).then(|| self.errors / self.requests)
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
    }
}

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
    /// Of all protocols.
    pub(crate) all: Errors,
    /// In the order of [`PROTOCOLS`].
    protocols: [Errors; PROTOCOLS.len()],
    pub(crate) connections: Attempts,
}

impl LastMinute {
    /// A minute of which one second is known.
    pub(crate) fn of(second: &Second) -> Self {
        let mut all = Self::default();
        if let Some(traffic) = second.traffic() {
            all.all = Errors { requests: traffic.requests_per_second(), errors: traffic.errors_per_second() };
            for is in &traffic.protocols {
                if let Some(place) = PROTOCOLS.iter().position(|name| *name == is.protocol) {
                    all.protocols[place] =
                        Errors { requests: is.requests_per_second(), errors: is.errors_per_second() };
                }
            }
        }
        if let Some(connections) = second.connections() {
            all.connections = Attempts {
                opened: connections.opened_per_second,
                failed: connections.error,
                reset: connections.resets_per_second,
            };
        }
        all
    }

    /// Requests and failures of a protocol.
    pub(crate) fn protocol(&self, name: &str) -> Errors {
        PROTOCOLS.iter().position(|is| *is == name).map(|place| self.protocols[place]).unwrap_or_default()
    }

    /// Adds the second after it. The failed connections are a sum over a minute already.
    fn then(&mut self, next: &Self) {
        self.all.add(next.all);
        for (sum, is) in self.protocols.iter_mut().zip(next.protocols) {
            sum.add(is);
        }
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

    fn second(tick: u32, requests: f64, errors: f64) -> Second {
        let grpc = v1::ProtocolTraffic {
            protocol: "grpc".into(),
            requests_per_second: Some(requests),
            errors_per_second: Some(errors),
            ..Default::default()
        };
        let traffic = v1::Traffic {
            requests_per_second: Some(requests),
            errors_per_second: Some(errors),
            protocols: vec![grpc],
            ..Default::default()
        };
        let connections = v1::Connections {
            opened_per_second: Some(10.0),
            resets_per_second: Some(1.0),
            error: Some(f64::from(tick)),
            ..Default::default()
        };
        let sections = v1::Sections { traffic: Some(traffic), connections: Some(connections), ..Default::default() };
        Second::Cluster(Box::new(v1::ClusterView { tick, sections: Some(sections), ..Default::default() }))
    }

    #[test]
    fn a_minute_is_sixty_seconds_whatever_their_order() {
        let mut minute = Minute::default();
        for tick in (1..=100).rev() {
            minute.apply(&second(tick, 2.0, 1.0));
        }
        let sum = minute.sum();
        assert_eq!(sum.all, Errors { requests: 120.0, errors: 60.0 });
        assert_eq!((sum.protocol("grpc"), sum.protocol("http1")), (sum.all, Errors::default()));
        // Flows are added up; what the nodes added up already is not added again.
        let Attempts { opened, failed, reset } = sum.connections;
        assert_eq!((opened, reset, failed), (Some(600.0), Some(60.0), Some(100.0)));
        minute.apply(&second(100, 2.0, 2.0));
        assert_eq!(minute.sum().all.errors, 61.0, "a corrected second replaces itself");
        minute.apply(&second(500, 1.0, 0.0));
        assert_eq!(minute.sum().all.requests, 1.0, "what is older is forgotten");
    }

    #[test]
    fn few_requests_say_nothing() {
        assert_eq!(Errors { requests: 59.0, errors: 59.0 }.ratio(), None);
        assert_eq!(Errors { requests: 80.0, errors: 1.0 }.ratio(), Some(0.0125));
        assert_eq!(Minute::default().sum().connections, Attempts::default(), "nothing is not zero");
    }
}
