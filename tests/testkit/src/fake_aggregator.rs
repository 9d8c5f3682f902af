//! An aggregator for tests of nodes: speaks `starling.v1.Ingest`, keeps what it receives, and does only what the test
//! says.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use starling_proto::{
    frame::{Content, Decoder},
    ids::WriterId,
    interner::Interner,
    v1::{self, ingest_request, ingest_response},
};
use starling_service::grpc::ingest_server::{Ingest, IngestServer};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::wait::until;

/// What the fake does with what comes.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// Answers a hello with a redirect there, unless it is the final hop.
    pub redirect_to: Option<String>,
    /// Acknowledges every frame at once.
    pub ack: bool,
    /// Named in the accept as the next best.
    pub ranked: Vec<String>,
    /// Ends the stream on a hello with INVALID_ARGUMENT and these words.
    pub refuse_hello: Option<String>,
    /// Refuses every frame as too early, as an aggregator does whose clock is behind.
    pub clock_is_behind: bool,
}

/// What the fake has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Every hello, in order.
    pub hellos: Vec<v1::Hello>,
    /// Frames as they came: connection, frame.
    pub frames: Vec<(usize, v1::Frame)>,
    /// Content by tick.
    pub contents: BTreeMap<u32, Content>,
    /// Last ticks of the streams that said their end.
    pub ends_of_stream: Vec<u32>,
    /// What nodes reported of their collectors.
    pub collectors: Vec<v1::CollectorReport>,
}

type Answers = mpsc::Sender<Result<v1::IngestResponse, Status>>;

#[derive(Clone)]
struct IngestEndpoint {
    writer: WriterId,
    name: String,
    manners: Arc<Mutex<Manners>>,
    seen: watch::Sender<Seen>,
    open: watch::Sender<Option<Answers>>,
}

/// A false aggregator on a port of its own.
#[derive(Debug)]
pub struct FakeAggregator {
    /// Where it listens.
    pub address: SocketAddr,
    /// Named in its accepts.
    pub writer: WriterId,
    manners: Arc<Mutex<Manners>>,
    seen: watch::Sender<Seen>,
    open: watch::Sender<Option<Answers>>,
    /// Its own, so that a kill ends every connection as the end of a process does.
    runtime: Option<Runtime>,
}

impl FakeAggregator {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(name: &str, manners: Manners) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), name, manners).await
    }

    /// Starts one at an address.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub async fn start_at(address: SocketAddr, name: &str, manners: Manners) -> Self {
        let endpoint = IngestEndpoint {
            writer: WriterId::random(),
            name: name.to_owned(),
            manners: Arc::new(Mutex::new(manners)),
            seen: watch::Sender::new(Seen::default()),
            open: watch::Sender::new(None),
        };
        let service = IngestServer::new(endpoint.clone());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listening = runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            // Owned by the runtime of the fake.
            tokio::spawn(async move {
                let incoming = TcpListenerStream::new(listener);
                tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
            });
            address
        });
        let address = listening.await.expect("it listens");
        let IngestEndpoint { writer, manners, seen, open, .. } = endpoint;
        Self { address, writer, manners, seen, open, runtime: Some(runtime) }
    }

    /// Ends as a killed process does: every connection breaks.
    pub fn kill(self) {
        drop(self);
    }

    /// Changes what it does from now on.
    ///
    /// # Panics
    /// When a test panicked in `change` before.
    pub fn set(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().expect("not poisoned"));
    }

    /// Waits until `wanted` holds for what was seen.
    ///
    /// # Panics
    /// As [`until`] does.
    pub async fn until(&self, what: &str, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        until(&mut self.seen.subscribe(), what, wanted).await
    }

    /// Says something on the open stream.
    ///
    /// # Panics
    /// When it is not read.
    pub async fn say(&self, body: ingest_response::Body) {
        let mut open = self.open.subscribe();
        let answers = open.wait_for(Option::is_some).await.expect("the fake lives").clone().expect("just checked");
        answers.send(Ok(v1::IngestResponse { body: Some(body) })).await.expect("a stream that reads");
    }
}

impl Drop for FakeAggregator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tonic::async_trait]
impl Ingest for IngestEndpoint {
    type StreamStream = ReceiverStream<Result<v1::IngestResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::IngestRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (answers, stream) = mpsc::channel(256);
        // Owned by the connection: it ends with the stream it reads.
        tokio::spawn(self.clone().converse(request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl IngestEndpoint {
    async fn converse(self, mut requests: Streaming<v1::IngestRequest>, answers: Answers) {
        let (mut decoder, names) = (Decoder::new(), Interner::default());
        let mut connection = 0;
        while let Ok(Some(request)) = requests.message().await {
            let manners = self.manners.lock().expect("not poisoned").clone();
            let answer = match request.body {
                Some(ingest_request::Body::Hello(hello)) => {
                    if let Some(words) = manners.refuse_hello {
                        let _ = answers.send(Err(Status::invalid_argument(words))).await;
                        return;
                    }
                    let redirect = manners.redirect_to.filter(|_| !hello.final_hop);
                    self.seen.send_modify(|seen| {
                        seen.hellos.push(hello);
                        connection = seen.hellos.len();
                    });
                    match redirect {
                        Some(address) => {
                            let ranked = vec![v1::Endpoint { aggregator_id: "owner".into(), address }];
                            let redirect = v1::Redirect { ranked, known: vec![] };
                            let body = Some(ingest_response::Body::Redirect(redirect));
                            let _ = answers.send(Ok(v1::IngestResponse { body })).await;
                            return;
                        }
                        None => {
                            self.open.send_replace(Some(answers.clone()));
                            let ranked = manners.ranked.into_iter();
                            Some(ingest_response::Body::Accept(v1::Accept {
                                writer_id: self.writer.to_bytes(),
                                aggregator_id: self.name.clone(),
                                ranked: ranked
                                    .map(|a| v1::Endpoint { aggregator_id: "x".into(), address: a })
                                    .collect(),
                                known: vec![],
                                sent_at_unix_ms: 1,
                                ..v1::Accept::default()
                            }))
                        }
                    }
                }
                Some(ingest_request::Body::Frame(frame)) => {
                    let tick = frame.tick;
                    let content = decoder.decode(&frame, &names).expect("a good frame").second.content();
                    self.seen.send_modify(|seen| {
                        seen.contents.insert(tick, content);
                        seen.frames.push((connection, frame));
                    });
                    if manners.clock_is_behind {
                        let reason = v1::RefusalReason::TooEarly as i32;
                        let refusal = v1::Refusal { tick, reason, detail: "in the future".into() };
                        let body = Some(ingest_response::Body::Refusal(refusal));
                        let _ = answers.send(Ok(v1::IngestResponse { body })).await;
                        continue;
                    }
                    let ack = v1::Ack { ticks: vec![tick], copies: 1, alone: true, ..v1::Ack::default() };
                    manners.ack.then_some(ingest_response::Body::Ack(ack))
                }
                Some(ingest_request::Body::Detail(_)) => None,
                Some(ingest_request::Body::Collectors(report)) => {
                    self.seen.send_modify(|seen| seen.collectors.push(report));
                    None
                }
                Some(ingest_request::Body::EndOfStream(end_of_stream)) => {
                    self.seen.send_modify(|seen| seen.ends_of_stream.push(end_of_stream.last_tick));
                    None
                }
                None => None,
            };
            if let Some(body) = answer
                && answers.send(Ok(v1::IngestResponse { body: Some(body) })).await.is_err()
            {
                return;
            }
        }
        self.open.send_if_modified(|open| open.take_if(|now| now.same_channel(&answers)).is_some());
    }
}
