//! Alerts of a cluster of processes: who is gone is named, an episode outlives whoever judges it, and what a person says is the
//! same everywhere.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    fs,
    time::{Duration, Instant},
};

use starling_proto::v1;
use starling_service::grpc::alerts_client::AlertsClient;
use starling_tests::{Cluster, Program, eventually, sink::Sink};
use tonic::transport::Channel;

const LONG: &str = "[[rule]]\nname = \"always\"\nscope = \"cluster\"\nexpression = \"system.cpu.logical.count\"\nabove = 0\nfor = \"20s\"\nseverity = \"warning\"\nsummary = \"has processors\"\n";

async fn client(program: &Program) -> Result<AlertsClient<Channel>, String> {
    AlertsClient::connect(program.url("grpc")).await.map_err(|error| error.to_string())
}

/// The open alert of a rule at one aggregator.
async fn open(program: &Program, rule: &str) -> Result<v1::Alert, String> {
    let request = v1::ListAlertsRequest { include_pending: true, ..Default::default() };
    let answer = client(program).await?.list(request).await.map_err(|status| status.to_string())?.into_inner();
    let found = answer.alerts.iter().find(|alert| alert.episode.as_ref().is_some_and(|one| one.rule == rule));
    found.cloned().ok_or_else(|| format!("no {rule}: {:?}", answer.alerts))
}

async fn firing(program: &Program, rule: &str) -> Result<v1::AlertEpisode, String> {
    let episode = open(program, rule).await?.episode.unwrap();
    if episode.state() == v1::AlertState::Firing { Ok(episode) } else { Err(format!("{episode:?}")) }
}

async fn judged(program: &Program, nodes: u32) -> Result<(), String> {
    let answer = client(program).await?.list(v1::ListAlertsRequest::default()).await;
    let answer = answer.map_err(|status| status.to_string())?.into_inner();
    let text: String =
        answer.verdict.iter().flat_map(|verdict| &verdict.parts).map(|part| part.text.as_str()).collect();
    if answer.judged_tick > 0 && text.contains(&format!("all {nodes} nodes report")) { Ok(()) } else { Err(text) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_is_named_and_is_over_when_it_returns() {
    let cluster = Cluster::start(3).await;
    let mut nodes: Vec<Program> =
        ["alert-a", "alert-b", "alert-c"].iter().map(|name| Program::daemon(name, &cluster.seeds(), &[])).collect();
    for aggregator in &cluster.aggregators {
        eventually("all report", async || judged(aggregator, 3).await).await;
    }
    // The time of grace after the start.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(open(&cluster.aggregators[0], "node-gone").await.is_err());
    let killed = Instant::now();
    nodes[1].kill();
    let mut named = Vec::new();
    for aggregator in &cluster.aggregators {
        eventually("it is named", async || {
            let episode = firing(aggregator, "node-gone").await?;
            if episode.subject == "alert-b" { Ok(()) } else { Err(episode.subject) }
        })
        .await;
        named.push(killed.elapsed());
    }
    // Five seconds are promised; a busy machine gets two more.
    assert!(named[0] < Duration::from_secs(7), "{named:?}");
    let ids = [0, 1, 2].map(|at| open(&cluster.aggregators[at], "node-gone"));
    let mut all = Vec::new();
    for id in ids {
        all.push(id.await.unwrap().episode.unwrap().episode_id);
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    nodes[1].start_again();
    for aggregator in &cluster.aggregators {
        eventually("it is over", async || match open(aggregator, "node-gone").await {
            Ok(alert) => Err(format!("{alert:?}")),
            Err(_) => Ok(()),
        })
        .await;
    }
    let mut asked = client(&cluster.aggregators[2]).await.unwrap();
    let past = asked.list_episodes(v1::ListEpisodesRequest::default()).await.unwrap().into_inner().episodes;
    let gone: Vec<_> =
        past.iter().filter_map(|one| one.episode.as_ref()).filter(|one| one.rule == "node-gone").collect();
    assert_eq!((gone.len(), gone[0].outcome()), (1, v1::AlertOutcome::Recovered), "{gone:?}");
    // Aggregators hear of each other before they hear each other: a start is no loss.
    let rules: Vec<_> = past.iter().filter_map(|one| one.episode.as_ref()).map(|one| one.rule.as_str()).collect();
    assert!(!rules.contains(&"aggregator-lost"), "{rules:?}");
    // A planned stop is no loss.
    nodes[2].stop().await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(open(&cluster.aggregators[0], "node-gone").await.is_err());
}

/// Scenarios A01 and A02: a long `for` outlives whoever judges it; and an acknowledgement is everywhere, also after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_episode_and_what_was_said_of_it_outlive_who_judges() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.toml");
    fs::write(&path, LONG).unwrap();
    let mut cluster = Cluster::start_with(3, &[&format!("alerts.rules=[\"{}\"]", path.display())]).await;
    let _nodes: Vec<Program> =
        ["alert-d", "alert-e"].iter().map(|name| Program::daemon(name, &cluster.seeds(), &[])).collect();
    let mut since = 0;
    for aggregator in &cluster.aggregators {
        eventually("it is pending", async || open(aggregator, "always").await.map(|_| ())).await;
        since = open(aggregator, "always").await.unwrap().episode.unwrap().since_tick;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    // Whoever judges what is merged may be any of them: each is killed in turn over the time it is pending.
    cluster.aggregators[0].kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.aggregators[0].start_again();
    cluster.aggregators[1].kill();
    let mut ids = Vec::new();
    for at in [0, 2] {
        eventually("it fires", async || firing(&cluster.aggregators[at], "always").await.map(|_| ())).await;
        let episode = firing(&cluster.aggregators[at], "always").await.unwrap();
        assert_eq!(episode.since_tick, since);
        assert!(episode.fired_tick.unwrap() <= since + 20 + 12, "one rank and a failover late: {episode:?}");
        ids.push(episode.episode_id);
    }
    assert_eq!(ids[0], ids[1]);
    cluster.aggregators[1].start_again();
    let by = v1::AcknowledgeRequest {
        episode_id: ids[0].clone(),
        author: "eve".into(),
        comment: "mine".into(),
        for_seconds: 0,
    };
    client(&cluster.aggregators[0]).await.unwrap().acknowledge(by).await.unwrap();
    let acknowledged = async |at: usize| {
        let alert = open(&cluster.aggregators[at], "always").await?;
        let by = alert.acknowledgement.ok_or("nobody looks after it")?;
        if by.author == "eve" { Ok(()) } else { Err(by.author) }
    };
    for at in 0..3 {
        eventually("all know who looks after it", async || acknowledged(at).await).await;
    }
    let matcher = v1::AlertMatcher { key: "rule".into(), value: "always".into(), ..Default::default() };
    let silence =
        v1::SilenceRequest { matchers: vec![matcher], author: "eve".into(), for_seconds: 60, ..Default::default() };
    let preview = v1::SilenceRequest { preview: true, ..silence.clone() };
    let answer = client(&cluster.aggregators[2]).await.unwrap().silence(preview).await.unwrap().into_inner();
    assert_eq!((answer.covers.len(), answer.silence.unwrap().silence_id), (1, String::new()));
    client(&cluster.aggregators[2]).await.unwrap().silence(silence).await.unwrap();
    eventually("it is silenced everywhere", async || {
        match open(&cluster.aggregators[1], "always").await?.silenced_by {
            by if by.len() == 1 => Ok(()),
            by => Err(format!("{by:?}")),
        }
    })
    .await;
    for aggregator in &mut cluster.aggregators {
        aggregator.kill();
    }
    for aggregator in &mut cluster.aggregators {
        aggregator.start_again();
    }
    let cluster = cluster;
    for aggregator in &cluster.aggregators {
        eventually("it goes on", async || {
            let alert = open(aggregator, "always").await?;
            let episode = alert.episode.ok_or("none")?;
            let same = (episode.episode_id.as_str(), episode.since_tick) == (ids[0].as_str(), since);
            let said = alert.acknowledgement.is_some() && alert.silenced_by.len() == 1;
            if same && said { Ok(()) } else { Err(format!("{episode:?}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_the_rules_is_reported_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.toml");
    fs::write(&path, LONG.replace("20s", "0s")).unwrap();
    let cluster = Cluster::start_with(1, &[&format!("alerts.rules=[\"{}\"]", path.display())]).await;
    let _node = Program::daemon("alert-f", &cluster.seeds(), &[]);
    let aggregator = &cluster.aggregators[0];
    eventually("it fires", async || firing(aggregator, "always").await.map(|_| ())).await;
    fs::write(&path, LONG.replace("above = 0", "above = \"much\"").replace("scope", "scop")).unwrap();
    eventually("refused rules are an alert", async || firing(aggregator, "rules-refused").await.map(|_| ())).await;
    let rules = client(aggregator).await.unwrap().list_rules(v1::ListRulesRequest {}).await.unwrap().into_inner();
    assert!(rules.mistakes.len() >= 3 && rules.refused_since_tick.is_some(), "{:?}", rules.mistakes);
    firing(aggregator, "always").await.unwrap();
    fs::write(&path, "").unwrap();
    eventually("a rule that is gone ends its episodes", async || match open(aggregator, "always").await {
        Ok(alert) => Err(format!("{alert:?}")),
        Err(_) => Ok(()),
    })
    .await;
    let episodes = client(aggregator).await.unwrap().list_episodes(v1::ListEpisodesRequest::default()).await.unwrap();
    let all = episodes.into_inner().episodes;
    let ended = all.iter().filter_map(|one| one.episode.as_ref()).find(|one| one.rule == "always").unwrap();
    assert_eq!(ended.outcome(), v1::AlertOutcome::RuleChanged);
    let unknown = v1::GetAlertRequest { episode_id: "x".into() };
    let status = client(aggregator).await.unwrap().get(unknown).await.unwrap_err();
    assert!(status.message().contains("16 hexadecimal digits"), "{status}");
}

/// Each call about what people say, and what those who follow see of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_say_is_followed_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.toml");
    fs::write(&path, LONG.replace("20s", "0s")).unwrap();
    let cluster = Cluster::start_with(1, &[&format!("alerts.rules=[\"{}\"]", path.display())]).await;
    let _node = Program::daemon("alert-i", &cluster.seeds(), &[]);
    let aggregator = &cluster.aggregators[0];
    eventually("it fires", async || firing(aggregator, "always").await.map(|_| ())).await;
    let mut asked = client(aggregator).await.unwrap();
    let mut updates = asked.watch(v1::WatchAlertsRequest::default()).await.unwrap().into_inner();
    let is_ours = |alert: &v1::Alert| alert.episode.as_ref().is_some_and(|one| one.rule == "always");
    let first = updates.message().await.unwrap().unwrap();
    let found = first.changed.iter().find(|one| is_ours(one)).unwrap();
    assert!(first.whole && first.verdict.is_some(), "{first:?}");
    let id = found.episode.as_ref().unwrap().episode_id.clone();
    let mut follow = async |what: &str, wanted: &dyn Fn(&v1::Alert) -> bool| {
        let seen = async {
            loop {
                let update = updates.message().await.unwrap().unwrap();
                assert!(!update.whole);
                if update.changed.iter().any(|one| is_ours(one) && wanted(one)) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap_or_else(|_| panic!("{what}"));
    };
    let by = v1::AcknowledgeRequest { episode_id: id.clone(), author: "eve".into(), ..Default::default() };
    let answer = asked.acknowledge(by).await.unwrap().into_inner();
    assert_eq!(answer.acknowledgement.unwrap().author, "eve");
    follow("somebody looks after it", &|one| one.acknowledgement.is_some()).await;
    let back = v1::UnacknowledgeRequest { episode_id: id.clone(), author: "eve".into() };
    assert!(asked.unacknowledge(back.clone()).await.unwrap().into_inner().acknowledgement.is_none());
    follow("nobody does any more", &|one| one.acknowledgement.is_none()).await;
    let twice = asked.unacknowledge(back).await.unwrap_err();
    assert!(twice.message().contains("is not acknowledged"), "{twice}");
    let matcher = v1::AlertMatcher { key: "rule".into(), value: "always".into(), ..Default::default() };
    let silence =
        v1::SilenceRequest { matchers: vec![matcher], author: "eve".into(), for_seconds: 600, ..Default::default() };
    let made = asked.silence(silence).await.unwrap().into_inner().silence.unwrap();
    follow("it is silenced", &|one| one.silenced_by.len() == 1).await;
    let listed = asked.list_silences(v1::ListSilencesRequest {}).await.unwrap().into_inner().silences;
    assert_eq!(listed, std::slice::from_ref(&made));
    let one = asked.get(v1::GetAlertRequest { episode_id: id.clone() }).await.unwrap().into_inner();
    assert_eq!(one.silenced_by, std::slice::from_ref(&made.silence_id));
    let end = v1::UnsilenceRequest { silence_id: made.silence_id.clone(), author: "eve".into() };
    let ended = asked.unsilence(end.clone()).await.unwrap().into_inner();
    assert!(ended.ends_tick < made.ends_tick, "{ended:?}");
    follow("it is heard again", &|one| one.silenced_by.is_empty()).await;
    let none = v1::UnsilenceRequest { silence_id: "none".into(), ..end };
    assert_eq!(asked.unsilence(none).await.unwrap_err().code(), tonic::Code::NotFound);
    let request = v1::ListEpisodesRequest { rule: "always".into(), ..Default::default() };
    let episodes = asked.list_episodes(request).await.unwrap().into_inner().episodes;
    assert_eq!(episodes.len(), 1);
    let none = asked.test_notifier(v1::TestNotifierRequest { notifier: "ops".into() }).await.unwrap_err();
    assert!(none.message().contains("there is none called"), "{none}");
    let letters = asked.list_dead_letters(v1::ListDeadLettersRequest::default()).await.unwrap().into_inner();
    assert_eq!(letters, v1::ListDeadLettersResponse::default());
}

/// What a receiver refused is listed by every aggregator, and sent again by any of them once the receiver works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_everywhere_and_sent_again() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };
    let (works, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let state = (works.clone(), taken.clone());
    let hook = axum::Router::new().route(
        "/hook",
        axum::routing::post(async move || match state.0.load(Ordering::SeqCst) {
            true => {
                state.1.fetch_add(1, Ordering::SeqCst);
                Ok("fine")
            }
            false => Err((axum::http::StatusCode::FORBIDDEN, "no key")),
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, hook).await });
    let dir = tempfile::tempdir().unwrap();
    let (rules, notify) = (dir.path().join("rules.toml"), dir.path().join("notify.toml"));
    fs::write(&rules, LONG.replace("20s", "0s")).unwrap();
    let file = format!(
        "[notifier.ops]\nurl = \"http://{address}/hook\"\nallow_networks = [\"127.0.0.0/8\"]\n\n[[route]]\nnotifiers = [\"ops\"]\nmatch = [\"rule=always\"]\n"
    );
    fs::write(&notify, file).unwrap();
    let settings =
        [format!("alerts.rules=[\"{}\"]", rules.display()), format!("alerts.notify=\"{}\"", notify.display())];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(3, &settings).await;
    let _node = Program::daemon("alert-h", &cluster.seeds(), &[]);
    let letters = async |at: usize| {
        let request = v1::ListDeadLettersRequest { notifier: "ops".into(), ..Default::default() };
        let answer = client(&cluster.aggregators[at]).await?.list_dead_letters(request).await;
        answer.map(|answer| answer.into_inner()).map_err(|status| status.to_string())
    };
    for at in 0..3 {
        eventually("it is listed", async || {
            let answer = letters(at).await?;
            if answer.letters.len() == 1 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
    let answer = letters(0).await.unwrap();
    let letter = &answer.letters[0];
    assert!(
        letter.reason.contains("403") && letter.reason.contains("no key") && answer.missing.is_empty(),
        "{answer:?}"
    );
    assert_eq!((letter.items.len(), letter.items[0].what.as_str(), letter.episodes), (1, "firing", 1));
    // Asked of one that does not have it.
    let other = (0..3).find(|at| letter.aggregator_id != format!("agg-{}", at + 1)).unwrap();
    let resend = |letter_id: u64, aggregator_id: &str| v1::ResendDeadLettersRequest {
        notifier: "ops".into(),
        aggregator_id: aggregator_id.into(),
        letter_id,
        author: "eve".into(),
    };
    let mut asked = client(&cluster.aggregators[other]).await.unwrap();
    for (request, wanted) in [
        (resend(letter.letter_id, ""), "aggregator_id: is missing"),
        (resend(letter.letter_id, "nobody"), "there is no aggregator"),
        (resend(letter.letter_id + 1_000, &letter.aggregator_id), "is none of ops"),
        (v1::ResendDeadLettersRequest { author: String::new(), ..resend(0, "") }, "author: is missing"),
        (v1::ResendDeadLettersRequest::default(), "notifier: is missing"),
        (v1::ResendDeadLettersRequest { notifier: "x".into(), ..Default::default() }, "there is none called"),
    ] {
        let status = asked.resend_dead_letters(request).await.unwrap_err();
        assert!(status.message().contains(wanted), "{wanted}: {status}");
    }
    works.store(true, Ordering::SeqCst);
    let request = resend(letter.letter_id, &letter.aggregator_id);
    assert_eq!(asked.resend_dead_letters(request).await.unwrap().into_inner().resent, 1);
    eventually("the receiver takes it", async || match taken.load(Ordering::SeqCst) {
        0 => Err("nothing".to_owned()),
        _ => Ok(()),
    })
    .await;
    for at in 0..3 {
        eventually("who wanted it is noted everywhere", async || match letters(at).await?.resends.as_slice() {
            [one] if one.author == "eve" && one.resent == 1 && one.letter_id == letter.letter_id => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    let left = letters(other).await.unwrap();
    assert!(left.letters.is_empty() && taken.load(Ordering::SeqCst) == 1, "{left:?}");
}

/// A rule in PromQL has an episode for each set of labels; one that cannot be evaluated says so, and is an alert itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_a_rule_and_its_failure_is_seen() {
    const QUERIES: &str = r#"
[[rule]]
name = "many-processors"
promql = "sum(system_cpu_logical_count) by (node)"
every = "5s"
above = 0
severity = "warning"
summary = "has {value} processors at {node}"

[[rule]]
name = "two-of-one"
promql = "sum(system_cpu_logical_count) by (node) + on (node) group_right() {__name__=~\"system_cpu_.*\"}"
every = "5s"
above = 0
severity = "warning"
summary = "is"
"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.toml");
    fs::write(&path, QUERIES).unwrap();
    let cluster = Cluster::start_with(3, &[&format!("alerts.rules=[\"{}\"]", path.display())]).await;
    let mut nodes: Vec<Program> =
        ["query-a", "query-b"].iter().map(|name| Program::daemon(name, &cluster.seeds(), &[])).collect();
    let of_query = async |at: usize| {
        let request = v1::ListAlertsRequest::default();
        let answer =
            client(&cluster.aggregators[at]).await?.list(request).await.map_err(|status| status.to_string())?;
        let alerts = answer.into_inner().alerts.into_iter();
        let own = alerts.filter(|one| one.episode.as_ref().is_some_and(|episode| episode.rule == "many-processors"));
        let mut of: Vec<(String, String)> = own
            .map(|one| {
                (one.episode.as_ref().map(|one| one.attributes[0].value.clone()).unwrap_or_default(), one.sentence)
            })
            .collect();
        of.sort();
        Ok::<_, String>(of)
    };
    for at in 0..3 {
        eventually("each node has an episode of its own, everywhere", async || {
            let found = of_query(at).await?;
            let names: Vec<&str> = found.iter().map(|(node, _)| node.as_str()).collect();
            if names == ["query-a", "query-b"] { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }
    let sentence = of_query(1).await.unwrap()[1].1.clone();
    assert!(sentence.starts_with("the cluster has ") && sentence.ends_with(" processors at query-b"), "{sentence}");
    // Exactly one of them asks.
    eventually("what fails is named by who asks", async || {
        let mut errors = Vec::new();
        for aggregator in &cluster.aggregators {
            let rules = client(aggregator).await?.list_rules(v1::ListRulesRequest {}).await;
            let rules = rules.map_err(|status| status.to_string())?.into_inner().rules;
            let query = rules.into_iter().find(|one| one.name == "two-of-one").ok_or("no rule")?;
            errors.extend(query.evaluated_tick.map(|_| (query.every_seconds, query.last_error)));
        }
        match errors.as_slice() {
            [(Some(5), error)] if error.contains("multiple matches for labels") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    firing(&cluster.aggregators[0], "alert-query-failed").await.unwrap_err();
    eventually("it is an alert once it lasts", async || {
        open(&cluster.aggregators[0], "alert-query-failed").await.map(|_| ())
    })
    .await;
    // What an answer no longer has is over, though nobody said that it is good.
    nodes[1].stop().await;
    eventually("one that left is over", async || {
        let found = of_query(2).await?;
        if found.len() == 1 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// From a rule's breach to the webhook, over three aggregators: once, though each of them knows the episode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let (rules, notify) = (dir.path().join("rules.toml"), dir.path().join("notify.toml"));
    let sink = Sink::start().await;
    fs::write(&rules, LONG.replace("20s", "0s")).unwrap();
    let file = format!(
        "[notifier.ops]\nkind = \"webhook\"\nurl = \"{}\"\nallow_networks = [\"127.0.0.0/8\"]\n\n[[route]]\nnotifiers = [\"ops\"]\nmatch = [\"rule=always\"]\ngroup_wait_secs = 0\n",
        sink.url()
    );
    fs::write(&notify, file).unwrap();
    let settings =
        [format!("alerts.rules=[\"{}\"]", rules.display()), format!("alerts.notify=\"{}\"", notify.display())];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(3, &settings).await;
    let _node = Program::daemon("alert-g", &cluster.seeds(), &[]);
    let text = |body: &serde_json::Value| body.to_string();
    eventually(
        "the webhook is told",
        async || if sink.taken().is_empty() { Err("nothing yet".to_owned()) } else { Ok(()) },
    )
    .await;
    let episode = firing(&cluster.aggregators[0], "always").await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let told: Vec<(u64, String)> = sink.taken().iter().map(|(at, body)| (*at, text(body))).collect();
    assert_eq!(told.len(), 1, "each of three aggregators knows it, one tells: {told:?}");
    assert!(told[0].1.contains(&episode.episode_id) && told[0].1.contains("firing"), "{told:?}");
    let delay = told[0].0.saturating_sub(u64::from(episode.since_tick) * 1_000);
    // Two seconds are promised from the breach, and a second ends up to one after it begins; a busy machine gets three more.
    assert!(delay < 6_000, "{delay} ms after the breach");
    let wrong = v1::TestNotifierRequest { notifier: "none".into() };
    assert!(client(&cluster.aggregators[1]).await.unwrap().test_notifier(wrong).await.is_err());
    let test = v1::TestNotifierRequest { notifier: "ops".into() };
    let answer = client(&cluster.aggregators[1]).await.unwrap().test_notifier(test).await.unwrap().into_inner();
    assert!(answer.delivered, "{answer:?}");
    fs::write(&rules, "").unwrap();
    eventually("its end is told", async || {
        let told: Vec<String> = sink.taken().iter().map(|(_, body)| text(body)).collect();
        let ends = told.iter().filter(|body| body.contains(&episode.episode_id)).count();
        if ends == 2 { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}
