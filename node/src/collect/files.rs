//! Open files of the whole host and how many there may be, from `/proc/sys/fs/file-nr`.

use std::time::Duration;

use starling_proto::{catalogue, limits, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    cadence::TABLES_EVERY,
    kept::{KeptFile, Shape},
    sink::Sink,
    text,
};

/// The collector.
pub(super) struct Files {
    file: KeptFile,
    open: Series,
    limit: Series,
}

impl Files {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let path = config.procfs.join("sys/fs/file-nr");
        Self {
            file: KeptFile::read_once_in(TABLES_EVERY, path, Shape::Single),
            open: Series::of(&catalogue::FILES_OPEN, &[]),
            limit: Series::of(&catalogue::FILES_LIMIT, &[]),
        }
    }
}

impl Collector for Files {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let Some(text) = self.file.read()? else { return Ok(Collected::Absent) };
        let (open, limit) =
            parse(text).ok_or(CollectError::Malformed { file: "sys/fs/file-nr", what: "one of three numbers" })?;
        sink.gauge(&self.open, open);
        // systemd sets 2^63 - 1: as good as none.
        if i64::try_from(limit).is_ok_and(|limit| limit < limits::GAUGE_MAGNITUDE_MAX) {
            sink.gauge(&self.limit, limit);
        }
        Ok(Collected::Present)
    }
}

/// Allocated less unused, which is 0 since Linux 2.6, and the limit.
fn parse(text: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = text::words(text::lines(text).next()?).map(text::number);
    let (allocated, unused, limit) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some((allocated.saturating_sub(unused), limit))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use starling_proto::series::Value;

    use super::*;

    #[test]
    fn usual_and_odd() {
        assert_eq!(parse(b"537\t0\t2466170\n"), Some((537, 2_466_170)));
        assert_eq!(parse(b"500\t20\t1000\n"), Some((480, 1000)));
        for bad in ["", "537\n", "537 0\n", "537 x 100\n", "-1 0 100\n"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("sys/fs")).unwrap();
        fs::write(proc.path().join("sys/fs/file-nr"), "1536\t0\t9223372036854775807\n").unwrap();
        let config = CollectConfig { procfs: proc.path().into(), ..CollectConfig::default() };
        let mut samples = Vec::new();
        let mut sink = Sink::new(&mut samples);
        Files::new(&config).collect(Duration::ZERO, &mut sink).unwrap();
        assert_eq!(sink.end(), (0, None));
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].value, Value::Gauge(1536));
    }
}
