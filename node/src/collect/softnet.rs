//! Packets that the processors took from network interfaces, from `/proc/net/softnet_stat`: those that were handled,
//! those dropped because the queue of a processor was full, and how often a processor had to stop with packets left.
//!
//! A line is a processor; its columns are hexadecimal numbers of 32 bits that wrap, the first within an hour on a busy
//! host (`softnet_seq_show` in `net/core/net-procfs.c`). Since Linux 5.10 the thirteenth is the number of the processor;
//! before, and without it, processors are told apart by their place.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    kept::{KeptFile, Shape},
    roster::Roster,
    sink::Sink,
    text,
};

/// Handled, dropped, stopped: the first three columns.
const COLUMNS: usize = 3;
/// Place of the number of the processor.
const PROCESSOR: usize = 12;

type Counts = [u32; COLUMNS];

/// The collector.
pub(super) struct Softnet {
    file: KeptFile,
    processors: Roster<Option<Counts>>,
    series: [Series; COLUMNS],
}

impl Softnet {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let metrics = [&catalogue::SOFTNET_PROCESSED, &catalogue::SOFTNET_DROPPED, &catalogue::SOFTNET_SQUEEZED];
        Self {
            file: KeptFile::new(config.net("softnet_stat"), Shape::ShortRecords),
            processors: Roster::new(),
            series: metrics.map(|metric| Series::of(metric, &[])),
        }
    }
}

impl Collector for Softnet {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let Some(text) = self.file.read()? else { return Ok(Collected::Absent) };
        let mut totals: Option<[u64; COLUMNS]> = None;
        for (place, line) in text::lines(text).filter(|line| !line.is_empty()).enumerate() {
            let Some((number, now)) = parse(line) else {
                sink.left_out(|| format!("net/softnet_stat: {:?} is not a line of a processor", text::excerpt(line)));
                continue;
            };
            let number = number.unwrap_or(u32::try_from(place).unwrap_or(u32::MAX));
            let Some(before) = self.processors.meet(&number.to_be_bytes(), || None) else {
                sink.left_out(|| format!("net/softnet_stat: processor {number} stands twice, or there is no room"));
                continue;
            };
            let Some(before) = before.replace(now) else { continue };
            let totals = totals.get_or_insert_default();
            for column in 0..COLUMNS {
                match step(before[column], now[column]) {
                    Some(increment) => totals[column] += u64::from(increment),
                    None => sink.fault(),
                }
            }
        }
        self.processors.sweep();
        for (series, total) in self.series.iter().zip(totals.into_iter().flatten()) {
            sink.increment(series, total);
        }
        Ok(Collected::Present)
    }
}

/// What was counted between two readings. Numbers of 32 bits wrap; half of their range in one second is no traffic but a
/// number that went back.
fn step(before: u32, now: u32) -> Option<u32> {
    let increment = now.wrapping_sub(before);
    (increment < 1 << 31).then_some(increment)
}

/// Number of the processor, where the kernel says it, and its counts.
fn parse(line: &[u8]) -> Option<(Option<u32>, Counts)> {
    let mut words = text::words(line);
    let mut counts = Counts::default();
    for count in &mut counts {
        *count = text::hexadecimal(words.next()?)?;
    }
    Some((words.nth(PROCESSOR - COLUMNS).and_then(text::hexadecimal), counts))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use starling_proto::series::Value;

    use super::*;

    const NEW: &str = " 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 ";

    #[test]
    fn counts_wrap_and_processors_go_and_come() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("net")).unwrap();
        let config = CollectConfig { procfs: proc.path().into(), ..CollectConfig::default() };
        let mut softnet = Softnet::new(&config);
        let mut collect = |lines: &str| {
            fs::write(proc.path().join("net/softnet_stat"), lines).unwrap();
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            softnet.collect(Duration::from_secs(1), &mut sink).unwrap();
            let faults = sink.end().0;
            let values = samples.into_iter().map(|sample| match sample.value {
                Value::Counter(increment) => increment,
                _ => unreachable!(),
            });
            (values.collect::<Vec<_>>(), faults)
        };
        let line = |counts: &str, number: &str| format!("{counts}{NEW}{number}\n");
        assert_eq!(
            collect(&(line("fffffff0 00000001 00000000", "00000000") + &line("00000010 0 0", "2"))),
            (vec![], 0)
        );
        assert_eq!(
            collect(&(line("00000010 00000003 00000001", "00000000") + &line("00000011 0 0", "2"))),
            (vec![33, 2, 1], 0),
            "one wrapped"
        );
        assert_eq!(collect(&line("00000012 0 1", "2")), (vec![1, 0, 1], 0), "the other one went");
        assert_eq!(collect(&line("00000002 0 1", "2")), (vec![0, 0, 0], 1), "went back");
        assert_eq!(collect("rubbish\n\nfffffffff 0 0\n").1, 2);
        assert_eq!(collect("0000000a 00000000 00000000 00000000\n"), (vec![], 0), "an old kernel");
        assert_eq!(collect("0000000c 00000001 00000000 00000000\n"), (vec![2, 1, 0], 0));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }
    }
}
