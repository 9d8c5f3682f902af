//! Services and routes: the requests of the traffic model once more, by who served them and where.
//!
//! Each request that [`traffic`](super::traffic) counts is counted here once too: in the row of its service and route, or
//! beyond the bounds in a row `_other`. So the sum over all rows is the traffic, whatever names senders make up.
//!
//! - A further route of a service is counted in the route `_other` of that service: what it serves in all stays exact.
//! - A further service is counted in the service `_other`.
//! - A row that nothing is heard of for three minutes gives its place up. A request is counted where it is put when it is
//!   counted, and nowhere else: room that appears later is for later requests.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use starling_proto::{
    catalogue,
    histogram::Histogram,
    series::{OTHER, Sample, Series, Value},
};

use super::{
    observation::{self, Attribute, Observation},
    refusal::Refusal,
    status::Status,
    traffic::PRESENT_MAX,
};

/// Hexadecimal digits from which on a part of a path names one thing: a word of the dictionary has fewer.
const IDENTIFIER_LEN: usize = 8;
/// Services with rows of their own: what one host runs, a gateway's or a collector's among them. One row for each is kept
/// free of the bound of routes, for what that service serves beyond it.
const SERVICES_MAX: usize = 64;
/// What SDKs call a service that was not named (`service.name`, semantic conventions).
const UNKNOWN: &str = "unknown_service";

/// A place in the table, as it is asked for: a series of durations names the service and the route.
pub(super) type Row = Series;

/// The services and routes of this host, within bounds.
#[derive(Debug)]
pub(super) struct Services {
    rows: HashMap<Row, Counted>,
    /// Routes with a row of their own, by service; of each service that has a row.
    routes: HashMap<Box<str>, usize>,
    /// Routes with rows of their own, of all services.
    most: usize,
    /// Requests in rows `_other` since the last call.
    in_other: u64,
}

/// What one route served since the last cut.
#[derive(Debug)]
struct Counted {
    requests: [u64; Status::ALL.len()],
    /// Their series, of the classes that occurred; and of failures, so that none is a 0 and not a gap.
    names: [Option<Series>; Status::ALL.len()],
    durations: Histogram,
    /// Its durations are known: a second without any is an empty histogram and not a gap.
    timed: bool,
    seen: Duration,
}

/// The row that an observation belongs to.
pub(super) fn row(observation: &Observation<'_>) -> Row {
    let service = observation.service.filter(|name| !name.is_empty()).unwrap_or(UNKNOWN);
    let route = route(&observation.attributes).unwrap_or_default();
    named(service, &route)
}

fn named(service: &str, route: &str) -> Row {
    Series::of(&catalogue::SERVICE_DURATION, &[("route", route), ("service", service)])
}

/// The route of a request as its server has it, such as `/users/{id}`; the path that was asked for is none. Of a call its
/// method, with the service that it is one of.
fn route<'a>(attributes: &'a [Attribute<'_>]) -> Option<Cow<'a, str>> {
    let text =
        |keys: &[&str]| keys.iter().find_map(|key| observation::text(attributes, key)).filter(|text| !text.is_empty());
    if let Some(method) = text(&["rpc.method", "rpc_method", "grpc_method"]) {
        return Some(match text(&["rpc.service", "rpc_service", "grpc_service"]) {
            // Since semantic conventions 1.38 the method names the service too.
            Some(service) if !method.contains('/') => format!("{service}/{method}").into(),
            _ => method,
        });
    }
    // Micrometer, which sends an outcome with every request, has templates where others have paths.
    let templates = || observation::text(attributes, "outcome").and_then(|_| text(&["uri"]));
    // By the conventions before 1.20 the agents of Python put the template there, in metrics only.
    let targets = || text(&["http.target"]).filter(|target| is_template(target));
    text(&["http.route", "http_route", "route", "handler"]).or_else(templates).or_else(targets)
}

/// Whether a target may be a template: one with a query, or with a part that looks like the name of one thing, was asked for
/// as it is.
fn is_template(target: &str) -> bool {
    let is_of_one = |part: &str| {
        let hexadecimal =
            part.len() >= IDENTIFIER_LEN && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        hexadecimal || (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    target.starts_with('/') && !target.contains(['?', '#', '%']) && !target.split('/').any(is_of_one)
}

fn service_of(row: &Row) -> &str {
    row.attribute("service").unwrap_or(OTHER)
}

fn is_rest(row: &Row) -> bool {
    row.attribute("route") == Some(OTHER)
}

impl Services {
    /// With at most `most` routes that have rows of their own; half of them are for one service alone.
    pub(super) fn new(most: usize) -> Self {
        Self { rows: HashMap::new(), routes: HashMap::new(), most, in_other: 0 }
    }

    /// Rows that are present.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Requests counted in `_other` since the last call.
    pub(super) fn take_in_other(&mut self) -> u64 {
        std::mem::take(&mut self.in_other)
    }

    /// Makes room for `row`, or finds it there. Returns the row that its requests are counted in.
    pub(super) fn admit(&mut self, row: Row, status: Status, now: Duration) -> Row {
        let row = self.place(row);
        self.counted(&row, status, now);
        row
    }

    /// Counts requests without their durations.
    pub(super) fn count(&mut self, row: Row, status: Status, requests: u64, now: Duration) {
        let row = self.place(row);
        let counted = self.counted(&row, status, now);
        let held = &mut counted.requests[status as usize];
        *held = held.saturating_add(requests);
    }

    /// Counts as many requests as there are `durations`, once `elsewhere` has counted them.
    ///
    /// # Errors
    /// [`Refusal`], also of `elsewhere`: nothing is counted here then.
    pub(super) fn record(
        &mut self,
        row: Row,
        status: Status,
        durations: &Histogram,
        now: Duration,
        elsewhere: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let row = self.place(row);
        let counted = self.counted(&row, status, now);
        let sum = counted.durations.plus(durations).map_err(|_| Refusal::OutOfRange("the count"))?;
        elsewhere()?;
        (counted.durations, counted.timed) = (sum, true);
        let held = &mut counted.requests[status as usize];
        *held = held.saturating_add(durations.count());
        Ok(())
    }

    /// Where the requests of `row` are counted.
    fn place(&self, row: Row) -> Row {
        if self.rows.contains_key(&row) || self.fits(&row) {
            return row;
        }
        let rest_of_service = named(service_of(&row), OTHER);
        if self.fits(&rest_of_service) { rest_of_service } else { named(OTHER, OTHER) }
    }

    /// Whether there is room for a row that is not there.
    fn fits(&self, row: &Row) -> bool {
        let service = service_of(row);
        // The rest of all; a service that calls itself like it is part of it.
        if service == OTHER {
            return is_rest(row);
        }
        let of_service = self.routes.get(service);
        if of_service.is_none() && self.routes.keys().filter(|name| &***name != OTHER).count() >= SERVICES_MAX {
            return false;
        }
        let named: usize = self.routes.values().sum();
        is_rest(row) || (named < self.most && of_service.is_none_or(|&routes| routes < self.most.div_ceil(2)))
    }

    /// The counts of a row that was placed.
    fn counted(&mut self, row: &Row, status: Status, now: Duration) -> &mut Counted {
        let Self { rows, routes, .. } = self;
        let counted = rows.entry(row.clone()).or_insert_with(|| {
            *routes.entry(service_of(row).into()).or_default() += usize::from(!is_rest(row));
            Counted {
                requests: [0; _],
                names: Default::default(),
                durations: Histogram::empty(),
                timed: false,
                seen: now,
            }
        });
        counted.seen = now;
        for status in [status, status.failure()] {
            counted.names[status as usize].get_or_insert_with(|| {
                let of = |key| row.attribute(key).unwrap_or_default();
                let attributes = [("route", of("route")), ("service", of("service")), ("status", status.name())];
                Series::of(&catalogue::SERVICE_REQUESTS, &attributes)
            });
        }
        counted
    }

    /// Takes out what was counted since the last cut.
    pub(super) fn cut(&mut self, now: Duration, samples: &mut Vec<Sample>) {
        self.sweep(now);
        for (row, counted) in &mut self.rows {
            for (requests, series) in counted.requests.iter_mut().zip(&counted.names) {
                let Some(series) = series else { continue };
                let requests = std::mem::take(requests);
                if is_rest(row) {
                    self.in_other = self.in_other.saturating_add(requests);
                }
                samples.push(Sample { series: series.clone(), value: Value::Counter(requests) });
            }
            if counted.timed {
                let durations = Arc::new(std::mem::take(&mut counted.durations));
                samples.push(Sample { series: row.clone(), value: Value::Histogram(durations) });
            }
        }
    }

    /// Forgets rows that nothing was heard of for long.
    fn sweep(&mut self, now: Duration) {
        let Self { rows, routes, .. } = self;
        let before = rows.len();
        rows.retain(|_, counted| {
            let holds = counted.requests.iter().any(|requests| *requests > 0);
            holds || now.saturating_sub(counted.seen) <= PRESENT_MAX
        });
        if rows.len() < before {
            routes.clear();
            for row in rows.keys() {
                *routes.entry(service_of(row).into()).or_default() += usize::from(!is_rest(row));
            }
        }
    }
}

#[cfg(test)]
mod tests;
