//! Asks another aggregator which blocks it has, and for some of them.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use starling_history::{FRAME_BYTES_MAX, Standing, Tier};
use starling_proto::v1;
use tonic::{Code, Request, Status, Streaming};

use super::plan::Wish;
use crate::{
    history::listing::{self, Inventory},
    membership::Member,
    peer::Channels,
};

/// A list of blocks takes this long at most: it reads the indexes of one span.
const LIST: Duration = Duration::from_secs(20);
/// Between two parts of an answer.
const SILENCE: Duration = Duration::from_secs(10);

/// Why another aggregator gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It is of a version that keeps no copies.
    #[error("it knows of no copies")]
    Older,
    /// It is not there, or refused.
    #[error("{0}")]
    Status(Box<Status>),
    /// It sent what it may not.
    #[error("{0}")]
    Odd(String),
    /// Nothing was heard for [`SILENCE`].
    #[error("nothing heard for 10 s")]
    Silent,
}

impl From<Status> for AskError {
    fn from(status: Status) -> Self {
        if status.code() == Code::Unimplemented { Self::Older } else { Self::Status(Box::new(status)) }
    }
}

/// What another aggregator has.
#[derive(Debug, Default)]
pub(super) struct Has {
    pub(super) blocks: Inventory,
    /// The next list may begin after this segment.
    pub(super) newest_segment: u32,
    /// First second of the tier that it holds; 0 without one.
    pub(super) oldest: u32,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// Its bytes.
    Bytes(Bytes),
    /// What is here is as good.
    NoBetter,
    /// It is no longer there.
    Gone,
}

/// The blocks of `tier` with seconds of `from..=to` that `member` wrote after `after`.
///
/// # Errors
/// [`AskError`].
pub(super) async fn list(
    channels: &Channels,
    member: &Member,
    tier: Tier,
    (from_tick, to_tick): (u32, u32),
    after_segment: u32,
) -> Result<Has, AskError> {
    let mut request =
        Request::new(v1::ListBlocksRequest { tier_seconds: tier.seconds(), from_tick, to_tick, after_segment });
    request.set_timeout(LIST);
    let mut client = channels.peer(&member.grpc).map_err(AskError::Odd)?;
    let talk = async {
        let mut lists = client.list_blocks(request).await?.into_inner();
        let (mut has, mut count) = (Has::default(), 0);
        while let Some(list) = lists.message().await? {
            has.newest_segment = has.newest_segment.max(list.newest_segment);
            has.oldest = has.oldest.max(list.oldest_tick);
            listing::take(&mut has.blocks, &mut count, list).map_err(|error| AskError::Odd(error.to_string()))?;
        }
        Ok(has)
    };
    tokio::time::timeout(LIST, talk).await.unwrap_or(Err(AskError::Silent))
}

/// Asks `member` for `wishes`, each with what is held of its window. At most `rate` bytes a second are taken.
///
/// # Errors
/// [`AskError`]; nothing of what came before is returned.
pub(super) async fn read(
    channels: &Channels,
    member: &Member,
    tier: Tier,
    wishes: &[(Wish, Standing)],
    rate: u64,
) -> Result<Vec<Came>, AskError> {
    let blocks = wishes.iter().map(|(wish, held)| wanted(wish, held)).collect();
    let mut client = channels.peer(&member.grpc).map_err(AskError::Odd)?;
    let request = v1::ReadBlocksRequest { tier_seconds: tier.seconds(), blocks };
    let mut parts =
        tokio::time::timeout(SILENCE, client.read_blocks(request)).await.map_err(|_| AskError::Silent)??.into_inner();
    let mut came: Vec<Came> = Vec::with_capacity(wishes.len());
    let mut open = BytesMut::new();
    let (began, mut bytes) = (Instant::now(), 0);
    while let Some(part) = next(&mut parts).await? {
        let Some((wish, _)) = wishes.get(came.len()).filter(|_| part.index as usize == came.len()) else {
            return Err(AskError::Odd(format!("it sent block {} of {}", part.index, wishes.len())));
        };
        match part.absence() {
            v1::BlockAbsence::NoBetter => came.push(Came::NoBetter),
            v1::BlockAbsence::Gone => came.push(Came::Gone),
            v1::BlockAbsence::Unspecified => {
                let most = (wish.block.bytes as usize).min(FRAME_BYTES_MAX);
                if open.len() + part.bytes.len() > most {
                    return Err(AskError::Odd(format!("it sent more of a block than the {most} bytes it has")));
                }
                bytes += part.bytes.len() as u64;
                open.extend_from_slice(&part.bytes);
                if !part.more {
                    came.push(Came::Bytes(std::mem::take(&mut open).freeze()));
                }
            }
        }
        // The other side waits as long: what is not taken stands in the window of the stream.
        tokio::time::sleep(owed(bytes, rate, began.elapsed())).await;
    }
    if came.len() == wishes.len() { Ok(came) } else { Err(AskError::Odd("it did not answer all of it".into())) }
}

async fn next(parts: &mut Streaming<v1::BlockPart>) -> Result<Option<v1::BlockPart>, AskError> {
    Ok(tokio::time::timeout(SILENCE, parts.message()).await.map_err(|_| AskError::Silent)??)
}

fn wanted(wish: &Wish, held: &Standing) -> v1::WantedBlock {
    let run = |(steps, step): (u32, starling_history::Step)| v1::HeldSteps {
        steps,
        seconds: step.seconds,
        revision: step.revision,
    };
    v1::WantedBlock {
        node_id: wish.node.to_string(),
        start: wish.block.start,
        seconds: wish.block.seconds,
        revision: wish.block.revision,
        checksum: wish.block.checksum,
        held: held.runs().into_iter().map(run).collect(),
    }
}

/// How long to wait after `bytes` in `elapsed`, so that no more than `rate` a second come.
fn owed(bytes: u64, rate: u64, elapsed: Duration) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64).saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_is_taken() {
        assert_eq!(owed(1_000, 500, Duration::from_millis(500)), Duration::from_millis(1_500));
        assert_eq!(owed(1_000, 500, Duration::from_secs(5)), Duration::ZERO);
    }
}
