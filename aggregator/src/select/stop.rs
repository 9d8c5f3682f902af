//! When work on a question is to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tonic::metadata::MetadataMap;

/// Asks work to stop. Looked at between blocks. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    cancelled: Arc<AtomicBool>,
    until: Instant,
}

impl Stop {
    /// Stops at `until`.
    pub(crate) fn at(until: Instant) -> Self {
        Self { cancelled: Arc::default(), until }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// No further work is to be begun: the time is over, or nobody waits any more.
    pub(crate) fn is_due(&self) -> bool {
        self.is_cancelled() || Instant::now() >= self.until
    }

    /// The moment at which no further work is to be begun.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }
}

/// How long the asker waits, by the header `grpc-timeout`: at most eight digits and a unit
/// (`grpc/grpc:doc/PROTOCOL-HTTP2.md`). `None` without one, or with one that is not of that form.
pub(crate) fn time_of(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(timeout: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", timeout.parse().unwrap());
        metadata
    }

    #[test]
    fn the_time_of_the_asker_is_read() {
        for (text, wanted) in
            [("500m", Some(500)), ("2S", Some(2_000)), ("1H", Some(3_600_000)), ("7", None), ("S", None)]
        {
            assert_eq!(time_of(&asked(text)), wanted.map(Duration::from_millis), "{text}");
        }
        for text in ["123456789S", "-1S", "1.5S", "1s"] {
            assert_eq!(time_of(&asked(text)), None, "{text}");
        }
        assert_eq!(time_of(&MetadataMap::new()), None);
    }
}
