//! Classic histograms out of the series they are sent as: `_bucket` by `le`, `_sum` and `_count`, which may come in
//! different requests.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use super::{
    exposition::{Given, Kind, Metric},
    labels::{Labels, Source},
};
use crate::receive::{
    Refusal,
    observation::{Number, StreamKey},
};

/// Histograms that are being put together: more than a node shows. Further ones are refused.
const HISTOGRAMS_MAX: usize = 4_096;
/// Buckets of one, as explicit buckets everywhere.
const BUCKETS_MAX: usize = 512;
/// Of one that was not added to for this long no more comes: Prometheus sends what it scraped within seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A metric by itself.
    Whole(Kind),
    /// One of the series of a classic histogram.
    Of { family: &'a str, suffix: &'static str },
}

impl<'a> Part<'a> {
    /// Told by the stated type, else by the types of families, else by the name.
    pub(super) fn of(name: &'a str, labels: &Labels<'_>, stated: Option<Kind>, types: &HashMap<String, Kind>) -> Self {
        let has = |label: &str| labels.iter().any(|(key, _)| key == label);
        let whole = stated.or_else(|| types.get(name).copied());
        let of_family =
            ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| Some((name.strip_suffix(suffix)?, suffix)));
        let Some((family, suffix)) = of_family.filter(|(family, _)| !family.is_empty()) else {
            return Self::Whole(whole.unwrap_or(if has("quantile") { Kind::Summary } else { Kind::Unknown }));
        };
        match whole.or_else(|| types.get(family).copied()) {
            Some(Kind::Histogram) => Self::Of { family, suffix },
            Some(kind) => Self::Whole(kind),
            None if suffix == "_bucket" && !has("le") => Self::Whole(Kind::Unknown),
            // Of a histogram or a summary, which the buckets show.
            None => Self::Of { family, suffix },
        }
    }
}

#[derive(Debug)]
struct Pending {
    source: Source,
    unit: String,
    metric: Metric<'static>,
    start_unix_ns: u64,
    time_ms: i64,
    touched: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    pending: HashMap<StreamKey, Pending>,
}

/// A histogram that is complete, with its source and time.
pub(super) type Complete = (Source, i64, Given<'static>);

impl Assembler {
    /// Adds the value of one series, with its time and start; gives the one before, which is complete when a later one begins.
    ///
    /// # Errors
    /// [`Refusal`], of this value.
    pub(super) fn add(
        &mut self,
        source: &Source,
        (family, suffix): (&str, &'static str),
        labels: &Labels<'_>,
        (time_ms, value, start_unix_ns): (i64, f64, u64),
        unit: &str,
        now: Duration,
    ) -> Result<Option<Complete>, Refusal> {
        if value.is_nan() {
            // The end of the series, and no value of it.
            return Ok(None);
        }
        let mut rest: Labels<'static> = Vec::with_capacity(labels.len());
        let mut bound = f64::NAN;
        for (key, value) in labels {
            if suffix == "_bucket" && key == "le" {
                bound = value.parse().unwrap_or(f64::NAN);
            } else {
                rest.push((Cow::Owned(key.to_string()), Cow::Owned(value.to_string())));
            }
        }
        rest.sort_unstable();
        let key = source.key(family, &rest, 0);
        let known = self.pending.get(&key).map(|pending| pending.time_ms);
        let mut before = None;
        match known {
            Some(time) if time_ms < time => return Err(Refusal::Old),
            Some(time) if time_ms == time => {}
            _ => {
                if known.is_none() && self.pending.len() >= HISTOGRAMS_MAX {
                    return Err(Refusal::StreamsFull(HISTOGRAMS_MAX));
                }
                let metric = Metric::new(Cow::Owned(family.to_owned()), rest);
                let next = Pending {
                    source: source.clone(),
                    unit: unit.to_owned(),
                    metric,
                    start_unix_ns,
                    time_ms,
                    touched: now,
                };
                before = self.pending.insert(key, next).map(Pending::complete);
            }
        }
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.touched = now;
            pending.start_unix_ns = pending.start_unix_ns.max(start_unix_ns);
            match suffix {
                "_bucket" if pending.metric.buckets.len() >= BUCKETS_MAX => {
                    return Err(Refusal::Buckets { found: BUCKETS_MAX + 1, most: BUCKETS_MAX });
                }
                "_bucket" => pending.metric.buckets.push((bound, Number::Double(value))),
                "_sum" => pending.metric.sum = Some(value),
                _ => pending.metric.count = Some(Number::Double(value)),
            }
        }
        Ok(before)
    }

    /// Those that were not added to for a while.
    pub(super) fn settled(&mut self, now: Duration) -> Vec<Complete> {
        let is_settled = |_: &StreamKey, pending: &mut Pending| now.saturating_sub(pending.touched) >= SETTLED_AFTER;
        self.pending.extract_if(is_settled).map(|(_, pending)| pending.complete()).collect()
    }

    /// True when nothing is being put together.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl Pending {
    /// What never had a bucket was a summary.
    fn complete(self) -> Complete {
        let Self { source, unit, mut metric, start_unix_ns, time_ms, .. } = self;
        let labels = std::mem::take(&mut metric.labels);
        let name = metric.name.clone();
        // Its samples were counted as they came.
        let (reading, lines) =
            if metric.buckets.is_empty() { (Err(Refusal::Summary), 1) } else { (metric.reading(Kind::Histogram), 0) };
        (source, time_ms, Given { name, unit, labels, reading, start_unix_ns, lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&'static str, &'static str)]) -> Labels<'static> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn parts_are_told_by_type_and_by_name() {
        let types = HashMap::from([
            ("h".to_owned(), Kind::Histogram),
            ("g_count".to_owned(), Kind::Gauge),
            ("s".to_owned(), Kind::Summary),
        ]);
        let of =
            |name: &'static str, pairs: &[(&'static str, &'static str)]| Part::of(name, &labels(pairs), None, &types);
        assert_eq!(of("h_sum", &[]), Part::Of { family: "h", suffix: "_sum" });
        assert_eq!((of("g_count", &[]), of("s_count", &[])), (Part::Whole(Kind::Gauge), Part::Whole(Kind::Summary)));
        assert_eq!(of("x_bucket", &[("le", "1")]), Part::Of { family: "x", suffix: "_bucket" });
        assert_eq!((of("x_bucket", &[]), of("_sum", &[])), (Part::Whole(Kind::Unknown), Part::Whole(Kind::Unknown)));
        assert_eq!(of("q", &[("quantile", "0.5")]), Part::Whole(Kind::Summary));
        let stated = Part::of("x_count", &labels(&[]), Some(Kind::Counter), &types);
        assert_eq!(stated, Part::Whole(Kind::Counter));
    }

    #[test]
    fn a_histogram_is_complete_when_the_next_begins_or_nothing_more_comes() {
        let (mut assembler, source) = (Assembler::default(), Source::new("a", Vec::new()));
        let mut add = |suffix, pairs: &[(&'static str, &'static str)], time, value, seconds| {
            let sample = (time, value, 1);
            assembler.add(&source, ("h", suffix), &labels(pairs), sample, "s", Duration::from_secs(seconds)).unwrap()
        };
        assert!(add("_bucket", &[("le", "0.1")], 5, 1.0, 0).is_none());
        assert!(add("_count", &[], 5, 3.0, 0).is_none());
        let (_, time, given) = add("_bucket", &[("le", "0.1")], 6, 2.0, 1).expect("the one before");
        assert_eq!((time, given.name.as_ref(), given.reading.is_ok()), (5, "h", true));
        let late = assembler.add(&source, ("h", "_sum"), &labels(&[]), (5, 1.0, 1), "s", Duration::from_secs(1));
        assert_eq!(late.err(), Some(Refusal::Old));
        assert!(assembler.settled(Duration::from_secs(2)).is_empty());
        assert_eq!(assembler.settled(Duration::from_secs(3)).len(), 1);
        assert!(assembler.is_empty());
    }
}
