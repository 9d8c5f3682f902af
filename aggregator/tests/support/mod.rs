//! Aggregators in this process on free ports, and a node of few lines that feeds them.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use starling_aggregator::{Config, Service};
use starling_proto::{
    catalogue,
    frame::{Content, Encoder},
    histogram::HistogramSum,
    ids::{NodeId, StreamId, WriterId},
    series::{Sample, Series, Value},
    v1::{self, ingest_request, ingest_response},
};
use starling_service::{
    Running,
    grpc::{cluster_client::ClusterClient, ingest_client::IngestClient, query_client::QueryClient},
    requests::RequestReports,
};
pub(crate) use starling_testkit::{LIMIT, eventually};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, transport::Channel};

/// Seconds since the Unix epoch.
pub(crate) fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// One aggregator.
pub(crate) struct Aggregator {
    pub(crate) name: String,
    pub(crate) service: Running,
    pub(crate) stop: CancellationToken,
    state: TempDir,
}

impl Aggregator {
    pub(crate) async fn start(name: &str, seeds: &[String]) -> Self {
        Self::start_with(name, seeds, Config::default()).await
    }

    /// With the policies and the cluster of `like`; "test" when that says nothing else than usual.
    pub(crate) async fn start_with(name: &str, seeds: &[String], like: Config) -> Self {
        Self::start_in(name, seeds, like, tempfile::tempdir().unwrap()).await
    }

    /// With the state folder of one that was there before.
    pub(crate) async fn start_in(name: &str, seeds: &[String], like: Config, state: TempDir) -> Self {
        let free = "127.0.0.1:0".parse().unwrap();
        let usual = like.cluster == Config::default().cluster;
        let cluster = if usual { "test".to_owned() } else { like.cluster.clone() };
        let config = Config {
            aggregator_id: NodeId::parse(name).unwrap(),
            cluster,
            grpc_listen: free,
            gossip_listen: free,
            admin_listen: free,
            seeds: seeds.to_vec(),
            state_dir: state.path().to_owned(),
            requests: RequestReports::off(),
            drain: Duration::from_secs(5),
            ..like
        };
        let stop = CancellationToken::new();
        // A connection or a reader of the one before may end a moment after it: only the end of a process ends them all.
        let service = Box::pin(eventually("its state folder is free", async || {
            match Running::start::<Service>(config.clone(), stop.clone()).await.map_err(|error| format!("{error:#}")) {
                Err(error) if !error.contains("in use by another process") => panic!("{error}"),
                started => started,
            }
        }))
        .await;
        Self { name: name.to_owned(), service, stop, state }
    }

    /// Its state folder.
    pub(crate) fn state(&self) -> &std::path::Path {
        self.state.path()
    }

    pub(crate) fn grpc(&self) -> SocketAddr {
        self.service.address("grpc").unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.grpc())
    }

    pub(crate) fn gossip(&self) -> String {
        self.service.address("gossip").unwrap().to_string()
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.url()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn query(&self) -> QueryClient<Channel> {
        QueryClient::new(self.channel().await)
    }

    pub(crate) async fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel().await)
    }

    pub(crate) async fn stopped(self) {
        drop(self.stopped_with_state().await);
    }

    /// Stops it; its state folder stays.
    pub(crate) async fn stopped_with_state(mut self) -> TempDir {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.service.ended()).await.expect("it stops in time").unwrap();
        self.state
    }
}

/// `count` aggregators that know each other and are ready.
pub(crate) async fn cluster(count: usize) -> Vec<Aggregator> {
    let mut aggregators: Vec<Aggregator> = Vec::new();
    for i in 0..count {
        let seeds: Vec<String> = aggregators.iter().map(Aggregator::gossip).collect();
        aggregators.push(Aggregator::start(&format!("agg-{i}"), &seeds).await);
    }
    for aggregator in &aggregators {
        let mut client = aggregator.cluster().await;
        eventually("a cluster of ready members", async || {
            let list = client.list_aggregators(v1::ListAggregatorsRequest {}).await;
            let list = list.map_err(|status| status.to_string())?.into_inner();
            let ready = list.aggregators.iter().filter(|a| a.state() == v1::AggregatorState::Ready).count();
            if ready == count { Ok(()) } else { Err(format!("{list:?}")) }
        })
        .await;
    }
    aggregators
}

/// What came back on a node's stream.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) acked: BTreeMap<u32, (u32, bool)>,
    pub(crate) refused: BTreeMap<u32, v1::Refusal>,
    pub(crate) keyframes: usize,
    pub(crate) redirect: Option<v1::Redirect>,
    /// Which seconds are taken, as the last acknowledgement said: the floor, and the last of the old ones.
    pub(crate) gate: (u32, u32),
    pub(crate) ended: Option<Result<(), tonic::Status>>,
}

/// A node by hand: frames as they are asked, pins kept as a daemon would.
pub(crate) struct TestNode {
    pub(crate) id: String,
    pub(crate) zone: String,
    stream: StreamId,
    session: u32,
    /// Machine and boot.
    pub(crate) machine: (u8, u8),
    /// The name it was given.
    pub(crate) known_as: String,
    hops: bool,
    contents: BTreeMap<u32, (Content, Option<WriterId>)>,
    link: Option<Link>,
}

struct Link {
    writer: WriterId,
    aggregator: String,
    encoder: Encoder,
    outbox: mpsc::Sender<v1::IngestRequest>,
    received: Arc<Mutex<Received>>,
    reader: JoinHandle<()>,
}

impl TestNode {
    pub(crate) fn new(id: &str, zone: &str) -> Self {
        Self {
            id: id.into(),
            zone: zone.into(),
            stream: StreamId::random(),
            session: 0,
            machine: (0, 0),
            known_as: String::new(),
            hops: false,
            contents: BTreeMap::new(),
            link: None,
        }
    }

    pub(crate) fn hello(&self) -> v1::Hello {
        let part = |n: u8| if n == 0 { Vec::new().into() } else { vec![n; 16].into() };
        v1::Hello {
            machine: part(self.machine.0),
            boot: part(self.machine.1),
            final_hop: self.hops,
            node_id: self.id.clone(),
            stream_id: self.stream.to_bytes(),
            session: self.session,
            version: "0.0.0".into(),
            host: Some(v1::HostFacts { cores: 2, kernel: "test".into(), ..v1::HostFacts::default() }),
            labels: [("zone".to_owned(), self.zone.clone())].into(),
            ..v1::Hello::default()
        }
    }

    /// Connects to `url` and goes where it is sent; returns the name of the aggregator that took it.
    pub(crate) async fn connect(&mut self, url: &str) -> String {
        self.try_connect(url).await.unwrap()
    }

    /// Connects to `url` and must be taken there.
    pub(crate) async fn connect_here(&mut self, url: &str) {
        self.hops = true;
        self.connect(url).await;
    }

    /// As [`TestNode::connect`]; an error when it is refused.
    pub(crate) async fn try_connect(&mut self, url: &str) -> Result<String, tonic::Status> {
        let mut url = url.to_owned();
        for _ in 0..4 {
            self.session += 1;
            let (outbox, mut inbound) = open(&url, self.hello()).await?;
            match inbound.message().await.unwrap().unwrap().body.unwrap() {
                ingest_response::Body::Accept(accept) => {
                    let gate = (accept.floor, accept.old_until);
                    let received = Arc::new(Mutex::new(Received { gate, ..Received::default() }));
                    let reader = tokio::spawn(read(inbound, received.clone()));
                    self.link = Some(Link {
                        writer: WriterId::parse(&accept.writer_id).unwrap(),
                        aggregator: accept.aggregator_id.clone(),
                        encoder: Encoder::new(),
                        outbox,
                        received,
                        reader,
                    });
                    self.known_as = accept.node_id;
                    return Ok(accept.aggregator_id);
                }
                ingest_response::Body::Redirect(redirect) => url = format!("http://{}", redirect.ranked[0].address),
                other => panic!("unexpected {other:?}"),
            }
        }
        panic!("{} was redirected too often", self.id);
    }

    fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("connected")
    }

    pub(crate) fn aggregator(&self) -> &str {
        &self.link.as_ref().expect("connected").aggregator
    }

    /// Measures and sends one second: `requests` that took `micros` each.
    pub(crate) async fn send(&mut self, tick: u32, requests: u64, micros: u64) {
        self.measure(tick, requests, micros);
        self.offer(tick).await;
    }

    /// Measures one second, to be offered later.
    pub(crate) fn measure(&mut self, tick: u32, requests: u64, micros: u64) {
        self.contents.insert(tick, (content(tick, requests, micros), None));
    }

    /// Sends one second of these samples.
    pub(crate) async fn send_samples(&mut self, tick: u32, samples: Vec<Sample>) {
        self.contents.insert(tick, (Content { tick, samples, dropped: 0 }, None));
        self.offer(tick).await;
    }

    /// Sends a second that was measured before.
    pub(crate) async fn offer(&mut self, tick: u32) {
        let writer = self.link().writer;
        let (content, pin) = self.contents.get_mut(&tick).unwrap();
        let pin = *pin.get_or_insert(writer);
        let content = content.clone();
        let frame = self.link().encoder.encode(&content, Some(pin), false);
        self.raw(ingest_request::Body::Frame(frame)).await;
    }

    pub(crate) async fn raw(&mut self, body: ingest_request::Body) {
        self.link().outbox.send(v1::IngestRequest { body: Some(body) }).await.unwrap();
    }

    /// What came back on the stream so far.
    pub(crate) fn received<T>(&self, read: impl Fn(&Received) -> T) -> T {
        read(&self.link.as_ref().expect("connected").received.lock().unwrap())
    }

    /// The refusals that came since this was asked last.
    pub(crate) fn take_refused(&self) -> BTreeMap<u32, v1::Refusal> {
        std::mem::take(&mut self.link.as_ref().expect("connected").received.lock().unwrap().refused)
    }

    pub(crate) async fn until_acked(&self, ticks: impl IntoIterator<Item = u32>) {
        let wanted: BTreeSet<u32> = ticks.into_iter().collect();
        eventually("an acknowledgement", async || {
            let acked: BTreeSet<u32> = self.received(|received| received.acked.keys().copied().collect());
            if wanted.is_subset(&acked) { Ok(()) } else { Err(format!("{acked:?} of {wanted:?}")) }
        })
        .await;
    }
}

/// Opens a stream with `hello`.
pub(crate) async fn open(
    url: &str,
    hello: v1::Hello,
) -> Result<(mpsc::Sender<v1::IngestRequest>, Streaming<v1::IngestResponse>), tonic::Status> {
    let (outbox, requests) = mpsc::channel(64);
    outbox.send(v1::IngestRequest { body: Some(ingest_request::Body::Hello(hello)) }).await.unwrap();
    let mut client = IngestClient::connect(url.to_owned()).await.unwrap();
    let inbound = client.stream(ReceiverStream::new(requests)).await?.into_inner();
    Ok((outbox, inbound))
}

async fn read(mut inbound: Streaming<v1::IngestResponse>, received: Arc<Mutex<Received>>) {
    loop {
        let message = inbound.message().await;
        let mut received = received.lock().unwrap();
        match message {
            Ok(Some(message)) => match message.body {
                Some(ingest_response::Body::Ack(ack)) => {
                    received.gate = (ack.floor, ack.old_until);
                    received.acked.extend(ack.ticks.iter().map(|tick| (*tick, (ack.copies, ack.alone))));
                }
                Some(ingest_response::Body::Refusal(refusal)) => drop(received.refused.insert(refusal.tick, refusal)),
                Some(ingest_response::Body::KeyframeRequest(_)) => received.keyframes += 1,
                Some(ingest_response::Body::Redirect(redirect)) => received.redirect = Some(redirect),
                _ => {}
            },
            Ok(None) => {
                received.ended = Some(Ok(()));
                return;
            }
            Err(status) => {
                received.ended = Some(Err(status));
                return;
            }
        }
    }
}

/// One second of a small host.
pub(crate) fn content(tick: u32, requests: u64, micros: u64) -> Content {
    let gauge = |metric, attributes: &[(&str, &str)], value| Sample {
        series: Series::of(metric, attributes),
        value: Value::Gauge(metric.fixed(value)),
    };
    let grpc = [("protocol", "grpc")];
    let mut duration = HistogramSum::new();
    duration.record(micros * 1000, requests);
    Content {
        tick,
        samples: vec![
            gauge(&catalogue::CPU_UTILIZATION, &[], 0.5),
            gauge(&catalogue::CPU_COUNT, &[], 2.0),
            gauge(&catalogue::MEMORY_LIMIT, &[], 1e9),
            gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "0")], 0.25),
            gauge(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "1")], 0.75),
            Sample { series: Series::of(&catalogue::REQUESTS, &grpc), value: Value::Counter(requests) },
            Sample {
                series: Series::of(&catalogue::DURATION, &grpc),
                value: Value::Histogram(Arc::new(duration.to_histogram())),
            },
        ],
        dropped: 0,
    }
}

/// Requests of a scope over a range, as `QueryRange` answers.
pub(crate) async fn requests_answer(
    aggregator: &Aggregator,
    scope: v1::Scope,
    [from_tick, to_tick, step_seconds]: [u32; 3],
) -> Result<v1::RangeAnswer, String> {
    let asked = v1::QueryRangeRequest {
        scope: Some(scope),
        name: "traffic.requests".into(),
        total: true,
        statistics: vec!["increase".into()],
        from_tick,
        to_tick,
        step_seconds,
        ..v1::QueryRangeRequest::default()
    };
    let answer = aggregator.query().await.query_range(asked).await.map_err(|status| status.to_string())?;
    Ok(answer.into_inner())
}

/// The values that there are of [`requests_answer`], by the first second of each point.
pub(crate) async fn requests_over(
    aggregator: &Aggregator,
    scope: v1::Scope,
    range: [u32; 3],
) -> Result<Vec<(u32, f64)>, String> {
    let answer = requests_answer(aggregator, scope, range).await?;
    let values = answer.series.iter().flat_map(|series| series.statistics.iter().flat_map(|one| one.values.clone()));
    let points = answer.points.iter().map(|point| point.tick).zip(values);
    Ok(points.filter(|(_, value)| !value.is_nan()).collect())
}
