//! Which nodes, and in which order: the filters and the orders of the page (`dashboard/ui/src/lib/nodes.ts`).

use std::cmp::Ordering;

use crate::fleet::{Measure, Row};

/// What the table is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    State,
    Aggregator,
    Of(Measure),
}

/// Column and direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(crate) column: Column,
    pub(crate) descending: bool,
}

impl Sort {
    /// By name.
    pub(crate) const NAME: Self = Self { column: Column::Name, descending: false };
    /// In the order in which a key goes through them.
    const COLUMNS: [Column; 11] = [
        Column::Name,
        Column::Of(Measure::Cpu),
        Column::Of(Measure::Memory),
        Column::Of(Measure::Requests),
        Column::Of(Measure::Errors),
        Column::Of(Measure::P99),
        Column::Of(Measure::Load),
        Column::Of(Measure::Connections),
        Column::Of(Measure::Cores),
        Column::State,
        Column::Aggregator,
    ];

    /// The column after this one; the highest first, names from the first.
    pub(crate) fn next(self) -> Self {
        let at = Self::COLUMNS.iter().position(|column| *column == self.column).map_or(0, |at| at + 1);
        let column = Self::COLUMNS[at % Self::COLUMNS.len()];
        Self { column, descending: matches!(column, Column::Of(_)) }
    }

    /// In words: "cpu, highest first".
    pub(crate) fn words(self) -> String {
        let (name, order) = match self.column {
            Column::Name => ("name", ["a to z", "z to a"]),
            Column::State => ("state", ["a to z", "z to a"]),
            Column::Aggregator => ("aggregator", ["a to z", "z to a"]),
            Column::Of(measure) => (measure.name(), ["lowest first", "highest first"]),
        };
        format!("{name}, {}", order[usize::from(self.descending)])
    }

    /// Missing values come last in both directions; ties are broken by name.
    pub(crate) fn compare(self, a: Row<'_>, b: Row<'_>) -> Ordering {
        let turned = |ordering: Ordering| if self.descending { ordering.reverse() } else { ordering };
        let texts = |a: &str, b: &str| match (a.is_empty(), b.is_empty()) {
            (false, false) => turned(natural(a, b)),
            (a, b) => a.cmp(&b),
        };
        let by = match self.column {
            Column::Name => turned(natural(a.name(), b.name())),
            Column::State => texts(a.state_word(), b.state_word()),
            Column::Aggregator => texts(a.aggregator(), b.aggregator()),
            Column::Of(measure) => match (a.value(measure), b.value(measure)) {
                (Some(a), Some(b)) => turned(a.total_cmp(&b)),
                (a, b) => a.is_none().cmp(&b.is_none()),
            },
        };
        by.then_with(|| natural(a.name(), b.name()))
    }
}

/// Order of names in which n2 stands before n10, in small and capital letters alike.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(&x), Some(&y)) = (left.first(), right.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number, of) = (digits(left), digits(right));
            let plain = |digits: &[u8]| digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
            let (short, of_short) = (&number[plain(number)..], &of[plain(of)..]);
            match short.len().cmp(&of_short.len()).then_with(|| short.cmp(of_short)) {
                Ordering::Equal => (left, right) = (&left[number.len()..], &right[of.len()..]),
                order => return order,
            }
        } else {
            match x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase()) {
                Ordering::Equal => (left, right) = (&left[1..], &right[1..]),
                order => return order,
            }
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

fn digits(text: &[u8]) -> &[u8] {
    &text[..text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())]
}

/// A filter such as `zone:b p99>50ms state:silent web`. Every term must hold; one with spaces stands in quotes. `key:value` is any
/// label of the nodes. A term that is not understood is looked for in the name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Filter(Vec<Term>);

#[derive(Debug, Clone, PartialEq)]
enum Term {
    Name(String),
    State(String),
    Aggregator(String),
    /// Key, value, and the term as it stands.
    Label(String, String, String),
    Above(Measure, f64),
    Below(Measure, f64),
}

impl Filter {
    /// Reads one; whatever is written means something.
    pub(crate) fn parse(text: &str) -> Self {
        Self(terms(text).iter().map(|term| Term::parse(term)).collect())
    }

    /// Whether a node is meant.
    pub(crate) fn holds(&self, row: Row<'_>) -> bool {
        self.0.iter().all(|term| term.holds(row))
    }
}

/// Words, and what stands in quotes.
fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let quoted = rest.strip_prefix('"').and_then(|inner| inner.split_once('"'));
        let (term, after) = match quoted {
            Some((term, after)) => (term, after),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        let term = term.trim_matches('"');
        if !term.is_empty() {
            terms.push(term.to_owned());
        }
        rest = after.trim_start();
    }
    terms
}

impl Term {
    fn parse(term: &str) -> Self {
        let lower = term.to_lowercase();
        if let Some((key, value)) = term.split_once(':').filter(|(key, value)| !key.is_empty() && !value.is_empty()) {
            let value = value.to_lowercase();
            return match key.to_ascii_lowercase().as_str() {
                "state" => Self::State(value),
                "aggregator" => Self::Aggregator(value),
                _ => Self::Label(key.to_owned(), value, lower),
            };
        }
        let Some(at) = term.find(['<', '>']) else { return Self::Name(lower) };
        let measure = Measure::ALL.into_iter().find(|measure| measure.name().eq_ignore_ascii_case(&term[..at]));
        let limit = term[at + 1..].trim_start_matches('=');
        match measure.and_then(|measure| Some((measure, limit_of(measure, limit)?))) {
            Some((measure, limit)) if term[at..].starts_with('>') => Self::Above(measure, limit),
            Some((measure, limit)) => Self::Below(measure, limit),
            None => Self::Name(lower),
        }
    }

    fn holds(&self, row: Row<'_>) -> bool {
        let value = |measure: &Measure| row.value(*measure).map(f64::from);
        match self {
            Self::Name(part) => row.name().to_lowercase().contains(part),
            Self::State(word) => row.state_word() == word,
            Self::Aggregator(name) => row.aggregator().to_lowercase() == *name,
            Self::Label(key, value, whole) => {
                row.label(key).to_lowercase() == *value || row.name().to_lowercase().contains(whole)
            }
            Self::Above(measure, limit) => value(measure).is_some_and(|value| value > *limit),
            Self::Below(measure, limit) => value(measure).is_some_and(|value| value < *limit),
        }
    }
}

/// Base-unit value of "85%", "50ms", "2k": shares as 0 to 1, durations in microseconds, of a bare number milliseconds.
fn limit_of(measure: Measure, text: &str) -> Option<f64> {
    let at = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = (text[..at].parse::<f64>().ok()?, text[at..].to_lowercase());
    let unit = unit.as_str();
    if !matches!(unit, "" | "%" | "us" | "µs" | "ms" | "s" | "k" | "m" | "g") {
        return None;
    }
    Some(match measure {
        Measure::P99 => {
            number
                * match unit {
                    "us" | "µs" => 1.0,
                    "s" => 1e6,
                    _ => 1e3,
                }
        }
        // A share may be written 85, 85% or 0.85.
        Measure::Cpu | Measure::Memory => {
            if unit == "%" || number > 1.0 {
                number / 100.0
            } else {
                number
            }
        }
        _ => {
            number
                * match unit {
                    "k" => 1e3,
                    "m" => 1e6,
                    "g" => 1e9,
                    _ => 1.0,
                }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Fleet, tests::hosts};

    fn found(filter: &str) -> Vec<String> {
        let fleet = Fleet::of(hosts(5), None).unwrap();
        let filter = Filter::parse(filter);
        fleet.rows().filter(|row| filter.holds(*row)).map(|row| row.name().to_owned()).collect()
    }

    fn sorted(column: Column, descending: bool) -> Vec<String> {
        let fleet = Fleet::of(hosts(12), None).unwrap();
        let mut rows: Vec<_> = fleet.rows().collect();
        rows.sort_by(|a, b| Sort { column, descending }.compare(*a, *b));
        rows.iter().map(|row| row.name().to_owned()).collect()
    }

    #[test]
    fn every_term_must_hold() {
        assert_eq!(found(""), ["n0", "n1", "n2", "n3", "n4"]);
        assert_eq!(found("zone:B"), ["n1", "n3"]);
        assert_eq!(found("zone:b state:silent"), ["n1"]);
        assert_eq!(found("N3"), ["n3"]);
        assert_eq!(found("\"zone:a\" cpu>10"), ["n2", "n4"]);
        assert_eq!(found("aggregator:agg-2"), [""; 0]);
        assert_eq!(found("   "), found(""));
    }

    #[test]
    fn limits_have_units() {
        for (filter, names) in [
            ("p99>2", ["n3", "n4"].as_slice()),
            ("p99>=2ms", &["n3", "n4"]),
            ("p99>3000us", &["n4"]),
            ("p99<0.001s", &["n0"]),
            ("cpu>35%", &["n4"]),
            ("cpu>0.35", &["n4"]),
            ("requests<0.001k", &["n0"]),
            ("cores>4", &[]),
        ] {
            assert_eq!(found(filter), names, "{filter}");
        }
        assert!(!found("requests<100").contains(&"n2".to_owned()), "missing is not below");
        assert_eq!(found("p99>fast"), [""; 0], "looked for in the name");
        assert_eq!(found("p99>5parsecs"), [""; 0]);
    }

    #[test]
    fn names_are_in_the_order_of_their_numbers_and_missing_is_last() {
        let by_name = sorted(Column::Name, false);
        assert_eq!((by_name[2].as_str(), by_name[10].as_str()), ("n2", "n10"));
        assert_eq!(sorted(Column::Name, true)[0], "n11");
        let requests = Column::Of(Measure::Requests);
        assert_eq!((&sorted(requests, false)[11], &sorted(requests, true)[11]), (&"n2".to_owned(), &"n2".to_owned()));
        assert_eq!(sorted(requests, true)[0], "n11");
        assert_eq!(sorted(Column::State, false)[11], "n1");
        assert_eq!(natural("a01", "a1"), "a01".cmp("a1"));
        assert_eq!(natural("Web", "web"), "Web".cmp("web"));
        assert_eq!(natural("a99999999999999999999999", "a100000000000000000000000"), Ordering::Less);
    }

    #[test]
    fn a_key_goes_through_all_columns() {
        let mut sort = Sort::NAME;
        for _ in 0..Sort::COLUMNS.len() {
            sort = sort.next();
        }
        assert_eq!(sort, Sort::NAME);
        assert_eq!(Sort::NAME.next().words(), "cpu, highest first");
    }
}
