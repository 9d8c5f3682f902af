use std::{fs, path::Path};

use starling_proto::series::{Sample, Value};

use super::{
    commands::{COMMANDS_MAX, NAMES_MAX},
    *,
};

struct Host {
    root: tempfile::TempDir,
    processes: Processes,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = CollectConfig { procfs: root.path().into(), ..CollectConfig::default() };
        Self { processes: Processes::new(&config), root }
    }

    fn put(&self, pid: u32, name: &str, state: char, ticks: u64) {
        put(self.root.path(), pid, name, state, ticks);
    }

    /// One second after the processors were busy for `busy` ticks since boot.
    fn second(&mut self, busy: u64) -> Vec<(String, Value)> {
        fs::write(self.root.path().join("stat"), format!("cpu  {busy} 0 0 100000 0 0 0 0\n")).unwrap();
        let mut samples: Vec<Sample> = Vec::new();
        let mut sink = Sink::new(&mut samples);
        assert_eq!(self.processes.collect(Duration::from_secs(1), &mut sink).unwrap(), Collected::Present);
        assert_eq!(sink.end(), (0, None));
        samples.into_iter().map(|sample| (sample.series.to_string(), sample.value)).collect()
    }
}

fn put(proc: &Path, pid: u32, name: &str, state: char, ticks: u64) {
    let folder = proc.join(pid.to_string());
    fs::create_dir_all(&folder).unwrap();
    let line = format!("{pid} ({name}) {state} 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {pid} 1000 10 0\n");
    fs::write(folder.join("stat"), line).unwrap();
}

fn of<'a>(samples: &'a [(String, Value)], metric: &str) -> Vec<(&'a str, Value)> {
    let wanted = samples.iter().filter_map(|(name, value)| {
        let attributes = name.strip_prefix(metric)?.strip_prefix('{')?.strip_suffix('}')?;
        Some((attributes.strip_prefix("process.executable.name=").unwrap_or(attributes), value.clone()))
    });
    wanted.collect()
}

#[test]
fn who_did_it_and_the_rest_are_all() {
    let mut host = Host::new();
    host.put(1, "init", 'S', 10);
    host.put(2, "java", 'R', 100);
    host.put(3, "java", 'S', 100);
    host.put(4, "evil\u{7}", 'Z', 0);
    let first = host.second(1000);
    assert_eq!(of(&first, "system.process.command.cpu.time"), [], "nothing to compare with");
    let memory = of(&first, "system.process.command.memory.usage");
    let page = i64::try_from(host.processes.page_bytes).unwrap();
    assert!(memory.contains(&("java", Value::Gauge(20 * page))), "{memory:?}");
    assert_eq!(memory[3], ("_other", Value::Gauge(0)));
    host.put(2, "java", 'R', 130);
    host.put(3, "java", 'S', 108);
    host.put(4, "evil\u{7}", 'D', 5);
    let second = host.second(1050);
    let expected = [("evil\\x07", 50), ("java", 380), ("_other", 70)];
    let expected = expected.map(|(name, ms)| (name, Value::Counter(ms)));
    assert_eq!(of(&second, "system.process.command.cpu.time"), expected);
    let states = of(&second, "system.process.states");
    let expected =
        [("running", 1), ("sleeping", 2), ("uninterruptible", 1), ("idle", 0), ("stopped", 0), ("defunct", 0)];
    let states: Vec<_> =
        states.iter().map(|(name, value)| (name.trim_start_matches("process.state="), value.clone())).collect();
    assert_eq!(states, expected.map(|(name, count)| (name, Value::Gauge(count))));
    assert_eq!(of(&second, "system.process.command.memory.usage").len(), 4, "as of the last time");
}

#[test]
fn named_ones_beyond_the_whole_are_taken_from_the_next_rest() {
    let mut host = Host::new();
    host.put(2, "java", 'R', 0);
    host.second(0);
    host.put(2, "java", 'R', 103);
    let rest = |samples: &[(String, Value)]| {
        of(samples, "system.process.command.cpu.time").last().map(|(name, value)| ((*name).to_owned(), value.clone()))
    };
    assert_eq!(rest(&host.second(100)), Some(("_other".to_owned(), Value::Counter(0))));
    host.put(2, "java", 'R', 150);
    assert_eq!(rest(&host.second(200)), Some(("_other".to_owned(), Value::Counter(500))), "53 less 3 ticks");
}

#[test]
fn beyond_twenty_they_are_the_rest_and_one_that_calls_itself_so_is_in_it() {
    let mut host = Host::new();
    let many = COMMANDS_MAX as u32 + 5;
    (1..=many).for_each(|pid| host.put(pid, &format!("c{pid}"), 'S', 0));
    host.put(100, "_other", 'S', 0);
    host.second(0);
    (1..=many).for_each(|pid| host.put(pid, &format!("c{pid}"), 'S', u64::from(pid)));
    host.put(100, "_other", 'S', 1000);
    let second = host.second(2000);
    let used = of(&second, "system.process.command.cpu.time");
    assert_eq!(used.len(), COMMANDS_MAX + 1);
    assert!(used.contains(&("c25", Value::Counter(250))), "{used:?}");
    let named: u32 = (6..=many).sum();
    assert_eq!(used[COMMANDS_MAX], ("_other", Value::Counter(u64::from(2000 - named) * 10)));
}

#[test]
fn one_that_was_named_stays_for_a_minute() {
    let mut host = Host::new();
    host.put(2, "java", 'R', 0);
    host.second(0);
    host.put(2, "java", 'R', 5);
    host.second(100);
    let java = |samples: &[(String, Value)]| {
        of(samples, "system.process.command.cpu.time")
            .iter()
            .find(|(name, _)| *name == "java")
            .map(|(_, value)| value.clone())
    };
    for _ in 0..60 {
        assert_eq!(java(&host.second(100)), Some(Value::Counter(0)));
    }
    assert_eq!(java(&host.second(100)), None);
}

#[test]
fn names_that_never_repeat_find_no_room_after_a_while() {
    let (mut names, mut shown) = (Names::default(), Shown::default());
    let amounts = |from: usize| (from..from + COMMANDS_MAX).map(|n| (Arc::from(format!("n{n}")), 1)).collect();
    let mut admit = |from: usize, second: u64| {
        let (named, rest) = names.admit(&mut shown, amounts(from), second);
        let of_named: u64 = named.iter().map(|(_, amount)| amount).sum();
        assert_eq!(of_named + rest, COMMANDS_MAX as u64, "nothing is lost");
        assert!(named.len() <= 2 * COMMANDS_MAX && names.known.len() <= NAMES_MAX);
        of_named
    };
    for second in 0..100 {
        admit(second * COMMANDS_MAX, second as u64);
    }
    assert_eq!(admit(100_000, 100), 0, "no room");
    assert_eq!(admit(0, 101), COMMANDS_MAX as u64, "known ones have theirs");
    assert_eq!(admit(100_000, 2_000), COMMANDS_MAX as u64, "what was not used for long is forgotten");
}

#[test]
fn this_host_has_processes() {
    let mut processes = Processes::new(&CollectConfig::default());
    let mut samples = Vec::new();
    processes.collect(Duration::ZERO, &mut Sink::new(&mut samples)).unwrap();
    assert!(samples.iter().any(|sample| sample.series.is(&catalogue::COMMAND_MEMORY)));
}
