//! Brings back what the log of the former process holds: the open seconds of nodes go to their places, those of the cluster
//! wait until their window is sealed.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use prost::Message as _;
use starling_proto::{ids::NodeId, v1};
use starling_store::{LogRecord, Recovered, Replayed};

use super::record::{Recalled, RecordKind, Said};
use crate::{
    blocks::{BLOCK_SECONDS, LogPlace, LogRows, Restored},
    ingest::Registry,
    metrics::Metrics,
};

/// Damages of the log that are named one by one; further ones are counted.
const DAMAGES_NAMED: usize = 8;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Seconds of the cluster.
    pub(super) recalled: Recalled,
    /// Starts of the windows of which something was read.
    pub(super) windows: BTreeSet<u32>,
    /// Logs of the ledger.
    pub(super) ledger: starling_ledger::Restored,
    /// Rows of nodes.
    rows: Restored,
    records: u64,
    odd: u64,
    damages: usize,
    took: Duration,
}

impl Replay {
    /// Reads all of the log. Rows of nodes go to `registry`.
    pub(super) fn run(recovered: Recovered, registry: &Registry, metrics: &Metrics) -> Self {
        let began = Instant::now();
        let mut replay = Self::default();
        let findings = recovered.findings;
        if findings != starling_store::Findings::default() {
            tracing::info!(?findings, "the store was cleaned up");
        }
        for replayed in recovered.log {
            match replayed {
                Replayed::Record(record) => replay.take(&record, registry),
                Replayed::Damage(damage) => {
                    replay.damages += 1;
                    if replay.damages <= DAMAGES_NAMED {
                        tracing::warn!(%damage, "a part of the log is not there");
                    }
                }
            }
        }
        replay.took = began.elapsed();
        replay.report(metrics);
        replay
    }

    fn take(&mut self, LogRecord { end, kind, payload }: &LogRecord, registry: &Registry) {
        self.records += 1;
        let (kind, begin) = (*kind, end.offset.saturating_sub(payload.len() as u64));
        if RecordKind::of(kind) == Some(RecordKind::LedgerEntry) {
            match v1::Entries::decode(&payload[..]) {
                Ok(run) => self.ledger.take(run),
                Err(_) => self.odd += 1,
            }
            return;
        }
        match self.recalled.read(kind, payload, LogPlace { file: end.file, offset: begin }, registry.names()) {
            Ok(Said::Node(node, rows)) => self.restore(&node, rows, registry),
            Ok(Said::Cluster(tick)) => drop(self.windows.insert(tick - tick % BLOCK_SECONDS)),
            Ok(Said::Nothing) => {}
            Err(_) => self.odd += 1,
        }
    }

    fn restore(&mut self, node: &NodeId, rows: LogRows, registry: &Registry) {
        self.windows.insert(rows.start);
        let Restored { rows, lost } = registry.restore(node, rows);
        self.rows.rows += rows;
        self.rows.lost += lost;
    }

    fn report(&self, metrics: &Metrics) {
        metrics.history_replayed_rows.add(self.rows.rows.into());
        metrics.history_replay_lost_rows.add(u64::from(self.rows.lost) + self.odd);
        let milliseconds = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        let (rows, seconds) = (self.rows.rows, self.recalled.ticks().count());
        tracing::info!(node_seconds = rows, cluster_seconds = seconds, milliseconds, "the log was read again");
        if self.rows.lost > 0 || self.odd > 0 || self.damages > 0 {
            let (lost, damages, odd) = (self.rows.lost, self.damages, self.odd);
            tracing::warn!(node_seconds = lost, damages, records = odd, "some of the log could not be used");
        }
    }
}
