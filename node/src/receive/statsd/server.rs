//! Reads the sockets, and hands over what was gathered a few times a second.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use starling_service::log::LogLimiter;
use tokio::{
    io::AsyncReadExt as _,
    net::{UdpSocket, UnixDatagram, UnixListener, UnixStream},
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{drops, ports::StatsdPorts, table::Table};
use crate::{
    metrics::Metrics,
    receive::{Moment, Refusal, SharedReceiver, StatsdRules},
};

/// Largest datagram, and largest frame on a stream: what the length of an IP datagram can say.
const DATAGRAM_MAX: usize = 65_535;
/// Bytes that are taken before others have a turn: about 5 ms of work.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// How often drops of the kernel are read: about 20 us each with a hundred sockets.
const DROPS_EVERY: Duration = Duration::from_secs(2);
/// Lines are gathered for so long before the receiver is asked.
const GATHER: Duration = Duration::from_millis(50);
/// How often gauges that hold are handed over when nothing comes.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// Connections on the stream socket: more than a pool of workers has. Further ones are closed at once and counted.
const CONNECTIONS_MAX: usize = 256;
/// What a connection keeps of its buffer between two frames: the usual frame of a client.
const KEPT_BYTES: usize = 8 * 1024;
/// Lines of one kind in the log come at most this often.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// What all sockets fill.
struct Gathered {
    table: Mutex<Table>,
    receiver: SharedReceiver,
    metrics: Arc<Metrics>,
    /// Told when there is something to flush.
    filled: Notify,
    refused: LogLimiter,
    crowded: LogLimiter,
    dropped: LogLimiter,
}

/// Takes StatsD until `shutdown`, and hands over what was taken.
///
/// # Errors
/// When a socket fails.
pub(crate) async fn serve(
    ports: StatsdPorts,
    receiver: SharedReceiver,
    rules: StatsdRules,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let lines = || LogLimiter::new(REPEAT_AFTER);
    let gathered = Arc::new(Gathered {
        table: Mutex::new(Table::new(rules)),
        receiver,
        metrics,
        filled: Notify::new(),
        refused: lines(),
        crowded: lines(),
        dropped: lines(),
    });
    let StatsdPorts { udp, datagrams, streams } = ports;
    let udp = udp.map(|(socket, _)| socket);
    let (datagrams, _datagram_file) = datagrams.unzip();
    let (streams, _stream_file) = streams.unzip();
    let inode = udp.as_ref().and_then(|socket| rustix::fs::fstat(socket.as_fd()).ok()).map(|stat| stat.st_ino);
    let sources = async {
        tokio::try_join!(
            optional(udp, async |socket| over_udp(&gathered, &socket).await),
            optional(datagrams, async |socket| over_unix(&gathered, &socket).await),
            optional(streams, async |listener| over_streams(&gathered, &listener).await),
            async {
                flushing(&gathered, inode).await;
                Ok(())
            },
        )
        .map(drop)
    };
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        ended = sources => ended,
    };
    gathered.flush();
    ended
}

/// Runs what there is; waits for ever where there is nothing.
async fn optional<T>(source: Option<T>, run: impl AsyncFnOnce(T) -> io::Result<()>) -> io::Result<()> {
    match source {
        Some(source) => run(source).await,
        None => std::future::pending().await,
    }
}

async fn over_udp(gathered: &Gathered, socket: &UdpSocket) -> io::Result<()> {
    let mut bytes = vec![0; DATAGRAM_MAX];
    loop {
        socket.readable().await?;
        gathered.take_all(&mut bytes, |bytes| socket.try_recv(bytes))?;
    }
}

async fn over_unix(gathered: &Gathered, socket: &UnixDatagram) -> io::Result<()> {
    let mut bytes = vec![0; DATAGRAM_MAX];
    loop {
        socket.readable().await?;
        gathered.take_all(&mut bytes, |bytes| socket.try_recv(bytes))?;
    }
}

/// Takes frames: a length in four bytes, the lowest first, and as many bytes of lines (DogStatsD, "unixstream://").
async fn over_streams(gathered: &Arc<Gathered>, listener: &UnixListener) -> io::Result<()> {
    // Ended with this future.
    let mut connections = JoinSet::new();
    loop {
        let connection = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => connection,
                // Too many open files and the like: others go on, and this passes.
                Err(error) => {
                    gathered.crowd(&error.to_string());
                    sleep(IDLE_EVERY).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        if connections.len() >= CONNECTIONS_MAX {
            gathered.crowd("there are too many");
            continue;
        }
        let gathered = Arc::clone(gathered);
        connections.spawn(async move { over_stream(&gathered, connection).await });
    }
}

/// Until the sender closes; what is no frame ends it too.
async fn over_stream(gathered: &Gathered, mut connection: UnixStream) {
    let mut frame = Vec::new();
    // A sender that closes within a frame has sent no more.
    while let Ok(length) = connection.read_u32_le().await {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > DATAGRAM_MAX {
            let refusal = Refusal::Malformed("a frame on the stream socket is longer than 65535 bytes, or is none");
            gathered.lock().refuse(b"", &refusal, 1);
            gathered.filled.notify_one();
            return;
        }
        frame.resize(length, 0);
        if connection.read_exact(&mut frame).await.is_err() {
            return;
        }
        gathered.take(&frame, gathered.receiver.now());
        gathered.filled.notify_one();
        frame.clear();
        frame.shrink_to(KEPT_BYTES);
    }
}

/// Hands over what was gathered, soon after it came; gauges that hold, each second. Without any there is nothing to do
/// until something comes, and where nothing came nothing was dropped.
async fn flushing(gathered: &Gathered, inode: Option<u64>) {
    let (mut dropped, mut looked) = (0, Instant::now());
    let mut may_have_dropped = false;
    loop {
        let holds = gathered.lock().len() > 0 || may_have_dropped;
        let came = tokio::select! {
            () = gathered.filled.notified() => true,
            () = sleep(IDLE_EVERY), if holds => false,
        };
        if came {
            sleep(GATHER).await;
        }
        gathered.flush();
        may_have_dropped |= came;
        if let Some(inode) = inode
            && may_have_dropped
            && looked.elapsed() >= DROPS_EVERY
            && let Some(now) = drops::of(inode).await
        {
            (looked, may_have_dropped) = (Instant::now(), false);
            gathered.note_drops(now.saturating_sub(dropped));
            dropped = now;
        }
    }
}

impl Gathered {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic inside is a bug; what was gathered before it is still right.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes datagrams as long as there are any, for one turn.
    fn take_all(&self, bytes: &mut [u8], receive: impl Fn(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        let (now, mut taken) = (self.receiver.now(), 0);
        while taken < TURN_BYTES_MAX {
            match receive(bytes) {
                Ok(n) => {
                    self.take(&bytes[..n], now);
                    // An empty one takes its time too.
                    taken += n.max(64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if taken > 0 {
            self.filled.notify_one();
        }
        Ok(())
    }

    fn take(&self, datagram: &[u8], now: Moment) {
        self.metrics.statsd_datagrams.inc();
        let mut table = self.lock();
        table.take(datagram, now);
        if table.is_full() {
            self.flush_table(&mut table);
        }
    }

    fn flush(&self) {
        self.flush_table(&mut self.lock());
    }

    fn flush_table(&self, table: &mut Table) {
        let now = self.receiver.now();
        let outcome = table.flush(&mut self.receiver.lock(), now);
        outcome.count_in(&self.metrics.statsd_samples, &self.metrics.statsd_refused);
        self.metrics.statsd_streams.set(table.len() as f64);
        let refused = outcome.refused_total();
        if refused == 0 {
            return;
        }
        if let Some(left_out) = self.refused.allow() {
            warn!(left_out, refused, taken = outcome.taken, detail = %outcome, "StatsD lines refused");
        }
    }

    fn crowd(&self, reason: &str) {
        self.metrics.statsd_crowded.inc();
        if let Some(left_out) = self.crowded.allow() {
            warn!(left_out, reason, most = CONNECTIONS_MAX, "a connection on statsd_stream_socket was not taken");
        }
    }

    fn note_drops(&self, dropped: u64) {
        self.metrics.statsd_dropped.add(dropped);
        if dropped > 0
            && let Some(left_out) = self.dropped.allow()
        {
            warn!(
                left_out,
                dropped,
                "the kernel dropped StatsD datagrams: raise net.core.rmem_max and statsd_receive_buffer, or let clients send \
                 several lines in a datagram"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::{Mapping, NegativeGauges, ReceiverLimits, StatsdSettings, WhichCut};
    use starling_proto::series::Value;
    use starling_service::metrics::Registry;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn frames_are_taken_whole_and_what_is_none_ends_its_connection_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stream.sock");
        let settings = StatsdSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            is_spare: false,
            socket: None,
            stream_socket: Some(path.clone()),
            receive_buffer: 1 << 20,
        };
        let limits = ReceiverLimits { series: 10, routes: 10, streams: 10, stale_after: Duration::from_secs(60) };
        let receiver = SharedReceiver::new(limits, Mapping::defaults(), Vec::new());
        let rules = StatsdRules {
            mappings: Mapping::defaults(),
            negative_gauges: NegativeGauges::Auto,
            gauges_hold: Duration::from_secs(60),
            streams: 10,
        };
        let metrics = Arc::new(Metrics::new(&mut Registry::default()));
        let stop = CancellationToken::new();
        let ports = StatsdPorts::open(&settings).unwrap();
        let serving = tokio::spawn(serve(ports, receiver.clone(), rules, Arc::clone(&metrics), stop.clone()));

        let mut good = UnixStream::connect(&path).await.unwrap();
        let mut bad = UnixStream::connect(&path).await.unwrap();
        let frame = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        let bytes = [frame("a:1|c"), frame(""), frame("a:2|c\nb:1|c")].concat();
        // In pieces, as a busy host gives them.
        for piece in bytes.chunks(3) {
            good.write_all(piece).await.unwrap();
        }
        bad.write_all(&frame("a:10|c")).await.unwrap();
        bad.write_all(&70_000u32.to_le_bytes()).await.unwrap();
        assert_eq!(bad.read(&mut [0; 8]).await.unwrap_or(0), 0, "it is closed");
        good.write_all(&frame("a:100|c")).await.unwrap();
        let mut others = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 5 {
            others.push(UnixStream::connect(&path).await.unwrap());
        }
        let mut last = others.pop().unwrap();
        assert_eq!(last.read(&mut [0; 8]).await.unwrap_or(0), 0, "there are too many");
        drop(good);
        // What was read is handed over at the end.
        sleep(Duration::from_millis(100)).await;
        stop.cancel();
        serving.await.unwrap().unwrap();
        let mut samples = Vec::new();
        let cut = receiver.cut(WhichCut::Last, &mut samples);
        let a = samples.iter().find(|sample| sample.series.name() == "a").map(|sample| sample.value.clone());
        assert_eq!((a, cut.refused), (Some(Value::Counter(113)), 1));
        assert!(!path.exists());
    }
}
