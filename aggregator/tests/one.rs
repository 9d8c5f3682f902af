//! One aggregator alone.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use starling_proto::{
    nodes::{Measure, Mirror, Most},
    v1::{self, ingest_request},
};
use starling_service::{Program as _, metrics::Registry};
use support::{Aggregator, LIMIT, TestNode, content, eventually, now, open};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Streaming};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};

#[tokio::test]
async fn it_is_ready_at_once_and_acknowledges_alone() {
    let aggregator = Aggregator::start("solo", &[]).await;
    tokio::time::timeout(std::time::Duration::from_secs(2), aggregator.service.ready()).await.expect("ready at once");
    let mut health = HealthClient::new(aggregator.channel().await);
    let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);

    let mut node = TestNode::new("web-1", "a");
    assert_eq!(node.connect(&aggregator.url()).await, "solo");
    let tick = now();
    node.send(tick, 100, 2_000).await;
    node.until_acked([tick]).await;
    assert_eq!(node.received(|received| received.acked[&tick]), (1, true));

    let mut query = aggregator.query().await;
    let view = eventually("a view with the node", async || {
        let asked = v1::GetClusterRequest { tick, ..v1::GetClusterRequest::default() };
        let view = query.get_cluster(asked).await.map_err(|status| status.to_string())?.into_inner();
        if view.sections.as_ref().is_some_and(|is| is.traffic.is_some()) { Ok(view) } else { Err(format!("{view:?}")) }
    })
    .await;
    assert_eq!((view.tick, view.cluster.as_str()), (tick, "test"));
    let completeness = view.completeness.unwrap();
    assert_eq!((completeness.nodes_reporting(), completeness.nodes_expected(), completeness.copies), (1, 1, 1));
    let sections = view.sections.unwrap();
    let traffic = sections.traffic.unwrap();
    assert!((traffic.requests_per_second() - 100.0).abs() < 1e-9);
    let latency = traffic.latency_last_minute.unwrap();
    assert!(latency.histogram.is_empty(), "not asked for");
    assert!((latency.p50_micros - 2_000.0).abs() < 8.0 && (latency.count - 100.0).abs() < 1e-9, "{latency:?}");
    assert_eq!(sections.cpu.unwrap().utilization_ratio, Some(0.5));
    for include_histograms in [false, true] {
        let asked = v1::GetClusterRequest { tick, include_histograms, ..v1::GetClusterRequest::default() };
        let view = query.get_cluster(asked).await.unwrap().into_inner();
        let traffic = view.sections.unwrap().traffic.unwrap();
        let of_protocols = traffic.protocols.into_iter().map(|protocol| protocol.latency);
        for latency in of_protocols.chain([traffic.latency, traffic.latency_last_minute]) {
            assert_eq!(latency.unwrap().histogram.is_empty(), !include_histograms);
        }
        let asked = v1::GetNodeRequest { node_id: "web-1".into(), include_histograms };
        let traffic = query.get_node(asked).await.unwrap().into_inner().sections.unwrap().traffic.unwrap();
        assert_eq!(traffic.latency.unwrap().histogram.is_empty(), !include_histograms);
    }
    assert_eq!(view.charted.get("rps.total"), Some(&100.0), "{:?}", view.charted);

    let asked = v1::GetNodeRequest { node_id: "web-1".into(), ..Default::default() };
    let answer = query.get_node(asked).await.unwrap().into_inner();
    assert_eq!((answer.tick, answer.core_utilization_ratios.as_slice()), (tick, [0.25, 0.75].as_slice()));
    assert_eq!(answer.series.len(), 7);
    assert_eq!(answer.row.unwrap().aggregator_id, "solo");
    let table = query.list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner();
    let row = &table.nodes[0];
    assert_eq!((row.last_tick, row.cpu_utilization_ratio, row.requests_per_second), (tick, Some(0.5), Some(100.0)));
    assert_eq!(row.busiest.first().and_then(|core| core.core), Some(1));
    assert_eq!((table.total(), table.next_page_token.as_str()), (1, ""));
    aggregator.stopped().await;
}

#[tokio::test]
async fn streams_replay_and_follow() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let first = now() - 20;
    for tick in first..first + 15 {
        node.send(tick, 10, 1_000).await;
    }
    node.until_acked(first..first + 15).await;

    let mut query = aggregator.query().await;
    let asked = v1::WatchNodeRequest { node_id: "web-1".into(), from_tick: first + 3, ..Default::default() };
    let mut nodes = query.watch_node(asked).await.unwrap().into_inner();
    for tick in first + 3..first + 15 {
        let view = nodes.next().await.unwrap().unwrap();
        assert_eq!((view.tick, view.core_utilization_ratios.len()), (tick, 2));
        let minute = view.sections.unwrap().traffic.unwrap().latency_last_minute.unwrap();
        assert!((minute.count - f64::from(tick - first + 1) * 10.0).abs() < 1e-9, "the minute before is read too");
    }
    let asked = v1::WatchClusterRequest { from_tick: first, ..v1::WatchClusterRequest::default() };
    let mut views = query.watch_cluster(asked).await.unwrap().into_inner();
    for tick in first..first + 15 {
        let view = views.next().await.unwrap().unwrap();
        assert_eq!(view.tick, tick);
        assert!((view.sections.unwrap().traffic.unwrap().requests_per_second() - 10.0).abs() < 1e-9);
    }
    let live = now() + 1;
    node.send(live, 70, 1_000).await;
    let mut seen = Vec::new();
    while let Some(view) = views.next().await {
        let view = view.unwrap();
        seen.push(view.tick);
        if view.tick == live
            && let Some(traffic) = view.sections.as_ref().and_then(|is| is.traffic.as_ref())
        {
            assert!((traffic.requests_per_second() - 70.0).abs() < 1e-9);
            break;
        }
        assert!(view.tick < live + 5, "second {live} was never seen: {seen:?}");
    }
    assert_eq!(nodes.next().await.unwrap().unwrap().tick, live);
    aggregator.stopped().await;
    // The stop ends the streams of watchers.
    while let Some(Ok(_)) = views.next().await {}
}

#[tokio::test]
async fn late_frames_correct_a_second_that_was_sent() {
    late_frames_correct(3).await;
}

/// As those of a node that was cut off for minutes, or whose clock was behind.
#[tokio::test]
async fn late_frames_correct_a_second_of_minutes_ago_too() {
    late_frames_correct(300).await;
}

/// Two nodes report a second of so long ago, one of them after it was sent to a watcher.
async fn late_frames_correct(ago: u32) {
    let aggregator = Aggregator::start("solo", &[]).await;
    let (mut one, mut two) = (TestNode::new("a", "x"), TestNode::new("b", "x"));
    one.connect(&aggregator.url()).await;
    two.connect(&aggregator.url()).await;
    let tick = now() - ago;
    one.send(tick, 10, 1_000).await;
    one.until_acked([tick]).await;
    let mut query = aggregator.query().await;
    let asked = v1::WatchClusterRequest { from_tick: tick, ..v1::WatchClusterRequest::default() };
    let mut views = query.watch_cluster(asked).await.unwrap().into_inner();
    let first = views.next().await.unwrap().unwrap();
    assert_eq!((first.tick, first.sections.unwrap().traffic.unwrap().requests_per_second() as u64), (tick, 10));
    let sent = now();
    two.send(tick, 5, 1_000).await;
    let corrected = loop {
        let view = views.next().await.unwrap().unwrap();
        if view.tick == tick {
            break view;
        }
        assert!(view.tick < sent + 20, "no correction came");
    };
    assert!(corrected.revision > first.revision);
    assert_eq!(corrected.sections.unwrap().traffic.unwrap().requests_per_second() as u64, 15);
}

/// A reader of the table, as a dashboard is one.
fn mirror() -> Mirror {
    Mirror::new(Most { nodes: 1_000, bytes: 1_000_000 })
}

/// Takes in updates until one that ends at a whole table for which `done` holds.
async fn follow(
    stream: &mut Streaming<v1::NodesUpdate>,
    mirror: &mut Mirror,
    done: impl Fn(&Mirror) -> bool,
) -> Vec<v1::NodesUpdate> {
    let mut seen: Vec<v1::NodesUpdate> = Vec::new();
    loop {
        let update = tokio::time::timeout(LIMIT, stream.next()).await.expect("updates go on").unwrap().unwrap();
        mirror.apply(&update).unwrap();
        let whole = !update.more;
        assert!(seen.last().is_none_or(|last| last.more || update.tick > last.tick), "one update a second, in order");
        seen.push(update);
        if whole && done(mirror) {
            return seen;
        }
    }
}

#[tokio::test]
async fn the_table_is_listed_in_pages_and_followed_by_difference() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut nodes = Vec::new();
    for (n, zone) in (0..5).zip(["a", "b", "a", "a", "b"]) {
        let mut node = TestNode::new(&format!("web-{n}"), zone);
        node.connect(&aggregator.url()).await;
        node.send(now() - 1, 10 + n, 1_000).await;
        nodes.push(node);
    }
    let mut query = aggregator.query().await;
    let mut stream = query.watch_nodes(v1::WatchNodesRequest::default()).await.unwrap().into_inner();
    let mut reader = mirror();
    follow(&mut stream, &mut reader, |held| held.nodes().count() == 5).await;

    // Pages of two: every node once, by name, however many there are.
    let mut asked = v1::ListNodesRequest { page_size: 2, ..v1::ListNodesRequest::default() };
    let mut pages = Vec::new();
    loop {
        let page = query.list_nodes(asked.clone()).await.unwrap().into_inner();
        assert_eq!(page.total(), 5);
        asked.page_token.clone_from(&page.next_page_token);
        pages.push(page.nodes.iter().map(|row| row.node_id.clone()).collect::<Vec<_>>());
        if asked.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec!["web-0", "web-1"], vec!["web-2", "web-3"], vec!["web-4"]]);
    let of_group = v1::ListNodesRequest { group: "zone:b".into(), page_size: 1, page_token: "web-2".into() };
    let page = query.list_nodes(of_group).await.unwrap().into_inner();
    assert_eq!((page.nodes[0].node_id.as_str(), page.total(), page.next_page_token.as_str()), ("web-4", 2, ""));
    for (size, token, wanted) in [(10_001, "", "page_size: "), (1, "No Name", "page_token: ")] {
        let asked = v1::ListNodesRequest { page_size: size, page_token: token.into(), ..Default::default() };
        let status = query.list_nodes(asked).await.unwrap_err();
        assert!(status.code() == Code::InvalidArgument && status.message().starts_with(wanted), "{status}");
    }

    // The stream breaks; what happens meanwhile comes as a difference.
    drop(stream);
    let (generation, revision) = reader.position();
    let tick = now();
    nodes[3].send(tick, 77, 1_000).await;
    let known = v1::WatchNodesRequest { generation, revision, ..v1::WatchNodesRequest::default() };
    let mut stream = query.watch_nodes(known).await.unwrap().into_inner();
    let requests = |held: &Mirror, node: &str| {
        held.nodes().find(|(_, held)| held.entry.id.as_str() == node)?.1.row.value(Measure::Requests)
    };
    let seen = follow(&mut stream, &mut reader, |held| requests(held, "web-3") == Some(77.0)).await;
    assert!(seen.iter().all(|update| !update.reset), "it went on from where it was");
    let rows: usize = seen.iter().flat_map(|update| &update.columns).map(|columns| columns.numbers.len()).sum();
    assert!(rows < 5, "{rows} rows for one node with a new second");
    assert_eq!(requests(&reader, "web-4"), Some(14.0));

    // Of another process nothing is known here: everything is sent again.
    let unknown = v1::WatchNodesRequest { generation: generation ^ 1, revision, ..Default::default() };
    let mut stream = query.watch_nodes(unknown).await.unwrap().into_inner();
    let mut reader = mirror();
    let seen = follow(&mut stream, &mut reader, |held| held.nodes().count() == 5).await;
    assert!(seen[0].reset);

    let asked = v1::WatchNodesRequest { group: "zone:b".into(), ..v1::WatchNodesRequest::default() };
    let mut stream = query.watch_nodes(asked).await.unwrap().into_inner();
    let mut reader = mirror();
    let seen = follow(&mut stream, &mut reader, |held| held.nodes().count() == 2).await;
    assert_eq!(seen.last().unwrap().completeness.as_ref().unwrap().nodes_expected(), 2);
    aggregator.stopped().await;
}

#[tokio::test]
async fn mistakes_are_answered_with_the_field() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    node.send(now(), 1, 1).await;
    let mut query = aggregator.query().await;
    eventually("the node's row", async || {
        let table = query.list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner();
        if table.nodes.len() == 1 { Ok(()) } else { Err(format!("{table:?}")) }
    })
    .await;
    for (group, wanted) in [
        ("zone", "is not a group"),
        ("rack:7", "nodes are grouped by zone, role, not by \"rack\""),
        ("zone:q", "no node is in zone:q, there are zone:a"),
    ] {
        let asked = v1::GetClusterRequest { group: group.into(), ..Default::default() };
        let status = query.get_cluster(asked).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("group: ") && status.message().contains(wanted), "{status}");
    }
    let asked = v1::GetClusterRequest { tick: 5, ..Default::default() };
    let status = query.get_cluster(asked).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let status =
        query.get_node(v1::GetNodeRequest { node_id: "web-2".into(), ..Default::default() }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("similar: web-1"), "{status}");
    let status = query.get_node(v1::GetNodeRequest { node_id: "Web".into(), ..Default::default() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn bad_frames_are_refused_and_the_stream_goes_on() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let tick = now();
    let (late, early) = (tick - 2_000, tick + 60);
    node.send(late, 1, 1).await;
    node.send(early, 1, 1).await;
    node.send(tick, 1, 1).await;
    node.until_acked([tick]).await;
    node.received(|received| {
        assert_eq!(received.refused[&late].reason(), v1::RefusalReason::TooLate);
        assert_eq!(received.refused[&early].reason(), v1::RefusalReason::TooEarly);
        assert_eq!(received.keyframes, 0);
    });
    let garbage = v1::Frame { tick: tick + 1, sequence: 4, rollup: vec![0xff; 100].into(), ..v1::Frame::default() };
    node.raw(ingest_request::Body::Frame(garbage)).await;
    eventually("a refusal and one request for a keyframe", async || {
        node.received(|received| {
            let refused = received.refused.get(&(tick + 1)).map(v1::Refusal::reason);
            if refused == Some(v1::RefusalReason::Invalid) && received.keyframes == 1 {
                Ok(())
            } else {
                Err(format!("{received:?}"))
            }
        })
    })
    .await;
    // A fresh start on the same stream.
    let frame = starling_proto::frame::Encoder::new().encode(&content(tick + 2, 3, 3), None, true);
    node.raw(ingest_request::Body::Frame(frame)).await;
    node.until_acked([tick + 2]).await;

    let mut hello = node.hello();
    hello.node_id = "No Name".into();
    let status = open(&aggregator.url(), hello).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("hello.node_id"), "{status}");
}

#[tokio::test]
async fn faults_of_collectors_are_facts_of_the_node_until_they_are_taken_back() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    node.send(now() - 1, 10, 1_000).await;
    let hanging = v1::CollectorTrouble::Hanging.into();
    let reason = format!("/proc/diskstats does not answer\u{7}{}", "!".repeat(5_000));
    let fault = v1::CollectorFault { collector: "disk".into(), trouble: hanging, reason, since_unix_s: 7 };
    let report = |faults| ingest_request::Body::Collectors(v1::CollectorReport { faults });
    node.raw(report(vec![fault])).await;
    let query = aggregator.query().await;
    let faults = async || {
        let (mut of_list, mut of_one) = (query.clone(), query.clone());
        let table = of_list.list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner();
        let asked = v1::GetNodeRequest { node_id: "web-1".into(), ..v1::GetNodeRequest::default() };
        let view = of_one.get_node(asked).await.map(|view| view.into_inner().row.unwrap_or_default().collector_faults);
        (table.nodes.into_iter().flat_map(|row| row.collector_faults).collect::<Vec<_>>(), view.unwrap_or_default())
    };
    eventually("the fault in the list and at the node", async || match faults().await {
        (list, one) if list.len() == 1 && list == one => {
            assert_eq!((list[0].collector.as_str(), list[0].trouble, list[0].since_unix_s), ("disk", hanging, 7));
            let reason = &list[0].reason;
            assert!(reason.starts_with("/proc/diskstats does not answer!") && reason.len() == 200, "{reason}");
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
    .await;
    node.raw(report(vec![])).await;
    eventually("no fault", async || match faults().await {
        (list, one) if list.is_empty() && one.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    aggregator.stopped().await;
}

#[tokio::test]
async fn a_newer_connection_takes_over() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let hello = v1::Hello { session: 9, ..node.hello() };
    let (_outbox, _inbound) = open(&aggregator.url(), hello).await.unwrap();
    eventually("the end of the older connection", async || {
        node.received(|received| match &received.ended {
            Some(Err(status)) if status.code() == Code::Aborted => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await;
    let hello = v1::Hello { session: 3, ..node.hello() };
    let status = open(&aggregator.url(), hello).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let wanted =
        ["starling.v1.Ingest", "starling.v1.Peer", "starling.v1.Query", "starling.v1.Cluster", "grpc.health.v1.Health"];

    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let ask = reflection::server_reflection_request::MessageRequest::ListServices(String::new());
    requests
        .send(reflection::ServerReflectionRequest { message_request: Some(ask), ..Default::default() })
        .await
        .unwrap();
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(aggregator.channel().await);
    let mut answers = client.server_reflection_info(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let reflection::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(wanted.iter().all(|name| names.iter().any(|found| found == name)), "{names:?}");

    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let ask =
        reflection_alpha::server_reflection_request::MessageRequest::FileContainingSymbol("starling.v1.Query".into());
    requests
        .send(reflection_alpha::ServerReflectionRequest { message_request: Some(ask), ..Default::default() })
        .await
        .unwrap();
    let mut client =
        reflection_alpha::server_reflection_client::ServerReflectionClient::new(aggregator.channel().await);
    let mut answers = client.server_reflection_info(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    assert!(
        matches!(answer, reflection_alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_taken_port_and_a_foreign_address_are_reported() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let taken =
        starling_aggregator::Config { grpc_listen: aggregator.grpc(), ..starling_aggregator::Config::default() };
    let error = starling_aggregator::Service::bind(taken, Registry::default()).await.err().unwrap();
    assert!(format!("{error:#}").contains("grpc_listen"), "{error:#}");
    let foreign = starling_aggregator::Config {
        grpc_listen: "10.0.0.1:0".parse().unwrap(),
        gossip_listen: "10.0.0.1:0".parse().unwrap(),
        ..starling_aggregator::Config::default()
    };
    let error = starling_aggregator::Service::bind(foreign, Registry::default()).await.err().unwrap();
    assert_eq!(format!("{error:#}").lines().count(), 2, "{error:#}");
}

#[tokio::test]
async fn an_unknown_process_cannot_speak_for_a_peer() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut client = starling_service::grpc::peer_client::PeerClient::new(aggregator.channel().await);
    let digest = v1::Digest {
        writer_id: starling_proto::ids::WriterId::random().to_bytes(),
        aggregator_id: "agg-9".into(),
        ..v1::Digest::default()
    };
    let first = v1::SyncMessage { body: Some(v1::sync_message::Body::Digest(digest)) };
    let mut answers = client.sync(tokio_stream::iter([first])).await.unwrap().into_inner();
    let status = loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("not a member that is known here yet"), "{status}");
}

#[tokio::test]
async fn a_silent_node_is_remembered_over_a_restart_of_the_only_aggregator() {
    let aggregator = Aggregator::start("solo", &[]).await;
    aggregator.service.ready().await;
    let mut gone = TestNode::new("web-1", "a");
    gone.connect(&aggregator.url()).await;
    let first = now();
    for tick in [first - 1, first] {
        gone.send(tick, 1, 1_000).await;
    }
    gone.until_acked([first - 1, first]).await;
    let state = aggregator.stopped_with_state().await;

    let again = Aggregator::start_in("solo", &[], starling_aggregator::Config::default(), state).await;
    let mut here = TestNode::new("web-2", "a");
    here.connect(&again.url()).await;
    // Of the same second the first one has reported when all of this took less than one.
    let tick = now().max(first + 1);
    here.send(tick, 1, 1_000).await;
    let (mut query, mut cluster) = (again.query().await, again.cluster().await);
    eventually("what is missing has a name", async || {
        let asked = v1::GetClusterRequest { tick, ..v1::GetClusterRequest::default() };
        let view = query.get_cluster(asked).await.map_err(|status| status.to_string())?.into_inner();
        let asked = v1::GetLedgerRequest { tick };
        let books = cluster.get_ledger(asked).await.map_err(|status| status.to_string())?.into_inner();
        for said in [view.completeness.unwrap(), books.completeness.unwrap()] {
            let found = (said.nodes_reporting(), said.nodes_expected(), said.nodes_missing);
            if found != (1, 2, vec!["web-1".to_owned()]) {
                return Err(format!("{found:?}"));
            }
        }
        Ok(())
    })
    .await;
    again.stopped().await;
}
