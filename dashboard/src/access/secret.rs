//! Secrets of 256 random bits: what a session and an API token are known by. Only their digests are kept: who reads the file or
//! the memory cannot use them.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// What a secret is kept as. SHA-256 is enough: nobody guesses 256 random bits.
pub(super) type SecretDigest = [u8; 32];

/// Every API token begins with it, so that searches for lost secrets know one when they see it.
const TOKEN_MARK: &str = "starling_";
/// Longest text that is taken for a secret.
const SECRET_LEN_MAX: usize = 128;

/// A new secret, in 43 characters that a header and a cookie take as they are.
pub(super) fn new() -> String {
    let bits: [u8; 32] = rand::random();
    BASE64_URL_SAFE_NO_PAD.encode(bits)
}

/// A new API token.
#[must_use]
pub fn new_token() -> String {
    format!("{TOKEN_MARK}{}", new())
}

/// What a secret is kept as; `None` for what is too long to be one.
pub(super) fn digest(secret: &str) -> Option<SecretDigest> {
    (secret.len() <= SECRET_LEN_MAX).then(|| Sha256::digest(secret.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_comes_twice_and_a_digest_is_that_of_sha256() {
        let (one, two) = (new_token(), new_token());
        assert!(one.starts_with("starling_") && one.len() == 52 && one != two, "{one}");
        // FIPS 180-4, "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest("abc").map(|digest| starling_proto::hex::encode(&digest)).as_deref(), Some(abc));
        assert_eq!(digest(&"a".repeat(129)), None);
    }
}
