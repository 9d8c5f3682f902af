//! Limits that both ends of a wire agree on. A reader checks them before it allocates.

use std::time::Duration;

/// Longest name of a node or an aggregator, in characters.
pub const NODE_ID_LEN_MAX: usize = 64;
/// Largest message on a node's stream: a keyframe of 4,096 series with long names stays below it.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Largest message between aggregators and towards dashboards.
pub const PEER_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Series present in one frame, both parts together.
pub const SERIES_PER_NODE_MAX: usize = 4096;
/// Numbers a dictionary may hand out on one connection: series come and go for about an hour at the limit of
/// [`DICTIONARY_GROWTH_MAX`] before the daemon has to start a new connection.
pub const DICTIONARY_MAX: usize = 4 * SERIES_PER_NODE_MAX;
/// New series in one frame after the first: more is a label that never repeats, not a new device.
pub const DICTIONARY_GROWTH_MAX: usize = 1024;
/// Longest name of a series, in bytes.
pub const NAME_LEN_MAX: usize = 128;
/// Attributes of one series.
pub const ATTRIBUTES_MAX: usize = 8;
/// Longest key of an attribute, in bytes.
pub const ATTRIBUTE_KEY_LEN_MAX: usize = 64;
/// Longest value of an attribute, in bytes.
pub const ATTRIBUTE_VALUE_LEN_MAX: usize = 128;
/// Longest unit, in bytes.
pub const UNIT_LEN_MAX: usize = 32;
/// Most decimal digits of fixed point.
pub const SCALE_MAX: u8 = 9;
/// Operator's labels of a node.
pub const LABELS_MAX: usize = 16;
/// Longest key of a label, in characters.
pub const LABEL_KEY_LEN_MAX: usize = 32;
/// Longest value of a label, in characters.
pub const LABEL_VALUE_LEN_MAX: usize = 64;
/// Collectors with a fault that are taken of a node: more than a daemon has.
pub const COLLECTOR_FAULTS_MAX: usize = 32;
/// Longest name of a collector, in characters.
pub const COLLECTOR_NAME_LEN_MAX: usize = 32;
/// Longest reason of a fault of a collector, in characters: a path and what the system says of it.
pub const COLLECTOR_REASON_LEN_MAX: usize = 200;
/// Processes that a daemon names while somebody looks at its node.
pub const DETAIL_PROCESSES_MAX: usize = 50;
/// Seconds for which a daemon reads its detail after it was last asked to.
pub const DETAIL_SECONDS_MAX: u32 = 30;
/// Largest increment of a counter in one tick. 10,000 nodes of it add up to 2^54: no sum overflows.
pub const COUNTER_INCREMENT_MAX: u64 = 1 << 40;
/// Largest magnitude of a gauge in fixed point: 10,000 nodes of it add up to less than 2^77, kept in 128 bits.
pub const GAUGE_MAGNITUDE_MAX: i64 = 1 << 62;
/// Largest count of one bucket of a node's histogram in one tick.
pub const BUCKET_COUNT_MAX: u64 = 1 << 32;
/// Seconds an aggregator answers for at once, of the cluster and of each of its nodes.
pub const LIVE_WINDOW: u32 = 900;
/// A frame older than this is refused: the ledger no longer knows whether it was counted. Older than any frame that a
/// node keeps ([`RING`]) by the two minutes that it needs to hand over a whole ring, newest first at up to 20 frames a
/// second while it waits for acknowledgements (60 to 79 s were measured): an outage longer than the ring costs no more than
/// what did not fit into it.
pub const LATE_WINDOW: u32 = 1_020;
/// Seconds without a frame and without a stream after which a node is forgotten.
pub const NODE_FORGOTTEN_AFTER: u32 = 900;
/// Frames a node keeps until they are acknowledged.
pub const RING: u32 = 900;
/// Seconds a dashboard keeps for its pages.
pub const PAGE_WINDOW: u32 = 900;
/// A frame further ahead than this is refused: one of the two clocks is wrong.
pub const EARLY_SECONDS: u32 = 10;
/// Seconds between keyframes on a live stream, on the grid of Unix time.
pub const KEYFRAME_SECONDS: u32 = 300;
/// Frames sent and not yet acknowledged on one connection.
pub const OFFER_WINDOW: usize = 30;
/// The interval of everything.
pub const TICK: Duration = Duration::from_secs(1);
/// HTTP/2 window of a node's stream and connection: a stalled reader holds 98 kB instead of 1.3 MB, and a frame of
/// 3 kB a second needs no more (measured on tonic 0.14.9).
pub const NODE_WINDOW_BYTES: u32 = 64 * 1024;
/// Interval of HTTP/2 pings on every connection.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// A ping unanswered for this long ends the connection.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
