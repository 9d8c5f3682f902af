//! What was not taken: listed, and sent again on request.

use starling_alerts::EpisodeId;

use super::{BEGIN_WITHIN, Desk, Told, lane::DeadLetter, record};
use crate::message::Message;

/// Dead letters of one notifier. The oldest goes, and is counted.
const LETTERS_MAX: usize = 200;

impl Desk {
    /// A message is not taken: it becomes a dead letter, and is not said again.
    pub(super) fn bury(&mut self, message: Message, reason: String) {
        let now = self.now;
        let lane = &mut self.lanes[message.notifier];
        for item in &message.items {
            let before = lane.pairs.get(&item.id).and_then(|pair| pair.told);
            let open = before.is_some_and(|told| told.firing && !told.given_up);
            // Who was told that it is open is still to hear of its end.
            let given_up = !(item.firing && open);
            let told = match before {
                Some(told) if !item.what.is_news() => Told { at: now, ..told },
                _ => Told { sequence: item.sequence, firing: item.firing, at: now, given_up, own: true },
            };
            if lane.tell(item.id, told) {
                self.records.push(record(&lane.name, item.id, &told));
            }
        }
        lane.counts.dead += 1;
        if lane.letters.len() >= LETTERS_MAX {
            lane.letters.pop_front();
            lane.counts.dropped += 1;
        }
        lane.letters.push_back(DeadLetter {
            notifier: lane.name.to_string(),
            id: message.id,
            at_unix_ms: now,
            reason,
            attempts: message.attempts + 1,
            message,
        });
    }

    /// All dead letters, oldest first for each notifier.
    pub fn dead_letters(&self) -> impl Iterator<Item = &DeadLetter> {
        self.lanes.iter().flat_map(|lane| &lane.letters)
    }

    /// Dead letters of notifier `n`.
    pub(crate) fn letters(&self, n: usize) -> usize {
        self.lanes[n].letters.len()
    }

    /// Sends a dead letter again. `false`: there is none of that id.
    pub fn resend(&mut self, notifier: &str, id: u64) -> bool {
        let Some(lane) = self.lanes.iter_mut().find(|lane| *lane.name == *notifier) else { return false };
        let Some(at) = lane.letters.iter().position(|letter| letter.id == id) else { return false };
        if let Some(letter) = lane.letters.remove(at) {
            lane.again.push_back(letter.message);
        }
        true
    }

    /// The next message that is sent again, without what has become wrong.
    pub(super) fn again(&mut self, n: usize) -> Option<Message> {
        let lane = &mut self.lanes[n];
        let flies = |id: &EpisodeId| lane.pairs.get(id).is_some_and(|pair| pair.flying);
        if lane.again.front()?.items.iter().any(|item| flies(&item.id)) {
            return None;
        }
        let mut message = lane.again.pop_front()?;
        message.items.retain(|item| {
            let told = lane.pairs.get(&item.id).and_then(|pair| pair.told).filter(|told| !told.given_up);
            told.map_or(item.firing, |told| told.firing && told.sequence <= item.sequence)
        });
        if message.items.is_empty() {
            return None;
        }
        self.next_id += 1;
        message.id = self.next_id;
        message.attempts = 0;
        message.begin_until = self.now + BEGIN_WITHIN;
        Some(message)
    }
}
