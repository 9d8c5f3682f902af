//! The receiver of the nodes: one stream per daemon, frames in, acknowledgements out.

mod cores;
mod desk;
mod hello;
mod names;
mod namesakes;
mod node;
mod pace;
mod rebalance;
mod registry;
mod session;

use std::{sync::Arc, time::Duration};

use starling_proto::{
    ids::{Machine, NodeId},
    limits::MESSAGE_BYTES_MAX,
    v1::{self, ingest_request, ingest_response},
};
use starling_service::{grpc::ingest_server, identity::Role, listen::Peer, requests::RequestMeter};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::{
    desk::Shown,
    namesakes::{ALIVE_FOR, HeldElsewhere, Holder},
    node::{About, IngestNode, Latest},
    rebalance::rebalance,
    registry::Registry,
};
use self::{hello::Greeting, session::IngestSession};
use crate::{
    clock::{now_ms, tick_of},
    config::Duplicates,
    ledger_task::LedgerHandle,
    membership::{Membership, MembershipView, endpoint},
    metrics::{Answer, Metrics},
};

/// A daemon that does not say who it is within this time is not one.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages to one node on their way; the session waits when it is full, and reads nothing meanwhile.
const OUTBOX: usize = 8;
/// Aggregators a node is advised to try, best first.
const RANKED: usize = 3;

/// What the stream of a node needs.
pub(crate) struct Intake {
    /// Who takes which node.
    pub(crate) membership: Membership,
    /// Where frames are offered.
    pub(crate) ledger: LedgerHandle,
    /// Where nodes have their place.
    pub(crate) registry: Arc<Registry>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// A frame is one of our requests.
    pub(crate) meter: RequestMeter,
    /// Nodes are to be handed over: no new ones are taken.
    pub(crate) draining: CancellationToken,
    /// Which names are held at other aggregators.
    pub(crate) elsewhere: Arc<dyn HeldElsewhere>,
    /// What becomes of a node whose name another machine holds.
    pub(crate) duplicates: Duplicates,
}

impl Intake {
    /// The machine that holds `node`, if it is another one than `machine` and alive.
    fn holder(&self, node: &NodeId, machine: &Machine) -> Option<Holder> {
        let here = self.registry.held_by_other(node, machine).map(|origin| Holder {
            address: origin.address,
            machine: origin.machine,
            aggregator: self.membership.view().me.id.to_string(),
        });
        here.or_else(|| self.elsewhere.held_by_other(node, machine))
    }

    /// No aggregator has heard of `node` in the last 15 minutes.
    fn is_new(&self, node: &NodeId) -> bool {
        self.registry.get(node).is_none() && !self.elsewhere.knows(node)
    }

    /// Lets in whoever says `greeting`: under its name, or under another one when a different machine holds that.
    ///
    /// # Errors
    /// `ALREADY_EXISTS` by policy, or when there is no other name.
    fn admit(&self, mut greeting: Greeting) -> Result<Greeting, Status> {
        let machine = greeting.about.origin.machine;
        let Some(holder) = self.holder(&greeting.node, &machine) else { return Ok(greeting) };
        let other = match self.duplicates {
            Duplicates::Refuse => None,
            Duplicates::Rename => namesakes::other_names(&greeting.node, &machine, &holder)
                .into_iter()
                .find(|name| self.holder(name, &machine).is_none()),
        };
        let (node, address) = (greeting.node.clone(), &greeting.about.origin.address);
        self.metrics.name_clash(node.as_str(), address, &holder.address, &holder.aggregator, other.as_ref());
        let own = &self.membership.view().me.id;
        self.registry.clashes().asked(&node, address, own, other.as_ref(), tick_of(now_ms()));
        match other {
            Some(name) => greeting.node = name,
            None => return Err(Status::already_exists(held_text(&node, &holder.address, &holder.aggregator))),
        }
        Ok(greeting)
    }
}

/// What a node is told whose name another machine holds.
fn held_text(node: &NodeId, address: &str, aggregator: &str) -> String {
    format!(
        "another machine at {address} (aggregator {aggregator}) reports as node {node}: give one of the two a node_id of \
         its own; this one is taken when the other has been silent for {} s",
        ALIVE_FOR.as_secs()
    )
}

/// The gRPC service.
pub(crate) struct IngestService {
    /// Name of this aggregator.
    pub(crate) id: NodeId,
    /// What each stream needs.
    pub(crate) intake: Arc<Intake>,
    /// Owns the tasks of the streams.
    pub(crate) tasks: TaskTracker,
}

impl IngestService {
    /// The service with its limits.
    pub(crate) fn server(self) -> ingest_server::IngestServer<Self> {
        ingest_server::IngestServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl ingest_server::Ingest for IngestService {
    type StreamStream = ReceiverStream<Result<v1::IngestResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::IngestRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let address = peer.as_ref().map_or_else(String::new, |peer| peer.address.to_string());
        let (intake, mut inbound) = (&self.intake, request.into_inner());
        let greeting = tokio::select! {
            biased;
            () = intake.draining.cancelled() => return Err(stopping()),
            greeting = first_message(&mut inbound, address) => greeting.inspect_err(|_| intake.metrics.hello(Answer::Refused))?,
        };
        if let Some(Err(other)) = peer.map(|peer| peer.speaks_for(Role::Node, greeting.node.as_str())) {
            intake.metrics.hello(Answer::Refused);
            return Err(Status::permission_denied(format!(
                "hello.node_id: {} is not its name: {other}",
                greeting.node
            )));
        }
        let greeting = intake.admit(greeting).inspect_err(|_| intake.metrics.hello(Answer::Refused))?;
        let (outbox, responses) = mpsc::channel(OUTBOX);
        let view = intake.membership.view();
        if let Some(too_few) = &view.too_few {
            intake.metrics.hello(Answer::Refused);
            return Err(Status::unavailable(too_few.clone()));
        }
        if let Some(redirect) = redirect(&view, &greeting) {
            intake.metrics.hello(Answer::Redirected);
            tracing::debug!(node = %greeting.node, "node redirected");
            // The channel is new and empty.
            let _ = outbox.try_send(Ok(respond(ingest_response::Body::Redirect(redirect))));
            return Ok(Response::new(ReceiverStream::new(responses)));
        }
        let session =
            IngestSession::open(intake, greeting).await.inspect_err(|_| intake.metrics.hello(Answer::Refused))?;
        intake.metrics.hello(Answer::Accepted);
        let accept = v1::Accept {
            writer_id: intake.ledger.writer().to_bytes(),
            aggregator_id: self.id.to_string(),
            ranked: view.rank(session.node()).into_iter().take(RANKED).map(endpoint).collect(),
            known: view.known(),
            sent_at_unix_ms: now_ms(),
            node_id: session.node().to_string(),
            floor: intake.ledger.gate().floor,
            old_until: intake.ledger.gate().old_until,
        };
        let _ = outbox.try_send(Ok(respond(ingest_response::Body::Accept(accept))));
        self.tasks.spawn(session.run(inbound, outbox));
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

async fn first_message(inbound: &mut Streaming<v1::IngestRequest>, address: String) -> Result<Greeting, Status> {
    let message = tokio::time::timeout(HELLO_TIMEOUT, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no hello within 5 s"))??;
    match message.and_then(|message| message.body) {
        Some(ingest_request::Body::Hello(hello)) => Greeting::parse(hello, address),
        _ => Err(Status::invalid_argument("the first message must be hello")),
    }
}

/// Where the node belongs instead, if not here.
///
/// A node that comes for the first time goes to its owner. One that comes again may have found the owner dead before
/// gossip did: whoever is among its first three takes it. One that was sent around often enough is taken by anybody.
fn redirect(view: &MembershipView, greeting: &Greeting) -> Option<v1::Redirect> {
    let ranked = view.rank(&greeting.node);
    let own = ranked.iter().position(|member| member.id == view.me.id);
    let taken = match own {
        Some(0) => true,
        Some(rank) => greeting.final_hop || (greeting.session > 1 && rank < RANKED),
        None => greeting.final_hop,
    };
    (!taken)
        .then(|| v1::Redirect { ranked: ranked.into_iter().take(RANKED).map(endpoint).collect(), known: view.known() })
}

/// Where a node goes that cannot stay: its ranking without this aggregator.
fn elsewhere(view: &MembershipView, node: &NodeId) -> v1::Redirect {
    let mut known = view.known();
    known.retain(|endpoint| endpoint.aggregator_id != view.me.id.as_str());
    let ranked = view.rank(node).into_iter().filter(|member| member.id != view.me.id).take(RANKED);
    v1::Redirect { ranked: ranked.map(endpoint).collect(), known }
}

fn respond(body: ingest_response::Body) -> v1::IngestResponse {
    v1::IngestResponse { body: Some(body) }
}

fn stopping() -> Status {
    Status::unavailable("this aggregator is stopping, connect to another one")
}
