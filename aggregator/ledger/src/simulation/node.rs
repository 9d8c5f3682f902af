//! A node as the ledger sees it: frames kept until they are acknowledged, each with its pin.

use std::collections::{BTreeMap, BTreeSet};

use starling_proto::{
    catalogue::{self, Kind, Scope, SectionSet},
    histogram::HistogramSum,
    ids::{NodeId, StreamId, WriterId},
    series::{Sample, Series, Value},
};

use super::rng::Rng;
use crate::rollup::{Busy, Cores};
use starling_proto::group::Group;

/// Name of a frame.
pub(super) type Dot = (StreamId, u32);

/// What the node recorded of the first offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pin {
    /// Never offered.
    Free,
    To(WriterId),
    /// The record was lost.
    Unknown,
}

/// One frame.
#[derive(Debug)]
pub(super) struct Cut {
    /// Whose it is.
    pub(super) node: usize,
    pub(super) samples: Vec<Sample>,
    pub(super) cores: Cores,
}

impl Cut {
    /// A frame of `node`. Its cores follow from its samples; many are equally busy.
    pub(super) fn of(node: usize, samples: Vec<Sample>) -> Self {
        let seed = samples.iter().find_map(|sample| match sample.value {
            Value::Counter(increment) => Some(increment),
            _ => None,
        });
        let mut rng = Rng::new(seed.unwrap_or_default());
        let cores = (0..rng.below(4) as u32).map(|core| Busy { core, share: 2_500 * rng.below(5) as u16 });
        let cores = Cores::busiest(cores.collect::<Vec<_>>().into_iter());
        Self { node, samples, cores }
    }

    /// What it reports, by its samples.
    pub(super) fn sections(&self) -> SectionSet {
        self.samples.iter().fold(SectionSet::NONE, |all, sample| {
            let sections = catalogue::find(sample.series.name()).map_or(SectionSet::NONE, SectionSet::of_metric);
            let empty = matches!(&sample.value, Value::Histogram(histogram) if histogram.count() == 0);
            all.and(if empty { sections.without_values() } else { sections })
        })
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    /// Which aggregator.
    pub(super) slot: usize,
    /// Which process of it.
    pub(super) writer: WriterId,
    /// Sent on this connection.
    pub(super) sent: BTreeSet<Dot>,
}

#[derive(Debug)]
pub(super) struct SimulatedNode {
    pub(super) id: NodeId,
    pub(super) groups: Vec<Group>,
    pub(super) stream: StreamId,
    pub(super) last_tick: u32,
    pub(super) kept: BTreeMap<Dot, Pin>,
    pub(super) connection: Option<Connection>,
}

impl SimulatedNode {
    pub(super) fn new(number: usize, rng: &mut Rng, many_groups: bool) -> Self {
        Self {
            id: NodeId::sanitised(&format!("node-{number}")),
            groups: if many_groups {
                vec![
                    Group::of("zone", &number.to_string()).unwrap(),
                    Group::of("rack", &(number / 2).to_string()).unwrap(),
                ]
            } else {
                vec![Group::parse(["zone:a", "zone:b"][number % 2]).unwrap()]
            },
            stream: StreamId::new(rng.bytes()),
            last_tick: 0,
            kept: BTreeMap::new(),
            connection: None,
        }
    }
}

/// Series that all nodes send.
#[derive(Debug)]
pub(super) struct Shapes {
    counter: Series,
    gauge: Series,
    distributed: Series,
    histogram: Series,
}

impl Shapes {
    pub(super) fn new() -> Self {
        Self {
            counter: Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]),
            gauge: Series::of(&catalogue::LOAD_5M, &[]),
            distributed: Series::of(&catalogue::CPU_UTILIZATION, &[]),
            histogram: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
        }
    }

    /// The content of one frame of `tick`. Most schedules leave out histograms, which cost a hundred times the rest.
    /// With `churn` names come and go.
    pub(super) fn frame(&self, rng: &mut Rng, tick: u32, histograms: bool, churn: bool) -> Vec<Sample> {
        let sample = |series: &Series, value| Sample { series: series.clone(), value };
        let mut samples = vec![
            // 40 random bits: two different sets of frames hardly ever have the same sum.
            sample(&self.counter, Value::Counter(rng.next() >> 24)),
            sample(&self.gauge, Value::Gauge((rng.next() >> 40).cast_signed() - (1 << 23))),
        ];
        if histograms {
            let mut histogram = HistogramSum::new();
            for _ in 0..rng.below(4) {
                histogram.record(rng.next() >> 30, 1);
            }
            samples.push(sample(&self.histogram, Value::Histogram(histogram.to_histogram().into())));
            samples.push(sample(&self.distributed, Value::Gauge(rng.below(10_000) as i64)));
        }
        if churn {
            let name = |n: u64| {
                let value = (u64::from(tick) / 4 + n).to_string();
                Series::application("jobs", &[("batch", &value)], Kind::Counter, "1", 0, Scope::Cluster).unwrap()
            };
            for n in 0..1 + rng.below(3) as u64 {
                samples.push(sample(&name(n), Value::Counter(rng.next() >> 40)));
            }
        }
        // A series that only some frames have.
        if rng.one_in(3) {
            samples.truncate(samples.len() - 1);
        }
        samples
    }
}
