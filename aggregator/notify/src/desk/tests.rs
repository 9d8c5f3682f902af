//! The desk by scenario: what a receiver gets, in which order, when.

use std::collections::BTreeMap;

use starling_proto::v1::{AlertAcknowledgement, AlertSeverity};

use super::*;
use crate::{
    config::Config,
    samples::{alert, cleared, severe},
};

const T0: u32 = 1_800_000_000;

/// One desk whose receivers answer by a function of notifier and second.
struct Bench {
    desk: Desk,
    second: u32,
    /// Second, notifier, episode, what, accepted.
    seen: Vec<(u32, String, u64, What, bool)>,
    messages: Vec<Message>,
    records: Vec<AlertDelivery>,
}

impl Bench {
    fn new(file: &str) -> Self {
        let config = Config::read("n.toml", file).unwrap();
        let mut desk = Desk::new(Arc::new(Plan::new(&config)), u64::from(T0) * 1_000);
        desk.judged(T0);
        desk.rank(Some(0));
        Self { desk, second: 0, seen: Vec::new(), messages: Vec::new(), records: Vec::new() }
    }

    fn say(&mut self, alert: Alert) {
        self.desk.changed(alert, &BTreeMap::new());
    }

    /// Runs up to `second`; each message is answered at once.
    fn run(&mut self, second: u32, answer: impl Fn(&str, u32) -> Outcome) {
        while self.second <= second {
            self.desk.judged(T0 + self.second);
            for part in 0..5 {
                let now = u64::from(T0 + self.second) * 1_000 + part * 200;
                loop {
                    let actions = self.desk.poll(now);
                    let idle = !actions.iter().any(|action| matches!(action, Action::Send(_)));
                    actions.into_iter().for_each(|action| self.act(action, now, &answer));
                    if idle {
                        break;
                    }
                }
            }
            self.second += 1;
        }
    }

    fn act(&mut self, action: Action, now: u64, answer: &impl Fn(&str, u32) -> Outcome) {
        match action {
            Action::Record(record) => self.records.push(record),
            Action::Send(message) => {
                let name = self.desk.plan().notifiers[message.notifier].name.to_string();
                let outcome = answer(&name, self.second);
                for item in &message.items {
                    let accepted = outcome == Outcome::Accepted;
                    self.seen.push((self.second, name.clone(), item.id.0, item.what, accepted));
                }
                self.messages.push(message.clone());
                self.desk.outcome(message.id, outcome, now, 0.5);
            }
        }
    }

    fn accepted(&self, notifier: &str, id: u64) -> Vec<What> {
        let of = |one: &&(u32, String, u64, What, bool)| one.1 == notifier && one.2 == id && one.4;
        self.seen.iter().filter(of).map(|one| one.3).collect()
    }
}

fn well(_: &str, _: u32) -> Outcome {
    Outcome::Accepted
}

fn down() -> Outcome {
    Outcome::Retry { what: "500".to_owned(), after: None, slower: false }
}

const TWO: &str = r#"
    [notifier.hook]
    url = "http://a.example.org/"
    [notifier.mail]
    kind = "email"
    server = "mail.example.org:25"
    from = "s@example.org"
    to = ["o@example.org"]
    [[route]]
    notifiers = ["hook", "mail"]
"#;

#[test]
fn a_retry_for_one_receiver_is_no_second_message_for_the_other() {
    let mut bench = Bench::new(TWO);
    let one = alert(1, "web-1", AlertSeverity::Critical, T0);
    bench.say(one.clone());
    let answer = |name: &str, second: u32| if name == "hook" && second < 300 { down() } else { Outcome::Accepted };
    bench.run(120, answer);
    bench.say(cleared(one, T0 + 121));
    bench.run(400, answer);
    assert_eq!(bench.accepted("mail", 1), [What::Firing, What::Cleared]);
    assert_eq!(bench.accepted("hook", 1), [What::Firing, What::Cleared]);
    let tries = bench.seen.iter().filter(|one| one.1 == "hook" && !one.4);
    let seconds: Vec<u32> = tries.map(|one| one.0).collect();
    assert!(seconds.iter().filter(|second| **second < 60).count() <= 12, "{seconds:?}");
    let first = bench.seen.iter().find(|one| one.1 == "hook" && one.4).unwrap();
    assert!(first.0 <= 310, "{first:?}");
    // The sequence rises, and each receiver is in the records by itself.
    let is = |one: &&AlertDelivery, name: &str| one.notifier == name && one.episode_id == EpisodeId(1).to_string();
    let of = |name: &str| bench.records.iter().filter(|one| is(one, name)).count();
    assert_eq!((of("mail"), of("hook")), (2, 2));
}

#[test]
fn a_receiver_that_takes_nothing_is_known_to_those_who_judge() {
    // A11: whoever judges is not who sends.
    let mut bench = Bench::new(TWO);
    let mut book = starling_alerts::Book::default();
    let mut failing = |bench: &mut Bench, second: u32| {
        let now = u64::from(T0 + second) * 1_000;
        let records = std::mem::take(&mut bench.records);
        records.into_iter().for_each(|one| drop(book.put(starling_alerts::Record::Delivery(one), now)));
        book.notifiers_failing(now).len()
    };
    bench.say(alert(1, "web-1", AlertSeverity::Error, T0));
    let down_for = |name: &str, second: u32| if name == "hook" && second < 100 { down() } else { Outcome::Accepted };
    bench.run(95, down_for);
    assert_eq!(failing(&mut bench, 95), 1);
    bench.run(120, down_for);
    assert_eq!(failing(&mut bench, 120), 0);
    // One that refuses is tried no more, and fails until it takes something.
    bench.say(alert(2, "web-2", AlertSeverity::Error, T0 + 120));
    bench.run(400, |name, _| if name == "hook" { Outcome::Refused("404".to_owned()) } else { Outcome::Accepted });
    assert_eq!(failing(&mut bench, 400), 1);
    bench.say(alert(3, "web-3", AlertSeverity::Error, T0 + 400));
    bench.run(410, well);
    assert_eq!(failing(&mut bench, 410), 0);
}

#[test]
fn critical_that_turns_into_warning_is_closed_at_the_pager() {
    let mut bench = Bench::new(
        r#"
        [notifier.mail]
        url = "http://a.example.org/"
        [notifier.pager]
        kind = "pagerduty"
        routing_key = "env:X"
        [[route]]
        notifiers = ["pager"]
        match = ["severity=critical"]
        continue = true
        [[route]]
        notifiers = ["mail"]
    "#,
    );
    use AlertSeverity::{Critical, Error, Warning};
    let mut one = alert(1, "web-1", Warning, T0);
    bench.say(one.clone());
    bench.run(60, well);
    for (at, severity) in [(60, Critical), (120, Error), (180, Warning), (240, Critical)] {
        one = severe(one, severity, T0 + at);
        bench.say(one.clone());
        bench.run(at + 59, well);
        let open = |whats: Vec<What>| {
            whats.iter().filter(|what| **what == What::Firing).count() as i32
                - whats.iter().filter(|what| matches!(what, What::Left | What::Cleared)).count() as i32
        };
        assert_eq!(open(bench.accepted("pager", 1)), i32::from(severity == Critical), "{at}");
    }
    let left = bench.messages.iter().flat_map(|message| &message.items).find(|item| item.what == What::Left).unwrap();
    assert!(crate::text::line(left).starts_with("no longer critical (error, 97 %)"), "{}", crate::text::line(left));
    bench.say(cleared(one, T0 + 300));
    bench.run(320, well);
    assert_eq!(bench.accepted("pager", 1), [What::Firing, What::Left, What::Firing, What::Cleared]);
    let steps = [What::Firing, What::Changed, What::Changed, What::Changed, What::Changed, What::Cleared];
    assert_eq!(bench.accepted("mail", 1), steps);
}

#[test]
fn short_episodes_are_told_in_full_by_a_receiver_that_limits() {
    let mut bench = Bench::new(TWO);
    let all: Vec<Alert> =
        (1..=20).map(|id| alert(id, &format!("web-{id}"), AlertSeverity::Error, T0 + (id % 3) as u32)).collect();
    all.iter().for_each(|one| bench.say(one.clone()));
    let taken = std::cell::RefCell::new((0, 0_u32));
    let limited = |name: &str, second: u32| {
        let mut taken = taken.borrow_mut();
        if name == "mail" || taken.0 < second || taken.1 == 0 {
            if name == "hook" {
                *taken = (second, 1);
            }
            return Outcome::Accepted;
        }
        Outcome::Retry { what: "429".to_owned(), after: Some(Duration::from_secs(15)), slower: true }
    };
    bench.run(6, limited);
    all[..8].iter().for_each(|one| bench.say(cleared(one.clone(), T0 + 6)));
    bench.run(60, limited);
    for id in 1..=20 {
        let wanted = if id <= 8 { &[What::Firing, What::Cleared][..] } else { &[What::Firing] };
        assert_eq!(bench.accepted("hook", id), wanted, "{id}");
    }
}

#[test]
fn what_is_refused_is_a_dead_letter_and_can_be_sent_again() {
    let mut bench = Bench::new(TWO);
    let one = alert(1, "web-1", AlertSeverity::Error, T0);
    bench.say(one.clone());
    let refuses =
        |name: &str, _: u32| if name == "hook" { Outcome::Refused("404".to_owned()) } else { Outcome::Accepted };
    bench.run(30, refuses);
    assert_eq!(bench.seen.iter().filter(|one| one.1 == "hook").count(), 1);
    let letter = bench.desk.dead_letters().next().unwrap().clone();
    assert_eq!((letter.notifier.as_str(), letter.reason.as_str(), letter.attempts), ("hook", "404", 1));
    // Its end alone would say nothing.
    bench.say(cleared(one, T0 + 31));
    bench.run(40, well);
    assert_eq!(bench.accepted("hook", 1), []);
    assert!(bench.desk.resend("hook", letter.id) && !bench.desk.resend("hook", letter.id));
    bench.run(50, well);
    assert_eq!(bench.accepted("hook", 1), [What::Firing, What::Cleared]);
    assert_eq!(bench.accepted("mail", 1), [What::Firing, What::Cleared]);
}

#[test]
fn what_cannot_be_delivered_for_long_is_given_up_and_said_again_later() {
    let mut bench = Bench::new(&TWO.replace("[[route]]", "[[route]]\nrepeat_secs = 3600"));
    bench.say(alert(1, "web-1", AlertSeverity::Error, T0));
    let answer = |name: &str, second: u32| if name == "hook" && second < 1_200 { down() } else { Outcome::Accepted };
    bench.run(1_000, answer);
    assert_eq!(bench.desk.dead_letters().count(), 1);
    bench.run(4_600, answer);
    assert_eq!(bench.accepted("hook", 1), [What::Firing]);
    assert_eq!(bench.accepted("mail", 1), [What::Firing, What::Repeat]);
}

#[test]
fn who_is_looked_after_or_silenced_is_quiet_but_for_the_end() {
    let mut bench = Bench::new(&TWO.replace("[[route]]", "[[route]]\nrepeat_secs = 60"));
    let mut one = alert(1, "web-1", AlertSeverity::Error, T0);
    bench.say(one.clone());
    bench.run(90, well);
    one.acknowledgement = Some(AlertAcknowledgement::default());
    bench.say(one.clone());
    bench.run(300, well);
    bench.say(cleared(one, T0 + 300));
    bench.run(310, well);
    assert_eq!(bench.accepted("hook", 1), [What::Firing, What::Repeat, What::Cleared]);
    // Silenced from the start: neither its beginning nor its end.
    let mut two = alert(2, "web-2", AlertSeverity::Error, T0 + 310);
    two.silenced_by = vec!["s".to_owned()];
    bench.say(two.clone());
    bench.run(400, well);
    bench.say(cleared(two, T0 + 400));
    bench.run(410, well);
    assert_eq!(bench.accepted("hook", 2), []);
}

#[test]
fn what_happens_in_a_maintenance_is_told_at_its_end_where_it_differs() {
    // A29: web-1 is down before and after, web-2 comes up within, web-3 goes down within, web-4 does both.
    for group in ["", "\ngroup_by = [\"rule\"]\ngroup_wait_secs = 2"] {
        let mut bench = Bench::new(&TWO.replace("[[route]]", &format!("[[route]]{group}")));
        let of = |id: u64, at: u32| alert(id, &format!("web-{id}"), AlertSeverity::Error, T0 + at);
        let muted = |mut one: Alert| {
            one.silenced_by = vec!["s".to_owned()];
            one
        };
        [of(1, 0), of(2, 0)].into_iter().for_each(|one| bench.say(one));
        bench.run(59, well);
        let before = bench.seen.len();
        [of(1, 0), of(2, 0)].into_iter().for_each(|one| bench.say(muted(one)));
        bench.run(120, well);
        [of(3, 120), of(4, 120)].into_iter().for_each(|one| bench.say(muted(one)));
        bench.run(180, well);
        [cleared(of(2, 0), T0 + 180), cleared(of(4, 120), T0 + 180)].into_iter().for_each(|one| bench.say(muted(one)));
        bench.run(7_200, well);
        assert_eq!(bench.seen.len(), before, "nothing is said meanwhile: {:?}", &bench.seen[before..]);
        let ends = [cleared(of(2, 0), T0 + 180), cleared(of(4, 120), T0 + 180)];
        [of(1, 0), of(3, 120)].into_iter().chain(ends).for_each(|one| bench.say(one));
        bench.run(7_205, well);
        let said: Vec<_> =
            bench.seen[before..].iter().filter(|one| one.1 == "hook").map(|one| (one.2, one.3)).collect();
        assert!(said.len() == 2 && said.contains(&(2, What::Cleared)) && said.contains(&(3, What::Firing)), "{said:?}");
    }
}

#[test]
fn a_route_is_quiet_in_its_hours_and_says_afterwards_what_differs() {
    // A31. T0 is 08:00 UTC; the hours end at 08:10.
    let mut bench = Bench::new(&TWO.replace("[[route]]", "[[route]]\nmute = [\"08:02-08:10 UTC\"]"));
    let of = |id: u64, at: u32| alert(id, &format!("web-{id}"), AlertSeverity::Error, T0 + at);
    [of(1, 0), of(2, 0)].into_iter().for_each(|one| bench.say(one));
    bench.run(119, well);
    let before = bench.seen.len();
    bench.run(130, well);
    [of(3, 130), of(4, 130), cleared(of(2, 0), T0 + 130)].into_iter().for_each(|one| bench.say(one));
    bench.run(300, well);
    bench.say(cleared(of(4, 130), T0 + 300));
    bench.run(599, well);
    assert_eq!(bench.seen.len(), before, "{:?}", &bench.seen[before..]);
    bench.run(602, well);
    let said: Vec<_> = bench.seen[before..].iter().filter(|one| one.1 == "hook").map(|one| (one.2, one.3)).collect();
    assert!(said.len() == 2 && said.contains(&(2, What::Cleared)) && said.contains(&(3, What::Firing)), "{said:?}");
}

#[test]
fn a_group_is_told_by_its_own_clock() {
    for (wait, interval) in [(2, 10), (5, 5), (7, 20), (0, 30)] {
        let mut bench = Bench::new(&TWO.replace(
            "[[route]]",
            &format!("[[route]]\ngroup_by = [\"rule\"]\ngroup_wait_secs = {wait}\ngroup_interval_secs = {interval}"),
        ));
        let of = |id: u64, at: u32| alert(id, &format!("web-{id}"), AlertSeverity::Error, T0 + at);
        bench.say(of(1, 0));
        bench.run(19, well);
        bench.say(of(2, 20));
        bench.run(59, well);
        bench.say(cleared(of(1, 0), T0 + 60));
        bench.run(60, well);
        bench.say(of(3, 61));
        bench.run(179, well);
        bench.say(cleared(of(2, 20), T0 + 180));
        bench.say(cleared(of(3, 61), T0 + 180));
        bench.run(240, well);
        let hook: Vec<_> = bench.seen.iter().filter(|one| one.1 == "hook").collect();
        let at = |id: u64, what: What| hook.iter().find(|one| one.2 == id && one.3 == what).unwrap().0;
        let first = at(1, What::Firing);
        assert_eq!(first, wait, "{wait} {interval}");
        let second = 20 + wait;
        let said = at(2, What::Firing);
        assert!(said.abs_diff(second.max(first + interval)) <= 1, "{wait} {interval}: {said}");
        for (id, what, from) in
            [(1, What::Cleared, 60), (3, What::Firing, 61), (2, What::Cleared, 180), (3, What::Cleared, 180)]
        {
            let said = at(id, what);
            assert!(said <= from + wait.max(interval) + 1, "{wait} {interval}: {id} {what:?} at {said}");
        }
        assert_eq!(hook.len(), 6, "{hook:?}");
        // What is still open is named beside what is new.
        let news = bench.messages.iter().find(|message| message.items[0].id.0 == 2).unwrap();
        let group = news.group.as_ref().unwrap();
        assert_eq!((group.open, group.still.len()), (2, 1));
    }
}

#[test]
fn an_alertmanager_is_told_again_and_again_and_ends_are_for_a_quarter_of_an_hour() {
    let mut bench = Bench::new(
        "[notifier.am]\nkind = \"alertmanager\"\nurl = \"http://a.example.org\"\n[[route]]\nnotifiers = [\"am\"]",
    );
    let one = alert(1, "web-1", AlertSeverity::Error, T0);
    bench.say(one.clone());
    bench.run(299, well);
    bench.say(cleared(one, T0 + 300));
    bench.run(2_400, well);
    let whats: Vec<(What, bool)> =
        bench.messages.iter().flat_map(|message| &message.items).map(|item| (item.what, item.firing)).collect();
    assert_eq!(whats[0], (What::Firing, true));
    let refreshed = whats.iter().filter(|one| **one == (What::Refresh, true)).count();
    let ended = whats.iter().filter(|one| **one == (What::Refresh, false)).count();
    assert!((4..=5).contains(&refreshed) && (14..=15).contains(&ended), "{refreshed} {ended}");
    assert_eq!(whats.iter().filter(|one| one.0 == What::Cleared).count(), 1);
}

#[test]
fn who_slept_says_nothing_before_it_has_heard_what_was_said() {
    let mut bench = Bench::new(TWO);
    let one = alert(1, "web-1", AlertSeverity::Error, T0 + 5);
    bench.run(5, well);
    bench.say(one.clone());
    // It sleeps for 40 s; another one tells both the beginning and the end.
    bench.second = 46;
    bench.run(46, well);
    for (sequence, firing) in [(1, true), (2, false)] {
        for notifier in ["hook", "mail"] {
            bench.desk.delivery(&AlertDelivery {
                notifier: notifier.to_owned(),
                episode_id: EpisodeId(1).to_string(),
                sequence,
                firing,
                at_unix_ms: u64::from(T0 + 20 + sequence) * 1_000,
                given_up: false,
            });
        }
    }
    bench.run(100, well);
    bench.say(cleared(one, T0 + 20));
    bench.run(120, well);
    assert_eq!(bench.seen, []);
}

#[test]
fn queues_and_tables_are_bounded_and_what_finds_no_place_is_counted() {
    let mut bench = Bench::new(TWO);
    for id in 1..=20_010 {
        bench.say(alert(id, "n", AlertSeverity::Info, T0));
    }
    assert_eq!(bench.desk.take_left_out(), 10);
    assert_eq!(bench.desk.queued(0), 10_000);
    assert_eq!(bench.desk.take_counts(0).dropped, 10_000);
    let began = std::time::Instant::now();
    bench.run(3, well);
    assert_eq!(bench.desk.queued(0), 0);
    eprintln!("10,000 episodes at two notifiers: {:?}", began.elapsed());
}

#[test]
fn other_settings_keep_what_was_told() {
    let mut bench = Bench::new(TWO);
    let one = alert(1, "web-1", AlertSeverity::Error, T0);
    bench.say(one.clone());
    bench.run(5, well);
    let config = Config::read(
        "n.toml",
        &TWO.replace("[notifier.hook]", "[notifier.again]\nurl = \"http://b.example.org\"\n[notifier.hook]"),
    )
    .unwrap();
    bench.desk.replace(Arc::new(Plan::new(&config)));
    bench.run(10, well);
    bench.say(cleared(one, T0 + 11));
    bench.run(20, well);
    assert_eq!(bench.accepted("hook", 1), [What::Firing, What::Cleared]);
    assert_eq!(bench.accepted("again", 1), []);
}
