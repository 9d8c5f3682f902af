//! Why a request was not taken, in the words of both protocols.

use std::time::Duration;

use axum::http::StatusCode;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::receive::wire::WireError;

/// Longest message, before and after decompression: what every gRPC receiver takes unless set otherwise, about 20,000
/// points of 200 bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// After which time a sender is asked to come again: what is being taken is done by then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The message is longer than what is taken.
    #[error(
        "the message is longer than {MESSAGE_BYTES_MAX} bytes: export more often or in smaller batches (Collector: \
         send_batch_max_size)"
    )]
    TooLong,
    /// It is short and decodes to more than is taken.
    #[error(
        "the message decodes to {0} bytes: export more often or in smaller batches (Collector: send_batch_max_size)"
    )]
    TooHeavy(usize),
    /// It is not what it says it is.
    #[error("{0}")]
    Malformed(String),
    /// Compressed in a way that is not understood.
    #[error("the encoding {0:?} is not taken: send gzip, or nothing compressed")]
    Encoding(String),
    /// Too much is being taken already.
    #[error("too much is being received: send it again in a second")]
    Busy,
    /// The body did not come in time.
    #[error("the body was not received in time: send it again")]
    Stalled,
}

impl Failure {
    /// The word used as a label.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::TooLong | Self::TooHeavy(_) => "too_large",
            Self::Malformed(_) => "malformed",
            Self::Encoding(_) => "encoding",
            Self::Busy => "busy",
            Self::Stalled => "stalled",
        }
    }

    /// Whether the same request may be taken later, and after how long.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy | Self::Stalled => Some(RETRY_AFTER),
            Self::TooLong | Self::TooHeavy(_) | Self::Malformed(_) | Self::Encoding(_) => None,
        }
    }

    /// The code of gRPC. Those that senders take for final and for passing: OTLP specification, "Failures".
    const fn code(&self) -> Code {
        match self {
            Self::TooLong | Self::TooHeavy(_) | Self::Malformed(_) => Code::InvalidArgument,
            Self::Encoding(_) => Code::Unimplemented,
            Self::Busy | Self::Stalled => Code::Unavailable,
        }
    }

    /// The status of HTTP, likewise.
    pub(super) const fn http(&self) -> StatusCode {
        match self {
            Self::TooLong | Self::TooHeavy(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy | Self::Stalled => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// `google.rpc.Status`, which is the body over HTTP and the details over gRPC.
    pub(super) fn message(&self) -> RpcStatus {
        let retry = self.retry_after().map(|after| Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: RetryInfo { retry_delay: prost_types::Duration::try_from(after).ok() }.encode_to_vec(),
        });
        RpcStatus { code: self.code() as i32, message: self.to_string(), details: retry.into_iter().collect() }
    }

    /// The status of gRPC.
    pub(super) fn status(&self) -> Status {
        Status::with_details(self.code(), self.to_string(), self.message().encode_to_vec().into())
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// `google.rpc.Status` (googleapis: google/rpc/status.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.rpc.RetryInfo` (googleapis: google/rpc/error_details.proto).
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_says_when_to_come_again_and_what_is_final_does_not() {
        for failure in [Failure::Busy, Failure::Stalled] {
            let status = failure.status();
            let details = RpcStatus::decode(status.details()).unwrap();
            assert_eq!((status.code(), details.code), (Code::Unavailable, 14));
            let info = RetryInfo::decode(&details.details[0].value[..]).unwrap();
            assert_eq!(info.retry_delay, Some(prost_types::Duration { seconds: 1, nanos: 0 }));
            assert_eq!(failure.http(), StatusCode::SERVICE_UNAVAILABLE);
        }
        for failure in [Failure::TooLong, Failure::TooHeavy(7), Failure::Malformed("x".into())] {
            assert_eq!((failure.status().code(), failure.message().details.len()), (Code::InvalidArgument, 0));
            assert!(failure.http().is_client_error() && failure.retry_after().is_none());
        }
        assert_eq!(Failure::Encoding("zstd".into()).status().code(), Code::Unimplemented);
    }
}
