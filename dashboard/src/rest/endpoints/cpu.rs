//! `/api/v1/system/cpu`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Completeness, Facts,
    numbers::{self, numbers},
};
use crate::{hub::Second, rest::number::Number};

/// Processors.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cpu {
    timestamp: String,
    #[serde(flatten)]
    numbers: Map<String, Value>,
    ratio_by_mode: BTreeMap<String, Number>,
    /// Of a cluster or group, at most 8. Empty of a node, all of whose cores follow.
    busiest: Vec<Core>,
    /// Of a node: how busy each core is, by its number. Empty of a cluster.
    core_utilization_ratios: Vec<Number>,
    completeness: Completeness,
}

/// One core.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Core {
    node_id: String,
    core: u32,
    utilization_ratio: Number,
}

pub(super) fn answer(facts: &Facts<'_>) -> Cpu {
    let cpu = facts.second().cpu();
    Cpu {
        timestamp: facts.timestamp(),
        numbers: numbers(cpu, numbers::CPU),
        ratio_by_mode: cpu
            .map(|is| is.ratio_by_mode.iter().map(|(mode, ratio)| (mode.clone(), Number(*ratio))).collect())
            .unwrap_or_default(),
        busiest: busiest(facts),
        core_utilization_ratios: facts.second().cores().iter().copied().map(Number).collect(),
        completeness: facts.completeness(),
    }
}

fn busiest(facts: &Facts<'_>) -> Vec<Core> {
    let Second::Cluster(_) = facts.second() else { return Vec::new() };
    let of_cluster = facts.second().cpu().map(|cpu| &cpu.busiest).into_iter().flatten();
    let core = |is: &starling_proto::v1::CoreUtilization| Core {
        node_id: is.node_id.clone(),
        core: is.core(),
        utilization_ratio: Number(is.utilization_ratio()),
    };
    of_cluster.map(core).collect()
}
