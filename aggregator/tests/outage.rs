//! What all aggregators were away for is handed over afterwards, and counted once.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use std::{collections::BTreeSet, time::Duration};

use starling_aggregator::{Config, OutageSettings};
use starling_ledger::CatchUp;
use starling_proto::v1;
use support::{Aggregator, TestNode, eventually, now, requests_over};

/// Old seconds, two windows of the history.
const OLD: u32 = 600;
/// Old seconds without an answer, at most.
const IN_FLIGHT: usize = 200;

fn quick() -> Config {
    let catch_up = CatchUp { hold: Duration::from_secs(6), rate: 25, ..CatchUp::default() };
    Config { outage: OutageSettings { catch_up }, ..Config::default() }
}

/// Windows of the finest tier that are on the disk, by their first second.
fn windows(aggregator: &Aggregator) -> BTreeSet<u32> {
    let files = std::fs::read_dir(aggregator.state().join("history/segments/1s"));
    let names = files.into_iter().flatten().filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".seg")).filter_map(|name| name.split('-').next()?.parse().ok()).collect()
}

/// Offers the newest first, and again what was not taken yet, until nothing is left. Returns how many were to come later.
async fn hand_over(node: &mut TestNode, first: u32) -> usize {
    for tick in first..first + OLD {
        node.measure(tick, u64::from(tick % 17) + 1, 1_000);
    }
    let mut left: BTreeSet<u32> = (first..first + OLD).collect();
    let (mut without_answer, mut not_yet, mut live) = (BTreeSet::new(), 0, 0);
    // One too early: it says so and is kept.
    node.offer(first + OLD - 1).await;
    without_answer.insert(first + OLD - 1);
    eventually("all old seconds", async || {
        for (tick, refusal) in node.take_refused() {
            assert_eq!(refusal.reason(), v1::RefusalReason::NotYet, "{tick} of {first}");
            without_answer.remove(&tick);
            not_yet += 1;
        }
        let acked: BTreeSet<u32> = node.received(|received| received.acked.keys().copied().collect());
        left.retain(|tick| !acked.contains(tick));
        without_answer.retain(|tick| !acked.contains(tick));
        if left.is_empty() {
            return Ok(());
        }
        if now() > live {
            // The live ones go on: by their acknowledgements the node learns what is taken.
            live = now();
            node.send(live, 1, 1_000).await;
        }
        let (floor, old_until) = node.received(|received| received.gate);
        let next: Vec<u32> =
            left.range(..=old_until).rev().filter(|tick| !without_answer.contains(tick)).copied().collect();
        for tick in next.into_iter().take(IN_FLIGHT - without_answer.len()) {
            node.offer(tick).await;
            without_answer.insert(tick);
        }
        let (floor, until) = (i64::from(floor) - i64::from(first), i64::from(old_until) - i64::from(first));
        Err(format!("{} left, floor {floor} after the first, taken up to {until}", left.len()))
    })
    .await;
    not_yet
}

#[tokio::test]
async fn what_all_were_away_for_is_taken_afterwards_and_counted_once() {
    let aggregator = Aggregator::start_with("solo", &[], quick()).await;
    let mut node = TestNode::new("web-1", "a");
    node.connect(&aggregator.url()).await;
    let before = now();
    node.send(before, 1, 1_000).await;
    node.until_acked([before]).await;
    let state = aggregator.stopped_with_state().await;

    // It was away for an hour: since then nobody has forgotten anything.
    let first = (before - 3_600).next_multiple_of(300);
    let floor = state.path().join("floor");
    assert!(std::fs::read_to_string(&floor).unwrap().starts_with("starling floor 1\n"));
    std::fs::write(&floor, format!("starling floor 1\n{first}\n")).unwrap();

    let again = Aggregator::start_in("solo", &[], quick(), state).await;
    node.connect(&again.url()).await;
    let not_yet = hand_over(&mut node, first).await;
    assert!(not_yet > 0, "seconds beyond the window come later");
    let of_node = || v1::Scope { node_id: "web-1".into(), ..v1::Scope::default() };
    let expected: Vec<(u32, f64)> = (first..first + OLD).map(|tick| (tick, f64::from(tick % 17) + 1.0)).collect();
    for scope in [of_node(), v1::Scope::default()] {
        let wanted = format!("{scope:?} in memory");
        eventually(&wanted, async || {
            let found = requests_over(&again, scope.clone(), [first, first + OLD - 1, 1]).await?;
            if found == expected { Ok(()) } else { Err(format!("{} of {OLD}: {found:?}", found.len())) }
        })
        .await;
    }

    // Again: known, or too late once the floor has passed them. Counted once either way.
    for tick in (first..first + OLD).step_by(50) {
        node.offer(tick).await;
    }
    eventually("both windows on the disk", async || {
        let windows = windows(&again);
        let both = [first, first + 300].iter().all(|start| windows.contains(start));
        if both { Ok(()) } else { Err(format!("of {first}: {windows:?}")) }
    })
    .await;
    let state = again.stopped_with_state().await;

    let third = Aggregator::start_in("solo", &[], quick(), state).await;
    node.connect(&third.url()).await;
    let some: Vec<u32> = (first..first + OLD).step_by(50).collect();
    for tick in &some {
        node.offer(*tick).await;
    }
    eventually("an answer to each", async || {
        let answered = node.received(|received| {
            let is_late = |tick: &u32| {
                received.refused.get(tick).is_some_and(|refusal| refusal.reason() == v1::RefusalReason::TooLate)
            };
            some.iter().filter(|tick| received.acked.contains_key(tick) || is_late(tick)).count()
        });
        if answered == some.len() { Ok(()) } else { Err(format!("{answered} of {}", some.len())) }
    })
    .await;
    for scope in [of_node(), v1::Scope::default()] {
        assert_eq!(
            requests_over(&third, scope.clone(), [first, first + OLD - 1, 1]).await.unwrap(),
            expected,
            "{scope:?}"
        );
    }
    let state = third.stopped_with_state().await;

    // Only what was sealed is left.
    std::fs::remove_dir_all(state.path().join("history/log")).unwrap();
    let fourth = Aggregator::start_in("solo", &[], quick(), state).await;
    let mut other = TestNode::new("web-2", "a");
    other.connect(&fourth.url()).await;
    other.send(now(), 1, 1_000).await;
    for scope in [of_node(), v1::Scope::default()] {
        assert_eq!(
            requests_over(&fourth, scope.clone(), [first, first + OLD - 1, 1]).await.unwrap(),
            expected,
            "{scope:?}"
        );
    }
    fourth.stopped().await;
}
