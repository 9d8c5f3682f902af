//! What a process costs, from `/proc`.

use std::time::Duration;

/// Processor time and memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Time on a processor since its start, user and system, in steps of 10 ms.
    pub processor: Duration,
    /// Resident memory, bytes.
    pub resident: u64,
    /// Its share of resident memory: pages shared with others count in part. Bytes; 0 where the kernel does not say.
    pub proportional: u64,
}

impl Cost {
    /// Reads the cost of process `id`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn of(id: u32) -> std::io::Result<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}"));
        let stat = read("stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        Ok(Self {
            // proc(5): utime and stime are fields 14 and 15, in ticks of 10 ms; counted here after the name.
            processor: Duration::from_millis((ticks(11) + ticks(12)) * 10),
            resident: kilobytes(&read("status")?, "VmRSS:") * 1024,
            proportional: read("smaps_rollup").map_or(0, |text| kilobytes(&text, "Pss:") * 1024),
        })
    }
}

fn kilobytes(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB"));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}
