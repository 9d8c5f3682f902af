//! The last seconds of a view, one row a second, on a grid without holes in its index.

use std::collections::VecDeque;

use starling_proto::live;

/// One second.
#[derive(Debug, Clone)]
struct Row {
    /// In the order of the columns; shorter rows end in `NaN`.
    point: Box<[f32]>,
    /// Nodes in it.
    reporting: u32,
    /// How often it was corrected.
    revision: u32,
}

/// What an insertion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// The newest second.
    New,
    /// An older second that changed or came late, for the n-th time.
    Corrected(u32),
    /// Nothing: known already, holds fewer nodes than what is known, or older than the grid.
    Nothing,
}

/// A ring of seconds. Holds at most its capacity; a newer second pushes the oldest out.
#[derive(Debug)]
pub(crate) struct Grid {
    first: u32,
    rows: VecDeque<Option<Row>>,
    capacity: u32,
}

impl Grid {
    /// An empty grid of `capacity` seconds.
    pub(crate) fn new(capacity: u32) -> Self {
        Self { first: 0, rows: VecDeque::new(), capacity }
    }

    /// Newest second, if any.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.len().checked_sub(1).map(|last| self.first + last)
    }

    fn len(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// Takes in a second.
    ///
    /// A second that is known is replaced only by one that differs and holds at least as many nodes: after a change of
    /// the aggregator the new one may still be collecting what the old one had.
    pub(crate) fn insert(&mut self, tick: u32, point: &[f32], reporting: u32) -> Inserted {
        let row = Row { point: point.into(), reporting, revision: 0 };
        let Some(newest) = self.newest() else {
            self.first = tick;
            self.rows.push_back(Some(row));
            return Inserted::New;
        };
        if tick > newest {
            if tick - newest >= self.capacity {
                self.rows.clear();
                self.first = tick;
            } else {
                for _ in newest + 1..tick {
                    self.push(None);
                }
            }
            self.push(Some(row));
            return Inserted::New;
        }
        if tick < self.first {
            return self.insert_before(tick, row);
        }
        let Some(slot) = self.rows.get_mut((tick - self.first) as usize) else { return Inserted::Nothing };
        match slot {
            None => {
                *slot = Some(Row { revision: 1, ..row });
                Inserted::Corrected(1)
            }
            Some(known) if reporting < known.reporting => Inserted::Nothing,
            Some(known) if reporting == known.reporting && same_bits(&known.point, &row.point) => Inserted::Nothing,
            Some(known) => {
                let revision = known.revision + 1;
                *known = Row { revision, ..row };
                Inserted::Corrected(revision)
            }
        }
    }

    /// A second before the first one, as long as the whole fits.
    fn insert_before(&mut self, tick: u32, row: Row) -> Inserted {
        let Some(newest) = self.newest() else { return Inserted::Nothing };
        if newest - tick >= self.capacity {
            return Inserted::Nothing;
        }
        for _ in tick + 1..self.first {
            self.rows.push_front(None);
        }
        self.rows.push_front(Some(Row { revision: 1, ..row }));
        self.first = tick;
        Inserted::Corrected(1)
    }

    fn push(&mut self, row: Option<Row>) {
        if self.len() == self.capacity {
            self.rows.pop_front();
            self.first += 1;
        }
        self.rows.push_back(row);
    }

    /// Values of one column over `from..=newest`, oldest first, with their seconds. `NaN` where there is none.
    pub(crate) fn column(&self, index: usize, from: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        (self.first..).zip(&self.rows).filter(move |(tick, _)| *tick >= from).map(move |(tick, row)| {
            (tick, row.as_ref().and_then(|row| row.point.get(index)).copied().unwrap_or(f32::NAN))
        })
    }

    /// First second of the grid; `None` when it is empty.
    pub(crate) fn first(&self) -> Option<u32> {
        (!self.rows.is_empty()).then_some(self.first)
    }

    /// All of it as columns.
    pub(crate) fn history(&self, names: &[String]) -> live::History {
        let columns = names
            .iter()
            .enumerate()
            .map(|(index, name)| live::Column {
                name: name.clone(),
                values: self.column(index, self.first).map(|(_, value)| value).collect(),
            })
            .collect();
        live::History { first_tick: self.first, columns }
    }
}

/// Equality under which `NaN` equals itself.
fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(grid: &Grid) -> Vec<(u32, Option<f32>)> {
        grid.column(0, 0).map(|(tick, value)| (tick, (!value.is_nan()).then_some(value))).collect()
    }

    #[test]
    fn missing_seconds_stay_missing() {
        let mut grid = Grid::new(10);
        assert_eq!(grid.insert(100, &[1.0], 1), Inserted::New);
        assert_eq!(grid.insert(103, &[4.0], 1), Inserted::New);
        assert_eq!(values(&grid), [(100, Some(1.0)), (101, None), (102, None), (103, Some(4.0))]);
        assert_eq!(grid.insert(102, &[3.0], 1), Inserted::Corrected(1), "a hole is filled");
        assert_eq!(grid.insert(98, &[0.5], 1), Inserted::Corrected(1), "older seconds fit in front");
        assert_eq!(values(&grid)[0], (98, Some(0.5)));
        assert_eq!(grid.insert(93, &[0.5], 1), Inserted::Nothing, "newest - 93 is beyond the capacity");
    }

    #[test]
    fn a_second_is_corrected_by_more_nodes_and_not_by_fewer() {
        let mut grid = Grid::new(10);
        grid.insert(100, &[f32::NAN], 3);
        assert_eq!(grid.insert(100, &[f32::NAN], 3), Inserted::Nothing);
        assert_eq!(grid.insert(100, &[1.0], 2), Inserted::Nothing);
        assert_eq!(grid.insert(100, &[2.0], 4), Inserted::Corrected(1));
        assert_eq!(grid.insert(100, &[2.5], 4), Inserted::Corrected(2));
    }

    #[test]
    fn the_ring_is_bounded() {
        let mut grid = Grid::new(3);
        for tick in 1..=10 {
            grid.insert(tick, &[tick as f32], 1);
        }
        assert_eq!(values(&grid), [(8, Some(8.0)), (9, Some(9.0)), (10, Some(10.0))]);
        grid.insert(1_000, &[1.0], 1);
        assert_eq!(values(&grid), [(1_000, Some(1.0))], "a long silence leaves nothing of before");
    }

    #[test]
    fn columns_that_came_later_are_empty_before() {
        let mut grid = Grid::new(10);
        grid.insert(1, &[1.0], 1);
        grid.insert(2, &[1.0, 2.0], 1);
        let history = grid.history(&["a".into(), "b".into()]);
        assert_eq!(history.first_tick, 1);
        assert!(history.columns[1].values[0].is_nan());
        assert_eq!(history.columns[1].values[1], 2.0);
    }
}
