//! Each default rule with seconds in which it must fire, and with seconds in which it must not.

use starling_proto::{group::Group, ids::NodeId};

use super::*;
use crate::{Board, Scope, Second, State, Subject, Whole, trial::Given};

/// A case: the rule, the second in which it fires, the second in which it does not, how many seconds of each.
type Case = (&'static str, fn() -> Given, fn() -> Given, u32);

fn peers() -> Given {
    Given::of_nodes(10.0).with_histogram("traffic.duration", 0.01, 100_000).with("traffic.duration", 1.0)
}

fn traffic(requests: f64, errors: f64) -> Given {
    Given::of_nodes(1.0).with("traffic.requests{protocol=grpc}", requests).with("traffic.errors{protocol=grpc}", errors)
}

fn slow(seconds: f64, count: u64) -> Given {
    Given::of_nodes(1.0).with_histogram("traffic.duration", seconds, count)
}

fn one(what: &str, value: f64) -> Given {
    Given::of_nodes(1.0).with(what, value)
}

fn packets(what: &str, bad: f64) -> Given {
    one("system.network.packets", 10_000.0).with(what, bad)
}

const OOM: &str = "system.memory.oom_kills";
const INODES: &str = "system.filesystem.mount.inodes.utilization{system.filesystem.mountpoint=/}";
const OVERFLOWS: &str = "system.tcp.listen_overflows";

fn stalled(resource: &str, tasks: &str, share: f64) -> Given {
    let series = format!("system.pressure.time{{system.pressure.resource={resource},system.pressure.tasks={tasks}}}");
    one(&series, share).with("system.cpu.utilization", 0.9)
}

fn disk(operations: f64, seconds: f64) -> Given {
    one("system.disk.device.operations{disk.io.direction=write,system.device=sda}", operations)
        .with("system.disk.device.operation_time{disk.io.direction=write,system.device=sda}", seconds)
}

fn group(silent: f64, expected: f64) -> Given {
    one("group.nodes_silent", silent).with("group.nodes_expected", expected)
}

/// Open now, opened in a second, failed in a minute.
fn connections(open: f64, opened: f64, failed: f64) -> Given {
    one("system.tcp.open", open).with("system.tcp.opened", opened).with("system.tcp.health{health=error}", failed)
}

const MOUNT: &str = "system.filesystem.mount.utilization{system.filesystem.mountpoint=/}";

const CASES: &[Case] = &[
    ("node-gone", || one("node.silent_seconds", 4.0), || one("node.silent_seconds", 3.0), 1),
    ("node-name-clash", || one("node.name_clash", 1.0), || one("node.name_clash", 0.0), 1),
    ("node-cannot-read", || one("node.collector_faults", 2.0), || one("node.collector_faults", 0.0), 31),
    ("clock-off", || one("node.clock_refused", 1.0), || one("node.clock_refused", 0.0), 1),
    ("cpu-busy", || one("system.cpu.utilization", 0.97), || one("system.cpu.utilization", 0.94), 140),
    (
        "load-high",
        || one("system.load_average.5m", 20.0).with("system.cpu.logical.count", 8.0),
        || one("system.load_average.5m", 12.0).with("system.cpu.logical.count", 8.0),
        310,
    ),
    ("memory-low", || one("system.memory.utilization", 0.95), || one("system.memory.utilization", 0.9), 80),
    (
        "swap-full",
        || one("system.paging.utilization", 0.9).with("system.paging.limit", 1e9),
        || one("system.paging.utilization", 0.9).with("system.paging.limit", 1e6),
        310,
    ),
    ("memory-killed", || one(OOM, 1.0), || one(OOM, 0.0), 1),
    ("memory-pressure", || stalled("memory", "full", 0.2), || stalled("memory", "some", 0.2), 80),
    ("io-pressure", || stalled("io", "full", 0.7), || stalled("io", "full", 0.5), 320),
    ("cpu-pressure", || stalled("cpu", "some", 0.9), || stalled("cpu", "some", 0.7), 320),
    ("inodes-full", || one(INODES, 0.93), || one(INODES, 0.89), 31),
    (
        "raid-degraded",
        || one("system.raid.disks.missing{system.device=md0}", 1.0),
        || one("system.raid.disks.missing{system.device=md0}", 0.0),
        21,
    ),
    (
        "connection-table-full",
        || one("system.network.conntrack.utilization", 0.85),
        || one("system.network.conntrack.utilization", 0.79),
        31,
    ),
    ("open-files-full", || one("system.files.utilization", 0.85), || one("system.files.utilization", 0.79), 31),
    ("disk-slow", || disk(10.0, 2.0), || disk(10.0, 0.5), 320),
    ("connections-turned-away", || one(OVERFLOWS, 5.0), || one(OVERFLOWS, 0.0), 10),
    ("disk-full", || one(MOUNT, 0.93), || one(MOUNT, 0.89), 31),
    ("network-errors", || packets("system.network.errors", 20.0), || packets("system.network.errors", 2.0), 70),
    ("network-drops", || packets("system.network.dropped", 200.0), || packets("system.network.dropped", 50.0), 130),
    (
        "tcp-retransmits",
        || one("system.tcp.segments_sent", 1_000.0).with("system.tcp.retransmits", 80.0),
        || one("system.tcp.segments_sent", 1_000.0).with("system.tcp.retransmits", 20.0),
        70,
    ),
    ("connections-failing", || connections(100.0, 10.0, 500.0), || connections(25.0, 2.0, 60.0), 40),
    (
        "disk-busy",
        || one("system.disk.device.io_time{system.device=sda}", 1.0),
        || one("system.disk.device.io_time{system.device=sda}", 0.9),
        610,
    ),
    ("errors", || traffic(100.0, 2.0), || traffic(100.0, 0.9), 10),
    ("node-errors", || traffic(100.0, 15.0), || traffic(0.5, 0.5), 10),
    ("latency", || slow(1.2, 100), || slow(0.9, 100), 20),
    ("node-slow", || slow(0.05, 100), || slow(0.02, 100), 20),
    ("many-nodes-gone", || lost(2.0, 10.0), || lost(1.0, 4.0), 1),
    ("group-gone", || group(3.0, 3.0), || group(2.0, 2.0), 1),
    ("partition-suspected", || one("cluster.partition_suspected", 1.0), || one("cluster.partition_suspected", 0.0), 1),
    ("aggregator-lost", || one("cluster.aggregators_lost", 1.0), || one("cluster.aggregators_lost", 0.0), 1),
    ("aggregator-blind", || one("cluster.aggregators_blind", 1.0), || one("cluster.aggregators_blind", 0.0), 1),
    ("aggregator-clock-off", || one("cluster.clock_skew_seconds", 3.0), || one("cluster.clock_skew_seconds", 1.5), 11),
    ("copies-missing", || one("cluster.copies_missing", 1.0), || one("cluster.copies_missing", 0.0), 61),
    ("store-paused", || one("cluster.stores_paused", 1.0), || one("cluster.stores_paused", 0.0), 31),
    (
        "aggregators-contradict",
        || one("cluster.aggregators_disputed", 2.0),
        || one("cluster.aggregators_disputed", 0.0),
        6,
    ),
    ("certificate-ending", || one("cluster.certificates_ending", 1.0), || one("cluster.certificates_ending", 0.0), 61),
    ("rules-refused", || one("cluster.rules_refused", 1.0), || one("cluster.rules_refused", 0.0), 1),
    (
        "alert-query-failed",
        || one("cluster.alert_queries_failing", 1.0),
        || one("cluster.alert_queries_failing", 0.0),
        61,
    ),
    ("notifier-failing", || one("cluster.notifiers_failing", 1.0), || one("cluster.notifiers_failing", 0.0), 31),
    ("alerts-late", || one("cluster.evaluation_lag_seconds", 9.0), || one("cluster.evaluation_lag_seconds", 2.0), 11),
];

fn lost(silent: f64, expected: f64) -> Given {
    one("cluster.nodes_silent", silent).with("cluster.nodes_expected", expected)
}

/// The names of the rules that fire after so many seconds of `second`.
fn fired(scope: Scope, seconds: impl IntoIterator<Item = Given>) -> Vec<String> {
    let mut board = Board::new(with(&[], &[]).unwrap());
    let subject = match scope {
        Scope::Node => Subject::Node(NodeId::parse("web-1").unwrap()),
        Scope::Group => Subject::Group(Group::parse("zone:a").unwrap()),
        Scope::Cluster => Subject::Cluster,
    };
    let mut fired = Vec::new();
    for (tick, second) in (1_800_000_000..).zip(seconds) {
        let peers = peers().and(&second);
        let second = Second { tick, subject: &subject, values: Some(&second), coverage: (10, 10) };
        let whole = Whole { values: Some(&peers), firing: &|_| 0.0 };
        let changed = board.judge(&second, &whole);
        fired.extend(changed.into_iter().filter(|one| one.state == State::Firing).map(|one| one.rule));
    }
    fired.sort();
    fired.dedup();
    fired
}

#[test]
fn each_fires_when_it_must_and_only_then() {
    let rules = with(&[], &[]).unwrap();
    for (name, bad, good, seconds) in CASES {
        let scope = rules.get(name).unwrap_or_else(|| panic!("no rule {name}")).scope;
        let run = |make: fn() -> Given, seconds: u32| fired(scope, (0..seconds).map(|_| make()));
        assert_eq!(run(*bad, seconds + 5), [*name]);
        assert!(run(*good, 700).is_empty(), "{name} fires of what is in order");
        if *seconds > 1 {
            assert!(run(*bad, seconds / 2).is_empty(), "{name} fires early");
        }
    }
    let grown = ["disk-full-soon", "requests-fell"];
    let tested: Vec<&str> = CASES.iter().map(|case| case.0).chain(grown).collect();
    for rule in rules.all() {
        assert!(tested.contains(&rule.name.as_str()), "{} has no case", rule.name);
        assert!(!rule.description.is_empty() && !rule.resolution.is_empty(), "{} says not enough", rule.name);
    }
}

#[test]
fn a_disk_that_fills_is_seen_before_it_is_full() {
    let filling = |per_hour: f64| move |second: u32| one(MOUNT, 0.7 + per_hour / 3_600.0 * f64::from(second));
    assert_eq!(fired(Scope::Node, (0..5_400).map(filling(0.1))), ["disk-full-soon"]);
    assert!(fired(Scope::Node, (0..5_400).map(filling(0.02))).is_empty(), "in twelve hours");
    assert!(fired(Scope::Node, (0..5_400).map(filling(-0.1))).is_empty(), "it gets emptier");
}

/// The transitions of a rule over the seconds of a mount: second, state, value.
fn of_mount(rule: &str, own: &str, seconds: impl IntoIterator<Item = Option<f64>>) -> Vec<(u32, State, f64)> {
    let files: Vec<(&str, &str)> = if own.is_empty() { Vec::new() } else { vec![("mine.toml", own)] };
    let mut board = Board::new(with(&files, &[]).unwrap());
    let subject = Subject::Node(NodeId::parse("web-1").unwrap());
    let mut seen: Vec<(u32, State, f64)> = Vec::new();
    for (second, value) in (0..).zip(seconds) {
        let given = value.map(|value| one(MOUNT, value));
        let values = given.as_ref().map(|given| given as &dyn crate::Values);
        let second = Second { tick: 1_800_000_000 + second, subject: &subject, values, coverage: (10, 10) };
        for one in board.judge(&second, &Whole { values: None, firing: &|_| 0.0 }) {
            if one.rule == rule && one.has_fired() && seen.last().is_none_or(|last| last.1 != one.state) {
                seen.push((second.tick - 1_800_000_000, one.state, one.value));
            }
        }
    }
    seen
}

#[test]
fn a_burst_of_writing_is_no_disk_that_fills() {
    // A43: a backup that is removed again, a log that is rotated, a small mount that is filled at once, a hole in the data.
    let backup = |from: f64| move |second: u32| Some(if (3_600..4_440).contains(&second) { from + 0.12 } else { from });
    for from in [0.4, 0.7, 0.8] {
        assert_eq!(of_mount("disk-full-soon", "", (0..12_000).map(backup(from))), [], "from {from}");
    }
    let rotated = |second: u32| Some(0.7 + f64::from(second % 25_200) / 3_600.0 * 0.004);
    assert_eq!(of_mount("disk-full-soon", "", (0..90_000).map(rotated)), []);
    let small = |second: u32| Some(if second < 4_000 { 0.0 } else { 0.5 });
    assert_eq!(of_mount("disk-full-soon", "", (0..12_000).map(small)), []);
    let hole = |second: u32| (!(4_000..5_800).contains(&second)).then(|| 0.7 + f64::from(second) * 1e-7);
    assert_eq!(of_mount("disk-full-soon", "", (0..12_000).map(hole)), []);
}

/// What is said of a mount in the second in which a rule fires.
fn said_of(own: &str, rule: &str, seconds: impl IntoIterator<Item = f64>) -> String {
    let mut board = Board::new(with(&[("mine.toml", own)], &[]).unwrap());
    let subject = Subject::Node(NodeId::parse("web-1").unwrap());
    for (tick, value) in (1_800_000_000..).zip(seconds) {
        let given = one(MOUNT, value);
        let second = Second { tick, subject: &subject, values: Some(&given), coverage: (10, 10) };
        let all = board.judge(&second, &Whole { values: None, firing: &|_| 0.0 });
        if let Some(fired) = all.into_iter().find(|one| one.rule == rule && one.state == State::Firing) {
            return crate::words::sentence(board.rules().get(rule).unwrap(), &fired);
        }
    }
    panic!("{rule} does not fire")
}

#[test]
fn a_leak_is_seen_once_and_is_over_when_it_stops() {
    // A43: 85 % used and one more each hour, seen twelve hours ahead; after that it grows no more, or is emptied.
    let own = "[[rule]]\nname = \"fills\"\nscope = \"node\"\nexpression = \"seconds_until(system.filesystem.mount.utilization[1h], 100%)\"\nby = [\"system.filesystem.mountpoint\"]\nbelow = \"12h\"\nclear = \"14h\"\nfor = \"10m\"\nhold = \"10m\"\nseverity = \"warning\"\nsummary = \"fills {system.filesystem.mountpoint} in {value}\"";
    const GROWS: u32 = 4 * 3_600;
    let text = said_of(own, "fills", (0..GROWS).map(|second| 0.85 + f64::from(second) / 3_600.0 * 0.01));
    assert_eq!(text, "web-1 fills / in 11 h 49 min (10 h to 15 h)");
    for left in [None, Some(0.3)] {
        let leak = |second: u32| {
            let grown = 0.85 + f64::from(second.min(GROWS)) / 3_600.0 * 0.01;
            Some(left.filter(|_| second > GROWS).unwrap_or(grown))
        };
        let seen = of_mount("fills", own, (0..8 * 3_600).map(leak));
        let [fired, over] = seen.as_slice() else { panic!("{seen:?}") };
        assert!(fired.0.abs_diff(3 * 3_600 + 600) < 900 && (fired.2 / 43_200.0 - 1.0).abs() < 0.2, "{seen:?}");
        assert!(over.1 == State::Cleared && over.0 < GROWS + 5_400, "{left:?}: {seen:?}");
    }
}

#[test]
fn a_host_that_probes_closed_ports_is_healthy_and_one_whose_peer_refuses_is_not() {
    // An idle host whose every attempt is refused, one a second; a balancer that resets each of its checks.
    for ordinary in [connections(8.0, 1.0, 60.0), connections(0.0, 2.0, 120.0), connections(400.0, 30.0, 150.0)] {
        assert!(fired(Scope::Node, (0..300).map(|_| ordinary.clone())).is_empty(), "{ordinary:?}");
    }
    // A pool that connects to a program that is gone; a link that broke under what was open.
    for broken in [connections(50.0, 20.0, 1_100.0), connections(1_000.0, 0.0, 600.0)] {
        assert_eq!(fired(Scope::Node, (0..300).map(|_| broken.clone())), ["connections-failing"], "{broken:?}");
    }
}

#[test]
fn requests_that_cease_are_missed() {
    let requests = |second: u32| one("traffic.requests", if second < 900 { 100.0 } else { 5.0 });
    assert_eq!(fired(Scope::Cluster, (0..1_100).map(requests)), ["requests-fell"]);
    let halved = |second: u32| one("traffic.requests", if second < 900 { 100.0 } else { 50.0 });
    assert!(fired(Scope::Cluster, (0..2_000).map(halved)).is_empty());
}

#[test]
fn defaults_are_replaced_and_left_out() {
    let own = "[[rule]]\nname = \"cpu-busy\"\nscope = \"node\"\nexpression = \"system.cpu.utilization\"\nabove = 0.5\nseverity = \"info\"\nsummary = \"is busy\"";
    let rules = with(&[("mine.toml", own)], &["disk-busy".to_owned()]).unwrap();
    assert_eq!(&*rules.get("cpu-busy").unwrap().file, "mine.toml");
    assert!(rules.get("disk-busy").is_none() && rules.get("disk-full").is_some());
    let mistakes = with(&[], &["disk-buzy".to_owned()]).unwrap_err();
    assert!(mistakes[0].to_string().contains("there is no default rule \"disk-buzy\""), "{mistakes:?}");
}

/// The end of `docs/alerts.md` is written from the rules: with `STARLING_BLESS=1` in the environment.
#[test]
fn the_documentation_lists_every_rule() {
    use std::fmt::Write as _;
    const MARK: &str = "<!-- generated by a test of starling-alerts: facts and the default set -->\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/alerts.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, committed) = text.split_once(MARK).expect("the mark is there");
    let mut wanted = "\n## Facts\n\n| name | of | what |\n|---|---|---|\n".to_owned();
    for fact in crate::facts::FACTS {
        let _ = writeln!(wanted, "| `{}` | {} | {} |", fact.name, fact.scope.as_str(), fact.help);
    }
    wanted += "\n## The default set\n\n`starling rules defaults` prints it.\n\n| rule | of | fires | for | over at | hold |\n|---|---|---|---|---|---|\n";
    for rule in with(&[], &[]).unwrap().all() {
        let side = if rule.above { "above" } else { "below" };
        let value = |value: f64| crate::words::value(value, rule.unit);
        let levels = |of: fn(&crate::rule::Level) -> f64| {
            rule.levels.iter().map(|level| value(of(level))).collect::<Vec<_>>().join(", ")
        };
        let severities: Vec<_> = rule.levels.iter().map(|level| level.severity.as_str()).collect();
        let text = rule.text.replace('|', "\\|");
        let _ = writeln!(
            wanted,
            "| {} | {} | `{text}` {side} {} ({}) | {} | {} | {} |",
            rule.name,
            rule.scope.as_str(),
            levels(|level| level.fire),
            severities.join(", "),
            crate::words::length(rule.pending),
            levels(|level| level.clear),
            crate::words::length(rule.hold)
        );
    }
    if std::env::var_os("STARLING_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{MARK}{wanted}")).unwrap();
        return;
    }
    assert!(committed == wanted, "docs/alerts.md is stale: run this test with STARLING_BLESS=1");
}
