//! Some series of the rows of an open block: of each row only what comes before the last of them is looked at.

use std::sync::Arc;

use starling_history::column;
use starling_proto::{bits, catalogue::Kind, histogram::Histogram, series::Series, varint::Reader};

use super::{
    Backing, Picked, PickedValue,
    open::{Plan, Rows, WHOLE_EVERY},
};

/// What of a plan is wanted.
struct Wanted {
    /// By position, up to the last one that is wanted.
    kinds: Vec<Kind>,
    /// Ascending.
    positions: Vec<usize>,
}

/// A value that stands in a row.
enum Listed<'a> {
    Counter(i64),
    /// By how much it differs.
    Gauge(i64),
    Histogram(&'a [u8]),
}

impl Rows {
    /// Adds the wanted series of the seconds `from..=to` to `picked`.
    pub(super) fn pick(
        &self,
        backing: Option<&dyn Backing>,
        (from, to): (u32, u32),
        wanted: &impl Fn(&Series) -> bool,
        picked: &mut Picked,
    ) {
        let wants: Vec<bool> = self.series.iter().map(|one| wanted(one.series())).collect();
        let plans: Vec<Wanted> = self.plans.iter().map(|plan| self.wanted(plan, &wants)).collect();
        let (rows, bytes) = self.read(backing, from, to);
        let mut last = vec![0i64; self.series.len()];
        let mut listed = Vec::new();
        for ((row, bytes), at) in self.rows.iter().skip(rows.start).zip(&bytes).zip(rows.start..) {
            let Some((plan, wanted)) = self.plans.get(usize::from(row.plan)).zip(plans.get(usize::from(row.plan)))
            else {
                continue;
            };
            if at.is_multiple_of(WHOLE_EVERY) {
                last.fill(0);
            }
            // Written by `OpenBlock::push`: it can be read.
            if wanted.read(bytes, plan.numbers.len(), &mut listed).is_none() {
                continue;
            }
            let tick = self.start + u32::from(row.offset);
            let within = (from..=to).contains(&tick);
            if within {
                picked.seconds.push((tick, row.dropped));
            }
            let mut listed = listed.iter().peekable();
            for position in &wanted.positions {
                let number = plan.numbers[*position] as usize;
                let value = listed.next_if(|(at, _)| at == position).map(|(_, value)| value);
                let value = match (wanted.kinds[*position], value) {
                    (Kind::Counter, Some(Listed::Counter(value))) => PickedValue::Integer(*value),
                    (Kind::Counter, _) => PickedValue::Integer(0),
                    (Kind::Gauge, value) => {
                        if let Some(Listed::Gauge(difference)) = value {
                            last[number] = last[number].wrapping_add(*difference);
                        }
                        PickedValue::Integer(last[number])
                    }
                    // They were read once when they came.
                    (Kind::Histogram, Some(Listed::Histogram(bytes))) if within => {
                        PickedValue::Histogram(Histogram::decode(bytes).ok().map(Arc::new))
                    }
                    (Kind::Histogram, _) => PickedValue::Histogram(None),
                };
                if within {
                    picked.push(self.series[number].series(), tick, value);
                }
            }
        }
    }

    fn wanted(&self, plan: &Plan, wants: &[bool]) -> Wanted {
        let positions: Vec<usize> =
            plan.numbers.iter().enumerate().filter(|(_, number)| wants[**number as usize]).map(|(at, _)| at).collect();
        let end = positions.last().map_or(0, |last| last + 1);
        let kinds = plan.numbers[..end].iter().map(|number| self.series[*number as usize].kind()).collect();
        Wanted { kinds, positions }
    }
}

impl Wanted {
    /// The wanted values that stand in a row of `count` series, ascending by position. `None` when it cannot be read.
    fn read<'a>(&self, bytes: &'a [u8], count: usize, listed: &mut Vec<(usize, Listed<'a>)>) -> Option<()> {
        listed.clear();
        let mut reader = Reader::new(bytes);
        let map = column::read_map(&mut reader, count).ok()?;
        let mut positions = self.positions.iter().peekable();
        for at in bits::ones(&map).take_while(|at| *at < self.kinds.len()) {
            while positions.next_if(|position| **position < at).is_some() {}
            let is_wanted = positions.peek() == Some(&&at);
            match self.kinds[at] {
                Kind::Histogram => {
                    let bytes = reader.bytes(column::HISTOGRAM_BYTES_MAX).ok()?;
                    if is_wanted {
                        listed.push((at, Listed::Histogram(bytes)));
                    }
                }
                Kind::Counter => {
                    let value = reader.u64().ok()?;
                    if is_wanted {
                        listed.push((at, Listed::Counter(value.cast_signed())));
                    }
                }
                Kind::Gauge => {
                    let difference = reader.i64().ok()?;
                    if is_wanted {
                        listed.push((at, Listed::Gauge(difference)));
                    }
                }
            }
        }
        Some(())
    }
}
