//! Energy that the processors took, from `/sys/class/powercap` (RAPL): microjoules that wrap at a number each zone names.
//! Since Linux 5.10 only root may read them; where the daemon may not, there is nothing of this, and it asks again in ten
//! minutes.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    cadence::TABLES_EVERY,
    kept::{KeptFile, Shape},
    raid::listed,
    roster::Roster,
    sensors::line,
    sink::Sink,
    text,
};

/// The collector.
pub(super) struct Energy {
    class: PathBuf,
    zones: Roster<Zone>,
    energy: Series,
}

/// A socket.
struct Zone {
    file: KeptFile,
    /// The counter goes from here to 0.
    highest: Option<u64>,
    before: Option<u64>,
}

impl Energy {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            class: config.sysfs.join("class/powercap"),
            zones: Roster::new(),
            energy: Series::of(&catalogue::CPU_ENERGY, &[]),
        }
    }
}

impl Collector for Energy {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let mut total: Option<u64> = None;
        let mut present = Collected::Absent;
        for name in listed(&self.class).unwrap_or_default() {
            // "intel-rapl:0" is a socket, "intel-rapl:0:1" a part of it, "intel-rapl" the driver; the same in "-mmio" again.
            if !name.starts_with(b"intel-rapl:") || name.iter().filter(|&&byte| byte == b':').count() != 1 {
                continue;
            }
            let folder = self.class.join(OsStr::from_bytes(&name));
            let zone = self.zones.meet(&name, || {
                // The whole machine has a zone too, of which the sockets are parts.
                let whole = line(&folder.join("name")).is_some_and(|name| name == b"psys");
                let highest = line(&folder.join("max_energy_range_uj")).and_then(|text| text::number(&text));
                let file = folder.join(if whole { "none" } else { "energy_uj" });
                Zone { file: KeptFile::read_once_in(TABLES_EVERY, file, Shape::Single), highest, before: None }
            });
            let Some(zone) = zone else { continue };
            let now = match zone.file.read() {
                Ok(Some(text)) => text::number(text.trim_ascii()),
                // Not for this daemon.
                Ok(None) | Err(_) => continue,
            };
            present = Collected::Present;
            let Some(now) = now else {
                sink.left_out(|| format!("{}/energy_uj is not a number", text::printable(&name)));
                continue;
            };
            let Some(before) = zone.before.replace(now) else { continue };
            match used(before, now, zone.highest) {
                Some(used) => total = Some(total.unwrap_or_default().saturating_add(used)),
                None => sink.fault(),
            }
        }
        self.zones.sweep();
        if let Some(total) = total {
            sink.increment(&self.energy, total);
        }
        Ok(present)
    }
}

/// Microjoules between two readings. A counter that goes back has wrapped when its zone says where, and by what a socket
/// cannot take it has not: half of the range, a minute of kilowatts.
fn used(before: u64, now: u64, highest: Option<u64>) -> Option<u64> {
    match now.checked_sub(before) {
        Some(used) => Some(used),
        None => {
            let highest = highest?;
            let used = highest.checked_sub(before)?.checked_add(now)?;
            (used <= highest / 2).then_some(used)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use starling_proto::series::Value;

    use super::*;

    #[test]
    fn sockets_count_once_and_wrap() {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { sysfs: root.path().into(), ..CollectConfig::default() };
        let mut energy = Energy::new(&config);
        let mut collect = || {
            let mut samples = Vec::new();
            let mut sink = Sink::new(&mut samples);
            let collected = energy.collect(Duration::from_secs(5), &mut sink).unwrap();
            let faults = sink.end().0;
            (collected, samples.into_iter().map(|sample| sample.value).collect::<Vec<_>>(), faults)
        };
        assert_eq!(collect(), (Collected::Absent, vec![], 0));
        let put = |zone: &str, file: &str, text: &str| {
            let folder = root.path().join("class/powercap").join(zone);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), text).unwrap();
        };
        for (zone, name) in [
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl-mmio:0", "package-0"),
        ] {
            put(zone, "name", &format!("{name}\n"));
            put(zone, "max_energy_range_uj", "1000000\n");
            put(zone, "energy_uj", "900000\n");
        }
        assert_eq!(collect(), (Collected::Present, vec![], 0));
        put("intel-rapl:0", "energy_uj", "950000\n");
        put("intel-rapl:1", "energy_uj", "20000\n");
        put("intel-rapl:2", "energy_uj", "990000\n");
        assert_eq!(collect().1, [Value::Counter(50_000 + 120_000)], "one wrapped");
        put("intel-rapl:0", "energy_uj", "800000\n");
        put("intel-rapl:1", "energy_uj", "cold\n");
        assert_eq!(collect(), (Collected::Present, vec![], 2), "one went back, one is odd");
    }

    proptest! {
        #[test]
        fn never_more_than_the_range(before in 0u64..=1_000, now in 0u64..=1_000) {
            if let Some(used) = used(before, now, Some(1_000)) {
                prop_assert!(used <= 1_000);
            }
            prop_assert_eq!(used(before, now, None), now.checked_sub(before));
        }
    }
}
