//! What goes into one request.

use starling_history::Subject;
use starling_promql::{Labels, stale_marker};
use starling_proto::catalogue::Kind;

use crate::Native;

/// One value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    /// Of a gauge or counter.
    Number(f64),
    /// Of a histogram.
    Histogram(Native),
}

impl Point {
    /// The marker that a series ends.
    pub(super) fn end(histogram: bool) -> Self {
        match histogram {
            true => Self::Histogram(Native { sum: stale_marker(), ..Native::default() }),
            false => Self::Number(stale_marker()),
        }
    }
}

/// Samples of one series, ascending in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// Its labels, the name and the external ones too.
    pub labels: Labels,
    /// What it is.
    pub kind: Kind,
    /// What it counts, in words.
    pub help: &'static str,
    /// When a counter was 0 and a histogram empty, Unix milliseconds; 0 for a gauge.
    pub created_ms: i64,
    /// By Unix milliseconds.
    pub samples: Vec<(i64, Point)>,
}

/// What goes into one request: whole seconds of whole subjects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// By series.
    pub points: Vec<Points>,
    /// The last second that is taken of each subject that is in it.
    pub taken: Vec<(Subject, u32)>,
    /// Samples in it that are numbers.
    pub numbers: u64,
    /// Samples in it that are histograms.
    pub histograms: u64,
    /// Its first and last second.
    pub seconds: Option<(u32, u32)>,
}

impl Batch {
    pub(super) fn push(&mut self, points: Points) {
        for (time, point) in &points.samples {
            match point {
                Point::Number(_) => self.numbers += 1,
                Point::Histogram(_) => self.histograms += 1,
            }
            let tick = u32::try_from(time.div_euclid(1_000)).unwrap_or_default();
            let (first, last) = self.seconds.get_or_insert((tick, tick));
            (*first, *last) = ((*first).min(tick), (*last).max(tick));
        }
        self.points.push(points);
    }

    /// Samples in it.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.numbers + self.histograms
    }
}
