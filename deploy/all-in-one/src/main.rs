//! `starling up`: see this host, now. `starling store`: look into the history that is kept on a disk, and move it.
//! `starling rules`: check and test alert rules. `starling ca`: make the certificates of a cluster. `starling token` and
//! `starling node`: who may join a cluster, and who has. `starling gossip`: the keys of gossip of one. `starling ledger`: whether
//! every second is whole and the same everywhere. `starling aggregator`: which aggregators contradict each other, and whose
//! word counts no more. `starling doctor`: what is wrong here, and what to do. `starling status`: whether all is well, for scripts.
//! `starling top`: the page in a terminal. `starling users` and `starling tokens`: who may use the page.

mod accounts;
mod aggregator;
mod asked;
mod ca;
mod doctor;
mod gossip;
mod ledger;
mod node;
mod rules;
mod status;
mod token;
mod top;
mod unread;
mod watched;

use std::process::ExitCode;

use clap::{ArgMatches, Args as _, Command, FromArgMatches, Subcommand as _};
use starling::{Up, UpArgs};
use starling_service::{
    Program,
    command_text::TextCommand,
    program::{self, CommonArgs},
    version::VERSION,
};
use starling_store_tools::StoreArgs;

use crate::{
    accounts::{TokensArgs, UsersArgs},
    aggregator::AggregatorArgs,
    ca::CaArgs,
    doctor::DoctorArgs,
    gossip::GossipArgs,
    ledger::LedgerArgs,
    node::NodeArgs,
    rules::RulesArgs,
    status::StatusArgs,
    token::TokenArgs,
    top::TopArgs,
};

/// As in the aggregator's own binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    unread::ends_quietly();
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("up", up)) => {
            match UpArgs::from_arg_matches(up).and_then(|own| Ok((own, CommonArgs::from_arg_matches(up)?))) {
                Ok((own, common)) => ExitCode::from(program::execute::<Up>(common, own.overrides())),
                Err(error) => error.exit(),
            }
        }
        Some(("store", matches)) => of(matches, |args: StoreArgs| args.run()),
        Some(("rules", matches)) => of(matches, |args: RulesArgs| args.run()),
        Some(("ca", matches)) => of(matches, CaArgs::run),
        Some(("token", matches)) => of(matches, TokenArgs::run),
        Some(("users", matches)) => of(matches, UsersArgs::run),
        Some(("tokens", matches)) => of(matches, TokensArgs::run),
        Some(("node", matches)) => of(matches, NodeArgs::run),
        Some(("gossip", matches)) => of(matches, GossipArgs::run),
        Some(("aggregator", matches)) => of(matches, AggregatorArgs::run),
        Some(("ledger", matches)) => of(matches, LedgerArgs::run),
        Some(("doctor", matches)) => of(matches, DoctorArgs::run),
        Some(("status", matches)) => of(matches, StatusArgs::run),
        Some(("top", matches)) => of(matches, TopArgs::run),
        Some(("completions" | "man", _)) => match TextCommand::from_arg_matches(&matches) {
            Ok(text) => match text.run(command()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("starling: {error}");
                    ExitCode::FAILURE
                }
            },
            Err(error) => error.exit(),
        },
        // One of them is required.
        _ => ExitCode::FAILURE,
    }
}

/// One command with its flags; the exit code.
fn of<A: FromArgMatches>(matches: &ArgMatches, run: impl FnOnce(A) -> u8) -> ExitCode {
    match A::from_arg_matches(matches) {
        Ok(args) => ExitCode::from(run(args)),
        Err(error) => error.exit(),
    }
}

fn command() -> Command {
    let up = CommonArgs::augment_args(UpArgs::augment_args(Command::new("up").about(Up::ABOUT)));
    let command = Command::new(Up::NAME)
        .about("Starling watches a fleet of hosts as one machine")
        .version(VERSION)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(program::describe::<Up>(up))
        .subcommand(StoreArgs::augment_args(Command::new("store")))
        .subcommand(RulesArgs::augment_args(Command::new("rules")))
        .subcommand(CaArgs::augment_args(Command::new("ca")))
        .subcommand(TokenArgs::augment_args(Command::new("token")))
        .subcommand(UsersArgs::augment_args(Command::new("users")))
        .subcommand(TokensArgs::augment_args(Command::new("tokens")))
        .subcommand(NodeArgs::augment_args(Command::new("node")))
        .subcommand(GossipArgs::augment_args(Command::new("gossip")))
        .subcommand(AggregatorArgs::augment_args(Command::new("aggregator")))
        .subcommand(LedgerArgs::augment_args(Command::new("ledger")))
        .subcommand(DoctorArgs::augment_args(Command::new("doctor")))
        .subcommand(StatusArgs::augment_args(Command::new("status")))
        .subcommand(TopArgs::augment_args(Command::new("top")));
    TextCommand::augment_subcommands(command)
}
