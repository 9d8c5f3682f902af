//! The file of users and tokens, read again and again.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Access, accounts};

/// How often it is read: who was taken out is out after this time.
const READ_EVERY: Duration = Duration::from_secs(5);

/// Takes up what changes in `file` until `stop`. A file that is wrong, or gone, is named once, and who was in it before stays.
pub(crate) async fn follow(access: Arc<Access>, file: PathBuf, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut named = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let file = file.clone();
        match tokio::task::spawn_blocking(move || accounts::read(&file)).await {
            Ok(Ok(accounts)) => {
                named = None;
                let (users, tokens) = (accounts.users().len(), accounts.tokens().len());
                if access.replace(accounts) {
                    info!(users, tokens, "users and tokens read again");
                }
            }
            Ok(Err(error)) if named.as_ref() != Some(&error) => {
                warn!(error, "users and tokens not read again, those in use stay");
                named = Some(error);
            }
            // Named before; or the reading panicked, which leaves what is in use.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
