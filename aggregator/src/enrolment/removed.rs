//! Who was removed is refused at every aggregator: the list is asked for, and kept for a restart.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use starling_proto::{hex, v1};
use starling_service::{grpc::identities_client::IdentitiesClient, state_folder};
use tokio_util::sync::CancellationToken;
use tonic::Request;
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

/// Follows the list until `stop`.
pub(crate) async fn follow(enrolment: Arc<Enrolment>, stop: CancellationToken) {
    let path = enrolment.state_dir.join(REMOVED);
    let mut known = HashSet::new();
    match read(&path).await {
        Ok(keys) => {
            enrolment.set_removed(keys.clone());
            known = keys;
        }
        Err(error) => warn!(file = %path.display(), error, "who was removed is not known until an aggregator says it"),
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
            None if is_heard || round.is_multiple_of(SOUGHT_EVERY) => from_others(&enrolment).await,
            None => None,
        };
        is_heard = heard.is_some();
        let Some(keys) = heard else { continue };
        if keys == known {
            continue;
        }
        enrolment.set_removed(keys.clone());
        info!(keys = keys.len(), "list of removed identities taken up");
        match write(&path, &keys).await {
            Ok(()) => known = keys,
            Err(error) => warn!(file = %path.display(), error, "list of removed identities not kept"),
        }
    }
}

/// Two that sign give a name twice.
async fn tell_of_others(enrolment: &Enrolment, told: bool) -> bool {
    let mut others = Vec::new();
    for member in enrolment.membership.view().live.clone() {
        if list(enrolment, &member.grpc).await.is_some() {
            others.push(member.id.to_string());
        }
    }
    if !others.is_empty() && !told {
        let next = "leave enrolment.authority to one aggregator";
        warn!(others = others.join(", "), next, "other aggregators sign too: a name may be given twice");
    }
    !others.is_empty()
}

async fn own(signing: &Signing) -> Option<HashSet<[u8; 32]>> {
    let removed = signing.with(|signer, now| Ok(signer.removed(now))).await.ok()?;
    Some(removed.into_iter().map(|(key, ..)| key.0).collect())
}

/// Of the first that signs; `None` when nobody does, or answers.
async fn from_others(enrolment: &Enrolment) -> Option<HashSet<[u8; 32]>> {
    for member in enrolment.others() {
        if let Some(keys) = list(enrolment, &member.grpc).await {
            enrolment.signed_by(&member);
            return Some(keys);
        }
    }
    None
}

async fn list(enrolment: &Enrolment, address: &str) -> Option<HashSet<[u8; 32]>> {
    let mut client = IdentitiesClient::new(enrolment.channels.get(address).ok()?);
    let mut request = Request::new(v1::ListRemovedRequest {});
    request.set_timeout(ASKED_WITHIN);
    let answer = tokio::time::timeout(ASKED_WITHIN, client.list_removed(request)).await.ok()?.ok()?.into_inner();
    Some(answer.removed.iter().take(KEYS_MAX).filter_map(|removed| removed.key[..].try_into().ok()).collect())
}

async fn read(path: &Path) -> Result<HashSet<[u8; 32]>, String> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => {
            let keys: Option<HashSet<_>> = text.lines().map(hex::decode_array).collect();
            keys.ok_or_else(|| "a line is not 64 hexadecimal digits".to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashSet::new()),
        Err(error) => Err(error.to_string()),
    }
}

async fn write(path: &Path, keys: &HashSet<[u8; 32]>) -> Result<(), String> {
    let mut lines: Vec<String> = keys.iter().map(|key| hex::encode(key)).collect();
    lines.sort_unstable();
    let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
    let path = path.to_owned();
    let written =
        tokio::task::spawn_blocking(move || state_folder::replace(&path, text.as_bytes(), state_folder::SECRET)).await;
    written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
