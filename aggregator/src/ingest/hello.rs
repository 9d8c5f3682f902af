//! The first message of a node, checked field by field.

use std::collections::BTreeMap;

use starling_proto::{
    ids::{Machine, NodeId, StreamId},
    label,
    limits::{EARLY_SECONDS, LABELS_MAX, LATE_WINDOW, NAME_LEN_MAX},
    nodes::Origin,
    v1,
};
use tonic::Status;

use super::node::About;
use crate::clock::now_ms;

/// A hello that keeps all rules.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    /// Name of the host.
    pub(crate) node: NodeId,
    /// The daemon's start.
    pub(crate) stream: StreamId,
    /// Grows with each connection of that start, from 1.
    pub(crate) session: u32,
    /// What the node says of itself.
    pub(crate) about: About,
    /// It was redirected often enough.
    pub(crate) final_hop: bool,
}

impl Greeting {
    /// Checks a hello that came from `address`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the field and what was wanted.
    pub(crate) fn parse(hello: v1::Hello, address: String) -> Result<Self, Status> {
        let wrong =
            |field: &str, what: &dyn std::fmt::Display| Status::invalid_argument(format!("hello.{field}: {what}"));
        let node = NodeId::parse(&hello.node_id).map_err(|error| wrong("node_id", &error))?;
        let stream = StreamId::parse(&hello.stream_id).map_err(|error| wrong("stream_id", &error))?;
        if hello.session == 0 {
            return Err(wrong("session", &"is 0, the first connection is 1"));
        }
        if hello.labels.len() > LABELS_MAX {
            return Err(wrong("labels", &format!("{} labels, at most {LABELS_MAX} are taken", hello.labels.len())));
        }
        for (key, value) in &hello.labels {
            label::check(key, value).map_err(|error| wrong("labels", &error))?;
        }
        let host = hello.host.unwrap_or_default();
        if !host.memory_bytes.is_finite() || host.memory_bytes < 0.0 {
            return Err(wrong("host.memory_bytes", &"is not a size"));
        }
        let machine = Machine::parse(&hello.machine, &hello.boot).map_err(|error| wrong("machine or boot", &error))?;
        Ok(Self {
            node,
            stream,
            session: hello.session,
            about: About {
                facts: v1::NodeFacts {
                    kernel: shortened(&host.kernel),
                    os: shortened(&host.os),
                    cpu_model: shortened(&host.cpu_model),
                    cores: host.cores,
                    memory_bytes: host.memory_bytes,
                    boot_time_unix_s: host.boot_time_unix_s,
                    version: shortened(&hello.version),
                    host_name: shortened(&host.host_name),
                    otlp_listen: shortened(&host.otlp_listen),
                    otlp_http_listen: shortened(&host.otlp_http_listen),
                    statsd_listen: shortened(&host.statsd_listen),
                },
                labels: hello.labels.into_iter().collect::<BTreeMap<_, _>>(),
                simulated: hello.simulated,
                silent_reason: silent_reason(hello.sent_at_unix_ms, now_ms()),
                collector_faults: Vec::new(),
                origin: Origin { address, machine, since_unix_ms: 0 },
            },
            final_hop: hello.final_hop,
        })
    }
}

/// Texts for people only: an odd one is cut, not refused.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_LEN_MAX).collect()
}

/// What a clock that was at `sent_ms` when ours was at `now_ms` does to the frames of its node. Empty when it is right, or
/// when the daemon does not say.
fn silent_reason(sent_ms: u64, now_ms: u64) -> String {
    let (ahead, behind) = (sent_ms.saturating_sub(now_ms) / 1000, now_ms.saturating_sub(sent_ms) / 1000);
    if sent_ms == 0 {
        String::new()
    } else if ahead > u64::from(EARLY_SECONDS) {
        format!("its clock is {ahead} s ahead: its frames are held")
    } else if behind > u64::from(LATE_WINDOW) {
        format!("its clock is {behind} s behind: its frames are held")
    } else if behind > u64::from(EARLY_SECONDS) {
        format!("its clock is {behind} s behind: its seconds are counted late")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> v1::Hello {
        v1::Hello {
            node_id: "web-1".into(),
            stream_id: vec![1; 16].into(),
            session: 1,
            version: "0.1.0".into(),
            host: Some(v1::HostFacts {
                kernel: "6.1\u{7}".repeat(100),
                cores: 4,
                host_name: "web-one\n.example".into(),
                otlp_http_listen: "[::]:4318".into(),
                ..v1::HostFacts::default()
            }),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            simulated: false,
            final_hop: true,
            sent_at_unix_ms: 0,
            machine: vec![7; 16].into(),
            boot: Vec::new().into(),
        }
    }

    #[test]
    fn a_good_hello_is_taken_and_texts_are_tamed() {
        let greeting = Greeting::parse(hello(), "h:1".into()).unwrap();
        assert_eq!((greeting.node.as_str(), greeting.session, greeting.final_hop), ("web-1", 1, true));
        assert_eq!(greeting.about.facts.kernel.chars().count(), NAME_LEN_MAX);
        assert_eq!(greeting.about.labels["zone"], "a");
        assert_eq!(greeting.about.facts.host_name, "web-one.example", "beside its name");
        assert_eq!(greeting.about.facts.otlp_http_listen, "[::]:4318");
        let machine = Machine { id: Some([7; 16]), boot: None };
        assert_eq!(greeting.about.origin, Origin { address: "h:1".into(), machine, since_unix_ms: 0 });
    }

    #[test]
    fn a_clock_that_is_off_is_the_reason_for_silence() {
        let now = 1_700_000_000_000_u64;
        let of = |offset: i64| silent_reason(now.saturating_add_signed(offset * 1000), now);
        assert_eq!(of(3_600), "its clock is 3600 s ahead: its frames are held");
        assert_eq!(of(-3_600), "its clock is 3600 s behind: its frames are held");
        assert_eq!(of(-60), "its clock is 60 s behind: its seconds are counted late");
        assert_eq!((of(10), of(-10), of(0), silent_reason(0, now)), Default::default());
    }

    #[test]
    fn mistakes_name_the_field() {
        type Spoil = fn(&mut v1::Hello);
        let cases: [(&str, Spoil); 8] = [
            ("hello.machine or boot", |h| h.boot = vec![1; 5].into()),
            ("hello.node_id", |h| h.node_id = "Web 1".into()),
            ("hello.stream_id", |h| h.stream_id = vec![1; 3].into()),
            ("hello.session", |h| h.session = 0),
            ("hello.labels", |h| h.labels = (0..17).map(|i| (format!("k{i}"), "v".into())).collect()),
            ("hello.labels", |h| h.labels = [("a:b".to_owned(), "v".to_owned())].into()),
            ("hello.labels", |h| h.labels = [("a".to_owned(), String::new())].into()),
            ("hello.host.memory_bytes", |h| {
                h.host = Some(v1::HostFacts { memory_bytes: f64::NAN, ..Default::default() });
            }),
        ];
        for (field, spoil) in cases {
            let mut bad = hello();
            spoil(&mut bad);
            let status = Greeting::parse(bad, String::new()).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().starts_with(field), "{}", status.message());
        }
    }
}
