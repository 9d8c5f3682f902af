//! What differs, asked of aggregators in this process.

#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

mod support;

use starling_proto::v1;
use support::{Aggregator, TestNode, cluster, eventually, now};
use tonic::Code;

const SECONDS: u32 = 30;

async fn differ(aggregator: &Aggregator, request: v1::DifferRequest) -> Result<v1::Differences, tonic::Status> {
    Ok(aggregator.query().await.differ(request).await?.into_inner())
}

/// Rows as people name them, with how much of the box and of the rest is theirs.
fn shown(answer: &v1::Differences) -> Vec<(String, f64, f64)> {
    let name = |row: &v1::Overrepresented| format!("{} {}={}", row.dimension, row.key, row.value);
    answer.rows.iter().map(|row| (name(row), row.inside(), row.rest())).collect()
}

/// Six nodes at two aggregators; in the last ten seconds `web-4`, which is in zone b, takes 800 ms for what takes 2 ms elsewhere.
#[tokio::test]
async fn the_slow_node_is_named_by_any_aggregator_with_every_request_counted() {
    let aggregators = cluster(2).await;
    let mut nodes: Vec<TestNode> =
        (0..6).map(|n| TestNode::new(&format!("web-{n}"), if n % 2 == 0 { "b" } else { "a" })).collect();
    let to = now() - 2;
    let from = to - (SECONDS - 1);
    let mut owners = std::collections::BTreeSet::new();
    for node in &mut nodes {
        owners.insert(node.connect(&aggregators[0].url()).await);
    }
    for (n, node) in nodes.iter_mut().enumerate() {
        for tick in from..=to {
            let slow = n == 4 && tick > to - 10;
            node.send(tick, 10, if slow { 800_000 } else { 2_000 }).await;
        }
        node.until_acked(from..=to).await;
    }
    assert_eq!(owners.len(), 2, "both have nodes, or the other is never asked");
    let asked = v1::DifferRequest {
        from_tick: from,
        to_tick: to,
        box_from_tick: to - 9,
        lower: Some(0.5),
        ..v1::DifferRequest::default()
    };
    for aggregator in &aggregators {
        eventually("all seconds are read", async || {
            let answer = differ(aggregator, asked.clone()).await.map_err(|refused| refused.to_string())?;
            let all = f64::from(SECONDS) * 60.0;
            if answer.inside() + answer.rest() == all { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        let answer = differ(aggregator, asked.clone()).await.unwrap();
        assert_eq!((answer.inside(), answer.counted.as_str(), answer.unit.as_str()), (100.0, "values", "s"));
        let expected = [("node =web-4", 100.0, 200.0), ("label zone=b", 100.0, 800.0)];
        assert_eq!(shown(&answer), expected.map(|(name, inside, rest)| (name.to_owned(), inside, rest)));
        assert!(answer.rows.iter().all(|row| row.significant), "{:?}", answer.rows);
        assert_eq!(answer.text, "node web-4 makes 100 % of the 100 requests in the box, and 12 % of the others.");
        let completeness = answer.completeness.unwrap();
        assert_eq!((completeness.nodes_reporting(), completeness.seconds()), (6, SECONDS), "{completeness:?}");
        // An empty request asks for the slowest of the last minute.
        let slowest = differ(aggregator, v1::DifferRequest::default()).await.unwrap();
        assert_eq!((slowest.rows[0].value.as_str(), slowest.inside()), ("web-4", 100.0), "{slowest:?}");
        // Within a zone there is no other to hold a zone against.
        let scope = Some(v1::Scope { group: "zone:b".into(), ..v1::Scope::default() });
        let in_zone = differ(aggregator, v1::DifferRequest { scope, ..asked.clone() }).await.unwrap();
        assert_eq!(shown(&in_zone), [("node =web-4".to_owned(), 100.0, 200.0)]);
    }
    // The same node is the odd one among its peers, since it became slow.
    for aggregator in &aggregators {
        let request = v1::ListOutliersRequest { to_tick: to, ..v1::ListOutliersRequest::default() };
        let found = aggregator.query().await.list_outliers(request).await.unwrap().into_inner();
        let (first, others) = found.rows.split_first().unwrap();
        assert_eq!((first.node_id.as_str(), first.odd, first.values()), ("web-4", true, 300.0), "{found:?}");
        assert!(
            (to - 14..=to - 9).contains(&first.since_tick()) && !first.since_before,
            "{first:?}, slow from {}",
            to - 9
        );
        assert_eq!((others.len(), others.iter().any(|row| row.odd), found.nodes), (5, false, 6));
    }
    // Of a counter the seconds of the box are held against the others: all are alike.
    let requests = v1::DifferRequest { name: "throughput".into(), lower: None, ..asked.clone() };
    let answer = differ(&aggregators[0], requests.clone()).await.unwrap();
    assert_eq!((answer.inside(), answer.rest(), answer.counted.as_str()), (600.0, 1_200.0, "events"));
    assert!(!answer.rows.iter().any(|row| row.significant), "{answer:?}");
    let none = v1::DifferRequest { lower: Some(1e6), ..requests };
    assert_eq!(differ(&aggregators[0], none).await.unwrap().text, "There are no requests in the box.");
    let refused = differ(&aggregators[0], v1::DifferRequest { lower: Some(2.0), upper: Some(1.0), ..asked }).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "lower: 2 is not below upper, which is 1"));
    let scope = Some(v1::Scope { node_id: "nope".into(), ..v1::Scope::default() });
    let unknown = differ(&aggregators[0], v1::DifferRequest { scope, ..v1::DifferRequest::default() }).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}
