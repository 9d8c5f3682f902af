//! The wire of `Cluster.QuarantineAggregator`, and what `GetLedger` says of authors that are not believed.

use std::collections::BTreeSet;

use starling_ledger::Dispute;
use starling_proto::{
    ids::{NodeId, WriterId},
    v1,
};
use tonic::Status;

use crate::quarantine::{self, Entries, Refusal, WRITERS_PER_CALL_MAX};

/// Whom a request speaks of.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming the field.
pub(super) fn whom(request: &v1::QuarantineAggregatorRequest) -> Result<(NodeId, BTreeSet<WriterId>), Status> {
    let wrong = |field: &str, what: &dyn std::fmt::Display| Status::invalid_argument(format!("{field}: {what}"));
    let name = NodeId::parse(&request.aggregator_id).map_err(|error| wrong("aggregator_id", &error))?;
    if request.writer_ids.len() > WRITERS_PER_CALL_MAX {
        let many = format!("{} are given, at most {WRITERS_PER_CALL_MAX} are taken", request.writer_ids.len());
        return Err(wrong("writer_ids", &many));
    }
    let writer = |text: &String| {
        WriterId::from_hex(text).ok_or_else(|| wrong("writer_ids", &format!("{text:?} is not 32 hexadecimal digits")))
    };
    Ok((name, request.writer_ids.iter().map(writer).collect::<Result<_, _>>()?))
}

/// Why it was not done.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Own(_) => Status::failed_precondition(text),
        Refusal::Unknown(_) => Status::not_found(text),
        Refusal::Full | Refusal::Writers(_) => Status::resource_exhausted(text),
        Refusal::Busy | Refusal::Ended(_) => Status::unavailable(text),
        Refusal::Disk { .. } => Status::internal(text),
    }
}

/// Everybody in quarantine.
pub(super) fn all(entries: Entries) -> Vec<v1::QuarantinedAggregator> {
    let one = |(aggregator_id, entry): (String, quarantine::Entry)| {
        let (from_tick, to_tick) = entry.span.unwrap_or_default();
        v1::QuarantinedAggregator {
            aggregator_id,
            writer_ids: entry.writers.iter().map(ToString::to_string).collect(),
            since_unix_ms: entry.since_ms,
            reason: entry.reason,
            from_tick,
            to_tick,
        }
    };
    entries.into_iter().map(one).collect()
}

/// Authors that claim the same frames, by name.
pub(super) fn disputes(disputes: Vec<Dispute>) -> Vec<v1::LedgerDispute> {
    let dispute = |dispute: Dispute| v1::LedgerDispute {
        aggregator_ids: dispute.authors.into(),
        frames: dispute.frames,
        node_ids: dispute.nodes.iter().map(ToString::to_string).collect(),
        first_tick: dispute.first_tick,
        last_tick: dispute.last_tick,
    };
    disputes.into_iter().map(dispute).collect()
}
