//! Pressure stall information, from `/proc/pressure`: how long tasks waited for a processor, for memory, for input or
//! output (`Documentation/accounting/psi.rst`).
//!
//! `some` is the time in which at least one task waited, `full` that in which all that were not idle did. The totals are
//! taken, not the kernel's averages: what is shown is of the second. Kernels before 4.20, and those that were started
//! with it switched off (`psi=0`, the default of some distributions), have nothing of the kind.

use std::{io::ErrorKind, time::Duration};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    kept::{KeptFile, Shape},
    sink::{Baseline, Sink},
    text,
};

/// What is waited for: the names of the files too.
pub(super) const RESOURCES: [&str; 3] = ["cpu", "memory", "io"];
/// Whose time it is: the first word of each line.
const TASKS: [&str; 2] = ["some", "full"];

/// The collector.
pub(super) struct Pressure {
    resources: [Resource; RESOURCES.len()],
}

struct Resource {
    name: &'static str,
    file: KeptFile,
    tasks: [(Baseline, Series); TASKS.len()],
}

impl Pressure {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let resources = RESOURCES.map(|name| {
            let tasks = TASKS.map(|tasks| {
                let attributes = [("system.pressure.resource", name), ("system.pressure.tasks", tasks)];
                (Baseline::default(), Series::of(&catalogue::PRESSURE_TIME, &attributes))
            });
            Resource { name, file: KeptFile::new(config.procfs.join("pressure").join(name), Shape::Single), tasks }
        });
        Self { resources }
    }
}

impl Collector for Pressure {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let mut present = Collected::Absent;
        for Resource { name, file, tasks } in &mut self.resources {
            let text = match file.read() {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                // Switched off: the files are there and say so when they are read.
                Err(CollectError::Read { source, .. }) if source.kind() == ErrorKind::Unsupported => continue,
                Err(error) => return Err(error),
            };
            present = Collected::Present;
            for (word, (baseline, series)) in TASKS.iter().zip(tasks) {
                match total(text, word.as_bytes()) {
                    Line::Total(microseconds) => sink.counter(series, baseline, microseconds),
                    // The processor has no line `full` before Linux 5.13.
                    Line::Missing => {}
                    Line::Odd => sink.left_out(|| format!("pressure/{name}: {word} has no total")),
                }
            }
        }
        Ok(present)
    }
}

/// What a file says of `some` or `full`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Microseconds since boot.
    Total(u64),
    Missing,
    Odd,
}

/// The total of the line that begins with `tasks`.
pub(super) fn total(text: &[u8], tasks: &[u8]) -> Line {
    for line in text::lines(text) {
        let mut words = text::words(line);
        if words.next() == Some(tasks) {
            let total = words.find_map(|word| word.strip_prefix(b"total=")).and_then(text::number);
            return total.map_or(Line::Odd, Line::Total);
        }
    }
    Line::Missing
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use starling_proto::series::Value;

    use super::*;

    const MEMORY: &str =
        "some avg10=0.00 avg60=0.12 avg300=0.05 total=3000500\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n";

    #[test]
    fn usual_and_odd() {
        let read = |text: &str| [total(text.as_bytes(), b"some"), total(text.as_bytes(), b"full")];
        assert_eq!(read(MEMORY), [Line::Total(3_000_500), Line::Total(1_000_000)]);
        assert_eq!(read("some avg10=0.00 total=7\n"), [Line::Total(7), Line::Missing], "a processor of Linux 5.4");
        assert_eq!(read("some avg10=0.00\nfull total=-1\n"), [Line::Odd, Line::Odd]);
        assert_eq!(read(""), [Line::Missing, Line::Missing]);
    }

    #[test]
    fn what_was_waited_since_the_last_second() {
        let proc = tempfile::tempdir().unwrap();
        let config = CollectConfig { procfs: proc.path().into(), ..CollectConfig::default() };
        let mut pressure = Pressure::new(&config);
        let mut collect = || {
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            let collected = pressure.collect(Duration::from_secs(1), &mut sink).unwrap();
            (collected, samples)
        };
        assert_eq!(collect(), (Collected::Absent, Vec::new()), "an old kernel");
        fs::create_dir(proc.path().join("pressure")).unwrap();
        let memory = proc.path().join("pressure/memory");
        fs::write(&memory, MEMORY).unwrap();
        assert_eq!(collect(), (Collected::Present, Vec::new()), "the baselines");
        fs::write(&memory, "some total=3400500\nfull total=1250000\n").unwrap();
        let (_, samples) = collect();
        let seen: Vec<_> = samples
            .iter()
            .map(|sample| (sample.series.attribute("system.pressure.tasks").unwrap(), sample.value.clone()))
            .collect();
        assert_eq!(seen, [("some", Value::Counter(400_000)), ("full", Value::Counter(250_000))]);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            total(&bytes, b"some");
        }
    }
}
