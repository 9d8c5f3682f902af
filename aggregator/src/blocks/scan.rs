//! Some series of the rows of an open block: of each row only what comes before the last of them is looked at, and what was
//! picked is gone on with when there are more rows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use starling_history::column;
use starling_proto::{bits, catalogue::Kind, histogram::Histogram, interner::Layout, series::Series, varint::Reader};

use super::{
    Backing, Picked, PickedValue,
    rows::{Plan, Tail, WHOLE_EVERY},
};

/// Pairs of layouts that one question remembers: nodes of one kind share one.
const LAYOUTS_MAX: usize = 64;

/// What of a plan is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    /// By position, up to the last one that is wanted.
    kinds: Vec<Kind>,
    /// Ascending.
    positions: Vec<usize>,
}

/// Which series of a layout are wanted by one question: found out once for all nodes that share it. Shared; its lock is held for
/// moments.
#[derive(Debug, Default)]
pub struct WantedOfLayouts(Mutex<Vec<WantedOf>>);

/// Of a pair of layouts.
type WantedOf = ([Arc<Layout>; 2], Arc<Wanted>);

/// What was picked of a series: its number in the block, and its values by second.
type PickedOf = (u32, Series, Vec<(u32, PickedValue)>);

/// A value that stands in a row.
enum Listed<'a> {
    Counter(i64),
    /// By how much it differs.
    Gauge(i64),
    Histogram(&'a [u8]),
}

/// What was picked of some rows of an open block, which follow each other.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Which block: rows are only ever added to it.
    block: Arc<()>,
    pub(super) start: u32,
    /// Number of the first row.
    first: usize,
    /// Number of the row after the last.
    next: usize,
    /// Value of each wanted gauge in the last row, by number.
    last: HashMap<u32, i64>,
    /// Tick and samples lost of each row.
    seconds: Vec<(u32, u32)>,
    /// Of each wanted series.
    series: Vec<PickedOf>,
}

impl Begun {
    fn new(tail: &Tail) -> Self {
        let (block, start) = (tail.block.clone(), tail.start);
        Self {
            block,
            start,
            first: tail.first,
            next: tail.first,
            last: HashMap::new(),
            seconds: Vec::new(),
            series: Vec::new(),
        }
    }

    /// The number of the row after the last, when it is of `block` and has its row number `first`. Histograms are only read of the
    /// seconds that were asked for: with these it has no row for anybody else.
    pub(super) fn reaches(&self, block: &Arc<()>, first: usize) -> Option<usize> {
        let is_there = self.first <= first && self.next >= first && !self.has_histograms();
        (is_there && Arc::ptr_eq(&self.block, block)).then_some(self.next)
    }

    /// Whether there is a histogram in it, which is many times a number.
    pub fn has_histograms(&self) -> bool {
        self.series.iter().any(|(_, series, _)| series.kind() == Kind::Histogram)
    }

    /// What it takes in memory; the series themselves are the process's.
    pub fn bytes(&self) -> usize {
        let series =
            |(_, _, values): &PickedOf| size_of::<PickedOf>() + values.capacity() * size_of::<(u32, PickedValue)>();
        size_of::<Self>()
            + self.seconds.capacity() * size_of::<(u32, u32)>()
            + self.last.capacity() * 2 * size_of::<(u32, i64)>()
            + self.series.iter().map(series).sum::<usize>()
    }

    /// Adds the seconds `from..=to` of it to `picked`.
    pub(super) fn put(&self, (from, to): (u32, u32), picked: &mut Picked) {
        let within = |tick: &u32| (from..=to).contains(tick);
        picked.seconds.extend(self.seconds.iter().filter(|(tick, _)| within(tick)));
        for (_, series, values) in &self.series {
            let mut values = values.iter().filter(|(tick, _)| within(tick)).cloned().peekable();
            if values.peek().is_some() {
                picked.extend(series, values);
            }
        }
    }

    fn push(&mut self, number: u32, series: &Series, tick: u32, value: PickedValue) {
        match self.series.iter_mut().find(|(held, ..)| *held == number) {
            Some((.., values)) => values.push((tick, value)),
            None => self.series.push((number, series.clone(), vec![(tick, value)])),
        }
    }
}

impl Tail {
    /// What is picked of the block with these rows, after those that were `begun` with.
    pub(super) fn pick(
        &self,
        begun: Option<&Arc<Begun>>,
        backing: Option<&dyn Backing>,
        (wanted, of_layouts): (&impl Fn(&Series) -> bool, &WantedOfLayouts),
    ) -> Arc<Begun> {
        let begun = begun.filter(|begun| begun.reaches(&self.block, self.first) == Some(self.first));
        if let Some(begun) = begun.filter(|_| self.rows.is_empty()) {
            return begun.clone();
        }
        let mut picked = begun.map_or_else(|| Begun::new(self), |begun| Begun::clone(begun));
        let plans: Vec<Arc<Wanted>> = self.plans.iter().map(|plan| of_layouts.of(plan, wanted)).collect();
        // The gauges after a row that is not given back cannot be known.
        let rows: Vec<Arc<[u8]>> = self.rows.iter().map_while(|row| row.bytes(backing)).collect();
        let mut listed = Vec::new();
        for (row, bytes) in self.rows.iter().zip(&rows) {
            let at = picked.next;
            picked.next += 1;
            let Some((plan, wanted)) = self.plans.get(usize::from(row.plan)).zip(plans.get(usize::from(row.plan)))
            else {
                continue;
            };
            if at.is_multiple_of(WHOLE_EVERY) {
                picked.last.clear();
            }
            // Written by `OpenBlock::push`: it can be read.
            if wanted.read(bytes, plan.numbers.len(), &mut listed).is_none() {
                continue;
            }
            let tick = self.start + u32::from(row.offset);
            picked.seconds.push((tick, row.dropped));
            let mut listed = listed.iter().peekable();
            for position in &wanted.positions {
                let number = plan.numbers[*position];
                let value = listed.next_if(|(at, _)| at == position).map(|(_, value)| value);
                let value = match (wanted.kinds[*position], value) {
                    (Kind::Counter, Some(Listed::Counter(value))) => PickedValue::Integer(*value),
                    (Kind::Counter, _) => PickedValue::Integer(0),
                    (Kind::Gauge, value) => {
                        let last = picked.last.entry(number).or_insert(0);
                        if let Some(Listed::Gauge(difference)) = value {
                            *last = last.wrapping_add(*difference);
                        }
                        PickedValue::Integer(*last)
                    }
                    // They were read once when they came. What is before the wanted seconds is not asked for.
                    (Kind::Histogram, Some(Listed::Histogram(bytes))) if (self.from..=self.to).contains(&tick) => {
                        PickedValue::Histogram(Histogram::decode(bytes).ok().map(Arc::new))
                    }
                    (Kind::Histogram, _) => PickedValue::Histogram(None),
                };
                picked.push(number, self.series[number as usize].series(), tick, value);
            }
        }
        Arc::new(picked)
    }
}

impl WantedOfLayouts {
    fn of(&self, plan: &Plan, wanted: &impl Fn(&Series) -> bool) -> Arc<Wanted> {
        let layouts = plan.layouts();
        let is_it = |held: &[Arc<Layout>; 2]| layouts.iter().zip(held).all(|(a, b)| Arc::ptr_eq(a, b));
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = lock().iter().find(|(held, _)| is_it(held)) {
            return known.clone();
        }
        let all = || layouts.iter().flat_map(|layout| layout.series());
        let positions: Vec<usize> =
            all().enumerate().filter(|(_, one)| wanted(one.series())).map(|(at, _)| at).collect();
        let end = positions.last().map_or(0, |last| last + 1);
        let found = Arc::new(Wanted { kinds: all().take(end).map(|one| one.kind()).collect(), positions });
        let mut known = lock();
        if known.len() < LAYOUTS_MAX {
            known.push((layouts.map(Arc::clone), found.clone()));
        }
        found
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
