//! The page's socket.

use futures_util::SinkExt as _;
use starling_proto::{live, v1};
use tokio_tungstenite::tungstenite::Message;

use starling_testkit::{Script, Scripted};

use crate::harness::{RPS_TOTAL, Server, charted, now, table, view};
use live::{View, client_message, server_message::Body, state};

async fn served(history: u32) -> (Script, Scripted, Server, u32) {
    let (script, newest) = (Script::default(), now());
    for tick in newest - history + 1..=newest {
        script.report(view(tick, f64::from(tick % 1_000)), Some(table(tick, 3)));
        let row = v1::NodeRow { node_id: "n0001".into(), state: 1, last_tick: tick, ..Default::default() };
        script.report_node(
            "n0001",
            v1::NodeView { tick, row: Some(row), core_utilization_ratios: vec![0.5; 2], ..Default::default() },
        );
    }
    let double = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    (script, double, server, newest)
}

#[tokio::test]
async fn hello_then_a_snapshot_then_ticks() {
    let (script, _double, server, newest) = served(60).await;
    let mut page = server.page().await;
    let Body::Hello(hello) = page.next().await else { panic!("hello first") };
    assert_eq!((hello.cluster.as_str(), hello.tick_ms), ("test", 1_000));
    assert_ne!(hello.epoch, 0);

    page.subscribe(7, View::Overview, "", 0).await;
    let snapshot = page.snapshot().await;
    let history = snapshot.history.unwrap();
    assert_eq!((snapshot.id, snapshot.tick, history.first_tick), (7, newest, newest - 59));
    for tick in newest - 59..=newest {
        assert_eq!(charted(&history, "rps.total", tick), (tick % 1_000) as f32);
    }
    let Some(state::Body::Overview(overview)) = snapshot.state.unwrap().body else { panic!("an overview") };
    assert_eq!(overview.judged.unwrap().verdict.unwrap().word, "Healthy");

    for tick in newest + 1..=newest + 5 {
        script.report(view(tick, 1.0), None);
        let next = page.tick().await;
        assert_eq!((next.id, next.tick, next.revision, next.skipped, next.point[RPS_TOTAL]), (7, tick, 0, 0, 1.0));
        assert!(next.state.is_some());
    }
    script.report(view(newest + 2, 9.0), None);
    let correction = page.tick().await;
    assert_eq!((correction.tick, correction.revision, correction.point[RPS_TOTAL]), (newest + 2, 1, 9.0));
}

#[tokio::test]
async fn a_page_resumes_where_it_was() {
    let (script, _double, server, newest) = served(30).await;
    let mut first = server.page().await;
    first.subscribe(1, View::Overview, "", 0).await;
    first.snapshot().await;
    for tick in newest + 1..=newest + 20 {
        script.report(view(tick, 2.0), None);
        first.tick().await;
    }
    let mut again = server.page().await;
    again.next().await;
    again.subscribe(1, View::Overview, "", newest + 5).await;
    for tick in newest + 6..=newest + 20 {
        assert_eq!(again.tick().await.tick, tick);
    }
}

#[tokio::test]
async fn a_hidden_page_is_sent_nothing_and_then_everything() {
    let (script, _double, server, newest) = served(5).await;
    let mut page = server.page().await;
    let mut other = server.page().await;
    for page in [&mut page, &mut other] {
        page.subscribe(1, View::Overview, "", 0).await;
        page.snapshot().await;
    }
    page.send(client_message::Body::Pause(live::Pause {})).await;
    // Answered in order: when the error is here, the pause was heard.
    page.subscribe(0, View::Overview, "", 0).await;
    assert!(matches!(page.next().await, Body::Error(error) if error.code == "invalid"));
    for tick in newest + 1..=newest + 30 {
        script.report(view(tick, 2.0), None);
        other.tick().await;
    }
    page.send(client_message::Body::Resume(live::Resume {})).await;
    for tick in newest + 1..=newest + 30 {
        let next = page.tick().await;
        assert_eq!((next.tick, next.skipped), (tick, 0));
    }
}

#[tokio::test]
async fn a_node_is_followed_once_for_all_pages() {
    let (script, _double, server, newest) = served(20).await;
    let mut pages = [server.page().await, server.page().await];
    for page in &mut pages {
        page.subscribe(2, View::Node, "n0001", 0).await;
        let mut snapshot = page.snapshot().await;
        // Nothing is known of the node before the first answer of the aggregator.
        while snapshot.tick == 0 {
            snapshot = page.snapshot().await;
        }
        assert_eq!(snapshot.tick, newest);
        let history = snapshot.history.unwrap();
        assert_eq!(charted(&history, "core.1", newest - 19), 0.5);
        let Some(state::Body::Node(node)) = snapshot.state.unwrap().body else { panic!("a node") };
        assert_eq!((node.previous_node_id.as_str(), node.next_node_id.as_str()), ("n0000", "n0002"));
        assert_eq!(node.labels, ["zone:b"]);
        assert!(node.median.is_some());
    }
    assert_eq!(script.watched_nodes(), 1);
    script.report_node(
        "n0001",
        v1::NodeView { tick: newest + 1, core_utilization_ratios: vec![0.25; 4], ..Default::default() },
    );
    for page in &mut pages {
        let tick = page.tick().await;
        assert_eq!((tick.tick, tick.new_columns), (newest + 1, vec!["core.2".to_owned(), "core.3".to_owned()]));
    }
}

#[tokio::test]
async fn the_fleet_and_the_aggregators() {
    let (script, double, server, newest) = served(5).await;
    let mut page = server.page().await;
    page.subscribe(1, View::Hosts, "", 0).await;
    let Some(state::Body::Hosts(hosts)) = page.snapshot().await.state.unwrap().body else { panic!("hosts") };
    assert_eq!(hosts.node_ids, ["n0000", "n0001", "n0002"]);
    assert_eq!(
        (&hosts.labels[0].values, &hosts.labels[0].places),
        (&vec!["a".to_owned(), "b".to_owned()], &vec![1, 2, 1])
    );
    script.report(view(newest + 1, 1.0), Some(table(newest + 1, 4)));
    let Some(state::Body::Hosts(grown)) = page.tick().await.state.unwrap().body else { panic!("hosts") };
    assert_eq!((grown.node_ids.len(), grown.dictionary_version), (4, hosts.dictionary_version + 1));

    let mut page = server.page().await;
    page.subscribe(1, View::Aggregators, "", 0).await;
    let Some(state::Body::Aggregators(rows)) = page.snapshot().await.state.unwrap().body else { panic!("aggregators") };
    assert_eq!((rows.connected_to.as_str(), rows.aggregators.len()), ("a1", 1));
    double.kill();
    loop {
        // The loss is reported in the view, and once for the connection.
        match page.next().await {
            Body::Error(error) => assert_eq!(error.code, "unavailable"),
            Body::Tick(tick) => {
                let Some(state::Body::Aggregators(rows)) = tick.state.unwrap().body else { panic!("aggregators") };
                if rows.connected_to.is_empty() {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_not_understood_is_said() {
    let (_script, _double, server, _) = served(5).await;
    let mut page = server.page().await;
    page.next().await;
    for (id, view, node, code) in [
        (1, View::Node, "nope", "not_found"),
        (1, View::Node, "", "invalid"),
        (1, View::Unspecified, "", "invalid"),
        (0, View::Overview, "", "invalid"),
    ] {
        page.subscribe(id, view, node, 0).await;
        loop {
            match page.next().await {
                Body::Error(error) => break assert_eq!((error.id, error.code.as_str()), (id, code)),
                Body::Snapshot(empty) => assert_eq!(empty.tick, 0),
                other => panic!("{other:?}"),
            }
        }
    }
    for id in 1..=9 {
        page.subscribe(id, View::Overview, "", 0).await;
    }
    loop {
        if let Body::Error(error) = page.next().await {
            assert_eq!((error.id, error.code.as_str()), (9, "limit"));
            break;
        }
    }
    page.0.send(Message::Text("{}".into())).await.unwrap();
    assert_eq!(page.close_code().await, Some(1008));

    let mut page = server.page().await;
    page.0.send(Message::Binary(vec![0; 20 * 1024].into())).await.unwrap();
    assert_eq!(page.close_code().await, Some(1009), "more than 16 KiB");
}

#[tokio::test]
async fn a_stopping_server_closes_its_sockets() {
    let (_script, _double, mut server, _) = served(5).await;
    let mut page = server.page().await;
    page.subscribe(1, View::Overview, "", 0).await;
    page.snapshot().await;
    server.stop();
    assert!(matches!(page.next().await, Body::GoingAway(away) if away.retry_ms > 0));
    assert_eq!(page.close_code().await, Some(1001));
    server.stopped().await;
}
