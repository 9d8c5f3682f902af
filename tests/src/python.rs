//! Clients of others, in the virtual environment that `make tools` fills.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

fn command(script: &str, arguments: &[String]) -> Command {
    let python = std::env::var("STARLING_TEST_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python").to_owned());
    let mut command = Command::new(python);
    command.arg(format!("{}/python/{script}", env!("CARGO_MANIFEST_DIR"))).args(arguments);
    command
}

/// Runs a script of `tests/python` and reads its one line of JSON.
///
/// # Panics
/// When it fails or says something else.
pub async fn python(script: &str, arguments: &[String]) -> Value {
    let mut command = command(script, arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends");
    let output = output.unwrap_or_else(|error| panic!("cannot run {script}: {error}; run `make tools` first"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{script} said {said:?}: {error}"))
}

/// A script of `tests/python` that serves until it is dropped, and says a line of JSON now and then.
#[derive(Debug)]
pub struct Serving {
    script: String,
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Serving {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(script: &str, arguments: &[String]) -> Self {
        let child = command(script, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot run {script}: {error}; run `make tools` first"));
        let lines = child.stdout.take().map(BufReader::new);
        Self { script: script.to_owned(), child, lines }
    }

    /// What it says next.
    ///
    /// # Panics
    /// When it ends without a word.
    pub async fn says(&mut self) -> Value {
        let mut lines = self.lines.take().expect("it is asked by one");
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            lines.read_line(&mut line).map(|_| (line, lines))
        });
        let (line, lines) = read.await.expect("it ends").expect("a pipe");
        self.lines = Some(lines);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{} said {line:?}: {error}", self.script))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
