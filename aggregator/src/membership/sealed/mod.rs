//! Sealed gossip: every datagram is encrypted and bound to its cluster, its sender's process and its number.
//!
//! A datagram is `kind 1 | key 4 | process 16 | counter 8 | ciphertext | tag 16`. Each process seals with a key of its
//! own, made by HKDF-SHA256 of the ring's key, the cluster and the process, so that the counter alone is a nonce that never
//! comes twice; header and cluster are authenticated along. What does not open is dropped without an answer and counted:
//! nobody without a key of the ring can change anything, or have anything sent. A process that is new is believed once it has
//! proved that it lives, so a recording changes nothing either. A long message goes in several datagrams, none of which is
//! longer than a setting says.
//!
//! - [`window`]: which numbers of a process were seen;
//! - [`pieces`]: long messages;
//! - [`seal`]: sealing and opening, pure;
//! - [`socket`]: the shell, around the gossip library's own socket.

mod pieces;
mod seal;
mod socket;
mod window;

pub(super) use self::socket::SealedSocket;
