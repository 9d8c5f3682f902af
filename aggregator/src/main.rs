//! One aggregator in a process of its own. Settings: `deploy/config/aggregator.toml`. Admin port: `/metrics`, `/live`,
//! `/ready`.

use std::process::ExitCode;

/// A frame is a few dozen small allocations that live for a second, between rows of blocks that live for minutes. In a
/// profile of 10,000 nodes glibc's allocator took a fifth of the processor time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    starling_service::program::main::<starling_aggregator::Service>()
}
