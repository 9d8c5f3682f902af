//! Expressions from their text.

use starling_promql::parse_duration;
use starling_proto::catalogue::{self, Kind, Statistic};

use super::{Condition, Expression, Input, Node, Operator, Over, Selector};
use crate::facts;

/// Longest text.
const LEN_MAX: usize = 1_024;
/// Deepest nesting of parentheses.
const DEPTH_MAX: u32 = 16;
/// Most things one expression reads.
const INPUTS_MAX: usize = 16;
/// Longest window: 15 minutes are kept in memory by all who may have to take an evaluation over; a trend may be longer.
const WINDOW_MAX: u32 = 900;
/// Longest window of a trend.
const TREND_MAX: u32 = 86_400;

/// What is wrong with an expression, and at which of its characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {what}")]
pub struct ExpressionError {
    /// Counted from 1.
    pub at: usize,
    /// What is wrong, and what is wanted.
    pub what: String,
}

impl Expression {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`ExpressionError`].
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser::new(text)?;
        let root = parser.sum(0)?;
        parser.end()?;
        Ok(parser.expression(root))
    }
}

impl Condition {
    /// Parses `EXPRESSION OPERATOR NUMBER`; operators are `>`, `>=`, `<` and `<=`.
    ///
    /// # Errors
    /// [`ExpressionError`].
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser::new(text)?;
        let root = parser.sum(0)?;
        let above = match parser.peek() {
            Some('>') => true,
            Some('<') => false,
            _ => return Err(parser.wanted("one of >, >=, <, <=")),
        };
        parser.next();
        let or_equal = parser.take("=");
        let limit = parser.number()?;
        parser.end()?;
        Ok(Self { expression: parser.expression(root), above, or_equal, limit })
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    inputs: Vec<Input>,
    in_peers: bool,
    compares: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, ExpressionError> {
        if text.len() > LEN_MAX {
            let what = format!("{} bytes are too long, at most {LEN_MAX} are wanted", text.len());
            return Err(ExpressionError { at: 1, what });
        }
        Ok(Self { text, at: 0, inputs: Vec::new(), in_peers: false, compares: false })
    }

    fn expression(self, root: Node) -> Expression {
        Expression { inputs: self.inputs, root, compares: self.compares }
    }

    fn error(&self, what: impl Into<String>) -> ExpressionError {
        ExpressionError { at: self.text[..self.at].chars().count() + 1, what: what.into() }
    }

    fn wanted(&mut self, wanted: &str) -> ExpressionError {
        let found = self.peek();
        self.error(match found {
            None => format!("it ends here, wanted is {wanted}"),
            Some(found) => format!("{found:?} stands here, wanted is {wanted}"),
        })
    }

    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) {
        self.at += self.text[self.at..].chars().next().map_or(0, char::len_utf8);
    }

    fn take(&mut self, token: &str) -> bool {
        self.peek();
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), ExpressionError> {
        if self.take(token) { Ok(()) } else { Err(self.wanted(&format!("{token:?}"))) }
    }

    fn end(&mut self) -> Result<(), ExpressionError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wanted("an operator or the end")) }
    }

    fn sum(&mut self, depth: u32) -> Result<Node, ExpressionError> {
        let mut left = self.product(depth)?;
        loop {
            let operator = match self.peek() {
                Some('+') => Operator::Plus,
                Some('-') => Operator::Minus,
                _ => return Ok(left),
            };
            self.next();
            left = Node::Two(Box::new(left), operator, Box::new(self.product(depth)?));
        }
    }

    fn product(&mut self, depth: u32) -> Result<Node, ExpressionError> {
        let mut left = self.one(depth)?;
        loop {
            let operator = match self.peek() {
                Some('*') => Operator::Times,
                Some('/') => Operator::Per,
                _ => return Ok(left),
            };
            self.next();
            left = Node::Two(Box::new(left), operator, Box::new(self.one(depth)?));
        }
    }

    fn one(&mut self, depth: u32) -> Result<Node, ExpressionError> {
        if depth > DEPTH_MAX {
            return Err(self.error(format!("parentheses are nested deeper than {DEPTH_MAX}")));
        }
        match self.peek() {
            Some('(') => {
                self.next();
                let inner = self.sum(depth + 1)?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number().map(Node::Number),
            Some(c) if c.is_ascii_alphabetic() => {
                let from = self.at;
                let name = self.name();
                if self.take("(") {
                    let node = self.call(name, from, depth)?;
                    self.expect(")")?;
                    return Ok(node);
                }
                self.at = from;
                if facts::find(name).is_some() {
                    self.at += name.len();
                    return self.input(Input::Fact(name.to_owned()));
                }
                let selector = self.selector(WINDOW_MAX)?;
                if is_histogram(&selector.name) {
                    return Err(self.error(format!(
                        "{} holds many values a second: write p99({}), mean({0}) or count({0})",
                        selector.name, selector.name
                    )));
                }
                self.metric(selector, Statistic::Value, Over::Mean)
            }
            _ => Err(self.wanted("a metric, a function, a number or \"(\"")),
        }
    }

    fn call(&mut self, name: &str, from: usize, depth: u32) -> Result<Node, ExpressionError> {
        match name {
            "growth" | "highest" | "lowest" => {
                let selector = self.selector(WINDOW_MAX)?;
                if selector.window.is_none() {
                    return Err(self.wanted("how long to look back, such as [60s]"));
                }
                let over = match name {
                    "growth" => Over::Growth,
                    "highest" => Over::Highest,
                    _ => Over::Lowest,
                };
                let statistic = if is_histogram(&selector.name) { Statistic::Count } else { Statistic::Value };
                self.metric(selector, statistic, over)
            }
            "seconds_until" => {
                let selector = self.selector(TREND_MAX)?;
                if selector.window.is_none() {
                    return Err(self.wanted("how long to look back, such as [1h]"));
                }
                self.expect(",")?;
                let limit = self.number()?;
                self.input(Input::Until { selector, limit })
            }
            "peers" => {
                if self.in_peers {
                    return Err(self.error("peers(...) stands within peers(...)"));
                }
                (self.in_peers, self.compares) = (true, true);
                let inner = self.sum(depth + 1)?;
                self.in_peers = false;
                Ok(inner)
            }
            "nodes" => {
                let selector = self.selector(0)?;
                let keeps = catalogue::find(&selector.name).is_some_and(|metric| metric.distribution);
                if !keeps {
                    let all = catalogue::METRICS.iter().filter(|metric| metric.distribution).map(|metric| metric.name);
                    return Err(self.error(format!(
                        "{} keeps no distribution over nodes, those that do are {}",
                        selector.name,
                        all.collect::<Vec<_>>().join(", ")
                    )));
                }
                self.expect(">")?;
                let than = self.number()?;
                self.input(Input::Nodes { selector, than })
            }
            "firing" => {
                let rule = self.quoted()?;
                self.input(Input::Firing(rule))
            }
            _ => match Statistic::parse(name) {
                Ok(statistic) => {
                    let selector = self.selector(WINDOW_MAX)?;
                    self.metric(selector, statistic, Over::Mean)
                }
                Err(_) => {
                    self.at = from;
                    Err(self.error(format!(
                        "{:?} is no function; there are value, sum, mean, min, max, nodes, count, quantiles such as p99, \
                         growth, highest, lowest, seconds_until, peers and firing",
                        name.chars().take(32).collect::<String>()
                    )))
                }
            },
        }
    }

    fn metric(&mut self, selector: Selector, statistic: Statistic, over: Over) -> Result<Node, ExpressionError> {
        let of_values = matches!(statistic, Statistic::Quantile(_) | Statistic::Count);
        if let Some(metric) = catalogue::find(&selector.name)
            && of_values
            && metric.kind != Kind::Histogram
            && !metric.distribution
        {
            return Err(self.error(format!("{} is one value a second and has no {statistic}", metric.name)));
        }
        if selector.window.is_some() && matches!(statistic, Statistic::Quantile(_)) && !is_histogram(&selector.name) {
            return Err(self.error(format!("{statistic} over time is kept of histograms only: leave [...] away")));
        }
        self.input(Input::Metric { selector, statistic, over })
    }

    fn input(&mut self, input: Input) -> Result<Node, ExpressionError> {
        let apart = matches!(&input, Input::Metric { over: Over::Mean | Over::Growth, .. });
        if self.in_peers && !apart {
            return Err(self.error(
                "of this the others cannot be told apart from the whole: peers(...) takes values and quantiles",
            ));
        }
        let at = match self.inputs.iter().position(|known| *known == input) {
            Some(at) => at,
            None if self.inputs.len() == INPUTS_MAX => {
                return Err(self.error(format!("more than {INPUTS_MAX} different values are read")));
            }
            None => {
                self.inputs.push(input);
                self.inputs.len() - 1
            }
        };
        Ok(Node::Input { at, peers: self.in_peers })
    }

    fn name(&mut self) -> &'a str {
        self.peek();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn selector(&mut self, window_max: u32) -> Result<Selector, ExpressionError> {
        let name = self.name();
        if name.is_empty() || !name.contains('.') {
            let name: String = name.chars().take(64).collect();
            return Err(self.error(format!("{name:?} is no metric: wanted is a name such as system.cpu.utilization")));
        }
        let mut with = Vec::new();
        if self.take("{") {
            while !self.take("}") {
                let key = self.name().to_owned();
                if key.is_empty() {
                    return Err(self.wanted("the key of an attribute"));
                }
                self.expect("=")?;
                with.push((key, self.quoted()?));
                if !self.take(",") {
                    self.expect("}")?;
                    break;
                }
            }
        }
        with.sort();
        let mut window = None;
        if self.take("[") {
            let rest = &self.text[self.at..];
            let end = rest.find(']').ok_or_else(|| self.error("\"]\" is missing after how long to look back"))?;
            let seconds = parse_duration(rest[..end].trim()).map_err(|what| self.error(what))? / 1_000;
            let seconds = u32::try_from(seconds).ok().filter(|seconds| (1..=window_max).contains(seconds));
            window = Some(seconds.ok_or_else(|| {
                self.error(match window_max {
                    0 => "nothing can be looked back on here".to_owned(),
                    most => format!("[{}] is not from 1s to {most}s", &rest[..end]),
                })
            })?);
            self.at += end + 1;
        }
        Ok(Selector { name: name.to_owned(), with, window })
    }

    fn quoted(&mut self) -> Result<String, ExpressionError> {
        self.expect("\"")?;
        let rest = &self.text[self.at..];
        let end = rest.find('"').ok_or_else(|| self.error("the closing quote is missing"))?;
        self.at += end + 1;
        Ok(rest[..end].to_owned())
    }

    fn number(&mut self) -> Result<f64, ExpressionError> {
        self.peek();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(rest.len());
        let value: f64 = rest[..end].replace('_', "").parse().map_err(|_| self.wanted("a number"))?;
        self.at += end;
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '%').unwrap_or(rest.len());
        let factor = match &rest[..end] {
            "" => 1.0,
            "%" => return Ok(self.past(end, value / 100.0)),
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "KiB" => 1_024.0,
            "MiB" => 1_048_576.0,
            "GiB" => 1_073_741_824.0,
            "TiB" => 1_099_511_627_776.0,
            unit => {
                return Err(
                    self.error(format!("{unit:?} is no unit; there are %, us, ms, s, m, h, d, KiB, MiB, GiB, TiB"))
                );
            }
        };
        Ok(self.past(end, value * factor))
    }

    /// `value`, once `bytes` more are read.
    fn past(&mut self, bytes: usize, value: f64) -> f64 {
        self.at += bytes;
        value
    }
}

fn is_histogram(name: &str) -> bool {
    catalogue::find(name).is_some_and(|metric| metric.kind == Kind::Histogram)
}

/// A number with a unit, as in expressions.
///
/// # Errors
/// [`ExpressionError`].
pub(crate) fn number(text: &str) -> Result<f64, ExpressionError> {
    let mut parser = Parser::new(text)?;
    let negative = parser.take("-");
    let number = parser.number()?;
    parser.end()?;
    Ok(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_written() {
        for text in [
            "system.cpu.utilization",
            "traffic.errors{protocol=\"grpc\"}[60s] / traffic.requests{protocol=\"grpc\"}[60s]",
            "p99(traffic.duration[60s]) / peers(p99(traffic.duration[60s]))",
            "seconds_until(system.filesystem.utilization[1h], 100%) / 3600",
            "nodes(system.cpu.utilization > 90%) / cluster.nodes_expected",
            "firing(\"cpu-busy\") + 2 * (3 - 1)",
            "node.silent_seconds",
            "my.own.metric{a=\"b\", c=\"d\",}",
            "growth(traffic.duration[5m])",
        ] {
            Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, at, what) in [
            ("", 1, "wanted is a metric"),
            ("cpu", 4, "is no metric"),
            ("traffic.errors /", 17, "it ends here"),
            ("traffic.errors[60s", 16, "\"]\" is missing"),
            ("traffic.errors[60x]", 16, "no length of time"),
            ("traffic.errors[2h]", 16, "is not from 1s to 900s"),
            ("p99(traffic.errors)", 19, "has no p99"),
            ("traffic.duration", 17, "write p99(traffic.duration)"),
            ("avg(traffic.errors)", 1, "\"avg\" is no function"),
            ("traffic.errors{protocol=grpc}", 25, "wanted is \"\\\"\""),
            ("nodes(traffic.errors > 1)", 22, "keeps no distribution over nodes"),
            ("peers(peers(traffic.errors))", 13, "within peers"),
            ("peers(highest(traffic.errors[60s]))", 34, "cannot be told apart"),
            ("5 mb", 3, "an operator or the end"),
            ("5mb", 2, "is no unit"),
            ("(((((((((((((((((((1)))))))))))))))))))", 18, "nested deeper"),
        ] {
            let error = Expression::parse(text).expect_err(text);
            assert!(error.what.contains(what), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }

    #[test]
    fn conditions_compare() {
        let few = Condition::parse("growth(traffic.requests[60s]) >= 50").unwrap();
        assert_eq!([Some(49.0), Some(50.0), None].map(|value| few.holds(value)), [false, true, false]);
        assert!(Condition::parse("traffic.requests").unwrap_err().what.contains("wanted is one of >"));
        assert_eq!(number("-250ms"), Ok(-0.25));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z.\\[\\](){}\"=,<>0-9%+*/ é-]{0,60}") {
            let _ = Expression::parse(&text);
            let _ = Condition::parse(&text);
        }
    }
}
