//! Sockets of all kinds and what they take, from `/proc/net/sockstat`: of the daemon's own network namespace, IPv4 and
//! IPv6 together except for UDP, whose line is of IPv4.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    cadence::TABLES_EVERY,
    kept::{KeptFile, Shape},
    sink::Sink,
    text,
};

/// Line and field of what is taken; `mem` is in pages.
const FIELDS: [(&[u8], &[u8]); 5] =
    [(b"sockets:", b"used"), (b"TCP:", b"orphan"), (b"TCP:", b"mem"), (b"UDP:", b"inuse"), (b"UDP:", b"mem")];

/// The collector.
pub(super) struct Sockstat {
    file: KeptFile,
    page_bytes: u64,
    series: [Series; FIELDS.len()],
}

impl Sockstat {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let memory = |transport| Series::of(&catalogue::SOCKET_MEMORY, &[("network.transport", transport)]);
        Self {
            file: KeptFile::read_once_in(TABLES_EVERY, config.net("sockstat"), Shape::ShortRecords),
            page_bytes: rustix::param::page_size() as u64,
            series: [
                Series::of(&catalogue::SOCKETS, &[]),
                Series::of(&catalogue::TCP_ORPHANS, &[]),
                memory("tcp"),
                Series::of(&catalogue::UDP_SOCKETS, &[]),
                memory("udp"),
            ],
        }
    }
}

impl Collector for Sockstat {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let Some(text) = self.file.read()? else { return Ok(Collected::Absent) };
        for line in text::lines(text) {
            let mut words = text::words(line);
            let Some(head) = words.next() else { continue };
            while let Some(name) = words.next() {
                let value = words.next().and_then(text::number);
                let Some(place) = FIELDS.iter().position(|field| *field == (head, name)) else { continue };
                let Some(value) = value else {
                    sink.left_out(|| format!("net/sockstat: {:?} lacks a number", text::excerpt(line)));
                    continue;
                };
                let unit = if name == b"mem" { self.page_bytes } else { 1 };
                sink.gauge(&self.series[place], value.saturating_mul(unit));
            }
        }
        Ok(Collected::Present)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use starling_proto::series::Value;

    use super::*;

    #[test]
    fn usual_and_odd() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("net")).unwrap();
        let config = CollectConfig { procfs: proc.path().into(), ..CollectConfig::default() };
        let mut sockstat = Sockstat::new(&config);
        let page = i64::try_from(sockstat.page_bytes).unwrap();
        let mut collect = |text: &str| {
            fs::write(proc.path().join("net/sockstat"), text).unwrap();
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            sockstat.collect(Duration::from_secs(5), &mut sink).unwrap();
            let faults = sink.end().0;
            let values = samples.into_iter().map(|sample| match sample.value {
                Value::Gauge(value) => value,
                _ => unreachable!(),
            });
            (values.collect::<Vec<_>>(), faults)
        };
        let usual = "sockets: used 130\nTCP: inuse 11 orphan 2 tw 3 alloc 14 mem 5\nUDP: inuse 4 mem 1\nRAW: inuse 0\n";
        assert_eq!(collect(usual), (vec![130, 2, 5 * page, 4, page], 0));
        assert_eq!(collect("sockets: used\nTCP: inuse 1 orphan -1 tw 3 mem 2\nUDP:\n"), (vec![2 * page], 2));
        assert_eq!(collect(""), (vec![], 0));
    }
}
