//! A message encoded once and shared by every client that gets it.
//!
//! What differs between clients is the number of the subscription and the count of skipped seconds; all the rest of a
//! `Tick` or a `Snapshot` is the same for all. So the message is encoded once without the two (proto3 leaves fields with
//! the value 0 out), and a frame is made by writing them in front of the shared body: a protobuf message is a sequence
//! of fields in any order. Pages number their subscriptions alike, so the few frames made are kept and shared too:
//! sending one to a client clones a pointer.

use std::sync::{Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use starling_proto::live;

/// Frames kept per message. A page uses one number per view; other clients may use others, and pay one copy each.
const FRAMES_KEPT_MAX: usize = 4;

/// Numbers of the fields in `live.proto`; a test decodes what is made of them.
mod field {
    pub(super) const SERVER_MESSAGE_SNAPSHOT: u32 = 2;
    pub(super) const SERVER_MESSAGE_TICK: u32 = 3;
    pub(super) const ID: u32 = 1;
    pub(super) const TICK_SKIPPED: u32 = 4;
}

/// A `Tick` or a `Snapshot` without its id.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    /// Field of `ServerMessage`.
    field: u32,
    body: Bytes,
    /// By id and skipped. A plain mutex: it is held for a search in at most four entries or one copy of the body.
    made: Mutex<Vec<((u32, u32), Bytes)>>,
}

impl SharedFrame {
    /// Shares a tick. Its `id` and `skipped` must be 0.
    pub(crate) fn tick(tick: &live::Tick) -> Self {
        debug_assert!(tick.id == 0 && tick.skipped == 0, "they are written in front of the body");
        Self::new(field::SERVER_MESSAGE_TICK, tick.encode_to_vec())
    }

    /// Shares a snapshot. Its `id` must be 0.
    pub(crate) fn snapshot(snapshot: &live::Snapshot) -> Self {
        debug_assert!(snapshot.id == 0, "it is written in front of the body");
        Self::new(field::SERVER_MESSAGE_SNAPSHOT, snapshot.encode_to_vec())
    }

    fn new(field: u32, body: Vec<u8>) -> Self {
        Self { field, body: body.into(), made: Mutex::default() }
    }

    /// The encoded `ServerMessage` for a subscription. `skipped` must be 0 for a snapshot.
    pub(crate) fn bytes(&self, id: u32, skipped: u32) -> Bytes {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = made.iter().find(|(key, _)| *key == (id, skipped)) {
            return bytes.clone();
        }
        let bytes = self.make(id, skipped);
        if made.len() < FRAMES_KEPT_MAX {
            made.push(((id, skipped), bytes.clone()));
        }
        bytes
    }

    fn make(&self, id: u32, skipped: u32) -> Bytes {
        let mut front = BytesMut::with_capacity(16);
        for (field, value) in [(field::ID, id), (field::TICK_SKIPPED, skipped)] {
            if value != 0 {
                encode_key(field, WireType::Varint, &mut front);
                encode_varint(value.into(), &mut front);
            }
        }
        let inner = front.len() + self.body.len();
        let mut frame = BytesMut::with_capacity(1 + encoded_len_varint(inner as u64) + inner);
        encode_key(self.field, WireType::LengthDelimited, &mut frame);
        encode_varint(inner as u64, &mut frame);
        frame.put(front);
        frame.put_slice(&self.body);
        frame.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use live::server_message::Body;

    #[test]
    fn a_frame_decodes_to_the_message_with_its_id() {
        let tick = live::Tick { tick: 1_700_000_000, point: vec![1.0, f32::INFINITY], ..Default::default() };
        let shared = SharedFrame::tick(&tick);
        for (id, skipped) in [(1, 0), (7, 3), (u32::MAX, u32::MAX)] {
            let message = live::ServerMessage::decode(shared.bytes(id, skipped)).unwrap();
            assert_eq!(message.body, Some(Body::Tick(live::Tick { id, skipped, ..tick.clone() })));
        }
        let snapshot = live::Snapshot { tick: 5, history: Some(live::History::default()), ..Default::default() };
        let message = live::ServerMessage::decode(SharedFrame::snapshot(&snapshot).bytes(300, 0)).unwrap();
        assert_eq!(message.body, Some(Body::Snapshot(live::Snapshot { id: 300, ..snapshot })));
    }

    #[test]
    fn clients_with_the_same_id_share_one_allocation() {
        let shared = SharedFrame::tick(&live::Tick { tick: 9, ..Default::default() });
        assert_eq!(shared.bytes(1, 0).as_ptr(), shared.bytes(1, 0).as_ptr());
        for id in 1..100 {
            shared.bytes(id, 0);
        }
        assert_eq!(shared.made.lock().unwrap().len(), FRAMES_KEPT_MAX);
    }
}
