//! Grafana's requests to the Prometheus API, replayed against a test double: see `promql` in the testkit for what it knows.

use serde_json::{Value, json};
use starling_testkit::{Script, Scripted};

use crate::harness::{Server, now, table, view};

const API: &str = "/prometheus/api/v1";

async fn served() -> (Scripted, Server) {
    let (script, newest) = (Script::default(), now());
    script.report(view(newest, 100.0), Some(table(newest, 1)));
    let double = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    (double, server)
}

async fn post(server: &Server, path: &str, body: &str) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(format!("http://{}{API}/{path}", server.address))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.to_owned());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let (status, answer) = server.get(&format!("{API}/{path}")).await;
    (status, answer)
}

#[tokio::test]
async fn save_and_test_is_green_and_errors_are_texts() {
    let (_double, server) = served().await;
    let two = json!([1_792_466_838, "2"]);
    for answer in [
        post(&server, "query", "query=1%2B1&time=1792466838").await,
        get(&server, "query?query=1%2B1&time=1792466838").await,
    ] {
        assert_eq!(answer.0, 200);
        assert_eq!(answer.1["data"], json!({ "resultType": "scalar", "result": two }));
    }
    let (status, answer) = get(&server, "status/buildinfo").await;
    assert_eq!((status, &answer["status"]), (200, &json!("success")));
    assert_eq!(answer["data"]["version"].as_str().unwrap().split('.').count(), 3);
    assert!(answer["data"].get("features").is_none());
    for path in ["status/flags", "no/such/path"] {
        let (status, answer) = get(&server, path).await;
        assert_eq!((status, &answer["status"]), (404, &json!("error")), "{path}: {answer}");
        assert!(answer["error"].as_str().unwrap().len() > 10);
    }
    let (status, answer) = post(&server, "query", "query=sum%28").await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
    assert!(answer["error"].as_str().unwrap().starts_with("1:5: parse error"), "{answer}");
    let (status, answer) = post(&server, "query", "query=many").await;
    assert_eq!((status, &answer["errorType"]), (422, &json!("execution")));
    let (_, answer) = post(&server, "query", "query=partial").await;
    assert_eq!(answer["warnings"], json!(["incomplete: 1 nodes"]));
}

#[tokio::test]
async fn a_moment_has_many_spellings() {
    let (_double, server) = served().await;
    for (spelling, wanted) in [
        ("2026-10-20T03:27:18Z", json!(1_792_466_838)),
        ("2026-10-20T03:27:18.0Z", json!(1_792_466_838)),
        ("2026-10-20T03:27:18.123456Z", json!(1_792_466_838.123)),
        ("2026-10-20T05:27:18%2B02:00", json!(1_792_466_838)),
        ("2026-10-20T05:27:18+02:00", json!(1_792_466_838)),
        ("1792466838", json!(1_792_466_838)),
        ("1792466838.123", json!(1_792_466_838.123)),
        ("1.792466838e9", json!(1_792_466_838)),
    ] {
        let (status, answer) = get(&server, &format!("query?query=1%2B1&time={spelling}")).await;
        assert_eq!((status, &answer["data"]["result"][0]), (200, &wanted), "{spelling}: {answer}");
    }
    let (_, answer) = get(&server, "query?query=1%2B1&time=").await;
    assert!((answer["data"]["result"][0].as_f64().unwrap() - f64::from(now())).abs() < 60.0);
    let (status, answer) = get(&server, "query?query=1%2B1&time=1792466838123").await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
    assert!(answer["error"].as_str().unwrap().contains("time"));
}

#[tokio::test]
async fn steps_that_make_no_sense_are_refused_by_name() {
    let (_double, server) = served().await;
    let asked = |start: &str, end: &str, step: &str| format!("query=up&start={start}&end={end}&step={step}");
    for step in ["0", "-1", "1e-9", "NaN", "Inf", "", "abc"] {
        for end in ["1792466838", "1792466898"] {
            let body = asked("1792466838", end, step);
            for (status, answer) in
                [post(&server, "query_range", &body).await, get(&server, &format!("query_range?{body}")).await]
            {
                assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")), "{body}: {answer}");
                assert!(answer["error"].as_str().unwrap().contains("step"), "{body}: {answer}");
            }
        }
    }
    let (status, answer) = post(&server, "query_range", &asked("20", "10", "1")).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("end"), "{answer}");
    let (status, answer) = post(&server, "query_range", &asked("1e18", "1e18", "1")).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("start"), "{answer}");
    let (_, answer) = post(&server, "query_range", &asked("100", "100", "1")).await;
    assert_eq!(answer["data"]["result"][0]["values"], json!([[100, "1"]]));
    assert_eq!(answer["data"]["result"][1]["values"], json!([[100, "+Inf"]]));
    let (_, answer) = post(&server, "query_range", &asked("100", "101", "0.5")).await;
    assert_eq!(answer["data"]["result"][0]["values"], json!([[100, "1"], [100.5, "1"], [101, "1"]]));
    let (_, answer) = post(&server, "query_range", &asked("0", "172800", "1d")).await;
    assert_eq!(answer["data"]["result"][0]["values"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn exemplars_are_none_and_broken_ones_are_refused() {
    let (_double, server) = served().await;
    for query in ["lat", "topk(10,%20idelta(x%5B5m%5D))"] {
        for (status, answer) in [
            get(&server, &format!("query_exemplars?query={query}&start=1&end=2")).await,
            post(&server, "query_exemplars", &format!("query={query}&start=1&end=2")).await,
        ] {
            assert_eq!((status, answer), (200, json!({ "status": "success", "data": [] })));
        }
    }
    for body in ["query=half(&start=1&end=2", "query=lat&start=2&end=1"] {
        let (status, answer) = post(&server, "query_exemplars", body).await;
        assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")), "{answer}");
    }
    let (_, answer) = get(&server, "format_query?query=a%20%20%2Bb").await;
    assert_eq!(answer["data"], "a +b");
}

#[tokio::test]
async fn pickers_find_names_labels_and_series() {
    let (_double, server) = served().await;
    let (_, answer) = get(&server, "labels?match[]=up&start=1&end=2").await;
    assert_eq!(answer, json!({ "status": "success", "data": ["__name__", "node", "zone"] }));
    let (_, answer) = post(&server, "labels", "match%5B%5D=up&limit=2").await;
    assert_eq!(
        (&answer["data"], &answer["warnings"]),
        (&json!(["__name__", "node"]), &json!(["results truncated due to limit"]))
    );
    let (_, answer) = get(&server, "label/__name__/values").await;
    assert_eq!(answer["data"], json!(["lat_seconds", "up"]));
    let (_, answer) = get(&server, "label/node/values?limit=1").await;
    assert_eq!(answer["data"], json!(["a"]));
    let (_, answer) = post(&server, "series", "match[]=up&match[]=lat").await;
    assert_eq!(answer["data"][1], json!({ "__name__": "up", "node": "a" }));
    assert_eq!(get(&server, "series").await.0, 400);
    assert_eq!(get(&server, "series?match[]=sum(up)").await.1["errorType"], "bad_data");
    let (_, answer) = get(&server, "metadata?limit=1").await;
    assert_eq!(answer["data"], json!({ "lat_seconds": [{ "type": "histogram", "help": "What it is.", "unit": "s" }] }));
    let (_, answer) = get(&server, "metadata?metric=up").await;
    assert_eq!(answer["data"]["up"][0]["type"], "gauge");
    // A histogram as Prometheus writes native ones; the bucket of zeros has both of its bounds.
    let (_, answer) = get(&server, "query?query=lat&time=5").await;
    let wanted = json!([5, { "count": "3", "sum": "0.5", "buckets": [[3, "0", "0", "1"], [0, "0.25", "0.5", "2"]] }]);
    assert_eq!(answer["data"]["result"][0]["histogram"], wanted);
}
