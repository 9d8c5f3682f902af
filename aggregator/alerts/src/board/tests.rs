use starling_proto::ids::NodeId;

use super::*;
use crate::{State, trial::Given};

fn rules(text: &str) -> Rules {
    Rules::read(&[("test", text)]).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn rule(name: &str, rest: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nsummary = \"is bad\"\nseverity = \"error\"\n{rest}\n")
}

fn node(name: &str) -> Subject {
    Subject::Node(NodeId::parse(name).unwrap())
}

fn judge(board: &mut Board, tick: u32, subject: &Subject, values: &Given) -> Vec<Episode> {
    let second = Second { tick, subject, values: Some(values), coverage: (1, 1) };
    board.judge(&second, &Whole { values: None, firing: &|rule| if rule == "busy" { 3.0 } else { 0.0 } })
}

const BUSY: &str = "scope = \"node\"\nexpression = \"system.cpu.utilization\"\nabove = 0.9\nfor = \"10s\"";
const HOT: fn() -> Given = || Given::of_nodes(1.0).with("system.cpu.utilization", 0.95);

#[test]
fn one_episode_for_each_set_of_attributes() {
    let text = rule(
        "full",
        "scope = \"node\"\nexpression = \"system.filesystem.mount.utilization\"\nby = [\"system.filesystem.mountpoint\"]\nabove = 0.9",
    );
    let mut board = Board::new(rules(&text));
    let mount = |path: &str| format!("system.filesystem.mount.utilization{{system.filesystem.mountpoint={path}}}");
    let values = Given::of_nodes(1.0).with(&mount("/"), 0.95).with(&mount("/home"), 0.5).with(&mount("/var"), 0.99);
    let found = judge(&mut board, 100, &node("a"), &values);
    let of: Vec<_> = found.iter().map(|one| one.attributes[0].1.as_str()).collect();
    assert_eq!(of, ["/", "/var"]);
    assert!(found[0].id != found[1].id && found.iter().all(|one| one.state == State::Firing));
    // Scenario A45, and a series that goes: it is not recovered.
    let fewer = Given::of_nodes(1.0).with(&mount("/home"), 0.5);
    let later = judge(&mut board, 101, &node("a"), &fewer);
    assert!(later.iter().all(|one| one.state == State::Firing && one.absent_since == Some(101)));
    let many = (0..300).fold(Given::of_nodes(1.0), |made, at| made.with(&mount(&format!("/{at:03}")), 0.1));
    judge(&mut board, 102, &node("b"), &many);
    assert_eq!(board.left_out(), 300 - INSTANCES_MAX as u64);
}

#[test]
fn a_reload_resets_nobody_who_did_not_change() {
    // Scenario A05.
    let text =
        rule("busy", BUSY) + &rule("other", "scope = \"node\"\nexpression = \"system.cpu.utilization\"\nabove = 0.8");
    let mut board = Board::new(rules(&text));
    for tick in 100..108 {
        judge(&mut board, tick, &node("a"), &HOT());
    }
    let described = text.replace("is bad", "is quite bad");
    assert_eq!(board.replace(rules(&described), 108), [], "texts change nothing");
    let moved = rule("new", "scope = \"cluster\"\nexpression = \"system.cpu.busy\"\nabove = 0.8") + &described;
    assert_eq!(board.replace(rules(&moved), 108), []);
    let fired: Vec<_> = (108..111).flat_map(|tick| judge(&mut board, tick, &node("a"), &HOT())).collect();
    let busy = fired.iter().find(|one| one.rule == "busy" && one.state == State::Firing).unwrap();
    assert_eq!((busy.since, busy.fired), (100, Some(110)));
    let ended = board.replace(rules(&moved.replace("above = 0.8", "above = 0.7")), 112);
    let of: Vec<_> = ended.iter().map(|one| (one.rule.as_str(), one.ended)).collect();
    assert_eq!(of, [("other", Some((112, Outcome::RuleChanged)))]);
}

#[test]
fn another_goes_on_where_one_stopped() {
    // Scenario A01.
    let text = rule("busy", BUSY);
    let (mut first, mut second) = (Board::new(rules(&text)), Board::new(rules(&text)));
    let last = (100..107).flat_map(|tick| judge(&mut first, tick, &node("a"), &HOT())).last().unwrap();
    second.adopt(&last, 107);
    let fired = (107..=110).flat_map(|tick| judge(&mut second, tick, &node("a"), &HOT())).last().unwrap();
    assert_eq!((fired.id, fired.state, fired.fired), (last.id, State::Firing, Some(110)));
    // One that began for itself takes the older one.
    let mut third = Board::new(rules(&text));
    judge(&mut third, 109, &node("a"), &HOT());
    third.adopt(&last, 109);
    assert_eq!(judge(&mut third, 110, &node("a"), &HOT())[0].since, 100);
    third.adopt(&Episode { judged: 50, sequence: 0, ..last.clone() }, 110);
    assert_eq!(judge(&mut third, 111, &node("a"), &HOT())[0].fired, Some(110), "what is older changes nothing");
}

#[test]
fn who_left_is_over_and_episodes_are_counted() {
    let text =
        rule("busy", BUSY) + &rule("many", "scope = \"cluster\"\nexpression = \"firing(\\\"busy\\\")\"\nabove = 2");
    let mut board = Board::new(rules(&text));
    judge(&mut board, 100, &node("a"), &HOT());
    let ended = board.forget(&node("a"), 101, Outcome::Left);
    assert_eq!(ended[0].ended, Some((101, Outcome::Left)));
    assert!(board.forget(&node("a"), 102, Outcome::Left).is_empty(), "it is forgotten");
    let many = judge(&mut board, 101, &Subject::Cluster, &Given::default());
    assert_eq!((many[0].rule.as_str(), many[0].value), ("many", 3.0));
}

#[test]
fn a_second_with_few_nodes_is_not_judged_where_the_rule_says_so() {
    let text = rule("errors", "scope = \"cluster\"\nexpression = \"traffic.errors\"\nabove = 1\non_partial = \"hold\"");
    let mut board = Board::new(rules(&text));
    let values = Given::of_nodes(1.0).with("traffic.errors", 5.0);
    let mut judge = |tick, coverage| {
        let second = Second { tick, subject: &Subject::Cluster, values: Some(&values), coverage };
        board.judge(&second, &Whole { values: None, firing: &|_| 0.0 }).len()
    };
    assert_eq!((judge(1, (8, 10)), judge(2, (9, 10))), (0, 1));
}

/// The rules of a file with one query.
fn queries(rest: &str) -> Rules {
    let text = format!(
        "[[rule]]\nname = \"q\"\npromql = \"sum(queue) by (pod)\"\nabove = 10\nseverity = \"error\"\nsummary = \"of {{pod}} is long\"\n{rest}"
    );
    Rules::read(&[("test", &text)]).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn answer(values: &[(&str, f64)]) -> crate::query::Answered {
    let set = |(pod, value): &(&str, f64)| (vec![("pod".to_owned(), (*pod).to_owned())], *value);
    crate::query::Answered { values: values.iter().map(set).collect(), left_out: 0 }
}

#[test]
fn each_set_of_labels_of_an_answer_is_an_episode_of_its_own() {
    let mut board = Board::new(queries("every = \"10s\"\nfor = \"20s\"\nhold = \"10s\""));
    let mut states = Vec::new();
    for (at, values) in [
        &[("a", 20.0), ("b", 5.0)][..],
        &[("a", 20.0), ("b", 50.0)],
        &[("a", 21.0), ("b", 5.0)],
        &[("a", 1.0)],
        &[("a", 1.0)],
    ]
    .into_iter()
    .enumerate()
    {
        let tick = 1_000 + 10 * at as u32;
        for episode in board.answered("q", tick, &answer(values), (3, 3)) {
            states.push((tick, episode.attributes[0].1.clone(), episode.state, episode.ended.map(|(_, why)| why)));
        }
    }
    let of = |pod: &str| -> Vec<(u32, State, Option<Outcome>)> {
        states.iter().filter(|one| one.1 == pod).map(|one| (one.0, one.2, one.3)).collect()
    };
    assert_eq!(
        of("a"),
        [
            (1_000, State::Pending, None),
            (1_010, State::Pending, None),
            (1_020, State::Firing, None),
            (1_030, State::Firing, None),
            (1_040, State::Cleared, Some(Outcome::Recovered)),
        ]
    );
    assert_eq!(of("b"), [(1_010, State::Pending, None), (1_020, State::Cleared, Some(Outcome::Passed))]);
}

#[test]
fn what_an_answer_no_longer_has_is_over_after_hold_and_not_at_once() {
    let mut board = Board::new(queries("every = \"10s\"\nhold = \"15s\""));
    assert_eq!(board.answered("q", 1_000, &answer(&[("a", 20.0)]), (3, 3))[0].state, State::Firing);
    assert_eq!(board.answered("q", 1_010, &answer(&[]), (3, 3))[0].state, State::Firing, "it may come again");
    assert_eq!(board.answered("q", 1_020, &answer(&[]), (3, 3))[0].state, State::Firing);
    let over = &board.answered("q", 1_030, &answer(&[]), (3, 3))[0];
    assert_eq!(over.ended, Some((1_030, Outcome::Forgotten)));
    assert!(board.answered("q", 1_040, &answer(&[]), (3, 3)).is_empty());
    assert!(board.answered("none", 1_040, &answer(&[("a", 20.0)]), (3, 3)).is_empty(), "no rule of that name");
}

#[test]
fn the_sets_of_an_answer_are_bounded() {
    let mut board = Board::new(queries(""));
    let names: Vec<String> = (0..300).map(|at| format!("{at:04}")).collect();
    let values: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 20.0)).collect();
    let changed = board.answered("q", 1_000, &answer(&values), (3, 3));
    assert_eq!((changed.len(), board.left_out()), (256, 44));
}

#[test]
fn what_nobody_can_judge_any_more_is_over_after_an_hour() {
    // A43, A44: a mount that is gone, and a condition that holds no longer, leave no alert that is open for ever.
    let full = rule(
        "full",
        "scope = \"node\"\nexpression = \"system.filesystem.mount.utilization\"\nby = [\"system.filesystem.mountpoint\"]\nabove = 0.9",
    );
    let ratio = rule(
        "ratio",
        "scope = \"node\"\nexpression = \"traffic.errors / traffic.requests\"\nwhen = \"traffic.requests >= 50\"\nabove = 0.05",
    );
    let mount = "system.filesystem.mount.utilization{system.filesystem.mountpoint=/mnt}";
    let busy = Given::of_nodes(1.0).with(mount, 0.95).with("traffic.requests", 100.0).with("traffic.errors", 50.0);
    let calm = Given::of_nodes(1.0).with("traffic.requests", 0.0).with("traffic.errors", 0.0);
    let mut board = Board::new(rules(&(full + &ratio)));
    assert_eq!(judge(&mut board, 100, &node("a"), &busy).len(), 2);
    // A node that is silent for hours says nothing: both stay.
    for tick in 101..9_000 {
        let second = Second { tick, subject: &node("a"), values: None, coverage: (1, 1) };
        let changed = board.judge(&second, &Whole { values: None, firing: &|_| 0.0 });
        assert!(changed.iter().all(Episode::is_open), "{changed:?}");
    }
    let ended: Vec<_> = (9_000..13_000)
        .flat_map(|tick| judge(&mut board, tick, &node("a"), &calm))
        .filter_map(|one| one.ended)
        .collect();
    assert_eq!(ended, [(9_000 + UNJUDGED_MAX - 1, Outcome::Forgotten); 2]);
}

#[test]
fn a_window_is_not_judged_while_its_subject_is_silent() {
    // A04: the machine dies after the kernel ended a program: that the window forgets the program is no recovery.
    let text = rule("killed", "scope = \"node\"\nexpression = \"growth(system.memory.oom_kills[60s])\"\nabove = 0");
    let mut board = Board::new(rules(&text));
    let killed = |count: f64| Given::of_nodes(1.0).with("system.memory.oom_kills", count);
    let fired = judge(&mut board, 100, &node("a"), &killed(1.0)).pop().unwrap();
    (101..130).for_each(|tick| drop(judge(&mut board, tick, &node("a"), &killed(0.0))));
    let mut last = None;
    for tick in 130..400 {
        let second = Second { tick, subject: &node("a"), values: None, coverage: (1, 1) };
        last = board.judge(&second, &Whole { values: None, firing: &|_| 0.0 }).pop().or(last);
    }
    let last = last.unwrap();
    assert_eq!((last.id, last.state, last.absent_since), (fired.id, State::Firing, Some(130)));
    let back: Vec<_> = (400..470).flat_map(|tick| judge(&mut board, tick, &node("a"), &killed(0.0))).collect();
    assert!(back.iter().any(|one| one.id == fired.id && one.state == State::Cleared), "{back:?}");
}

#[test]
fn no_traffic_is_neither_an_error_nor_well() {
    // A40: seconds of (errors, requests); with fewer than 50 requests there is no verdict.
    let ratio = rule(
        "ratio",
        "scope = \"node\"\nexpression = \"traffic.errors / traffic.requests\"\nwhen = \"traffic.requests >= 50\"\nabove = \"5%\"",
    );
    let mut board = Board::new(rules(&ratio));
    let of = |errors: f64, requests: f64| {
        Given::of_nodes(1.0).with("traffic.errors", errors).with("traffic.requests", requests)
    };
    for (tick, (errors, requests)) in (100..).zip([(0.0, 0.0), (1.0, 1.0), (2.0, 49.0), (f64::NAN, 60.0)]) {
        assert_eq!(judge(&mut board, tick, &node("a"), &of(errors, requests)), [], "{errors} of {requests}");
    }
    let fired = judge(&mut board, 110, &node("a"), &of(3.0, 50.0)).pop().unwrap();
    assert_eq!((fired.state, fired.value), (State::Firing, 0.06));
    let quiet = judge(&mut board, 111, &node("a"), &of(0.0, 0.0)).pop().unwrap();
    assert_eq!((quiet.state, quiet.absent_since, quiet.value), (State::Firing, Some(111), 0.06));
    let well = judge(&mut board, 112, &node("a"), &of(0.0, 50.0)).pop().unwrap();
    assert_eq!((well.state, well.value), (State::Cleared, 0.0));
    // What grows beyond all numbers is none.
    let sum = rule("sum", "scope = \"node\"\nexpression = \"traffic.errors * traffic.requests\"\nabove = 1");
    let mut board = Board::new(rules(&sum));
    assert_eq!(judge(&mut board, 100, &node("a"), &of(1e308, 20.0)), []);
    assert_eq!(judge(&mut board, 101, &node("a"), &of(f64::INFINITY, 1.0)), []);
}

#[test]
fn the_rule_that_takes_the_time_is_named() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // Each look at this clock is later than the one before by more than that was.
    fn clock() -> u64 {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed);
        calls * calls
    }
    // A49.
    let rule = |name: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nscope = \"cluster\"\nexpression = \"traffic.errors\"\nabove = 1\nseverity = \"error\"\nsummary = \"fails\"\n"
        )
    };
    let text = rule("cheap") + &rule("dear");
    let mut board = Board::new(Rules::read(&[("f", &text)]).unwrap());
    let given = Given::of_nodes(1.0).with("traffic.errors", 0.0);
    let second = |tick| Second { tick, subject: &Subject::Cluster, values: Some(&given), coverage: (1, 1) };
    let whole = Whole { values: None, firing: &|_| 0.0 };
    board.judge(&second(1), &whole);
    assert_eq!(board.dearest(), None, "not measured");
    board.measure(Some(clock));
    board.judge(&second(2), &whole);
    let (name, part) = board.dearest().unwrap();
    assert!(name == "dear" && part > 0.5 && part < 1.0, "{name} {part}");
}
