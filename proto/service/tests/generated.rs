//! The committed stubs are those of the `.proto` files. `STARLING_BLESS=1 cargo test -p starling-service` writes them
//! again.

use std::{fs, path::Path};

use starling_proto::PROTO_FILES;
use starling_service::generated;

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

    let text = fs::read_to_string(fresh.path().join("starling.v1.rs")).unwrap();
    generated::is_current(&root.join("src/gen/starling.v1.rs"), &text).unwrap();
}
