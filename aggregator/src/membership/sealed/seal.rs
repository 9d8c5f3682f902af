//! Sealing and opening datagrams. Pure.

use std::collections::HashMap;

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};

use super::{
    super::ring::{Key, KeyId, Keyring},
    window::Window,
};

/// Of this layout.
const VERSION: u8 = 1;
/// What is said of keys that are made for gossip, so that the same ring can serve something else.
const PURPOSE: &[u8] = b"starling gossip 1";
const PROCESS_LEN: usize = 16;
const HEADER_LEN: usize = 1 + 4 + PROCESS_LEN + 8;
const TAG_LEN: usize = 16;
/// What sealing adds.
pub(super) const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// Processes whose numbers are remembered. Beyond, the one heard of longest ago is forgotten: only holders of a key make
/// entries, and a cluster has some 50 members, each of which starts anew now and then.
const PROCESSES_MAX: usize = 4_096;

/// A start of an aggregator, as gossip tells them apart.
type Process = [u8; PROCESS_LEN];

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::membership) enum Dropped {
    /// Shorter than a header and a tag, or of another version: plain gossip, or something else.
    NotSealed,
    /// Sealed by a key that is not in the ring.
    UnknownKey,
    /// Changed on the way, of another cluster, or made up.
    Forged,
    /// Seen before, or so late that it may have been.
    Replayed,
    /// Our own, sent back to us.
    Reflected,
    /// There is no key here yet.
    NoKey,
}

impl Dropped {
    /// As a label.
    pub(in crate::membership) const fn as_str(self) -> &'static str {
        match self {
            Self::NotSealed => "not_sealed",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Reflected => "reflected",
            Self::NoKey => "no_key",
        }
    }
}

/// One process's end of sealed gossip.
pub(super) struct Seal {
    ring: Keyring,
    cluster: String,
    process: Process,
    counter: u64,
    own: LessSafeKey,
    heard: HashMap<(KeyId, Process), Heard>,
    /// Datagrams opened, as a clock for what to forget.
    opened: u64,
}

struct Heard {
    key: LessSafeKey,
    window: Window,
    last: u64,
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        CHACHA20_POLY1305.key_len()
    }
}

/// The key of one process.
fn derive(key: &Key, cluster: &str, process: &Process) -> LessSafeKey {
    let secret = Salt::new(HKDF_SHA256, PURPOSE).extract(&key.bytes);
    let mut bytes = [0; 32];
    // Both calls fail for lengths that are not those of the algorithm only; these are constants.
    let filled = secret
        .expand(&[cluster.as_bytes(), process], Bytes32)
        .and_then(|made| made.fill(&mut bytes))
        .and_then(|()| UnboundKey::new(&CHACHA20_POLY1305, &bytes));
    LessSafeKey::new(filled.expect("32 bytes are the length of a key"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl Seal {
    /// Of the process that is named by 16 random bytes: under the same bytes no other may ever seal.
    pub(super) fn new(ring: Keyring, cluster: String, process: Process) -> Self {
        let own = derive(ring.primary(), &cluster, &process);
        Self { ring, cluster, process, counter: 0, own, heard: HashMap::new(), opened: 0 }
    }

    /// Another ring. Numbers go on: those of a key that seals again must not come twice.
    pub(super) fn replace(&mut self, ring: Keyring) {
        self.own = derive(ring.primary(), &self.cluster, &self.process);
        self.heard.retain(|(key, _), _| ring.get(*key).is_some());
        self.ring = ring;
    }

    /// The ring in use.
    pub(super) const fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// What authenticates beside the content: the header, and the cluster that it is for.
    fn bound(&self, header: &[u8]) -> Vec<u8> {
        [header, self.cluster.as_bytes()].concat()
    }

    /// Seals a datagram.
    pub(super) fn seal(&mut self, content: &[u8]) -> Vec<u8> {
        // A process that sends a million a second gets there in half a million years.
        self.counter += 1;
        let mut datagram = Vec::with_capacity(content.len() + OVERHEAD);
        datagram.push(VERSION);
        datagram.extend(self.ring.primary().id);
        datagram.extend(self.process);
        datagram.extend(self.counter.to_be_bytes());
        let aad = Aad::from(self.bound(&datagram));
        let mut sealed = content.to_vec();
        // Fails beyond 256 GiB.
        if self.own.seal_in_place_append_tag(nonce(self.counter), aad, &mut sealed).is_ok() {
            datagram.extend(sealed);
        }
        datagram
    }

    /// Opens a datagram.
    ///
    /// # Errors
    /// Why it is dropped; nothing else has changed then.
    pub(super) fn open(&mut self, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
        let (header, sealed) = datagram.split_at_checked(HEADER_LEN).ok_or(Dropped::NotSealed)?;
        if header[0] != VERSION || sealed.len() < TAG_LEN {
            return Err(Dropped::NotSealed);
        }
        let (id, rest) = header[1..].split_at(4);
        let (process, counter) = rest.split_at(PROCESS_LEN);
        let id: KeyId = id.try_into().map_err(|_| Dropped::NotSealed)?;
        let process: Process = process.try_into().map_err(|_| Dropped::NotSealed)?;
        let counter = u64::from_be_bytes(counter.try_into().map_err(|_| Dropped::NotSealed)?);
        let key = self.ring.get(id).ok_or(Dropped::UnknownKey)?;
        if process == self.process {
            return Err(Dropped::Reflected);
        }
        let aad = Aad::from(self.bound(header));
        let mut content = sealed.to_vec();
        let open = |key: &LessSafeKey| {
            let opened = key.open_in_place(nonce(counter), aad, &mut content).map_err(|_| Dropped::Forged)?;
            Ok(opened.len())
        };
        self.opened += 1;
        let length = match self.heard.get_mut(&(id, process)) {
            Some(heard) => {
                let length = open(&heard.key)?;
                if !heard.window.take(counter) {
                    return Err(Dropped::Replayed);
                }
                heard.last = self.opened;
                length
            }
            None => {
                let key = derive(key, &self.cluster, &process);
                let length = open(&key)?;
                let mut window = Window::new();
                if !window.take(counter) {
                    return Err(Dropped::Replayed);
                }
                self.forget_one_of_many();
                self.heard.insert((id, process), Heard { key, window, last: self.opened });
                length
            }
        };
        content.truncate(length);
        Ok(content)
    }

    fn forget_one_of_many(&mut self) {
        if self.heard.len() >= PROCESSES_MAX
            && let Some(oldest) = self.heard.iter().min_by_key(|(_, heard)| heard.last).map(|(whose, _)| *whose)
        {
            self.heard.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::super::ring::of_test, *};

    fn seal(keys: &[u8], cluster: &str, process: u8) -> Seal {
        Seal::new(of_test(keys), cluster.to_owned(), [process; PROCESS_LEN])
    }

    #[test]
    fn a_datagram_is_opened_once_by_members_of_its_cluster() {
        let (mut one, mut two, mut other) = (seal(&[1], "a", 1), seal(&[1], "a", 2), seal(&[1], "b", 3));
        let sealed = one.seal(b"hello");
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(two.open(&sealed).unwrap(), b"hello");
        assert_eq!(two.open(&sealed), Err(Dropped::Replayed));
        assert_eq!(other.open(&sealed), Err(Dropped::Forged), "of another cluster");
        assert_eq!(one.open(&sealed), Err(Dropped::Reflected));
        assert_eq!(seal(&[2], "a", 4).open(&sealed), Err(Dropped::UnknownKey));
        assert_ne!(one.seal(b"hello"), sealed);
    }

    #[test]
    fn keys_are_installed_used_and_retired_without_a_moment_of_deafness() {
        let (mut one, mut two) = (seal(&[1], "a", 1), seal(&[1], "a", 2));
        let both_hear = |one: &mut Seal, two: &mut Seal| {
            let (to_two, to_one) = (one.seal(b"x"), two.seal(b"y"));
            assert!(two.open(&to_two).is_ok() && one.open(&to_one).is_ok());
        };
        // Install at both, use at both, retire at both; each step at one before the other.
        for ring in [&[1, 2][..], &[2, 1], &[2]] {
            one.replace(of_test(ring));
            both_hear(&mut one, &mut two);
            two.replace(of_test(ring));
            both_hear(&mut one, &mut two);
        }
        let late = seal(&[1], "a", 3).seal(b"z");
        assert_eq!(two.open(&late), Err(Dropped::UnknownKey), "a retired key opens nothing");
    }

    #[test]
    fn numbers_go_on_when_a_key_seals_again() {
        let (mut one, mut two) = (seal(&[1, 2], "a", 1), seal(&[1, 2], "a", 2));
        let first = one.seal(b"x");
        one.replace(of_test(&[2, 1]));
        one.replace(of_test(&[1, 2]));
        let second = one.seal(b"x");
        assert!(first != second && two.open(&first).is_ok() && two.open(&second).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut one = seal(&[1], "a", 1);
        for n in 0..PROCESSES_MAX + 10 {
            let mut process = [0xaa; PROCESS_LEN];
            process[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let sealed = Seal::new(of_test(&[1]), "a".to_owned(), process).seal(b"x");
            one.open(&sealed).unwrap();
        }
        assert_eq!(one.heard.len(), PROCESSES_MAX);
    }

    proptest! {
        #[test]
        fn junk_changes_nothing(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut one = seal(&[1], "a", 1);
            prop_assert!(one.open(&junk).is_err());
            prop_assert!(one.heard.is_empty());
        }

        #[test]
        fn a_datagram_with_one_bit_changed_is_dropped(at in 0usize..OVERHEAD + 5, bit in 0u8..8) {
            let (mut one, mut two) = (seal(&[1], "a", 1), seal(&[1], "a", 2));
            let mut sealed = one.seal(b"hello");
            sealed[at] ^= 1 << bit;
            prop_assert!(two.open(&sealed).is_err());
            prop_assert!(two.heard.is_empty());
        }
    }
}
