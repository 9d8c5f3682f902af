//! Who asks, and who is signed in.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    routing::get,
};
use serde_json::json;

use super::{Answer, Changed, Other, parameters::Parameters, time::rfc3339_ms};
use crate::{
    access::{Access, Caller, Role},
    error::ApiError,
    shared::now,
};

/// The path of who asks.
const SESSION: &str = "/api/v1/session";
const SESSIONS: &str = "/api/v1/sessions";
/// Whose sessions are ended.
const NAME: &str = "name";

/// What is read.
pub(super) fn others() -> Vec<Other> {
    vec![
        Other {
            path: SESSION,
            about: "who asks, and what they may do: name and role; 401 for who has to sign in",
            parameters: Vec::new(),
            answer: get(session),
        },
        Other {
            path: SESSIONS,
            about: "who is signed in with a browser; for the role admin",
            parameters: Vec::new(),
            answer: get(sessions).delete(end),
        },
    ]
}

/// What changes something.
pub(super) fn changes() -> Vec<Changed> {
    vec![Changed {
        method: "DELETE",
        path: SESSIONS,
        about: "ends all sessions of a user, ?name=; for the role admin",
        parameters: &[NAME],
        body: &[],
        answer: None,
    }]
}

async fn session(State(access): State<Arc<Access>>, caller: Caller, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    Ok(Json(json!({
        "login": access.has_login(),
        "name": caller.name(),
        "role": caller.role().name(),
        "session": caller.is_session(),
    })))
}

/// Without a log-in nobody is signed in.
fn admin(caller: &Caller) -> Result<(), ApiError> {
    match caller.role() {
        Role::Admin => Ok(()),
        Role::Viewer | Role::Operator => Err(ApiError::role(Role::Admin.name(), caller.role().name())),
    }
}

async fn sessions(State(access): State<Arc<Access>>, caller: Caller, Query(query): Query<Parameters>) -> Answer {
    query.only(&[])?;
    admin(&caller)?;
    let ago = |length: std::time::Duration| {
        rfc3339_ms(now().saturating_sub(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    };
    let list = access.signed_in().into_iter();
    let list: Vec<_> =
        list.map(|is| json!({ "name": &*is.name, "since": ago(is.since), "used": ago(is.idle) })).collect();
    Ok(Json(json!({ "sessions": list })))
}

async fn end(State(access): State<Arc<Access>>, caller: Caller, Query(query): Query<Parameters>) -> Answer {
    query.only(&[NAME])?;
    admin(&caller)?;
    let name = query.get(NAME).ok_or_else(|| ApiError::invalid(NAME, "name is missing: say who, ?name=NAME"))?;
    match access.end_sessions(name) {
        0 => Err(ApiError::not_found(format!("nobody is signed in as {name:?}; {SESSIONS} lists who is"))),
        ended => Ok(Json(json!({ "ended": ended }))),
    }
}
