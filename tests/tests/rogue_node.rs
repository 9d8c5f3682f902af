//! A node with a valid certificate that does whatever its stream lets it: the names of others, thousands of new names,
//! impossible values, seconds long ago and to come, junk, crowds of connections. Real processes, mutual TLS. It changes its
//! own figures, within its quotas, and nothing else; what it does is counted and named in few lines.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{collections::BTreeMap, time::Duration};

use starling_proto::{
    catalogue::{self, Kind, Scope},
    frame::{Content, Encoder},
    limits,
    series::{Sample, Series, Value},
    v1::{self, Frame, Hello, IngestRequest, RefusalReason, ingest_request, ingest_response::Body},
};
use starling_service::{channel::Dial, credentials::Security, grpc::ingest_client::IngestClient, identity::Role};
use starling_testkit::eventually;
use starling_tests::{Cost, Issuer, Known, Oracle, Secured, aggregator};
use tonic::{Code, Status};

const DIAL: Dial = Dial::within(Duration::from_secs(5));
const ROGUE: &str = "mallory";
/// The group that only the rogue is in.
const ITS_GROUP: &str = "zone:rogue";
/// Without an answer for this long there is none.
const ANSWERED: Duration = Duration::from_millis(700);

/// The rogue: its certificate is in order.
struct Rogue {
    security: Security,
    aggregators: Vec<String>,
    session: u32,
}

impl Rogue {
    fn hello(&mut self) -> Hello {
        self.session += 1;
        Hello {
            node_id: ROGUE.to_owned(),
            stream_id: vec![7; 16].into(),
            session: self.session,
            version: "0".to_owned(),
            labels: [("zone".to_owned(), "rogue".to_owned())].into(),
            final_hop: true,
            ..Default::default()
        }
    }

    /// Says this to the aggregator of that number, and hears what it answers.
    async fn say(&self, to: usize, hello: Hello, frames: Vec<Frame>) -> Result<Vec<Body>, Status> {
        let channel = DIAL.connect(&self.security, &self.aggregators[to]).await.unwrap();
        let (sender, receiver) = tokio::sync::mpsc::channel(frames.len() + 1);
        let bodies = [ingest_request::Body::Hello(hello)];
        for body in bodies.into_iter().chain(frames.into_iter().map(ingest_request::Body::Frame)) {
            sender.send(IngestRequest { body: Some(body) }).await.unwrap();
        }
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut answers = IngestClient::new(channel).stream(requests).await?.into_inner();
        let mut heard = Vec::new();
        while let Ok(answer) = tokio::time::timeout(ANSWERED, answers.message()).await {
            let Some(answer) = answer? else { break };
            heard.extend(answer.body);
        }
        drop(sender);
        Ok(heard)
    }
}

fn content(tick: u32, samples: Vec<Sample>) -> Content {
    Content { tick, samples, dropped: 0 }
}

fn requests(n: u64) -> Sample {
    Sample { series: Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]), value: Value::Counter(n) }
}

/// `count` series of the cluster that nobody had before.
fn new_names(from: usize, count: usize) -> Vec<Sample> {
    let series =
        |i: usize| Series::application(&format!("rogue.{i}"), &[], Kind::Counter, "1", 0, Scope::Cluster).unwrap();
    (from..from + count).map(|i| Sample { series: series(i), value: Value::Counter(1) }).collect()
}

fn refusals(heard: &[Body]) -> Vec<(RefusalReason, &str)> {
    heard
        .iter()
        .filter_map(|body| match body {
            Body::Refusal(refusal) => Some((refusal.reason(), refusal.detail.as_str())),
            _ => None,
        })
        .collect()
}

/// All that it tries, one after the other.
async fn misbehave(rogue: &mut Rogue) {
    // Under the name of another.
    for to in 0..rogue.aggregators.len() {
        let hello = Hello { node_id: "oracle-0".to_owned(), ..rogue.hello() };
        let refused = rogue.say(to, hello, Vec::new()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    // Labels without end.
    let many = (0..=limits::LABELS_MAX).map(|i| (format!("k{i}"), "v".to_owned())).collect();
    let long = [("zone".to_owned(), "x".repeat(7_000_000))].into();
    for labels in [many, long] {
        let hello = Hello { labels, ..rogue.hello() };
        let refused = rogue.say(0, hello, Vec::new()).await.unwrap_err();
        let limit = refused.message().contains("labels") || refused.message().contains("262144");
        assert!(limit, "{refused}");
    }
    // Names without end, at one aggregator and at the other.
    for round in 0..8 {
        let now = Oracle::now();
        let mut encoder = Encoder::new();
        let mut frame = |tick: u32, from: usize| {
            let samples = new_names(from, limits::DICTIONARY_GROWTH_MAX);
            encoder.encode(&content(tick, samples), None, false)
        };
        let frames = (0..4).map(|i| frame(now - 4 + i, (round * 4 + i as usize) * limits::DICTIONARY_GROWTH_MAX));
        let (frames, hello) = (frames.collect(), rogue.hello());
        rogue.say(round % 2, hello, frames).await.unwrap();
    }
    // What no second can hold.
    for value in [limits::COUNTER_INCREMENT_MAX + 1, u64::MAX] {
        let frame = Encoder::new().encode(&content(Oracle::now(), vec![requests(value)]), None, false);
        let hello = rogue.hello();
        let heard = rogue.say(0, hello, vec![frame]).await.unwrap();
        let of_value = |(reason, detail): &(RefusalReason, &str)| {
            *reason == RefusalReason::Invalid && detail.contains("traffic.requests{protocol=grpc} rose by")
        };
        assert!(refusals(&heard).iter().any(of_value), "{heard:?}");
    }
    // The past and the future.
    let (mut encoder, now) = (Encoder::new(), Oracle::now());
    let ticks = [-2_000, -1_100, -600, -61, 60, 100_000].map(|offset| now.saturating_add_signed(offset));
    let frames = ticks.iter().map(|&tick| encoder.encode(&content(tick, vec![requests(1 << 40)]), None, false));
    let (frames, hello) = (frames.collect(), rogue.hello());
    let heard = rogue.say(1, hello, frames).await.unwrap();
    let reasons: Vec<RefusalReason> = refusals(&heard).iter().map(|(reason, _)| *reason).collect();
    let [late, early] = [RefusalReason::TooLate, RefusalReason::TooEarly];
    assert_eq!(reasons, [late, late, early, early], "{heard:?}");
    // Junk, as large as a message may be.
    for _ in 0..20 {
        let mut junk = vec![0; limits::MESSAGE_BYTES_MAX - 1_000];
        rand::fill(&mut junk[..]);
        let frame = Frame { tick: Oracle::now(), sequence: 1, keyframe: true, node: junk.into(), ..Default::default() };
        let hello = rogue.hello();
        match rogue.say(0, hello, vec![frame]).await {
            Ok(heard) => assert!(!refusals(&heard).is_empty(), "{heard:?}"),
            // It comes too often.
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    // A crowd, and one that never tires.
    let mut crowd = Vec::new();
    for _ in 0..150 {
        crowd.push(DIAL.connect(&rogue.security, &rogue.aggregators[0]).await);
    }
    let mut too_often = 0;
    for _ in 0..200 {
        let channel = DIAL.connect(&rogue.security, &rogue.aggregators[1]).await.unwrap();
        let hello = IngestRequest { body: Some(ingest_request::Body::Hello(rogue.hello())) };
        let answer = IngestClient::new(channel).stream(futures_util::stream::iter([hello])).await;
        too_often += u32::from(answer.is_err_and(|status| status.code() == Code::ResourceExhausted));
    }
    assert!(too_often > 100, "{too_often} of 200 streams in a row were refused");
}

/// That a second shows what the nodes sent, beside what the rogue said of itself, the same everywhere.
async fn is_right(honest: &Secured, tick: u32, known: &Known) -> Result<(), String> {
    for name in honest.aggregators.keys() {
        let figures = |view: v1::ClusterView| {
            let sections = view.sections.unwrap_or_default();
            let (traffic, memory) = (sections.traffic.unwrap_or_default(), sections.memory.unwrap_or_default());
            let nodes = view.completeness.unwrap_or_default().nodes_reporting();
            (traffic.requests_per_second(), traffic.errors_per_second(), memory.total_bytes(), f64::from(nodes))
        };
        let all = figures(honest.view(name, tick).await?);
        // A group that no node is in any more is not there.
        let its = honest.group(name, tick, ITS_GROUP).await.map(figures).unwrap_or_default();
        let seen = (all.0 - its.0, all.1 - its.1, all.2 - its.2, all.3 - its.3);
        let sent = (known.requests as f64, known.errors as f64, known.memory as f64, f64::from(known.nodes));
        if seen != sent {
            return Err(format!("tick {tick} at {name}: {seen:?}, sent were {sent:?}; the rogue: {its:?}"));
        }
    }
    honest.agree_on(tick).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_misbehaves_changes_its_own_figures_and_nothing_else() {
    let issuer = Issuer::new("test");
    issuer.issue("operator", "ann");
    issuer.issue("node", ROGUE);
    let one = aggregator(&issuer, "agg-1", &[], &[]);
    let two = aggregator(&issuer, "agg-2", &[one.address("gossip").to_string()], &[]);
    let operator = issuer.security("ann", Role::Operator);
    let honest = Secured { operator, aggregators: BTreeMap::from([("agg-1", one), ("agg-2", two)]) };
    honest.are_linked(1).await;
    let seeds: Vec<String> = honest.aggregators.values().map(|one| one.address("grpc").to_string()).collect();
    let mut oracle = Oracle::start_as(4, &seeds, rand::random(), |node| {
        issuer.issue("node", node);
        issuer.security(node, Role::Node)
    });
    for _ in 0..3 {
        oracle.cut().await;
    }
    let costs = || honest.aggregators.values().map(|one| Cost::of(one.id()).unwrap()).collect::<Vec<_>>();
    let (before, lines) = (costs(), honest.aggregators.values().map(|one| one.log().lines().count()).sum::<usize>());

    let mut rogue = Rogue { security: issuer.security(ROGUE, Role::Node), aggregators: seeds.clone(), session: 0 };
    let acts = tokio::spawn(async move {
        misbehave(&mut rogue).await;
    });
    while !acts.is_finished() {
        oracle.cut().await;
    }
    acts.await.unwrap();
    for _ in 0..3 {
        oracle.cut().await;
    }

    eventually("every honest frame is acknowledged", async || match oracle.outstanding() {
        (0, 0) => Ok(()),
        other => Err(format!("{other:?}, owners {:?}", oracle.owners())),
    })
    .await;
    for (&tick, known) in oracle.known() {
        eventually("the others are as they were", async || is_right(&honest, tick, known).await).await;
    }
    println!("{} seconds are right", oracle.known().len());

    // It is visible, in few lines, and cost little.
    let mut counted = BTreeMap::new();
    for metric in [
        "starling_aggregator_frames_late_total",
        "starling_aggregator_values_other_total",
        "starling_aggregator_frames_refused_total",
    ] {
        let mut sum = 0.0;
        for name in honest.aggregators.keys() {
            sum += honest.counter(name, metric).await;
        }
        counted.insert(metric, sum);
    }
    assert!(counted.values().all(|count| *count > 0.0), "{counted:?}");
    let logs: String = honest.aggregators.values().map(starling_tests::Program::log).collect();
    let named = logs.lines().find(|line| line.contains("seconds that are over long since"));
    assert!(named.is_some_and(|line| line.contains(ROGUE)), "{named:?}");
    let said = logs.lines().count() - lines;
    assert!(said < 150, "{said} lines: {logs}");
    for (before, after) in before.iter().zip(costs()) {
        let grown = after.resident.saturating_sub(before.resident);
        println!("{grown} bytes and {:?} of processor more", after.processor - before.processor);
        assert!(grown < 64 << 20, "{grown} bytes more");
    }
}
