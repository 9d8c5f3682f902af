use std::time::Duration;

use super::*;

crate::metrics! {
    /// What a test counts.
    struct Metrics {
        /// Things seen.
        things: Counter = "test_things";
        /// Things lost, by reason. They
        /// are gone.
        lost: By<Counter> = "test_lost_things", label "reason";
        /// Clients now, by kind.
        clients: By<Gauge> = "test_clients", label "kind";
        /// How late it is.
        delay: Gauge = "test_delay", unit Seconds;
        /// Bytes sent.
        sent: Counter = "test_sent", unit Bytes;
        /// How long it took.
        took: Durations = "test_took", unit Seconds;
    }
}

fn filled() -> (Registry, Metrics) {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    metrics.things.add(3);
    metrics.lost.of("late").inc();
    metrics.clients.of("json").add(2.0);
    metrics.clients.of("json").add(-1.0);
    metrics.delay.set(0.25);
    metrics.sent.add(7);
    metrics.took.record(Duration::from_millis(3));
    (registry, metrics)
}

#[test]
fn every_row_has_help_type_and_value() {
    let (registry, _) = filled();
    let text = registry.render();
    for line in [
        "# HELP test_things_total Things seen.",
        "# TYPE test_things_total counter",
        "test_things_total 3",
        "# HELP test_lost_things_total Things lost, by reason. They are gone.",
        "test_lost_things_total{reason=\"late\"} 1",
        "test_clients{kind=\"json\"} 1.0",
        "test_delay_seconds 0.25",
        "test_sent_bytes_total 7",
        "# TYPE test_took_seconds histogram",
        "test_took_seconds_bucket{le=\"0.005\"} 1",
        "test_took_seconds_count 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line:?} is not in\n{text}");
    }
    for row in Metrics::rows() {
        assert!(text.contains(&format!("# TYPE {} {}", row.full_name(), row.kind)), "{}", row.full_name());
    }
}

#[test]
fn the_build_and_the_process_are_shown() {
    let text = Registry::default().render();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(text.lines().any(|line| line.starts_with("starling_build_info{") && line.contains(&version)), "{text}");
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    };
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_resident_memory_bytes") > 100_000.0);
    assert!((3.0..=value("process_max_fds")).contains(&value("process_open_fds")));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 3_600.0..=now + 2.0).contains(&value("process_start_time_seconds")), "started within the hour");
}

#[test]
fn two_services_of_one_process_count_apart_and_say_which_they_are() {
    let mut first = Registry::of_service("aggregator", "agg-1");
    let mut second = Registry::of_service("aggregator", "agg-2");
    let (one, two) = (Metrics::new(&mut first), Metrics::new(&mut second));
    one.things.add(1);
    two.things.add(20);
    assert!(
        first.render().contains("test_things_total{service=\"aggregator\",name=\"agg-1\"} 1\n"),
        "{}",
        first.render()
    );
    assert!(second.render().contains("test_things_total{service=\"aggregator\",name=\"agg-2\"} 20\n"));
}

#[test]
fn the_reference_has_a_line_a_metric() {
    let text = reference(&Metrics::rows());
    assert!(
        text.contains("| `test_lost_things_total` | counter | `reason` | Things lost, by reason. They are gone. |")
    );
    assert_eq!(text.lines().count(), 2 + Metrics::rows().len());
}
