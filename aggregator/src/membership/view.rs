//! One moment of the membership, as everything else reads it.

use std::time::Instant;

use starling_proto::{
    ids::{NodeId, WriterId},
    v1,
};

use super::{
    member::{Member, State},
    ownership,
};

/// A member with how long it has been the way it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its last known facts.
    pub(crate) member: Member,
    /// Gossip no longer hears of it.
    pub(crate) dead: bool,
    /// Since when state and liveness have been these.
    pub(crate) since: Instant,
}

/// The membership at one moment. Snapshots are immutable and shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// This process.
    pub(crate) me: Member,
    /// The other members of the damped view, by name: whom nodes are sent to.
    pub(crate) others: Vec<Member>,
    /// The other processes that gossip sees alive, by name: whom the ledger is exchanged with.
    pub(crate) live: Vec<Member>,
    /// Everybody heard of in the last 15 minutes, ourselves included, by name.
    pub(crate) listed: Vec<Listed>,
    /// Most of the view vanished a moment ago.
    pub(crate) suspects_partition: bool,
    /// The gossip task keeps failing; the view is the last one it had.
    pub(crate) degraded: bool,
}

impl View {
    /// The ready members in the order in which they are to take `node`. While nobody is ready, this process alone:
    /// a cluster that starts takes nodes at once, and moves them when it has settled.
    pub(crate) fn rank(&self, node: &NodeId) -> Vec<&Member> {
        let ready: Vec<&Member> = self.everybody().filter(|member| member.state == State::Ready).collect();
        if ready.is_empty() {
            return vec![&self.me];
        }
        ownership::rank(node.as_str(), ready.iter().map(|member| (member.id.as_str(), member.weight)))
            .into_iter()
            .filter_map(|id| ready.iter().find(|member| member.id.as_str() == id).copied())
            .collect()
    }

    /// This process and the other members of the damped view.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.me).chain(&self.others)
    }

    /// Everybody a node may know of, ready ones first.
    pub(crate) fn known(&self) -> Vec<v1::Endpoint> {
        let mut known: Vec<&Member> = self.everybody().filter(|member| member.state != State::Leaving).collect();
        known.sort_by_key(|member| (member.state != State::Ready, member.id.clone()));
        known.into_iter().map(endpoint).collect()
    }

    /// The name behind a log, as far as gossip still knows it.
    pub(crate) fn name_of(&self, writer: WriterId) -> Option<&NodeId> {
        self.listed.iter().find(|listed| listed.member.writer == writer).map(|listed| &listed.member.id)
    }
}

/// The member as nodes reach it.
pub(crate) fn endpoint(member: &Member) -> v1::Endpoint {
    v1::Endpoint { aggregator_id: member.id.to_string(), address: member.grpc.clone() }
}
