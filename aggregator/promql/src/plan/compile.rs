//! From the parser's tree to ours.

use std::time::{Duration, SystemTime};

use promql_parser::{
    label::{MatchOp, Matchers},
    parser::{self, AtModifier, BinModifier, Expr, LabelModifier, Offset, VectorMatchCardinality, VectorSelector},
};

use super::{
    Aggregation, At, Cardinality, Grouping, Kind, Matching, Node, Operator, OverTime, Selector, Source, Type,
    VectorFunction, Whole, Window,
};
use starling_history::Matcher;

use crate::{
    LabelMatcher,
    error::{ParseError, Position},
    labels::NAME,
    limits::{DURATION_MAX_MS, TIME_MAX_MS},
    text::{Token, first_fault, tokens},
};

/// The tree of `query` and how many selectors it has.
///
/// # Errors
/// With its place: no PromQL, beyond a limit, or something that is not supported, by name.
pub(crate) fn compile(query: &str) -> Result<(Node, usize), ParseError> {
    let tokens = tokens(query)?;
    let parsed = parser::parse(query).map_err(|text| refused(query, &tokens, &text))?;
    let mut compiler = Compiler { query, tokens: &tokens, next: 0, selectors: 0 };
    let node = compiler.node(&parsed)?;
    Ok((node, compiler.selectors))
}

/// What the parser says has no place; ours is that of the first fault we find, or of the name its text speaks of.
fn refused(query: &str, tokens: &[Token<'_>], text: &str) -> ParseError {
    let found = first_fault(query, tokens);
    // The parser's own word for "something is wrong".
    if text == "invalid promql query" || text.contains("unexpected") {
        return found;
    }
    let named = tokens.iter().find(|token| {
        token.text.len() > 2
            && [' ', '"', '\'']
                .iter()
                .any(|mark| text.contains(&format!("{mark}{}", token.text.trim_matches(['"', '\'', '`']))))
    });
    ParseError { position: Position::of(query, named.map_or(0, |token| token.at)), text: text.trim().to_owned() }
}

struct Compiler<'a> {
    query: &'a str,
    tokens: &'a [Token<'a>],
    /// The tree is walked in the order of the text, so names are found from here on.
    next: usize,
    /// Selectors so far.
    selectors: usize,
}

impl Compiler<'_> {
    fn fault(&self, at: usize, text: impl Into<String>) -> ParseError {
        ParseError { position: Position::of(self.query, at), text: text.into() }
    }

    /// The place of the next piece that passes; where the search began if none does.
    fn place(&mut self, passes: impl Fn(&str) -> bool) -> usize {
        match self.tokens[self.next..].iter().position(|token| passes(token.text)) {
            Some(ahead) => {
                self.next += ahead + 1;
                self.tokens[self.next - 1].at
            }
            None => self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |token| token.at),
        }
    }

    fn here(&self) -> usize {
        self.tokens.get(self.next).map_or(0, |token| token.at)
    }

    fn node(&mut self, expr: &Expr) -> Result<Node, ParseError> {
        let at = self.here();
        let kind = match expr {
            Expr::Paren(inner) => return self.node(&inner.expr),
            Expr::NumberLiteral(number) => {
                let at = self.place(|text| text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.'));
                return Ok(Node { at, kind: Kind::Number(number.val) });
            }
            Expr::StringLiteral(text) => {
                let at = self.place(|text| text.starts_with(['"', '\'', '`']));
                return Ok(Node { at, kind: Kind::Text(text.val.clone()) });
            }
            Expr::Unary(unary) => {
                let at = self.place(|text| text == "-");
                let inner = self.node(&unary.expr)?;
                self.expect(&inner, &[Type::Scalar, Type::Vector])?;
                return Ok(Node { at, kind: Kind::Negate(Box::new(inner)) });
            }
            Expr::VectorSelector(selector) => Kind::Select(self.selector(selector)?),
            Expr::MatrixSelector(_) | Expr::Subquery(_) => Kind::Range(self.window(expr)?),
            Expr::Binary(binary) => return self.binary(binary),
            Expr::Aggregate(aggregate) => return self.aggregate(aggregate),
            Expr::Call(call) => return self.call(call),
            Expr::Extension(_) => return Err(self.fault(at, "extensions are not supported")),
        };
        Ok(Node { at, kind })
    }

    fn expect(&self, node: &Node, types: &[Type]) -> Result<(), ParseError> {
        if types.contains(&node.gives()) {
            return Ok(());
        }
        let wanted: Vec<_> = types.iter().map(|t| t.as_str()).collect();
        Err(self.fault(node.at, format!("expected {}, got {}", wanted.join(" or "), node.gives().as_str())))
    }

    fn selector(&mut self, selector: &VectorSelector) -> Result<Selector, ParseError> {
        let name = selector.name.clone();
        let at = self.place(|text| name.as_deref().map_or(text == "{", |name| text == name));
        let matchers = self.matchers(at, name, &selector.matchers)?;
        self.selectors += 1;
        let offset_ms = self.offset(at, selector.offset.as_ref())?;
        Ok(Selector { index: self.selectors - 1, matchers, offset_ms, at: self.at(at, selector.at.as_ref())? })
    }

    fn matchers(&self, at: usize, name: Option<String>, parsed: &Matchers) -> Result<Vec<LabelMatcher>, ParseError> {
        if !parsed.or_matchers.is_empty() {
            return Err(self.fault(at, "matchers joined by \"or\" are not supported"));
        }
        let mut matchers: Vec<LabelMatcher> = Vec::new();
        if let Some(name) = name {
            matchers.push(LabelMatcher { label: NAME.to_owned(), condition: Matcher::equal(&name) });
        }
        for written in &parsed.matchers {
            let condition = match written.op {
                MatchOp::Equal => Ok(Matcher::equal(&written.value)),
                MatchOp::NotEqual => Ok(Matcher::not_equal(&written.value)),
                MatchOp::Re(_) => Matcher::regex(&written.value),
                MatchOp::NotRe(_) => Matcher::not_regex(&written.value),
            };
            let condition = condition.map_err(|error| self.fault(at, error.to_string()))?;
            matchers.push(LabelMatcher { label: written.name.clone(), condition });
        }
        if matchers.iter().all(|matcher| matcher.condition.matches("")) {
            return Err(self.fault(at, "a selector needs at least one matcher that does not match the empty text"));
        }
        Ok(matchers)
    }

    fn offset(&self, at: usize, offset: Option<&Offset>) -> Result<i64, ParseError> {
        Ok(match offset {
            None => 0,
            Some(Offset::Pos(length)) => self.length(at, *length)?,
            Some(Offset::Neg(length)) => -self.length(at, *length)?,
        })
    }

    fn length(&self, at: usize, length: Duration) -> Result<i64, ParseError> {
        i64::try_from(length.as_millis())
            .ok()
            .filter(|&ms| ms <= DURATION_MAX_MS)
            .ok_or_else(|| self.fault(at, "a length of time beyond 100 years"))
    }

    fn at(&self, place: usize, at: Option<&AtModifier>) -> Result<At, ParseError> {
        let time = match at {
            None => return Ok(At::Step),
            Some(AtModifier::Start) => return Ok(At::Start),
            Some(AtModifier::End) => return Ok(At::End),
            Some(AtModifier::At(time)) => time,
        };
        let ms = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).ok(),
            Err(before) => i64::try_from(before.duration().as_millis()).ok().map(|ms| -ms),
        };
        ms.filter(|ms| ms.abs() <= TIME_MAX_MS)
            .map(At::Time)
            .ok_or_else(|| self.fault(place, "the time after @ is beyond the year 9999"))
    }

    fn window(&mut self, expr: &Expr) -> Result<Window, ParseError> {
        let at = self.here();
        match expr {
            Expr::Paren(inner) => self.window(&inner.expr),
            Expr::MatrixSelector(matrix) => {
                let source = Source::Samples(self.selector(&matrix.vs)?);
                Ok(Window { range_ms: self.range(at, matrix.range)?, source })
            }
            Expr::Subquery(subquery) => {
                let inner = Box::new(self.node(&subquery.expr)?);
                self.expect(&inner, &[Type::Scalar, Type::Vector])?;
                let step_ms = subquery.step.map(|step| self.range(at, step)).transpose()?;
                let offset_ms = self.offset(at, subquery.offset.as_ref())?;
                let source = Source::Subquery { inner, step_ms, offset_ms, at: self.at(at, subquery.at.as_ref())? };
                Ok(Window { range_ms: self.range(at, subquery.range)?, source })
            }
            _ => {
                let node = self.node(expr)?;
                Err(self.fault(at, format!("expected range vector, got {}", node.gives().as_str())))
            }
        }
    }

    fn range(&self, at: usize, length: Duration) -> Result<i64, ParseError> {
        match self.length(at, length)? {
            0 => Err(self.fault(at, "a range or resolution must be at least one millisecond")),
            ms => Ok(ms),
        }
    }

    fn binary(&mut self, binary: &parser::BinaryExpr) -> Result<Node, ParseError> {
        let left = self.node(&binary.lhs)?;
        let sign = binary.op.to_string();
        let at = self.place(|text| text == sign);
        let operator = match &*sign {
            "+" => Operator::Add,
            "-" => Operator::Subtract,
            "*" => Operator::Multiply,
            "/" => Operator::Divide,
            "%" => Operator::Modulo,
            "^" => Operator::Power,
            "atan2" => Operator::Atan2,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" => Operator::GreaterEqual,
            "<=" => Operator::LessEqual,
            "and" => Operator::And,
            "or" => Operator::Or,
            "unless" => Operator::Unless,
            other => return Err(self.fault(at, format!("the operator {other:?} is not supported"))),
        };
        let right = self.node(&binary.rhs)?;
        self.expect(&left, &[Type::Scalar, Type::Vector])?;
        self.expect(&right, &[Type::Scalar, Type::Vector])?;
        let matching = self.matching(at, binary.modifier.as_ref())?;
        let scalars = left.gives() == Type::Scalar && right.gives() == Type::Scalar;
        if scalars && operator.compares() && !matching.bool_result {
            return Err(self.fault(at, "comparisons between scalars must use bool"));
        }
        if operator.is_set() && (left.gives() == Type::Scalar || right.gives() == Type::Scalar) {
            return Err(self.fault(at, format!("set operator {sign:?} not allowed in binary scalar expression")));
        }
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Node { at, kind: Kind::Binary { operator, left, right, matching } })
    }

    fn matching(&self, at: usize, modifier: Option<&BinModifier>) -> Result<Matching, ParseError> {
        let Some(modifier) = modifier else {
            return Ok(Matching {
                bool_result: false,
                grouping: Grouping::Without(Vec::new()),
                cardinality: Cardinality::OneToOne,
                include: Vec::new(),
            });
        };
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            return Err(self.fault(at, "the modifiers fill, fill_left and fill_right are not supported"));
        }
        let (cardinality, include) = match &modifier.card {
            VectorMatchCardinality::ManyToOne(labels) => (Cardinality::ManyToOne, labels.labels.clone()),
            VectorMatchCardinality::OneToMany(labels) => (Cardinality::OneToMany, labels.labels.clone()),
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {
                (Cardinality::OneToOne, Vec::new())
            }
        };
        let grouping = grouping(modifier.matching.as_ref(), true);
        Ok(Matching { bool_result: modifier.return_bool, grouping, cardinality, include })
    }

    fn aggregate(&mut self, aggregate: &parser::AggregateExpr) -> Result<Node, ParseError> {
        let name = aggregate.op.to_string();
        let at = self.place(|text| text == name);
        let aggregation = match &*name {
            "sum" => Aggregation::Sum,
            "avg" => Aggregation::Avg,
            "min" => Aggregation::Min,
            "max" => Aggregation::Max,
            "count" => Aggregation::Count,
            "group" => Aggregation::Group,
            "stddev" => Aggregation::Stddev,
            "stdvar" => Aggregation::Stdvar,
            "quantile" => Aggregation::Quantile,
            "topk" => Aggregation::TopK,
            "bottomk" => Aggregation::BottomK,
            "count_values" => Aggregation::CountValues,
            other => return Err(self.fault(at, format!("the aggregation {other:?} is not supported"))),
        };
        // Labels written before the brackets hold names that an argument may have too.
        if self.tokens.get(self.next).is_some_and(|token| matches!(token.text, "by" | "without")) {
            self.place(|text| text == ")");
        }
        let parameter = aggregate.param.as_ref().map(|p| self.node(p)).transpose()?.map(Box::new);
        if let Some(parameter) = &parameter {
            let wanted = if aggregation == Aggregation::CountValues { Type::Text } else { Type::Scalar };
            self.expect(parameter, &[wanted])?;
        }
        let inner = Box::new(self.node(&aggregate.expr)?);
        self.expect(&inner, &[Type::Vector])?;
        let grouping = grouping(aggregate.modifier.as_ref(), false);
        Ok(Node { at, kind: Kind::Aggregate { aggregation, parameter, inner, grouping } })
    }

    fn call(&mut self, call: &parser::Call) -> Result<Node, ParseError> {
        let name = call.func.name;
        let at = self.place(|text| text == name);
        let arguments = &call.args.args;
        if let Some(function) = OverTime::named(name) {
            // Parameters stand before the range in quantile_over_time, after it in predict_linear.
            let (mut window, mut parameters) = (None, Vec::new());
            for argument in arguments {
                let is_range = argument.value_type() == parser::value::ValueType::Matrix;
                if is_range { window = Some(self.window(argument)?) } else { parameters.push(self.node(argument)?) }
            }
            let window = window.ok_or_else(|| self.fault(at, format!("{name} needs a range, like up[5m]")))?;
            parameters.iter().try_for_each(|p| self.expect(p, &[Type::Scalar]))?;
            return Ok(Node { at, kind: Kind::OverTime { function, window, parameters } });
        }
        let mut nodes = arguments.iter().map(|argument| self.node(argument)).collect::<Result<Vec<_>, _>>()?;
        if let Some(function) = VectorFunction::named(name) {
            if nodes.is_empty() {
                // hour() is hour(vector(time())).
                let time = Node { at, kind: Kind::Whole { function: Whole::Time, arguments: Vec::new() } };
                nodes.push(Node { at, kind: Kind::Whole { function: Whole::Vector, arguments: vec![time] } });
            }
            self.expect(&nodes[0], &[Type::Vector])?;
            nodes[1..].iter().try_for_each(|node| self.expect(node, &[Type::Scalar]))?;
            return Ok(Node { at, kind: Kind::Map { function, arguments: nodes } });
        }
        let function =
            Whole::named(name).ok_or_else(|| self.fault(at, format!("the function {name}() is not supported")))?;
        Ok(Node { at, kind: Kind::Whole { function, arguments: nodes } })
    }
}

/// The labels of a modifier. Without one an aggregation looks at none and a match at all.
fn grouping(modifier: Option<&LabelModifier>, all: bool) -> Grouping {
    match modifier {
        Some(LabelModifier::Include(labels)) => Grouping::Only(labels.labels.clone()),
        Some(LabelModifier::Exclude(labels)) => Grouping::Without(labels.labels.clone()),
        None if all => Grouping::Without(Vec::new()),
        None => Grouping::Only(Vec::new()),
    }
}
