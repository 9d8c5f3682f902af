//! Temperatures, from `/sys/class/hwmon` and, where that has none, `/sys/class/thermal`
//! (`Documentation/hwmon/sysfs-interface.rst`, `Documentation/driver-api/thermal/sysfs-api.rst`).

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_proto::{catalogue, series::Series};

use super::{CollectConfig, CollectError, Collected, Collector, raid::listed, sink::Sink, text};

/// Sensors with series of their own, in the order of their names; a large server has some dozen.
pub(super) const SENSORS_MAX: usize = 48;
/// Thousandths of a degree that a machine can have and live. What is not connected says -128 or 255 or the like.
const SANE: std::ops::RangeInclusive<i64> = -60_000..=150_000;

/// The collector.
pub(super) struct Sensors {
    hwmon: PathBuf,
    thermal: PathBuf,
    highest: Series,
}

impl Sensors {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            hwmon: config.sysfs.join("class/hwmon"),
            thermal: config.sysfs.join("class/thermal"),
            highest: Series::of(&catalogue::TEMPERATURE_HIGHEST, &[]),
        }
    }
}

impl Collector for Sensors {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let mut read = chips(&self.hwmon);
        if read.is_empty() {
            read = zones(&self.thermal);
        }
        give(read, &self.highest, sink)
    }
}

/// Gives what was read: name of the sensor and thousandths of a degree.
pub(super) fn give(
    mut read: Vec<(String, i64)>,
    highest: &Series,
    sink: &mut Sink<'_>,
) -> Result<Collected, CollectError> {
    read.retain(|(_, degrees)| SANE.contains(degrees));
    read.sort_unstable();
    // Two chips of one kind name their sensors alike: the hotter one stands for both.
    read.dedup_by(|later, first| {
        let same = later.0 == first.0;
        first.1 = if same { first.1.max(later.1) } else { first.1 };
        same
    });
    let Some(hottest) = read.iter().map(|(_, degrees)| *degrees).max() else { return Ok(Collected::Absent) };
    if read.len() > SENSORS_MAX {
        sink.left_out(|| format!("{} sensors, {SENSORS_MAX} have series of their own", read.len()));
    }
    for (name, degrees) in read.iter().take(SENSORS_MAX) {
        sink.signed(&Series::of(&catalogue::TEMPERATURE, &[("hw.sensor", name)]), *degrees);
    }
    sink.signed(highest, hottest);
    Ok(Collected::Present)
}

/// Of each chip what it calls its sensors, or their files.
fn chips(class: &Path) -> Vec<(String, i64)> {
    let mut read = Vec::new();
    for chip in listed(class).unwrap_or_default() {
        let folder = class.join(OsStr::from_bytes(&chip));
        let name = line(&folder.join("name")).unwrap_or(chip);
        for file in listed(&folder).unwrap_or_default() {
            let Some(sensor) = file.strip_suffix(b"_input").filter(|file| file.starts_with(b"temp")) else { continue };
            // A sensor that is off says so when it is read.
            let Some(degrees) = line(&folder.join(OsStr::from_bytes(&file))).as_deref().and_then(signed) else {
                continue;
            };
            let label = line(&folder.join(OsStr::from_bytes(&[sensor, b"_label"].concat())));
            let label = label.as_deref().unwrap_or(sensor);
            read.push((format!("{}/{}", text::printable(&name), text::printable(label)), degrees));
        }
    }
    read
}

fn zones(class: &Path) -> Vec<(String, i64)> {
    let zones = listed(class).unwrap_or_default().into_iter().filter(|zone| zone.starts_with(b"thermal_zone"));
    zones
        .filter_map(|zone| {
            let folder = class.join(OsStr::from_bytes(&zone));
            let degrees = signed(&line(&folder.join("temp"))?)?;
            Some((text::printable(&line(&folder.join("type")).unwrap_or(zone)), degrees))
        })
        .collect()
}

/// What a small file says, without the end of its line.
pub(super) fn line(path: &Path) -> Option<Vec<u8>> {
    let text = fs::read(path).ok()?;
    let line = text.trim_ascii();
    (!line.is_empty()).then(|| line.to_vec())
}

fn signed(word: &[u8]) -> Option<i64> {
    let (digits, sign) = word.strip_prefix(b"-").map_or((word, 1), |digits| (digits, -1));
    Some(i64::try_from(text::number(digits)?).ok()? * sign)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{collected, named},
        *,
    };

    #[test]
    fn usual_and_odd() {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { sysfs: root.path().into(), ..CollectConfig::default() };
        let mut sensors = Sensors::new(&config);
        let mut collect = || collected(&mut sensors, 10);
        assert_eq!(collect(), (Collected::Absent, vec![], 0));
        let put = |file: &str, text: &str| {
            let path = root.path().join("class").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("thermal/thermal_zone0/type", "acpitz\n");
        put("thermal/thermal_zone0/temp", "27800\n");
        put("thermal/cooling_device0/type", "Processor\n");
        assert_eq!(
            collect().1,
            named([("system.temperature{hw.sensor=acpitz}", 27_800), ("system.temperature.highest", 27_800)])
        );
        put("hwmon/hwmon0/name", "coretemp\n");
        put("hwmon/hwmon0/temp1_input", "45000\n");
        put("hwmon/hwmon0/temp1_label", "Package id 0\n");
        put("hwmon/hwmon0/temp2_input", "-5000\n");
        put("hwmon/hwmon0/temp3_input", "-128000\n");
        put("hwmon/hwmon0/temp4_input", "hot\n");
        put("hwmon/hwmon0/fan1_input", "900\n");
        put("hwmon/hwmon1/name", "coretemp\n");
        put("hwmon/hwmon1/temp1_input", "51000\n");
        put("hwmon/hwmon1/temp1_label", "Package id 0\n");
        let expected = [
            ("system.temperature{hw.sensor=coretemp/Package id 0}", 51_000),
            ("system.temperature{hw.sensor=coretemp/temp2}", -5_000),
            ("system.temperature.highest", 51_000),
        ];
        assert_eq!(collect().1, named(expected));
    }

    #[test]
    fn numbers_may_be_negative() {
        assert_eq!((signed(b"-12"), signed(b"7")), (Some(-12), Some(7)));
        for bad in ["", "-", "--1", "1.5", "99999999999999999999"] {
            assert_eq!(signed(bad.as_bytes()), None, "{bad}");
        }
    }
}
