//! Three aggregators, all started again at once: how smoothly the nodes come back.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use starling_tests::{Cost, Issuer, Program, swarm::Template};
use tokio::time::sleep;

/// Columns of the table.
pub(crate) const HEAD: &str = "\
| nodes | all back after, s | most taken in 100 ms | mean of that time | connections begun a node, mean, most | redirects | broke | cores until back, all three | unacknowledged 20 s later, a node | lost, refused |
|---|---|---|---|---|---|---|---|---|---|";

/// How often it is looked how many are back.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// They count as lost when they are not back after this.
const LONGEST: Duration = Duration::from_secs(180);

/// Loads three aggregators, kills all of them and starts them again at their addresses.
pub(crate) async fn run(
    path: &Path,
    issuer: Option<&Issuer>,
    nodes: usize,
    templates: &[Arc<Template>],
) -> Result<(String, Value), Box<dyn std::error::Error>> {
    let mut aggregators = crate::three(path, issuer).await;
    let swarm = crate::swarm(&aggregators, issuer, nodes, templates);
    sleep(crate::ramp(nodes)).await;
    let before = swarm.counts();
    swarm.reset();
    let began = Instant::now();
    aggregators.iter_mut().for_each(Program::kill);
    // By this thread: with the thread that starts it a program ends.
    aggregators.iter_mut().for_each(Program::start_again);
    let ids: Vec<u32> = aggregators.iter().map(Program::id).collect();
    // Those that came while the last of them was still starting are in no hundred milliseconds.
    let (mut taken, mut last) = (Vec::new(), swarm.counts().connected);
    while last < nodes && began.elapsed() < LONGEST {
        sleep(LOOK_EVERY).await;
        let connected = swarm.counts().connected;
        taken.push(connected.saturating_sub(last));
        last = connected;
    }
    let took = began.elapsed().as_secs_f64();
    let used = ids.iter().map(|&id| Cost::of(id)).collect::<Result<Vec<_>, _>>()?;
    let used: f64 = used.iter().map(|cost| cost.processor.as_secs_f64()).sum();
    let counts = swarm.counts();
    sleep(Duration::from_secs(20)).await;
    let later = swarm.counts();
    let most = taken.iter().max().copied().unwrap_or(0);
    let mean = taken.iter().sum::<usize>() as f64 / taken.len().max(1) as f64;
    let begun = counts.attempts as f64 / nodes as f64;
    let unacked = later.unacked as f64 / nodes as f64;
    let row = format!(
        "| {nodes} | {took:.1}{} | {most} | {mean:.0} | {begun:.2}, {} | {} | {} | {:.2} | {unacked:.1} | {}, {} |",
        if last < nodes { format!(" ({last} of them)") } else { String::new() },
        counts.attempts_max,
        counts.redirects,
        counts.broken,
        used / took,
        later.lost,
        later.refused,
    );
    for trouble in &later.troubles {
        eprintln!("{nodes} nodes: {trouble}");
    }
    let line = json!({
        "restart": true, "nodes": nodes, "connected_before": before.connected, "back_after_s": took, "taken": taken,
        "attempts": counts.attempts, "attempts_max": counts.attempts_max, "redirects": counts.redirects, "broken": counts.broken,
        "processor_s": used, "unacked_later": later.unacked, "lost": later.lost, "refused": later.refused,
    });
    Ok((row, line))
}
