//! Samples of an hour to the seconds they say something of: growth of counters, values of histograms. Pure.
//!
//! A counter is kept as what it grew by in each second. Between two samples that are further apart its growth is spread
//! evenly; the seconds in between count as seconds without data. A total that is smaller than the one before it is that of a
//! process that began again. The first sample of a series only says where it begins.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use starling_proto::histogram::{HIGHEST, Histogram, HistogramSum};

use super::{
    said::{Amount, Part},
    spill::{Sample, tick_of},
};

/// Growth between two samples further apart stands in the second of the later one: it is not known when it was.
pub(crate) const SPREAD_MAX: u32 = 7_200;
/// What a bound of an error is when it is not known.
const UNBOUNDED_PPM: u32 = 1_000_000;

/// What is known of a second of a series.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) tick: u32,
    /// Number of the series.
    pub(crate) series: u32,
    pub(crate) how: How,
    pub(crate) value: Value,
}

/// How a row is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// A sample says it.
    Said,
    /// A series begins here; what is there already is better known.
    Begins,
    /// Between two samples. The second is one without data.
    Between,
}

/// A value of a second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number { sum: f64, nodes: u32, min: f64, max: f64 },
    Histogram(Arc<Histogram>, u32),
}

/// What a component is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Component {
    /// Number of its series.
    pub(crate) series: u32,
    pub(crate) part: Part,
    /// Units of the histogram layout in one unit of the series.
    pub(crate) factor: f64,
}

/// What was met on the way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Met {
    /// Samples that were repeated as they were.
    pub(crate) repeated: u64,
    /// Samples at a time that had another value before: the last one counts.
    pub(crate) contradicted: u64,
    /// NaN, which says that a series ended, or infinities of counters.
    pub(crate) no_number: u64,
    /// Gaps longer than [`SPREAD_MAX`].
    pub(crate) long_gaps: u64,
    /// Counters that began again.
    pub(crate) resets: u64,
}

/// Where the series stood at the end of the hour before.
#[derive(Default)]
pub(crate) struct Carry {
    totals: HashMap<u32, (u32, f64)>,
    histograms: HashMap<u32, (u32, Totals)>,
}

/// A classic histogram at one time.
#[derive(Debug, Clone, Default)]
struct Totals {
    /// By the bits of the bound, which sort as the bounds do; those below zero are not taken.
    buckets: BTreeMap<u64, f64>,
    sum: Option<f64>,
    count: Option<f64>,
}

impl Carry {
    /// Turns the samples of one hour, which come after those before, into rows of it and of hours before.
    pub(crate) fn rows(&mut self, components: &[Component], mut samples: Vec<Sample>, met: &mut Met) -> Vec<Row> {
        // Stable: of the same time the one that came last is last.
        samples.sort_by_key(|sample| (sample.component, sample.ms));
        let mut rows = Vec::with_capacity(samples.len());
        let mut classic: BTreeMap<u32, BTreeMap<i64, Totals>> = BTreeMap::new();
        let mut at = 0;
        while at < samples.len() {
            let Sample { component: number, ms, .. } = samples[at];
            // The last of a time.
            while let Some(next) = samples.get(at + 1).filter(|next| (next.component, next.ms) == (number, ms)) {
                let same = same(&next.amount, &samples[at].amount);
                *(if same { &mut met.repeated } else { &mut met.contradicted }) += 1;
                at += 1;
            }
            let amount = &samples[at].amount;
            at += 1;
            let (Some(component), Some(tick)) = (components.get(number as usize), tick_of(ms)) else { continue };
            let row = |how, value| Row { tick, series: component.series, how, value };
            match (component.part, amount) {
                (_, Amount::Histogram(histogram, nodes)) => {
                    rows.push(row(How::Said, Value::Histogram(Arc::new(histogram.clone()), *nodes)));
                }
                (_, Amount::One(value) | Amount::Over(value, ..)) if value.is_nan() => met.no_number += 1,
                (Part::Level, Amount::One(value)) => rows.push(row(How::Said, one(*value))),
                (Part::Level | Part::Increment, Amount::Over(sum, nodes, min, max)) => {
                    rows.push(row(How::Said, Value::Number { sum: *sum, nodes: *nodes, min: *min, max: *max }));
                }
                (_, Amount::One(value) | Amount::Over(value, ..)) if !value.is_finite() => met.no_number += 1,
                (Part::Increment, Amount::One(value)) => rows.push(row(How::Said, one(*value))),
                (Part::Total | Part::Exact, Amount::One(value) | Amount::Over(value, ..)) => {
                    self.total(number, component.series, tick, *value, met, &mut rows);
                }
                (part @ (Part::Bucket(_) | Part::Sum | Part::Count), Amount::One(value) | Amount::Over(value, ..)) => {
                    let totals = classic.entry(component.series).or_default().entry(ms).or_default();
                    match part {
                        Part::Bucket(bound) => drop(totals.buckets.insert(bound, *value)),
                        Part::Sum => totals.sum = Some(*value),
                        _ => totals.count = Some(*value),
                    }
                }
            }
        }
        let factors: HashMap<u32, f64> =
            components.iter().map(|component| (component.series, component.factor)).collect();
        for (series, times) in classic {
            let factor = factors.get(&series).copied().unwrap_or(1.0);
            for (ms, totals) in times {
                if let Some(tick) = tick_of(ms) {
                    self.histogram(series, factor, tick, &totals, met, &mut rows);
                }
            }
        }
        rows
    }

    fn total(&mut self, number: u32, series: u32, tick: u32, total: f64, met: &mut Met, rows: &mut Vec<Row>) {
        let row = |tick, how, growth| Row { tick, series, how, value: one(growth) };
        let Some((before, last)) = self.totals.insert(number, (tick, total)) else {
            return rows.push(row(tick, How::Begins, 0.0));
        };
        let began = total < last;
        met.resets += u64::from(began);
        let growth = if began { total } else { total - last };
        for (at, how, share) in shares(before, tick, met) {
            rows.push(row(at, how, share.of(growth)));
        }
    }

    fn histogram(&mut self, series: u32, factor: f64, tick: u32, now: &Totals, met: &mut Met, rows: &mut Vec<Row>) {
        let row = |tick, how, histogram| Row { tick, series, how, value: Value::Histogram(Arc::new(histogram), 1) };
        let Some((before, last)) = self.histograms.insert(series, (tick, now.clone())) else {
            return rows.push(row(tick, How::Begins, Histogram::empty()));
        };
        let fell = |(bound, was): (&u64, &f64)| now.buckets.get(bound).is_some_and(|is| is < was);
        let began = last.buckets.iter().any(fell) || now.count.zip(last.count).is_some_and(|(is, was)| is < was);
        met.resets += u64::from(began);
        let none = Totals::default();
        let last = if began { &none } else { &last };
        for (at, how, share) in shares(before, tick, met) {
            rows.push(row(at, how, now.since(last, share, factor)));
        }
    }
}

impl Totals {
    /// What came since `last`, a share of it, as one of our histograms.
    fn since(&self, last: &Self, share: Share, factor: f64) -> Histogram {
        let grown = |is: Option<f64>, was: Option<f64>| is.map(|is| (is - was.unwrap_or(0.0)).max(0.0));
        let mut sum = HistogramSum::new();
        let (mut low, mut below, mut ppm, mut estimate) = (0.0f64, 0.0f64, 0, 0.0);
        let whole = grown(self.count, last.count);
        let infinite = f64::INFINITY.to_bits();
        let bounds = self.buckets.keys().copied().filter(|bound| *bound != infinite).chain([infinite]);
        for bound in bounds {
            let high = f64::from_bits(bound);
            let total = grown(self.buckets.get(&bound).copied(), last.buckets.get(&bound).copied());
            // Without the open one the count says how many there are.
            let Some(total) = total.or(if high.is_infinite() { whole } else { None }) else { continue };
            // Counts that fall from one bound to the next were torn apart; they are made to rise.
            let count = share.of((total - below).max(0.0).round());
            below = below.max(total);
            if count > 0.0 {
                let (top, error) = if high.is_infinite() { (low, UNBOUNDED_PPM) } else { (high, bound_ppm(low, high)) };
                sum.spread(low * factor, top * factor, count as u64);
                estimate += count * if low > 0.0 { (low * top).sqrt() } else { top / 2.0 };
                ppm = ppm.max(error);
            }
            low = high;
        }
        let highest = u128::from(sum.count()) * u128::from(HIGHEST);
        let total = grown(self.sum, last.sum).map_or(estimate, |grown| grown * share.part());
        // `as` saturates.
        let total = ((total * factor).round() as u128).min(highest);
        let most = sum
            .to_histogram()
            .buckets()
            .next_back()
            .map(|(index, _)| starling_proto::histogram::bucket_bounds(index).1);
        sum.add_foreign_totals(total, most, ppm);
        sum.to_histogram()
    }
}

/// One of the parts that something is spread over.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Its place, from 0.
    at: u32,
    /// Of so many.
    of: u32,
}

impl Share {
    fn part(self) -> f64 {
        1.0 / f64::from(self.of)
    }

    /// The share of `whole`: all of them come to it, and those of a whole number are whole.
    fn of(self, whole: f64) -> f64 {
        if self.of == 1 {
            return whole;
        }
        let up_to = |n: u32| {
            let part = whole * (f64::from(n) / f64::from(self.of));
            if n == self.of {
                whole
            } else if whole.fract() == 0.0 {
                part.floor()
            } else {
                part
            }
        };
        up_to(self.at + 1) - up_to(self.at)
    }
}

/// The seconds after `before` up to `tick`, each with its share.
fn shares(before: u32, tick: u32, met: &mut Met) -> impl Iterator<Item = (u32, How, Share)> + use<> {
    let seconds = tick.saturating_sub(before);
    let spread = if seconds > SPREAD_MAX {
        met.long_gaps += 1;
        1
    } else {
        seconds.max(1)
    };
    (0..spread).map(move |at| {
        let second = tick - (spread - 1 - at);
        let how = if second == tick { How::Said } else { How::Between };
        (second, how, Share { at, of: spread })
    })
}

fn one(value: f64) -> Value {
    Value::Number { sum: value, nodes: 1, min: value, max: value }
}

fn same(a: &Amount, b: &Amount) -> bool {
    match (a, b) {
        (Amount::One(a), Amount::One(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

/// How far off a value can be that is only known to lie in `(low, high]`, parts per million.
fn bound_ppm(low: f64, high: f64) -> u32 {
    if low <= 0.0 || high <= low {
        return if high <= low { 0 } else { UNBOUNDED_PPM };
    }
    (((high / low) - 1.0) * 1e6).ceil().min(f64::from(UNBOUNDED_PPM)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTER: Component = Component { series: 0, part: Part::Total, factor: 1.0 };

    fn grown(totals: &[(i64, f64)]) -> (Vec<(u32, How, f64)>, Met) {
        let samples = totals.iter().map(|(ms, total)| Sample { component: 0, ms: *ms, amount: Amount::One(*total) });
        let mut met = Met::default();
        let mut rows = Carry::default().rows(&[COUNTER], samples.collect(), &mut met);
        rows.sort_by_key(|row| row.tick);
        let told = |row: Row| match row.value {
            Value::Number { sum, .. } => (row.tick, row.how, sum),
            Value::Histogram(..) => panic!("a counter"),
        };
        (rows.into_iter().map(told).collect(), met)
    }

    /// Scenario 1.
    #[test]
    fn a_process_that_began_again_loses_nothing() {
        let before = (0..10).map(|t| (t * 1_000, 10.0 + 10.0 * t as f64));
        let after = (10..20).map(|t| (t * 1_000, 96.0 + 11.0 * (t - 10) as f64));
        let (rows, met) = grown(&before.chain(after).map(|(ms, total)| (ms + 1_000_000, total)).collect::<Vec<_>>());
        assert_eq!(rows.iter().map(|row| row.2).sum::<f64>(), 285.0);
        assert_eq!((rows.len(), rows[0].1, met.resets), (20, How::Begins, 1));
    }

    /// Scenario 19.
    #[test]
    fn growth_over_a_hole_is_spread_over_it() {
        let (rows, _) = grown(
            &(1..=120).filter(|t| !(60..65).contains(t)).map(|t| (t * 1_000, 300.0 * t as f64)).collect::<Vec<_>>(),
        );
        assert_eq!(rows.iter().map(|row| row.2).fold(0.0, f64::max), 300.0);
        assert_eq!(rows.iter().map(|row| row.2).sum::<f64>(), 300.0 * 119.0);
        let between: Vec<u32> = rows.iter().filter(|row| row.1 == How::Between).map(|row| row.0).collect();
        assert_eq!(between, [60, 61, 62, 63, 64]);
    }

    #[test]
    fn shares_of_whole_numbers_are_whole_and_come_to_the_whole() {
        let (rows, _) = grown(&[(1_000, 0.0), (8_000, 17.0), (8_400, 18.0), (10_000, 18.5)]);
        let by_tick: Vec<(u32, f64)> = rows.iter().map(|row| (row.0, row.2)).collect();
        assert_eq!(&by_tick[1..8], [(2, 2.0), (3, 2.0), (4, 3.0), (5, 2.0), (6, 3.0), (7, 2.0), (8, 3.0)]);
        assert_eq!(by_tick.iter().map(|row| row.1).sum::<f64>(), 18.5);
        let (rows, met) = grown(&[(1_000, 0.0), (20_000_000, 500.0)]);
        assert_eq!((rows.len(), rows[1].2, met.long_gaps), (2, 500.0, 1));
    }

    #[test]
    fn the_last_sample_of_a_time_counts() {
        let (rows, met) =
            grown(&[(1_000, 5.0), (2_000, 6.0), (2_000, 6.0), (2_000, 9.0), (3_000, f64::NAN), (4_000, f64::INFINITY)]);
        assert_eq!((rows[1].2, met.repeated, met.contradicted, met.no_number), (4.0, 1, 1, 2));
    }

    /// Scenario 16: counts that fall are made to rise, and without the open bucket the count is it.
    #[test]
    fn classic_buckets_become_histograms() {
        let parts = [Part::Bucket(0.5f64.to_bits()), Part::Bucket(1f64.to_bits()), Part::Sum, Part::Count];
        let components = parts.map(|part| Component { series: 3, part, factor: 1e9 });
        let at = |ms, values: [f64; 4]| {
            (0..).zip(values).map(move |(component, value)| Sample { component, ms, amount: Amount::One(value) })
        };
        let samples = at(1_000, [10.0, 10.0, 1.0, 10.0]).chain(at(2_000, [14.0, 13.0, 9.0, 16.0]));
        let rows = Carry::default().rows(&components, samples.collect(), &mut Met::default());
        let Value::Histogram(histogram, 1) = &rows[1].value else { panic!("{:?}", rows[1]) };
        assert_eq!((histogram.count(), histogram.sum()), (6, 8_000_000_000));
        let beyond: u64 = histogram
            .buckets()
            .filter(|(index, _)| starling_proto::histogram::bucket_bounds(*index).1 >= 1_000_000_000)
            .map(|(_, n)| n)
            .sum();
        assert_eq!(beyond, 2, "those above the last bound");
    }
}
