//! Processors, load, memory and uptime.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};
use sysinfo::System;

use super::{
    super::{CollectError, Collected, Collector, sink::Sink},
    failed,
};

/// Processors: how busy they are since the last look.
pub(in crate::collect) struct Cpu {
    system: Option<System>,
    utilization: Series,
    count: Series,
    cores: Vec<Series>,
}

impl Cpu {
    pub(in crate::collect) fn new() -> Self {
        Self {
            system: None,
            utilization: Series::of(&catalogue::CPU_UTILIZATION, &[]),
            count: Series::of(&catalogue::CPU_COUNT, &[]),
            cores: Vec::new(),
        }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let first = self.system.is_none();
        let system = match &mut self.system {
            Some(system) => system,
            None => self.system.insert(System::new().map_err(failed)?),
        };
        system.refresh_cpu_usage();
        let cores = system.cpus();
        if cores.is_empty() {
            return Ok(Collected::Absent);
        }
        sink.gauge(&self.count, cores.len() as u64);
        if first {
            return Ok(Collected::Present);
        }
        for number in self.cores.len()..cores.len().min(super::super::cpu::CORES_MAX) {
            let number = number.to_string();
            self.cores.push(Series::of(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", &number)]));
        }
        for (series, core) in self.cores.iter().zip(cores) {
            sink.gauge(series, share(core.usage()));
        }
        sink.gauge(&self.utilization, share(system.global_cpu_usage()));
        Ok(Collected::Present)
    }
}

/// Percent in the fixed point of shares.
fn share(percent: f32) -> u64 {
    // `as` saturates and takes what is not a number for 0.
    ((f64::from(percent) * 100.0).round() as u64).min(10_000)
}

/// Load averages; on systems without them it is absent.
pub(in crate::collect) struct Load([Series; 3]);

impl Load {
    pub(in crate::collect) fn new() -> Self {
        Self([&catalogue::LOAD_1M, &catalogue::LOAD_5M, &catalogue::LOAD_15M].map(|metric| Series::of(metric, &[])))
    }
}

impl Collector for Load {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let load = System::load_average().map_err(failed)?;
        for (series, average) in self.0.iter().zip([load.one, load.five, load.fifteen]) {
            sink.gauge(series, catalogue::LOAD_1M.fixed(average).unsigned_abs());
        }
        Ok(Collected::Present)
    }
}

/// Memory and swap.
pub(in crate::collect) struct Memory {
    system: Option<System>,
    limit: Series,
    available: Series,
    swap_limit: Series,
    swap_usage: Series,
}

impl Memory {
    pub(in crate::collect) fn new() -> Self {
        Self {
            system: None,
            limit: Series::of(&catalogue::MEMORY_LIMIT, &[]),
            available: Series::of(&catalogue::MEMORY_AVAILABLE, &[]),
            swap_limit: Series::of(&catalogue::SWAP_LIMIT, &[]),
            swap_usage: Series::of(&catalogue::SWAP_USAGE, &[]),
        }
    }
}

impl Collector for Memory {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let system = match &mut self.system {
            Some(system) => system,
            None => self.system.insert(System::new().map_err(failed)?),
        };
        system.refresh_memory();
        if system.total_memory() == 0 {
            return Ok(Collected::Absent);
        }
        sink.gauge(&self.limit, system.total_memory());
        sink.gauge(&self.available, system.available_memory().min(system.total_memory()));
        sink.gauge(&self.swap_limit, system.total_swap());
        sink.gauge(&self.swap_usage, system.used_swap());
        Ok(Collected::Present)
    }
}

/// Time since boot.
pub(in crate::collect) struct Uptime(Series);

impl Uptime {
    pub(in crate::collect) fn new() -> Self {
        Self(Series::of(&catalogue::UPTIME, &[]))
    }
}

impl Collector for Uptime {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        sink.gauge(&self.0, System::uptime().map_err(failed)?);
        Ok(Collected::Present)
    }
}
