//! What the daemon may not read is asked for again once in ten minutes: a kernel that audits refusals writes a line for each.

use std::{io, time::Duration};

/// How long a refusal is taken for granted.
const ASKED_AGAIN: Duration = Duration::from_secs(600);

/// The last refusal of one source.
#[derive(Debug)]
pub(super) struct Refused {
    /// Reads in [`ASKED_AGAIN`].
    reads: u32,
    /// Of them those that are answered from here.
    left: u32,
    /// What the system said.
    errno: i32,
}

impl Refused {
    /// Of a source that is read once in `every`.
    pub(super) fn once_in(every: Duration) -> Self {
        let reads = ASKED_AGAIN.as_secs() / every.as_secs().max(1);
        Self { reads: u32::try_from(reads).unwrap_or(u32::MAX), left: 0, errno: 0 }
    }

    /// The refusal that stands, instead of a read.
    pub(super) fn stands(&mut self) -> Option<io::Error> {
        self.left = self.left.checked_sub(1)?;
        Some(io::Error::from_raw_os_error(self.errno))
    }

    /// Takes note of an error, when it is a refusal.
    pub(super) fn note(&mut self, error: &io::Error) {
        if let (io::ErrorKind::PermissionDenied, Some(errno)) = (error.kind(), error.raw_os_error()) {
            (self.left, self.errno) = (self.reads, errno);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stands_for_ten_minutes_and_no_other_error_does() {
        for (every, reads) in [(1, 600), (10, 60)] {
            let mut refused = Refused::once_in(Duration::from_secs(every));
            refused.note(&io::Error::from_raw_os_error(2));
            assert!(refused.stands().is_none());
            refused.note(&io::Error::from_raw_os_error(13));
            let stood =
                std::iter::from_fn(|| refused.stands()).inspect(|error| assert_eq!(error.raw_os_error(), Some(13)));
            assert_eq!(stood.count(), reads);
        }
    }
}
