//! One aggregator alone.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use starling_proto::v1::{self, ingest_request};
use starling_service::{Program as _, metrics::Registry};
use support::{Aggregator, TestNode, content, now, open, until};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Code;
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
    let view = until("a view with the node", async || {
        let asked = v1::GetClusterRequest { tick, ..v1::GetClusterRequest::default() };
        let view = query.get_cluster(asked).await.map_err(|status| status.to_string())?.into_inner();
        if view.sections.as_ref().is_some_and(|is| is.traffic.is_some()) { Ok(view) } else { Err(format!("{view:?}")) }
    })
    .await;
    assert_eq!((view.tick, view.cluster.as_str()), (tick, "test"));
    let completeness = view.completeness.unwrap();
    assert_eq!((completeness.nodes_reporting, completeness.nodes_expected, completeness.copies), (1, 1, 1));
    let sections = view.sections.unwrap();
    let traffic = sections.traffic.unwrap();
    assert!((traffic.requests_per_second - 100.0).abs() < 1e-9);
    let latency = traffic.latency_last_minute.unwrap();
    assert!((latency.p50_micros - 2_000.0).abs() < 8.0 && (latency.count - 100.0).abs() < 1e-9, "{latency:?}");
    assert_eq!(sections.cpu.unwrap().utilization, Some(0.5));
    assert_eq!(view.charted.get("rps.total"), Some(&100.0), "{:?}", view.charted);

    let answer = query.get_node(v1::GetNodeRequest { node_id: "web-1".into() }).await.unwrap().into_inner();
    assert_eq!((answer.tick, answer.cores.as_slice()), (tick, [0.25, 0.75].as_slice()));
    assert_eq!(answer.series.len(), 7);
    assert_eq!(answer.row.unwrap().aggregator_id, "solo");
    let mut tables = query.watch_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner();
    let mut last = 0;
    let row = loop {
        let table = tables.next().await.unwrap().unwrap();
        assert!(table.tick > last, "one table a second, in order");
        last = table.tick;
        if let [row] = table.nodes.as_slice() {
            break row.clone();
        }
    };
    assert_eq!((row.last_tick, row.cpu, row.requests_per_second), (tick, Some(0.5), Some(100.0)));
    assert_eq!(row.busiest.first().map(|core| core.core), Some(1));
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
    let asked = v1::WatchNodeRequest { node_id: "web-1".into(), from_tick: first + 3 };
    let mut nodes = query.watch_node(asked).await.unwrap().into_inner();
    for tick in first + 3..first + 15 {
        let view = nodes.next().await.unwrap().unwrap();
        assert_eq!((view.tick, view.cores.len()), (tick, 2));
        let minute = view.sections.unwrap().traffic.unwrap().latency_last_minute.unwrap();
        assert!((minute.count - f64::from(tick - first + 1) * 10.0).abs() < 1e-9, "the minute before is read too");
    }
    let asked = v1::WatchClusterRequest { from_tick: first, ..v1::WatchClusterRequest::default() };
    let mut views = query.watch_cluster(asked).await.unwrap().into_inner();
    for tick in first..first + 15 {
        let view = views.next().await.unwrap().unwrap();
        assert_eq!(view.tick, tick);
        assert!((view.sections.unwrap().traffic.unwrap().requests_per_second - 10.0).abs() < 1e-9);
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
            assert!((traffic.requests_per_second - 70.0).abs() < 1e-9);
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
    let aggregator = Aggregator::start("solo", &[]).await;
    let (mut one, mut two) = (TestNode::new("a", "x"), TestNode::new("b", "x"));
    one.connect(&aggregator.url()).await;
    two.connect(&aggregator.url()).await;
    let tick = now() - 3;
    one.send(tick, 10, 1_000).await;
    one.until_acked([tick]).await;
    let mut query = aggregator.query().await;
    let asked = v1::WatchClusterRequest { from_tick: tick, ..v1::WatchClusterRequest::default() };
    let mut views = query.watch_cluster(asked).await.unwrap().into_inner();
    let first = views.next().await.unwrap().unwrap();
    assert_eq!((first.tick, first.sections.unwrap().traffic.unwrap().requests_per_second as u64), (tick, 10));
    two.send(tick, 5, 1_000).await;
    let corrected = loop {
        let view = views.next().await.unwrap().unwrap();
        if view.tick == tick {
            break view;
        }
        assert!(view.tick < tick + 20, "no correction came");
    };
    assert!(corrected.revision > first.revision);
    assert_eq!(corrected.sections.unwrap().traffic.unwrap().requests_per_second as u64, 15);
}

#[tokio::test]
async fn mistakes_are_answered_with_the_field() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    node.send(now(), 1, 1).await;
    let mut query = aggregator.query().await;
    until("the node's row", async || {
        let table = query.list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner();
        if table.nodes.len() == 1 { Ok(()) } else { Err(format!("{table:?}")) }
    })
    .await;
    for (group, wanted) in [
        ("zone", "is not a group"),
        ("rack:7", "nodes are grouped by zone, role, not by \"rack\""),
        ("zone:q", "no node is in zone:q, there are zone:a"),
    ] {
        let asked = v1::GetClusterRequest { group: group.into(), tick: 0 };
        let status = query.get_cluster(asked).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("group: ") && status.message().contains(wanted), "{status}");
    }
    let asked = v1::GetClusterRequest { group: String::new(), tick: 5 };
    let status = query.get_cluster(asked).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let status = query.get_node(v1::GetNodeRequest { node_id: "web-2".into() }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("similar: web-1"), "{status}");
    let status = query.get_node(v1::GetNodeRequest { node_id: "Web".into() }).await.unwrap_err();
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
    until("a refusal and one request for a keyframe", async || {
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
async fn a_newer_connection_takes_over() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let hello = v1::Hello { session: 9, ..node.hello() };
    let (_outbox, _inbound) = open(&aggregator.url(), hello).await.unwrap();
    until("the end of the older connection", async || {
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
async fn a_taken_port_and_a_foreign_address_are_told() {
    let aggregator = Aggregator::start("solo", &[]).await;
    let taken =
        starling_aggregator::Config { grpc_listen: aggregator.grpc(), ..starling_aggregator::Config::default() };
    let error = starling_aggregator::Service::bind(taken, Registry::default()).await.err().unwrap();
    assert!(format!("{error:#}").contains("grpc_listen"), "{error:#}");
    let foreign = starling_aggregator::Config {
        grpc_listen: "0.0.0.0:0".parse().unwrap(),
        gossip_listen: "0.0.0.0:0".parse().unwrap(),
        ..starling_aggregator::Config::default()
    };
    let error = starling_aggregator::Service::bind(foreign, Registry::default()).await.err().unwrap();
    assert_eq!(format!("{error:#}").lines().count(), 2, "{error:#}");
}

#[tokio::test]
async fn a_stranger_cannot_speak_for_a_peer() {
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
    assert!(status.message().contains("not a member I know yet"), "{status}");
}
