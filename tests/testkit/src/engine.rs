//! Real engines of others, as Debian packages them, each in a folder of its own that goes with it.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::eventually;

/// A running engine. Killed when dropped, and by the system when the thread that started it is gone without that.
#[allow(missing_debug_implementations, reason = "it holds a function")]
pub struct Engine {
    child: Child,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    /// Where it listens on loopback.
    pub port: u16,
    /// Answers when it is ready.
    ready: &'static str,
    _dir: TempDir,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Samples of one series: seconds and value.
pub type EngineSamples = Vec<(f64, f64)>;

/// Whether a program is installed; what is compared with it is skipped without. `make` installs them.
#[must_use]
pub fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed, see .ci/install-tools");
    }
    found
}

/// One below those that the system gives to connections: whoever dials a port of that range while nobody listens may be given
/// it himself, and then the engine cannot listen there again.
fn free_port() -> u16 {
    let begin = 20_000 + (std::process::id() % 10_000) as u16;
    (begin..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Runs what follows it as the same process, which ends with the thread that started it, also when that is killed, and has no
/// open files but standard input, output and error: a lock that this process inherited is not held on by it.
const ALONE: &str = r#"for file in /proc/self/fd/*; do
    file=${file##*/}
    if [ "$file" -gt 2 ]; then exec {file}>&-; fi
done
exec setpriv --pdeathsig KILL -- "$@""#;

/// A program that is started as [`ALONE`] says.
fn alone(program: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", ALONE, program, program]);
    command
}

impl Engine {
    /// Prometheus with native histograms, a receiver of remote write, and `scrapes` in its settings.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn prometheus(scrapes: &str) -> Self {
        let settings = format!("global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n{scrapes}\n");
        let command = |dir: &std::path::Path, port: u16| {
            let mut command = alone("prometheus");
            command
                .arg(format!("--config.file={}", dir.join("p.yml").display()))
                .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(["--web.enable-remote-write-receiver", "--enable-feature=native-histograms"]);
            command
        };
        Self::start(command, "/-/ready", Some(&settings)).await
    }

    /// VictoriaMetrics.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn victoria() -> Self {
        let command = |dir: &std::path::Path, port: u16| {
            let mut command = alone("victoria-metrics");
            command
                .arg(format!("-storageDataPath={}", dir.join("data").display()))
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .args(["-retentionPeriod=1d", "-search.latencyOffset=0s", "-memory.allowedBytes=256MiB"]);
            command
        };
        Self::start(command, "/health", None).await
    }

    async fn start(command: fn(&std::path::Path, u16) -> Command, ready: &'static str, settings: Option<&str>) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        if let Some(settings) = settings {
            std::fs::write(dir.path().join("p.yml"), settings).unwrap();
        }
        let path = dir.path().to_owned();
        let command = move || {
            let mut command = command(&path, port);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let child = command().spawn().unwrap();
        let engine = Self { child, command: Box::new(command), port, ready, _dir: dir };
        engine.is_ready().await;
        engine
    }

    async fn is_ready(&self) {
        eventually("an engine that is ready", async || {
            let answer = reqwest::get(self.url(self.ready)).await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn stop(&mut self) {
        // SIGTERM: what it took is on its disk then.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        let _ = self.child.wait();
    }

    /// Starts it again on its data.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn again(&mut self) {
        self.kill();
        self.child = (self.command)().spawn().unwrap();
        self.is_ready().await;
    }

    /// The address of a path of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The answer to a query about now; all series with their labels and either value or histogram.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn ask(&self, query: &str) -> Result<Vec<Json>, String> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        let request = client.get(self.url("/api/v1/query")).query(&[("query", query)]);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let answer: Json = answer.json().await.map_err(|error| error.to_string())?;
        answer["data"]["result"].as_array().cloned().ok_or_else(|| format!("{query}: {answer}"))
    }

    /// The only number that a query about now gives; `None` without a series.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn number(&self, query: &str) -> Result<Option<f64>, String> {
        let found = self.ask(query).await?;
        match &found[..] {
            [] => Ok(None),
            [one] => Ok(Some(one["value"][1].as_str().ok_or_else(|| format!("{query}: {one}"))?.parse().unwrap())),
            more => Err(format!("{query}: {more:?}")),
        }
    }

    /// All samples of a selector over a while, in order: series, then seconds and value.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn samples(&self, selector: &str, range: &str) -> Result<Vec<(Json, EngineSamples)>, String> {
        let point = |point: &Json| (point[0].as_f64().unwrap(), point[1].as_str().unwrap().parse().unwrap());
        let found = self.ask(&format!("{selector}[{range}]")).await?;
        let points =
            |one: &Json| one["values"].as_array().map(|all| all.iter().map(point).collect()).unwrap_or_default();
        Ok(found.iter().map(|one| (one["metric"].clone(), points(one))).collect())
    }
}

/// What a counter grew by over its samples, its restarts known by a fall.
#[must_use]
pub fn growth(samples: &[(f64, f64)]) -> f64 {
    let step = |pair: &[(f64, f64)]| if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 };
    samples.windows(2).map(step).sum()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    /// `inner` as a child of a shell that does `before`.
    fn under(before: &str, inner: &Command) -> Command {
        let mut shell = Command::new("bash");
        shell.args(["-c", before, "bash"]).arg(inner.get_program()).args(inner.get_args());
        shell
    }

    #[test]
    fn an_engine_holds_no_file_of_whoever_starts_it() {
        let mut list = Command::new("ls");
        list.arg("/proc/self/fd");
        let files = |inner: &Command| {
            let output = under("exec 7</dev/null 19</dev/null; \"$@\"", inner).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let inherited = files(&list);
        assert!(inherited.contains(&"7".to_owned()) && inherited.contains(&"19".to_owned()), "{inherited:?}");
        let mut list = alone("ls");
        list.arg("/proc/self/fd");
        // 3 is the folder that it lists.
        assert_eq!(files(&list), ["0", "1", "2", "3"]);
    }

    #[tokio::test]
    async fn an_engine_ends_with_whoever_started_it() {
        let mut sleep = alone("sleep");
        sleep.arg("600");
        let mut starter = under("\"$@\" & echo $!; wait", &sleep).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(starter.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let stat = format!("/proc/{}/stat", said.trim());
        let running = |name: &str| {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            // "123 (sleep) S ...": a zombie has ended.
            let (head, state) = stat.rsplit_once(") ").unwrap_or_default();
            head.ends_with(&format!("({name}")) && !state.starts_with('Z')
        };
        eventually("it runs", async || if running("sleep") { Ok(()) } else { Err("not yet".to_owned()) }).await;
        starter.kill().unwrap();
        starter.wait().unwrap();
        eventually("it ended too", async || if running("sleep") { Err("it runs".to_owned()) } else { Ok(()) }).await;
    }
}
