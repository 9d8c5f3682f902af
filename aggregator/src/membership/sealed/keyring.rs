//! The keys of gossip, as they stand in a file.

use std::{fmt, path::Path};

use ring::digest::{SHA256, digest};
use starling_service::secret;

/// Most keys at once: the one in use, the one before, and the one to come; one to spare.
const KEYS_MAX: usize = 4;
/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// By what a key is named on the wire: the start of its SHA-256.
pub(super) type KeyId = [u8; 4];

/// A key. Showing it shows its name.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) bytes: [u8; KEY_BYTES],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Keys that open; the first seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::membership) struct Keyring(Vec<Key>);

impl Keyring {
    /// Reads a file: 64 hexadecimal digits a line, empty lines and those that begin with '#' passed over.
    ///
    /// # Errors
    /// What is wrong with it and where, without a key.
    pub(in crate::membership) fn read(file: &Path) -> Result<Self, String> {
        let what = match secret::text(file) {
            Ok(text) => return Self::parse(&text).map_err(|error| format!("{}: {error}", file.display())),
            Err(what) => what,
        };
        let next = "`starling ca init` makes one, the same file stands at every aggregator";
        Err(format!("{} {what}; {next}", file.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = key(line)
                .ok_or_else(|| format!("line {} is not a key: wanted are 64 hexadecimal digits", number + 1))?;
            let digest = digest(&SHA256, &bytes);
            let id = digest.as_ref().first_chunk().copied().unwrap_or_default();
            if keys.iter().any(|other| other.id == id) {
                return Err(format!("line {} is the same key as one before", number + 1));
            }
            keys.push(Key { id, bytes });
        }
        match keys.len() {
            0 => Err("holds no key: wanted is a line of 64 hexadecimal digits".to_owned()),
            1..=KEYS_MAX => Ok(Self(keys)),
            many => Err(format!("holds {many} keys, at most {KEYS_MAX} are taken: retire the oldest")),
        }
    }

    /// The one that seals.
    pub(super) fn primary(&self) -> &Key {
        // A ring has one at least.
        &self.0[0]
    }

    /// The one of this name.
    pub(super) fn get(&self, id: KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Names of all, the one that seals first, for people.
    pub(in crate::membership) fn names(&self) -> String {
        self.0.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(" ")
    }
}

fn key(hex: &str) -> Option<[u8; KEY_BYTES]> {
    if hex.len() != 2 * KEY_BYTES || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
pub(super) fn of_test(keys: &[u8]) -> Keyring {
    let text: String = keys.iter().map(|key| format!("{}\n", format!("{key:02x}").repeat(KEY_BYTES))).collect();
    Keyring::parse(&text).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (a, b) = ("ab".repeat(32), "CD".repeat(32));
        let ring = Keyring::parse(&format!("# old and new\n\n{a}\n  {b}\n")).unwrap();
        assert_eq!(ring.primary().bytes, [0xab; 32]);
        assert_eq!(ring.names().len(), 17);
        assert!(ring.0.iter().all(|key| ring.get(key.id) == Some(key)) && ring.get([0; 4]).is_none());
        assert!(!format!("{ring:?}").contains("abab"), "a key is never shown");
    }

    #[test]
    fn what_is_no_ring_is_refused_without_a_key_in_the_text() {
        let a = "ab".repeat(32);
        for (text, wanted) in [
            (String::new(), "holds no key"),
            (format!("{a}\n{a}"), "line 2 is the same key"),
            (format!("{a}0"), "line 1 is not a key"),
            ("+1".repeat(32), "line 1 is not a key"),
            ("ü".repeat(32), "line 1 is not a key"),
            ((0..5).map(|n| format!("{n:02x}").repeat(32) + "\n").collect(), "holds 5 keys"),
        ] {
            let error = Keyring::parse(&text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("abab"), "{error}");
        }
    }
}
