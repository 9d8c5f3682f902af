//! `ListServices`: requests, errors and latency by service and route over some seconds. Pure.
//!
//! Each second brings the cells of two metrics. Histograms are only held, by pointer, until it is known which rows are
//! shown; then each row is merged once, and what is not shown is merged into its rest.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use prost::bytes::Bytes;
use starling_ledger::rollup::{Cell, Sum};
use starling_proto::{catalogue, histogram::Histogram, limits::LIVE_WINDOW, series::Series, v1};
use tonic::Status;

use crate::reading::latency::{MINUTE, latency, merged};

/// Services of an answer at most, and how many usually.
const SERVICES_MAX: u32 = 200;
const USUAL_SERVICES: u32 = 50;
/// Routes of one service at most, and how many usually.
const ROUTES_MAX: u32 = 500;
const USUAL_ROUTES: u32 = 10;
/// Routes of an answer, of all services: about 1 MB. Those of the busiest services come first.
const ROUTES_OF_ALL_MAX: usize = 2_000;

/// A request, checked.
#[derive(Debug)]
pub(super) struct Asked {
    /// Empty for all.
    service: String,
    /// First second.
    pub(super) from: u32,
    /// Last second.
    pub(super) to: u32,
    services_max: usize,
    routes_max: usize,
}

impl Asked {
    /// Checks what a request says; `to` is its last second, `oldest` the first that is kept.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the field, what it is and what is wanted.
    pub(super) fn parse(request: v1::ListServicesRequest, oldest: u32, to: u32) -> Result<Self, Status> {
        let number = |field: &str, given: u32, usual: u32, most: u32| match given {
            0 => Ok(usual),
            given if given <= most => Ok(given),
            given => Err(Status::invalid_argument(format!("{field}: {given} is given, 1 to {most} are taken"))),
        };
        let window = number("window_seconds", request.window_seconds, MINUTE, LIVE_WINDOW)?;
        Ok(Self {
            from: to.saturating_sub(window - 1).max(oldest),
            to,
            services_max: number("services_max", request.services_max, USUAL_SERVICES, SERVICES_MAX)? as usize,
            routes_max: number("routes_max", request.routes_max, USUAL_ROUTES, ROUTES_MAX)? as usize,
            service: request.service,
        })
    }
}

/// Whether an answer is made of this series.
pub(super) fn is_needed(series: &Series) -> bool {
    series.is(&catalogue::SERVICE_REQUESTS) || series.is(&catalogue::SERVICE_DURATION)
}

/// Whether requests of a class of status failed: by what the derived count of them leaves out.
pub(super) fn is_failed(status: &str) -> bool {
    let whole = catalogue::SERVICE_ERRORS.derivation.map(|is| is.operands()).unwrap_or_default();
    !whole.iter().flat_map(|of| of.without).any(|(_, fine)| *fine == status)
}

/// What one route, or several, served in all seconds.
#[derive(Debug, Default, Clone)]
struct Served {
    /// By class of status.
    requests: BTreeMap<Box<str>, u128>,
    durations: Vec<Arc<Histogram>>,
    nodes: u32,
}

impl Served {
    fn total(&self) -> u128 {
        self.requests.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    fn add(&mut self, other: &Self) {
        for (status, n) in &other.requests {
            let held = self.requests.entry(status.clone()).or_default();
            *held = held.saturating_add(*n);
        }
        self.durations.extend(other.durations.iter().cloned());
        self.nodes = self.nodes.max(other.nodes);
    }

    fn of<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        all.into_iter().for_each(|one| sum.add(one));
        sum
    }

    fn answer(&self, route: &str, seconds: u32) -> v1::RouteTraffic {
        let per_second = |n: u128| n as f64 / f64::from(seconds.max(1));
        let requests = self.total();
        let errors = self.requests.iter().filter(|(status, _)| is_failed(status)).map(|(_, n)| n);
        let errors = errors.fold(0u128, |sum, n| sum.saturating_add(*n));
        let by_status = self.requests.iter().filter(|(_, n)| **n > 0);
        v1::RouteTraffic {
            route: route.to_owned(),
            requests_per_second: Some(per_second(requests)),
            errors_per_second: Some(per_second(errors)),
            error_ratio: (requests > 0).then(|| errors as f64 / requests as f64),
            requests_per_second_by_status: by_status.map(|(status, n)| (status.to_string(), per_second(*n))).collect(),
            latency: latency(&merged(self.durations.iter().map(|one| &**one)))
                .map(|latency| v1::Latency { histogram: Bytes::new(), ..latency }),
            nodes: Some(self.nodes),
        }
    }
}

/// Seconds becoming an answer.
#[derive(Debug)]
pub(super) struct Fold<'a> {
    asked: &'a Asked,
    seconds: u32,
    /// By service and route.
    services: HashMap<Box<str>, HashMap<Box<str>, Served>>,
}

impl<'a> Fold<'a> {
    pub(super) fn new(asked: &'a Asked) -> Self {
        Self { asked, seconds: 0, services: HashMap::new() }
    }

    /// Takes in a second that holds data: its cells that [are needed](is_needed).
    pub(super) fn take(&mut self, cells: &[(Series, Cell)]) {
        self.seconds += 1;
        for (series, cell) in cells {
            let of = |key| series.attribute(key).unwrap_or_default();
            let service = of("service");
            if !self.asked.service.is_empty() && self.asked.service != service {
                continue;
            }
            let served = self.services.entry(service.into()).or_default().entry(of("route").into()).or_default();
            match &cell.sum {
                Sum::Counter(n) => {
                    let held = served.requests.entry(of("status").into()).or_default();
                    *held = held.saturating_add(*n);
                    served.nodes = served.nodes.max(cell.frames);
                }
                Sum::Histogram(durations) if !durations.is_empty() => served.durations.push(Arc::clone(durations)),
                Sum::Histogram(_) | Sum::Gauge(_) => {}
            }
        }
    }

    /// The answer, once every second was taken.
    pub(super) fn finish(self) -> v1::ServiceList {
        let Self { asked, seconds, services } = self;
        let services = services.into_iter().map(|(name, routes)| (name, Served::of(routes.values()), routes));
        let mut services: Vec<_> = services.collect();
        services.sort_by(|a, b| (Reverse(a.1.total()), &a.0).cmp(&(Reverse(b.1.total()), &b.0)));
        let all = Served::of(services.iter().map(|(_, all, _)| all)).answer("", seconds);
        let unlisted = services.split_off(services.len().min(asked.services_max));
        let mut room = ROUTES_OF_ALL_MAX;
        let listed = services.into_iter().map(|(name, all, routes)| {
            let mut routes: Vec<_> = routes.into_iter().collect();
            routes.sort_by(|a, b| (Reverse(a.1.total()), &a.0).cmp(&(Reverse(b.1.total()), &b.0)));
            let rest = routes.split_off(routes.len().min(asked.routes_max).min(room));
            room -= routes.len();
            v1::ServiceTraffic {
                service: name.to_string(),
                all: Some(all.answer("", seconds)),
                routes: routes.iter().map(|(route, served)| served.answer(route, seconds)).collect(),
                routes_left_out: Some(rest.len() as u32),
                rest: rest_of(rest.iter().map(|(_, served)| served), seconds),
            }
        });
        v1::ServiceList {
            from_tick: asked.from,
            to_tick: asked.to,
            seconds: Some(seconds),
            all: Some(all),
            services: listed.collect(),
            services_left_out: Some(unlisted.len() as u32),
            rest: rest_of(unlisted.iter().map(|(_, all, _)| all), seconds),
            ..v1::ServiceList::default()
        }
    }
}

fn rest_of<'a>(unlisted: impl ExactSizeIterator<Item = &'a Served>, seconds: u32) -> Option<v1::RouteTraffic> {
    (unlisted.len() > 0).then(|| Served::of(unlisted).answer("", seconds))
}

#[cfg(test)]
mod tests {
    use starling_ledger::rollup::Cell;

    use super::*;

    fn cell(sum: Sum, frames: u32) -> Cell {
        Cell { frames, sum }
    }

    fn requests(service: &str, route: &str, status: &str, n: u128, nodes: u32) -> (Series, Cell) {
        let attributes = [("route", route), ("service", service), ("status", status)];
        (Series::of(&catalogue::SERVICE_REQUESTS, &attributes), cell(Sum::Counter(n), nodes))
    }

    fn durations(service: &str, route: &str, micros: u64, n: u64) -> (Series, Cell) {
        let series = Series::of(&catalogue::SERVICE_DURATION, &[("route", route), ("service", service)]);
        (series, cell(Sum::Histogram(Arc::new(Histogram::of(micros * 1_000, n))), 1))
    }

    fn asked(change: impl FnOnce(&mut v1::ListServicesRequest)) -> Asked {
        let mut request = v1::ListServicesRequest::default();
        change(&mut request);
        Asked::parse(request, 1_000, 1_899).unwrap()
    }

    fn second() -> Vec<(Series, Cell)> {
        vec![
            requests("shop", "/cart", "2xx", 90, 3),
            requests("shop", "/cart", "5xx", 10, 1),
            requests("shop", "/", "2xx", 50, 2),
            requests("mail", "", "ok", 5, 1),
            requests("mail", "", "error", 5, 1),
            durations("shop", "/cart", 1_000, 100),
            durations("shop", "/", 9_000, 50),
        ]
    }

    #[test]
    fn the_busiest_come_first_with_rates_errors_and_merged_latency() {
        let asked = asked(|_| {});
        assert_eq!((asked.from, asked.to), (1_840, 1_899));
        let mut fold = Fold::new(&asked);
        fold.take(&second());
        fold.take(&[]);
        let list = fold.finish();
        assert_eq!((list.seconds(), list.services_left_out(), list.rest.is_none()), (2, 0, true));
        let all = list.all.unwrap();
        assert_eq!((all.requests_per_second(), all.errors_per_second()), (80.0, 7.5));
        let [shop, mail] = &list.services[..] else { panic!("{:?}", list.services) };
        assert_eq!((shop.service.as_str(), mail.service.as_str()), ("shop", "mail"));
        let routes: Vec<_> =
            shop.routes.iter().map(|is| (is.route.as_str(), is.requests_per_second(), is.nodes())).collect();
        assert_eq!(routes, [("/cart", 50.0, 3), ("/", 25.0, 2)]);
        assert_eq!(
            shop.routes[0].requests_per_second_by_status,
            [("2xx".to_owned(), 45.0), ("5xx".to_owned(), 5.0)].into()
        );
        let of_shop = shop.all.as_ref().unwrap();
        let latency = of_shop.latency.as_ref().unwrap();
        assert_eq!((latency.count, latency.histogram.is_empty(), of_shop.error_ratio()), (150.0, true, 10.0 / 150.0));
        assert!(
            (latency.p50_micros - 1_000.0).abs() < 5.0 && (latency.p99_micros - 9_000.0).abs() < 40.0,
            "{latency:?}"
        );
        let of_mail = mail.all.as_ref().unwrap();
        assert_eq!((of_mail.error_ratio(), of_mail.latency.is_none()), (0.5, true), "no durations are known");
    }

    #[test]
    fn what_is_not_listed_is_in_the_rest() {
        let asked = asked(|request| (request.services_max, request.routes_max) = (1, 1));
        let mut fold = Fold::new(&asked);
        fold.take(&second());
        let list = fold.finish();
        let [shop] = &list.services[..] else { panic!("{:?}", list.services) };
        assert_eq!((list.services_left_out(), shop.routes_left_out()), (1, 1));
        assert_eq!(list.rest.unwrap().requests_per_second(), 10.0);
        let rest = shop.rest.as_ref().unwrap();
        assert_eq!((rest.requests_per_second(), rest.latency.as_ref().unwrap().count), (50.0, 50.0));
        let sum = shop.all.as_ref().unwrap().requests_per_second();
        assert_eq!(sum, shop.routes[0].requests_per_second() + rest.requests_per_second());
    }

    #[test]
    fn one_service_is_asked_for_and_nothing_is_nothing() {
        let asked = asked(|request| (request.service, request.window_seconds) = ("mail".to_owned(), 900));
        assert_eq!(asked.from, 1_000);
        let mut fold = Fold::new(&asked);
        fold.take(&second());
        let list = fold.finish();
        assert_eq!(list.services.iter().map(|is| is.service.as_str()).collect::<Vec<_>>(), ["mail"]);
        assert_eq!(list.all.unwrap().requests_per_second(), 10.0);
        let nothing = Fold::new(&asked).finish();
        assert_eq!((nothing.services.len(), nothing.seconds(), nothing.all.unwrap().error_ratio), (0, 0, None));
    }

    #[test]
    fn mistakes_are_named_with_what_is_wanted() {
        let request = v1::ListServicesRequest { window_seconds: 901, ..Default::default() };
        let refused = Asked::parse(request, 1_000, 1_899).unwrap_err();
        assert_eq!(refused.message(), "window_seconds: 901 is given, 1 to 900 are taken");
    }

    #[test]
    fn an_answer_is_bounded() {
        let asked = asked(|request| (request.services_max, request.routes_max) = (SERVICES_MAX, ROUTES_MAX));
        let mut fold = Fold::new(&asked);
        let row = |i: u32| requests(&format!("s{}", i % 300), &format!("/{i}"), "2xx", 1, 1);
        fold.take(&(0..6_000).map(row).collect::<Vec<_>>());
        let list = fold.finish();
        assert_eq!((list.services.len(), list.services_left_out()), (200, 100));
        assert_eq!(list.services.iter().map(|is| is.routes.len()).sum::<usize>(), ROUTES_OF_ALL_MAX);
        let all: f64 = list
            .services
            .iter()
            .flat_map(|is| is.routes.iter().chain(&is.rest))
            .map(|is| is.requests_per_second())
            .sum();
        assert_eq!(all + list.rest.unwrap().requests_per_second(), 6_000.0);
    }
}
