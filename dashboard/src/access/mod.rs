//! Who may ask, and what: users with passwords, API tokens, and the sessions of who is signed in.
//!
//! - `accounts`: the file of users and tokens; `file` reads it again and again;
//! - `password`, `secret`: how they are kept;
//! - `session`, `attempts`, `bucket`, `client`: pure rules of sessions, of how often may be tried, and of whose request it is;
//! - `caller`: who asks, as handlers and sockets see it;
//! - `audit`: what is written down of it.

mod accounts;
mod attempts;
mod audit;
pub(crate) mod bucket;
mod caller;
pub(crate) mod client;
mod file;
mod password;
mod role;
mod secret;
mod session;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use crate::metrics::{Login, Metrics};
use attempts::Attempts;
use session::{Proof, Sessions};

pub use accounts::{Accounts, Token, User, check_name, read, write};
pub(crate) use audit::{Audit, Denied, Done};
pub(crate) use caller::{Caller, NotIn};
pub use client::Net;
pub(crate) use file::follow;
pub use password::{PASSWORD_CHARS_MIN, hash};
pub use role::Role;
pub use secret::new_token;
pub(crate) use session::{Lifetimes, Listed};

/// Passwords that are checked at once: each takes a thread and 19 MiB for some 30 ms.
const CHECKS_MAX: usize = 2;
/// Log-ins that wait for that at once, which is a second of work; more are asked to come again.
const WAITING_MAX: usize = 32;
/// When they may.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// Why somebody is not let in by name and password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginError {
    /// One of the two is wrong. Which is not said.
    Wrong,
    /// There were too many attempts: how long to wait.
    Wait(Duration),
    /// Too many log in at this moment: how long to wait.
    Busy(Duration),
}

/// Who may ask. Without accounts everybody may, and may do everything.
#[derive(Debug)]
pub(crate) struct Access {
    /// Replaced whole when the file changes.
    accounts: Option<RwLock<Arc<Accounts>>>,
    /// Plain mutexes: held for a look into a table.
    sessions: Mutex<Sessions>,
    attempts: Mutex<Attempts>,
    checks: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    audit: Audit,
    metrics: Metrics,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No section under these locks leaves a table half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Access {
    /// With a log-in when there are accounts.
    pub(crate) fn new(accounts: Option<Accounts>, lifetimes: Lifetimes, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            accounts: accounts.map(|accounts| RwLock::new(Arc::new(accounts))),
            sessions: Mutex::new(Sessions::new(lifetimes)),
            attempts: Mutex::default(),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            audit: Audit::new(),
            metrics,
        })
    }

    /// Whether one has to be somebody.
    pub(crate) const fn has_login(&self) -> bool {
        self.accounts.is_some()
    }

    /// What is written down.
    pub(crate) const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// What is counted.
    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn accounts(&self) -> Arc<Accounts> {
        let now = self.accounts.as_ref().map(|is| Arc::clone(&is.read().unwrap_or_else(PoisonError::into_inner)));
        now.unwrap_or_default()
    }

    /// Takes up what the file says now; whether that is news. Sessions and sockets of who is no longer in it end when they are looked
    /// at next.
    fn replace(&self, accounts: Accounts) -> bool {
        let Some(is) = &self.accounts else { return false };
        let mut is = is.write().unwrap_or_else(PoisonError::into_inner);
        let news = **is != accounts;
        if news {
            *is = Arc::new(accounts);
        }
        news
    }

    /// Lets in by name and password; the secret of the session.
    ///
    /// # Errors
    /// Why not. Who is not known is refused after the same work as who is.
    pub(crate) async fn log_in(&self, name: &str, password: String, from: IpAddr) -> Result<String, LoginError> {
        let attempt = locked(&self.attempts).begin(name, from, Instant::now());
        if let Err(wait) = attempt {
            self.metrics.login(Login::Limited);
            self.audit.denied(Denied::Rate, name, Some(from), "");
            return Err(LoginError::Wait(wait));
        }
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            self.metrics.login(Login::Busy);
            locked(&self.attempts).take_back(name, from, Instant::now());
            return Err(LoginError::Busy(BUSY_WAIT));
        };
        // Never closed.
        let Ok(turn) = Arc::clone(&self.checks).acquire_owned().await else { return Err(LoginError::Wrong) };
        let accounts = self.accounts();
        let user = accounts.users().get(name);
        let like = accounts.users().values().next().map(|user| user.password.as_str());
        let hash = user.map_or_else(|| password::nobody(like), |user| user.password.clone());
        let work = move || {
            // Held here, so that a client that goes does not make room for another while its work goes on.
            let _held = (place, turn);
            (password::matches(&password, &hash), hash)
        };
        let (right, hash) = tokio::task::spawn_blocking(work).await.unwrap_or_default();
        if !right || user.is_none() {
            self.metrics.login(Login::Wrong);
            self.audit.denied(Denied::Password, name, Some(from), "");
            return Err(LoginError::Wrong);
        }
        locked(&self.attempts).succeeded(name, from, Instant::now());
        Ok(self.begin(name, Proof::Password(hash), from))
    }

    /// Begins a session of who has proved to be `name`; its secret.
    fn begin(&self, name: &str, proof: Proof, from: IpAddr) -> String {
        let id = secret::new();
        // One that was just made is no longer than it may be.
        if let Some(digest) = secret::digest(&id) {
            let mut sessions = locked(&self.sessions);
            sessions.begin(digest, name.into(), proof, Instant::now());
            self.metrics.sessions.set(sessions.len() as f64);
        }
        self.metrics.login(Login::Done);
        self.audit.done(Done::SignedIn, Some(name), Some(from), "");
        id
    }

    /// Ends the session of a secret, if it is one.
    pub(crate) fn log_out(&self, secret: &str, from: IpAddr) {
        let ended = secret::digest(secret).and_then(|digest| locked(&self.sessions).end(&digest));
        if let Some(name) = ended {
            self.audit.done(Done::SignedOut, Some(&name), Some(from), "");
        }
        self.metrics.sessions.set(locked(&self.sessions).len() as f64);
    }

    /// Who is signed in.
    pub(crate) fn signed_in(&self) -> Vec<Listed> {
        locked(&self.sessions).list(&self.accounts(), Instant::now())
    }

    /// Ends all sessions of a name; how many.
    pub(crate) fn end_sessions(&self, name: &str) -> usize {
        let mut sessions = locked(&self.sessions);
        let ended = sessions.end_all(name);
        self.metrics.sessions.set(sessions.len() as f64);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_service::metrics::Registry;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const PASSWORD: &str = "correct horse battery";

    fn access() -> Arc<Access> {
        let mut accounts = Accounts::default();
        accounts.add_user("ada", User { role: Role::Operator, password: hash(PASSWORD).unwrap() }).unwrap();
        accounts.add_token("grafana", Role::Viewer, "starling_t").unwrap();
        let lifetimes = Lifetimes { idle: Duration::from_secs(60), whole: Duration::from_secs(600) };
        Access::new(Some(accounts), lifetimes, Metrics::new(&mut Registry::default()))
    }

    #[tokio::test]
    async fn a_password_begins_a_session_that_the_file_can_end() {
        let access = access();
        let secret = access.log_in("ada", PASSWORD.to_owned(), FROM).await.unwrap();
        let caller = access.session(&secret, FROM).unwrap();
        assert_eq!((caller.name(), caller.role(), caller.is_over()), (Some("ada"), Role::Operator, false));
        let (mut accounts, mut lowered) = ((*access.accounts()).clone(), Accounts::default());
        let User { password, .. } = accounts.users()["ada"].clone();
        lowered.add_user("ada", User { role: Role::Viewer, password }).unwrap();
        assert!(access.replace(lowered.clone()) && !access.replace(lowered));
        assert_eq!(access.session(&secret, FROM).unwrap().role(), Role::Viewer);
        assert!(!caller.is_over());
        accounts.remove_user("ada");
        access.replace(accounts);
        assert!(caller.is_over() && access.session(&secret, FROM).is_none());
    }

    #[tokio::test]
    async fn who_signs_out_is_out() {
        let access = access();
        let secret = access.log_in("ada", PASSWORD.to_owned(), FROM).await.unwrap();
        let caller = access.session(&secret, FROM).unwrap();
        access.log_out("another", FROM);
        assert!(!caller.is_over());
        access.log_out(&secret, FROM);
        assert!(caller.is_over());
    }

    #[tokio::test]
    async fn wrong_names_and_passwords_are_refused_alike_and_then_slowed() {
        let access = access();
        for (name, password) in [("ada", "wrong"), ("bob", PASSWORD), ("", ""), ("grafana", "starling_t")] {
            assert_eq!(access.log_in(name, password.to_owned(), FROM).await, Err(LoginError::Wrong), "{name}");
        }
        let mut last = Ok(String::new());
        for _ in 0..20 {
            last = access.log_in("ada", "wrong".to_owned(), FROM).await;
        }
        assert!(matches!(last, Err(LoginError::Wait(_))), "{last:?}");
        assert!(matches!(access.log_in("ada", PASSWORD.to_owned(), FROM).await, Err(LoginError::Wait(_))));
        // From elsewhere the same user gets in.
        access.log_in("ada", PASSWORD.to_owned(), [192, 0, 2, 9].into()).await.unwrap();
    }

    #[tokio::test]
    async fn a_flood_of_attempts_waits_within_bounds() {
        let access = access();
        let of = |i: u8| {
            let access = Arc::clone(&access);
            // Each from an address of its own, as the bound on one address would be reached first.
            tokio::spawn(async move { access.log_in(&format!("u{i}"), "wrong".to_owned(), [10, 0, 0, i].into()).await })
        };
        let all: Vec<_> = (0..100).map(of).collect();
        let mut busy = 0;
        for one in all {
            busy += usize::from(matches!(one.await.unwrap(), Err(LoginError::Busy(_))));
        }
        assert!((1..=100 - WAITING_MAX).contains(&busy), "{busy}");
        access.log_in("ada", PASSWORD.to_owned(), FROM).await.unwrap();
    }
}
