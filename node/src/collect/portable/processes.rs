//! Processes: by the name of the command and by state.

use std::{collections::HashMap, os::unix::ffi::OsStrExt, sync::Arc, time::Duration};

use starling_proto::{catalogue, series::Series};
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

use super::{
    super::{
        CollectError, Collected, Collector, family,
        processes::{Names, Shown},
        sink::Sink,
        text,
    },
    failed,
};

/// The collector. The rest beside the named commands is that of the processes that were seen: how much all processors did
/// is not known here.
pub(in crate::collect) struct Processes {
    system: Option<System>,
    before: HashMap<Pid, (u64, u64)>,
    names: Names,
    /// By processor time and memory.
    shown: [Shown; 2],
    states: [Series; STATES.len()],
    second: u64,
}

const STATES: [&str; 6] = ["running", "sleeping", "uninterruptible", "idle", "stopped", "defunct"];

impl Processes {
    pub(in crate::collect) fn new() -> Self {
        Self {
            system: None,
            before: HashMap::new(),
            names: Names::default(),
            shown: Default::default(),
            states: family(&catalogue::PROCESS_STATES, "process.state", STATES),
            second: 0,
        }
    }
}

impl Collector for Processes {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let system = match &mut self.system {
            Some(system) => system,
            None => self.system.insert(System::new().map_err(failed)?),
        };
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
        if system.processes().is_empty() {
            return Ok(Collected::Absent);
        }
        self.second += 1;
        let mut counts = [0u64; STATES.len()];
        let (mut used, mut memory) = (HashMap::new(), HashMap::new());
        let mut now = HashMap::with_capacity(self.before.len());
        for (pid, process) in system.processes() {
            if let Some(place) = place(process.status()) {
                counts[place] += 1;
            }
            let command: Arc<str> = text::printable(process.name().as_bytes()).into();
            let (began, ms) = (process.start_time(), process.accumulated_cpu_time());
            now.insert(*pid, (began, ms));
            // One that began since the last look did all of it since.
            let before = match self.before.get(pid) {
                Some((same, ms)) if *same == began => *ms,
                _ if self.second == 1 => ms,
                _ => 0,
            };
            let sum = |sums: &mut HashMap<Arc<str>, u64>, amount: u64| {
                let sum = sums.entry(Arc::clone(&command)).or_default();
                *sum = sum.saturating_add(amount);
            };
            sum(&mut used, ms.saturating_sub(before));
            sum(&mut memory, process.memory());
        }
        self.before = now;
        for (series, count) in self.states.iter().zip(counts) {
            sink.gauge(series, count);
        }
        if self.second > 1 {
            let (named, rest) = self.names.admit(&mut self.shown[0], used, self.second);
            for (command, ms) in named {
                sink.increment(&self.names.of(&command, self.second).cpu_time, ms);
            }
            sink.increment(&self.names.rest().cpu_time, rest);
        }
        let (named, rest) = self.names.admit(&mut self.shown[1], memory, self.second);
        for (command, bytes) in named {
            sink.gauge(&self.names.of(&command, self.second).memory, bytes);
        }
        sink.gauge(&self.names.rest().memory, rest);
        Ok(Collected::Present)
    }
}

fn place(status: ProcessStatus) -> Option<usize> {
    Some(match status {
        ProcessStatus::Run => 0,
        ProcessStatus::Sleep => 1,
        ProcessStatus::UninterruptibleDiskSleep => 2,
        ProcessStatus::Idle => 3,
        ProcessStatus::Stop | ProcessStatus::Tracing => 4,
        ProcessStatus::Zombie | ProcessStatus::Dead => 5,
        _ => return None,
    })
}
