//! What was decided, as it stands in a file: a line of JSON each.

use std::fmt;

use serde::{Deserialize, Serialize};
use starling_proto::{hex, ids::NodeId};
use starling_service::identity::Role;

use super::{Enrolled, Token};

/// A number of bytes that is written in hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// Names a token.
pub type TokenId = Hex<8>;
/// SHA-256 of a public key (SubjectPublicKeyInfo).
pub type KeyId = Hex<32>;

impl<const N: usize> Hex<N> {
    /// Of so many bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Of twice as many digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode_array(text).map(Self)
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A token was made.
    Token {
        /// Which.
        id: TokenId,
        /// What it allows.
        token: Token,
    },
    /// A token was taken back.
    TokenRevoked {
        /// Which.
        id: TokenId,
        /// When.
        at: u64,
    },
    /// A key has joined. Who had the name before is taken out by it.
    Joined {
        /// Which key.
        key: KeyId,
        /// As what.
        enrolled: Enrolled,
    },
    /// A certificate was renewed.
    Renewed {
        /// Of which key.
        key: KeyId,
        /// When.
        at: u64,
        /// When the new one ends.
        ends: u64,
        /// Its number.
        serial: String,
        /// By which authority, see [`Enrolled::signed_by`].
        signed_by: Option<Hex<32>>,
    },
    /// A name was taken out.
    Removed {
        /// Which role.
        role: Role,
        /// Which name.
        name: NodeId,
        /// When.
        at: u64,
        /// By whom.
        author: String,
    },
}

/// An [`Event`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    Token {
        id: String,
        secret: String,
        role: String,
        created: u64,
        expires: u64,
        uses: u32,
        used: u32,
        replace: bool,
        author: String,
        #[serde(default)]
        revoked: u64,
    },
    TokenRevoked {
        id: String,
        at: u64,
    },
    Joined {
        key: String,
        role: String,
        name: String,
        machine: Option<String>,
        token: String,
        joined: u64,
        renewed: u64,
        ends: u64,
        serial: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed_by: Option<String>,
    },
    Renewed {
        key: String,
        at: u64,
        ends: u64,
        serial: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed_by: Option<String>,
    },
    Removed {
        role: String,
        name: String,
        at: u64,
        author: String,
    },
}

impl Event {
    /// One line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        let line = match self.clone() {
            Self::Token { id, token } => Line::Token {
                id: id.to_string(),
                secret: hex::encode(&token.secret),
                role: token.role.to_string(),
                created: token.created,
                expires: token.expires,
                uses: token.uses,
                used: token.used,
                replace: token.replace,
                author: token.author,
                revoked: token.revoked,
            },
            Self::TokenRevoked { id, at } => Line::TokenRevoked { id: id.to_string(), at },
            Self::Joined { key, enrolled } => Line::Joined {
                key: key.to_string(),
                role: enrolled.role.to_string(),
                name: enrolled.name.to_string(),
                machine: enrolled.machine.map(|machine| hex::encode(&machine)),
                token: enrolled.token.to_string(),
                joined: enrolled.joined,
                renewed: enrolled.renewed,
                ends: enrolled.ends,
                serial: enrolled.serial,
                signed_by: enrolled.signed_by.map(|digest| digest.to_string()),
            },
            Self::Renewed { key, at, ends, serial, signed_by } => Line::Renewed {
                key: key.to_string(),
                at,
                ends,
                serial,
                signed_by: signed_by.map(|digest| digest.to_string()),
            },
            Self::Removed { role, name, at, author } => {
                Line::Removed { role: role.to_string(), name: name.to_string(), at, author }
            }
        };
        // Strings and numbers: it cannot fail.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let role = |text: &str| Role::parse(text).ok_or_else(|| format!("{text:?} is no role"));
        let name = |text: &str| NodeId::parse(text).map_err(|error| format!("{text:?}: {error}"));
        Ok(match line {
            Line::Token { id, secret, role: of, created, expires, uses, used, replace, author, revoked } => {
                Self::Token {
                    id: number(&id)?,
                    token: Token {
                        secret: number::<32>(&secret)?.0,
                        role: role(&of)?,
                        created,
                        expires,
                        uses,
                        used,
                        replace,
                        author,
                        revoked,
                    },
                }
            }
            Line::TokenRevoked { id, at } => Self::TokenRevoked { id: number(&id)?, at },
            Line::Joined { key, role: of, name: text, machine, token, joined, renewed, ends, serial, signed_by } => {
                Self::Joined {
                    key: number(&key)?,
                    enrolled: Enrolled {
                        role: role(&of)?,
                        name: name(&text)?,
                        machine: machine.map(|text| number::<16>(&text)).transpose()?.map(|machine| machine.0),
                        token: number(&token)?,
                        joined,
                        renewed,
                        ends,
                        serial,
                        signed_by: signed_by.map(|text| number(&text)).transpose()?,
                        removed: None,
                    },
                }
            }
            Line::Renewed { key, at, ends, serial, signed_by } => Self::Renewed {
                key: number(&key)?,
                at,
                ends,
                serial,
                signed_by: signed_by.map(|text| number(&text)).transpose()?,
            },
            Line::Removed { role: of, name: text, at, author } => {
                Self::Removed { role: role(&of)?, name: name(&text)?, at, author }
            }
        })
    }
}

fn number<const N: usize>(text: &str) -> Result<Hex<N>, String> {
    Hex::parse(text).ok_or_else(|| format!("{text:?} is not {} hexadecimal digits", 2 * N))
}
