//! Settings of the ledger.

use std::time::Duration;

use starling_proto::limits::{EARLY_SECONDS, LATE_WINDOW};

use super::{floor::CatchUp, limits};

/// Settings of the ledger. All aggregators of a cluster should have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerConfig {
    /// Name of the aggregator, as its digests carry it.
    pub aggregator_id: String,
    /// Aggregators that must hold a frame before its node may forget it, this one included: k + 1. Default 2.
    pub copies: u32,
    /// Frames older than this are refused, and history is kept this long, but after an outage of the whole cluster
    /// ([`LedgerConfig::catch_up`]). Default [`LATE_WINDOW`], 1,020 s.
    pub late_seconds: u32,
    /// Frames further ahead than this are refused. Default 10 s.
    pub early_seconds: u32,
    /// A tick is flushed at the latest this long after its end. Default 300 ms.
    pub flush_after: Duration,
    /// Frames that come after the flush of their tick are gathered this long. Default 250 ms.
    pub straggler_after: Duration,
    /// Frames of ticks older than 10 s are gathered this long: backfill comes in bulk. Default 1 s.
    pub backfill_after: Duration,
    /// A frame pinned elsewhere waits this long for the other writer's entry before it is shipped raw. Default 2 s.
    pub raw_after: Duration,
    /// A tick is settled this long after its end even when some live peer has not closed it. Default 1 s.
    pub settle_after: Duration,
    /// Entries of a writer that is itself a live peer are relayed to others only when they still lack them after
    /// this long; without it every entry would travel once per aggregator. Default 1 s.
    pub relay_after: Duration,
    /// What was sent to a peer and does not show in its digests after this long is sent again. Default 3 s.
    pub resend_after: Duration,
    /// How a process that starts after an outage takes what is older than `late_seconds`.
    pub catch_up: CatchUp,
    /// Kept beyond the floor before anything is dropped. Default [`limits::PRUNE_SLACK_SECONDS`].
    pub slack_seconds: u32,
    /// Sizes of tables.
    pub limits: LedgerLimits,
}

impl LedgerConfig {
    /// Whether `tick` is further ahead of the clock than a frame may be.
    pub(super) fn is_ahead(&self, now_ms: u64, tick: u32) -> bool {
        u64::from(tick) > now_ms / 1000 + u64::from(self.early_seconds)
    }
}

/// Sizes of tables. What happens when one is full stands beside the default of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Default [`limits::OWN_SERIES_MAX`].
    pub own_series: usize,
    /// Default [`limits::OWN_GROUPS_MAX`].
    pub own_groups: usize,
    /// Default [`limits::SERIES_MAX`].
    pub series: usize,
    /// Default [`limits::GROUPS_MAX`].
    pub groups: usize,
    /// Default [`limits::LOG_BYTES_MAX`].
    pub log_bytes: usize,
    /// Default [`limits::LOGS_BYTES_MAX`].
    pub logs_bytes: usize,
    /// Default [`limits::NUMBER_SECONDS`]. The same in the whole cluster, or logs cannot be read.
    pub number_seconds: u32,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        Self {
            own_series: limits::OWN_SERIES_MAX,
            own_groups: limits::OWN_GROUPS_MAX,
            series: limits::SERIES_MAX,
            groups: limits::GROUPS_MAX,
            log_bytes: limits::LOG_BYTES_MAX,
            logs_bytes: limits::LOGS_BYTES_MAX,
            number_seconds: limits::NUMBER_SECONDS,
        }
    }
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            aggregator_id: String::new(),
            copies: 2,
            late_seconds: LATE_WINDOW,
            early_seconds: EARLY_SECONDS,
            flush_after: Duration::from_millis(300),
            straggler_after: Duration::from_millis(250),
            backfill_after: Duration::from_secs(1),
            raw_after: Duration::from_secs(2),
            settle_after: Duration::from_secs(1),
            relay_after: Duration::from_secs(1),
            resend_after: Duration::from_secs(3),
            catch_up: CatchUp::default(),
            slack_seconds: limits::PRUNE_SLACK_SECONDS,
            limits: LedgerLimits::default(),
        }
    }
}
