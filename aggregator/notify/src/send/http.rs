//! A request of HTTP/1.1 on a connection of its own: messages are rare, and each connection is to an address that was
//! checked. No redirect is followed, and no proxy is asked.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use starling_service::{
    clock,
    http_client::{Answer, basic, header},
    parts::chain,
};
use tokio::{task::JoinSet, time::Instant};

use super::retry;
use crate::{
    connect::{ConnectError, connect},
    desk::Outcome,
    destination::Target,
    settings::NotifierSettings,
};

/// Bytes of an answer that are read to say what went wrong.
const ANSWER_MAX: usize = 16 * 1024;
const SIGNATURE: HeaderName = HeaderName::from_static("x-starling-signature");

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`.
fn signature(key: &str, seconds: u64, body: &[u8]) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let bytes = mac.finalize().into_bytes();
    Ok(format!("t={seconds},v1={}", starling_proto::hex::encode(&bytes)))
}

async fn headers(settings: &NotifierSettings, target: &Target, body: &[u8]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let value = |text: &str| HeaderValue::try_from(text).map_err(|_| "a header holds what none may".to_owned());
    headers.insert(HOST, value(&target.authority())?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("starling/", env!("CARGO_PKG_VERSION"))));
    for (name, text) in &settings.headers {
        let (name, text) = header(name, text)?;
        headers.insert(name, text);
    }
    if let Some(secret) = &settings.secret {
        let secret = secret.read().await?;
        let text = match &settings.user {
            Some(user) => basic(user, &secret),
            None => format!("Bearer {secret}"),
        };
        headers.insert(AUTHORIZATION, value(&text).map_err(|_| "the secret holds what no header may".to_owned())?);
    }
    if let Some(secret) = &settings.signature_secret {
        let key = secret.read().await?;
        headers.insert(SIGNATURE, value(&signature(&key, clock::unix().as_secs(), body)?)?);
    }
    Ok(headers)
}

/// Posts JSON. What is not on its way at `deadline` is not sent.
pub(super) async fn post(settings: &NotifierSettings, url: &str, body: Bytes, deadline: Instant) -> Outcome {
    let allowed = settings.allowed();
    let target = match Target::parse(url, &allowed) {
        Ok(target) => target,
        Err(what) => return Outcome::Refused(what),
    };
    let headers = match headers(settings, &target, &body).await {
        Ok(headers) => headers,
        Err(what) => return retry(what),
    };
    let stream = match connect(&target, &allowed, settings.ca_file.as_deref()).await {
        Ok(stream) => stream,
        Err(error @ ConnectError::Denied(_)) => return Outcome::Refused(error.to_string()),
        Err(error) => return retry(error.to_string()),
    };
    if Instant::now() > deadline {
        // This process slept: what it wanted to say may be old.
        return Outcome::Stale;
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    match target.path.parse() {
        Ok(path) => *request.uri_mut() = path,
        Err(_) => return Outcome::Refused("the path of the URL is none".to_owned()),
    }
    match exchange(stream, request).await {
        Ok(answer) => judged(&answer),
        Err(what) => retry(what),
    }
}

async fn exchange(stream: Box<dyn crate::connect::Stream>, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
    // Ends with this exchange.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(|error| chain(&error))?.into_parts();
    let mut answer = Answer { status: head.status, headers: head.headers, body: Bytes::new() };
    if !answer.status.is_success() {
        // What cannot be read is not needed to know that it failed.
        let read = Limited::new(body, ANSWER_MAX).collect().await;
        answer.body = read.map(|read| read.to_bytes()).unwrap_or_default();
    }
    Ok(answer)
}

/// What an answer says.
fn judged(answer: &Answer) -> Outcome {
    let Some(what) = answer.failure() else { return Outcome::Accepted };
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => Outcome::Retry { what, after: answer.retry_after(), slower: true },
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => retry(what),
        status if status.is_server_error() => Outcome::Retry { what, after: answer.retry_after(), slower: false },
        status if status.is_redirection() => Outcome::Refused(format!("redirect refused: {what}")),
        _ => Outcome::Refused(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_rfc_4231() {
        // Its test case 2 has the data "what do ya want for nothing?"; here the time stands before it, so the value was
        // computed with: printf '7.what do ya want for nothing?' | openssl dgst -sha256 -hmac Jefe
        let signed = signature("Jefe", 7, b"what do ya want for nothing?").unwrap();
        assert_eq!(signed, "t=7,v1=239f4b39fd23f4376db46b239fae471e7c6824b3931bc60f4c0b745bef8de34f");
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        let of = |status: u16| {
            judged(&Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::from_iter([(hyper::header::RETRY_AFTER, HeaderValue::from_static("15"))]),
                body: Bytes::from_static(b"no\nway"),
            })
        };
        assert_eq!([of(200), of(202)], [Outcome::Accepted, Outcome::Accepted]);
        for status in [301, 302, 307] {
            assert!(matches!(of(status), Outcome::Refused(what) if what.starts_with("redirect refused")), "{status}");
        }
        for status in [400, 401, 404, 413] {
            assert!(matches!(of(status), Outcome::Refused(what) if what.ends_with(": no way")), "{status}");
        }
        for (status, more) in [(429, true), (500, false), (503, false)] {
            let wanted = Some(std::time::Duration::from_secs(15));
            assert!(matches!(of(status), Outcome::Retry { after, slower, .. } if after == wanted && slower == more));
        }
    }
}
