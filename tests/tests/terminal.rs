//! `starling top` on real terminals: what is on the screen, that keys do what they say, and that the terminal is left as it was.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use starling_proto::v1;
use starling_testkit::{Script, Scripted};
use starling_tests::{Cluster, Cost, Program, Terminal, binary, this_second};

const ESCAPE: &str = "\u{1b}";

fn top(arguments: &[&str], variables: &[(&str, &str)]) -> Terminal {
    Terminal::start(&binary("starling"), &[&["top"], arguments].concat(), variables, (80, 24))
}

fn signal(terminal: &Terminal, signal: Signal) {
    kill_process(Pid::from_raw(terminal.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_80_by_24() {
    let cluster = Cluster::start(2).await;
    let addresses = cluster.seeds();
    let daemons = ["web-1", "web-2"].map(|name| Program::daemon(name, &addresses, &["labels.zone=a"]));
    let mut screen = top(&["--aggregator", &addresses[0]], &[]);
    screen.shows(&["starling test", "UTC live", "2 of 2 nodes", "CPU", "Memory"]).await;
    screen.press("2");
    screen.shows(&["web-1", "web-2", "name, a to z; 2 nodes"]).await;
    screen.press("/");
    screen.press("web-2 zone:a\r");
    screen.shows(&["1 of 2 nodes"]).await;
    assert!(!screen.screen().contains("web-1"), "{}", screen.screen());
    screen.press("\r");
    screen.shows(&["Cores", "Daemon", "zone:a"]).await;
    screen.press(ESCAPE);
    screen.shows(&["1 of 2 nodes"]).await;
    screen.press(ESCAPE);
    screen.shows(&["name, a to z; 2 nodes", "web-1"]).await;
    screen.press("3");
    screen.shows(&["cpu, by no label", "web-"]).await;
    screen.press("4");
    screen.shows(&["Enter details"]).await;
    screen.press(" ");
    screen.shows(&["before the newest", "Space live"]).await;
    screen.press(" ,");
    screen.shows(&["before the newest"]).await;
    screen.press(" ?");
    screen.shows(&["Keys", "a minute back, forward"]).await;
    screen.press("x1");
    screen.shows(&["UTC live", "Requests"]).await;
    screen.resize(130, 40);
    screen.shows(&["UTC live", "2 of 2 nodes", "q quit"]).await;
    screen.press("q");
    assert_eq!(screen.ended().await, Some(0));
    screen.is_restored().await;
    drop(daemons);
}

/// A cluster of false nodes, whose names are `names`, with `label` as their zone and an alert of these words, that reports each second for as long as the answer lives.
fn false_nodes(names: Vec<String>, label: &str, alert: &str) -> (Script, tokio::task::JoinHandle<()>) {
    let script = Script::default();
    let (reporting, label) = (script.clone(), label.to_owned());
    let open = (!alert.is_empty()).then(|| v1::Alert {
        episode: Some(v1::AlertEpisode {
            episode_id: "e1".into(),
            rule: "a-rule".into(),
            scope: v1::AlertScope::Cluster.into(),
            state: v1::AlertState::Firing.into(),
            severity: v1::AlertSeverity::Warning.into(),
            since_tick: this_second(),
            ..Default::default()
        }),
        sentence: alert.to_owned(),
        description: alert.to_owned(),
        ..Default::default()
    });
    let task = tokio::spawn(async move {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        reporting.report_alerts(open.into_iter().collect(), Vec::new(), this_second());
        loop {
            seconds.tick().await;
            let tick = this_second();
            let count = Some(u32::try_from(names.len()).unwrap());
            let completeness =
                Some(v1::Completeness { nodes_reporting: count, nodes_expected: count, tick, ..Default::default() });
            let nodes = names.iter().enumerate().map(|(at, name)| v1::NodeRow {
                node_id: name.clone(),
                state: v1::NodeState::Reporting.into(),
                last_tick: tick,
                labels: [("zone".to_owned(), label.clone())].into(),
                cpu_utilization_ratio: Some((at as f64 + f64::from(tick)) % 10.0 / 10.0),
                memory_used_ratio: Some(0.5),
                requests_per_second: Some((at as f64 * 7.0 + f64::from(tick)) % 100.0),
                errors_per_second: Some(0.0),
                p99_micros: Some(1_000.0 + (at as f64 * 13.0 + f64::from(tick)) % 1_000.0),
                load1: Some(1.0),
                connections: Some(5.0),
                cores: 8,
                ..Default::default()
            });
            let table = v1::NodeTable {
                tick,
                nodes: nodes.collect(),
                completeness: completeness.clone(),
                ..Default::default()
            };
            let charted = [("rps.total".to_owned(), f64::from(tick % 100)), ("cpu.total".to_owned(), 0.5)];
            let view = v1::ClusterView {
                tick,
                cluster: "false\u{1b}[7m".to_owned(),
                completeness,
                charted: charted.into(),
                ..Default::default()
            };
            reporting.report(view, Some(table));
        }
    });
    (script, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_and_no_colours() {
    // Names of nodes are letters and digits by the protocol; labels may be any text that controls nothing, sentences anything.
    let hostile = "evil\u{1b}[31m\u{202e}\u{9b}5m\u{1b}]0;title\u{7}";
    let (script, _reporting) = false_nodes(vec!["bad".to_owned(), "good".to_owned()], "evil\u{202e}zone", hostile);
    let double = Scripted::start(&script, "agg-1", 0).await;
    let mut screen = top(&["--aggregator", &double.address.to_string()], &[("NO_COLOR", "1")]);
    screen.shows(&["UTC live", "2 of 2 nodes"]).await;
    screen.press("2");
    screen.shows(&["bad", "good"]).await;
    for keys in ["3", "g", "4", "\r", "2", "q"] {
        screen.press(keys);
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(screen.ended().await, Some(0));
    let written = screen.written();
    let has = |bytes: &[u8]| written.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(b"evil"), "it was shown");
    for bad in [&b"\x1b[31m"[..], "\u{202e}".as_bytes(), "\u{9b}".as_bytes(), b"\x1b]0;", b"\x07"] {
        assert!(!has(bad), "{bad:?} reached the terminal");
    }
    // Colours are set by 30 to 49 and 90 to 107.
    let text = String::from_utf8_lossy(&written);
    let parameters = text.split("\u{1b}[").filter_map(|part| part.split_once('m').map(|(set, _)| set));
    let coloured = parameters.filter(|set| set.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'));
    let coloured: Vec<&str> = coloured
        .filter(|set| {
            set.split(';').any(|one| {
                matches!(one, "38" | "48")
                    || (matches!(one.len(), 2 | 3) && matches!(one.parse::<u8>(), Ok(30..=37 | 40..=47 | 90..=107)))
            })
        })
        .collect();
    assert_eq!(coloured, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_aggregator_is_followed_when_one_dies() {
    let (script, _reporting) = false_nodes(vec!["n1".to_owned()], "a", "");
    let one = Scripted::start(&script, "agg-1", 0).await;
    let mut screen = top(&["--aggregator", &one.address.to_string()], &[]);
    screen.shows(&["UTC live", "1 of 1 nodes"]).await;
    // Learnt from the first.
    let two = Scripted::start(&script, "agg-2", 0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    one.kill();
    tokio::time::sleep(Duration::from_secs(4)).await;
    screen.shows(&["UTC live", "1 of 1 nodes"]).await;
    two.kill();
    screen.shows(&["UTC stale", "No new data since", "no aggregator answers"]).await;
    screen.press("\u{3}");
    assert_eq!(screen.ended().await, Some(0), "Ctrl-C");
    screen.is_restored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_the_dashboard_is_reached() {
    let (script, _reporting) = false_nodes(vec!["n1".to_owned()], "a", "");
    let double = Scripted::start(&script, "agg-1", 0).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (listen, aggregators) = (format!("listen={free}"), format!("aggregators=[\"{}\"]", double.address));
    let mut page = Program::with_settings("starling-dashboard", &[&listen, &aggregators]);
    let url = page.url("http");
    let mut screen = top(&["--dashboard", &url], &[]);
    screen.shows(&["UTC live", "1 of 1 nodes"]).await;
    screen.press("2");
    screen.shows(&["n1", "name, a to z; 1 nodes"]).await;
    let (code, text) =
        tokio::task::spawn_blocking(move || Program::all_of("starling", &["status", "--dashboard", &url]))
            .await
            .unwrap();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("Healthy: the node reports, nothing is beyond its limit."), "{text}");
    page.kill();
    screen.shows(&["The connection is lost", "No new data since"]).await;
    page.start_again();
    screen.shows(&["UTC live", "n1"]).await;
    screen.press("q");
    assert_eq!(screen.ended().await, Some(0));
    screen.is_restored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_leave_the_terminal_as_it_was() {
    let nobody = ["--aggregator", "127.0.0.1:9"];
    for (sent, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut screen = top(&nobody, &[]);
        screen.shows(&["No data", "No aggregator answers"]).await;
        signal(&screen, sent);
        assert_eq!(screen.ended().await, Some(code));
        screen.is_restored().await;
    }
    let mut screen = top(&nobody, &[]);
    screen.shows(&["No aggregator answers"]).await;
    screen.press("\u{1a}");
    screen.is_restored().await;
    signal(&screen, Signal::CONT);
    screen.shows(&["No aggregator answers"]).await;
    screen.press("q");
    assert_eq!(screen.ended().await, Some(0));
    screen.is_restored().await;
}

#[test]
fn without_a_terminal_it_says_so() {
    let (code, text) = Program::all_of("starling", &["top"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("starling top: standard input and output must be a terminal"), "{text}");
    assert!(text.contains("starling status") && !text.contains('\u{1b}'), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_read_on_a_terminal_that_is_as_it_was() {
    let own = std::env::current_exe().unwrap();
    let arguments = ["--ignored", "--exact", "child_that_panics", "--nocapture"];
    let mut screen = Terminal::start(&own, &arguments, &[("RUST_BACKTRACE", "0")], (80, 24));
    assert!(screen.ended().await.is_some_and(|code| code != 0));
    screen.is_restored().await;
    screen.shows(&["a planted panic"]).await;
    let written = screen.written();
    let entered = b"\x1b[?1049h";
    assert!(written.windows(entered.len()).any(|window| window == entered), "it was shown before");
}

#[test]
#[ignore = "the child of another test, on a terminal of its own"]
fn child_that_panics() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _ = runtime.block_on(async { starling_top::run(starling_top::Source::panics_for_test()).await });
}

/// Not part of a usual run: what drawing 1,000 nodes at 1 Hz costs. Prints seconds of processor time in 20 s for each page.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of two minutes"]
async fn what_a_thousand_nodes_cost() {
    let (script, _reporting) = false_nodes((0..1_000).map(|at| format!("node-{at:04}")).collect(), "a", "");
    let double = Scripted::start(&script, "agg-1", 0).await;
    let mut screen = top(&["--aggregator", &double.address.to_string()], &[]);
    screen.shows(&["UTC live", "1000 of 1000 nodes"]).await;
    for (page, keys) in [("overview", "1"), ("nodes by cpu", "2s"), ("map", "3"), ("alerts", "4")] {
        screen.press(keys);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (before, written) = (Cost::of(screen.id()).unwrap(), screen.written().len());
        tokio::time::sleep(Duration::from_secs(20)).await;
        let after = Cost::of(screen.id()).unwrap();
        let (spent, bytes) = (after.processor - before.processor, screen.written().len() - written);
        println!("{page}: {spent:?} of processor time and {bytes} bytes written in 20 s; {} MB", after.resident >> 20);
    }
}
