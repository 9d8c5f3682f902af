//! One moment of the membership, as everything else reads it.

use std::time::{Duration, Instant};

use starling_proto::{
    ids::{NodeId, WriterId},
    v1,
};

use super::{
    member::{Member, State},
    ownership,
};

/// After a member vanished without leaving, this long nothing is acknowledged on one copy: what looks like a death
/// may be a cut network, and its node of the other side would be the only one to have its frames. Nodes keep what is
/// not acknowledged for 15 minutes, so waiting costs nothing; a supervisor restarts a process well within this time.
const MOURNED: Duration = Duration::from_secs(20);
/// A member that was never seen alive from here counts as lost only after this long: who starts hears of the others before it
/// hears them, and gossip takes them for dead until then.
const HEARSAY: Duration = Duration::from_secs(5);

/// A member with how long it has been the way it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its last known facts.
    pub(crate) member: Member,
    /// Gossip no longer hears of it.
    pub(crate) dead: bool,
    /// Since when state and liveness have been these.
    pub(crate) since: Instant,
    /// It was seen alive from here.
    pub(crate) met: bool,
}

impl Listed {
    /// `member` as it is seen at `now`, after it was seen as `before`.
    pub(crate) fn after(before: Option<&Self>, member: &Member, dead: bool, now: Instant) -> Self {
        let same = before.filter(|before| (before.member.state, before.dead) == (member.state, dead));
        let met = !dead || before.is_some_and(|before| before.met);
        Self { member: member.clone(), dead, since: same.map_or(now, |before| before.since), met }
    }

    /// It is gone, and did not say that it leaves.
    fn vanished(&self) -> bool {
        self.dead && self.member.state != State::Leaving
    }

    /// It is gone without having left, and this is more than hearsay.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        self.vanished() && (self.met || now.saturating_duration_since(self.since) >= HEARSAY)
    }
}

/// The membership at one moment. Snapshots are immutable and shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MembershipView {
    /// This process.
    pub(crate) me: Member,
    /// The other members of the damped view, by name: whom nodes are sent to.
    pub(crate) others: Vec<Member>,
    /// The other processes that gossip sees alive, by name: whom the ledger is exchanged with.
    pub(crate) live: Vec<Member>,
    /// Every process seen in the last 15 minutes, ourselves included, by name.
    pub(crate) listed: Vec<Listed>,
    /// Most of the view vanished a moment ago.
    pub(crate) suspects_partition: bool,
    /// The gossip task keeps failing; the view is the last one it had.
    pub(crate) degraded: bool,
    /// The seeds, while none of them has ever answered.
    pub(crate) silent_seeds: Option<String>,
    /// Why gossip cannot begin: there is no key of it.
    pub(crate) wanting: Option<String>,
    /// Why there are too few aggregators to be ready.
    pub(crate) too_few: Option<String>,
    /// Why this process must end: another one has its name.
    pub(crate) conflict: Option<String>,
}

impl MembershipView {
    /// The ready members in the order in which they are to take `node`. While none is ready, this process alone:
    /// a cluster that starts takes nodes at once, and moves them when it has settled. Nobody while there are too few.
    pub(crate) fn rank(&self, node: &NodeId) -> Vec<&Member> {
        self.ranked(node.as_str())
    }

    /// The same for any name of which one aggregator is to take care.
    pub(crate) fn ranked(&self, name: &str) -> Vec<&Member> {
        let ready: Vec<&Member> = self.everybody().filter(|member| member.state == State::Ready).collect();
        if ready.is_empty() {
            return if self.too_few.is_none() { vec![&self.me] } else { Vec::new() };
        }
        ownership::rank(name, ready.iter().map(|member| member.candidate()))
            .into_iter()
            .filter_map(|id| ready.iter().find(|member| member.id.as_str() == id).copied())
            .collect()
    }

    /// Whether this process is the first to take care of `name`.
    pub(crate) fn is_first(&self, name: &str) -> bool {
        self.ranked(name).first().is_some_and(|member| member.id == self.me.id)
    }

    /// This process and the other members of the damped view.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.me).chain(&self.others)
    }

    /// No other aggregator is known, and none vanished without leaving a moment ago.
    pub(crate) fn is_alone(&self, now: Instant) -> bool {
        let vanished = |listed: &Listed| listed.vanished() && now.saturating_duration_since(listed.since) < MOURNED;
        self.me.state != State::Joining
            && self.live.is_empty()
            && self.others.is_empty()
            && !self.listed.iter().any(vanished)
    }

    /// On how many aggregators a frame must be held before it is acknowledged, where `wanted` is what the settings
    /// ask for: no more than there are ready ones, and one only for an aggregator that is alone.
    pub(crate) fn copies(&self, wanted: u32, now: Instant) -> u32 {
        if self.is_alone(now) {
            return 1;
        }
        let ready = self.live.iter().filter(|member| member.state == State::Ready).count();
        wanted.min(u32::try_from(ready + 1).unwrap_or(u32::MAX).max(2))
    }

    /// On how many disks an entry is once `copies` aggregators hold it: `own` says whether this one keeps the ledger on its
    /// disk. At least so many, by what the others said some seconds ago.
    pub(crate) fn copies_on_disk(&self, copies: u32, own: bool) -> u32 {
        let members = self.live.iter().map(|member| member.on_disk).chain([own]);
        let in_memory = members.filter(|on_disk| !on_disk).count();
        copies.saturating_sub(u32::try_from(in_memory).unwrap_or(u32::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn view(live: &[State]) -> MembershipView {
        let live: Vec<Member> = live.iter().map(|state| Member::for_test("b", *state)).collect();
        MembershipView {
            me: Member::for_test("a", State::Ready),
            others: live.clone(),
            live,
            listed: Vec::new(),
            suspects_partition: false,
            degraded: false,
            silent_seeds: None,
            wanting: None,
            too_few: None,
            conflict: None,
        }
    }

    #[test]
    fn copies_are_no_more_than_there_are_aggregators() {
        let now = Instant::now();
        assert_eq!(view(&[]).copies(5, now), 1);
        assert_eq!(view(&[State::Ready]).copies(5, now), 2);
        assert_eq!(view(&[State::Ready; 4]).copies(5, now), 5);
        assert_eq!(view(&[State::Ready; 4]).copies(3, now), 3);
        assert_eq!(view(&[State::Ready; 4]).copies(1, now), 1);
        assert_eq!(view(&[State::Joining, State::Leaving]).copies(5, now), 2, "never one beside a live peer");
    }

    #[test]
    fn one_copy_is_not_enough_just_after_a_death() {
        let now = Instant::now();
        let mut view = view(&[]);
        let listed = |state| Listed { member: Member::for_test("b", state), dead: true, since: now, met: true };
        view.listed = vec![listed(State::Leaving)];
        assert!(view.is_alone(now), "it ended its stream");
        view.listed = vec![listed(State::Ready)];
        assert!(!view.is_alone(now + MOURNED / 2));
        assert_eq!(view.copies(2, now + MOURNED / 2), 2);
        assert!(view.is_alone(now + MOURNED));
        assert_eq!(view.copies(2, now + MOURNED), 1);
    }

    #[test]
    fn who_was_only_heard_of_is_not_lost_at_once() {
        let now = Instant::now();
        let later = now + HEARSAY / 2;
        let b = Member::for_test("b", State::Ready);
        let heard = Listed::after(None, &b, true, now);
        assert!(!heard.is_lost(later) && heard.is_lost(now + HEARSAY), "nobody ever heard it: it is gone");
        let seen = Listed::after(Some(&heard), &b, false, later);
        assert!(!seen.is_lost(now + HEARSAY) && seen.since == later);
        let gone = Listed::after(Some(&seen), &b, true, later);
        assert!(gone.is_lost(later), "who was alive and is gone is lost at once");
        assert_eq!(Listed::after(Some(&gone), &b, true, now + HEARSAY).since, later, "since it went");
        let left = Listed::after(Some(&seen), &Member::for_test("b", State::Leaving), true, later);
        assert!(!left.is_lost(now + 2 * HEARSAY), "it said so");
    }
}
