//! Aggregators that speak by mutual TLS, as an operator sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use starling_proto::{
    limits::PEER_MESSAGE_BYTES_MAX,
    v1::{self, ListAggregatorsRequest},
};
use starling_service::{
    channel::Dial,
    credentials::Security,
    grpc::{cluster_client::ClusterClient, query_client::QueryClient},
};
use starling_testkit::eventually;
use tonic::transport::Channel;

use crate::Program;

const DIAL: Dial = Dial::within(Duration::from_secs(5));

/// See the module.
#[derive(Debug)]
pub struct Secured {
    /// How the operator speaks.
    pub operator: Security,
    /// The processes, by name.
    pub aggregators: BTreeMap<&'static str, Program>,
}

impl Secured {
    /// A connection to one of them.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// When there is none of that name.
    pub async fn channel(&self, name: &str) -> Result<Channel, String> {
        DIAL.connect(&self.operator, &self.aggregators[name].address("grpc").to_string()).await
    }

    /// The cluster at `tick` (0: newest) as one of them sees it, or one group of its nodes (`key:value`).
    ///
    /// # Errors
    /// What it answered instead.
    pub async fn group(&self, name: &str, tick: u32, group: &str) -> Result<v1::ClusterView, String> {
        let request = v1::GetClusterRequest { tick, include_histograms: true, group: group.to_owned() };
        let mut client = QueryClient::new(self.channel(name).await?).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX);
        Ok(client.get_cluster(request).await.map_err(|status| status.to_string())?.into_inner())
    }

    /// As [`Secured::group`], of all nodes.
    ///
    /// # Errors
    /// What it answered instead.
    pub async fn view(&self, name: &str, tick: u32) -> Result<v1::ClusterView, String> {
        self.group(name, tick, "").await
    }

    /// The books of `tick` (0: newest) as one of them keeps them.
    ///
    /// # Errors
    /// What it answered instead.
    pub async fn ledger(&self, name: &str, tick: u32) -> Result<v1::Ledger, String> {
        let mut client = ClusterClient::new(self.channel(name).await?);
        let answer = client.get_ledger(v1::GetLedgerRequest { tick }).await;
        Ok(answer.map_err(|status| status.to_string())?.into_inner())
    }

    /// What one of them says of a metric of its own, the labels in the name; 0 when it does not.
    ///
    /// # Panics
    /// When its metrics cannot be read.
    pub async fn counter(&self, name: &str, metric: &str) -> f64 {
        let url = format!("{}/metrics", self.aggregators[name].url("admin"));
        let text = reqwest::get(url).await.expect("its metrics").text().await.expect("a text");
        text.lines().find_map(|line| line.strip_prefix(metric)?.split_whitespace().last()?.parse().ok()).unwrap_or(0.0)
    }

    /// How many of the others `name` has a stream to.
    ///
    /// # Errors
    /// What it answered instead.
    pub async fn linked(&self, name: &str) -> Result<usize, String> {
        let mut client = ClusterClient::new(self.channel(name).await?);
        let answer = client.list_aggregators(ListAggregatorsRequest {}).await.map_err(|status| status.to_string())?;
        Ok(answer.into_inner().aggregators.iter().filter(|one| one.linked == Some(true)).count())
    }

    /// Waits until each has a stream to `others`.
    pub async fn are_linked(&self, others: usize) {
        for name in self.aggregators.keys() {
            eventually("they are linked", async || match self.linked(name).await? {
                found if found == others => Ok(()),
                found => Err(format!("{name} has a stream to {found}")),
            })
            .await;
        }
    }

    /// That the books of `tick` are balanced and undisputed, and the view the same, at all of them.
    ///
    /// # Errors
    /// Where they are not, or the hashes of the views.
    pub async fn agree_on(&self, tick: u32) -> Result<(), String> {
        let mut hashes = BTreeSet::new();
        for name in self.aggregators.keys() {
            let ledger = self.ledger(name, tick).await?;
            if !ledger.conservation.as_ref().is_some_and(v1::Conservation::balanced) || !ledger.disputes.is_empty() {
                return Err(format!("tick {tick} at {name}: {ledger:?}"));
            }
            hashes.insert(ledger.view_hash);
        }
        if hashes.len() == 1 { Ok(()) } else { Err(format!("tick {tick}: {hashes:?}")) }
    }
}
