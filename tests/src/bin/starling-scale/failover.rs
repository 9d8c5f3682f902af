//! Three aggregators, one killed: how long the others are silent, and what it costs them.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use starling_tests::{
    Cost, Issuer, Program, Scrape,
    swarm::{Seen, Template, Watch},
};
use tokio::time::sleep;

use crate::table::{mib, now, quantile_ms, since};

/// Columns of the table.
pub(crate) const HEAD: &str = "\
| nodes | held by the killed one | cores before, of each | first view after p99 before, ms | longest silence, s | views whole again after, s | seconds never whole | longest ledger step of the others at most, ms | cores after, of the others | RSS of the others, MiB | raw entries | lost, refused |
|---|---|---|---|---|---|---|---|---|---|---|---|";

/// Loads three aggregators, kills the first and watches the others for `seconds`.
pub(crate) async fn run(
    path: &Path,
    issuer: Option<&Issuer>,
    nodes: usize,
    templates: &[Arc<Template>],
    seconds: Duration,
) -> Result<(String, Value), Box<dyn std::error::Error>> {
    let mut aggregators = crate::three(path, issuer).await;
    let swarm = crate::swarm(&aggregators, issuer, nodes, templates);
    sleep(crate::ramp(nodes)).await;
    let watch = |aggregator: &Program| Watch::start(aggregator.address("grpc"), crate::reader(issuer));
    let watches: Vec<Watch> = aggregators[1..].iter().map(watch).collect();
    sleep(Duration::from_secs(2)).await;

    swarm.reset();
    let ids: Vec<u32> = aggregators.iter().map(Program::id).collect();
    let costs = || ids.iter().map(|&id| Cost::of(id)).collect::<Result<Vec<_>, _>>();
    let (from, start, before) = (now() + 1, Instant::now(), costs()?);
    sleep(Duration::from_secs(10)).await;
    let (wall, middle) = (start.elapsed().as_secs_f64(), costs()?);
    let cores = |from: &Cost, to: &Cost, wall: f64| (to.processor - from.processor).as_secs_f64() / wall;
    let cores_before: Vec<f64> = before.iter().zip(&middle).map(|(a, b)| cores(a, b, wall)).collect();
    let held = swarm.counts().by.get("agg-1").copied().unwrap_or(0);

    let mut said = Vec::new();
    for survivor in &aggregators[1..] {
        said.push(Scrape::of(survivor.address("admin")).await?);
    }
    let killed_at = now();
    aggregators[0].kill();
    let (start, ids) = (Instant::now(), &ids[1..]);
    sleep(seconds).await;
    let wall = start.elapsed().as_secs_f64();
    let after = ids.iter().map(|&id| Cost::of(id)).collect::<Result<Vec<_>, _>>()?;
    let cores_after: Vec<f64> = middle[1..].iter().zip(&after).map(|(a, b)| cores(a, b, wall)).collect();
    let (mut steps, mut raws) = (Vec::new(), 0.0);
    let mut longest = serde_json::Map::new();
    for (i, survivor) in aggregators[1..].iter().enumerate() {
        let says = Scrape::of(survivor.address("admin")).await?;
        let lately = says.since(&said[i]);
        steps.push(lately.quantile("starling_aggregator_ledger_step_seconds", 1.0).unwrap_or(0.0) * 1_000.0);
        raws += says.sum("starling_aggregator_ledger_raws_total");
        longest.extend(
            lately.histograms().map(|name| (format!("{name} of {}", i + 2), lately.quantile(name, 1.0).into())),
        );
    }
    let counts = swarm.counts();
    let seen: Vec<Vec<(u32, Seen)>> = watches.iter().map(|watch| since(watch.seen(), from)).collect();
    let before = |(tick, _): &&(u32, Seen)| *tick < killed_at;
    let view = quantile_ms(seen.iter().flatten().filter(before).map(|(_, seen)| seen.after), 0.99);
    let silence = seen.iter().map(|seen| silence(seen)).fold(0.0, f64::max);
    let whole = seen.iter().map(|seen| whole_again(seen, killed_at, nodes)).fold(0.0, f64::max);
    // The newest seconds may still be on their way.
    let newest = now() - 5;
    let never = |seen: &&(u32, Seen)| seen.0 < newest && (seen.1.last as usize) < nodes;
    let never = seen.iter().map(|seen| seen.iter().filter(never).count()).max().unwrap_or(0);
    let rss: Vec<f64> = after.iter().map(|cost| mib(cost.resident)).collect();
    let row = format!(
        "| {nodes} | {held} | {cores_before:.2?} | {view:.0} | {silence:.1} | {whole:.1} | {never} | {steps:.1?} | {cores_after:.2?} | {rss:.0?} | {raws} | {}, {} |",
        counts.lost, counts.refused
    );
    for trouble in &counts.troubles {
        eprintln!("{nodes} nodes: {trouble}");
    }
    let line = json!({
        "kill": true, "nodes": nodes, "held": held, "cores_before": cores_before, "view_p99_ms": view, "silence_s": silence,
        "whole_after_s": whole, "never_whole": never, "step_max_ms": steps, "cores_after": cores_after, "rss_mib": rss,
        "raws": raws, "lost": counts.lost, "refused": counts.refused, "connected": counts.connected, "by": counts.by,
        "unacked": counts.unacked, "longest_seconds": longest,
    });
    Ok((row, line))
}

/// The longest time between the first views of two seconds that follow each other.
fn silence(seen: &[(u32, Seen)]) -> f64 {
    let at = |&(tick, seen): &(u32, Seen)| f64::from(tick) + seen.after.as_secs_f64();
    seen.windows(2).map(|pair| at(&pair[1]) - at(&pair[0])).fold(0.0, f64::max)
}

/// From the kill until every second is whole when it is first shown.
fn whole_again(seen: &[(u32, Seen)], killed_at: u32, nodes: usize) -> f64 {
    let broken = seen.iter().rev().find(|(tick, seen)| *tick >= killed_at && (seen.first as usize) < nodes);
    broken.map_or(0.0, |(tick, seen)| f64::from(tick - killed_at) + 1.0 + seen.after.as_secs_f64())
}
