//! A join token: who holds it may become a member once or several times, and knows the authority of the cluster.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use starling_proto::hex;

/// So that a token is recognised, by people and by scanners for secrets that were published.
const START: &str = "starling-join-";
/// Number, secret, digest of the authority, digest of these.
const BYTES: usize = 8 + 16 + 32 + 4;

/// A join token. Showing it for debugging shows its number.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Which one; not a secret.
    pub id: [u8; 8],
    /// That it is known.
    pub secret: [u8; 16],
    /// SHA-256 of the certificate (DER) of the authority that aggregators of the cluster prove themselves by.
    pub authority: [u8; 32],
}

/// Why a text is no token. The text is not repeated: it may hold most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else.
    #[error("this is not a join token: one begins with {START:?}, `starling token create` prints it")]
    Form,
    /// A part of one, or one with a changed letter.
    #[error("the join token is cut short or changed: copy it again, it has {} characters", START.len() + (BYTES * 4).div_ceil(3))]
    Damaged,
}

impl JoinToken {
    /// The text, a secret.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut bytes = self.body();
        bytes.extend_from_slice(&check(&bytes));
        format!("{START}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// 16 hexadecimal digits that name it to people.
    #[must_use]
    pub fn name(&self) -> String {
        hex::encode(&self.id)
    }

    fn body(&self) -> Vec<u8> {
        [&self.id[..], &self.secret, &self.authority].concat()
    }
}

/// The start of a digest: a letter that was changed or left out is told from a token that nobody knows.
fn check(body: &[u8]) -> [u8; 4] {
    Sha256::digest(body).first_chunk().copied().unwrap_or_default()
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(encoded) = text.strip_prefix(START) else {
            let is_start = !text.is_empty() && START.starts_with(text);
            return Err(if is_start { TokenError::Damaged } else { TokenError::Form });
        };
        // A longer one is not decoded.
        let bytes = (encoded.len() <= BYTES * 2).then(|| URL_SAFE_NO_PAD.decode(encoded).ok()).flatten();
        let bytes = bytes.filter(|bytes| bytes.len() == BYTES).ok_or(TokenError::Damaged)?;
        let (body, given) = bytes.split_at(BYTES - 4);
        if check(body) != given {
            return Err(TokenError::Damaged);
        }
        let part = |at: usize, length: usize| body.get(at..at + length).unwrap_or_default();
        Ok(Self {
            id: part(0, 8).try_into().map_err(|_| TokenError::Damaged)?,
            secret: part(8, 16).try_into().map_err(|_| TokenError::Damaged)?,
            authority: part(24, 32).try_into().map_err(|_| TokenError::Damaged)?,
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken { id: *b"\0\x01\x02\x03\xfc\xfd\xfe\xff", secret: [0x5a; 16], authority: [0xc3; 32] }
    }

    #[test]
    fn a_token_is_read_as_it_was_shown() {
        let text = token().reveal();
        assert_eq!(text.len(), 94);
        assert_eq!(format!(" {text}\n").parse::<JoinToken>(), Ok(token()));
        assert_eq!(format!("{:?}", token()), "JoinToken(00010203fcfdfeff)", "the secret is never shown by accident");
    }

    #[test]
    fn what_was_cut_or_changed_is_told_from_what_is_no_token() {
        let text = token().reveal();
        for length in 1..text.len() {
            assert_eq!(text[..length].parse::<JoinToken>(), Err(TokenError::Damaged), "{length} characters");
        }
        for at in START.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(changed.parse::<JoinToken>(), Err(TokenError::Damaged), "letter {at}");
        }
        for other in ["", "  ", "abc", "starling_join_x", &"x".repeat(1 << 16)] {
            assert_eq!(other.parse::<JoinToken>(), Err(TokenError::Form));
        }
        assert_eq!(format!("{text}{}", "A".repeat(1 << 16)).parse::<JoinToken>(), Err(TokenError::Damaged));
    }
}
