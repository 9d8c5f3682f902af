//! What is said in one go.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use starling_alerts::EpisodeId;
use starling_proto::v1::{Alert, AlertEpisode};

/// What is said of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// It is open.
    Firing,
    /// It is open with another severity than was said.
    Changed,
    /// It is still open.
    Repeat,
    /// For receivers that forget what they do not hear of: what they were told is still so.
    Refresh,
    /// It is over.
    Cleared,
    /// It is open, and no longer so bad that the receiver is to hear of it.
    Left,
}

impl What {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Changed => "severity_changed",
            Self::Repeat => "repeat",
            Self::Refresh => "refresh",
            Self::Cleared => "cleared",
            Self::Left => "severity_left",
        }
    }

    /// It tells of a transition; else of one that was told.
    #[must_use]
    pub const fn is_news(self) -> bool {
        !matches!(self, Self::Repeat | Self::Refresh)
    }
}

/// One episode of a message.
#[derive(Debug, Clone)]
pub struct Item {
    /// Which.
    pub id: EpisodeId,
    /// As it stood when the message was made.
    pub alert: Arc<Alert>,
    /// All its labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// What is said of it.
    pub what: What,
    /// The receiver is to take it as open; else as over.
    pub firing: bool,
    /// Up to which transition.
    pub sequence: u32,
}

impl Item {
    /// The episode; an empty one of an alert without.
    pub(crate) fn episode(&self) -> &AlertEpisode {
        static NONE: LazyLock<AlertEpisode> = LazyLock::new(AlertEpisode::default);
        self.alert.episode.as_ref().unwrap_or(&NONE)
    }
}

/// A group that a message is about.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The same for all messages about it.
    pub key: u64,
    /// The labels it has in common.
    pub by: Vec<(String, String)>,
    /// Episodes that are open in it, with those of this message.
    pub open: usize,
    /// Some of those that were told before and are still open.
    pub still: Vec<Arc<Alert>>,
}

/// What one notifier is sent in one go.
#[derive(Debug, Clone)]
pub struct Message {
    /// Of this process.
    pub id: u64,
    /// Place of the notifier.
    pub notifier: usize,
    /// At least one, unless it is a test.
    pub items: Vec<Item>,
    /// Of a route that groups.
    pub group: Option<Group>,
    /// How often it was tried before.
    pub attempts: u32,
    /// It only shows that messages arrive.
    pub test: bool,
    /// Not to be begun after this, in milliseconds of the desk's clock: what it says may be old then.
    pub begin_until: u64,
}

impl Message {
    /// Something of it is open.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.items.iter().any(|item| item.firing) || self.group.as_ref().is_some_and(|group| group.open > 0)
    }

    /// By which receivers know it again: of one episode its id, of a group the key of the group.
    #[must_use]
    pub fn dedup_key(&self) -> String {
        match (&self.group, self.items.first()) {
            (Some(group), _) => format!("group-{:016x}", group.key),
            (None, Some(item)) => item.id.to_string(),
            (None, None) => format!("test-{:016x}", self.id),
        }
    }
}
