//! A fleet of hosts: network namespaces with addresses of their own on one switch, mutual TLS and sealed gossip between
//! them, as `starling ca` and the settings of docs/operations/security.md set it up. Links are cut and lossy meanwhile.

use std::time::{Duration, Instant};

use starling_proto::v1::{GetLedgerRequest, Ledger};
use starling_service::{channel::Dial, credentials::Security, grpc::cluster_client::ClusterClient, identity::Role};
use starling_testkit::eventually;
use starling_tests::{Hosts, Issuer, Program};

const AGGREGATORS: usize = 3;
const NODES: usize = 4;
const DIAL: Dial = Dial::within(Duration::from_secs(5));

#[test]
fn a_fleet_by_mutual_tls_and_sealed_gossip_counts_every_second_through_loss_and_a_partition() {
    let name = "a_fleet_by_mutual_tls_and_sealed_gossip_counts_every_second_through_loss_and_a_partition";
    let aggregators = (1..=AGGREGATORS).map(|i| (format!("a{i}"), format!("10.90.0.{i}/16")));
    let nodes = (1..=NODES).map(|i| (format!("n{i}"), format!("10.90.1.{i}/16")));
    let all: Vec<_> = aggregators.chain(nodes).chain([("d1".to_owned(), "10.90.2.1/16".to_owned())]).collect();
    let all: Vec<(&str, [&str; 1])> = all.iter().map(|(name, address)| (name.as_str(), [address.as_str()])).collect();
    let all: Vec<(&str, &[&str])> = all.iter().map(|(name, addresses)| (*name, &addresses[..])).collect();
    Hosts::run_on("d1", name, &all, async |hosts| inside(&hosts).await);
}

async fn inside(hosts: &Hosts) {
    let issuer = Issuer::new("starling");
    let seeds: Vec<String> = (1..=AGGREGATORS).map(|i| format!("\"10.90.0.{i}:7401\"")).collect();
    let mut aggregators = Vec::new();
    for i in 1..=AGGREGATORS {
        let name = format!("agg-{i}");
        issuer.issue("aggregator", &name);
        let mut settings = vec![
            "grpc_listen=0.0.0.0:7400".to_owned(),
            "gossip_listen=0.0.0.0:7401".to_owned(),
            format!("seeds=[{}]", seeds.join(",")),
            format!("gossip_keyring={}", issuer.path(&format!("{name}/gossip.keyring"))),
            format!("state_dir={}", issuer.path(&format!("state-{i}"))),
            "requests.report=false".to_owned(),
        ];
        settings.extend(issuer.settings(&name));
        aggregators.push(hosts.start(&format!("a{i}"), "starling-aggregator", &settings));
    }
    let known: Vec<String> = (1..=AGGREGATORS).map(|i| format!("\"10.90.0.{i}:7400\"")).collect();
    let known = format!("aggregators=[{}]", known.join(","));
    let _nodes: Vec<Program> = (1..=NODES)
        .map(|i| {
            let name = format!("web-{i}");
            issuer.issue("node", &name);
            let mut settings = issuer.settings(&name);
            settings.push(known.clone());
            hosts.start(&format!("n{i}"), "starling-node", &settings)
        })
        .collect();
    issuer.issue("operator", "ann");
    let operator = issuer.security("ann", Role::Operator);
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
        let chain = format!("chain hear {{ type filter hook input priority 0; iifname eth0 {rule}; }}");
        hosts.on(host, &format!("echo 'table inet faults {{ {chain}; }}' | nft -f -"));
    };
    let heal = |host: &str| hosts.on(host, "nft delete table inet faults");
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
