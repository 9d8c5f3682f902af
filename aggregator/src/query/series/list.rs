//! The series there are.

use starling_proto::{catalogue::METRICS, v1};

use super::{
    about::{About, borrowed, owned, pairs},
    asked::Asked,
};
use crate::reading::Reading;

/// Series in a list: all of a node ([`starling_proto::limits::SERIES_PER_NODE_MAX`]) with what is derived, in about 1 MB.
const LISTED_MAX: usize = 10_000;

/// The series of one second with the attributes asked for, what was sent and what is derived, sorted by name.
pub(crate) fn list(reading: &Reading<'_>, asked: &Asked) -> v1::SeriesAnswer {
    let with = borrowed(&asked.with);
    let sent = reading.entries().iter().filter(|entry| entry.has(&with));
    let sent =
        sent.map(|entry| About::from(entry.series).series(entry.series.name(), &pairs(entry.series), Vec::new()));
    let derived = METRICS.iter().copied().filter(|metric| !metric.is_sent()).flat_map(|metric| {
        let all = reading.derived_series(metric).into_iter();
        let wanted = all.filter(|attributes| with.iter().all(|pair| attributes.contains(pair)));
        wanted.map(move |attributes| About::from(metric).series(metric.name, &owned(&attributes), Vec::new()))
    });
    let mut series: Vec<v1::Series> = sent.chain(derived).collect();
    // Sent ones are in the order of their attributes already: the sort is stable.
    series.sort_by(|a, b| a.name.cmp(&b.name));
    let left_out = u32::try_from(series.len().saturating_sub(LISTED_MAX)).unwrap_or(u32::MAX);
    series.truncate(LISTED_MAX);
    v1::SeriesAnswer { series, left_out: Some(left_out), ..v1::SeriesAnswer::default() }
}
