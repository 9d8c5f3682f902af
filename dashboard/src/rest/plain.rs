//! `/api/v1/verdict`: the verdict and what stands behind it as plain text, for a terminal. `/` is the same for who does not
//! ask for a page.

use std::fmt::Write as _;

use axum::{
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use starling_proto::v1;

use super::{
    alerts::{severity, state},
    parameters::{Parameters, SCOPE},
    readers::Readers,
    time::rfc3339,
};
use crate::{
    error::ApiError,
    hub::{Reading, Standing, UnixMillis, age_ms, verdict_text},
    shared::now,
    terminal_text::harmless,
};

/// Alerts that are listed; the others are counted.
const ALERTS_MAX: usize = 10;

/// A text, also when it is an error.
pub(super) async fn answer(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Response {
    let (status, text) = match read(&readers, &query).await {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (error.status(), format!("{}\n", harmless(error.message()))),
    };
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::VARY, "accept")], text).into_response()
}

async fn read(readers: &Readers, query: &Parameters) -> Result<String, ApiError> {
    query.only(&SCOPE)?;
    let (_lease, reading) = readers.newest(&query.source()?).await?;
    Ok(text(&reading, now()))
}

fn text(reading: &Reading, now: UnixMillis) -> String {
    let (second, verdict) = (&reading.second, &reading.verdict);
    let mut lines = vec![harmless(&format!("{}: {}", verdict.word, verdict_text(verdict)))];
    let age = f64::from(age_ms(second.tick(), now)) / 1e3;
    let counted = second
        .completeness()
        .map_or_else(String::new, |is| format!("{} of {} nodes, ", is.nodes_reporting(), is.nodes_expected()));
    lines.push(format!("second    {}, {counted}{age:.1} s old", rfc3339(second.tick())));
    lines.push(format!("requests  {}", requests(second.traffic())));
    let share = |is: Option<f64>| is.map_or_else(|| "unknown".to_owned(), |is| format!("{:.0} %", is * 100.0));
    let cpu = second.cpu().and_then(|is| is.utilization_ratio);
    let memory = second.memory().and_then(|is| is.used_ratio);
    lines.push(format!("hosts     CPU {}, memory {}", share(cpu), share(memory)));
    lines.extend(alerts(reading));
    lines.push("more      /api/v1 lists what there is; a browser gets the page at this address".to_owned());
    lines.join("\n") + "\n"
}

fn requests(traffic: Option<&v1::Traffic>) -> String {
    let Some(rate) = traffic.and_then(|is| is.requests_per_second) else { return "none reported".to_owned() };
    let mut text = format!("{rate:.1}/s");
    if let Some(ratio) = traffic.and_then(|is| is.error_ratio) {
        let _ = write!(text, ", {:.2} % failed", ratio * 100.0);
    }
    if let Some(latency) = traffic.and_then(|is| is.latency.as_ref()).filter(|is| is.count > 0.0) {
        let _ = write!(text, ", p50 {:.1} ms, p99 {:.1} ms", latency.p50_micros / 1e3, latency.p99_micros / 1e3);
    }
    text
}

fn alerts(reading: &Reading) -> Vec<String> {
    let of = &reading.alerts;
    let open: Vec<_> = of.open().collect();
    let head = match (&of.standing, open.len()) {
        (Standing::Followed, 0) => "none is open".to_owned(),
        (Standing::Followed, n) => format!("{n} open"),
        _ => "not known: the aggregator has not told them".to_owned(),
    };
    let listed = open.iter().take(ALERTS_MAX).map(|alert| {
        let episode = alert.episode.clone().unwrap_or_default();
        let since = rfc3339(episode.fired_tick.unwrap_or(episode.since_tick));
        let line = format!("  {} since {since}, {}: {}", severity(episode.severity()), state(alert), alert.sentence);
        harmless(&line)
    });
    let beyond = open.len().saturating_sub(ALERTS_MAX);
    let beyond = (beyond > 0).then(|| format!("  and {beyond} more: /api/v1/alerts/performance"));
    std::iter::once(format!("alerts    {head}")).chain(listed).chain(beyond).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_proto::live;

    use super::*;
    use crate::hub::{LastMinute, OfSource, Second};

    fn reading(sections: Option<v1::Sections>, alerts: OfSource) -> Reading {
        let completeness = v1::Completeness { nodes_reporting: Some(3), nodes_expected: Some(4), ..Default::default() };
        let view = v1::ClusterView { tick: 60, completeness: Some(completeness), sections, ..Default::default() };
        let second = Second::Cluster(Box::new(view));
        let minute = LastMinute::of(&second);
        let verdict = live::Verdict { word: "Healthy".into(), ..Default::default() };
        Reading { second: Arc::new(second), verdict, alerts, minute }
    }

    #[test]
    fn what_is_unknown_is_not_called_zero() {
        let text = text(&reading(None, OfSource::default()), 62_500);
        assert!(text.starts_with("Healthy: "), "{text}");
        for line in [
            "second    1970-01-01T00:01:00.000Z, 3 of 4 nodes, 2.5 s old",
            "requests  none reported",
            "hosts     CPU unknown, memory unknown",
            "alerts    not known: the aggregator has not told them",
        ] {
            assert!(text.lines().any(|is| is == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn figures_are_in_a_line_each_and_names_cannot_steer_a_terminal() {
        let traffic = v1::Traffic {
            requests_per_second: Some(120.0),
            error_ratio: Some(0.0125),
            latency: Some(v1::Latency { p50_micros: 1_500.0, p99_micros: 41_000.0, count: 9.0, ..Default::default() }),
            ..Default::default()
        };
        let cpu = v1::Cpu { utilization_ratio: Some(0.234), ..Default::default() };
        let sections = v1::Sections { traffic: Some(traffic), cpu: Some(cpu), ..Default::default() };
        let episode = v1::AlertEpisode {
            severity: v1::AlertSeverity::Critical.into(),
            state: v1::AlertState::Firing.into(),
            since_tick: 30,
            ..Default::default()
        };
        let alert = |n: usize| {
            let sentence = format!("disk {n} of \u{1b}[2J\u{202e}web is full");
            Arc::new(v1::Alert { episode: Some(episode.clone()), sentence, ..Default::default() })
        };
        let alerts =
            OfSource { standing: Standing::Followed, list: (0..12).map(alert).collect(), ..OfSource::default() };
        let text = text(&reading(Some(sections), alerts), 62_000);
        for line in [
            "requests  120.0/s, 1.25 % failed, p50 1.5 ms, p99 41.0 ms",
            "hosts     CPU 23 %, memory unknown",
            "alerts    12 open",
            "  critical since 1970-01-01T00:00:30.000Z, firing: disk 0 of \u{fffd}[2J\u{fffd}web is full",
            "  and 2 more: /api/v1/alerts/performance",
        ] {
            assert!(text.lines().any(|is| is == line), "{line} is not in\n{text}");
        }
    }
}
