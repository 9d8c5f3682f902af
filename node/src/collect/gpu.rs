//! Graphics processors, as far as sysfs has them: `gpu_busy_percent` and `mem_info_vram_*` of the drivers that write them
//! (amdgpu, `Documentation/gpu/amdgpu/thermal.rst`). NVIDIA's own driver has nothing there.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};

use starling_proto::{catalogue, series::Series};

use super::{CollectConfig, CollectError, Collected, Collector, raid::listed, sensors::line, sink::Sink, text};

/// Cards with series of their own: a large server has eight or sixteen.
pub(super) const GPUS_MAX: usize = 16;

/// The collector.
pub(super) struct Gpu {
    class: PathBuf,
}

impl Gpu {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self { class: config.sysfs.join("class/drm") }
    }
}

impl Collector for Gpu {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let mut collected = Collected::Absent;
        let cards = listed(&self.class).unwrap_or_default();
        for card in cards.iter().filter(|card| is_card(card)).take(GPUS_MAX) {
            let name = &*text::printable(card);
            let folder = self.class.join(OsStr::from_bytes(card)).join("device");
            let mut give = |file: &str, metric, unit: u64, most: u64| {
                let Some(text) = line(&folder.join(file)) else { return };
                collected = Collected::Present;
                match text::number(&text).filter(|value| *value <= most) {
                    Some(value) => sink.gauge(&Series::of(metric, &[("hw.gpu", name)]), value.saturating_mul(unit)),
                    None => sink.left_out(|| format!("{name}/device/{file} is not a number that it can be")),
                }
            };
            // Percent in the fixed point of shares.
            give("gpu_busy_percent", &catalogue::GPU_UTILIZATION, 100, 100);
            give("mem_info_vram_used", &catalogue::GPU_MEMORY, 1, u64::MAX >> 2);
            give("mem_info_vram_total", &catalogue::GPU_MEMORY_LIMIT, 1, u64::MAX >> 2);
        }
        Ok(collected)
    }
}

/// "card0"; "card0-DP-1" is one of its connectors.
fn is_card(name: &[u8]) -> bool {
    name.strip_prefix(b"card").is_some_and(|number| text::number(number).is_some())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::testing::{collected, named},
        *,
    };

    #[test]
    fn usual_and_odd() {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { sysfs: root.path().into(), ..CollectConfig::default() };
        let mut gpu = Gpu::new(&config);
        let mut collect = || collected(&mut gpu, 1);
        let put = |card: &str, file: &str, text: &str| {
            let folder = root.path().join("class/drm").join(card).join("device");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), text).unwrap();
        };
        assert_eq!(collect(), (Collected::Absent, vec![], 0));
        put("card0-DP-1", "gpu_busy_percent", "50\n");
        put("card1", "vendor", "0x10de\n");
        assert_eq!(collect(), (Collected::Absent, vec![], 0), "a connector, and a driver without");
        put("card0", "gpu_busy_percent", "37\n");
        put("card0", "mem_info_vram_used", "1024\n");
        put("card0", "mem_info_vram_total", "-1\n");
        put("card2", "gpu_busy_percent", "101\n");
        let expected =
            [("system.gpu.utilization{hw.gpu=card0}", 3_700), ("system.gpu.memory.usage{hw.gpu=card0}", 1_024)];
        assert_eq!(collect(), (Collected::Present, named(expected), 2));
    }
}
