//! Which machine a program runs on.

use std::{fs, path::Path};

use sha2::{Digest as _, Sha256};
use starling_proto::{hex, ids::Machine};

/// Which machine this is, see machine-id(5) and random(4), by the root of its files and its procfs. The machine-id is
/// private to its host: what is sent is made of it one way, and of nothing else that other programs make of it.
#[must_use]
pub fn of(root: &Path, procfs: &Path) -> Machine {
    let id = ["etc/machine-id", "var/lib/dbus/machine-id"]
        .iter()
        .find_map(|name| sixteen(&fs::read(root.join(name)).ok()?))
        .map(|id| {
            let digest = Sha256::new().chain_update("starling node").chain_update(id).finalize();
            let mut start = [0; 16];
            start.iter_mut().zip(&digest).for_each(|(to, from)| *to = *from);
            start
        });
    let boot = fs::read(procfs.join("sys/kernel/random/boot_id")).ok().and_then(|text| sixteen(&text));
    Machine { id, boot }
}

/// The one that this process runs on.
#[must_use]
pub fn here() -> Machine {
    of(Path::new("/"), Path::new("/proc"))
}

/// The UTS namespace that a kernel begins with: `PROC_UTS_INIT_INO` in its `include/linux/proc_ns.h`.
const FIRST_UTS: &str = "uts:[4026531838]";
/// Of a process in these on a UTS namespace of its own, only the name was set apart from the host, which a person does on purpose.
/// `PROC_PID_INIT_INO` and `PROC_MNT_INIT_INO` in `include/linux/proc_ns.h`; before Linux 6.17 the first namespace of mounts had
/// one of the first numbers that are given out.
const FIRST_PROCESSES: &str = "pid:[4026531836]";
const FIRST_MOUNTS: [&str; 3] = ["mnt:[4026531832]", "mnt:[4026531840]", "mnt:[4026531841]"];
/// Programs that begin a host, by their names in procfs: a container that one of them began is a host of its own.
const INITS: [&[u8]; 4] = [b"systemd", b"init", b"openrc-init", b"runit"];

/// The host name that this process has.
#[must_use]
pub fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// That name, when it is that of a host: containers have names that were made up, and the next one has another.
///
/// # Errors
/// That it is that of a container, with the name.
pub fn name_of_host() -> Result<String, String> {
    let namespace = |of: &str, kind: &str| fs::read_link(format!("/proc/{of}/ns/{kind}")).ok();
    let first = fs::read("/proc/1/comm").unwrap_or_default();
    // systemd.exec(5): of whatever a service manager starts. With ProtectHostname= that has a namespace of its own.
    let by_manager = std::env::var_os("INVOCATION_ID").is_some();
    let name = host_name();
    let (own, of_first) = (namespace("self", "uts"), namespace("1", "uts"));
    let [processes, mounts] = ["pid", "mnt"].map(|kind| namespace("self", kind).unwrap_or_default());
    let renamed =
        processes == Path::new(FIRST_PROCESSES) && FIRST_MOUNTS.iter().any(|first| mounts == Path::new(first));
    if renamed || is_of_host(own.as_deref(), of_first.as_deref(), &first, by_manager) {
        Ok(name)
    } else {
        Err(format!("the host name here, {name:?}, is that of a container, which may have another one tomorrow"))
    }
}

/// By the UTS namespaces of this process and the first one, the name of the first one, and whether a service manager began us.
/// What cannot be known is no reason to refuse.
fn is_of_host(own: Option<&Path>, first: Option<&Path>, first_is: &[u8], by_manager: bool) -> bool {
    own.is_none_or(|own| {
        let of_init = first == Some(own) && INITS.contains(&first_is.trim_ascii());
        own == Path::new(FIRST_UTS) || by_manager || of_init
    })
}

/// 32 hexadecimal digits, with or without dashes; not all zero.
fn sixteen(text: &[u8]) -> Option<[u8; 16]> {
    let digits: String = text.trim_ascii().iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte)).collect();
    hex::decode_array(&digits).filter(|bytes| *bytes != [0; 16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_container_is_nobodys_unless_it_was_begun_like_a_host() {
        let (host, other) = (Some(Path::new(FIRST_UTS)), Some(Path::new("uts:[4026532177]")));
        assert!(is_of_host(host, host, b"systemd\n", false) && is_of_host(host, None, b"", false), "a host");
        assert!(is_of_host(None, None, b"", false), "no way to know");
        assert!(!is_of_host(other, other, b"starling-node\n", false), "it is the first process of a container");
        assert!(!is_of_host(other, other, b"tini\n", false) && !is_of_host(other, None, b"sh\n", false));
        assert!(!is_of_host(other, host, b"systemd\n", false), "a container that sees the processes of its host");
        assert!(is_of_host(other, other, b"systemd\n", false), "a container that was begun like a host");
        assert!(is_of_host(other, None, b"systemd\n", true), "a unit with ProtectHostname=");
    }

    #[test]
    fn a_machine_is_known_by_its_id_and_boot_and_its_id_is_not_sent() {
        let root = tempfile::tempdir().unwrap();
        let here = || of(root.path(), &root.path().join("proc"));
        assert_eq!(here(), Machine::default());
        fs::create_dir_all(root.path().join("proc/sys/kernel/random")).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        let id = "0123456789abcdef0123456789abcdef";
        fs::write(root.path().join("etc/machine-id"), format!("{id}\n")).unwrap();
        fs::write(root.path().join("proc/sys/kernel/random/boot_id"), "5f1c0d0e-8a3b-4f6e-9d2a-7c1b0a998877\n")
            .unwrap();
        let one = here();
        assert_eq!(one.boot.map(|boot| boot[..3].to_vec()), Some(vec![0x5f, 0x1c, 0x0d]));
        assert!(one.id.is_some_and(|sent| Some(sent) != sixteen(id.as_bytes())));
        assert_eq!(here(), one, "the same each time");
        for odd in ["uninitialized", "", &"0".repeat(32), "+123456789abcdef0123456789abcdef"] {
            fs::write(root.path().join("etc/machine-id"), odd).unwrap();
            assert_eq!(here().id, None, "{odd}");
        }
    }
}
