//! Processors, from `/proc/stat`.
//!
//! Busy is all time but `idle` and `iowait`: a processor that waits for a disk is free for others. Time stolen by the
//! hypervisor counts as busy, because the host had work and could not go on. Guests need no care: the kernel has
//! their time in `user` and `nice` already (`account_guest_time` in `kernel/sched/cputime.c`).
//!
//! Everything is summed from the lines per core, not taken from the first line: that one covers offline cores too,
//! whose idle time comes from another clock and jumps when a core goes or comes.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectConfig, CollectError, Collected, Collector, family,
    kept::{KeptFile, Shape},
    scheduler::Scheduler,
    sink::Sink,
    text,
};

/// Cores with a number of this or higher are counted in the totals and have no series of their own.
pub(super) const CORES_MAX: usize = 1024;
/// Highest core number taken: `NR_CPUS` of the largest kernels is 8,192.
const CORE_NUMBER_MAX: u64 = 8191;
const MODES: usize = 8;
/// Values of `cpu.mode`, in the order of the columns of `/proc/stat`.
const MODE_NAMES: [&str; MODES] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
const IOWAIT: usize = 4;

/// Ticks of one core by mode.
pub(super) type Times = [u64; MODES];

/// The collector.
pub(super) struct Cpu {
    stat: KeptFile,
    scheduler: Scheduler,
    ticks_per_second: u64,
    cores: Vec<Core>,
    utilization: Series,
    time: [Series; MODES],
    count: Series,
}

struct Core {
    /// `None` while the core is offline: its clock may jump when it comes back.
    before: Option<Times>,
    online: bool,
    series: Option<Series>,
}

impl Cpu {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            stat: KeptFile::new(config.procfs.join("stat"), Shape::Single),
            scheduler: Scheduler::new(),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            cores: Vec::new(),
            utilization: Series::of(&catalogue::CPU_UTILIZATION, &[]),
            time: family(&catalogue::CPU_TIME, "cpu.mode", MODE_NAMES),
            count: Series::of(&catalogue::CPU_COUNT, &[]),
        }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, elapsed: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let stat = self.stat.read_what_must_be()?;
        // More than this in one tick is a clock that jumped: twice the time that passed, and a second.
        let expected = (elapsed.as_secs_f64() * self.ticks_per_second as f64) as u64;
        let plausible = expected.saturating_mul(2).saturating_add(self.ticks_per_second);
        let mut sum = [0u64; MODES];
        let mut compared = false;
        let (mut online, mut readable) = (0, 0);
        for core in &mut self.cores {
            core.online = false;
        }
        for line in parse(stat) {
            let (number, now) = match line {
                Ok(core) => core,
                Err(line) => {
                    // It may be odd for a moment only: the core goes on from what is known of it.
                    if let Some(core) = line.number.and_then(|number| self.cores.get_mut(number as usize)) {
                        core.online = true;
                    }
                    online += u64::from(line.number.is_some());
                    sink.left_out(|| format!("stat: {:?} is not a line of a core", text::excerpt(line.text)));
                    continue;
                }
            };
            let number = number as usize;
            online += 1;
            readable += 1;
            while self.cores.len() <= number {
                self.cores.push(Core { before: None, online: false, series: None });
            }
            let core = &mut self.cores[number];
            core.online = true;
            let Some(before) = core.before.replace(now) else { continue };
            // `idle` and `iowait` go back by a little now and then (proc_stat(5)); that is 0, not a reset.
            let spent = spent(&before, &now);
            let total = spent.iter().fold(0, |total: u64, ticks| total.saturating_add(*ticks));
            // What went back takes so much out of the sum that a share of the rest says nothing.
            let went_back = now.iter().zip(&before).any(|(now, before)| now < before);
            if total > plausible || (went_back && total < expected / 2) {
                sink.fault();
                continue;
            }
            compared = true;
            for (sum, ticks) in sum.iter_mut().zip(spent) {
                *sum += ticks;
            }
            if number < CORES_MAX
                && let Some(busy) = busy(&spent)
            {
                let series = core.series.get_or_insert_with(|| {
                    Series::of(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", &number.to_string())])
                });
                sink.gauge(series, catalogue::CORE_UTILIZATION.fixed(busy).unsigned_abs());
            }
        }
        for core in self.cores.iter_mut().filter(|core| !core.online) {
            core.before = None;
        }
        if readable == 0 {
            return Err(CollectError::Malformed { file: "stat", what: "cpu0" });
        }
        self.scheduler.collect(stat, sink);
        sink.gauge(&self.count, online);
        if compared {
            if let Some(busy) = busy(&sum) {
                sink.gauge(&self.utilization, catalogue::CPU_UTILIZATION.fixed(busy).unsigned_abs());
            }
            for (series, ticks) in self.time.iter().zip(sum) {
                sink.increment(series, ticks.saturating_mul(1000) / self.ticks_per_second);
            }
        }
        Ok(Collected::Present)
    }
}

/// Busy share of `spent`. `None` when no time was accounted at all.
fn busy(spent: &Times) -> Option<f64> {
    let total: u64 = spent.iter().sum();
    (total > 0).then(|| (total - spent[IDLE] - spent[IOWAIT]) as f64 / total as f64)
}

/// Ticks between two readings; a mode that went back gives none.
fn spent(before: &Times, now: &Times) -> Times {
    std::array::from_fn(|mode| now[mode].saturating_sub(before[mode]))
}

/// Ticks of all processors since boot, from the first line: exact to a tick for all together, where the sum of the lines
/// of the cores loses a part of one for each. It jumps when a core goes or comes.
pub(super) fn whole(stat: &[u8]) -> Option<Times> {
    let mut words = text::words(text::lines(stat).next()?);
    if words.next()? != b"cpu" {
        return None;
    }
    times(words)
}

/// Busy share between two readings of [`whole`].
pub(super) fn busy_between(before: &Times, now: &Times) -> Option<f64> {
    busy(&spent(before, now))
}

/// Busy ticks between two readings of [`whole`].
pub(super) fn busy_ticks(before: &Times, now: &Times) -> u64 {
    let spent = spent(before, now);
    sum(&spent).saturating_sub(sum(&[spent[IDLE], spent[IOWAIT]]))
}

/// Ticks between two readings, idle ones too.
pub(super) fn ticks(before: &Times, now: &Times) -> u64 {
    sum(&spent(before, now))
}

fn sum(times: &[u64]) -> u64 {
    times.iter().fold(0, |sum: u64, ticks| sum.saturating_add(*ticks))
}

/// A line that is not one of a core.
#[derive(Debug)]
struct OddLine<'a> {
    /// The number of the core, when that can be read.
    number: Option<u64>,
    text: &'a [u8],
}

/// Number and times of each core that is online. Columns an old kernel does not have are 0.
fn parse(stat: &[u8]) -> impl Iterator<Item = Result<(u64, Times), OddLine<'_>>> {
    text::lines(stat)
        // The lines of the processors come first, and `intr` after them is long.
        .take_while(|line| line.starts_with(b"cpu"))
        .filter_map(|line| {
            let mut words = text::words(line);
            let number = words.next()?.strip_prefix(b"cpu")?;
            if number.is_empty() {
                return None; // the sum over all
            }
            let number = text::number(number).filter(|number| *number <= CORE_NUMBER_MAX);
            Some(number.and_then(|number| Some((number, times(words)?))).ok_or(OddLine { number, text: line }))
        })
}

fn times<'a>(words: impl Iterator<Item = &'a [u8]>) -> Option<Times> {
    let mut times = Times::default();
    let mut columns = 0;
    for (time, word) in times.iter_mut().zip(words) {
        *time = text::number(word)?;
        columns += 1;
    }
    // user, nice, system and idle are there since the beginning.
    (columns > IDLE).then_some(times)
}

/// Cores online, for the facts about the host.
pub(super) fn count(stat: &[u8]) -> u32 {
    let cores = parse(stat).filter(|line| line.as_ref().err().is_none_or(|odd| odd.number.is_some())).count();
    u32::try_from(cores).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use starling_proto::series::{Sample, Value};

    use super::*;

    /// Collects once for each text of `/proc/stat`, a second apart, and gives the samples of the last as text.
    fn after(texts: &[&str]) -> (Vec<String>, u64) {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { procfs: root.path().into(), ..CollectConfig::default() };
        let mut cpu = Cpu::new(&config);
        let mut samples: Vec<Sample> = Vec::new();
        let mut faults = 0;
        for text in texts {
            fs::write(root.path().join("stat"), text).unwrap();
            samples.clear();
            let mut sink = Sink::new(&mut samples);
            cpu.collect(Duration::from_secs(1), &mut sink).unwrap();
            (faults, _) = sink.end();
        }
        let reported = samples
            .iter()
            .map(|sample| match sample.value {
                Value::Counter(value) => format!("{} {value}", sample.series),
                Value::Gauge(value) => format!("{} {value}", sample.series),
                Value::Histogram(_) => unreachable!(),
            })
            .filter(|line| !line.ends_with("} 0"))
            .collect();
        (reported, faults)
    }

    #[test]
    fn waiting_is_not_busy_and_guests_count_once() {
        let (reported, faults) = after(&[
            "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 100 0 100 1000 50 0 0 0 40 0\ncpu1 0 0 0 1000 0 0 0 0 0 0\nintr 1\n",
            "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 120 0 105 1050 75 0 0 0 60 0\ncpu1 0 0 0 1090 0 0 0 10 0 0\nintr 2\n",
        ]);
        assert_eq!(
            reported,
            [
                "system.cpu.core.utilization{cpu.logical_number=0} 2500",
                "system.cpu.core.utilization{cpu.logical_number=1} 1000",
                "system.interrupts 1",
                "system.cpu.logical.count 2",
                "system.cpu.utilization 1750",
                "system.cpu.time{cpu.mode=user} 200",
                "system.cpu.time{cpu.mode=system} 50",
                "system.cpu.time{cpu.mode=idle} 1400",
                "system.cpu.time{cpu.mode=iowait} 250",
                "system.cpu.time{cpu.mode=steal} 100",
            ]
        );
        assert_eq!(faults, 0);
    }

    #[test]
    fn a_core_that_was_offline_starts_again() {
        let (reported, faults) =
            after(&["cpu0 0 0 0 100\ncpu1 0 0 0 100\n", "cpu0 50 0 0 150\n", "cpu0 50 0 0 250\ncpu1 0 0 0 9000000\n"]);
        assert_eq!(
            reported,
            ["system.cpu.logical.count 2", "system.cpu.utilization 0", "system.cpu.time{cpu.mode=idle} 1000"]
        );
        assert_eq!(faults, 0);
    }

    #[test]
    fn clocks_that_go_back_or_jump() {
        let (reported, faults) = after(&["cpu0 0 0 0 1000 500\n", "cpu0 50 0 0 1050 490\n"]);
        assert!(reported.contains(&"system.cpu.utilization 5000".to_owned()), "{reported:?}");
        assert_eq!(faults, 0, "iowait may go back");
        let (reported, faults) = after(&["cpu0 0 0 0 1000\n", "cpu0 2 0 0 998\n"]);
        assert_eq!((reported, faults), (vec!["system.cpu.logical.count 1".to_owned()], 1), "2 ticks are no second");
        let (reported, faults) = after(&["cpu0 0 0 0 0\n", "cpu0 0 0 0 18446744073709551615\n"]);
        assert_eq!(reported, ["system.cpu.logical.count 1"]);
        assert_eq!(faults, 1);
    }

    #[test]
    fn an_odd_line_costs_its_core_only() {
        let wild = "cpu0 0 0 0 100\ncpu1 18446744073709551616 0 0 100\ncpu2 0 0 0 100\n";
        let (reported, faults) = after(&[wild, "cpu0 50 0 0 150\ncpu1 -7 0 0 200\ncpu2 10 0 0 190\n"]);
        assert_eq!(faults, 1);
        for line in [
            "system.cpu.core.utilization{cpu.logical_number=0} 5000",
            "system.cpu.core.utilization{cpu.logical_number=2} 1000",
            "system.cpu.logical.count 3",
            "system.cpu.utilization 3000",
        ] {
            assert!(reported.iter().any(|reported| reported == line), "{line} is not in {reported:?}");
        }
        assert!(reported.iter().all(|line| !line.contains("number=1}")), "{reported:?}");
        // Back after an odd second it goes on: the share of two seconds is a share.
        let (reported, faults) =
            after(&["cpu0 0 0 0 100\n", "cpu0 x 0 0 0\ncpu1 0 0 0 7\n", "cpu0 100 0 0 200\ncpu1 0 0 0 107\n"]);
        assert!(
            reported.contains(&"system.cpu.core.utilization{cpu.logical_number=0} 5000".to_owned()),
            "{reported:?}"
        );
        assert_eq!(faults, 0);
    }

    #[test]
    fn a_host_without_a_readable_core_fails() {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { procfs: root.path().into(), ..CollectConfig::default() };
        let mut samples = Vec::new();
        let error = Cpu::new(&config).collect(Duration::ZERO, &mut Sink::new(&mut samples)).unwrap_err();
        assert!(error.to_string().ends_with("stat does not exist"), "{error}");
        fs::write(root.path().join("stat"), "cpu 1 2 3 4\ncpu0 x\n").unwrap();
        assert!(Cpu::new(&config).collect(Duration::ZERO, &mut Sink::new(&mut samples)).is_err());
    }

    #[test]
    fn odd_text() {
        assert_eq!(count(b"cpu  1 2 3 4\ncpu0 1 2 3 4 5 6 7 8 9 10 11\n"), 1);
        for bad in ["cpu0\n", "cpu0 1 2 3\n", "cpux 1 2 3 4\n", "cpu0 1 2 3 -4\n", "cpu8192 1 2 3 4\n"] {
            assert!(parse(bad.as_bytes()).any(|line| line.is_err()), "{bad}");
        }
        assert_eq!(parse(b"").count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "(cpu[0-9]{0,5}( [0-9x]{1,22}){0,11}\n?){0,5}") {
            parse(&bytes).for_each(drop);
            parse(text.as_bytes()).for_each(drop);
        }
    }
}
