//! Alerts over HTTP: what is open, of the hub; what it takes to look after it, silences, rules and episodes, of the
//! aggregator.
//!
//! What changes something takes a JSON body, and says who did it: whoever is signed in, or whose token it is; without a log-in the
//! name is what the person gave.

mod body;
mod shape;

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Query, State},
    routing::{delete, get, post},
};
use serde_json::{Value, json};
use starling_proto::v1;
use starling_service::grpc::alerts_client::AlertsClient;
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};

use super::{
    Answer, Changed, Other, answered,
    moment::{moment, second},
    number::wide,
    parameters::{Parameters, SCOPE},
    readers::Readers,
    time::rfc3339,
};
use crate::{
    access::Caller,
    error::{ApiError, GrpcRefusal},
    feed::without_alerts,
    hub::alert_state,
    shared::now,
};
use body::Body;

pub(super) use shape::{STATES, performance, severity, standing, state};

/// How long an aggregator may take: it may have to write, and to ask another one.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Parameter that picks where alerts stand.
const STATE: &str = "state";
/// Parameters of episodes.
const EPISODES: [&str; 6] = ["rule", "subject", "from", "to", "limit", "page"];
/// Most episodes of an answer.
const LIMIT_MAX: u32 = 10_000;
/// Who did it, behind the `?` of a DELETE.
const WHO: &str = "who";

/// What is read.
pub(super) fn others() -> Vec<Other> {
    let other = |path, about, parameters: Vec<&'static str>, answer| Other { path, about, parameters, answer };
    let of_scope = || [&SCOPE[..], &[STATE]].concat();
    vec![
        other(
            "/api/v1/alerts/performance",
            "what is open, worst first: a list",
            of_scope(),
            get(async |readers, query| listed(readers, query, true).await),
        ),
        other(
            "/api/v1/alerts",
            "what is open, worst first, with all that is known of each, and as of when",
            of_scope(),
            get(async |readers, query| listed(readers, query, false).await),
        ),
        other(
            "/api/v1/alerts/dead-letters",
            "messages that a receiver did not take, newest first",
            LETTERS.to_vec(),
            get(letters),
        ),
        other("/api/v1/alerts/{id}", "one alert, open or over, by the id of its episode", Vec::new(), get(one)),
        other(
            "/api/v1/silences",
            "silences in force, to come, and those that ended within a day",
            Vec::new(),
            get(silences).post(silence),
        ),
        other(
            "/api/v1/rules",
            "the rules in force, and what is wrong with files that were refused",
            Vec::new(),
            get(rules),
        ),
        other("/api/v1/episodes", "alerts that are over and open ones, newest first", EPISODES.to_vec(), get(episodes)),
    ]
}

/// What changes something. One that has the path of what is read stands in [`others`] with it.
pub(super) fn changes() -> Vec<Changed> {
    let changed = |method, path, about, body: &'static [&'static str], answer| {
        let parameters: &[&str] = if method == "DELETE" { &[WHO] } else { &[] };
        Changed { method, path, about, parameters, body, answer }
    };
    vec![
        changed(
            "POST",
            "/api/v1/alerts/{id}/ack",
            "somebody looks after it: it is quiet while it is open, or for forSeconds",
            &ACKNOWLEDGE,
            Some(post(acknowledge).delete(unacknowledge)),
        ),
        changed("DELETE", "/api/v1/alerts/{id}/ack", "nobody does any more; ?who= says who says so", &[], None),
        changed(
            "POST",
            "/api/v1/alerts/dead-letters/resend",
            "sends dead letters of a notifier again: all of them, or the one of an id at an aggregator",
            &RESEND,
            Some(post(resend)),
        ),
        changed(
            "POST",
            "/api/v1/silences",
            "makes what matches quiet for forSeconds; with preview it only says what that would be",
            &SILENCE,
            None,
        ),
        changed(
            "DELETE",
            "/api/v1/silences/{id}",
            "ends a silence now; ?who= says who does",
            &[],
            Some(delete(unsilence)),
        ),
    ]
}

/// Asks an aggregator about alerts.
pub(super) async fn ask<T>(
    readers: &Readers,
    call: impl AsyncFnOnce(AlertsClient<Channel>) -> Result<tonic::Response<T>, Status>,
) -> Result<T, ApiError> {
    let (_place, client) = readers.alerts().await?;
    let outcome = timeout(ANSWER_WAIT, call(client)).await;
    match &outcome {
        Ok(Err(status)) if status.code() == Code::Unimplemented => Err(ApiError::unavailable(without_alerts(status))),
        // What was asked is right, and cannot be done as things are.
        Ok(Err(status)) if matches!(status.code(), Code::FailedPrecondition | Code::AlreadyExists) => {
            Err(ApiError::conflict(GrpcRefusal::of(status.message()).message))
        }
        _ => answered(outcome),
    }
}

async fn listed(State(readers): State<Readers>, Query(query): Query<Parameters>, short: bool) -> Answer {
    query.only(&[&SCOPE[..], &[STATE]].concat())?;
    let source = query.source()?;
    let wanted = match query.get(STATE) {
        None => None,
        Some(known) if STATES.contains(&known) => Some(known),
        Some(other) => {
            let known = STATES.join(", ");
            return Err(ApiError::invalid(
                STATE,
                format!("{other:?} is not known; known: {known}; all that is open without it"),
            ));
        }
    };
    let of = readers.wait(|hub| Ok(Some(hub.alerts(&source)))).await?;
    let picked = of.list.iter().filter(|alert| match wanted {
        None => alert_state(alert) == v1::AlertState::Firing,
        Some(wanted) => state(alert) == wanted,
    });
    if short {
        return Ok(Json(picked.map(|alert| performance(alert)).collect()));
    }
    let mut answer = standing(&of);
    answer.insert("timestamp".to_owned(), json!(rfc3339(of.judged_tick)));
    answer.insert("alerts".to_owned(), picked.map(|alert| shape::alert(alert)).collect());
    Ok(Json(Value::Object(answer)))
}

async fn one(State(readers): State<Readers>, Path(id): Path<String>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    let request = v1::GetAlertRequest { episode_id: id };
    let alert = ask(&readers, async |mut client| client.get(request).await).await?;
    Ok(Json(shape::alert(&alert)))
}

/// Fields of an acknowledgement.
const ACKNOWLEDGE: [&str; 3] = ["who", "comment", "forSeconds"];

/// Who does something, of a body: whoever is known does it, whatever the body says.
fn author(caller: &Caller, body: &mut Body, why: &str) -> Result<String, ApiError> {
    match caller.name() {
        Some(name) => body.text(WHO).map(|_| name.to_owned()),
        None => body.needed(WHO, why),
    }
}

async fn acknowledge(State(readers): State<Readers>, caller: Caller, Path(id): Path<String>, mut body: Body) -> Answer {
    let request = v1::AcknowledgeRequest {
        episode_id: id,
        author: author(&caller, &mut body, "say who looks after it")?,
        comment: body.text("comment")?,
        for_seconds: body.seconds("forSeconds")?,
    };
    body.end(&ACKNOWLEDGE)?;
    let alert = ask(&readers, async |mut client| client.acknowledge(request).await).await?;
    Ok(Json(shape::alert(&alert)))
}

/// Parameters of dead letters.
const LETTERS: [&str; 2] = ["notifier", "limit"];

async fn letters(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Answer {
    query.only(&LETTERS)?;
    let notifier = query.get(LETTERS[0]).unwrap_or_default().to_owned();
    let request = v1::ListDeadLettersRequest { notifier, page_size: query.whole(LETTERS[1], 1..=LIMIT_MAX)? };
    let answer = ask(&readers, async |mut client| client.list_dead_letters(request).await).await?;
    Ok(Json(json!({
        "deadLetters": answer.letters.iter().map(shape::letter).collect::<Vec<_>>(),
        "leftOut": answer.left_out,
        "missing": answer.missing,
        "resends": answer.resends.iter().map(shape::resend).collect::<Vec<_>>(),
    })))
}

/// Fields of what is sent again.
const RESEND: [&str; 4] = ["notifier", "aggregator", "id", WHO];

async fn resend(State(readers): State<Readers>, caller: Caller, mut body: Body) -> Answer {
    let notifier = body.needed(RESEND[0], "whose dead letters are sent again")?;
    let (aggregator_id, letter_id) = (body.text(RESEND[1])?, body.whole(RESEND[2])?);
    let author = author(&caller, &mut body, "say who wants it")?;
    body.end(&RESEND)?;
    let request = v1::ResendDeadLettersRequest { notifier, aggregator_id, letter_id, author };
    let answer = ask(&readers, async |mut client| client.resend_dead_letters(request).await).await?;
    Ok(Json(json!({ "resent": answer.resent, "missing": answer.missing })))
}

/// Who does something, of a DELETE.
fn who(caller: &Caller, query: &Parameters) -> Result<String, ApiError> {
    query.only(&[WHO])?;
    if let Some(name) = caller.name() {
        return Ok(name.to_owned());
    }
    let author = query.get(WHO).ok_or_else(|| ApiError::invalid(WHO, "who is missing: say who does it, ?who=NAME"))?;
    Ok(author.to_owned())
}

async fn unacknowledge(
    State(readers): State<Readers>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<Parameters>,
) -> Answer {
    let request = v1::UnacknowledgeRequest { episode_id: id, author: who(&caller, &query)? };
    let alert = ask(&readers, async |mut client| client.unacknowledge(request).await).await?;
    Ok(Json(shape::alert(&alert)))
}

async fn silences(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    let answer = ask(&readers, async |mut client| client.list_silences(v1::ListSilencesRequest {}).await).await?;
    Ok(Json(json!({ "silences": answer.silences.iter().map(shape::silence).collect::<Vec<_>>() })))
}

/// Fields of a silence.
const SILENCE: [&str; 6] = ["matchers", "who", "comment", "starts", "forSeconds", "preview"];
/// Fields of a matcher.
const MATCHER: [&str; 4] = ["key", "value", "regex", "negate"];

async fn silence(State(readers): State<Readers>, caller: Caller, mut body: Body) -> Answer {
    let matchers = body.objects("matchers")?.into_iter().map(|mut is| {
        let matcher = v1::AlertMatcher {
            key: is.needed("key", "such as rule, subject, severity or a label")?,
            value: is.text("value")?,
            regex: is.switch("regex")?,
            negate: is.switch("negate")?,
        };
        is.end(&MATCHER)?;
        Ok(matcher)
    });
    let matchers: Vec<_> = matchers.collect::<Result<_, ApiError>>()?;
    if matchers.is_empty() {
        return Err(ApiError::invalid("matchers", "matchers is missing: at least one says what is to be quiet"));
    }
    let preview = body.switch("preview")?;
    let starts_tick = match body.text("starts")?.as_str() {
        "" => 0,
        text => tick("starts", text)?,
    };
    let author = match preview && caller.name().is_none() {
        true => body.text(WHO)?,
        false => author(&caller, &mut body, "say who wants it quiet")?,
    };
    let for_seconds = body.seconds("forSeconds")?;
    if for_seconds == 0 {
        return Err(ApiError::invalid("forSeconds", "forSeconds is missing: a silence ends"));
    }
    let comment = body.text("comment")?;
    body.end(&SILENCE)?;
    let request = v1::SilenceRequest { matchers, author, comment, starts_tick, for_seconds, preview };
    let answer = ask(&readers, async |mut client| client.silence(request).await).await?;
    Ok(Json(json!({
        "silence": answer.silence.as_ref().map(shape::silence),
        "preview": preview,
        "covers": answer.covers.iter().map(performance).collect::<Vec<_>>(),
    })))
}

async fn unsilence(
    State(readers): State<Readers>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<Parameters>,
) -> Answer {
    let request = v1::UnsilenceRequest { silence_id: id, author: who(&caller, &query)? };
    let silence = ask(&readers, async |mut client| client.unsilence(request).await).await?;
    Ok(Json(shape::silence(&silence)))
}

async fn rules(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    let answer = ask(&readers, async |mut client| client.list_rules(v1::ListRulesRequest {}).await).await?;
    Ok(Json(json!({
        "rules": answer.rules.iter().map(shape::rule).collect::<Vec<_>>(),
        "fingerprint": wide(answer.fingerprint),
        "mistakes": answer.mistakes,
        "refusedSince": answer.refused_since_tick.map(rfc3339),
    })))
}

fn tick(field: &'static str, text: &str) -> Result<u32, ApiError> {
    let ms = moment(text, now()).map_err(|why| ApiError::invalid(field, why))?;
    Ok(second(ms))
}

async fn episodes(State(readers): State<Readers>, Query(query): Query<Parameters>) -> Answer {
    query.only(&EPISODES)?;
    let moment = |field: &'static str| query.get(field).map_or(Ok(0), |text| tick(field, text));
    let text = |field| query.get(field).unwrap_or_default().to_owned();
    let request = v1::ListEpisodesRequest {
        rule: text("rule"),
        subject: text("subject"),
        from_tick: moment("from")?,
        to_tick: moment("to")?,
        page_size: query.whole("limit", 1..=LIMIT_MAX)?,
        page_token: text("page"),
    };
    let answer = ask(&readers, async |mut client| client.list_episodes(request).await).await?;
    Ok(Json(json!({
        "episodes": answer.episodes.iter().map(shape::alert).collect::<Vec<_>>(),
        "nextPage": Some(&answer.next_page_token).filter(|token| !token.is_empty()),
    })))
}
