//! What every handler gets.

use std::sync::Arc;

use starling_service::requests::RequestMeter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config, http::guard::Hosts, live::socket::SocketContext, metrics::Refusal, rest::error::ApiError,
    shared::Shared,
};

/// Requests of the JSON endpoints that may wait for data at once: each waits at most two seconds, and holds a view open.
const READERS_MAX: usize = 128;

/// Shared by all handlers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    meter: RequestMeter,
    hosts: Hosts,
    target_rps: Option<f64>,
    epoch: u32,
    clients_max: u32,
    clients: Arc<Semaphore>,
    readers: Semaphore,
    sockets: TaskTracker,
    shutdown: CancellationToken,
}

impl App {
    pub(crate) fn new(
        config: &Config,
        shared: Arc<Shared>,
        meter: RequestMeter,
        sockets: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            shared,
            meter,
            hosts: Hosts::new(&config.allowed_hosts),
            target_rps: config.target_rps,
            // A page only asks whether it changed.
            epoch: rand::random::<u32>() | 1,
            clients_max: config.limits.clients,
            clients: Arc::new(Semaphore::new(config.limits.clients as usize)),
            readers: Semaphore::new(READERS_MAX),
            sockets,
            shutdown,
        }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(crate) fn meter(&self) -> &RequestMeter {
        &self.0.meter
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.0.hosts
    }

    pub(crate) fn target_rps(&self) -> Option<f64> {
        self.0.target_rps
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.0.epoch
    }

    /// A place to wait for data in.
    pub(crate) fn reader(&self) -> Result<tokio::sync::SemaphorePermit<'_>, ApiError> {
        let busy = |_| ApiError::limit(format!("{READERS_MAX} requests are waiting for data; try again in a second"));
        self.0.readers.try_acquire().map_err(busy)
    }

    /// What a new socket stands on, or why there is no place for it.
    pub(crate) fn context(&self) -> Result<SocketContext, ApiError> {
        let inner = &self.0;
        let place: OwnedSemaphorePermit = Arc::clone(&inner.clients).try_acquire_owned().map_err(|_| {
            inner.shared.metrics().client_refused(Refusal::Clients);
            let max = inner.clients_max;
            ApiError::limit(format!("{max} clients are connected, which is the limit (limits.clients); close one"))
        })?;
        Ok(SocketContext {
            shared: Arc::clone(&inner.shared),
            published: inner.shared.published(),
            shutdown: inner.shutdown.clone(),
            meter: inner.meter.clone(),
            place,
            tracked: inner.sockets.token(),
        })
    }
}
