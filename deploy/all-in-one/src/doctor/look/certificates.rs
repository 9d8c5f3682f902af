//! Certificates, keys and authorities as they stand in files, and whether the service can read them.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use starling_service::{
    credentials::{Security, Standing, standing},
    enrolment::Folder,
    machine,
};

use crate::doctor::{
    facts::{Certificate, Validity},
    installed::{Kind, Wanted},
};

/// Of a program with `tls`; `None` in plain text. With what connects in its name, when it is taken.
pub(crate) fn certificate(kind: Kind, wanted: &Wanted) -> Option<(Certificate, Option<Security>)> {
    let files = wanted.tls.files()?;
    let loaded = Security::load(&wanted.tls, kind.role(), false);
    let validity = |standing: &Standing| Validity { from: standing.from, until: standing.until };
    let own = standing(&files.certificate).ok();
    let secret = [Some(files.key.clone()), wanted.keyring.clone()];
    let read = [files.certificate.clone(), files.ca.clone()].into_iter().chain(secret.into_iter().flatten());
    let user = user(kind.program());
    let joined = wanted.tls.joined_folder().map(|folder| Folder::at(folder.to_owned()));
    let facts = Certificate {
        program: kind.program().to_owned(),
        file: files.certificate.clone(),
        taken: match &loaded {
            Ok(security) => Ok(security.identity().map_or_else(String::new, |identity| identity.to_string())),
            Err(error) => Err(error.to_string()),
        },
        is_joined: joined.is_some(),
        copied: joined.and_then(|folder| {
            let joined = folder.joined().ok().flatten()?;
            folder.check_machine(&joined, kind.role(), machine::here()).err().map(|error| error.to_string())
        }),
        validity: own.as_deref().and_then(|own| own.first()).map(validity),
        authorities: standing(&files.ca)
            .map(|all| all.iter().map(|one| (one.who.clone(), validity(one))).collect())
            .unwrap_or_default(),
        unreadable: user.map_or_else(Vec::new, |user| read.filter(|file| !user.can_read(file)).collect()),
    };
    Some((facts, loaded.ok()))
}

/// Who a service runs as.
struct User {
    id: u32,
    groups: Vec<u32>,
}

/// The user of this name; `None` where the package is not installed.
fn user(name: &str) -> Option<User> {
    find_user(name, &fs::read_to_string("/etc/passwd").ok()?, &fs::read_to_string("/etc/group").unwrap_or_default())
}

/// Of the texts of passwd(5) and group(5).
fn find_user(name: &str, passwd: &str, group: &str) -> Option<User> {
    let mut fields = passwd.lines().map(|line| line.split(':')).find_map(|mut fields| {
        (fields.next() == Some(name)).then(|| fields.skip(1).map(str::parse::<u32>).collect::<Vec<_>>())
    })?;
    let group_of = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let id = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == name).then_some(id)
    };
    let (id, own) = (fields.remove(0).ok()?, fields.remove(0).ok()?);
    Some(User { id, groups: std::iter::once(own).chain(group.lines().filter_map(group_of)).collect() })
}

impl User {
    /// Whether the modes of the file and of the folders above let it be read. What is not there can be: that is said
    /// elsewhere.
    fn can_read(&self, file: &Path) -> bool {
        let allows = |path: &Path, bit: u32| {
            let Ok(found) = fs::metadata(path) else { return true };
            self.has(found.mode(), (found.uid(), found.gid()), bit)
        };
        let mut folders = file.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        allows(file, 0o4) && folders.all(|folder| allows(folder, 0o1))
    }

    fn has(&self, mode: u32, (owner, group): (u32, u32), bit: u32) -> bool {
        let shift = match () {
            () if owner == self.id => 6,
            () if self.groups.contains(&group) => 3,
            () => 0,
        };
        mode >> shift & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read_follows_from_owner_group_and_mode() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nstarling-node:x:990:980::/:/sbin/nologin\n";
        let group = "root:x:0:\nkeys:x:55:a,starling-node\nother:x:56:b\n";
        let user = find_user("starling-node", passwd, group).unwrap();
        assert_eq!((user.id, user.groups.as_slice()), (990, &[980, 55][..]));
        assert!(find_user("starling-dashboard", passwd, group).is_none());
        for (mode, owner, can) in [
            (0o640, (0, 980), true),
            (0o640, (0, 55), true),
            (0o640, (0, 56), false),
            (0o600, (990, 0), true),
            (0o604, (0, 0), true),
            // The group's bits count alone for who is in the group.
            (0o604, (0, 980), false),
        ] {
            assert_eq!(user.has(mode, owner, 0o4), can, "{mode:o} {owner:?}");
        }
    }
}
