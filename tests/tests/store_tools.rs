//! `starling store` as a person calls it: import, export, check, stats, snapshot, restore.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use starling_tests::{Program, binary, eventually};
use tempfile::TempDir;

/// A whole hour that is over for long.
const T0: u32 = 1_790_000_000 / 3_600 * 3_600;

/// What a call said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn store(arguments: &[&str]) -> Said {
    let output = Command::new(binary("starling")).arg("store").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    Said { code: output.status.code().unwrap(), out, err }
}

struct State(TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn call(&self, arguments: &[&str]) -> Said {
        let state = self.path("state");
        store(&[arguments, &["--state", state.to_str().unwrap()]].concat())
    }

    /// Imports a text that must be taken whole; what is told.
    fn import(&self, name: &str, text: &str) -> String {
        let said = self.try_import(name, text);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        said.out
    }

    fn try_import(&self, name: &str, text: &str) -> Said {
        let file = self.path(name);
        fs::write(&file, text).unwrap();
        self.call(&["import", file.to_str().unwrap()])
    }

    fn export(&self, arguments: &[&str]) -> String {
        let said = self.call(&[&["export"], arguments].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.out
    }
}

/// The number before some words of a report.
fn number(told: &str, words: &str) -> u64 {
    let at = told.find(words).unwrap_or_else(|| panic!("{words:?} is not in {told}"));
    told[..at].split_whitespace().last().unwrap().parse().unwrap()
}

fn json_lines(text: &str) -> Vec<Value> {
    // serde_json is strict.
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// 43. Import twice, export twice: everything doubled.
#[test]
fn importing_again_changes_nothing() {
    let mut text = String::new();
    for n in 0..20 {
        for t in 0..3_600 {
            let _ = writeln!(text, "g{{node=\"n1\",n=\"{n}\"}} {} {}", (n * 7 + t) % 100, T0 + t);
        }
    }
    let mut buckets = String::from("# TYPE lat_seconds histogram\n");
    for t in 0..60 {
        for (bound, n) in [("0.1", 3 * t), ("0.5", 5 * t), ("+Inf", 6 * t)] {
            let _ = writeln!(buckets, "lat_seconds_bucket{{node=\"n1\",le=\"{bound}\"}} {n} {}", T0 + t);
        }
        let _ = writeln!(
            buckets,
            "lat_seconds_count{{node=\"n1\"}} {} {}\nlat_seconds_sum{{node=\"n1\"}} {t} {}",
            6 * t,
            T0 + t,
            T0 + t
        );
    }
    let state = State::new();
    let told = state.import("a.om", &text);
    assert_eq!((number(&told, "new"), number(&told, "already")), (72_000, 0));
    state.import("b.om", &buckets);
    let before: Vec<String> = ["1s", "10s", "1m", "1h"].iter().map(|tier| state.export(&["--tier", tier])).collect();
    let same = |what: &str| {
        let after: Vec<String> = ["1s", "10s", "1m", "1h"].iter().map(|tier| state.export(&["--tier", tier])).collect();
        assert!(before == after, "changed after {what}");
    };
    let told = state.import("a.om", &text);
    assert_eq!((number(&told, "new"), number(&told, "already")), (0, 72_000));
    same("the same file");
    let told = state.import("b.om", &buckets);
    assert_eq!(number(&told, "new"), 0, "{told}");
    same("the same histograms");
    // The second half, and a line that stands twice where a batch may end.
    let half: String = text.lines().skip(36_000).flat_map(|line| [line, "\n"]).collect();
    let told = state.import("half.om", &half);
    assert_eq!((number(&told, "new"), number(&told, "already")), (0, 36_000));
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(5_000, lines[4_999]);
    let told = state.import("twice.om", &lines.join("\n"));
    assert_eq!((number(&told, "already"), number(&told, "stood there twice")), (72_000, 1));
    same("a file with a line twice");
    // Other values: the new ones count, and are counted.
    let other: String = (0..60).map(|t| format!("g{{node=\"n1\",n=\"3\"}} 1000 {}\n", T0 + t)).collect();
    let told = state.import("other.om", &other);
    assert_eq!((number(&told, "new,"), number(&told, "with another value")), (0, 60));
    let cells = state.export(&["--tier", "1m", "--subject", "node/n1", "--name", "g", "--to", &(T0 + 59).to_string()]);
    let of_three = json_lines(&cells).into_iter().find(|one| one["attributes"]["n"] == "3").unwrap();
    assert_eq!((&of_three["sum"][0], &of_three["seconds"][0]), (&60_000.into(), &60.into()));
    assert_eq!(state.call(&["check", "--deep"]).code, 0);
}

/// 43, 44. What is exported comes back as it was, bit for bit, whatever its neighbours are; infinities keep JSON valid.
#[test]
fn what_is_exported_comes_back() {
    let odd = ["1.5", "2.33", "+Inf", "NaN", "-Inf", "-0.0", "5e-324", "9007199254740993", "2.33"];
    let mut text = String::new();
    for (t, value) in odd.iter().enumerate() {
        let _ = writeln!(text, "odd{{node=\"n1\"}} {value} {}", T0 as usize + t);
    }
    for t in 9..69 {
        let _ = writeln!(text, "odd{{node=\"n1\"}} {t} {}", T0 + t);
    }
    for t in 0..400 {
        let _ = writeln!(text, "jobs_total{{node=\"n2\",kind=\"a,b=c;d\\\\\\\"\"}} {}.5 {}", t * 3, T0 + t);
        let _ = writeln!(text, "cluster:traffic_active{{protocol=\"grpc\"}} {} {}", t % 17, T0 + t);
    }
    text.push_str("# TYPE lat histogram\n");
    for t in 0..30 {
        let _ = writeln!(
            text,
            "lat_bucket{{node=\"n2\",le=\"2\"}} {} {}\nlat_count{{node=\"n2\"}} {} {}",
            t,
            T0 + t,
            2 * t,
            T0 + t
        );
    }
    let state = State::new();
    let told = state.import("a.om", &text);
    assert_eq!(number(&told, "were no number"), 1, "{told}");
    let json = state.export(&[]);
    let mut values = BTreeMap::new();
    for line in json_lines(&json).iter().filter(|line| line["name"] == "odd" && line["subject"] == "node/n1") {
        let (times, all) = (line["times"].as_array().unwrap(), line["values"].as_array().unwrap());
        values.extend(times.iter().zip(all).map(|(time, value)| (time.as_u64().unwrap() as u32 - T0, value.clone())));
    }
    for (t, value) in odd.iter().enumerate() {
        let given: f64 = value.parse().unwrap();
        match values.get(&(t as u32)) {
            None => assert!(given.is_nan()),
            Some(Value::String(text)) => assert_eq!(text, value),
            Some(number) => assert_eq!(number.as_f64().unwrap().to_bits(), given.to_bits(), "{value}"),
        }
    }
    assert_eq!(values.len(), 68);
    let minute = json_lines(&state.export(&["--tier", "1m", "--name", "odd", "--subject", "node/*"])).remove(0);
    assert_eq!((&minute["max"][0], &minute["min"][0]), (&"+Inf".into(), &"-Inf".into()));
    assert_eq!((&minute["max"][1], &minute["min"][1]), (&68.into(), &60.into()), "its neighbour");
    for (format, ending) in [("json", "jsonl"), ("csv", "csv")] {
        let exported = state.export(&["--format", format]);
        let copy = State::new();
        let told = copy.import(&format!("x.{ending}"), &exported);
        assert_eq!(number(&told, "already there"), 0, "{told}");
        assert!(copy.export(&["--format", format]) == exported, "{format} is not the same");
        assert!(copy.export(&[]) == json, "{format} lost something");
        for tier in ["10s", "1m", "1h"] {
            assert!(copy.export(&["--tier", tier]) == state.export(&["--tier", tier]), "{format}, {tier}");
        }
        assert_eq!(number(&state.import(&format!("y.{ending}"), &exported), "new"), 0, "{format}");
    }
    // Prometheus takes the text.
    let text = state.path("export.om");
    state.export(&["--format", "openmetrics", "--output", text.to_str().unwrap()]);
    let blocks = state.path("blocks");
    let promtool =
        Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&text).arg(&blocks).output();
    let promtool = promtool.expect("promtool: apt-get install prometheus");
    assert!(promtool.status.success(), "{}", String::from_utf8_lossy(&promtool.stderr));
}

#[test]
fn lines_that_are_refused_are_named_and_the_others_taken() {
    let state = State::new();
    let said =
        state.try_import("a.om", &format!("g 1 {T0}\ng one {T0}\ng 1\n\u{1}\ng 2 {}\ng 3 99999999999\n", T0 + 1));
    assert_eq!(said.code, 1);
    for wanted in ["a.om:2: \"one\" is no number", "a.om:3: there is no time", "a.om:4: ", "a.om:6: the time"] {
        assert!(said.err.contains(wanted), "{wanted} is not in {}", said.err);
    }
    assert_eq!(number(&said.out, "new"), 2);
    let said = state.try_import("a.jsonl", "{\"name\":\"g\",\"times\":[1,2],\"values\":[1]}\n{\"name\":\"traffic.requests\",\"times\":[1],\"values\":[1]}\n[]\n{\n");
    for wanted in [
        "a.jsonl:1: `times` has 2 entries and `values` 1",
        "a.jsonl:2: traffic.requests is a counter",
        "a.jsonl:3: ",
        "a.jsonl:4: no JSON",
    ] {
        assert!(said.err.contains(wanted), "{wanted} is not in {}", said.err);
    }
    let said = state.try_import("a.csv", "time,name,values\n1,g,1\n");
    assert!(said.code == 1 && said.err.contains("a.csv:1: the first row names the columns"), "{}", said.err);
    let said = state.call(&["import", "/no/such/file"]);
    assert_eq!((said.code, said.err.contains("cannot open /no/such/file")), (2, true), "{}", said.err);
    assert_eq!(state.call(&["import", "x", "--subject", "Node 1"]).code, 2);
    let none = State::new();
    for what in ["check", "stats", "export"] {
        let said = none.call(&[what]);
        assert_eq!((said.code, said.err.contains("holds no store")), (2, true), "{what}: {}", said.err);
    }
    assert!(!none.path("state").exists(), "looking creates nothing");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

/// 11. `stats` says what the file system says. And every flipped byte is named.
#[test]
fn stats_and_check_say_what_is_there() {
    let state = State::new();
    let mut text = String::new();
    for t in 0..1_200 {
        let _ = writeln!(text, "g{{node=\"n1\"}} {} {}", u64::from(t * t) % 1_009, T0 + t + 600 * (t / 600));
    }
    state.import("a.om", &text);
    let stats: Value = serde_json::from_str(&state.call(&["stats", "--json"]).out).unwrap();
    let history = state.path("state/history");
    let on_disk: u64 = files(&history).iter().map(|path| path.metadata().unwrap().len()).sum();
    let told = stats["bytes"].as_u64().unwrap();
    assert!(told.abs_diff(on_disk) * 20 <= on_disk, "{told} of {on_disk}");
    let seconds = &stats["tiers"][0];
    assert_eq!((&seconds["series"], &seconds["samples"], &seconds["subjects"]), (&2.into(), &2_400.into(), &2.into()));
    assert_eq!((&seconds["oldest"], &seconds["newest"]), (&T0.into(), &(T0 + 1_799).into()));
    assert_eq!(seconds["gaps"], serde_json::json!([{"from": T0 + 600, "to": T0 + 1_199}]));
    assert_eq!(state.call(&["check", "--deep"]).code, 0);
    let segments: Vec<PathBuf> = files(&history.join("segments"));
    for path in segments.iter().chain([&history.join("FORMAT")]) {
        let whole = fs::read(path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 5 + 1) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(path, &bytes).unwrap();
            let said = state.call(&["check", "--json"]);
            let report: Value = serde_json::from_str(&said.out).unwrap();
            let named = report["damages"].to_string().contains(&*path.file_name().unwrap().to_string_lossy());
            assert!(said.code == 1 && named, "byte {at} of {}: {report}", path.display());
        }
        fs::write(path, &whole).unwrap();
    }
    assert_eq!(state.call(&["check"]).code, 0);
}

/// 46. A snapshot of a running aggregator has every second that was acknowledged, goes on elsewhere, and a half restore does not
/// start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_running_aggregator_goes_on_elsewhere() {
    let state = State::new();
    let folder = state.path("state").display().to_string();
    state.import("a.om", &(0..300).map(|t| format!("g{{node=\"old\"}} {t} {}\n", T0 + t)).collect::<String>());
    let mut aggregator = aggregator(&folder);
    let mut oracle = starling_tests::Oracle::start(3, &[aggregator.address("grpc").to_string()], 7);
    let mut newest = 0;
    for _ in 0..5 {
        newest = oracle.cut().await;
    }
    eventually("the newest second is answered", async || {
        let answer = requests(&aggregator, newest).await?;
        if answer > 0.0 { Ok(()) } else { Err(format!("{answer} at {newest}")) }
    })
    .await;
    let wanted = requests(&aggregator, newest).await.unwrap();
    let snapshot = state.path("snapshot").display().to_string();
    let said = state.call(&["snapshot", &snapshot]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = state.call(&["import", "x.om"]);
    assert!(said.code == 2 && said.err.contains("stop that one first"), "{}", said.err);
    let said = state.call(&["restore", &snapshot]);
    assert!(said.code == 2 && said.err.contains("not empty"), "{}", said.err);
    for what in [&["check"][..], &["check", "--deep"], &["stats"]] {
        assert_eq!(state.call(what).code, 0, "{what:?} beside it");
    }
    aggregator.kill();
    drop(oracle);
    let target = state.path("target").display().to_string();
    // Half of it.
    fs::create_dir_all(state.path("target/history")).unwrap();
    fs::write(state.path("target/history/RESTORING"), format!("{snapshot}/history\n")).unwrap();
    let (code, stderr) = Program::run_to_end(
        "starling-aggregator",
        &[
            "--set",
            &format!("state_dir={target}"),
            "--set",
            "grpc_listen=127.0.0.1:0",
            "--set",
            "gossip_listen=127.0.0.1:0",
            "--set",
            "admin_listen=127.0.0.1:0",
        ],
    );
    assert!(code == Some(1) && stderr.contains("starling store restore"), "{code:?}: {stderr}");
    let said = store(&["restore", &snapshot, "--state", &target]);
    assert_eq!(said.code, 0, "{}", said.err);
    let restored = self::aggregator(&target);
    eventually("what was acknowledged is there", async || match requests(&restored, newest).await {
        Ok(answer) if answer == wanted => Ok(()),
        other => Err(format!("{other:?} instead of {wanted}")),
    })
    .await;
    let old = store(&["export", "--state", &target, "--subject", "node/old"]);
    assert_eq!(json_lines(&old.out)[0]["values"].as_array().unwrap().len(), 300);
    drop(restored);
    assert_eq!(store(&["check", "--deep", "--state", &target]).code, 0);
}

fn aggregator(state: &str) -> Program {
    let state = format!("state_dir={state}");
    let free = ["grpc_listen=127.0.0.1:0", "gossip_listen=127.0.0.1:0", "admin_listen=127.0.0.1:0", "cluster=test"];
    Program::with_settings("starling-aggregator", &[&[state.as_str()], &free[..]].concat())
}

/// Requests of the cluster in a second.
async fn requests(aggregator: &Program, tick: u32) -> Result<f64, String> {
    let url = aggregator.url("grpc");
    let mut client =
        starling_service::grpc::query_client::QueryClient::connect(url).await.map_err(|error| error.to_string())?;
    let request = starling_proto::v1::QueryRangeRequest {
        from_tick: tick,
        to_tick: tick,
        step_seconds: 1,
        total: true,
        statistics: vec!["sum".to_owned()],
        ..Default::default()
    };
    let answer = client.query_range(request).await.map_err(|status| status.to_string())?.into_inner();
    let value = answer.series.first().and_then(|series| series.statistics[0].values.first().copied());
    value.filter(|value| !value.is_nan()).ok_or_else(|| format!("no value of {tick}"))
}

/// A tool that passes over what it cannot read says so: what, where, how much, and by its exit code.
#[test]
fn whatever_cannot_be_read_is_named_counted_and_fails_the_command() {
    let state = State::new();
    let text = |values: std::ops::Range<u32>| -> String {
        values.map(|t| format!("g{{node=\"n1\"}} {} {}\n", t * 7919 % 1009, T0 + t)).collect()
    };
    state.import("a.om", &text(0..300));
    let whole = state.export(&[]);
    let [segment] = &files(&state.path("state/history/segments/1s"))[..] else { panic!("one window") };
    let name = segment.file_name().unwrap().to_str().unwrap();
    // The body of a block begins with its subject, behind the length of that in one byte.
    let mut bytes = fs::read(segment).unwrap();
    let subject = b"\x07node/n1";
    let body = bytes.windows(subject.len()).position(|here| here == subject).unwrap();
    bytes[body + subject.len() + 20] ^= 1;
    fs::write(segment, &bytes).unwrap();

    for (arguments, last) in [
        (&["check"][..], "1 damages"),
        (&["check", "--deep"], "1 damages"),
        (&["stats"], "1 could not be read"),
        (&["export"], "1 could not be read"),
    ] {
        let said = state.call(arguments);
        let all = format!("{}{}", said.out, said.err);
        assert_eq!(said.code, 1, "{arguments:?}: {all}");
        let named = all.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{arguments:?}: {all}"));
        assert!(named.contains("offset") && named.contains("node/n1") && named.contains(&T0.to_string()), "{named}");
        let end = if said.err.is_empty() { &said.out } else { &said.err };
        assert!(end.lines().last().unwrap().starts_with(last), "{arguments:?}: {all}");
    }
    let left = state.call(&["export"]).out;
    assert!(left.len() < whole.len() && !left.contains("node/n1"), "{left}");

    let said = state.try_import("b.om", &text(300..310));
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.err.contains("not read: ") && said.err.contains(name), "{}", said.err);
    let last = said.out.lines().last().unwrap();
    assert_eq!(number(last, "blocks that were there could not be read"), 1, "{last}");
}
