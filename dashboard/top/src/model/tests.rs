use starling_proto::live::{Column, History, Hosts};

use super::*;
use crate::fleet::tests::hosts;

pub(crate) const NOW: u32 = 1_700_000_000;

pub(crate) fn arrived(body: Body) -> Event {
    Event::Arrived(Box::new(body))
}

/// The cluster with `reporting` of 3 nodes, of a second.
pub(crate) fn overview(tick: u32, sentence: &str, alerts: Vec<v1::Alert>) -> live::Overview {
    live::Overview {
        completeness: Some(v1::Completeness {
            nodes_reporting: Some(2),
            nodes_expected: Some(3),
            tick,
            ..Default::default()
        }),
        sections: Some(v1::Sections {
            traffic: Some(v1::Traffic {
                requests_per_second: Some(1_624.0),
                errors_per_second: Some(0.5),
                error_ratio: Some(0.000_3),
                protocols: vec![v1::ProtocolTraffic {
                    protocol: "http1".into(),
                    requests_per_second: Some(1_624.0),
                    latency: Some(v1::Latency { mean_micros: 900.0, p99_micros: 14_200.0, ..Default::default() }),
                    ..Default::default()
                }],
                latency_last_minute: Some(v1::Latency {
                    p50_micros: 1_800.0,
                    p95_micros: 9_100.0,
                    p99_micros: 14_200.0,
                    error_bound_ppm: 3_906,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            cpu: Some(v1::Cpu {
                utilization_ratio: Some(0.342),
                cores: Some(12.0),
                load1: Some(1.5),
                ..Default::default()
            }),
            memory: Some(v1::Memory { used_ratio: None, total_bytes: Some(17_179_869_184.0), ..Default::default() }),
            ..Default::default()
        }),
        judged: Some(live::Judged {
            protocols: vec![live::Severity::Ok.into()],
            verdict: Some(live::Verdict {
                word: "Degraded".into(),
                severity: live::Severity::Warning.into(),
                parts: vec![live::VerdictPart { text: sentence.into(), ..Default::default() }],
            }),
            ..Default::default()
        }),
        alerts: Some(live::OpenAlerts { open: alerts.len() as u32, alerts, rules: Some(35), ..Default::default() }),
    }
}

/// A firing alert about a node.
pub(crate) fn alert(id: &str, node: &str, sentence: &str) -> v1::Alert {
    v1::Alert {
        episode: Some(v1::AlertEpisode {
            episode_id: id.into(),
            rule: "cpu-busy".into(),
            scope: v1::AlertScope::Node.into(),
            subject: node.into(),
            state: v1::AlertState::Firing.into(),
            severity: v1::AlertSeverity::Warning.into(),
            since_tick: NOW - 130,
            ..Default::default()
        }),
        sentence: sentence.into(),
        description: "The processors are busy.".into(),
        resolution: "Find out who it is.".into(),
        value_text: "97.1%".into(),
        limit_text: "90%".into(),
        ..Default::default()
    }
}

pub(crate) fn hello(epoch: u32) -> Event {
    let server_time_unix_ms = f64::from(NOW) * 1_000.0 + 500.0;
    arrived(Body::Hello(live::Hello { epoch, server_time_unix_ms, cluster: "shop".into(), ..Default::default() }))
}

pub(crate) fn state(body: state::Body) -> Option<live::State> {
    Some(live::State { body: Some(body) })
}

pub(crate) fn hosts_at(tick: u32, hosts: Hosts) -> Event {
    arrived(Body::Tick(live::Tick { id: HOSTS, tick, state: state(state::Body::Hosts(hosts)), ..Default::default() }))
}

pub(crate) fn second(tick: u32, rps: f32, overview: live::Overview) -> Event {
    arrived(Body::Tick(live::Tick {
        id: OVERVIEW,
        tick,
        point: vec![rps, 0.5],
        state: state(state::Body::Overview(overview)),
        ..Default::default()
    }))
}

/// A model that has what a connection brings: a history of 60 seconds and `nodes` nodes.
pub(crate) fn connected(nodes: u32) -> Model {
    let mut model = Model::default();
    model.apply(Event::Clock { monotonic_ms: 1_000, unix_ms: u64::from(NOW) * 1_000 + 500 });
    model.apply(hello(7));
    let column = |name: &str, value: fn(u16) -> f32| Column { name: name.into(), values: (0..60).map(value).collect() };
    let columns = vec![column("rps.total", f32::from), column("cpu.total", |_| 0.5)];
    model.apply(arrived(Body::Snapshot(live::Snapshot {
        id: OVERVIEW,
        tick: NOW,
        history: Some(History { first_tick: NOW - 59, columns }),
        state: state(state::Body::Overview(overview(
            NOW,
            "n1 is silent since 22:12 UTC.",
            vec![alert("e1", "n1", "n1 is busy")],
        ))),
    })));
    model.apply(hosts_at(NOW, hosts(nodes)));
    let seen = live::Aggregators { connected_to: "agg-1".into(), ..Default::default() };
    model.apply(arrived(Body::Snapshot(live::Snapshot {
        id: AGGREGATORS,
        tick: NOW,
        state: state(state::Body::Aggregators(seen)),
        ..Default::default()
    })));
    model
}

pub(crate) fn press(model: &mut Model, keys: &[Key]) -> Vec<Action> {
    keys.iter().flat_map(|key| model.apply(Event::Key(*key))).collect()
}

pub(crate) fn write(model: &mut Model, text: &str) {
    text.chars().for_each(|character| drop(press(model, &[Key::Char(character)])));
}

fn subscriptions(actions: &[Action]) -> Vec<(u32, u32)> {
    let of = |action: &Action| match action {
        Action::Send(client_message::Body::Subscribe(is)) => Some((is.id, is.resume_tick)),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

fn names(model: &Model) -> Vec<String> {
    let fleet = model.fleet().unwrap();
    model.table.rows.iter().map(|place| fleet.row(*place).unwrap().name().to_owned()).collect()
}

#[test]
fn a_connection_to_the_same_server_goes_on_by_second() {
    let mut model = connected(3);
    press(&mut model, &[Key::Char('2'), Key::Enter]);
    model.apply(Event::Lost("reset".to_owned()));
    assert!(model.lack().unwrap().contains("The connection is lost (reset)"));
    let again = model.apply(hello(7));
    assert_eq!(subscriptions(&again), [(AGGREGATORS, 0), (OVERVIEW, NOW), (HOSTS, 0), (NODES_FROM, 0)]);
    assert_eq!(model.lack(), None);
    let other = model.apply(hello(8));
    assert_eq!(subscriptions(&other)[1], (OVERVIEW, 0), "another server may order columns in another way");
}

#[test]
fn what_is_paused_stays_and_what_came_meanwhile_is_there() {
    let mut model = connected(3);
    press(&mut model, &[Key::Char(' ')]);
    for tick in NOW + 1..=NOW + 1_500 {
        model.apply(second(tick, 7.0, overview(tick, "all is well.", Vec::new())));
        model.apply(hosts_at(tick, Hosts { dictionary_version: 1, ..hosts(2) }));
    }
    assert_eq!((model.tick(), model.fleet().unwrap().len(), model.alerts().unwrap().open), (NOW, 3, 1));
    press(&mut model, &[Key::Char(' ')]);
    assert_eq!((model.tick(), model.fleet().unwrap().len(), model.alerts().unwrap().open), (NOW + 1_500, 2, 0));
    // Back in time, as far as it is kept.
    press(&mut model, &[Key::Char(','), Key::Char('<')]);
    assert_eq!(model.tick(), NOW + 1_500 - 61);
    press(&mut model, &[Key::Char('<'); 30]);
    assert_eq!(model.tick(), NOW + 1_500 - 899);
    assert!(model.notice.is_some());
    press(&mut model, &[Key::Char('>'); 16]);
    assert!(model.at.is_none(), "beyond the newest it is live again");
}

#[test]
fn a_second_of_before_the_start_is_charted_and_nothing_else_is_claimed() {
    let mut model = connected(3);
    press(&mut model, &[Key::Char(','); 20]);
    assert_eq!((model.tick(), model.overview.rings().get("rps.total", model.tick())), (NOW - 20, Some(39.0)));
    assert!(model.cluster_state().is_none() && model.fleet().is_none() && model.alerts().is_none());
    press(&mut model, &[Key::Char('2'), Key::Enter]);
    assert!(model.node.is_none(), "nothing is opened that is not shown");
}

#[test]
fn the_chosen_node_stays_chosen_while_the_order_changes() {
    let mut model = connected(12);
    press(&mut model, &[Key::Char('2'), Key::Char('s'), Key::Down]);
    let chosen = model.table.chosen.clone().unwrap();
    assert_eq!((names(&model)[1].as_str(), chosen.as_str()), ("n8", "n8"), "by cpu, highest first");
    let mut other = hosts(12);
    other.cpu.reverse();
    model.apply(hosts_at(NOW + 1, other));
    assert_eq!(names(&model)[model.table.at], chosen);
    press(&mut model, &[Key::Char('/')]);
    write(&mut model, "zone:b");
    assert_eq!((names(&model).len(), model.table.filter.as_str()), (6, "zone:b"));
    press(&mut model, &[Key::Backspace, Key::Enter]);
    assert_eq!(names(&model), [""; 0], "zone: is no label");
    press(&mut model, &[Key::Escape]);
    assert_eq!(names(&model)[model.table.at], chosen, "it is meant again when it comes back");
    press(&mut model, &[Key::End, Key::PageDown, Key::Down]);
    assert_eq!(model.table.at, 11);
}

#[test]
fn a_node_is_followed_while_it_is_looked_at() {
    let mut model = connected(3);
    let opened = press(&mut model, &[Key::Char('2'), Key::Down, Key::Enter]);
    let Some(Action::Send(client_message::Body::Subscribe(asked))) = opened.first() else { panic!("{opened:?}") };
    assert_eq!((asked.node_id.as_str(), asked.id), ("n1", NODES_FROM));
    model.apply(arrived(Body::Error(live::Error {
        id: NODES_FROM,
        code: "not_found".into(),
        message: "no such node".into(),
    })));
    assert_eq!(model.node.as_ref().unwrap().refused(), Some("no such node"));
    let clock = |monotonic_ms| Event::Clock { monotonic_ms, unix_ms: u64::from(NOW) * 1_000 };
    assert!(model.apply(clock(5_999)).is_empty());
    assert_eq!(subscriptions(&model.apply(clock(6_000))), [(NODES_FROM, 0)], "asked for again");
    let closed = press(&mut model, &[Key::Escape]);
    assert_eq!(closed, [Action::Send(client_message::Body::Unsubscribe(live::Unsubscribe { id: NODES_FROM }))]);
    let late = live::Tick { id: NODES_FROM, tick: NOW, ..Default::default() };
    model.apply(arrived(Body::Tick(late)));
    assert!(model.node.is_none());
}

#[test]
fn alerts_are_chosen_opened_and_lead_to_their_node() {
    let mut model = connected(3);
    let open = vec![alert("e1", "n1", "n1 is busy"), alert("e2", "n2", "n2 is busy")];
    model.apply(second(NOW + 1, 1.0, overview(NOW + 1, "two.", open)));
    press(&mut model, &[Key::Char('4'), Key::Down, Key::Enter]);
    assert!(model.alert_open && model.alert.as_deref() == Some("e2"));
    let opened = press(&mut model, &[Key::Char('n')]);
    assert!(matches!(&opened[..], [Action::Send(client_message::Body::Subscribe(is))] if is.node_id == "n2"));
    model.apply(second(NOW + 2, 1.0, overview(NOW + 2, "none.", Vec::new())));
    press(&mut model, &[Key::Escape, Key::Enter, Key::Char('n'), Key::End]);
    assert!(model.node.is_none(), "there is none to open");
}

#[test]
fn hours_and_days_are_asked_for_when_they_are_looked_at() {
    let mut model = connected(3);
    let asked = |actions: Vec<Action>| match &actions[..] {
        [Action::Ask(range)] => Some((range.span, range.to, range.node.clone())),
        _ => None,
    };
    assert!(model.older().is_none());
    assert_eq!(asked(press(&mut model, &[Key::Char('[')])), Some((3_600, NOW, None)));
    assert_eq!(model.older(), Some(("1 h", None)), "asked for");
    assert_eq!(press(&mut model, &[Key::Char('1')]), [], "once");
    let clock = |monotonic_ms| Event::Clock { monotonic_ms, unix_ms: u64::from(NOW) * 1_000 };
    assert_eq!(asked(model.apply(clock(31_000))), Some((3_600, NOW, None)), "and again");
    assert_eq!(asked(press(&mut model, &[Key::Char('[')])), Some((21_600, NOW, None)));
    assert_eq!(
        asked(press(&mut model, &[Key::Char(',')])),
        Some((21_600, NOW - 1, None)),
        "of the second that is looked at"
    );
    press(&mut model, &[Key::Char('[')]);
    press(&mut model, &[Key::Char('[')]);
    assert_eq!(press(&mut model, &[Key::Char('[')]), [], "seven days are the most");
    press(&mut model, &[Key::Char(']'); 4]);
    assert!(model.older().is_none());
    model.apply(Event::Older(Err("history: refused".to_owned())));
    assert_eq!(model.notice.as_deref(), Some("history: refused"));
}

#[test]
fn what_stops_becomes_stale() {
    let mut model = connected(3);
    assert_eq!(model.freshness(), Freshness::Fresh);
    model.apply(Event::Clock { monotonic_ms: 5_000, unix_ms: u64::from(NOW) * 1_000 + 4_500 });
    assert_eq!(model.freshness(), Freshness::Stale);
    assert_eq!(model.lack().unwrap(), "No new data since 22:13:20 UTC.");
    // Seconds of long ago that come now are no news either.
    model.apply(Event::Clock { monotonic_ms: 60_000, unix_ms: u64::from(NOW) * 1_000 + 60_000 });
    model.apply(second(NOW + 1, 1.0, overview(NOW + 1, "", Vec::new())));
    assert_eq!(model.freshness(), Freshness::Lost);
}

#[test]
fn keys_quit_and_suspend() {
    let mut model = connected(3);
    assert_eq!(press(&mut model, &[Key::Char('q')]), [Action::Quit]);
    assert_eq!(press(&mut model, &[Key::Control('c')]), [Action::Quit]);
    assert_eq!(press(&mut model, &[Key::Control('z')]), [Action::Suspend]);
    press(&mut model, &[Key::Char('2'), Key::Char('/')]);
    assert!(press(&mut model, &[Key::Char('q')]).is_empty(), "it is being written");
    assert_eq!(press(&mut model, &[Key::Control('c')]), [Action::Quit]);
}
