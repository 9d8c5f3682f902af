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
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let text = self.loadavg.read_what_must_be()?;
        let LoadAverage { hundredths, processes } = parse(text);
        if hundredths.iter().chain([&processes]).all(Option::is_none) {
            return Err(CollectError::Malformed { file: "loadavg", what: "a load average or the process count" });
        }
        let series = self.averages.iter().chain([&self.processes]);
        for (series, value) in series.zip(hundredths.into_iter().chain([processes])) {
            match value {
                Some(value) => sink.gauge(series, value),
                None => sink.left_out(|| format!("loadavg: {:?} lacks {}", text::excerpt(text), series.name())),
            }
        }
        Ok(Collected::Present)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct LoadAverage {
    /// Of 1, 5 and 15 minutes; the scale of the catalogue is 2.
    hundredths: [Option<u64>; 3],
    processes: Option<u64>,
}

/// Each number on its own: an odd one costs no other.
fn parse(text: &[u8]) -> LoadAverage {
    let mut words = text::words(text::lines(text).next().unwrap_or_default());
    let hundredths = [(); 3].map(|()| words.next().and_then(text::hundredths));
    // "running/existing"
    let processes = words.next().and_then(|entities| {
        let slash = entities.iter().position(|&byte| byte == b'/')?;
        text::number(&entities[slash + 1..])
    });
    LoadAverage { hundredths, processes }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_and_odd() {
        let parsed = |text: &str| {
            let LoadAverage { hundredths, processes } = parse(text.as_bytes());
            (hundredths, processes)
        };
        assert_eq!(parsed("0.00 1.18 230.25 2/931 12662\n"), ([Some(0), Some(118), Some(23_025)], Some(931)));
        assert_eq!(parsed("0.00 99999999999999999999.00 0.25 2/7 1\n"), ([Some(0), None, Some(25)], Some(7)));
        assert_eq!(parsed("0.00 0.18\n"), ([Some(0), Some(18), None], None));
        for bad in ["0.00 0.18 0.25 2 1\n", "0.00 0.18 0.25 2/ 1\n", "0.00 0.18 0.25 2/-3 1\n"] {
            assert_eq!(parsed(bad), ([Some(0), Some(18), Some(25)], None), "{bad:?}");
        }
        for bad in ["", "\n", "a b c d 3\n"] {
            assert_eq!(parsed(bad), ([None; 3], None), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            parse(&bytes);
        }
    }
}
