use prost::Message as _;
use starling_proto::ids::NodeId;

use starling_testkit::update;

use super::*;

const NOW: u32 = 1_700_000_000;

fn millis(tick: u32) -> UnixMillis {
    u64::from(tick) * 1000 + 350
}

fn cluster_second(tick: u32, rps: f64) -> Second {
    Second::Cluster(Box::new(v1::ClusterView {
        tick,
        cluster: "c".into(),
        completeness: Some(v1::Completeness {
            nodes_reporting: Some(1),
            nodes_expected: Some(1),
            tick,
            ..Default::default()
        }),
        sections: Some(v1::Sections {
            traffic: Some(v1::Traffic { requests_per_second: Some(rps), ..Default::default() }),
            ..Default::default()
        }),
        charted: [(RPS_TOTAL.to_owned(), rps)].into(),
        ..Default::default()
    }))
}

fn all() -> Source {
    Source::Cluster(Group::cluster())
}

fn overview() -> ViewKey {
    ViewKey::Overview(Group::cluster())
}

/// A hub that holds the seconds `NOW - 100..=NOW`, caught up.
fn hub() -> Hub {
    let mut hub = Hub::new();
    for tick in NOW - 100..=NOW {
        hub.apply(&all(), cluster_second(tick, 1.0), millis(NOW));
    }
    hub
}

fn decode(message: &Message) -> live::server_message::Body {
    let bytes = match message {
        Message::Snapshot(frame) => frame.bytes(1, 0),
        Message::Tick(publication, skipped) => publication.frame.bytes(1, *skipped),
        Message::Refused(reason) => panic!("{reason}"),
    };
    live::ServerMessage::decode(bytes).unwrap().body.unwrap()
}

fn snapshot(hub: &mut Hub, key: &ViewKey, cursor: &mut Cursor) -> live::Snapshot {
    match decode(&hub.next(key, cursor, millis(NOW)).unwrap()) {
        live::server_message::Body::Snapshot(snapshot) => snapshot,
        other => panic!("{other:?}"),
    }
}

fn tick(hub: &mut Hub, key: &ViewKey, cursor: &mut Cursor) -> live::Tick {
    match decode(&hub.next(key, cursor, millis(NOW)).unwrap()) {
        live::server_message::Body::Tick(tick) => tick,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_then_ticks() {
    let mut hub = hub();
    let mut cursor = hub.cursor(&overview(), 0);
    let first = snapshot(&mut hub, &overview(), &mut cursor);
    let history = first.history.unwrap();
    assert_eq!((first.tick, history.first_tick), (NOW, NOW - 100));
    assert!(history.columns.iter().all(|column| column.values.len() == 101));
    assert!(first.state.is_some());
    assert!(hub.next(&overview(), &mut cursor, millis(NOW)).is_none());

    assert!(hub.apply(&all(), cluster_second(NOW + 1, 5.0), millis(NOW + 1)));
    let next = tick(&mut hub, &overview(), &mut cursor);
    assert_eq!((next.id, next.tick, next.revision, next.skipped), (1, NOW + 1, 0, 0));
    let place = history.columns.iter().position(|column| column.name == RPS_TOTAL).unwrap();
    assert_eq!(next.point[place], 5.0);
    assert_eq!(next.point.len(), history.columns.len());
}

#[test]
fn a_correction_carries_its_revision_and_no_state() {
    let mut hub = hub();
    let mut cursor = hub.cursor(&overview(), 0);
    snapshot(&mut hub, &overview(), &mut cursor);
    assert!(hub.apply(&all(), cluster_second(NOW - 3, 9.0), millis(NOW)));
    let correction = tick(&mut hub, &overview(), &mut cursor);
    assert_eq!((correction.tick, correction.revision, correction.state), (NOW - 3, 1, None));
    assert!(!hub.apply(&all(), cluster_second(NOW - 3, 9.0), millis(NOW)), "reported twice");
}

#[test]
fn a_server_without_data_says_so() {
    let mut hub = Hub::new();
    let mut cursor = hub.cursor(&overview(), 0);
    let empty = snapshot(&mut hub, &overview(), &mut cursor);
    assert_eq!((empty.tick, empty.state.is_none()), (0, true));
    // History that comes later comes as one snapshot, not as a hundred ticks.
    hub.apply(&all(), cluster_second(NOW - 60, 1.0), millis(NOW));
    assert!(hub.next(&overview(), &mut cursor, millis(NOW)).is_none());
    hub.apply(&all(), cluster_second(NOW, 1.0), millis(NOW));
    assert_eq!(snapshot(&mut hub, &overview(), &mut cursor).tick, NOW);
}

#[test]
fn an_unbroken_client_resumes_and_one_of_another_server_too() {
    let mut hub = hub();
    for next in NOW + 1..=NOW + 20 {
        hub.apply(&all(), cluster_second(next, 1.0), millis(next));
    }
    let mut cursor = hub.cursor(&overview(), NOW + 10);
    for expected in NOW + 11..=NOW + 20 {
        assert_eq!(tick(&mut hub, &overview(), &mut cursor).tick, expected);
    }
    let mut cursor = hub.cursor(&overview(), NOW - 50);
    assert_eq!(snapshot(&mut hub, &overview(), &mut cursor).tick, NOW + 20, "from before the log");
}

#[test]
fn sums_are_asked_for_again_whole_and_a_node_with_an_overlap() {
    let mut hub = hub();
    let oldest = NOW - 899;
    assert_eq!(hub.resume_from(&all(), millis(NOW)), oldest, "any second may have changed meanwhile");
    assert_eq!(Hub::new().resume_from(&all(), millis(NOW)), oldest);
    let source = Source::Node(NodeId::parse("n1").unwrap());
    hub.open(&ViewKey::from(&source));
    assert_eq!(hub.resume_from(&source, millis(NOW)), oldest);
    hub.apply(&source, node_second(NOW), millis(NOW));
    assert_eq!(hub.resume_from(&source, millis(NOW)), NOW - 4);
    assert_eq!(hub.resume_from(&source, millis(NOW + 5_000)), NOW + 5_000 - 899, "never before the ring");
}

#[test]
fn what_comes_again_after_a_change_of_the_aggregator_is_sent_only_where_it_differs() {
    let mut hub = hub();
    let mut cursor = hub.cursor(&overview(), 0);
    snapshot(&mut hub, &overview(), &mut cursor);
    for again in NOW - 100..=NOW {
        let rate = if again == NOW - 60 { 2.0 } else { 1.0 };
        hub.apply(&all(), cluster_second(again, rate), millis(NOW + 1));
    }
    let corrected = tick(&mut hub, &overview(), &mut cursor);
    assert_eq!((corrected.tick, corrected.revision), (NOW - 60, 1));
    assert!(hub.next(&overview(), &mut cursor, millis(NOW + 1)).is_none());
}

#[test]
fn a_table_sends_its_dictionary_with_snapshots_and_when_it_changes() {
    let row = |name: &str| v1::NodeRow { node_id: name.into(), state: 1, ..Default::default() };
    let table = |tick: u32, names: &[&str]| {
        let nodes = names.iter().map(|name| row(name)).collect();
        [update(&v1::NodeTable { tick, nodes, ..Default::default() })]
    };
    let hosts = |state: Option<live::State>| match state.unwrap().body.unwrap() {
        live::state::Body::Hosts(hosts) => hosts,
        other => panic!("{other:?}"),
    };
    let mut hub = Hub::new();
    let key = ViewKey::Hosts(Group::cluster());
    hub.apply_fleet(&table(NOW, &["a"]), millis(NOW)).unwrap();
    let mut cursor = hub.cursor(&key, NOW);
    assert_eq!(hosts(snapshot(&mut hub, &key, &mut cursor).state).node_ids, ["a"]);
    hub.apply_fleet(&table(NOW + 1, &["a"]), millis(NOW + 1)).unwrap();
    let same = hosts(tick(&mut hub, &key, &mut cursor).state);
    assert_eq!((same.dictionary_version, same.node_ids.len(), same.states.len()), (1, 0, 1));
    hub.apply_fleet(&table(NOW + 2, &["a", "b"]), millis(NOW + 2)).unwrap();
    let grown = hosts(tick(&mut hub, &key, &mut cursor).state);
    assert_eq!((grown.dictionary_version, grown.node_ids.len()), (2, 2));
}

#[test]
fn views_on_demand_come_and_go() {
    let mut hub = hub();
    let node = NodeId::parse("n1").unwrap();
    let key = ViewKey::Node(node.clone());
    assert!(hub.next(&key, &mut Cursor::default(), millis(NOW)).is_none(), "not open");
    hub.open(&key);
    hub.refuse(&Source::Node(node.clone()), "no such node".into());
    assert!(matches!(hub.next(&key, &mut Cursor::default(), millis(NOW)), Some(Message::Refused(_))));
    hub.close(&key);
    assert!(hub.refusal(&Source::Node(node)).is_none());
    hub.close(&overview());
    assert!(hub.reading(&all()).is_some(), "a permanent view stays");
}

#[test]
fn json_endpoints_follow_and_jump() {
    let mut hub = hub();
    for next in NOW + 1..=NOW + 10 {
        hub.apply(&all(), cluster_second(next, 1.0), millis(next));
    }
    let after = |tick: u32| hub.second_after(&all(), tick, millis(NOW + 10)).map(|second| second.tick());
    assert_eq!(after(0), Some(NOW + 10));
    assert_eq!(after(NOW + 8), Some(NOW + 9));
    assert_eq!(after(NOW + 2), Some(NOW + 10));
    assert_eq!(after(NOW + 10), None);
}

#[test]
fn what_is_open_is_the_verdict_and_goes_with_the_next_second() {
    let mut hub = hub();
    let part = |text: &str| v1::AlertVerdictPart { text: text.into(), episode_id: "e1".into(), ..Default::default() };
    let verdict = v1::AlertVerdict {
        severity: v1::AlertSeverity::Error.into(),
        word: "Degraded".into(),
        parts: vec![part("gRPC fails 15 % since 15:01.")],
    };
    let open = alerts::tests::alert("e1", "errors", "", v1::AlertSeverity::Error);
    let update = v1::AlertsUpdate {
        whole: true,
        changed: vec![open],
        judged_tick: NOW,
        verdict: Some(verdict),
        ..Default::default()
    };
    assert_eq!(hub.reading(&all()).unwrap().verdict.word, "Partial", "nothing is known of alerts yet");
    assert_eq!(hub.apply_alerts(update), 0);
    let reading = hub.reading(&all()).unwrap();
    assert_eq!((reading.verdict.word.as_str(), reading.alerts.list.len()), ("Degraded", 1));
    assert_eq!(verdict_text(&reading.verdict), "gRPC fails 15 % since 15:01.");
    let mut cursor = hub.cursor(&overview(), 0);
    snapshot(&mut hub, &overview(), &mut cursor);
    hub.apply(&all(), cluster_second(NOW + 1, 1.0), millis(NOW + 1));
    let Some(live::state::Body::Overview(state)) = tick(&mut hub, &overview(), &mut cursor).state.unwrap().body else {
        panic!("an overview")
    };
    assert_eq!(state.alerts.unwrap().alerts[0].episode.as_ref().unwrap().episode_id, "e1");
    hub.no_alerts("this aggregator has none".into());
    let text = verdict_text(&hub.reading(&all()).unwrap().verdict);
    assert_eq!(text, "limits are not judged: this aggregator has none.");
}

fn node_second(tick: u32) -> Second {
    Second::Node(Box::new(v1::NodeView { tick, core_utilization_ratios: vec![0.5], ..Default::default() }))
}

fn node_table(tick: u32, last_tick: u32, state: v1::NodeState) -> [v1::NodesUpdate; 1] {
    let row = v1::NodeRow { node_id: "n1".into(), state: state.into(), last_tick, ..Default::default() };
    [update(&v1::NodeTable { tick, nodes: vec![row], ..Default::default() })]
}

#[test]
fn a_silent_node_is_reported_each_second_and_corrected_when_it_comes_back() {
    let mut hub = Hub::new();
    let source = Source::Node(NodeId::parse("n1").unwrap());
    let key = ViewKey::from(&source);
    hub.open(&key);
    hub.apply(&source, node_second(NOW), millis(NOW));
    let mut cursor = hub.cursor(&key, 0);
    snapshot(&mut hub, &key, &mut cursor);

    hub.apply_fleet(&node_table(NOW + 4, NOW, v1::NodeState::Silent), millis(NOW + 4)).unwrap();
    let silent = tick(&mut hub, &key, &mut cursor);
    assert_eq!((silent.tick, silent.revision), (NOW + 4, 0));
    assert!(silent.point.iter().all(|value| value.is_nan()));
    let Some(live::state::Body::Node(node)) = silent.state.unwrap().body else { panic!("a node") };
    assert_eq!((node.state(), node.judged.unwrap().verdict.unwrap().word.as_str()), (v1::NodeState::Silent, "No data"));
    assert_eq!(node.cores.len(), 0, "nothing old is shown as new");

    for late in NOW + 3..=NOW + 5 {
        hub.apply(&source, node_second(late), millis(NOW + 5));
        let next = tick(&mut hub, &key, &mut cursor);
        assert_eq!((next.tick, next.revision), (late, u32::from(late <= NOW + 4)));
    }
}

#[test]
fn a_node_that_reports_elsewhere_lags_behind_the_table() {
    let mut hub = Hub::new();
    let source = Source::Node(NodeId::parse("n1").unwrap());
    hub.open(&ViewKey::from(&source));
    hub.apply(&source, node_second(NOW), millis(NOW));
    hub.apply_fleet(&node_table(NOW + 5, NOW, v1::NodeState::Silent), millis(NOW + 5)).unwrap();
    assert_eq!(hub.lag(&source), 0, "silent everywhere");
    hub.apply_fleet(&node_table(NOW + 6, NOW + 6, v1::NodeState::Reporting), millis(NOW + 6)).unwrap();
    assert_eq!(hub.lag(&source), 6);
}

#[test]
fn age_never_goes_below_zero() {
    assert_eq!(age_ms(10, 9_000), 0);
    assert_eq!(age_ms(10, 10_350), 350);
}
