//! Messages that are longer than a datagram may be: cut, and put together again. Pure.
//!
//! A datagram that IP has to cut is lost where fragments are dropped, and nobody says so. So a long message goes as several
//! datagrams of a size that every path carries, each sealed on its own; when one is lost the message is, and gossip sends
//! another soon.

use std::collections::VecDeque;

pub(super) const PROCESS_LEN: usize = 16;
/// A start of an aggregator, as gossip tells them apart.
pub(super) type Process = [u8; PROCESS_LEN];
/// Messages of which pieces are missing. Only holders of a key make entries; the oldest goes.
const MESSAGES_MAX: usize = 32;
/// In front of a piece: its place and how many there are.
const PLACE_LEN: usize = 2;

/// Cuts a message into pieces of at most `longest` bytes, their places among them: 255 at most, so that the message can have
/// 250 times so many bytes.
pub(super) fn split(message: &[u8], longest: usize) -> Vec<Vec<u8>> {
    let room = longest.saturating_sub(PLACE_LEN).max(1);
    let pieces: Vec<&[u8]> = message.chunks(room).take(usize::from(u8::MAX)).collect();
    // At most 255.
    let count = pieces.len() as u8;
    (0..count).zip(pieces).map(|(at, piece)| [&[at, count], piece].concat()).collect()
}

/// One message, on its way.
#[derive(Debug)]
struct Message {
    process: Process,
    /// The number of its first datagram: those of its pieces follow each other.
    first: u64,
    pieces: Vec<Option<Vec<u8>>>,
}

/// The messages of which pieces are missing.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    messages: VecDeque<Message>,
    given_up: u64,
}

impl Pieces {
    /// Messages that were given up, since the start.
    pub(super) const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Takes the content of a datagram of this number. Gives the message when it was the last that was missing.
    pub(super) fn take(&mut self, process: Process, number: u64, content: &[u8]) -> Option<Vec<u8>> {
        let (&[at, count], piece) = content.split_first_chunk()?;
        let first = number.checked_sub(u64::from(at)).filter(|_| at < count)?;
        let is_its = |message: &Message| {
            message.process == process && message.first == first && message.pieces.len() == usize::from(count)
        };
        let place = match self.messages.iter().position(is_its) {
            Some(place) => place,
            None => {
                if self.messages.len() >= MESSAGES_MAX {
                    self.messages.pop_front();
                    self.given_up += 1;
                }
                self.messages.push_back(Message { process, first, pieces: vec![None; usize::from(count)] });
                self.messages.len() - 1
            }
        };
        let message = self.messages.get_mut(place)?;
        *message.pieces.get_mut(usize::from(at))? = Some(piece.to_vec());
        if message.pieces.iter().any(Option::is_none) {
            return None;
        }
        let whole = self.messages.remove(place)?;
        Some(whole.pieces.into_iter().flatten().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_completed_is_given_up_and_counted() {
        let mut pieces = Pieces::default();
        for n in 0..100 {
            assert_eq!(pieces.take([1; 16], n * 10 + 1, &[0, 2, b'x']), None);
        }
        assert_eq!((pieces.messages.len(), pieces.given_up()), (MESSAGES_MAX, 100 - MESSAGES_MAX as u64));
        assert_eq!(pieces.take([1; 16], 992, &[1, 2, b'y']), Some(b"xy".to_vec()));
        for odd in [&[][..], &[0], &[2, 2], &[0, 0], &[5, 3, 1]] {
            assert_eq!(pieces.take([1; 16], 1, odd), None, "{odd:?}");
        }
    }

    #[test]
    fn the_pieces_of_two_processes_and_two_messages_do_not_mix() {
        let mut pieces = Pieces::default();
        for (process, number) in [(1, 1), (2, 1), (1, 3)] {
            assert_eq!(pieces.take([process; 16], number, &[0, 2, process, number as u8]), None);
        }
        for (process, number) in [(1, 3), (1, 1), (2, 1)] {
            let whole = pieces.take([process; 16], number + 1, &[1, 2, 9]);
            assert_eq!(whole, Some(vec![process, number as u8, 9]));
        }
    }
}
