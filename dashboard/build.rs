//! Lets cargo notice a new page.
//!
//! `ui/dist` is made by npm and may be missing. Cargo takes a missing path as changed at every build, which would
//! compile the server again each time; so an empty folder, which git ignores, is put in its place. Where the sources
//! cannot be written, nothing is lost but that.

fn main() {
    let page = std::path::Path::new("ui/dist");
    if !page.exists() {
        // Best effort, as said above.
        let _ = std::fs::create_dir_all(page);
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=ui/dist");
}
