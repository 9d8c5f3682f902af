//! A node of `make chaos`; see `starling_tests::chaos`.

use clap::Parser as _;
use starling_tests::chaos::{NodeArguments, run_node};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run_node(NodeArguments::parse()).await;
}
