//! Units of systemd that failed, asked of it by the system bus: how many, and which.
//!
//! It keeps no file that says so. One number is asked for each time; the list only while the number is not 0. A host
//! without systemd, or a daemon that cannot see its bus, has nothing of the kind.

use std::{path::PathBuf, time::Duration};

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector,
    dbus::{Bus, DbusError, Question, Reader, Writer},
    sink::Sink,
};

/// Units with a series of their own, the first by name: more than fail one by one.
pub(super) const UNITS_NAMED_MAX: usize = 32;

const MANAGER: Question<'_> = Question {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "NFailedUnits",
};

/// Where the system bus of the host is.
pub(super) fn socket(config: &CollectConfig) -> PathBuf {
    config.rootfs.join("run/dbus/system_bus_socket")
}

/// The collector.
pub(super) struct Units {
    socket: PathBuf,
    bus: Option<Bus>,
    failed: Series,
}

impl Units {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self { socket: socket(config), bus: None, failed: Series::of(&catalogue::UNITS_FAILED, &[]) }
    }

    /// How many failed, and their names, sorted; `None` where there is no systemd.
    fn ask(&mut self) -> Result<Option<(u32, Vec<String>)>, DbusError> {
        if self.bus.is_none() {
            self.bus = Bus::connect(&self.socket)?;
        }
        let Some(bus) = self.bus.as_mut() else { return Ok(None) };
        let count = match bus.property(MANAGER) {
            Ok(body) => count(&body).ok_or(DbusError::Malformed("NFailedUnits is no number"))?,
            Err(error) if error.is_absence() => return Ok(None),
            Err(error) => return Err(error),
        };
        if count == 0 {
            return Ok(Some((0, Vec::new())));
        }
        let mut body = Writer::new();
        body.list(4, |body| body.text("failed"));
        let list = bus.ask(Question { member: "ListUnitsFiltered", ..MANAGER }, "as", &body)?;
        let mut names = names(&list).ok_or(DbusError::Malformed("the list of units"))?;
        names.sort_unstable();
        Ok(Some((count, names)))
    }
}

/// A variant with a number.
fn count(body: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(body);
    if reader.variant()? == "u" { reader.number() } else { None }
}

/// The names in a list of units: a(ssssssouso).
fn names(body: &[u8]) -> Option<Vec<String>> {
    Reader::new(body).list(8, |reader| {
        reader.align(8)?;
        let name = reader.text()?.to_owned();
        // What it is, load, active and sub state, whom it follows, its path, the number, kind and path of its job.
        for _ in 0..6 {
            reader.text()?;
        }
        reader.number()?;
        reader.text()?;
        reader.text()?;
        Some(name)
    })
}

impl Collector for Units {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let asked = self.ask().inspect_err(|_| self.bus = None)?;
        let Some((count, names)) = asked else { return Ok(Collected::Absent) };
        sink.gauge(&self.failed, count.into());
        for name in names.iter().take(UNITS_NAMED_MAX) {
            sink.gauge(&Series::of(&catalogue::UNIT_FAILED, &[("systemd.unit", name)]), 1);
        }
        sink.without_detail("units", names.len().saturating_sub(UNITS_NAMED_MAX));
        Ok(Collected::Present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::dbus::testing::bus;
    use proptest::prelude::*;
    use starling_proto::series::{Sample, Value};

    fn number(count: u32) -> Vec<u8> {
        let mut body = Writer::new();
        body.signature("u");
        body.number(count);
        body.bytes().to_vec()
    }

    fn list(names: &[String]) -> Vec<u8> {
        let mut body = Writer::new();
        body.list(8, |body| {
            for name in names {
                body.structure();
                for text in [name, "A unit", "loaded", "failed", "failed", "", "/org/freedesktop/systemd1/unit/x"] {
                    body.text(text);
                }
                body.number(0);
                body.text("");
                body.text("/");
            }
        });
        body.bytes().to_vec()
    }

    fn collect(units: &mut Units) -> Result<(Collected, Vec<String>), CollectError> {
        let mut samples: Vec<Sample> = Vec::new();
        let collected = units.collect(Duration::ZERO, &mut Sink::new(&mut samples))?;
        let shown = |sample: &Sample| match sample.value {
            Value::Gauge(value) => format!("{} {value}", sample.series),
            _ => panic!("a gauge"),
        };
        Ok((collected, samples.iter().map(shown).collect()))
    }

    fn units(answers: Vec<(&'static str, Result<Vec<u8>, &'static str>)>) -> (tempfile::TempDir, Units) {
        let folder = tempfile::tempdir().unwrap();
        let socket = bus(folder.path(), answers);
        let mut units = Units::new(&CollectConfig::default());
        units.socket = socket;
        (folder, units)
    }

    #[test]
    fn failed_units_are_counted_and_named() {
        let names = ["nginx.service", "backup.timer"].map(str::to_owned);
        let (_folder, mut units) =
            units(vec![("NFailedUnits", Ok(number(2))), ("ListUnitsFiltered", Ok(list(&names)))]);
        for _ in 0..2 {
            let (collected, samples) = collect(&mut units).unwrap();
            assert_eq!(collected, Collected::Present);
            assert_eq!(
                samples,
                [
                    "system.systemd.units.failed 2",
                    "system.systemd.unit.failed{systemd.unit=backup.timer} 1",
                    "system.systemd.unit.failed{systemd.unit=nginx.service} 1",
                ]
            );
        }
    }

    #[test]
    fn none_is_a_zero_and_many_are_named_as_far_as_there_is_room() {
        let (_folder, mut none) = units(vec![("NFailedUnits", Ok(number(0)))]);
        assert_eq!(collect(&mut none).unwrap().1, ["system.systemd.units.failed 0"]);
        let names: Vec<String> = (0..40).map(|i| format!("u{i:02}.service")).collect();
        let (_folder, mut many) =
            units(vec![("NFailedUnits", Ok(number(40))), ("ListUnitsFiltered", Ok(list(&names)))]);
        let samples = collect(&mut many).unwrap().1;
        assert_eq!((samples.len(), samples[0].as_str()), (34, "system.systemd.units.failed 40"));
        assert_eq!(samples[33], "starling.node.collect.without_detail{collector=units} 8");
    }

    #[test]
    fn without_systemd_there_is_nothing_and_nonsense_is_a_fault() {
        let (_folder, mut without) = units(Vec::new());
        assert_eq!(collect(&mut without).unwrap(), (Collected::Absent, Vec::new()));
        let mut nowhere = Units::new(&CollectConfig { rootfs: "/nowhere".into(), ..CollectConfig::default() });
        assert_eq!(collect(&mut nowhere).unwrap(), (Collected::Absent, Vec::new()));
        let (_folder, mut denied) = units(vec![("NFailedUnits", Err("org.freedesktop.DBus.Error.AccessDenied"))]);
        assert!(collect(&mut denied).unwrap_err().to_string().contains("AccessDenied"));
        let (_folder, mut odd) = units(vec![("NFailedUnits", Ok(vec![1, b's', 0, 0]))]);
        assert!(collect(&mut odd).unwrap_err().to_string().contains("NFailedUnits"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (count(&body), names(&body));
        }
    }
}
