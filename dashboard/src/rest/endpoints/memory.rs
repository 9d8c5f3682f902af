//! `/api/v1/system/memory`.

use serde::Serialize;
use serde_json::{Map, Value};
use starling_proto::v1;

use super::{Completeness, Facts, Number, numbers, percent};

/// Memory in bytes. `totalMemory` is `applicationMemory + bufferCache + systemMemory + freeMemory`, `usedMemory` is
/// `totalMemory - availableMemory`, and `utilization` used / total in percent.
const NUMBERS: &[Number<v1::Memory>] = &[
    ("totalMemory", |is| Some(is.total)),
    ("usedMemory", |is| is.used),
    ("availableMemory", |is| is.available),
    ("bufferCache", |is| is.buffer_cache),
    ("swapUsage", |is| is.swap_used),
    ("swapTotal", |is| is.swap_total),
    ("hugePagesUsage", |is| is.huge_pages_used),
    ("hugePagesTotal", |is| is.huge_pages_total),
    ("applicationMemory", |is| is.application),
    ("systemMemory", |is| is.system),
    ("freeMemory", |is| is.free),
    ("utilization", |is| is.used_ratio.map(percent)),
];

/// What the memory is used for.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    timestamp: String,
    #[serde(flatten)]
    numbers: Map<String, Value>,
    completeness: Completeness,
}

pub(super) fn answer(facts: &Facts<'_>) -> Memory {
    Memory {
        timestamp: facts.timestamp(),
        numbers: numbers(facts.second().memory(), NUMBERS),
        completeness: facts.completeness(),
    }
}
