//! What the logs add up to.

use xxhash_rust::xxh3::Xxh3Default;

use super::{
    Ledger,
    disputes::Dispute,
    limits::ROSTER_MAX,
    log::Log,
    message::TickView,
    tick::TickState,
    types::{KnownStream, LogStatus, NodeStatus},
};

impl Ledger {
    /// One tick as it is now; `None` when nothing of it is held.
    #[must_use]
    pub fn view(&self, tick: u32) -> Option<TickView> {
        let state = self.ticks.get(tick)?;
        Some(self.view_of(tick, state))
    }

    /// The view of a tick of which nothing is held: only who is expected.
    pub(super) fn nothing_at(&self, tick: u32) -> TickView {
        self.view_of(tick, &TickState::default())
    }

    fn view_of(&self, tick: u32, state: &TickState) -> TickView {
        let (coverage, missing) = self.streams.coverage(tick, &state.reporting());
        TickView {
            tick,
            revision: state.revision,
            sums: state.snapshot(),
            frames: state.frames(),
            coverage,
            missing: missing.into(),
            skipped_cells: state.skipped_cells,
            corrections: state.corrections,
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

    /// What is to be remembered over a restart: the stream that speaks for each node that is expected, or was within
    /// the last [`super::limits::RESTART_SECONDS`]. Those seen last, at most [`super::limits::ROSTER_MAX`].
    #[must_use]
    pub fn known_streams(&self, now_ms: u64) -> Vec<KnownStream> {
        let mut known = self.streams.known((now_ms / 1000) as u32);
        known.sort_unstable_by_key(|known| std::cmp::Reverse(known.last_tick));
        known.truncate(ROSTER_MAX);
        known
    }

    /// Authors that contradict each other, over seconds that are held.
    #[must_use]
    pub fn disputes(&self) -> Vec<Dispute> {
        self.disputes.all(|writer| match self.logs.of(writer) {
            _ if writer == self.writer => self.config.aggregator_id.clone(),
            Some(log) => log.author().account(writer).into_owned(),
            None => writer.to_string(),
        })
    }

    /// Every log held, sorted by writer.
    #[must_use]
    pub fn logs(&self) -> Vec<LogStatus> {
        let status = |(_, log): (u16, &Log)| LogStatus {
            writer: log.writer(),
            author: log.author().name().to_owned(),
            first_hand: log.author().is_first_hand(),
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
