//! The state folder of a running aggregator is deleted, or another one stands in its place: the live view goes on, it says so
//! plainly, it claims nothing that is not so, and it goes on where that is possible.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::fs;

use starling_proto::v1;
use starling_tests::{Cluster, Oracle, Program, Scrape, eventually, http_get};

const PAUSED: &str = "starling_aggregator_history_paused";
const NEXT_STEP: &str = "put it back or start this process again";

/// Waits for a live view that is of now, whole, and on so many disks.
async fn is_live(cluster: &Cluster, on_disk: u32) {
    eventually("a live view", async || {
        let view = cluster.view(0, 0).await?;
        let whole = view.completeness.as_ref().is_some_and(|completeness| {
            completeness.nodes_reporting == Some(1) && completeness.copies_on_disk == Some(on_disk)
        });
        let is_new = view.tick + 3 >= Oracle::now();
        if whole && is_new {
            Ok(())
        } else {
            Err(format!("{} at {}: {:?}", view.tick, Oracle::now(), view.completeness))
        }
    })
    .await;
}

/// Waits until readiness, metrics, the list of aggregators and the log all say whether the history is written.
async fn says(cluster: &Cluster, written: bool) {
    let aggregator = &cluster.aggregators[0];
    eventually(&format!("written {written}"), async || {
        let (status, body) = http_get(aggregator.address("admin"), "/ready").await?;
        let paused = Scrape::of(aggregator.address("admin")).await?.sum(PAUSED);
        let mut client = starling_service::grpc::cluster_client::ClusterClient::connect(aggregator.url("grpc"))
            .await
            .map_err(|error| error.to_string())?;
        let list = client.list_aggregators(v1::ListAggregatorsRequest {}).await.map_err(|status| status.to_string())?;
        let store = list.into_inner().aggregators.remove(0).history_store.ok_or("no store")?;
        let all = if written {
            (status, body.trim(), paused) == (200, "ready", 0.0) && store.paused_since_tick == 0
        } else {
            // Frames and questions are taken: it is in service, and a person should look.
            let told = status == 200 && body.starts_with("ready, but: the history is not written");
            told && body.contains(NEXT_STEP) && paused > 0.0 && store.paused_reason.contains(NEXT_STEP)
        };
        if all { Ok(()) } else { Err(format!("{status} {body}, metric {paused}, {store:?}")) }
    })
    .await;
    let log = aggregator.log();
    let line = if written { "the history is written again" } else { "the history is paused" };
    assert!(log.contains(line), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_folder_that_is_moved_away_replaced_or_deleted_is_told_and_stops_nothing_else() {
    let mut cluster = Cluster::start(1).await;
    let _node = Program::daemon("web-1", &cluster.seeds(), &[]);
    is_live(&cluster, 1).await;
    let state = cluster.aggregators[0].folder().join("state");
    let away = cluster.aggregators[0].folder().join("away");

    fs::rename(&state, &away).unwrap();
    says(&cluster, false).await;
    is_live(&cluster, 0).await;
    fs::rename(&away, &state).unwrap();
    says(&cluster, true).await;
    is_live(&cluster, 1).await;

    // Deleted, and an empty one made in its place, as a hurried person does.
    fs::remove_dir_all(&state).unwrap();
    says(&cluster, false).await;
    fs::create_dir_all(state.join("history/log")).unwrap();
    is_live(&cluster, 0).await;
    says(&cluster, false).await;
    assert_eq!(
        fs::read_dir(state.join("history/log")).unwrap().count(),
        0,
        "nothing is begun in a folder that is not ours"
    );

    // The next step that it names.
    cluster.aggregators[0].stop().await;
    cluster.aggregators[0].start_again();
    is_live(&cluster, 1).await;
    let (status, body) = http_get(cluster.aggregators[0].address("admin"), "/ready").await.unwrap();
    assert_eq!((status, body.trim()), (200, "ready"));
}
