//! Joining a cluster by a token, with the programs and commands as people run them.

use std::{fs, path::Path, time::Duration};

use rustix::process::Signal;
use starling_proto::{
    ids::NodeId,
    v1::{Completeness, GetClusterRequest, ListNodesRequest},
};
use starling_service::{
    channel::Dial,
    credentials::{Credentials, Files, certificates, digest, standing},
    enrolment::{Folder, JoinError, JoinToken, Wish, join},
    grpc::query_client::QueryClient,
    identity::Role,
    state_folder,
};
use starling_testkit::eventually;
use starling_tests::{Issuer, Program, aggregator, binary, http_get, this_second};
use tokio::io::AsyncReadExt;

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
        Program::all_of("starling", &[arguments, &["--aggregator", &at, "--tls", &tls]].concat())
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

/// What a user of the host reads of a process while it runs: its arguments and its environment.
fn seen_of(process: u32) -> String {
    let read = |what: &str| fs::read(format!("/proc/{process}/{what}")).unwrap_or_default();
    String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_among_the_arguments_is_hidden_at_once_and_stands_in_no_text() {
    // Takes a connection and says nothing, so that there is time to look.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let token = JoinToken { id: [1; 8], secret: [2; 16], authority: [3; 32] }.reveal();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("identity");
    let secret = &token[14..26];
    for given in [vec!["--token".to_owned(), token.clone()], vec![format!("--token={token}")]] {
        let mut joins = std::process::Command::new(binary("starling-node"))
            .args(["join", &at, "--name", "web-1", "--folder"])
            .arg(&folder)
            .args(&given)
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The same process, with the token on its standard input.
        eventually("the arguments without the token", async || {
            let seen = seen_of(joins.id());
            if seen.contains("--token-file") && !seen.contains(&token) { Ok(()) } else { Err(seen) }
        })
        .await;
        while joins.try_wait().unwrap().is_none() {
            let seen = seen_of(joins.id());
            assert!(!seen.contains(secret), "{seen}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let output = joins.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("--token-file is safer") && !said.contains(secret), "{said}");
    }
}

/// The image was started once before anybody joined; all hosts made of it have its machine-id.
#[tokio::test(flavor = "multi_thread")]
async fn ten_hosts_of_one_image_are_ten_nodes() {
    let fleet = Fleet::new("600");
    let image = tempfile::tempdir().unwrap();
    let mut first = Program::daemon(
        "image",
        &[fleet.grpc(0)],
        &[&format!("tls.folder={}", image.path().join("state/identity").display()), "insecure=true"],
    );
    eventually("it runs", async || http_get(first.address("admin"), "/live").await.map(drop)).await;
    assert_eq!(first.stop().await, Some(0));
    assert!(!image.path().join("state").exists(), "nothing of an identity before join");
    let token = fleet.token("token", &["--uses", "10"]).await;
    let text = fs::read_to_string(&token).unwrap();
    let mut found = std::collections::BTreeSet::new();
    for number in 1..=10 {
        let name = format!("vm-{number}");
        state_folder::replace(Path::new(&token), text.as_bytes(), state_folder::SECRET).unwrap();
        let (code, said) = fleet.join("starling-node", &fleet.grpc(number % 2), &token, &name, &[]);
        assert_eq!(code, Some(0), "{name}: {said}");
        let folder = fleet.issuer.path(&format!("joined-{name}"));
        let read = |file: &str| fs::read_to_string(Path::new(&folder).join(file)).unwrap();
        let serial = standing(&Path::new(&folder).join("certificate.pem")).unwrap()[0].serial.clone();
        let machine = read("joined.toml").lines().find(|line| line.starts_with("machine")).map(str::to_owned);
        found.insert((read("key.pem"), serial, machine));
    }
    let of = |part: fn(&(String, String, Option<String>)) -> String| {
        found.iter().map(part).collect::<std::collections::BTreeSet<_>>().len()
    };
    let machines = of(|(_, _, machine)| machine.clone().unwrap_or_default());
    assert_eq!((of(|(key, ..)| key.clone()), of(|(_, serial, _)| serial.clone()), machines), (10, 10, 1));
    let (code, said) = fleet.command(&["node", "list", "--role", "node", "--json"]);
    assert!(code == Some(0) && said.matches("\"name\":\"vm-").count() == 10, "{said}");
    // And all of them count, at once, though their machine-id is one.
    let daemons: Vec<Program> = (1..=10).map(|number| fleet.daemon(&format!("vm-{number}"))).collect();
    eventually("all ten report", async || match fleet.reporting().await? {
        10 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
    drop(daemons);
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
    let token = fleet.token("token", &["--uses", "2"]).await;
    let text = fs::read_to_string(&token).unwrap();
    for name in ["web-1", "web-2"] {
        state_folder::replace(Path::new(&token), text.as_bytes(), state_folder::SECRET).unwrap();
        let (code, said) = fleet.join("starling-node", &fleet.grpc(1), &token, name, &[]);
        assert_eq!(code, Some(0), "{said}");
    }
    let _daemon = fleet.daemon("web-1");
    let late = fleet.daemon("web-2");
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

    // The step that comes last is refused while it is not the turn of it, and while somebody would be cut off.
    let retire = |fleet: &Fleet, more: &[&str]| {
        let keep = fleet.issuer.path("new-ca/ca.pem");
        fleet.command(&[&["ca", "retire", "--keep", &keep], more].concat())
    };
    let (code, said) = retire(&fleet, &[]);
    assert!(code == Some(1) && said.contains("another authority than those that stay signs at present"), "{said}");
    eventually("the second trusts both", async || {
        let text = fs::read_to_string(path("joined-web-2/ca.pem")).unwrap();
        if text.matches("BEGIN CERTIFICATE").count() == 2 { Ok(()) } else { Err(text) }
    })
    .await;
    late.signal(Signal::STOP);

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
    eventually("one of two nodes is late", async || match retire(&fleet, &[]) {
        (Some(1), said) if said.contains("1 still need the former authority") => Ok(()),
        (_, said) => Err(said),
    })
    .await;
    let (_, said) = retire(&fleet, &[]);
    for words in [
        "4 of 5 have a certificate",
        "  node web-2: its certificate is by the former authority, until 20",
        "ends at 20",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert!(!said.contains("web-1") && !said.contains("agg-"), "{said}");
    let (code, said) = retire(&fleet, &["--force"]);
    assert!(code == Some(0) && said.contains("node web-2") && said.contains("as --force says"), "{said}");
    late.signal(Signal::CONT);
    eventually("the late one has renewed", async || match retire(&fleet, &[]) {
        (Some(0), said) if said.contains("5 of 5 have") => Ok(()),
        (_, said) => Err(said),
    })
    .await;
    for name in by_hand {
        fs::copy(path("new-ca/ca.pem"), path(&format!("{name}/ca.pem"))).unwrap();
    }
    eventually("the node trusts the new one only", async || {
        let text = fs::read_to_string(path("joined-web-1/ca.pem")).unwrap();
        if text == fs::read_to_string(path("new-ca/ca.pem")).unwrap() { Ok(()) } else { Err(text) }
    })
    .await;
    eventually("the nodes report", async || match fleet.reporting().await? {
        2 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
}

/// Started while nobody answers and its certificate is over, as after a long weekend: it says so, collects, and renews when somebody
/// is there, in the same process.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_started_after_the_end_of_its_certificate_works_and_waits_for_the_next() {
    let fleet = Fleet::new("20");
    let token = fleet.token("token", &[]).await;
    let (code, said) = fleet.join("starling-node", &fleet.grpc(1), &token, "web-1", &[]);
    assert_eq!(code, Some(0), "{said}");
    fleet.aggregators.iter().for_each(|aggregator| aggregator.signal(Signal::STOP));
    let certificate = fleet.issuer.path("joined-web-1/certificate.pem");
    eventually("it ends", async || match standing(Path::new(&certificate)).unwrap()[0].until {
        until if until < std::time::SystemTime::now() => Ok(()),
        until => Err(format!("{until:?}")),
    })
    .await;
    // Announces where it listens, or this panics.
    let mut daemon = fleet.daemon("web-1");
    let began = this_second();
    let address = daemon.address("admin");
    eventually("it says that its certificate ended", async || match http_get(address, "/ready").await? {
        (200, said) => Err(said),
        (_, said) if said.contains("certificate ended at") => Ok(()),
        (_, said) => Err(said),
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    fleet.aggregators.iter().for_each(|aggregator| aggregator.signal(Signal::CONT));
    let healed = std::time::Instant::now();
    eventually("it reports", async || match fleet.reporting().await? {
        1 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
    println!("back {:?} after somebody was there, started {} s before", healed.elapsed(), this_second() - began);
    assert!(healed.elapsed() < Duration::from_secs(60) && daemon.is_running());
}

/// A host that belongs to one cluster goes to another: told first, then taken out, and nothing of the other is touched.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_taken_out_and_free_to_join_another_cluster() {
    let fleet = Fleet::new("600");
    let token = fleet.token("token", &["--uses", "2"]).await;
    let (code, said) = fleet.join("starling-node", &fleet.grpc(1), &token, "web-1", &[]);
    assert_eq!(code, Some(0), "{said}");
    let folder = fleet.issuer.path("joined-web-1");
    let leave = |more: &[&str]| Program::run_to_end("starling-node", &[&["leave", "--folder", &folder], more].concat());
    let mut daemon = fleet.daemon("web-1");
    eventually("the host that joined", async || match fleet.reporting().await? {
        1 => Ok(()),
        other => Err(format!("{other} report")),
    })
    .await;
    let (code, said) = leave(&[]);
    assert!(code == Some(1) && said.contains("node web-1 is connected: stop it first"), "{said}");
    daemon.stop().await;
    let before = fs::read(Path::new(&folder).join("certificate.pem")).unwrap();
    let (code, said) = leave(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!Path::new(&folder).exists());
    let aside = fs::read_dir(Path::new(&folder).parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let aside = aside.filter(|path| path.display().to_string().contains("joined-web-1.before-")).collect::<Vec<_>>();
    assert_eq!(fs::read(aside[0].join("certificate.pem")).unwrap(), before, "what there was is kept");
    let (code, said) = fleet.command(&["node", "list"]);
    assert!(code == Some(0) && said.contains("removed") && said.contains("by node web-1"), "{said}");
    eventually("nobody is expected", async || match fleet.expected().await? {
        0 => Ok(()),
        other => Err(format!("{other} expected")),
    })
    .await;
    let (code, said) = leave(&[]);
    assert!(code == Some(1) && said.contains("this host has not joined"), "{said}");

    // An aggregator likewise; and one that can tell nobody stays what it is, unless it must not.
    let token = fleet.token("aggregators", &["--role", "aggregator"]).await;
    let (code, said) = fleet.join("starling-aggregator", &fleet.grpc(0), &token, "agg-3", &[]);
    assert_eq!(code, Some(0), "{said}");
    let third = fleet.issuer.path("joined-agg-3");
    fleet.aggregators.iter().for_each(|aggregator| aggregator.signal(Signal::STOP));
    let began = std::time::Instant::now();
    let (code, said) = Program::run_to_end("starling-aggregator", &["leave", "--folder", &third]);
    assert!(code == Some(1) && said.contains("the cluster was not told, so this stays a member"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(16) && Path::new(&third).exists(), "{:?}", began.elapsed());
    fleet.aggregators.iter().for_each(|aggregator| aggregator.signal(Signal::CONT));
    eventually("it leaves", async || {
        match Program::run_to_end("starling-aggregator", &["leave", "--folder", &third]) {
            (Some(0), _) => Ok(()),
            (code, said) => Err(format!("{code:?}: {said}")),
        }
    })
    .await;
    let (code, said) = fleet.command(&["node", "list", "--role", "aggregator"]);
    assert!(code == Some(0) && said.contains("by aggregator agg-3"), "{said}");
}

/// A way to `to` on which of ten connections three are cut, each after so many bytes as chance has it.
async fn bad_network(to: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut on) = tokio::net::TcpStream::connect(to).await else { return };
                // A join is 1.5 kB there and 3 kB back.
                let bytes = if rand::random_bool(0.3) { rand::random_range(0..4_000) } else { u64::MAX };
                let (mut read, mut write) = from.split();
                let (mut answer, mut ask) = on.split();
                let (mut there, mut back) =
                    (AsyncReadExt::take(&mut read, bytes), AsyncReadExt::take(&mut answer, bytes));
                tokio::select! {
                    _ = tokio::io::copy(&mut there, &mut ask) => {}
                    _ = tokio::io::copy(&mut back, &mut write) => {}
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_hosts_join_through_a_bad_network_and_each_is_one() {
    const HOSTS: usize = 300;
    let fleet = Fleet::new("600");
    let token = fleet.token("token", &["--uses", &HOSTS.to_string()]).await;
    let token: JoinToken = fs::read_to_string(&token).unwrap().trim().parse().unwrap();
    // At the one that signs, and at the one that passes on.
    let mut addresses = Vec::new();
    for of in 0..2 {
        addresses.push(bad_network(fleet.aggregators[of].address("grpc")).await.to_string());
    }
    let began = std::time::Instant::now();
    let mut joining = tokio::task::JoinSet::new();
    for host in 0..HOSTS {
        let name = format!("web-{host}");
        let wish = Wish {
            role: Role::Node,
            name: NodeId::parse(&name).unwrap(),
            token: token.clone(),
            addresses: vec![addresses[host % 2].clone(), addresses[(host + 1) % 2].clone()],
            hosts: Vec::new(),
            folder: Folder::at(Path::new(&fleet.issuer.path(&format!("joined-{name}"))).to_owned()),
            replace: false,
        };
        joining.spawn(async move {
            // Run again by whoever installs, until it is a member.
            let mut runs = 1;
            while let Err(error) = join(&wish).await {
                assert!(matches!(error, JoinError::Unreachable(_) | JoinError::NotStarling(_)), "{name}: {error}");
                runs += 1;
            }
            runs
        });
    }
    let runs: usize = joining.join_all().await.into_iter().sum();
    println!("{HOSTS} joined in {:?}, in {runs} runs", began.elapsed());
    let (code, said) = fleet.command(&["token", "list"]);
    assert!(code == Some(0) && said.contains(&format!("{HOSTS} of {HOSTS}")), "{said}");
    let (code, said) = fleet.command(&["node", "list"]);
    let mut names: Vec<_> = said.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    names.retain(|name| name.starts_with("web-"));
    let listed = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((code, listed, names.len(), said.contains("removed")), (Some(0), HOSTS, HOSTS, false));
}
