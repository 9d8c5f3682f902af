//! One aggregator, followed until something fails: the streams of the whole cluster, of the table and of alerts, the members
//! each second, and one stream per node or group that somebody looks at.

use std::{collections::HashMap, sync::Arc, time::Duration};

use starling_proto::{group::Group, limits::PEER_MESSAGE_BYTES_MAX, v1};
use starling_service::grpc::{alerts_client::AlertsClient, query_client::QueryClient};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tonic::{Code, Status, Streaming, transport::Channel};
use tracing::debug;

use super::{ANSWER_TIMEOUT, endpoints::Endpoints, members};
use crate::{
    error::GrpcRefusal,
    hub::{Second, Source},
    shared::{Shared, now},
};

/// How often the members are asked for: the interval of everything.
const MEMBERS_INTERVAL: Duration = Duration::from_secs(1);
/// Once the cluster's seconds came, a pause of this length means that the aggregator hangs: ten seconds were missed.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A stream of a node or group that ended is opened again after this time: a node's stream comes through the aggregator
/// that holds it, and when that one dies or the node moves, ours is not at fault.
const LOST_RETRY: Duration = Duration::from_millis(500);
/// How long a node's stream may say nothing before the table is asked whether the node reports elsewhere.
const NODE_PATIENCE: Duration = Duration::from_secs(2);
/// A node's stream is this many seconds behind the table when the node has moved to another aggregator.
const MOVED_SECONDS: u32 = 2;
/// Messages of one update of the node table, each of up to a megabyte of names and labels: 100,000 nodes with 500 bytes
/// of them take half.
const PARTS_MAX: usize = 128;
/// A node or group that the aggregator does not know is asked for again after this time, while somebody looks at it.
const REFUSED_RETRY: Duration = Duration::from_secs(5);

/// How often the rules in force are counted: they change when somebody changes a file.
const RULES_INTERVAL: Duration = Duration::from_secs(30);

/// Follows the aggregator behind `channel`. Returns why it can no longer be followed.
pub(crate) async fn follow(shared: &Arc<Shared>, channel: Channel, endpoints: &mut Endpoints) -> Result<(), String> {
    let query = QueryClient::new(channel.clone()).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX);
    // Owns every stream of this aggregator: when it is dropped they all end.
    let mut streams = JoinSet::new();
    streams.spawn(table(Arc::clone(shared), query.clone()));
    streams.spawn(series(Arc::clone(shared), query.clone(), Source::Cluster(Group::cluster())));
    streams.spawn(alerts(Arc::clone(shared), channel.clone()));
    let (reported, mut learnt) = watch::channel(v1::ListAggregatorsResponse::default());
    streams.spawn(poll_members(Arc::clone(shared), channel, reported));

    let mut wanted = shared.wanted();
    let mut on_demand = HashMap::<Source, AbortHandle>::new();
    wanted.mark_changed();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                changed.map_err(|_| "the server stops".to_owned())?;
                let now_wanted = wanted.borrow_and_update().clone();
                on_demand.retain(|source, stream| now_wanted.contains(source) || { stream.abort(); false });
                for source in now_wanted {
                    on_demand.entry(source.clone()).or_insert_with(|| {
                        debug!(%source, "following");
                        streams.spawn(series(Arc::clone(shared), query.clone(), source))
                    });
                }
            }
            Ok(()) = learnt.changed() => endpoints.learn(&learnt.borrow_and_update()),
            Some(ended) = streams.join_next() => match ended {
                Ok(reason) => return Err(reason),
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Err(format!("a stream failed: {error}")),
            },
        }
    }
}

/// The members of the cluster, each second.
async fn poll_members(
    shared: Arc<Shared>,
    channel: Channel,
    reported: watch::Sender<v1::ListAggregatorsResponse>,
) -> String {
    let mut timer = interval(MEMBERS_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer.tick().await;
    loop {
        timer.tick().await;
        match members(&channel).await {
            Ok(answer) => {
                reported.send_replace(answer.clone());
                shared.apply_aggregators(answer);
            }
            Err(reason) => return reason,
        }
    }
}

/// The table of nodes.
async fn table(shared: Arc<Shared>, mut query: QueryClient<Channel>) -> String {
    // An aggregator that was followed before goes on from there; another one begins again.
    let (generation, revision) = shared.with(|hub| hub.fleet().position());
    let request = v1::WatchNodesRequest { group: String::new(), generation, revision };
    let mut stream = match query.watch_nodes(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return format!("WatchNodes: {}", words(&status)),
    };
    let mut patience = None;
    // The messages of one update: taken in together, so that half a table is never seen.
    let mut parts: Vec<v1::NodesUpdate> = Vec::new();
    loop {
        match message(&mut stream, patience).await {
            Ok(part) => parts.push(part),
            Err(end) => return format!("WatchNodes: {}", end.words()),
        }
        patience = Some(SILENCE_MAX);
        if parts.last().is_some_and(|part| part.more) {
            if parts.len() >= PARTS_MAX {
                return format!("WatchNodes: an update of more than {PARTS_MAX} messages");
            }
            continue;
        }
        if let Err(error) = shared.apply_fleet(&parts) {
            return format!("WatchNodes: {error}");
        }
        parts.clear();
    }
}

/// What is open, and how many rules there are. An aggregator without alerts is followed all the same.
async fn alerts(shared: Arc<Shared>, channel: Channel) -> String {
    let mut client = AlertsClient::new(channel).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let mut stream = match client.watch(v1::WatchAlertsRequest { include_pending: true }).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return no_alerts(&shared, &status).await,
    };
    let mut rules = interval(RULES_INTERVAL);
    rules.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rules.tick() => {
                let answer = timeout(ANSWER_TIMEOUT, client.list_rules(v1::ListRulesRequest {})).await;
                let count = |rules: v1::ListRulesResponse| u32::try_from(rules.rules.len()).unwrap_or(u32::MAX);
                // Not knowing is no reason to leave the aggregator.
                shared.set_rules(answer.ok().and_then(Result::ok).map(|answer| count(answer.into_inner())));
            }
            // While nothing changes nothing comes.
            next = stream.message() => match next {
                Ok(Some(update)) => shared.apply_alerts(update),
                Ok(None) => return "Alerts.Watch: the aggregator ended the stream".to_owned(),
                Err(status) => return no_alerts(&shared, &status).await,
            },
        }
    }
}

/// An aggregator that has no alerts, being older or set so, is no failure and will have none while it runs; anything else is
/// a failure of the aggregator.
async fn no_alerts(shared: &Shared, status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => shared.no_alerts(without_alerts(status)),
        _ => return format!("Alerts.Watch: {}", words(status)),
    }
    std::future::pending().await
}

/// The seconds of the cluster, of a group or of a node.
async fn series(shared: Arc<Shared>, query: QueryClient<Channel>, source: Source) -> String {
    let whole = source == Source::Cluster(Group::cluster());
    loop {
        let from_tick = shared.with(|hub| hub.resume_from(&source, now()));
        let end = match &source {
            Source::Cluster(group) => {
                seconds_of_cluster(&shared, query.clone(), group, from_tick, &source, whole).await
            }
            Source::Node(node) => seconds_of_node(&shared, query.clone(), node.as_str(), from_tick, &source).await,
        };
        match end {
            // The whole cluster is a matter of the aggregator.
            end if whole => return format!("{source}: {}", end.words()),
            End::Refused(reason) => {
                shared.refuse(&source, reason);
                sleep(REFUSED_RETRY).await;
            }
            End::Lost(reason) => {
                debug!(%source, reason, "stream ended");
                sleep(LOST_RETRY).await;
            }
        }
    }
}

async fn seconds_of_cluster(
    shared: &Shared,
    mut query: QueryClient<Channel>,
    group: &Group,
    from_tick: u32,
    source: &Source,
    whole: bool,
) -> End {
    let request = v1::WatchClusterRequest { group: group.name().to_owned(), from_tick, include_histograms: true };
    let mut stream = match query.watch_cluster(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return End::of(&status),
    };
    let mut patience = None;
    loop {
        match message(&mut stream, patience).await {
            Ok(view) => shared.apply(source, Second::Cluster(Box::new(view))),
            Err(end) => return end,
        }
        patience = whole.then_some(SILENCE_MAX);
    }
}

async fn seconds_of_node(
    shared: &Shared,
    mut query: QueryClient<Channel>,
    node: &str,
    from_tick: u32,
    source: &Source,
) -> End {
    let request = v1::WatchNodeRequest { node_id: node.to_owned(), from_tick, include_histograms: true };
    let mut stream = match query.watch_node(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return End::of(&status),
    };
    loop {
        // A node that fell silent sends nothing, and that is no fault of anybody's.
        let next = match timeout(NODE_PATIENCE, stream.message()).await {
            Ok(next) => received(next),
            Err(_) if shared.with(|hub| hub.lag(source)) <= MOVED_SECONDS => continue,
            Err(_) => return End::Lost("the node reports to another aggregator".to_owned()),
        };
        match next {
            Ok(view) => shared.apply(source, Second::Node(Box::new(view))),
            Err(end) => return end,
        }
    }
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    /// The aggregator does not know what was asked for.
    Refused(String),
    /// The aggregator or the way to it failed.
    Lost(String),
}

impl End {
    fn of(status: &Status) -> Self {
        match status.code() {
            Code::NotFound | Code::InvalidArgument | Code::OutOfRange => {
                Self::Refused(GrpcRefusal::of(status.message()).message)
            }
            _ => Self::Lost(words(status)),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Refused(reason) | Self::Lost(reason) => reason,
        }
    }
}

/// The next message of a stream, within `patience` if there is a limit.
async fn message<T>(stream: &mut Streaming<T>, patience: Option<Duration>) -> Result<T, End> {
    let next = match patience {
        None => stream.message().await,
        Some(patience) => timeout(patience, stream.message())
            .await
            .map_err(|_| End::Lost(format!("nothing came for {} s", patience.as_secs())))?,
    };
    received(next)
}

fn received<T>(next: Result<Option<T>, Status>) -> Result<T, End> {
    match next {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(End::Lost("the aggregator ended the stream".to_owned())),
        Err(status) => Err(End::of(&status)),
    }
}

/// Why an aggregator answers that it has no alerts: one that knows of them says so itself.
pub(crate) fn without_alerts(status: &Status) -> String {
    match status.message() {
        "" => "this aggregator is of a version without alerts".to_owned(),
        said => said.to_owned(),
    }
}

/// A status in words: its message, or the name of its code.
pub(crate) fn words(status: &Status) -> String {
    match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    }
}
