//! From a signal to a token.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A signal this soon after the first is the same one: `timeout` of coreutils sends SIGTERM to the process and to its
/// group, and a terminal sends SIGINT to everybody in it.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// A token that is cancelled at the first SIGTERM or SIGINT. A second one, later than a second after it, ends the
/// process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let asked = token.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Owned by the process: it lives until the process ends.
    tokio::spawn(async move {
        let first = next(&mut terminate, &mut interrupt).await;
        info!(signal = first, "stopping; again to stop at once");
        asked.cancel();
        let since = Instant::now();
        loop {
            let second = next(&mut terminate, &mut interrupt).await;
            if since.elapsed() > SAME_REQUEST {
                info!(signal = second, "stopping at once");
                std::process::exit(1);
            }
        }
    });
    Ok(token)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
