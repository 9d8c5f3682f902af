//! What the server says of a second beside the second itself, and how it hands the second on.

use starling_proto::{live, v1};

use super::{OfSource, distribution::distribution, minute::LastMinute};

/// The parts of a second for the page. Histograms are some 20 kB and the page draws only one of them, which [`judged`]
/// has in a few rows.
pub(crate) fn without_histograms(sections: &v1::Sections) -> v1::Sections {
    let mut shown = sections.clone();
    if let Some(traffic) = &mut shown.traffic {
        let protocols = traffic.protocols.iter_mut().filter_map(|protocol| protocol.latency.as_mut());
        for latency in traffic.latency.iter_mut().chain(&mut traffic.latency_last_minute).chain(protocols) {
            latency.histogram.clear();
        }
    }
    shown
}

/// The last minute's latency for drawing, how each protocol is doing, the minute's connections, and the verdict.
pub(crate) fn judged(
    traffic: Option<&v1::Traffic>,
    minute: &LastMinute,
    verdict: live::Verdict,
    alerts: &OfSource,
) -> live::Judged {
    let last_minute = traffic.and_then(|traffic| traffic.latency_last_minute.as_ref());
    let severity = |is: &v1::ProtocolTraffic| alerts.protocol(&is.protocol).into();
    live::Judged {
        distribution: last_minute
            .map(|latency| distribution(&latency.histogram))
            .filter(|distribution| !distribution.counts.is_empty())
            .map(Into::into),
        protocols: traffic.map(|traffic| traffic.protocols.iter().map(severity).collect()).unwrap_or_default(),
        verdict: Some(verdict),
        attempts: attempts(minute),
    }
}

/// What became of the connections of the last minute; nothing when no node reported it.
fn attempts(minute: &LastMinute) -> Option<live::Attempts> {
    let from = minute.connections;
    let reported = from.opened.is_some() || from.failed.is_some();
    reported.then_some(live::Attempts { opened: from.opened, failed: from.failed, reset: from.reset })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{
        Source,
        alerts::{Alerts, tests::alert},
        fleet::ShownFleet,
    };
    use starling_proto::{group::Group, histogram::HistogramSum};

    /// A second with a histogram wherever there can be one.
    fn traffic() -> v1::Traffic {
        let mut sum = HistogramSum::new();
        sum.record(2_000_000, 3);
        let histogram = sum.to_histogram().encode();
        let latency = || Some(v1::Latency { count: 3.0, histogram: histogram.clone(), ..Default::default() });
        let protocol = |name: &str, errors: f64| v1::ProtocolTraffic {
            protocol: name.to_owned(),
            requests_per_second: Some(100.0),
            errors_per_second: Some(errors),
            latency: latency(),
            ..Default::default()
        };
        v1::Traffic {
            latency: latency(),
            latency_last_minute: latency(),
            protocols: vec![protocol("http1", 0.0), protocol("grpc", 10.0)],
            ..Default::default()
        }
    }

    #[test]
    fn histograms_stay_behind_and_nothing_else_does() {
        let sections = v1::Sections {
            traffic: Some(traffic()),
            memory: Some(v1::Memory { total_bytes: Some(5.0), ..Default::default() }),
            ..Default::default()
        };
        let shown = without_histograms(&sections);
        assert_eq!(shown.memory, sections.memory);
        let traffic = shown.traffic.unwrap();
        let protocols = traffic.protocols.iter().filter_map(|is| is.latency.as_ref());
        let latencies: Vec<_> = traffic.latency.iter().chain(&traffic.latency_last_minute).chain(protocols).collect();
        assert_eq!(latencies.len(), 4);
        assert!(latencies.iter().all(|is| is.histogram.is_empty() && is.count == 3.0));
    }

    #[test]
    fn severities_are_in_the_order_of_the_protocols() {
        let mut alerts = Alerts::default();
        let mut open = alert("1", "errors", "", v1::AlertSeverity::Error);
        let grpc = v1::AlertAttribute { key: "protocol".into(), value: "grpc".into() };
        open.episode.as_mut().unwrap().attributes.push(grpc);
        alerts.apply(v1::AlertsUpdate { whole: true, changed: vec![open], ..Default::default() });
        let alerts = alerts.of(&Source::Cluster(Group::cluster()), &ShownFleet::default());
        let judged = judged(Some(&traffic()), &LastMinute::default(), live::Verdict::default(), &alerts);
        assert_eq!(judged.protocols, [live::Severity::Ok as i32, live::Severity::Error as i32]);
        assert_eq!(judged.distribution.unwrap().counts.iter().sum::<f64>(), 3.0);
    }

    #[test]
    fn without_requests_only_the_verdict_is_said() {
        let verdict = live::Verdict { word: "Healthy".into(), ..Default::default() };
        let judged = judged(None, &LastMinute::default(), verdict, &OfSource::default());
        assert_eq!((judged.distribution, judged.protocols.len()), (None, 0));
        assert_eq!(judged.verdict.unwrap().word, "Healthy");
    }
}
