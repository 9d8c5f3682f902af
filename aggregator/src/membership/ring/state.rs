//! The ring that aggregators hand to each other: keys, what they are used for, and a version. Pure.

use std::{cmp::Ordering, time::Duration};

use starling_proto::{
    hex,
    v1::{self, GossipSealing},
};

use super::keyring::{KEYS_MAX, Key, KeyId, Keyring};

/// How long a first ring waits for somebody who has one, when not everybody says that there is none. Those that nobody can
/// reach then have one of their own; what becomes of two is said at [`Ring::order`].
const NO_RING_AFTER: Duration = Duration::from_secs(10);

/// What is sealed, and what is believed. The order of the path from open to sealed gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sealing {
    /// Sends open datagrams, believes open and sealed ones.
    Open,
    /// Sends sealed datagrams, believes open and sealed ones.
    Send,
    /// Sends sealed datagrams, believes no others.
    Require,
}

impl Sealing {
    const ALL: [Self; 3] = [Self::Open, Self::Send, Self::Require];

    /// For people, in the file and in gossip.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Send => "send",
            Self::Require => "require",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sealing| sealing.as_str() == word)
    }

    /// As it travels.
    pub(crate) const fn to_wire(self) -> GossipSealing {
        match self {
            Self::Open => GossipSealing::Open,
            Self::Send => GossipSealing::Send,
            Self::Require => GossipSealing::Require,
        }
    }

    /// `None` when it is not said, or by a word that is not known here.
    pub(crate) fn of_wire(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|sealing| sealing.to_wire() as i32 == number)
    }
}

/// One step of a change. Taken by all members before the next is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new key, which opens.
    Install,
    /// This key seals.
    Use(KeyId),
    /// This key is taken away.
    Retire(KeyId),
    /// Something else is sealed, or believed.
    Seal(Sealing),
}

/// The keys, what they are used for, and how often that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ring {
    version: u64,
    made_unix_ms: u64,
    sealing: Sealing,
    keys: Keyring,
}

impl Ring {
    /// The first ring of a cluster, with a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn first(now_unix_ms: u64, sealing: Sealing) -> Result<Self, String> {
        let keys = Keyring::of(vec![Key::random()?])?;
        Ok(Self { version: 1, made_unix_ms: now_unix_ms, sealing, keys })
    }

    /// The keys of a file, for those who have none. Every other ring is newer.
    pub(super) const fn of_file(keys: Keyring) -> Self {
        Self { version: 0, made_unix_ms: 0, sealing: Sealing::Require, keys }
    }

    /// The keys.
    pub(super) const fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// What is sealed, and what is believed.
    pub(crate) const fn sealing(&self) -> Sealing {
        self.sealing
    }

    /// Which of two stays: the one of the greater version, then the one made earlier, then the one whose keys are smaller.
    /// The same at everybody, whatever is heard first. So of two steps that were taken at once in two places one is lost, and
    /// whoever took it sees that in the list; a new aggregator that made a ring because it reached nobody takes over the one
    /// that is in use; and of two clusters that become one the ring with more steps stays.
    fn order(&self, other: &Self) -> Ordering {
        (self.version.cmp(&other.version))
            .then_with(|| other.made_unix_ms.cmp(&self.made_unix_ms))
            .then_with(|| self.sealing.cmp(&other.sealing))
            .then_with(|| other.keys.text().cmp(&self.keys.text()))
    }

    /// Whether `other` is to take the place of this one.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self.order(other).is_lt()
    }

    /// The ring after a step, with the name of a key that was made.
    ///
    /// # Errors
    /// Why the step cannot be, whatever others have.
    pub(crate) fn step(&self, step: Step) -> Result<(Self, Option<KeyId>), String> {
        let mut keys = self.keys.keys().to_vec();
        let (mut sealing, mut made) = (self.sealing, None);
        let place = |id: KeyId| {
            let known = self.keys.names();
            let at = self.keys.keys().iter().position(|key| key.id == id);
            at.ok_or_else(|| format!("there is no key {}: those of the ring are {known}", hex::encode(&id)))
        };
        match step {
            Step::Install if keys.len() >= KEYS_MAX => {
                return Err(format!("there are {KEYS_MAX} keys already: retire one first"));
            }
            Step::Install => {
                let key = Key::random()?;
                made = Some(key.id);
                keys.push(key);
            }
            Step::Use(id) => match place(id)? {
                0 => return Err(format!("{} seals already", hex::encode(&id))),
                at => keys[..=at].rotate_right(1),
            },
            Step::Retire(id) => match place(id)? {
                0 => return Err(format!("{} is the one that seals: use another one first", hex::encode(&id))),
                at => drop(keys.remove(at)),
            },
            Step::Seal(wanted) => match (sealing, wanted) {
                (from, to) if from == to => return Err(format!("gossip is at \"{}\" already", to.as_str())),
                (Sealing::Open, Sealing::Require) | (Sealing::Require, Sealing::Open) => {
                    return Err("between \"open\" and \"require\" stands \"send\": seal send first".to_owned());
                }
                (_, to) => sealing = to,
            },
        }
        let version = self.version.max(1).checked_add(1).ok_or("the version of the ring cannot grow any more")?;
        let ring = Self { version, made_unix_ms: self.made_unix_ms, sealing, keys: Keyring::of(keys)? };
        Ok((ring, made))
    }

    /// What others are told of it.
    pub(crate) fn status(&self, from_file: bool) -> RingStatus {
        let ids = self.keys.keys().iter().map(|key| key.id).collect();
        RingStatus { version: self.version, sealing: self.sealing, ids, from_file }
    }

    /// The file in the folder for state.
    pub(super) fn text(&self) -> String {
        format!(
            "# Keys of gossip as aggregators hand them to each other; the first seals. Written by the aggregator: change \
             them by `starling gossip keys`.\nversion {}\nmade_unix_ms {}\nsealing {}\n{}",
            self.version,
            self.made_unix_ms,
            self.sealing.as_str(),
            self.keys.text()
        )
    }

    /// Reads that file.
    ///
    /// # Errors
    /// What is wrong with it, without a key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map(str::trim).ok_or_else(|| format!("has no line \"{name}\""))
        };
        let number =
            |name: &str| field(name)?.parse::<u64>().map_err(|_| format!("the line \"{name}\" has no whole number"));
        let keys: Vec<&str> = text.lines().filter(|line| !line.contains(' ')).collect();
        Ok(Self {
            version: number("version")?,
            made_unix_ms: number("made_unix_ms")?,
            sealing: Sealing::parse(field("sealing")?).ok_or("the line \"sealing\" has no known word")?,
            keys: Keyring::parse(&keys.join("\n"))?,
        })
    }

    /// As it travels, over mutual TLS between aggregators.
    pub(crate) fn to_wire(&self) -> v1::GossipRing {
        v1::GossipRing {
            version: self.version,
            made_unix_ms: self.made_unix_ms,
            sealing: self.sealing.to_wire() as i32,
            keys: self.keys.keys().iter().map(|key| key.bytes.to_vec().into()).collect(),
        }
    }

    /// Reads one that came from another aggregator.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of_wire(ring: &v1::GossipRing) -> Result<Self, String> {
        let sealing = Sealing::of_wire(ring.sealing).ok_or("its sealing is not known here")?;
        let key = |bytes: &bytes::Bytes| <[u8; 32]>::try_from(&bytes[..]).ok().map(Key::of);
        // One more than is taken says that there are too many.
        let keys: Option<Vec<Key>> = ring.keys.iter().take(KEYS_MAX + 1).map(key).collect();
        let keys = Keyring::of(keys.ok_or("a key has not 32 bytes")?)?;
        Ok(Self { version: ring.version, made_unix_ms: ring.made_unix_ms, sealing, keys })
    }
}

/// What an aggregator says of its ring to everybody who may know it: no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RingStatus {
    /// Of the ring.
    pub(crate) version: u64,
    /// What is sealed, and what is believed.
    pub(crate) sealing: Sealing,
    /// Names of the keys, the one that seals first.
    pub(crate) ids: Vec<KeyId>,
    /// They stand in a file of that host.
    pub(crate) from_file: bool,
}

impl RingStatus {
    /// As a fact of gossip, 70 bytes at most: "version[f] sealing id,id".
    pub(crate) fn fact(&self) -> String {
        let ids: Vec<String> = self.ids.iter().map(|id| hex::encode(id)).collect();
        let file = if self.from_file { "f" } else { "" };
        format!("{}{file} {} {}", self.version, self.sealing.as_str(), ids.join(","))
    }

    /// Reads that fact; `None` when it cannot be read.
    pub(crate) fn of_fact(fact: &str) -> Option<Self> {
        let mut words = fact.split(' ');
        let (version, sealing, ids) = (words.next()?, words.next()?, words.next()?);
        let (number, from_file) = version.strip_suffix('f').map_or((version, false), |number| (number, true));
        let ids: Option<Vec<KeyId>> = ids.split(',').map(hex::decode_array).collect();
        let ids = ids.filter(|ids| ids.len() <= KEYS_MAX)?;
        Some(Self { version: number.parse().ok()?, sealing: Sealing::parse(sealing)?, ids, from_file })
    }

    /// As it travels.
    pub(crate) fn to_wire(&self) -> v1::GossipRingStatus {
        v1::GossipRingStatus {
            version: self.version,
            sealing: self.sealing.to_wire() as i32,
            key_ids: self.ids.iter().map(|id| id.to_vec().into()).collect(),
            from_file: self.from_file,
        }
    }

    /// Reads what another aggregator says; `None` when it cannot be read.
    pub(crate) fn of_wire(status: &v1::GossipRingStatus) -> Option<Self> {
        let ids: Option<Vec<KeyId>> =
            status.key_ids.iter().take(KEYS_MAX).map(|id| KeyId::try_from(&id[..]).ok()).collect();
        let sealing = Sealing::of_wire(status.sealing)?;
        Some(Self { version: status.version, sealing, ids: ids?, from_file: status.from_file })
    }
}

/// What somebody answered who was asked for a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The aggregator of this name has none either.
    HasNone(String),
    /// No answer.
    Nothing,
}

/// Whether `me`, to whom nobody has handed a ring, makes the first one: at once when everybody says that there is none and
/// it has the first name of all, else after [`NO_RING_AFTER`].
pub(crate) fn may_make(me: &str, answers: &[Answered], waited: Duration) -> bool {
    let is_mine = answers.iter().all(|answer| matches!(answer, Answered::HasNone(name) if me <= name.as_str()));
    is_mine || waited >= NO_RING_AFTER
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::of_test, *};

    /// Any ring, with keys named by numbers.
    fn any_ring() -> impl Strategy<Value = Ring> {
        let keys =
            prop::collection::btree_set(0u8..9, 1..=KEYS_MAX).prop_map(|set| set.into_iter().collect::<Vec<_>>());
        (0u64..4, 0u64..3, 0usize..3, keys.prop_shuffle()).prop_map(|(version, made_unix_ms, sealing, keys)| Ring {
            version,
            made_unix_ms,
            sealing: Sealing::ALL[sealing],
            keys: of_test(&keys),
        })
    }

    fn newer<'a>(a: &'a Ring, b: &'a Ring) -> &'a Ring {
        if a.is_before(b) { b } else { a }
    }

    proptest! {
        #[test]
        fn the_same_ring_stays_whatever_is_heard_first(a in any_ring(), b in any_ring(), c in any_ring()) {
            prop_assert_eq!(newer(&a, &b), newer(&b, &a));
            prop_assert_eq!(newer(newer(&a, &b), &c), newer(&a, newer(&b, &c)));
            prop_assert_eq!(newer(&a, &a), &a);
        }

        #[test]
        fn a_ring_comes_back_as_it_went(ring in any_ring(), from_file: bool) {
            prop_assert_eq!(Ring::parse(&ring.text()), Ok(ring.clone()));
            prop_assert_eq!(Ring::of_wire(&ring.to_wire()), Ok(ring.clone()));
            let status = ring.status(from_file);
            prop_assert!(status.fact().len() <= 70);
            prop_assert_eq!(RingStatus::of_fact(&status.fact()), Some(status.clone()));
            prop_assert_eq!(RingStatus::of_wire(&status.to_wire()), Some(status));
        }

        #[test]
        fn texts_that_are_no_fact_and_no_ring_are_refused(text in ".{0,80}") {
            let _ = RingStatus::of_fact(&text);
            prop_assert!(Ring::parse(&text).is_err());
        }

        #[test]
        fn every_step_makes_a_newer_ring_that_opens_what_the_former_sealed_unless_it_retires(ring in any_ring(), id in 0u8..9, kind in 0u8..4) {
            let id = of_test(&[id]).primary().id;
            let step = [Step::Install, Step::Use(id), Step::Retire(id), Step::Seal(Sealing::Send)][usize::from(kind)];
            if let Ok((after, _)) = ring.step(step) {
                prop_assert!(ring.is_before(&after));
                prop_assert!(after.keys.get(ring.keys.primary().id).is_some());
            }
        }
    }

    #[test]
    fn steps_that_cannot_be_say_why() {
        let ring = Ring { version: 1, made_unix_ms: 0, sealing: Sealing::Open, keys: of_test(&[1, 2]) };
        let [first, second, none] = [1, 2, 3].map(|key| of_test(&[key]).primary().id);
        for (step, wanted) in [
            (Step::Use(first), "seals already"),
            (Step::Use(none), "there is no key"),
            (Step::Retire(first), "is the one that seals"),
            (Step::Seal(Sealing::Open), "is at \"open\" already"),
            (Step::Seal(Sealing::Require), "seal send first"),
        ] {
            let error = ring.step(step).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        let (used, _) = ring.step(Step::Use(second)).unwrap();
        assert_eq!(used.status(false).ids, [second, first]);
        let full = Ring { keys: of_test(&[1, 2, 3, 4]), ..ring };
        assert!(full.step(Step::Install).unwrap_err().contains("retire one first"));
    }

    #[test]
    fn one_of_those_who_have_no_ring_makes_it() {
        let none = |name: &str| Answered::HasNone(name.to_owned());
        let soon = Duration::from_secs(1);
        assert!(may_make("a", &[], soon) && may_make("a", &[none("b"), none("a")], soon));
        assert!(!may_make("b", &[none("a")], soon), "the first by name does");
        assert!(!may_make("a", &[none("b"), Answered::Nothing], soon), "that one may have it");
        assert!(may_make("b", &[none("a"), Answered::Nothing], NO_RING_AFTER));
    }
}
