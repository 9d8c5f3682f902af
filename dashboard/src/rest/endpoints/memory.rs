//! `/api/v1/system/memory`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Completeness, Facts,
    numbers::{self, numbers},
};

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
        numbers: numbers(facts.second().memory(), numbers::MEMORY),
        completeness: facts.completeness(),
    }
}
