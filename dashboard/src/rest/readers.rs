//! Reading for a request: waiting for data that is about to come, with a bound on how many wait and for how long.

use std::{sync::Arc, time::Duration};

use starling_proto::limits::PEER_MESSAGE_BYTES_MAX;
use starling_service::grpc::query_client::QueryClient;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tonic::transport::Channel;

use crate::{
    error::ApiError,
    hub::{Hub, Link, Reading, Source, ViewKey},
    shared::{Lease, Shared},
};

/// Requests that may wait for data at once: each waits a few seconds at most, and holds a view open.
const READERS_MAX: usize = 128;
/// How long a request waits for the first data of a node or group that was not looked at before, or for the next
/// aggregator when one has just failed.
pub(super) const READ_WAIT: Duration = Duration::from_secs(2);

/// What requests read from. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, places: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// A place to wait for data in.
    pub(super) fn place(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        let busy = |_| ApiError::limit(format!("{READERS_MAX} requests are waiting for data; try again in a second"));
        self.places.try_acquire().map_err(busy)
    }

    /// Looks at the hub. Must not block.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Hub) -> T) -> T {
        self.shared.with(|hub| look(hub))
    }

    /// The newest second of a series; opens it when it was not looked at. The lease keeps it for the next request.
    pub(super) async fn newest(&self, source: &Source) -> Result<(Lease, Reading), ApiError> {
        let _place = self.place()?;
        let lease = self.shared.lease(ViewKey::from(source)).map_err(|full| ApiError::limit(full.to_string()))?;
        let reading = self
            .wait(|hub| match hub.refusal(source) {
                Some(reason) => Err(ApiError::not_found(format!("{reason}; what there is: /api/v1/nodes"))),
                None => Ok(hub.reading(source)),
            })
            .await?;
        Ok((lease, reading))
    }

    /// A client of the aggregator that is followed.
    pub(super) async fn aggregator(&self) -> Result<QueryClient<Channel>, ApiError> {
        self.wait(|_| Ok(Some(()))).await?;
        let channel =
            self.shared.upstream().ok_or_else(|| ApiError::unavailable("no aggregator is reached; try again"))?;
        Ok(QueryClient::new(channel).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }

    /// Looks at the hub until `look` finds something while an aggregator is connected, for at most [`READ_WAIT`].
    pub(super) async fn wait<T>(&self, look: impl Fn(&Hub) -> Result<Option<T>, ApiError>) -> Result<T, ApiError> {
        let mut published = self.shared.published();
        let found = async {
            loop {
                let found = self.with(|hub| match hub.link() {
                    Link::Up { .. } => look(hub),
                    Link::Down { .. } => Ok(None),
                })?;
                if let Some(found) = found {
                    return Ok(found);
                }
                if published.changed().await.is_err() {
                    return Err(ApiError::unavailable("the server stops"));
                }
            }
        };
        match timeout(READ_WAIT, found).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.with(|hub| match hub.link() {
                Link::Down { reason } => ApiError::unavailable(format!(
                    "no aggregator is reached ({reason}); start one, or set aggregators to one that runs"
                )),
                Link::Up { name } => {
                    ApiError::unavailable(format!("aggregator {name} has no data for this yet; try again in a second"))
                }
            })),
        }
    }
}
