//! Who may ask: signing in and out, tokens, roles, sockets that end.

use std::path::PathBuf;

use reqwest::{Method, Response, header::HeaderMap, redirect::Policy};
use serde_json::{Value, json};
use starling_dashboard::{
    Config,
    access::{self, Accounts, Role, User},
};
use starling_proto::{live, v1};
use starling_testkit::{Script, Scripted, eventually};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::harness::{Page, Server, now, table, view};

const PASSWORD: &str = "correct horse battery";
const VIEWER: &str = "starling_viewer-token";
const OPERATOR: &str = "starling_operator-token";

/// A server with users and tokens, and a cluster with one alert.
struct Guarded {
    server: Server,
    _double: Scripted,
    folder: TempDir,
    accounts: Accounts,
}

fn accounts() -> Accounts {
    let mut accounts = Accounts::default();
    for (name, role) in [("vera", Role::Viewer), ("otto", Role::Operator), ("anna", Role::Admin)] {
        accounts.add_user(name, User { role, password: access::hash(PASSWORD).unwrap() }).unwrap();
    }
    accounts.add_token("grafana", Role::Viewer, VIEWER).unwrap();
    accounts.add_token("robot", Role::Operator, OPERATOR).unwrap();
    accounts
}

impl Guarded {
    async fn start(change: impl FnOnce(Config) -> Config) -> Self {
        let (script, newest, folder) = (Script::default(), now(), tempfile::tempdir().unwrap());
        for tick in newest - 9..=newest {
            script.report(view(tick, 100.0), Some(table(tick, 4)));
        }
        let episode = v1::AlertEpisode {
            episode_id: "a1".into(),
            rule: "cpu-busy".into(),
            state: v1::AlertState::Firing.into(),
            severity: v1::AlertSeverity::Warning.into(),
            ..Default::default()
        };
        script.report_alerts(vec![v1::Alert { episode: Some(episode), ..Default::default() }], Vec::new(), newest);
        let double = Scripted::start(&script, "a1", 0).await;
        let accounts = accounts();
        access::write(&folder.path().join("users.toml"), &accounts).unwrap();
        let config = Config {
            aggregators: vec![double.address.to_string()],
            users: Some(folder.path().join("users.toml")),
            ..Config::default()
        };
        let guarded = Self { server: Server::with(change(config)).await, _double: double, folder, accounts };
        eventually("the alert is there", async || {
            let (status, answer) = guarded.by_token(VIEWER, Method::GET, "/api/v1/alerts", Value::Null).await;
            let there = status == 200 && answer["alerts"].as_array().is_some_and(|list| !list.is_empty());
            if there { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
        guarded
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("users.toml")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    async fn by_token(&self, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let mut request = client().request(method, self.url(path)).bearer_auth(token);
        if body != Value::Null {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    async fn sign_in(&self, name: &str, password: &str, headers: &[(&str, &str)]) -> Response {
        let form = form_of(&[("name", name), ("password", password), ("next", "/nodes?q=zone%3Ab")]);
        let request = client().post(self.url("/login")).header("content-type", "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(form).send().await.unwrap()
    }

    /// The cookie of somebody who signed in.
    async fn cookie(&self, name: &str) -> String {
        let response = self.sign_in(name, PASSWORD, &[]).await;
        assert_eq!(response.status(), 303);
        assert_eq!(response.headers()["location"], "/nodes?q=zone%3Ab");
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn by_cookie(&self, cookie: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let mut request = client().request(method, self.url(path)).header("cookie", cookie);
        if body != Value::Null {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// The answer to GET, followed nowhere.
    async fn plain(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let request =
            headers.iter().fold(client().get(self.url(path)), |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap()
    }

    async fn live(&self, cookie: &str) -> Page {
        let stream = TcpStream::connect(self.server.address).await.unwrap();
        Page::with(stream, self.server.address, &[("cookie", cookie)]).await
    }
}

fn form_of(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes().fold(String::new(), |all, byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => all + &char::from(byte).to_string(),
            _ => all + &format!("%{byte:02X}"),
        })
    };
    fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(Policy::none()).build().unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

const HTML: (&str, &str) = ("accept", "text/html");

#[tokio::test]
async fn who_is_nobody_gets_nothing_but_the_way_in() {
    let guarded = Guarded::start(|config| config).await;
    for path in
        ["/", "/api/v1/nodes", "/api/v1", "/api/v1/openapi.json", "/prometheus/api/v1/labels", "/metrics", "/live"]
    {
        let response = guarded.plain(path, &[]).await;
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(header(response.headers(), "www-authenticate"), "Bearer realm=\"starling\"");
        assert_eq!(header(response.headers(), "content-type"), "application/problem+json");
        let problem: Value = response.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("authorization: Bearer"), "{problem}");
    }
    // Programs get no page to sign in, whatever they say they take; nor do scripts and styles.
    for path in ["/api/v1/nodes", "/ws/v1/live", "/assets/x.js", "/mcp", "/metrics"] {
        assert_eq!(guarded.plain(path, &[HTML]).await.status(), 401, "{path}");
    }
    let response = guarded.plain("/nodes?q=a%23b&x=c%2B%2B", &[HTML]).await;
    assert_eq!(response.status(), 303);
    assert_eq!(header(response.headers(), "location"), "/login?next=%2Fnodes%3Fq%3Da%2523b%26x%3Dc%252B%252B");
    let response = guarded.plain("/login?next=%2Fnodes", &[HTML]).await;
    assert_eq!(response.status(), 200);
    let policy = header(response.headers(), "content-security-policy").to_owned();
    assert!(policy.contains("form-action 'self'") && !policy.contains("unsafe"), "{policy}");
    let text = response.text().await.unwrap();
    assert!(text.contains("name=\"next\" value=\"/nodes\"") && text.contains("login.css"), "{text}");
    for file in ["/login.css", "/login.js", "/favicon.ico"] {
        assert_eq!(guarded.plain(file, &[]).await.status(), 200, "{file}");
    }
    for (path, headers) in [("/ws/v1/live", &[("sec-websocket-protocol", "starling.live.v1")][..]), ("/ws/alerts", &[])]
    {
        assert_eq!(guarded.server.try_upgrade(path, headers).await, Err(401), "{path}");
    }
    let mcp = client().post(guarded.url("/mcp")).json(&json!({})).send().await.unwrap();
    assert_eq!(mcp.status(), 401);
    // A secret in the address is written down on the way.
    let problem: Value = guarded.plain(&format!("/api/v1/nodes?token={VIEWER}"), &[]).await.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("in the address is not taken"), "{problem}");
}

#[tokio::test]
async fn a_session_begins_with_a_password_and_ends_with_the_way_out() {
    let guarded = Guarded::start(|config| config).await;
    let cookie = guarded.cookie("otto").await;
    let (status, who) = guarded.by_cookie(&cookie, Method::GET, "/api/v1/session", Value::Null).await;
    assert_eq!((status, &who["name"], &who["role"]), (200, &json!("otto"), &json!("operator")));
    let again = guarded.plain("/login?next=%2Fnodes", &[HTML, ("cookie", &cookie)]).await;
    assert_eq!((again.status().as_u16(), header(again.headers(), "location")), (303, "/nodes"));
    let mut page = guarded.live(&cookie).await;
    page.subscribe(1, live::View::Overview, "", 0).await;
    page.snapshot().await;
    let out = client().post(guarded.url("/logout")).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert!(header(out.headers(), "set-cookie").contains("Max-Age=0"));
    assert_eq!(page.close_code().await, Some(4401), "the live socket ends with the session");
    assert_eq!(guarded.by_cookie(&cookie, Method::GET, "/api/v1/session", Value::Null).await.0, 401);
}

#[tokio::test]
async fn the_cookie_is_as_safe_as_the_connection() {
    let guarded = Guarded::start(|config| Config { allowed_hosts: vec!["dash.example.org".into()], ..config }).await;
    let plain = guarded.sign_in("otto", PASSWORD, &[]).await;
    let port = guarded.server.address.port();
    let set = header(plain.headers(), "set-cookie");
    assert!(set.starts_with(&format!("starling_{port}=")) && set.contains("HttpOnly; SameSite=Lax"), "{set}");
    assert!(!set.contains("Secure"), "{set}");
    let secure = guarded.sign_in("otto", PASSWORD, &[("origin", "https://dash.example.org")]).await;
    let set = header(secure.headers(), "set-cookie");
    assert!(set.starts_with(&format!("__Host-starling_{port}=")) && set.ends_with("; Secure"), "{set}");
    let foreign = guarded.sign_in("otto", PASSWORD, &[("origin", "https://evil.example")]).await;
    assert_eq!(foreign.status(), 403);
}

#[tokio::test]
async fn a_viewer_reads_and_an_operator_acts_in_the_own_name() {
    let guarded = Guarded::start(|config| config).await;
    let (vera, otto) = (guarded.cookie("vera").await, guarded.cookie("otto").await);
    let ack = || ("/api/v1/alerts/a1/ack", json!({"who": "somebody else", "comment": "mine"}));
    let (path, body) = ack();
    let (status, problem) = guarded.by_cookie(&vera, Method::POST, path, body).await;
    assert_eq!((status, &problem["code"]), (403, &json!("role")));
    assert!(problem["detail"].as_str().unwrap().contains("takes the role operator, and yours is viewer"), "{problem}");
    let (path, body) = ack();
    assert_eq!(guarded.by_token(VIEWER, Method::POST, path, body).await.0, 403);
    let by = async || {
        let (_, alert) = guarded.by_token(VIEWER, Method::GET, "/api/v1/alerts/a1", Value::Null).await;
        alert["acknowledgement"]["who"].clone()
    };
    assert_eq!(by().await, Value::Null, "nothing was asked of the aggregator");
    let (path, body) = ack();
    assert_eq!(guarded.by_cookie(&otto, Method::POST, path, body).await.0, 200);
    assert_eq!(by().await, "otto");
    // A token needs not say who it is.
    let (path, _) = ack();
    assert_eq!(guarded.by_token(OPERATOR, Method::POST, path, json!({"comment": "by a script"})).await.0, 200);
    assert_eq!(by().await, "robot");
    // Reading by POST is reading.
    let form = client().post(guarded.url("/prometheus/api/v1/labels")).bearer_auth(VIEWER).send().await.unwrap();
    assert_ne!(form.status(), 403);
    assert_ne!(guarded.by_token(VIEWER, Method::POST, "/mcp", json!({})).await.0, 403);
}

#[tokio::test]
async fn an_admin_sees_who_is_signed_in_and_ends_it() {
    let guarded = Guarded::start(|config| config).await;
    let (vera, anna) = (guarded.cookie("vera").await, guarded.cookie("anna").await);
    assert_eq!(guarded.by_cookie(&vera, Method::GET, "/api/v1/sessions", Value::Null).await.0, 403);
    assert_eq!(guarded.by_token(OPERATOR, Method::DELETE, "/api/v1/sessions?name=vera", Value::Null).await.0, 403);
    let (_, list) = guarded.by_cookie(&anna, Method::GET, "/api/v1/sessions", Value::Null).await;
    let names: Vec<_> = list["sessions"].as_array().unwrap().iter().map(|is| is["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["anna", "vera"]);
    let (_, ended) = guarded.by_cookie(&anna, Method::DELETE, "/api/v1/sessions?name=vera", Value::Null).await;
    assert_eq!(ended["ended"], 1);
    assert_eq!(guarded.by_cookie(&vera, Method::GET, "/api/v1/session", Value::Null).await.0, 401);
}

#[tokio::test]
async fn who_is_taken_out_of_the_file_sees_nothing_more() {
    let mut guarded = Guarded::start(|config| config).await;
    let (vera, otto) = (guarded.cookie("vera").await, guarded.cookie("otto").await);
    let mut page = guarded.live(&vera).await;
    page.subscribe(1, live::View::Overview, "", 0).await;
    page.snapshot().await;
    guarded.accounts.remove_user("vera");
    let User { password, .. } = guarded.accounts.users()["otto"].clone();
    guarded.accounts.remove_user("otto");
    guarded.accounts.add_user("otto", User { role: Role::Viewer, password }).unwrap();
    guarded.accounts.remove_token("grafana");
    access::write(&guarded.file(), &guarded.accounts).unwrap();
    assert_eq!(page.close_code().await, Some(4401));
    eventually("the file was read again", async || {
        match guarded.by_token(VIEWER, Method::GET, "/api/v1/session", Value::Null).await.0 {
            401 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    assert_eq!(guarded.by_cookie(&vera, Method::GET, "/api/v1/session", Value::Null).await.0, 401);
    let (status, _) = guarded.by_cookie(&otto, Method::POST, "/api/v1/alerts/a1/ack", json!({})).await;
    assert_eq!(status, 403, "lowered, and still signed in");
    // A file that is wrong takes nobody out.
    std::fs::write(guarded.file(), "[[users]]\n").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(guarded.by_cookie(&otto, Method::GET, "/api/v1/session", Value::Null).await.0, 200);
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let guarded = Guarded::start(|config| {
        let whole_secs = std::time::Duration::from_secs(2);
        let sessions = starling_dashboard::Sessions { whole_secs, ..config.sessions };
        Config { sessions, ..config }
    })
    .await;
    let cookie = guarded.cookie("vera").await;
    eventually("the session is over", async || {
        match guarded.by_cookie(&cookie, Method::GET, "/api/v1/session", Value::Null).await.0 {
            401 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_guesser_is_slowed_whatever_it_says_of_itself() {
    let guarded = Guarded::start(|config| config).await;
    let mut statuses = Vec::new();
    for i in 0..14 {
        let said = format!("10.0.0.{i}");
        let response = guarded.sign_in("anna", "wrong", &[("x-forwarded-for", &said)]).await;
        statuses.push(response.status().as_u16());
        if response.status() == 429 {
            let wait: u64 = header(response.headers(), "retry-after").parse().unwrap();
            assert!((1..=30).contains(&wait), "{wait}");
            assert!(response.text().await.unwrap().contains("Too many attempts from here. Try again in"));
        }
    }
    assert_eq!(statuses, [[401; 10].as_slice(), &[429; 4]].concat());
    // Behind a proxy that is believed others get in meanwhile.
    let guarded =
        Guarded::start(|config| Config { trusted_proxies: vec![access::Net::parse("127.0.0.1").unwrap()], ..config })
            .await;
    for _ in 0..12 {
        guarded.sign_in("anna", "wrong", &[("x-forwarded-for", "10.0.0.1")]).await;
    }
    assert_eq!(guarded.sign_in("anna", PASSWORD, &[("x-forwarded-for", "10.0.0.1")]).await.status(), 429);
    assert_eq!(guarded.sign_in("anna", PASSWORD, &[("x-forwarded-for", "10.0.0.2")]).await.status(), 303);
}

#[tokio::test]
async fn one_address_asks_so_often_and_another_is_not_held_up() {
    let guarded = Guarded::start(|config| {
        let limits = starling_dashboard::Limits { requests: 1, ..config.limits };
        Config { limits, trusted_proxies: vec![access::Net::parse("127.0.0.1").unwrap()], ..config }
    })
    .await;
    let from = async |address: &str| {
        let bearer = format!("Bearer {VIEWER}");
        guarded.plain("/api/v1/session", &[("authorization", &bearer), ("x-forwarded-for", address)]).await
    };
    let mut statuses = Vec::new();
    for _ in 0..14 {
        statuses.push(from("10.0.0.1").await.status().as_u16());
    }
    assert!(statuses[..10].iter().all(|status| *status == 200) && statuses[12..] == [429, 429], "{statuses:?}");
    let refused = from("10.0.0.1").await;
    assert_eq!((header(refused.headers(), "retry-after"), refused.status().as_u16()), ("1", 429));
    assert_eq!(from("10.0.0.2").await.status(), 200);
    assert_eq!(guarded.plain("/login", &[HTML]).await.status(), 200, "this host is not counted");
}

#[tokio::test]
async fn a_form_of_another_site_changes_nothing() {
    let guarded = Guarded::start(|config| config).await;
    let otto = guarded.cookie("otto").await;
    let send = async |headers: &[(&str, &str)]| {
        let request = client().post(guarded.url("/api/v1/alerts/a1/ack")).header("cookie", &otto).body("{}");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap().status().as_u16()
    };
    let json = ("content-type", "application/json");
    assert_eq!(send(&[json, ("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(send(&[json, ("origin", "https://evil.example")]).await, 403);
    assert_eq!(send(&[json, ("origin", "null")]).await, 403);
    assert_eq!(send(&[("content-type", "text/plain")]).await, 415, "what a form can say");
    assert_eq!(send(&[json, ("sec-fetch-site", "same-origin")]).await, 200);
    let page = guarded.plain("/login", &[HTML]).await;
    for (name, wanted) in [
        ("content-security-policy", "require-trusted-types-for 'script'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert!(header(page.headers(), name).contains(wanted), "{name}");
    }
    let api = guarded.plain("/api/v1/nodes", &[]).await;
    let policy = header(api.headers(), "content-security-policy");
    assert!(policy.contains("require-trusted-types-for 'script'; trusted-types 'none'"), "{policy}");
}

#[tokio::test]
async fn a_server_without_users_in_its_file_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.toml");
    let start = async |file: PathBuf| {
        let config = Config { listen: "127.0.0.1:0".parse().unwrap(), users: Some(file), ..Config::default() };
        let started = starling_dashboard::Service::bind(config, starling_service::metrics::Registry::default()).await;
        started.err().map(|error| error.to_string()).unwrap_or_default()
    };
    use starling_service::Program as _;
    let error = start(file.clone()).await;
    assert!(error.starts_with("users: ") && error.contains("cannot be read"), "{error}");
    access::write(&file, &Accounts::default()).unwrap();
    let error = start(file).await;
    assert!(error.contains("nobody is in") && error.contains("starling users add"), "{error}");
}

#[tokio::test]
async fn without_users_nothing_is_asked() {
    let script = Script::default();
    script.report(view(now(), 1.0), Some(table(now(), 1)));
    let double = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    let (status, who) = server.get("/api/v1/session").await;
    assert_eq!(
        (status, &who["login"], &who["name"], &who["role"]),
        (200, &json!(false), &Value::Null, &json!("admin"))
    );
    let login = client().get(format!("http://{}/login?next=//evil.example", server.address)).send().await.unwrap();
    assert_eq!((login.status().as_u16(), header(login.headers(), "location")), (303, "/"));
}
