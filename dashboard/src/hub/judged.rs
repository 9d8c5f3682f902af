//! What the server says of a second beside the second itself, and how it hands the second on.

use starling_proto::{live, v1};

use super::{distribution::distribution, verdict};

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

/// The last minute's latency for drawing, how each protocol is doing, and the verdict.
pub(crate) fn judged(traffic: Option<&v1::Traffic>, verdict: live::Verdict) -> live::Judged {
    let last_minute = traffic.and_then(|traffic| traffic.latency_last_minute.as_ref());
    let severity =
        |is: &v1::ProtocolTraffic| verdict::of_protocol(is.requests_per_second(), is.errors_per_second()).into();
    live::Judged {
        distribution: last_minute
            .map(|latency| distribution(&latency.histogram))
            .filter(|distribution| !distribution.counts.is_empty())
            .map(Into::into),
        protocols: traffic.map(|traffic| traffic.protocols.iter().map(severity).collect()).unwrap_or_default(),
        verdict: Some(verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::histogram::HistogramSum;

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
        let judged = judged(Some(&traffic()), live::Verdict::default());
        assert_eq!(judged.protocols, [live::Severity::Ok as i32, live::Severity::Error as i32]);
        assert_eq!(judged.distribution.unwrap().counts.iter().sum::<f64>(), 3.0);
    }

    #[test]
    fn without_requests_only_the_verdict_is_said() {
        let judged = judged(None, live::Verdict { word: "Healthy".into(), ..Default::default() });
        assert_eq!((judged.distribution, judged.protocols.len()), (None, 0));
        assert_eq!(judged.verdict.unwrap().word, "Healthy");
    }
}
