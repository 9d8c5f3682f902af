//! Reading for a request: waiting for data that is about to come, with a bound on how many wait and for how long.

use std::{sync::Arc, time::Duration};

use starling_proto::limits::PEER_MESSAGE_BYTES_MAX;
use starling_service::grpc::{alerts_client::AlertsClient, query_client::QueryClient};
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
    fn place(&self) -> Result<SemaphorePermit<'_>, ApiError> {
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
            .found(|hub| match hub.refusal(source) {
                Some(reason) => Err(ApiError::unknown_source(super::parameters::of(source), reason)),
                None => Ok(hub.reading(source)),
            })
            .await?;
        Ok((lease, reading))
    }

    /// A client of the aggregator that is followed, and the place to wait for its answer in.
    pub(super) async fn aggregator(&self) -> Result<(SemaphorePermit<'_>, QueryClient<Channel>), ApiError> {
        let (place, channel) = self.upstream().await?;
        Ok((place, QueryClient::new(channel).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)))
    }

    /// The same, to ask about alerts.
    pub(super) async fn alerts(&self) -> Result<(SemaphorePermit<'_>, AlertsClient<Channel>), ApiError> {
        let (place, channel) = self.upstream().await?;
        Ok((place, AlertsClient::new(channel).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)))
    }

    async fn upstream(&self) -> Result<(SemaphorePermit<'_>, Channel), ApiError> {
        let place = self.place()?;
        self.found(|_| Ok(Some(()))).await?;
        let channel =
            self.shared.upstream().ok_or_else(|| ApiError::unavailable("no aggregator is reached; try again"))?;
        Ok((place, channel))
    }

    /// Looks at the hub until `look` finds something while an aggregator is connected, for at most [`READ_WAIT`], in a
    /// place of its own.
    pub(super) async fn wait<T>(&self, look: impl Fn(&Hub) -> Result<Option<T>, ApiError>) -> Result<T, ApiError> {
        let _place = self.place()?;
        self.found(look).await
    }

    /// As [`Readers::wait`], for who has a place.
    async fn found<T>(&self, look: impl Fn(&Hub) -> Result<Option<T>, ApiError>) -> Result<T, ApiError> {
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

#[cfg(test)]
mod tests {
    use starling_proto::group::Group;
    use starling_service::metrics::Registry;
    use tokio::task::JoinSet;

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn all_that_wait_have_a_place_and_further_ones_are_refused() {
        let readers = Readers::new(Shared::new(8, Metrics::new(&mut Registry::default())));
        // No aggregator is connected: all of them wait.
        let mut waiting = JoinSet::new();
        for n in 0..READERS_MAX {
            let readers = readers.clone();
            waiting.spawn(async move {
                match n % 3 {
                    0 => readers.wait(|_| Ok(Some(()))).await,
                    1 => readers.aggregator().await.map(|_| ()),
                    _ => readers.newest(&Source::Cluster(Group::cluster())).await.map(|_| ()),
                }
            });
        }
        while readers.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let full = Err(readers.place().unwrap_err());
        assert_eq!(readers.wait(|_| Ok(Some(()))).await, full);
        assert_eq!(readers.aggregator().await.map(|_| ()), full);
        assert_eq!(readers.newest(&Source::Cluster(Group::cluster())).await.map(|_| ()), full);
        waiting.abort_all();
        while waiting.join_next().await.is_some() {}
        assert_eq!(readers.places.available_permits(), READERS_MAX, "a place is given back");
    }
}
