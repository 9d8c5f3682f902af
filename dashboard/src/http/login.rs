//! Signing in and out. The page is made here, works without a script, and is no part of the big one: it is what who is not yet known
//! gets.

use std::time::Duration;

use axum::{
    Router,
    body::to_bytes,
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};

use tokio::time::timeout;

use super::{
    assets::KEPT_FOR_AN_HOUR,
    cookie::by_tls,
    gate::Gate,
    ways::{LOGIN, LOGOUT, SCRIPT, STYLE, onward},
};
use crate::{
    access::LoginError,
    error::{ApiError, retry_after},
};

/// Most bytes of the form: a name, a password and an address, each of whose letters takes three bytes at worst.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// How long the form may take to come: a line of text.
const FORM_WITHIN: Duration = Duration::from_secs(10);
/// What this page may do: as the other one, and send its form here.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The form, and all that is shown around it. What stands in braces is replaced.
const PAGE: &str = include_str!("login.html");

/// The paths of signing in and out.
pub(super) fn router(gate: Gate) -> Router {
    let file = |kind: &'static str, text: &'static str| {
        get(async move || ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEPT_FOR_AN_HOUR)], text))
    };
    Router::new()
        .route(LOGIN, get(show).post(log_in))
        .route(LOGOUT, post(log_out))
        .route(STYLE, file("text/css; charset=utf-8", include_str!("login.css")))
        .route(SCRIPT, file("text/javascript; charset=utf-8", include_str!("login.js")))
        .method_not_allowed_fallback(async || ApiError::method())
        .with_state(gate)
}

/// What a form or an address says under a name.
fn field(of: &[(String, String)], name: &str) -> String {
    of.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What the page says beside the form.
struct Shown<'a> {
    status: StatusCode,
    message: &'a str,
    name: &'a str,
    next: &'a str,
}

fn page(shown: &Shown<'_>) -> Response {
    let message = match shown.message {
        "" => String::new(),
        words => format!("<p class=\"message\" role=\"alert\">{}</p>", escaped(words)),
    };
    let (at_name, at_password) = if shown.name.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
    let text = PAGE
        .replace("{message}", &message)
        .replace("{at-name}", at_name)
        .replace("{at-password}", at_password)
        // Last, as they may hold braces.
        .replace("{next}", &escaped(shown.next).replace('{', "&#123;"))
        .replace("{name}", &escaped(shown.name));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Where it is "no-referrer", as elsewhere here, browsers hide the origin of a form too (Fetch, "append a request Origin header").
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    ];
    (shown.status, headers, text).into_response()
}

/// A text that stands in HTML, between tags or in quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

fn gone_on(base: &str, next: &str) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Redirect::to(&onward(base, next))).into_response()
}

async fn show(State(gate): State<Gate>, Query(query): Query<Vec<(String, String)>>, request: Request) -> Response {
    let next = field(&query, "next");
    // Somebody already, or nobody has to be.
    if gate.caller(request.headers(), gate.from(&request)).is_ok() {
        return gone_on(&gate.base, &next);
    }
    page(&Shown { status: StatusCode::OK, message: "", name: "", next: &next })
}

async fn log_in(State(gate): State<Gate>, request: Request) -> Response {
    let from = gate.from(&request);
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|is| is.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return ApiError::form().into_response();
    }
    let form = match timeout(FORM_WITHIN, to_bytes(body, FORM_BYTES_MAX)).await {
        Ok(Ok(form)) => form,
        Ok(Err(_)) => return ApiError::too_large(FORM_BYTES_MAX).into_response(),
        Err(_) => return ApiError::late(FORM_WITHIN).into_response(),
    };
    let form: Vec<(String, String)> = form_urlencoded::parse(&form).into_owned().collect();
    let (name, next) = (field(&form, "name"), field(&form, "next"));
    if !gate.access.has_login() {
        return gone_on(&gate.base, &next);
    }
    let https = by_tls(&parts.headers);
    let refused = match gate.access.log_in(&name, field(&form, "password"), from).await {
        Ok(secret) => {
            // The one before, if there was one, is no longer used by anybody.
            if let Some(before) = gate.cookies.read(&parts.headers) {
                gate.access.log_out(before, from);
            }
            let mut response = gone_on(&gate.base, &next);
            response.headers_mut().extend(gate.cookies.set(&secret, https).map(|cookie| (header::SET_COOKIE, cookie)));
            return response;
        }
        Err(refused) => refused,
    };
    let of = |status, message: &str| page(&Shown { status, message, name: &name, next: &next });
    let later = |status, wait, message: &str| {
        let mut response = of(status, message);
        response.headers_mut().insert(header::RETRY_AFTER, retry_after(wait));
        response
    };
    match refused {
        LoginError::Wrong => of(StatusCode::UNAUTHORIZED, "Name or password is wrong."),
        LoginError::Wait(wait) => {
            let seconds = wait.as_millis().div_ceil(1_000);
            let message = format!("Too many attempts from here. Try again in {seconds} s.");
            later(StatusCode::TOO_MANY_REQUESTS, wait, &message)
        }
        LoginError::Busy(wait) => {
            later(StatusCode::SERVICE_UNAVAILABLE, wait, "Many sign in at this moment. Try again in a few seconds.")
        }
    }
}

async fn log_out(State(gate): State<Gate>, request: Request) -> Response {
    let from = gate.from(&request);
    if let Some(secret) = gate.cookies.read(request.headers()) {
        gate.access.log_out(secret, from);
    }
    let https = by_tls(request.headers());
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend(gate.cookies.clear(https).map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_that_was_sent_becomes_part_of_the_page() {
        let evil = "\"><script>alert(1)</script>{name}{message}";
        let shown = Shown { status: StatusCode::OK, message: "Wrong.", name: evil, next: evil };
        let body = to_bytes(page(&shown).into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(!text.contains("<script>alert") && text.contains("&quot;&gt;&lt;script&gt;alert(1)"), "{text}");
        assert!(text.contains("&#123;name}&#123;message}"), "{text}");
        assert!(text.contains("role=\"alert\">Wrong."), "{text}");
    }
}
