//! The daemon's own counters, served at `/metrics`: name, unit and help together.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::uplink::UplinkStats;

const FRAMES_CUT: &str = "starling_node_frames_cut_total";
const FRAMES_ACKED: &str = "starling_node_frames_acked_total";
const FRAMES_LOST: &str = "starling_node_frames_lost_total";
const FRAMES_UNACKED: &str = "starling_node_frames_unacked";
const FRAMES_UNACKED_BYTES: &str = "starling_node_frames_unacked_bytes";
const UPLINKS_CONNECTED: &str = "starling_node_uplinks_connected";
const DIALS: &str = "starling_node_dials_total";
const REDIRECTS: &str = "starling_node_redirects_total";
const NO_ACK_HOPS: &str = "starling_node_no_ack_hops_total";
const CLOCK_HOPS: &str = "starling_node_clock_hops_total";
const CLOCK_OFFSET: &str = "starling_node_clock_offset_seconds";
const TICKS: &str = "starling_node_ticks_total";
const TICKS_MISSED: &str = "starling_node_ticks_missed_total";
const CLOCK_STEPS: &str = "starling_node_clock_steps_total";
const TICK_DELAY: &str = "starling_node_tick_delay_seconds";
const COLLECT_OVERRUNS: &str = "starling_node_collect_overruns_total";
const SAMPLES: &str = "starling_node_frame_samples";
const SAMPLES_NO_ROOM: &str = "starling_node_frame_no_room_samples_total";
const OTLP_REQUESTS: &str = "starling_node_otlp_requests_total";
const OTLP_POINTS: &str = "starling_node_otlp_points_total";
const OTLP_REFUSED: &str = "starling_node_otlp_refused_points_total";
const OTLP_STREAMS: &str = "starling_node_otlp_streams";
const OTLP_SERIES: &str = "starling_node_otlp_series";

/// Tells the recorder what each metric is. Call once, after the recorder is installed.
pub(crate) fn describe() {
    describe_counter!(FRAMES_CUT, Unit::Count, "Frames cut, one a second.");
    describe_counter!(FRAMES_ACKED, Unit::Count, "Frames an aggregator has acknowledged.");
    describe_counter!(FRAMES_LOST, Unit::Count, "Frames that will never be counted, by reason.");
    describe_gauge!(FRAMES_UNACKED, Unit::Count, "Frames kept without an acknowledgement.");
    describe_gauge!(FRAMES_UNACKED_BYTES, Unit::Bytes, "About how many bytes the kept frames take.");
    describe_gauge!(UPLINKS_CONNECTED, Unit::Count, "Streams an aggregator has accepted and not ended.");
    describe_counter!(DIALS, Unit::Count, "Attempts to reach an aggregator.");
    describe_counter!(REDIRECTS, Unit::Count, "Redirects to another aggregator.");
    describe_counter!(NO_ACK_HOPS, Unit::Count, "Streams left because nothing was acknowledged.");
    describe_counter!(CLOCK_HOPS, Unit::Count, "Streams left because the aggregator's clock differs.");
    describe_gauge!(CLOCK_OFFSET, Unit::Seconds, "The aggregator's clock less ours at the last accept.");
    describe_counter!(TICKS, Unit::Count, "Seconds cut.");
    describe_counter!(TICKS_MISSED, Unit::Count, "Seconds that passed without a cut.");
    describe_counter!(CLOCK_STEPS, Unit::Count, "Steps of the wall clock by more than a second.");
    describe_gauge!(TICK_DELAY, Unit::Seconds, "Time from the newest second's end to its frame.");
    describe_counter!(COLLECT_OVERRUNS, Unit::Count, "Seconds cut without the host's samples, which were late.");
    describe_gauge!(SAMPLES, Unit::Count, "Samples of the newest frame.");
    describe_counter!(SAMPLES_NO_ROOM, Unit::Count, "Samples left out because a frame has no room for them.");
    describe_counter!(OTLP_REQUESTS, Unit::Count, "Export requests taken by the OTLP door.");
    describe_counter!(OTLP_POINTS, Unit::Count, "Data points taken by the OTLP door.");
    describe_counter!(OTLP_REFUSED, Unit::Count, "Data points refused by the OTLP door, by reason.");
    describe_gauge!(OTLP_STREAMS, Unit::Count, "Cumulative streams whose last value is kept.");
    describe_gauge!(OTLP_SERIES, Unit::Count, "Application series that are present.");
}

/// Counts what an uplink did between two states of its counts. Several uplinks of one process add up.
pub(crate) fn uplink(before: &UplinkStats, now: &UplinkStats) {
    counter!(FRAMES_CUT).increment(now.cut - before.cut);
    counter!(FRAMES_ACKED).increment(now.acked - before.acked);
    for (reason, frames) in now.lost.since(&before.lost).iter() {
        counter!(FRAMES_LOST, "reason" => reason.as_str()).increment(frames);
    }
    counter!(DIALS).increment(u64::from(now.sessions - before.sessions));
    counter!(REDIRECTS).increment(now.redirects - before.redirects);
    counter!(NO_ACK_HOPS).increment(now.no_ack_hops - before.no_ack_hops);
    counter!(CLOCK_HOPS).increment(now.clock_hops - before.clock_hops);
    gauge!(FRAMES_UNACKED).increment(now.unacked as f64 - before.unacked as f64);
    gauge!(FRAMES_UNACKED_BYTES).increment(now.unacked_bytes as f64 - before.unacked_bytes as f64);
    let connected = |stats: &UplinkStats| f64::from(u8::from(stats.connected.is_some()));
    gauge!(UPLINKS_CONNECTED).increment(connected(now) - connected(before));
}

/// Notes the aggregator's clock less ours.
pub(crate) fn clock_offset(offset_ms: i64) {
    gauge!(CLOCK_OFFSET).set(offset_ms as f64 / 1e3);
}

/// Counts what one OTLP request brought.
pub(crate) fn otlp(taken: u64, refused: &[(&'static str, u64)]) {
    counter!(OTLP_REQUESTS).increment(1);
    counter!(OTLP_POINTS).increment(taken);
    for &(reason, points) in refused {
        counter!(OTLP_REFUSED, "reason" => reason).increment(points);
    }
}

/// Counts a second that was cut, `missed` that were not, how late it was, and its samples.
pub(crate) fn tick(missed: u32, delay: std::time::Duration, samples: usize) {
    counter!(TICKS).increment(1);
    counter!(TICKS_MISSED).increment(missed.into());
    gauge!(TICK_DELAY).set(delay.as_secs_f64());
    gauge!(SAMPLES).set(samples as f64);
}

/// Counts samples that a frame had no room for.
pub(crate) fn no_room(samples: u64) {
    counter!(SAMPLES_NO_ROOM).increment(samples);
}

/// Counts a step of the wall clock.
pub(crate) fn clock_step() {
    counter!(CLOCK_STEPS).increment(1);
}

/// Counts a second that was cut without the host's samples.
pub(crate) fn collect_overrun() {
    counter!(COLLECT_OVERRUNS).increment(1);
}

/// Notes how large the tables of the door are.
pub(crate) fn door(series: usize, streams: usize) {
    gauge!(OTLP_SERIES).set(series as f64);
    gauge!(OTLP_STREAMS).set(streams as f64);
}
