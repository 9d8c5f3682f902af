//! `/api/v1/system/cpu`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Completeness, Facts,
    numbers::{self, numbers},
    percent,
};
use crate::hub::Second;

/// Processors, in percent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cpu {
    timestamp: String,
    #[serde(flatten)]
    numbers: Map<String, Value>,
    /// 1, 5 and 15 minutes; of a cluster the mean over the nodes. Empty when it was not reported.
    load_average: Vec<f64>,
    by_mode: BTreeMap<String, f64>,
    /// Of a cluster or group the busiest, at most 8; of a node all, by number.
    cores: Vec<Core>,
    completeness: Completeness,
}

/// One core.
#[derive(Debug, Serialize)]
struct Core {
    node: String,
    core: u32,
    utilization: f64,
}

pub(super) fn answer(facts: &Facts<'_>) -> Cpu {
    let cpu = facts.second().cpu();
    Cpu {
        timestamp: facts.timestamp(),
        numbers: numbers(cpu, numbers::CPU),
        load_average: cpu.and_then(|is| Some(vec![is.load1?, is.load5?, is.load15?])).unwrap_or_default(),
        by_mode: cpu
            .map(|is| is.ratio_by_mode.iter().map(|(mode, share)| (mode.clone(), percent(*share))).collect())
            .unwrap_or_default(),
        cores: cores(facts),
        completeness: facts.completeness(),
    }
}

fn cores(facts: &Facts<'_>) -> Vec<Core> {
    match &*facts.reading.second {
        second @ Second::Cluster(_) => second
            .cpu()
            .iter()
            .flat_map(|cpu| &cpu.busiest)
            .map(|is| Core { node: is.node_id.clone(), core: is.core(), utilization: percent(is.utilization_ratio()) })
            .collect(),
        Second::Node(view) => {
            let node = view.row.as_ref().map(|row| row.node_id.clone()).unwrap_or_default();
            (0..)
                .zip(&view.core_utilization_ratios)
                .map(|(core, &is)| Core { node: node.clone(), core, utilization: percent(is) })
                .collect()
        }
    }
}
