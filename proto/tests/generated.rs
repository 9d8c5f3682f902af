//! The committed code is what the `.proto` files give. `STARLING_BLESS=1 cargo test -p starling-proto` writes it again.

use std::{fs, path::Path};

use starling_proto::PROTO_FILES;

#[test]
fn the_committed_messages_are_those_of_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root.join("proto")]).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(PROTO_FILES).unwrap();
    let fresh = tempfile::tempdir().unwrap();
    // The descriptors with their comments: what gRPC reflection serves and `grpcurl describe` prints.
    fs::write(fresh.path().join("descriptors.bin"), compiler.encode_file_descriptor_set()).unwrap();
    prost_build::Config::new().bytes(["."]).out_dir(fresh.path()).compile_fds(compiler.file_descriptor_set()).unwrap();

    for name in ["descriptors.bin", "starling.v1.rs", "starling.live.v1.rs"] {
        let (wanted, committed) = (fs::read(fresh.path().join(name)).unwrap(), root.join("src/gen").join(name));
        if std::env::var_os("STARLING_BLESS").is_some() {
            fs::write(&committed, &wanted).unwrap();
        }
        assert!(
            fs::read(&committed).unwrap() == wanted,
            "src/gen/{name} is stale: run STARLING_BLESS=1 cargo test -p starling-proto"
        );
    }
}

/// A client that is given these two files and nothing else can compile them.
#[test]
fn query_and_cluster_need_no_other_file_of_ours() {
    let (root, alone) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("proto"), tempfile::tempdir().unwrap());
    let files = ["starling/v1/query.proto", "starling/v1/cluster.proto"];
    fs::create_dir_all(alone.path().join("starling/v1")).unwrap();
    for file in files {
        fs::copy(root.join(file), alone.path().join(file)).unwrap();
    }
    protox::Compiler::new([alone.path()]).unwrap().open_files(files).unwrap();
}
