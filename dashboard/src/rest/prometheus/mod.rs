//! Prometheus's query API over Starling's series, under `/prometheus/api/v1`: what Grafana asks of a data source.
//!
//! Every answer is JSON of Prometheus's form, errors too: `{"status":"error","errorType","error"}`. What is not offered is
//! 404 in that form. Parameters come behind the `?` or, with POST, as a form.

mod alerting;
mod answer;
mod form;

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde_json::{Map, Value, json};
use starling_proto::v1;
use tokio::time::timeout;
use tonic::{Code, Status};

use self::form::Form;
use super::{Handles, moment, readers::Readers};
use crate::shared::now;

/// How long an answer may take.
const ANSWER_WAIT: std::time::Duration = std::time::Duration::from_secs(30);
/// The version of Prometheus whose answers these are like.
const LIKE_VERSION: &str = "3.5.0";

/// What went wrong, in Prometheus's words.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl Refused {
    fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "bad_data", text: text.into() }
    }

    fn parameter(name: &str, text: &str) -> Self {
        Self::bad(format!("invalid parameter {name:?}: {text}"))
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let (code, kind) = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => (StatusCode::BAD_REQUEST, "bad_data"),
            Code::FailedPrecondition | Code::ResourceExhausted => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            Code::DeadlineExceeded => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let text = status.message();
        let text = text.strip_prefix("bad_data: ").or(text.strip_prefix("execution: ")).unwrap_or(text);
        Self { status: code, kind, text: text.to_owned() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({ "status": "error", "errorType": self.kind, "error": self.text });
        (self.status, Json(body)).into_response()
    }
}

type Outcome = Result<Json<Value>, Refused>;

/// The paths of this API.
pub(super) fn router() -> Router<Handles> {
    let path = |name: &str| format!("/prometheus/api/v1/{name}");
    Router::new()
        .route(&path("query"), get(query).post(query))
        .route(&path("query_range"), get(query_range).post(query_range))
        .route(&path("query_exemplars"), get(exemplars).post(exemplars))
        .route(&path("format_query"), get(format_query).post(format_query))
        .route(&path("labels"), get(labels).post(labels))
        .route(&path("label/{name}/values"), get(label_values))
        .route(&path("series"), get(series).post(series))
        .route(&path("metadata"), get(metadata))
        .route(&path("rules"), get(alerting::rules))
        .route(&path("alerts"), get(alerting::alerts))
        .route(&path("status/buildinfo"), get(build_information))
        .route("/prometheus", any(not_offered))
        .route("/prometheus/{*rest}", any(not_offered))
        .method_not_allowed_fallback(not_offered)
}

async fn not_offered() -> Refused {
    let text = "this call is not offered; there are query, query_range, query_exemplars, format_query, labels, \
                label/NAME/values, series, metadata, rules, alerts and status/buildinfo under /prometheus/api/v1";
    Refused { status: StatusCode::NOT_FOUND, kind: "not_found", text: text.to_owned() }
}

async fn build_information() -> Json<Value> {
    // Grafana reads the version to know what it may ask; "features" would make it take this for another product.
    json_of(
        &json!({ "version": LIKE_VERSION, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "" }),
    )
}

fn json_of(data: &Value) -> Json<Value> {
    Json(json!({ "status": "success", "data": data }))
}

/// A moment in milliseconds. Empty is `usual`.
fn moment_of(form: &Form, name: &str, usual: i64) -> Result<i64, Refused> {
    match form.get(name) {
        None => Ok(usual),
        Some(text) => {
            let ms = moment::moment(text, now()).map_err(|why| Refused::parameter(name, &why))?;
            i64::try_from(ms).map_err(|_| Refused::parameter(name, "it is too far in the future"))
        }
    }
}

fn query_text(form: &Form) -> Result<String, Refused> {
    form.get("query")
        .map(str::to_owned)
        .ok_or_else(|| Refused::parameter("query", "unknown position: no expression found in input"))
}

async fn query(State(readers): State<Readers>, form: Form) -> Outcome {
    let form = form.checked()?;
    let at = moment_of(&form, "time", present())?;
    let request = v1::QueryPromqlRequest { query: query_text(&form)?, start_ms: at, end_ms: at, ..lookback(&form)? };
    let answer = ask(&readers, request).await?;
    Ok(answer::written(&answer, form.limit()?))
}

async fn query_range(State(readers): State<Readers>, form: Form) -> Outcome {
    let form = form.checked()?;
    let needed = |name: &str| form.get(name).map(drop).ok_or_else(|| Refused::parameter(name, "it is missing"));
    needed("start")?;
    needed("end")?;
    needed("step")?;
    let (start_ms, end_ms) = (moment_of(&form, "start", 0)?, moment_of(&form, "end", 0)?);
    if end_ms < start_ms {
        return Err(Refused::parameter("end", "end timestamp must not be before start time"));
    }
    let step = moment::length(form.get("step").unwrap_or_default()).map_err(|why| {
        Refused::parameter("step", &format!("zero or negative query resolution step widths are not accepted. {why}"))
    })?;
    let step_ms = i64::try_from(step).map_err(|_| Refused::parameter("step", "it is too long"))?;
    let request = v1::QueryPromqlRequest { query: query_text(&form)?, start_ms, end_ms, step_ms, ..lookback(&form)? };
    let answer = ask(&readers, request).await?;
    Ok(answer::written(&answer, form.limit()?))
}

/// A request with the look-back that is asked for.
fn lookback(form: &Form) -> Result<v1::QueryPromqlRequest, Refused> {
    let lookback_ms = match form.get("lookback_delta") {
        None => 0,
        Some(text) => moment::length(text).map_err(|why| Refused::parameter("lookback_delta", &why))?,
    };
    Ok(v1::QueryPromqlRequest { lookback_ms: i64::try_from(lookback_ms).unwrap_or(i64::MAX), ..Default::default() })
}

fn present() -> i64 {
    i64::try_from(now()).unwrap_or(i64::MAX)
}

/// Starling keeps no exemplars: the query is checked, and there are none.
async fn exemplars(State(readers): State<Readers>, form: Form) -> Outcome {
    let form = form.checked()?;
    let (start, end) = (moment_of(&form, "start", 0)?, moment_of(&form, "end", i64::MAX)?);
    if end < start {
        return Err(Refused::parameter("end", "end timestamp must not be before start time"));
    }
    checked(&readers, query_text(&form)?).await?;
    Ok(json_of(&json!([])))
}

async fn format_query(State(readers): State<Readers>, form: Form) -> Outcome {
    let form = form.checked()?;
    Ok(json_of(&json!(checked(&readers, query_text(&form)?).await?)))
}

/// The query in its usual spelling.
async fn checked(readers: &Readers, query: String) -> Result<String, Refused> {
    let request = v1::QueryPromqlRequest { query, check_only: true, ..Default::default() };
    Ok(ask(readers, request).await?.text)
}

async fn ask(readers: &Readers, request: v1::QueryPromqlRequest) -> Result<v1::PromqlAnswer, Refused> {
    let (_place, mut client) = readers.aggregator().await.map_err(|error| unreached(&error))?;
    let mut request = tonic::Request::new(request);
    request.set_timeout(ANSWER_WAIT);
    match timeout(ANSWER_WAIT, client.query_promql(request)).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("the aggregator did not answer in time").into()),
    }
}

fn unreached(error: &crate::error::ApiError) -> Refused {
    Status::unavailable(error.message()).into()
}

async fn listed(readers: &Readers, form: &Form, limited: bool) -> Result<v1::PromqlSeriesList, Refused> {
    let (start_ms, end_ms) = (moment_of(form, "start", 0)?, moment_of(form, "end", 0)?);
    if end_ms != 0 && end_ms < start_ms {
        return Err(Refused::parameter("end", "end timestamp must not be before start time"));
    }
    let limit = if limited { form.limit()?.map_or(0, |limit| u32::try_from(limit).unwrap_or(u32::MAX)) } else { 0 };
    let request = v1::ListPromqlSeriesRequest { selectors: form.all("match[]"), start_ms, end_ms, limit };
    let (_place, mut client) = readers.aggregator().await.map_err(|error| unreached(&error))?;
    let mut request = tonic::Request::new(request);
    request.set_timeout(ANSWER_WAIT);
    match timeout(ANSWER_WAIT, client.list_promql_series(request)).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("the aggregator did not answer in time").into()),
    }
}

/// Names or values, sorted, at most as many as asked for, with what is to be said of them.
fn texts(list: &v1::PromqlSeriesList, texts: BTreeSet<&str>, limit: Option<usize>) -> Json<Value> {
    let most = limit.unwrap_or(usize::MAX);
    let cut = list.cut || texts.len() > most;
    noted(&json!(texts.into_iter().take(most).collect::<Vec<_>>()), list, cut)
}

fn noted(data: &Value, list: &v1::PromqlSeriesList, cut: bool) -> Json<Value> {
    let mut warnings = list.warnings.clone();
    if cut {
        warnings.push("results truncated due to limit".to_owned());
    }
    let mut body = json!({ "status": "success", "data": data });
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    Json(body)
}

async fn labels(State(readers): State<Readers>, form: Form) -> Outcome {
    let form = form.checked()?;
    let list = listed(&readers, &form, false).await?;
    let names = list.series.iter().flat_map(|series| series.labels.keys()).map(String::as_str).collect();
    Ok(texts(&list, names, form.limit()?))
}

async fn label_values(State(readers): State<Readers>, Path(name): Path<String>, form: Form) -> Outcome {
    let form = form.checked()?;
    let list = listed(&readers, &form, false).await?;
    let values = list.series.iter().filter_map(|series| series.labels.get(&name)).map(String::as_str).collect();
    Ok(texts(&list, values, form.limit()?))
}

async fn series(State(readers): State<Readers>, form: Form) -> Outcome {
    let form = form.checked()?;
    if form.all("match[]").is_empty() {
        return Err(Refused::bad("no match[] parameter provided"));
    }
    let list = listed(&readers, &form, true).await?;
    let data = list.series.iter().map(|series| answer::labels(&series.labels)).collect();
    Ok(noted(&Value::Array(data), &list, list.cut))
}

async fn metadata(State(readers): State<Readers>, form: Form) -> Outcome {
    let form = form.checked()?;
    let list = listed(&readers, &Form::default(), false).await?;
    let mut metrics: BTreeMap<&str, Value> = BTreeMap::new();
    for series in &list.series {
        let Some(name) = series.labels.get("__name__") else { continue };
        if form.get("metric").is_none_or(|wanted| wanted == name) {
            let about = json!([{ "type": series.kind, "help": series.help, "unit": series.unit }]);
            metrics.insert(name, about);
        }
    }
    let most = form.limit()?.unwrap_or(usize::MAX);
    let data: Map<String, Value> =
        metrics.into_iter().take(most).map(|(name, about)| (name.to_owned(), about)).collect();
    Ok(noted(&Value::Object(data), &list, false))
}
