//! The audit log: who came in, who was refused, who changed what. Lines of the target `audit`, each kind within a bound; counters
//! count all of them.

use std::{fmt, net::IpAddr, time::Duration};

use starling_service::log::LogLimiter;
use tracing::{info, warn};

/// The target of all its lines: `--log audit=off` keeps them out, a filter of a log collector picks them.
const TARGET: &str = "audit";
/// Lines of one kind within [`EVERY`]. What people do is far below it; a flood is so many lines and a count.
const LINES: u32 = 60;
const EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Of what somebody did who may, by kind: signing in again and again hides no change.
    done: [LogLimiter; 4],
    /// Of what was refused, which anybody can bring about: by kind, so that none hides another.
    refused: [LogLimiter; 4],
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// Somebody came in.
    SignedIn,
    /// Somebody went.
    SignedOut,
    /// Something is another way now.
    Change,
    /// It was asked for, and was no use.
    NoChange,
}

impl Done {
    const fn words(self) -> &'static str {
        match self {
            Self::SignedIn => "signed in",
            Self::SignedOut => "signed out",
            Self::Change => "change",
            Self::NoChange => "change that was not made",
        }
    }
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// A name or password that is wrong.
    Password,
    /// An API token that is not known.
    Token,
    /// Too many attempts.
    Rate,
    /// What takes another role.
    Role,
}

impl Denied {
    const fn words(self) -> &'static str {
        match self {
            Self::Password => "log-in refused: name or password is wrong",
            Self::Token => "API token refused",
            Self::Rate => "log-in refused: too many attempts",
            Self::Role => "refused: it takes another role",
        }
    }
}

impl Audit {
    pub(crate) fn new() -> Self {
        let limit = || LogLimiter::of(LINES, EVERY);
        Self { done: std::array::from_fn(|_| limit()), refused: std::array::from_fn(|_| limit()) }
    }

    /// Somebody did something; `detail` such as a path.
    pub(crate) fn done(&self, done: Done, who: Option<&str>, from: Option<IpAddr>, detail: impl fmt::Display) {
        if let Some(left_out) = self.done[done as usize].allow() {
            let (who, from) = (who.unwrap_or("-"), shown(from));
            info!(target: TARGET, who, %from, %detail, left_out, "{}", done.words());
        }
    }

    /// Something was refused. `who` is what was said, which may be anything.
    pub(crate) fn denied(&self, denied: Denied, who: &str, from: Option<IpAddr>, detail: impl fmt::Display) {
        if let Some(left_out) = self.refused[denied as usize].allow() {
            // Debug form: no line ends within.
            let who: String = who.chars().take(64).collect();
            let from = shown(from);
            warn!(target: TARGET, ?who, %from, %detail, left_out, "{}", denied.words());
        }
    }
}

fn shown(from: Option<IpAddr>) -> String {
    from.map_or_else(|| "-".to_owned(), |address| address.to_string())
}
