//! Simulated nodes, each with an uplink of its own.

use std::{collections::HashMap, sync::Arc};

use starling_node::{Uplink, UplinkConfig, UplinkHandle};
use starling_proto::{frame::Content, ids::NodeId, v1};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::Variation;

/// Zones that simulated nodes are spread over.
const ZONES: [&str; 3] = ["a", "b", "c"];
/// Nodes in one rack.
const RACK: usize = 4;
/// Roles that simulated nodes are given in turn.
const ROLES: [&str; 2] = ["web", "worker"];

/// Which nodes to simulate.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// How many.
    pub nodes: usize,
    /// Where the aggregators are, as `host:port`.
    pub aggregators: Vec<String>,
    /// Facts of the host that is replayed.
    pub host: v1::HostFacts,
}

/// Simulated nodes at work.
#[derive(Debug)]
pub struct ReplayFleet {
    uplinks: Vec<UplinkHandle>,
    tasks: TaskTracker,
}

impl ReplayFleet {
    /// Starts the nodes; each follows `host` until `shutdown`.
    #[must_use]
    pub fn start(
        config: &FleetConfig,
        host: &watch::Receiver<Option<Arc<Content>>>,
        shutdown: &CancellationToken,
    ) -> Self {
        let tasks = TaskTracker::new();
        let uplinks: Vec<UplinkHandle> = (0..config.nodes)
            .map(|i| {
                let mut uplink = UplinkConfig::new(name(i), config.aggregators.clone());
                uplink.simulated = true;
                uplink.labels = labels(i);
                uplink.host = config.host.clone();
                let (uplink, handle) = Uplink::new(uplink);
                tasks.spawn(uplink.run(shutdown.clone()));
                tasks.spawn(replay(Variation::new(i as u64 + 1), host.clone(), handle.clone(), shutdown.clone()));
                handle
            })
            .collect();
        tasks.close();
        info!(nodes = config.nodes, "simulated nodes started");
        Self { uplinks, tasks }
    }

    /// The uplinks, in the order of the nodes.
    #[must_use]
    pub fn uplinks(&self) -> &[UplinkHandle] {
        &self.uplinks
    }

    /// Waits for the end of every task; they end after `shutdown`.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}

fn name(i: usize) -> NodeId {
    NodeId::sanitised(&format!("sim-{:02}", i + 1))
}

fn labels(i: usize) -> HashMap<String, String> {
    let rack = i / RACK;
    HashMap::from([
        ("zone".to_owned(), ZONES[rack % ZONES.len()].to_owned()),
        ("rack".to_owned(), format!("r{:02}", rack + 1)),
        ("role".to_owned(), ROLES[i % ROLES.len()].to_owned()),
    ])
}

async fn replay(
    variation: Variation,
    mut host: watch::Receiver<Option<Arc<Content>>>,
    uplink: UplinkHandle,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            changed = host.changed() => if changed.is_err() { return },
        }
        let content = host.borrow_and_update().clone();
        if let Some(content) = content
            && let Err(error) = uplink.offer(variation.apply(&content))
        {
            warn!(tick = content.tick, %error, "simulated second lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_valid() {
        for i in 0..200 {
            NodeId::parse(name(i).as_str()).unwrap();
            assert_eq!(labels(i).len(), 3);
        }
        assert_ne!(labels(0)["zone"], labels(RACK)["zone"]);
    }
}
