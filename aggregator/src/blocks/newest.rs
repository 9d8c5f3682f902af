//! The newest rows of an open block in memory beside the log that has them: questions about the last minute read no log.

use std::{collections::VecDeque, sync::Arc};

/// Rows that follow each other, as they are encoded.
#[derive(Debug, Clone, Default)]
pub(super) struct NewestRows {
    /// Number of the row after the last.
    end: usize,
    rows: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl NewestRows {
    /// Adds row `number`; when it does not follow the last one, those before go.
    pub(super) fn push(&mut self, number: usize, bytes: &Arc<[u8]>) {
        if number != self.end {
            self.keep(0);
        }
        self.end = number + 1;
        self.bytes += cost(bytes);
        self.rows.push_back(bytes.clone());
    }

    /// Drops the oldest beyond `most`.
    pub(super) fn keep(&mut self, most: usize) {
        while self.rows.len() > most {
            self.bytes -= self.rows.pop_front().as_deref().map_or(0, cost);
        }
        if self.rows.is_empty() {
            self.rows.shrink_to_fit();
        }
    }

    /// Row `number`, if it is here.
    pub(super) fn get(&self, number: usize) -> Option<&Arc<[u8]>> {
        self.rows.get(number.checked_sub(self.end - self.rows.len())?)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// What they take in memory.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// With what the allocator, the counts of the [`Arc`] and its place here add.
const fn cost(bytes: &[u8]) -> usize {
    bytes.len() + 32 + size_of::<Arc<[u8]>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_each_other_within_a_number() {
        let row = |at: usize| Arc::<[u8]>::from(vec![at as u8; at]);
        let mut newest = NewestRows::default();
        let held = |newest: &NewestRows| (0..40).filter(|at| newest.get(*at).is_some()).collect::<Vec<_>>();
        for at in 3..9 {
            newest.push(at, &row(at));
            newest.keep(4);
        }
        assert_eq!((held(&newest), newest.len()), (vec![5, 6, 7, 8], 4));
        assert_eq!(newest.bytes(), (5..9).map(|at| cost(&row(at))).sum::<usize>());
        newest.push(20, &row(20));
        assert_eq!((held(&newest), newest.bytes()), (vec![20], cost(&row(20))), "one is missing before it");
        newest.keep(0);
        assert_eq!((held(&newest), newest.bytes()), (vec![], 0));
        newest.push(21, &row(21));
        assert_eq!(newest.get(21).unwrap().len(), 21);
    }
}
