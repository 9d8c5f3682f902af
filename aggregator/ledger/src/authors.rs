//! Who answers for a log, and how much one author may send.
//!
//! An author is an aggregator by its name: whoever starts a hundred processes has the quota of one. A log whose author
//! never spoke here is charged to whoever brought it first.

use std::{borrow::Cow, collections::BTreeMap};

use starling_proto::ids::WriterId;

use super::limits::{AUTHOR_BYTES_PER_SECOND, AUTHOR_ENTRIES_BURST, AUTHOR_ENTRIES_PER_SECOND, AUTHORS_MAX};

/// Who answers for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Author {
    /// Name of the aggregator. Without one, as of a log that was read from the store, the writer speaks for itself.
    name: String,
    /// It spoke here itself. Else the name is that of whoever brought the log.
    first_hand: bool,
}

impl Author {
    /// Of a log of which nothing is known but its writer.
    pub(super) const UNKNOWN: Self = Self { name: String::new(), first_hand: false };

    /// Name of the aggregator; empty while none is known.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The author spoke here itself, under this name.
    pub(super) const fn is_first_hand(&self) -> bool {
        self.first_hand
    }

    /// Entries of the log of `writer` came from the process `from`, which is called `name`.
    pub(super) fn came(&mut self, writer: WriterId, from: WriterId, name: &str) {
        let first_hand = from == writer;
        if !name.is_empty() && !self.first_hand && (first_hand || self.name.is_empty()) {
            (self.name, self.first_hand) = (name.to_owned(), first_hand);
        }
    }

    /// To whose account the log of `writer` goes: its name, or what it is called while none is known.
    pub(super) fn account(&self, writer: WriterId) -> Cow<'_, str> {
        if self.name.is_empty() { Cow::Owned(writer.to_string()) } else { Cow::Borrowed(&self.name) }
    }
}

/// What is left of an allowance that comes back with time.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    left: u64,
    burst: u64,
    per_second: u64,
}

impl Tokens {
    const fn full(burst: u64, per_second: u64) -> Self {
        Self { left: burst, burst, per_second }
    }

    fn gain(&mut self, passed_ms: u64) {
        let gained = self.per_second.saturating_mul(passed_ms) / 1000;
        self.left = self.left.saturating_add(gained).min(self.burst);
    }
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    entries: Tokens,
    bytes: Tokens,
    at_ms: u64,
}

/// What each author may still send now. At most [`AUTHORS_MAX`] accounts; beyond it the one that was used longest ago is
/// forgotten, and begins again with all it may.
#[derive(Debug, Default)]
pub(super) struct Allowances(BTreeMap<String, Allowance>);

impl Allowances {
    /// Takes entries of an account, of `bytes` together. `burst_bytes`: what it may send at once.
    ///
    /// # Errors
    /// What is used up, and its limit a second.
    pub(super) fn take(
        &mut self,
        now_ms: u64,
        account: &str,
        (entries, bytes): (u64, u64),
        burst_bytes: u64,
    ) -> Result<(), (&'static str, usize)> {
        if !self.0.contains_key(account) {
            if self.0.len() >= AUTHORS_MAX
                && let Some(oldest) = self.0.iter().min_by_key(|(_, one)| one.at_ms).map(|(name, _)| name.clone())
            {
                self.0.remove(&oldest);
            }
            let entries = Tokens::full(AUTHOR_ENTRIES_BURST, AUTHOR_ENTRIES_PER_SECOND);
            let bytes = Tokens::full(burst_bytes, AUTHOR_BYTES_PER_SECOND);
            self.0.insert(account.to_owned(), Allowance { entries, bytes, at_ms: now_ms });
        }
        let Some(allowance) = self.0.get_mut(account) else { return Ok(()) };
        // A clock that was set back has let no time pass, and what it counts from then on does. Else whole tokens only: what
        // is less than one waits for the next time.
        let passed_ms = now_ms.saturating_sub(allowance.at_ms);
        if passed_ms >= 10 || now_ms < allowance.at_ms {
            allowance.entries.gain(passed_ms);
            allowance.bytes.gain(passed_ms);
            allowance.at_ms = now_ms;
        }
        if allowance.entries.left < entries {
            return Err(("entries a second", AUTHOR_ENTRIES_PER_SECOND as usize));
        }
        if allowance.bytes.left < bytes {
            return Err(("bytes a second", AUTHOR_BYTES_PER_SECOND as usize));
        }
        allowance.entries.left -= entries;
        allowance.bytes.left -= bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spoke_itself_keeps_its_name() {
        let (author, other) = (WriterId::new([1; 16]), WriterId::new([2; 16]));
        let mut known = Author::UNKNOWN;
        assert_eq!(known.account(author), author.to_string());
        known.came(author, other, "brings");
        assert_eq!((known.name(), known.is_first_hand()), ("brings", false));
        known.came(author, WriterId::new([3; 16]), "brings-too");
        assert_eq!(known.name(), "brings", "who came first answers");
        known.came(author, author, "wrote");
        assert_eq!((&*known.account(author), known.is_first_hand()), ("wrote", true));
        known.came(author, other, "brings");
        assert_eq!(known.name(), "wrote");
    }

    #[test]
    fn an_allowance_comes_back_with_time_and_belongs_to_one_account() {
        let mut all = Allowances::default();
        let mut take = |now_ms, account: &str, entries| all.take(now_ms, account, (entries, 0), 1_000);
        assert_eq!(take(0, "a", AUTHOR_ENTRIES_BURST), Ok(()));
        assert_eq!(take(5, "a", 1), Err(("entries a second", AUTHOR_ENTRIES_PER_SECOND as usize)));
        assert_eq!(take(5, "b", AUTHOR_ENTRIES_BURST), Ok(()), "another one's volume costs it nothing");
        assert_eq!(take(1_000, "a", AUTHOR_ENTRIES_PER_SECOND), Ok(()));
        assert!(take(1_000, "a", 1).is_err());
        assert_eq!(take(900, "a", 1), Err(("entries a second", AUTHOR_ENTRIES_PER_SECOND as usize)));
        assert_eq!(take(1_900, "a", AUTHOR_ENTRIES_PER_SECOND), Ok(()), "a clock that was set back goes on");
        assert!(all.take(2_000, "a", (1, 1_001), 1_000).is_err_and(|(what, _)| what == "bytes a second"));
        for n in 0..2 * AUTHORS_MAX as u64 {
            all.take(3_000 + n, &n.to_string(), (1, 1), 1_000).unwrap();
        }
        assert_eq!(all.0.len(), AUTHORS_MAX);
    }
}
