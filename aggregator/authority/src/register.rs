//! Who has joined and who may: the rules of enrolment, without a clock, a disk or a network.
//!
//! What is decided becomes an [`Event`]; the events of a file, applied in order, are the state. A use of a token is the
//! event that somebody joined by it, so that a failure on the way spends nothing, and the same key joins once however
//! often it asks.

mod event;
mod refusal;

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use starling_proto::ids::NodeId;
use starling_service::identity::Role;

pub use self::{
    event::{Event, Hex, KeyId, TokenId},
    refusal::Refusal,
};

/// Tokens kept. When there are more, those that are over go first; then no new one is made.
pub const TOKENS_MAX: usize = 1_000;
/// Identities kept; beyond, nobody joins until some were removed and their certificates have ended.
pub const IDENTITIES_MAX: usize = 100_000;
/// How long a token that is over is still listed, seconds.
const TOKEN_SHOWN: u64 = 86_400;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of its secret.
    pub secret: [u8; 32],
    /// What who joins by it becomes.
    pub role: Role,
    /// When it was made, Unix time in seconds.
    pub created: u64,
    /// From this second on nobody joins by it.
    pub expires: u64,
    /// How many can.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// Names of silent ones may be taken.
    pub replace: bool,
    /// Who wanted it.
    pub author: String,
    /// When it was taken back; 0 when it was not.
    pub revoked: u64,
}

/// One that has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// What it may do.
    pub role: Role,
    /// Its name.
    pub name: NodeId,
    /// Its machine; `None` when that is not known.
    pub machine: Option<[u8; 16]>,
    /// By which token.
    pub token: TokenId,
    /// When, Unix time in seconds.
    pub joined: u64,
    /// When its certificate was renewed.
    pub renewed: u64,
    /// When its certificate ends.
    pub ends: u64,
    /// Number of its certificate, hexadecimal.
    pub serial: String,
    /// SHA-256 of the root below which that was signed; `None` when it was signed before that was written down.
    pub signed_by: Option<Hex<32>>,
    /// When it was taken out, and by whom.
    pub removed: Option<(u64, String)>,
}

/// Asks to join.
#[derive(Debug, Clone)]
pub struct Ask {
    /// By which token.
    pub token: TokenId,
    /// That it is known.
    pub secret: [u8; 16],
    /// SHA-256 of the public key.
    pub key: KeyId,
    /// What it says it is.
    pub role: Role,
    /// The wanted name.
    pub name: NodeId,
    /// On which machine.
    pub machine: Option<[u8; 16]>,
}

/// What is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it becomes.
    pub role: Role,
    /// Under which name.
    pub name: NodeId,
    /// By which token.
    pub token: TokenId,
}

/// The state.
#[derive(Debug, Default)]
pub struct Register {
    tokens: BTreeMap<TokenId, Token>,
    enrolled: BTreeMap<KeyId, Enrolled>,
    /// The key of each name, of those that were not taken out.
    names: BTreeMap<(Role, NodeId), KeyId>,
}

impl Register {
    /// Takes what was decided, now or before.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Token { id, token } => {
                self.tokens.insert(id, token);
            }
            Event::TokenRevoked { id, at } => {
                if let Some(token) = self.tokens.get_mut(&id) {
                    token.revoked = at;
                }
            }
            Event::Joined { key, enrolled } => {
                if let Some(former) = self.names.get(&(enrolled.role, enrolled.name.clone())).copied()
                    && former != key
                    && let Some(former) = self.enrolled.get_mut(&former)
                {
                    former.removed =
                        Some((enrolled.joined, format!("who joined in its place by token {}", enrolled.token)));
                }
                if let Some(token) = self.tokens.get_mut(&enrolled.token)
                    && !self.enrolled.contains_key(&key)
                {
                    token.used += 1;
                }
                self.names.insert((enrolled.role, enrolled.name.clone()), key);
                self.enrolled.insert(key, enrolled);
            }
            Event::Renewed { key, at, ends, serial, signed_by } => {
                if let Some(enrolled) = self.enrolled.get_mut(&key) {
                    (enrolled.renewed, enrolled.ends, enrolled.serial) = (at, ends.max(enrolled.ends), serial);
                    enrolled.signed_by = signed_by;
                }
            }
            Event::Removed { role, name, at, author } => {
                if let Some(key) = self.names.remove(&(role, name))
                    && let Some(enrolled) = self.enrolled.get_mut(&key)
                {
                    enrolled.removed = Some((at, author));
                }
            }
        }
    }

    /// Whether a token can be made.
    ///
    /// # Errors
    /// [`Refusal::TooManyTokens`].
    pub fn may_make_token(&self, now: u64) -> Result<(), Refusal> {
        match self.tokens.values().filter(|token| token.is_valid(now)).count() {
            many if many >= TOKENS_MAX => Err(Refusal::TooManyTokens),
            _ => Ok(()),
        }
    }

    /// What who asks may become. `is_alive` says whether the bearer of a name speaks with the cluster now.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn may_join(&self, ask: &Ask, now: u64, is_alive: impl Fn(Role, &NodeId) -> bool) -> Result<Grant, Refusal> {
        // Digests are compared, so that time tells nothing of a secret.
        let secret: [u8; 32] = Sha256::digest(ask.secret).into();
        let token = self.tokens.get(&ask.token).filter(|token| token.secret == secret).ok_or(Refusal::TokenUnknown)?;
        if token.revoked > 0 {
            return Err(Refusal::TokenRevoked(token.revoked));
        }
        let grant = || Grant { role: token.role, name: ask.name.clone(), token: ask.token };
        match self.enrolled.get(&ask.key) {
            Some(Enrolled { removed: Some((at, by)), .. }) => return Err(Refusal::Removed { at: *at, by: by.clone() }),
            // The answer was lost on its way.
            Some(known) if known.role == token.role && known.name == ask.name => return Ok(grant()),
            Some(known) => return Err(Refusal::Known(known.role, known.name.clone())),
            None => {}
        }
        if now >= token.expires {
            return Err(Refusal::TokenExpired(token.expires));
        }
        if token.used >= token.uses {
            return Err(Refusal::TokenUsedUp(token.uses));
        }
        if ask.role != token.role {
            return Err(Refusal::Role { token: token.role, asked: ask.role });
        }
        if self.enrolled.len() >= IDENTITIES_MAX {
            return Err(Refusal::TooManyIdentities);
        }
        if let Some(holder) = self.holder(token.role, &ask.name) {
            let taken = |alive| Refusal::NameTaken { name: ask.name.clone(), since: holder.joined, alive };
            if is_alive(token.role, &ask.name) {
                return Err(taken(true));
            }
            let same_machine = holder.machine.is_some() && holder.machine == ask.machine;
            if !token.replace && !same_machine {
                return Err(taken(false));
            }
        }
        Ok(grant())
    }

    /// Whose key may be renewed. `grace` is how long after the end of the last certificate, seconds.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn may_renew(&self, key: &KeyId, machine: Option<[u8; 16]>, now: u64, grace: u64) -> Result<Grant, Refusal> {
        let known = self.enrolled.get(key).ok_or(Refusal::UnknownKey)?;
        if let Some((at, by)) = &known.removed {
            return Err(Refusal::Removed { at: *at, by: by.clone() });
        }
        if now > known.ends.saturating_add(grace) {
            return Err(Refusal::EndedLongAgo(known.ends));
        }
        match (known.machine, machine) {
            (Some(known), Some(asks)) if known != asks => Err(Refusal::OtherMachine),
            _ => Ok(Grant { role: known.role, name: known.name.clone(), token: known.token }),
        }
    }

    /// Whom a key takes out that wants to leave. `is_alive` as in [`Register::may_join`].
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn may_leave(&self, key: &KeyId, is_alive: impl Fn(Role, &NodeId) -> bool) -> Result<(Role, NodeId), Refusal> {
        let known = self.enrolled.get(key).ok_or(Refusal::UnknownKey)?;
        if let Some((at, by)) = &known.removed {
            return Err(Refusal::Removed { at: *at, by: by.clone() });
        }
        match is_alive(known.role, &known.name) {
            true => Err(Refusal::Alive(known.role, known.name.clone())),
            false => Ok((known.role, known.name.clone())),
        }
    }

    /// One that has joined, by its key.
    #[must_use]
    pub fn get(&self, key: &KeyId) -> Option<&Enrolled> {
        self.enrolled.get(key)
    }

    /// Who has the name.
    #[must_use]
    pub fn holder(&self, role: Role, name: &NodeId) -> Option<&Enrolled> {
        self.names.get(&(role, name.clone())).and_then(|key| self.enrolled.get(key))
    }

    /// All tokens, by number.
    pub fn tokens(&self) -> impl Iterator<Item = (&TokenId, &Token)> {
        self.tokens.iter()
    }

    /// All that have joined, those that were taken out too.
    pub fn enrolled(&self) -> impl Iterator<Item = (&KeyId, &Enrolled)> {
        self.enrolled.iter()
    }

    /// Forgets what nobody can use any more: tokens that are over for a day, and those who were taken out or fell silent,
    /// once their last certificate, and the time in which it could be renewed, are over.
    pub fn forget(&mut self, now: u64, grace: u64) {
        self.tokens.retain(|_, token| now < token.over().saturating_add(TOKEN_SHOWN));
        let names = &mut self.names;
        self.enrolled.retain(|key, one| {
            let over = match one.removed {
                Some(_) => now > one.ends,
                None => now > one.ends.saturating_add(grace),
            };
            if over && names.get(&(one.role, one.name.clone())) == Some(key) {
                names.remove(&(one.role, one.name.clone()));
            }
            !over
        });
    }

    /// The events that make this state anew.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let mut joined: BTreeMap<TokenId, u32> = BTreeMap::new();
        for one in self.enrolled.values() {
            *joined.entry(one.token).or_default() += 1;
        }
        let tokens = self.tokens.iter().map(move |(id, token)| {
            // Those who joined by it are counted again.
            let used = token.used.saturating_sub(joined.get(id).copied().unwrap_or(0));
            Event::Token { id: *id, token: Token { used, ..token.clone() } }
        });
        // Those who were taken out first: a name may be another's now.
        let (out, within): (Vec<_>, Vec<_>) = self.enrolled.iter().partition(|(_, one)| one.removed.is_some());
        let out = out.into_iter().flat_map(|(key, one)| {
            let (at, author) = one.removed.clone().unwrap_or_default();
            let joined = Event::Joined { key: *key, enrolled: Enrolled { removed: None, ..one.clone() } };
            [joined, Event::Removed { role: one.role, name: one.name.clone(), at, author }]
        });
        let within = within.into_iter().map(|(key, one)| Event::Joined { key: *key, enrolled: one.clone() });
        tokens.chain(out).chain(within)
    }
}

impl Token {
    /// Whether somebody new can join by it.
    #[must_use]
    pub const fn is_valid(&self, now: u64) -> bool {
        self.revoked == 0 && now < self.expires && self.used < self.uses
    }

    /// When it can no longer be used.
    fn over(&self) -> u64 {
        if self.revoked > 0 { self.revoked.min(self.expires) } else { self.expires }
    }
}

#[cfg(test)]
mod tests;
