//! Writes a synthetic past into the folder of an aggregator that is not running, faster than it would pass: the seconds that the
//! nodes of `starling-scale` send, by the project's own sealing and rolling up. So questions over an hour, a day and a week
//! can be measured without waiting for them. The past ends at a window of 300 s that is still to come: start the aggregator
//! and the nodes a little before, and it goes on without a hole.

use std::{
    error::Error,
    ops::Range,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use clap::Parser;
use starling_history::{Block, BlockBuilder, Coverage, SecondValue, Subject, Tier, roll_up};
use starling_proto::{
    catalogue::{self, Kind, Scope},
    frame::Content,
    histogram::{Histogram, HistogramSum},
    ids::NodeId,
    limits::LATE_WINDOW,
    series::{Sample, Series, Value},
    varint::{self, Reader},
};
use starling_store::{BlockKey, Options, Store};
use starling_tests::swarm::Shape;

/// As many as `starling-scale` has, of the same seed: node `i` sends the `i`-th.
const TEMPLATES: usize = 16;
const HOUR: u32 = 3_600;
const WINDOW: u32 = 300;

/// Writes a synthetic past.
#[derive(Debug, Parser)]
struct Arguments {
    /// `state_dir` of an aggregator that does not run.
    #[arg(long)]
    state_dir: PathBuf,
    /// Where it ends, Unix seconds, on a multiple of 300; by default the next one that is a minute away.
    #[arg(long)]
    end: Option<u32>,
    /// Nodes.
    #[arg(long, default_value_t = 1_000)]
    nodes: usize,
    /// Series a node.
    #[arg(long, default_value_t = 500)]
    series: usize,
    /// Minutes of the nodes.
    #[arg(long, default_value_t = 60)]
    node_minutes: u32,
    /// Hours of the cluster: the last day by the second, before it in the coarser tiers.
    #[arg(long, default_value_t = 168)]
    cluster_hours: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as u32;
    let end = arguments.end.unwrap_or_else(|| (now + 60).next_multiple_of(WINDOW));
    let end = end - end % WINDOW;
    let (store, _) = Store::open(&arguments.state_dir.join("history"), &Options::new(Tier::ALL.map(Tier::name)))?;
    let past = Past::new(&arguments);
    let nodes_from = end - arguments.node_minutes * 60;
    let first_hour = (end - end % HOUR).saturating_sub(arguments.cluster_hours * HOUR);
    // What is sent repeats within each window: one of each kind is sealed and rolled up, the others are the same elsewhere.
    let windows = (first_hour..first_hour + HOUR).step_by(WINDOW as usize);
    let seconds = windows.map(|start| past.cluster(start)).collect::<Result<Vec<_>, _>>()?;
    let mut coarser = vec![seconds.clone()];
    for tier in &Tier::ALL[1..] {
        coarser.push(vec![roll_up(&coarser[tier.code() as usize - 1], *tier, first_hour)?]);
    }
    let nodes = (0..TEMPLATES).map(|i| past.node(i, first_hour)).collect::<Result<Vec<_>, _>>()?;
    for start in (end - 24 * HOUR..end).step_by(WINDOW as usize) {
        let mut blocks = vec![moved(&seconds[0], &Subject::Cluster, start)?];
        if start >= nodes_from {
            let node = |i: usize| moved(&nodes[i % TEMPLATES], &Subject::Node(name(i)), start);
            blocks.extend((0..arguments.nodes).map(node).collect::<Result<Vec<_>, _>>()?);
        }
        write(&store, Tier::Second, start..start + WINDOW, &blocks)?;
    }
    for hour in (first_hour..end).step_by(HOUR as usize).filter(|hour| hour + HOUR + LATE_WINDOW <= end) {
        for (tier, blocks) in Tier::ALL.iter().zip(&coarser).skip(1) {
            write(&store, *tier, hour..hour + HOUR, &[moved(&blocks[0], &Subject::Cluster, hour)?])?;
        }
    }
    println!("the past ends at {end}, {} s from now", i64::from(end) - i64::from(now));
    Ok(())
}

fn name(i: usize) -> NodeId {
    NodeId::parse(&format!("scale-{i:05}")).expect("a short name")
}

/// The same block of another subject and window: these stand in front of it.
fn moved(block: &Block, subject: &Subject, start: u32) -> Result<Block, Box<dyn Error>> {
    let bytes = block.encode();
    let mut reader = Reader::new(&bytes);
    let mut out = reader.take(2)?.to_vec();
    reader.bytes(bytes.len())?;
    reader.u64()?;
    varint::put_bytes(&mut out, subject.to_string().as_bytes());
    varint::put(&mut out, start.into());
    out.extend_from_slice(reader.rest());
    let moved = Block::decode(out.into())?;
    if (moved.subject(), moved.start()) == (subject, start) { Ok(moved) } else { Err("a block was not moved".into()) }
}

fn write(store: &Store, tier: Tier, window: Range<u32>, blocks: &[Block]) -> Result<(), Box<dyn Error>> {
    let row = |block: &Block| -> (BlockKey, u64, Bytes) {
        let subject = block.subject().to_string().into();
        (BlockKey { subject, start: block.start(), seconds: block.seconds() }, block.revision(), block.encode())
    };
    store.write_segment(tier.code(), window, blocks.iter().map(row))?;
    Ok(())
}

/// What the nodes send.
struct Past {
    nodes: usize,
    /// By template and second of the period.
    periods: Vec<Vec<Content>>,
    /// The cluster by second of the period.
    merged: Vec<Vec<(Series, Merged)>>,
}

/// One series in one second over all nodes.
#[derive(Default)]
struct Merged {
    sum: i128,
    min: i64,
    max: i64,
    histogram: Option<Arc<Histogram>>,
}

impl Past {
    fn new(arguments: &Arguments) -> Self {
        let periods = Shape::of(arguments.series).periods(TEMPLATES, 1);
        // Node `i` sends the template `i` modulo their number.
        let times = |template: usize| (arguments.nodes + TEMPLATES - 1 - template) / TEMPLATES;
        let second = |at: usize| merged(periods.iter().enumerate().map(|(i, seconds)| (&seconds[at], times(i))));
        let merged = (0..periods[0].len()).map(second).collect();
        Self { nodes: arguments.nodes, periods, merged }
    }

    /// The block of the cluster that begins at `start`.
    fn cluster(&self, start: u32) -> Result<Block, Box<dyn Error>> {
        let nodes = self.nodes as u32;
        let mut builder = BlockBuilder::new(Subject::Cluster, start);
        for tick in start..start + WINDOW {
            let values = self.merged[tick as usize % self.merged.len()].iter().map(|(series, merged)| {
                let Merged { sum, min, max, histogram } = merged;
                let (sum, min, max) = (*sum, *min, *max);
                (
                    series,
                    match (series.kind(), histogram) {
                        (Kind::Histogram, Some(histogram)) => SecondValue::Histogram { histogram, nodes },
                        (Kind::Counter, _) => SecondValue::Counter { sum, nodes },
                        (_, distribution) => {
                            SecondValue::Gauge { sum, nodes, min, max, distribution: distribution.as_ref() }
                        }
                    },
                )
            });
            let revision = u64::from(nodes) << 32;
            builder.push(tick, revision, Coverage::second(nodes, nodes, 0), values)?;
        }
        Ok(builder.seal()?)
    }

    /// The block of node `i` that begins at `start`.
    fn node(&self, i: usize, start: u32) -> Result<Block, Box<dyn Error>> {
        let seconds = &self.periods[i % self.periods.len()];
        let mut builder = BlockBuilder::new(Subject::Node(name(i)), start);
        for tick in start..start + WINDOW {
            let samples = &seconds[tick as usize % seconds.len()].samples;
            let values = samples.iter().map(|Sample { series, value }| {
                (
                    series,
                    match value {
                        Value::Counter(sum) => SecondValue::Counter { sum: i128::from(*sum), nodes: 1 },
                        Value::Gauge(value) => {
                            let (min, max) = (*value, *value);
                            SecondValue::Gauge { sum: i128::from(*value), nodes: 1, min, max, distribution: None }
                        }
                        Value::Histogram(histogram) => SecondValue::Histogram { histogram, nodes: 1 },
                    },
                )
            });
            builder.push(tick, 1, Coverage::second(1, 1, 0), values)?;
        }
        Ok(builder.seal()?)
    }
}

/// One second over nodes: of each content as many as send it.
fn merged<'a>(contents: impl Iterator<Item = (&'a Content, usize)>) -> Vec<(Series, Merged)> {
    let mut all: Vec<(Series, Merged, HistogramSum)> = Vec::new();
    for (content, times) in contents.filter(|(_, times)| *times > 0) {
        let merged = content.samples.iter().filter(|sample| sample.series.scope() == Scope::Cluster);
        for (at, Sample { series, value }) in merged.enumerate() {
            if all.len() == at {
                let none = Merged { min: i64::MAX, max: i64::MIN, ..Merged::default() };
                all.push((series.clone(), none, HistogramSum::new()));
            }
            let (_, sum, histogram) = &mut all[at];
            match value {
                Value::Counter(value) => sum.sum += i128::from(*value) * times as i128,
                Value::Gauge(value) => {
                    sum.sum += i128::from(*value) * times as i128;
                    (sum.min, sum.max) = (sum.min.min(*value), sum.max.max(*value));
                    if catalogue::find(series.name()).is_some_and(|metric| metric.distribution) {
                        histogram.record(value.unsigned_abs(), times as u64);
                    }
                }
                Value::Histogram(value) => {
                    (0..times).for_each(|_| histogram.add(value).expect("counts of nodes fit 64 bits"));
                }
            }
        }
    }
    all.into_iter()
        .map(|(series, merged, histogram)| {
            let histogram = (!histogram.is_empty()).then(|| Arc::new(histogram.to_histogram()));
            (series, Merged { histogram, ..merged })
        })
        .collect()
}
