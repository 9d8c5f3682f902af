//! Aggregators that know each other.

use starling_proto::v1::{AggregatorState, ClusterView, GetClusterRequest, Ledger, ListAggregatorsRequest};
use starling_service::grpc::{cluster_client::ClusterClient, query_client::QueryClient};
use tonic::transport::Channel;

use starling_testkit::eventually;

use crate::{Member, Program};

/// Real aggregators in one cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The processes, in the order they were started.
    pub aggregators: Vec<Program>,
}

impl Cluster {
    /// Starts `n` aggregators and waits until each sees all of them ready.
    pub async fn start(n: usize) -> Self {
        Self::start_with(n, &[]).await
    }

    /// As [`Cluster::start`], each with further `settings`.
    pub async fn start_with(n: usize, settings: &[&str]) -> Self {
        let mut aggregators: Vec<Program> = Vec::new();
        for i in 0..n {
            let id = format!("aggregator_id=agg-{}", i + 1);
            let seeds: Vec<String> = aggregators.iter().map(|a| format!("\"{}\"", a.address("gossip"))).collect();
            let seeds = format!("seeds=[{}]", seeds.join(","));
            let own = [
                &id,
                &seeds,
                "cluster=test",
                "grpc_listen=127.0.0.1:0",
                "gossip_listen=127.0.0.1:0",
                "admin_listen=127.0.0.1:0",
                "state_dir={dir}/state",
            ];
            aggregators.push(Program::with_settings("starling-aggregator", &[&own, settings].concat()));
        }
        let cluster = Self { aggregators };
        cluster.agree(n).await;
        cluster
    }

    /// Waits until every running aggregator sees exactly `n` ready ones.
    pub async fn agree(&self, n: usize) {
        for i in 0..self.aggregators.len() {
            if !std::path::Path::new(&format!("/proc/{}", self.process_id(i))).exists() {
                continue;
            }
            eventually(&format!("aggregator {i} sees {n} ready"), async || {
                let mut client =
                    ClusterClient::connect(self.aggregators[i].url("grpc")).await.map_err(|e| e.to_string())?;
                let list = client.list_aggregators(ListAggregatorsRequest {}).await.map_err(|e| e.to_string())?;
                let list = list.into_inner().aggregators;
                let ready = list.iter().filter(|a| a.state() == AggregatorState::Ready).count();
                if ready == n { Ok(()) } else { Err(format!("{list:?}")) }
            })
            .await;
        }
    }

    fn process_id(&self, i: usize) -> u32 {
        self.aggregators[i].id()
    }

    /// Where nodes find the aggregators.
    #[must_use]
    pub fn seeds(&self) -> Vec<String> {
        self.aggregators.iter().map(|a| a.address("grpc").to_string()).collect()
    }

    /// Where the aggregators answer.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let member = |(i, aggregator): (usize, &Program)| Member {
            name: format!("agg-{}", i + 1),
            grpc: aggregator.address("grpc"),
            admin: aggregator.address("admin"),
        };
        self.aggregators.iter().enumerate().map(member).collect()
    }

    /// A client of one aggregator's queries.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn query(&self, i: usize) -> QueryClient<Channel> {
        QueryClient::connect(self.aggregators[i].url("grpc"))
            .await
            .expect("the aggregator answers")
            .max_decoding_message_size(starling_proto::limits::PEER_MESSAGE_BYTES_MAX)
    }

    /// The cluster at `tick` (0: newest) as one aggregator sees it.
    ///
    /// # Errors
    /// What the aggregator answered instead.
    pub async fn view(&self, i: usize, tick: u32) -> Result<ClusterView, String> {
        let request = GetClusterRequest { tick, include_histograms: true, ..Default::default() };
        let answer = self.query(i).await.get_cluster(request).await.map_err(|status| status.to_string())?;
        Ok(answer.into_inner())
    }

    /// The books of `tick` (0: newest) as one aggregator keeps them.
    ///
    /// # Errors
    /// What the aggregator answered instead.
    pub async fn ledger(&self, i: usize, tick: u32) -> Result<Ledger, String> {
        let mut client = ClusterClient::connect(self.aggregators[i].url("grpc")).await.map_err(|e| e.to_string())?;
        let answer = client.get_ledger(starling_proto::v1::GetLedgerRequest { tick }).await;
        Ok(answer.map_err(|status| status.to_string())?.into_inner())
    }
}
