//! Finds the commit that is built, for `--version` and `starling_build_info`.

use std::{env, process::Command};

/// Characters of a commit: enough to be unique for good.
const LENGTH: &str = "--short=12";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=STARLING_COMMIT");
    println!("cargo::rustc-env=STARLING_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
}

fn commit() -> Option<String> {
    if let Some(given) = env::var("STARLING_COMMIT").ok().filter(|given| !given.is_empty()) {
        return Some(given);
    }
    // A debug build does not ask: every commit would compile every crate again.
    if env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    // Only of our own repository: a source archive may lie inside another one.
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    for path in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", path])?;
        if std::path::Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", LENGTH, "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
