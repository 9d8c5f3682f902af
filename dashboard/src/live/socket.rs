//! One WebSocket, from the upgrade to its end, for pages and for JSON clients alike.
//!
//! At most one message is on its way to a client; what it has not been sent stays in the hub, once for all clients. A
//! client that takes none for [`SEND_TIMEOUT`] is closed with 1013 ("try again later").

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use starling_service::requests::{Protocol, RequestMeter};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::debug;

use crate::{
    access::Caller,
    error::ApiError,
    metrics::{Closed, Metrics, Refusal},
};

/// Largest message taken from a client, as `live.proto` says. The largest a page sends has about 200 bytes.
const INBOUND_MAX: usize = 16 * 1024;
/// Most that waits in a client's write buffer. It holds one message at a time, and refuses one that does not fit: the
/// largest is the snapshot of a node with 1,024 cores, 3.8 MB.
const OUTBOUND_MAX: usize = 8 * 1024 * 1024;
/// A client that takes nothing for this long is not reading.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a close frame may take on a socket that may be stuck.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A ping each this often: a client without views is sent nothing else, and one that went must not stay.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Whether it may still be served is looked at this often: who is signed out or taken out sees nothing after that, and after what the
/// file takes to be read again.
const CALLER_INTERVAL: Duration = Duration::from_secs(5);
/// Three pings unanswered.
const SILENCE_MAX: Duration = Duration::from_secs(70);

/// How the server ends a socket by itself: the close code and the reason, at most 123 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) code: u16,
    pub(crate) words: String,
}

/// Codes from 4000 on are an application's own: this one means what 404 means over HTTP.
pub(crate) const NOT_FOUND: u16 = 4404;
/// What 401 means over HTTP: the session is over.
pub(crate) const SIGNED_OUT: u16 = 4401;
/// A close frame holds at most 125 bytes, of which two are the code.
const REASON_MAX: usize = 123;

impl Ending {
    /// Ends a socket whose source is not known, with what is left of the reason after [`REASON_MAX`] bytes.
    pub(crate) fn not_found(reason: &str) -> Self {
        let end = (0..=reason.len().min(REASON_MAX)).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
        Self { code: NOT_FOUND, words: reason[..end].to_owned() }
    }
}

/// What a client sent is not part of its protocol: why.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

/// What is said on a socket.
pub(crate) trait Client: Send + 'static {
    /// Kind of client, for metrics.
    const KIND: &'static str;
    /// The next message, if there is one now. Must not block.
    fn next(&mut self) -> Option<Message>;
    /// Why there will be no further message, when there will be none. Asked after each [`Client::next`] without one.
    fn ending(&mut self) -> Option<Ending> {
        None
    }
    /// A message from the client: text or binary.
    fn received(&mut self, message: Message) -> Result<(), Refused>;
    /// The last message when the server stops.
    fn farewell(&mut self) -> Option<Message>;
}

/// An upgrade, or what was asked instead.
pub(crate) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// The upgrade, or the error of a path that is nothing but a WebSocket.
pub(crate) fn wanted(upgrade: Upgrade) -> Result<WebSocketUpgrade, ApiError> {
    upgrade.map_err(|_| ApiError::bad_request("this path is a WebSocket; connect with ws://"))
}

/// The WebSockets of the server: how many there may be, and what each is given to run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sockets {
    places: Arc<Semaphore>,
    places_max: u32,
    /// Makes the server wait for its sockets when it stops: axum does not (tokio-rs/axum issue 3003).
    running: TaskTracker,
    line: Line,
}

/// What every socket is given.
#[derive(Clone)]
struct Line {
    /// Hears of publications.
    published: watch::Receiver<u64>,
    /// Asks every socket to end.
    stop: CancellationToken,
    meter: RequestMeter,
    metrics: Metrics,
}

/// Room for one more socket, taken before the upgrade, so that a socket that is just being opened counts too.
pub(crate) struct Place {
    line: Line,
    /// Given back when the socket ends.
    held: (OwnedSemaphorePermit, TaskTrackerToken),
}

impl Sockets {
    /// At most `places_max` sockets at once, which look for something to send whenever `published` changes and end when
    /// `stop` says so.
    pub(crate) fn new(
        places_max: u32,
        published: watch::Receiver<u64>,
        stop: CancellationToken,
        meter: RequestMeter,
        metrics: Metrics,
    ) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places_max as usize)),
            places_max,
            running: TaskTracker::new(),
            line: Line { published, stop, meter, metrics },
        }
    }

    /// A place for one more, or why there is none.
    pub(crate) fn place(&self) -> Result<Place, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            self.line.metrics.client_refused(Refusal::Clients);
            let max = self.places_max;
            ApiError::limit(format!("{max} clients are connected, which is the limit (limits.clients); close one"))
        })?;
        Ok(Place { line: self.line.clone(), held: (place, self.running.token()) })
    }

    /// Waits until no socket is open. Those that are opened meanwhile are waited for too.
    pub(crate) async fn ended(&self) {
        self.running.close();
        self.running.wait().await;
    }

    /// Sockets that are open.
    pub(crate) fn open(&self) -> usize {
        self.running.len()
    }
}

impl Place {
    /// Answers an upgrade and serves the client on a task of its own.
    pub(crate) fn serve<C: Client>(self, upgrade: WebSocketUpgrade, caller: Caller, client: C) -> Response {
        upgrade
            .max_message_size(INBOUND_MAX)
            .max_frame_size(INBOUND_MAX)
            // Every message goes out at once; none is collected.
            .write_buffer_size(0)
            .max_write_buffer_size(OUTBOUND_MAX)
            .on_failed_upgrade(|error| debug!(%error, "upgrade failed"))
            .on_upgrade(move |socket| serve(socket, (caller, client), self))
    }
}

async fn serve<C: Client>(socket: WebSocket, (caller, mut client): (Caller, C), place: Place) {
    let Place { line: Line { mut published, stop, meter, metrics }, held } = place;
    // What is there by now is looked for anyway.
    published.mark_unchanged();
    let open = meter.open(Protocol::WebSocket);
    metrics.clients.of(C::KIND).add(1.0);
    let mut sender = Sender { socket, meter, kind: C::KIND, metrics: metrics.clone() };
    let reason = talk(&mut sender, (&caller, &mut client), &mut published, &stop).await;
    let ending = client.ending();
    let (code, words) = match reason {
        Closed::Refused => ending.as_ref().map_or((NOT_FOUND, ""), |ending| (ending.code, ending.words.as_str())),
        Closed::Client => (close_code::NORMAL, ""),
        Closed::Slow => (close_code::AGAIN, "too slow: nothing was read for 10 s; reconnect for a snapshot"),
        Closed::Silent => (close_code::AWAY, "no answer to pings"),
        Closed::Invalid => (close_code::POLICY, "the message was not understood"),
        Closed::TooLarge => (close_code::SIZE, "a message has at most 16 KiB"),
        Closed::SignedOut => (SIGNED_OUT, "signed out: sign in again, or send a token that is valid"),
        Closed::Shutdown => (close_code::AWAY, "the server stops"),
    };
    let close = Message::Close(Some(CloseFrame { code, reason: words.into() }));
    // A stuck socket takes no close frame either; dropping it ends the connection all the same.
    let _ = timeout(CLOSE_TIMEOUT, sender.socket.send(close)).await;
    metrics.clients.of(C::KIND).add(-1.0);
    metrics.client_closed(reason);
    debug!(kind = C::KIND, ?reason, "client gone");
    drop((open, held));
}

async fn talk<C: Client>(
    sender: &mut Sender,
    (caller, client): (&Caller, &mut C),
    published: &mut watch::Receiver<u64>,
    stop: &CancellationToken,
) -> Closed {
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    let mut looks = interval(CALLER_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.reset();
    let mut heard = Instant::now();
    loop {
        while let Some(message) = client.next() {
            if let Err(reason) = sender.send(message).await {
                return reason;
            }
        }
        if client.ending().is_some() {
            return Closed::Refused;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                if let Some(message) = client.farewell() {
                    let _ = timeout(CLOSE_TIMEOUT, sender.socket.send(message)).await;
                }
                return Closed::Shutdown;
            }
            // Before what comes in: who floods the socket is asked too.
            _ = looks.tick() => {
                if caller.is_over() {
                    return Closed::SignedOut;
                }
            }
            inbound = sender.socket.recv() => {
                heard = Instant::now();
                match inbound {
                    Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => {
                        if let Err(Refused(why)) = client.received(message) {
                            debug!(why, "message not understood");
                            return Closed::Invalid;
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_))) | None => return Closed::Client,
                    Some(Err(error)) => {
                        debug!(%error, "reading failed");
                        return if is_too_large(&error) { Closed::TooLarge } else { Closed::Client };
                    }
                }
            }
            changed = published.changed() => {
                if changed.is_err() {
                    return Closed::Shutdown;
                }
            }
            _ = pings.tick() => {
                if heard.elapsed() > SILENCE_MAX {
                    return Closed::Silent;
                }
                if let Err(reason) = sender.send(Message::Ping(Default::default())).await {
                    return reason;
                }
            }
        }
    }
}

/// Whether a message was above [`INBOUND_MAX`]. axum hides the type of the error, so its text must do.
fn is_too_large(error: &axum::Error) -> bool {
    error.to_string().starts_with("Space limit exceeded")
}

/// A socket whose sends are bounded in time and counted.
struct Sender {
    socket: WebSocket,
    meter: RequestMeter,
    kind: &'static str,
    metrics: Metrics,
}

impl Sender {
    async fn send(&mut self, message: Message) -> Result<(), Closed> {
        let bytes = match &message {
            Message::Binary(bytes) => Some(bytes.len()),
            Message::Text(text) => Some(text.len()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => None,
        };
        let started = Instant::now();
        let outcome = timeout(SEND_TIMEOUT, self.socket.send(message)).await;
        // One message is one request of the protocol; its time is the time until the kernel took it.
        if let Some(bytes) = bytes {
            self.meter.record(Protocol::WebSocket, started.elapsed(), !matches!(outcome, Ok(Ok(()))));
            self.metrics.frame_sent(self.kind, bytes, started.elapsed());
        }
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                debug!(%error, "sending failed");
                Err(Closed::Client)
            }
            Err(_) => Err(Closed::Slow),
        }
    }
}
