//! Finds the commit that is built, for `--version` and `starling_build_info`.

use std::{env, path::Path};

mod commit;

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed=STARLING_COMMIT");
    println!("cargo::rustc-env=STARLING_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
}

fn commit() -> Option<String> {
    // Of a package that is built from a source archive.
    if let Some(given) = env::var("STARLING_COMMIT").ok().filter(|given| !given.is_empty()) {
        return Some(given);
    }
    // A debug build does not ask: every commit would compile every crate again.
    if env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    let folder = env::var("CARGO_MANIFEST_DIR").ok()?;
    let checkout = commit::of(Path::new(&folder), "build/main.rs")?;
    for path in &checkout.watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    Some(checkout.commit)
}
