//! Puts one second together: what the host and the applications brought, within the limits of a frame.

use std::sync::Arc;

use starling_proto::{
    catalogue::{self, Scope},
    frame::Content,
    limits::SERIES_PER_NODE_MAX,
    series::{Sample, Series, Value},
};

use crate::uplink::{LossReason, Losses};

/// Builds the content of a second.
///
/// Samples that break a limit are left out and counted in [`Content::dropped`], so that one odd sample never costs the
/// second. With too many series the drill-down of applications goes first: `samples` come in the order of their worth.
pub(crate) fn content(tick: u32, mut samples: Vec<Sample>, refused: u64) -> Arc<Content> {
    let came = samples.len();
    if samples.len() > SERIES_PER_NODE_MAX {
        let mut room = SERIES_PER_NODE_MAX
            - samples.iter().filter(|s| s.series.scope() == Scope::Cluster).count().min(SERIES_PER_NODE_MAX);
        samples.retain(|sample| {
            let stays = sample.series.scope() == Scope::Cluster || room > 0;
            if stays && sample.series.scope() == Scope::Node {
                room -= 1;
            }
            stays
        });
        samples.truncate(SERIES_PER_NODE_MAX);
    }
    let mut content = Content { tick, samples, dropped: 0 };
    if content.check().is_err() {
        content.samples.retain(|sample| Content { tick, samples: vec![sample.clone()], dropped: 0 }.check().is_ok());
    }
    let left_out = (came - content.samples.len()) as u64;
    content.dropped = u32::try_from(left_out.saturating_add(refused)).unwrap_or(u32::MAX);
    Arc::new(content)
}

/// Only what adds up: for the part of a second before the daemon stops, whose gauges would stand beside those of the
/// daemon that starts after it.
pub(crate) fn increments(samples: Vec<Sample>) -> Vec<Sample> {
    samples.into_iter().filter(|sample| !matches!(sample.value, Value::Gauge(_))).collect()
}

/// Frames lost, as samples. A reason appears when it first occurs and stays, with 0 where nothing was lost.
#[derive(Debug, Default)]
pub(crate) struct LossSamples {
    told: Losses,
    seen: Vec<(LossReason, Series)>,
}

impl LossSamples {
    /// What was lost since the last call.
    pub(crate) fn cut(&mut self, lost: Losses, samples: &mut Vec<Sample>) {
        let fresh = lost.since(&self.told);
        self.told = lost;
        for (reason, _) in fresh.iter() {
            if self.seen.iter().all(|&(seen, _)| seen != reason) {
                self.seen.push((reason, Series::of(&catalogue::FRAMES_DROPPED, &[("reason", reason.as_str())])));
            }
        }
        let sample = |(reason, series): &(LossReason, Series)| Sample {
            series: series.clone(),
            value: Value::Counter(fresh.get(*reason)),
        };
        samples.extend(self.seen.iter().map(sample));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::catalogue::Kind;

    fn app(i: usize, value: u64) -> Sample {
        let series = Series::application(&format!("m{i}"), &[], Kind::Counter, "1", 0, Scope::Node).unwrap();
        Sample { series, value: Value::Counter(value) }
    }

    #[test]
    fn an_odd_sample_is_left_out_and_counted() {
        let content = content(7, vec![app(1, 1), app(2, u64::MAX), app(3, 3)], 4);
        assert_eq!((content.samples.len(), content.dropped, content.tick), (2, 5, 7));
        assert!(content.check().is_ok());
    }

    #[test]
    fn with_too_many_series_the_cluster_keeps_its_own() {
        let mut samples: Vec<Sample> = (0..SERIES_PER_NODE_MAX + 10).map(|i| app(i, 1)).collect();
        let memory = Series::of(&catalogue::MEMORY_LIMIT, &[]);
        samples.push(Sample { series: memory.clone(), value: Value::Gauge(1) });
        let content = content(7, samples, 0);
        assert_eq!((content.samples.len(), content.dropped), (SERIES_PER_NODE_MAX, 11));
        assert!(content.samples.iter().any(|sample| sample.series == memory));
    }

    #[test]
    fn losses_are_told_once_and_then_stay_at_0() {
        let mut reported = LossSamples::default();
        let mut lost = Losses::default();
        let mut cut = |lost| {
            let mut samples = Vec::new();
            reported.cut(lost, &mut samples);
            samples.into_iter().map(|sample| (sample.series.to_string(), sample.value)).collect::<Vec<_>>()
        };
        assert_eq!(cut(lost), []);
        lost.add(LossReason::RingFull, 3);
        let name = "starling.node.frames.dropped{reason=ring_full}".to_owned();
        assert_eq!(cut(lost), [(name.clone(), Value::Counter(3))]);
        assert_eq!(cut(lost), [(name, Value::Counter(0))]);
    }

    #[test]
    fn the_last_part_of_a_second_has_no_gauges() {
        let memory = Sample { series: Series::of(&catalogue::MEMORY_LIMIT, &[]), value: Value::Gauge(1) };
        assert_eq!(increments(vec![memory, app(1, 2)]), [app(1, 2)]);
    }
}
