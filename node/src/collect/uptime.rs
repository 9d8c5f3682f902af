//! Time since boot, from `/proc/uptime`. Time in suspend is part of it.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    kept::{KeptFile, Shape},
    sink::Sink,
    text,
};

/// The collector.
pub(super) struct Uptime {
    file: KeptFile,
    series: Series,
}

impl Uptime {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            file: KeptFile::new(config.procfs.join("uptime"), Shape::Single),
            series: Series::of(&catalogue::UPTIME, &[]),
        }
    }
}

impl Collector for Uptime {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let text = self.file.read_what_must_be()?;
        let seconds = parse(text).ok_or(CollectError::Malformed { file: "uptime", what: "the uptime" })?;
        sink.gauge(&self.series, seconds);
        Ok(Collected::Present)
    }
}

/// Whole seconds.
fn parse(text: &[u8]) -> Option<u64> {
    Some(text::hundredths(text::words(text::lines(text).next()?).next()?)? / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_and_odd() {
        assert_eq!(parse(b"1336.61 2261.10\n"), Some(1336));
        for bad in ["", "x\n", "12\n", "-1.00 0.00\n"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
