//! `starling doctor` on a cluster of real processes by mutual TLS: nothing to say of one that is well, and each planted fault
//! named with what to do.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use starling_testkit::eventually;
use starling_tests::{Program, binary};
use tempfile::TempDir;

/// What the checks may take together: 5 s for each kind of asking, and those that follow from others once more.
const LONGEST: Duration = Duration::from_secs(14);

struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("a temporary folder"));
        site.ca(&["init", "--cluster", "test", "--dir", &site.path("ca")]);
        site
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn ca(&self, arguments: &[&str]) {
        let (code, error) = Program::run_to_end("starling", &[&["ca"], arguments].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {error}");
    }

    fn issue(&self, role: &str, name: &str, ca: &str) {
        self.ca(&["issue", role, name, "--dir", &self.path(ca), "--out", &self.path(name)]);
    }

    fn tls(&self, name: &str) -> String {
        let of = |key: &str, file: &str| format!("tls.{key} = \"{}/{file}\"\n", self.path(name));
        of("certificate", "certificate.pem") + &of("key", "key.pem") + &of("ca", "ca.pem")
    }

    fn settings(&self, file: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(file);
        fs::write(&path, text).expect("a settings file");
        path
    }

    fn aggregator(&self, name: &str, seed: Option<SocketAddr>) -> Program {
        self.issue("aggregator", name, "ca");
        let seeds = seed.map_or_else(String::new, |seed| format!("\"{seed}\""));
        let text = format!(
            "cluster = \"test\"\nseeds = [{seeds}]\ngrpc_listen = \"127.0.0.1:0\"\ngossip_listen = \"127.0.0.1:0\"\n\
             admin_listen = \"127.0.0.1:0\"\nstate_dir = \"{}\"\ngossip_keyring = \"{}/gossip.keyring\"\n{}",
            self.path(&format!("{name}-state")),
            self.path(name),
            self.tls(name)
        );
        let file = self.settings(&format!("{name}.toml"), &text);
        Program::start("starling-aggregator", &["--config", &file.display().to_string()])
    }

    /// Settings of a dashboard that dials these, with more lines.
    fn dashboard(&self, certificate: &str, aggregators: &[SocketAddr], more: &str) -> PathBuf {
        let mut list = String::new();
        for address in aggregators {
            let _ = write!(list, "\"{address}\", ");
        }
        let text = format!("listen = \"127.0.0.1:0\"\naggregators = [{list}]\n{more}{}", self.tls(certificate));
        self.settings("dashboard.toml", &text)
    }
}

/// Exit code and report.
fn doctor(config: &Path) -> (Option<i32>, Value) {
    let began = Instant::now();
    let output = Command::new(binary("starling"))
        .args(["doctor", "--json", "--config"])
        .arg(config)
        .output()
        .expect("the program");
    assert!(began.elapsed() < LONGEST, "it took {:?}", began.elapsed());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code(), report)
}

fn faults<'a>(report: &'a Value, check: &str) -> Vec<&'a Value> {
    let all = report["findings"].as_array().expect("a list").iter();
    all.filter(|one| one["level"] == "fault" && one["check"] == check).collect()
}

fn closed_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_well_has_no_fault_and_each_planted_one_is_named() {
    let site = Site::new();
    let one = site.aggregator("agg-1", None);
    let mut two = site.aggregator("agg-2", Some(one.address("gossip")));
    site.issue("dashboard", "page", "ca");
    let (grpc, other) = (one.address("grpc"), two.address("grpc"));

    let well = site.dashboard("page", &[grpc], "");
    eventually("two aggregators, each linked with the other, and nothing at fault", async || {
        let (code, report) = doctor(&well);
        let text = report.to_string();
        let both = text.contains("agg-1, agg-2") && text.contains(&other.to_string());
        if code == Some(0) && both { Ok(()) } else { Err(text) }
    })
    .await;
    let (_, report) = doctor(&well);
    let clocks: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().filter(|one| one["check"] == "clock").collect();
    assert_eq!(clocks.len(), 2, "of both aggregators, of which one was learnt: {report}");
    assert!(clocks.iter().all(|one| one["what"].as_str().unwrap().starts_with("in step")), "{clocks:?}");

    // An aggregator that is not there.
    let closed = closed_port();
    let (code, report) = doctor(&site.dashboard("page", &[grpc, closed], ""));
    assert_eq!(code, Some(1));
    let found = faults(&report, "aggregator");
    assert!(found.len() == 1 && found[0]["subject"].as_str().unwrap().contains(&closed.to_string()), "{report}");
    assert!(found[0]["what"].as_str().unwrap().contains("Connection refused"), "{report}");

    // A wrong key, and a value out of its range.
    let (code, report) = doctor(&site.dashboard("page", &[grpc], "lisen = \"127.0.0.1:1\"\nlimits.clients = 0\n"));
    assert_eq!((code, faults(&report, "settings").len()), (Some(1), 2), "{report}");
    assert!(report.to_string().contains("lisen: unknown key, did you mean listen?"), "{report}");

    // A port that somebody else has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("admin_listen = \"{}\"\n", taken.local_addr().unwrap());
    let (_, report) = doctor(&site.dashboard("page", &[grpc], &text));
    let found = faults(&report, "port");
    assert!(found.len() == 1 && found[0]["what"].as_str().unwrap().starts_with("is taken by"), "{report}");

    // A certificate of another role, and one of another authority.
    site.issue("node", "web-1", "ca");
    let (code, report) = doctor(&site.dashboard("web-1", &[grpc], ""));
    assert_eq!(code, Some(1));
    assert!(
        faults(&report, "certificate")[0]["what"].as_str().unwrap().contains("wanted is one of the role"),
        "{report}"
    );
    site.ca(&["init", "--cluster", "test", "--dir", &site.path("foreign")]);
    site.issue("dashboard", "stranger", "foreign");
    let (code, report) = doctor(&site.dashboard("stranger", &[grpc], ""));
    assert_eq!(code, Some(1));
    let what = faults(&report, "aggregator")[0]["what"].as_str().unwrap().to_owned();
    assert!(what.contains("not of this cluster's authority"), "{report}");

    // The host of a node: it asks nothing that a node may not, so nobody logs a refusal.
    let text = format!("aggregators = [\"{grpc}\"]\n{}", site.tls("web-1"));
    let (_, report) = doctor(&site.settings("node.toml", &text));
    let aggregator = |one: &&Value| one["check"] == "aggregator" && one["level"] == "ok";
    assert!(report["findings"].as_array().unwrap().iter().any(|one| aggregator(&one)), "{report}");
    assert!(!one.log().contains("call refused"), "{}", one.log());

    // One that died: who was learnt is not reached.
    two.kill();
    let (code, report) = doctor(&site.dashboard("page", &[grpc], ""));
    assert_eq!(code, Some(1), "{report}");
    assert!(faults(&report, "aggregator")[0]["subject"].as_str().unwrap().contains(&other.to_string()), "{report}");
}

#[test]
fn flags_that_are_not_understood_are_another_code_and_lines_end_with_their_sum() {
    let (code, error) = Program::run_to_end("starling", &["doctor", "--config", "/tmp/what.toml"]);
    assert!(code == Some(2) && error.contains("node=FILE"), "{code:?} {error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, "aggregators = [\"agg-1\"]\n").unwrap();
    let output = Command::new(binary("starling")).args(["doctor", "--config"]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("fault    settings: ") && text.contains(" -> mend it"), "{text}");
    assert!(text.trim_end().lines().last().unwrap().contains(" at fault, "), "{text}");
}
