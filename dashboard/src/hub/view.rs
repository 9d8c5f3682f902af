//! One view: its log, its upstream series, and what its clients have in common.

use std::sync::Arc;

use starling_proto::live;

use super::{
    UnixMillis,
    frame::SharedFrame,
    key::{Source, ViewKey},
    log::{Log, Publication},
    minute::LastMinute,
    track::Track,
};

/// Publications kept of a view with charts: a client that was away for less resumes without a snapshot. An overview is
/// about 2 kB a second, so this is a quarter of a megabyte.
pub(super) const CHARTED_LOG_MAX: usize = 120;
/// Publications kept of a view without charts: a table says everything each second, so resuming gains nothing.
pub(super) const TABLE_LOG_MAX: usize = 8;

/// A view and its clients' common state.
#[derive(Debug)]
pub(super) struct HubView {
    pub(super) log: Log,
    pub(super) layout: u32,
    /// The snapshot made last, and the end of the log it was made for.
    pub(super) snapshot: Option<(u64, Arc<SharedFrame>)>,
    pub(super) track: Option<Track>,
    /// The dictionary that was sent last, of a table.
    pub(super) dictionary: u32,
    pub(super) refused: Option<String>,
    /// The second up to which clients heard that the node is silent; 0 for none.
    pub(super) silent_until: u32,
}

impl HubView {
    /// An empty view.
    pub(super) fn new(key: &ViewKey) -> Self {
        let track = key.source().map(|source| Track::new(matches!(source, Source::Node(_))));
        let capacity = if track.is_some() { CHARTED_LOG_MAX } else { TABLE_LOG_MAX };
        Self {
            log: Log::new(capacity),
            layout: 1,
            snapshot: None,
            track,
            dictionary: 0,
            refused: None,
            silent_until: 0,
        }
    }

    /// One more message to every client.
    pub(super) fn publish(&mut self, tick: &live::Tick, at: UnixMillis) {
        let publication = Publication {
            tick: tick.tick,
            revision: tick.revision,
            layout: self.layout,
            at,
            frame: SharedFrame::tick(tick),
        };
        self.log.push(publication);
    }

    /// What the last minute adds up to.
    pub(super) fn minute(&self) -> LastMinute {
        self.track.as_ref().map(Track::minute).unwrap_or_default()
    }
}
