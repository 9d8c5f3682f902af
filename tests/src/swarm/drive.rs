//! The sockets and the clock of a swarm: one thread, one task a node.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustls::ClientConfig;
use starling_proto::v1;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Counts, Template,
    http2::GrpcStream,
    session::{Outcome, SwarmSession},
    wire::Wire,
};

/// The labels of node `i`.
pub type Labels = Box<dyn Fn(usize) -> HashMap<String, String> + Send>;

/// How node `i` proves who it is; see [`SwarmConfig::tls`].
pub type Proofs = Box<dyn Fn(usize) -> Arc<ClientConfig> + Send>;

/// Between two attempts of one node, drawn up to this.
const RETRY_MS: u64 = 500;
/// A connection that was not taken within this time is given up.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);

/// Who the nodes are and how they come.
pub struct SwarmConfig {
    /// Where the aggregators are; node `i` begins at the `i`-th.
    pub targets: Vec<SocketAddr>,
    /// How many nodes; they are named `prefix-00000` and so on.
    pub nodes: usize,
    /// Start of their names.
    pub prefix: String,
    /// What they send; node `i` takes the `i`-th.
    pub templates: Vec<Arc<Template>>,
    /// What the operator calls them.
    pub labels: Labels,
    /// Frames are sent this long after the end of their second, evenly.
    pub spread: Duration,
    /// Nodes that come in one second.
    pub ramp: f64,
    /// With what each node speaks TLS, a certificate of its name in it; `None`: plain text.
    pub tls: Option<Proofs>,
}

impl fmt::Debug for SwarmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmConfig of {} nodes at {:?}", self.nodes, self.targets)
    }
}

/// Nodes at work. They stop when it is dropped.
#[derive(Debug)]
pub struct Swarm {
    counts: Arc<Mutex<Counts>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Swarm {
    /// Starts the nodes in a thread of their own.
    ///
    /// # Panics
    /// Without targets or templates.
    #[must_use]
    pub fn start(config: SwarmConfig) -> Self {
        assert!(!config.targets.is_empty() && !config.templates.is_empty(), "somewhere to go and something to send");
        let (counts, stop) = (Arc::new(Mutex::new(Counts::default())), CancellationToken::new());
        let (shared, token) = (Arc::clone(&counts), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, run(config, &shared, token));
        });
        Self { counts, stop, thread: Some(thread) }
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// Begins the counts of a measured time.
    pub fn reset(&self) {
        lock(&self.counts).restart();
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since the Unix epoch.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

async fn run(config: SwarmConfig, counts: &Arc<Mutex<Counts>>, stop: CancellationToken) {
    let mut random = StdRng::seed_from_u64(42);
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..config.nodes {
        let hello = v1::Hello {
            node_id: format!("{}-{i:05}", config.prefix),
            stream_id: random.random::<[u8; 16]>().to_vec().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            host: Some(v1::HostFacts { cores: 8, memory_bytes: 32e9, ..Default::default() }),
            labels: (config.labels)(i),
            simulated: true,
            ..Default::default()
        };
        let mut targets = config.targets.clone();
        targets.rotate_left(i % config.targets.len());
        let node = SwarmNode {
            number: i,
            session: SwarmSession::new(hello, Arc::clone(&config.templates[i % config.templates.len()])),
            offset: config.spread.mul_f64(random.random()),
            random: StdRng::seed_from_u64(random.random()),
            targets,
            next_tick: 0,
            holder: None,
            attempts: 0,
            reported: 0,
            counts: Arc::clone(counts),
            tls: config.tls.as_ref().map(|proof| proof(i)),
            start: begun + Duration::from_secs_f64(i as f64 / config.ramp),
        };
        tasks.spawn_local(node.run(stop.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

/// One node and where it is.
struct SwarmNode {
    number: usize,
    session: SwarmSession,
    offset: Duration,
    random: StdRng,
    targets: Vec<SocketAddr>,
    next_tick: u32,
    /// The aggregator that holds the stream.
    holder: Option<String>,
    /// Connections begun since the stream was open.
    attempts: u32,
    /// The unacknowledged frames of this node that stand in the counts.
    reported: usize,
    counts: Arc<Mutex<Counts>>,
    tls: Option<Arc<ClientConfig>>,
    start: Instant,
}

impl SwarmNode {
    async fn run(mut self, stop: CancellationToken) {
        let counts = Arc::clone(&self.counts);
        tokio::select! {
            () = stop.cancelled() => {}
            () = async {
                sleep_until(self.start).await;
                self.next_tick = now().as_secs() as u32 + 1;
                let mut attempts = 0;
                let mut address = self.targets[0];
                loop {
                    let redirected = self.connection(address).await;
                    self.close();
                    if let Some(next) = redirected {
                        lock(&counts).redirects += 1;
                        address = next;
                        continue;
                    }
                    let pause = self.random.random_range(0..RETRY_MS);
                    self.idle(Duration::from_millis(pause)).await;
                    // The ranking of the last aggregator begins with itself, which is the one that is gone.
                    let ranked = self.session.ranked.iter().filter_map(|a| a.parse().ok()).filter(|a| *a != address);
                    let next: Vec<SocketAddr> = ranked.chain(self.targets.iter().copied()).collect();
                    address = next[attempts % next.len()];
                    attempts += 1;
                }
            } => {}
        }
    }

    /// Goes on cutting frames while there is no connection.
    async fn idle(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while let Ok(()) = tokio::time::timeout_at(until, sleep_until(self.due_at())).await {
            self.cut();
        }
    }

    fn due_at(&self) -> Instant {
        let due = Duration::from_secs(self.next_tick.into()) + self.offset;
        Instant::now() + due.saturating_sub(now())
    }

    fn cut(&mut self) {
        let lost = self.session.cut(self.next_tick);
        self.next_tick += 1;
        lock(&self.counts).lost += lost as u64;
    }

    /// One connection to its end; where to go next when the aggregator said so.
    async fn connection(&mut self, address: SocketAddr) -> Option<SocketAddr> {
        self.attempts += 1;
        lock(&self.counts).attempts += 1;
        let mut socket = match Wire::connect(address, self.tls.as_ref(), TAKEN_WITHIN).await {
            Ok(socket) => socket,
            Err(error) => {
                lock(&self.counts).trouble(format!("connect {address}: {error}"));
                return None;
            }
        };
        let mut stream = GrpcStream::open(&address.to_string(), "/starling.v1.Ingest/Stream");
        stream.send(&self.session.connect(now().as_millis() as u64));
        let deadline = Instant::now() + TAKEN_WITHIN;
        loop {
            if let Err(error) = socket.write(&mut stream.wire) {
                self.broken(&error.to_string());
                return None;
            }
            tokio::select! {
                ready = socket.ready(&stream.wire) => match ready {
                    Ok(ready) if ready.is_readable() => match self.read(&mut socket, &mut stream) {
                        Ok(None) => {}
                        Ok(next) => return next,
                        Err(why) => {
                            self.broken(&why);
                            return None;
                        }
                    },
                    Ok(_) => {}
                    Err(error) => {
                        self.broken(&error.to_string());
                        return None;
                    }
                },
                () = sleep_until(self.due_at()) => {
                    let late = now().saturating_sub(Duration::from_secs(self.next_tick.into()));
                    self.cut();
                    self.send(&mut stream, Some(late));
                }
                () = sleep_until(deadline), if self.holder.is_none() => {
                    self.broken("not taken in time");
                    return None;
                }
            }
        }
    }

    /// Sends what is due; `late` is how long ago the newest frame's second ended.
    fn send(&mut self, stream: &mut GrpcStream, late: Option<Duration>) {
        let due = self.session.due();
        let mut counts = lock(&self.counts);
        for request in &due {
            counts.bytes += stream.send(request) as u64;
        }
        counts.sent += due.len() as u64;
        if let (Some(late), false) = (late, due.is_empty()) {
            counts.sent_after.record(late.as_nanos() as u64, 1);
        }
        count_unacked(&mut counts, &self.session, &mut self.reported);
    }

    fn read(&mut self, socket: &mut Wire, stream: &mut GrpcStream) -> Result<Option<SocketAddr>, String> {
        match socket.read(stream.read_buffer()) {
            Ok(0) => return Err("the connection was closed".into()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        // The messages that came before an end are taken in all the same.
        let end = stream.take_in();
        while let Some(message) = stream.next_message() {
            let message = v1::IngestResponse::decode(message).map_err(|error| error.to_string())?;
            match self.session.answer(message) {
                Outcome::Nothing => {}
                Outcome::Open(aggregator) => {
                    let mut counts = lock(&self.counts);
                    counts.connected += 1;
                    counts.attempts_max = counts.attempts_max.max(std::mem::take(&mut self.attempts));
                    *counts.by.entry(aggregator.clone()).or_default() += 1;
                    drop(counts);
                    self.holder = Some(aggregator);
                    self.send(stream, None);
                }
                Outcome::Redirected(address) => {
                    return address.parse().map(Some).map_err(|_| format!("no address: {address}"));
                }
                Outcome::Acked(ticks) => {
                    let now = now();
                    let mut counts = lock(&self.counts);
                    for tick in ticks {
                        counts.acked(self.number, tick);
                        let age = now.saturating_sub(Duration::from_secs(tick.into()));
                        counts.acked_after.record(age.as_nanos() as u64, 1);
                    }
                    count_unacked(&mut counts, &self.session, &mut self.reported);
                }
                Outcome::FreshStart(reason) => {
                    let mut counts = lock(&self.counts);
                    counts.keyframe_requests += 1;
                    counts.trouble(format!("keyframe wanted: {reason}"));
                }
                Outcome::Refused(detail) => {
                    let mut counts = lock(&self.counts);
                    counts.refused += 1;
                    counts.trouble(format!("refused: {detail}"));
                    count_unacked(&mut counts, &self.session, &mut self.reported);
                }
            }
        }
        end.map(|()| None).map_err(|over| over.to_string())
    }

    fn broken(&self, why: &str) {
        let mut counts = lock(&self.counts);
        counts.broken += 1;
        counts.trouble(why.to_owned());
    }

    fn close(&mut self) {
        self.session.disconnect();
        if let Some(holder) = self.holder.take() {
            let mut counts = lock(&self.counts);
            counts.connected -= 1;
            if let Some(nodes) = counts.by.get_mut(&holder) {
                *nodes -= 1;
            }
        }
    }
}

/// Brings the sum of unacknowledged frames up to date with one session.
fn count_unacked(counts: &mut Counts, session: &SwarmSession, reported: &mut usize) {
    counts.unacked = counts.unacked + session.unacked() as u64 - *reported as u64;
    *reported = session.unacked();
}
