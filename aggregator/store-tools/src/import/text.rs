//! Lines of OpenMetrics and of Prometheus's text format, with times.

use std::collections::HashMap;

use super::said::{Amount, Meant, Reading, Type, number};
use crate::times::ms;

/// Families that are remembered.
const FAMILIES_MAX: usize = 100_000;
/// Series whose spelling is remembered.
const SPELLINGS_MAX: usize = 1_000_000;

/// Reads line by line.
#[derive(Debug, Default)]
pub(crate) struct Text {
    types: HashMap<String, Type>,
    units: HashMap<String, String>,
    /// Series by their spelling: most lines repeat one.
    spellings: HashMap<Box<str>, Option<Meant>>,
}

/// Labels as they stand.
type Labels = Vec<(String, String)>;

/// What one line says.
pub(crate) type Line = Option<(Meant, i64, Amount)>;

impl Text {
    /// Reads a line; `None` when there is no sample in it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn read(&mut self, line: &str, reading: &Reading) -> Result<Line, String> {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            return self.comment(comment).map(|()| None);
        }
        if line.is_empty() {
            return Ok(None);
        }
        let (spelling, rest) = series_of(line)?;
        // An exemplar may follow.
        let rest = rest.split_once(" # ").map_or(rest, |(rest, _)| rest);
        let mut words = rest.split_ascii_whitespace();
        let value = words.next().ok_or("there is no value")?;
        let value = number(value).ok_or_else(|| format!("{value:?} is no number"))?;
        let time = words.next().ok_or("there is no time; each sample must have one")?;
        let ms = ms(time).ok_or_else(|| format!("{time:?} is no time"))?;
        if let Some(more) = words.next() {
            return Err(format!("{more:?} behind the time"));
        }
        let meant = match self.spellings.get(spelling) {
            Some(known) => known.clone(),
            None => {
                let (name, labels) = labels_of(spelling)?;
                let of_family = |family: &str| Some((*self.types.get(family)?, self.units.get(family).cloned()));
                let meant = reading.meant(name, labels, of_family)?;
                if self.spellings.len() < SPELLINGS_MAX {
                    self.spellings.insert(spelling.into(), meant.clone());
                }
                meant
            }
        };
        Ok(meant.map(|meant| (meant, ms, Amount::One(value))))
    }

    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let mut words = comment.split_ascii_whitespace();
        let (what, family, said) = (words.next(), words.next(), words.next());
        let (Some(family), true) = (family, self.types.len() + self.units.len() < FAMILIES_MAX) else { return Ok(()) };
        match (what, said) {
            (Some("TYPE"), Some(said)) => {
                let said = match said {
                    "counter" => Type::Counter,
                    "histogram" => Type::Histogram,
                    "summary" => Type::Summary,
                    "gauge" | "unknown" | "untyped" | "info" | "stateset" => Type::Gauge,
                    other => {
                        return Err(format!(
                            "{other:?} is no type that is taken: counter, gauge, histogram, summary, unknown"
                        ));
                    }
                };
                // A family that is not said to be anything is read by its name.
                if said != Type::Gauge || !family.ends_with("_total") {
                    self.types.insert(family.to_owned(), said);
                }
            }
            (Some("UNIT"), Some(said)) => drop(self.units.insert(family.to_owned(), said.to_owned())),
            _ => {}
        }
        Ok(())
    }
}

/// The series of a line as it is spelled, and what follows.
fn series_of(line: &str) -> Result<(&str, &str), String> {
    let end =
        line.find(|c: char| c == '{' || c.is_ascii_whitespace()).ok_or("a name alone: value and time are missing")?;
    if !line[end..].starts_with('{') {
        return Ok(line.split_at(end));
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line[end..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Ok(line.split_at(end + at + 1)),
            _ => {}
        }
    }
    Err("its labels are not closed".to_owned())
}

/// Name and labels of a series.
fn labels_of(spelling: &str) -> Result<(&str, Labels), String> {
    let (name, labels) = spelling.split_once('{').unwrap_or((spelling, "}"));
    let mut rest = labels.strip_suffix('}').unwrap_or(labels).trim();
    let mut all: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| format!("a label without a value: {rest:?}"))?;
        let after = after.trim_start().strip_prefix('"').ok_or("the value of a label is not quoted")?;
        let (mut value, mut chars, mut end) = (String::new(), after.char_indices(), None);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = Some(at + 1);
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c)) => value.push(c),
                    None => {}
                },
                c => value.push(c),
            }
        }
        let end = end.ok_or("the value of a label is not closed")?;
        let key = key.trim();
        if key.is_empty() || all.iter().any(|(known, _)| known == key) {
            return Err(format!("the label {key:?} is empty or stands twice"));
        }
        // An empty label is one that is not there.
        if !value.is_empty() {
            all.push((key.to_owned(), value));
        }
        rest = after[end..].trim_start().trim_start_matches(',').trim_start();
    }
    if name.is_empty() {
        return Err("there is no name before the labels".to_owned());
    }
    Ok((name, all))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_history::Subject;
    use starling_proto::{
        catalogue::{Kind, METRICS},
        ids::NodeId,
    };

    use super::{super::said::Part, *};

    fn reading() -> Reading {
        let subject = Subject::Node(NodeId::parse("imported").unwrap());
        Reading { subject, node_label: "node".into(), group_label: None }
    }

    type Told = (String, String, Part, i64, Amount);

    fn read(lines: &str) -> Vec<Result<Told, String>> {
        let mut text = Text::default();
        let one = |line| match text.read(line, &reading()) {
            Ok(None) => None,
            Ok(Some((meant, ms, amount))) => {
                Some(Ok((meant.subject.to_string(), meant.series.to_string(), meant.part, ms, amount)))
            }
            Err(error) => Some(Err(error)),
        };
        lines.lines().filter_map(one).collect()
    }

    #[test]
    fn lines_of_both_formats_are_read() {
        let lines = r#"
# HELP x_total What it is.
# TYPE x counter
# UNIT x bytes
x_total{node="web-1",path="a \"b\" \\ c, d}"} 5 1700000000.25 # {trace="1"} 1
x_created{node="web-1"} 3 1700000000
g 0.5 1700000000123
cluster:traffic_requests_total{protocol="grpc"} 7 1.7e9
group:traffic_requests_total{zone="a",protocol="grpc"} 7 1700000001
# TYPE lat_seconds histogram
lat_seconds_bucket{node="n",le="+Inf"} 7 1700000001
lat_seconds_sum{node="n"} 0.5 1700000001
lat_bucket{le="0.5"} 7 1700000001
"#;
        let all: Vec<_> = read(lines).into_iter().map(Result::unwrap).collect();
        let told: Vec<_> =
            all.iter().map(|(subject, series, part, ms, _)| (subject.as_str(), series.as_str(), *part, *ms)).collect();
        assert_eq!(told[0].0, "node/web-1");
        assert!(told[0].1.contains("a \"b\" \\ c, d}"), "{}", told[0].1);
        assert_eq!((told[0].2, told[0].3), (Part::Total, 1_700_000_000_250));
        assert_eq!((told[1].0, told[1].2, told[1].3), ("node/imported", Part::Level, 1_700_000_000_123));
        assert_eq!((told[2].0, told[2].3), ("cluster", 1_700_000_000_000));
        assert!(told[2].1.starts_with("traffic.requests"), "{}", told[2].1);
        assert_eq!((told[3].0, told[3].1), ("group/zone:a", told[2].1));
        assert_eq!(told[4].2, Part::Bucket(f64::INFINITY.to_bits()));
        assert_eq!((told[5].2, &all[5].4), (Part::Sum, &Amount::One(0.5)));
        assert_eq!(told[6].2, Part::Level, "what no type is said of is as it is");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, wanted) in [
            ("x", "value and time are missing"),
            ("x 5", "no time"),
            ("x five 1", "no number"),
            ("x 5 tomorrow", "no time"),
            ("x 5 1 2 3", "behind the time"),
            ("x{a=\"b 5 1", "not closed"),
            ("x{a=b} 5 1", "not quoted"),
            ("x{a=\"1\",a=\"2\"} 5 1", "twice"),
            ("x{node=\"Web 1\"} 5 1", "node: "),
            ("group:x{a=\"1\",b=\"2\"} 5 1", "--group-label"),
            ("{a=\"1\"} 5 1", "no name"),
            ("# TYPE x gaugehistogram", "no type"),
        ] {
            let error = read(line).remove(0).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }

    #[test]
    fn every_metric_of_the_catalogue_is_found_by_its_name() {
        for metric in METRICS.iter().filter(|metric| metric.is_sent() && metric.kind != Kind::Histogram) {
            let name = starling_promql::names::metric_name(metric.name, metric.kind, metric.unit);
            let labels: Vec<_> =
                metric.attributes.iter().map(|key| format!("{}=\"v\"", key.replace('.', "_"))).collect();
            let mut text = Text::default();
            if metric.kind == Kind::Counter {
                text.read(&format!("# TYPE {name} counter"), &reading()).unwrap();
            }
            let line = format!("{name}{{{}}} 1 1", labels.join(","));
            let (meant, ..) = text.read(&line, &reading()).unwrap().unwrap();
            assert_eq!((meant.series.name(), meant.series.kind()), (metric.name, metric.kind), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic(line in "\\PC{0,60}", more in "[a-z]{1,3}(\\{[a-z=\",\\\\]{0,12}\\})? [0-9.eE+-]{0,6} [0-9.eE+-]{0,12}") {
            read(&line);
            read(&more);
        }
    }
}
