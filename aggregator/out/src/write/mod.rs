//! Remote write: what is sent of which second, as the messages of its two versions, and what an answer means.
//!
//! - [`Outlet`]: which samples follow from the seconds it is given, batch by batch, and when a series has ended;
//! - [`Batch::body`]: one request, by the specification of version 1.0 or 2.0;
//! - [`Backlog`]: what waits to be sent;
//! - [`judge`]: what an answer of the receiver means.

mod backlog;
mod batch;
mod judgement;
mod message;
mod outlet;

pub use self::{
    backlog::{Backlog, Gone, Waiting},
    batch::{Batch, Point, Points},
    judgement::{Judgement, Refusal, judge},
    outlet::{Outlet, OutletSettings},
};

/// The version of remote write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// 1.0: `prometheus.WriteRequest`.
    V1,
    /// 2.0: `io.prometheus.write.v2.Request`, with the kind, the help and the start of each series.
    V2,
}

impl Protocol {
    /// The `Content-Type` of a request.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The `X-Prometheus-Remote-Write-Version` of a request.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }
}
