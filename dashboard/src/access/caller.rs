//! Who asks, as handlers and sockets see it.

use std::{
    convert::Infallible,
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
};

use super::{Access, Denied, Role, locked, secret, secret::SecretDigest};
use crate::metrics::Login;

/// Who asks: somebody, or without a log-in anybody. Among the extensions of every request that was let in.
#[derive(Clone)]
pub(crate) struct Caller {
    name: Option<Arc<str>>,
    role: Role,
    from: Option<IpAddr>,
    by: By,
}

#[derive(Clone)]
enum By {
    Anybody,
    Session(Arc<Access>, SecretDigest),
    Token(Arc<Access>, SecretDigest),
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotIn {
    /// It does not say who asks, or by a session that is over.
    Nobody,
    /// Its token is not known.
    Token,
    /// The same, too often: how long to wait.
    Wait(Duration),
}

impl Caller {
    /// Somebody of a server without a log-in, who may do everything.
    pub(crate) const fn anybody(from: Option<IpAddr>) -> Self {
        Self { name: None, role: Role::Admin, from, by: By::Anybody }
    }

    /// Of a request that did not come through the gate: it may look, and nothing else.
    const fn unknown() -> Self {
        Self { name: None, role: Role::Viewer, from: None, by: By::Anybody }
    }

    /// The name, when it is known.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// Where the request came from.
    pub(crate) const fn from(&self) -> Option<IpAddr> {
        self.from
    }

    /// Whether it is a session of a browser, which can be ended.
    pub(crate) const fn is_session(&self) -> bool {
        matches!(self.by, By::Session(..))
    }

    /// Whether it may no longer: the session ended, the token or the user was taken out. Uses the session, as a request does: a page
    /// that is open is looked at.
    pub(crate) fn is_over(&self) -> bool {
        match &self.by {
            By::Anybody => false,
            By::Session(access, id) => locked(&access.sessions).look(id, &access.accounts(), Instant::now()).is_none(),
            By::Token(access, digest) => access.accounts().token(digest).is_none(),
        }
    }
}

impl fmt::Debug for Caller {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::unknown))
    }
}

impl Access {
    /// Who asks, by the headers of a request: a token, or else the secret of a session out of a cookie. A token that is not known is
    /// refused even beside a session that is: who sends one means it.
    pub(crate) fn caller(
        self: &Arc<Self>,
        headers: &HeaderMap,
        session: Option<&str>,
        from: IpAddr,
    ) -> Result<Caller, NotIn> {
        if !self.has_login() {
            return Ok(Caller::anybody(Some(from)));
        }
        let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
        // Another scheme is meant for a proxy on the way, which passes it on.
        match authorization.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            None => session.and_then(|secret| self.session(secret, from)).ok_or(NotIn::Nobody),
            Some((_, token)) => self.token(token.trim(), from).ok_or_else(|| self.unknown_token(from)),
        }
    }

    fn token(self: &Arc<Self>, token: &str, from: IpAddr) -> Option<Caller> {
        let digest = secret::digest(token)?;
        let accounts = self.accounts();
        let (name, role) = accounts.token(&digest)?;
        Some(Caller { name: Some(name.into()), role, from: Some(from), by: By::Token(Arc::clone(self), digest) })
    }

    fn unknown_token(&self, from: IpAddr) -> NotIn {
        self.metrics().login(Login::Token);
        self.audit().denied(Denied::Token, "-", Some(from), "");
        locked(&self.attempts).unknown_token(from, Instant::now()).map_or_else(NotIn::Wait, |()| NotIn::Token)
    }

    /// Who has the session of a secret.
    pub(super) fn session(self: &Arc<Self>, secret: &str, from: IpAddr) -> Option<Caller> {
        let id = secret::digest(secret)?;
        let known = locked(&self.sessions).look(&id, &self.accounts(), Instant::now())?;
        let by = By::Session(Arc::clone(self), id);
        Some(Caller { name: Some(known.name), role: known.role, from: Some(from), by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{Accounts, Lifetimes},
        metrics::Metrics,
    };
    use starling_service::metrics::Registry;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn access(accounts: Option<Accounts>) -> Arc<Access> {
        let lifetimes = Lifetimes { idle: Duration::from_secs(60), whole: Duration::from_secs(600) };
        Access::new(accounts, lifetimes, Metrics::new(&mut Registry::default()))
    }

    fn bearer(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn without_accounts_anybody_may() {
        let caller = access(None).caller(&bearer("Bearer x"), Some("x"), FROM).unwrap();
        assert_eq!((caller.name(), caller.role(), caller.is_over()), (None, Role::Admin, false));
    }

    #[test]
    fn a_token_is_known_by_its_header_until_it_is_taken_out() {
        let mut accounts = Accounts::default();
        accounts.add_token("grafana", Role::Viewer, "starling_t").unwrap();
        let access = access(Some(accounts));
        let caller = access.caller(&bearer("bearer starling_t"), None, FROM).unwrap();
        assert_eq!((caller.name(), caller.role(), caller.is_session()), (Some("grafana"), Role::Viewer, false));
        for (bad, why) in [
            ("Bearer starling_x", NotIn::Token),
            ("Bearer ", NotIn::Token),
            ("Basic starling_t", NotIn::Nobody),
            ("starling_t", NotIn::Nobody),
            ("", NotIn::Nobody),
        ] {
            assert_eq!(access.caller(&bearer(bad), None, FROM).unwrap_err(), why, "{bad}");
        }
        assert_eq!(access.caller(&HeaderMap::new(), None, FROM).unwrap_err(), NotIn::Nobody);
        assert_eq!(access.caller(&HeaderMap::new(), Some("x"), FROM).unwrap_err(), NotIn::Nobody);
        let refused: Vec<_> = (0..100).map(|_| access.caller(&bearer("Bearer x"), None, FROM).unwrap_err()).collect();
        assert!(refused.last().is_some_and(|why| matches!(why, NotIn::Wait(_))));
        assert!(access.caller(&bearer("Bearer starling_t"), None, FROM).is_ok(), "one that is known is not held up");
        access.replace(Accounts::default());
        assert!(caller.is_over());
    }
}
