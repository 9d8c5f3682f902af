//! The keys of gossip, and how they stand in a file.

use std::{fmt, path::Path};

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use starling_proto::hex;
use starling_service::secret;

/// Most keys at once: the one in use, the one before, and the one to come; one to spare.
pub(super) const KEYS_MAX: usize = 4;
/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// By what a key is named on the wire and to people: the start of its SHA-256.
pub(crate) type KeyId = [u8; 4];

/// A key. Showing it shows its name.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::membership) struct Key {
    pub(in crate::membership) id: KeyId,
    pub(in crate::membership) bytes: [u8; KEY_BYTES],
}

impl Key {
    /// Of its bytes.
    pub(super) fn of(bytes: [u8; KEY_BYTES]) -> Self {
        let digest = digest(&SHA256, &bytes);
        Self { id: digest.as_ref().first_chunk().copied().unwrap_or_default(), bytes }
    }

    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn random() -> Result<Self, String> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no random bytes".to_owned())?;
        Ok(Self::of(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.id))
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

    /// Of keys, the one that seals first.
    ///
    /// # Errors
    /// When there are none, too many, or one twice; by number, from 1.
    pub(super) fn of(keys: Vec<Key>) -> Result<Self, String> {
        let twice = keys.iter().enumerate().find(|(at, key)| keys[..*at].iter().any(|other| other.id == key.id));
        if let Some((at, _)) = twice {
            return Err(format!("key {} is the same as one before", at + 1));
        }
        match keys.len() {
            0 => Err("holds no key: wanted is a line of 64 hexadecimal digits".to_owned()),
            1..=KEYS_MAX => Ok(Self(keys)),
            many => Err(format!("holds {many} keys, at most {KEYS_MAX} are taken: retire the oldest")),
        }
    }

    /// All keys, the one that seals first.
    pub(super) fn keys(&self) -> &[Key] {
        &self.0
    }

    /// Lines of a file.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|key| hex::encode(&key.bytes) + "\n").collect()
    }

    /// Reads lines of a file.
    ///
    /// # Errors
    /// What is wrong and where, without a key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = hex::decode_array(line)
                .ok_or_else(|| format!("line {} is not a key: wanted are 64 hexadecimal digits", number + 1))?;
            keys.push(Key::of(bytes));
        }
        Self::of(keys)
    }

    /// The one that seals.
    pub(in crate::membership) fn primary(&self) -> &Key {
        // A ring has one at least.
        &self.0[0]
    }

    /// The one of this name.
    pub(in crate::membership) fn get(&self, id: KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Names of all, the one that seals first, for people.
    pub(in crate::membership) fn names(&self) -> String {
        self.0.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
pub(in crate::membership) fn of_test(keys: &[u8]) -> Keyring {
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
        assert_eq!(Keyring::parse(&ring.text()), Ok(ring));
    }

    #[test]
    fn what_is_no_ring_is_refused_without_a_key_in_the_text() {
        let a = "ab".repeat(32);
        for (text, wanted) in [
            (String::new(), "holds no key"),
            (format!("{a}\n{a}"), "key 2 is the same"),
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
