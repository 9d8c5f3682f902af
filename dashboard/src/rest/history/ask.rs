//! Asking an aggregator: how many questions at once, and how long an answer may take.

use std::{sync::Arc, time::Duration};

use starling_service::grpc::query_client::QueryClient;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    error::ApiError,
    rest::{answered, readers::Readers},
};

/// Questions over time that this server asks at once: as many as an aggregator works on. The others wait here, where
/// a browser that goes away takes its questions with it.
const AT_ONCE: usize = 8;
/// How long an answer over HTTP may take: longer than an aggregator waits for another one.
const ANSWER_WAIT: Duration = Duration::from_secs(8);
/// The same for one part of an export.
const EXPORT_WAIT: Duration = Duration::from_secs(30);

/// Asks questions over time. Cheap to clone.
#[derive(Clone)]
pub(in crate::rest) struct Asker {
    pub(super) readers: Readers,
    turns: Arc<Semaphore>,
}

/// The questions of one request.
pub(in crate::rest) struct Asking<'a> {
    _place: SemaphorePermit<'a>,
    client: QueryClient<Channel>,
    turns: &'a Semaphore,
    until: Instant,
}

impl Asker {
    pub(in crate::rest) fn new(readers: Readers) -> Self {
        Self { readers, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// What is read without asking.
    pub(in crate::rest) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// A place to wait in, and the aggregator that is followed.
    pub(in crate::rest) async fn aggregator(&self) -> Result<Asking<'_>, ApiError> {
        let until = Instant::now() + ANSWER_WAIT;
        let (place, client) = self.readers.aggregator().await?;
        Ok(Asking { _place: place, client, turns: &self.turns, until })
    }

    /// The same for one part of an export, which may take longer.
    pub(super) async fn part(&self) -> Result<Asking<'_>, ApiError> {
        Ok(Asking { until: Instant::now() + EXPORT_WAIT, ..self.aggregator().await? })
    }
}

impl Asking<'_> {
    /// Asks with `call` when it is this question's turn.
    pub(super) async fn ask<Q, A>(
        &self,
        question: Q,
        call: impl AsyncFnOnce(QueryClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, ApiError> {
        let turn = async {
            // Never closed.
            let _turn = self.turns.acquire().await;
            call(self.client.clone(), Request::new(question)).await
        };
        answered(timeout_at(self.until, turn).await)
    }

    /// Any series over time.
    pub(in crate::rest) async fn range(
        &self,
        question: starling_proto::v1::QueryRangeRequest,
    ) -> Result<starling_proto::v1::RangeAnswer, ApiError> {
        self.ask(question, async |mut client, question| client.query_range(question).await).await
    }
}
