//! Connections that the firewall tracks and how many it can, from `/proc/sys/net/netfilter`: of the daemon's own network
//! namespace. When the table is full, packets of new connections are dropped. A host without the firewall's module has
//! nothing of the kind.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    cadence::TABLES_EVERY,
    kept::{KeptFile, Shape},
    sink::Sink,
    text,
};

/// The collector.
pub(super) struct Conntrack {
    count: (KeptFile, Series),
    limit: (KeptFile, Series),
}

impl Conntrack {
    pub(super) fn new(config: &CollectConfig) -> Self {
        let file = |name| {
            let path = config.procfs.join("sys/net/netfilter").join(name);
            KeptFile::read_once_in(TABLES_EVERY, path, Shape::Single)
        };
        Self {
            count: (file("nf_conntrack_count"), Series::of(&catalogue::CONNTRACK_COUNT, &[])),
            limit: (file("nf_conntrack_max"), Series::of(&catalogue::CONNTRACK_LIMIT, &[])),
        }
    }
}

impl Collector for Conntrack {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let mut collected = Collected::Absent;
        for ((file, series), name) in [(&mut self.count, "nf_conntrack_count"), (&mut self.limit, "nf_conntrack_max")] {
            let Some(text) = file.read()? else { continue };
            let number = text::lines(text).next().and_then(|line| text::number(line.trim_ascii()));
            collected = Collected::Present;
            match number {
                Some(number) => sink.gauge(series, number),
                None => sink.left_out(|| format!("sys/net/netfilter/{name} is not a number")),
            }
        }
        Ok(collected)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_module_may_come_later_and_one_odd_file_costs_no_other() {
        let proc = tempfile::tempdir().unwrap();
        let config = CollectConfig { procfs: proc.path().into(), ..CollectConfig::default() };
        let mut conntrack = Conntrack::new(&config);
        let mut collect = || {
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            let collected = conntrack.collect(Duration::from_secs(5), &mut sink).unwrap();
            let left_out = sink.end().1;
            (collected, samples.iter().map(|sample| sample.series.to_string()).collect::<Vec<_>>(), left_out)
        };
        assert_eq!(collect(), (Collected::Absent, vec![], None));
        let folder = proc.path().join("sys/net/netfilter");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("nf_conntrack_count"), "x\n").unwrap();
        fs::write(folder.join("nf_conntrack_max"), "262144\n").unwrap();
        let odd = Some("sys/net/netfilter/nf_conntrack_count is not a number".to_owned());
        assert_eq!(collect(), (Collected::Present, vec!["system.network.conntrack.limit".to_owned()], odd));
        fs::write(folder.join("nf_conntrack_count"), "12\n").unwrap();
        assert_eq!(collect().1.len(), 2);
    }
}
