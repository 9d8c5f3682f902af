//! Reading the body of a request, whole, within bounds of memory and time.
//!
//! A sender that stalls holds what it has sent and nothing else: it takes no place from those that have sent all. What is
//! held of all bodies together is bounded; beyond it senders are asked to come again.

use std::{io::Read as _, sync::Arc, time::Duration};

use axum::body::Body;
use flate2::read::GzDecoder;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_stream::StreamExt as _;

use super::failure::{Failure, MESSAGE_BYTES_MAX};

/// Bytes of all bodies that are held at once: those of a dozen forwarders that send a batch of a megabyte in the same
/// moment. When it is full a request is answered "come again".
pub(super) const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that a request is taken to hold at least: its headers and its task.
const REQUEST_BYTES: usize = 1024;
/// A sender that is silent for this long in the middle of a body is given up; on loopback the next piece is there at
/// once.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// A body that is not complete by then is given up.
const BODY_MAX: Duration = Duration::from_secs(5);
/// Decompressed at once.
const PIECE: usize = 64 * 1024;
/// What gRPC puts before a message: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;

/// A complete body, with its place among those that are held.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    place: OwnedSemaphorePermit,
}

/// Reads `body` to its end.
///
/// # Errors
/// [`Failure`].
pub(super) async fn read(body: Body, held: &Arc<Semaphore>) -> Result<Whole, Failure> {
    let mut whole = Whole { bytes: Vec::new(), place: reserve(held, REQUEST_BYTES)? };
    let mut pieces = body.into_data_stream();
    let end = Instant::now() + BODY_MAX;
    loop {
        let by = end.min(Instant::now() + SILENCE_MAX);
        let piece = match timeout_at(by, pieces.next()).await.map_err(|_| Failure::Stalled)? {
            None => return Ok(whole),
            Some(piece) => piece.map_err(|error| Failure::Malformed(format!("the body broke off: {error}")))?,
        };
        whole.append(&piece, held)?;
    }
}

impl Whole {
    fn append(&mut self, piece: &[u8], held: &Arc<Semaphore>) -> Result<(), Failure> {
        if self.bytes.len() + piece.len() > MESSAGE_BYTES_MAX + GRPC_PREFIX {
            return Err(Failure::TooLong);
        }
        self.place.merge(reserve(held, piece.len())?);
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The same, decompressed.
    ///
    /// # Errors
    /// [`Failure`], also for what is not gzip.
    pub(super) fn gunzipped(&self, held: &Arc<Semaphore>) -> Result<Self, Failure> {
        let mut whole = Self { bytes: Vec::new(), place: reserve(held, REQUEST_BYTES)? };
        let mut decoder = GzDecoder::new(&self.bytes[..]);
        let mut piece = vec![0; PIECE];
        loop {
            match decoder.read(&mut piece) {
                Ok(0) => return Ok(whole),
                Ok(n) => whole.append(&piece[..n], held)?,
                Err(error) => return Err(Failure::Malformed(format!("the body is not gzip: {error}"))),
            }
        }
    }

    /// The same, of a body in snappy's block format.
    ///
    /// # Errors
    /// [`Failure`], also for what is not snappy.
    pub(super) fn unsnapped(&self, held: &Arc<Semaphore>) -> Result<Self, Failure> {
        let wrong = |error: snap::Error| Failure::Malformed(format!("the body is not snappy: {error}"));
        let length = snap::raw::decompress_len(&self.bytes).map_err(wrong)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        let place = reserve(held, REQUEST_BYTES + length)?;
        let bytes = snap::raw::Decoder::new().decompress_vec(&self.bytes).map_err(wrong)?;
        Ok(Self { bytes, place })
    }

    /// The one message in the body of a gRPC request, and whether it is compressed.
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub(super) fn grpc_message(mut self) -> Result<(bool, Self), Failure> {
        let broken = || Failure::Malformed("the body is not one gRPC message".to_owned());
        let [compressed, a, b, c, d] = *self.bytes.first_chunk::<GRPC_PREFIX>().ok_or_else(broken)?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if compressed > 1 || length != self.bytes.len() - GRPC_PREFIX {
            return Err(broken());
        }
        self.bytes.drain(..GRPC_PREFIX);
        Ok((compressed == 1, self))
    }
}

fn reserve(held: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
    let bytes = u32::try_from(bytes).map_err(|_| Failure::TooLong)?;
    // Closed never, so that the only reason is that it is full.
    Arc::clone(held).try_acquire_many_owned(bytes).map_err(|_| Failure::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn held(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_is_given_up_and_gives_its_place_back() {
        let held = held(HELD_BYTES_MAX);
        let pieces = tokio_stream::iter([Ok::<_, std::io::Error>(vec![7u8; 100_000])]).chain(tokio_stream::pending());
        let began = Instant::now();
        assert_eq!(read(Body::from_stream(pieces), &held).await.unwrap_err(), Failure::Stalled);
        assert!(began.elapsed() <= SILENCE_MAX * 2);
        assert_eq!(held.available_permits(), HELD_BYTES_MAX);

        let drip = tokio_stream::iter(0..).throttle(SILENCE_MAX / 2).map(|_: u64| Ok::<_, std::io::Error>(vec![7u8]));
        let began = Instant::now();
        assert_eq!(read(Body::from_stream(drip), &held).await.unwrap_err(), Failure::Stalled);
        assert!(began.elapsed() <= BODY_MAX + SILENCE_MAX);
    }

    #[tokio::test]
    async fn bytes_are_bounded_each_and_together() {
        let held = held(HELD_BYTES_MAX);
        let whole = read(Body::from(vec![7; MESSAGE_BYTES_MAX]), &held).await.unwrap();
        assert_eq!(whole.bytes.len(), MESSAGE_BYTES_MAX);
        assert!(held.available_permits() <= HELD_BYTES_MAX - MESSAGE_BYTES_MAX);
        assert_eq!(read(Body::from(vec![7; MESSAGE_BYTES_MAX + 6]), &held).await.unwrap_err(), Failure::TooLong);
        let mut others = Vec::new();
        let full = loop {
            match read(Body::from(vec![7; MESSAGE_BYTES_MAX]), &held).await {
                Ok(whole) => others.push(whole),
                Err(failure) => break failure,
            }
        };
        assert_eq!((full, others.len()), (Failure::Busy, 2));
        drop((whole, others));
        assert_eq!(held.available_permits(), HELD_BYTES_MAX);
    }

    #[tokio::test]
    async fn what_is_zipped_is_bounded_before_and_after() {
        let held = held(HELD_BYTES_MAX);
        let zipped = async |bytes: Vec<u8>| read(Body::from(bytes), &held).await.unwrap().gunzipped(&held);
        assert_eq!(zipped(gzip(&[7; 100_000])).await.unwrap().bytes, [7; 100_000]);
        assert_eq!(zipped(gzip(&vec![0; 60 << 20])).await.unwrap_err(), Failure::TooLong);
        assert!(matches!(zipped(vec![1, 2, 3]).await, Err(Failure::Malformed(_))));
        assert!(matches!(zipped(gzip(&[7; 100_000])[..50].to_vec()).await, Err(Failure::Malformed(_))));
        assert_eq!(held.available_permits(), HELD_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_grpc_body_is_one_message() {
        let held = held(HELD_BYTES_MAX);
        let message = async |bytes: &[u8]| {
            let whole = read(Body::from(bytes.to_vec()), &held).await.unwrap();
            whole.grpc_message().map(|(compressed, whole)| (compressed, whole.bytes))
        };
        assert_eq!(message(&[0, 0, 0, 0, 2, 7, 8]).await, Ok((false, vec![7, 8])));
        assert_eq!(message(&[1, 0, 0, 0, 0]).await, Ok((true, vec![])));
        for broken in [&[][..], &[0, 0, 0], &[2, 0, 0, 0, 0], &[0, 0, 0, 0, 3, 7, 8], &[0, 0xff, 0xff, 0xff, 0xff]] {
            assert!(matches!(message(broken).await, Err(Failure::Malformed(_))), "{broken:?}");
        }
    }
}
