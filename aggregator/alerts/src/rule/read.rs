//! Rules from TOML.

use std::{collections::BTreeMap, sync::Arc};

use starling_promql::limits::TEXT_LEN_MAX;
use starling_proto::catalogue::{self, Unit};
use toml::{Table, Value};

use super::{
    FILE_BYTES_MAX, Level, Mistake, OnPartial, RULES_MAX, Rule, Severity, placeholders::placeholders, table::Reader,
};
use crate::{
    Scope,
    expression::{Condition, Expression},
    facts,
    query::check,
};

/// Keys of a rule, in the order of the documentation.
const KEYS: [&str; 21] = [
    "name",
    "scope",
    "expression",
    "promql",
    "every",
    "by",
    "when",
    "above",
    "below",
    "clear",
    "severity",
    "for",
    "hold",
    "on_partial",
    "unit",
    "labels",
    "summary",
    "description",
    "resolution",
    "runbook",
    "children",
];
/// Longest name.
const NAME_MAX: usize = 64;
/// Longest `for` and `hold`: a day.
const LENGTH_MAX: u32 = 86_400;
/// Between two evaluations of a query, in seconds: at least, when nothing is said, at most. Each costs what a person's question
/// costs.
const EVERY: [u32; 3] = [5, 30, 3_600];
/// Most labels of a rule, and most attributes in `by`.
const LABELS_MAX: usize = 16;
/// Rules whose episodes stand under those of one.
const CHILDREN_MAX: usize = 8;
/// Names beginning with these are all in the catalogue.
const OURS: [&str; 3] = ["system.", "traffic.", "starling."];

/// Words for [`Unit`].
const UNITS: [(&str, Unit); 6] = [
    ("number", Unit::Number),
    ("rate", Unit::Rate),
    ("bytes", Unit::Bytes),
    ("bytes_per_second", Unit::BytesPerSecond),
    ("share", Unit::Share),
    ("time", Unit::Time),
];

pub(super) fn read(files: &[(&str, &str)]) -> Result<Vec<Rule>, Vec<Mistake>> {
    let (rules, mut mistakes) = read_all(files);
    checked(rules, &mut mistakes)
}

pub(super) fn with_defaults(defaults: &str, files: &[(&str, &str)], off: &[String]) -> Result<Vec<Rule>, Vec<Mistake>> {
    let (mut rules, mut mistakes) = read_all(&[("", defaults)]);
    for name in off.iter().filter(|name| !rules.iter().any(|rule| rule.name == **name)) {
        let what = format!("there is no default rule {name:?}");
        let key = "alerts.defaults_off".to_owned();
        mistakes.push(Mistake { file: String::new(), rule: String::new(), key, what });
    }
    let (own, of_files) = read_all(files);
    mistakes.extend(of_files);
    rules.retain(|rule| !off.contains(&rule.name) && !own.iter().any(|other| other.name == rule.name));
    rules.extend(own);
    checked(rules, &mut mistakes)
}

fn checked(rules: Vec<Rule>, mistakes: &mut Vec<Mistake>) -> Result<Vec<Rule>, Vec<Mistake>> {
    if rules.len() > RULES_MAX {
        let what = format!("{} rules are too many, at most {RULES_MAX} are wanted", rules.len());
        mistakes.push(Mistake { file: String::new(), rule: String::new(), key: String::new(), what });
    }
    references(&rules, mistakes);
    if mistakes.is_empty() { Ok(rules) } else { Err(std::mem::take(mistakes)) }
}

fn read_all(files: &[(&str, &str)]) -> (Vec<Rule>, Vec<Mistake>) {
    let (mut rules, mut mistakes) = (Vec::<Rule>::new(), Vec::new());
    for (file, text) in files {
        let whole = |what: String| Mistake { file: (*file).to_owned(), rule: String::new(), key: String::new(), what };
        if text.len() > FILE_BYTES_MAX {
            mistakes.push(whole(format!("{} bytes are too much, at most {FILE_BYTES_MAX} are wanted", text.len())));
            continue;
        }
        let mut table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
                mistakes.push(whole(format!("line {line} is no TOML: {}", error.message())));
                continue;
            }
        };
        let all = match table.remove("rule") {
            None => Vec::new(),
            Some(Value::Array(all)) => all,
            Some(_) => {
                mistakes.push(whole("\"rule\" is no list: write [[rule]] above each rule".to_owned()));
                continue;
            }
        };
        mistakes.extend(table.keys().map(|key| whole(format!("{key:?} is no key here; there is [[rule]]"))));
        for (at, one) in (1..).zip(all) {
            let Value::Table(one) = one else {
                mistakes.push(whole(format!("rule {at} is no table: write [[rule]] above each rule")));
                continue;
            };
            let name = one.get("name").and_then(Value::as_str).map(|name| name.chars().take(NAME_MAX).collect());
            let reader = Reader::new(file, name.unwrap_or_else(|| format!("rule {at}")), one, &mut mistakes);
            if let Some(rule) = read_one(reader, &rules) {
                rules.push(rule);
            }
        }
    }
    (rules, mistakes)
}

/// Whether rules that count episodes of others find them, and do not wait for each other.
fn references(rules: &[Rule], mistakes: &mut Vec<Mistake>) {
    for rule in rules {
        let narrower = |name: &String| rules.iter().any(|other| other.name == *name && other.scope > rule.scope);
        for name in rule.children.iter().filter(|name| !narrower(name)) {
            let what = format!("{name:?} is no rule of a narrower scope");
            let (file, rule) = (rule.file.to_string(), rule.name.clone());
            mistakes.push(Mistake { file, rule, key: "children".to_owned(), what });
        }
        for wanted in rule.expression.rules() {
            let what = match rules.iter().find(|other| other.name == wanted) {
                None => format!("there is no rule {wanted:?}"),
                Some(other) if other.expression.rules().next().is_some() => {
                    format!("the rule {wanted:?} counts episodes itself: wanted is one that reads values")
                }
                Some(_) => continue,
            };
            let (file, rule) = (rule.file.to_string(), rule.name.clone());
            mistakes.push(Mistake { file, rule, key: "expression".to_owned(), what });
        }
    }
}

fn read_one(mut reader: Reader<'_>, before: &[Rule]) -> Option<Rule> {
    let mistakes = reader.mistakes.len();
    let name = reader.needed("name", "a name of its own");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && (name.len() > NAME_MAX || !name.chars().all(plain)) {
        reader.wrong("name", format!("wanted are at most {NAME_MAX} of a-z, 0-9 and \"-\""));
    }
    if let Some(other) = before.iter().find(|other| other.name == name) {
        reader.wrong("name", format!("{} has a rule of that name already", file_of(other)));
    }
    let is_query = reader.has("promql");
    let scope = reader.word("scope", &Scope::ALL, is_query.then_some(Scope::Cluster));
    let every = reader.has("every").then(|| reader.seconds("every", EVERY[2]));
    let (text, expression, every) = if is_query {
        let text = query(&mut reader, scope, every);
        (text, Some(Expression::none()), Some(every.unwrap_or(EVERY[1])))
    } else {
        if every.is_some() {
            reader.wrong("every", "stands without promql: an expression is judged every second");
        }
        let text = reader.needed("expression", "what is judged, such as \"system.cpu.utilization[60s]\"");
        let expression = parsed(&mut reader, "expression", &text, Expression::parse);
        (text, expression, None)
    };
    let when_text = reader.text("when");
    let when = parsed(&mut reader, "when", &when_text, Condition::parse);
    let by = reader.list("by", LABELS_MAX);
    if let (Some(expression), Some(scope)) = (&expression, scope) {
        fits(&mut reader, "expression", expression, scope);
        if !by.is_empty() && expression.first_metric().is_none() {
            reader.wrong("by", "the expression reads no metric that could have attributes");
        }
    }
    if when.as_ref().is_some_and(|when| when.expression.compares) {
        reader.wrong("when", "peers(...) stands in the expression only");
    }
    if let (Some(when), Some(scope)) = (&when, scope) {
        fits(&mut reader, "when", &when.expression, scope);
    }
    let (above, levels) = levels(&mut reader);
    let pending = reader.seconds("for", LENGTH_MAX);
    let hold = reader.seconds("hold", LENGTH_MAX);
    let on_partial = reader.word("on_partial", &OnPartial::ALL, Some(OnPartial::Evaluate));
    let inferred = expression.as_ref().map_or(Unit::Number, unit_of);
    let unit = reader.word("unit", &UNITS, Some(inferred));
    let labels = reader.texts("labels", LABELS_MAX);
    let summary = reader.needed("summary", "what is wrong, in words that follow the name of the subject");
    let (description, resolution) = (reader.text("description"), reader.text("resolution"));
    let runbook = reader.text("runbook");
    let children = reader.list("children", CHILDREN_MAX);
    if !runbook.is_empty() && !["https://", "http://"].iter().any(|scheme| runbook.starts_with(scheme)) {
        reader.wrong("runbook", "is no address: wanted is https://...");
    }
    for (key, text) in [("summary", &summary), ("description", &description), ("resolution", &resolution)] {
        // Which labels a query answers with is not known before it does.
        if let Err(what) = placeholders(text, (!is_query).then_some(&by)) {
            reader.wrong(key, what);
        }
    }
    let file = Arc::from(reader.file);
    if reader.end(&KEYS) > mistakes {
        return None;
    }
    let rule = Rule {
        name,
        file,
        scope: scope?,
        text,
        every,
        expression: expression?,
        by,
        when_text,
        when,
        above,
        levels,
        pending,
        hold,
        on_partial: on_partial?,
        unit: unit?,
        labels,
        summary,
        description,
        resolution,
        runbook,
        children,
        fingerprint: 0,
    };
    Some(rule.finished())
}

/// The query of a rule, with what does not go with it.
fn query(reader: &mut Reader<'_>, scope: Option<Scope>, every: Option<u32>) -> String {
    let text = reader.lines("promql", TEXT_LEN_MAX);
    if let Err(what) = check(&text) {
        reader.wrong("promql", what);
    }
    if scope.is_some_and(|scope| scope != Scope::Cluster) {
        reader.wrong("scope", "a query is asked of the whole cluster: its labels say whom it is about");
    }
    if every.is_some_and(|every| every < EVERY[0]) {
        reader.wrong("every", format!("wanted are {} s to {} s", EVERY[0], EVERY[2]));
    }
    for key in ["expression", "by", "when", "children"] {
        if reader.has(key) {
            reader.take(key);
            reader.wrong(key, "stands beside promql: the query says it all");
        }
    }
    text
}

fn file_of(rule: &Rule) -> String {
    if rule.file.is_empty() { "the default set".to_owned() } else { rule.file.to_string() }
}

fn parsed<T, E: std::fmt::Display>(
    reader: &mut Reader<'_>,
    key: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    parse(text).map_err(|error| reader.wrong(key, error.to_string())).ok()
}

/// Whether an expression can be read of the subjects of a scope.
fn fits(reader: &mut Reader<'_>, key: &str, expression: &Expression, scope: Scope) {
    for fact in expression.facts().filter_map(facts::find) {
        if fact.scope != scope {
            let (of, is) = (fact.scope.as_str(), scope.as_str());
            reader.wrong(key, format!("{} is known of a {of}, the scope is {is}", fact.name));
        }
    }
    if expression.compares && scope != Scope::Node {
        reader.wrong(key, format!("peers(...) compares nodes, the scope is {}", scope.as_str()));
    }
    if scope == Scope::Node && expression.rules().next().is_some() {
        reader.wrong(key, "firing(...) counts over nodes, the scope is node");
    }
    for name in expression.inputs.iter().filter_map(|input| Some(&input.selector()?.name)) {
        let known = catalogue::find(name).is_some();
        if !known && OURS.iter().any(|ours| name.starts_with(ours)) {
            let near = catalogue::METRICS
                .iter()
                .map(|metric| metric.name)
                .max_by_key(|other| other.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count());
            reader.wrong(key, format!("there is no metric {name}, the nearest is {}", near.unwrap_or_default()));
        }
        if let Some(metric) = catalogue::find(name)
            && metric.scope == catalogue::Scope::Node
            && scope != Scope::Node
        {
            reader.wrong(key, format!("{name} is kept of each node alone, the scope is {}", scope.as_str()));
        }
    }
}

fn unit_of(expression: &Expression) -> Unit {
    match (&expression.root, expression.inputs.as_slice()) {
        (crate::expression::Node::Input { .. }, [input]) => input.unit(),
        _ => Unit::Number,
    }
}

/// `above` or `below`, with `clear` and `severity`.
fn levels(reader: &mut Reader<'_>) -> (bool, Vec<Level>) {
    let (above, below) = (reader.take("above"), reader.take("below"));
    let clear = reader.take("clear");
    let (is_above, key, fire) = match (above, below) {
        (Some(fire), None) => (true, "above", fire),
        (None, Some(fire)) => (false, "below", fire),
        (None, None) => {
            reader.wrong("above", "is missing, wanted is above or below, a number such as \"90%\"");
            return (true, Vec::new());
        }
        (Some(_), Some(_)) => {
            reader.wrong("below", "stands beside above: wanted is one of them");
            return (true, Vec::new());
        }
    };
    let several = matches!(fire, Value::Table(_));
    let fire = match fire {
        Value::Table(table) => {
            if reader.has("severity") {
                reader.take("severity");
                reader.wrong("severity", format!("stands beside the levels of {key}: leave it away"));
            }
            by_severity(reader, key, &table)
        }
        value => {
            let severity = reader.word("severity", &Severity::ALL, None);
            let value = reader.number(key, &value);
            severity.zip(value).into_iter().collect()
        }
    };
    let clear: BTreeMap<Severity, f64> = match clear {
        None => fire.clone(),
        Some(Value::Table(table)) if several => by_severity(reader, "clear", &table),
        Some(value) if !several => {
            let value = reader.number("clear", &value);
            fire.keys().copied().zip(value).collect()
        }
        Some(_) => {
            reader.wrong("clear", format!("wanted is one for each level of {key}"));
            return (is_above, Vec::new());
        }
    };
    let mut levels = Vec::new();
    for (severity, fire) in fire {
        let clear = clear.get(&severity).copied().unwrap_or(fire);
        if if is_above { clear > fire } else { clear < fire } {
            reader.wrong("clear", format!("{clear} is on the wrong side of {fire}: it would be over as it begins"));
        }
        levels.push(Level { severity, fire, clear });
    }
    if !levels.is_sorted_by(|a, b| if is_above { a.fire < b.fire } else { a.fire > b.fire }) {
        reader.wrong(key, "a more severe level begins before a less severe one");
    }
    (is_above, levels)
}

fn by_severity(reader: &mut Reader<'_>, key: &str, table: &Table) -> BTreeMap<Severity, f64> {
    let mut levels = BTreeMap::new();
    if table.is_empty() {
        reader.wrong(key, "has no level");
    }
    for (word, value) in table {
        let path = format!("{key}.{word}");
        match Severity::ALL.iter().find(|(name, _)| name == word) {
            Some((_, severity)) => {
                if let Some(value) = reader.number(&path, value) {
                    levels.insert(*severity, value);
                }
            }
            None => reader.wrong(&path, "is no severity: there are info, warning, error, critical"),
        }
    }
    levels
}
