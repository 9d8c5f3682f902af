//! The committed stubs are those of the `.proto` files. `STARLING_BLESS=1 cargo test -p starling-service` writes them
//! again.

use std::{fs, path::Path};

use starling_proto::PROTO_FILES;

#[test]
fn the_committed_stubs_are_those_of_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root.join("../proto")]).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(PROTO_FILES).unwrap();
    let fresh = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(fresh.path())
        .extern_path(".starling.v1", "::starling_proto::v1")
        .extern_path(".starling.live.v1", "::starling_proto::live")
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();

    let (wanted, committed) =
        (fs::read(fresh.path().join("starling.v1.rs")).unwrap(), root.join("src/gen/starling.v1.rs"));
    if std::env::var_os("STARLING_BLESS").is_some() {
        fs::write(&committed, &wanted).unwrap();
    }
    assert!(
        fs::read(&committed).unwrap() == wanted,
        "src/gen/starling.v1.rs is stale: run STARLING_BLESS=1 cargo test -p starling-service"
    );
}
