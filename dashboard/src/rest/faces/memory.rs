//! `/api/v1/system/memory`.

use serde::Serialize;

use super::{Completeness, Facts, percent};

/// Memory in bytes. `totalMemory` is `applicationMemory + bufferCache + systemMemory + freeMemory`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memory {
    timestamp: String,
    total_memory: Option<f64>,
    /// Total without available.
    used_memory: Option<f64>,
    available_memory: Option<f64>,
    buffer_cache: Option<f64>,
    swap_usage: Option<f64>,
    swap_total: Option<f64>,
    huge_pages_usage: Option<f64>,
    huge_pages_total: Option<f64>,
    application_memory: Option<f64>,
    system_memory: Option<f64>,
    free_memory: Option<f64>,
    /// Used / total, percent.
    utilization: Option<f64>,
    completeness: Completeness,
}

pub(super) fn answer(facts: &Facts<'_>) -> Memory {
    let from = facts.second().memory();
    Memory {
        timestamp: facts.timestamp(),
        total_memory: from.map(|is| is.total),
        used_memory: from.and_then(|is| is.used),
        available_memory: from.and_then(|is| is.available),
        buffer_cache: from.and_then(|is| is.buffer_cache),
        swap_usage: from.and_then(|is| is.swap_used),
        swap_total: from.and_then(|is| is.swap_total),
        huge_pages_usage: from.and_then(|is| is.huge_pages_used),
        huge_pages_total: from.and_then(|is| is.huge_pages_total),
        application_memory: from.and_then(|is| is.application),
        system_memory: from.and_then(|is| is.system),
        free_memory: from.and_then(|is| is.free),
        utilization: from.and_then(|is| is.used_ratio).map(percent),
        completeness: facts.completeness(),
    }
}
