//! The same questions to a real Prometheus on the same samples.
//!
//! Debian's is version 2.42; ours answers as version 3. Samples lie on half seconds and questions on whole ones, so that the
//! two agree on which samples a window holds; subqueries end half a second off their grid for the same reason. Where the difference itself is the question, Prometheus is asked a shifted one
//! that means in version 2 what ours means in version 3: a window is shortened by the millisecond that version 3 leaves out
//! on its left, an expression is told that a dot takes line breaks.

mod beside;
mod store;

use beside::{Outcome, Prometheus, difference, ours};
use starling_promql::Range;
use store::{Store, T0};

/// A number between 0 and 1 that looks random and is always the same.
fn noise(a: i64, b: i64) -> f64 {
    let mixed = (a.wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64) ^ b.wrapping_mul(0x2545_F491_4F6C_DD1D))
        .wrapping_mul(0x5851_F42D_4C95_7F2D);
    (mixed as u64 >> 11) as f64 / (1u64 << 53) as f64
}

/// 40 minutes of a small service: three instances, a sample each 5 s.
fn samples() -> Store {
    let mut store = Store::default();
    let times = || (0..480).map(|i| (i, i as f64 * 5.0 + 0.5));
    for (n, instance) in ["one:10000", "two:10000", "three:10001"].into_iter().enumerate() {
        let n = n as i64;
        for (k, kind) in ["buffers", "cached", "free", "used"].into_iter().enumerate() {
            let value = move |i: i64| (1e9 * (1.0 + noise(n * 10 + k as i64, i / 7)) + (i * 1000) as f64).round();
            store.add(
                "demo_memory_usage_bytes",
                &[("instance", instance), ("job", "demo"), ("type", kind)],
                times().map(|(i, t)| (t, value(i))),
            );
        }
        store.add(
            "demo_num_cpus",
            &[("instance", instance), ("job", "demo")],
            times().map(|(_, t)| (t, (4 << n) as f64)),
        );
        for (m, mode) in ["idle", "user", "system"].into_iter().enumerate() {
            let mut total = 50.0 * (m as f64 + 1.0);
            let mut points = Vec::new();
            for (i, t) in times() {
                // One instance restarts twice.
                total = if n == 1 && (i == 130 || i == 300) {
                    noise(i, 3)
                } else {
                    total + 5.0 * noise(n * 7 + m as i64, i)
                };
                points.push((t, total));
            }
            store.add(
                "demo_cpu_usage_seconds_total",
                &[("instance", instance), ("job", "demo"), ("mode", mode)],
                points,
            );
        }
        store.add(
            "demo_disk_usage_bytes",
            &[("instance", instance), ("job", "demo")],
            times().map(|(i, t)| (t, 1e6 * (i as f64 + 20.0 * noise(n, i)))),
        );
        store.add(
            "demo_batch_last_success_timestamp_seconds",
            &[("instance", instance), ("job", "demo")],
            times().map(|(i, t)| (t, (T0 + i / 24 * 120) as f64)),
        );
        for path in ["/a", "/b"] {
            let mut counts = [0.0; 6];
            let mut points = vec![Vec::new(); 6];
            for (i, t) in times() {
                for (b, count) in counts.iter_mut().enumerate() {
                    *count += (b as f64 + 1.0) * (3.0 * noise(n, i)).floor() + if b >= 3 { 1.0 } else { 0.0 };
                    points[b].push((t, *count));
                }
            }
            for (b, le) in ["0.005", "0.025", "0.1", "0.5", "2.5", "+Inf"].into_iter().enumerate() {
                store.add(
                    "demo_api_request_duration_seconds_bucket",
                    &[("instance", instance), ("path", path), ("le", le)],
                    points[b].clone(),
                );
            }
            store.add(
                "demo_api_request_duration_seconds_count",
                &[("instance", instance), ("path", path)],
                points[5].clone(),
            );
        }
        // Seen only now and then.
        store.add(
            "demo_intermittent_metric",
            &[("instance", instance)],
            times().filter(|(i, _)| i / 60 % 2 == n % 2).map(|(i, t)| (t, i as f64)),
        );
    }
    for (name, value) in [
        ("nan", f64::NAN),
        ("inf", f64::INFINITY),
        ("ninf", f64::NEG_INFINITY),
        ("zero", 0.0),
        ("minus", -2.5),
        ("small", 0.25),
    ] {
        store.add("odd", &[("is", name)], times().map(|(_, t)| (t, value)));
    }
    for (le, count) in [("0.1", 10.0), ("0.5", 40.0), ("1", 90.0), ("+Inf", 100.0)] {
        store.add("classic_bucket", &[("le", le)], times().map(|(_, t)| (t, count)));
        store.add("zeros_bucket", &[("le", le)], times().map(|(_, t)| (t, 0.0)));
        store.add("falling_bucket", &[("le", le)], times().map(|(_, t)| (t, if le == "+Inf" { 0.0 } else { count })));
        if le != "+Inf" {
            store.add("open_bucket", &[("le", le)], times().map(|(_, t)| (t, count)));
        }
    }
    // On whole seconds, for what happens at edges.
    store.add("edge", &[], (0..=2400).map(|t| (t as f64, t as f64)));
    store.add("edge_total", &[], (0..=2400).map(|t| (t as f64, (t / 7 * 3) as f64)));
    for node in ["web-1", "web-10", "xweb-1", "Web-1", "we\nb"] {
        store.add("named", &[("node", node)], times().map(|(_, t)| (t, 1.0)));
    }
    store.add("named", &[], times().map(|(_, t)| (t, 1.0)));
    store.add("up", &[("node", "a")], times().map(|(_, t)| (t, 1.0)));
    store.add("up", &[("node", "b"), ("zone", "x")], times().map(|(_, t)| (t, 0.0)));
    store
}

/// The forms of queries, each in all of its variants.
fn queries() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |form: &str, name: &str, variants: &[&str]| {
        all.extend(variants.iter().map(|variant| form.replace(name, variant)));
    };
    let memory = "demo_memory_usage_bytes";
    let simple = ["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group"];
    let compare = ["==", "!=", "<", ">", "<=", ">="];
    let arithmetic = ["+", "-", "*", "/", "%", "^"];
    let both: Vec<&str> = arithmetic.iter().chain(&compare).copied().collect();
    let ranges = ["1s", "15s", "1m", "5m", "15m", "1h"];
    let quantiles = ["-0.5", "0.1", "0.5", "0.75", "0.95", "0.99", "1", "1.5"];
    add(
        "N",
        "N",
        &[
            "42",
            "1.234",
            ".123",
            "1.23e-3",
            "0x3d",
            "Inf",
            "+Inf",
            "-Inf",
            "NaN",
            "1 * 2 + 4 / 6 - 10 % 2 ^ 2",
            "-1 ^ 2",
            "2 ^ 3 ^ 2",
            "time()",
            "pi()",
            "-(1)",
            "scalar(vector(3))",
        ],
    );
    add(
        "demo_memory_usage_bytesS",
        "S",
        &[
            "",
            "{type=\"free\"}",
            "{type!=\"free\"}",
            "{instance=~\"t.*:.*\"}",
            "{instance=~\"host\"}",
            "{instance!~\".*:10000\"}",
            "{type=\"free\",instance!=\"one:10000\"}",
            " offset 1m",
            " offset 5m",
            " offset 10m",
            " offset -1m",
            " offset -5m",
            "{type=~\"free|used\"}",
        ],
    );
    add(
        "N",
        "N",
        &[
            "{__name__=\"demo_num_cpus\"}",
            "{type=\"free\",instance!=\"one:10000\"}",
            "{__name__=~\"demo_num.*\"}",
            "nonexistent_metric",
            "demo_intermittent_metric",
            "{__name__=~\".*\"}",
            "{}",
        ],
    );
    for by in [
        "",
        " by()",
        " by(instance)",
        " by(instance, type)",
        " by(nonexistent)",
        " without()",
        " without(instance)",
        " without(instance, type)",
        " without(nonexistent)",
    ] {
        add(&format!("A{by} ({memory})"), "A", &simple);
    }
    add("A(nonexistent_metric)", "A", &simple);
    for by in ["", " by(instance)", " without(instance)", " without()"] {
        add(&format!("A{by} (2, {memory})"), "A", &["topk", "bottomk"]);
    }
    add(&format!("quantile(Q, {memory})"), "Q", &quantiles);
    add("quantile by(instance) (Q, demo_memory_usage_bytes)", "Q", &["0.5", "0.9"]);
    add(
        "N",
        "N",
        &[
            "avg(max by(type) (demo_memory_usage_bytes))",
            "count_values(\"v\", demo_num_cpus)",
            "count_values by(job) (\"v\", demo_num_cpus * 1.5)",
            "count_values(\"value\", demo_api_request_duration_seconds_bucket)",
        ],
    );
    add("demo_num_cpus + (1 O bool 2)", "O", &compare);
    add("demo_memory_usage_bytes O 1500000000.5", "O", &both);
    add("demo_memory_usage_bytes O bool 1500000000.5", "O", &compare);
    add("1500000000.5 O bool demo_memory_usage_bytes", "O", &compare);
    add("1500000000.5 O demo_memory_usage_bytes", "O", &compare);
    add("0.12345 O demo_num_cpus", "O", &both);
    add("(1 * 2 + 4 / 6 - (10 % 7) ^ 2) O demo_num_cpus", "O", &both);
    add("demo_num_cpus O (1 * 2 + 4 / 6 - 10)", "O", &both);
    add("demo_memory_usage_bytes O on(instance, job, type) demo_memory_usage_bytes", "O", &both);
    add("demo_memory_usage_bytes O bool on(instance, job, type) (demo_memory_usage_bytes offset 1m)", "O", &compare);
    add(
        "sum by(instance, type) (demo_memory_usage_bytes) O on(instance, type) group_left(job) demo_memory_usage_bytes",
        "O",
        &both,
    );
    add(
        "N",
        "N",
        &[
            "demo_memory_usage_bytes / on(instance, job, type, __name__) demo_memory_usage_bytes",
            "sum without(job) (demo_memory_usage_bytes) / on(instance, type) demo_memory_usage_bytes",
            "sum without(job) (demo_memory_usage_bytes) / on(instance, type) group_left demo_memory_usage_bytes",
            "demo_memory_usage_bytes / on(instance, job) group_left demo_num_cpus",
            "demo_num_cpus * on(instance, job) group_right demo_memory_usage_bytes",
            "demo_memory_usage_bytes / ignoring(type) group_left demo_num_cpus",
            "demo_memory_usage_bytes / on(instance, type, job, non_existent) demo_memory_usage_bytes",
            "demo_memory_usage_bytes / ignoring(type) demo_num_cpus",
            "demo_num_cpus / on(job) demo_num_cpus",
            "demo_memory_usage_bytes > on(instance) group_left demo_disk_usage_bytes * 3",
            "demo_num_cpus == ignoring(type) group_right demo_memory_usage_bytes",
            "demo_num_cpus and demo_num_cpus{instance=\"one:10000\"}",
            "demo_memory_usage_bytes and on(instance) (demo_num_cpus > 5)",
            "demo_memory_usage_bytes unless on(instance) (demo_num_cpus > 5)",
            "demo_num_cpus or demo_disk_usage_bytes",
            "demo_num_cpus or on(instance) demo_memory_usage_bytes",
            "demo_num_cpus or ignoring(job, type) demo_memory_usage_bytes",
            "demo_num_cpus{instance=\"one:10000\"} or vector(1)",
            "demo_intermittent_metric and demo_intermittent_metric offset 5m",
            "demo_intermittent_metric unless demo_intermittent_metric offset 5m",
            "demo_intermittent_metric or demo_intermittent_metric offset 5m",
            "demo_num_cpus * Inf",
            "demo_num_cpus * -Inf",
            "demo_num_cpus * NaN",
            "demo_memory_usage_bytes + -(1)",
            "-demo_memory_usage_bytes",
            "odd",
            "-odd",
            "odd == odd",
            "odd + 1",
            "odd % 2",
            "odd ^ 0.5",
            "odd > bool 0",
            "sum(odd)",
            "min(odd)",
            "max(odd)",
            "avg(odd)",
            "stddev(odd)",
            "quantile(0.5, odd)",
            "topk(2, odd)",
            "bottomk(4, odd)",
            "odd{is=~\"zero|minus|small\"} / 0",
            "count_values(\"v\", odd)",
        ],
    );
    for form in ["1 O time()", "time() O 1", "time() O time()"] {
        add(form, "O", &arithmetic);
    }
    for form in ["time() O bool 1", "1 O bool time()", "time() O bool time()"] {
        add(form, "O", &compare);
    }
    add("time() O demo_memory_usage_bytes", "O", &both);
    add("demo_memory_usage_bytes O time()", "O", &both);
    for range in ranges {
        add(
            &format!("A_over_time(demo_memory_usage_bytes[{range}])"),
            "A",
            &["sum", "avg", "min", "max", "count", "stddev", "stdvar", "absent", "last", "present"],
        );
        add(
            &format!("F(demo_cpu_usage_seconds_total[{range}])"),
            "F",
            &["rate", "increase", "irate", "resets", "changes"],
        );
        add(&format!("F(demo_disk_usage_bytes[{range}])"), "F", &["delta", "idelta", "deriv", "changes", "resets"]);
        add(&format!("predict_linear(demo_disk_usage_bytes[{range}], T)"), "T", &["600", "-60"]);
        add(&format!("quantile_over_time(Q, demo_memory_usage_bytes[{range}])"), "Q", &quantiles);
    }
    add("rate(nonexistent_metric[F])", "F", &["5m"]);
    add(
        "F(odd[1m])",
        "F",
        &[
            "rate",
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "sum_over_time",
            "stddev_over_time",
            "deriv",
            "changes",
            "resets",
            "idelta",
        ],
    );
    add(
        "F(demo_intermittent_metric[4m])",
        "F",
        &[
            "rate",
            "increase",
            "delta",
            "count_over_time",
            "avg_over_time",
            "absent_over_time",
            "present_over_time",
            "deriv",
        ],
    );
    let math = [
        "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "sin", "cos", "tan", "asin", "acos",
        "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad", "round",
    ];
    add("F(demo_memory_usage_bytes / 1e9)", "F", &math);
    add("F(-demo_memory_usage_bytes)", "F", &math[..9]);
    add("F(odd)", "F", &math);
    add("round(demo_memory_usage_bytes, N)", "N", &["0.5", "1000", "7", "-3", "0"]);
    add("F(demo_memory_usage_bytes, 1500000000)", "F", &["clamp_min", "clamp_max"]);
    add(
        "clamp(demo_memory_usage_bytes, N)",
        "N",
        &["0, 1", "0, 1000000000000", "1000000000000, 0", "1000000000000, 1000000000000", "NaN, 1"],
    );
    let dates = ["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"];
    add("F()", "F", &dates);
    add("F(demo_batch_last_success_timestamp_seconds offset 5m)", "F", &dates);
    add("F(vector(1709210096) - 86400 * 366)", "F", &dates);
    add(
        "N",
        "N",
        &[
            "timestamp(demo_num_cpus)",
            "timestamp(timestamp(demo_num_cpus))",
            "timestamp(demo_memory_usage_bytes * 1)",
            "timestamp(-demo_memory_usage_bytes)",
            "timestamp(demo_num_cpus offset 1m)",
            "timestamp(demo_intermittent_metric)",
            "vector(1.23)",
            "vector(time())",
            "scalar(demo_num_cpus)",
            "scalar(demo_num_cpus{instance=\"one:10000\"})",
            "absent(demo_memory_usage_bytes)",
            "absent(nonexistent_metric)",
            "absent(nonexistent{a=\"b\",c=~\"d\"})",
            "absent(sum(nonexistent))",
            "absent(demo_intermittent_metric{instance=\"one:10000\"})",
            "absent_over_time(nonexistent{a=\"b\"}[5m])",
            "sort(demo_memory_usage_bytes)",
            "sort_desc(demo_memory_usage_bytes)",
            "sort(odd{is!=\"nan\"})",
            "sort_desc(odd{is!=\"nan\"})",
            "label_replace(demo_num_cpus, \"job\", \"destination-value-$1\", \"instance\", \"(.*):.*\")",
            "label_replace(demo_num_cpus, \"job\", \"destination-value-$1\", \"instance\", \"wo:(.*)\")",
            "label_replace(demo_num_cpus, \"job\", \"$1-$2\", \"instance\", \"t(.*):(.*)\")",
            "label_replace(demo_num_cpus, \"job\", \"value-$1\", \"nonexistent\", \"source-value-(.*)\")",
            "label_replace(demo_num_cpus, \"job\", \"value-$1\", \"nonexistent\", \"(.*)\")",
            "label_replace(demo_num_cpus, \"job\", \"\", \"dst\", \".*\")",
            "label_replace(demo_num_cpus, \"new\", \"${1}x\", \"instance\", \"(?P<a>o).*\")",
            "label_replace(demo_num_cpus, \"job\", \"value-$1\", \"src\", \"(.*\")",
            "label_replace(demo_num_cpus, \"~invalid\", \"\", \"src\", \"(.*)\")",
            "label_replace(demo_num_cpus, \"instance\", \"\", \"\", \"\")",
            "label_join(demo_num_cpus, \"new_label\", \"-\", \"instance\", \"job\")",
            "label_join(demo_num_cpus, \"job\", \"-\", \"instance\", \"job\")",
            "label_join(demo_num_cpus, \"job\", \"-\", \"instance\")",
            "label_join(demo_num_cpus, \"~invalid\", \"-\", \"instance\")",
        ],
    );
    add("histogram_quantile(Q, rate(demo_api_request_duration_seconds_bucket[1m]))", "Q", &quantiles);
    add(
        "histogram_quantile(0.9, sum by(le, path) (rate(demo_api_request_duration_seconds_bucket[F])))",
        "F",
        &["1m", "5m"],
    );
    add(
        "histogram_quantile(Q, classic_bucket)",
        "Q",
        &["0.05", "0.25", "0.5", "0.9", "0.99", "-1", "2", "NaN", "0", "1"],
    );
    add(
        "histogram_quantile(0.5, B)",
        "B",
        &[
            "open_bucket",
            "zeros_bucket",
            "falling_bucket",
            "nonexistent_metric",
            "demo_memory_usage_bytes",
            "{__name__=~\"demo_api_request_duration_seconds_.+\"}",
        ],
    );
    add(
        "N",
        "N",
        &[
            "max_over_time((time() - max(demo_batch_last_success_timestamp_seconds) < 1000)[5m500ms:10s] offset 5m)",
            "avg_over_time(rate(demo_cpu_usage_seconds_total[1m])[2m500ms:10s])",
            "max_over_time(rate(demo_cpu_usage_seconds_total[15s])[1m500ms:7s])",
            "sum_over_time(demo_memory_usage_bytes[2m500ms:7s])",
            "min_over_time(sum(demo_num_cpus)[90s500ms:11s])",
            "quantile_over_time(0.9, max_over_time(demo_disk_usage_bytes[1m500ms:7s])[3m500ms:13s])",
            "rate(demo_cpu_usage_seconds_total[5m500ms:17s])",
            "deriv(demo_disk_usage_bytes[5m500ms:17s])",
            "last_over_time(demo_num_cpus[1m500ms:7s] offset 1m)",
            "count_over_time(demo_intermittent_metric[5m500ms:7s])",
            "demo_disk_usage_bytes @ 1792466000",
            "demo_disk_usage_bytes @ start()",
            "demo_disk_usage_bytes @ end()",
            "rate(demo_cpu_usage_seconds_total[1m] @ end())",
            "demo_disk_usage_bytes @ end() offset 1m",
            "sum(demo_disk_usage_bytes @ start()) - sum(demo_disk_usage_bytes)",
            "topk(1, demo_disk_usage_bytes @ end())",
            "max_over_time(demo_disk_usage_bytes[3m500ms:7s] @ end())",
            "topk(scalar(vector(2)), demo_memory_usage_bytes)",
            "sum(rate(demo_cpu_usage_seconds_total[1m])) by (mode) / on() group_left sum(rate(demo_cpu_usage_seconds_total[1m]))",
            "100 * (1 - avg by(instance) (rate(demo_cpu_usage_seconds_total{mode=\"idle\"}[5m])))",
            "up{zone=\"\"}",
            "up{zone!=\"\"}",
            "up{__ignore_usage__=\"\"}",
            "up{zone=~\".+\"}",
            "up{zone!~\".+\"}",
            "up{zone!=\"x\"}",
            "sum by(zone) (up)",
            "up == 1",
            "up == bool 1",
            "{zone=~\".*\"}",
            "named{node=\"web-1\"}",
            "named{node=~\"web-1\"}",
            "named{node=~\"web-1|\"}",
            "named{node=~\"()\"}",
            "named{node=~\"(?i)web-1\"}",
            "named{node=~\"web-1|web-10\"}",
            "named{node!~\"web-1|\"}",
            "named{node=~\"(\"}",
            "named{node=~\"*\"}",
            "sum(",
            "rate(up)",
            "up[5m] + 1",
            "1 > 2",
            "up and 1",
            "sum(1)",
            "up{a=\"b\"",
            "topk(up)",
            "nope(up)",
            "up offset",
            "rate(up[0s])",
            "\"a\" + 1",
        ],
    );
    all.sort_unstable();
    all.dedup();
    all
}

/// Questions whose answer differs between versions 2 and 3, with the one that means in 2 what ours means in 3.
fn shifted() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for function in ["sum", "avg", "min", "max", "count", "stddev", "last", "present"] {
        // Version 2 takes 61 samples.
        all.push((format!("{function}_over_time(edge[1m])"), format!("{function}_over_time(edge[59999ms])")));
    }
    for function in ["changes", "resets", "idelta", "irate", "deriv"] {
        all.push((format!("{function}(edge_total[30s])"), format!("{function}(edge_total[29999ms])")));
    }
    // Version 2 stretches over one millisecond less, which is taken out again.
    all.push(("delta(edge[30s])".into(), "delta(edge[29999ms]) + 0.001".into()));
    // The point on the left edge.
    all.push(("count_over_time(vector(1)[1m:3s])".into(), "count_over_time(vector(1)[59999ms:3s])".into()));
    all.push((
        "max_over_time(avg_over_time(edge[15s])[1m:3s])".into(),
        "max_over_time(avg_over_time(edge[14999ms])[59999ms:3s])".into(),
    ));
    // A sample exactly as old as the look-back: the newest is of second 2,400.
    let five_minutes_later = T0 + 2_700;
    all.push((format!("edge @ {five_minutes_later}"), format!("edge @ {five_minutes_later}.001")));
    // Version 2 leaves the name on what atan2 gives.
    all.push(("demo_num_cpus atan2 demo_num_cpus".into(), "sum without() (demo_num_cpus atan2 demo_num_cpus)".into()));
    // A dot and a line break.
    for pattern in [".*", ".+", ".+|^$", "we.b"] {
        all.push((format!("named{{node=~\"{pattern}\"}}"), format!("named{{node=~\"(?s:{pattern})\"}}")));
        all.push((format!("named{{node!~\"{pattern}\"}}"), format!("named{{node!~\"(?s:{pattern})\"}}")));
    }
    all
}

/// Moments and ranges, in seconds after T0.
fn moments() -> Vec<Range> {
    let at = |ms: i64| T0 * 1000 + ms;
    let over = |from: i64, to: i64, step: i64| Range {
        start_ms: at(from * 1000),
        end_ms: at(to * 1000),
        step_ms: step * 1000,
    };
    vec![Range::instant(at(1_203_000)), Range::instant(at(1_499_250)), over(0, 2_700, 37), over(600, 900, 5)]
}

fn compared(store: &Store, prometheus: &Prometheus, ours_is: &str, theirs_is: &str, faults: &mut Vec<String>) {
    for range in moments() {
        let mine: Outcome = ours(store, ours_is, range);
        let theirs = prometheus.ask(theirs_is, range);
        let ordered = range.step_ms == 0 && ours_is.starts_with("sort");
        if let Some(difference) = difference(&mine, &theirs, ordered) {
            faults.push(format!(
                "{ours_is} over {} to {} by {}: {difference}",
                range.start_ms, range.end_ms, range.step_ms
            ));
        }
    }
}

#[test]
fn prometheus_says_the_same() {
    let store = samples();
    let prometheus = Prometheus::with(&store);
    let queries = queries();
    assert!(queries.len() >= 400, "{}", queries.len());
    let mut faults = Vec::new();
    for query in &queries {
        compared(&store, &prometheus, query, query, &mut faults);
    }
    for (ours_is, theirs_is) in shifted() {
        compared(&store, &prometheus, &ours_is, &theirs_is, &mut faults);
    }
    assert!(faults.is_empty(), "{} of {} queries differ:\n{}", faults.len(), queries.len(), faults.join("\n"));
    println!(
        "{} queries and {} shifted ones, each at {} moments or ranges",
        queries.len(),
        shifted().len(),
        moments().len()
    );
}
