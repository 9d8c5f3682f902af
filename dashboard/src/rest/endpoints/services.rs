//! `/api/v1/services`: requests, errors and latency by service and route.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use starling_proto::v1;

use super::{
    Completeness,
    numbers::{self, numbers},
};
use crate::{
    error::ApiError,
    hub::UnixMillis,
    rest::{number::Number, parameters::Parameters, time::rfc3339},
};

/// What may stand behind the `?`.
pub(crate) const PARAMETERS: [&str; 5] = ["group", "service", "window", "services", "routes"];

/// What is asked for; its bounds are those that the aggregator has.
pub(crate) fn asked(query: &Parameters) -> Result<v1::ListServicesRequest, ApiError> {
    query.only(&PARAMETERS)?;
    Ok(v1::ListServicesRequest {
        group: query.get("group").unwrap_or_default().to_owned(),
        service: query.get("service").unwrap_or_default().to_owned(),
        to_tick: 0,
        window_seconds: query.whole("window", 1..=900)?,
        services_max: query.whole("services", 1..=200)?,
        routes_max: query.whole("routes", 1..=500)?,
    })
}

/// The busiest services with their busiest routes; what is not listed is in a `rest`, `null` when all are.
pub(crate) fn services(list: &v1::ServiceList, now: UnixMillis) -> Value {
    let service = |is: &v1::ServiceTraffic| {
        let mut shown = together(is.all.as_ref());
        shown.insert("service".into(), is.service.as_str().into());
        let route = |is: &v1::RouteTraffic| {
            let mut shown = together(Some(is));
            shown.insert("route".into(), is.route.as_str().into());
            shown
        };
        shown.insert("routes".into(), is.routes.iter().map(route).collect());
        shown.insert("routesLeftOut".into(), is.routes_left_out().into());
        shown.insert("rest".into(), rest(is.rest.as_ref()));
        shown
    };
    json!({
        "from": rfc3339(list.from_tick),
        "to": rfc3339(list.to_tick),
        "seconds": list.seconds(),
        "all": together(list.all.as_ref()),
        "services": list.services.iter().map(service).collect::<Vec<_>>(),
        "servicesLeftOut": list.services_left_out(),
        "rest": rest(list.rest.as_ref()),
        "answeredBy": list.answered_by,
        "completeness": Completeness::of(list.completeness.as_ref(), list.to_tick, now),
    })
}

fn rest(of: Option<&v1::RouteTraffic>) -> Value {
    of.map_or(Value::Null, |is| together(Some(is)).into())
}

fn together(of: Option<&v1::RouteTraffic>) -> Map<String, Value> {
    let mut shown = numbers(of, numbers::ROUTE);
    let latency = of.and_then(|is| is.latency.as_ref());
    shown.insert("latency".into(), latency.map_or(Value::Null, |is| numbers(Some(is), numbers::LATENCY).into()));
    let by_status = of.map(|is| &is.requests_per_second_by_status).into_iter().flatten();
    let by_status: BTreeMap<_, _> = by_status.map(|(status, is)| (status.clone(), Number(*is))).collect();
    shown.insert("requestsPerSecondByStatus".into(), json!(by_status));
    shown
}
