//! Rows to columns and back.

use super::{BUSIEST, Measure, Row, UpdateError};
use crate::v1::NodeColumns;

/// Collects rows, in ascending order of their numbers.
#[derive(Debug, Default)]
pub struct Writer {
    columns: NodeColumns,
    last: u32,
    tick: u32,
    with_busiest: bool,
    /// By measure: some row has it.
    used: [bool; Measure::ALL.len()],
}

impl Writer {
    /// Columns of an update for second `tick`.
    #[must_use]
    pub fn new(tick: u32, with_busiest: bool) -> Self {
        Self { tick, with_busiest, ..Self::default() }
    }

    /// Adds a row. `number` is above that of the row before.
    pub fn push(&mut self, number: u32, row: &Row) {
        let columns = &mut self.columns;
        columns.numbers.push(number - self.last);
        self.last = number;
        // Both are Unix seconds: the wrapped difference is exact for all that are within 68 years of each other.
        columns.ages.push(self.tick.wrapping_sub(row.tick) as i32);
        columns.delays_ms.push(row.delay_ms);
        for (place, measure) in Measure::ALL.into_iter().enumerate() {
            self.used[place] |= row.cells[place] != 0;
            column_mut(columns, measure).push(row.cells[place]);
        }
        if self.with_busiest {
            columns.busiest.extend(row.busiest);
        }
    }

    /// Rows so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.numbers.len()
    }

    /// True without rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns; `None` without rows.
    #[must_use]
    pub fn finish(mut self) -> Option<NodeColumns> {
        for (measure, used) in Measure::ALL.into_iter().zip(self.used) {
            if !used {
                column_mut(&mut self.columns, measure).clear();
            }
        }
        if self.columns.busiest.iter().all(|packed| *packed == 0) {
            self.columns.busiest.clear();
        }
        (!self.is_empty()).then_some(self.columns)
    }
}

/// The rows of columns of an update for second `tick`, with the numbers of their nodes.
///
/// # Errors
/// [`UpdateError::Columns`].
pub fn rows(columns: &NodeColumns, tick: u32) -> Result<impl Iterator<Item = (u32, Row)> + '_, UpdateError> {
    let count = columns.numbers.len();
    let check = |column, found, wanted| match found == wanted {
        true => Ok(()),
        false => Err(UpdateError::Columns { column, found, wanted }),
    };
    check("ages", columns.ages.len(), count)?;
    check("delays_ms", columns.delays_ms.len(), count)?;
    for measure in Measure::ALL {
        let (name, column) = column(columns, measure);
        if !column.is_empty() {
            check(name, column.len(), count)?;
        }
    }
    if !columns.busiest.is_empty() {
        check("busiest", columns.busiest.len(), count.saturating_mul(BUSIEST))?;
    }
    let mut number = 0u32;
    Ok((0..count).map(move |place| {
        number = number.wrapping_add(columns.numbers[place]);
        let mut row = Row {
            tick: tick.wrapping_sub(columns.ages[place] as u32),
            delay_ms: columns.delays_ms[place],
            ..Row::default()
        };
        for (cell, measure) in row.cells.iter_mut().zip(Measure::ALL) {
            *cell = column(columns, measure).1.get(place).map_or(0, |cell| (*cell).min(measure.most() + 1));
        }
        if let Some(busiest) = columns.busiest.get(place * BUSIEST..(place + 1) * BUSIEST) {
            row.busiest.copy_from_slice(busiest);
        }
        (number, row)
    }))
}

/// The column of a measure with its name.
fn column(columns: &NodeColumns, measure: Measure) -> (&'static str, &[u64]) {
    match measure {
        Measure::Cpu => ("cpu", &columns.cpu),
        Measure::Memory => ("memory", &columns.memory),
        Measure::Requests => ("requests_per_second", &columns.requests_per_second),
        Measure::Errors => ("errors_per_second", &columns.errors_per_second),
        Measure::P99 => ("p99", &columns.p99),
        Measure::Load1 => ("load1", &columns.load1),
        Measure::Connections => ("connections", &columns.connections),
    }
}

fn column_mut(columns: &mut NodeColumns, measure: Measure) -> &mut Vec<u64> {
    match measure {
        Measure::Cpu => &mut columns.cpu,
        Measure::Memory => &mut columns.memory,
        Measure::Requests => &mut columns.requests_per_second,
        Measure::Errors => &mut columns.errors_per_second,
        Measure::P99 => &mut columns.p99,
        Measure::Load1 => &mut columns.load1,
        Measure::Connections => &mut columns.connections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    fn row() -> impl Strategy<Value = Row> {
        let cells = prop::array::uniform7(prop::option::of(0.0..1e6f64));
        (any::<u32>(), any::<u32>(), cells, prop::collection::vec((0u32..256, 0.0..=1.0f64), 0..6)).prop_map(
            |(tick, delay_ms, values, cores)| {
                let mut row = Row { tick, delay_ms, ..Row::default() };
                for (measure, value) in Measure::ALL.into_iter().zip(values) {
                    row.set(measure, value);
                }
                cores.into_iter().for_each(|(core, busy)| row.add_core(core, busy));
                row
            },
        )
    }

    proptest! {
        #[test]
        fn rows_come_back(rows_in in prop::collection::btree_map(any::<u32>(), row(), 0..50), tick: u32) {
            let mut writer = Writer::new(tick, true);
            rows_in.iter().for_each(|(number, row)| writer.push(*number, row));
            let Some(columns) = writer.finish() else {
                prop_assert!(rows_in.is_empty());
                return Ok(());
            };
            let columns = NodeColumns::decode(&*columns.encode_to_vec()).unwrap();
            prop_assert!(rows(&columns, tick).unwrap().eq(rows_in));
        }

        #[test]
        fn any_bytes_are_rows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let columns = NodeColumns::decode(&*bytes).unwrap_or_default();
            for (_, row) in rows(&columns, 7).into_iter().flatten() {
                prop_assert!(row.value(Measure::Cpu).is_none_or(|cpu| (0.0..=1.0).contains(&cpu)));
            }
        }
    }

    #[test]
    fn a_column_of_another_length_is_refused() {
        let mut columns =
            NodeColumns { numbers: vec![1, 1], ages: vec![0, 0], delays_ms: vec![0, 0], ..NodeColumns::default() };
        assert_eq!(rows(&columns, 5).unwrap().count(), 2);
        columns.cpu = vec![1];
        let error = rows(&columns, 5).map(Iterator::count).unwrap_err();
        assert_eq!(error, UpdateError::Columns { column: "cpu", found: 1, wanted: 2 });
        columns.cpu.clear();
        columns.busiest = vec![0; 7];
        assert!(rows(&columns, 5).is_err());
        columns.busiest.clear();
        columns.ages.clear();
        assert!(rows(&columns, 5).is_err());
    }

    #[test]
    fn what_no_node_has_takes_no_place() {
        let mut writer = Writer::new(100, true);
        let mut row = Row { tick: 100, ..Row::default() };
        row.set(Measure::Cpu, Some(0.5));
        writer.push(3, &row);
        let columns = writer.finish().unwrap();
        assert_eq!((columns.cpu.as_slice(), columns.memory.len(), columns.busiest.len()), (&[5_001][..], 0, 0));
        assert!(Writer::new(1, true).finish().is_none());
    }
}
