//! TCP sockets by state, idle ones, and the health of the established ones, from [`SockDiag`].
//!
//! A table of more than 2,048 sockets is read over several ticks; until the next pass is through, the numbers of the
//! last are repeated, at most for a minute.

use std::time::Duration;

use starling_proto::{catalogue, series::Series};

use super::{
    CollectError, Collected, Collector,
    sink::Sink,
    sock_diag::{ESTABLISHED, STATES, SockDiag, Tally},
};

/// The collector.
pub(super) struct Sockets {
    diag: SockDiag,
    last: Option<Tally>,
    states: Vec<(usize, Series)>,
    idle: Series,
    healthy: Series,
    warning: Series,
}

impl Sockets {
    pub(super) fn new() -> Self {
        Self {
            diag: SockDiag::new(),
            last: None,
            states: STATES
                .iter()
                .enumerate()
                .filter_map(|(number, name)| {
                    let name = (*name)?;
                    Some((number, Series::of(&catalogue::TCP_CONNECTIONS, &[("network.connection.state", name)])))
                })
                .collect(),
            idle: Series::of(&catalogue::TCP_IDLE, &[]),
            healthy: Series::of(&catalogue::TCP_HEALTH, &[("health", "healthy")]),
            warning: Series::of(&catalogue::TCP_HEALTH, &[("health", "warning")]),
        }
    }
}

impl Collector for Sockets {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        match self.diag.read() {
            Ok(Some(tally)) => self.last = Some(tally),
            Ok(None) => {}
            Err(error) => {
                self.last = None;
                return if error.is_absent() { Ok(Collected::Absent) } else { Err(error.into()) };
            }
        }
        let Some(tally) = &self.last else { return Ok(Collected::Absent) };
        for (number, series) in &self.states {
            sink.gauge(series, tally.states[*number]);
        }
        sink.gauge(&self.idle, tally.idle);
        sink.gauge(&self.warning, tally.warning);
        sink.gauge(&self.healthy, tally.states[ESTABLISHED].saturating_sub(tally.warning));
        Ok(Collected::Present)
    }
}
