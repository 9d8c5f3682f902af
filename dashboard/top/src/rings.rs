//! Columns of one view over the last seconds, in memory that never grows with time.

use std::collections::HashMap;

use starling_proto::live::History;

/// Seconds kept: the 900 that are sent and some more, so that late corrections find their place.
pub(crate) const SECONDS: usize = 1_024;
/// Columns accepted: the charts and the cores of a large machine, 8 MB.
const COLUMNS_MAX: usize = 2_048;

/// One ring for each column, by second. A slot knows which second it holds, so that skipped seconds read as missing.
#[derive(Debug, Clone)]
pub(crate) struct Rings {
    names: HashMap<String, usize>,
    columns: Vec<Vec<f32>>,
    seconds: Vec<u32>,
    newest: u32,
}

impl Default for Rings {
    fn default() -> Self {
        Self { names: HashMap::new(), columns: Vec::new(), seconds: vec![0; SECONDS], newest: 0 }
    }
}

impl Rings {
    /// Forgets everything and takes what came.
    pub(crate) fn load(&mut self, history: &History) {
        *self = Self::default();
        history.columns.iter().for_each(|column| self.add(&column.name));
        let length = history.columns.iter().map(|column| column.values.len()).max().unwrap_or(0);
        for at in length.saturating_sub(SECONDS)..length {
            let Some(tick) = u32::try_from(at).ok().and_then(|at| history.first_tick.checked_add(at)) else { break };
            let point: Vec<f32> =
                history.columns.iter().map(|column| column.values.get(at).copied().unwrap_or(f32::NAN)).collect();
            self.push(tick, &point, &[]);
        }
    }

    /// Takes one second: values in the order of the known columns followed by `new`. Also corrects an old one.
    pub(crate) fn push(&mut self, tick: u32, point: &[f32], new: &[String]) {
        new.iter().for_each(|name| self.add(name));
        if tick as usize + SECONDS <= self.newest as usize {
            return;
        }
        let slot = tick as usize % SECONDS;
        for (at, column) in self.columns.iter_mut().enumerate() {
            column[slot] = point.get(at).copied().unwrap_or(f32::NAN);
        }
        self.seconds[slot] = tick;
        self.newest = self.newest.max(tick);
    }

    /// A value; `None` when it is missing.
    pub(crate) fn get(&self, name: &str, tick: u32) -> Option<f32> {
        let slot = tick as usize % SECONDS;
        let column = self.columns.get(*self.names.get(name)?)?;
        (tick > 0 && self.seconds[slot] == tick).then(|| column[slot]).filter(|value| !value.is_nan())
    }

    /// The first of the last 900 seconds that is held; 0 when none is.
    pub(crate) fn first(&self) -> u32 {
        let from = self.newest.saturating_sub(starling_proto::limits::PAGE_WINDOW - 1).max(1);
        (from..=self.newest).find(|tick| self.seconds[*tick as usize % SECONDS] == *tick).unwrap_or(0)
    }

    /// The newest second held; 0 when none is.
    pub(crate) const fn newest(&self) -> u32 {
        self.newest
    }

    /// The values of the `width` seconds that end with `tick`, oldest first.
    pub(crate) fn last(&self, name: &str, tick: u32, width: usize) -> Vec<Option<f32>> {
        let width = u32::try_from(width).unwrap_or(u32::MAX);
        let from = u64::from(tick) + 1;
        (0..width)
            .rev()
            .map(|back| from.checked_sub(u64::from(back) + 1))
            .map(|tick| self.get(name, u32::try_from(tick?).ok()?))
            .collect()
    }

    fn add(&mut self, name: &str) {
        if self.columns.len() >= COLUMNS_MAX {
            return;
        }
        // A repeated name still takes a place, because values come by place.
        self.names.entry(name.to_owned()).or_insert(self.columns.len());
        self.columns.push(vec![f32::NAN; SECONDS]);
    }
}

#[cfg(test)]
mod tests {
    use starling_proto::live::Column;

    use super::*;

    #[test]
    fn seconds_are_found_corrected_and_missing() {
        let mut rings = Rings::default();
        let column = |name: &str, values: &[f32]| Column { name: name.into(), values: values.into() };
        rings
            .load(&History { first_tick: 100, columns: vec![column("a", &[1.0, 2.0, f32::NAN]), column("b", &[5.0])] });
        assert_eq!((rings.get("a", 101), rings.get("a", 102), rings.get("b", 101)), (Some(2.0), None, None));
        rings.push(105, &[9.0, 8.0, 7.0], &["c".to_owned()]);
        assert_eq!((rings.get("c", 105), rings.get("c", 101), rings.get("a", 104)), (Some(7.0), None, None));
        rings.push(101, &[2.5, 0.0], &[]);
        assert_eq!(rings.get("a", 101), Some(2.5));
        assert_eq!((rings.first(), rings.newest()), (100, 105));
        assert_eq!(rings.last("a", 105, 4), [None, None, None, Some(9.0)]);
        assert_eq!(rings.last("a", 1, 3), [None, None, None], "before time began");
        // Another turn of the ring.
        rings.push(100 + 1_024, &[1.0], &[]);
        assert_eq!(rings.get("a", 100), None);
        rings.push(100, &[3.0], &[]);
        assert_eq!(rings.get("a", 100), None, "too old to be corrected");
    }

    #[test]
    fn columns_are_bounded() {
        let mut rings = Rings::default();
        let many: Vec<String> = (0..3_000).map(|at| format!("core.{at}")).collect();
        rings.push(1, &vec![1.0; 3_000], &many);
        assert_eq!((rings.get("core.2047", 1), rings.get("core.2048", 1)), (Some(1.0), None));
    }
}
