//! One series over one step, as a reader sees it.

use std::sync::Arc;

use starling_proto::{
    catalogue::OverNodes,
    histogram::{Histogram, OverflowError},
    series::Series,
};

use crate::{Subject, Tier};

/// A series over one step, in the unit of the series. Its numbers are of the values of the single seconds: of a counter
/// the increment of a second, of a gauge its value (over several nodes their sum), of a histogram how many values it
/// took in.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Seconds with data, at least 1.
    pub seconds: u32,
    /// Sum of the values of the seconds. Of a counter: the growth.
    pub sum: f64,
    /// Sum of the squares of their distances from their mean; not a number when it is not known. Kept instead of the sum
    /// of squares, of which nothing is left to see where values are large and vary little.
    pub spread: f64,
    /// Smallest value of a second.
    pub min: f64,
    /// Largest value of a second. Of a counter: the highest rate.
    pub max: f64,
    /// Value of the last second with data.
    pub last: f64,
    /// Sum over the seconds of the nodes behind the value, at least `seconds`; 0 when their number is not known.
    pub nodes: u64,
    /// Smallest value of a node in a second, of gauges.
    pub node_min: Option<f64>,
    /// Largest value of a node in a second, of gauges.
    pub node_max: Option<f64>,
    /// All values of a histogram series, or those of the nodes of a gauge that keeps their distribution; in fixed point.
    pub histogram: Option<Arc<Histogram>>,
}

impl Cell {
    /// One second of one node.
    #[must_use]
    pub fn second(value: f64) -> Self {
        Self {
            seconds: 1,
            sum: value,
            spread: if value.is_finite() { 0.0 } else { f64::NAN },
            min: value,
            max: value,
            last: value,
            nodes: 1,
            node_min: None,
            node_max: None,
            histogram: None,
        }
    }

    /// Adds what came later of the same series of the same subject.
    ///
    /// # Errors
    /// [`OverflowError`] when counts of histograms do not fit 64 bits; `self` is then unchanged.
    pub fn append(&mut self, later: &Self) -> Result<(), OverflowError> {
        self.histogram = merged(self.histogram.as_ref(), later.histogram.as_ref())?;
        self.spread = spread_together(self, later);
        self.seconds = self.seconds.saturating_add(later.seconds);
        self.sum += later.sum;
        // `f64::min` and `max` prefer numbers to what is none.
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        if self.min == self.max && self.spread.is_finite() {
            // Sums beyond 2^53 are rounded.
            self.spread = 0.0;
        }
        self.last = later.last;
        self.nodes = if self.nodes == 0 || later.nodes == 0 { 0 } else { self.nodes.saturating_add(later.nodes) };
        self.node_min = both(self.node_min, later.node_min, f64::min);
        self.node_max = both(self.node_max, later.node_max, f64::max);
        Ok(())
    }

    /// Adds the same step of the same series of another node, or of nodes that are not yet in it.
    ///
    /// Sum, nodes, extremes over nodes and histogram are exact. How the sum over the nodes went within the step is known
    /// only for steps of a second: for longer ones the smallest and largest sum are bounds (sums of extremes), and the
    /// spread is that of nodes that vary independently of each other.
    ///
    /// # Errors
    /// [`OverflowError`] when counts of histograms do not fit 64 bits; `self` is then unchanged.
    pub fn add_over_nodes(&mut self, other: &Self) -> Result<(), OverflowError> {
        self.histogram = merged(self.histogram.as_ref(), other.histogram.as_ref())?;
        // Of gauges that were of one node each.
        let low = |cell: &Self| cell.node_min.unwrap_or(cell.min);
        let high = |cell: &Self| cell.node_max.unwrap_or(cell.max);
        (self.node_min, self.node_max) = (Some(low(self).min(low(other))), Some(high(self).max(high(other))));
        self.spread += other.spread;
        self.sum += other.sum;
        self.min += other.min;
        self.max += other.max;
        self.last += other.last;
        self.seconds = self.seconds.max(other.seconds);
        self.nodes = self.nodes.saturating_add(other.nodes);
        Ok(())
    }

    /// The mean of the seconds with data.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / f64::from(self.seconds.max(1))
    }

    /// Growth per second with data; the same as the mean of its seconds.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.mean()
    }

    /// The standard deviation of the seconds with data; not a number when it is not known.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        (self.spread / f64::from(self.seconds.max(1))).sqrt()
    }

    /// Sum of the squares of the values; not a number when it is not known.
    #[must_use]
    pub fn square_sum(&self) -> f64 {
        self.spread + self.sum * self.mean()
    }

    /// The value of the mean node: sum / nodes; not a number when their number is not known.
    #[must_use]
    pub fn node_mean(&self) -> f64 {
        if self.nodes == 0 { f64::NAN } else { self.sum / self.nodes as f64 }
    }

    /// The cell as its metric is read over nodes: for means every number is divided by the nodes behind a second. Exact
    /// while their number does not change within the step.
    #[must_use]
    pub fn over_nodes(&self, over_nodes: OverNodes) -> Self {
        let nodes = self.nodes as f64 / f64::from(self.seconds.max(1));
        if over_nodes == OverNodes::Sum || nodes <= 1.0 {
            return self.clone();
        }
        Self {
            sum: self.sum / nodes,
            spread: self.spread / (nodes * nodes),
            min: self.min / nodes,
            max: self.max / nodes,
            last: self.last / nodes,
            ..self.clone()
        }
    }
}

/// The spread of the seconds of both, by the update of Chan, Golub and LeVeque (1979).
fn spread_together(a: &Cell, b: &Cell) -> f64 {
    let (of_a, of_b) = (f64::from(a.seconds), f64::from(b.seconds));
    let apart = a.mean() - b.mean();
    a.spread + b.spread + apart * apart * (of_a * of_b / (of_a + of_b).max(1.0))
}

fn both(a: Option<f64>, b: Option<f64>, choose: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(choose(a, b)),
        (one, other) => one.or(other),
    }
}

fn merged(a: Option<&Arc<Histogram>>, b: Option<&Arc<Histogram>>) -> Result<Option<Arc<Histogram>>, OverflowError> {
    Ok(match (a, b) {
        (Some(a), Some(b)) if a.is_empty() => Some(Arc::clone(b)),
        (Some(a), Some(b)) if b.is_empty() => Some(Arc::clone(a)),
        (Some(a), Some(b)) => Some(Arc::new(a.plus(b)?)),
        (one, other) => one.or(other).cloned(),
    })
}

/// Cells of one series of one subject, of one tier.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesCells {
    /// Whose.
    pub subject: Subject,
    /// Which series.
    pub series: Series,
    /// Computed from others ([`starling_proto::catalogue::Derivation`]).
    pub derived: bool,
    /// Of which tier.
    pub tier: Tier,
    /// By the first second of the step, ascending. What is not there has no data.
    pub cells: Vec<(u32, Cell)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Cell {
        let mut cell = Cell::second(values[0]);
        values[1..].iter().for_each(|value| cell.append(&Cell::second(*value)).unwrap());
        cell
    }

    #[test]
    fn a_mean_over_a_hole_weighs_seconds() {
        // Scenario 50: an hour of 10, then a minute of 100.
        let mut cell = of(&[10.0; 3_600]);
        cell.append(&of(&[100.0; 60])).unwrap();
        assert!((cell.mean() - 11.4754).abs() < 1e-4 && (cell.deviation() - 11.428).abs() < 1e-3);
        assert_eq!((cell.seconds, cell.min, cell.max, cell.last), (3_660, 10.0, 100.0, 100.0));
    }

    #[test]
    fn seconds_of_several_nodes_add_up_exactly() {
        let mut cell = Cell::second(3.0);
        cell.add_over_nodes(&Cell::second(5.0)).unwrap();
        cell.add_over_nodes(&Cell::second(-1.0)).unwrap();
        assert_eq!((cell.sum, cell.min, cell.max, cell.last, cell.square_sum()), (7.0, 7.0, 7.0, 7.0, 49.0));
        assert_eq!((cell.nodes, cell.seconds, cell.node_min, cell.node_max), (3, 1, Some(-1.0), Some(5.0)));
        assert!((cell.node_mean() - 7.0 / 3.0).abs() < 1e-12);
        let mean = cell.over_nodes(OverNodes::Mean);
        assert!((mean.max - 7.0 / 3.0).abs() < 1e-12 && (mean.mean() - mean.max).abs() < 1e-12);
    }

    #[test]
    fn what_stays_the_same_does_not_vary_however_large_it_is() {
        let cell = of(&[1e15; 600]);
        assert_eq!((cell.deviation(), cell.square_sum() > 0.0), (0.0, true));
        let mut cell = of(&[1e12; 600]);
        cell.append(&of(&[1e12 + 2.0; 600])).unwrap();
        assert!((cell.deviation() - 1.0).abs() < 1e-9, "{}", cell.deviation());
    }

    #[test]
    fn independent_nodes_add_their_variances() {
        let mut cell = of(&[1.0, 3.0, 1.0, 3.0]);
        cell.add_over_nodes(&of(&[2.0, 2.0, 6.0, 6.0])).unwrap();
        assert!((cell.mean() - 6.0).abs() < 1e-12);
        assert!((cell.deviation() - (1.0f64 + 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn infinities_are_extremes_and_what_is_no_number_is_none() {
        let cell = of(&[1.5, f64::INFINITY, f64::NAN, f64::NEG_INFINITY, 2.33]);
        assert_eq!((cell.min, cell.max, cell.last), (f64::NEG_INFINITY, f64::INFINITY, 2.33));
        assert!(cell.mean().is_nan() && cell.deviation().is_nan());
    }

    #[test]
    fn nodes_that_are_not_known_of_a_part_are_not_known_of_the_whole() {
        let unknown = Cell { nodes: 0, ..Cell::second(3.0) };
        for (mut a, b) in [(unknown.clone(), Cell::second(1.0)), (Cell::second(1.0), unknown)] {
            a.append(&b).unwrap();
            assert_eq!((a.nodes, a.seconds, a.sum), (0, 2, 4.0));
            assert!(a.node_mean().is_nan());
        }
    }

    #[test]
    fn histograms_merge() {
        let with = |value| Cell { histogram: Some(Arc::new(Histogram::of(value, 2))), ..Cell::second(2.0) };
        let mut cell = with(7);
        cell.append(&with(9)).unwrap();
        cell.append(&Cell { histogram: Some(Arc::default()), ..Cell::second(0.0) }).unwrap();
        assert_eq!(cell.histogram.unwrap().count(), 4);
    }
}
