//! The keys of gossip between aggregators: every ring is kept in step with those of the others, and a change is made at all
//! of them, after it was asked who it would leave deaf.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use starling_proto::{ids::NodeId, v1};
use starling_service::{identity::Role, listen::Peer};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::Channels;
use crate::{
    membership::{Answered, KeyId, Membership, Ring, RingStatus, Rings, Standing, State, Step, may_make, objections},
    metrics::Metrics,
};

/// Between two rounds without a ring, and with one; jittered by half.
const ASK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// With a ring and other members, `join` is asked in one of so many rounds: it finds those that gossip cannot.
const JOIN_ROUNDS: u32 = 6;
/// How long one may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// What a step has done.
pub(crate) struct Changed {
    /// Name of a key that was made.
    pub(crate) made: Option<KeyId>,
    /// What was in its way and was forced.
    pub(crate) breaks: Vec<String>,
    /// What every member has afterwards.
    pub(crate) members: Vec<Standing>,
}

/// The rings of all aggregators, as far as this one can ask.
pub(crate) struct GossipKeys {
    membership: Membership,
    channels: Channels,
    join: Vec<String>,
    metrics: Arc<Metrics>,
}

/// What one answered.
struct Answer {
    name: String,
    status: Option<RingStatus>,
}

impl GossipKeys {
    /// `join`: gRPC addresses of aggregators that may not be known by gossip.
    pub(crate) fn new(membership: Membership, join: Vec<String>, metrics: Arc<Metrics>) -> Self {
        let channels = Channels::new(membership.security().clone());
        Self { membership, channels, join, metrics }
    }

    fn rings(&self) -> &Rings {
        self.membership.rings()
    }

    /// Keeps the ring of this process in step until the stop, and makes the first one when nobody has any.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        if !self.rings().are_handed_out() {
            return stop.cancelled().await;
        }
        let began = Instant::now();
        for round in 0_u32.. {
            let has_ring = self.rings().status().is_some();
            let every = if has_ring { ASK_EVERY.1 } else { ASK_EVERY.0 };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.round(round, began.elapsed()) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every.mul_f64(rand::random_range(0.5..1.0))) => {}
            }
        }
    }

    async fn round(&self, round: u32, waited: Duration) {
        let (view, own) = (self.membership.view(), self.rings().status());
        let mut asked: Vec<&str> = Vec::new();
        if own.is_none() || view.live.is_empty() || round.is_multiple_of(JOIN_ROUNDS) {
            asked.extend(self.join.iter().map(String::as_str));
        }
        let others = view.listed.iter().map(|listed| &listed.member).filter(|member| member.id != view.me.id);
        asked.extend(others.filter(|member| own.is_none() || member.keys != own).map(|member| member.grpc.as_str()));
        asked.sort_unstable();
        asked.dedup();
        asked.retain(|address| *address != view.me.grpc);
        let answers = join_all(asked.iter().map(|address| self.exchange(address))).await;
        if self.rings().status().is_some() {
            return;
        }
        let failure = answers
            .iter()
            .zip(&asked)
            .find_map(|(answer, address)| answer.as_ref().err().map(|error| format!("{address}: {error}")));
        let answers: Vec<Answered> = answers
            .into_iter()
            .map(|answer| answer.map_or(Answered::Nothing, |answer| Answered::HasNone(answer.name)))
            .collect();
        if !may_make(view.me.id.as_str(), &answers, waited) {
            return self.rings().wants(failure.as_deref().unwrap_or("the others have none either"));
        }
        match self.rings().make_first().await {
            Ok(()) => {
                tracing::info!("nobody has keys of gossip: the first one was made");
                join_all(asked.iter().map(|address| self.exchange(address))).await;
            }
            Err(error) => self.rings().wants(&error),
        }
    }

    /// Exchanges rings with the one at `address`; the newer one stays at both.
    async fn exchange(&self, address: &str) -> Result<Answer, String> {
        let answer = self.answer_of(address).await;
        self.metrics.ring_exchanged(address, answer.as_ref().err());
        answer
    }

    async fn answer_of(&self, address: &str) -> Result<Answer, String> {
        let ring = self.rings().to_hand_out().map(|ring| ring.to_wire());
        let mut client = self.channels.peer(address)?;
        let asked = client.exchange_gossip_ring(v1::ExchangeGossipRingRequest { ring });
        let answer = tokio::time::timeout(ANSWER, asked).await.map_err(|_| "no answer within 3 s".to_owned())?;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
        let name = NodeId::parse(&answer.aggregator_id).map_err(|error| format!("its name: {error}"))?;
        if let Some(ring) = &answer.ring {
            self.rings().take(Ring::of_wire(ring)?).await?;
        }
        let status = answer.status.as_ref().and_then(RingStatus::of_wire);
        Ok(Answer { name: name.to_string(), status })
    }

    /// What every member that is known has, by name. Their rings are in step afterwards, as far as they answer.
    pub(crate) async fn list(&self) -> Vec<Standing> {
        let view = self.membership.view();
        let known: Vec<_> = view
            .listed
            .iter()
            .filter(|listed| listed.member.id != view.me.id)
            // Who left is no member, and fetches the ring when it is back.
            .filter(|listed| !(listed.dead && listed.member.state == State::Leaving))
            .collect();
        let is_known = |address: &String| known.iter().any(|listed| listed.member.grpc == *address);
        let further: Vec<&String> =
            self.join.iter().filter(|address| **address != view.me.grpc && !is_known(address)).collect();
        let (of_known, of_further) = tokio::join!(
            join_all(known.iter().map(|listed| self.exchange(&listed.member.grpc))),
            join_all(further.iter().map(|address| self.exchange(address))),
        );
        let mut found = vec![Standing {
            name: view.me.id.to_string(),
            unreachable: None,
            alive: true,
            status: self.rings().status(),
        }];
        for (listed, answer) in known.into_iter().zip(of_known) {
            let (member, alive) = (&listed.member, !listed.dead);
            let name = member.id.to_string();
            let answer = answer.and_then(|answer| match answer.name == name {
                true => Ok(answer.status),
                false => Err(format!("{} answers at its address", answer.name)),
            });
            found.push(match answer {
                Ok(status) => Standing { name, unreachable: None, alive, status },
                Err(error) => Standing { name, unreachable: Some(error), alive, status: member.keys.clone() },
            });
        }
        for (address, answer) in further.into_iter().zip(of_further) {
            let standing = match answer {
                Ok(answer) => Standing { name: answer.name, unreachable: None, alive: true, status: answer.status },
                Err(error) => Standing { name: address.clone(), unreachable: Some(error), alive: false, status: None },
            };
            match found.iter_mut().find(|other| other.name == standing.name) {
                // Reached there, though not where gossip says.
                Some(other) if other.unreachable.is_some() && standing.unreachable.is_none() => *other = standing,
                Some(_) => {}
                None => found.push(standing),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Takes a step, here and at all others.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` with what it would break, or why it cannot be.
    pub(crate) async fn change(&self, step: Step, force: bool) -> Result<Changed, Status> {
        self.are_handed_out()?;
        // From the newest ring that anybody has.
        let members = self.list().await;
        if let Some(ring) = self.rings().to_hand_out() {
            ring.step(step).map_err(Status::failed_precondition)?;
        }
        let breaks = objections(step, &members);
        if !breaks.is_empty() && !force {
            return Err(Status::failed_precondition(format!("refused: {}", breaks.join("; "))));
        }
        let made = self.rings().step(step).await.map_err(Status::failed_precondition)?;
        tracing::info!(?step, ?breaks, "keys of gossip changed by an operator");
        Ok(Changed { made, breaks, members: self.list().await })
    }

    fn are_handed_out(&self) -> Result<(), Status> {
        match (self.rings().are_handed_out(), self.membership.security().credentials()) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(Status::failed_precondition(
                "gossip_keyring is set here: the keys stand in that file, change it at every aggregator \
                 (docs/operations/security.md)",
            )),
            (false, None) => {
                Err(Status::failed_precondition("there is no tls here: keys are not handed out in plain text"))
            }
        }
    }
}

/// Answers another aggregator that brings its ring.
pub(super) async fn answer(
    membership: &Membership,
    request: Request<v1::ExchangeGossipRingRequest>,
) -> Result<v1::ExchangeGossipRingResponse, Status> {
    // The gate has let in aggregators only; looked at again, because the keys are all that gossip stands on.
    let asks = request.extensions().get::<Peer>().and_then(|peer| peer.identity.as_ref());
    if membership.security().credentials().is_none() || asks.is_none_or(|asks| asks.role != Role::Aggregator) {
        return Err(Status::failed_precondition("keys are handed out to aggregators, and over TLS only"));
    }
    let rings = membership.rings();
    if let Some(ring) = &request.get_ref().ring {
        let ring = Ring::of_wire(ring).map_err(|what| Status::invalid_argument(format!("ring: {what}")))?;
        rings.take(ring).await.map_err(Status::internal)?;
    }
    Ok(v1::ExchangeGossipRingResponse {
        aggregator_id: membership.view().me.id.to_string(),
        ring: rings.to_hand_out().map(|ring| ring.to_wire()),
        status: rings.status().map(|status| status.to_wire()),
    })
}
