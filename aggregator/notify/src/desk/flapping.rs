//! Half an hour of series that go to and fro each second and slower, from the value to the receivers: how many messages come of it
//! (A17, A62). Two receivers by one route, one of them by another route too, an Alertmanager that is told again and again, and
//! another desk from the middle on.

use std::collections::{BTreeMap, BTreeSet};

use starling_alerts::{
    Book, Episode, Put, Record, Rules, Subject,
    judge::{self, Judged},
    shown::Shown,
};
use starling_proto::ids::NodeId;

use super::*;
use crate::config::Config;

const T0: u32 = 1_800_000_000;
const NODES: u32 = 20;
/// Half an hour of it, and half an hour in which all is well.
const FLAPPING: u32 = 1_800;
const SECONDS: u32 = 3_600;
const RULE: &str = "[[rule]]\nname = \"busy\"\nscope = \"node\"\nexpression = \"system.cpu.utilization\"\nabove = 0.9\nhold = \"10s\"\nseverity = \"error\"\nsummary = \"is busy\"\n";
const FILE: &str = r#"
    [notifier.hook]
    url = "http://a.example.org/"
    [notifier.mail]
    kind = "email"
    server = "mail.example.org:25"
    from = "s@example.org"
    to = ["o@example.org"]
    [notifier.manager]
    kind = "alertmanager"
    url = "http://b.example.org:9093"
    resend_secs = 30
    [[route]]
    notifiers = ["hook", "mail", "manager"]
    continue = true
    [[route]]
    notifiers = ["hook"]
"#;

/// What a receiver took: which episode, what.
type Taken = BTreeMap<String, Vec<(EpisodeId, What)>>;

struct Run {
    rules: Rules,
    book: Book,
    last: Vec<Option<Episode>>,
    desks: [Desk; 2],
    taken: Taken,
}

impl Run {
    fn new() -> Self {
        let plan = Arc::new(Plan::new(&Config::read("n.toml", FILE).unwrap()));
        let start = u64::from(T0) * 1_000;
        Self {
            rules: Rules::read(&[("r", RULE)]).unwrap(),
            book: Book::default(),
            last: vec![None; NODES as usize],
            desks: [Desk::new(plan.clone(), start), Desk::new(plan, start)],
            taken: Taken::new(),
        }
    }

    /// Judges the next second of every node, of which `busy` says whether its value is beyond.
    fn second(&mut self, tick: u32, busy: impl Fn(u32) -> bool) {
        let rule = self.rules.get("busy").unwrap().clone();
        let mut changed = Vec::new();
        for node in 0..NODES {
            let subject = Subject::Node(NodeId::parse(&format!("web-{node}")).unwrap());
            let judged = Judged { tick, value: Some(if busy(node) { 0.97 } else { 0.1 }), coverage: (NODES, NODES) };
            let last = &mut self.last[node as usize];
            *last = judge::step(&rule, (&subject, &[]), last.as_ref(), judged);
            let Some(episode) = last else { continue };
            if self.book.put(Record::Episode(episode.clone()), u64::from(tick) * 1_000) == Put::Taken {
                changed.push(episode.id);
            }
        }
        let shown = Shown::new(&self.rules, &self.book, &|_: &str| Vec::new(), tick);
        for episode in changed.iter().filter_map(|id| self.book.episode(*id)) {
            let alert = shown.told(episode);
            self.desks.iter_mut().for_each(|desk| desk.changed(alert.clone(), &BTreeMap::new()));
        }
        for part in 0..5 {
            let now = u64::from(tick) * 1_000 + part * 200;
            for at in 0..2 {
                self.desks[at].judged(tick);
                self.poll(at, now);
            }
        }
    }

    /// Takes what a desk has to say; each receiver takes it at once, and the other desk hears of it.
    fn poll(&mut self, at: usize, now: u64) {
        loop {
            let actions = self.desks[at].poll(now);
            let idle = !actions.iter().any(|action| matches!(action, Action::Send(_)));
            for action in actions {
                match action {
                    Action::Record(record) => self.desks[1 - at].delivery(&record),
                    Action::Send(message) => {
                        let name = self.desks[at].plan().notifiers[message.notifier].name.to_string();
                        let items = message.items.iter().map(|item| (item.id, item.what));
                        self.taken.entry(name).or_default().extend(items);
                        self.desks[at].outcome(message.id, Outcome::Accepted, now, 0.5);
                    }
                }
            }
            if idle {
                return;
            }
        }
    }

    fn count(&self, notifier: &str, what: What) -> usize {
        self.taken[notifier].iter().filter(|one| one.1 == what).count()
    }
}

#[test]
fn half_an_hour_of_flapping_is_a_stated_number_of_messages() {
    let mut run = Run::new();
    run.desks[0].rank(Some(0));
    run.desks[1].rank(Some(1));
    for second in 0..SECONDS {
        if second == FLAPPING / 2 {
            run.desks[0].rank(None);
            run.desks[1].rank(Some(0));
        }
        // Of web-0 each second, of web-1 every two, and so on.
        run.second(T0 + second, |node| second < FLAPPING && (second / (node + 1)).is_multiple_of(2));
    }
    let firing = run.count("hook", What::Firing);
    // Up to 10 s of good seconds are within hold: one episode. Of slower ones three fire, and then it is held.
    assert_eq!(firing, 10 + 10 * 3, "{:?}", run.taken["hook"]);
    for own in ["hook", "mail"] {
        let all = &run.taken[own];
        let once: BTreeSet<_> = all.iter().map(|(id, what)| (*id, what.as_str())).collect();
        assert_eq!(all.len(), once.len(), "{own} is told the same twice");
        assert_eq!((run.count(own, What::Firing), run.count(own, What::Cleared)), (firing, firing), "{own}");
        assert_eq!(all.len(), 2 * firing, "{own} is told nothing else");
    }
    // All are over, which is the last that each receiver took of them.
    assert!(run.last.iter().all(|one| one.as_ref().is_none_or(|one| !one.is_open())));
    for (name, all) in &run.taken {
        let last: BTreeMap<EpisodeId, What> = all.iter().copied().collect();
        assert!(name == "manager" || last.values().all(|what| *what == What::Cleared), "{name}: {last:?}");
    }
    // An Alertmanager is told again each 30 s while they are open and for 15 minutes after their end.
    let again = run.count("manager", What::Refresh);
    assert_eq!((run.count("manager", What::Firing), run.count("manager", What::Cleared)), (firing, firing));
    let seconds: u32 = run.book.episodes().map(|one| one.seconds() + 900).sum();
    assert!(again as u32 <= seconds / 30 + NODES, "{again} of {seconds} s");
}
