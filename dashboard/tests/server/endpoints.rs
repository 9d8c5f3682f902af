//! The JSON endpoints, their sockets, the page, and what is refused.

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use starling_proto::v1;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use starling_testkit::{Script, Scripted};

use crate::{
    harness::{LIMIT, Server, now, table, view},
    schema::faults,
};

/// A cluster with 30 seconds of data and one node that can be looked at.
async fn served() -> (Script, Scripted, Server, u32) {
    let (script, newest) = (Script::default(), now());
    for tick in newest - 29..=newest {
        script.report(view(tick, 100.0), Some(table(tick, 4)));
        let row = v1::NodeRow { node_id: "n0000".into(), state: 1, last_tick: tick, ..Default::default() };
        let cpu = Some(v1::Cpu { utilization_ratio: Some(0.25), ..Default::default() });
        let sections = Some(v1::Sections { cpu, ..Default::default() });
        let series =
            vec![v1::SeriesValue { name: "system.cpu.utilization".into(), kind: "gauge".into(), ..Default::default() }];
        script.report_node(
            "n0000",
            v1::NodeView {
                tick,
                row: Some(row),
                sections,
                core_utilization_ratios: vec![0.2, 0.3],
                series,
                ..Default::default()
            },
        );
    }
    let double = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    (script, double, server, newest)
}

#[tokio::test]
async fn every_endpoint_answers() {
    let (_script, _double, server, newest) = served().await;
    for (path, field, wanted) in [
        ("/api/v1/metrics/rps", "/current", json!(100)),
        ("/api/v1/metrics/rps", "/historicalData/29/value", json!(100)),
        ("/api/v1/metrics/latency", "/p99Micros", Value::Null),
        ("/api/v1/connections/metrics", "/healthStatus/healthy", json!({"count": 8, "of": 8, "ratio": 1})),
        ("/api/v1/system/cpu", "/utilizationRatio", json!(0.5)),
        ("/api/v1/system/cpu?node=n0000", "/coreUtilizationRatios/1", json!(0.3)),
        ("/api/v1/system/cpu?group=zone:a", "/utilizationRatio", json!(0.5)),
        ("/api/v1/system/memory", "/usedBytes", json!(400)),
        ("/api/v1/metrics/protocols", "/protocols/0/protocol", json!("http1")),
        ("/api/v1/system/metrics", "/verdict/word", json!("Healthy")),
        ("/api/v1/system/metrics", "/protocols/grpc", Value::Null),
        ("/api/v1/nodes", "/nodes/3/nodeId", json!("n0003")),
        ("/api/v1/nodes?group=zone:b", "/nodes/0/nodeId", json!("n0001")),
        ("/api/v1/nodes/n0000", "/series/0/name", json!("system.cpu.utilization")),
        ("/api/v1/nodes/web-1/detail", "/processes/0/name", json!("java")),
        ("/api/v1/nodes/web-1/detail", "/processes/0/cpuCores", json!(1.5)),
        ("/api/v1/nodes/web-1/detail", "/processes/0/writeBytesPerSecond", json!(null)),
        ("/api/v1/nodes/web-1/detail", "/costCpuSeconds", json!(0.004)),
        ("/api/v1/services", "/services/0/routes/0/route", json!("/cart")),
        ("/api/v1/services?service=mail&window=300", "/services/0/service", json!("mail")),
        ("/api/v1/services?services=1", "/all/latency/p99Micros", json!(1_500)),
        ("/api/v1/services", "/services/0/requestsPerSecondByStatus/5xx", json!(1)),
        ("/api/v1/services", "/rest", Value::Null),
        ("/api/v1/cluster", "/connectedTo", json!("a1")),
    ] {
        let (status, answer) = server.get(path).await;
        assert_eq!((status, answer.pointer(field)), (200, Some(&wanted)), "{path} {field}: {answer}");
        assert!(answer.get("completeness").is_some(), "{path}: {answer}");
        if !["nodes", "cluster", "services"].iter().any(|other| path.contains(other)) {
            assert_eq!(answer["completeness"]["tick"], newest, "{path}");
        }
    }
}

#[tokio::test]
async fn mistakes_are_reported_with_the_next_step() {
    let (_script, _double, server, _) = served().await;
    for (path, status, code, words) in [
        ("/api/v1/metrics/requests?range=2x", 400, "invalid", "known: 5m, 15m, 1h, 6h, 24h, 7d"),
        ("/api/v1/metrics/requests?protocols=smtp", 400, "invalid", "http1, http2"),
        ("/api/v1/metrics/rps?grop=zone:a", 400, "invalid", "known here: node, group"),
        ("/api/v1/metrics/rps?group=zone", 400, "invalid", "label:value"),
        ("/api/v1/metrics/rps?group=zone:x", 404, "not_found", "no node has zone:x"),
        ("/api/v1/system/cpu?node=nope", 404, "not_found", "no node is called"),
        ("/api/v1/nodes/nope", 404, "not_found", "/api/v1/nodes"),
        ("/api/v1/series?name=x&from=soon", 400, "invalid", "wanted: RFC 3339"),
        ("/api/v1/series?name=x&since=1", 400, "invalid", "attribute.KEY"),
        ("/api/v1/series?node=n0000&group=zone:a", 400, "invalid", "not both"),
        ("/api/v1/services?window=901", 400, "invalid", "1 to 900"),
        ("/api/v1/services?node=n0000", 400, "invalid", "known here: group, service"),
        ("/api/v1/report?format=pdf", 400, "invalid", "known: json, csv, html"),
        ("/api/v1/nothing", 404, "not_found", "/api/v1"),
        ("/ws/metrics/rps", 400, "invalid", "WebSocket"),
        ("/ws/v1/live", 400, "invalid", "WebSocket"),
        ("/ws/metrics/requests?granularity=minute", 400, "invalid", "known here: node, group, range, protocols"),
        ("/ws/metrics/rps?range=1h", 400, "invalid", "known here: node, group"),
    ] {
        let (got, answer) = server.get(path).await;
        assert_eq!((got, answer["error"]["code"].as_str()), (status, Some(code)), "{path}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{path}: {answer}");
    }
    assert_eq!(server.get("/api/v1/metrics/requests?range=2x").await.1["error"]["field"], "range");
    let url = format!("http://{}/api/v1/metrics/rps", server.address);
    assert_eq!(reqwest::Client::new().post(url).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn sockets_send_one_object_a_tick() {
    let (script, _double, server, newest) = served().await;
    let paths = [
        "/ws/metrics/rps",
        "/ws/metrics/latency",
        "/ws/metrics/memory",
        "/ws/metrics/cpu",
        "/ws/metrics/requests?range=1h",
        "/ws/connections",
        "/ws/connections/metrics",
        "/ws/system/health",
        "/ws/alerts",
    ];
    for (offset, path) in (0..).zip(paths) {
        let mut socket = server.socket(path).await;
        for tick in [newest + offset, newest + offset + 1] {
            let message = timeout(LIMIT, socket.next()).await.expect("an object comes").unwrap().unwrap();
            let object: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            assert_eq!(object["completeness"]["tick"], tick, "{path}: {object}");
            assert!(object.get("skipped").is_none(), "{path}: {object}");
            if tick == newest + offset {
                script.report(view(tick + 1, 7.0), None);
            }
        }
    }
}

#[tokio::test]
async fn the_socket_of_an_unknown_node_says_so_and_closes() {
    let (_script, _double, server, _) = served().await;
    for path in ["/ws/metrics/cpu?node=nope", "/ws/metrics/rps?group=zone:x"] {
        let mut socket = server.socket(path).await;
        let message = timeout(LIMIT, socket.next()).await.expect("an error comes").unwrap().unwrap();
        let object: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert_eq!(object["error"]["code"], "not_found", "{path}: {object}");
        let field = if path.contains("node") { "node" } else { "group" };
        assert_eq!(object["error"]["field"], field, "{object}");
        let end = timeout(LIMIT, socket.next()).await.expect("the socket closes").unwrap().unwrap();
        let Message::Close(Some(frame)) = end else { panic!("{end:?}") };
        assert_eq!(u16::from(frame.code), 4404);
        assert!(frame.reason.contains("no node"), "{}", frame.reason);
    }
}

#[tokio::test]
async fn a_range_on_a_socket_brings_what_was_before() {
    let (script, _double, server, newest) = served().await;
    let mut socket = server.socket("/ws/metrics/requests?range=5m&protocols=http1").await;
    let mut next = async || {
        let message = timeout(LIMIT, socket.next()).await.expect("an object comes").unwrap().unwrap();
        serde_json::from_str::<Value>(message.to_text().unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!(first["points"].as_array().unwrap().len(), 30, "{first}");
    script.report(view(newest + 1, 7.0), None);
    let second = next().await;
    assert_eq!(second["points"].as_array().unwrap().len(), 1, "{second}");
    assert_eq!(second["points"][0]["requestsPerSecond"], json!({"http1": 7}));
}

#[tokio::test]
async fn a_page_for_nobody_has_its_files() {
    let (_script, _double, server, _) = served().await;
    for path in ["/api/v1/", "/favicon.ico", "/robots.txt"] {
        let answer = reqwest::get(format!("http://{}{path}", server.address)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.bytes().await.unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn without_an_aggregator_the_reason_is_shown() {
    // A port that was free a moment ago, and is refused now.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server::start(&[port]).await;
    for path in ["/api/v1/metrics/rps", "/api/v1/nodes", "/api/v1/cluster", "/api/v1/nodes/n1"] {
        let (status, answer) = server.get(path).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("unavailable")), "{path}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(&port.to_string()), "{path}: {answer}");
    }
    // It comes later, and is found.
    let script = Script::default();
    script.report(view(now(), 1.0), Some(table(now(), 1)));
    let _double = Scripted::start(&script, "late", port.port()).await;
    server.get_until("/api/v1/metrics/rps", |answer| answer["current"] == 1).await;
}

#[tokio::test]
async fn what_the_index_lists_is_served() {
    let (script, _double, server, _) = served().await;
    let episode = v1::AlertEpisode { episode_id: "n0000".into(), ..Default::default() };
    script.report_alerts(vec![v1::Alert { episode: Some(episode), ..Default::default() }], Vec::new(), now());
    let (_, index) = server.get("/api/v1").await;
    let (_, document) = server.get("/api/v1/openapi.json").await;
    // Of a path that answers, what it says is as it is described.
    let described = |listed: &str, answer: &Value| {
        let content = &document["paths"][listed]["get"]["responses"]["200"]["content"];
        match content.get("application/json") {
            Some(json) => {
                assert!(json["schema"] != json!({}), "{listed} has no schema");
                let faults = faults(&document, &json["schema"], answer);
                assert!(faults.is_empty(), "{listed}: {faults:#?}");
            }
            None => assert!(content["text/plain"].is_object(), "{listed} is not described"),
        }
    };
    described("/api/v1", &index);
    for change in index["changes"].as_array().unwrap() {
        let path = change["path"].as_str().unwrap().replace("{id}", "n0000");
        let method = change["method"].as_str().unwrap().parse().unwrap();
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", server.address));
        let response = request.json(&json!({})).send().await.unwrap();
        let (status, answer) = (response.status(), response.json::<Value>().await.unwrap());
        assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!("invalid")), "{change}: {answer}");
        assert!(answer["error"]["field"].is_string() && change["about"].is_string(), "{change}: {answer}");
    }
    for (list, wanted, words) in [("endpoints", 200, ""), ("webSockets", 400, "this path is a WebSocket")] {
        let paths = index[list].as_array().unwrap();
        assert!(!paths.is_empty(), "{list}: {index}");
        let told = |is: &Value| is["about"].as_str().is_some_and(|about| !about.is_empty());
        assert!(paths.iter().all(told), "{list}: {index}");
        let parameters = paths.iter().filter_map(|is| is["parameters"].as_array()).flatten();
        for parameter in parameters {
            assert!(
                index["parameters"][parameter.as_str().unwrap()].is_string(),
                "{parameter} has no meaning: {index}"
            );
        }
        for path in paths {
            let listed = path["path"].as_str().unwrap();
            let path = listed.replace("{id}", "n0000").replace("{metric}", "latency");
            // These do not answer without a name.
            let path = match &*path {
                "/api/v1/metrics/charts" => format!("{path}?columns=rps.total"),
                "/api/v1/export" => format!("{path}?name=x"),
                _ => path,
            };
            let (status, answer) = server.get(&path).await;
            assert_eq!(status, wanted, "{path}: {answer}");
            let said = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(said.contains(words), "{path}: {answer}");
            // What is exported is CSV unless asked otherwise.
            if list == "endpoints" && listed != "/api/v1/export" {
                described(listed, &answer);
            }
        }
    }
}

#[tokio::test]
async fn unknown_names_are_refused() {
    let (_script, _double, server, _) = served().await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/api/v1/nodes", server.address);
    let by_name = |name: &'static str| client.get(&url).header("host", name).send();
    assert_eq!(by_name("evil.example").await.unwrap().status(), 403);
    assert_eq!(by_name("localhost:1").await.unwrap().status(), 200);

    let protocol = ("sec-websocket-protocol", "starling.live.v1");
    let own = format!("http://{}", server.address);
    assert_eq!(server.try_upgrade("/ws/v1/live", &[protocol, ("origin", &own)]).await, Ok(()));
    assert_eq!(server.try_upgrade("/ws/v1/live", &[protocol, ("origin", "http://evil.example")]).await, Err(403));
    assert_eq!(server.try_upgrade("/ws/metrics/rps", &[("origin", "http://evil.example")]).await, Err(403));
    assert_eq!(server.try_upgrade("/ws/v1/live", &[protocol, ("host", "evil.example")]).await, Err(403));
    assert_eq!(server.try_upgrade("/ws/v1/live", &[]).await, Err(400), "without the subprotocol");
}

#[tokio::test]
async fn the_page_has_its_headers() {
    let (_script, _double, server, _) = served().await;
    let client = reqwest::Client::new();
    for path in ["/", "/nodes/host.example.org"] {
        let request = client.get(format!("http://{}{path}", server.address)).header("accept", "text/html");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers();
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }
    let missing = client.get(format!("http://{}/assets/old-1234.js", server.address)).header("accept", "text/html");
    assert_eq!(missing.send().await.unwrap().status(), 404, "an old page must not take the index for a script");
}

#[tokio::test]
async fn the_api_describes_itself_and_its_errors_are_problems() {
    let (_script, _double, server, _) = served().await;
    let (status, described) = server.get("/api/v1/openapi.json").await;
    assert_eq!((status, &described["openapi"]), (200, &"3.1.0".into()), "{described}");
    let (_, index) = server.get("/api/v1").await;
    for endpoint in index["endpoints"].as_array().unwrap() {
        let path = endpoint["path"].as_str().unwrap();
        let parameters = described["paths"][path]["get"]["parameters"].as_array().unwrap_or_else(|| panic!("{path}"));
        let described = parameters.iter().filter(|is| is["in"] == "query");
        for (name, parameter) in endpoint["parameters"].as_array().unwrap().iter().zip(described) {
            assert_eq!(name, &parameter["name"], "{path}");
            assert_ne!(parameter["description"], "see /api/v1", "{path} takes {name}, which nobody explains");
        }
    }
    let response = reqwest::get(format!("http://{}/api/v1/differ?lower=slow", server.address)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(
        (&problem["status"], &problem["title"], &problem["parameter"]),
        (&400.into(), &"Bad Request".into(), &"lower".into())
    );
    assert!(problem["detail"].as_str().unwrap().starts_with("\"slow\" is no number"), "{problem}");
}

#[tokio::test]
async fn a_terminal_gets_the_verdict_where_a_browser_gets_the_page() {
    let (_script, _double, server, _) = served().await;
    let (plain, at) = (|path: &str| reqwest::get(format!("http://{}{path}", server.address)), "/api/v1/verdict");
    server.get_until("/api/v1/system/metrics", |answer| answer["verdict"]["word"] != "").await;
    let response = plain("/").await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/plain; charset=utf-8".parse().unwrap())
    );
    assert!(response.headers()["vary"].to_str().unwrap().contains("accept"));
    let text = response.text().await.unwrap();
    assert!(text.lines().any(|line| line.starts_with("requests  100.0/s")), "{text}");
    assert!(plain(at).await.unwrap().text().await.unwrap().contains("requests  100.0/s"));
    let of_node = plain(&format!("{at}?node=n0000")).await.unwrap();
    assert_eq!(of_node.status(), 200, "{}", of_node.text().await.unwrap());
    let unknown = plain("/?node=n0000&color=red").await.unwrap();
    assert_eq!(unknown.status(), 400);
    let why = unknown.text().await.unwrap();
    assert!(why.contains("color") && why.ends_with('\n') && !why.starts_with('{'), "{why}");
}

#[tokio::test]
async fn metrics_are_served_beside_the_page() {
    let (_script, _double, server, _) = served().await;
    let text = reqwest::get(format!("http://{}/metrics", server.address)).await.unwrap().text().await.unwrap();
    // The counts are of this server alone, whatever else runs in the process.
    for (name, count) in [
        ("upstream_dials_total", "1"),
        ("upstream_connections_total", "1"),
        ("upstream_losses_total", "0"),
        ("ticks_skipped_total", "0"),
        ("watches", "0.0"),
    ] {
        let wanted = format!("starling_dashboard_{name} {count}");
        assert!(text.lines().any(|line| line == wanted), "{wanted:?} is not in:\n{text}");
    }
}
