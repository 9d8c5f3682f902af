//! What the disk has of nodes, for whoever shows their last 15 minutes.

use std::{collections::HashMap, fmt, sync::Arc};

use starling_history::{NodeSecond, NodeSeconds, Subject, Tier};
use starling_proto::{
    catalogue::Scope,
    frame::{Columns, Second},
    ids::NodeId,
    interner::{Interned, Interner, Layout, Resolve as _},
};
use starling_store::{Position, Subjects, overlapping};

use super::{disk::Disk, versions::one_of};
use crate::{
    blocks::{Backing, LogPlace},
    metrics::Metrics,
};

/// See the module.
pub(super) struct NodeBacking {
    pub(super) disk: Arc<Disk>,
    /// Names of series that a second is given out with.
    pub(super) names: Arc<Interner>,
    pub(super) metrics: Arc<Metrics>,
}

impl fmt::Debug for NodeBacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBacking").finish_non_exhaustive()
    }
}

impl Backing for NodeBacking {
    fn row(&self, place: LogPlace, length: usize) -> Option<Vec<u8>> {
        let at = Position { file: place.file, offset: place.offset };
        let read = self.disk.store().read_log(at, length);
        read.inspect_err(|error| self.metrics.history_failed("read an open second", error)).ok()
    }

    fn kept(&self, node: &NodeId, from: u32, to: u32) -> Vec<Second> {
        let subject = Subject::Node(node.clone()).to_string();
        let found = self.disk.store().find(Tier::Second.code(), Subjects::One(&subject), from..to.saturating_add(1));
        let mut seconds = Vec::new();
        for together in overlapping(&found.blocks) {
            match one_of(&self.disk, together, &self.metrics).map(|block| block.node_seconds(from, to)) {
                Some(Ok(node)) => seconds.extend(unpacked(&node, &self.names)),
                Some(Err(error)) => self.metrics.history_failed("read a block of a node", &error),
                None => {}
            }
        }
        seconds
    }
}

/// The seconds as they came from the node. Series for which the table of the process has no room are left out.
fn unpacked(node: &NodeSeconds, names: &Interner) -> Vec<Second> {
    let series: Vec<Option<Interned>> = node.series.iter().map(|series| names.intern(series)).collect();
    // Mostly all seconds have the same series.
    let mut layouts = HashMap::<Vec<u32>, Arc<Layout>>::new();
    let mut columns = |second: &NodeSecond, scope: Scope| {
        let mine = |number: &u32| series.get(*number as usize)?.as_ref().filter(|one| one.series().scope() == scope);
        let (numbers, values): (Vec<u32>, Vec<i64>) =
            second.values.iter().filter(|(number, _)| mine(number).is_some()).copied().unzip();
        let position = |number: &u32| numbers.binary_search(number).ok();
        let histograms = second.histograms.iter();
        let histograms = histograms.filter_map(|(number, one)| Some((position(number)? as u32, one.clone()))).collect();
        let layout = match layouts.get(&numbers) {
            Some(known) => known.clone(),
            None => {
                let layout = names.layout(numbers.iter().filter_map(mine).cloned().collect());
                layouts.insert(numbers, layout.clone());
                layout
            }
        };
        Columns::alone(layout, values.into(), histograms)
    };
    let second = |second: &NodeSecond| Second {
        tick: second.tick,
        dropped: u32::try_from(second.dropped).unwrap_or(u32::MAX),
        cluster: columns(second, Scope::Cluster),
        node: columns(second, Scope::Node),
    };
    node.seconds.iter().map(second).collect()
}

#[cfg(test)]
mod tests {
    use starling_proto::{
        catalogue,
        frame::{Content, Decoder, Encoder},
        histogram::HistogramSum,
        series::{Sample, Series, Value},
    };

    use super::*;
    use crate::{blocks::BLOCK_SECONDS, history::seal};

    #[test]
    fn seconds_come_back_from_a_block_as_they_came() {
        let names = Interner::default();
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let sample =
            |metric, attributes: &[(&str, &str)], value| Sample { series: Series::of(metric, attributes), value };
        let content = |tick: u32| {
            let mut sum = HistogramSum::new();
            sum.record(u64::from(tick) * 1_000, u64::from(tick % 3));
            let mut samples = vec![
                sample(&catalogue::UPTIME, &[], Value::Gauge((1 << 55) + i64::from(tick))),
                sample(&catalogue::REQUESTS, &[("protocol", "grpc")], Value::Counter(tick.into())),
                sample(&catalogue::DURATION, &[("protocol", "grpc")], Value::Histogram(Arc::new(sum.to_histogram()))),
            ];
            if tick % 7 > 2 {
                samples.push(sample(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "1")], Value::Gauge(-4)));
            }
            samples.sort_by(|a, b| a.series.cmp(&b.series));
            Content { tick, samples, dropped: tick % 3 }
        };
        let ticks = (600..600 + BLOCK_SECONDS).filter(|tick| tick % 11 != 0);
        let seconds: Vec<Second> = ticks
            .map(|tick| decoder.decode(&encoder.encode(&content(tick), None, false), &names).unwrap().second)
            .collect();
        let node = NodeId::parse("web-1").unwrap();
        let block = seal::of_node(&node, 600, &seconds, 1_000).unwrap();
        let back = unpacked(&block.node_seconds(650, 700).unwrap(), &Interner::default());
        let content = |second: &Second| {
            let mut content = second.content();
            content.samples.sort_by(|a, b| a.series.cmp(&b.series));
            content
        };
        let wanted = seconds.iter().filter(|second| (650..=700).contains(&second.tick));
        assert_eq!(back.iter().map(content).collect::<Vec<_>>(), wanted.map(content).collect::<Vec<_>>());
        assert!(
            back.windows(2).any(|pair| Arc::ptr_eq(&pair[0].node.layout, &pair[1].node.layout)),
            "layouts are shared"
        );
        assert_eq!(unpacked(&block.node_seconds(0, 599).unwrap(), &names).len(), 0);
    }
}
