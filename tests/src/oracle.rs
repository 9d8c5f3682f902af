//! Nodes whose every frame is known.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use starling_node::{Uplink, UplinkConfig, UplinkHandle};
use starling_proto::{
    catalogue,
    frame::Content,
    histogram::{Histogram, HistogramSum},
    ids::NodeId,
    series::{Sample, Series, Value},
};
use starling_service::credentials::Security;
use tokio_util::sync::CancellationToken;

/// What the cluster must show for one second.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Nodes that cut a frame.
    pub nodes: u32,
    /// Requests of all of them.
    pub requests: u64,
    /// Errors of all of them.
    pub errors: u64,
    /// Their memory, bytes.
    pub memory: u64,
    /// Their latencies.
    pub latency: Histogram,
}

/// Nodes that send random, known frames over real uplinks.
#[derive(Debug)]
pub struct Oracle {
    uplinks: Vec<UplinkHandle>,
    random: StdRng,
    known: BTreeMap<u32, Known>,
    shutdown: CancellationToken,
}

impl Oracle {
    /// Starts `nodes` uplinks that know all of `seeds`, in an order of their own. `seed` is printed, to repeat a run.
    #[must_use]
    pub fn start(nodes: usize, seeds: &[String], seed: u64) -> Self {
        Self::start_as(nodes, seeds, seed, |_| Security::plain())
    }

    /// As [`Oracle::start`], where `security` says how the node of a name speaks.
    #[must_use]
    pub fn start_as(nodes: usize, seeds: &[String], seed: u64, security: impl Fn(&str) -> Security) -> Self {
        println!("oracle seed {seed}");
        let shutdown = CancellationToken::new();
        let uplinks = (0..nodes)
            .map(|i| {
                let mut seeds = seeds.to_vec();
                let n = seeds.len();
                seeds.rotate_left(i % n);
                let name = format!("oracle-{i}");
                let mut config = UplinkConfig::new(NodeId::sanitised(&name), seeds);
                config.security = security(&name);
                config.labels.insert("zone".into(), ["a", "b"][i % 2].into());
                Uplink::spawn(config, shutdown.clone())
            })
            .collect();
        Self { uplinks, random: StdRng::seed_from_u64(seed), known: BTreeMap::new(), shutdown }
    }

    /// The second that is now.
    ///
    /// # Panics
    /// When the clock is before 1970.
    #[must_use]
    pub fn now() -> u32 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as u32
    }

    /// Cuts one frame per node for the second that just ended, once; gives that second.
    pub async fn cut(&mut self) -> u32 {
        let last = self.known.keys().next_back().copied().unwrap_or(0);
        while Self::now() <= last {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let tick = Self::now();
        let mut known = Known::default();
        let mut latency = HistogramSum::new();
        for uplink in &self.uplinks {
            let (content, histogram) = frame(&mut self.random, tick, &mut known);
            latency.add(&histogram).expect("small counts");
            uplink.offer(content).expect("the uplink takes one frame a second");
        }
        known.latency = latency.to_histogram();
        self.known.insert(tick, known);
        tick
    }

    /// Everything cut so far, by second.
    #[must_use]
    pub fn known(&self) -> &BTreeMap<u32, Known> {
        &self.known
    }

    /// The uplinks, by number of the node.
    #[must_use]
    pub fn uplinks(&self) -> &[UplinkHandle] {
        &self.uplinks
    }

    /// Which uplink is connected to which aggregator, by name.
    #[must_use]
    pub fn owners(&self) -> Vec<Option<String>> {
        let name =
            |handle: &UplinkHandle| handle.stats().borrow().connected.as_ref().map(|c| c.aggregator_id.to_string());
        self.uplinks.iter().map(name).collect()
    }

    /// Frames that no aggregator acknowledged yet, and frames lost, over all nodes.
    #[must_use]
    pub fn outstanding(&self) -> (u64, u64) {
        self.uplinks.iter().fold((0, 0), |(unacked, lost), handle| {
            let stats = handle.stats();
            let stats = stats.borrow();
            (unacked + stats.unacked, lost + stats.lost.total())
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn frame(random: &mut StdRng, tick: u32, known: &mut Known) -> (Arc<Content>, Histogram) {
    let mut latency = HistogramSum::new();
    for _ in 0..random.random_range(1..200u32) {
        latency.record(random.random_range(1_000..5_000_000_000u64), random.random_range(1..5u64));
    }
    let latency = latency.to_histogram();
    let errors = random.random_range(0..=latency.count());
    let memory = random.random_range(1u64 << 30..1 << 36);
    known.nodes += 1;
    known.requests += latency.count();
    known.errors += errors;
    known.memory += memory;
    let protocol = [("protocol", "grpc")];
    let samples = vec![
        Sample { series: Series::of(&catalogue::REQUESTS, &protocol), value: Value::Counter(latency.count()) },
        Sample { series: Series::of(&catalogue::ERRORS, &protocol), value: Value::Counter(errors) },
        Sample {
            series: Series::of(&catalogue::DURATION, &protocol),
            value: Value::Histogram(Arc::new(latency.clone())),
        },
        Sample {
            series: Series::of(&catalogue::MEMORY_LIMIT, &[]),
            value: Value::Gauge(i64::try_from(memory).expect("below 2^36")),
        },
    ];
    (Arc::new(Content { tick, samples, dropped: 0 }), latency)
}
