//! The WebSocket twins of the JSON endpoints: one JSON object a tick, of the same shapes.
//!
//! A client follows the whole seconds that the hub keeps; one that is more than three behind jumps to the newest, and
//! the object then says `skipped`. Nothing is queued. An object is made once for all clients that follow the same
//! endpoint of the same nodes, outside of the hub's lock: a client costs a copy of a pointer.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use axum::{
    extract::{
        Query, State,
        ws::{Message, Utf8Bytes},
    },
    response::Response,
};

use super::{
    endpoints::{Columns, Endpoint, Facts},
    parameters::{self, Parameters},
};
use crate::{
    access::Caller,
    error::ApiError,
    hub::{Second, Source, UnixMillis, ViewKey},
    live::{
        Sockets,
        socket::{self, Client, Ending, Refused, Upgrade},
    },
    shared::{Lease, Shared, now},
};

/// Objects kept of one endpoint: as many seconds as a client may be behind before it jumps, and the newest.
const MADE_MAX: usize = 4;

/// Milliseconds after which an object is made again for who joins later: its age and its verdict are as of its making.
const REMAKE_MS: UnixMillis = 1_000;

/// What is followed: one endpoint of the cluster, of a group or of a node.
type Key = (Source, Endpoint);

/// What the sockets need. Cheap to clone.
#[derive(Clone)]
pub(super) struct Twins {
    shared: Arc<Shared>,
    sockets: Sockets,
    target_rps: Option<f64>,
    /// What is followed now; at most one entry per client. A plain mutex: it is held to find an entry.
    followed: Arc<Mutex<HashMap<Key, Weak<Followed>>>>,
}

impl Twins {
    pub(super) fn new(shared: Arc<Shared>, sockets: Sockets, target_rps: Option<f64>) -> Self {
        Self { shared, sockets, target_rps, followed: Arc::default() }
    }

    fn followed(&self, source: Source, endpoint: Endpoint) -> Arc<Followed> {
        let mut all = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, is| is.strong_count() > 0);
        let key = (source, endpoint);
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let (source, endpoint) = key.clone();
        let (shared, target_rps) = (Arc::clone(&self.shared), self.target_rps);
        let new = Arc::new(Followed { shared, target_rps, source, endpoint, made: Mutex::default() });
        all.insert(key, Arc::downgrade(&new));
        new
    }
}

/// Answers an upgrade with the objects of an endpoint.
pub(super) async fn follow(
    State(twins): State<Twins>,
    Query(query): Query<Parameters>,
    endpoint: Endpoint,
    (caller, upgrade): (Caller, Upgrade),
) -> Result<Response, ApiError> {
    let endpoint = endpoint.followed(&query)?;
    let source = query.source()?;
    let history = endpoint.wants_history(&query);
    let upgrade = socket::wanted(upgrade)?;
    let place = twins.sockets.place()?;
    let lease = twins.shared.lease(ViewKey::from(&source)).map_err(|full| ApiError::limit(full.to_string()))?;
    let followed = twins.followed(source, endpoint);
    Ok(place.serve(upgrade, caller, JsonClient { followed, lease: Some(lease), last: 0, history, refused: None }))
}

/// One endpoint of the cluster, of a group or of a node, as all its followers see it.
struct Followed {
    shared: Arc<Shared>,
    target_rps: Option<f64>,
    source: Source,
    endpoint: Endpoint,
    /// The objects made last, newest behind. A second that was corrected is another one. A plain mutex: objects are made
    /// outside of it.
    made: Mutex<VecDeque<Made>>,
}

/// The object of one second, once it is made.
struct Made {
    second: Arc<Second>,
    /// As of when.
    at: UnixMillis,
    object: Arc<OnceLock<Utf8Bytes>>,
}

impl Followed {
    /// The object of a second, as of `now` or at most [`REMAKE_MS`] before. Who comes while it is being made waits for
    /// it, well under a millisecond.
    fn object(&self, second: &Arc<Second>, now: UnixMillis) -> Utf8Bytes {
        let (object, at) = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let known = made.iter().position(|made| Arc::ptr_eq(&made.second, second));
            match known.filter(|&known| made[known].at.abs_diff(now) <= REMAKE_MS) {
                Some(known) => (Arc::clone(&made[known].object), made[known].at),
                None => {
                    let new = Made { second: Arc::clone(second), at: now, object: Arc::default() };
                    let object = Arc::clone(&new.object);
                    match known {
                        Some(known) => made[known] = new,
                        None => made.push_back(new),
                    }
                    if made.len() > MADE_MAX {
                        made.pop_front();
                    }
                    (object, now)
                }
            }
        };
        object.get_or_init(|| self.make(second, at)).clone()
    }

    /// The answer over HTTP, as the first object of a client that asked for what was before.
    fn history(&self, second: &Arc<Second>, now: UnixMillis) -> Utf8Bytes {
        let (reading, columns) = self.shared.with(|hub| {
            (hub.read(&self.source, second), Columns::of(hub, &self.source, self.endpoint.columns(), 0..=second.tick()))
        });
        let facts = Facts { reading: &reading, columns, target_rps: self.target_rps, now };
        self.endpoint.answer(&facts).to_string().into()
    }

    fn make(&self, second: &Arc<Second>, now: UnixMillis) -> Utf8Bytes {
        let newest = second.tick();
        let from = newest.saturating_sub(self.endpoint.tick_seconds() - 1);
        let (reading, columns) = self.shared.with(|hub| {
            let columns = Columns::of(hub, &self.source, self.endpoint.columns(), from..=newest);
            (hub.read(&self.source, second), columns)
        });
        let facts = Facts { reading: &reading, columns, target_rps: self.target_rps, now };
        self.endpoint.tick(&facts).to_string().into()
    }
}

/// One follower.
struct JsonClient {
    followed: Arc<Followed>,
    /// Keeps the view open; gone after a refusal.
    lease: Option<Lease>,
    /// The second sent last; 0 before the first.
    last: u32,
    /// Whether its first object holds what was before.
    history: bool,
    /// Why it is sent nothing more.
    refused: Option<String>,
}

impl JsonClient {
    /// The refusal of a node or group, reported once; it ends the socket.
    fn refusal(&mut self) -> Option<Message> {
        let Followed { shared, source, .. } = &*self.followed;
        let reason = shared.with(|hub| hub.refusal(source).map(ToOwned::to_owned))?;
        self.lease = None;
        let error = ApiError::unknown_source(parameters::of(source), &reason).to_json();
        self.refused = Some(reason);
        Some(Message::Text(error.to_string().into()))
    }
}

impl Client for JsonClient {
    const KIND: &'static str = "json";

    fn next(&mut self) -> Option<Message> {
        self.lease.as_ref()?;
        if let Some(refusal) = self.refusal() {
            return Some(refusal);
        }
        let Followed { shared, source, .. } = &*self.followed;
        let now = now();
        let second = shared.with(|hub| hub.second_after(source, self.last, now))?;
        let tick = second.tick();
        let skipped = if self.last == 0 { 0 } else { tick - self.last - 1 };
        shared.metrics().ticks_skipped.add(skipped.into());
        let object = match self.history && self.last == 0 {
            true => self.followed.history(&second, now),
            false => self.followed.object(&second, now),
        };
        self.last = tick;
        Some(Message::Text(if skipped == 0 { object } else { with_skipped(&object, skipped) }))
    }

    fn ending(&mut self) -> Option<Ending> {
        self.refused.as_deref().map(Ending::not_found)
    }

    fn received(&mut self, _: Message) -> Result<(), Refused> {
        Err(Refused("this socket only sends"))
    }

    fn farewell(&mut self) -> Option<Message> {
        None
    }
}

/// The object with one field more, for the one client that it is true of. Every object has fields.
fn with_skipped(object: &str, skipped: u32) -> Utf8Bytes {
    let fields = object.strip_prefix('{').unwrap_or(object);
    format!("{{\"skipped\":{skipped},{fields}").into()
}

#[cfg(test)]
mod tests {
    use starling_proto::{group::Group, v1};
    use starling_service::{metrics::Registry, requests::RequestMeter};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::metrics::Metrics;

    const TICK: u32 = 1_700_000_000;
    /// 200 ms after the end of that second.
    const NOW: UnixMillis = TICK as UnixMillis * 1_000 + 200;

    fn twins() -> Twins {
        let metrics = Metrics::new(&mut Registry::default());
        let shared = Shared::new(8, metrics.clone());
        let sockets = Sockets::new(8, shared.published(), CancellationToken::new(), RequestMeter::disabled(), metrics);
        Twins::new(shared, sockets, None)
    }

    fn second(tick: u32) -> Arc<Second> {
        Arc::new(Second::Cluster(Box::new(v1::ClusterView { tick, ..Default::default() })))
    }

    #[test]
    fn all_followers_share_one_object() {
        let (twins, cluster) = (twins(), || Source::Cluster(Group::cluster()));
        let (one, two) = (twins.followed(cluster(), Endpoint::Cpu), twins.followed(cluster(), Endpoint::Cpu));
        assert!(Arc::ptr_eq(&one, &two));
        let first = second(TICK);
        let object = one.object(&first, NOW);
        assert!(object.contains("utilizationRatio") && object.contains("1700000000"), "{object}");
        assert_eq!(object.as_ptr(), two.object(&first, NOW).as_ptr());
        // The same second, corrected, is another one; so is another endpoint.
        assert_ne!(object.as_ptr(), one.object(&second(TICK), NOW).as_ptr());
        assert_ne!(object.as_ptr(), twins.followed(cluster(), Endpoint::Memory).object(&first, NOW).as_ptr());
        for tick in 0..10 {
            one.object(&second(tick), NOW);
        }
        assert_eq!(one.made.lock().unwrap().len(), MADE_MAX);
    }

    #[test]
    fn who_joins_a_silent_view_gets_its_age() {
        let followed = twins().followed(Source::Cluster(Group::cluster()), Endpoint::Cpu);
        let only = second(TICK);
        let age = |now| {
            let object: serde_json::Value = serde_json::from_str(&followed.object(&only, now)).unwrap();
            object["completeness"]["ageMs"].as_u64().unwrap()
        };
        assert_eq!(age(NOW), 200);
        assert_eq!(age(NOW + 900), 200, "made less than a second ago");
        assert_eq!(age(NOW + 20_000), 20_200);
        assert_eq!(age(NOW + 20_500), 20_200);
        assert_eq!(age(NOW + 10_000), 10_200, "the clock was set back");
        assert_eq!(followed.made.lock().unwrap().len(), 1, "made again, not kept twice");
    }

    #[test]
    fn what_is_not_followed_is_forgotten() {
        let twins = twins();
        for zone in ["zone:a", "zone:b"] {
            drop(twins.followed(Source::Cluster(Group::parse(zone).unwrap()), Endpoint::Cpu));
        }
        assert_eq!(twins.followed.lock().unwrap().len(), 1, "the last one is found gone by the next");
    }

    #[test]
    fn one_client_is_said_what_it_missed() {
        let object: serde_json::Value = serde_json::from_str(&with_skipped("{\"a\":1}", 3)).unwrap();
        assert_eq!(object, serde_json::json!({"skipped": 3, "a": 1}));
    }
}
