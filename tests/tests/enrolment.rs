//! Joining a cluster by a token, with the programs and commands as people run them.

use std::{fs, path::Path, time::Duration};

use rustix::process::Signal;
use starling_proto::v1::{Completeness, GetClusterRequest, ListNodesRequest};
use starling_service::{
    channel::Dial,
    credentials::{Credentials, Files, certificates, digest, standing},
    enrolment::JoinToken,
    grpc::query_client::QueryClient,
    identity::Role,
};
use starling_testkit::eventually;
use starling_tests::{Issuer, Program, aggregator, http_get, this_second};

const DIAL: Dial = Dial::within(Duration::from_secs(5));

/// Two aggregators, of which the first signs, and an operator.
struct Fleet {
    issuer: Issuer,
    aggregators: [Program; 2],
}

impl Fleet {
    fn new(life: &str) -> Self {
        let issuer = Issuer::new("test");
        issuer.issue("operator", "ann");
        let ca = issuer.path("ca");
        // The certificate beside it is that of the aggregator below, which is issued again.
        issuer.run(&["issue", "aggregator", "signer", "--dir", &ca, "--out", &issuer.path("signer"), "--signs"]);
        let signs =
            [format!("enrolment.authority={}", issuer.path("signer/authority")), format!("enrolment.life_secs={life}")];
        let one = aggregator(&issuer, "agg-1", &[], &signs);
        let two = aggregator(&issuer, "agg-2", &[one.address("gossip").to_string()], &[]);
        Self { issuer, aggregators: [one, two] }
    }

    fn grpc(&self, of: usize) -> String {
        self.aggregators[of].address("grpc").to_string()
    }

    /// A command of the operator at the aggregator that does not sign.
    fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (at, tls) = (self.grpc(1), self.issuer.path("ann"));
        Program::run_to_end("starling", &[arguments, &["--aggregator", &at, "--tls", &tls]].concat())
    }

    /// Makes a token into a file.
    async fn token(&self, name: &str, more: &[&str]) -> String {
        let file = self.issuer.path(name);
        let arguments = [&["token", "create", "--out", &file], more].concat();
        eventually("a token", async || match self.command(&arguments) {
            (Some(0), _) => Ok(()),
            (code, said) => Err(format!("{code:?}: {said}")),
        })
        .await;
        file
    }

    fn join(&self, program: &str, at: &str, token_file: &str, name: &str, more: &[&str]) -> (Option<i32>, String) {
        let folder = self.issuer.path(&format!("joined-{name}"));
        let own = ["join", at, "--token-file", token_file, "--name", name, "--folder", &folder];
        Program::run_to_end(program, &[&own, more].concat())
    }

    fn daemon(&self, name: &str) -> Program {
        let folder = format!("tls.folder={}", self.issuer.path(&format!("joined-{name}")));
        let free = ["admin_listen=127.0.0.1:0", "otlp_listen=127.0.0.1:0", "otlp_http_listen=127.0.0.1:0"];
        Program::with_settings("starling-node", &[&free[..], &[&folder]].concat())
    }

    async fn reporting(&self) -> Result<u32, String> {
        self.completeness().await?.nodes_reporting.ok_or_else(|| "nobody says".to_owned())
    }

    async fn expected(&self) -> Result<u32, String> {
        self.completeness().await?.nodes_expected.ok_or_else(|| "nobody says".to_owned())
    }

    async fn completeness(&self) -> Result<Completeness, String> {
        let ann = self.issuer.security("ann", Role::Operator);
        let channel = DIAL.connect(&ann, &self.grpc(1)).await?;
        let view = QueryClient::new(channel).get_cluster(GetClusterRequest::default()).await;
        let view = view.map_err(|status| status.to_string())?.into_inner();
        view.completeness.ok_or_else(|| "no second yet".to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_by_one_command_and_renews_and_is_taken_out() {
    let fleet = Fleet::new("20");
    let token = fleet.token("token", &["--uses", "2"]).await;
    let text = fs::read_to_string(&token).unwrap();
    // At the aggregator that does not sign, and without any further setting.
    let (code, said) = fleet.join("starling-node", &fleet.grpc(1), &token, "web-1", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read_to_string(&token).unwrap(), "", "a token that was used is not left lying about");
    assert!(!said.contains(text.trim()), "{said}");
    let daemon = fleet.daemon("web-1");
    eventually("the host that joined", async || match fleet.reporting().await? {
        1 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;

    // It renews by itself, with the same key, and nothing is cut.
    let folder = fleet.issuer.path("joined-web-1");
    let serial = || standing(&Path::new(&folder).join("certificate.pem")).unwrap()[0].serial.clone();
    let (first, key) = (serial(), fs::read(Path::new(&folder).join("key.pem")).unwrap());
    eventually("a renewed certificate", async || if serial() == first { Err(first.clone()) } else { Ok(()) }).await;
    assert_eq!(fs::read(Path::new(&folder).join("key.pem")).unwrap(), key);
    let address = daemon.address("admin");
    eventually("the new certificate in use", async || {
        let (_, metrics) = http_get(address, "/metrics").await?;
        let wanted = "starling_certificate_renewals_total ";
        let line = metrics.lines().find(|line| line.starts_with(wanted)).unwrap_or_default();
        if line.trim_end().ends_with(" 0") || line.is_empty() { Err(line.to_owned()) } else { Ok(()) }
    })
    .await;

    // The list, by anybody of the aggregators.
    let (code, said) = fleet.command(&["node", "list", "--json"]);
    assert_eq!(code, Some(0), "{said}");

    // Taken out: the stream that is open ends, and it does not come back.
    let (code, said) = fleet.command(&["node", "remove", "web-1"]);
    assert_eq!(code, Some(0), "{said}");
    let removed = std::time::Instant::now();
    eventually("nobody", async || match fleet.reporting().await? {
        0 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
    let took = removed.elapsed();
    assert!(took < Duration::from_secs(20), "it is out within seconds, not after {took:?}");
    eventually("it says that it is out", async || match http_get(address, "/ready").await? {
        (200, said) => Err(said),
        _ => Ok(()),
    })
    .await;

    // Nor does the cluster wait for it for 15 minutes; half a minute is the time of a restart.
    eventually("nobody is expected", async || match fleet.expected().await? {
        0 => Ok(()),
        other => Err(format!("{other} expected")),
    })
    .await;
    let (code, said) = fleet.command(&["node", "remove", "nobody"]);
    assert!(code == Some(1) && said.contains("nobody has joined"), "{said}");

    // The name is free, for who joins anew.
    let again = fleet.issuer.path("again");
    fs::write(&again, &text).unwrap();
    std::process::Command::new("chmod").args(["600", &again]).status().unwrap();
    let (code, said) = fleet.join("starling-node", &fleet.grpc(0), &again, "web-1", &["--replace"]);
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_own_words_and_code_and_spends_nothing() {
    let fleet = Fleet::new("600");
    let token = fleet.token("token", &[]).await;
    let text = fs::read_to_string(&token).unwrap();
    let file = |name: &str, content: &str| {
        let file = fleet.issuer.path(name);
        fs::write(&file, content).unwrap();
        std::process::Command::new("chmod").args(["600", &file]).status().unwrap();
        file
    };
    let at = fleet.grpc(0);
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let mut other: JoinToken = text.parse().unwrap();
    other.authority = [7; 32];
    let mut forged: JoinToken = text.parse().unwrap();
    forged.secret = [7; 16];
    let of_dashboards = fleet.token("dashboards", &["--role", "dashboard"]).await;
    let open = fleet.issuer.path("open");
    fs::write(&open, &text).unwrap();
    std::process::Command::new("chmod").args(["644", &open]).status().unwrap();
    let admin = fleet.aggregators[0].address("admin").to_string();
    for (what, at, token, code, wanted) in [
        ("cut", &at, &file("cut", &text[..60]), 3, "cut short or changed"),
        ("no token", &at, &file("no", "s3cret"), 3, "this is not a join token"),
        ("open", &at, &open, 2, "can be read by everybody"),
        ("empty", &at, &file("empty", ""), 2, "the token is empty"),
        ("closed port", &closed, &token, 4, "see that the aggregator runs"),
        ("plain HTTP", &admin, &token, 5, "not an aggregator of Starling"),
        ("another authority", &at, &file("other", &other.reveal()), 6, "so the token was not sent"),
        ("forged", &at, &file("forged", &forged.reveal()), 9, "not known here"),
        ("another role", &at, &of_dashboards, 11, "the join token is for the role dashboard, this is node"),
    ] {
        let began = std::time::Instant::now();
        let (found, said) =
            fleet.join("starling-node", at, token, &format!("web-{}", what.to_lowercase().replace(' ', "-")), &[]);
        assert_eq!(found, Some(code), "{what}: {said}");
        assert!(said.contains(wanted), "{what}: {said}");
        assert!(
            !said.contains(text.trim()) && !said.contains(&text[14..26]),
            "{what}: a secret is never shown: {said}"
        );
        assert!(began.elapsed() < Duration::from_secs(15), "{what}");
    }
    // None of them spent the only use.
    let (code, said) = fleet.join("starling-node", &at, &token, "web-1", &[]);
    assert_eq!(code, Some(0), "{said}");
    // Run once more, as a script does, with the file that was emptied.
    let (code, said) = fleet.join("starling-node", &at, &token, "web-1", &[]);
    assert!(code == Some(12) && said.contains("is a member already"), "{said}");
    let used = file("used", &text);
    let (code, said) = fleet.join("starling-node", &at, &used, "web-2", &[]);
    assert!(code == Some(8) && said.contains("was used 1 times"), "{said}");
    let (code, said) = fleet.join("starling-node", &at, &used, "web-1", &[]);
    assert!(code == Some(12) && said.contains("is a member already, spiffe://test/node/web-1"), "{said}");
    // Another host of the same name. This machine is the same, so that only one that is connected keeps it.
    let _daemon = fleet.daemon("web-1");
    eventually("the host that joined", async || match fleet.reporting().await? {
        1 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
    let more = fleet.token("more", &["--uses", "9", "--replace"]).await;
    let (code, said) = fleet.join("starling-node", &at, &more, "web-1", &["--replace"]);
    assert!(code == Some(10) && said.contains("which is connected"), "{said}");
    // What could not be joined anew is still what it was.
    let ann = fleet.issuer.security("ann", Role::Operator);
    let channel = DIAL.connect(&ann, &at).await.unwrap();
    let nodes = QueryClient::new(channel).list_nodes(ListNodesRequest::default()).await.unwrap().into_inner();
    assert_eq!(nodes.nodes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_copied_gets_nothing() {
    let fleet = Fleet::new("600");
    let token = fleet.token("token", &[]).await;
    let (code, said) = fleet.join("starling-node", &fleet.grpc(0), &token, "web-1", &[]);
    assert_eq!(code, Some(0), "{said}");
    let joined = Path::new(&fleet.issuer.path("joined-web-1")).join("joined.toml");
    let text = fs::read_to_string(&joined).unwrap();
    if text.contains("machine = \"\"") {
        eprintln!("left out: this host has no machine-id");
        return;
    }
    let copied: String = text
        .lines()
        .map(|line| if line.starts_with("machine") { "machine = \"00112233445566778899aabbccddeeff\"" } else { line })
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(&joined, copied).unwrap();
    let folder = format!("tls.folder={}", fleet.issuer.path("joined-web-1"));
    let (code, said) = Program::run_to_end("starling-node", &["--set", &folder, "--set", "admin_listen=127.0.0.1:0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("was made on another machine") && said.contains("starling-node join --replace"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregators_and_dashboards_join_too() {
    let fleet = Fleet::new("600");
    let token = fleet.token("aggregators", &["--role", "aggregator"]).await;
    let (code, said) = fleet.join("starling-aggregator", &fleet.grpc(1), &token, "agg-3", &["--host", "agg-3.example"]);
    assert_eq!(code, Some(0), "{said}");
    let joined = fs::read_to_string(fleet.issuer.path("joined-agg-3/joined.toml")).unwrap();
    assert!(joined.contains("agg-3.example"), "the next certificate has that name too: {joined}");
    let settings = [
        format!("tls.folder={}", fleet.issuer.path("joined-agg-3")),
        format!("gossip_keyring={}", fleet.issuer.path("agg-1/gossip.keyring")),
    ];
    let own = ["cluster=test", "grpc_listen=127.0.0.1:0", "gossip_listen=127.0.0.1:0", "admin_listen=127.0.0.1:0"];
    let all: Vec<&str> =
        own.into_iter().chain(["state_dir={dir}/state"]).chain(settings.iter().map(String::as_str)).collect();
    let third = Program::with_settings("starling-aggregator", &all);
    let ready = third.address("admin");
    eventually("the third is ready, found by what it learnt when it joined", async || {
        let (_, metrics) = http_get(ready, "/metrics").await?;
        let line =
            metrics.lines().find(|line| line.starts_with("starling_aggregator_gossip_live_peers ")).unwrap_or_default();
        if line.trim_end().ends_with(" 2.0") { Ok(()) } else { Err(line.to_owned()) }
    })
    .await;
    let token = fleet.token("page", &["--role", "dashboard"]).await;
    let (code, said) = fleet.join("starling-dashboard", &third.address("grpc").to_string(), &token, "page", &[]);
    assert_eq!(code, Some(0), "{said}");
    let folder = format!("tls.folder={}", fleet.issuer.path("joined-page"));
    let page = Program::with_settings("starling-dashboard", &["listen=127.0.0.1:0", &folder]);
    eventually("the page is ready", async || match http_get(page.address("http"), "/ready").await? {
        (200, _) => Ok(()),
        (_, said) => Err(said),
    })
    .await;
}

/// Cut off for longer than its certificate lives, it says so, and comes back by itself: the key alone gets the next one.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_cut_off_past_the_end_of_its_certificate_comes_back_by_itself() {
    let fleet = Fleet::new("20");
    let token = fleet.token("token", &[]).await;
    let (code, said) = fleet.join("starling-node", &fleet.grpc(1), &token, "web-1", &[]);
    assert_eq!(code, Some(0), "{said}");
    let mut daemon = fleet.daemon("web-1");
    eventually("the host that joined", async || match fleet.reporting().await? {
        1 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
    let cut = this_second();
    fleet.aggregators.iter().for_each(|aggregator| aggregator.signal(Signal::STOP));
    let address = daemon.address("admin");
    eventually("it says that its certificate ended", async || match http_get(address, "/ready").await? {
        (200, said) => Err(said),
        (_, said) if said.contains("certificate") && said.contains("ended") => Ok(()),
        (_, said) => Err(said),
    })
    .await;
    println!("{:?}", http_get(address, "/ready").await);
    fleet.aggregators.iter().for_each(|aggregator| aggregator.signal(Signal::CONT));
    let healed = std::time::Instant::now();
    eventually("it reports again", async || match fleet.reporting().await? {
        1 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
    println!("cut off for {} s, back after {:?}", this_second() - cut, healed.elapsed());
    assert!(healed.elapsed() < Duration::from_secs(60));
    assert!(daemon.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_is_trusted_by_all_who_joined_before_it_signs_and_the_former_one_goes() {
    // Members ask whom to trust in a tenth of that.
    let mut fleet = Fleet::new("100");
    let token = fleet.token("token", &[]).await;
    let (code, said) = fleet.join("starling-node", &fleet.grpc(1), &token, "web-1", &[]);
    assert_eq!(code, Some(0), "{said}");
    let _daemon = fleet.daemon("web-1");
    let path = |name: &str| fleet.issuer.path(name);
    let trusted = || fs::read_to_string(path("joined-web-1/ca.pem")).unwrap().matches("BEGIN CERTIFICATE").count();
    let proved_by = || {
        let files = Files::of_folder(Path::new(&path("joined-web-1")));
        Credentials::load(files, None, Role::Node, false)
            .map_err(|error| error.to_string())?
            .proved_by()
            .ok_or("none".to_owned())
    };
    let digest_of = |ca: &str| digest(&certificates(&fs::read_to_string(path(ca)).unwrap()).unwrap()[0]);
    let trust = |names: &[&str], authorities: &[&str]| {
        let all: String =
            authorities.iter().map(|ca| fs::read_to_string(path(&format!("{ca}/ca.pem"))).unwrap()).collect();
        names.iter().for_each(|name| fs::write(path(&format!("{name}/ca.pem")), &all).unwrap());
    };
    let by_hand = ["agg-1", "agg-2", "ann"];
    fleet.issuer.run(&["init", "--cluster", "test", "--dir", &path("new-ca")]);

    trust(&by_hand, &["ca", "new-ca"]);
    eventually("the node trusts both, of an aggregator that does not sign", async || match trusted() {
        2 => Ok(()),
        other => Err(format!("{other} authorities")),
    })
    .await;
    assert_eq!(proved_by(), Ok(digest_of("ca/ca.pem")));

    let issue = |role: &str, name: &str, out: &str, more: &[&str]| {
        fleet.issuer.run(&[&["issue", role, name, "--dir", &path("new-ca"), "--out", &path(out)], more].concat());
    };
    issue("aggregator", "agg-1", "agg-1", &[]);
    issue("aggregator", "agg-2", "agg-2", &[]);
    issue("operator", "ann", "ann", &[]);
    trust(&by_hand, &["ca", "new-ca"]);
    fs::remove_dir_all(path("signer")).unwrap();
    issue("aggregator", "signer", "signer", &["--signs"]);
    let new = digest_of("new-ca/ca.pem");
    fleet.aggregators[0].stop().await;
    fleet.aggregators[0].start_again();
    eventually("the node has a certificate by the new one", async || match proved_by()? {
        by if by == new => Ok(()),
        _ => Err("by the former".to_owned()),
    })
    .await;

    let path = |name: &str| fleet.issuer.path(name);
    for name in by_hand {
        fs::copy(path("new-ca/ca.pem"), path(&format!("{name}/ca.pem"))).unwrap();
    }
    eventually("the node trusts the new one only", async || {
        let text = fs::read_to_string(path("joined-web-1/ca.pem")).unwrap();
        if text == fs::read_to_string(path("new-ca/ca.pem")).unwrap() { Ok(()) } else { Err(text) }
    })
    .await;
    eventually("the node reports", async || match fleet.reporting().await? {
        1 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
}
