//! The page's WebSocket `/ws/v1/live`: binary messages of `live.proto` under the subprotocol `starling.live.v1`.
//!
//! - [`session`]: what one client has and is to be sent next (pure);
//! - [`socket`]: moving messages, for this and for the JSON sockets: limits, slow clients, the end;
//! - [`viewer`]: the same messages without a server, for a program that shows them elsewhere.

mod session;
pub(crate) mod socket;
mod viewer;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{State, ws::Message},
    response::Response,
    routing::any,
};
use bytes::Bytes;
use prost::Message as _;
use starling_proto::live;

use crate::{
    access::Caller,
    error::ApiError,
    hub::ViewKey,
    shared::{Lease, Shared, now},
};
use session::LiveSession;
use socket::{Client, Refused, Upgrade};

pub(crate) use socket::Sockets;
pub use viewer::Viewer;

/// Where the page connects to.
const PATH: &str = "/ws/v1/live";
/// Name of the subprotocol; a page that wants another one is refused.
const SUBPROTOCOL: &str = "starling.live.v1";
/// When a page may come back after the server stopped: a restart takes about that long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Milliseconds between ticks: the interval of everything.
const TICK_MS: u32 = 1_000;

/// What pages follow.
#[derive(Clone)]
struct Pages {
    shared: Arc<Shared>,
    sockets: Sockets,
    /// Of this run of the server. A page only asks whether it changed.
    epoch: u32,
    target_rps: Option<f64>,
}

/// The page's socket.
pub(crate) fn router(shared: Arc<Shared>, sockets: Sockets, target_rps: Option<f64>) -> Router {
    let pages = Pages { shared, sockets, epoch: rand::random::<u32>() | 1, target_rps };
    Router::new().route(PATH, any(follow)).with_state(pages)
}

async fn follow(State(pages): State<Pages>, caller: Caller, upgrade: Upgrade) -> Result<Response, ApiError> {
    let upgrade = socket::wanted(upgrade)?.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(ApiError::bad_request(format!("this socket speaks the subprotocol {SUBPROTOCOL}; ask for it")));
    }
    let place = pages.sockets.place()?;
    let client = LiveClient::new(pages.shared, pages.epoch, pages.target_rps.unwrap_or(0.0));
    Ok(place.serve(upgrade, caller, client))
}

/// One page.
struct LiveClient {
    shared: Arc<Shared>,
    session: LiveSession<Lease>,
    /// Answers to what the page sent. Drained after each of its messages, so it holds at most one.
    replies: Vec<live::server_message::Body>,
}

impl LiveClient {
    /// A page that was just let in.
    fn new(shared: Arc<Shared>, epoch: u32, target_rps: f64) -> Self {
        let hello = live::Hello {
            epoch,
            server_time_unix_ms: now() as f64,
            tick_ms: TICK_MS,
            cluster: shared.with(|hub| hub.cluster().to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target_rps,
        };
        Self { shared, session: LiveSession::new(), replies: vec![live::server_message::Body::Hello(hello)] }
    }

    fn subscribe(&mut self, subscribe: &live::Subscribe) -> Result<(), live::Error> {
        let error = |code: &str, message: String| live::Error { id: subscribe.id, code: code.to_owned(), message };
        self.session.check(subscribe.id).map_err(|(code, message)| error(code, message))?;
        let key = ViewKey::of(subscribe).map_err(|reason| error("invalid", reason.to_string()))?;
        let lease = self.shared.lease(key.clone()).map_err(|full| error("limit", full.to_string()))?;
        let cursor = self.shared.with(|hub| hub.cursor(&key, subscribe.resume_tick));
        self.session.add(subscribe.id, key, cursor, lease);
        Ok(())
    }

    /// What the page asks for.
    fn asked(&mut self, message: live::ClientMessage) {
        use live::client_message::Body;
        match message.body {
            Some(Body::Subscribe(subscribe)) => {
                if let Err(error) = self.subscribe(&subscribe) {
                    self.replies.push(live::server_message::Body::Error(error));
                }
            }
            Some(Body::Unsubscribe(unsubscribe)) => drop(self.session.remove(unsubscribe.id)),
            Some(Body::Pause(_)) => self.session.pause(),
            Some(Body::Resume(_)) => {
                let (shared, session) = (&self.shared, &mut self.session);
                shared.with(|hub| session.resume(hub));
            }
            // A message of a newer page: what it wants is not known here.
            None => {
                let message = "this message is not known to this version of the server; reload the page".to_owned();
                self.replies.push(live::server_message::Body::Error(live::Error {
                    id: 0,
                    code: "invalid".to_owned(),
                    message,
                }));
            }
        }
    }
}

impl Client for LiveClient {
    const KIND: &'static str = "live";

    fn next(&mut self) -> Option<Message> {
        if !self.replies.is_empty() {
            return Some(encode(self.replies.remove(0)));
        }
        let (shared, session) = (&self.shared, &mut self.session);
        let out = shared.with(|hub| session.next(hub, now()));
        // Leases end outside the lock that ending them takes.
        drop(session.take_ended());
        out.map(|out| match out {
            session::Out::Frame { bytes, skipped } => {
                shared.metrics().ticks_skipped.add(skipped.into());
                Message::Binary(bytes)
            }
            session::Out::Error(error) => encode(live::server_message::Body::Error(error)),
        })
    }

    fn received(&mut self, message: Message) -> Result<(), Refused> {
        let Message::Binary(bytes) = message else {
            return Err(Refused("only binary messages of starling.live.v1 are understood"));
        };
        let message = live::ClientMessage::decode(bytes)
            .map_err(|_| Refused("the message is not a starling.live.v1.ClientMessage"))?;
        self.asked(message);
        Ok(())
    }

    fn farewell(&mut self) -> Option<Message> {
        let retry_ms = u32::try_from(RETRY_AFTER.as_millis()).unwrap_or(u32::MAX);
        Some(encode(live::server_message::Body::GoingAway(live::GoingAway { retry_ms })))
    }
}

fn encode(body: live::server_message::Body) -> Message {
    Message::Binary(Bytes::from(live::ServerMessage { body: Some(body) }.encode_to_vec()))
}
