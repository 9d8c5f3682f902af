//! From what an aggregator says to what the page shows: the parts of a second.

use starling_proto::{live, v1};

use super::{UnixMillis, distribution::distribution, verdict};

/// Milliseconds from the end of a second to `now`; 0 when our clock is behind.
pub(crate) fn age_ms(tick: u32, now: UnixMillis) -> u32 {
    u32::try_from(now.saturating_sub(u64::from(tick) * 1000)).unwrap_or(u32::MAX)
}

/// Completeness of a second, as old as it is now.
pub(crate) fn completeness(from: Option<&v1::Completeness>, tick: u32, now: UnixMillis) -> Option<live::Completeness> {
    from.map(|from| live::Completeness {
        nodes_reporting: from.nodes_reporting,
        nodes_expected: from.nodes_expected,
        age_ms: age_ms(tick, now),
        copies: from.copies,
    })
}

/// Requests, errors and latency.
pub(crate) fn traffic(from: &v1::Traffic) -> live::Traffic {
    let last_minute = from.latency_last_minute.as_ref();
    live::Traffic {
        requests_per_second: from.requests_per_second,
        errors_per_second: from.errors_per_second,
        error_ratio: from.error_ratio,
        active: known(from.active),
        latency: from.latency.as_ref().map(latency),
        latency_last_minute: last_minute.map(latency),
        distribution: last_minute
            .map(|latency| distribution(&latency.histogram))
            .filter(|distribution| !distribution.counts.is_empty())
            .map(Into::into),
        protocols: from.protocols.iter().map(protocol).collect(),
    }
}

fn protocol(from: &v1::ProtocolTraffic) -> live::Protocol {
    live::Protocol {
        name: from.protocol.clone(),
        requests_per_second: from.requests_per_second,
        errors_per_second: from.errors_per_second,
        active: known(from.active),
        mean_micros: from.latency.as_ref().map(|latency| latency.mean_micros),
        p99_micros: from.latency.as_ref().map(|latency| latency.p99_micros),
        status: verdict::of_protocol(from.requests_per_second, from.errors_per_second).into(),
    }
}

fn latency(from: &v1::Latency) -> live::Latency {
    live::Latency {
        p50: from.p50_micros,
        p95: from.p95_micros,
        p99: from.p99_micros,
        p999: from.p999_micros,
        mean: from.mean_micros,
        max: from.max_micros,
        count: from.count,
        error_bound_ppm: from.error_bound_ppm,
    }
}

/// A number for the page, where NaN means that nobody reported it.
fn known(number: Option<f64>) -> f64 {
    number.unwrap_or(f64::NAN)
}

/// TCP connections.
pub(crate) fn connections(from: &v1::Connections) -> live::Connections {
    live::Connections {
        active: known(from.active),
        idle: known(from.idle),
        total: known(from.total),
        opened_per_second: known(from.opened_per_second),
        resets_per_second: known(from.resets_per_second),
        retransmit_ratio: from.retransmit_ratio,
        healthy: known(from.healthy),
        warning: known(from.warning),
        error: known(from.error),
    }
}

/// Processors.
pub(crate) fn cpu(from: &v1::Cpu) -> live::Cpu {
    // Without any mode nothing is known; a mode that is not there took no time.
    let none = if from.by_mode.is_empty() { f64::NAN } else { 0.0 };
    let mode = |name: &str| from.by_mode.get(name).copied().unwrap_or(none);
    live::Cpu {
        utilization: known(from.utilization),
        cores: known(from.cores),
        user: mode("user") + mode("nice"),
        system: mode("system") + mode("irq") + mode("softirq"),
        iowait: mode("iowait"),
        steal: mode("steal"),
        load1: known(from.load1),
        load5: known(from.load5),
        load15: known(from.load15),
        busiest: from
            .busiest
            .iter()
            .map(|core| live::Core { node_id: core.node_id.clone(), core: core.core, utilization: core.utilization })
            .collect(),
        utilization_max: known(from.utilization_max),
    }
}

/// Memory.
pub(crate) fn memory(from: &v1::Memory) -> live::Memory {
    live::Memory {
        total: from.total,
        used: known(from.used),
        available: known(from.available),
        buffer_cache: known(from.buffer_cache),
        application: known(from.application),
        system: known(from.system),
        free: known(from.free),
        swap_total: known(from.swap_total),
        swap_used: known(from.swap_used),
        huge_pages_total: known(from.huge_pages_total),
        huge_pages_used: known(from.huge_pages_used),
    }
}

/// Disks and filesystems.
pub(crate) fn disk(from: &v1::Disk) -> live::Disk {
    live::Disk {
        read_bytes_per_second: known(from.read_bytes_per_second),
        written_bytes_per_second: known(from.written_bytes_per_second),
        reads_per_second: known(from.reads_per_second),
        writes_per_second: known(from.writes_per_second),
        filesystem_total: known(from.filesystem_total),
        filesystem_used: known(from.filesystem_used),
    }
}

/// Network interfaces.
pub(crate) fn network(from: &v1::Network) -> live::Network {
    live::Network {
        received_bytes_per_second: known(from.received_bytes_per_second),
        sent_bytes_per_second: known(from.sent_bytes_per_second),
        errors_per_second: known(from.errors_per_second),
        dropped_per_second: known(from.dropped_per_second),
    }
}

/// How a node is doing. The two enums have the same meaning in both protocols.
pub(crate) fn node_state(from: v1::NodeState) -> live::NodeState {
    match from {
        v1::NodeState::Unspecified => live::NodeState::Unspecified,
        v1::NodeState::Reporting => live::NodeState::Reporting,
        v1::NodeState::Silent => live::NodeState::Silent,
        v1::NodeState::Stopped => live::NodeState::Stopped,
    }
}

/// The word of an aggregator's state.
pub(crate) fn aggregator_state(from: v1::AggregatorState) -> &'static str {
    match from {
        v1::AggregatorState::Unspecified => "unknown",
        v1::AggregatorState::Joining => "joining",
        v1::AggregatorState::Ready => "ready",
        v1::AggregatorState::Leaving => "leaving",
        v1::AggregatorState::Dead => "dead",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gathered() {
        let by_mode = [("user", 0.1), ("nice", 0.1), ("system", 0.1), ("softirq", 0.2), ("idle", 0.5)];
        let from = v1::Cpu { by_mode: by_mode.map(|(k, v)| (k.to_owned(), v)).into(), ..Default::default() };
        let cpu = cpu(&from);
        assert!((cpu.user - 0.2).abs() < 1e-9 && (cpu.system - 0.3).abs() < 1e-9);
    }

    #[test]
    fn age_never_goes_below_zero() {
        assert_eq!(age_ms(10, 9_000), 0);
        assert_eq!(age_ms(10, 10_350), 350);
    }
}
