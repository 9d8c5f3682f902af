//! Who is signed in: a bounded table of sessions, each known by the digest of a secret that only its browser has. Pure.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{accounts::Accounts, role::Role, secret::SecretDigest};

/// Sessions at once; one has some 300 bytes. When there is no room the one that was used least lately ends.
const SESSIONS_MAX: usize = 4_096;
/// Of one name at once: browsers, phones and screens on walls. The one used least lately ends: no one keeps others out.
const OF_ONE_MAX: usize = 32;

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    /// Without a request or an open socket.
    pub(crate) idle: Duration,
    /// In all.
    pub(crate) whole: Duration,
}

/// By what somebody was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A password of the file: the session lasts as long as this hash of it stands there, with the role that stands there.
    Password(String),
}

/// One session.
#[derive(Debug)]
struct Session {
    name: Arc<str>,
    proof: Proof,
    since: Instant,
    used: Instant,
}

/// A session that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
}

/// What is shown of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: Arc<str>,
    pub(crate) since: Duration,
    pub(crate) idle: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sessions {
    lifetimes: Lifetimes,
    of: HashMap<SecretDigest, Session>,
}

impl Session {
    fn role(&self, accounts: &Accounts) -> Option<Role> {
        match &self.proof {
            Proof::Password(hash) => {
                accounts.users().get(&*self.name).filter(|user| user.password == *hash).map(|user| user.role)
            }
        }
    }

    fn lasts(&self, lifetimes: &Lifetimes, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < lifetimes.idle
            && now.saturating_duration_since(self.since) < lifetimes.whole
    }
}

impl Sessions {
    pub(crate) fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, of: HashMap::new() }
    }

    /// Begins a session of `name`.
    pub(crate) fn begin(&mut self, id: SecretDigest, name: Arc<str>, proof: Proof, now: Instant) {
        let lifetimes = self.lifetimes;
        self.of.retain(|_, session| session.lasts(&lifetimes, now));
        if self.of.values().filter(|session| session.name == name).count() >= OF_ONE_MAX {
            self.end_oldest(|session| session.name == name);
        } else if self.of.len() >= SESSIONS_MAX {
            self.end_oldest(|_| true);
        }
        self.of.insert(id, Session { name, proof, since: now, used: now });
    }

    fn end_oldest(&mut self, among: impl Fn(&Session) -> bool) {
        let of = self.of.iter().filter(|(_, session)| among(session));
        if let Some(id) = of.min_by_key(|(_, session)| session.used).map(|(id, _)| *id) {
            self.of.remove(&id);
        }
    }

    /// The session of a secret, as of `now`, which uses it. One that is over goes.
    pub(crate) fn look(&mut self, id: &SecretDigest, accounts: &Accounts, now: Instant) -> Option<Known> {
        let session = self.of.get_mut(id)?;
        let role = session.role(accounts).filter(|_| session.lasts(&self.lifetimes, now));
        match role {
            Some(role) => {
                session.used = now;
                Some(Known { name: Arc::clone(&session.name), role })
            }
            None => {
                self.of.remove(id);
                None
            }
        }
    }

    /// Ends a session; whose it was.
    pub(crate) fn end(&mut self, id: &SecretDigest) -> Option<Arc<str>> {
        self.of.remove(id).map(|session| session.name)
    }

    /// Ends all of a name; how many.
    pub(crate) fn end_all(&mut self, name: &str) -> usize {
        let before = self.of.len();
        self.of.retain(|_, session| &*session.name != name);
        before - self.of.len()
    }

    /// Those that last, by name.
    pub(crate) fn list(&self, accounts: &Accounts, now: Instant) -> Vec<Listed> {
        let lasting = |is: &&Session| is.lasts(&self.lifetimes, now) && is.role(accounts).is_some();
        let mut list: Vec<_> = self
            .of
            .values()
            .filter(lasting)
            .map(|is| Listed {
                name: Arc::clone(&is.name),
                since: now.saturating_duration_since(is.since),
                idle: now.saturating_duration_since(is.used),
            })
            .collect();
        list.sort_by(|a, b| a.name.cmp(&b.name).then(a.idle.cmp(&b.idle)));
        list
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::accounts::User;

    const IDLE: Duration = Duration::from_secs(60);
    const LIFETIMES: Lifetimes = Lifetimes { idle: IDLE, whole: Duration::from_secs(600) };

    fn accounts(role: Role, password: &str) -> Accounts {
        let mut accounts = Accounts::default();
        accounts.add_user("ada", User { role, password: password.to_owned() }).unwrap();
        accounts
    }

    fn of(sessions: &mut Sessions, id: u8, now: Instant) {
        sessions.begin([id; 32], "ada".into(), Proof::Password("hash".to_owned()), now);
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
        let (mut sessions, start, ada) = (Sessions::new(LIFETIMES), Instant::now(), accounts(Role::Viewer, "hash"));
        of(&mut sessions, 1, start);
        let mut now = start;
        for _ in 0..11 {
            now += Duration::from_secs(50);
            assert!(sessions.look(&[1; 32], &ada, now).is_some());
        }
        now += Duration::from_secs(49);
        assert!(sessions.look(&[1; 32], &ada, now).is_some(), "599 s");
        assert_eq!(sessions.look(&[1; 32], &ada, now + Duration::from_secs(2)), None, "601 s");
        of(&mut sessions, 2, start);
        assert_eq!(sessions.look(&[2; 32], &ada, start + IDLE), None);
        assert_eq!((sessions.len(), sessions.look(&[3; 32], &ada, start)), (0, None));
    }

    #[test]
    fn the_file_has_the_last_word() {
        let (mut sessions, now) = (Sessions::new(LIFETIMES), Instant::now());
        of(&mut sessions, 1, now);
        let role = |sessions: &mut Sessions, accounts: &Accounts| {
            sessions.look(&[1; 32], accounts, now).map(|known| known.role)
        };
        assert_eq!(role(&mut sessions, &accounts(Role::Operator, "hash")), Some(Role::Operator));
        assert_eq!(role(&mut sessions, &accounts(Role::Viewer, "hash")), Some(Role::Viewer), "lowered");
        assert_eq!(role(&mut sessions, &accounts(Role::Viewer, "other")), None, "another password");
        of(&mut sessions, 1, now);
        assert_eq!(role(&mut sessions, &Accounts::default()), None, "removed");
        assert_eq!(role(&mut sessions, &accounts(Role::Viewer, "hash")), None, "and it stays over");
    }

    #[test]
    fn nobody_keeps_others_out() {
        let (mut sessions, start, ada) = (Sessions::new(LIFETIMES), Instant::now(), accounts(Role::Viewer, "hash"));
        for id in 0..40 {
            of(&mut sessions, id, start + Duration::from_millis(id.into()));
        }
        assert_eq!(sessions.len(), OF_ONE_MAX);
        assert!(sessions.look(&[0; 32], &ada, start).is_none() && sessions.look(&[39; 32], &ada, start).is_some());
        let mut sessions = Sessions::new(LIFETIMES);
        for id in 0..5_000_u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&id.to_be_bytes());
            sessions.begin(digest, format!("u{id}").into(), Proof::Password(String::new()), start);
        }
        assert_eq!(sessions.len(), SESSIONS_MAX);
    }

    #[test]
    fn sessions_are_listed_and_ended_by_name() {
        let (mut sessions, start, ada) = (Sessions::new(LIFETIMES), Instant::now(), accounts(Role::Viewer, "hash"));
        of(&mut sessions, 1, start);
        of(&mut sessions, 2, start + Duration::from_secs(10));
        let list = sessions.list(&ada, start + Duration::from_secs(20));
        let idle: Vec<_> = list.iter().map(|is| is.idle.as_secs()).collect();
        assert_eq!(idle, [10, 20]);
        assert_eq!(sessions.end(&[1; 32]).as_deref(), Some("ada"));
        assert_eq!((sessions.end_all("bob"), sessions.end_all("ada"), sessions.len()), (0, 1, 0));
    }
}
