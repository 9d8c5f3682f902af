//! What the build script of a release says of the commit: in a clone, in a second work tree of it, in a source archive.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[path = "../build/commit.rs"]
mod commit;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=test", "-c", "user.email=test@example.org"]).args(arguments);
    let output = git.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with one commit that holds `service/build.rs`.
fn repository(folder: &Path) {
    fs::create_dir_all(folder.join("service")).unwrap();
    fs::write(folder.join("service/build.rs"), "first").unwrap();
    git(folder, &["init", "-q"]);
    git(folder, &["add", "."]);
    git(folder, &["commit", "-qm", "first"]);
}

/// The commit that is found in `folder`, checked against git; that the next one is noticed, too.
fn is_found(folder: &Path) {
    let service = folder.join("service");
    let found = commit::of(&service, "build.rs").unwrap();
    assert_eq!(found.commit.len(), 12);
    assert!(git(folder, &["rev-parse", "HEAD"]).starts_with(&found.commit), "{}", found.commit);
    let content = |path: &PathBuf| match fs::read_dir(path) {
        Ok(folder) => folder.map(|entry| format!("{:?}", entry.unwrap().path())).collect(),
        Err(_) => fs::read_to_string(path).unwrap(),
    };
    let contents = || found.watched.iter().map(content).collect::<Vec<_>>();
    let before = contents();
    git(folder, &["commit", "-qm", "next", "--allow-empty"]);
    assert!(contents() != before, "{:?} do not show a commit", found.watched);
    assert_ne!(commit::of(&service, "build.rs").unwrap().commit, found.commit);
}

#[test]
fn a_clone_and_its_second_work_tree_say_their_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (clone, second) = (folder.path().join("clone"), folder.path().join("second"));
    repository(&clone);
    git(&clone, &["worktree", "add", "-q", "-b", "other", "../second"]);
    assert!(second.join(".git").is_file(), "here .git is a file");
    is_found(&clone);
    is_found(&second);
    // A checkout without a branch, with all branches packed and without a log.
    git(&second, &["checkout", "-q", "--detach"]);
    git(&clone, &["pack-refs", "--all"]);
    git(&clone, &["config", "core.logAllRefUpdates", "false"]);
    fs::remove_dir_all(clone.join(".git/logs")).unwrap();
    is_found(&clone);
    is_found(&second);
}

#[test]
fn a_source_archive_says_nothing_even_inside_another_repository() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, other) = (folder.path().join("alone"), folder.path().join("other"));
    repository(&other);
    for source in [alone.join("service"), other.join("vendor/service")] {
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("build.rs"), "source").unwrap();
        assert!(commit::of(&source, "build.rs").is_none(), "{}", source.display());
    }
}
