//! How seconds become points.

use std::collections::BTreeMap;

use starling_ledger::Coverage;
use starling_proto::{
    catalogue::{self, Statistic},
    v1,
};

use super::{
    about::{About, Pairs, borrowed, owned, pairs},
    asked::Asked,
    track::Track,
};
use crate::reading::{Entry, Reading};

/// Series with points in one answer.
pub(super) const SERIES_MAX: usize = 256;
/// Values in one answer: 800 kB.
const VALUES_MAX: usize = 100_000;

/// Seconds becoming points.
pub(crate) struct Fold<'a> {
    asked: &'a Asked,
    points: Vec<v1::SeriesPoint>,
    series: BTreeMap<Pairs, Track>,
    most: usize,
    left_out: usize,
}

impl<'a> Fold<'a> {
    pub(crate) fn new(asked: &'a Asked) -> Self {
        let statistics = asked.statistics.len().max(1);
        Self {
            points: (0..asked.points())
                .map(|point| {
                    let start = (asked.from / asked.step + point as u32).saturating_mul(asked.step);
                    v1::SeriesPoint {
                        tick: start.max(asked.from),
                        seconds: Some(0),
                        nodes_reporting: Some(0),
                        nodes_expected: Some(0),
                        skipped_cells: Some(0),
                    }
                })
                .collect(),
            most: (VALUES_MAX / (asked.points() * statistics)).clamp(1, SERIES_MAX),
            asked,
            series: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Takes in the second `tick`, in ascending order. `reading` is `None` when nothing of it is known; it lacks
    /// `skipped_cells` values.
    pub(crate) fn take(&mut self, tick: u32, coverage: Coverage, skipped_cells: u32, reading: Option<&Reading<'_>>) {
        let at = self.asked.point_of(tick);
        let Some(point) = self.points.get_mut(at) else { return };
        point.nodes_expected = Some(point.nodes_expected().max(coverage.expected));
        point.skipped_cells = Some(point.skipped_cells().max(skipped_cells));
        let Some(reading) = reading else { return };
        let reporting = coverage.reporting;
        let fewest = if point.seconds() == 0 { reporting } else { point.nodes_reporting().min(reporting) };
        point.nodes_reporting = Some(fewest);
        point.seconds = Some(point.seconds() + 1);
        let mut refused = 0;
        for (key, about) in self.found(reading) {
            if !self.series.contains_key(&key) {
                if self.series.len() >= self.most {
                    refused += 1;
                    continue;
                }
                self.series.insert(key.clone(), Track::new(about, self.asked, self.points.len()));
            }
            if let Some(track) = self.series.get_mut(&key) {
                track.take(at, reading, &self.asked.name, &key);
            }
        }
        self.left_out = self.left_out.max(refused);
    }

    /// The series of this second, by their attributes.
    fn found<'r>(&self, reading: &Reading<'r>) -> Vec<(Pairs, About<'r>)> {
        let (name, with) = (self.asked.name.as_str(), borrowed(&self.asked.with));
        if let Some(metric) = catalogue::find(name).filter(|metric| !metric.is_sent()) {
            if self.asked.total {
                let known = reading.statistic(name, &with, Statistic::Value).is_some();
                return known.then(|| (self.asked.with.clone(), metric.into())).into_iter().collect();
            }
            let all = reading.derived_series(metric).into_iter();
            let wanted = all.filter(|attributes| with.iter().all(|pair| attributes.contains(pair)));
            return wanted.map(|attributes| (owned(&attributes), metric.into())).collect();
        }
        let mut wanted = reading.named(name).iter().filter(|entry| entry.has(&with));
        let about = |entry: &Entry<'r>| About::from(entry.series);
        if self.asked.total {
            return wanted.next().map(|first| (self.asked.with.clone(), about(first))).into_iter().collect();
        }
        wanted.map(|entry| (pairs(entry.series), about(entry))).collect()
    }

    /// The answer, once every second was taken.
    pub(crate) fn finish(self) -> v1::SeriesAnswer {
        let name = &self.asked.name;
        let series = self.series.into_iter().map(|(attributes, mut track)| {
            track.close();
            track.answer(name, &attributes)
        });
        v1::SeriesAnswer {
            series: series.collect(),
            points: self.points,
            left_out: Some(u32::try_from(self.left_out).unwrap_or(u32::MAX)),
            ..v1::SeriesAnswer::default()
        }
    }
}
