//! What the logs add up to.

use xxhash_rust::xxh3::Xxh3Default;

use super::{
    Ledger,
    log::Log,
    message::TickView,
    tick::TickState,
    types::{Coverage, LogStatus, NodeStatus},
};

impl Ledger {
    /// One tick as it is now; `None` when nothing of it is held.
    #[must_use]
    pub fn view(&self, tick: u32) -> Option<TickView> {
        let state = self.ticks.get(tick)?;
        let (reporting, expected) = self.streams.coverage(tick, &state.reporting());
        Some(TickView {
            tick,
            revision: state.revision,
            sums: state.snapshot(),
            frames: state.frames(),
            coverage: Coverage { reporting, expected },
            skipped_cells: state.skipped_cells,
        })
    }

    /// The view of a tick of which nothing is held: only who is expected.
    pub(super) fn nothing_at(&self, tick: u32) -> TickView {
        let state = TickState::default();
        let (reporting, expected) = self.streams.coverage(tick, &state.reporting());
        TickView {
            tick,
            revision: 0,
            sums: state.snapshot(),
            frames: state.frames(),
            coverage: Coverage { reporting, expected },
            skipped_cells: 0,
        }
    }

    /// Ticks of which something is held, ascending.
    pub fn ticks(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.ticks.seconds()
    }

    /// Every node in the logs, sorted by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.streams.statuses()
    }

    /// Every log held, sorted by writer.
    #[must_use]
    pub fn logs(&self) -> Vec<LogStatus> {
        let status = |(_, log): (u16, &Log)| LogStatus {
            writer: log.writer(),
            length: log.length(),
            first_kept: log.first_kept(),
            hash: log.hash(),
            streams: log.numbers().streams_len() as u32,
            bytes: log.bytes(),
            durable: log.durable(),
            trouble: log.trouble().map(|trouble| format!("entry {}: {}", trouble.sequence, trouble.detail)),
        };
        self.logs.iter().map(status).collect()
    }

    /// Why the next entry of some log cannot be applied, while that lasts, by its author.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.logs.iter().find_map(|(_, log)| {
            let trouble = log.trouble()?;
            Some(format!("entry {} of writer {}: {}", trouble.sequence, log.writer(), trouble.detail))
        })
    }

    /// Hash of the view of a tick: sums, and the frames behind them by name. Equal at every aggregator that holds
    /// the same entries; `None` when nothing of the tick is held.
    #[must_use]
    pub fn view_hash(&self, tick: u32) -> Option<u64> {
        let state = self.ticks.get(tick)?;
        let mut hasher = Xxh3Default::new();
        hasher.update(&tick.to_be_bytes());
        state.sums().hash_into(&mut hasher);
        let reporting = state.reporting();
        let mut dots: Vec<_> = reporting.iter().filter_map(|stream| self.streams.identity(stream)).collect();
        dots.sort_unstable();
        for (node, stream) in dots {
            hasher.update(node.as_str().as_bytes());
            hasher.update(stream.as_bytes());
        }
        Some(hasher.digest())
    }
}
