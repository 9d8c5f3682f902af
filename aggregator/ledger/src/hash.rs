//! The running hash that chains the entries of a log.

use xxhash_rust::xxh3::Xxh3Default;

/// Running hash of a log.
pub(super) type LogHash = [u8; 16];

/// The hash after one more entry: xxh3_128(previous || payload), big-endian.
pub(super) fn next_hash(previous: &LogHash, payload: &[u8]) -> LogHash {
    let mut hasher = Xxh3Default::new();
    hasher.update(previous);
    hasher.update(payload);
    hasher.digest128().to_be_bytes()
}
