//! `starling up`: see this host, now.

use std::process::ExitCode;

use clap::{Args as _, Command, FromArgMatches as _};
use starling::{Up, UpArgs};
use starling_service::{
    Program,
    program::{self, CommonArgs},
    version::VERSION,
};

/// As in the aggregator's own binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let up = CommonArgs::augment_args(UpArgs::augment_args(Command::new("up").about(Up::ABOUT)));
    let matches = Command::new(Up::NAME)
        .about("Starling watches a fleet of hosts as one machine")
        .version(VERSION)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(program::describe::<Up>(up))
        .get_matches();
    let parsed = matches
        .subcommand_matches("up")
        .map(|up| UpArgs::from_arg_matches(up).and_then(|own| Ok((own, CommonArgs::from_arg_matches(up)?))));
    match parsed {
        Some(Ok((own, common))) => ExitCode::from(program::execute::<Up>(common, own.overrides())),
        Some(Err(error)) => error.exit(),
        // The only subcommand, and one is required.
        None => ExitCode::FAILURE,
    }
}
