//! Passwords: argon2id, as PHC strings such as "$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH".

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version, password_hash::phc::PasswordHash,
};

/// Fewest characters of a new password. NIST SP 800-63B-4 asks for 15 of a password that stands alone and for 8 beside something
/// else; guesses are slowed here, which is between the two.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Most bytes of a password: a sentence, and no work for who sends a book.
pub(super) const PASSWORD_BYTES_MAX: usize = 1_024;
/// Most that a hash of the file may cost, in KiB of memory and in passes. Who writes the file decides; this keeps a slip of the
/// pen from taking the memory of the host with each log-in. Hashes made here cost 19,456 KiB and 2 passes (OWASP, Password
/// Storage Cheat Sheet).
const MEMORY_KIB_MAX: u32 = 262_144;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;

/// A password that was chosen, as it is kept.
///
/// # Errors
/// What is wrong with it, in words and without it.
pub fn hash(password: &str) -> Result<String, String> {
    let chars = password.chars().count();
    if chars < PASSWORD_CHARS_MIN {
        return Err(format!("the password has {chars} characters, wanted are at least {PASSWORD_CHARS_MIN}"));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(format!("the password has more than {PASSWORD_BYTES_MAX} bytes"));
    }
    hashed(password)
}

fn hashed(password: &str) -> Result<String, String> {
    let salt: [u8; 16] = rand::random();
    let hashed = argon().hash_password_with_salt(password.as_bytes(), &salt);
    hashed.map(|hash| hash.to_string()).map_err(|error| format!("the password cannot be hashed: {error}"))
}

fn argon() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

/// Whether a text is a hash that can be checked, at a cost that is bearable.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check(text: &str) -> Result<(), String> {
    let wanted = "write it with `starling users add`";
    let hash = PasswordHash::new(text).map_err(|error| format!("it is no hash ({error}); {wanted}"))?;
    if hash.algorithm.as_str() != "argon2id" || hash.salt.is_none() || hash.hash.is_none() {
        return Err(format!("it is no argon2id hash with a salt; {wanted}"));
    }
    let params =
        Params::try_from(&hash).map_err(|error| format!("its parameters are not taken ({error}); {wanted}"))?;
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
        let most = format!("m={MEMORY_KIB_MAX}, t={PASSES_MAX}, p={LANES_MAX}");
        return Err(format!("it costs more than {most} to check; {wanted}"));
    }
    Ok(())
}

/// Whether `password` is that of a hash. Takes tens of milliseconds and the memory that the hash names: for a blocking thread.
pub(super) fn matches(password: &str, hash: &str) -> bool {
    password.len() <= PASSWORD_BYTES_MAX
        && PasswordHash::new(hash).is_ok_and(|hash| argon().verify_password(password.as_bytes(), &hash).is_ok())
}

/// A hash of nobody's password that costs what `like` costs, or what those made here do: who is not known is refused after the
/// same work as who is.
pub(super) fn nobody(like: Option<&str>) -> String {
    // 16 and 32 bytes of nothing.
    let rest = "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let of = |hash: &str| hash.split('$').nth(3).map(|params| format!("$argon2id$v=19${params}${rest}"));
    like.and_then(of).unwrap_or_else(|| format!("$argon2id$v=19$m=19456,t=2,p=1${rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_no_other() {
        let one = hash("correct horse battery").unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, hash("correct horse battery").unwrap(), "each has a salt of its own");
        check(&one).unwrap();
        assert!(matches("correct horse battery", &one));
        assert!(!matches("correct horse batterY", &one) && !matches("", &one));
        assert!(!matches(&"a".repeat(PASSWORD_BYTES_MAX + 1), &one));
        assert!(hash("short").unwrap_err().contains("at least 12"));
        assert!(hash(&"a".repeat(2_000)).unwrap_err().contains("more than 1024 bytes"));
    }

    #[test]
    fn a_hash_that_cannot_be_checked_is_refused_with_the_next_step() {
        let salted = "c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for (bad, what) in [
            ("".to_owned(), "no hash"),
            ("secret".to_owned(), "no hash"),
            (format!("$argon2i$v=19$m=19456,t=2,p=1${salted}"), "no argon2id"),
            ("$argon2id$v=19$m=19456,t=2,p=1".to_owned(), "no argon2id"),
            (format!("$argon2id$v=19$m=4000000,t=2,p=1${salted}"), "costs more"),
            (format!("$argon2id$v=19$m=19456,t=900,p=1${salted}"), "costs more"),
        ] {
            let error = check(&bad).unwrap_err();
            assert!(error.contains(what) && error.contains("starling users add"), "{bad}: {error}");
        }
    }

    #[test]
    fn nobody_has_a_hash_that_costs_the_same() {
        for like in [None, Some("$argon2id$v=19$m=64,t=3,p=1$c2FsdHNhbHQ$AAAA")] {
            let hash = nobody(like);
            check(&hash).unwrap();
            assert!(!matches("", &hash) && !matches("anything at all", &hash));
        }
        assert!(nobody(Some("$argon2id$v=19$m=64,t=3,p=1$x$y")).contains("$m=64,t=3,p=1$"));
    }
}
