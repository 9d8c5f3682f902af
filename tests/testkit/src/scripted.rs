//! Test doubles of aggregators: `Query` and `Cluster` over a script that a test writes second by second. They are no
//! aggregators: they merge nothing and know no ledger.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use starling_proto::v1::{self};
use starling_service::grpc::{
    alerts_server, alerts_server::AlertsServer, cluster_server, cluster_server::ClusterServer, query_server,
    query_server::QueryServer,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Server};

use crate::{alerts::AlertBook, over_time, promql, update::update};

/// What all doubles of one cluster report, in this order. Corrections are reported again.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reported: Mutex<Reported>,
    grown: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Reported {
    views: Vec<v1::ClusterView>,
    tables: Vec<v1::NodeTable>,
    nodes: BTreeMap<String, Vec<v1::NodeView>>,
    aggregators: Vec<v1::Aggregator>,
    watched_nodes: usize,
    ranges: Vec<v1::QueryRangeRequest>,
    alerts: AlertBook,
}

impl Script {
    /// One more second of the cluster and its table, or a correction.
    ///
    /// # Panics
    /// When another user of the script panicked.
    pub fn report(&self, view: v1::ClusterView, table: Option<v1::NodeTable>) {
        {
            let mut reported = self.0.reported.lock().unwrap();
            reported.views.push(view);
            reported.tables.extend(table);
        }
        self.0.grown.send_replace(());
    }

    /// One more second of a node.
    ///
    /// # Panics
    /// When another user of the script panicked.
    pub fn report_node(&self, node: &str, view: v1::NodeView) {
        self.0.reported.lock().unwrap().nodes.entry(node.to_owned()).or_default().push(view);
        self.0.grown.send_replace(());
    }

    /// Alerts that are new or changed, and ids of those that are no longer shown, as of `judged_tick`.
    ///
    /// # Panics
    /// When another user of the script panicked.
    pub fn report_alerts(&self, changed: Vec<v1::Alert>, removed: Vec<String>, judged_tick: u32) {
        self.0.reported.lock().unwrap().alerts.push(changed, removed, judged_tick);
        self.0.grown.send_replace(());
    }

    /// The rules in force.
    ///
    /// # Panics
    /// When another user of the script panicked.
    pub fn set_rules(&self, rules: Vec<v1::AlertRule>) {
        self.0.reported.lock().unwrap().alerts.rules = rules;
    }

    /// Messages that a receiver did not take.
    ///
    /// # Panics
    /// When another user of the script panicked.
    pub fn set_letters(&self, letters: Vec<v1::DeadLetter>) {
        self.0.reported.lock().unwrap().alerts.letters = letters;
    }

    /// Doubles answer as aggregators of a version without alerts.
    ///
    /// # Panics
    /// When another user of the script panicked.
    pub fn without_alerts(&self) {
        self.0.reported.lock().unwrap().alerts.missing = true;
    }

    /// How many streams of nodes were asked for.
    ///
    /// # Panics
    /// When another user of the script panicked.
    #[must_use]
    pub fn watched_nodes(&self) -> usize {
        self.0.reported.lock().unwrap().watched_nodes
    }

    /// What was asked by `QueryRange` so far, in order.
    ///
    /// # Panics
    /// When another user of the script panicked.
    #[must_use]
    pub fn asked_ranges(&self) -> Vec<v1::QueryRangeRequest> {
        self.0.reported.lock().unwrap().ranges.clone()
    }

    fn add_aggregator(&self, name: &str, address: SocketAddr) {
        self.0.reported.lock().unwrap().aggregators.push(v1::Aggregator {
            aggregator_id: name.to_owned(),
            state: v1::AggregatorState::Ready.into(),
            grpc_address: address.to_string(),
            closed_tick: 1_700_000_000,
            ..Default::default()
        });
    }

    /// A stream of the list that `pick` finds, from its start and as it grows, until `dead`.
    fn stream<T: Clone + Send + 'static>(
        &self,
        dead: CancellationToken,
        pick: impl Fn(&Reported) -> Option<Vec<T>> + Send + 'static,
    ) -> Boxed<T> {
        let (inner, (sender, receiver)) = (Arc::clone(&self.0), mpsc::channel(1_024));
        // Ends with its receiver or with the double.
        tokio::spawn(async move {
            let mut grown = inner.grown.subscribe();
            let mut sent = 0;
            loop {
                let list = pick(&inner.reported.lock().unwrap()).unwrap_or_default();
                for item in list.into_iter().skip(sent) {
                    sent += 1;
                    if sender.send(Ok(item)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = dead.cancelled() => {
                        let _ = sender.send(Err(Status::unavailable("killed by the test"))).await;
                        return;
                    }
                    () = sender.closed() => return,
                    _ = grown.changed() => {}
                }
            }
        });
        Box::pin(ReceiverStream::new(receiver))
    }
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One double on a port of its own.
#[derive(Debug)]
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    dead: CancellationToken,
}

#[derive(Clone)]
struct QueryEndpoints {
    script: Script,
    name: String,
    dead: CancellationToken,
}

impl Scripted {
    /// Starts a double on `port`; 0 takes a free one. Waits while one that was killed still holds the port.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(script: &Script, name: &str, port: u16) -> Self {
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => break listener,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let address = listener.local_addr().unwrap();
        script.add_aggregator(name, address);
        let dead = CancellationToken::new();
        let endpoints = QueryEndpoints { script: script.clone(), name: name.to_owned(), dead: dead.clone() };
        let server = Server::builder()
            .add_service(QueryServer::new(endpoints.clone()))
            .add_service(AlertsServer::new(endpoints.clone()))
            .add_service(ClusterServer::new(endpoints))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), dead.clone().cancelled_owned());
        tokio::spawn(server);
        Self { address, dead }
    }

    /// Ends all streams with an error, answers nothing more and gives the port up.
    pub fn kill(&self) {
        self.dead.cancel();
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.kill();
    }
}

impl QueryEndpoints {
    fn alive(&self) -> Result<(), Status> {
        if self.dead.is_cancelled() { Err(Status::unavailable("killed by the test")) } else { Ok(()) }
    }

    /// Does something with the alerts, if there are any.
    fn alerts<T>(&self, act: impl FnOnce(&mut AlertBook) -> Result<T, Status>) -> Result<Response<T>, Status> {
        self.alive()?;
        let answer = {
            let mut reported = self.script.0.reported.lock().unwrap();
            if reported.alerts.missing {
                return Err(Status::unimplemented(""));
            }
            act(&mut reported.alerts)?
        };
        self.script.0.grown.send_replace(());
        Ok(Response::new(answer))
    }
}

#[tonic::async_trait]
impl query_server::Query for QueryEndpoints {
    type WatchClusterStream = Boxed<v1::ClusterView>;
    type WatchNodesStream = Boxed<v1::NodesUpdate>;
    type WatchNodeStream = Boxed<v1::NodeView>;

    async fn get_cluster(&self, _: Request<v1::GetClusterRequest>) -> Result<Response<v1::ClusterView>, Status> {
        Err(Status::unimplemented("the dashboard does not ask this"))
    }

    async fn watch_cluster(
        &self,
        request: Request<v1::WatchClusterRequest>,
    ) -> Result<Response<Self::WatchClusterStream>, Status> {
        self.alive()?;
        let request = request.into_inner();
        if !["", "zone:a"].contains(&request.group.as_str()) {
            return Err(Status::not_found(format!("no node has {}", request.group)));
        }
        Ok(Response::new(self.script.stream(self.dead.clone(), move |reported| {
            let views = reported.views.iter().filter(|view| view.tick >= request.from_tick);
            Some(views.map(|view| v1::ClusterView { group: request.group.clone(), ..view.clone() }).collect())
        })))
    }

    async fn list_nodes(&self, _: Request<v1::ListNodesRequest>) -> Result<Response<v1::NodeTable>, Status> {
        Err(Status::unimplemented("the dashboard does not ask this"))
    }

    async fn watch_nodes(&self, _: Request<v1::WatchNodesRequest>) -> Result<Response<Self::WatchNodesStream>, Status> {
        self.alive()?;
        Ok(Response::new(
            self.script.stream(self.dead.clone(), |reported| Some(reported.tables.iter().map(update).collect())),
        ))
    }

    async fn get_node(&self, request: Request<v1::GetNodeRequest>) -> Result<Response<v1::NodeView>, Status> {
        self.alive()?;
        let id = request.into_inner().node_id;
        let reported = self.script.0.reported.lock().unwrap();
        let view = reported.nodes.get(&id).and_then(|views| views.last().cloned());
        view.map(Response::new).ok_or_else(|| Status::not_found(format!("no node is called {id:?}")))
    }

    /// One series of the name `made.up`, for a list; points are asked by `QueryRange`.
    async fn get_series(&self, request: Request<v1::GetSeriesRequest>) -> Result<Response<v1::SeriesAnswer>, Status> {
        self.alive()?;
        let request = request.into_inner();
        if !request.name.is_empty() {
            return Err(Status::unimplemented("the dashboard does not ask this"));
        }
        let series = v1::Series { name: "made.up".into(), attributes: request.attributes, ..Default::default() };
        Ok(Response::new(v1::SeriesAnswer {
            series: vec![series],
            left_out: Some(0),
            answered_by: self.name.clone(),
            ..Default::default()
        }))
    }

    /// One service of the name that is asked for, else "shop".
    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Result<Response<v1::ServiceList>, Status> {
        self.alive()?;
        let request = request.into_inner();
        if request.window_seconds > 900 {
            return Err(Status::invalid_argument("window_seconds: 901 is given, 1 to 900 are kept"));
        }
        let to_tick = if request.to_tick == 0 { 1_700_000_059 } else { request.to_tick };
        let traffic = |route: &str| v1::RouteTraffic {
            route: route.into(),
            requests_per_second: Some(10.0),
            errors_per_second: Some(1.0),
            error_ratio: Some(0.1),
            requests_per_second_by_status: [("2xx".to_owned(), 9.0), ("5xx".to_owned(), 1.0)].into(),
            latency: Some(v1::Latency { p99_micros: 1_500.0, count: 600.0, ..v1::Latency::default() }),
            nodes: Some(2),
        };
        let service = if request.service.is_empty() { "shop".to_owned() } else { request.service };
        Ok(Response::new(v1::ServiceList {
            from_tick: to_tick - 59,
            to_tick,
            seconds: Some(60),
            all: Some(traffic("")),
            services: vec![v1::ServiceTraffic {
                service,
                all: Some(traffic("")),
                routes: vec![traffic("/cart")],
                routes_left_out: Some(0),
                rest: None,
            }],
            services_left_out: Some(0),
            rest: None,
            completeness: Some(v1::Completeness { tick: to_tick, ..v1::Completeness::default() }),
            answered_by: self.name.clone(),
        }))
    }

    async fn query_range(&self, request: Request<v1::QueryRangeRequest>) -> Result<Response<v1::RangeAnswer>, Status> {
        self.alive()?;
        let request = request.into_inner();
        self.script.0.reported.lock().unwrap().ranges.push(request.clone());
        over_time::range(&request, &self.name).map(Response::new)
    }

    async fn query_promql(
        &self,
        request: Request<v1::QueryPromqlRequest>,
    ) -> Result<Response<v1::PromqlAnswer>, Status> {
        self.alive()?;
        promql::answer(&request.into_inner(), &self.name).map(Response::new)
    }

    async fn list_promql_series(
        &self,
        request: Request<v1::ListPromqlSeriesRequest>,
    ) -> Result<Response<v1::PromqlSeriesList>, Status> {
        self.alive()?;
        promql::series(&request.into_inner()).map(Response::new)
    }

    async fn get_heatmap(&self, request: Request<v1::GetHeatmapRequest>) -> Result<Response<v1::Heatmap>, Status> {
        self.alive()?;
        over_time::heatmap(&request.into_inner(), &self.name).map(Response::new)
    }

    async fn differ(&self, request: Request<v1::DifferRequest>) -> Result<Response<v1::Differences>, Status> {
        self.alive()?;
        over_time::differences(&request.into_inner(), &self.name).map(Response::new)
    }

    async fn get_node_detail(
        &self,
        request: Request<v1::GetNodeDetailRequest>,
    ) -> Result<Response<v1::NodeDetailView>, Status> {
        self.alive()?;
        let node_id = request.into_inner().node_id;
        if node_id.starts_with("sim-") {
            return Err(Status::failed_precondition(format!("{node_id} is simulated: it has no processes of its own")));
        }
        let busy = v1::ProcessDetail {
            pid: 4_242,
            name: "java".into(),
            state: "R".into(),
            user_id: 33,
            threads: 64,
            cpu_cores: Some(1.5),
            memory_bytes: 3e9,
            read_bytes_per_second: Some(0.0),
            write_bytes_per_second: None,
            group: "shop.service".into(),
            age_seconds: 3_600.0,
        };
        let detail = v1::NodeDetail {
            tick: 1_795_000_000,
            processes: vec![busy, v1::ProcessDetail { pid: 1, name: "init".into(), ..Default::default() }],
            process_count: 180,
            cost_cpu_seconds: 0.004,
            every_seconds: 1,
            processes_left_out: 0,
        };
        let answered_by = self.name.clone();
        Ok(Response::new(v1::NodeDetailView { node_id, detail: Some(detail), answered_by }))
    }

    async fn list_outliers(&self, _: Request<v1::ListOutliersRequest>) -> Result<Response<v1::Outliers>, Status> {
        self.alive()?;
        Ok(Response::new(over_time::outliers(&self.name)))
    }

    async fn summarize(&self, request: Request<v1::SummarizeRequest>) -> Result<Response<v1::Summary>, Status> {
        self.alive()?;
        over_time::summary(&request.into_inner(), &self.name).map(Response::new)
    }

    async fn get_distribution(
        &self,
        _: Request<v1::GetDistributionRequest>,
    ) -> Result<Response<v1::Distribution>, Status> {
        Err(Status::unimplemented("the dashboard does not ask this"))
    }

    async fn watch_node(
        &self,
        request: Request<v1::WatchNodeRequest>,
    ) -> Result<Response<Self::WatchNodeStream>, Status> {
        self.alive()?;
        let request = request.into_inner();
        {
            let mut reported = self.script.0.reported.lock().unwrap();
            reported.watched_nodes += 1;
            if !reported.nodes.contains_key(&request.node_id) {
                return Err(Status::not_found(format!("no node is called {:?}", request.node_id)));
            }
        }
        Ok(Response::new(self.script.stream(self.dead.clone(), move |reported| {
            let views = reported.nodes.get(&request.node_id)?.iter();
            Some(views.filter(|view| view.tick >= request.from_tick).cloned().collect())
        })))
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for QueryEndpoints {
    async fn list_aggregators(
        &self,
        _: Request<v1::ListAggregatorsRequest>,
    ) -> Result<Response<v1::ListAggregatorsResponse>, Status> {
        self.alive()?;
        let aggregators = self.script.0.reported.lock().unwrap().aggregators.clone();
        Ok(Response::new(v1::ListAggregatorsResponse {
            aggregators,
            answered_by: self.name.clone(),
            cluster: "test".to_owned(),
            clock_unix_ms: starling_service::clock::unix_ms(),
        }))
    }

    async fn list_gossip_keys(
        &self,
        _: Request<v1::ListGossipKeysRequest>,
    ) -> Result<Response<v1::GossipKeys>, Status> {
        Err(Status::unimplemented("the dashboard does not ask this"))
    }

    async fn quarantine_aggregator(
        &self,
        _: Request<v1::QuarantineAggregatorRequest>,
    ) -> Result<Response<v1::QuarantineAggregatorResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn change_gossip_keys(
        &self,
        _: Request<v1::ChangeGossipKeysRequest>,
    ) -> Result<Response<v1::GossipKeysChanged>, Status> {
        Err(Status::unimplemented("the dashboard does not ask this"))
    }

    async fn get_ledger(&self, _: Request<v1::GetLedgerRequest>) -> Result<Response<v1::Ledger>, Status> {
        Err(Status::unimplemented("the dashboard does not ask this"))
    }
}

#[tonic::async_trait]
impl alerts_server::Alerts for QueryEndpoints {
    type WatchStream = Boxed<v1::AlertsUpdate>;

    async fn list(&self, _: Request<v1::ListAlertsRequest>) -> Result<Response<v1::ListAlertsResponse>, Status> {
        Err(Status::unimplemented("the dashboard does not ask this"))
    }

    async fn watch(&self, _: Request<v1::WatchAlertsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.alerts(|_| Ok(()))?;
        Ok(Response::new(self.script.stream(self.dead.clone(), |reported| Some(reported.alerts.watched()))))
    }

    async fn get(&self, request: Request<v1::GetAlertRequest>) -> Result<Response<v1::Alert>, Status> {
        self.alerts(|book| book.get(&request.into_inner().episode_id))
    }

    async fn acknowledge(&self, request: Request<v1::AcknowledgeRequest>) -> Result<Response<v1::Alert>, Status> {
        self.alerts(|book| book.acknowledge(request.into_inner()))
    }

    async fn unacknowledge(&self, request: Request<v1::UnacknowledgeRequest>) -> Result<Response<v1::Alert>, Status> {
        self.alerts(|book| book.unacknowledge(&request.into_inner().episode_id))
    }

    async fn silence(&self, request: Request<v1::SilenceRequest>) -> Result<Response<v1::SilenceResponse>, Status> {
        self.alerts(|book| book.silence(&request.into_inner()))
    }

    async fn unsilence(&self, request: Request<v1::UnsilenceRequest>) -> Result<Response<v1::AlertSilence>, Status> {
        self.alerts(|book| book.unsilence(&request.into_inner().silence_id))
    }

    async fn list_silences(
        &self,
        _: Request<v1::ListSilencesRequest>,
    ) -> Result<Response<v1::ListSilencesResponse>, Status> {
        self.alerts(|book| Ok(v1::ListSilencesResponse { silences: book.silences() }))
    }

    async fn list_rules(&self, _: Request<v1::ListRulesRequest>) -> Result<Response<v1::ListRulesResponse>, Status> {
        self.alerts(|book| Ok(v1::ListRulesResponse { rules: book.rules.clone(), ..Default::default() }))
    }

    async fn list_episodes(
        &self,
        request: Request<v1::ListEpisodesRequest>,
    ) -> Result<Response<v1::ListEpisodesResponse>, Status> {
        let asked = request.into_inner();
        let of = |is: &v1::Alert| {
            is.episode.as_ref().is_some_and(|episode| asked.rule.is_empty() || asked.rule == episode.rule)
        };
        self.alerts(|book| {
            let episodes = book.all().into_iter().filter(of).collect();
            Ok(v1::ListEpisodesResponse { episodes, next_page_token: String::new() })
        })
    }

    async fn test_notifier(
        &self,
        _: Request<v1::TestNotifierRequest>,
    ) -> Result<Response<v1::TestNotifierResponse>, Status> {
        Err(Status::unimplemented("the dashboard does not ask this"))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let notifier = request.into_inner().notifier;
        self.alerts(|book| {
            let wanted = |one: &&v1::DeadLetter| notifier.is_empty() || one.notifier == notifier;
            let letters = book.letters.iter().filter(wanted).cloned().collect();
            Ok(v1::ListDeadLettersResponse { letters, ..Default::default() })
        })
    }

    async fn resend_dead_letters(
        &self,
        request: Request<v1::ResendDeadLettersRequest>,
    ) -> Result<Response<v1::ResendDeadLettersResponse>, Status> {
        let asked = request.into_inner();
        self.alerts(|book| {
            let before = book.letters.len();
            book.letters.retain(|one| {
                one.notifier != asked.notifier || (asked.letter_id != 0 && one.letter_id != asked.letter_id)
            });
            match before - book.letters.len() {
                0 => Err(Status::not_found(format!("letter_id: {} is none", asked.letter_id))),
                resent => Ok(v1::ResendDeadLettersResponse { resent: resent as u32, ..Default::default() }),
            }
        })
    }
}
