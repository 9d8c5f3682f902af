//! `starling status`: whether all is well.

use std::time::Duration;

use starling_top::{State, Status, look};

use crate::watched::Watched;

/// Says in one sentence whether all is well, as the page does.
///
/// It waits for the next second of the cluster, so it takes a second or two.
///
/// Exit codes: 0 healthy; 1 something is wrong: an alert is open, or nodes are silent; 2 it cannot be told: no aggregator is reached,
/// nothing new comes, no node has reported, limits are not judged, or flags are not understood.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    watched: Watched,
    /// Longest wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=3600))]
    within: u32,
    /// How it is printed
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// The verdict, and a line with the second it is of
    Text,
    /// One document
    Json,
}

impl StatusArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        match self.look() {
            Ok(status) => {
                match self.output {
                    Output::Text => print!("{}", status.text()),
                    Output::Json => println!("{}", status.json()),
                }
                status.state.code()
            }
            Err(error) => {
                eprintln!("starling status: {error}");
                State::Unknown.code()
            }
        }
    }

    fn look(&self) -> Result<Status, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let mut source = self.watched.follow()?;
            Ok(look(&mut source, Duration::from_secs(self.within.into())).await)
        })
    }
}
