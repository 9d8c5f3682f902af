//! Puts one second together: what the host and the applications brought, within the limits of a frame.

use std::{collections::HashSet, sync::Arc, time::Duration};

use starling_proto::{
    catalogue::{self, Scope},
    frame::Content,
    limits::{ATTRIBUTES_MAX, NAME_LEN_MAX, SERIES_PER_NODE_MAX},
    series::{Sample, Series, Value},
};
use starling_service::log::LogLimiter;
use tracing::warn;

use crate::{
    metrics::Metrics,
    receive::Merged,
    uplink::{LossReason, Losses},
};

/// Series that find no room are named in the log at most this often.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// About how many bytes the keyframe of a second may take: a message may be
/// [`MESSAGE_BYTES_MAX`](starling_proto::limits::MESSAGE_BYTES_MAX) of 256 KiB, and a longer one would never arrive. The
/// default of 500 application series with five attributes of 20 characters takes about 100 KiB.
const FRAME_BYTES_MAX: usize = 200 * 1024;

/// The content of a second, and what found no room in it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) content: Arc<Content>,
    /// Samples that keep all rules and were left out because there were too many of them or they were too long.
    pub(crate) no_room: usize,
    /// Samples that break a rule, and those of a series that stands in the frame already, and the name of one.
    pub(crate) invalid: Option<(usize, String)>,
}

/// Builds the content of a second.
///
/// Samples that break a limit are left out and counted in [`Content::dropped`], so that one odd sample never costs the
/// second; so are those of a series that stands twice, of which the first stays; and so are those beyond the number of
/// series or the bytes of a frame. What is worth least goes first: the
/// series of applications, then the host's own drill-down, then what the cluster adds up by names that somebody chose, and
/// only then what it adds up of every host.
pub(crate) fn content(tick: u32, samples: Vec<Sample>, refused: u64) -> Report {
    let came = samples.len();
    let samples = within_room(samples);
    let no_room = came - samples.len();
    let mut content = Content { tick, samples, dropped: 0 };
    let mut invalid = None;
    if content.check().is_err() {
        let mut seen = HashSet::with_capacity(content.samples.len());
        content.samples.retain(|sample| {
            let alone = Content { tick, samples: vec![sample.clone()], dropped: 0 };
            let why = match alone.check() {
                Ok(()) if seen.insert(sample.series.clone()) => return true,
                Ok(()) => format!("{} stands twice", sample.series),
                Err(error) => error.to_string(),
            };
            invalid.get_or_insert((0, why)).0 += 1;
            false
        });
    }
    let left_out = (came - content.samples.len()) as u64;
    content.dropped = u32::try_from(left_out.saturating_add(refused)).unwrap_or(u32::MAX);
    Report { content: Arc::new(content), no_room, invalid }
}

/// Keeps the number of series and the bytes of a keyframe within their limits.
fn within_room(mut samples: Vec<Sample>) -> Vec<Sample> {
    if samples.len() <= SERIES_PER_NODE_MAX && samples.iter().map(keyframe_bytes).sum::<usize>() <= FRAME_BYTES_MAX {
        return samples;
    }
    // By name where the worth is equal: the same series stay from one second to the next, and a metric as a whole.
    samples.sort_by(|a, b| worth(a).cmp(&worth(b)).then_with(|| a.series.cmp(&b.series)));
    let mut bytes = 0;
    let stay = samples.iter().take(SERIES_PER_NODE_MAX).take_while(|sample| {
        bytes += keyframe_bytes(sample);
        bytes <= FRAME_BYTES_MAX
    });
    let stay = stay.count();
    samples.truncate(stay);
    samples
}

/// The lower, the longer a sample stays.
fn worth(sample: &Sample) -> u8 {
    match sample.series.scope() {
        Scope::Cluster if catalogue::is_of_every_host(sample.series.name()) => 0,
        Scope::Cluster => 1,
        Scope::Node if catalogue::find(sample.series.name()).is_some() => 2,
        Scope::Node => 3,
    }
}

/// At most how many bytes a sample takes in a frame that names every series: form and layout of the frame codec. One
/// byte holds lengths up to 127, two the others.
fn keyframe_bytes(sample: &Sample) -> usize {
    let series = &sample.series;
    let text = |text: &str| 2 + text.len();
    let attributes: usize = series.attributes().iter().map(|(key, value)| text(key) + text(value)).sum();
    let value = match &sample.value {
        Value::Counter(_) | Value::Gauge(_) => 10,
        // 40 of head; a gap of up to two bytes and a count of up to five a bucket.
        Value::Histogram(histogram) => 40 + 7 * histogram.buckets().len(),
    };
    // Kind and number of attributes, and two for the number of the series.
    2 + text(series.name()) + text(series.unit()) + attributes + 2 + value
}

/// Reports samples that were left out, by counters always and by a line once in a while.
#[derive(Debug)]
pub(crate) struct LeftOut {
    no_room: LogLimiter,
    invalid: LogLimiter,
    merged: LogLimiter,
}

impl Default for LeftOut {
    fn default() -> Self {
        let lines = || LogLimiter::new(LINE_EVERY);
        Self { no_room: lines(), invalid: lines(), merged: lines() }
    }
}

impl LeftOut {
    /// Counts what was left out of a second.
    pub(crate) fn note(&self, report: &Report, metrics: &Metrics) {
        let tick = report.content.tick;
        if let Some((samples, why)) = &report.invalid {
            metrics.frame_invalid.add(*samples as u64);
            if let Some(lines_left_out) = self.invalid.allow() {
                warn!(lines_left_out, tick, left_out = samples, %why, "samples do not fit the rules of a frame");
            }
        }
        if report.no_room == 0 {
            return;
        }
        metrics.frame_no_room.add(report.no_room as u64);
        if let Some(lines_left_out) = self.no_room.allow() {
            warn!(
                lines_left_out,
                tick,
                left_out = report.no_room,
                bytes_max = FRAME_BYTES_MAX,
                series_max = SERIES_PER_NODE_MAX,
                "application series do not fit a frame, send fewer attributes or shorter ones"
            );
        }
    }

    /// Counts points that were merged in a second, because they had more attributes than a series.
    pub(crate) fn note_merged(&self, merged: &Merged, metrics: &Metrics) {
        let Some((metric, attributes)) = &merged.first else { return };
        metrics.receive_merged.add(merged.points);
        if let Some(lines_left_out) = self.merged.allow() {
            warn!(
                lines_left_out,
                points = merged.points,
                metric = metric.escape_debug().take(NAME_LEN_MAX).collect::<String>(),
                attributes,
                attributes_max = ATTRIBUTES_MAX,
                "points have more attributes than a series takes: what differs in the others alone is added up; leave out \
                 attributes that nobody asks for (docs/send.md, \"Many attributes\")"
            );
        }
    }
}

/// Only what adds up: for the part of a second before the daemon stops, whose gauges would stand beside those of the
/// daemon that starts after it.
pub(crate) fn increments(samples: Vec<Sample>) -> Vec<Sample> {
    samples.into_iter().filter(|sample| !matches!(sample.value, Value::Gauge(_))).collect()
}

/// Frames lost, as samples. A reason appears when it first occurs and stays, with 0 where nothing was lost.
#[derive(Debug, Default)]
pub(crate) struct LossSamples {
    reported: Losses,
    seen: Vec<(LossReason, Series)>,
}

impl LossSamples {
    /// What was lost since the last call.
    pub(crate) fn cut(&mut self, lost: Losses, samples: &mut Vec<Sample>) {
        let fresh = lost.since(&self.reported);
        self.reported = lost;
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
    use prost::Message as _;
    use starling_proto::{catalogue::Kind, frame::Encoder, limits::MESSAGE_BYTES_MAX};

    fn app(i: usize, value: u64) -> Sample {
        let series = Series::application(&format!("m{i}"), &[], Kind::Counter, "1", 0, Scope::Node).unwrap();
        Sample { series, value: Value::Counter(value) }
    }

    #[test]
    fn an_odd_sample_is_left_out_and_counted() {
        let report = content(7, vec![app(1, 1), app(2, u64::MAX), app(3, 3)], 4);
        let content = report.content;
        assert_eq!((content.samples.len(), content.dropped, content.tick), (2, 5, 7));
        assert_eq!(report.no_room, 0);
        assert!(content.check().is_ok());
    }

    #[test]
    fn a_series_that_stands_twice_costs_one_sample() {
        let report = content(7, vec![app(1, 1), app(2, 2), app(1, 3), app(1, u64::MAX), app(3, 3)], 0);
        assert_eq!(report.content.samples, [app(1, 1), app(2, 2), app(3, 3)]);
        assert_eq!((report.content.dropped, report.no_room), (2, 0));
        assert_eq!(report.invalid, Some((2, "m1 stands twice".to_owned())));
        assert!(report.content.check().is_ok());
    }

    #[test]
    fn with_too_many_series_the_cluster_keeps_its_own() {
        let mut samples: Vec<Sample> = (0..SERIES_PER_NODE_MAX + 10).map(|i| app(i, 1)).collect();
        let memory = Series::of(&catalogue::MEMORY_LIMIT, &[]);
        samples.push(Sample { series: memory.clone(), value: Value::Gauge(1) });
        let report = content(7, samples, 0);
        let content = report.content;
        assert_eq!((content.samples.len(), content.dropped, report.no_room), (SERIES_PER_NODE_MAX, 11, 11));
        assert!(content.samples.iter().any(|sample| sample.series == memory));
    }

    fn keyframe(content: &Content) -> usize {
        Encoder::new().encode(content, None, true).encoded_len()
    }

    #[test]
    fn long_attributes_never_cost_the_host_its_second() {
        let value = "v".repeat(40);
        let keys: Vec<String> = (0..8).map(|i| format!("key.{i}")).collect();
        let attributes: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), value.as_str())).collect();
        let long = |i: usize| {
            let name = format!("app.counter.{i:04}");
            let series = Series::application(&name, &attributes, Kind::Counter, "1", 0, Scope::Node).unwrap();
            Sample { series, value: Value::Counter(i as u64) }
        };
        let host = [
            Sample { series: Series::of(&catalogue::MEMORY_LIMIT, &[]), value: Value::Gauge(1) },
            Sample {
                series: Series::of(&catalogue::COLLECT_DURATION, &[("collector", "cpu")]),
                value: Value::Counter(5),
            },
        ];
        let mut samples: Vec<Sample> = (0..1500).map(long).collect();
        samples.extend(host.clone());
        let whole = Content { tick: 7, samples: samples.clone(), dropped: 0 };
        assert!(keyframe(&whole) > MESSAGE_BYTES_MAX, "it would never arrive");

        let report = content(7, samples.clone(), 3);
        let kept = &report.content.samples;
        assert!(host.iter().all(|sample| kept.contains(sample)), "the host's own stays");
        let bytes = keyframe(&report.content);
        assert!(bytes <= FRAME_BYTES_MAX && bytes > FRAME_BYTES_MAX * 9 / 10, "{bytes} bytes");
        assert_eq!(report.no_room, 1502 - kept.len());
        assert_eq!(report.content.dropped as usize, report.no_room + 3);

        samples.reverse();
        assert_eq!(*content(7, samples, 3).content, *report.content, "the same ones stay, however they come");
    }

    #[test]
    fn the_estimate_is_not_less_than_what_is_sent() {
        let mut sum = starling_proto::histogram::HistogramSum::new();
        (0..4000u64).for_each(|i| sum.record(i * i * 997, 1));
        let series = Series::application("h", &[("k", "")], Kind::Histogram, "ns", 0, Scope::Node).unwrap();
        let histogram = Sample { series, value: Value::Histogram(Arc::new(sum.to_histogram())) };
        for sample in [histogram, app(1, 1 << 40)] {
            let estimate = keyframe_bytes(&sample);
            let content = Content { tick: 7, samples: vec![sample], dropped: 0 };
            let frame = Encoder::new().encode(&content, None, true);
            assert!(frame.node.len() <= estimate + 4, "{} of {estimate}", frame.node.len());
        }
    }

    #[test]
    fn losses_are_reported_once_and_then_stay_at_0() {
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
