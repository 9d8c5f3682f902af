//! The file of the keys, read again and again.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{in_use::InUse, keyring::Keyring};

/// How often it is read: a step of a rotation is in use everywhere after this time.
const READ_EVERY: Duration = Duration::from_secs(5);

/// The keys in a file, now and as they change until `stop`, on a task of `tasks`.
///
/// # Errors
/// When the file cannot be read now. Later a file that is wrong is named, and the keys before stay.
pub(super) async fn follow(
    file: PathBuf,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> anyhow::Result<watch::Receiver<InUse>> {
    let read = |file: PathBuf| tokio::task::spawn_blocking(move || Keyring::read(&file));
    let first = read(file.clone()).await?.map_err(|error| anyhow::anyhow!("gossip_keyring: {error}"))?;
    let (sender, receiver) = watch::channel(InUse::of_file(first));
    tasks.spawn(async move {
        let mut ticks = tokio::time::interval(READ_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match read(file.clone()).await {
                Ok(Ok(ring)) => {
                    told = None;
                    let now = InUse::of_file(ring);
                    sender.send_if_modified(|before| {
                        let differs = *before != now;
                        *before = now;
                        differs
                    });
                }
                Ok(Err(error)) if told.as_ref() != Some(&error) => {
                    warn!(error, "new keys of gossip not taken, those in use stay");
                    told = Some(error);
                }
                // Told before; or the reading panicked, which leaves what is in use.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    });
    Ok(receiver)
}
