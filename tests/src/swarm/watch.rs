//! One reader of the cluster's views.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use starling_proto::{limits::PEER_MESSAGE_BYTES_MAX, v1::WatchClusterRequest};
use starling_service::{channel::Dial, credentials::Security, grpc::query_client::QueryClient};
use tokio_util::sync::CancellationToken;

const DIAL: Dial = Dial::within(Duration::from_secs(5));

/// What a watcher saw of one second.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// From the end of the second until its first view was here.
    pub after: Duration,
    /// Nodes in the first view.
    pub first: u32,
    /// Nodes expected in it.
    pub expected: u32,
    /// Nodes in the newest view.
    pub last: u32,
    /// From the end of the second until the newest view was here.
    pub last_after: Duration,
}

/// A reader in a thread of its own, so that a busy driver does not make the views late. Ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<BTreeMap<u32, Seen>>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Follows the whole cluster at the aggregator at this address; again from now on when the stream breaks.
    ///
    /// # Panics
    /// When a thread cannot be started.
    #[must_use]
    pub fn start(address: SocketAddr, security: Security) -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(BTreeMap::new())), CancellationToken::new());
        let (shared, token) = (Arc::clone(&seen), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = token.cancelled() => {}
                    () = async {
                        loop {
                            let _ = follow(address, &security, &shared).await;
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                    } => {}
                }
            });
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// What was seen of each second so far.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<u32, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn follow(address: SocketAddr, security: &Security, seen: &Mutex<BTreeMap<u32, Seen>>) -> Result<(), String> {
    let client = QueryClient::new(DIAL.connect(security, &address.to_string()).await?);
    let mut client = client.max_decoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let views = client.watch_cluster(WatchClusterRequest::default()).await.map_err(|status| status.to_string())?;
    let mut views = views.into_inner();
    while let Some(view) = views.message().await.map_err(|status| status.to_string())? {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        let after = now.saturating_sub(Duration::from_secs(view.tick.into()));
        let completeness = view.completeness.unwrap_or_default();
        let (last, expected) = (completeness.nodes_reporting(), completeness.nodes_expected());
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = seen.entry(view.tick).or_insert(Seen { after, first: last, expected, last, last_after: after });
        (entry.last, entry.last_after) = (last, after);
    }
    Err("the stream ended".into())
}
