//! What an answer of the receiver means, by the specifications of remote write.

use std::time::Duration;

use super::Protocol;

/// Why samples were not written and will not be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The receiver says that something is wrong with them.
    Refused,
    /// The receiver of a request of version 2.0 says that it wrote fewer.
    NotWritten,
    /// The receiver took a request of version 2.0 and does not say how much of it: it may speak only version 1.0.
    NotConfirmed,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The request is done: so many samples were written, and why the others were not.
    Done {
        /// Samples written.
        written: u64,
        /// Of the others.
        refusal: Option<Refusal>,
    },
    /// The receiver cannot take it now: the same again, not before this time if it says one.
    Again(Option<Duration>),
}

/// Judges an answer to a request with `sent` samples: its status, how long it asks to wait, and how many samples it says it
/// wrote (numbers and histograms together).
#[must_use]
pub fn judge(
    protocol: Protocol,
    status: u16,
    retry_after: Option<Duration>,
    written: Option<u64>,
    sent: u64,
) -> Judgement {
    let written = written.map(|written| written.min(sent));
    let done = |written, refusal| Judgement::Done { written, refusal };
    match (status, protocol) {
        (429 | 500..=599, _) => Judgement::Again(retry_after),
        (200..=299, Protocol::V1) => done(sent, None),
        (200..=299, Protocol::V2) => match written {
            Some(all) if all == sent => done(sent, None),
            Some(some) => done(some, Some(Refusal::NotWritten)),
            None => done(0, Some(Refusal::NotConfirmed)),
        },
        // A part may be written.
        (_, Protocol::V2) => done(written.unwrap_or(0), Some(Refusal::Refused)),
        (_, Protocol::V1) => done(0, Some(Refusal::Refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario 23.
    #[test]
    fn what_is_only_for_now_is_sent_again_and_what_is_wrong_is_not() {
        let seven = Some(Duration::from_secs(7));
        for protocol in [Protocol::V1, Protocol::V2] {
            assert_eq!(judge(protocol, 429, seven, None, 5), Judgement::Again(seven));
            assert_eq!(judge(protocol, 503, None, None, 5), Judgement::Again(None));
            let refused = Judgement::Done { written: 0, refusal: Some(Refusal::Refused) };
            for status in [301, 400, 401, 404, 413, 415] {
                assert_eq!(judge(protocol, status, seven, None, 5), refused);
            }
        }
        assert_eq!(judge(Protocol::V1, 204, None, None, 5), Judgement::Done { written: 5, refusal: None });
    }

    #[test]
    fn of_version_2_what_was_written_is_what_the_receiver_says() {
        let of = |status, written| judge(Protocol::V2, status, None, written, 5);
        assert_eq!(of(200, Some(5)), Judgement::Done { written: 5, refusal: None });
        assert_eq!(of(200, Some(9)), Judgement::Done { written: 5, refusal: None });
        assert_eq!(of(200, Some(3)), Judgement::Done { written: 3, refusal: Some(Refusal::NotWritten) });
        assert_eq!(of(204, None), Judgement::Done { written: 0, refusal: Some(Refusal::NotConfirmed) });
        assert_eq!(of(400, Some(2)), Judgement::Done { written: 2, refusal: Some(Refusal::Refused) });
    }
}
