//! The JSON endpoints over time, answered by a test double: see `over_time` in the testkit for what it invents.

use std::time::{Duration, Instant};

use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
};
use serde_json::{Value, json};
use starling_testkit::{Script, Scripted};

use crate::harness::{Server, now, table, view};

/// A minute on the grid of ten minutes: its first minute has no data.
const T0: u32 = 1_700_000_400;

/// A server whose newest second is the present one.
pub(crate) async fn served() -> (Script, Scripted, Server, u32) {
    let (script, newest) = (Script::default(), now());
    script.report(view(newest, 100.0), Some(table(newest, 4)));
    let double = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    (script, double, server, newest)
}

#[tokio::test]
async fn every_question_is_answered_for_cluster_group_and_node() {
    let (script, _double, server, newest) = served().await;
    for path in [
        "/api/v1/metrics/requests?",
        "/api/v1/metrics/charts?columns=rps.total,latency.p99",
        "/api/v1/metrics/heatmap/latency?",
        "/api/v1/metrics/heatmap/system.cpu.busy?eachNode=true",
        "/api/v1/metrics/historical?",
        "/api/v1/series?name=g",
        "/api/v1/differ?lower=20000&range=1h",
    ] {
        for scope in ["", "&group=zone:a", "&node=n0000"] {
            let path = format!("{path}{scope}");
            let (status, answer) = server.get(&path).await;
            assert_eq!((status, &answer["answeredBy"]), (200, &json!("a1")), "{path}: {answer}");
            assert_eq!(answer["completeness"]["tick"], newest, "{path}: {answer}");
            let (seconds, expected) =
                (&answer["completeness"]["seconds"], answer["completeness"]["secondsExpected"].as_u64());
            assert!(seconds.as_u64() < expected && expected.is_some(), "the gaps count as gaps: {path}: {answer}");
        }
    }
    let asked = script.asked_ranges();
    assert!(asked.iter().any(|is| is.scope.as_ref().is_some_and(|scope| scope.group == "zone:a")));
    assert!(asked.iter().any(|is| is.scope.as_ref().is_some_and(|scope| scope.node_id == "n0000")));
}

#[tokio::test]
async fn the_timeline_has_every_range_and_what_is_not_known_is_null() {
    let (_script, _double, server, _) = served().await;
    for (range, points, step) in
        [("15m", 900, 1), ("1h", 3_600, 1), ("6h", 1_080, 20), ("24h", 1_440, 60), ("7d", 2_016, 300)]
    {
        let (_, answer) = server.get(&format!("/api/v1/metrics/requests?range={range}")).await;
        let got = answer["points"].as_array().unwrap().len();
        // One more when the range does not begin on the grid.
        assert!((points..=points + 1).contains(&got), "{range}: {got}");
        assert_eq!(answer["stepSeconds"], step, "{range}");
    }
    let path = format!("/api/v1/metrics/requests?from={T0}&to={}&granularity=minute&protocols=http1,grpc", T0 + 179);
    let (_, answer) = server.get(&path).await;
    let points = answer["points"].as_array().unwrap();
    assert_eq!(points.len(), 3, "{answer}");
    assert_eq!((&points[0]["timestamp"], &points[0]["seconds"]), (&json!("2023-11-14T22:20:00.000Z"), &json!(0)));
    assert_eq!(points[0]["requestsPerSecond"], json!({"http1": null, "grpc": null}));
    assert_eq!(points[1]["requestsPerSecond"], json!({"http1": 29.5, "grpc": 29.5}));
    assert_eq!(points[1]["requestsPerSecondMax"], json!({"http1": 59, "grpc": 59}), "a peak of one second is there");
    assert_eq!(points[1]["requestsPerSecondMin"]["http1"], 0);
    assert_eq!((&points[1]["nodesReporting"], &points[1]["nodesExpected"]), (&json!(2), &json!(3)));
    assert_eq!(answer["coverage"]["note"], "the first data is of 2023-11-14T22:21:00.000Z; 120 s of 180 s hold data");
}

#[tokio::test]
async fn columns_of_one_metric_are_asked_together_and_times_are_micros() {
    let (script, _double, server, _) = served().await;
    let path = format!(
        "/api/v1/metrics/charts?columns=latency.p50,latency.p99,rps.total&from={}&to={}&step=60",
        T0 + 61,
        T0 + 130
    );
    let (_, answer) = server.get(&path).await;
    assert_eq!(script.asked_ranges().len(), 2, "{answer}");
    assert_eq!(answer["points"]["tick"], json!([T0 + 60, T0 + 120]), "the first step is whole");
    assert_eq!(answer["columns"][0]["name"], "latency.p50");
    assert_eq!((&answer["columns"][1]["unit"], &answer["columns"][1]["values"][0]), (&json!("micros"), &json!(29_500)));
    assert_eq!((&answer["columns"][1]["max"], &answer["columns"][1]["errorBoundPpm"]), (&Value::Null, &json!(3_906)));
    assert_eq!((&answer["columns"][2]["max"], &answer["columns"][2]["min"]), (&json!([59, 10]), &json!([0, 0])));
}

#[tokio::test]
async fn a_heatmap_has_rising_rows_and_no_data_is_not_none() {
    let (_script, _double, server, _) = served().await;
    let path = format!("/api/v1/metrics/heatmap/latency?from={T0}&to={}&columns=3", T0 + 179);
    let (_, map) = server.get(&path).await;
    assert_eq!((&map["unit"], &map["cellsAre"], &map["stepSeconds"]), (&json!("us"), &json!("counts"), &json!(60)));
    assert_eq!(map["rows"][0], json!({"lower": 0, "upper": 30_000, "nodeId": null}));
    assert_eq!(map["rows"][2], json!({"lower": 60_000, "upper": null, "nodeId": null}), "the open row is the last");
    let values = |row: usize| (0..3).map(|column| map["grid"][row][column]["value"].clone()).collect::<Vec<_>>();
    assert_eq!(values(0), [json!(null), json!(30), json!(30)]);
    assert_eq!(values(2), [json!(null), json!(0), json!(0)]);
    assert_eq!(map["columns"][0]["seconds"], 0);
}

#[tokio::test]
async fn a_box_is_asked_about_in_the_units_of_answers() {
    let (_script, _double, server, _) = served().await;
    // Columns of a minute: the first one of the box has no data, and the box ends after what is looked at.
    let path = format!("/api/v1/differ?from={T0}&to={}&boxFrom={}&boxTo={}&lower=30000", T0 + 179, T0 - 60, T0 + 200);
    let (status, answer) = server.get(&path).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["unit"], &answer["box"]["lower"], &answer["box"]["upper"]),
        (&json!("us"), &json!(30_000), &Value::Null)
    );
    assert_eq!((&answer["inside"], &answer["rest"]), (&json!(60), &json!(300)), "{answer}");
    let row = &answer["rows"][0];
    assert_eq!((&row["dimension"], &row["value"], &row["lift"]), (&json!("node"), &json!("n0000"), &Value::Null));
    let of_box = server.get(&format!("{path}&upper=40000")).await.1;
    assert_eq!(of_box["inside"], 20);
}

#[tokio::test]
async fn outliers_are_of_a_cluster_or_group_in_the_units_of_answers() {
    let (_script, _double, server, _) = served().await;
    let (status, answer) = server.get("/api/v1/outliers?group=zone:a").await;
    assert_eq!((status, &answer["unit"], &answer["rows"][0]["p99"]), (200, &json!("us"), &json!(250_000)), "{answer}");
    assert_eq!(
        (&answer["rows"][0]["since"], &answer["rows"][0]["distance"]),
        (&json!("1970-01-01T00:01:00.000Z"), &Value::Null)
    );
    for (path, field) in [("node=n0000", "node"), ("to=never", "to"), ("top=999", "top")] {
        let (status, answer) = server.get(&format!("/api/v1/outliers?{path}")).await;
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{answer}");
    }
}

#[tokio::test]
async fn the_analysis_has_the_models_fields() {
    let (_script, _double, server, _) = served().await;
    let path = format!("/api/v1/metrics/historical?from={T0}&to={}&metric=latency", T0 + 179);
    let (_, answer) = server.get(&path).await;
    assert_eq!(
        (&answer["average"], &answer["peak"], &answer["low"]),
        (&json!(29_500), &json!(59_000), &json!(0)),
        "{answer}"
    );
    assert_eq!(answer["peakAt"], "2023-11-14T22:21:59.000Z");
    let deviation = answer["standardDeviation"].as_f64().unwrap();
    assert!((deviation - 17_318.0).abs() < 1.0, "{deviation}");
    assert_eq!(answer["timeSeries"][0]["value"], Value::Null);
    assert_eq!(answer["comparisons"]["periodBefore"]["average"], 14_750);
    assert_eq!(answer["comparisons"]["weekAgo"]["average"], Value::Null);
    assert_eq!(answer["comparisons"]["weekAgo"]["countedIn"], "168 hours in UTC");
    let insight = &answer["insights"][0];
    assert_eq!((&insight["type"], &insight["message"]), (&json!("new_peak"), &json!("an invented insight")));
    // Its evidence is an address that answers.
    let (status, evidence) = server.get(insight["evidence"].as_str().unwrap()).await;
    assert_eq!((status, &evidence["series"][0]["name"]), (200, &json!("traffic.duration")), "{evidence}");
}

#[tokio::test]
async fn every_spelling_of_a_time_is_that_time() {
    let (_script, _double, server, newest) = served().await;
    let at = |from: &str| format!("/api/v1/series?name=g&statistics=mean&step=1&from={from}&to=2023-11-14T22:21:07Z");
    let (_, wanted) = server.get(&at("2023-11-14T22:21:05Z")).await;
    assert_eq!(wanted["series"][0]["statistics"][0]["values"], json!([5, 6, 7]));
    for spelling in [
        "2023-11-14T22:21:05.0Z",
        "2023-11-14T22:21:05.123456Z",
        "2023-11-15T00:21:05%2B02:00",
        "2023-11-15T00:21:05+02:00",
        "1700000465",
        "1700000465.123",
        "1.700000465e9",
    ] {
        let (status, got) = server.get(&at(spelling)).await;
        assert_eq!((status, &got["points"]), (200, &wanted["points"]), "{spelling}: {got}");
        assert_eq!(got["series"], wanted["series"], "{spelling}");
    }
    let (_, empty) = server.get("/api/v1/series?name=g&range=60s&to=").await;
    assert_eq!(empty["completeness"]["tick"], newest, "an empty end is the newest second: {empty}");
}

#[tokio::test]
async fn nonsense_is_refused_at_once_and_names_the_parameter() {
    let (_script, _double, server, _) = served().await;
    let fine = format!("name=g&from={T0}&to={T0}");
    let (_, one) = server.get(&format!("/api/v1/series?{fine}&step=1")).await;
    assert_eq!(one["points"].as_array().unwrap().len(), 1, "a range of one second is one point: {one}");
    let mut refused = vec![
        ("/api/v1/series?name=g&from=1700000400123".to_owned(), "from"),
        (format!("/api/v1/series?name=g&from={T0}&to={}", T0 - 1), "from"),
        ("/api/v1/series?name=g&from=1e18".to_owned(), "from"),
        ("/api/v1/series?name=g&range=1000000y".to_owned(), "range"),
        ("/api/v1/series?name=g&range=0s".to_owned(), "range"),
        ("/api/v1/series?name=g&range=2y&step=1".to_owned(), "step"),
        ("/api/v1/series?name=g&total=maybe".to_owned(), "total"),
        ("/api/v1/series?name=g&top=0".to_owned(), "top"),
        ("/api/v1/series?name=no.such".to_owned(), "name"),
        ("/api/v1/metrics/requests?range=6h&granularity=second".to_owned(), "granularity"),
        ("/api/v1/metrics/requests?granularity=day".to_owned(), "granularity"),
        ("/api/v1/metrics/requests?granularity=hour&step=1m".to_owned(), "step"),
        ("/api/v1/metrics/requests?protocols=smtp".to_owned(), "protocols"),
        ("/api/v1/metrics/requests?group=zone:x".to_owned(), "group"),
        ("/api/v1/metrics/charts".to_owned(), "columns"),
        ("/api/v1/metrics/charts?columns=rps.smtp".to_owned(), "columns"),
        ("/api/v1/metrics/heatmap/latency?timeRange=-1h".to_owned(), "timeRange"),
        ("/api/v1/metrics/heatmap/latency?columns=0".to_owned(), "columns"),
        ("/api/v1/metrics/heatmap/no.such".to_owned(), "metric"),
        ("/api/v1/metrics/historical?metric=no.such".to_owned(), "metric"),
        ("/api/v1/metrics/historical?node=nope".to_owned(), "node"),
        ("/api/v1/differ?metric=no.such".to_owned(), "metric"),
        ("/api/v1/differ?lower=slow".to_owned(), "lower"),
        ("/api/v1/differ?upper=inf".to_owned(), "upper"),
        ("/api/v1/differ?top=0".to_owned(), "top"),
        ("/api/v1/differ?boxFrom=yesterday".to_owned(), "boxFrom"),
        ("/api/v1/differ?boxTo=2001-01-01T00:00:00Z".to_owned(), "boxFrom"),
        ("/api/v1/export".to_owned(), "name"),
        ("/api/v1/export?name=g&format=xlsx".to_owned(), "format"),
    ];
    for step in ["0", "-1", "1e-9", "NaN", "Inf", "0.5", "1x"] {
        refused.push((format!("/api/v1/series?{fine}&step={step}"), "step"));
        refused.push((format!("/api/v1/series?name=g&step={step}"), "step"));
    }
    let mut slowest = Duration::ZERO;
    for (path, field) in &refused {
        let started = Instant::now();
        let (status, answer) = server.get(path).await;
        slowest = slowest.max(started.elapsed());
        assert!([400, 404].contains(&status), "{path}: {status} {answer}");
        assert_eq!(answer["error"]["field"], *field, "{path}: {answer}");
    }
    // 10 ms are promised; a loaded machine may take its time, and a wait for data would be seconds.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let text = reqwest::get(format!("http://{}/metrics", server.address)).await.unwrap().text().await.unwrap();
    let counted = text.lines().find(|line| line.contains("requests_refused_total{reason=\"parameter\"}"));
    assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{text}");
}

#[tokio::test]
async fn an_export_is_streamed_in_parts_and_whole() {
    let (script, _double, server, _) = served().await;
    let get = async |path: String| {
        let response = reqwest::get(format!("http://{}{path}", server.address)).await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), kind, response.text().await.unwrap())
    };
    let range = format!("from={T0}&to={}&step=1", T0 + 1_199);
    let (status, kind, text) = get(format!("/api/v1/export?name=g&node=n0000&statistics=mean,max&{range}")).await;
    assert_eq!((status, kind.as_str()), (200, "text/csv; charset=utf-8; header=present"), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "timestamp,node,name,attributes,unit,mean,max,seconds,seconds_expected,nodes_reporting,nodes_expected,missing"
    );
    assert_eq!(lines.len(), 1_201, "every second once");
    assert_eq!(lines[1], "2023-11-14T22:20:00.000Z,n0000,g,,1,,,0,1,,,", "nothing known is empty");
    assert_eq!(lines[61], "2023-11-14T22:21:00.000Z,n0000,g,,1,0,0,1,1,2,3,", "and zero is zero");
    assert_eq!(lines[1_200].split(',').nth(5), Some("59"));
    assert_eq!(script.asked_ranges().len(), 3, "in parts of 500 points");

    let (_, kind, text) = get(format!("/api/v1/export?name=g&format=json&attribute.a=b&{range}")).await;
    assert_eq!(kind, "application/json");
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 1_200);
    assert_eq!(rows["rows"][60]["values"], json!({"mean": 0, "min": 0, "max": 0}));
    assert_eq!(
        (&rows["rows"][0]["attributes"], &rows["rows"][0]["values"]["mean"]),
        (&json!({"a": "b"}), &Value::Null)
    );

    // More series than an answer holds: smaller parts, all of them.
    let before = script.asked_ranges().len();
    let (status, _, text) = get(format!("/api/v1/export?name=many.series&{range}")).await;
    assert_eq!((status, text.lines().count()), (200, 1_201));
    assert!(script.asked_ranges().len() > before + 10);

    // What another aggregator did not give is said where it is missing.
    let (_, _, text) = get(format!("/api/v1/export?name=missing.part&from={}&to={}&step=60", T0 + 60, T0 + 179)).await;
    assert!(
        text.lines().nth(1).unwrap().ends_with(",gone does not answer") && text.lines().nth(2).unwrap().ends_with(','),
        "{text}"
    );
}

#[tokio::test]
async fn an_export_as_parquet_has_what_its_csv_has() {
    let (_script, double, server, _) = served().await;
    let get = async |format: &str, range: &str| {
        let query = format!("name=g&node=n0000&attribute.a=b,c&statistics=mean,max&{range}&format={format}");
        let response = reqwest::get(format!("http://{}/api/v1/export?{query}", server.address)).await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (kind, response.bytes().await)
    };
    let range = format!("from={T0}&to={}&step=1", T0 + 1_199);
    let (kind, file) = get("parquet", &range).await;
    assert_eq!(kind, "application/vnd.apache.parquet");
    let read = SerializedFileReader::new(file.unwrap()).unwrap();
    let (_, csv) = get("csv", &range).await;
    let csv = String::from_utf8(csv.unwrap().to_vec()).unwrap().replace("\"a=b,c\"", "a=b+c");
    let mut lines = csv.lines().map(|line| line.split(',').map(ToOwned::to_owned).collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let mut rows = 0;
    for (row, line) in read.get_row_iter(None).unwrap().zip(lines.by_ref()) {
        let row = row.unwrap();
        let written = |(name, field): (&String, &Field)| {
            let value = match field {
                Field::Null => String::new(),
                Field::TimestampMillis(ms) => {
                    let second = u32::try_from(ms / 1_000).unwrap();
                    assert_eq!((ms % 1_000, second), (0, T0 + rows));
                    line[0].clone()
                }
                Field::Str(text) => text.replace(',', "+"),
                Field::Double(value) => value.to_string(),
                other => other.to_string(),
            };
            (name.clone(), value)
        };
        let wanted: Vec<_> = head.iter().cloned().zip(line.iter().cloned()).collect();
        assert_eq!(row.get_column_iter().map(written).collect::<Vec<_>>(), wanted);
        rows += 1;
    }
    assert_eq!((rows, lines.next()), (1_200, None));

    // Cut off it has no end, and is no file: the aggregator dies after some parts of a year.
    let url = format!("http://{}/api/v1/export?name=g&range=1y&step=30&format=parquet", server.address);
    let mut response = reqwest::get(url).await.unwrap();
    assert!(response.chunk().await.unwrap().is_some_and(|head| head.starts_with(b"PAR1")));
    double.kill();
    while let Ok(chunk) = response.chunk().await {
        assert!(chunk.is_some(), "it must not end well");
    }
}

#[tokio::test]
async fn an_export_that_breaks_does_not_end_well() {
    let (_script, double, server, _) = served().await;
    // A year by the half minute: 2,100 parts. The aggregator dies after some of them.
    let url = format!("http://{}/api/v1/export?name=g&range=1y&step=30", server.address);
    let mut response = reqwest::get(url).await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    double.kill();
    let end = loop {
        match response.chunk().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(end.is_err(), "a reader must not take it for whole");
}
