//! Facts about the host that change only with a reboot.

use std::{fs, path::Path};

use starling_proto::{ids::Machine, v1};
use starling_service::machine;
use sysinfo::{CpuRefreshKind, System};

use super::{CollectConfig, cpu, memory, text};

/// Longest text of a fact, in characters.
const FACT_LEN_MAX: usize = 128;

/// Reads what is said about the host when a stream opens. What cannot be read is empty or 0. Where the daemon listens is not of
/// the host.
#[must_use]
pub fn host_facts(config: &CollectConfig) -> v1::HostFacts {
    let read = |path: &Path| fs::read(path).unwrap_or_default();
    let proc = |name: &str| read(&config.procfs.join(name));
    let stat = proc("stat");
    let os = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|name| os_name(&read(&config.rootfs.join(name))))
        .unwrap_or_default();
    v1::HostFacts {
        kernel: fact(&proc("sys/kernel/osrelease")),
        os,
        cpu_model: cpu_model(&proc("cpuinfo")).or_else(|| cpu_brand(config)).unwrap_or_default(),
        cores: cpu::count(&stat),
        memory_bytes: memory::parse(&proc("meminfo")).map_or(0.0, |info| info.total as f64),
        boot_time_unix_s: boot_time(&stat).unwrap_or_default(),
        host_name: host_name(config),
        ..v1::HostFacts::default()
    }
}

/// The name that the host has now, beside that of its node, which stays. In a container it is that of the host's files: the
/// kernel would say the container's.
fn host_name(config: &CollectConfig) -> String {
    let own = config.rootfs == Path::new("/");
    let file = if own { config.procfs.join("sys/kernel/hostname") } else { config.rootfs.join("etc/hostname") };
    let content = fs::read(file).unwrap_or_default();
    // hostname(5): comments, and one name.
    let name = text::lines(&content).map(<[u8]>::trim_ascii).find(|line| !line.is_empty() && !line.starts_with(b"#"));
    name.map(fact).unwrap_or_default()
}

/// Which machine this is.
#[must_use]
pub fn machine(config: &CollectConfig) -> Machine {
    machine::of(&config.rootfs, &config.procfs)
}

fn fact(value: &[u8]) -> String {
    text::printable(value.trim_ascii()).chars().filter(|c| !c.is_control()).take(FACT_LEN_MAX).collect()
}

/// `PRETTY_NAME` of os-release(5), without its quotes.
fn os_name(os_release: &[u8]) -> Option<String> {
    let value = text::lines(os_release).find_map(|line| line.strip_prefix(b"PRETTY_NAME="))?.trim_ascii();
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some(fact(quoted.unwrap_or(value))).filter(|name| !name.is_empty())
}

/// The first processor's name: x86 calls it "model name", POWER "cpu", MIPS and LoongArch "cpu model" and "Model Name".
/// ARM gives numbers only.
fn cpu_model(cpuinfo: &[u8]) -> Option<String> {
    text::lines(cpuinfo).find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let key = line[..colon].trim_ascii().to_ascii_lowercase();
        matches!(&key[..], b"model name" | b"cpu" | b"cpu model").then(|| fact(&line[colon + 1..]))
    })
}

/// What the numbers of an ARM processor are called; sysinfo keeps the table. It reads the real `/proc` only.
fn cpu_brand(config: &CollectConfig) -> Option<String> {
    if config.procfs != Path::new("/proc") {
        return None;
    }
    let mut system = System::new().ok()?;
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    system.cpus().first().map(|cpu| fact(cpu.brand().as_bytes())).filter(|brand| !brand.is_empty())
}

fn boot_time(stat: &[u8]) -> Option<u32> {
    let value = text::lines(stat).find_map(|line| line.strip_prefix(b"btime "))?;
    text::number(value.trim_ascii())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_and_odd() {
        assert_eq!(os_name(b"ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n").unwrap(), "Debian GNU/Linux 12");
        assert_eq!(os_name(b"PRETTY_NAME=Arch\n").unwrap(), "Arch");
        assert_eq!(os_name(b"PRETTY_NAME=\"\"\n"), None);
        assert_eq!(cpu_model(b"processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n").unwrap(), "AMD EPYC");
        assert_eq!(cpu_model(b"processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
        assert_eq!(boot_time(b"cpu 1\nbtime 1795450244\nprocesses 1\n"), Some(1_795_450_244));
        assert_eq!(boot_time(b"btime 99999999999\n"), None);
        assert_eq!(fact(&[b'x'; 500]).len(), FACT_LEN_MAX);
    }

    #[test]
    fn the_name_of_the_host_is_its_own_and_not_that_of_a_container() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in
            [("proc/sys/kernel/hostname", "3f9c2a17be01\n"), ("etc/hostname", "# of ours\n\nWeb-1.example \n")]
        {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let mut config = CollectConfig { procfs: root.path().join("proc"), ..CollectConfig::default() };
        assert_eq!(host_facts(&config).host_name, "3f9c2a17be01");
        config.rootfs = root.path().into();
        assert_eq!(host_facts(&config).host_name, "Web-1.example");
    }

    #[test]
    fn this_host_has_facts() {
        let facts = host_facts(&CollectConfig::default());
        assert!(facts.cores > 0 && facts.memory_bytes > 0.0 && facts.boot_time_unix_s > 0, "{facts:?}");
        // An independent reader of the same host agrees.
        let mut system = System::new().unwrap();
        system.refresh_memory();
        system.refresh_cpu_list(CpuRefreshKind::nothing());
        assert_eq!(facts.memory_bytes, system.total_memory() as f64);
        assert_eq!(facts.cores as usize, system.cpus().len());
        assert_eq!(Some(facts.kernel.clone()), System::kernel_version().ok());
        assert_eq!(Some(facts.host_name.clone()), System::host_name().ok());
        assert!(u64::from(facts.boot_time_unix_s).abs_diff(System::boot_time().unwrap()) <= 1);
        assert!(!facts.kernel.is_empty() && !facts.kernel.ends_with('\n'), "{facts:?}");
    }

    #[test]
    fn nothing_readable_is_no_failure() {
        let config = CollectConfig {
            procfs: "/nonexistent".into(),
            sysfs: "/nonexistent".into(),
            rootfs: "/nonexistent".into(),
            tcp: false,
            ..CollectConfig::default()
        };
        assert_eq!(host_facts(&config), v1::HostFacts::default());
    }
}
