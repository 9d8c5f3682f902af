//! From a signal to a token.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A signal this soon after the first is the same one: `timeout` of coreutils sends SIGTERM to the process and to its
/// group, and a terminal sends SIGINT to everybody in it.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// Whether a person started this process at a terminal; SIGHUP says then that it was closed.
#[must_use]
pub fn at_terminal() -> bool {
    io::stdin().is_terminal()
}

/// A token that is cancelled at the first SIGTERM or SIGINT, [`at_terminal`] at SIGHUP too. A second one, later than a second
/// after it, ends the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signal() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let asked = token.clone();
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: at_terminal().then(|| signal(SignalKind::hangup())).transpose()?,
    };
    // Owned by the process: it lives until the process ends.
    tokio::spawn(async move {
        let first = signals.next().await;
        info!(signal = first, "stopping; again to stop at once");
        asked.cancel();
        let since = Instant::now();
        loop {
            let second = signals.next().await;
            if since.elapsed() > SAME_REQUEST {
                info!(signal = second, "stopping at once");
                std::process::exit(1);
            }
        }
    });
    Ok(token)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
        }
    }
}
