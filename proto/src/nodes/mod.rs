//! The node table by difference: who a node is is sent once, what it measured each second in columns of small numbers.
//!
//! - [`Entry`] and [`Row`]: one node, as both ends keep it;
//! - `columns`: rows to `v1::NodeColumns` and back;
//! - [`Mirror`]: the table of a sender as its reader holds it, within named bounds.

mod columns;
mod entry;
mod faults;
mod mirror;

pub use columns::{Writer, rows};
pub use entry::{Entry, Origin, SILENT_REASON_LEN_MAX};
pub use faults::taken_faults;
pub use mirror::{Applied, Mirror, MirroredNode, Most};

use crate::v1::NodeState;

/// Seconds without a frame after which a node is called silent.
pub const SILENT_AFTER: u32 = 3;
/// Cores kept of a node.
pub const BUSIEST: usize = 4;

/// Why an update was refused. What was known stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// It builds on a table that is not held: something between was lost.
    #[error("the update of the node table builds on generation {generation:016x}, which is not held")]
    Gap {
        /// The generation of the update.
        generation: u64,
    },
    /// A column has neither no place nor one for each node.
    #[error("column {column} of the node table has {found} places, wanted {wanted}")]
    Columns {
        /// Name of the column.
        column: &'static str,
        /// Places of it.
        found: usize,
        /// Nodes times places of each.
        wanted: usize,
    },
}

/// A measured number of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Busy share of all cores, 0 to 1.
    Cpu,
    /// Memory in use, 0 to 1.
    Memory,
    /// Requests per second.
    Requests,
    /// Failed requests per second.
    Errors,
    /// 99th percentile of latency, microseconds.
    P99,
    /// Load average of 1 minute.
    Load1,
    /// TCP connections.
    Connections,
}

impl Measure {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 7] =
        [Self::Cpu, Self::Memory, Self::Requests, Self::Errors, Self::P99, Self::Load1, Self::Connections];

    /// Steps of the fixed point in one unit: what the series behind it has, for latency a tenth of a microsecond.
    const fn steps(self) -> f64 {
        match self {
            Self::Cpu | Self::Memory => 10_000.0,
            Self::Requests | Self::Errors | Self::Connections => 1.0,
            Self::P99 => 10.0,
            Self::Load1 => 100.0,
        }
    }

    /// Largest value, in steps: a share is at most 1.
    const fn most(self) -> u64 {
        match self {
            Self::Cpu | Self::Memory => 10_000,
            // 2^53: exact as a float.
            _ => 1 << 53,
        }
    }
}

/// The latest second of a node. Small and without pointers: tables are copied by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    /// The second, Unix seconds. 0 before the first one.
    pub tick: u32,
    /// Milliseconds from the end of the second to the arrival of its frame. 0 when unknown.
    pub delay_ms: u32,
    /// By [`Measure`]: 0 for absent, else steps + 1, as on the wire.
    cells: [u64; Measure::ALL.len()],
    /// 0 for none, else number of the core * 16384 + ten-thousandths + 1; busiest first.
    busiest: [u32; BUSIEST],
}

impl Row {
    /// A second without any number.
    #[must_use]
    pub const fn at(tick: u32, delay_ms: u32) -> Self {
        Self { tick, delay_ms, cells: [0; Measure::ALL.len()], busiest: [0; BUSIEST] }
    }

    /// A number of this second; `None` when the node did not report it.
    #[must_use]
    pub fn value(&self, measure: Measure) -> Option<f64> {
        let steps = self.cells[measure as usize].checked_sub(1)?;
        Some(steps as f64 / measure.steps())
    }

    /// Sets a number; rounds to the nearest step, negative ones become 0.
    pub fn set(&mut self, measure: Measure, value: Option<f64>) {
        self.cells[measure as usize] = value.map_or(0, |value| {
            // `as` saturates and maps NaN to 0 (Rust reference, numeric cast).
            ((value * measure.steps()).round() as u64).min(measure.most()) + 1
        });
    }

    /// The busiest cores, busiest first: number and busy share, 0 to 1.
    pub fn busiest(&self) -> impl Iterator<Item = (u32, f64)> + '_ {
        self.busiest
            .iter()
            .filter_map(|packed| packed.checked_sub(1))
            .map(|packed| (packed >> SHARE_BITS, f64::from((packed & SHARE_MASK).min(10_000)) / 10_000.0))
    }

    /// Takes in one core: kept when it is one of the busiest so far. Of equal ones the lower number is first.
    pub fn add_core(&mut self, core: u32, busy: f64) {
        let share = ((busy * 10_000.0).round() as u32).min(10_000);
        if core >= CORES {
            return;
        }
        let packed = (core << SHARE_BITS | share) + 1;
        let rank = |packed: u32| packed.checked_sub(1).map(|packed| (packed & SHARE_MASK, u32::MAX - packed));
        let Some(place) = self.busiest.iter().position(|held| rank(*held) < rank(packed)) else { return };
        self.busiest[place..].rotate_right(1);
        self.busiest[place] = packed;
    }
}

/// Bits of a busy share in ten-thousandths.
const SHARE_BITS: u32 = 14;
/// See [`SHARE_BITS`].
const SHARE_MASK: u32 = (1 << SHARE_BITS) - 1;
/// Core numbers that fit beside a share.
const CORES: u32 = 1 << (32 - SHARE_BITS - 1);

/// How a node is doing at second `tick` of the table.
#[must_use]
pub const fn state(entry: &Entry, row: &Row, tick: u32) -> NodeState {
    if entry.stopped {
        NodeState::Stopped
    } else if tick > row.tick.saturating_add(SILENT_AFTER) {
        NodeState::Silent
    } else {
        NodeState::Reporting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_of_their_series() {
        let mut row = Row::default();
        row.set(Measure::Cpu, Some(0.12345));
        row.set(Measure::Load1, Some(3.999));
        row.set(Measure::P99, Some(1_234.56));
        row.set(Measure::Memory, Some(7.0));
        row.set(Measure::Errors, Some(0.0));
        let values = Measure::ALL.map(|measure| row.value(measure));
        assert_eq!(values, [Some(0.1235), Some(1.0), None, Some(0.0), Some(1_234.6), Some(4.0), None]);
        row.set(Measure::Cpu, None);
        row.set(Measure::Load1, Some(f64::NAN));
        assert_eq!((row.value(Measure::Cpu), row.value(Measure::Load1)), (None, Some(0.0)));
    }

    #[test]
    fn the_busiest_cores_are_kept() {
        let mut row = Row::default();
        for (core, busy) in [(0, 0.0), (1, 0.5), (2, 1.0), (3, 0.5), (4, 0.25), (5, 0.1), (CORES, 1.0)] {
            row.add_core(core, busy);
        }
        assert_eq!(row.busiest().collect::<Vec<_>>(), [(2, 1.0), (1, 0.5), (3, 0.5), (4, 0.25)]);
        let mut idle = Row::default();
        idle.add_core(1, 0.0);
        idle.add_core(0, 0.0);
        assert_eq!(idle.busiest().collect::<Vec<_>>(), [(0, 0.0), (1, 0.0)]);
    }

    #[test]
    fn states_follow_the_table() {
        let mut entry = Entry::of("a").unwrap();
        let row = Row { tick: 100, ..Row::default() };
        assert_eq!(state(&entry, &row, 103), NodeState::Reporting);
        assert_eq!(state(&entry, &row, 104), NodeState::Silent);
        entry.stopped = true;
        assert_eq!(state(&entry, &row, 500), NodeState::Stopped);
    }
}
