//! The Model Context Protocol, as a client of it talks.

use serde_json::{Value, json};

use crate::harness::Server;
use crate::history::served;

/// One request as an assistant's client sends it; gives the status and the answer.
async fn ask(server: &Server, method: &str, params: Value) -> (u16, Value) {
    ask_as(server, method, params, &[]).await
}

async fn ask_as(server: &Server, method: &str, params: Value, headers: &[(&str, &str)]) -> (u16, Value) {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut asked = reqwest::Client::new()
        .post(format!("http://{}/mcp", server.address))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .body(request.to_string());
    for (name, value) in headers {
        asked = asked.header(*name, *value);
    }
    let response = asked.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// What a tool says, and whether it is an error.
async fn call(server: &Server, tool: &str, arguments: Value) -> (String, bool) {
    let (status, answer) = ask(server, "tools/call", json!({ "name": tool, "arguments": arguments })).await;
    assert_eq!(status, 200, "{answer}");
    let result = &answer["result"];
    let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{tool}: {answer}")).to_owned();
    assert!(text.len() <= 2_000, "{tool}: {} bytes", text.len());
    (text, result["isError"] == json!(true))
}

#[tokio::test]
async fn an_assistant_asks_what_is_wrong() {
    let (_script, _double, server, _) = served().await;
    server.get_until("/api/v1/system/metrics", |answer| answer["verdict"]["word"] != "").await;
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
    let (status, answer) = ask(&server, "initialize", hello).await;
    assert_eq!((status, &answer["result"]["serverInfo"]["name"]), (200, &json!("starling")), "{answer}");
    let (_, answer) = ask(&server, "tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().unwrap();
    assert!((5..=10).contains(&tools.len()), "{answer}");
    assert!(tools.iter().all(|tool| tool["annotations"]["readOnlyHint"] == json!(true)), "{answer}");

    let (text, failed) = call(&server, "whats_wrong", json!({})).await;
    assert!(!failed && text.contains("requests  100.0/s"), "{text}");
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        let (text, failed) = call(&server, name, json!({})).await;
        assert!(!failed, "{name}: {text}");
    }
    let (text, _) = call(&server, "nodes", json!({ "sortBy": "cpuUtilizationRatio" })).await;
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&rows["nodes"], rows["rows"].as_array().unwrap().len()), (&json!(4), 4), "{text}");
    let (text, _) = call(&server, "what_differs", json!({ "lower": 20_000, "range": "10m" })).await;
    assert!(text.contains("\"value\":\"n0000\""), "{text}");
    let (text, failed) = call(&server, "history", json!({ "metric": "no.such" })).await;
    assert!(failed && text.contains("no.such"), "{text}");
    let (text, failed) = call(&server, "history", json!({ "color": "red" })).await;
    assert!(failed && text.starts_with("\"color\" is no argument of history"), "{text}");
    let (_, answer) = ask(&server, "tools/call", json!({ "name": "delete_everything" })).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("whats_wrong"), "{answer}");
}

#[tokio::test]
async fn a_page_of_elsewhere_and_what_is_too_long_are_refused() {
    let (_script, _double, server, _) = served().await;
    let (status, _) = ask_as(&server, "tools/list", json!({}), &[("origin", "http://evil.example")]).await;
    assert_eq!(status, 403);
    let (status, _) = ask_as(&server, "tools/list", json!({}), &[("host", "evil.example")]).await;
    assert_eq!(status, 403);
    let (status, _) = ask(&server, "tools/list", json!({ "cursor": "x".repeat(20 << 10) })).await;
    assert_eq!(status, 413);
}
