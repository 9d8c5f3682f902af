use std::collections::BTreeSet;

use starling_proto::v1;

use super::*;
use crate::{Book, Record, State, trial::Given};

const T0: u32 = 1_800_000_000;
const BUSY: &str = "scope = \"node\"\nexpression = \"system.cpu.utilization\"\nabove = 0.9";
const SLOW: &str = "scope = \"node\"\nexpression = \"system.cpu.utilization\"\nabove = 0.9\nfor = \"10s\"";
const GONE: &str = "scope = \"node\"\nexpression = \"node.silent_seconds\"\nabove = 3.5";
const ERRORS: &str = "scope = \"cluster\"\nexpression = \"traffic.errors\"\nabove = 1";
const ZONE: &str = "scope = \"group\"\nexpression = \"traffic.errors\"\nabove = 1";

fn rules(all: &[(&str, &str)]) -> Rules {
    let rule = |(name, rest): &(&str, &str)| {
        format!("[[rule]]\nname = \"{name}\"\nsummary = \"is bad\"\nseverity = \"error\"\n{rest}\n")
    };
    let text: String = all.iter().map(rule).collect();
    Rules::read(&[("test", &text)]).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

/// One aggregator.
struct Side {
    evaluation: Evaluation,
    book: Book,
    /// Streams that are open here, with the value of each second; `None` while nothing comes.
    streams: BTreeMap<NodeId, Option<f64>>,
    cares: BTreeSet<NodeId>,
    groups: Vec<Group>,
    errors: f64,
    first: bool,
    tick: u32,
    /// Nodes of one that lost all of its streams.
    unsure: BTreeSet<NodeId>,
}

impl Side {
    fn new(rules: Rules) -> Self {
        Self {
            evaluation: Evaluation::new(rules),
            book: Book::default(),
            streams: BTreeMap::new(),
            cares: BTreeSet::new(),
            groups: Vec::new(),
            errors: 0.0,
            first: false,
            tick: T0,
            unsure: BTreeSet::new(),
        }
    }

    fn sees(&mut self, name: &str, last: u32, lost: usize) {
        self.evaluation.see([(&node(name), last, false)].into_iter(), lost, self.tick);
    }

    /// Judges the next second, and returns what was written down of it.
    fn second(&mut self) -> Vec<Episode> {
        self.tick += 1;
        let (tick, values) = (self.tick, Given::of_nodes(1.0).with("traffic.errors", self.errors));
        let now = Now {
            tick,
            coverage: (1, 1),
            first: self.first,
            values: &values,
            facts: BTreeMap::from([(facts::CLUSTER_LOST, 1.0)]),
            details: BTreeMap::from([(facts::CLUSTER_LOST, "agg-3".to_owned())]),
            answers: Vec::new(),
        };
        let recent = self.book.recent(tick);
        let sources = Around {
            streams: &self.streams,
            cares: &self.cares,
            groups: &self.groups,
            values: &values,
            unsure: &self.unsure,
            tick,
        };
        let changed = self.evaluation.judge(&now, &recent, &sources);
        let now_ms = u64::from(tick) * 1_000;
        let written = records(changed, &self.book, (tick, now_ms), "side");
        for record in written.records {
            self.book.put(record, now_ms);
        }
        written.transitions
    }

    fn seconds(&mut self, count: u32) -> Vec<Episode> {
        (0..count).flat_map(|_| self.second()).collect()
    }

    fn hears(&mut self, other: &Self) {
        for record in other.book.since(0) {
            self.book.put(record, u64::from(self.tick) * 1_000);
        }
    }

    fn open(&self) -> Vec<Episode> {
        self.book.episodes().filter(|one| one.is_open()).cloned().collect()
    }
}

struct Around<'a> {
    streams: &'a BTreeMap<NodeId, Option<f64>>,
    cares: &'a BTreeSet<NodeId>,
    groups: &'a [Group],
    values: &'a Given,
    unsure: &'a BTreeSet<NodeId>,
    tick: u32,
}

impl Sources for Around<'_> {
    type Latest = Given;

    fn stream(&self, node: &NodeId) -> Stream<Given> {
        let value = self.streams.get(node).copied().flatten();
        let latest = value.map(|value| (self.tick, Given::of_nodes(1.0).with("system.cpu.utilization", value)));
        Stream { connected: self.streams.contains_key(node), latest }
    }

    fn takes_care(&self, node: &NodeId) -> bool {
        self.cares.contains(node)
    }

    fn facts(&self, _: &NodeId) -> BTreeMap<&'static str, f64> {
        BTreeMap::new()
    }

    fn is_unsure(&self, node: &NodeId) -> bool {
        self.unsure.contains(node)
    }

    fn read(&self, latest: &Given, read: &mut dyn FnMut(&dyn Values)) {
        read(latest);
    }

    fn by_group(&self, nodes: &[NodeId]) -> HashMap<Group, u32> {
        self.groups.iter().map(|group| (group.clone(), nodes.len() as u32)).collect()
    }

    fn groups(&self) -> Vec<Group> {
        self.groups.to_vec()
    }

    fn read_group(&self, _: &Group, _: u32, read: &mut ReadGroup<'_>) {
        read(self.values, (1, 1));
    }
}

fn ended(episode: &Episode) -> Option<Outcome> {
    episode.ended.map(|(_, outcome)| outcome)
}

#[test]
fn of_two_sides_of_a_partition_the_episode_that_began_first_goes_on() {
    let mut sides = [Side::new(rules(&[("errors", ERRORS)])), Side::new(rules(&[("errors", ERRORS)]))];
    for (side, begins) in sides.iter_mut().zip([5, 9]) {
        side.first = true;
        side.seconds(begins);
        side.errors = 5.0;
        side.seconds(20 - begins);
    }
    let [mut a, mut b] = sides;
    let (first, second) = (a.open().remove(0), b.open().remove(0));
    assert!(first.since < second.since && first.id != second.id);
    let by = v1::AlertAcknowledgement { author: "eve".to_owned(), ..v1::AlertAcknowledgement::default() };
    let said = b.book.acknowledge(&second, by, "b", u64::from(T0) * 1_000).unwrap();
    b.book.put(Record::Control(said), u64::from(T0) * 1_000);
    a.hears(&b);
    b.hears(&a);
    let told = b.second();
    assert_eq!(told.iter().map(|one| (one.id, ended(one))).collect::<Vec<_>>(), [(second.id, Some(Outcome::Merged))]);
    assert!(a.second().iter().all(|one| one.id == second.id && ended(one) == Some(Outcome::Merged)));
    a.hears(&b);
    assert_eq!(a.open().iter().map(|one| one.id).collect::<Vec<_>>(), [first.id]);
    let by = a.book.acknowledgement(&first, a.tick).map(|by| by.author.clone());
    assert_eq!(by.as_deref(), Some("eve"), "what was said of the one goes on with the other");
    b.errors = 0.0;
    b.seconds(2);
    assert!(b.open().is_empty() && b.book.episode(first.id).and_then(ended) == Some(Outcome::Recovered));
}

#[test]
fn silence_that_was_counted_goes_on_when_an_aggregator_is_lost_or_this_one_starts() {
    let of = || rules(&[("gone", GONE)]);
    let mut side = Side::new(of());
    side.cares = BTreeSet::from([node("a"), node("b")]);
    side.sees("a", T0, 0);
    let fired = side.seconds(20);
    assert_eq!(fired.iter().map(|one| (one.state, one.since)).collect::<Vec<_>>(), [(State::Firing, T0)]);
    // Another node was at the aggregator that is lost.
    side.sees("b", side.tick - 1, 1);
    assert_eq!(side.seconds(8), [], "the one is still gone, the other looks for another aggregator");
    assert_eq!(side.second().len(), 1, "and is gone");
    let mut next = Side::new(of());
    next.tick = side.tick;
    next.cares = side.cares.clone();
    next.hears(&side);
    next.evaluation.rest(next.tick);
    next.sees("a", T0, 0);
    assert_eq!(next.seconds(20), [], "who starts does not know better");
    assert_eq!(next.open().len(), 2);
    next.streams.insert(node("a"), Some(0.1));
    let over = next.second();
    assert_eq!(over.iter().map(ended).collect::<Vec<_>>(), [Some(Outcome::Recovered)]);
}

#[test]
fn how_many_nodes_are_silent_is_open_while_one_may_be_on_its_way() {
    let many = "scope = \"cluster\"\nexpression = \"cluster.nodes_silent\"\nabove = 0";
    let mut side = Side::new(rules(&[("many", many)]));
    side.first = true;
    side.sees("a", T0, 0);
    assert_eq!(side.seconds(10).len(), 1);
    side.sees("b", side.tick, 1);
    side.sees("b", side.tick, 0);
    assert_eq!(side.seconds(20), [], "it neither ends nor begins again");
}

/// Seconds wait no longer for a node that has been silent for a quarter of an hour; it is judged for days.
#[test]
fn a_silent_node_is_one_of_those_that_are_expected() {
    let share = |more: &str| {
        format!("scope = \"cluster\"\nexpression = \"cluster.nodes_silent / cluster.nodes_expected\"\nabove = {more}")
    };
    let mut side = Side::new(rules(&[("half", &share("0.4")), ("most", &share("0.6"))]));
    side.first = true;
    side.sees("a", T0, 0);
    let fired: Vec<String> = side.seconds(10).into_iter().map(|one| one.rule).collect();
    assert_eq!(fired, ["half"], "one reports and is waited for, one is silent");
}

#[test]
fn silent_nodes_are_counted_in_their_groups() {
    let gone = "scope = \"group\"\nexpression = \"group.nodes_silent / group.nodes_expected\"\nabove = 0.4";
    let mut side = Side::new(rules(&[("gone", gone)]));
    (side.first, side.groups) = (true, vec![Group::parse("zone:a").unwrap()]);
    side.sees("a", T0, 0);
    let fired: Vec<String> = side.seconds(10).into_iter().map(|one| one.subject.to_string()).collect();
    assert_eq!(fired, ["zone:a"]);
}

#[test]
fn what_is_open_of_a_group_that_is_gone_ends() {
    let zone = Group::parse("zone:a").unwrap();
    let mut side = Side::new(rules(&[("zone", ZONE)]));
    (side.first, side.errors, side.groups) = (true, 5.0, vec![zone.clone()]);
    side.seconds(3);
    side.groups.clear();
    assert_eq!(side.seconds(30), [], "it may come back");
    side.groups.push(zone);
    side.seconds(3);
    side.groups.clear();
    let over = side.seconds(GROUP_KEPT + 2);
    assert_eq!(over.iter().map(ended).collect::<Vec<_>>(), [Some(Outcome::Forgotten)]);
    // One that another aggregator began, by who never saw the group.
    let mut other = Side::new(rules(&[("zone", ZONE)]));
    (other.first, other.tick) = (true, side.tick);
    let mut open = over[0].clone();
    (open.state, open.ended, open.id) = (State::Firing, None, crate::EpisodeId(7));
    other.book.put(Record::Episode(open), u64::from(side.tick) * 1_000);
    assert_eq!(other.seconds(GROUP_KEPT + 2).iter().map(ended).collect::<Vec<_>>(), [Some(Outcome::Forgotten)]);
}

#[test]
fn what_ended_elsewhere_does_not_come_back_to_life() {
    let of = || rules(&[("busy", BUSY)]);
    let (mut a, mut b) = (Side::new(of()), Side::new(of()));
    a.streams.insert(node("n"), Some(0.95));
    a.sees("n", T0, 0);
    b.sees("n", T0, 0);
    a.seconds(5);
    b.seconds(5);
    b.hears(&a);
    // B sees it open while A judges it, and gets the node after it was over.
    b.second();
    a.streams.insert(node("n"), Some(0.1));
    let over = a.seconds(2).remove(0);
    b.hears(&a);
    b.streams.insert(node("n"), Some(0.95));
    let told = b.seconds(2);
    assert_eq!(told.len(), 1);
    assert!(told[0].id != over.id && told[0].since > over.since, "it is another one");
    // Both judge the node for a while, and A ends it.
    let mut ended_by_a = told[0].clone();
    ended_by_a.end(b.tick, Outcome::Left);
    b.book.put(Record::Episode(ended_by_a.clone()), u64::from(b.tick) * 1_000);
    b.streams.insert(node("n"), Some(0.1));
    assert_eq!(b.seconds(10), []);
    assert_eq!(b.book.episode(ended_by_a.id), Some(&ended_by_a));
}

#[test]
fn what_a_rule_of_before_has_open_ends_with_who_judges_by_another_one() {
    let (mut a, mut b) = (Side::new(rules(&[("busy", BUSY)])), Side::new(rules(&[("busy", SLOW)])));
    a.streams.insert(node("n"), Some(0.95));
    a.sees("n", T0, 0);
    let open = a.seconds(5).remove(0);
    b.tick = a.tick;
    b.sees("n", T0, 0);
    b.hears(&a);
    assert_eq!(b.seconds(5), [], "not with who does not judge the node");
    b.streams.insert(node("n"), Some(0.95));
    let told = b.second();
    assert_eq!(
        told.iter().map(|one| (one.id, ended(one))).collect::<Vec<_>>(),
        [(open.id, Some(Outcome::RuleChanged))]
    );
    let fired = b.seconds(15);
    assert_eq!(fired.iter().map(|one| one.state).collect::<Vec<_>>(), [State::Firing], "it begins again");
}

#[test]
fn who_takes_over_goes_on_with_the_time_that_it_was_bad() {
    // Scenario A01.
    let of = || rules(&[("slow", SLOW)]);
    let (mut a, mut b) = (Side::new(of()), Side::new(of()));
    a.streams.insert(node("n"), Some(0.95));
    a.sees("n", T0, 0);
    a.seconds(7);
    b.hears(&a);
    b.tick = T0 + 9;
    b.sees("n", T0 + 7, 0);
    b.streams.insert(node("n"), Some(0.95));
    let fired = b.seconds(3);
    assert_eq!(fired.iter().map(|one| (one.since, one.fired)).collect::<Vec<_>>(), [(T0 + 1, Some(T0 + 11))]);
}

#[test]
fn a_stand_in_that_heard_of_nothing_goes_on_with_the_same_episode() {
    let mut sides = [Side::new(rules(&[("errors", ERRORS)])), Side::new(rules(&[("errors", ERRORS)]))];
    sides[0].first = true;
    for side in &mut sides {
        side.errors = 5.0;
        side.seconds(4);
    }
    let [a, mut b] = sides;
    assert!(b.open().is_empty(), "it writes nothing down");
    b.first = true;
    assert_eq!(b.second()[0].id, a.open()[0].id);
}

#[test]
fn what_ended_before_somebody_took_it_over_ends() {
    let mut sides = [Side::new(rules(&[("errors", ERRORS)])), Side::new(rules(&[("errors", ERRORS)]))];
    sides[0].first = true;
    for side in &mut sides {
        side.errors = 5.0;
        side.seconds(4);
        side.errors = 0.0;
    }
    let [a, mut b] = sides;
    b.hears(&a);
    // The first one is lost, and not missed yet.
    b.seconds(3);
    assert_eq!(b.open().len(), 1);
    b.first = true;
    let over = b.second();
    assert_eq!(
        over.iter().map(|one| (one.id, one.ended)).collect::<Vec<_>>(),
        [(a.open()[0].id, Some((T0 + 5, Outcome::Recovered)))]
    );
}

#[test]
fn what_fired_on_one_side_of_a_partition_did_not_pass_on_the_other() {
    let of = || rules(&[("slow", SLOW)]);
    let (mut a, mut b) = (Side::new(of()), Side::new(of()));
    a.streams.insert(node("n"), Some(0.95));
    a.sees("n", T0, 0);
    b.sees("n", T0, 0);
    a.seconds(5);
    b.hears(&a);
    // The other side waits for a node that it does not see.
    b.cares.insert(node("n"));
    b.tick = a.tick;
    b.seconds(40);
    let fired = a.seconds(20).remove(0);
    assert!(b.open().is_empty() && b.book.episode(fired.id).and_then(ended) == Some(Outcome::Passed));
    a.tick = b.tick;
    a.hears(&b);
    b.hears(&a);
    assert!(a.book.episode(fired.id).is_some_and(Episode::is_open) && b.open().len() == 1);
}

#[test]
fn an_episode_says_whom_the_facts_of_its_rule_are_about() {
    // A37, A49, A55.
    let lost = "scope = \"cluster\"\nexpression = \"cluster.aggregators_lost\"\nabove = 0";
    let mut side = Side::new(rules(&[("lost", lost)]));
    side.first = true;
    let began = side.second();
    assert_eq!((began.len(), began[0].detail.as_str()), (1, "agg-3"));
    let rule = crate::defaults::with(&[], &[]).unwrap().get("aggregator-lost").unwrap().clone();
    assert_eq!(crate::words::sentence(&rule, &began[0]), "the cluster has lost 1 aggregators: agg-3");
    let nameless = Episode { detail: String::new(), ..began[0].clone() };
    assert_eq!(crate::words::sentence(&rule, &nameless), "the cluster has lost 1 aggregators");
    let wire = v1::AlertEpisode::from(&began[0]);
    assert_eq!(Episode::try_from(wire).unwrap(), began[0]);
}

#[test]
fn nodes_of_one_that_lost_all_its_streams_are_not_gone_at_once() {
    // A37.
    let mut side = Side::new(rules(&[("gone", GONE)]));
    side.cares.insert(node("a"));
    side.evaluation.rest(T0 - 100);
    side.sees("a", T0, 0);
    side.unsure.insert(node("a"));
    assert!(side.seconds(30).is_empty(), "it may be on its way");
    side.unsure.clear();
    let gone = side.second();
    assert_eq!((gone.len(), gone[0].since), (1, T0), "since it was heard last");
}
