//! How a sum says who is in it: every start of a node has one base-4 digit of one protocol's requests.

use std::{collections::BTreeMap, sync::Arc};

use starling_proto::{
    catalogue::{self, PROTOCOLS},
    frame::Content,
    histogram::Histogram,
    series::{Sample, Series, Value},
    v1::ClusterView,
};

/// Digits of one protocol: 3 x 4^19 is below the largest increment of a counter, 2^40, and the sum of all is exact
/// as a double.
const PLACES: usize = 20;

/// The place of one start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digit(usize);

impl Digit {
    /// How many there are.
    pub const ALL: usize = PLACES * PROTOCOLS.len();

    /// The digit of a number; `None` when there are not so many.
    #[must_use]
    pub fn of(number: usize) -> Option<Self> {
        (number < Self::ALL).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> usize {
        self.0
    }

    /// What the start sends each second: its digit, one error, one request of `4^place` nanoseconds.
    #[must_use]
    pub fn content(self, tick: u32) -> Content {
        let attributes = [("protocol", PROTOCOLS[self.0 / PLACES])];
        let value = 4u64.pow((self.0 % PLACES) as u32);
        let sample = |metric, value| Sample { series: Series::of(metric, &attributes), value };
        let samples = vec![
            sample(&catalogue::REQUESTS, Value::Counter(value)),
            sample(&catalogue::ERRORS, Value::Counter(1)),
            sample(&catalogue::DURATION, Value::Histogram(Arc::new(Histogram::of(1_000_000, 1)))),
        ];
        Content { tick, samples, dropped: 0 }
    }
}

/// What a second says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// How often each start is in it, at most 3 as far as this can see; starts that are not in it are left out.
    pub times: BTreeMap<Digit, u8>,
    /// Errors: one a frame.
    pub errors: u64,
    /// Values in the merged histogram: one a frame.
    pub values: u64,
}

impl Sum {
    /// Reads a view.
    #[must_use]
    pub fn of(view: &ClusterView) -> Self {
        let mut sum = Self::default();
        let Some(traffic) = view.sections.as_ref().and_then(|sections| sections.traffic.as_ref()) else { return sum };
        sum.errors = traffic.errors_per_second() as u64;
        sum.values = traffic.latency.as_ref().map_or(0, |latency| latency.count as u64);
        for protocol in &traffic.protocols {
            let Some(at) = PROTOCOLS.iter().position(|name| *name == protocol.protocol) else { continue };
            let requests = protocol.requests_per_second() as u64;
            for place in 0..PLACES {
                let times = (requests >> (2 * place) & 3) as u8;
                if times > 0 {
                    sum.times.insert(Digit(at * PLACES + place), times);
                }
            }
        }
        sum
    }

    /// What is wrong with it whoever is in it: somebody twice, or parts of a frame without the rest.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let twice: Vec<_> = self.times.iter().filter(|(_, times)| **times > 1).collect();
        if !twice.is_empty() {
            return Some(format!("counted twice: {twice:?}"));
        }
        let frames = self.times.len() as u64;
        (self.errors != frames || self.values != frames)
            .then(|| format!("{frames} frames, {} errors, {} values", self.errors, self.values))
    }
}

#[cfg(test)]
mod tests {
    use starling_proto::v1::{Latency, ProtocolTraffic, Sections, Traffic};

    use super::*;

    fn view(starts: &[usize]) -> ClusterView {
        let mut protocols = BTreeMap::<&str, f64>::new();
        for &start in starts {
            let content = Digit::of(start).unwrap().content(1);
            let Value::Counter(requests) = content.samples[0].value else { panic!("a counter") };
            *protocols.entry(PROTOCOLS[start / PLACES]).or_default() += requests as f64;
        }
        let protocols = protocols.into_iter().map(|(protocol, requests)| ProtocolTraffic {
            protocol: protocol.into(),
            requests_per_second: Some(requests),
            ..ProtocolTraffic::default()
        });
        let n = starts.len() as f64;
        let traffic = Traffic {
            errors_per_second: Some(n),
            latency: Some(Latency { count: n, ..Latency::default() }),
            protocols: protocols.collect(),
            ..Traffic::default()
        };
        let sections = Sections { traffic: Some(traffic), ..Sections::default() };
        ClusterView { sections: Some(sections), ..ClusterView::default() }
    }

    #[test]
    fn every_start_differs_from_every_other() {
        let all: Vec<usize> = (0..Digit::ALL).collect();
        let sum = Sum::of(&view(&all));
        assert_eq!(sum.times.len(), Digit::ALL);
        assert_eq!(sum.wrong(), None);
        assert_eq!(Sum::of(&view(&[0, 19, 20])).times.keys().map(|d| d.number()).collect::<Vec<_>>(), [0, 19, 20]);
        assert!(Digit::of(Digit::ALL).is_none());
        let largest = Digit::of(Digit::ALL - 1).unwrap().content(1);
        largest.check().unwrap();
    }

    #[test]
    fn twice_and_torn_are_wrong() {
        assert!(Sum::of(&view(&[3, 3, 4])).wrong().unwrap().contains("twice"));
        let mut torn = view(&[3, 4]);
        torn.sections.as_mut().unwrap().traffic.as_mut().unwrap().errors_per_second = Some(1.0);
        assert!(Sum::of(&torn).wrong().unwrap().contains("1 errors"));
    }
}
