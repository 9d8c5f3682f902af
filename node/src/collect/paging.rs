//! Page faults, pages moved to and from swap, and programs that the kernel ended for lack of memory, from `/proc/vmstat`.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector, family,
    kept::{KeptFile, Shape},
    sink::{Baseline, Sink},
    text,
};

/// The fields that are taken as they are: pages swapped in, out, kills, and faults that had to read. The kills are there
/// since Linux 4.13; without swap in the kernel there are no pages.
const FIELDS: [&str; 4] = ["pswpin", "pswpout", "oom_kill", "pgmajfault"];
/// Place of the faults that had to read.
const MAJOR: usize = 3;
/// All faults.
const FAULTS: &[u8] = b"pgfault";

/// The collector.
pub(super) struct Paging {
    vmstat: KeptFile,
    counters: [(Baseline, Series); FIELDS.len()],
    faults: Baseline,
    minor: Series,
}

impl Paging {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let [swapped_in, swapped_out] = family(&catalogue::PAGING_OPERATIONS, "system.paging.direction", ["in", "out"]);
        let [minor, major] = family(&catalogue::PAGING_FAULTS, "system.paging.fault.type", ["minor", "major"]);
        let series = [swapped_in, swapped_out, Series::of(&catalogue::OOM_KILLS, &[]), major];
        Self {
            vmstat: KeptFile::new(config.procfs.join("vmstat"), Shape::Records),
            counters: series.map(|series| (Baseline::default(), series)),
            faults: Baseline::default(),
            minor,
        }
    }
}

impl Collector for Paging {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let Some(vmstat) = self.vmstat.read()? else { return Ok(Collected::Absent) };
        let (mut all, mut major) = (None, None);
        for (name, value) in parse(vmstat) {
            let place = FIELDS.iter().position(|field| field.as_bytes() == name);
            if place.is_none() && name != FAULTS {
                continue;
            }
            let Some(value) = value else {
                sink.left_out(|| format!("vmstat: {} is not a number", text::printable(name)));
                continue;
            };
            let Some(place) = place else {
                all = sink.step(&mut self.faults, value);
                continue;
            };
            let (baseline, series) = &mut self.counters[place];
            let increment = sink.step(baseline, value);
            if let Some(increment) = increment {
                sink.increment(series, increment);
            }
            if place == MAJOR {
                major = increment;
            }
        }
        // The two are added up over the processors one after the other.
        if let (Some(all), Some(major)) = (all, major) {
            sink.increment(&self.minor, all.saturating_sub(major));
        }
        Ok(Collected::Present)
    }
}

/// Each line's name, and its number where it is one.
fn parse(vmstat: &[u8]) -> impl Iterator<Item = (&[u8], Option<u64>)> {
    text::lines(vmstat).filter_map(|line| {
        let mut words = text::words(line);
        Some((words.next()?, words.next().and_then(text::number)))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use starling_proto::series::Value;

    use super::*;

    #[test]
    fn a_kill_is_counted_and_an_odd_line_costs_no_other() {
        let proc = tempfile::tempdir().unwrap();
        let vmstat = proc.path().join("vmstat");
        let config = CollectConfig { procfs: proc.path().into(), ..CollectConfig::default() };
        let mut paging = Paging::new(&config);
        let mut collect = |text: &str| {
            fs::write(&vmstat, text).unwrap();
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            assert_eq!(paging.collect(Duration::from_secs(1), &mut sink).unwrap(), Collected::Present);
            let left_out = sink.end().1;
            let values = samples.into_iter().map(|sample| (sample.series.to_string(), sample.value));
            (values.collect::<Vec<_>>(), left_out)
        };
        assert_eq!(collect("nr_free_pages 2\npswpin 5\npswpout 7\noom_kill 0\n"), (Vec::new(), None));
        let (values, left_out) = collect("pswpin x\npswpout 9\n\noom_kill 1\n");
        assert_eq!(left_out.as_deref(), Some("vmstat: pswpin is not a number"));
        assert_eq!(
            values.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>(),
            [Value::Counter(2), Value::Counter(1)]
        );
        assert!(values[0].0.contains("out") && values[1].0.contains("oom_kills"), "{values:?}");
        assert_eq!(collect("").0, Vec::new(), "a kernel without the counters");
        assert_eq!(collect("pgfault 100\npgmajfault 10\n").0, Vec::new());
        let faults = |text: &str| collect(text).0.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        let mut faults = faults;
        assert_eq!(faults("pgfault 150\npgmajfault 13\n"), [Value::Counter(3), Value::Counter(47)]);
        assert_eq!(faults("pgfault 152\npgmajfault 18\n"), [Value::Counter(5), Value::Counter(0)], "never below 0");
        assert_eq!(faults("pgfault 160\npgmajfault x\n"), [], "without one there is no difference");
    }
}
