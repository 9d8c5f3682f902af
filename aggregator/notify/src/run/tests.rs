//! Notifiers with real receivers: webhooks, a mail server, an Alertmanager of Debian.

use std::{
    net::TcpListener as StdListener,
    process::{Child, Command, Stdio},
};

use serde_json::Value as Json;
use starling_proto::v1::AlertSeverity;
use starling_service::metrics::Registry;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::samples::{alert, cleared, hostile_texts};

mod pair;
mod secured;

/// What a sink was sent: when, head, body.
type Asked = (Instant, String, String);

/// A sink of HTTP that answers the n-th request by `answer`; `None`: never.
async fn sink(answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> (u16, mpsc::Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel(2_000);
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        for n in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let (sender, answer) = (sender.clone(), answer.clone());
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let (mut head, mut line) = (String::new(), String::new());
                while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
                    head += &std::mem::take(&mut line);
                }
                let length =
                    head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                stream.read_exact(&mut body).await.unwrap();
                let _ = sender.send((Instant::now(), head, String::from_utf8(body).unwrap())).await;
                match answer(n) {
                    Some(text) => drop(stream.get_mut().write_all(text.as_bytes()).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    (port, receiver)
}

fn ok(_: usize) -> Option<String> {
    Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned())
}

struct Bench {
    notifiers: Notifiers,
    records: mpsc::Receiver<AlertDelivery>,
    registry: Registry,
    _stop: tokio_util::sync::DropGuard,
}

fn bench(file: &str) -> Bench {
    let config = Config::read("n.toml", file).unwrap();
    let mut registry = Registry::default();
    let (notifiers, records) = Notifiers::new(&config, "c", "agg-1", Metrics::new(&mut registry));
    let stop = CancellationToken::new();
    tokio::spawn(notifiers.clone().run(stop.clone()));
    notifiers.rank(Some(0));
    Bench { notifiers, records, registry, _stop: stop.drop_guard() }
}

fn now() -> u32 {
    clock::unix().as_secs() as u32
}

fn file(notifiers: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, keys) in notifiers {
        text += &format!("[notifier.{name}]\nallow_networks = [\"127.0.0.0/8\"]\n{keys}\n");
    }
    let names: Vec<&str> = notifiers.iter().map(|(name, _)| *name).collect();
    text + &format!("[[route]]\nnotifiers = {names:?}\n")
}

async fn next(receiver: &mut mpsc::Receiver<Asked>) -> Asked {
    tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await.expect("a request").unwrap()
}

#[tokio::test]
async fn a_webhook_gets_the_beginning_and_the_end_signed() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "hush\n").unwrap();
    let (port, mut asked) = sink(ok).await;
    let keys = format!(
        "url = \"http://127.0.0.1:{port}/hook?a=b\"\nsignature_secret = \"file:{}\"\nheaders = {{\"X-Team\" = \"ops\"}}",
        key.path().display()
    );
    let mut bench = bench(&file(&[("hook", keys)]));
    bench.notifiers.tick(Pulse { judged_tick: now(), rules: 1, ..Pulse::default() });
    let (began, one) = (Instant::now(), alert(7, "web-1", AlertSeverity::Critical, now()));
    bench.notifiers.changed(one.clone(), &BTreeMap::from([("zone".to_owned(), "a".to_owned())]));
    let (at, head, body) = next(&mut asked).await;
    assert!(at - began < Duration::from_secs(1), "{:?}", at - began);
    assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n") && head.contains("x-team: ops"), "{head}");
    let signed = head.lines().find_map(|line| line.strip_prefix("x-starling-signature: ")).unwrap();
    let seconds = signed.strip_prefix("t=").and_then(|rest| rest.split_once(',')).unwrap().0;
    let openssl = Command::new("sh")
        .args(["-c", "printf '%s' \"$1\" | openssl dgst -sha256 -hmac hush", "sh", &format!("{seconds}.{body}")])
        .output()
        .unwrap();
    let wanted = String::from_utf8(openssl.stdout).unwrap();
    assert!(signed.ends_with(wanted.trim().rsplit(' ').next().unwrap()), "{signed} {wanted}");
    let body: Json = body.parse().unwrap();
    assert_eq!((&body["alerts"][0]["labels"]["zone"], &body["aggregator"]), (&"a".into(), &"agg-1".into()));
    bench.notifiers.changed(cleared(one, now()), &BTreeMap::new());
    let (_, _, body) = next(&mut asked).await;
    assert_eq!(body.parse::<Json>().unwrap()["state"], "cleared");
    let said = [bench.records.recv().await.unwrap(), bench.records.recv().await.unwrap()];
    assert_eq!(said.map(|one| (one.sequence, one.firing)), [(1, true), (2, false)]);
    let text = bench.registry.render();
    assert!(text.contains("starling_alerts_notifications_sent_total{notifier=\"hook\"} 2"), "{text}");
}

#[tokio::test]
async fn a_receiver_that_never_answers_slows_nobody() {
    let (silent, _kept) = sink(|_| None).await;
    let (healthy, mut asked) = sink(ok).await;
    let url = |port: u16| format!("url = \"http://127.0.0.1:{port}/\"\ntimeout_secs = 1\ngive_up_secs = 10");
    let bench = bench(&file(&[("dead", url(silent)), ("gone", url(1)), ("well", url(healthy))]));
    bench.notifiers.tick(Pulse { judged_tick: now(), rules: 1, ..Pulse::default() });
    let began = Instant::now();
    for id in 1..=500 {
        bench.notifiers.changed(alert(id, &format!("web-{id}"), AlertSeverity::Error, now()), &BTreeMap::new());
    }
    let mut last = began;
    for _ in 0..500 {
        last = next(&mut asked).await.0;
    }
    eprintln!("500 episodes at the receiver that is well: {:?}", last - began);
    assert!(last - began < Duration::from_secs(10), "{:?}", last - began);
    let found = async {
        while bench.notifiers.dead_letters().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), found).await.unwrap();
    let letters = bench.notifiers.dead_letters();
    assert!(letters.iter().all(|letter| letter.notifier != "well"), "{letters:?}");
}

#[tokio::test]
async fn a_redirect_is_a_dead_letter_and_leads_nowhere() {
    let (inside, mut asked_inside) = sink(ok).await;
    let (port, mut asked) = sink(move |_| {
        Some(format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{inside}/\r\nContent-Length: 0\r\n\r\n"))
    })
    .await;
    let bench = bench(&file(&[("hook", format!("url = \"http://127.0.0.1:{port}/\""))]));
    let error = bench.notifiers.test("hook").await.unwrap_err();
    assert!(error.starts_with("redirect refused"), "{error}");
    next(&mut asked).await;
    bench.notifiers.changed(alert(7, "web-1", AlertSeverity::Error, now()), &BTreeMap::new());
    next(&mut asked).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let letters = bench.notifiers.dead_letters();
    assert!(letters.len() == 1 && letters[0].reason.starts_with("redirect refused"), "{letters:?}");
    assert!(asked_inside.try_recv().is_err());
    // A name that leads inside is refused when it is looked up.
    let (port, mut asked) = sink(ok).await;
    let config = format!("[notifier.a]\nurl = \"http://localhost:{port}/\"\n[[route]]\nnotifiers = [\"a\"]");
    let error = self::bench(&config).notifiers.test("a").await.unwrap_err();
    assert!(error.contains("destination refused"), "{error}");
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_dead_letter_is_sent_again_once_the_receiver_works() {
    let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state = works.clone();
    let (port, mut asked) = sink(move |n| {
        if state.load(std::sync::atomic::Ordering::SeqCst) {
            return ok(n);
        }
        Some("HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nno key".to_owned())
    })
    .await;
    let bench = bench(&file(&[("hook", format!("url = \"http://127.0.0.1:{port}/\""))]));
    bench.notifiers.tick(Pulse { judged_tick: now(), rules: 1, ..Pulse::default() });
    for id in [7, 8] {
        bench.notifiers.changed(alert(id, &format!("web-{id}"), AlertSeverity::Error, now()), &BTreeMap::new());
        next(&mut asked).await;
    }
    let letters = async |wanted: usize| {
        let there = async {
            while bench.notifiers.dead_letters().len() != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), there).await.expect("that many letters");
        bench.notifiers.dead_letters()
    };
    let first = letters(2).await.remove(0);
    assert!(first.reason.contains("403") && first.reason.contains("no key") && first.attempts == 1, "{first:?}");
    assert_eq!((bench.notifiers.resend("hook", Some(0)), bench.notifiers.resend("none", None)), (0, 0));
    // It still fails: the letter comes back with another number.
    assert_eq!(bench.notifiers.resend("hook", Some(first.id)), 1);
    next(&mut asked).await;
    assert!(letters(2).await.iter().all(|letter| letter.id != first.id));
    works.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(bench.notifiers.resend("hook", None), 2);
    let bodies = [next(&mut asked).await.2, next(&mut asked).await.2].concat();
    assert!(bodies.contains("web-7") && bodies.contains("web-8"), "{bodies}");
    letters(0).await;
    assert!(bench.registry.render().contains("starling_alerts_notifications_resent_total{notifier=\"hook\"} 3"));
    // What was told late ends like all else.
    let one = alert(7, "web-7", AlertSeverity::Error, now());
    bench.notifiers.changed(cleared(one, now()), &BTreeMap::new());
    assert_eq!(next(&mut asked).await.2.parse::<Json>().unwrap()["state"], "cleared");
}

/// A mail server that takes everything: recipients and data of each mail.
async fn mail_sink() -> (u16, mpsc::Receiver<(Vec<String>, String)>) {
    async fn serve(stream: TcpStream, sender: mpsc::Sender<(Vec<String>, String)>) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(b"220 sink\r\n").await?;
        let (mut recipients, mut line) = (Vec::new(), String::new());
        while stream.read_line(&mut line).await? > 0 {
            let command = std::mem::take(&mut line);
            let mut answer = "250 fine\r\n";
            if let Some(to) = command.strip_prefix("RCPT TO:") {
                recipients.push(to.trim().to_owned());
            } else if command.starts_with("DATA") {
                stream.get_mut().write_all(b"354 go on\r\n").await?;
                let mut data = String::new();
                while stream.read_line(&mut line).await? > 0 && line != ".\r\n" {
                    data += std::mem::take(&mut line).strip_prefix('.').map_or(&*line.clone(), |rest| rest);
                }
                line.clear();
                let _ = sender.send((std::mem::take(&mut recipients), data)).await;
            } else if command.starts_with("QUIT") {
                answer = "221 bye\r\n";
            }
            stream.get_mut().write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, sender.clone()));
        }
    });
    (port, receiver)
}

#[tokio::test]
async fn each_hostile_name_is_one_mail_to_the_recipients_of_the_settings() {
    let (port, mut mails) = mail_sink().await;
    let keys = format!(
        "kind = \"email\"\nserver = \"127.0.0.1:{port}\"\nprotection = \"none\"\nfrom = \"s@example.org\"\nto = [\"o@example.org\"]"
    );
    let bench = bench(&file(&[("mail", keys)]));
    bench.notifiers.test("mail").await.unwrap();
    mails.recv().await.unwrap();
    let all = hostile_texts();
    for (id, text) in all.iter().enumerate() {
        let mut one = alert(id as u64 + 1, text, AlertSeverity::Error, now());
        one.sentence.clone_from(text);
        one.description = format!("{text}\n.\n{text}");
        bench.notifiers.changed(one, &BTreeMap::from([("to".to_owned(), "x@example.test".to_owned())]));
    }
    for _ in &all {
        let (to, data) = tokio::time::timeout(Duration::from_secs(20), mails.recv()).await.expect("a mail").unwrap();
        assert_eq!(to, ["<o@example.org>"]);
        let head = data.split("\r\n\r\n").next().unwrap();
        assert!(!head.contains("\r\nBcc") && head.matches("\r\nTo: ").count() <= 1, "{head}");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(mails.try_recv().is_err() && bench.notifiers.dead_letters().is_empty());
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_alertmanager_of_debian_tells_its_receiver_once_firing_and_once_resolved() {
    if Command::new("prometheus-alertmanager").arg("--version").output().is_err() {
        eprintln!("skipped: prometheus-alertmanager is not installed, see .ci/install-tools");
        return;
    }
    let (port, mut asked) = sink(ok).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "route: {{receiver: hook, group_by: [alertname, node], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{port}/'}}]}}]\n"
    );
    std::fs::write(dir.path().join("am.yml"), settings).unwrap();
    let listen = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "prometheus-alertmanager"])
        .arg(format!("--config.file={}", dir.path().join("am.yml").display()))
        .arg(format!("--storage.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{listen}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    let keys = format!("kind = \"alertmanager\"\nurl = \"http://127.0.0.1:{listen}\"\nresend_secs = 10");
    let bench = bench(&file(&[("am", keys)]));
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", listen)).await.is_err() {
        assert!(Instant::now() < until, "the Alertmanager does not listen");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.notifiers.tick(Pulse { judged_tick: now(), rules: 1, ..Pulse::default() });
    let began = Instant::now();
    for id in 1..=20 {
        bench.notifiers.changed(alert(id, &format!("web-{id}"), AlertSeverity::Critical, now()), &BTreeMap::new());
    }
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut take = |body: &str| {
        let body: Json = body.parse().unwrap();
        for one in body["alerts"].as_array().unwrap() {
            let text = |value: &Json| value.as_str().unwrap().to_owned();
            *seen.entry((text(&one["labels"]["node"]), text(&one["status"]))).or_default() += 1;
        }
    };
    for _ in 0..20 {
        take(&next(&mut asked).await.2);
    }
    // A resend is in between.
    tokio::time::sleep_until(began + Duration::from_secs(12)).await;
    for id in 1..=20 {
        let one = alert(id, &format!("web-{id}"), AlertSeverity::Critical, now() - 12);
        bench.notifiers.changed(cleared(one, now()), &BTreeMap::new());
    }
    for _ in 0..20 {
        take(&next(&mut asked).await.2);
    }
    // Another resend of what ended.
    tokio::time::sleep(Duration::from_secs(12)).await;
    while let Ok((_, _, body)) = asked.try_recv() {
        take(&body);
    }
    assert_eq!(seen.len(), 40, "{seen:?}");
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}
