//! Alerts: over HTTP, on their WebSocket, to pages, and for Grafana.

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use starling_proto::{live, v1};
use starling_testkit::{Script, Scripted, eventually};
use tokio::time::timeout;

use crate::harness::{LIMIT, Server, now, table, view};

/// An alert about a node, or about the cluster when `node` is empty.
fn alert(id: &str, rule: &str, node: &str, severity: v1::AlertSeverity, state: v1::AlertState) -> v1::Alert {
    let scope = if node.is_empty() { v1::AlertScope::Cluster } else { v1::AlertScope::Node };
    let protocol = v1::AlertAttribute { key: "protocol".into(), value: "http1".into() };
    v1::Alert {
        episode: Some(v1::AlertEpisode {
            episode_id: id.into(),
            rule: rule.into(),
            scope: scope.into(),
            subject: node.into(),
            attributes: if rule == "errors" { vec![protocol] } else { Vec::new() },
            state: state.into(),
            severity: severity.into(),
            since_tick: 1_700_000_000,
            value: Some(0.97),
            limit: Some(0.95),
            worst: Some(1.0),
            ..Default::default()
        }),
        sentence: format!("{rule} of {node:?}"),
        expression: "system.cpu.utilization[10s]".into(),
        unit: "share".into(),
        ..Default::default()
    }
}

use v1::AlertSeverity::{Critical, Error, Warning};
use v1::AlertState::{Firing, Pending};

/// A cluster with three open alerts and a pending one.
async fn served() -> (Script, Scripted, Server, u32) {
    let (script, newest) = (Script::default(), now());
    for tick in newest - 9..=newest {
        script.report(view(tick, 100.0), Some(table(tick, 4)));
    }
    let rule = v1::AlertRule { name: "cpu-busy".into(), expression: "x".into(), ..Default::default() };
    script.set_rules(vec![rule.clone(), v1::AlertRule { name: "errors".into(), file: "own.toml".into(), ..rule }]);
    let open = vec![
        alert("a1", "cpu-busy", "n0001", Warning, Firing),
        alert("a2", "errors", "", Error, Firing),
        alert("a3", "cpu-busy", "n0002", Critical, Firing),
        alert("a4", "cpu-busy", "n0003", Warning, Pending),
    ];
    script.report_alerts(open, Vec::new(), newest);
    let double = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    server.get_until("/api/v1/alerts/performance", |list| list.as_array().is_some_and(|list| list.len() == 3)).await;
    (script, double, server, newest)
}

/// Sends a body: status and answer.
async fn send(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = reqwest::Client::new().request(method, format!("http://{}{path}", server.address)).json(&body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|is| is["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_open_is_listed_worst_first() {
    let (_script, _double, server, newest) = served().await;
    let (_, list) = server.get("/api/v1/alerts/performance").await;
    assert_eq!(ids(&list), ["a3", "a2", "a1"]);
    assert_eq!(list[0]["node"], "n0002");
    assert_eq!(
        (&list[1]["threshold"], &list[1]["currentValue"], &list[1]["state"]),
        (&json!(0.95), &json!(0.97), &json!("firing"))
    );
    for (query, wanted) in [
        ("?node=n0001", vec!["a1"]),
        ("?group=zone:b", vec!["a1"]),
        ("?group=zone:a", vec!["a3"]),
        ("?state=pending", vec!["a4"]),
        ("?state=acknowledged", vec![]),
    ] {
        assert_eq!(ids(&server.get(&format!("/api/v1/alerts/performance{query}")).await.1), wanted, "{query}");
    }
    let (_, all) = server.get("/api/v1/alerts").await;
    assert_eq!(
        (ids(&all["alerts"]), &all["open"], &all["unavailable"]),
        (vec!["a3", "a2", "a1"], &json!(3), &Value::Null)
    );
    assert!(all["judgedAt"].as_str().unwrap().ends_with(".000Z") && newest > 0, "{all}");
    assert_eq!(all["alerts"][0]["expression"], "system.cpu.utilization[10s]");
    let (status, one) = server.get("/api/v1/alerts/a4").await;
    assert_eq!((status, &one["state"]), (200, &json!("pending")));
    let (status, none) = server.get("/api/v1/alerts/zz").await;
    assert_eq!((status, &none["error"]["code"], &none["error"]["field"]), (404, &json!("not_found"), &json!("id")));
    let (status, bad) = server.get("/api/v1/alerts?state=open").await;
    assert_eq!((status, &bad["error"]["field"]), (400, &json!("state")));
    assert_eq!(server.get("/api/v1/rules").await.1["rules"][1]["file"], "own.toml");
    assert_eq!(ids(&server.get("/api/v1/episodes?rule=errors").await.1["episodes"]), ["a2"]);
    // The status of a protocol is what is open about it.
    let (_, protocols) = server.get("/api/v1/metrics/protocols").await;
    assert_eq!(protocols["protocols"][0]["status"], "error");
}

#[tokio::test]
async fn somebody_looks_after_it_and_takes_that_back() {
    let (_script, _double, server, _) = served().await;
    let path = "/api/v1/alerts/a1/ack";
    let ack = json!({ "who": "op-1", "comment": "swap ordered", "forSeconds": 60 });
    let (status, answer) = send(&server, Method::POST, path, ack).await;
    assert_eq!((status, &answer["acknowledgement"]["who"]), (200, &json!("op-1")), "{answer}");
    let acknowledged = |list: &Value| ids(list) == ["a1"] && list[0]["acknowledgedBy"] == "op-1";
    server.get_until("/api/v1/alerts/performance?state=acknowledged", acknowledged).await;
    assert_eq!(send(&server, Method::DELETE, path, json!({})).await.1["error"]["field"], "who");
    assert_eq!(send(&server, Method::DELETE, &format!("{path}?who=op-1"), json!({})).await.0, 200);
    server.get_until("/api/v1/alerts/performance?state=acknowledged", |list| ids(list).is_empty()).await;
    for (body, field) in [
        (json!({}), "who"),
        (json!({ "who": " " }), "who"),
        (json!({ "who": "op", "comment": 5 }), "comment"),
        (json!({ "who": "op", "forSeconds": "1h" }), "forSeconds"),
    ] {
        let (status, answer) = send(&server, Method::POST, path, body.clone()).await;
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{body}: {answer}");
    }
    let (status, answer) = send(&server, Method::POST, path, json!({ "who": "op", "commment": "x" })).await;
    assert!(status == 400 && answer["error"]["message"].as_str().unwrap().contains("commment"), "{answer}");
    let (status, _) = send(&server, Method::POST, "/api/v1/alerts/zz/ack", json!({ "who": "op" })).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_silence_is_previewed_made_and_ended() {
    let (_script, _double, server, _) = served().await;
    let matchers = json!([{ "key": "rule", "value": "cpu-busy" }, { "key": "subject", "value": "n0002" }]);
    let body = |preview: bool| json!({ "matchers": matchers, "who": "op-1", "forSeconds": 600, "preview": preview });
    let (_, preview) = send(&server, Method::POST, "/api/v1/silences", body(true)).await;
    assert_eq!((ids(&preview["covers"]), &preview["silence"]["id"]), (vec!["a3"], &Value::Null), "{preview}");
    assert_eq!(server.get("/api/v1/silences").await.1["silences"], json!([]));
    let (_, made) = send(&server, Method::POST, "/api/v1/silences", body(false)).await;
    let id = made["silence"]["id"].as_str().unwrap().to_owned();
    server.get_until("/api/v1/alerts/performance?state=silenced", |list| ids(list) == ["a3"]).await;
    assert_eq!(server.get("/api/v1/silences").await.1["silences"][0]["who"], "op-1");
    let ended = send(&server, Method::DELETE, &format!("/api/v1/silences/{id}?who=op-2"), json!({})).await;
    assert_eq!(ended.0, 200);
    server.get_until("/api/v1/alerts/performance?state=silenced", |list| ids(list).is_empty()).await;
    for (body, field) in [
        (json!({ "who": "op", "forSeconds": 5 }), "matchers"),
        (json!({ "matchers": [{ "value": "x" }], "who": "op", "forSeconds": 5 }), "key"),
        (json!({ "matchers": matchers, "forSeconds": 5 }), "who"),
        (json!({ "matchers": matchers, "who": "op" }), "forSeconds"),
        (json!({ "matchers": matchers, "who": "op", "forSeconds": 5, "starts": "soon" }), "starts"),
    ] {
        let (status, answer) = send(&server, Method::POST, "/api/v1/silences", body.clone()).await;
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{body}: {answer}");
    }
}

#[tokio::test]
async fn what_changes_something_is_guarded() {
    let (_script, _double, server, _) = served().await;
    let url = format!("http://{}/api/v1/alerts/a1/ack", server.address);
    let post = || reqwest::Client::new().post(&url).json(&json!({ "who": "op" }));
    let own = format!("http://{}", server.address);
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(post().header("origin", "http://evil.example")).await, 403);
    assert_eq!(status(post().header("origin", own)).await, 200);
    // What a form of another site can send.
    assert_eq!(status(reqwest::Client::new().post(&url).header("content-type", "text/plain").body("{}")).await, 415);
    let long = "x".repeat(70 * 1024);
    assert_eq!(status(reqwest::Client::new().post(&url).json(&json!({ "who": long }))).await, 413);
    assert_eq!(status(reqwest::Client::new().get(&url)).await, 405);
}

#[tokio::test]
async fn a_page_and_a_socket_get_them_with_the_second() {
    let (script, _double, server, newest) = served().await;
    let mut page = server.page().await;
    page.subscribe(1, live::View::Overview, "", 0).await;
    let Some(live::state::Body::Overview(overview)) = page.snapshot().await.state.unwrap().body else {
        panic!("an overview")
    };
    let alerts = overview.alerts.unwrap();
    assert_eq!((alerts.alerts.len(), alerts.open, alerts.unavailable.as_str()), (3, 3, ""));
    assert!(alerts.alerts[0].expression.is_empty(), "what only details show is left out");
    assert_eq!(overview.judged.unwrap().verdict.unwrap().word, "Degraded");

    let mut socket = server.socket("/ws/alerts").await;
    let mut next = async || {
        let message = timeout(LIMIT, socket.next()).await.expect("an object comes").unwrap().unwrap();
        serde_json::from_str::<Value>(message.to_text().unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!((ids(&first["alerts"]), &first["verdict"]["word"]), (vec!["a3", "a2", "a1"], &json!("Degraded")));
    script.report_alerts(Vec::new(), vec!["a3".into(), "a2".into(), "a1".into()], newest + 1);
    server.get_until("/api/v1/alerts/performance", |list| ids(list).is_empty()).await;
    script.report(view(newest + 1, 7.0), None);
    let second = next().await;
    assert_eq!((ids(&second["alerts"]).len(), &second["verdict"]["word"]), (0, &json!("Healthy")), "{second}");
}

#[tokio::test]
async fn grafana_lists_rules_and_alerts() {
    let (_script, _double, server, _) = served().await;
    let (_, rules) = server.get("/prometheus/api/v1/rules").await;
    let groups = rules["data"]["groups"].as_array().unwrap();
    assert_eq!(groups.iter().map(|is| is["name"].as_str().unwrap()).collect::<Vec<_>>(), ["default", "own.toml"]);
    let busy = &groups[0]["rules"][0];
    assert_eq!(
        (&busy["state"], busy["alerts"].as_array().unwrap().len(), &busy["type"]),
        (&json!("firing"), 3, &json!("alerting"))
    );
    let (_, alerts) = server.get("/prometheus/api/v1/alerts").await;
    let list = alerts["data"]["alerts"].as_array().unwrap();
    assert_eq!(list.len(), 4);
    assert_eq!(
        (&list[0]["labels"]["alertname"], &list[0]["labels"]["node"], &list[0]["state"]),
        (&json!("cpu-busy"), &json!("n0002"), &json!("firing"))
    );
    assert_eq!(server.get("/prometheus/api/v1/rules?type=record").await.1["data"]["groups"], json!([]));
}

#[tokio::test]
async fn an_older_aggregator_has_no_alerts_and_says_so() {
    let (script, newest) = (Script::default(), now());
    script.without_alerts();
    script.report(view(newest, 1.0), Some(table(newest, 2)));
    let double = Scripted::start(&script, "old", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    let (_, all) = server.get("/api/v1/alerts").await;
    assert!(all["unavailable"].as_str().unwrap().contains("version without alerts"), "{all}");
    let (_, health) = server.get("/api/v1/system/metrics").await;
    assert_eq!(health["verdict"]["word"], "Partial");
    assert!(health["verdict"]["text"].as_str().unwrap().contains("limits are not judged"), "{health}");
    assert_eq!(server.get("/api/v1/metrics/protocols").await.1["protocols"][0]["status"], "unknown");
    assert_eq!(server.get("/api/v1/rules").await.0, 503);
}

#[tokio::test]
async fn alerts_follow_to_the_next_aggregator() {
    let (script, first, _server, newest) = served().await;
    let second = Scripted::start(&script, "a2", 0).await;
    let server = Server::start(&[first.address, second.address]).await;
    server.ready().await;
    first.kill();
    eventually("the other one is followed", async || match server.get("/api/v1/cluster").await {
        (200, answer) if answer["connectedTo"] == "a2" => Ok(()),
        (status, answer) => Err(format!("{status} {answer}")),
    })
    .await;
    script.report_alerts(vec![alert("a9", "load-high", "n0000", Warning, Firing)], Vec::new(), newest + 1);
    server.get_until("/api/v1/alerts/performance?node=n0000", |list| ids(list) == ["a9"]).await;
}

#[tokio::test]
async fn dead_letters_are_listed_and_sent_again() {
    let (script, _double, server, _) = served().await;
    let item =
        v1::DeadLetterItem { episode_id: "a1".into(), what: "firing".into(), sentence: "cpu-busy of n0001".into() };
    let letter = |notifier: &str, letter_id: u64| v1::DeadLetter {
        aggregator_id: "a1".into(),
        notifier: notifier.into(),
        letter_id,
        at_unix_ms: 1_700_000_000_500,
        reason: "503: busy".into(),
        attempts: 12,
        items: vec![item.clone()],
        episodes: 1,
    };
    script.set_letters(vec![letter("ops", 7), letter("ops", 8), letter("mail", 9)]);
    let (status, all) = server.get("/api/v1/alerts/dead-letters").await;
    assert_eq!((status, all["deadLetters"].as_array().unwrap().len()), (200, 3), "{all}");
    let first = &all["deadLetters"][0];
    let wanted = json!({
        "aggregator": "a1", "notifier": "ops", "id": 7, "givenUpAt": "2023-11-14T22:13:20.500Z", "reason": "503: busy",
        "attempts": 12, "episodes": 1, "alerts": [{ "id": "a1", "what": "firing", "sentence": "cpu-busy of n0001" }],
    });
    assert_eq!(first, &wanted);
    let (_, some) = server.get("/api/v1/alerts/dead-letters?notifier=mail").await;
    assert_eq!(some["deadLetters"].as_array().unwrap().len(), 1);
    let again = "/api/v1/alerts/dead-letters/resend";
    let (status, answer) =
        send(&server, Method::POST, again, json!({ "notifier": "ops", "aggregator": "a1", "id": 7, "who": "eve" }))
            .await;
    assert_eq!((status, &answer["resent"]), (200, &json!(1)), "{answer}");
    let (status, _) =
        send(&server, Method::POST, again, json!({ "notifier": "ops", "aggregator": "a1", "id": 7, "who": "eve" }))
            .await;
    assert_eq!(status, 404, "it is on its way");
    let (_, answer) = send(&server, Method::POST, again, json!({ "notifier": "ops", "who": "eve" })).await;
    assert_eq!(answer["resent"], 1);
    let nobody = (json!({ "notifier": "ops" }), "who");
    for (body, field) in [(json!({}), "notifier"), (json!({ "notifier": "ops", "id": "x" }), "id"), nobody] {
        let (status, answer) = send(&server, Method::POST, again, body).await;
        assert_eq!((status, &answer["error"]["field"]), (400, &json!(field)), "{answer}");
    }
    assert_eq!(server.get("/api/v1/alerts/dead-letters").await.1["deadLetters"].as_array().unwrap().len(), 1);
}
