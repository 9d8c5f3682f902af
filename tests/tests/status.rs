//! `starling status` against real processes: the exit code says what the sentence says.

use serde_json::Value;
use starling_tests::{Cluster, Program, eventually};

/// Exit code, and what was printed.
fn status(arguments: &[&str]) -> (Option<i32>, String) {
    Program::all_of("starling", &[&["status"], arguments].concat())
}

fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_what_the_sentence_says() {
    let (code, text) = status(&["--aggregator", &closed(), "--within", "1"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.starts_with("No data: no aggregator is reached (127.0.0.1:"), "{text}");

    let cluster = Cluster::start(2).await;
    let addresses = cluster.seeds();
    // The first does not answer; one is enough.
    let listed = format!("{},{}", closed(), addresses[0]);
    eventually("nobody has reported", async || {
        let (code, text) = status(&["--aggregator", &listed]);
        let wanted = "No data: no node has reported in the last 15 minutes.";
        if code == Some(2) && text.starts_with(wanted) { Ok(()) } else { Err(format!("{code:?} {text}")) }
    })
    .await;

    let mut daemon = Program::daemon("web-1", &addresses, &[]);
    let document = eventually("a node reports", async || {
        let (code, text) = status(&["--aggregator", &listed, "--output", "json"]);
        let document: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let reports = document["completeness"]["nodesReporting"] == 1 && document["completeness"]["nodesExpected"] == 1;
        let told = document["state"] != "unknown";
        if reports && told { Ok((code, document)) } else { Err(text) }
    })
    .await;
    let (code, document) = document;
    // This host may be busy: then the code is 1 and an alert says so.
    let word = if document["alertsOpen"] == 0 { ("healthy", 0) } else { ("wrong", 1) };
    assert_eq!((document["state"].as_str(), code), (Some(word.0), Some(word.1)), "{document}");
    assert_eq!((&document["exitCode"], &document["cluster"]), (&word.1.into(), &"test".into()), "{document}");
    assert!(document["answeredBy"].as_str().is_some_and(|name| name.starts_with("agg-")), "{document}");

    // A node is expected when it has reported two different seconds.
    let first = document["timestamp"].clone();
    eventually("a second second", async || {
        let (_, text) = status(&["--aggregator", &listed, "--output", "json"]);
        let document: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let reports = document["completeness"]["nodesReporting"] == 1;
        if reports && document["timestamp"] != first { Ok(()) } else { Err(text) }
    })
    .await;
    daemon.kill();
    let text = eventually("the node is silent", async || {
        let (code, text) = status(&["--aggregator", &listed]);
        if code == Some(1) && text.contains("web-1") { Ok(text) } else { Err(format!("{code:?} {text}")) }
    })
    .await;
    assert!(text.contains("cluster test, ") && text.contains(" UTC: 0 of 1 nodes report"), "{text}");

    let (code, text) = status(&["--aggregator", "nonsense"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--aggregator: \"nonsense\" is not \"host:port\""), "{text}");
}
