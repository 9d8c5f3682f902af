//! Aggregators whose word counts no more.
//!
//! A person decides, and the same set is given to every aggregator ([`super::Event::Quarantine`]). Their logs are taken
//! back out, which every log allows since it has one author: the seconds that are held are added up again from the logs
//! that stay. Nothing is missing afterwards but what was offered to nobody else, since no claim of one author ever makes
//! another drop or acknowledge a frame.

use std::collections::BTreeSet;

use prost::Message as _;
use starling_proto::v1;

use super::{
    Ledger, faults::Fault, limits::QUARANTINED_WRITERS_MAX, logs::OWN, message::Action, said::Said, streams::Touched,
    tick::Place, types::Quarantine,
};

impl Ledger {
    /// Whose logs are refused now.
    #[must_use]
    pub const fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// These are refused from now on, and no others: logs of theirs that are held are taken back out. A log that is no
    /// longer refused is fetched again, as far as somebody has it.
    pub(crate) fn set_quarantine(&mut self, now_ms: u64, mut quarantine: Quarantine) {
        quarantine.aggregators.remove(&self.config.aggregator_id);
        quarantine.writers.remove(&self.writer);
        while quarantine.writers.len() > QUARANTINED_WRITERS_MAX {
            quarantine.writers.pop_last();
        }
        let mut out = BTreeSet::new();
        for (number, log) in self.logs.iter().filter(|(number, _)| *number != OWN) {
            let name = log.author().name();
            // Whoever only brought a log did not write it: an honest one may have come this way.
            let is_its_own = log.author().is_first_hand() && quarantine.has_name(name);
            if is_its_own && quarantine.writers.len() < QUARANTINED_WRITERS_MAX {
                quarantine.writers.entry(log.writer()).or_insert_with(|| name.to_owned());
            }
            if quarantine.of_writer(log.writer()).is_some() {
                out.insert(number);
            }
        }
        self.peers.drop_named(|name| quarantine.has_name(name));
        self.quarantine = quarantine;
        if !out.is_empty() && !self.faults.has(Fault::QuarantineTakesNothingOut) {
            self.take_out(now_ms, &out);
        }
    }

    /// Takes logs out of everything that follows from them.
    fn take_out(&mut self, now_ms: u64, out: &BTreeSet<u16>) {
        let gone = |place: Place| out.contains(&place.log);
        for (tick, places) in self.forget_in_ticks(gone) {
            self.ticks.hold(tick).corrections += 1;
            self.add_up(now_ms, tick, &places);
        }
        for &number in out {
            let Some(log) = self.logs.get(number) else { continue };
            let (writer, entries) = (log.writer(), log.length());
            let ticks = log.entries().map(|(_, entry)| entry.tick).filter(|&tick| tick > 0);
            let span = ticks.fold(None, |span: Option<(u32, u32)>, tick| {
                Some(span.map_or((tick, tick), |(first, last)| (first.min(tick), last.max(tick))))
            });
            let aggregator = self.quarantine.of_writer(writer).unwrap_or_default().to_owned();
            self.stats.logs_taken_out += 1;
            self.actions.push_back(Action::TakenOut { writer, aggregator, entries, span });
        }
        let quarantine = &self.quarantine;
        self.logs.drop_if(&mut self.names, |log| quarantine.of_writer(log.writer()).is_some());
        let logs = &self.logs;
        self.disputes.prune(0, |writer| logs.number(writer).is_some());
        if !self.faults.has(Fault::QuarantineKeepsExpectations) {
            self.see_streams_again(now_ms);
        }
        self.acks_due = true;
    }

    /// Who is expected, from the entries that are held.
    fn see_streams_again(&mut self, now_ms: u64) {
        self.streams.forget_seen();
        let mut touched = Touched::default();
        let Self { logs, streams, config, .. } = self;
        for (_, log) in logs.iter() {
            let numbers = log.numbers();
            for (_, entry) in log.entries() {
                let Ok(message) = v1::LogPayload::decode(entry.payload.clone()) else { continue };
                let Ok(said) = Said::decode(message.body) else { continue };
                if config.is_ahead(now_ms, said.tick()) {
                    continue;
                }
                said.note(|number| numbers.stream(number), streams, &mut touched);
            }
        }
        // Expected may be fewer now, at any tick.
        touched.begun(0, u32::MAX);
        self.expect_again(&touched);
    }
}
