//! What notifiers are to hear of the book, and when.
//!
//! An episode is told once another aggregator has it too: whoever goes on with it, should this one be lost in the moment in which
//! a receiver takes the message, then goes on with the same episode, and says the same by the same key. One that may stand under
//! another one ([`super::family`]) waits in any case: what it stands under may come from another aggregator a moment later.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use starling_proto::v1;

use super::{Book, Episode, EpisodeId, Record, Rules, family};

/// Longest wait for another aggregator to have it, in milliseconds: a message is late by that at most.
const SHARED_WITHIN: u64 = 500;

/// What is to be handed on, in this order: what receivers were told comes first, so that nothing is told twice.
#[derive(Debug, Default)]
pub struct Told {
    /// What receivers were told.
    pub deliveries: Vec<v1::AlertDelivery>,
    /// Episodes that changed, or that somebody said something of.
    pub episodes: BTreeSet<EpisodeId>,
}

/// From the first record on.
#[derive(Debug, Default)]
pub struct News {
    revision: u64,
    /// What is in force without a record that says so ([`Book::in_force`]), and which parents settle.
    standing: u64,
    /// What is not told yet.
    waiting: BTreeMap<EpisodeId, Waiting>,
    /// Rules that have others under them, and those others.
    parents: HashSet<String>,
    children: HashSet<String>,
    /// Rules under whose episodes all stands that is open of their node.
    of_silence: HashSet<String>,
}

#[derive(Debug)]
struct Waiting {
    /// The revision with which it is in the book.
    revision: u64,
    /// Until when it waits, in milliseconds.
    until: u64,
    /// Also when another one has it.
    in_any_case: bool,
}

impl News {
    /// Puts rules in force.
    pub fn by(&mut self, rules: &Rules) {
        let parents = || rules.all().iter().filter(|rule| !rule.children.is_empty());
        self.parents = parents().map(|rule| rule.name.clone()).collect();
        let of_silence = rules.all().iter().filter(|rule| rule.is_of_silence());
        self.of_silence = of_silence.map(|rule| rule.name.clone()).collect();
        self.children = parents().flat_map(|rule| rule.children.clone()).collect();
    }

    /// What is new in the book at `now_ms`, in second `tick`. `shared` is the revision up to which another aggregator has everything; `None` when
    /// there is no other.
    pub fn next(&mut self, book: &Book, (now_ms, tick): (u64, u32), shared: Option<u64>) -> Told {
        let mut told = Told::default();
        let revision = book.revision();
        let settles = |one: &&Episode| self.parents.contains(&one.rule) && family::settles(one, tick);
        let settling = book.episodes().filter(settles).fold(0, |all, one| all ^ one.id.0);
        let standing = book.in_force(tick) ^ settling;
        let mut said = std::mem::replace(&mut self.standing, standing) != standing;
        for record in book.since(self.revision) {
            match record {
                Record::Delivery(delivery) => told.deliveries.push(delivery),
                Record::Episode(episode) if episode.has_fired() => {
                    // Whether those under it are told depends on it.
                    said |= self.parents.contains(&episode.rule);
                    // Once when it begins and when it ends: its value changes each second.
                    let turns = !episode.is_open() || episode.fired == Some(episode.judged);
                    said |= turns && self.of_silence.contains(&episode.rule);
                    let in_any_case = episode.is_open() && self.children.contains(&episode.rule);
                    let new = Waiting { revision, until: now_ms + SHARED_WITHIN, in_any_case };
                    self.waiting.entry(episode.id).or_insert(new).revision = revision;
                }
                Record::Episode(_) => {}
                Record::Control(_) => said = true,
            }
        }
        self.revision = revision;
        self.waiting.retain(|id, one| {
            let is_shared = shared.is_none_or(|shared| shared >= one.revision);
            let waits = now_ms < one.until && (one.in_any_case || !is_shared);
            if !waits {
                told.episodes.insert(*id);
            }
            waits
        });
        if said {
            let open = book.open().into_iter().filter(|one| one.has_fired() && !self.waiting.contains_key(&one.id));
            told.episodes.extend(open.map(|one| one.id));
            told.episodes.extend(book.owed_ends());
        }
        told
    }

    /// Whether something waits to be told.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use starling_proto::ids::NodeId;

    use super::*;
    use crate::{
        Outcome, Rules, Subject,
        judge::{self, Judged},
    };

    const T0: u32 = 1_800_000_000;

    fn episode() -> Episode {
        let text = "[[rule]]\nname = \"r\"\nscope = \"node\"\nexpression = \"system.cpu.utilization\"\nsummary = \"is busy\"\nabove = 0.5\nseverity = \"error\"";
        let rules = Rules::read(&[("f", text)]).unwrap();
        let subject = Subject::Node(NodeId::parse("a").unwrap());
        let judged = Judged { tick: T0, value: Some(0.9), coverage: (1, 1) };
        judge::step(&rules.all()[0], (&subject, &[]), None, judged).unwrap()
    }

    #[test]
    fn an_episode_is_told_once_another_has_it_or_after_half_a_second() {
        let (mut book, one) = (Book::default(), episode());
        book.put(Record::Episode(one.clone()), u64::from(T0) * 1_000);
        let all = BTreeSet::from([one.id]);
        let mut alone = News::default();
        assert_eq!(alone.next(&book, (0, T0), None).episodes, all);
        let mut shared = News::default();
        assert!(shared.next(&book, (0, T0), Some(0)).episodes.is_empty() && shared.waits());
        assert_eq!(shared.next(&book, (10, T0), Some(book.revision())).episodes, all);
        assert!(!shared.waits() && shared.next(&book, (20, T0), Some(0)).episodes.is_empty(), "once");
        let mut slow = News::default();
        assert!(slow.next(&book, (0, T0), Some(0)).episodes.is_empty());
        assert!(slow.next(&book, (SHARED_WITHIN - 1, T0), Some(0)).episodes.is_empty());
        assert_eq!(slow.next(&book, (SHARED_WITHIN, T0), Some(0)).episodes, all);
    }

    #[test]
    fn one_that_may_stand_under_another_one_waits_and_is_told_again_with_it() {
        let text = |name: &str, scope: &str, more: &str| {
            format!(
                "[[rule]]\nname = \"{name}\"\nscope = \"{scope}\"\nexpression = \"system.cpu.utilization\"\nsummary = \"is busy\"\nabove = 0.5\nseverity = \"error\"\n{more}\n"
            )
        };
        let text = text("all", "cluster", "children = [\"r\"]") + &text("r", "node", "");
        let rules = Rules::read(&[("f", &text)]).unwrap();
        let (mut book, one, now) = (Book::default(), episode(), u64::from(T0) * 1_000);
        book.put(Record::Episode(one.clone()), now);
        let mut news = News::default();
        news.by(&rules);
        assert!(news.next(&book, (0, T0), None).episodes.is_empty(), "its parent may come");
        assert_eq!(news.next(&book, (SHARED_WITHIN, T0), None).episodes, BTreeSet::from([one.id]));
        let judged = Judged { tick: T0, value: Some(0.9), coverage: (1, 1) };
        let parent = judge::step(rules.get("all").unwrap(), (&Subject::Cluster, &[]), None, judged).unwrap();
        book.put(Record::Episode(parent.clone()), now);
        assert_eq!(news.next(&book, (SHARED_WITHIN, T0), None).episodes, BTreeSet::from([one.id, parent.id]));
    }

    #[test]
    fn what_somebody_says_is_news_of_all_that_is_told() {
        let (mut book, one, now) = (Book::default(), episode(), u64::from(T0) * 1_000);
        book.put(Record::Episode(one.clone()), now);
        let mut news = News::default();
        news.next(&book, (0, T0), None);
        let by = v1::AlertAcknowledgement { author: "eve".to_owned(), ..v1::AlertAcknowledgement::default() };
        let said = book.acknowledge(&one, by, "agg", now).unwrap();
        book.put(Record::Control(said), now);
        assert_eq!(news.next(&book, (1, T0), Some(0)).episodes, BTreeSet::from([one.id]));
    }

    #[test]
    fn a_silence_that_begins_or_ends_by_itself_is_news() {
        // A28, A29.
        let (mut book, one, now) = (Book::default(), episode(), u64::from(T0) * 1_000);
        book.put(Record::Episode(one.clone()), now);
        let matcher = v1::AlertMatcher { key: "rule".into(), value: "r".into(), ..v1::AlertMatcher::default() };
        let silence = v1::AlertSilence {
            matchers: vec![matcher],
            author: "eve".into(),
            starts_tick: T0 + 10,
            ends_tick: T0 + 20,
            ..v1::AlertSilence::default()
        };
        book.put(Record::Control(book.silence(silence, "agg", now).unwrap()), now);
        let mut news = News::default();
        let mut told_at = |book: &Book, seconds: std::ops::Range<u32>| -> Vec<u32> {
            let told = |second: &u32| {
                let told = news.next(book, (u64::from(*second) * 1_000, T0 + second), None);
                told.episodes.contains(&one.id)
            };
            seconds.filter(told).collect()
        };
        assert_eq!(told_at(&book, 0..15), [0, 10]);
        // It ends meanwhile; a receiver was told that it is open.
        let mut over = one.clone();
        over.end(T0 + 15, Outcome::Recovered);
        book.put(Record::Episode(over), now);
        let told = v1::AlertDelivery {
            notifier: "mail".into(),
            episode_id: one.id.to_string(),
            sequence: 1,
            firing: true,
            ..v1::AlertDelivery::default()
        };
        book.put(Record::Delivery(told), now);
        assert_eq!(told_at(&book, 15..40), [15, 20]);
    }
}
