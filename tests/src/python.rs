//! Clients of others, in the virtual environment that `make tools` fills.

use std::process::Command;

use serde_json::Value;

/// Runs a script of `tests/python` and reads its one line of JSON.
///
/// # Panics
/// When it fails or says something else.
pub async fn python(script: &str, arguments: &[String]) -> Value {
    let python = std::env::var("STARLING_TEST_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python").to_owned());
    let mut command = Command::new(&python);
    command.arg(format!("{}/python/{script}", env!("CARGO_MANIFEST_DIR"))).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends");
    let output = output.unwrap_or_else(|error| panic!("cannot run {python}: {error}; run `make tools` first"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{script} said {said:?}: {error}"))
}
