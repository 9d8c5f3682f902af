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

/// 32 hexadecimal digits, with or without dashes; not all zero.
fn sixteen(text: &[u8]) -> Option<[u8; 16]> {
    let digits: String = text.trim_ascii().iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte)).collect();
    hex::decode_array(&digits).filter(|bytes| *bytes != [0; 16])
}

#[cfg(test)]
mod tests {
    use super::*;

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
