//! Tests of rules from a file: seconds that are made up, and which rules must fire in them.
//!
//! ```toml
//! [[test]]
//! name = "a busy node is seen after two minutes"
//! subject = "node web-1"        # "cluster", "group zone:a" or "node NAME"
//! coverage = [3, 3]             # nodes in each second, nodes expected; optional
//! # Values of each second; `by` attributes in braces. `peers` of a node: the same of the cluster.
//! seconds = [
//!   { for = "150s", values = { "system.cpu.utilization" = 0.97 } },
//!   { for = "60s", values = { "system.cpu.utilization" = 0.2 } },
//! ]
//! # Every change of a rule's state that is to happen, and no other.
//! expect = [
//!   { at = "120s", rule = "cpu-busy", state = "firing" },
//!   { at = "180s", rule = "cpu-busy", state = "cleared" },
//! ]
//! ```
//!
//! Rules that are queries are judged by tests that give `series` in place of `seconds`: see `trial/series.rs`.

mod series;

use std::collections::BTreeMap;

use starling_promql::parse_duration;
use starling_proto::{catalogue::Statistic, histogram::Histogram};
use toml::{Table, Value};

use super::{Board, Episode, Rules, Second, State, Subject, Values, Whole, facts};

/// Longest test: a day.
const SECONDS_MAX: i64 = 86_400;
/// The first second of a test: the first of a day.
const BEGIN: u32 = 1_800_057_600;

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What was expected and did not happen, and what happened and was not expected; empty when it passed.
    pub differs: Vec<String>,
}

/// Values of a second by "name" or "name{key=value}"; percentiles of histograms are made of values that are all the same:
/// `"traffic.duration" = { value = 0.02, count = 100 }`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    values: BTreeMap<String, f64>,
    histograms: BTreeMap<String, Histogram>,
    nodes: f64,
}

#[cfg(test)]
impl Given {
    /// Of so many nodes.
    pub(crate) fn of_nodes(nodes: f64) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// With a value of "name" or "name{key=value}", or a fact.
    pub(crate) fn with(mut self, what: &str, value: f64) -> Self {
        self.values.insert(what.to_owned(), value);
        self
    }

    /// With so many values of so many seconds each.
    pub(crate) fn with_histogram(mut self, name: &str, seconds: f64, count: u64) -> Self {
        self.histograms.insert(name.to_owned(), Histogram::of((seconds * 1e9) as u64, count));
        self
    }

    /// The same with what another has of histograms.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (name, histogram) in &other.histograms {
            let sum = self.histograms.get(name).map_or_else(|| histogram.clone(), |own| own.plus(histogram).unwrap());
            self.histograms.insert(name.clone(), sum);
        }
        self
    }
}

fn key(name: &str, with: &[(&str, &str)]) -> String {
    match with {
        [] => name.to_owned(),
        with => format!("{name}{{{}}}", with.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")),
    }
}

impl Values for Given {
    fn statistic(&self, name: &str, with: &[(&str, &str)], statistic: Statistic) -> Option<f64> {
        match statistic {
            Statistic::Nodes => Some(self.nodes),
            Statistic::Count => self.histograms.get(&key(name, with)).map(|histogram| histogram.count() as f64),
            _ => self.values.get(&key(name, with)).copied(),
        }
    }

    fn histogram(&self, name: &str, with: &[(&str, &str)]) -> Option<Histogram> {
        self.histograms.get(&key(name, with)).cloned()
    }

    fn nodes_above(&self, name: &str, with: &[(&str, &str)], than: f64) -> Option<f64> {
        self.statistic(name, with, Statistic::Value).map(|value| if value > than { self.nodes } else { 0.0 })
    }

    fn attributes(&self, name: &str, keys: &[String]) -> Vec<Vec<String>> {
        let all = self.values.keys().chain(self.histograms.keys());
        let of_name = all.filter_map(|key| key.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}'));
        let mut sets: Vec<Vec<String>> = of_name
            .filter_map(|pairs| {
                let pairs: BTreeMap<&str, &str> = pairs.split(',').filter_map(|pair| pair.split_once('=')).collect();
                keys.iter().map(|key| pairs.get(key.as_str()).map(|value| (*value).to_owned())).collect()
            })
            .collect();
        sets.sort();
        sets.dedup();
        sets
    }

    fn fact(&self, name: &str) -> Option<f64> {
        facts::find(name).and_then(|_| self.values.get(name).copied())
    }
}

/// Runs the tests in `text` against `rules`.
///
/// # Errors
/// What is wrong with the file: which test, which key, what is wanted.
pub fn run(rules: &Rules, text: &str) -> Result<Vec<Outcome>, Vec<String>> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| vec![error.to_string()])?;
    let Some(Value::Array(tests)) = table.get("test") else {
        return Err(vec!["there is no [[test]]".to_owned()]);
    };
    let (mut outcomes, mut wrong) = (Vec::new(), Vec::new());
    for (at, test) in (1..).zip(tests) {
        let name = test.get("name").and_then(Value::as_str).map_or_else(|| format!("test {at}"), str::to_owned);
        match run_one(rules, test) {
            Ok(differs) => outcomes.push(Outcome { name, differs }),
            Err(what) => wrong.push(format!("{name}: {what}")),
        }
    }
    if wrong.is_empty() { Ok(outcomes) } else { Err(wrong) }
}

fn seconds(value: Option<&Value>, key: &str) -> Result<u32, String> {
    let wanted = || format!("{key}: wanted is a length of time such as \"90s\"");
    match value {
        Some(Value::String(text)) if text == "0s" => Ok(0),
        Some(Value::String(text)) => match parse_duration(text).map_err(|error| format!("{key}: {error}"))? {
            ms if ms % 1_000 == 0 && ms <= SECONDS_MAX * 1_000 => Ok((ms / 1_000) as u32),
            _ => Err(format!("{key}: wanted are whole seconds, at most a day")),
        },
        _ => Err(wanted()),
    }
}

fn subject(test: &Value) -> Result<Subject, String> {
    let text = test.get("subject").and_then(Value::as_str).ok_or("subject: is missing, wanted is \"node web-1\"")?;
    Subject::parse(text).map_err(|error| format!("subject: {error}"))
}

fn given(value: Option<&Value>, key: &str) -> Result<Given, String> {
    let Some(value) = value else { return Ok(Given::default()) };
    let Value::Table(table) = value else { return Err(format!("{key}: wanted is a table of values")) };
    let mut given = Given { nodes: 1.0, ..Given::default() };
    for (name, value) in table {
        let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|value| value as f64));
        match (number(value), value) {
            (Some(number), _) => drop(given.values.insert(name.clone(), number)),
            (None, Value::Table(of)) => {
                let read = |key: &str| of.get(key).and_then(number).filter(|number| *number >= 0.0);
                let (Some(value), Some(count)) = (read("value"), read("count")) else {
                    return Err(format!("{key}.{name}: wanted is {{ value = 0.02, count = 100 }}"));
                };
                given.histograms.insert(name.clone(), Histogram::of((value * 1e9) as u64, count as u64));
            }
            _ => return Err(format!("{key}.{name}: wanted is a number")),
        }
    }
    Ok(given)
}

/// After how many seconds which rule became what, for whom of its attributes.
type Seen = (u32, (String, Vec<(String, String)>, State));

/// Notes the changes among `changed` that people would hear of.
fn see(seen: &mut Vec<Seen>, tick: u32, changed: Vec<Episode>) {
    for episode in changed {
        let is = (episode.rule, episode.attributes, episode.state);
        let heard = match is.2 {
            State::Firing => true,
            State::Pending => false,
            State::Cleared => episode.fired.is_some(),
        };
        let last = seen.iter().rev().find(|(_, other)| (&other.0, &other.1) == (&is.0, &is.1));
        if heard && last.is_none_or(|(_, last)| last.2 != is.2) {
            seen.push((tick - BEGIN, is));
        }
    }
}

fn run_one(rules: &Rules, test: &Value) -> Result<Vec<String>, String> {
    if test.get("series").is_some() {
        return compare(rules, test, &series::run(rules, test)?);
    }
    let subject = subject(test)?;
    let coverage = match test.get("coverage").and_then(Value::as_array).map(Vec::as_slice) {
        None => (1, 1),
        Some([Value::Integer(a), Value::Integer(b)]) if *a >= 0 && *b >= 0 => (*a as u32, *b as u32),
        Some(_) => return Err("coverage: wanted are two numbers".to_owned()),
    };
    let Some(Value::Array(spans)) = test.get("seconds") else { return Err("seconds: is missing".to_owned()) };
    let mut board = Board::new(rules.clone());
    let (mut tick, mut seen) = (BEGIN, Vec::new());
    for (at, span) in spans.iter().enumerate() {
        let values = given(span.get("values"), &format!("seconds[{at}].values"))?;
        let has_values = span.get("values").is_some();
        let whole = given(span.get("peers"), &format!("seconds[{at}].peers"))?;
        let has_peers = span.get("peers").is_some();
        for _ in 0..seconds(span.get("for"), &format!("seconds[{at}].for"))? {
            let second =
                Second { tick, subject: &subject, values: has_values.then_some(&values as &dyn Values), coverage };
            let beside = Whole { values: has_peers.then_some(&whole as &dyn Values), firing: &|_| 0.0 };
            see(&mut seen, tick, board.judge(&second, &beside));
            tick += 1;
            if i64::from(tick - BEGIN) > SECONDS_MAX {
                return Err("seconds: more than a day".to_owned());
            }
        }
    }
    compare(rules, test, &seen)
}

/// What of the changes that were seen was not expected, and what was expected and not seen.
fn compare(rules: &Rules, test: &Value, seen: &[Seen]) -> Result<Vec<String>, String> {
    let mut happened: Vec<String> =
        seen.iter().map(|(at, (rule, _, state))| format!("{at} s: {rule} {}", state.as_str())).collect();
    let mut differs = Vec::new();
    let none = Vec::new();
    let expected = match test.get("expect") {
        None => &none,
        Some(Value::Array(all)) => all,
        Some(_) => return Err("expect: wanted is a list".to_owned()),
    };
    for (at, one) in expected.iter().enumerate() {
        let text = |key: &str| {
            let value = one.get(key).and_then(Value::as_str);
            value.ok_or_else(|| format!("expect[{at}].{key}: is missing"))
        };
        let (rule, state) = (text("rule")?, text("state")?);
        let Some(known) = rules.get(rule) else {
            return Err(format!("expect[{at}].rule: there is no rule {rule:?}"));
        };
        if known.every.is_some() != test.get("series").is_some() {
            return Err(match known.every {
                Some(_) => format!("expect[{at}].rule: {rule} is a query: give the test series in place of seconds"),
                None => format!("expect[{at}].rule: {rule} is no query: give the test seconds in place of series"),
            });
        }
        let wanted = format!("{} s: {rule} {state}", seconds(one.get("at"), &format!("expect[{at}].at"))?);
        match happened.iter().position(|is| *is == wanted) {
            Some(at) => drop(happened.remove(at)),
            None => differs.push(format!("expected, and did not happen: {wanted}")),
        }
    }
    differs.extend(happened.into_iter().map(|is| format!("happened, and was not expected: {is}")));
    Ok(differs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_judged_on_series_that_are_given() {
        let rule = "[[rule]]\nname = \"queue\"\npromql = \"sum(queue) by (pod) / 10\"\nevery = \"10s\"\nabove = 9\nfor = \"20s\"\nseverity = \"error\"\nsummary = \"of {pod} is long\"\n";
        let rules = crate::defaults::with(&[("own", rule)], &[]).unwrap();
        let test = r#"
[[test]]
name = "a long queue"
series = [
  { name = "queue", labels = { pod = "a", shop = "1" }, values = [{ for = "30s", value = 10 }, { for = "60s", value = 100 }, { for = "30s", value = 5 }] },
  { name = "queue", labels = { pod = "b", shop = "1" }, values = [{ for = "120s", from = 0, to = 120 }] },
]
expect = [
  { at = "50s", rule = "queue", state = "firing" },
  { at = "90s", rule = "queue", state = "cleared" },
  { at = "110s", rule = "queue", state = "firing" },
]
"#;
        // b is above 90 from 100 s on, and its last value is as old as 10 s at most.
        let wanted = [
            "expected, and did not happen: 110 s: queue firing",
            "happened, and was not expected: 120 s: queue firing",
        ];
        assert_eq!(run(&rules, test).unwrap()[0].differs, wanted);
        assert_eq!(run(&rules, &test.replace("110s", "120s")).unwrap()[0].differs, [""; 0]);
        for (from, to, wanted) in [
            (
                "rule = \"queue\", state = \"cleared\"",
                "rule = \"cpu-busy\", state = \"cleared\"",
                "cpu-busy is no query",
            ),
            (
                "name = \"queue\", labels = { pod = \"b\"",
                "named = \"queue\", labels = { pod = \"b\"",
                "series[1].name: is missing",
            ),
            ("value = 100 }", "value = 100, to = 5 }", "series[0].values[1]: wanted is { for ="),
            ("{ for = \"120s\"", "{ for = \"90000s\"", "series[1].values[0].for: wanted are whole seconds"),
        ] {
            let found = run(&rules, &test.replacen(from, to, 1));
            assert!(found.as_ref().is_err_and(|all| all[0].contains(wanted)), "{wanted}: {found:?}");
        }
    }

    const GOOD: &str = r#"
[[test]]
name = "busy"
subject = "node web-1"
seconds = [
  { for = "150s", values = { "system.cpu.utilization" = 0.97 } },
  { for = "60s", values = { "system.cpu.utilization" = 0.2 } },
]
expect = [
  { at = "122s", rule = "cpu-busy", state = "firing" },
]
"#;

    #[test]
    fn what_differs_is_named() {
        let rules = crate::defaults::with(&[], &[]).unwrap();
        let outcomes = run(&rules, GOOD).unwrap();
        let wanted = [
            "expected, and did not happen: 122 s: cpu-busy firing",
            "happened, and was not expected: 120 s: cpu-busy firing",
            "happened, and was not expected: 180 s: cpu-busy cleared",
        ];
        assert_eq!(outcomes[0].differs, wanted, "ten seconds of looking back, hold 30 s");
        let right = GOOD.replace("122s", "120s").replace(
            "state = \"firing\" },",
            "state = \"firing\" },\n  { at = \"180s\", rule = \"cpu-busy\", state = \"cleared\" },",
        );
        assert_eq!(run(&rules, &right).unwrap()[0].differs, [""; 0]);
    }

    #[test]
    fn mistakes_are_named() {
        let rules = crate::defaults::with(&[], &[]).unwrap();
        for (from, to, wanted) in [
            ("node web-1", "host x", "busy: subject: \"host x\" begins with none"),
            ("0.97", "\"x\"", "busy: seconds[0].values.system.cpu.utilization: wanted is a number"),
            ("cpu-busy", "cpu-bussy", "expect[0].rule: there is no rule"),
            ("[[test]]", "[[tests]]", "there is no [[test]]"),
        ] {
            let found = run(&rules, &GOOD.replacen(from, to, 1));
            assert!(found.as_ref().is_err_and(|all| all[0].contains(wanted)), "{wanted}: {found:?}");
        }
    }
}
