//! The whole receiver, by any sender.

use proptest::prelude::*;
use starling_proto::{catalogue, series::Value};

use super::{
    observation::{AttributeValue, Identity},
    point::{Buckets, Point},
    *,
};

const START: u64 = 1_700_000_000;

fn at(second: u64) -> Moment {
    Moment { unix_ns: (START + second) * 1_000_000_000, monotonic: Duration::from_secs(1_000 + second) }
}

/// What one step of a sender is.
#[derive(Debug, Clone)]
struct Step {
    pause: u64,
    sender: usize,
    route: usize,
    status: usize,
    requests: u64,
    form: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u64..40, 0usize..6, 0usize..7, 0usize..5, 0u64..50, 0usize..5).prop_map(
        |(pause, sender, route, status, requests, form)| Step { pause, sender, route, status, requests, form },
    );
    proptest::collection::vec(step, 1..120)
}

/// Requests, errors, and the count and sum of durations.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    requests: u64,
    errors: u64,
    durations: u64,
    sum: u128,
}

fn count(samples: &[Sample], traffic: &mut Counted, services: &mut Counted) {
    for Sample { series, value } in samples {
        let durations = |counted: &mut Counted| {
            let Value::Histogram(histogram) = value else { panic!("{series}") };
            counted.durations += histogram.count();
            counted.sum += histogram.sum();
        };
        let number = if let Value::Counter(n) = value { *n } else { 0 };
        if series.is(&catalogue::REQUESTS) {
            traffic.requests += number;
        } else if series.is(&catalogue::ERRORS) {
            traffic.errors += number;
        } else if series.is(&catalogue::DURATION) {
            durations(traffic);
        } else if series.is(&catalogue::SERVICE_REQUESTS) {
            services.requests += number;
            services.errors += number * u64::from(matches!(series.attribute("status"), Some("5xx" | "error")));
        } else if series.is(&catalogue::SERVICE_DURATION) {
            durations(services);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever sends what in whichever form, on time or a minute at once: services and routes add up to the traffic.
    #[test]
    fn services_add_up_to_the_traffic(steps in steps(), routes in 1usize..8) {
        let limits = ReceiverLimits { series: 50, routes, streams: 500, stale_after: Duration::from_secs(60) };
        let mut receiver = AppReceiver::new(limits, Mapping::defaults(), at(0));
        let (mut traffic, mut services, mut now) = (Counted::default(), Counted::default(), 10u64);
        let mut totals = std::collections::HashMap::<(usize, usize, usize), u64>::new();
        let mut taken = 0u64;
        for Step { pause, sender, route, status, requests, form } in steps {
            for _ in 0..pause {
                let mut samples = Vec::new();
                receiver.cut(at(now), 1, &mut samples);
                count(&samples, &mut traffic, &mut services);
                now += 1;
            }
            let service = [Some("shop"), Some("cart"), Some("mail"), None, Some("_other"), Some("starling-own")][sender];
            let route_name = ["/", "/a", "/b", "/c", "/d", "/e", ""][route];
            let (key, value) = [("http.response.status_code", "200"), ("code", "503"), ("error.type", "E"), ("x", "y"),
                ("grpc_code", "Internal")][status];
            let attributes = [("http.route", route_name), (key, value)];
            let attributes = attributes.map(|(key, value)| Attribute { key, value: AttributeValue::Text(value.into()) });
            let stream = (form * 1_000 + sender * 100 + route * 10 + status) as u128;
            let identity = |start: u64| Identity {
                key: stream, family: 0, sender: sender as u128 + 1, start_unix_ns: start, time_unix_ns: at(now).unix_ns,
            };
            // Each second, each ten, or since the start.
            let since = [1, 10, 60, 1, 1][form].min(now);
            let start = at(now - since).unix_ns;
            let point = |count: u64, start: u64| Point {
                start_unix_ns: start, time_unix_ns: at(now).unix_ns, count, sum: Some(count as f64 * 0.2), min: None,
                max: None, peak: None, buckets: Buckets::explicit(vec![0.1, 0.5], vec![0, count, 0]).unwrap(),
            };
            let (metric, identity, reading) = match form {
                0 | 1 => ("http.server.request.duration", identity(start), Reading::Histogram(point(requests, start), Temporality::Delta)),
                2 => {
                    let total = totals.entry((sender, route, status)).or_default();
                    *total += requests;
                    let start = at(1).unix_ns;
                    ("http.server.request.duration", identity(start), Reading::Histogram(point(*total, start), Temporality::Cumulative))
                }
                3 => ("http_requests_total", identity(0), Reading::Counter(Number::Integer(requests as i64), Temporality::Delta)),
                _ => ("gunicorn.request.duration", identity(0), Reading::Values(Histogram::of(7_000_000, requests))),
            };
            let own = service == Some("starling-own");
            let attributes = attributes.to_vec();
            let observation = Observation { metric, unit: "", service, own, attributes, identity, reading };
            taken += u64::from(receiver.take(observation, at(now)).is_ok());
        }
        let mut samples = Vec::new();
        receiver.last_cut(at(now), &mut samples);
        count(&samples, &mut traffic, &mut services);
        prop_assert!(taken > 0);
        prop_assert_eq!(traffic, services);
    }
}
