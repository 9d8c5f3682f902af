use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::{
    super::observation::{AttributeValue, Identity, Reading},
    *,
};

const NOW: Duration = Duration::from_secs(1_000);

fn seconds(n: u64) -> Duration {
    NOW + Duration::from_secs(n)
}

fn attributes<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<Attribute<'a>> {
    pairs.iter().map(|(key, value)| Attribute { key, value: AttributeValue::Text((*value).into()) }).collect()
}

/// Requests, and the count and sum of durations, of each row.
type Seen = BTreeMap<(String, String), (u64, u64, u128)>;

fn cut(services: &mut Services, now: Duration) -> Seen {
    let mut samples = Vec::new();
    services.cut(now, &mut samples);
    let names: HashSet<_> = samples.iter().map(|sample| sample.series.clone()).collect();
    assert_eq!(names.len(), samples.len(), "no series stands twice");
    let mut seen = Seen::new();
    for sample in samples {
        let of = |key| sample.series.attribute(key).unwrap().to_owned();
        let row = seen.entry((of("service"), of("route"))).or_default();
        match sample.value {
            Value::Counter(n) => row.0 += n,
            Value::Histogram(durations) => (row.1, row.2) = (durations.count(), durations.sum()),
            Value::Gauge(_) => panic!("no gauge is sent"),
        }
    }
    seen
}

fn named_rows(seen: &Seen) -> Vec<(&str, &str, u64)> {
    seen.iter().map(|((service, route), row)| (service.as_str(), route.as_str(), row.0)).collect()
}

fn record(services: &mut Services, service: &str, route: &str, n: u64, now: Duration) {
    services.record(named(service, route), Status::Success, &Histogram::of(1_000, n), now, || Ok(())).unwrap();
}

#[test]
fn a_route_is_what_the_server_calls_it() {
    let of = |pairs: &[(&'static str, &'static str)]| route(&attributes(pairs)).map(Cow::into_owned);
    assert_eq!(of(&[("http.route", "/users/{id}"), ("url.path", "/users/7")]).as_deref(), Some("/users/{id}"));
    // As the agents of Python send it with their default conventions.
    assert_eq!(of(&[("http.target", "/item/{number}"), ("http.flavor", "1.1")]).as_deref(), Some("/item/{number}"));
    for path in ["/users/7", "/a/0f8fad5b-d9cb-469f-a165-70867728950e", "http://x/", "/a%20b", "/a#b"] {
        assert_eq!(of(&[("http.target", path)]), None, "{path}");
    }
    assert_eq!(of(&[("handler", "/cart")]).as_deref(), Some("/cart"));
    assert_eq!(of(&[("rpc.service", "shop.Cart"), ("rpc.method", "Add")]).as_deref(), Some("shop.Cart/Add"));
    assert_eq!(of(&[("rpc.service", "shop.Cart"), ("rpc.method", "shop.Cart/Add")]).as_deref(), Some("shop.Cart/Add"));
    assert_eq!(of(&[("grpc_method", "Add"), ("grpc_service", "shop.Cart")]).as_deref(), Some("shop.Cart/Add"));
    assert_eq!(of(&[("uri", "/users/{id}"), ("outcome", "SUCCESS")]).as_deref(), Some("/users/{id}"), "Micrometer");
    for pairs in
        [&[("uri", "/users/7")], &[("url.path", "/users/7")], &[("http.target", "/a?b")], &[("http.route", "")]]
    {
        assert_eq!(of(pairs), None, "{pairs:?}");
    }
}

#[test]
fn who_gives_no_name_is_unknown_and_long_names_are_one_row() {
    let long = "r".repeat(200);
    let of = |service, route: &str| {
        let identity = Identity { key: 1, family: 1, sender: 1, start_unix_ns: 0, time_unix_ns: 0 };
        let attributes = attributes(&[("http.route", route)]);
        let reading = Reading::Level(None);
        row(&Observation { metric: "m", unit: "s", service, own: false, attributes, identity, reading })
    };
    assert_eq!(of(None, ""), named("unknown_service", ""));
    assert_eq!(of(Some(""), "/a"), named("unknown_service", "/a"));
    assert_eq!(of(Some("shop"), &long), of(Some("shop"), &format!("{long}2")), "as they are sent");
}

#[test]
fn beyond_the_bounds_the_rest_is_exact() {
    let mut services = Services::new(4);
    for (service, route, n) in [
        ("a", "/1", 1),
        ("a", "/2", 2),
        ("a", "/3", 4),
        ("b", "/1", 8),
        ("c", "/1", 16),
        ("d", "/1", 32),
        ("a", "/1", 64),
    ] {
        record(&mut services, service, route, n, NOW);
    }
    let seen = cut(&mut services, NOW);
    // Two of the four routes are as many as one service may have.
    let wanted = [("a", "/1", 65), ("a", "/2", 2), ("a", OTHER, 4), ("b", "/1", 8), ("c", "/1", 16), ("d", OTHER, 32)];
    assert_eq!(named_rows(&seen), wanted);
    assert_eq!((services.take_in_other(), services.take_in_other(), services.len()), (36, 0, 6));
    for i in 0..SERVICES_MAX + 3 {
        record(&mut services, &format!("s{i}"), "/", 1, NOW);
    }
    record(&mut services, OTHER, "/of a service that calls itself so", 1, NOW);
    let seen = cut(&mut services, NOW);
    assert_eq!(seen[&(OTHER.to_owned(), OTHER.to_owned())].0, 3 + 4 + 1, "four are known already");
    assert_eq!(seen.values().map(|row| row.0).sum::<u64>(), SERVICES_MAX as u64 + 4);
}

#[test]
fn room_that_appears_later_is_for_later_requests() {
    let mut services = Services::new(1);
    record(&mut services, "a", "/old", 1, NOW);
    record(&mut services, "a", "/new", 2, NOW);
    assert_eq!(named_rows(&cut(&mut services, NOW)), [("a", "/old", 1), ("a", OTHER, 2)]);
    record(&mut services, "a", "/new", 4, seconds(170));
    assert_eq!(named_rows(&cut(&mut services, seconds(170))), [("a", "/old", 0), ("a", OTHER, 4)]);
    // Nothing is heard of the old one any more.
    assert_eq!(named_rows(&cut(&mut services, seconds(181))), [("a", OTHER, 0)]);
    record(&mut services, "a", "/new", 8, seconds(181));
    assert_eq!(named_rows(&cut(&mut services, seconds(181))), [("a", "/new", 8), ("a", OTHER, 0)]);
}

#[test]
fn a_row_says_0_until_it_is_silent_for_long_and_failures_from_the_start() {
    let mut services = Services::new(10);
    services.admit(named("a", "/"), Status::Success, NOW);
    let mut samples = Vec::new();
    services.cut(NOW, &mut samples);
    let shown: Vec<_> =
        samples.iter().map(|sample| (sample.series.attribute("status").unwrap(), &sample.value)).collect();
    assert_eq!(shown, [("2xx", &Value::Counter(0)), ("5xx", &Value::Counter(0))], "no durations are known");
    services.count(named("a", "/"), Status::Error, 3, NOW);
    assert_eq!(named_rows(&cut(&mut services, NOW)), [("a", "/", 3)]);
    assert_eq!(cut(&mut services, NOW + PRESENT_MAX).len(), 1);
    assert!(cut(&mut services, NOW + PRESENT_MAX * 2).is_empty() && services.len() == 0);
    services.count(named("a", "/"), Status::Ok, 5, NOW);
    assert_eq!(named_rows(&cut(&mut services, NOW + PRESENT_MAX * 2)), [("a", "/", 5)], "what counts is not forgotten");
}

#[test]
fn what_is_refused_elsewhere_counts_nowhere() {
    let mut services = Services::new(10);
    let refused = Err(Refusal::OutOfRange("the count"));
    let durations = Histogram::of(1, 3);
    services.record(named("a", "/"), Status::Ok, &durations, NOW, || refused).unwrap_err();
    assert_eq!(cut(&mut services, NOW).into_values().collect::<Vec<_>>(), [(0, 0, 0)]);
}

proptest! {
    /// Whatever comes, in whatever order, with rows that come and go: each request is in one row.
    #[test]
    fn the_rows_are_the_traffic(
        most in 1usize..6,
        steps in proptest::collection::vec((0u64..90, 0usize..5, 0usize..6, 0usize..7, 1u64..100, any::<bool>()), 1..200),
    ) {
        let mut services = Services::new(most);
        let (mut now, mut requests, mut timed, mut sum) = (NOW, 0u64, 0u64, 0u128);
        let (mut counted, mut counted_timed, mut counted_sum) = (0u64, 0u64, 0u128);
        let mut add = |seen: &Seen| for row in seen.values() {
            counted += row.0;
            counted_timed += row.1;
            counted_sum += row.2;
        };
        for (pause, service, route, status, n, with_durations) in steps {
            if pause > 0 {
                add(&cut(&mut services, now));
                now += Duration::from_secs(pause);
            }
            let row = named(["a", "b", "c", "d", OTHER][service], ["", "/1", "/2", "/3", "/4", OTHER][route]);
            let row = services.admit(row, Status::ALL[status], now);
            if with_durations {
                let durations = Histogram::of(n * 1_000, n);
                sum += durations.sum();
                timed += n;
                services.record(row, Status::ALL[status], &durations, now, || Ok(())).unwrap();
            } else {
                services.count(row, Status::ALL[status], n, now);
            }
            requests += n;
            let rows = services.rows.keys().filter(|row| !is_rest(row)).count();
            prop_assert!(rows <= most && services.rows.len() <= most + 5);
        }
        add(&cut(&mut services, now));
        prop_assert_eq!((counted, counted_timed, counted_sum), (requests, timed, sum));
    }
}
