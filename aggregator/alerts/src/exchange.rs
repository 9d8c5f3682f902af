//! What one aggregator gives another of its book: what is new at once, and everything where digests differ.

use super::{Book, Record};

/// So many comparisons in a row that differ, before all records are asked for.
const DIFFER: u32 = 2;

/// What is given in one go; also when there is nothing new, for its digest.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The records.
    pub records: Vec<Record>,
    /// [`Book::digest`] with them.
    pub digest: u64,
    revision: u64,
}

/// With one other aggregator, from its first message on.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    given: u64,
    differ: u32,
}

impl Exchange {
    /// What is to be given now.
    #[must_use]
    pub fn offer(&self, book: &Book) -> Offer {
        Offer { records: book.since(self.given), digest: book.digest(), revision: book.revision() }
    }

    /// The other one took all of `offer`, and has this digest now. Returns whether all of its records are to be asked for.
    pub const fn taken(&mut self, offer: &Offer, digest: u64) -> bool {
        self.given = offer.revision;
        self.differ = if digest == offer.digest { 0 } else { self.differ + 1 };
        self.differ >= DIFFER
    }

    /// All of its records came. What is then still different it lacks: everything is given again.
    pub const fn asked(&mut self) {
        *self = Self { given: 0, differ: 0 };
    }

    /// The revision of the book up to which the other one has everything.
    #[must_use]
    pub const fn given(&self) -> u64 {
        self.given
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::v1;

    use super::*;
    use crate::EpisodeId;

    const NOW: u64 = 1_800_000_000_000;

    fn told(episode: u64) -> Record {
        Record::Delivery(v1::AlertDelivery {
            notifier: "mail".to_owned(),
            episode_id: EpisodeId(episode).to_string(),
            sequence: 1,
            ..v1::AlertDelivery::default()
        })
    }

    /// Gives what `exchange` has for `to`; what was asked for comes too.
    fn give(exchange: &mut Exchange, from: &mut Book, to: &mut Book) -> usize {
        let offer = exchange.offer(from);
        let count = offer.records.len();
        for record in offer.records.clone() {
            to.put(record, NOW);
        }
        if exchange.taken(&offer, to.digest()) {
            for record in to.since(0) {
                from.put(record, NOW);
            }
            exchange.asked();
        }
        count
    }

    #[test]
    fn what_is_new_is_given_once() {
        let (mut a, mut b, mut exchange) = (Book::default(), Book::default(), Exchange::default());
        a.put(told(1), NOW);
        assert_eq!(give(&mut exchange, &mut a, &mut b), 1);
        assert_eq!((exchange.given(), give(&mut exchange, &mut a, &mut b)), (a.revision(), 0));
        a.put(told(2), NOW);
        // What is not taken is given again.
        drop(exchange.offer(&a));
        assert_eq!(give(&mut exchange, &mut a, &mut b), 1);
        assert_eq!(a.digest(), b.digest());
    }

    proptest! {
        /// The other one loses everything, or has more: they are equal after a few comparisons.
        #[test]
        fn what_differs_is_found(a in prop::collection::vec(1..50_u64, 0..20), b in prop::collection::vec(1..50_u64, 0..20)) {
            let (mut one, mut other, mut exchange) = (Book::default(), Book::default(), Exchange::default());
            a.into_iter().for_each(|at| drop(one.put(told(at), NOW)));
            give(&mut exchange, &mut one, &mut other);
            let mut other = Book::default();
            b.into_iter().for_each(|at| drop(other.put(told(at), NOW)));
            for _ in 0..=DIFFER {
                give(&mut exchange, &mut one, &mut other);
            }
            prop_assert_eq!(one.digest(), other.digest());
        }
    }
}
