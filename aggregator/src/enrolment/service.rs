//! The service `Enrolment`, open to everybody; and how what another aggregator signs is passed on to it.

use std::{
    future::Future,
    net::IpAddr,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use starling_authority::{
    Certificate, Request as Asked,
    register::{Ask, Hex, TokenId},
};
use starling_proto::{ids::NodeId, v1};
use starling_service::{
    enrolment::Reason,
    grpc::{
        enrolment_client::EnrolmentClient,
        enrolment_server::{self, EnrolmentServer},
        identities_server::IdentitiesServer,
    },
    identity::Role,
    listen::Peer,
};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tracing::{debug, info};

use super::{Enrolment, author, machine, signing::Signing};
use crate::query::{marked, was_forwarded};

/// For the answer of who signs.
const ASKED_WITHIN: Duration = Duration::from_secs(3);
/// Longest message that is read: a request for a certificate and some names.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Names by which an aggregator is reached.
const HOSTS_MAX: usize = 16;

/// Both services.
#[derive(Clone)]
pub(crate) struct EnrolmentService(pub(crate) Arc<Enrolment>);

impl EnrolmentService {
    /// The service that is open to everybody.
    pub(crate) fn enrolment(self) -> EnrolmentServer<Self> {
        EnrolmentServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The service for operators.
    pub(crate) fn identities(self) -> IdentitiesServer<Self> {
        IdentitiesServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Has a request answered by whoever signs.
    pub(super) async fn pass_on<T, A, F>(
        &self,
        request: &Request<T>,
        said: &str,
        call: impl Fn(Channel, Request<T>) -> F,
    ) -> Result<A, Status>
    where
        T: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let nobody = || {
            Reason::NobodySigns.status(
                "no aggregator of this cluster signs: set enrolment.authority at one of them (`starling ca issue aggregator \
                 NAME --signs` makes its folder), or copy certificates by hand",
            )
        };
        if was_forwarded(request.metadata()) {
            return Err(nobody());
        }
        let who = author::of(request, said);
        let mut unreachable = None;
        for member in self.0.others() {
            let channel = self.0.channels.get(&member.grpc).map_err(Status::internal)?;
            let mut passed = marked(request.get_ref().clone());
            passed.set_timeout(ASKED_WITHIN);
            if let Ok(who) = who.parse() {
                passed.metadata_mut().insert(author::ON_BEHALF_OF, who);
            }
            let answer = tokio::time::timeout(ASKED_WITHIN, call(channel, passed)).await;
            match answer.unwrap_or_else(|_| Err(Status::unavailable(format!("{} does not answer", member.id)))) {
                Ok(answer) => {
                    self.0.signed_by(&member);
                    return Ok(answer.into_inner());
                }
                Err(status) => match (Reason::of(&status), status.code()) {
                    (Some(Reason::NobodySigns), _) | (None, Code::Unimplemented) => {}
                    (None, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown) => {
                        unreachable = Some(Status::unavailable(format!("{}: {}", member.id, status.message())));
                    }
                    _ => {
                        self.0.signed_by(&member);
                        return Err(status);
                    }
                },
            }
        }
        Err(unreachable.unwrap_or_else(nobody))
    }

    /// Counts what was refused, and lets a source that is refused again and again wait.
    fn of_source<T>(&self, source: Option<IpAddr>, result: Result<T, Status>) -> Result<T, Status> {
        let metrics = &self.0.metrics;
        match &result {
            Ok(_) => metrics.enrolments.inc(),
            Err(status) => {
                metrics.enrolments_refused.of(Reason::of(status).map_or("failed", Reason::as_str)).inc();
                if let (Some(source), Some(_)) = (source, Reason::of(status)) {
                    self.0.tries.lock().unwrap_or_else(PoisonError::into_inner).refused(source, Instant::now());
                }
            }
        }
        result
    }

    fn may_try(&self, source: Option<IpAddr>) -> Result<(), Status> {
        let wait = source.and_then(|source| {
            self.0.tries.lock().unwrap_or_else(PoisonError::into_inner).wait(source, Instant::now())
        });
        match wait {
            None => Ok(()),
            Some(wait) => {
                self.0.metrics.enrolments_refused.of("many").inc();
                let seconds = wait.as_secs() + 1;
                Err(Status::resource_exhausted(format!("this host was refused too often: try again in {seconds} s")))
            }
        }
    }

    async fn sign(&self, signing: &Signing, asked: &v1::JoinRequest) -> Result<v1::Membership, Status> {
        let wrong = |what: String| Reason::Request.status(what);
        let request = Asked::parse(&asked.request).map_err(|error| wrong(format!("request: {error}")))?;
        let role = Role::parse(&asked.role).filter(|role| *role != Role::Operator);
        let role = role.ok_or_else(|| wrong(format!("role: {:?} does not join", shortened(&asked.role))))?;
        let hosts = hosts(role, &asked.hosts)?;
        let ask = Ask {
            token: TokenId::of(&asked.token_id).ok_or_else(|| wrong("token_id: wanted are 8 bytes".to_owned()))?,
            secret: asked.token_secret[..]
                .try_into()
                .map_err(|_| wrong("token_secret: wanted are 16 bytes".to_owned()))?,
            key: Hex(request.key()),
            role,
            name: NodeId::parse(&asked.name).map_err(|error| wrong(format!("name: {error}")))?,
            machine: machine(&asked.machine)?,
        };
        let this = self.0.clone();
        let signed = signing
            .with(move |signer, now| signer.join(&request, &ask, hosts, now, |role, name| this.is_alive(role, name)));
        let signed = signed.await?;
        info!(identity = %signed.identity, "joined");
        Ok(answer(signed))
    }

    async fn sign_again(&self, signing: &Signing, asked: &v1::RenewRequest) -> Result<v1::Membership, Status> {
        let request =
            Asked::parse(&asked.request).map_err(|error| Reason::Request.status(format!("request: {error}")))?;
        let (machine, hosts) = (machine(&asked.machine)?, hosts(Role::Aggregator, &asked.hosts)?);
        let signed = signing.with(move |signer, now| signer.renew(&request, machine, hosts, now)).await?;
        Ok(answer(signed))
    }

    async fn sign_out(&self, signing: &Signing, asked: &v1::LeaveRequest) -> Result<v1::LeaveResponse, Status> {
        let request =
            Asked::parse(&asked.request).map_err(|error| Reason::Request.status(format!("request: {error}")))?;
        let this = self.0.clone();
        let left = signing.with(move |signer, now| signer.leave(&request, now, |role, name| this.is_alive(role, name)));
        let (role, name) = left.await?;
        self.0.refuse_removed(signing).await;
        info!(%role, %name, "left");
        if role == Role::Node && self.0.forget(&name).await.is_err() {
            // It has left all the same; this aggregator stops, and the node is waited for no longer than any that is silent.
            debug!(%name, "the waiting for it was not ended");
        }
        Ok(v1::LeaveResponse {})
    }
}

fn answer(signed: Certificate) -> v1::Membership {
    v1::Membership {
        certificate: signed.chain,
        identity: signed.identity.to_string(),
        ends_unix_s: i64::try_from(signed.ends).unwrap_or(i64::MAX),
        shortened: signed.shortened.unwrap_or_default(),
        ..v1::Membership::default()
    }
}

/// Of a request by which somebody joins or renews; a passed on one counts at the aggregator that was asked first.
fn source<T>(request: &Request<T>) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?;
    let is_aggregator = peer.identity.as_ref().is_some_and(|identity| identity.role == Role::Aggregator);
    (!is_aggregator).then(|| peer.address.ip())
}

fn hosts(role: Role, hosts: &[String]) -> Result<Vec<String>, Status> {
    match hosts {
        [] => Ok(Vec::new()),
        many if many.len() > HOSTS_MAX => {
            Err(Reason::Request.status(format!("hosts: {} names, at most {HOSTS_MAX} are taken", many.len())))
        }
        _ if role != Role::Aggregator => {
            Err(Reason::Request.status("hosts: only an aggregator has names in its certificate"))
        }
        some => Ok(some.to_vec()),
    }
}

/// What somebody sent, for an error.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[tonic::async_trait]
impl enrolment_server::Enrolment for EnrolmentService {
    async fn get_authorities(
        &self,
        request: Request<v1::GetAuthoritiesRequest>,
    ) -> Result<Response<v1::Authorities>, Status> {
        let credentials = self.0.security().credentials();
        let credentials = credentials.ok_or_else(|| Reason::NobodySigns.status(PLAIN))?;
        let (certificates, cluster) = (credentials.authorities(), self.0.cluster.clone());
        let own = |signed_by: &[u8]| v1::Authorities { certificates, cluster, signed_by: signed_by.to_vec().into() };
        if let Some(signing) = &self.0.signing {
            return Ok(Response::new(own(&signing.signed_by())));
        }
        // Another aggregator looks for who signs.
        if was_forwarded(request.metadata()) {
            return Err(Reason::NobodySigns.status("this aggregator does not sign"));
        }
        let said = self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner).fresh(Instant::now());
        Ok(Response::new(said.unwrap_or_else(|| own(&[]))))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::Membership>, Status> {
        let source = source(&request);
        self.may_try(source)?;
        let joined = match &self.0.signing {
            Some(signing) => self.sign(signing, request.get_ref()).await,
            None => {
                let passed = self.pass_on(&request, "", |channel, request| async move {
                    EnrolmentClient::new(channel).join(request).await
                });
                passed.await
            }
        };
        Ok(Response::new(self.0.completed(self.of_source(source, joined)?)))
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        let source = source(&request);
        self.may_try(source)?;
        let left = match &self.0.signing {
            Some(signing) => self.sign_out(signing, request.get_ref()).await,
            None => {
                let passed = self.pass_on(&request, "", |channel, request| async move {
                    EnrolmentClient::new(channel).leave(request).await
                });
                passed.await
            }
        };
        match left {
            Ok(done) => Ok(Response::new(done)),
            refused => self.of_source(source, refused).map(Response::new),
        }
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::Membership>, Status> {
        let source = source(&request);
        self.may_try(source)?;
        let renewed = match &self.0.signing {
            Some(signing) => self.sign_again(signing, request.get_ref()).await,
            None => {
                let passed = self.pass_on(&request, "", |channel, request| async move {
                    EnrolmentClient::new(channel).renew(request).await
                });
                passed.await
            }
        };
        Ok(Response::new(self.0.completed(self.of_source(source, renewed)?)))
    }
}

/// Without TLS there is nobody to join.
const PLAIN: &str = "this cluster speaks plain text: there are no certificates to join by";
