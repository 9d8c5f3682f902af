//! kill -9 at random moments through a running aggregator under load: it opens at once, what it answered or acknowledged is
//! there in each answer from the first one on, of the cluster and of each node, and no number is another than it was or than it must be.
//!
//! 20 rounds; `make kills` makes it a thousand (`STARLING_KILLS`).

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::{BTreeMap, HashMap},
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use starling_proto::{
    catalogue::{DURATION, Kind, Scope},
    frame::Content,
    histogram::Histogram,
    limits::LATE_WINDOW,
    series::{Sample, Series, Value},
    v1,
};
use starling_service::grpc::query_client::QueryClient;
use starling_tests::{
    Cluster, Oracle, eventually,
    swarm::{Swarm, SwarmConfig, Template},
};

const NODES: usize = 20;
/// What the cluster merges, and what it adds up.
const EVENTS: &str = "kills.events";
/// Seconds after which the contents repeat: prime to the steps of all tiers.
const PERIOD: u32 = 31;
/// The process lives so long, from its start.
const LIFE_MS: std::ops::Range<u64> = 200..3_000;
/// Longest replay of the log.
const OPENS_WITHIN: Duration = Duration::from_secs(2);
/// Seconds before now that each look asks for; every so many rounds all of them are.
const RECENT: u32 = 400;
const ALL_EVERY: usize = 20;
/// A second that is acknowledged is settled and answered after so many.
const SETTLED_AFTER: u32 = 5;

/// Events of one node in a second; as many values are in its histogram.
fn events(tick: u32) -> u64 {
    u64::from(100 + 7 * (tick % PERIOD))
}

fn template() -> Arc<Template> {
    let series = |name: &str, i: u32, kind, scope| {
        let i = i.to_string();
        Series::application(name, &[("i", &*i)], kind, "1", 0, scope).unwrap()
    };
    let merged = series(EVENTS, 0, Kind::Counter, Scope::Cluster);
    let latency = Series::of(&DURATION, &[("protocol", "grpc")]);
    let levels: Vec<Series> = (0..40).map(|i| series("kills.level", i, Kind::Gauge, Scope::Node)).collect();
    let content = |second: u32| {
        let levels = levels.iter().enumerate();
        let mut samples: Vec<Sample> = levels
            .map(|(i, series)| Sample {
                series: series.clone(),
                value: Value::Gauge((u64::from(second) * (i as u64 + 1) % 97) as i64),
            })
            .collect();
        samples.push(Sample { series: merged.clone(), value: Value::Counter(events(second)) });
        let histogram = Arc::new(Histogram::of(1_000_000 * u64::from(second + 1), events(second)));
        samples.push(Sample { series: latency.clone(), value: Value::Histogram(histogram) });
        Content { tick: second, samples, dropped: 0 }
    };
    Arc::new(Template::of(&(0..PERIOD).map(content).collect::<Vec<_>>()))
}

/// What was answered of one series: by second how many nodes were in it.
type Answered = BTreeMap<u32, u64>;

/// The series that are asked for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Events,
    Latency,
    Node(usize),
}

impl Asked {
    fn request(self, from_tick: u32, to_tick: u32) -> v1::QueryRangeRequest {
        let (node_id, name, statistic) = match self {
            Self::Events => (String::new(), EVENTS, "sum"),
            Self::Latency => (String::new(), DURATION.name, "count"),
            Self::Node(node) => (format!("killed-{node:05}"), EVENTS, "sum"),
        };
        v1::QueryRangeRequest {
            scope: Some(v1::Scope { node_id, ..Default::default() }),
            name: name.into(),
            total: true,
            statistics: [statistic, "nodes"].map(str::to_owned).to_vec(),
            from_tick,
            to_tick,
            step_seconds: 1,
            max_points: 11_000,
            ..Default::default()
        }
    }
}

/// What is known of the cluster, from its answers and the acknowledgements of its nodes.
#[derive(Default)]
struct Book {
    first: u32,
    answered: [Answered; 2 + NODES],
    /// By second: the nodes of which the frame is acknowledged, a bit for each.
    acked: BTreeMap<u32, u64>,
    looks: u64,
    seconds: u64,
}

impl Book {
    /// Asks from `from` on and compares with what is known; why not, when there is no answer.
    async fn look(&mut self, url: &str, asked: Asked, from: u32) -> Result<(), String> {
        let from = from.max(self.first);
        let now = Oracle::now();
        let mut client = QueryClient::connect(url.to_owned()).await.map_err(|error| error.to_string())?;
        let answer = client.query_range(asked.request(from, now)).await.map_err(|status| status.to_string())?;
        let answer = answer.into_inner();
        assert!(answer.series.len() <= 1 && answer.missing.is_empty(), "{asked:?}: {answer:?}");
        let empty = v1::RangeSeries { statistics: vec![v1::RangeValues::default(); 2], ..Default::default() };
        let statistics = &answer.series.first().unwrap_or(&empty).statistics;
        let mut seen = Answered::new();
        for ((point, value), nodes) in answer.points.iter().zip(&statistics[0].values).zip(&statistics[1].values) {
            if value.is_nan() {
                continue;
            }
            let nodes = if matches!(asked, Asked::Node(_)) { 1.0 } else { *nodes };
            let wanted = events(point.tick) as f64 * nodes;
            assert!(*value == wanted, "{asked:?} at {}: {value} of {nodes} nodes instead of {wanted}", point.tick);
            seen.insert(point.tick, nodes as u64);
        }
        let known = &mut self.answered[match asked {
            Asked::Events => 0,
            Asked::Latency => 1,
            Asked::Node(node) => 2 + node,
        }];
        for (tick, nodes) in known.range(from..=now) {
            let there = seen.get(tick).copied().unwrap_or(0);
            assert!(there >= *nodes, "{asked:?} at {tick}: {there} nodes, {nodes} were answered before");
        }
        let settled = from..from.max(now - SETTLED_AFTER);
        let lacks = |(tick, acked): &(&u32, &u64)| {
            let wanted = match asked {
                Asked::Node(node) => **acked >> node & 1,
                Asked::Events | Asked::Latency => u64::from(acked.count_ones()),
            };
            seen.get(*tick).copied().unwrap_or(0) < wanted
        };
        let lacking: Vec<_> = self.acked.range(settled).filter(lacks).collect();
        assert!(lacking.is_empty(), "{asked:?} at {now} lacks what is acknowledged: {lacking:?}");
        self.looks += 1;
        self.seconds += seen.len() as u64;
        known.extend(seen);
        Ok(())
    }

    /// What was acknowledged before it is asked for must be in the answer.
    async fn look_at_all(&mut self, swarm: &Swarm, url: &str, from: u32) -> Result<(), String> {
        self.acked = swarm.counts().acked_of;
        for asked in [Asked::Events, Asked::Latency].into_iter().chain((0..NODES).map(Asked::Node)) {
            self.look(url, asked, from).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_or_acknowledged_is_missing_after_kill_9() {
    let rounds: usize = env::var("STARLING_KILLS").map_or(20, |rounds| rounds.parse().unwrap());
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(1).await;
    let url = cluster.aggregators[0].url("grpc");
    let swarm = Swarm::start(SwarmConfig {
        targets: vec![cluster.aggregators[0].address("grpc")],
        nodes: NODES,
        prefix: "killed".into(),
        templates: vec![template()],
        labels: Box::new(|i| HashMap::from([("zone".to_owned(), format!("z{}", i % 2))])),
        spread: Duration::from_millis(300),
        ramp: 100.0,
        tls: None,
    });
    let mut book = Book { first: Oracle::now() - 1, ..Book::default() };
    eventually("every node is in the answers", async || {
        book.look(&url, Asked::Events, 0).await?;
        let most = book.answered[0].values().max().copied().unwrap_or(0);
        if most == NODES as u64 { Ok(()) } else { Err(format!("{most} nodes, {:?}", swarm.counts())) }
    })
    .await;
    let (mut slowest, mut early) = (Duration::ZERO, 0);
    for round in 0..rounds {
        cluster.aggregators[0].kill();
        let begun = Instant::now();
        let dies = begun + Duration::from_millis(random.random_range(LIFE_MS));
        cluster.aggregators[0].start_again();
        // The first answer is whole: nothing that nodes send again has come yet.
        let mut from = if round % ALL_EVERY == 0 { 0 } else { Oracle::now() - RECENT };
        let mut answered = false;
        while Instant::now() < dies {
            match book.look_at_all(&swarm, &url, from).await {
                Ok(()) if !answered => {
                    answered = true;
                    slowest = slowest.max(begun.elapsed());
                    from = Oracle::now() - 20;
                }
                Ok(()) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        early += u32::from(!answered);
        assert!(cluster.aggregators[0].is_running(), "round {round}:\n{}", cluster.aggregators[0].log());
    }
    // What was acknowledged by the last of them too.
    let last = swarm.counts().acked_of.keys().next_back().copied().unwrap();
    eventually("the last acknowledged second is over", async || match Oracle::now() {
        now if now > last + SETTLED_AFTER => Ok(()),
        now => Err(format!("{now}")),
    })
    .await;
    book.look_at_all(&swarm, &url, 0).await.unwrap();
    let log = cluster.aggregators[0].log();
    let opened: Vec<u64> = log
        .lines()
        .filter(|line| line.contains("the log was read again"))
        .map(|line| line.split_once("milliseconds=").unwrap().1.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    let longest = Duration::from_millis(*opened.iter().max().unwrap());
    let counts = swarm.counts();
    // A thousand lives of a second or two last half an hour: this sender forgets what it is told is too old by then, and says
    // how much that was. Of it nothing was answered or acknowledged.
    let is_long = last - book.first > LATE_WINDOW;
    assert!(counts.lost == 0 && (is_long || counts.refused == 0), "{} refused, {} lost", counts.refused, counts.lost);
    println!(
        "{rounds} kills, {early} before the first answer; {} frames acknowledged in {} seconds, {} refused as too old, {} answers with {} values compared; \
         longest replay {longest:?}, first answer at most {slowest:?} after the start",
        counts.acked,
        book.acked.len(),
        counts.refused,
        book.looks,
        book.seconds,
    );
    assert!(longest < OPENS_WITHIN, "the log was read in {longest:?}");
}
