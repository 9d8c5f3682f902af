//! A page without a server: what pages are sent, for a program that shows it elsewhere, as a terminal does.

use std::{future::pending, sync::Arc};

use prost::Message as _;
use starling_proto::live;
use starling_service::{credentials::Security, metrics::Registry};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use super::{LiveClient, socket::Client as _};
use crate::{feed, metrics::Metrics, shared::Shared};

/// Nodes and groups at once: one page has at most eight views.
const WATCHES_MAX: usize = 8;

/// Follows aggregators as a dashboard server does, and is sent what one of its pages is sent: the verdict, the figures and the
/// alerts are those of the page, word for word. Follows until it is dropped.
pub struct Viewer {
    client: LiveClient,
    published: watch::Receiver<u64>,
    _feed: (DropGuard, JoinHandle<()>),
}

impl Viewer {
    /// Follows one of these aggregators ("host:port" each, at least one), and others that it names when that one fails.
    /// To be called on a runtime.
    #[must_use]
    pub fn follow(security: Security, aggregators: Vec<String>) -> Self {
        let shared = Shared::new(WATCHES_MAX, Metrics::new(&mut Registry::default()));
        let stop = CancellationToken::new();
        let feed = tokio::spawn(feed::run(Arc::clone(&shared), (security, aggregators), stop.clone()));
        let published = shared.published();
        let client = LiveClient::new(shared, rand::random::<u32>() | 1, 0.0);
        Self { client, published, _feed: (stop.drop_guard(), feed) }
    }

    /// Asks for something, as a page does.
    pub fn send(&mut self, message: live::ClientMessage) {
        self.client.asked(message);
    }

    /// The next message; the first is a hello. Nothing is lost when it is dropped before it is done.
    pub async fn next(&mut self) -> live::ServerMessage {
        loop {
            if let Some(axum::extract::ws::Message::Binary(bytes)) = self.client.next() {
                // Made by this process.
                return live::ServerMessage::decode(bytes).unwrap_or_default();
            }
            if self.published.changed().await.is_err() {
                // The hub is held by the client, so this does not happen; if it did there would be nothing to come.
                pending::<()>().await;
            }
        }
    }

    /// Name of the cluster; empty until an aggregator was reached.
    #[must_use]
    pub fn cluster(&self) -> String {
        self.client.shared.with(|hub| hub.cluster().to_owned())
    }

    /// The connection to the aggregator that is followed; `None` while none is reached.
    #[must_use]
    pub fn upstream(&self) -> Option<Channel> {
        self.client.shared.upstream()
    }
}
