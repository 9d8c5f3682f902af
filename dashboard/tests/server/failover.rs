//! An aggregator dies: the next one is asked at once, and no second is missing.

use starling_proto::live;

use starling_testkit::{Script, Scripted};

use crate::harness::{RPS_TOTAL, Server, charted, now, table, view};

#[tokio::test]
async fn the_next_aggregator_leaves_no_hole() {
    let (script, newest) = (Script::default(), now());
    for tick in newest - 20..=newest {
        script.report(view(tick, 1.0), Some(table(tick, 2)));
    }
    let first = Scripted::start(&script, "a1", 0).await;
    let second = Scripted::start(&script, "a2", 0).await;
    // Only the first is configured; it names the second.
    let server = Server::start(&[first.address]).await;
    server.ready().await;
    server.get_until("/api/v1/cluster", |answer| answer["connectedTo"] == "a1").await;
    let mut page = server.page().await;
    page.subscribe(1, live::View::Overview, "", 0).await;
    page.snapshot().await;

    let mut expected = newest + 1;
    for round in 0..3 {
        script.report(view(expected, 2.0), None);
        assert_eq!(page.tick().await.tick, expected, "round {round}");
        expected += 1;
    }
    first.kill();
    // Seconds of the time without an aggregator, more than a slow client may be behind.
    for tick in expected..expected + 8 {
        script.report(view(tick, 3.0), None);
    }
    for tick in expected..expected + 8 {
        let next = page.tick().await;
        assert_eq!((next.tick, next.revision, next.skipped, next.point[RPS_TOTAL]), (tick, 0, 0, 3.0));
    }
    server.get_until("/api/v1/cluster", |answer| answer["connectedTo"] == "a2").await;
    drop(second);
}

#[tokio::test]
async fn late_frames_of_the_new_aggregator_correct_the_last_seconds() {
    let (script, newest) = (Script::default(), now());
    for tick in newest - 20..=newest {
        script.report(view(tick, 1.0), Some(table(tick, 2)));
    }
    let first = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[first.address]).await;
    server.ready().await;
    let mut page = server.page().await;
    page.subscribe(1, live::View::Overview, "", 0).await;
    page.snapshot().await;
    first.kill();
    while !matches!(page.next().await, live::server_message::Body::Error(error) if error.code == "unavailable") {}
    // The same second as another aggregator saw it, with one node more.
    let mut more = view(newest - 1, 5.0);
    more.completeness.as_mut().unwrap().nodes_reporting = Some(3);
    script.report(more, None);
    let _second = Scripted::start(&script, "a2", first.address.port()).await;
    let correction = page.tick().await;
    assert_eq!((correction.tick, correction.revision, correction.point[RPS_TOTAL]), (newest - 1, 1, 5.0));
    let mut other = server.page().await;
    other.subscribe(1, live::View::Overview, "", 0).await;
    assert_eq!(charted(&other.snapshot().await.history.unwrap(), "rps.total", newest - 1), 5.0);
}
