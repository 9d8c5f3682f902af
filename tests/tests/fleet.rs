//! A fleet of hosts: network namespaces with addresses of their own on one switch, mutual TLS and sealed gossip between
//! them, as `starling ca` and the settings of docs/operations/security.md set it up. Links are cut and lossy meanwhile.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use starling_proto::v1::{GetLedgerRequest, Ledger};
use starling_service::{
    channel::Dial,
    credentials::{Credentials, Files, Security},
    grpc::cluster_client::ClusterClient,
    identity::Role,
};
use starling_testkit::eventually;
use starling_tests::{Launch, Program, binary};

/// Set for the part of the test that runs on one of the hosts: the start of their names.
const INSIDE: &str = "STARLING_TEST_FLEET";
const AGGREGATORS: usize = 3;
const NODES: usize = 4;
const DIAL: Dial = Dial::within(Duration::from_secs(5));

fn run(command: &str) {
    tried(command).unwrap_or_else(|error| panic!("{error}"));
}

fn tried(command: &str) -> Result<(), String> {
    let output = Command::new("sh").args(["-ec", command]).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command}: {said}")) }
}

/// Hosts on one switch; they are gone with it.
struct Hosts {
    prefix: String,
}

impl Hosts {
    /// # Errors
    /// When this machine makes no switch.
    fn new() -> Result<Self, String> {
        let hosts = Self { prefix: format!("sf{}", std::process::id()) };
        let switch = hosts.name("sw");
        tried(&format!(
            "ip netns add {switch}; ip -n {switch} link add br0 type bridge; ip -n {switch} link set br0 up"
        ))?;
        for (name, address) in all() {
            let host = hosts.name(&name);
            run(&format!(
                "ip netns add {host}; ip link add {name} netns {switch} type veth peer name eth0 netns {host}
                 ip -n {switch} link set {name} master br0 up; ip -n {host} link set lo up
                 ip -n {host} addr add {address}/16 dev eth0; ip -n {host} link set eth0 up"
            ));
        }
        Ok(hosts)
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in all().map(|(name, _)| name).chain(["sw".to_owned()]) {
            // What was not made is not there.
            let _ = Command::new("ip").args(["netns", "del", &self.name(&host)]).output();
        }
    }
}

fn all() -> impl Iterator<Item = (String, String)> {
    let aggregators = (1..=AGGREGATORS).map(|i| (format!("a{i}"), format!("10.90.0.{i}")));
    let nodes = (1..=NODES).map(|i| (format!("n{i}"), format!("10.90.1.{i}")));
    aggregators.chain(nodes).chain([("d1".to_owned(), "10.90.2.1".to_owned())])
}

/// Starts a program on a host.
fn start(prefix: &str, host: &str, program: &str, settings: &[String]) -> Program {
    let path = binary(program).display().to_string();
    let mut arguments = vec!["netns".to_owned(), "exec".to_owned(), format!("{prefix}-{host}"), path];
    arguments.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
    let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().find(|ip| std::path::Path::new(ip).exists());
    Program::launch(Launch { path: ip.expect("iproute2").into(), arguments, user: None, lines: None })
}

fn tls(folder: &str) -> Vec<String> {
    ["certificate", "key", "ca"].map(|key| format!("tls.{key}={folder}/{key}.pem")).to_vec()
}

fn issue(folder: &str, role: &str, name: &str) -> String {
    let out = format!("{folder}/{name}");
    let (code, error) =
        Program::run_to_end("starling", &["ca", "issue", role, name, "--dir", &format!("{folder}/ca"), "--out", &out]);
    assert_eq!(code, Some(0), "{error}");
    out
}

/// The hosts of a test need root; where there is none, that is said and nothing is shown.
#[test]
fn a_fleet_by_mutual_tls_and_sealed_gossip_counts_every_second_through_loss_and_a_partition() {
    if let Ok(prefix) = std::env::var(INSIDE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(inside(&prefix));
    }
    let hosts = match starling_tests::chaos::network_available().and_then(|()| Hosts::new()) {
        Ok(hosts) => hosts,
        Err(missing) => return eprintln!("NOT RUN: {missing}"),
    };
    let name = "a_fleet_by_mutual_tls_and_sealed_gossip_counts_every_second_through_loss_and_a_partition";
    let status = Command::new("ip")
        .args(["netns", "exec", &hosts.name("d1")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, &hosts.prefix)
        .status();
    assert!(status.unwrap().success(), "see above");
}

async fn inside(prefix: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path().display().to_string();
    let (code, error) = Program::run_to_end("starling", &["ca", "init", "--dir", &format!("{folder}/ca")]);
    assert_eq!(code, Some(0), "{error}");
    let seeds: Vec<String> = (1..=AGGREGATORS).map(|i| format!("\"10.90.0.{i}:7401\"")).collect();
    let mut aggregators = Vec::new();
    for i in 1..=AGGREGATORS {
        let own = issue(&folder, "aggregator", &format!("agg-{i}"));
        let mut settings = vec![
            format!("grpc_listen=10.90.0.{i}:7400"),
            format!("gossip_listen=10.90.0.{i}:7401"),
            format!("seeds=[{}]", seeds.join(",")),
            format!("gossip_keyring={own}/gossip.keyring"),
            format!("state_dir={folder}/state-{i}"),
            "requests.report=false".to_owned(),
        ];
        settings.extend(tls(&own));
        aggregators.push(start(prefix, &format!("a{i}"), "starling-aggregator", &settings));
    }
    let known: Vec<String> = (1..=AGGREGATORS).map(|i| format!("\"10.90.0.{i}:7400\"")).collect();
    let known = format!("aggregators=[{}]", known.join(","));
    let _nodes: Vec<Program> = (1..=NODES)
        .map(|i| {
            let mut settings = tls(&issue(&folder, "node", &format!("web-{i}")));
            settings.push(known.clone());
            start(prefix, &format!("n{i}"), "starling-node", &settings)
        })
        .collect();
    let operator = Files::of_folder(issue(&folder, "operator", "ann").as_ref());
    let operator =
        Security::of(Credentials::load(operator, None, Role::Operator, false).expect("what was just issued").into());
    let began = Instant::now();
    eventually("every aggregator counts every node", async || {
        for i in 1..=AGGREGATORS {
            complete(&ledger(&operator, i, 0).await?)?;
        }
        Ok(())
    })
    .await;
    println!("all nodes at all aggregators {:.1} s after the last was started", began.elapsed().as_secs_f64());
    let first = ledger(&operator, 1, 0).await.expect("it answered before").tick;

    // A third of what the second aggregator hears is lost; then the first is cut off.
    let cut = |host: &str, rule: &str| {
        run(&format!(
            "ip netns exec {prefix}-{host} nft -f - <<'E'\ntable inet faults {{ chain hear {{ type filter hook input priority 0; iifname eth0 {rule}; }}; }}\nE"
        ));
    };
    let heal = |host: &str| run(&format!("ip netns exec {prefix}-{host} nft delete table inet faults"));
    cut("a2", "numgen random mod 100 < 30 drop");
    tokio::time::sleep(Duration::from_secs(10)).await;
    cut("a1", "drop");
    tokio::time::sleep(Duration::from_secs(20)).await;
    heal("a1");
    heal("a2");
    let last = u32::try_from(starling_service::clock::unix_ms() / 1000).expect("before 2106");
    eventually("every second of the faults is whole and the same everywhere", async || {
        for tick in first..=last {
            let mut hashes = Vec::new();
            for i in 1..=AGGREGATORS {
                let second = ledger(&operator, i, tick).await.map_err(|error| format!("{tick} at agg-{i}: {error}"))?;
                complete(&second).map_err(|error| format!("{tick} at agg-{i}: {error}"))?;
                let balanced = second.conservation.as_ref().and_then(|check| check.balanced);
                if balanced != Some(true) || second.overlaps != Some(0) || second.forks != Some(0) {
                    return Err(format!("{tick} at agg-{i}: {second:?}"));
                }
                hashes.push(second.view_hash);
            }
            if hashes.iter().any(|hash| *hash != hashes[0]) {
                return Err(format!("{tick}: {hashes:?}"));
            }
        }
        Ok(())
    })
    .await;
    println!("{} seconds whole and the same at {AGGREGATORS} aggregators", last - first + 1);
    drop(aggregators);
}

async fn ledger(operator: &Security, i: usize, tick: u32) -> Result<Ledger, String> {
    let channel = DIAL.connect_to(operator, &format!("10.90.0.{i}:7400"), Some(&format!("agg-{i}"))).await?;
    let answer = ClusterClient::new(channel).get_ledger(GetLedgerRequest { tick }).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
}

fn complete(second: &Ledger) -> Result<(), String> {
    match second.completeness.as_ref().and_then(|all| all.nodes_reporting) {
        Some(reporting) if reporting as usize == NODES => Ok(()),
        other => Err(format!("{other:?} of {NODES} nodes")),
    }
}
