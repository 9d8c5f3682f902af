//! Aggregators that listen on every address of their host find out which one the others are to use, on hosts of several
//! addresses, of none yet, of one that changes, and of IPv6 alone.

use std::time::Duration;

use starling_proto::v1::ListAggregatorsRequest;
use starling_service::{channel::Dial, credentials::Security, grpc::cluster_client::ClusterClient, identity::Role};
use starling_tests::{Hosts, Issuer, Program, eventually};

const DIAL: Dial = Dial::within(Duration::from_secs(3));

fn start(hosts: &Hosts, issuer: &Issuer, (name, at): (&str, &str), any: &str, seeds: &str) -> Program {
    issuer.issue("aggregator", name);
    let mut settings = vec![
        "cluster=test".to_owned(),
        format!("grpc_listen={any}:7400"),
        format!("gossip_listen={any}:7401"),
        format!("seeds={seeds}"),
        format!("state_dir={}", issuer.path(&format!("state-{name}"))),
        "requests.report=false".to_owned(),
        "history.enabled=false".to_owned(),
    ];
    settings.extend(issuer.settings(name));
    hosts.start(at, "starling-aggregator", &settings)
}

/// The state and the told addresses of `name`, as the aggregator at `asked` sees it.
async fn seen(operator: &Security, asked: &str, name: &str) -> Result<(String, String), String> {
    let channel = DIAL.connect(operator, asked).await?;
    let answer = ClusterClient::new(channel).list_aggregators(ListAggregatorsRequest {}).await;
    let answer = answer.map_err(|status| status.to_string())?.into_inner();
    let found =
        answer.aggregators.into_iter().find(|one| one.aggregator_id == name).ok_or(format!("{name} is not listed"))?;
    Ok((found.state().as_str_name().to_owned(), found.grpc_address))
}

async fn sees(operator: &Security, asked: &str, name: &str, at: &str) {
    eventually(&format!("{asked} sees {name} at {at}"), async || match seen(operator, asked, name).await? {
        (state, address) if state.ends_with("READY") && address == at => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[test]
fn the_address_that_leads_to_the_seeds_is_told_and_followed() {
    let hosts: [(&str, &[&str]); 3] = [("a1", &["10.90.0.1/16"]), ("a2", &[]), ("d1", &["10.90.2.1/16"])];
    let name = "the_address_that_leads_to_the_seeds_is_told_and_followed";
    Hosts::run_on("d1", name, &hosts, async |hosts| {
        let issuer = Issuer::new("test");
        issuer.issue("operator", "ann");
        let operator = issuer.security("ann", Role::Operator);
        // A bridge for containers, first of all; IPv4 dressed as IPv6 among the seeds.
        hosts
            .on("a1", "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up");
        let seeds = "[\"[::ffff:10.90.0.1]:7401\",\"10.90.0.22:7401\"]";
        let _one = start(&hosts, &issuer, ("agg-1", "a1"), "0.0.0.0", seeds);
        let two = start(&hosts, &issuer, ("agg-2", "a2"), "0.0.0.0", "[\"10.90.0.1:7401\"]");
        eventually("the second says that it waits", async || match two.log() {
            log if log.contains("no address of this host leads to a seed") => Ok(()),
            log => Err(log),
        })
        .await;
        hosts.on("a2", "ip addr add 10.90.0.2/16 dev eth0");
        sees(&operator, "10.90.0.2:7400", "agg-1", "10.90.0.1:7400").await;
        sees(&operator, "10.90.0.1:7400", "agg-2", "10.90.0.2:7400").await;
        // Another address, as a lease that was not renewed; the program runs on.
        hosts.on("a2", "ip addr del 10.90.0.2/16 dev eth0; ip addr add 10.90.0.22/16 dev eth0");
        sees(&operator, "10.90.0.1:7400", "agg-2", "10.90.0.22:7400").await;
        sees(&operator, "10.90.0.22:7400", "agg-1", "10.90.0.1:7400").await;
        let log = two.log();
        assert!(!log.contains("127.0.0.1:7401") && !log.contains("0.0.0.0:7401\" grpc"), "{log}");
    });
}

#[test]
fn ipv6_alone_does() {
    let hosts: [(&str, &[&str]); 3] = [("a1", &["fd90::1/64"]), ("a2", &["fd90::2/64"]), ("d1", &["fd90::9/64"])];
    Hosts::run_on("d1", "ipv6_alone_does", &hosts, async |hosts| {
        let issuer = Issuer::new("test");
        issuer.issue("operator", "ann");
        let operator = issuer.security("ann", Role::Operator);
        let seeds = "[\"[fd90::1]:7401\",\"[FD90:0::2]:7401\"]";
        let _one = start(&hosts, &issuer, ("agg-1", "a1"), "[::]", seeds);
        let _two = start(&hosts, &issuer, ("agg-2", "a2"), "[::]", seeds);
        sees(&operator, "[fd90::1]:7400", "agg-2", "[fd90::2]:7400").await;
        sees(&operator, "[fd90::2]:7400", "agg-1", "[fd90::1]:7400").await;
        issuer.issue("node", "web-1");
        let mut settings = issuer.settings("web-1");
        settings.push("aggregators=[\"[fd90::1]:7400\"]".to_owned());
        let node = hosts.start("d1", "starling-node", &settings);
        eventually("a node is taken", async || match node.log() {
            log if log.contains("aggregator took the stream") => Ok(()),
            log => Err(log),
        })
        .await;
    });
}
