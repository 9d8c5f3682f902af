//! Aggregators and nodes on hosts of their own, with mutual TLS and sealed gossip, as docs/operations/security.md has it.

use std::time::Duration;

use starling_proto::v1::{Aggregator, GetLedgerRequest, Ledger, ListAggregatorsRequest};
use starling_service::{channel::Dial, credentials::Security, grpc::cluster_client::ClusterClient, identity::Role};
use tonic::transport::Channel;

use crate::{Hosts, Issuer, Program, eventually};

const DIAL: Dial = Dial::within(Duration::from_secs(5));

/// Aggregators agg-1 and on at 10.90.0.1 and on (hosts a1, ...), nodes web-1 and on at 10.90.1.1 and on (hosts n1, ...); tests
/// run on the host d1 at 10.90.2.1.
#[derive(Debug)]
pub struct Fleet {
    /// The hosts.
    pub hosts: Hosts,
    /// The aggregators.
    pub aggregators: Vec<Program>,
    /// The nodes.
    pub nodes: Vec<Program>,
    issuer: Issuer,
    operator: Security,
}

impl Fleet {
    /// Makes the hosts, starts all, and does `work` once every aggregator counts every node. See [`Hosts::run_on`].
    ///
    /// # Panics
    /// When the test fails.
    pub fn run(test: &str, (aggregators, nodes): (usize, usize), work: impl AsyncFnOnce(Self)) {
        let one = |host: &str, net: usize, i: usize| (format!("{host}{i}"), format!("10.90.{net}.{i}/16"));
        let all: Vec<(String, String)> = (1..=aggregators)
            .map(|i| one("a", 0, i))
            .chain((1..=nodes).map(|i| one("n", 1, i)))
            .chain([("d1".to_owned(), "10.90.2.1/16".to_owned())])
            .collect();
        let all: Vec<(&str, [&str; 1])> =
            all.iter().map(|(name, address)| (name.as_str(), [address.as_str()])).collect();
        let all: Vec<(&str, &[&str])> = all.iter().map(|(name, addresses)| (*name, &addresses[..])).collect();
        Hosts::run_on("d1", test, &all, async |hosts| {
            let fleet = Self::start(hosts, aggregators, nodes);
            fleet.every_aggregator_counts_every_node().await;
            work(fleet).await;
        });
    }

    fn start(hosts: Hosts, aggregators: usize, nodes: usize) -> Self {
        let issuer = Issuer::new("starling");
        let list = |port: u16| {
            let all: Vec<String> = (1..=aggregators).map(|i| format!("\"10.90.0.{i}:{port}\"")).collect();
            all.join(",")
        };
        let aggregator = |i: usize| {
            let name = format!("agg-{i}");
            issuer.issue("aggregator", &name);
            let mut settings = vec![
                "grpc_listen=0.0.0.0:7400".to_owned(),
                "gossip_listen=0.0.0.0:7401".to_owned(),
                format!("seeds=[{}]", list(7401)),
                format!("state_dir={}", issuer.path(&format!("state-{i}"))),
                "requests.report=false".to_owned(),
            ];
            settings.extend(issuer.settings(&name));
            hosts.start(&format!("a{i}"), "starling-aggregator", &settings)
        };
        let programs = (1..=aggregators).map(aggregator).collect();
        let node = |i: usize| {
            let name = format!("web-{i}");
            issuer.issue("node", &name);
            let mut settings = issuer.settings(&name);
            settings.push(format!("aggregators=[{}]", list(7400)));
            hosts.start(&format!("n{i}"), "starling-node", &settings)
        };
        let nodes = (1..=nodes).map(node).collect();
        issuer.issue("operator", "ann");
        let operator = issuer.security("ann", Role::Operator);
        Self { hosts, aggregators: programs, nodes, issuer, operator }
    }

    /// The authority of the fleet.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    async fn every_aggregator_counts_every_node(&self) {
        eventually("every aggregator counts every node", async || {
            for i in 1..=self.aggregators.len() {
                self.whole(i, 0).await?;
            }
            Ok(())
        })
        .await;
    }

    async fn cluster(&self, i: usize) -> Result<ClusterClient<Channel>, String> {
        let (address, name) = (format!("10.90.0.{i}:7400"), format!("agg-{i}"));
        Ok(ClusterClient::new(DIAL.connect_to(&self.operator, &address, Some(&name)).await?))
    }

    /// The books of `tick` (0: the newest) at aggregator `i`, from 1.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ledger(&self, i: usize, tick: u32) -> Result<Ledger, String> {
        let answer = self.cluster(i).await?.get_ledger(GetLedgerRequest { tick }).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
    }

    /// Whom aggregator `i` lists.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn listed(&self, i: usize) -> Result<Vec<Aggregator>, String> {
        let answer = self.cluster(i).await?.list_aggregators(ListAggregatorsRequest {}).await;
        Ok(answer.map_err(|status| status.to_string())?.into_inner().aggregators)
    }

    /// The books of a second at one aggregator, of which no node may be missing.
    ///
    /// # Errors
    /// What is.
    pub async fn whole(&self, i: usize, tick: u32) -> Result<Ledger, String> {
        let second = self.ledger(i, tick).await.map_err(|error| format!("{tick} at agg-{i}: {error}"))?;
        match second.completeness.as_ref().and_then(|all| all.nodes_reporting) {
            Some(reporting) if reporting as usize == self.nodes.len() => Ok(second),
            other => Err(format!("{tick} at agg-{i}: {other:?} of {} nodes", self.nodes.len())),
        }
    }

    /// Waits until each second from `first` to `last` is whole, balanced and the same at all aggregators.
    pub async fn every_second_is_whole(&self, first: u32, last: u32) {
        eventually("every second is whole and the same everywhere", async || {
            for tick in first..=last {
                let mut hashes = Vec::new();
                for i in 1..=self.aggregators.len() {
                    let second = self.whole(i, tick).await?;
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
        println!("{} seconds whole and the same at {} aggregators", last - first + 1, self.aggregators.len());
    }

    /// What a host hears from now on, as a rule of nftables that ends in a verdict.
    pub fn fault(&self, host: &str, rule: &str) {
        let chain = format!("chain hear {{ type filter hook input priority 0; iifname eth0 {rule}; }}");
        self.hosts.on(host, &format!("echo 'table inet faults {{ {chain}; }}' | nft -f -"));
    }

    /// Ends all faults of a host.
    pub fn heal(&self, host: &str) {
        self.hosts.on(host, "nft delete table inet faults");
    }
}

/// The second that is now, Unix time.
///
/// # Panics
/// After 2106.
#[must_use]
pub fn this_second() -> u32 {
    u32::try_from(starling_service::clock::unix_ms() / 1000).expect("before 2106")
}
