//! Cells of any tier becoming the steps of a question. Pure.

use std::{collections::BTreeMap, sync::Arc};

use starling_history::{Cell, Coverage, Tier};
use starling_proto::{
    catalogue::Kind,
    histogram::{Histogram, HistogramSum, OverflowError},
    series::Series,
};

use super::{Part, Span};

/// Which series of a subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Its identity.
    pub(crate) series: Series,
    /// Computed from others.
    pub(crate) derived: bool,
}

/// Histograms of one step on their way into one: most steps gather many.
#[derive(Default)]
struct Gathered {
    /// Which step.
    point: usize,
    /// Made with the first one: it has room for every bucket, which what has no histograms need not pay.
    sum: Option<HistogramSum>,
    /// Whether any came since the last step.
    some: bool,
}

impl Gathered {
    fn add(&mut self, histogram: Option<Arc<Histogram>>) -> Result<(), OverflowError> {
        if let Some(histogram) = histogram {
            self.sum.get_or_insert_default().add(&histogram)?;
            self.some = true;
        }
        Ok(())
    }

    /// Gives its step what was gathered.
    fn put(&mut self, steps: &mut [Option<Cell>]) {
        let Some(sum) = self.sum.as_mut().filter(|_| std::mem::take(&mut self.some)) else { return };
        if let Some(Some(step)) = steps.get_mut(self.point) {
            step.histogram = Some(Arc::new(sum.to_histogram()));
        }
        sum.clear();
    }
}

/// One subject in the steps of a [`Span`].
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Folded {
    /// Of each step.
    pub(crate) coverage: Vec<Coverage>,
    /// Of each series a cell for each step that has data.
    pub(crate) series: BTreeMap<Key, Vec<Option<Cell>>>,
    /// Seconds of the coarsest cell behind it; 0 without any.
    pub(crate) resolution: u32,
}

impl Folded {
    /// `part` in the steps of `span`.
    ///
    /// A step of a tier belongs to the step of the span in which it begins. One that is longer than the steps of the span
    /// stands in all those that it covers, with its mean and extremes, its sum and its seconds spread evenly over them: over
    /// the range they come to the whole.
    ///
    /// # Errors
    /// [`OverflowError`] when counts of histograms do not fit 64 bits.
    pub(crate) fn of(part: &Part, span: &Span) -> Result<Self, OverflowError> {
        let points = span.points() as usize;
        let mut folded = Self { coverage: vec![Coverage::default(); points], ..Self::default() };
        for ((start, tier), coverage) in &part.coverage {
            if coverage.seconds > 0 {
                folded.resolution = folded.resolution.max(tier.seconds());
            }
            for (point, share) in places(span, *start, *tier) {
                let seconds = share.of(coverage.seconds);
                folded.coverage[point].append(&Coverage { seconds, ..*coverage });
                if seconds == 0 {
                    // Who was expected is known of a second without data too.
                    let most = folded.coverage[point].nodes_expected.max(coverage.nodes_expected);
                    folded.coverage[point].nodes_expected = most;
                }
            }
        }
        let mut gathered = Gathered::default();
        for series in &part.series {
            let key = Key { series: series.series.clone(), derived: series.derived };
            let steps = folded.series.entry(key).or_insert_with(|| vec![None; points]);
            for (start, cell) in &series.cells {
                for (point, share) in places(span, *start, series.tier) {
                    let Some(mut cell) = share.of_cell(cell) else { continue };
                    if gathered.point != point {
                        gathered.put(steps);
                        gathered.point = point;
                    }
                    match &mut steps[point] {
                        Some(step) => {
                            gathered.add(step.histogram.take())?;
                            gathered.add(cell.histogram.take())?;
                            step.append(&cell)?;
                        }
                        empty => *empty = Some(cell),
                    }
                }
            }
            gathered.put(steps);
        }
        Ok(folded)
    }

    /// The same in the longer steps of `span`, which begins and ends with `of`, in whose steps it is now.
    ///
    /// # Errors
    /// [`OverflowError`] when counts of histograms do not fit 64 bits.
    pub(crate) fn regrouped(&self, of: &Span, span: &Span) -> Result<Self, OverflowError> {
        let points = span.points() as usize;
        let place = |at: usize| span.point_of(of.tick_of(at as u32)).map_or(0, |point| point as usize);
        let mut coverage = vec![Coverage::default(); points];
        for (at, one) in self.coverage.iter().enumerate() {
            coverage[place(at)].append(one);
        }
        let mut series = BTreeMap::new();
        for (key, steps) in &self.series {
            let mut longer: Vec<Option<Cell>> = vec![None; points];
            for (at, cell) in steps.iter().enumerate() {
                let Some(cell) = cell else { continue };
                match &mut longer[place(at)] {
                    Some(step) => step.append(cell)?,
                    empty => *empty = Some(cell.clone()),
                }
            }
            series.insert(key.clone(), longer);
        }
        Ok(Self { coverage, series, resolution: self.resolution })
    }

    /// Whether all its series mean the same, so that they could be added up.
    pub(crate) fn is_one_meaning(&self) -> bool {
        let mut all = self.series.keys().map(|key| means(&key.series));
        all.next().is_none_or(|first| all.all(|other| other == first))
    }

    /// All series in one with the attributes `with`, step by step. `None` without any, and for series of one name that mean
    /// different things.
    ///
    /// How the sum over the series went within a step is known only of steps of a second: of longer cells the smallest and
    /// largest sum are bounds ([`Cell::add_over_nodes`]).
    ///
    /// # Errors
    /// [`OverflowError`] when counts of histograms do not fit 64 bits.
    pub(crate) fn total(part: &Part, with: &[(String, String)]) -> Result<Option<Part>, OverflowError> {
        Self::total_of(part, with, |cell| cell.clone())
    }

    /// As [`Folded::of`] of [`Folded::total`], at a fraction of its cost where there are histograms.
    ///
    /// # Errors
    /// [`OverflowError`] when counts of histograms do not fit 64 bits.
    pub(crate) fn of_total(part: &Part, with: &[(String, String)], span: &Span) -> Result<Self, OverflowError> {
        let none = || Part { series: Vec::new(), coverage: part.coverage.clone() };
        if part.series.iter().any(|series| series.tier.seconds() > span.step) {
            return Self::of(&Self::total(part, with)?.unwrap_or_else(none), span);
        }
        // Each cell is in one step, so it does not matter in which order histograms come together.
        let numbers = Self::total_of(part, with, |cell| Cell { histogram: None, ..cell.clone() })?;
        let mut folded = Self::of(&numbers.unwrap_or_else(none), span)?;
        let Some(steps) = folded.series.values_mut().next() else { return Ok(folded) };
        let mut histograms: Vec<(usize, &Arc<Histogram>)> = Vec::new();
        for series in &part.series {
            for (start, cell) in &series.cells {
                let places = places(span, *start, series.tier).map(|(point, _)| point);
                histograms.extend(places.zip(&cell.histogram));
            }
        }
        histograms.sort_by_key(|(point, _)| *point);
        let mut sum = HistogramSum::new();
        for together in histograms.chunk_by(|a, b| a.0 == b.0) {
            together.iter().try_for_each(|(_, histogram)| sum.add(histogram))?;
            if let Some(Some(cell)) = steps.get_mut(together[0].0) {
                cell.histogram = Some(Arc::new(sum.to_histogram()));
            }
            sum.clear();
        }
        Ok(folded)
    }

    /// The total of what `taken` takes of the cells.
    fn total_of(
        part: &Part,
        with: &[(String, String)],
        taken: impl Fn(&Cell) -> Cell,
    ) -> Result<Option<Part>, OverflowError> {
        let Some(first) = part.series.first() else { return Ok(None) };
        let one = &first.series;
        let with: Vec<(&str, &str)> = with.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let named = Series::kept(one.name(), &with, one.kind(), one.unit(), one.scale(), one.scope());
        // Attributes beyond the limits select nothing.
        let Ok(named) = named else { return Ok(None) };
        if !part.series.iter().all(|one| means(&one.series) == means(&first.series)) {
            return Ok(None);
        }
        let mut by_tier: BTreeMap<Tier, BTreeMap<u32, Cell>> = BTreeMap::new();
        for series in &part.series {
            let cells = by_tier.entry(series.tier).or_default();
            for (start, cell) in &series.cells {
                match cells.get_mut(start) {
                    Some(sum) => {
                        // The same nodes are behind each of the series.
                        let nodes = sum.nodes.max(cell.nodes);
                        sum.add_over_nodes(&taken(cell))?;
                        (sum.nodes, sum.node_min, sum.node_max) = (nodes, None, None);
                    }
                    None => drop(cells.insert(*start, taken(cell))),
                }
            }
        }
        let series = by_tier.into_iter().map(|(tier, cells)| starling_history::SeriesCells {
            subject: first.subject.clone(),
            series: named.clone(),
            derived: first.derived,
            tier,
            cells: cells.into_iter().collect(),
        });
        Ok(Some(Part { series: series.collect(), coverage: part.coverage.clone() }))
    }
}

/// What of a series says whether it adds up with another.
fn means(series: &Series) -> (Kind, &str, u8) {
    (series.kind(), series.unit(), series.scale())
}

/// Which part of a step of a tier: both ends as fractions of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    begin: f64,
    end: f64,
}

impl Share {
    const WHOLE: Self = Self { begin: 0.0, end: 1.0 };

    /// This part of `seconds`, rounded so that all parts come to the whole.
    fn of(self, seconds: u32) -> u32 {
        let until = |fraction: f64| (f64::from(seconds) * fraction).round() as u32;
        until(self.end) - until(self.begin)
    }

    /// This part of `cell`: its mean and extremes, its sum and its seconds by the share. `None` when none of its seconds
    /// fall into it: which of them had data is not known, so that they are spread evenly.
    fn of_cell(self, cell: &Cell) -> Option<Cell> {
        if self == Self::WHOLE {
            return Some(cell.clone());
        }
        let seconds = self.of(cell.seconds);
        // Without seconds it holds what was spread over a gap.
        let scale = match cell.seconds {
            0 => self.end - self.begin,
            _ if seconds == 0 => return None,
            all => f64::from(seconds) / f64::from(all),
        };
        Some(Cell {
            seconds,
            sum: cell.sum * scale,
            spread: cell.spread * scale,
            nodes: ((cell.nodes as f64 * scale).round() as u64).max(cell.nodes.min(1)),
            ..cell.clone()
        })
    }
}

/// The points of `span` that a step of a tier belongs to, and which part of it.
fn places(span: &Span, start: u32, tier: Tier) -> impl Iterator<Item = (usize, Share)> + use<> {
    let (first, last) = (start.max(span.from), (start + (tier.seconds() - 1)).min(span.to));
    let span = *span;
    let (from, to) = match (span.point_of(first), span.point_of(last)) {
        (Some(from), Some(to)) if first <= last => (from, if tier.seconds() <= span.step { from } else { to }),
        _ => (1, 0),
    };
    let whole = f64::from(last.saturating_sub(first) + 1);
    (from..=to).map(move |point| {
        if from == to {
            return (point as usize, Share::WHOLE);
        }
        let begin = span.tick_of(point).max(first);
        let end = (span.tick_of(point) + span.seconds_of(point) - 1).min(last) + 1;
        let fraction = |tick: u32| f64::from(tick - first) / whole;
        (point as usize, Share { begin: fraction(begin), end: fraction(end) })
    })
}

#[cfg(test)]
mod tests {
    use starling_history::{SeriesCells, Subject};
    use starling_proto::catalogue;

    use super::*;

    fn counted(tier: Tier, cells: &[(u32, &[f64])]) -> Part {
        let mut part = Part::default();
        let mut all = Vec::new();
        for (start, values) in cells {
            let mut cell = Cell::second(values[0]);
            values[1..].iter().for_each(|value| cell.append(&Cell::second(*value)).unwrap());
            let coverage = Coverage { seconds: cell.seconds, nodes_reporting: 1, nodes_expected: 1, dropped: 0 };
            part.coverage.insert((*start, tier), coverage);
            all.push((*start, cell));
        }
        let series = Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")]);
        part.series.push(SeriesCells { subject: Subject::Cluster, series, derived: false, tier, cells: all });
        part
    }

    fn span(from: u32, to: u32, step: u32) -> Span {
        Span { from, to, step }
    }

    fn only(folded: &Folded) -> &[Option<Cell>] {
        folded.series.values().next().unwrap()
    }

    /// Scenario 4.
    #[test]
    fn every_second_is_in_exactly_one_step() {
        let cells: Vec<(u32, &[f64])> = (0..=600).map(|tick| (tick, &[1.0][..])).collect();
        let folded = Folded::of(&counted(Tier::Second, &cells), &span(0, 600, 60)).unwrap();
        let sums: Vec<f64> = only(&folded).iter().map(|cell| cell.as_ref().unwrap().sum).collect();
        assert_eq!((sums.len(), sums[0], sums[10], sums.iter().sum::<f64>()), (11, 60.0, 1.0, 601.0));
        assert_eq!(folded.coverage.iter().map(|coverage| coverage.seconds).sum::<u32>(), 601);
    }

    /// Scenario 59: the highest rate is still there when only coarse cells are left.
    #[test]
    fn a_coarse_cell_stands_in_all_steps_it_covers() {
        let mut values = [10.0; 60];
        values[34] = 5_010.0;
        let part = counted(Tier::Minute, &[(1_200, &values)]);
        let folded = Folded::of(&part, &span(1_200, 1_259, 15)).unwrap();
        assert_eq!(folded.resolution, 60);
        for cell in only(&folded).iter().flatten() {
            assert_eq!((cell.max, cell.min, cell.seconds), (5_010.0, 10.0, 15));
            assert!((cell.mean() - 5_600.0 / 60.0).abs() < 1e-9);
        }
        let growth: f64 = only(&folded).iter().flatten().map(|cell| cell.sum).sum();
        assert!((growth - 5_600.0).abs() < 1e-9, "the shares come to the whole: {growth}");
        // Asked for a part of it: the cell that holds it.
        let folded = Folded::of(&part, &span(1_220, 1_229, 10)).unwrap();
        assert!((only(&folded)[0].as_ref().unwrap().sum - 5_600.0).abs() < 1e-9);
        assert_eq!(Folded::of(&part, &span(1_260, 1_300, 10)).unwrap().coverage[0].seconds, 0, "none of it");
    }

    /// Scenario 50.
    #[test]
    fn a_coarse_cell_with_few_seconds_weighs_what_it_has() {
        let part = counted(Tier::Hour, &[(0, &[10.0; 3_600]), (3_600, &[100.0; 60])]);
        for step in [1, 7, 15, 900] {
            let folded = Folded::of(&part, &span(0, 7_199, step)).unwrap();
            let mut all = only(&folded).iter().flatten().cloned();
            let mut whole = all.next().unwrap();
            all.for_each(|cell| whole.append(&cell).unwrap());
            assert_eq!((whole.seconds, whole.sum.round()), (3_660, 42_000.0), "steps of {step} s");
            assert_eq!(folded.coverage.iter().map(|coverage| coverage.seconds).sum::<u32>(), 3_660);
        }
    }

    /// Scenario 26.
    #[test]
    fn nothing_is_not_zero() {
        let zeros: Vec<(u32, &[f64])> = (120..180).map(|tick| (tick, &[0.0][..])).collect();
        let folded = Folded::of(&counted(Tier::Second, &zeros), &span(120, 239, 60)).unwrap();
        let cells = only(&folded);
        assert_eq!((cells[0].as_ref().unwrap().sum, &cells[1], folded.coverage[1].seconds), (0.0, &None, 0));
        let folded = Folded::of(&counted(Tier::Second, &zeros), &span(120, 239, 120)).unwrap();
        let (mean, coverage) = (only(&folded)[0].as_ref().unwrap().mean(), folded.coverage[0]);
        assert_eq!((mean, coverage.seconds, coverage.completeness(120)), (0.0, 60, 0.5));
    }

    #[test]
    fn a_total_adds_series_up_second_by_second() {
        let mut part = counted(Tier::Second, &[(0, &[3.0]), (1, &[7.0])]);
        let mut other = counted(Tier::Second, &[(1, &[5.0])]).series.remove(0);
        other.series = Series::of(&catalogue::REQUESTS, &[("protocol", "http1")]);
        part.series.push(other);
        let total = Folded::total(&part, &[]).unwrap().unwrap();
        let folded = Folded::of(&total, &span(0, 1, 2)).unwrap();
        let cell = only(&folded)[0].as_ref().unwrap();
        assert_eq!((cell.sum, cell.max, cell.min, cell.seconds, cell.nodes), (15.0, 12.0, 3.0, 2, 2));
        let odd = Series::of(&catalogue::LOAD_1M, &[]);
        part.series.push(SeriesCells { series: odd, ..part.series[0].clone() });
        assert_eq!(Folded::total(&part, &[]).unwrap(), None, "requests and loads do not add up");
        assert_eq!(Folded::total(&Part::default(), &[]).unwrap(), None);
    }
}
