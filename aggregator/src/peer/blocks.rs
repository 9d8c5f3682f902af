//! Lists and hands out the blocks of nodes that are kept on the disk, for other aggregators that are to keep copies.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use starling_history::{Block, FRAME_BYTES_MAX, Standing, Step, Subject, Tier};
use starling_proto::{ids::NodeId, v1};
use starling_store::{BlockRef, Subjects};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

use crate::{
    history::{
        Disk,
        listing::{self, Inventory},
    },
    metrics::Metrics,
};

/// Lists and readings that are answered at once: one of each of four aggregators.
const RUNNING_MAX: usize = 8;
/// Messages on their way to one asker: up to a megabyte each.
const OUTBOX: usize = 4;
/// Blocks in one request.
pub(crate) const WANTED_MAX: usize = 1_024;
/// Runs of steps that are held of one block: those of an hour of seconds of which every other one is held.
const RUNS_MAX: usize = 3_600;
/// Bytes of a block in one message.
const PIECE_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct Blocks {
    /// `None` without history.
    disk: Option<Arc<Disk>>,
    running: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// The answer to a request as it is sent.
type Answer<T> = mpsc::Receiver<Result<T, Status>>;

/// A wanted block, checked.
struct Wanted {
    subject: Subject,
    /// As text.
    name: String,
    start: u32,
    seconds: u32,
    revision: u64,
    checksum: u32,
    /// What the asker holds.
    held: Standing,
}

impl Blocks {
    /// Of what is on `disk`.
    pub(super) fn new(disk: Option<Arc<Disk>>, metrics: Arc<Metrics>) -> Self {
        Self { disk, running: Arc::new(Semaphore::new(RUNNING_MAX)), metrics }
    }

    /// Begins to list.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a field that is wrong, `RESOURCE_EXHAUSTED` while as many are answered as may be.
    pub(super) fn list(&self, request: &v1::ListBlocksRequest) -> Result<Answer<v1::BlockList>, Status> {
        let tier = tier(request.tier_seconds)?;
        let range = request.from_tick..request.to_tick.saturating_add(1);
        let after = request.after_segment;
        let permit = self.permit()?;
        let (outbox, answer) = mpsc::channel(OUTBOX);
        let (disk, metrics) = (self.disk.clone(), self.metrics.clone());
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let sent = match disk.map(|disk| list(&disk, tier, range, after)).transpose() {
                Ok(messages) => messages.unwrap_or_else(|| vec![v1::BlockList::default()]),
                Err(error) => {
                    metrics.history_failed("list blocks for another aggregator", &error);
                    // Who asks may be gone.
                    let _ = outbox.blocking_send(Err(Status::unavailable(error.to_string())));
                    return;
                }
            };
            for message in sent {
                if outbox.blocking_send(Ok(message)).is_err() {
                    return;
                }
            }
        });
        Ok(answer)
    }

    /// Begins to read; ends when nobody takes the answer.
    ///
    /// # Errors
    /// As [`Blocks::list`].
    pub(super) fn read(&self, request: v1::ReadBlocksRequest) -> Result<Answer<v1::BlockPart>, Status> {
        let tier = tier(request.tier_seconds)?;
        if request.blocks.len() > WANTED_MAX {
            let count = request.blocks.len();
            return Err(Status::invalid_argument(format!("blocks: {count}, at most {WANTED_MAX} are taken")));
        }
        let wanted = request.blocks.into_iter().map(|block| parse(tier, block)).collect::<Result<Vec<_>, _>>()?;
        let permit = self.permit()?;
        let (outbox, answer) = mpsc::channel(OUTBOX);
        let (disk, metrics) = (self.disk.clone(), self.metrics.clone());
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let found = disk.as_ref().map(|disk| find(disk, tier, &wanted)).unwrap_or_default();
            for (index, wanted) in (0..).zip(&wanted) {
                let read = disk.as_ref().and_then(|disk| {
                    let block = found.get(wanted.name.as_str())?.iter().find(|block| wanted.is(block))?;
                    let read = disk.store().read(block);
                    read.inspect_err(|error| metrics.history_failed("read a block for another aggregator", error)).ok()
                });
                let parts = answer_of(index, wanted, read, &metrics);
                for part in parts {
                    if outbox.blocking_send(Ok(part)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(answer)
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.running).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{RUNNING_MAX} lists of blocks of the history are being answered"))
        })
    }
}

fn tier(seconds: u32) -> Result<Tier, Status> {
    let found = Tier::ALL.into_iter().find(|tier| tier.seconds() == seconds);
    found.ok_or_else(|| {
        Status::invalid_argument(format!("tier_seconds: steps of {seconds} s, there are 1, 10, 60 and 3600"))
    })
}

fn parse(tier: Tier, block: v1::WantedBlock) -> Result<Wanted, Status> {
    let v1::WantedBlock { node_id, start, seconds, revision, checksum, held } = block;
    let invalid = |text: String| Status::invalid_argument(format!("blocks: {text}"));
    let node = NodeId::parse(&node_id).map_err(|error| invalid(error.to_string()))?;
    let steps = u16::try_from(seconds / tier.seconds()).ok().filter(|steps| (1..=3_600).contains(steps));
    let steps = steps.ok_or_else(|| invalid(format!("{seconds} seconds of {node}")))?;
    if held.len() > RUNS_MAX {
        return Err(invalid(format!("{} runs of steps that are held, at most {RUNS_MAX} are taken", held.len())));
    }
    let subject = Subject::Node(node);
    let runs = held.iter().map(|run| (run.steps, Step { seconds: run.seconds, revision: run.revision }));
    let held = Standing::of_runs(&subject, tier, start, steps, runs);
    Ok(Wanted { name: subject.to_string(), subject, start, seconds, revision, checksum, held })
}

impl Wanted {
    fn is(&self, block: &BlockRef) -> bool {
        let window = self.start..self.start.saturating_add(self.seconds);
        (block.window(), block.revision(), block.checksum()) == (window, self.revision, self.checksum)
    }
}

fn list(
    disk: &Disk,
    tier: Tier,
    range: std::ops::Range<u32>,
    after: u32,
) -> Result<Vec<v1::BlockList>, starling_store::FileError> {
    // Before the search: what is written meanwhile is looked through by the next one.
    let newest_segment = listing::newest_segment(disk);
    let blocks = listing::blocks_of_nodes(disk, tier, range, after)?;
    let listed: Inventory =
        blocks.into_iter().map(|(node, blocks)| (node, blocks.iter().map(listing::listed).collect())).collect();
    let oldest = disk.store().segments(tier.code()).first().map_or(0, |segment| segment.window.start);
    let mut messages = listing::messages(&listed);
    if let Some(first) = messages.first_mut() {
        (first.newest_segment, first.oldest_tick) = (newest_segment, oldest);
    }
    Ok(messages)
}

/// What is on the disk of the wanted nodes in the wanted windows, by subject.
fn find(disk: &Disk, tier: Tier, wanted: &[Wanted]) -> BTreeMap<String, Vec<BlockRef>> {
    let names: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let from = wanted.iter().map(|wanted| wanted.start).min().unwrap_or(0);
    let to = wanted.iter().map(|wanted| wanted.start.saturating_add(wanted.seconds)).max().unwrap_or(0);
    let mut found = BTreeMap::<String, Vec<BlockRef>>::new();
    for block in disk.store().find(tier.code(), Subjects::Among(&names), from..to).blocks {
        found.entry(block.subject().to_owned()).or_default().push(block);
    }
    found
}

/// What is sent of one block.
fn answer_of(index: u32, wanted: &Wanted, read: Option<Bytes>, metrics: &Metrics) -> Vec<v1::BlockPart> {
    let absent =
        |absence: v1::BlockAbsence| vec![v1::BlockPart { index, absence: absence.into(), ..v1::BlockPart::default() }];
    let Some(bytes) = read.filter(|bytes| bytes.len() <= FRAME_BYTES_MAX) else {
        return absent(v1::BlockAbsence::Gone);
    };
    if !wanted.held.is_empty() {
        match Block::decode(bytes.clone()) {
            Ok(block) if wanted.held.is_bettered_by(&block) => {}
            Ok(_) => return absent(v1::BlockAbsence::NoBetter),
            Err(error) => {
                metrics.history_failed(&format!("decode a block of {} for a copy", wanted.subject), &error);
                return absent(v1::BlockAbsence::Gone);
            }
        }
    }
    metrics.history_copies_served_bytes.add(bytes.len() as u64);
    let pieces = bytes.len().div_ceil(PIECE_BYTES).max(1);
    let piece = |at: usize| v1::BlockPart {
        index,
        bytes: bytes.slice(at * PIECE_BYTES..bytes.len().min((at + 1) * PIECE_BYTES)),
        more: at + 1 < pieces,
        ..v1::BlockPart::default()
    };
    (0..pieces).map(piece).collect()
}
