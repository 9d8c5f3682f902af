//! Hands the last 15 minutes of nodes to the aggregator that has taken them over.

use std::sync::Arc;

use starling_proto::{ids::NodeId, v1};
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;

use crate::ingest::Registry;

/// Requests that are answered at once: one of each of two aggregators that take nodes over.
const RUNNING_MAX: usize = 2;
/// Blocks on their way to one asker: some 100 KB each.
const OUTBOX: usize = 8;
/// Nodes in one request.
pub(crate) const NODES_MAX: usize = 256;

/// See the module.
pub(super) struct Recents {
    registry: Arc<Registry>,
    running: Arc<Semaphore>,
}

impl Recents {
    /// Of the nodes of `registry`.
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, running: Arc::new(Semaphore::new(RUNNING_MAX)) }
    }

    /// Begins to read; ends when nobody takes the answer.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a field that is wrong, `RESOURCE_EXHAUSTED` while as many are answered as may be.
    pub(super) fn begin(
        &self,
        request: &v1::ReadRecentRequest,
    ) -> Result<mpsc::Receiver<Result<v1::RecentBlock, Status>>, Status> {
        let (count, from) = (request.node_ids.len(), request.from_tick);
        if count > NODES_MAX {
            return Err(Status::invalid_argument(format!("node_ids: {count}, at most {NODES_MAX} are taken")));
        }
        let nodes: Result<Vec<NodeId>, _> = request.node_ids.iter().map(|name| NodeId::parse(name)).collect();
        let nodes = nodes.map_err(|error| Status::invalid_argument(format!("node_ids: {error}")))?;
        let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!("{RUNNING_MAX} aggregators are taking nodes over")));
        };
        let (outbox, answer) = mpsc::channel(OUTBOX);
        let registry = self.registry.clone();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            for node in nodes {
                let Some(held) = registry.holder(&node) else { continue };
                for block in held.since(from) {
                    let message = v1::RecentBlock { node_id: node.to_string(), block: block.encode() };
                    if outbox.blocking_send(Ok(message)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(answer)
    }
}
