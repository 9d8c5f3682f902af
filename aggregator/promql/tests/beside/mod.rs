//! A real Prometheus on the same samples.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use serde_json::Value as Json;
use starling_promql::{Labels, NAME, Range, SampleValue, Samples, Value, write_number};
use tempfile::TempDir;

use crate::store::Store;

/// Label sets and their values by time in milliseconds, or the text of a refusal.
pub(crate) type Outcome = Result<Vec<(Labels, Vec<(i64, f64)>)>, String>;

pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts one that holds the samples of `store`. Panics when it is not installed: without it nothing is compared.
    pub(crate) fn with(store: &Store) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (samples, data, settings) =
            (dir.path().join("samples.om"), dir.path().join("data"), dir.path().join("p.yml"));
        std::fs::write(&samples, exposition(store)).expect("samples are written");
        std::fs::write(&settings, "global: {evaluation_interval: 1s}\n").expect("settings are written");
        run(Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&samples).arg(&data));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        // It ends with the thread that starts it, also when that is killed.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "prometheus"])
            .arg(format!("--config.file={}", settings.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=50y", "--log.format=json"])
            .args(["--enable-feature=promql-at-modifier,promql-negative-offset"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus starts: apt-get install prometheus");
        let mut log = BufReader::new(child.stderr.take().expect("its log is piped"));
        let (mut line, mut seen) = (String::new(), String::new());
        while !line.contains("Server is ready to receive web requests") {
            line.clear();
            assert!(log.read_line(&mut line).expect("its log is read") > 0, "prometheus ended:\n{seen}");
            seen.push_str(&line);
        }
        // Whatever else it says, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, port, _dir: dir }
    }

    pub(crate) fn ask(&self, query: &str, range: Range) -> Outcome {
        let ms = |ms: i64| format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
        let (path, body) = if range.step_ms == 0 {
            ("query", format!("query={}&time={}", escaped(query), ms(range.start_ms)))
        } else {
            let (start, end, step) = (ms(range.start_ms), ms(range.end_ms), ms(range.step_ms));
            ("query_range", format!("query={}&start={start}&end={end}&step={step}", escaped(query)))
        };
        let answer = self.post(path, &body);
        if answer["status"] != "success" {
            return Err(answer["error"].as_str().unwrap_or_default().to_owned());
        }
        let result = &answer["data"]["result"];
        let point = |point: &Json| {
            let time = (point[0].as_f64().expect("a time") * 1000.0).round() as i64;
            (time, number(point[1].as_str().expect("a value")))
        };
        if answer["data"]["resultType"] == "scalar" {
            return Ok(vec![(Labels::default(), vec![point(result)])]);
        }
        let series = result.as_array().expect("a list").iter().map(|one| {
            let metric = one["metric"].as_object().expect("labels").iter();
            let labels = Labels::new(metric.map(|(key, value)| (key.as_str(), value.as_str().expect("a text"))));
            let points = match one["values"].as_array() {
                Some(values) => values.iter().map(point).collect(),
                None => vec![point(&one["value"])],
            };
            (labels, points)
        });
        Ok(series.collect())
    }

    fn post(&self, path: &str, body: &str) -> Json {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("prometheus answers");
        // Version 1.0: the answer ends where the connection does.
        write!(
            socket,
            "POST /api/v1/{path} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("the question is sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("the answer is read");
        let (_, json) = answer.split_once("\r\n\r\n").expect("head and body");
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
    }
}

/// The same of our own evaluation.
pub(crate) fn ours(store: &Store, query: &str, range: Range) -> Outcome {
    let parsed = starling_promql::Query::parse(query).map_err(|error| error.to_string())?;
    let options = starling_promql::Options::default();
    let data: Vec<_> = parsed.selects(&range, &options).iter().map(|select| store.select(select)).collect();
    let answer = parsed.evaluate(&range, &data, &options).map_err(|error| error.to_string())?;
    let float = |value: SampleValue| match value {
        SampleValue::Float(value) => value,
        SampleValue::Histogram(histogram) => panic!("a histogram: {histogram:?}"),
    };
    Ok(match answer.value {
        Value::Scalar(time, value) => vec![(Labels::default(), vec![(time, value)])],
        Value::Text(..) => Vec::new(),
        Value::Vector(series) | Value::Matrix(series) => series
            .into_iter()
            .map(|one| (one.labels, one.points.into_iter().map(|(time, value)| (time, float(value))).collect()))
            .collect(),
    })
}

/// Where the two differ, in words; `None` when they are the same. Numbers may differ by a billionth: they were added up
/// in another order.
pub(crate) fn difference(ours: &Outcome, theirs: &Outcome, ordered: bool) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Err(_), Err(_)) => return None,
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (ours, theirs) => return Some(format!("ours {ours:?}, theirs {theirs:?}")),
    };
    if ordered {
        let names = |all: &[(Labels, Vec<(i64, f64)>)]| all.iter().map(|one| one.0.to_string()).collect::<Vec<_>>();
        if names(ours) != names(theirs) {
            return Some(format!("order: ours {:?}, theirs {:?}", names(ours), names(theirs)));
        }
    }
    let by_labels = |all: &[(Labels, Vec<(i64, f64)>)]| all.iter().cloned().collect::<BTreeMap<_, _>>();
    let (ours, theirs) = (by_labels(ours), by_labels(theirs));
    if !ours.keys().eq(theirs.keys()) {
        return Some(format!("series: ours {:?}, theirs {:?}", ours.keys(), theirs.keys()));
    }
    let same =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9);
    for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
        if !ours.iter().map(|p| p.0).eq(theirs.iter().map(|p| p.0)) {
            let times = |points: &[(i64, f64)]| {
                format!("{} points, first {:?}, last {:?}", points.len(), points.first(), points.last())
            };
            return Some(format!("times of {labels}: ours {}, theirs {}", times(ours), times(theirs)));
        }
        if let Some((a, b)) = ours.iter().zip(theirs).find(|(a, b)| !same(a.1, b.1)) {
            return Some(format!("{labels} at {}: ours {}, theirs {}", a.0, a.1, b.1));
        }
    }
    None
}

/// The samples as OpenMetrics.
fn exposition(store: &Store) -> String {
    let mut text = String::new();
    for series in &store.0 {
        let pairs: Vec<_> = series
            .labels
            .iter()
            .filter(|(key, _)| *key != NAME)
            .map(|(key, value)| {
                format!("{key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
            })
            .collect();
        let Samples::Floats(points) = &series.samples else { panic!("only numbers are exported") };
        for (time, value) in points {
            let time = format!("{}.{:03}", time / 1000, time % 1000);
            let _ =
                writeln!(text, "{}{{{}}} {} {time}", series.labels.get(NAME), pairs.join(","), write_number(*value));
        }
    }
    text + "# EOF\n"
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is a number"))
}

/// For a form: everything but letters and digits as %XX.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = if byte.is_ascii_alphanumeric() { write!(out, "{}", byte as char) } else { write!(out, "%{byte:02X}") };
        out
    })
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: apt-get install prometheus"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
