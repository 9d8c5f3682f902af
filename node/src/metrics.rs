//! What the daemon counts of itself, served at `/metrics`.

use std::time::Duration;

use starling_service::metrics::{By, Counter, Gauge};

use crate::uplink::UplinkStats;

starling_service::metrics! {
    /// The daemon's own metrics.
    pub struct Metrics {
        /// Frames cut, one a second.
        frames_cut: Counter = "starling_node_frames_cut";
        /// Frames an aggregator has acknowledged.
        frames_acked: Counter = "starling_node_frames_acked";
        /// Frames that will never be counted, by reason.
        frames_lost: By<Counter> = "starling_node_frames_lost", label "reason";
        /// Frames of starts before that were read from the disk.
        frames_recovered: Counter = "starling_node_frames_recovered";
        /// Records and streams of starts before that could not be read from the disk.
        spool_unreadable: Counter = "starling_node_spool_unreadable";
        /// Bytes of frames on the disk, for the next start.
        spool_bytes: Gauge = "starling_node_spool", unit Bytes;
        /// Times that frames could not be written to the disk.
        spool_failures: Counter = "starling_node_spool_failures";
        /// Frames kept without an acknowledgement.
        frames_unacked: Gauge = "starling_node_frames_unacked";
        /// About how many bytes the kept frames take.
        frames_unacked_bytes: Gauge = "starling_node_frames_unacked", unit Bytes;
        /// Streams an aggregator has accepted and not ended.
        uplinks_connected: Gauge = "starling_node_uplinks_connected";
        /// Attempts to reach an aggregator.
        dials: Counter = "starling_node_dials";
        /// Redirects to another aggregator.
        redirects: Counter = "starling_node_redirects";
        /// Streams left because nothing was acknowledged.
        no_ack_hops: Counter = "starling_node_no_ack_hops";
        /// Streams left because the aggregator's clock differs.
        clock_hops: Counter = "starling_node_clock_hops";
        /// The aggregator's clock less ours at the last accept.
        clock_offset: Gauge = "starling_node_clock_offset", unit Seconds;
        /// Seconds cut.
        ticks: Counter = "starling_node_ticks";
        /// Seconds that passed without a cut.
        ticks_missed: Counter = "starling_node_ticks_missed";
        /// Steps of the wall clock by more than a second.
        clock_steps: Counter = "starling_node_clock_steps";
        /// Time from the newest second's end to its frame.
        tick_delay: Gauge = "starling_node_tick_delay", unit Seconds;
        /// Seconds cut without a collector's samples, which were late or are still to come, by collector.
        collect_overruns: By<Counter> = "starling_node_collect_overruns", label "collector";
        /// 1 for a collector that gave its samples in the newest second, 0 for one that failed or did not return.
        collector_up: By<Gauge> = "starling_node_collector_up", label "collector";
        /// Times that the processes were read one by one, because somebody looks at this node.
        looks: Counter = "starling_node_detail_looks";
        /// Processor time of that.
        looks_cpu: Counter = "starling_node_detail_looks_cpu_milliseconds";
        /// Samples of the newest frame.
        frame_samples: Gauge = "starling_node_frame_samples";
        /// Samples left out because they break a limit of a frame or stand in it already.
        frame_invalid: Counter = "starling_node_frame_invalid_samples";
        /// Samples left out because a frame has no room for them.
        frame_no_room: Counter = "starling_node_frame_no_room_samples";
        /// Export requests taken by the OTLP receiver.
        otlp_requests: Counter = "starling_node_otlp_requests";
        /// OTLP and remote-write requests of which nothing was taken, by reason. "busy" and "stalled" are asked to come again.
        otlp_failed: By<Counter> = "starling_node_otlp_failed_requests", label "reason";
        /// Requests in a protocol that is not spoken on their port, by port: OTLP over HTTP sent to the gRPC port, and the like.
        otlp_foreign: By<Counter> = "starling_node_otlp_foreign_requests", label "port";
        /// Requests with traces or logs, which are not taken, by signal.
        otlp_other_signals: By<Counter> = "starling_node_otlp_other_signals", label "signal";
        /// Data points taken by the OTLP receiver.
        otlp_points: Counter = "starling_node_otlp_points";
        /// Data points refused by the OTLP receiver, by reason.
        otlp_refused: By<Counter> = "starling_node_otlp_refused_points", label "reason";
        /// Data points left out because their sender reports the same requests under a newer name as well.
        otlp_superseded: Counter = "starling_node_otlp_superseded_points";
        /// Datagrams of StatsD, and frames on its stream socket.
        statsd_datagrams: Counter = "starling_node_statsd_datagrams";
        /// Samples taken by the StatsD receiver.
        statsd_samples: Counter = "starling_node_statsd_samples";
        /// Samples refused by the StatsD receiver, by reason. A line that cannot be read is one.
        statsd_refused: By<Counter> = "starling_node_statsd_refused_samples", label "reason";
        /// Datagrams that the kernel dropped before the StatsD receiver, because the receive buffer was full.
        statsd_dropped: Counter = "starling_node_statsd_dropped_datagrams";
        /// Connections on the StatsD stream socket that were not taken, because there are too many.
        statsd_crowded: Counter = "starling_node_statsd_crowded_connections";
        /// Streams of StatsD that are known: names with their tags and type.
        statsd_streams: Gauge = "starling_node_statsd_streams";
        /// Scrapes of targets.
        scrapes: Counter = "starling_node_scrapes";
        /// Scrapes of which nothing was taken, by reason.
        scrape_failed: By<Counter> = "starling_node_scrape_failures", label "reason";
        /// Scrapes that were left out because the one before took longer than the interval.
        scrapes_skipped: Counter = "starling_node_scrapes_skipped";
        /// Samples taken from targets.
        scrape_samples: Counter = "starling_node_scrape_samples";
        /// Samples of targets that were refused, by reason. A line that cannot be read is one.
        scrape_refused: By<Counter> = "starling_node_scrape_refused_samples", label "reason";
        /// Targets that are scraped.
        scrape_targets: Gauge = "starling_node_scrape_targets";
        /// Files of targets that could not be read, and bounds that they exceed.
        scrape_file_mistakes: Gauge = "starling_node_scrape_file_mistakes";
        /// Requests taken by the receiver of remote write.
        write_requests: Counter = "starling_node_write_requests";
        /// Samples taken by the receiver of remote write.
        write_samples: Counter = "starling_node_write_samples";
        /// Samples of remote write that were refused, by reason.
        write_refused: By<Counter> = "starling_node_write_refused_samples", label "reason";
        /// Increments that cover more than a second and were counted in one, because too much waits to be played out.
        otlp_unplayed: Counter = "starling_node_otlp_unplayed_increments";
        /// About how many bytes wait to be played out over the seconds that follow.
        otlp_playing: Gauge = "starling_node_otlp_playing", unit Bytes;
        /// Cumulative streams whose last value is kept.
        otlp_streams: Gauge = "starling_node_otlp_streams";
        /// Application series that are present.
        otlp_series: Gauge = "starling_node_otlp_series";
        /// Points taken whose series lacks attributes that they came with, because they had more than a series takes. They are added up.
        receive_merged: Counter = "starling_node_receive_merged_points";
        /// Services and routes whose requests have series: each route, and `_other` where there is one.
        routes: Gauge = "starling_node_routes";
        /// Requests counted in a route or service `_other`, because there are more than the bounds.
        requests_in_other: Counter = "starling_node_requests_in_other";
    }
}

impl Metrics {
    /// Counts what the uplinks of this host did between two states of their counts.
    pub(crate) fn uplink(&self, before: &UplinkStats, now: &UplinkStats) {
        self.frames_cut.add(now.cut.saturating_sub(before.cut));
        self.frames_recovered.add(now.recovered.saturating_sub(before.recovered));
        self.spool_failures.add(now.spool_failures.saturating_sub(before.spool_failures));
        self.spool_bytes.set(now.spool_bytes as f64);
        self.frames_acked.add(now.acked.saturating_sub(before.acked));
        for (reason, frames) in now.lost.since(&before.lost).iter() {
            self.frames_lost.of(reason.as_str()).add(frames);
        }
        self.dials.add(now.sessions.saturating_sub(before.sessions).into());
        self.redirects.add(now.redirects.saturating_sub(before.redirects));
        self.no_ack_hops.add(now.no_ack_hops.saturating_sub(before.no_ack_hops));
        self.clock_hops.add(now.clock_hops.saturating_sub(before.clock_hops));
        self.frames_unacked.set(now.unacked as f64);
        self.frames_unacked_bytes.set(now.unacked_bytes as f64);
        self.uplinks_connected.set(f64::from(u8::from(now.connected.is_some())));
        if let Some(offset_ms) = now.clock_offset_ms {
            self.clock_offset.set(offset_ms as f64 / 1e3);
        }
    }

    /// Counts what could not be read of what starts before left on the disk.
    pub(crate) fn spool_unreadable(&self, records: u32) {
        self.spool_unreadable.add(records.into());
    }

    /// Notes that the processes were read one by one, which took so many seconds of a processor.
    pub(crate) fn looked(&self, cost_cpu_seconds: f64) {
        self.looks.inc();
        self.looks_cpu.add((cost_cpu_seconds * 1_000.0).ceil() as u64);
    }

    /// Shows which collectors gave their samples, and counts those that were late.
    pub(crate) fn collectors(&self, up: impl Iterator<Item = (&'static str, bool)>, late: &[&'static str]) {
        up.for_each(|(collector, up)| self.collector_up.of(collector).set(f64::from(u8::from(up))));
        late.iter().for_each(|collector| self.collect_overruns.of(collector).inc());
    }

    /// Counts a second that was cut, `missed` that were not, how late it was, and its samples.
    pub(crate) fn tick(&self, missed: u32, delay: Duration, samples: usize) {
        self.ticks.inc();
        self.ticks_missed.add(missed.into());
        self.tick_delay.set(delay.as_secs_f64());
        self.frame_samples.set(samples as f64);
    }

    /// Counts increments that the receiver did not play out, and shows how large its tables are.
    pub(crate) fn receiver(&self, unplayed: u64, series: usize, streams: usize, playing_bytes: usize) {
        self.otlp_unplayed.add(unplayed);
        self.otlp_series.set(series as f64);
        self.otlp_streams.set(streams as f64);
        self.otlp_playing.set(playing_bytes as f64);
    }

    /// Shows how many services and routes have series, and counts requests beyond them.
    pub(crate) fn services(&self, routes: usize, in_other: u64) {
        self.routes.set(routes as f64);
        self.requests_in_other.add(in_other);
    }
}
