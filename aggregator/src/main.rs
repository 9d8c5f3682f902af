//! One aggregator in a process of its own. Settings: `deploy/config/aggregator.toml`. Admin port: `/metrics`, `/live`,
//! `/ready`.

use std::process::ExitCode;

/// A frame is a few dozen small allocations that live for a second, between rows of blocks that live for minutes. Under
/// glibc's allocator that took a fifth of the processor time of 1,000 nodes, and freed pages seldom went back
/// (BENCHMARKS.md, section 6).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    starling_service::program::main::<starling_aggregator::Service>()
}
