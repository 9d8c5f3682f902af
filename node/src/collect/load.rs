//! Load averages and the number of scheduling entities, from `/proc/loadavg`.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    kept::{KeptFile, Shape},
    sink::Sink,
    text,
};

/// The collector.
pub(super) struct Load {
    loadavg: KeptFile,
    averages: [Series; 3],
    processes: Series,
}

impl Load {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            loadavg: KeptFile::new(config.procfs.join("loadavg"), Shape::Single),
            averages: [&catalogue::LOAD_1M, &catalogue::LOAD_5M, &catalogue::LOAD_15M]
                .map(|metric| Series::of(metric, &[])),
            processes: Series::of(&catalogue::PROCESS_COUNT, &[]),
        }
    }
}

impl Collector for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let Some(text) = self.loadavg.read()? else { return Ok(Collected::Absent) };
        let parsed = parse(text)
            .ok_or(CollectError::Malformed { file: "loadavg", what: "a load average or the process count" })?;
        for (series, hundredths) in self.averages.iter().zip(parsed.hundredths) {
            sink.gauge(series, hundredths);
        }
        sink.gauge(&self.processes, parsed.processes);
        Ok(Collected::Present)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct LoadAverage {
    /// Of 1, 5 and 15 minutes; the scale of the catalogue is 2.
    hundredths: [u64; 3],
    processes: u64,
}

fn parse(text: &[u8]) -> Option<LoadAverage> {
    let mut words = text::words(text::lines(text).next()?);
    let hundredths =
        [text::hundredths(words.next()?)?, text::hundredths(words.next()?)?, text::hundredths(words.next()?)?];
    // "running/existing"
    let entities = words.next()?;
    let slash = entities.iter().position(|&byte| byte == b'/')?;
    Some(LoadAverage { hundredths, processes: text::number(&entities[slash + 1..])? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_and_odd() {
        assert_eq!(
            parse(b"0.00 1.18 230.25 2/931 12662\n"),
            Some(LoadAverage { hundredths: [0, 118, 23_025], processes: 931 })
        );
        for bad in ["", "\n", "0.00 0.18\n", "0.00 0.18 0.25 2 1\n", "0.00 0.18 0.25 2/ 1\n", "a b c 1/2 3\n"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            parse(&bytes);
        }
    }
}
