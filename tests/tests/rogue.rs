//! An aggregator with a valid certificate that lies: it claims frames of nodes that never spoke to it, with made-up sums, for
//! seconds to come too, and floods its peers. Real processes, mutual TLS. It is named while it does so, holds up nobody,
//! and after one command nothing of what it said is left.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use prost::Message as _;
use starling_ledger::{Action, Event, Ledger, LedgerConfig, Offered, Saved, StreamNo, rollup::Cores};
use starling_proto::{
    catalogue,
    frame::Columns,
    histogram::Histogram,
    ids::{NodeId, StreamId, WriterId},
    interner::Interner,
    limits::PEER_MESSAGE_BYTES_MAX,
    series::{Sample, Series, Value},
    v1::{self, sync_message::Body},
};
use starling_service::{
    credentials::Security,
    grpc::peer_server,
    identity::Role,
    listen::{Connections, ListenMetrics},
    metrics::Registry,
};
use starling_testkit::eventually;
use starling_tests::{Issuer, Known, Oracle, Program, Secured, aggregator};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Name of the liar: after those of the others, so that they dial it.
const LIAR: &str = "agg-z";
/// Requests that it makes up for each node and second.
const MADE_UP: u64 = 1 << 39;
/// Entries of one message of the flood.
const FLOOD: usize = 60_000;
/// A second of honest nodes must be settled within this time of its end, whatever the liar does.
const SETTLED_WITHIN: u32 = 3;

/// What the liar knows and says.
struct Liar {
    ledger: Mutex<Ledger>,
    interner: Arc<Interner>,
    /// Streams of nodes that never spoke to it, as it learnt them from the logs of the others.
    learnt: Mutex<BTreeSet<(NodeId, StreamId)>>,
    lies: Mutex<bool>,
    /// Peers that dialled it.
    dialled: Mutex<u32>,
}

impl Liar {
    fn new(writer: WriterId) -> Arc<Self> {
        let config =
            LedgerConfig { aggregator_id: LIAR.to_owned(), early_seconds: u32::MAX / 4, ..LedgerConfig::default() };
        let interner = Arc::new(Interner::default());
        let ledger = Mutex::new(Ledger::new(writer, config, Arc::clone(&interner)));
        let (learnt, lies, dialled) = (Mutex::default(), Mutex::new(false), Mutex::new(0));
        Arc::new(Self { ledger, interner, learnt, lies, dialled })
    }

    fn learn(&self, run: &v1::Entries) {
        let payloads = run.payloads.iter().filter_map(|bytes| v1::LogPayload::decode(bytes.clone()).ok());
        let mut learnt = self.learnt.lock().unwrap();
        for stream in payloads.chain(run.definitions.clone()).flat_map(|payload| payload.streams) {
            learnt.insert((NodeId::parse(&stream.node_id).unwrap(), StreamId::parse(&stream.stream_id).unwrap()));
        }
    }

    /// Claims what every node will have said of the seconds around `now`, and of one far away; says that they ended.
    fn lie(&self, now: u32) {
        let now_ms = u64::from(now) * 1000;
        let ledger = &mut *self.ledger.lock().unwrap();
        for (node, id) in self.learnt.lock().unwrap().iter() {
            let Some(stream) = open(ledger, now_ms, node, *id) else { continue };
            for tick in [now - 1, now, now + 1, now + 2, now + 100_000] {
                let requests = Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]);
                let sample = Sample { series: requests, value: Value::Counter(MADE_UP) };
                let (columns, _) = Columns::of_samples(&self.interner, [&sample].into_iter());
                let (pin, groups, cores) = (Some(ledger.writer()), [].into(), Cores::default());
                ledger.handle(now_ms, Event::Offer(Offered { stream, tick, pin, groups, columns, cores }));
            }
            ledger.handle(now_ms, Event::Close { key: 1, stream, last_tick: Some(now - 60) });
        }
        ledger.handle(now_ms, Event::Flush);
        while ledger.next_action().is_some() {}
    }
}

fn open(ledger: &mut Ledger, now_ms: u64, node: &NodeId, stream: StreamId) -> Option<StreamNo> {
    ledger.handle(now_ms, Event::Open { key: 1, node: node.clone(), stream });
    let mut opened = None;
    while let Some(action) = ledger.next_action() {
        if let Action::Opened { result: Ok(number), .. } = action {
            opened = Some(number);
        }
    }
    opened
}

fn message(body: Body) -> v1::SyncMessage {
    v1::SyncMessage { body: Some(body) }
}

type Out<T> = ReceiverStream<Result<T, Status>>;

struct LyingPeer(Arc<Liar>);

#[tonic::async_trait]
impl peer_server::Peer for LyingPeer {
    type SyncStream = Out<v1::SyncMessage>;
    type ReadHistoryStream = Out<v1::HistoryPart>;
    type ListBlocksStream = Out<v1::BlockList>;
    type ReadRecentStream = Out<v1::RecentBlock>;
    type ReadBlocksStream = Out<v1::BlockPart>;
    type ReadAlertsStream = Out<v1::AlertRecords>;

    async fn sync(&self, request: Request<Streaming<v1::SyncMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        *self.0.dialled.lock().unwrap() += 1;
        let (outbox, responses) = mpsc::channel(16);
        tokio::spawn(speak(Arc::clone(&self.0), request.into_inner(), outbox));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn read_history(&self, _: Request<v1::ReadHistoryRequest>) -> Result<Response<Out<v1::HistoryPart>>, Status> {
        Err(Status::unimplemented("it lies"))
    }

    async fn list_blocks(&self, _: Request<v1::ListBlocksRequest>) -> Result<Response<Out<v1::BlockList>>, Status> {
        Err(Status::unimplemented("it lies"))
    }

    async fn read_blocks(&self, _: Request<v1::ReadBlocksRequest>) -> Result<Response<Out<v1::BlockPart>>, Status> {
        Err(Status::unimplemented("it lies"))
    }

    async fn read_recent(&self, _: Request<v1::ReadRecentRequest>) -> Result<Response<Out<v1::RecentBlock>>, Status> {
        Err(Status::unimplemented("it lies"))
    }

    async fn put_alerts(&self, _: Request<v1::AlertRecords>) -> Result<Response<v1::AlertDigest>, Status> {
        Err(Status::unimplemented("it lies"))
    }

    async fn read_alerts(&self, _: Request<v1::ReadAlertsRequest>) -> Result<Response<Out<v1::AlertRecords>>, Status> {
        Err(Status::unimplemented("it lies"))
    }

    async fn exchange_gossip_ring(
        &self,
        _: Request<v1::ExchangeGossipRingRequest>,
    ) -> Result<Response<v1::ExchangeGossipRingResponse>, Status> {
        Err(Status::unimplemented("it lies"))
    }
}

/// One stream of the liar: its own log as far as the peer lacks it, and while it lies the log of a process that never was.
async fn speak(
    liar: Arc<Liar>,
    mut inbound: Streaming<v1::SyncMessage>,
    outbox: mpsc::Sender<Result<v1::SyncMessage, Status>>,
) {
    let (mut sent, mut every) = (Saved::default(), tokio::time::interval(Duration::from_millis(200)));
    loop {
        tokio::select! {
            heard = inbound.message() => match heard {
                Ok(Some(v1::SyncMessage { body: Some(Body::Entries(run)) })) => liar.learn(&run),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            },
            _ = every.tick() => {
                let now = Oracle::now();
                let lies = *liar.lies.lock().unwrap();
                if lies {
                    liar.lie(now);
                }
                let (digest, runs) = {
                    let ledger = liar.ledger.lock().unwrap();
                    // Like one that waits for nobody.
                    let digest = v1::Digest { closed_tick: now, ..ledger.own_digest() };
                    (digest, ledger.unsaved(&sent, 1 << 20))
                };
                let mut messages = vec![message(Body::Digest(digest))];
                for unsaved in runs {
                    sent.keep(&unsaved);
                    messages.push(message(Body::Entries(unsaved.run)));
                }
                if lies {
                    let writer_id = WriterId::random().to_bytes();
                    let payloads = vec![bytes::Bytes::new(); FLOOD];
                    let previous_hash = writer_id.clone();
                    let run = v1::Entries { writer_id, first_sequence: 1, previous_hash, payloads, ..v1::Entries::default() };
                    messages.push(message(Body::Entries(run)));
                }
                for message in messages {
                    if outbox.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Serves the liar under the certificate of its name.
fn serve(liar: Arc<Liar>, security: Security, listener: tokio::net::TcpListener) {
    let service = peer_server::PeerServer::new(LyingPeer(liar))
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let metrics = ListenMetrics::new(&mut Registry::default());
    let connections = Connections::of(listener).secured(security).counted(metrics);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(connections));
}

/// That both show one second as the nodes sent it, and have nothing of another one in it.
async fn is_right(honest: &Secured, tick: u32, known: &Known) -> Result<(), String> {
    for name in honest.aggregators.keys() {
        let view = honest.view(name, tick).await?;
        let traffic = view.sections.as_ref().and_then(|is| is.traffic.clone()).ok_or("no traffic")?;
        let latency = Histogram::decode(&traffic.latency.clone().unwrap_or_default().histogram);
        let seen = (traffic.requests_per_second(), traffic.errors_per_second());
        if seen != (known.requests as f64, known.errors as f64) || latency.ok().as_ref() != Some(&known.latency) {
            return Err(format!("tick {tick} at {name}: {seen:?}, sent were {known:?}"));
        }
        let (completeness, ledger) = (view.completeness.unwrap_or_default(), honest.ledger(name, tick).await?);
        let nodes = (completeness.nodes_reporting(), completeness.nodes_expected(), ledger.frames_counted());
        if nodes != (known.nodes, known.nodes, known.nodes) {
            return Err(format!("tick {tick} at {name}: {nodes:?} of {} nodes", known.nodes));
        }
    }
    honest.agree_on(tick).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_aggregator_that_lies_is_named_holds_up_nobody_and_is_taken_back_out() {
    let issuer = Issuer::new("test");
    issuer.issue("operator", "ann");
    let (one, operator) = (aggregator(&issuer, "agg-1", &[], &[]), issuer.security("ann", Role::Operator));
    let gossip = vec![one.address("gossip").to_string()];
    let two = aggregator(&issuer, "agg-2", &gossip, &[]);
    let mut honest = Secured { operator, aggregators: BTreeMap::from([("agg-1", one), ("agg-2", two)]) };
    // Its gossip is that of a real process, which tells the others to dial the liar.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let told = format!("grpc_advertise={}", listener.local_addr().unwrap());
    let body = aggregator(&issuer, LIAR, &gossip, &[told, "weight=1".to_owned()]);
    let writer = eventually("the process of the liar says its writer", async || {
        let log = body.log();
        let of = log.split("writer=").nth(1).and_then(|rest| rest.get(..32)).ok_or(log.clone())?;
        WriterId::from_hex(of).ok_or(log)
    })
    .await;
    let liar = Liar::new(writer);
    serve(Arc::clone(&liar), issuer.security(LIAR, Role::Aggregator), listener);
    honest.are_linked(2).await;

    let seeds: Vec<String> = honest.aggregators.values().map(|one| one.address("grpc").to_string()).collect();
    let mut oracle = Oracle::start_as(4, &seeds, rand::random(), |node| {
        issuer.issue("node", node);
        issuer.security(node, Role::Node)
    });
    for _ in 0..4 {
        oracle.cut().await;
    }
    eventually("the liar knows the streams of all nodes", async || match liar.learnt.lock().unwrap().len() {
        4.. => Ok(()),
        found => Err(format!("{found}, owners {:?}", oracle.owners())),
    })
    .await;

    *liar.lies.lock().unwrap() = true;
    let (began, mut latest) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(12) {
        let tick = oracle.cut().await;
        for name in ["agg-1", "agg-2"] {
            let settled = honest.view(name, 0).await.unwrap().tick;
            latest = latest.max(tick - settled.min(tick));
            assert!(settled + SETTLED_WITHIN >= tick, "{name} has settled {settled}, it is {tick}");
        }
    }
    println!("seconds were settled at most {latest} s late while it lied");
    for name in ["agg-1", "agg-2"] {
        eventually("it is named", async || {
            let ledger = honest.ledger(name, 0).await?;
            let by = |dispute: &v1::LedgerDispute| dispute.aggregator_ids.iter().any(|one| one == LIAR);
            let log = honest.aggregators[name].log();
            match log.contains("claim the same frames") && ledger.disputes.iter().any(by) {
                true => Ok(()),
                false => Err(format!("{:?}, {log}", ledger.disputes)),
            }
        })
        .await;
        assert!(honest.counter(name, "starling_aggregator_ledger_runs_refused_total").await > 0.0, "{name}: the flood");
    }
    eventually("the alert fires", async || {
        let logs: Vec<String> = honest.aggregators.values().map(Program::log).collect();
        match logs.iter().any(|log| log.contains("aggregators-contradict")) {
            true => Ok(()),
            false => Err(logs.concat()),
        }
    })
    .await;
    // What it says comes late, since it waits for having said too much.
    eventually("it is believed until somebody says otherwise", async || {
        let mut most = 0.0_f64;
        for tick in oracle.known().keys() {
            let shown = honest.view("agg-1", *tick).await?.sections.and_then(|all| all.traffic).unwrap_or_default();
            most = most.max(shown.requests_per_second());
        }
        if most > 1e11 { Ok(()) } else { Err(format!("{most} requests in the second with most")) }
    })
    .await;

    let asked = ["--aggregator", &seeds[1], "--tls", &issuer.path("ann")].map(str::to_owned);
    let starling = |command: &[&str]| {
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        Program::run_to_end("starling", &[&["aggregator"], command, &asked].concat())
    };
    let mistyped = starling(&["quarantine", "agg-y"]);
    assert_eq!(mistyped.0, Some(1), "{}", mistyped.1);
    assert!(mistyped.1.contains("no aggregator is called agg-y"), "{}", mistyped.1);
    let done = starling(&["quarantine", LIAR, "--reason", "it lies"]);
    assert_eq!(done.0, Some(0), "{}", done.1);
    for _ in 0..3 {
        oracle.cut().await;
    }
    eventually("every frame is acknowledged", async || match oracle.outstanding() {
        (0, 0) => Ok(()),
        (unacked, lost) => Err(format!("{unacked} unacknowledged, {lost} lost, owners {:?}", oracle.owners())),
    })
    .await;
    for (&tick, known) in oracle.known() {
        eventually("nothing of it is left", async || is_right(&honest, tick, known).await).await;
    }

    // It keeps on, by the same name, and is not heard: neither now nor by a process that starts again.
    honest.aggregators.get_mut("agg-1").unwrap().start_again();
    let dialled = *liar.dialled.lock().unwrap();
    for name in ["agg-1", "agg-2"] {
        eventually("they have each other and not the liar", async || {
            let (linked, ledger) = (honest.linked(name).await?, honest.ledger(name, 0).await?);
            let quarantined: Vec<&str> = ledger.quarantined.iter().map(|one| one.aggregator_id.as_str()).collect();
            match (linked, &quarantined[..]) {
                (1, [LIAR]) => Ok(()),
                other => Err(format!("{name}: {other:?}")),
            }
        })
        .await;
    }
    for _ in 0..3 {
        oracle.cut().await;
    }
    for (&tick, known) in oracle.known() {
        eventually("it stays away", async || is_right(&honest, tick, known).await).await;
    }
    assert_eq!(*liar.dialled.lock().unwrap(), dialled, "nobody dials it any more");
}
