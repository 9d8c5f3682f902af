//! What a node reads only while somebody looks at it: until when that is, and what it read last. Nothing of it is kept.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use starling_proto::{limits::DETAIL_PROCESSES_MAX, v1};
use tokio::sync::watch;

/// A node reads on for so long after the last question.
const LOOK: Duration = Duration::from_secs(10);
/// It is told so at most this often.
const TELL_EVERY: Duration = Duration::from_secs(3);
/// What a node sends unasked so long after is not taken.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// Nobody has looked for so long: its desk is cleared away.
const LEFT_AFTER: Duration = Duration::from_secs(60);
/// Characters of the name of a process and of its group.
const NAME_MAX: usize = 64;

/// What was read last, with when that came; `None` before.
pub(crate) type Shown = Option<(Instant, Arc<v1::NodeDetail>)>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Desk {
    until: Option<Instant>,
    told_at: Option<Instant>,
    shown: watch::Sender<Shown>,
}

impl Desk {
    /// Somebody looks. Returns whether the node is to be told.
    pub(super) fn wanted(&mut self, now: Instant) -> bool {
        self.until = Some(now + LOOK);
        self.told_at.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY)
    }

    /// The node is told now: for how many seconds. `None` when nobody looks any more.
    pub(super) fn told(&mut self, now: Instant) -> Option<u32> {
        let left = self.until?.checked_duration_since(now).filter(|left| !left.is_zero())?;
        self.told_at = Some(now);
        Some(left.as_secs_f64().ceil() as u32)
    }

    /// What the node read.
    pub(super) fn show(&self, detail: v1::NodeDetail, now: Instant) {
        if self.until.is_some_and(|until| now <= until + AFTERWARDS) {
            self.shown.send_replace(Some((now, Arc::new(detail))));
        }
    }

    /// What it read last, now and from now on.
    pub(super) fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// Whether nobody has looked for long.
    pub(super) fn is_left(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until + LEFT_AFTER)
    }
}

/// Of what a node sent as much as a daemon of this version sends at most.
pub(super) fn bounded(mut detail: v1::NodeDetail) -> v1::NodeDetail {
    let number = |value: f64| if value.is_finite() { value.max(0.0) } else { 0.0 };
    detail.processes.truncate(DETAIL_PROCESSES_MAX);
    detail.cost_cpu_seconds = number(detail.cost_cpu_seconds);
    for one in &mut detail.processes {
        for text in [&mut one.name, &mut one.state, &mut one.group] {
            if let Some((end, _)) = text.char_indices().nth(NAME_MAX) {
                text.truncate(end);
            }
        }
        one.memory_bytes = number(one.memory_bytes);
        one.age_seconds = number(one.age_seconds);
        for rate in [&mut one.cpu_cores, &mut one.read_bytes_per_second, &mut one.write_bytes_per_second] {
            *rate = rate.map(number);
        }
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_told_now_and_then_and_no_longer_once_nobody_looks() {
        let (mut desk, start) = (Desk::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(desk.told(at(0)), None, "nobody looks");
        assert!(desk.wanted(at(0)));
        assert_eq!(desk.told(at(1)), Some(10));
        assert!(!desk.wanted(at(1_000)) && !desk.wanted(at(2_900)), "it reads on");
        assert!(desk.wanted(at(3_100)));
        assert_eq!(desk.told(at(3_100)), Some(10));
        assert_eq!(desk.told(at(13_200)), None, "it has ended by itself");
        assert!(!desk.is_left(at(13_200)) && desk.is_left(at(80_000)));
    }

    #[test]
    fn what_comes_unasked_is_not_taken() {
        let (mut desk, start) = (Desk::default(), Instant::now());
        desk.show(v1::NodeDetail::default(), start);
        assert!(desk.shown().borrow().is_none());
        desk.wanted(start);
        desk.show(v1::NodeDetail { tick: 7, ..Default::default() }, start + Duration::from_secs(1));
        desk.show(v1::NodeDetail { tick: 8, ..Default::default() }, start + Duration::from_secs(100));
        assert_eq!(desk.shown().borrow().as_ref().unwrap().1.tick, 7);
    }

    #[test]
    fn what_a_node_sends_is_bounded() {
        let one = v1::ProcessDetail {
            name: "ä".repeat(10_000),
            cpu_cores: Some(f64::NAN),
            memory_bytes: f64::INFINITY,
            age_seconds: -1.0,
            ..Default::default()
        };
        let detail = bounded(v1::NodeDetail { processes: vec![one; 9_000], ..Default::default() });
        assert_eq!(detail.processes.len(), DETAIL_PROCESSES_MAX);
        let one = &detail.processes[0];
        assert_eq!((one.name.chars().count(), one.cpu_cores, one.memory_bytes), (NAME_MAX, Some(0.0), 0.0));
        assert!(one.age_seconds == 0.0);
    }
}
