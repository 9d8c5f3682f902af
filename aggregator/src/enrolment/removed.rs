//! Who was removed is refused at every aggregator: the list is asked for, and kept for a restart.

use std::{collections::HashSet, io, path::PathBuf, sync::Arc, time::Duration};

use starling_proto::{hex, v1};
use starling_service::{grpc::identities_client::IdentitiesClient, state_folder};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};
use tracing::{info, warn};

use super::{Enrolment, REMOVED, signing::Signing};

/// How long until a removal is known everywhere.
const ASKED_EVERY: Duration = Duration::from_secs(5);
const ASKED_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks for what is over, in rounds.
const TIDIED_EVERY: u32 = 720;
/// Between two looks for others that sign, and for one that signs while nobody does, in rounds.
const SOUGHT_EVERY: u32 = 12;
/// Keys that are taken: as many as can have joined.
const KEYS_MAX: usize = starling_authority::register::IDENTITIES_MAX;
/// Longest file that is read: so many lines.
const BYTES_MAX: u64 = 65 * KEYS_MAX as u64;

/// Digests of public keys.
type Keys = HashSet<[u8; 32]>;

/// Follows the list until `stop`.
pub(crate) async fn follow(enrolment: Arc<Enrolment>, stop: CancellationToken) {
    let path = enrolment.state_dir.join(REMOVED);
    let mut known = Keys::new();
    match read(path.clone()).await {
        Ok(keys) => {
            enrolment.set_removed(keys.clone());
            known = keys;
        }
        Err(error) => warn!(file = %path.display(), %error, "who was removed is not known until an aggregator says it"),
    }
    let mut round = 0_u32;
    // At first somebody may.
    let (mut several_told, mut is_heard) = (false, true);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ASKED_EVERY) => {}
        }
        round = round.wrapping_add(1);
        let heard = match &enrolment.signing {
            Some(signing) => {
                if round.is_multiple_of(TIDIED_EVERY) {
                    signing.tidy().await;
                }
                if round.is_multiple_of(SOUGHT_EVERY) {
                    several_told = tell_of_others(&enrolment, several_told).await;
                }
                own(signing).await
            }
            None if is_heard || round.is_multiple_of(SOUGHT_EVERY) => enrolment.of_signer(list).await,
            None => None,
        };
        is_heard = heard.is_some();
        let Some(keys) = heard else { continue };
        if keys == known {
            continue;
        }
        enrolment.set_removed(keys.clone());
        info!(keys = keys.len(), "list of removed identities taken up");
        match write(path.clone(), &keys).await {
            Ok(()) => known = keys,
            Err(error) => warn!(file = %path.display(), %error, "list of removed identities not kept"),
        }
    }
}

/// Two that sign give a name twice.
async fn tell_of_others(enrolment: &Enrolment, told: bool) -> bool {
    let mut others = Vec::new();
    for member in enrolment.membership.view().live.clone() {
        let Ok(channel) = enrolment.channels.get(&member.grpc) else { continue };
        if list(channel).await.is_some() {
            others.push(member.id.to_string());
        }
    }
    if !others.is_empty() && !told {
        let next = "leave enrolment.authority to one aggregator";
        warn!(others = others.join(", "), next, "other aggregators sign too: a name may be given twice");
    }
    !others.is_empty()
}

/// As the register here says; `None` when that is busy.
pub(super) async fn own(signing: &Signing) -> Option<Keys> {
    let removed = signing.with(|signer, now| Ok(signer.removed(now))).await.ok()?;
    Some(removed.into_iter().map(|(key, ..)| key.0).collect())
}

/// What another one says; `None` when it does not sign, or not answer.
async fn list(channel: Channel) -> Option<Keys> {
    let mut client = IdentitiesClient::new(channel);
    let mut request = Request::new(v1::ListRemovedRequest {});
    request.set_timeout(ASKED_WITHIN);
    let answer = tokio::time::timeout(ASKED_WITHIN, client.list_removed(request)).await.ok()?.ok()?.into_inner();
    Some(answer.removed.iter().take(KEYS_MAX).filter_map(|removed| removed.key[..].try_into().ok()).collect())
}

async fn read(path: PathBuf) -> io::Result<Keys> {
    let text = spawn_blocking(move || state_folder::text(&path, BYTES_MAX)).await.map_err(io::Error::other)??;
    let keys: Option<Keys> = text.unwrap_or_default().lines().map(hex::decode_array).collect();
    keys.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a line is not 64 hexadecimal digits"))
}

async fn write(path: PathBuf, keys: &Keys) -> io::Result<()> {
    let mut lines: Vec<String> = keys.iter().map(|key| hex::encode(key)).collect();
    lines.sort_unstable();
    let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
    let write = move || state_folder::replace(&path, text.as_bytes(), state_folder::SECRET);
    spawn_blocking(write).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_what_is_damaged_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(REMOVED);
        assert_eq!(read(path.clone()).await.unwrap(), Keys::new(), "without a file");
        let all = Keys::from([[7; 32], [200; 32]]);
        write(path.clone(), &all).await.unwrap();
        assert_eq!(read(path.clone()).await.unwrap(), all);
        std::fs::write(&path, "07\n").unwrap();
        assert!(read(path).await.unwrap_err().to_string().contains("64 hexadecimal digits"));
    }
}
