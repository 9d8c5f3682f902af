//! Sealing and opening datagrams. Pure.

use std::collections::HashMap;

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};

use super::{
    super::ring::{Key, KeyId, Keyring},
    pieces::{PROCESS_LEN, Pieces, Process, split},
    window::Window,
};

/// What is said of keys that are made for gossip, so that the same ring can serve something else.
const PURPOSE: &[u8] = b"starling gossip 1";
const HEADER_LEN: usize = 1 + 4 + PROCESS_LEN + 8;
const TAG_LEN: usize = 16;
/// What sealing adds.
pub(super) const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// Processes whose numbers are remembered. Beyond, the one heard of longest ago is forgotten, and has to prove again that it
/// lives: only holders of a key make entries, and a cluster has some 50 members, each of which starts anew now and then.
const PROCESSES_MAX: usize = 4_096;
/// Processes that were asked and did not answer. Beyond, all are forgotten.
const ASKED_MAX: usize = 1_024;

/// The first byte: what is in a datagram. No open datagram begins with one of these.
mod kind {
    /// A message.
    pub(super) const WHOLE: u8 = 1;
    /// A piece of one: its place, how many there are, its bytes.
    pub(super) const PIECE: u8 = 2;
    /// To a process, by its name: prove that you live. That it names this process proves that the sender does.
    pub(super) const ASK: u8 = 3;
    /// The answer: the name of the process that asked.
    pub(super) const PROOF: u8 = 4;
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::membership) enum Dropped {
    /// Shorter than a header and a tag, or of another layout: open gossip, or something else.
    NotSealed,
    /// Sealed by a key that is not in the ring.
    UnknownKey,
    /// Changed on the way, of another cluster, or made up.
    Forged,
    /// Seen before, or so late that it may have been.
    Replayed,
    /// Our own, sent back to us.
    Reflected,
    /// Of a process that has not proved yet that it lives: it may be a recording.
    Unproven,
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
            Self::Unproven => "unproven",
            Self::NoKey => "no_key",
        }
    }
}

/// What a datagram was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// A message, or the last missing piece of one.
    Message(Vec<u8>),
    /// A piece, or a proof: nothing to do.
    Nothing,
    /// This is to be sent back to where it came from; the datagram itself was dropped when there is a reason.
    Answer(Vec<u8>, Option<Dropped>),
}

/// One process's end of sealed gossip.
pub(super) struct Seal {
    ring: Keyring,
    cluster: String,
    process: Process,
    counter: u64,
    own: LessSafeKey,
    heard: HashMap<Process, Heard>,
    pieces: Pieces,
    asked: HashMap<Process, u64>,
    /// Datagrams opened, as a clock for what to forget.
    opened: u64,
}

/// A process that has proved that it lives. Its numbers go on when it seals by another key, and so does the window.
struct Heard {
    key: (KeyId, LessSafeKey),
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

/// The fields in front of the ciphertext.
struct Header {
    kind: u8,
    key: KeyId,
    process: Process,
    counter: u64,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (process, counter) = rest.split_first_chunk()?;
        let known = matches!(*kind, kind::WHOLE | kind::PIECE | kind::ASK | kind::PROOF);
        let counter = u64::from_be_bytes(*counter.first_chunk()?);
        known.then_some(Self { kind: *kind, key: *key, process: *process, counter })
    }
}

impl Seal {
    /// Of the process that is named by 16 random bytes: under the same bytes no other may ever seal.
    pub(super) fn new(ring: Keyring, cluster: String, process: Process) -> Self {
        let own = derive(ring.primary(), &cluster, &process);
        let (heard, asked) = (HashMap::new(), HashMap::new());
        Self { ring, cluster, process, counter: 0, own, heard, pieces: Pieces::default(), asked, opened: 0 }
    }

    /// Another ring. Numbers go on: those of a key that seals again must not come twice.
    pub(super) fn replace(&mut self, ring: Keyring) {
        self.own = derive(ring.primary(), &self.cluster, &self.process);
        self.ring = ring;
    }

    /// The ring in use.
    pub(super) const fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// Messages of which some pieces came and the others did not, since the start.
    pub(super) const fn incomplete(&self) -> u64 {
        self.pieces.given_up()
    }

    /// What authenticates beside the content: the header, and the cluster that it is for.
    fn bound(&self, header: &[u8]) -> Vec<u8> {
        [header, self.cluster.as_bytes()].concat()
    }

    /// Seals a message into datagrams of at most `longest` bytes, in pieces when it has to be.
    pub(super) fn seal(&mut self, message: &[u8], longest: usize) -> Vec<Vec<u8>> {
        if message.len() + OVERHEAD <= longest {
            return vec![self.one(kind::WHOLE, message)];
        }
        split(message, longest.saturating_sub(OVERHEAD)).iter().map(|piece| self.one(kind::PIECE, piece)).collect()
    }

    fn one(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        // A process that sends a million a second gets there in half a million years.
        self.counter += 1;
        let mut datagram = Vec::with_capacity(content.len() + OVERHEAD);
        datagram.push(kind);
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
    /// A process that is not known has to name ours before it is believed: what was recorded before this process started, or
    /// on its way to another member, is no proof that its sender lives.
    ///
    /// # Errors
    /// Why it is dropped; nothing else has changed then.
    pub(super) fn open(&mut self, datagram: &[u8]) -> Result<Opened, Dropped> {
        let (header, sealed) = datagram.split_first_chunk::<HEADER_LEN>().ok_or(Dropped::NotSealed)?;
        let Header { kind, key: id, process, counter } = Header::parse(header).ok_or(Dropped::NotSealed)?;
        if sealed.len() < TAG_LEN {
            return Err(Dropped::NotSealed);
        }
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
        // Derived once for each process and key, not for each datagram.
        let (length, derived) = match self.heard.get(&process).filter(|heard| heard.key.0 == id) {
            Some(heard) => (open(&heard.key.1)?, None),
            None => {
                let derived = derive(key, &self.cluster, &process);
                (open(&derived)?, Some((id, derived)))
            }
        };
        content.truncate(length);
        self.opened += 1;
        let names_us = matches!(kind, kind::ASK | kind::PROOF) && content == self.process;
        if !self.heard.contains_key(&process) {
            if !names_us {
                return self.ask(process, counter).ok_or(Dropped::Unproven);
            }
            let Some(derived) = derived else { return Err(Dropped::Forged) };
            self.forget_one_of_many();
            self.asked.remove(&process);
            self.heard.insert(process, Heard { key: derived, window: Window::from(counter), last: self.opened });
        } else if let (Some(derived), Some(heard)) = (derived, self.heard.get_mut(&process)) {
            heard.key = derived;
        }
        let heard = self.heard.get_mut(&process).ok_or(Dropped::Unproven)?;
        if !heard.window.take(counter) {
            return Err(Dropped::Replayed);
        }
        heard.last = self.opened;
        match kind {
            kind::WHOLE => Ok(Opened::Message(content)),
            kind::PIECE => Ok(self.pieces.take(process, counter, &content).map_or(Opened::Nothing, Opened::Message)),
            kind::ASK if names_us => Ok(Opened::Answer(self.one(kind::PROOF, &process), None)),
            _ => Ok(Opened::Nothing),
        }
    }

    /// Asks a process for a proof, wherever its datagram came from: once for each that is newer than all before, so that who
    /// plays recordings gets no more answers than there are recordings, and the process itself, whose next one is newer, is
    /// asked whatever was played before.
    fn ask(&mut self, process: Process, counter: u64) -> Option<Opened> {
        if self.asked.get(&process).is_some_and(|asked| counter <= *asked) {
            return None;
        }
        if self.asked.len() >= ASKED_MAX {
            self.asked.clear();
        }
        self.asked.insert(process, counter);
        Some(Opened::Answer(self.one(kind::ASK, &process), Some(Dropped::Unproven)))
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

    const LONG: usize = 1_200;

    fn seal(keys: &[u8], cluster: &str, process: u8) -> Seal {
        Seal::new(of_test(keys), cluster.to_owned(), [process; PROCESS_LEN])
    }

    /// Two that know each other.
    fn pair(keys: &[u8]) -> (Seal, Seal) {
        let (mut one, mut two) = (seal(keys, "a", 1), seal(keys, "a", 2));
        meet(&mut one, &mut two);
        (one, two)
    }

    fn meet(one: &mut Seal, two: &mut Seal) {
        let first = whole(one, b"x");
        let Ok(Opened::Answer(ask, Some(Dropped::Unproven))) = two.open(&first) else { panic!("it asks") };
        let Ok(Opened::Answer(proof, None)) = one.open(&ask) else { panic!("it answers") };
        assert!(ask.len() <= first.len() + PROCESS_LEN && proof.len() == ask.len());
        assert_eq!(two.open(&proof), Ok(Opened::Nothing));
    }

    fn whole(from: &mut Seal, message: &[u8]) -> Vec<u8> {
        from.seal(message, LONG).remove(0)
    }

    fn message(text: &[u8]) -> Result<Opened, Dropped> {
        Ok(Opened::Message(text.to_vec()))
    }

    #[test]
    fn a_datagram_is_opened_once_by_members_of_its_cluster() {
        let (mut one, mut two) = pair(&[1]);
        let sealed = whole(&mut one, b"hello");
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(two.open(&sealed), message(b"hello"));
        assert_eq!(two.open(&sealed), Err(Dropped::Replayed));
        assert_eq!(seal(&[1], "b", 3).open(&sealed), Err(Dropped::Forged), "of another cluster");
        assert_eq!(one.open(&sealed), Err(Dropped::Reflected));
        assert_eq!(seal(&[2], "a", 4).open(&sealed), Err(Dropped::UnknownKey));
        assert_ne!(whole(&mut one, b"hello"), sealed);
    }

    #[test]
    fn what_was_recorded_before_a_start_is_not_believed_after_it() {
        let (mut one, _) = pair(&[1]);
        let mut recorded = vec![whole(&mut one, b"x"), whole(&mut one, b"y")];
        // The proofs of its former life too, and what went to another member.
        let Ok(Opened::Answer(ask, _)) = seal(&[1], "a", 3).open(&recorded[0]) else { panic!("it asks") };
        let Ok(Opened::Answer(proof, _)) = one.open(&ask) else { panic!("it answers") };
        recorded.extend([ask, proof]);
        let mut two = seal(&[1], "a", 9);
        let mut answers = 0;
        for datagram in recorded.iter().cycle().take(1_000) {
            match two.open(datagram) {
                Ok(Opened::Answer(ask, Some(Dropped::Unproven))) => {
                    answers += 1;
                    assert_eq!(ask.len(), OVERHEAD + PROCESS_LEN);
                }
                other => assert!(other.is_err(), "{other:?}"),
            }
        }
        assert_eq!(answers, recorded.len(), "one for each recording, however often it is played");
        assert!(two.heard.is_empty());
        // The living one gets in by what it sends next.
        one.heard.clear();
        let next = whole(&mut one, b"z");
        let Ok(Opened::Answer(ask, _)) = two.open(&next) else { panic!("it asks again") };
        let Ok(Opened::Answer(proof, None)) = one.open(&ask) else { panic!("it answers") };
        two.open(&proof).unwrap();
        assert_eq!(two.open(&whole(&mut one, b"z")), message(b"z"));
    }

    #[test]
    fn keys_are_installed_used_and_retired_without_a_moment_of_deafness() {
        let (mut one, mut two) = pair(&[1]);
        let both_hear = |one: &mut Seal, two: &mut Seal| {
            let (to_two, to_one) = (whole(one, b"x"), whole(two, b"y"));
            assert_eq!((two.open(&to_two), one.open(&to_one)), (message(b"x"), message(b"y")));
        };
        // Install at both, use at both, retire at both; each step at one before the other.
        for ring in [&[1, 2][..], &[2, 1], &[2]] {
            one.replace(of_test(ring));
            both_hear(&mut one, &mut two);
            two.replace(of_test(ring));
            both_hear(&mut one, &mut two);
        }
        let late = whole(&mut seal(&[1], "a", 3), b"z");
        assert_eq!(two.open(&late), Err(Dropped::UnknownKey), "a retired key opens nothing");
    }

    #[test]
    fn numbers_go_on_when_a_key_seals_again() {
        let (mut one, mut two) = pair(&[1, 2]);
        let first = whole(&mut one, b"x");
        one.replace(of_test(&[2, 1]));
        one.replace(of_test(&[1, 2]));
        let second = whole(&mut one, b"x");
        assert!(first != second && two.open(&first).is_ok() && two.open(&second).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut one = seal(&[1], "a", 1);
        for n in 0..PROCESSES_MAX + 10 {
            let mut process = [0xaa; PROCESS_LEN];
            process[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let mut other = Seal::new(of_test(&[1]), "a".to_owned(), process);
            meet(&mut other, &mut one);
        }
        assert_eq!(one.heard.len(), PROCESSES_MAX);
        for n in 0..2 * ASKED_MAX {
            let mut process = [0xbb; PROCESS_LEN];
            process[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let sealed = whole(&mut Seal::new(of_test(&[1]), "a".to_owned(), process), b"x");
            one.open(&sealed).unwrap();
            assert!(one.asked.len() <= ASKED_MAX);
        }
    }

    proptest! {
        #[test]
        fn junk_changes_nothing(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut one = seal(&[1], "a", 1);
            prop_assert!(one.open(&junk).is_err());
            prop_assert!(one.heard.is_empty() && one.asked.is_empty());
        }

        #[test]
        fn a_datagram_with_one_bit_changed_is_dropped(at in 0usize..OVERHEAD + 5, bit in 0u8..8) {
            let (mut one, mut two) = pair(&[1]);
            let mut sealed = whole(&mut one, b"hello");
            sealed[at] ^= 1 << bit;
            prop_assert!(two.open(&sealed).is_err());
        }

        #[test]
        fn a_message_of_any_length_arrives_in_any_order_of_its_datagrams(
            length in 0usize..20_000,
            longest in 512usize..2_000,
            order in any::<prop::sample::Index>(),
        ) {
            let (mut one, mut two) = pair(&[1]);
            let sent: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut datagrams = one.seal(&sent, longest);
            prop_assert!(datagrams.iter().all(|datagram| datagram.len() <= longest));
            let from = order.index(datagrams.len());
            datagrams.rotate_left(from);
            let (last, before) = datagrams.split_last().unwrap();
            for datagram in before {
                prop_assert_eq!(two.open(datagram), Ok(Opened::Nothing));
            }
            prop_assert_eq!(two.open(last), Ok(Opened::Message(sent)));
        }
    }
}
