//! One aggregator alone: processor, memory, lateness.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use starling_tests::{
    Cost, Issuer, Scrape,
    swarm::{Template, Watch},
};
use tokio::time::sleep;

use crate::table::{mib, now, quantile_ms, since};

/// Columns of the table.
pub(crate) const HEAD: &str = "\
| nodes | frames/s | cores | us a frame | RSS, PSS MiB | KiB a node | growth, KiB a node and minute | first view after p50, p99, max ms | complete when first shown | settled p50, p99 ms (own) | longest ledger step at most ms | refused, lost, keyframes, broken | acknowledged p50, p99 ms | driver: cores, sent by p99 ms |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// Measures `nodes` nodes for `seconds`.
pub(crate) async fn run(
    path: (&Path, Option<&Path>),
    issuer: Option<&Issuer>,
    nodes: usize,
    templates: &[Arc<Template>],
    seconds: Duration,
) -> Result<(String, Value), Box<dyn std::error::Error>> {
    let aggregator = crate::aggregator(path, issuer, 1, &[]).await;
    eprintln!("the aggregator answers at {}", aggregator.url("grpc"));
    let empty = Cost::of(aggregator.id())?;
    let aggregators = [aggregator];
    let swarm = crate::swarm(&aggregators, issuer, nodes, templates);
    let [aggregator] = &aggregators;
    sleep(crate::ramp(nodes)).await;
    let watch = Watch::start(aggregator.address("grpc"), crate::reader(issuer));
    sleep(Duration::from_secs(2)).await;

    swarm.reset();
    let admin = aggregator.address("admin");
    let (from, start, before) = (now() + 1, Instant::now(), Cost::of(aggregator.id())?);
    let (own, said) = (Cost::of(std::process::id())?, Scrape::of(admin).await?);
    sleep(seconds).await;
    let (wall, after) = (start.elapsed().as_secs_f64(), Cost::of(aggregator.id())?);
    let own = Cost::of(std::process::id())?.processor.saturating_sub(own.processor);
    let counts = swarm.counts();
    let seen = since(watch.seen(), from);
    let says = Scrape::of(admin).await?;

    let used = after.processor.saturating_sub(before.processor).as_secs_f64();
    let taken = says.sum("starling_aggregator_frames_total") - said.sum("starling_aggregator_frames_total");
    let memory = after.resident.saturating_sub(empty.resident) as f64 / nodes as f64 / 1024.0;
    let growth = (after.resident as f64 - before.resident as f64) / nodes as f64 / 1024.0 / wall * 60.0;
    let whole = seen.iter().filter(|(_, seen)| seen.first as usize >= nodes).count();
    let view = |q| quantile_ms(seen.iter().map(|(_, seen)| seen.after), q);
    let lately = says.since(&said);
    let own_ms = |name, q| lately.quantile(name, q).map_or(0.0, |seconds| seconds * 1_000.0);
    let settle = |q| own_ms("starling_aggregator_settle_delay_seconds", q);
    let step = own_ms("starling_aggregator_ledger_step_seconds", 1.0);
    let (sent, acked) = (counts.sent_after.to_histogram(), counts.acked_after.to_histogram());
    let at = |histogram: &starling_proto::histogram::Histogram, q| histogram.quantile(q).unwrap_or(0) as f64 / 1e6;
    let row = format!(
        "| {nodes} | {:.0} | {:.3} | {:.1} | {:.0}, {:.0} | {memory:.0} | {growth:.1} | {:.0}, {:.0}, {:.0} | {whole} of {} | {:.0}, {:.0} | {step:.1} | {}, {}, {}, {} | {:.0}, {:.0} | {:.3}, {:.0} |",
        taken / wall,
        used / wall,
        used / taken.max(1.0) * 1e6,
        mib(after.resident),
        mib(after.proportional),
        view(0.5),
        view(0.99),
        view(1.0),
        seen.len(),
        settle(0.5),
        settle(0.99),
        counts.refused,
        counts.lost,
        counts.keyframe_requests,
        counts.broken,
        at(&acked, 0.5),
        at(&acked, 0.99),
        own.as_secs_f64() / wall,
        at(&sent, 0.99),
    );
    for trouble in &counts.troubles {
        eprintln!("{nodes} nodes: {trouble}");
    }
    let longest: serde_json::Map<String, Value> =
        lately.histograms().map(|name| (name.to_owned(), lately.quantile(name, 1.0).into())).collect();
    let line = json!({
        "nodes": nodes, "seconds": wall, "frames_per_second": taken / wall, "bytes_per_frame": counts.bytes as f64 / counts.sent.max(1) as f64,
        "cores": used / wall, "us_per_frame": used / taken.max(1.0) * 1e6, "rss": after.resident, "pss": after.proportional,
        "kib_per_node": memory, "growth_kib_per_node_minute": growth, "connected": counts.connected,
        "view_ms": [view(0.5), view(0.99), view(1.0)], "views": seen.len(), "complete": whole,
        "settle_ms": [settle(0.5), settle(0.99)], "step_max_ms": step,
        "refused": counts.refused, "lost": counts.lost, "keyframe_requests": counts.keyframe_requests, "broken": counts.broken,
        "unacked": counts.unacked, "acked_ms": [at(&acked, 0.5), at(&acked, 0.99)],
        "driver_cores": own.as_secs_f64() / wall, "driver_sent_ms": at(&sent, 0.99), "longest_seconds": longest,
    });
    Ok((row, line))
}
