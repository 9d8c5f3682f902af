//! Starling's series in Prometheus's spelling, and back.
//!
//! Names follow OpenTelemetry's translation for Prometheus: what is no letter, digit or colon becomes `_`, the unit follows
//! (`By` as `bytes`, `s` as `seconds`, a gauge of `1` as `ratio`) unless the name has it already, and `_total` ends the name
//! of a counter. `system.network.io` in `By` is `system_network_io_bytes_total`.
//!
//! A node's own series have the label `node` and the labels of the node. What is merged over nodes has a name of its own,
//! `cluster:NAME` and `group:NAME` with the group's label, so that `sum(NAME)` never counts twice.
//!
//! Keys of attributes become labels in the same way. Where two want one name: two attributes are joined with `;`, in the
//! order of their keys; an attribute that would take a name of ours (`node`, `__name__`, `le`) becomes `exported_NAME`; a
//! label of the node that an attribute already has becomes `node_NAME`.

use std::borrow::Cow;

use starling_history::Subject;
use starling_proto::{catalogue::Kind, series::Series};

use crate::{BOUND, LabelMatcher, Labels, NAME};

/// The label that names a node.
pub const NODE: &str = "node";
/// Before names of what is merged over the cluster.
pub const OF_CLUSTER: &str = "cluster:";
/// Before names of what is merged over the nodes of a group.
pub const OF_GROUP: &str = "group:";

/// Words for units of UCUM.
const UNITS: [(&str, &str); 24] = [
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("min", "minutes"),
    ("h", "hours"),
    ("d", "days"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("bit", "bits"),
    ("Hz", "hertz"),
    ("Cel", "celsius"),
    ("%", "percent"),
    ("V", "volts"),
    ("A", "amperes"),
    ("W", "watts"),
    ("J", "joules"),
];
/// Words for units after a `/`.
const PER: [(&str, &str); 6] =
    [("s", "second"), ("m", "minute"), ("min", "minute"), ("h", "hour"), ("d", "day"), ("By", "byte")];
/// Most words that are put behind a name: `bytes_per_second_total`.
const SUFFIX_WORDS: usize = 4;

/// The name of a metric in Prometheus's spelling, without what it is merged over.
#[must_use]
pub fn metric_name(name: &str, kind: Kind, unit: &str) -> String {
    let mut words: Vec<String> = words(name).map(str::to_owned).collect();
    for word in unit_words(unit, kind) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if kind == Kind::Counter && words.last().is_none_or(|last| last != "total") {
        words.push("total".into());
    }
    let name = words.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() { format!("_{name}") } else { name }
}

/// What stands between characters that no name may have.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').filter(|word| !word.is_empty())
}

fn unit_words(unit: &str, kind: Kind) -> Vec<String> {
    if unit == "1" {
        return if kind == Kind::Gauge { vec!["ratio".into()] } else { Vec::new() };
    }
    let (amount, per) = unit.split_once('/').unwrap_or((unit, ""));
    // What stands in braces is said, not measured.
    let said = |unit: &str| unit.starts_with('{') || unit.is_empty();
    let word = |unit: &str, table: &[(&str, &str)]| {
        let known = table.iter().find(|(code, _)| *code == unit).map(|(_, word)| (*word).to_owned());
        known.unwrap_or_else(|| words(unit).collect::<Vec<_>>().join("_"))
    };
    let mut found = Vec::new();
    if !said(amount) && amount != "1" {
        found.push(word(amount, &UNITS));
    }
    if !said(per) {
        found.extend(["per".to_owned(), word(per, &PER)]);
    }
    found.retain(|word| !word.is_empty());
    found
}

/// The name of a label.
#[must_use]
pub fn label_name(key: &str) -> String {
    spelled(key).into_owned()
}

/// As [`label_name`]; most keys are names already.
fn spelled(key: &str) -> Cow<'_, str> {
    let is_letter = |c: u8| c.is_ascii_alphabetic() || c == b'_';
    if key.bytes().all(|c| is_letter(c) || c.is_ascii_digit()) && !key.starts_with(|c: char| c.is_ascii_digit()) {
        return key.into();
    }
    let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("key_{name}").into() } else { name.into() }
}

/// The labels of a series of `subject`. Of a node `node_labels` are the operator's labels.
#[must_use]
pub fn labels(subject: &Subject, series: &Series, node_labels: &[(String, String)]) -> Labels {
    labels_named(&metric_name(series.name(), series.kind(), series.unit()), subject, series, node_labels)
}

/// As [`labels`], of a series whose [`metric_name`] is `plain`: known once for many subjects.
#[must_use]
pub fn labels_named(plain: &str, subject: &Subject, series: &Series, node_labels: &[(String, String)]) -> Labels {
    // A handful, made for every node of a question: searched from end to end, and copied once.
    let mut all: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(8);
    for (key, value) in series.attributes() {
        let name = spelled(key);
        // A bound of a classic bucket stays one, where the series is a number.
        let ours = [NODE, NAME].contains(&&*name) || (name == BOUND && series.kind() == Kind::Histogram);
        let name = if ours { format!("exported_{name}").into() } else { name };
        match all.iter_mut().find(|(held, _)| *held == name) {
            Some((_, held)) => *held = format!("{held};{value}").into(),
            None => all.push((name, Cow::Borrowed(value))),
        }
    }
    let mut add = |key, value| {
        let name = spelled(key);
        let name = if all.iter().any(|(held, _)| *held == name) { format!("node_{name}").into() } else { name };
        // Of two of one name the last counts.
        all.push((name, Cow::Borrowed(value)));
    };
    let name = match subject {
        Subject::Cluster => format!("{OF_CLUSTER}{plain}").into(),
        Subject::Group(group) => {
            if let Some((key, value)) = group.label() {
                add(key, value);
            }
            format!("{OF_GROUP}{plain}").into()
        }
        Subject::Node(node) => {
            add(NODE, node.as_str());
            node_labels.iter().filter(|(key, _)| key != NODE).for_each(|(key, value)| add(key, value));
            Cow::Borrowed(plain)
        }
    };
    Labels::new(all.iter().map(|(key, value)| (&**key, &**value)).chain([(NAME, &*name)]))
}

/// What a series is that is called `spelled` and comes from one called `name`: its kind, unless it may be a gauge or a
/// histogram, and its unit. `None` when it comes from no series of that name. `spelled` has no [`OF_CLUSTER`] or [`OF_GROUP`].
#[must_use]
pub fn read_back(spelled: &str, name: &str) -> Option<(Option<Kind>, String)> {
    let (mut rest, mut own) = (words(spelled), words(name));
    let begins = own.by_ref().all(|word| rest.next() == Some(word));
    let mut suffix: Vec<&str> = rest.collect();
    if !begins || suffix.len() > SUFFIX_WORDS {
        return None;
    }
    let counter = suffix.last() == Some(&"total") || (suffix.is_empty() && words(name).last() == Some("total"));
    if suffix.last() == Some(&"total") {
        suffix.pop();
    }
    let code = |word: &str, table: &[(&str, &str)]| {
        table.iter().find(|(_, known)| *known == word).map_or_else(|| word.to_owned(), |(code, _)| (*code).to_owned())
    };
    let unit = match suffix[..] {
        [] => String::new(),
        ["ratio"] => "1".to_owned(),
        [one] => code(one, &UNITS),
        ["per", per] => format!("1/{}", code(per, &PER)),
        [one, "per", per] => format!("{}/{}", code(one, &UNITS), code(per, &PER)),
        // Words of no unit: another series.
        _ => return None,
    };
    let kind = counter.then_some(Kind::Counter);
    let same = |kind| metric_name(name, kind, &unit) == spelled;
    (kind.map_or_else(|| same(Kind::Gauge) || same(Kind::Histogram), same)).then_some((kind, unit))
}

/// Whose series a selector can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Nodes, one by one.
    Nodes,
    /// The cluster.
    Cluster,
    /// Groups, one by one.
    Groups,
}

/// What a name is merged over, and the rest of it.
#[must_use]
pub fn merged_over(name: &str) -> (Whose, &str) {
    match (name.strip_prefix(OF_CLUSTER), name.strip_prefix(OF_GROUP)) {
        (Some(rest), _) => (Whose::Cluster, rest),
        (None, Some(rest)) => (Whose::Groups, rest),
        (None, None) => (Whose::Nodes, name),
    }
}

/// Whose series these conditions can hold for. A name that is not given as a whole may be that of any.
#[must_use]
pub fn whose(matchers: &[LabelMatcher]) -> Vec<Whose> {
    match name_of(matchers) {
        Some(name) => vec![merged_over(name).0],
        None => vec![Whose::Nodes, Whose::Cluster, Whose::Groups],
    }
}

/// A regular expression for the names of the series that can be meant, in Starling's spelling: all that are meant and
/// few others. `None` when the name is not given as a whole.
#[must_use]
pub fn pattern(matchers: &[LabelMatcher]) -> Option<String> {
    let (_, name) = merged_over(name_of(matchers)?);
    let words: Vec<&str> = words(name).collect();
    // Each of the last words may be the unit's.
    let shortest = words.len().saturating_sub(SUFFIX_WORDS).max(1);
    let apart = "[^0-9A-Za-z:]+";
    let forms: Vec<String> = (shortest..=words.len()).rev().map(|n| words[..n.min(words.len())].join(apart)).collect();
    Some(format!("[^0-9A-Za-z:]*(?:{})[^0-9A-Za-z:]*", forms.join("|")))
}

/// The name, when a condition gives it as a whole.
#[must_use]
pub fn name_of(matchers: &[LabelMatcher]) -> Option<&str> {
    matchers.iter().filter(|matcher| matcher.label == NAME).find_map(|matcher| matcher.condition.only())
}

/// The node, when a condition gives it as a whole.
#[must_use]
pub fn node_of(matchers: &[LabelMatcher]) -> Option<&str> {
    matchers.iter().filter(|matcher| matcher.label == NODE).find_map(|matcher| matcher.condition.only())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_history::Matcher;
    use starling_proto::{
        catalogue::{METRICS, Scope},
        group::Group,
        ids::NodeId,
    };

    use super::*;

    fn named(name: &str) -> Vec<LabelMatcher> {
        vec![LabelMatcher { label: NAME.into(), condition: Matcher::equal(name) }]
    }

    fn app(name: &str, attributes: &[(&str, &str)], unit: &str) -> Series {
        Series::application(name, attributes, Kind::Counter, unit, 0, Scope::Node).unwrap()
    }

    #[test]
    fn names_follow_the_translation() {
        for (name, kind, unit, wanted) in [
            ("system.network.io", Kind::Counter, "By", "system_network_io_bytes_total"),
            ("system.memory.usage", Kind::Gauge, "By", "system_memory_usage_bytes"),
            ("system.memory.utilization", Kind::Gauge, "1", "system_memory_utilization_ratio"),
            ("traffic.requests", Kind::Counter, "{request}", "traffic_requests_total"),
            ("traffic.duration", Kind::Histogram, "s", "traffic_duration_seconds"),
            ("http.duration.seconds", Kind::Gauge, "s", "http_duration_seconds"),
            ("disk.speed", Kind::Gauge, "By/s", "disk_speed_bytes_per_second"),
            ("a--b..c", Kind::Gauge, "", "a_b_c"),
            ("5xx", Kind::Counter, "1", "_5xx_total"),
            ("jobs_total", Kind::Counter, "1", "jobs_total"),
        ] {
            assert_eq!(metric_name(name, kind, unit), wanted);
        }
    }

    #[test]
    fn every_metric_of_the_catalogue_has_one_name_and_is_found_by_it() {
        let mut names = std::collections::HashSet::new();
        for metric in METRICS {
            let name = metric_name(metric.name, metric.kind, metric.unit);
            assert!(names.insert(name.clone()), "{name} twice");
            for prefix in ["", OF_CLUSTER, OF_GROUP] {
                let pattern = pattern(&named(&format!("{prefix}{name}"))).unwrap();
                assert!(Matcher::regex(&pattern).unwrap().matches(metric.name), "{pattern} for {}", metric.name);
            }
        }
    }

    #[test]
    fn kind_and_unit_are_read_back_from_a_name() {
        for metric in METRICS {
            let spelled = metric_name(metric.name, metric.kind, metric.unit);
            let Some((kind, unit)) = read_back(&spelled, metric.name) else { panic!("{spelled}") };
            assert_eq!(kind == Some(Kind::Counter), metric.kind == Kind::Counter, "{spelled}");
            assert_eq!(metric_name(metric.name, metric.kind, &unit), spelled);
        }
        assert_eq!(read_back("jobs_bytes_total", "jobs"), Some((Some(Kind::Counter), "By".to_owned())));
        assert_eq!(read_back("jobs_total", "jobs_total"), Some((Some(Kind::Counter), String::new())));
        for other in ["job", "jobs_done_today_at_last_total", "jobs_of_all_things_total"] {
            assert_eq!(read_back(other, "jobs"), None, "{other}");
        }
    }

    #[test]
    fn labels_that_want_one_name_are_told_apart() {
        let node = Subject::Node(NodeId::parse("web-1").unwrap());
        let series = app("jobs", &[("a.b", "1"), ("a_b", "2"), ("node", "x"), ("zone", "app"), ("1st", "y")], "");
        let own = [("zone".to_owned(), "z1".to_owned()), ("rack".to_owned(), "r".to_owned())];
        let all = labels(&node, &series, &own);
        assert_eq!(
            all.to_string(),
            "jobs_total{a_b=\"1;2\", exported_node=\"x\", key_1st=\"y\", node=\"web-1\", node_zone=\"z1\", rack=\"r\", zone=\"app\"}"
        );
        let group = Subject::Group(Group::of("zone", "a").unwrap());
        assert_eq!(labels(&group, &app("jobs", &[], ""), &[]).to_string(), "group:jobs_total{zone=\"a\"}");
        assert_eq!(labels(&Subject::Cluster, &app("jobs", &[], ""), &[]).to_string(), "cluster:jobs_total");
    }

    #[test]
    fn a_selector_says_whose_series_it_means() {
        assert_eq!(whose(&named("up")), [Whose::Nodes]);
        assert_eq!(whose(&named("cluster:up")), [Whose::Cluster]);
        assert_eq!(whose(&named("group:up")), [Whose::Groups]);
        let regex = [LabelMatcher { label: NAME.into(), condition: Matcher::regex("up.*").unwrap() }];
        assert_eq!((whose(&regex).len(), pattern(&regex)), (3, None));
    }

    proptest! {
        #[test]
        fn any_series_is_found_by_its_name(name in "[a-zA-Z0-9:._/ -]{0,20}[a-z][a-zA-Z0-9:._/ -]{0,20}", unit in prop::sample::select(&["", "1", "s", "By", "By/s", "{x}", "{x}/s", "furlong"][..]), kind in prop::sample::select(&[Kind::Counter, Kind::Gauge, Kind::Histogram][..])) {
            let pattern = pattern(&named(&metric_name(&name, kind, unit))).unwrap();
            prop_assert!(Matcher::regex(&pattern).unwrap().matches(&name), "{} for {}", pattern, name);
        }
    }
}
