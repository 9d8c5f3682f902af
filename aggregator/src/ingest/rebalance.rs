//! Sends nodes to a better owner, slowly.
//!
//! A node that failed over, or that came while its owner was not known, is served well where it is. It moves once its
//! owner has been ready for a while, at most one in a hundred of our nodes a second, so that a joining aggregator
//! takes over within about two minutes and nothing moves back and forth. Views of two aggregators are not compared
//! before a move: the owner takes a node it is sent to by its own ranking or by the node's final hop.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Registry;
use crate::{
    membership::{Membership, MembershipView, State},
    metrics::Metrics,
};

/// How long the better owner must have been ready.
const OWNER_READY_FOR: Duration = Duration::from_secs(15);
/// Most moves a second, whatever the number of nodes.
const MOVES_PER_SECOND_MAX: usize = 50;

/// Runs until `draining`: then all nodes are handed over for a stop.
pub(crate) async fn rebalance(
    membership: Membership,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    draining: CancellationToken,
) {
    let mut timer = tokio::time::interval(Duration::from_secs(1));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = draining.cancelled() => return,
            _ = timer.tick() => metrics.rebalanced(step(&membership.view(), &registry)),
        }
    }
}

fn step(view: &MembershipView, registry: &Registry) -> usize {
    if view.suspects_partition || view.degraded || view.me.state != State::Ready || view.others.is_empty() {
        return 0;
    }
    let connected = registry.connected();
    let quota = (connected.len() / 100).clamp(1, MOVES_PER_SECOND_MAX);
    let misplaced = connected.into_iter().filter(|(node, session)| {
        session.since.elapsed() >= Registry::SETTLED_AFTER
            && view.rank(&node.id).first().is_some_and(|owner| owner.id != view.me.id && ready_for_long(view, owner))
    });
    misplaced.take(quota).map(|(_, session)| session.redirect.notify_one()).count()
}

fn ready_for_long(view: &MembershipView, owner: &crate::membership::Member) -> bool {
    view.listed
        .iter()
        .any(|listed| listed.member.id == owner.id && !listed.dead && listed.since.elapsed() >= OWNER_READY_FOR)
}
