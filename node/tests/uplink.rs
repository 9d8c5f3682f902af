//! The uplink over real connections, against aggregators that do what the test says.

use starling_node::{LossReason, Uplink, UplinkConfig, UplinkHandle, UplinkStats};
use starling_proto::{
    catalogue,
    frame::Content,
    ids::{NodeId, WriterId},
    series::{Sample, Series, Value},
    v1::{self, ingest_response},
};
use starling_testkit::{FakeAggregator, Manners, until};
use tokio_util::sync::CancellationToken;

const ACKS: Manners =
    Manners { redirect_to: None, ack: true, ranked: vec![], refuse_hello: None, clock_is_behind: false };

fn content(tick: u32) -> Content {
    let samples = vec![
        Sample { series: Series::of(&catalogue::TCP_OPENED, &[]), value: Value::Counter(u64::from(tick)) },
        Sample { series: Series::of(&catalogue::UPTIME, &[]), value: Value::Gauge(i64::from(tick)) },
    ];
    Content { tick, samples, dropped: 0 }
}

fn uplink(seeds: &[&FakeAggregator]) -> (UplinkHandle, CancellationToken) {
    let seeds = seeds.iter().map(|seed| seed.address.to_string()).collect();
    let shutdown = CancellationToken::new();
    let config = UplinkConfig::new(NodeId::parse("node-1").expect("a name"), seeds);
    (Uplink::spawn(config, shutdown.clone()), shutdown)
}

fn pin(frame: &v1::Frame) -> WriterId {
    WriterId::parse(&frame.pin).expect("a pin")
}

#[tokio::test]
async fn frames_arrive_and_are_forgotten_when_acknowledged() {
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let (handle, shutdown) = uplink(&[&aggregator]);
    let mut stats = handle.stats();
    let connected = until(&mut stats, "connection", |stats| stats.connected.is_some()).await;
    assert_eq!(connected.connected.map(|c| c.aggregator_id.to_string()).as_deref(), Some("agg-1"));
    for tick in 100..105 {
        handle.offer(content(tick)).expect("room");
    }
    let now = until(&mut stats, "acknowledgement of all", |stats| stats.acked == 5).await;
    assert_eq!((now.cut, now.unacked, now.lost.total()), (5, 0, 0));
    assert!(now.connected.is_some_and(|c| c.alone && c.copies == 1));
    let seen = aggregator.until("five frames", |seen| seen.frames.len() == 5).await;
    assert_eq!(seen.contents[&104], content(104));
    let hello = &seen.hellos[0];
    assert_eq!((hello.node_id.as_str(), hello.session, hello.final_hop), ("node-1", 1, false));
    assert_eq!(hello.stream_id, handle.stream_id().to_bytes());

    shutdown.cancel();
    let last = handle.ended().await.expect("no panic");
    assert_eq!((last.acked, last.lost.total()), (5, 0));
    aggregator.until("end of stream", |seen| seen.ends_of_stream == [104]).await;
    assert!(handle.offer(content(200)).is_err(), "it has ended");
}

#[tokio::test]
async fn a_redirect_is_followed_to_the_owner() {
    let owner = FakeAggregator::start("owner", ACKS).await;
    let other = FakeAggregator::start("other", Manners { redirect_to: Some(owner.address.to_string()), ..ACKS }).await;
    let (handle, _shutdown) = uplink(&[&other]);
    handle.offer(content(100)).expect("room");
    let stats = until(&mut handle.stats(), "acknowledgement", |stats| stats.acked == 1).await;
    assert_eq!((stats.redirects, stats.sessions), (1, 2));
    let seen = owner.until("hello", |seen| !seen.hellos.is_empty()).await;
    assert_eq!(pin(&seen.frames[0].1), owner.writer);
}

#[tokio::test]
async fn aggregators_that_point_at_each_other_get_the_final_hop() {
    let one = FakeAggregator::start("one", ACKS).await;
    let two = FakeAggregator::start("two", Manners { redirect_to: Some(one.address.to_string()), ..ACKS }).await;
    one.set(|manners| manners.redirect_to = Some(two.address.to_string()));
    let (handle, _shutdown) = uplink(&[&one]);
    let stats = until(&mut handle.stats(), "connection", |stats| stats.connected.is_some()).await;
    assert_eq!((stats.redirects, stats.sessions), (3, 4));
}

#[tokio::test]
async fn a_killed_aggregator_loses_nothing_and_pins_stay() {
    let first = FakeAggregator::start("first", Manners { ack: false, ..ACKS }).await;
    let second = FakeAggregator::start("second", ACKS).await;
    first.set(|manners| manners.ranked = vec![second.address.to_string()]);
    let (handle, shutdown) = uplink(&[&first]);
    let mut stats = handle.stats();
    until(&mut stats, "connection", |stats| stats.connected.is_some()).await;
    for tick in 100..103 {
        handle.offer(content(tick)).expect("room");
    }
    first.until("three frames", |seen| seen.frames.len() == 3).await;
    let first_writer = first.writer;
    first.kill();
    let taken_by_second =
        |stats: &UplinkStats| stats.connected.as_ref().is_some_and(|connected| connected.writer_id == second.writer);
    until(&mut stats, "connection to the second", taken_by_second).await;
    handle.offer(content(103)).expect("room");
    let now = until(&mut stats, "all acknowledged by the second", |stats| stats.acked == 4).await;
    assert_eq!((now.lost.total(), now.unacked), (0, 0));
    let seen = second.until("four frames", |seen| seen.contents.len() == 4).await;
    for (_, frame) in &seen.frames {
        let expected = if frame.tick < 103 { first_writer } else { second.writer };
        assert_eq!(pin(frame), expected, "tick {}", frame.tick);
    }
    shutdown.cancel();
    assert_eq!(handle.ended().await.expect("no panic").lost.total(), 0);
}

#[tokio::test]
async fn an_aggregator_that_comes_later_gets_what_was_kept() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let shutdown = CancellationToken::new();
    let mut config = UplinkConfig::new(NodeId::parse("node-1").expect("a name"), vec![address.to_string()]);
    config.ring_frames = 40;
    let handle = Uplink::spawn(config, shutdown.clone());
    let mut stats = handle.stats();
    for tick in 1..=50 {
        handle.offer(content(tick)).expect("room");
        until(&mut stats, "frame taken", |stats| stats.last_tick == tick).await;
    }
    let now = until(&mut stats, "a full ring", |stats| stats.unacked == 40).await;
    assert_eq!((now.cut, now.lost.get(LossReason::RingFull)), (50, 10));
    // The port was free a moment ago; another process could take it, which the test would say.
    let late = FakeAggregator::start_at(address, "late", ACKS).await;
    let now = until(&mut stats, "all acknowledged", |stats| stats.acked == 40).await;
    assert_eq!(now.unacked, 0);
    let seen = late.until("forty frames", |seen| seen.contents.len() == 40).await;
    assert_eq!(seen.frames[0].1.tick, 50, "the live frame first");
    assert_eq!(seen.contents.keys().next(), Some(&11));
    shutdown.cancel();
    handle.ended().await.expect("no panic");
}

#[tokio::test]
async fn a_keyframe_request_starts_again() {
    let aggregator = FakeAggregator::start("agg-1", Manners { ack: false, ..ACKS }).await;
    let (handle, _shutdown) = uplink(&[&aggregator]);
    for tick in 100..103 {
        handle.offer(content(tick)).expect("room");
    }
    aggregator.until("three frames", |seen| seen.frames.len() == 3).await;
    let request = v1::KeyframeRequest { reason: "test".into() };
    aggregator.say(ingest_response::Body::KeyframeRequest(request)).await;
    let seen = aggregator.until("all again", |seen| seen.frames.len() == 6).await;
    let again = &seen.frames[3].1;
    assert!(again.keyframe && again.sequence == 1 && again.tick == 102);
    let refusal = v1::Refusal { tick: 101, reason: v1::RefusalReason::TooLate as i32, detail: "old".into() };
    aggregator.say(ingest_response::Body::Refusal(refusal)).await;
    let mut stats = handle.stats();
    let now = until(&mut stats, "the refusal", |stats| stats.lost.total() == 1).await;
    assert_eq!((now.lost.get(LossReason::TooLate), now.unacked), (1, 2));
    let ack = v1::Ack { ticks: vec![100, 102], copies: 2, alone: false, ..v1::Ack::default() };
    aggregator.say(ingest_response::Body::Ack(ack)).await;
    let now = until(&mut stats, "the rest acknowledged", |stats| stats.acked == 2).await;
    assert_eq!((now.unacked, now.connected.map(|c| c.copies)), (0, Some(2)));
}

#[tokio::test]
async fn a_dropped_handle_hands_over_and_ends() {
    let aggregator = FakeAggregator::start("agg-1", ACKS).await;
    let (handle, _shutdown) = uplink(&[&aggregator]);
    let mut stats = handle.stats();
    handle.offer(content(100)).expect("room");
    drop(handle);
    while stats.changed().await.is_ok() {}
    assert_eq!((stats.borrow().acked, stats.borrow().lost.total()), (1, 0));
    aggregator.until("end of stream", |seen| seen.ends_of_stream == [100]).await;
}

#[tokio::test]
async fn an_aggregator_with_a_wrong_clock_loses_nothing() {
    let good = FakeAggregator::start("good", ACKS).await;
    let ranked = vec![good.address.to_string()];
    let behind = FakeAggregator::start("behind", Manners { clock_is_behind: true, ranked, ..ACKS }).await;
    let (handle, shutdown) = uplink(&[&behind]);
    let mut stats = handle.stats();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let tick = u32::try_from(now.as_secs()).expect("before 2106");
    handle.offer(content(tick)).expect("room");
    let now = until(&mut stats, "acknowledgement by the good one", |stats| stats.acked == 1).await;
    assert_eq!((now.clock_hops, now.lost.total(), now.trouble), (1, 0, None));
    let seen = good.until("the frame", |seen| !seen.frames.is_empty()).await;
    assert_eq!(pin(&seen.frames[0].1), behind.writer, "the pin is kept");
    shutdown.cancel();
    handle.ended().await.expect("no panic");
}

#[tokio::test]
async fn why_an_aggregator_refuses_the_node_is_reported() {
    let refuse_hello = Some("hello.labels: \"a:b\" breaks a limit".to_owned());
    let aggregator = FakeAggregator::start("agg-1", Manners { refuse_hello, ..ACKS }).await;
    let (handle, _shutdown) = uplink(&[&aggregator]);
    let mut stats = handle.stats();
    handle.offer(content(100)).expect("room");
    let reported = |stats: &UplinkStats| stats.trouble.as_ref().is_some_and(|why| why.contains("breaks a limit"));
    let now = until(&mut stats, "the reason", reported).await;
    assert!(now.trouble.is_some_and(|why| why.starts_with(&aggregator.address.to_string())));
    aggregator.set(|manners| manners.refuse_hello = None);
    let now = until(&mut stats, "acknowledgement", |stats| stats.acked == 1).await;
    assert_eq!(now.trouble, None);
}
