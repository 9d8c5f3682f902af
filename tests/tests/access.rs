//! Who may use the page, with real programs: users and tokens by the commands of docs/access.md, an alert of a real aggregator, and
//! sessions that end.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use reqwest::{Client, Method, redirect::Policy};
use serde_json::{Value, json};
use starling_tests::{Cluster, Program, binary, eventually};

const PASSWORD: &str = "correct horse battery";

/// Runs `starling` with something on its standard input: whether it went well, and what it printed.
fn starling(arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut command = Command::new(binary("starling"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starling starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn add_user(file: &Path, name: &str, role: &str) {
    let file = file.display().to_string();
    let (done, said, wrong) =
        starling(&["users", "add", name, "--role", role, "--file", &file], &format!("{PASSWORD}\n"));
    assert!(done && said.contains(&format!("{name} may sign in as {role}")), "{said} {wrong}");
}

struct Page {
    client: Client,
    url: String,
}

impl Page {
    async fn ask(&self, who: (&str, &str), method: Method, path: &str, body: Value) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).header(who.0, who.1);
        if body != Value::Null {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// The cookie of somebody who signs in.
    async fn cookie(&self, name: &str) -> String {
        let form = format!("name={name}&password={}&next=%2Falerts", PASSWORD.replace(' ', "+"));
        let request = self.client.post(format!("{}/login", self.url));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let response = request.send().await.expect("an answer");
        assert_eq!((response.status().as_u16(), &response.headers()["location"].as_bytes()), (303, &&b"/alerts"[..]));
        let cookie = response.headers()["set-cookie"].to_str().expect("a cookie");
        cookie.split(';').next().expect("a pair").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_an_operator_acknowledges_and_who_is_taken_out_is_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users.toml");
    let at = file.display().to_string();
    add_user(&file, "vera", "viewer");
    add_user(&file, "otto", "operator");
    let (done, _, wrong) = starling(&["users", "add", "vera", "--file", &at], &format!("{PASSWORD}\n"));
    assert!(!done && wrong.contains("--replace"), "{wrong}");
    let (done, _, wrong) = starling(&["users", "add", "short", "--file", &at], "secret\n");
    assert!(!done && wrong.contains("at least 12"), "{wrong}");
    let (done, token, wrong) = starling(&["tokens", "add", "robot", "--role", "viewer", "--file", &at], "");
    let token = token.trim().to_owned();
    assert!(done && token.starts_with("starling_"), "{wrong}");
    let (_, listed, _) = starling(&["users", "list", "--file", &at], "");
    assert!(listed.contains("otto") && listed.contains("operator") && !listed.contains("argon2"), "{listed}");

    // An alert that is open at once, whatever this host does.
    let rules = folder.path().join("rules.toml");
    let rule = "[[rule]]\nname = \"always\"\nscope = \"cluster\"\nexpression = \"system.cpu.logical.count\"\nabove = 0\nfor = \"0s\"\nseverity = \"warning\"\nsummary = \"has processors\"\n";
    std::fs::write(&rules, rule).expect("rules");
    let cluster = Cluster::start_with(1, &[&format!("alerts.rules=[\"{}\"]", rules.display())]).await;
    let _daemon = Program::daemon("web-1", &cluster.seeds(), &[]);
    let settings =
        ["listen=127.0.0.1:0".to_owned(), format!("aggregators={:?}", cluster.seeds()), format!("users={at}")];
    let mut dashboard = Program::with_settings("starling-dashboard", &settings.each_ref().map(String::as_str));
    let client = Client::builder().redirect(Policy::none()).build().expect("a client");
    let page = Page { client, url: dashboard.url("http") };

    assert_eq!(page.ask(("accept", "*/*"), Method::GET, "/api/v1/nodes", Value::Null).await.0, 401);
    let bearer = format!("Bearer {token}");
    let robot = ("authorization", bearer.as_str());
    let id = eventually("the alert is open", async || {
        let (status, answer) = page.ask(robot, Method::GET, "/api/v1/alerts", Value::Null).await;
        let list = answer["alerts"].as_array().cloned().unwrap_or_default();
        let open = list.iter().find(|alert| alert["metric"] == "always").and_then(|alert| alert["id"].as_str());
        open.map(str::to_owned).ok_or_else(|| format!("{status} {answer}"))
    })
    .await;
    let (vera, otto) = (page.cookie("vera").await, page.cookie("otto").await);
    let ack = format!("/api/v1/alerts/{id}/ack");
    for who in [("cookie", vera.as_str()), robot] {
        let (status, problem) = page.ask(who, Method::POST, &ack, json!({"who": "otto"})).await;
        assert_eq!((status, &problem["code"]), (403, &json!("role")), "{problem}");
    }
    let (status, alert) =
        page.ask(("cookie", &otto), Method::POST, &ack, json!({"who": "vera", "comment": "mine"})).await;
    assert_eq!((status, &alert["acknowledgement"]["who"]), (200, &json!("otto")), "{alert}");

    // By the commands for people who have a terminal.
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{token}\n")).expect("a token");
    let open_to_all =
        ["status", "--dashboard", &page.url, "--token-file", &token_file.display().to_string()].map(str::to_owned);
    let arguments: Vec<&str> = open_to_all.iter().map(String::as_str).collect();
    let (_, said, wrong) = starling(&arguments, "");
    assert!(said.is_empty() && wrong.contains("can be read by everybody"), "{said} {wrong}");
    std::fs::set_permissions(&token_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let (_, said, wrong) = starling(&arguments, "");
    assert!(said.contains("1 of 1 nodes report"), "{said} {wrong}");
    let (_, said, _) = starling(&["status", "--dashboard", &page.url, "--within", "1"], "");
    assert!(said.contains("it has a log-in: --token-file"), "{said}");

    let (done, ..) = starling(&["users", "remove", "otto", "--file", &at], "");
    assert!(done);
    let (done, ..) = starling(&["tokens", "remove", "robot", "--file", &at], "");
    assert!(done);
    for who in [("cookie", otto.as_str()), robot] {
        eventually("who was taken out is out", async || {
            match page.ask(who, Method::GET, "/api/v1/session", Value::Null).await.0 {
                401 => Ok(()),
                status => Err(status.to_string()),
            }
        })
        .await;
    }
    assert_eq!(page.ask(("cookie", &vera), Method::GET, "/api/v1/session", Value::Null).await.0, 200);
    let log = dashboard.log();
    for line in ["signed in", "refused: it takes another role", "change"] {
        assert!(log.contains(line), "{line} is not in the log:\n{log}");
    }
    assert!(!log.contains(&token) && !log.contains(PASSWORD), "a secret is in the log");
    dashboard.kill();
}
