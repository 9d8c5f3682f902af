//! `starling top`: the page in a terminal.

use crate::watched::Watched;

/// Exit code of what could not be shown.
const FAILED: u8 = 1;

/// Shows the cluster in this terminal: overview, nodes, map and alerts, live, paused or back in time; ? lists the keys.
///
/// Figures, verdict and words are those of the page. What came within the last 15 minutes can be looked at again. Colours are left away
/// when NO_COLOR is set.
///
/// Exit codes: 0 after q; 1 when it cannot be shown; 129, 130 or 143 after SIGHUP, SIGINT or SIGTERM.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    watched: Watched,
}

impl TopArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        let shown = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())
            .and_then(|runtime| runtime.block_on(async { starling_top::run(self.watched.follow()?).await }));
        shown.unwrap_or_else(|error| {
            eprintln!("starling top: {error}");
            FAILED
        })
    }
}
