//! What a person silenced stays silent whatever befalls the aggregators, and that alerting stands still is not kept secret.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use rustix::process::Signal;
use starling_proto::v1;
use starling_service::grpc::alerts_client::AlertsClient;
use starling_tests::{Cluster, Program, eventually, http_get, sink::Sink};
use tonic::{Status, transport::Channel};

async fn client(program: &Program) -> Result<AlertsClient<Channel>, String> {
    AlertsClient::connect(program.url("grpc")).await.map_err(|error| error.to_string())
}

/// So many rules that fire at once, called `many-1` and so on.
fn rules(count: u32) -> String {
    (1..=count).fold(String::new(), |mut text, at| {
        let _ = write!(text, "[[rule]]\nname = \"many-{at}\"\nscope = \"cluster\"\nexpression = \"system.cpu.logical.count\"\nabove = 0\nseverity = \"warning\"\nsummary = \"has processors\"\n");
        text
    })
}

/// Those of them that fire at an aggregator, and how many of these are silenced.
async fn firing(program: &Program) -> Result<(usize, usize), String> {
    let answer = client(program).await?.list(v1::ListAlertsRequest::default()).await;
    let alerts = answer.map_err(|status| status.to_string())?.into_inner().alerts;
    let own = |one: &&v1::Alert| one.episode.as_ref().is_some_and(|episode| episode.rule.starts_with("many-"));
    let own: Vec<_> = alerts.iter().filter(own).collect();
    Ok((own.len(), own.iter().filter(|one| !one.silenced_by.is_empty()).count()))
}

fn matcher(value: &str, regex: bool, negate: bool) -> v1::AlertMatcher {
    v1::AlertMatcher { key: "rule".into(), value: value.into(), regex, negate }
}

async fn silence(program: &Program, matchers: &[v1::AlertMatcher]) -> Result<v1::AlertSilence, Status> {
    let request = v1::SilenceRequest {
        matchers: matchers.to_vec(),
        author: "op-1".into(),
        comment: "disks are changed".into(),
        for_seconds: 7_200,
        ..Default::default()
    };
    let answer = client(program).await.map_err(Status::unavailable)?.silence(request).await?;
    Ok(answer.into_inner().silence.unwrap())
}

/// The settings of a cluster that judges the rules in a folder and tells a sink about them.
fn settings(dir: &Path, sink: &Sink) -> Vec<String> {
    let (rules, notify) = (dir.join("rules.toml"), dir.join("notify.toml"));
    fs::write(&rules, "").unwrap();
    let file = format!(
        "[notifier.ops]\nkind = \"webhook\"\nurl = \"{}\"\nallow_networks = [\"127.0.0.0/8\"]\n\n[[route]]\nnotifiers = [\"ops\"]\nmatch = [\"rule=~many-.*\"]\ngroup_wait_secs = 0\n",
        sink.url()
    );
    fs::write(&notify, file).unwrap();
    vec![format!("alerts.rules=[\"{}\"]", rules.display()), format!("alerts.notify=\"{}\"", notify.display())]
}

async fn start(settings: &[String]) -> Cluster {
    Cluster::start_with(3, &settings.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn fire(cluster: &Cluster, wanted: (usize, usize)) {
    for aggregator in &cluster.aggregators {
        eventually(&format!("{} fire, {} of them silenced", wanted.0, wanted.1), async || {
            let found = firing(aggregator).await?;
            if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }
}

/// A22: who made the silence is killed as soon as it is answered, then all are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_outlives_who_took_it_and_all_of_them() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Sink::start().await);
    let mut cluster = start(&settings(dir.path(), &sink)).await;
    let _node = Program::daemon("silent-a", &cluster.seeds(), &[]);
    for at in 0..3 {
        eventually("it takes silences", async || {
            client(&cluster.aggregators[at])
                .await?
                .list(v1::ListAlertsRequest::default())
                .await
                .map(|_| ())
                .map_err(|status| status.to_string())
        })
        .await;
    }
    let made = silence(&cluster.aggregators[0], &[matcher("many-1", false, false)]).await.unwrap();
    cluster.aggregators[0].kill();
    let of_all = silence(&cluster.aggregators[1], &[matcher("many-2", false, false)]).await.unwrap();
    cluster.aggregators[1].kill();
    cluster.aggregators[2].kill();
    cluster.aggregators.iter_mut().for_each(Program::start_again);
    cluster.agree(3).await;
    for aggregator in &cluster.aggregators {
        eventually("both are listed", async || {
            let mut asked = client(aggregator).await?;
            let listed = asked.list_silences(v1::ListSilencesRequest {}).await.map_err(|status| status.to_string())?;
            let listed = listed.into_inner().silences;
            let has = |one: &v1::AlertSilence| listed.contains(one);
            if has(&made) && has(&of_all) { Ok(()) } else { Err(format!("{listed:?}")) }
        })
        .await;
    }
    fs::write(dir.path().join("rules.toml"), rules(2)).unwrap();
    fire(&cluster, (2, 2)).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(sink.taken().is_empty(), "{:?}", sink.taken());
    // It would have been heard.
    let end = v1::UnsilenceRequest { silence_id: made.silence_id, author: "op-1".into() };
    client(&cluster.aggregators[2]).await.unwrap().unsilence(end).await.unwrap();
    eventually("what is not silenced is told", async || match sink.taken().as_slice() {
        [(_, body)] if body.to_string().contains("many-1") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // On a disk that does not take it: the answer says so, with the reason.
    let file = cluster.aggregators[0].folder().join("state/alerts");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    fs::write(file.join("full"), "").unwrap();
    let status = silence(&cluster.aggregators[0], &[matcher("many-9", false, false)]).await.unwrap_err();
    let text = status.message();
    assert!(status.code() == tonic::Code::Unavailable && text.contains("not on the disk of this aggregator"), "{text}");
}

/// A23: three silences cover 40 alerts; the aggregators are restarted one after the other, and one comes without its disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_with_forty_silenced_alerts_wakes_nobody() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Sink::start().await);
    let mut cluster = start(&settings(dir.path(), &sink)).await;
    let _node = Program::daemon("silent-b", &cluster.seeds(), &[]);
    // Exact, a pattern, and all others by a negated one.
    silence(&cluster.aggregators[0], &[matcher("many-1", false, false)]).await.unwrap();
    silence(&cluster.aggregators[1], &[matcher("many-2[0-9]?", true, false)]).await.unwrap();
    let others = [matcher("many-.*", true, false), matcher("many-(1|2[0-9]?)", true, true)];
    let negated = silence(&cluster.aggregators[2], &others).await.unwrap();
    fs::write(dir.path().join("rules.toml"), rules(40)).unwrap();
    fire(&cluster, (40, 40)).await;
    for at in 0..3 {
        cluster.aggregators[at].stop().await;
        cluster.aggregators[at].start_again();
        cluster.agree(3).await;
        eventually("it is ready", async || {
            match http_get(cluster.aggregators[at].address("admin"), "/ready").await? {
                (200, _) => Ok(()),
                (_, why) => Err(why),
            }
        })
        .await;
        fire(&cluster, (40, 40)).await;
    }
    cluster.aggregators[1].stop().await;
    fs::remove_dir_all(cluster.aggregators[1].folder().join("state")).unwrap();
    cluster.aggregators[1].start_again();
    cluster.agree(3).await;
    fire(&cluster, (40, 40)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(sink.taken().is_empty(), "{:?}", sink.taken());
    // They would have been heard.
    let end = v1::UnsilenceRequest { silence_id: negated.silence_id, author: "op-1".into() };
    client(&cluster.aggregators[1]).await.unwrap().unsilence(end).await.unwrap();
    let covered = 40 - 1 - 11;
    eventually("what is not silenced is told, each once", async || match sink.taken().len() {
        told if told == covered => Ok(()),
        told => Err(format!("{told} of {covered}")),
    })
    .await;
}

/// A50: the heartbeat comes from who judges, whoever that is, and from nobody once nobody does; `/ready` then says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heartbeat_ends_when_nobody_judges() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Sink::start().await);
    let mut settings = settings(dir.path(), &sink);
    let beats = format!(
        "[notifier.alive]\nkind = \"heartbeat\"\nurl = \"{}\"\nallow_networks = [\"127.0.0.0/8\"]\nevery_secs = 5\n",
        sink.url()
    );
    fs::write(dir.path().join("notify.toml"), beats).unwrap();
    settings.push("min_members=2".to_owned());
    let mut cluster = start(&settings).await;
    let _node = Program::daemon("silent-c", &cluster.seeds(), &[]);
    let from = |body: &serde_json::Value| body["aggregator"].as_str().unwrap_or_default().to_owned();
    // Whoever sends next, after so many that are known.
    let next = async |known: usize| {
        eventually("another beat", async || match sink.taken().get(known) {
            Some((_, body)) => Ok(body.clone()),
            None => Err(format!("{} came", sink.taken().len())),
        })
        .await
    };
    let body = next(1).await;
    assert!(body["rules"].as_u64().is_some_and(|rules| rules > 30), "{body}");
    // (a) Who sends sleeps: another one goes on within 20 s.
    let at = |name: &str| (0..3).find(|at| name == format!("agg-{}", at + 1)).unwrap();
    let first = from(&body);
    cluster.aggregators[at(&first)].signal(Signal::STOP);
    eventually("another one goes on", async || match sink.taken().last() {
        Some((_, body)) if from(body) != first => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    cluster.aggregators[at(&first)].signal(Signal::CONT);
    let times: Vec<u64> = sink.taken().iter().map(|(at, _)| *at).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < 20_000, "no beat for {longest} ms");
    // (c) A set without rules is refused or has no heartbeat: here the default ones are in force still, of which none is lost.
    cluster.agree(3).await;
    let known = sink.taken().len();
    assert!(next(known).await["rules"].as_u64().is_some_and(|rules| rules > 30));
    // Too few are left to judge: none comes later than 15 s after that, and the one that is left says why.
    cluster.aggregators[0].kill();
    cluster.aggregators[1].kill();
    let left = cluster.aggregators[2].address("admin");
    eventually("it says why", async || match http_get(left, "/ready").await? {
        (200, _) => Err("it is ready".to_owned()),
        (_, why) if why.contains("judges no rules") => Ok(()),
        (_, why) => Err(why),
    })
    .await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let known = sink.taken().len();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(sink.taken().len(), known, "nobody judges");
    cluster.aggregators[0].start_again();
    next(known).await;
}
