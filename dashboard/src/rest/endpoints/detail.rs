//! `/api/v1/nodes/{id}/detail`: what is read of a host because somebody looks at it.

use serde_json::{Value, json};
use starling_proto::v1;

use super::{
    Completeness,
    numbers::{Named, numbers},
};
use crate::{hub::UnixMillis, rest::time::rfc3339};

/// One process. Rates are `null` in the first second in which it is seen, and where the daemon may not read them.
const PROCESS: &[Named<v1::ProcessDetail>] = &[
    ("cpuCores", |is| is.cpu_cores),
    ("memoryBytes", |is| Some(is.memory_bytes)),
    ("readBytesPerSecond", |is| is.read_bytes_per_second),
    ("writeBytesPerSecond", |is| is.write_bytes_per_second),
    ("ageSeconds", |is| Some(is.age_seconds)),
];

/// The busiest processes, after them the largest, and what reading them costs the host.
pub(crate) fn detail(view: &v1::NodeDetailView, now: UnixMillis) -> Value {
    let is = view.detail.clone().unwrap_or_default();
    let process = |one: &v1::ProcessDetail| {
        let mut shown = numbers(Some(one), PROCESS);
        shown.insert("pid".into(), one.pid.into());
        shown.insert("name".into(), one.name.as_str().into());
        shown.insert("state".into(), one.state.as_str().into());
        shown.insert("userId".into(), one.user_id.into());
        shown.insert("threads".into(), one.threads.into());
        shown.insert("group".into(), one.group.as_str().into());
        shown
    };
    let whole = v1::Completeness {
        nodes_reporting: Some(1),
        nodes_expected: Some(1),
        tick: is.tick,
        ..v1::Completeness::default()
    };
    json!({
        "node": view.node_id,
        "time": rfc3339(is.tick),
        "processes": is.processes.iter().map(process).collect::<Vec<_>>(),
        "processCount": is.process_count,
        "processesLeftOut": is.processes_left_out,
        "costCpuSeconds": is.cost_cpu_seconds,
        "everySeconds": is.every_seconds,
        "answeredBy": view.answered_by,
        "completeness": Completeness::of(Some(&whole), is.tick, now),
    })
}
