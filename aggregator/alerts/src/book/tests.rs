use proptest::prelude::*;
use starling_proto::ids::NodeId;

use super::*;
use crate::{
    Outcome, Rules, Subject,
    judge::{self, Judged},
};

const NOW: u64 = 1_800_000_000_000;

fn episode(node: &str, since: u32) -> Episode {
    let text = "[[rule]]\nname = \"r\"\nscope = \"node\"\nexpression = \"system.cpu.utilization\"\nsummary = \"is busy\"\nabove = 0.5\nseverity = \"error\"";
    let rules = Rules::read(&[("f", text)]).unwrap();
    let subject = Subject::Node(NodeId::parse(node).unwrap());
    judge::step(&rules.all()[0], (&subject, &[]), None, Judged { tick: since, value: Some(0.9), coverage: (1, 1) })
        .unwrap()
}

fn now() -> u32 {
    (NOW / 1_000) as u32
}

fn by(author: &str) -> v1::AlertAcknowledgement {
    v1::AlertAcknowledgement { author: author.to_owned(), ..v1::AlertAcknowledgement::default() }
}

#[test]
fn what_is_newer_stays() {
    let (mut book, first) = (Book::default(), episode("a", now()));
    assert_eq!(book.put(Record::Episode(first.clone()), NOW), Put::Taken);
    assert_eq!(book.put(Record::Episode(first.clone()), NOW), Put::Known);
    let mut later = first.clone();
    later.end(now() + 5, Outcome::Recovered);
    assert_eq!(book.put(Record::Episode(later.clone()), NOW), Put::Taken);
    assert_eq!(book.put(Record::Episode(first.clone()), NOW), Put::Known);
    assert!(book.open().is_empty() && book.episode(first.id) == Some(&later));
    let far = Episode { judged: now() + 3_600, ..first };
    assert!(matches!(book.put(Record::Episode(far), NOW), Put::Refused(_)));
}

#[test]
fn of_two_that_are_open_for_one_cause_the_first_is_shown() {
    let mut book = Book::default();
    for since in [now() - 3, now() - 5, now()] {
        book.put(Record::Episode(episode("a", since)), NOW);
    }
    assert_eq!(book.open().iter().map(|one| one.since).collect::<Vec<_>>(), [now() - 5]);
}

#[test]
fn an_acknowledgement_holds_until_it_is_over_and_over_a_flap() {
    let (mut book, one) = (Book::default(), episode("a", now()));
    book.put(Record::Episode(one.clone()), NOW);
    assert_eq!(book.acknowledge(&one, by(""), "agg", NOW).unwrap_err().field, "author");
    let control = book.acknowledge(&one, by("eve"), "agg", NOW).unwrap();
    book.put(Record::Control(control), NOW);
    assert_eq!(book.acknowledgement(&one, now()).map(|by| by.author.as_str()), Some("eve"));
    let mut over = one.clone();
    over.end(now() + 5, Outcome::Recovered);
    book.put(Record::Episode(over), NOW);
    let (soon, late) = (episode("a", now() + 60), episode("a", now() + 700));
    assert!(book.inherited(&soon, now() + 60).is_some() && book.inherited(&late, now() + 700).is_none());
    assert!(book.inherited(&episode("b", now() + 60), now() + 60).is_none());
    let back = book.take_back(&Taken::Acknowledgement(one.id), "bob", "agg", NOW).unwrap();
    book.put(Record::Control(back), NOW);
    assert_eq!(book.acknowledgement(&one, now()), None);
}

#[test]
fn silences_match_and_end() {
    let (mut book, one) = (Book::default(), episode("web-1", now()));
    let matcher =
        |key: &str, value: &str, regex| v1::AlertMatcher { key: key.into(), value: value.into(), regex, negate: false };
    let silence = |matchers: Vec<v1::AlertMatcher>| v1::AlertSilence {
        matchers,
        author: "eve".into(),
        starts_tick: now(),
        ends_tick: now() + 60,
        ..v1::AlertSilence::default()
    };
    for (matchers, wanted) in [
        (vec![], "matchers: wanted are 1 to 16"),
        (vec![matcher("node", ".*", true)], "they match everything"),
        (vec![matcher("node", "(", true)], "is no regular expression"),
    ] {
        let error = book.silence(silence(matchers), "agg", NOW).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let control =
        book.silence(silence(vec![matcher("node", "web-.+", true), matcher("rule", "r", false)]), "agg", NOW).unwrap();
    book.put(Record::Control(control), NOW);
    let labels = control::labels(&one, None, &[]);
    let id = book.silenced_by(&labels, false, now());
    assert_eq!((id.len(), book.silenced_by(&labels, false, now() + 60).len()), (1, 0));
    let back = book.take_back(&Taken::Silence(&id[0]), "bob", "agg", NOW + 1_000).unwrap();
    book.put(Record::Control(back), NOW);
    assert!(book.silenced_by(&labels, false, now()).is_empty());
}

#[test]
fn a_silence_that_can_cover_nothing_is_refused() {
    // A26.
    let matcher = |key: &str, value: &str, regex, negate| v1::AlertMatcher {
        key: key.into(),
        value: value.into(),
        regex,
        negate,
    };
    let made = |matchers: Vec<v1::AlertMatcher>| {
        let silence = v1::AlertSilence {
            matchers,
            author: "eve".into(),
            starts_tick: now(),
            ends_tick: now() + 60,
            ..v1::AlertSilence::default()
        };
        Book::default().silence(silence, "agg", NOW).map(|_| ()).map_err(|error| error.to_string())
    };
    let one = || matcher("node", "web-1", false, false);
    for other in [
        matcher("node", "web-2", false, false),
        matcher("node", "db-.*", true, false),
        matcher("node", "web-1", false, true),
    ] {
        let error = made(vec![one(), other]).unwrap_err();
        assert_eq!(error, "matchers[1]: no alert can have both this and matchers[0]");
    }
    assert_eq!(made(vec![one(), matcher("node", "web-.*", true, false), matcher("rule", "r", false, false)]), Ok(()));
}

#[test]
fn that_alerting_fails_is_silenced_by_its_name_only() {
    // A25.
    let matcher = |key: &str, value: &str, regex| {
        Matcher::new(v1::AlertMatcher { key: key.into(), value: value.into(), regex, negate: false }).unwrap()
    };
    let labels = BTreeMap::from([("rule", "alerts-late"), ("severity", "warning")].map(|(k, v)| (k.into(), v.into())));
    for (matchers, wanted) in [
        (vec![matcher("severity", "warning", false)], false),
        (vec![matcher("rule", ".+", true)], false),
        (vec![matcher("severity", "warning", false), matcher("rule", ".*late|.*", true)], false),
        (vec![matcher("rule", "alerts-late", false)], true),
        (vec![matcher("rule", "alerts-.*", true)], true),
    ] {
        assert!(control::covers(&matchers, &labels, false));
        assert_eq!(control::covers(&matchers, &labels, true), wanted, "{matchers:?}");
    }
    let rules = crate::defaults::with(&[], &[]).unwrap();
    let own: Vec<&str> =
        rules.all().iter().filter(|rule| rule.is_of_alerting()).map(|rule| rule.name.as_str()).collect();
    assert_eq!(own, ["rules-refused", "alerts-late", "alert-query-failed", "notifier-failing"]);
}

#[test]
fn a_stamp_from_the_future_wins_nothing() {
    // Scenario A55.
    let (mut book, one) = (Book::default(), episode("a", now()));
    let mut far = book.acknowledge(&one, by("eve"), "agg", NOW).unwrap();
    far.version = (NOW + 3_600_000) << 16;
    assert!(matches!(book.put(Record::Control(far), NOW), Put::Refused(_)));
}

#[test]
fn it_is_bounded() {
    let mut book = Book::default();
    for at in 0..EPISODES_MAX as u32 {
        let mut one = Episode { id: EpisodeId(at.into()), ..episode("a", now()) };
        if at == 7 {
            one.end(now(), Outcome::Recovered);
        }
        assert_eq!(book.put(Record::Episode(one), NOW), Put::Taken);
    }
    let more = |at: u64| Record::Episode(Episode { id: EpisodeId(at), ..episode("a", now()) });
    assert_eq!(book.put(more(1 << 40), NOW), Put::Taken, "in the place of the one that is over");
    assert!(matches!(book.put(more(1 << 41), NOW), Put::Refused(_)));
    book.expire(now() + OVER_KEPT + 10);
    assert_eq!(book.episodes().count(), EPISODES_MAX, "open ones stay");
}

proptest! {
    /// Records in any order, some twice: the books are equal, and nothing that was taken back returns.
    #[test]
    fn books_agree(order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(), again in prop::collection::vec(0..12usize, 0..6)) {
        let one = episode("a", now());
        let mut source = Book::default();
        let mut records = Vec::new();
        for at in 0..4u64 {
            let mut next = one.clone();
            next.judged += at as u32;
            next.sequence += at as u32;
            records.push(Record::Episode(next));
            let control = source.acknowledge(&one, by(&format!("p{at}")), "agg", NOW + at).unwrap();
            source.put(Record::Control(control.clone()), NOW);
            records.push(Record::Control(control));
            let back = source.take_back(&Taken::Acknowledgement(one.id), "x", "agg", NOW + at).unwrap();
            source.put(Record::Control(back.clone()), NOW);
            records.push(Record::Control(back));
        }
        let (mut a, mut b) = (Book::default(), Book::default());
        for record in &records {
            a.put(record.clone(), NOW);
        }
        for at in order.into_iter().chain(again) {
            let wire: v1::AlertRecord = records[at].clone().into();
            b.put(Record::try_from(wire).unwrap(), NOW);
        }
        prop_assert_eq!(a.digest(), b.digest());
        prop_assert_eq!(a.episode(one.id), b.episode(one.id));
        prop_assert_eq!(b.acknowledgement(&one, now()), None);
    }
}

#[test]
fn who_had_letters_sent_again_is_noted_everywhere_and_bounded() {
    let (mut one, mut other) = (Book::default(), Book::default());
    let note = |author: &str, letter_id| v1::DeadLetterResend {
        author: author.to_owned(),
        notifier: "ops".to_owned(),
        letter_id,
        resent: 1,
        ..v1::DeadLetterResend::default()
    };
    let missing = one.resend(note(" ", 1), "agg-1", NOW).unwrap_err();
    assert_eq!(missing.to_string(), "author: is missing");
    for id in 0..RESENDS_MAX as u64 + 7 {
        let record = one.resend(note("eve", id), "agg-1", NOW + id).unwrap();
        assert_eq!(one.put(Record::Control(record), NOW), Put::Taken);
    }
    for record in one.since(0) {
        other.put(record, NOW);
    }
    let ids: Vec<u64> = other.resends().map(|one| one.letter_id).collect();
    assert_eq!(ids, (7..RESENDS_MAX as u64 + 7).collect::<Vec<_>>(), "the newest, oldest first");
    assert_eq!(one.digest(), other.digest());
    assert!(other.resends().all(|one| one.author == "eve" && one.at_unix_ms >= NOW));
    // An older one does not push out a newer one, and both stay equal.
    let before = Book::default().resend(note("old", 1), "agg-2", NOW - 60_000).unwrap();
    assert_eq!(other.put(Record::Control(before), NOW), Put::Known);
    assert!(!other.in_force(now()).eq(&1) && other.silences().next().is_none());
    other.expire(now() + OVER_KEPT + 200);
    assert_eq!(other.resends().count(), 0);
}
