//! Two Alertmanagers of Debian that are one cluster, and two of us that take turns, by the public specification of alert
//! generators: all of them are sent all alerts, again and again, with an end that lies ahead; what is over is sent for a while.

use super::*;

/// Free ports of this machine.
fn ports<const N: usize>() -> [u16; N] {
    let listeners: [StdListener; N] = std::array::from_fn(|_| StdListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// One Alertmanager of a pair: its own two ports, those of the other one, and whom it tells.
fn alertmanager(dir: &std::path::Path, (web, gossip): (u16, u16), other: u16, hook: u16) -> Running {
    let settings = format!(
        "route: {{receiver: hook, group_by: [alertname, node], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{hook}/'}}]}}]\n"
    );
    let own = dir.join(web.to_string());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("am.yml"), settings).unwrap();
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "prometheus-alertmanager"])
        .arg(format!("--config.file={}", own.join("am.yml").display()))
        .arg(format!("--storage.path={}", own.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{web}"))
        .arg(format!("--cluster.listen-address=127.0.0.1:{gossip}"))
        .arg(format!("--cluster.advertise-address=127.0.0.1:{gossip}"))
        .arg(format!("--cluster.peer=127.0.0.1:{other}"))
        .args(["--cluster.gossip-interval=50ms", "--cluster.peer-timeout=1s", "--cluster.pushpull-interval=1s"])
        .args(["--cluster.probe-interval=300ms", "--cluster.probe-timeout=200ms"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

/// What one answers to a question about `path`.
async fn get(web: u16, path: &str) -> Option<Json> {
    let mut stream = TcpStream::connect(("127.0.0.1", web)).await.ok()?;
    let ask = format!("GET {path} HTTP/1.0\r\nHost: am\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    text.split_once("\r\n\r\n")?.1.parse().ok()
}

/// Its alerts by node: fingerprint and end.
async fn known(web: u16) -> BTreeMap<String, (String, String)> {
    let all = get(web, "/api/v2/alerts").await.unwrap();
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    let all = all.as_array().unwrap();
    let by_node: BTreeMap<_, _> = all
        .iter()
        .map(|one| (text(&one["labels"]["node"]), (text(&one["fingerprint"]), text(&one["endsAt"]))))
        .collect();
    assert_eq!(by_node.len(), all.len(), "one alert is two there: {all:?}");
    by_node
}

/// Counts what receivers heard, by node and state, until `wanted` of them are there or for `most`.
async fn heard(
    asked: &mut mpsc::Receiver<Asked>,
    seen: &mut BTreeMap<(String, String), usize>,
    wanted: usize,
    most: Duration,
) {
    let until = Instant::now() + most;
    while seen.len() < wanted {
        let Ok(Some((_, _, body))) = tokio::time::timeout_at(until, asked.recv()).await else { return };
        let body: Json = body.parse().unwrap();
        for one in body["alerts"].as_array().unwrap() {
            let text = |value: &Json| value.as_str().unwrap().to_owned();
            *seen.entry((text(&one["labels"]["node"]), text(&one["status"]))).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_of_alertmanagers_outlives_one_of_them_and_one_of_us() {
    if Command::new("prometheus-alertmanager").arg("--version").output().is_err() {
        eprintln!("skipped: prometheus-alertmanager is not installed, see .ci/install-tools");
        return;
    }
    let (hook, mut asked) = sink(ok).await;
    let dir = tempfile::tempdir().unwrap();
    let [web_a, web_b, gossip_a, gossip_b] = ports::<4>();
    let first = alertmanager(dir.path(), (web_a, gossip_a), gossip_b, hook);
    let _second = alertmanager(dir.path(), (web_b, gossip_b), gossip_a, hook);
    let until = Instant::now() + Duration::from_secs(30);
    for web in [web_a, web_b] {
        loop {
            let status = get(web, "/api/v2/status").await.unwrap_or_default();
            let cluster = &status["cluster"];
            if cluster["status"] == "ready" && cluster["peers"].as_array().is_some_and(|peers| peers.len() == 2) {
                break;
            }
            assert!(Instant::now() < until, "they are no pair: {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let keys = |web: u16| format!("kind = \"alertmanager\"\nurl = \"http://127.0.0.1:{web}\"\nresend_secs = 10");
    let file = file(&[("am-a", keys(web_a)), ("am-b", keys(web_b))]);
    // Both of us know all; one speaks, the other has its records.
    let (mut one, two) = (bench(&file), bench(&file));
    two.notifiers.rank(Some(1));
    let both = |alerts: &[Alert]| {
        for notifiers in [&one.notifiers, &two.notifiers] {
            notifiers.tick(Pulse { judged_tick: now(), rules: 1, ..Pulse::default() });
            alerts.iter().for_each(|alert| notifiers.changed(alert.clone(), &BTreeMap::new()));
        }
    };
    let (began, since, mut seen) = (Instant::now(), now(), BTreeMap::new());
    let fired: Vec<Alert> = (1..=5).map(|id| alert(id, &format!("web-{id}"), AlertSeverity::Critical, since)).collect();
    both(&fired);
    heard(&mut asked, &mut seen, 5, Duration::from_secs(8)).await;
    assert_eq!(seen.len(), 5, "{seen:?}");
    let told = [known(web_a).await, known(web_b).await];
    assert!(told[0].keys().eq(told[1].keys()) && told[0].len() == 5, "each is sent all: {told:?}");
    let end: jiff::Timestamp = told[1]["web-1"].1.parse().unwrap();
    let ahead = end.as_second() - i64::from(since);
    assert!((35..=45).contains(&ahead), "four times the period ahead: {ahead}");

    // One of them is gone: the other one tells what comes now.
    drop(first);
    let more: Vec<Alert> = (6..=8).map(|id| alert(id, &format!("web-{id}"), AlertSeverity::Critical, now())).collect();
    both(&more);
    heard(&mut asked, &mut seen, 8, Duration::from_secs(8)).await;
    assert_eq!(seen.len(), 8, "{seen:?}");

    // One of us is gone: the other one goes on, with the same labels and no word too many.
    while let Ok(record) = one.records.try_recv() {
        two.notifiers.delivery(&record);
    }
    drop(one);
    let before = known(web_b).await;
    two.notifiers.rank(Some(0));
    let went_on = began + Duration::from_secs(13);
    while Instant::now() < went_on {
        two.notifiers.tick(Pulse { judged_tick: now(), rules: 1, ..Pulse::default() });
        heard(&mut asked, &mut seen, usize::MAX, Duration::from_millis(250)).await;
    }
    let after = known(web_b).await;
    for (node, (fingerprint, end)) in &before {
        let (same, later) = &after[node];
        assert_eq!(fingerprint, same, "{node} is another alert");
        assert!(node.as_str() > "web-5" || later > end, "{node} was not sent again: {end} {later}");
    }
    let told: Vec<Alert> = fired.into_iter().chain(more).map(|alert| cleared(alert, now())).collect();
    told.iter().for_each(|alert| two.notifiers.changed(alert.clone(), &BTreeMap::new()));
    two.notifiers.tick(Pulse { judged_tick: now(), rules: 1, ..Pulse::default() });
    heard(&mut asked, &mut seen, 16, Duration::from_secs(8)).await;
    heard(&mut asked, &mut seen, usize::MAX, Duration::from_millis(300)).await;
    assert_eq!(seen.len(), 16, "{seen:?}");
    // On a busy machine one of the pair may not have heard in time that the other one told: each tells once at most.
    assert!(seen.values().all(|count| *count <= 2), "each beginning and each end once: {seen:?}");
}
