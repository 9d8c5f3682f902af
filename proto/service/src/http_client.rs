//! How an HTTP service of somebody else is asked, such as an engine that keeps history: one client, one rule for what it may
//! cost. HTTP/1.1 with connections that are kept, without redirects or proxies; by TLS where it is said whom to believe.

mod https;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, HOST, LOCATION, RETRY_AFTER, USER_AGENT},
    uri::PathAndQuery,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::{
    client::{
        self,
        legacy::{Client, connect::HttpConnector},
    },
    rt::{TokioExecutor, TokioTimer},
};

use crate::{parts::chain, secret::first_line};

use https::ByTls;
pub use https::Trust;

/// A host that does not answer a connection attempt within this time is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that are kept without a request, and for how long: servers close them after a minute or so.
const IDLE_MAX: usize = 4;
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Characters of an answer that stand in an error.
const EXCERPT: usize = 200;

/// How an HTTP service is reached, as it stands in settings.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// "http://host:port" and what all paths begin with.
    pub url: String,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    /// Who asks.
    pub credentials: Credentials,
}

/// Who asks. Secrets stand in files, which are read for every request: they are renewed in place.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// By the token in this file.
    Bearer(PathBuf),
    /// By a name, and the password in this file.
    Basic(String, PathBuf),
}

impl Credentials {
    /// Of the settings `secret_file` and `user`: with a user the file holds a password, else a token.
    #[must_use]
    pub fn of(secret_file: Option<&Path>, user: Option<&str>) -> Self {
        match (secret_file, user) {
            (None, _) => Self::None,
            (Some(file), Some(user)) => Self::Basic(user.to_owned(), file.to_owned()),
            (Some(file), None) => Self::Bearer(file.to_owned()),
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Not in time.
    #[error("did not answer within {:.1} s", .0.as_secs_f64())]
    Late(Duration),
    /// It cannot be reached, or broke off.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Longer than is taken.
    #[error("answered with more than {0} bytes")]
    TooLong(usize),
    /// The file with the secret.
    #[error("{0}")]
    Secret(String),
}

impl Answer {
    /// What is wrong with it, in words, unless its status is one of success.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.status.is_success() {
            return None;
        }
        if self.status.is_redirection() {
            let to = self.headers.get(LOCATION).and_then(|to| to.to_str().ok()).map(excerpt).unwrap_or_default();
            return Some(format!("answered {} to {to:?}, which is not followed: give that address", self.status));
        }
        let text = excerpt(&String::from_utf8_lossy(&self.body[..self.body.len().min(4 * EXCERPT)]));
        let said = if text.is_empty() { String::new() } else { format!(": {text}") };
        Some(format!("answered {}{said}", self.status))
    }

    /// How long it asks to wait, when it says so in seconds (RFC 9110, 10.2.3).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse().ok().map(Duration::from_secs)
    }
}

/// The start of a text, in one line.
fn excerpt(text: &str) -> String {
    let line: String = text.chars().take(EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

/// See the module. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Dialled,
    /// Scheme and authority.
    base: Uri,
    /// What every path begins with, without a "/" at the end.
    prefix: String,
    headers: HeaderMap,
    credentials: Credentials,
}

/// One for each way of connecting.
#[derive(Clone)]
enum Dialled {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Secured(Client<ByTls, Full<Bytes>>),
}

impl fmt::Debug for HttpClient {
    /// Without headers and credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("base", &self.base).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// What of `access` is not valid.
    pub fn new(access: Access) -> Result<Self, String> {
        let base = base(&access.url, &["http"])?;
        Self::dialling(access, base, Dialled::Plain(builder().build(connector())))
    }

    /// The same, which may be "https://host:port" as well: then by TLS, with who is at the other end by `trust`.
    ///
    /// # Errors
    /// What of `access` or `trust` is not valid.
    pub fn trusting(access: Access, trust: Trust) -> Result<Self, String> {
        let base = base(&access.url, &["http", "https"])?;
        if base.scheme_str() == Some("http") {
            return Self::new(access);
        }
        let secured = builder().build(ByTls::new(connector(), trust)?);
        Self::dialling(access, base, Dialled::Secured(secured))
    }

    fn dialling(access: Access, base: Uri, client: Dialled) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("starling/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in &access.headers {
            let (name, value) = header(name, value)?;
            headers.insert(name, value);
        }
        let prefix = base.path().trim_end_matches('/').to_owned();
        Ok(Self { client, base, prefix, headers, credentials: access.credentials })
    }

    /// Sends `body` to `path`, which begins with "/", with `headers` beside those of the settings. The answer is all there
    /// `within` that time and has at most `most` bytes.
    ///
    /// # Errors
    /// [`HttpError`]; an answer of any status is none.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
        within: Duration,
        most: usize,
    ) -> Result<Answer, HttpError> {
        self.ask(Method::POST, path, headers, body, (within, most)).await
    }

    /// Asks for `path`, which begins with "/" and may have a query; see [`HttpClient::post`].
    ///
    /// # Errors
    /// [`HttpError`]; an answer of any status is none.
    pub async fn get(&self, path: &str, within: Duration, most: usize) -> Result<Answer, HttpError> {
        self.ask(Method::GET, path, &[], Bytes::new(), (within, most)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
        (within, most): (Duration, usize),
    ) -> Result<Answer, HttpError> {
        let answered = async {
            let mut request = self.request(path, headers, body).await?;
            *request.method_mut() = method;
            let answer = match &self.client {
                Dialled::Plain(client) => client.request(request).await,
                Dialled::Secured(client) => client.request(request).await,
            };
            let (head, body) = answer.map_err(|error| HttpError::Unreachable(chain(&error)))?.into_parts();
            let collected = Limited::new(body, most).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    HttpError::TooLong(most)
                } else {
                    HttpError::Unreachable(format!("it broke off its answer: {}", chain(&*error)))
                }
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: collected.to_bytes() })
        };
        tokio::time::timeout(within, answered).await.unwrap_or(Err(HttpError::Late(within)))
    }

    async fn request(
        &self,
        path: &str,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let invalid = |error: &dyn fmt::Display| HttpError::Unreachable(format!("{path:?}: {error}"));
        let mut uri = self.base.clone().into_parts();
        let path_and_query: PathAndQuery = format!("{}{path}", self.prefix).parse().map_err(|error| invalid(&error))?;
        uri.path_and_query = Some(path_and_query);
        let uri = Uri::from_parts(uri).map_err(|error| invalid(&error))?;
        let mut request = Request::builder().uri(uri).body(Full::new(body)).map_err(|error| invalid(&error))?;
        request
            .headers_mut()
            .extend(headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
        request.headers_mut().extend(self.headers.clone());
        if let Some(value) = self.credentials.header().await.map_err(HttpError::Secret)? {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

fn base(url: &str, schemes: &[&str]) -> Result<Uri, String> {
    let base: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let is_known = base.scheme_str().is_some_and(|scheme| schemes.contains(&scheme));
    match is_known && base.authority().is_some() && base.query().is_none() {
        true => Ok(base),
        false => {
            let known: Vec<String> = schemes.iter().map(|scheme| format!("\"{scheme}://host:port\"")).collect();
            Err(format!("{url:?} is not {} with a path or without", known.join(" or ")))
        }
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    connector
}

fn builder() -> client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_FOR).pool_max_idle_per_host(IDLE_MAX);
    builder
}

impl Credentials {
    async fn header(&self) -> Result<Option<HeaderValue>, String> {
        let (text, file) = match self {
            Self::None => return Ok(None),
            Self::Bearer(file) => (format!("Bearer {}", first_line(file).await?), file),
            Self::Basic(user, file) => (basic(user, &first_line(file).await?), file),
        };
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| format!("{} holds characters that no header may have", file.display()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The value of `Authorization` by a name and a password.
#[must_use]
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A header of the settings.
///
/// # Errors
/// What of it is not valid, or that it is not for settings.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::try_from(name).map_err(|_| format!("{name:?} is not the name of a header"))?;
    if [AUTHORIZATION, HOST].contains(&parsed) || parsed.as_str().starts_with("content-") {
        return Err(format!("{name}: this header is not for settings; for credentials there are keys of their own"));
    }
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| format!("{name}: the value holds characters that no header may have"))?;
    // It may be a key.
    value.set_sensitive(true);
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers each connection once with `answer` and returns what it was sent; without an answer it waits for ever.
    async fn served(answer: Option<String>, access: Access) -> (Result<Answer, HttpError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{}", listener.local_addr().unwrap(), access.url);
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut asked = String::new();
            while !asked.ends_with("query=1") {
                let mut bytes = [0; 1_024];
                let n = connection.read(&mut bytes).await.unwrap();
                asked += std::str::from_utf8(&bytes[..n]).unwrap();
            }
            match answer {
                Some(answer) => connection.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
            asked
        });
        let client = HttpClient::new(Access { url, ..access }).unwrap();
        let headers = [(axum::http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")];
        let body = Bytes::from_static(b"query=1");
        let answer = client.post("/api/v1/query", &headers, body, Duration::from_millis(500), 1_000).await;
        let asked = if server.is_finished() || answer.is_ok() { server.await.unwrap() } else { String::new() };
        (answer, asked)
    }

    fn text(head: &str, body: &str) -> Option<String> {
        Some(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    #[tokio::test]
    async fn what_the_settings_say_goes_with_every_request() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "s3cret").unwrap();
        let of = |credentials| Access {
            url: "/prometheus/".to_owned(),
            headers: vec![("X-Scope-OrgID".to_owned(), "team".to_owned())],
            credentials,
        };
        let (answer, asked) = served(text("200 OK", "{}"), of(Credentials::Bearer(file.path().to_owned()))).await;
        let answer = answer.unwrap();
        assert_eq!((&answer.body[..], answer.failure()), (&b"{}"[..], None));
        assert!(asked.starts_with("POST /prometheus/api/v1/query HTTP/1.1\r\n"), "{asked}");
        for line in
            ["x-scope-orgid: team", "authorization: Bearer s3cret", "content-length: 7", "user-agent: starling/"]
        {
            assert!(asked.contains(line), "{line}: {asked}");
        }
        let basic = Credentials::Basic("ann".to_owned(), file.path().to_owned());
        let (_, asked) = served(text("200 OK", ""), of(basic)).await;
        // "ann:s3cret"
        assert!(asked.contains("authorization: Basic YW5uOnMzY3JldA=="), "{asked}");
        let gone = Credentials::Bearer("/nowhere/token".into());
        let client = HttpClient::new(Access { url: "http://127.0.0.1:9".into(), ..of(gone) }).unwrap();
        let error = client.post("/", &[], Bytes::new(), Duration::from_secs(5), 1).await.unwrap_err();
        assert!(matches!(&error, HttpError::Secret(text) if text.contains("/nowhere/token")), "{error}");
        assert!(!format!("{client:?}").contains("team"));
    }

    #[tokio::test]
    async fn an_answer_has_its_time_and_its_bytes() {
        let (answer, _) = served(None, Access::default()).await;
        assert_eq!(answer.unwrap_err().to_string(), "did not answer within 0.5 s");
        let (answer, _) = served(text("200 OK", &"x".repeat(1_001)), Access::default()).await;
        assert_eq!(answer.unwrap_err(), HttpError::TooLong(1_000));
        let (answer, _) = served(Some("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".into()), Access::default()).await;
        assert!(answer.unwrap_err().to_string().contains("broke off"));
        let (answer, _) = served(Some("SSH-2.0-OpenSSH\r\n".into()), Access::default()).await;
        assert!(matches!(answer.unwrap_err(), HttpError::Unreachable(_)));
        let closed = HttpClient::new(Access { url: "http://127.0.0.1:1".into(), ..Access::default() }).unwrap();
        let error = closed.post("/", &[], Bytes::new(), Duration::from_secs(5), 1).await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_success_says_what_it_is() {
        let redirect = "302 Found\r\nLocation: http://127.0.0.1:1/login";
        for (head, body, wanted) in [
            (redirect, "", "answered 302 Found to \"http://127.0.0.1:1/login\", which is not followed"),
            ("503 Service Unavailable", "too\nbusy", "answered 503 Service Unavailable: too busy"),
            ("401 Unauthorized", "", "answered 401 Unauthorized"),
        ] {
            let (answer, _) = served(text(head, body), Access::default()).await;
            let failure = answer.unwrap().failure().unwrap();
            assert!(failure.starts_with(wanted), "{failure}");
        }
        let (answer, _) = served(text("429 Too Many Requests\r\nRetry-After: 7", ""), Access::default()).await;
        assert_eq!(answer.unwrap().retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn what_is_no_address_or_header_is_refused() {
        for url in ["", "127.0.0.1:9090", "https://127.0.0.1:1", "http://a:1/?x=1"] {
            assert!(HttpClient::new(Access { url: url.into(), ..Access::default() }).is_err(), "{url}");
        }
        for (name, value) in [("a b", "c"), ("Authorization", "x"), ("Content-Length", "0"), ("x", "a\nb")] {
            assert!(header(name, value).is_err(), "{name}");
        }
    }
}
