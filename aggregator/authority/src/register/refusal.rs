//! Why nobody joins or renews.

use starling_proto::ids::NodeId;
use starling_service::{enrolment::Reason, identity::Role};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Why not, with the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such token, or another secret.
    #[error(
        "this join token is not known here: it is of another cluster, or was forgotten a day after its end; make one with \
         `starling token create`"
    )]
    TokenUnknown,
    /// Its time is over.
    #[error("the join token expired at {}: make a new one with `starling token create`", day(*.0))]
    TokenExpired(u64),
    /// As many as it allows have joined.
    #[error("the join token was used {0} times, as often as it allows: make a new one with `starling token create`")]
    TokenUsedUp(u32),
    /// It was taken back.
    #[error("the join token was revoked at {}: make a new one with `starling token create`", day(*.0))]
    TokenRevoked(u64),
    /// It is for something else.
    #[error(
        "the join token is for the role {token}, this is {asked}: make one with `starling token create --role {asked}`"
    )]
    Role {
        /// What the token is for.
        token: Role,
        /// What asks.
        asked: Role,
    },
    /// Somebody else has the name.
    #[error(
        "{name} is the name of another since {}{}", day(*since),
        if *alive {
            ", which is connected: choose another name by --name, or stop that one first".to_owned()
        } else {
            format!(": choose another name by --name, run `starling node remove {name}` first, or join with a token made \
                     with --replace")
        }
    )]
    NameTaken {
        /// Which name.
        name: NodeId,
        /// Since when.
        since: u64,
        /// It speaks with the cluster now.
        alive: bool,
    },
    /// The key is another's already.
    #[error("this key is that of {0} {1} already: join with a new one, by --replace")]
    Known(Role, NodeId),
    /// It was taken out.
    #[error("this identity was removed at {} by {by}", day(*at))]
    Removed {
        /// When.
        at: u64,
        /// By whom.
        by: String,
    },
    /// It has not joined here.
    #[error("this key has not joined here, or was forgotten long after its certificate ended")]
    UnknownKey,
    /// It was away for too long.
    #[error("its last certificate ended at {}, too long ago to renew it", day(*.0))]
    EndedLongAgo(u64),
    /// Who is to be taken out works.
    #[error("{0} {1} is connected: stop it first (systemctl stop starling-{0})")]
    Alive(Role, NodeId),
    /// Its request is for something else.
    #[error("the request does not say that {0} leaves")]
    NotLeaving(String),
    /// The disk was copied.
    #[error("this identity belongs to another machine: this disk is a copy of its")]
    OtherMachine,
    /// See [`super::TOKENS_MAX`].
    #[error("there are {} valid join tokens, the most that are kept: revoke some", super::TOKENS_MAX)]
    TooManyTokens,
    /// See [`super::IDENTITIES_MAX`].
    #[error("{} have joined, the most that are kept: remove those that are gone", super::IDENTITIES_MAX)]
    TooManyIdentities,
}

impl Refusal {
    /// In one word, for programs.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::TokenUnknown => Reason::TokenUnknown,
            Self::TokenExpired(_) => Reason::TokenExpired,
            Self::TokenUsedUp(_) => Reason::TokenUsedUp,
            Self::TokenRevoked(_) => Reason::TokenRevoked,
            Self::Role { .. } => Reason::Role,
            Self::NameTaken { .. } | Self::Known(..) => Reason::NameTaken,
            Self::Removed { .. } => Reason::Removed,
            Self::UnknownKey | Self::EndedLongAgo(_) => Reason::Unknown,
            Self::Alive(..) => Reason::Alive,
            Self::NotLeaving(_) => Reason::Request,
            Self::OtherMachine => Reason::Machine,
            Self::TooManyTokens | Self::TooManyIdentities => Reason::Full,
        }
    }
}

/// Day and time by UTC.
fn day(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix_s.to_string())
}
