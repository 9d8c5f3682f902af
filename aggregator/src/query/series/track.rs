//! One series over time: the seconds of a point come to one value for each statistic.

use starling_proto::{
    catalogue::{Kind, Scope, Statistic},
    histogram::HistogramSum,
    series::Series,
    v1,
};

use super::{
    about::{About, Pairs, borrowed},
    asked::Asked,
};
use crate::reading::{Reading, of_histogram};

/// One series over time.
pub(super) struct Track {
    kind: Kind,
    unit: String,
    scope: Scope,
    derived: bool,
    statistics: Vec<Statistic>,
    /// By statistic, then by point.
    values: Vec<Vec<f64>>,
    error_ppm: u32,
    /// The point being gathered.
    open: Open,
}

/// What the seconds of one point come to.
#[derive(Default)]
struct Open {
    point: usize,
    seconds: u32,
    /// By statistic: sum or extreme, and of how many seconds.
    numbers: Vec<(f64, u32)>,
    merged: Option<(Series, HistogramSum)>,
    nodes: u32,
}

impl Track {
    /// No value yet.
    pub(super) fn new(about: About<'_>, asked: &Asked, points: usize) -> Self {
        let statistics = if asked.statistics.is_empty() { about.usual() } else { asked.statistics.clone() };
        Self {
            kind: about.kind,
            unit: about.unit.to_owned(),
            scope: about.scope,
            derived: about.derived,
            values: vec![vec![f64::NAN; points]; statistics.len()],
            error_ppm: 0,
            open: Open::default(),
            statistics,
        }
    }

    /// Takes in a second of the point `point`; points come in ascending order.
    pub(super) fn take(&mut self, point: usize, reading: &Reading<'_>, name: &str, key: &Pairs) {
        if self.open.point != point {
            self.close();
            self.open = Open { point, ..Open::default() };
        }
        let with = borrowed(key);
        let histogram = self.kind == Kind::Histogram;
        self.open.seconds += 1;
        if (histogram || self.statistics.iter().any(|statistic| statistic.quantile().is_some()))
            && let Some((series, seen)) = reading.distribution(name, &with)
        {
            let (_, merged) = self.open.merged.get_or_insert_with(|| (series.clone(), HistogramSum::new()));
            // Counts are capped where they enter: 900 seconds of them fit.
            let added = merged.add(&seen);
            debug_assert!(added.is_ok(), "{added:?}");
        }
        let nodes = reading.statistic(name, &with, Statistic::Nodes).unwrap_or_default();
        self.open.nodes = self.open.nodes.max(nodes as u32);
        if histogram {
            return;
        }
        self.open.numbers.resize(self.statistics.len(), (0.0, 0));
        let read = reading.statistics(name, &with, &self.statistics);
        for ((number, statistic), value) in self.open.numbers.iter_mut().zip(&self.statistics).zip(read) {
            let Some(value) = value else { continue };
            let (so_far, seconds) = *number;
            let together = match statistic {
                _ if seconds == 0 => value,
                Statistic::Min => so_far.min(value),
                Statistic::Max | Statistic::Nodes => so_far.max(value),
                _ => so_far + value,
            };
            *number = (together, seconds + 1);
        }
    }

    /// Ends the point being gathered.
    pub(super) fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.seconds == 0 {
            return;
        }
        let merged = open.merged.map(|(series, sum)| (series, sum.to_histogram()));
        let of_values = merged.as_ref().map(|(series, histogram)| {
            if self.statistics.iter().any(|statistic| statistic.quantile().is_some()) {
                self.error_ppm = self.error_ppm.max(histogram.quantile_error_ppm());
            }
            of_histogram(series, histogram, open.nodes, &self.statistics)
        });
        for (at, statistic) in self.statistics.iter().enumerate() {
            let of_values = of_values.as_ref().and_then(|values| values[at]);
            let number = open.numbers.get(at).filter(|(_, seconds)| *seconds > 0);
            let value = match statistic {
                _ if self.kind == Kind::Histogram => of_values,
                Statistic::Quantile(_) => of_values,
                Statistic::Min | Statistic::Max | Statistic::Nodes => number.map(|(value, _)| *value),
                _ => number.map(|(sum, seconds)| sum / f64::from(*seconds)),
            };
            if let (Some(value), Some(slot)) = (value, self.values[at].get_mut(open.point)) {
                *slot = value;
            }
        }
    }

    /// The series, once its last point is closed.
    pub(super) fn answer(self, name: &str, attributes: &Pairs) -> v1::Series {
        let about = About { kind: self.kind, unit: &self.unit, scope: self.scope, derived: self.derived };
        let error_ppm = self.error_ppm;
        let statistics = self.statistics.iter().zip(self.values).map(|(statistic, values)| v1::StatisticValues {
            statistic: statistic.to_string(),
            values,
            error_bound_ppm: if statistic.quantile().is_some() { error_ppm } else { 0 },
        });
        about.series(name, attributes, statistics.collect())
    }
}
