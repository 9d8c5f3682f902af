//! Who may call which gRPC service: by the role in the certificate, or by an operator's token.
//!
//! Asked before one byte of a request is read. In plain text everybody may do everything: there is nobody to tell apart.

use std::{
    future::{Future, Ready, ready},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tonic::{
    Status,
    codegen::http::{Request, Response, header::AUTHORIZATION},
};
use tower::{Layer, Service};
use tracing::warn;

use crate::{
    identity::Role,
    listen::{ListenMetrics, Peer},
};

/// How long a read of the tokens is used.
const READ_EVERY: Duration = Duration::from_secs(2);
/// Shortest token: 128 bits, as base64.
const TOKEN_LEN_LEAST: usize = 22;

/// Roles that may call services whose path starts with this, such as "/starling.v1.Peer/".
pub type Rule = (&'static str, &'static [Role]);

/// Open to everybody, also without certificate and token: what proves the right to it is in the request.
pub const EVERYBODY: &[Role] = &[];

/// The rules of a server.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: &'static [Rule],
    tokens: Option<Tokens>,
    metrics: ListenMetrics,
}

impl Gate {
    /// What no rule names is open to every certificate. `tokens` is a file of operators' tokens, a line "name token"
    /// each.
    ///
    /// # Errors
    /// What is wrong with that file, and where. Later it is only logged, and the tokens before stay.
    pub fn new(rules: &'static [Rule], tokens: Option<PathBuf>, metrics: ListenMetrics) -> Result<Self, String> {
        let read = |file: PathBuf| {
            let known = read_tokens(&file)?;
            Ok::<_, String>(Tokens { file, read: Mutex::new((Instant::now(), known)) })
        };
        let tokens = tokens.map(read).transpose()?;
        Ok(Self(Arc::new(Inner { rules, tokens, metrics })))
    }

    /// Whether `peer` may call `path`; `bearer` is the token that it brought.
    fn check(&self, path: &str, peer: Option<&Peer>, bearer: Option<&str>) -> Result<(), Status> {
        // Without a peer the call came by no listener of ours: a test of the service itself.
        let Some(peer) = peer.filter(|peer| peer.encrypted) else { return Ok(()) };
        let rule = self.0.rules.iter().find(|(prefix, _)| path.starts_with(prefix));
        if rule.is_some_and(|(_, roles)| roles.is_empty()) {
            return Ok(());
        }
        let role = match (&peer.identity, bearer, &self.0.tokens) {
            (Some(identity), ..) => identity.role,
            (None, Some(bearer), Some(tokens)) => {
                if !tokens.has(bearer) {
                    return Err(Status::unauthenticated("this token is not known here"));
                }
                Role::Operator
            }
            (None, None, _) => {
                let wanted = "bring a certificate of the cluster, or `authorization: Bearer TOKEN` of an operator";
                return Err(Status::unauthenticated(wanted));
            }
            (None, Some(_), None) => {
                return Err(Status::unauthenticated("no tokens are taken here: set operator_tokens in its settings"));
            }
        };
        match rule {
            Some((prefix, roles)) if !roles.contains(&role) => {
                let service = prefix.trim_matches('/');
                let wanted = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
                let who = peer.identity.as_ref().map_or_else(|| "an operator".to_owned(), |found| found.short());
                Err(Status::permission_denied(format!("{who} may not call {service}: it is for {wanted}")))
            }
            _ => Ok(()),
        }
    }
}

/// The tokens of operators, as they stand in a file.
#[derive(Debug)]
struct Tokens {
    file: PathBuf,
    /// Of the last read that was well, and when the last one was.
    read: Mutex<(Instant, Digests)>,
}

/// SHA-256 of each token.
type Digests = Arc<[[u8; 32]]>;

impl Tokens {
    /// Whether it is one of them. Digests are compared, so that time tells nothing of a token.
    fn has(&self, token: &str) -> bool {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0.elapsed() >= READ_EVERY {
            read.0 = Instant::now();
            match read_tokens(&self.file) {
                Ok(known) => read.1 = known,
                // Once a read, which only who brings a token causes.
                Err(error) => warn!(error, "new tokens of operators not taken, those before stay"),
            }
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        read.1.contains(&digest)
    }
}

/// Lines of a name and a token; empty ones and those that begin with '#' are passed over.
fn read_tokens(file: &Path) -> Result<Digests, String> {
    let place = file.display();
    let text = crate::secret::text(file).map_err(|what| format!("{place} {what}"))?;
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let token = line.split_whitespace().nth(1).filter(|token| token.len() >= TOKEN_LEN_LEAST);
            let digest = |token: &str| Sha256::digest(token.as_bytes()).into();
            let wanted = format!("a name and a token of {TOKEN_LEN_LEAST} characters or more");
            token.map(digest).ok_or_else(|| format!("{place}: line {number} is not {wanted}"))
        })
        .collect()
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.clone() }
    }
}

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S, B, R> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        let bearer = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        match self.gate.check(request.uri().path(), peer, bearer) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(status) => {
                if let Some(peer) = peer {
                    self.gate.0.metrics.deny(peer.address, status.message());
                }
                let answer: Ready<Result<Response<R>, S::Error>> = ready(Ok(status.into_http()));
                Box::pin(answer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    const RULES: &[Rule] = &[
        ("/starling.v1.Ingest/", &[Role::Node]),
        ("/starling.v1.Query/", &[Role::Aggregator, Role::Dashboard, Role::Operator]),
        ("/starling.v1.Enrolment/", EVERYBODY),
    ];

    fn peer(identity: Option<&str>, encrypted: bool) -> Peer {
        let identity = identity.map(|uri| Arc::new(Identity::parse(uri).unwrap()));
        Peer { address: ([10, 0, 0, 9], 4711).into(), identity, encrypted }
    }

    #[test]
    fn each_service_asks_for_its_role() {
        let gate = Gate::new(RULES, None, ListenMetrics::default()).unwrap();
        let check = |path, who| gate.check(path, Some(&peer(Some(who), true)), None);
        assert!(check("/starling.v1.Ingest/Stream", "spiffe://s/node/a").is_ok());
        assert!(check("/starling.v1.Query/GetView", "spiffe://s/operator/ann").is_ok());
        assert!(check("/grpc.health.v1.Health/Check", "spiffe://s/node/a").is_ok());
        let error = check("/starling.v1.Query/GetView", "spiffe://s/node/a").unwrap_err();
        assert_eq!(error.code(), tonic::Code::PermissionDenied);
        assert!(error.message().contains("node a may not call starling.v1.Query: it is for aggregator"), "{error}");
        assert!(check("/starling.v1.Ingest/Stream", "spiffe://s/aggregator/a").is_err());
    }

    #[test]
    fn who_has_no_certificate_may_ask_for_one_and_nothing_else() {
        let gate = Gate::new(RULES, None, ListenMetrics::default()).unwrap();
        let check = |path| gate.check(path, Some(&peer(None, true)), None);
        assert!(check("/starling.v1.Enrolment/Join").is_ok());
        for path in ["/starling.v1.Query/GetView", "/starling.v1.Ingest/Stream", "/grpc.health.v1.Health/Check", "/"] {
            assert_eq!(check(path).unwrap_err().code(), tonic::Code::Unauthenticated, "{path}");
        }
    }

    #[test]
    fn plain_text_tells_nobody_apart() {
        let gate = Gate::new(RULES, None, ListenMetrics::default()).unwrap();
        assert!(gate.check("/starling.v1.Query/GetView", Some(&peer(None, false)), None).is_ok());
        assert!(gate.check("/starling.v1.Query/GetView", None, None).is_ok());
    }

    #[test]
    fn a_token_of_an_operator_stands_for_a_certificate() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# people\nann 0123456789abcdef0123456789abcdef\nbob short\n").unwrap();
        let wrong = Gate::new(RULES, Some(file.path().to_owned()), ListenMetrics::default()).unwrap_err();
        assert!(wrong.contains("line 3 is not a name and a token") && !wrong.contains("0123456789"), "{wrong}");
        std::fs::write(file.path(), "# people\nann 0123456789abcdef0123456789abcdef\n").unwrap();
        let gate = Gate::new(RULES, Some(file.path().to_owned()), ListenMetrics::default()).unwrap();
        let check = |path, token| gate.check(path, Some(&peer(None, true)), token);
        assert!(check("/starling.v1.Query/GetView", Some("0123456789abcdef0123456789abcdef")).is_ok());
        let denied = check("/starling.v1.Ingest/Stream", Some("0123456789abcdef0123456789abcdef")).unwrap_err();
        assert!(denied.message().contains("an operator may not call"), "{denied}");
        for token in [None, Some("short"), Some("0123456789abcdef0123456789abcdeX")] {
            let error = check("/starling.v1.Query/GetView", token).unwrap_err();
            assert_eq!(error.code(), tonic::Code::Unauthenticated);
            assert!(!error.message().contains("0123456789"), "a token is never repeated: {error}");
        }
    }
}
