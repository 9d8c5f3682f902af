//! Interrupts, context switches, processes begun, and what runs or waits, from the lines of `/proc/stat` below those of
//! the processors. The file is dear, so the collector of the processors reads it once for both.

use starling_proto::{catalogue, series::Series};

use super::{
    sink::{Baseline, Sink},
    text,
};

/// First words of the lines that hold a total since boot.
const TOTALS: [&str; 3] = ["intr", "ctxt", "processes"];
/// First words of the lines that hold a number as of now.
const LEVELS: [&str; 2] = ["procs_running", "procs_blocked"];

/// See the module.
pub(super) struct Scheduler {
    totals: [(Baseline, Series); TOTALS.len()],
    levels: [Series; LEVELS.len()],
}

impl Scheduler {
    pub(super) fn new() -> Self {
        Self {
            totals: [&catalogue::INTERRUPTS, &catalogue::CONTEXT_SWITCHES, &catalogue::PROCESSES_CREATED]
                .map(|metric| (Baseline::default(), Series::of(metric, &[]))),
            levels: [&catalogue::RUN_QUEUE, &catalogue::PROCESSES_BLOCKED].map(|metric| Series::of(metric, &[])),
        }
    }

    /// Gives what `stat` says. A line that is not there is not missed: old kernels lack some.
    pub(super) fn collect(&mut self, stat: &[u8], sink: &mut Sink<'_>) {
        for line in text::lines(stat) {
            let mut words = text::words(line);
            let Some(name) = words.next() else { continue };
            let is = |known: &&str| known.as_bytes() == name;
            let (total, level) = (TOTALS.iter().position(is), LEVELS.iter().position(is));
            if total.is_none() && level.is_none() {
                continue;
            }
            let Some(value) = words.next().and_then(text::number) else {
                sink.left_out(|| format!("stat: {} is not a number", text::printable(name)));
                continue;
            };
            if let Some((baseline, series)) = total.map(|place| &mut self.totals[place]) {
                sink.counter(series, baseline, value);
            }
            if let Some(series) = level.map(|place| &self.levels[place]) {
                sink.gauge(series, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use starling_proto::series::Value;

    use super::*;

    #[test]
    fn usual_and_odd() {
        let mut scheduler = Scheduler::new();
        let mut collect = |stat: &str| {
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            scheduler.collect(stat.as_bytes(), &mut sink);
            let end = sink.end();
            (samples.into_iter().map(|sample| sample.value).collect::<Vec<_>>(), end)
        };
        let (values, end) = collect("intr 100 5 6\nctxt 50\nprocesses 7\nprocs_running 3\nprocs_blocked 1\n");
        assert_eq!((values, end), (vec![Value::Gauge(3), Value::Gauge(1)], (0, None)));
        let (values, (faults, odd)) = collect("intr 140 9 6\nctxt 20\nprocesses -1\nprocs_running 4\nprocs_blocked\n");
        assert_eq!(values, [Value::Counter(40), Value::Counter(0), Value::Gauge(4)], "one went back, two are odd");
        assert_eq!((faults, odd.as_deref()), (3, Some("stat: processes is not a number")));
        assert_eq!(collect("ctxt 25\nprocs_running 18446744073709551615\n").0[0], Value::Counter(5));
        assert_eq!(collect(""), (Vec::new(), (0, None)));
    }
}
