//! A query from its text to its answer.

use crate::{
    Answer, EvalError, Failure, Hint, LabelMatcher, Options, ParseError, Position, Range, Select, SeriesSamples,
    eval::{self, Evaluation},
    plan::{At, Kind, Node, Selector, Source, Type, Window, compile},
};

/// A query that was parsed and checked.
#[derive(Debug)]
pub struct Query {
    text: String,
    root: Node,
    selectors: usize,
}

impl Query {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`ParseError`] with its place: no PromQL, beyond a limit ([`crate::limits`]), or not supported, by name.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (root, selectors) = compile(text)?;
        Ok(Self { text: text.to_owned(), root, selectors })
    }

    /// The same query in its usual spelling: blanks, brackets, order of modifiers.
    ///
    /// # Errors
    /// [`ParseError`], as [`Query::parse`].
    pub fn format(text: &str) -> Result<String, ParseError> {
        compile(text)?;
        promql_parser::parser::parse(text)
            .map(|tree| tree.prettify())
            .map_err(|text| ParseError { position: Position { line: 1, column: 1 }, text })
    }

    /// The matchers of every selector, for questions about series alone (`match[]`): the query must be one selector.
    ///
    /// # Errors
    /// [`ParseError`] when it is anything else.
    pub fn selector(text: &str) -> Result<Vec<LabelMatcher>, ParseError> {
        match compile(text)?.0 {
            Node { kind: Kind::Select(Selector { matchers, offset_ms: 0, at: At::Step, .. }), .. } => Ok(matchers),
            other => Err(ParseError {
                position: Position::of(text, other.at),
                text: "expected a selector such as up{node=\"a\"}, and nothing else".into(),
            }),
        }
    }

    /// The samples it needs over `range`, in the order in which [`Query::evaluate`] takes them.
    #[must_use]
    pub fn selects(&self, range: &Range, options: &Options<'_>) -> Vec<Select> {
        let mut found: Vec<Option<Select>> = vec![None; self.selectors];
        let walk = Walk { range, options };
        walk.node(&self.root, (range.start_ms, range.end_ms), &mut found);
        found.into_iter().flatten().collect()
    }

    /// Its answer over `range`. `data` holds for every element of [`Query::selects`] the series that match, each once,
    /// with its samples of that time; their order is kept where PromQL sorts nothing.
    ///
    /// # Errors
    /// [`EvalError`] with its place.
    pub fn evaluate(
        &self,
        range: &Range,
        data: &[Vec<SeriesSamples>],
        options: &Options<'_>,
    ) -> Result<Answer, EvalError> {
        let bad = |at: usize, text: String| EvalError {
            failure: Failure::BadData,
            position: Position::of(&self.text, at),
            text,
        };
        range.check().map_err(|text| bad(0, text))?;
        if data.len() != self.selectors {
            return Err(bad(0, format!("{} selectors and {} sets of samples", self.selectors, data.len())));
        }
        if range.step_ms > 0 && !matches!(self.root.gives(), Type::Scalar | Type::Vector) {
            let given = self.root.gives().as_str();
            let text = format!("invalid expression type \"{given}\" for range query, must be Scalar or instant Vector");
            return Err(bad(self.root.at, text));
        }
        eval::run(&Evaluation::new(&self.text, range, data, options), &self.root)
    }
}

/// Finds what each selector needs.
struct Walk<'a> {
    range: &'a Range,
    options: &'a Options<'a>,
}

impl Walk<'_> {
    /// First and last moment a selector or subquery is evaluated at, when the step goes over `steps`.
    const fn tied(&self, at: At, offset_ms: i64, steps: (i64, i64)) -> (i64, i64) {
        let (first, last) = match at {
            At::Step => steps,
            At::Start => (self.range.start_ms, self.range.start_ms),
            At::End => (self.range.end_ms, self.range.end_ms),
            At::Time(time) => (time, time),
        };
        (first - offset_ms, last - offset_ms)
    }

    fn node(&self, node: &Node, steps: (i64, i64), found: &mut [Option<Select>]) {
        match &node.kind {
            Kind::Number(_) | Kind::Text(_) => {}
            Kind::Select(selector) => {
                self.samples(selector, self.options.lookback_ms, Hint::default(), steps, found);
            }
            Kind::Range(window) => self.window(window, Hint::default(), steps, found),
            Kind::Negate(inner) => self.node(inner, steps, found),
            Kind::Binary { left, right, .. } => {
                self.node(left, steps, found);
                self.node(right, steps, found);
            }
            Kind::Aggregate { parameter, inner, .. } => {
                parameter.iter().for_each(|parameter| self.node(parameter, steps, found));
                self.node(inner, steps, found);
            }
            Kind::OverTime { function, window, parameters } => {
                parameters.iter().for_each(|parameter| self.node(parameter, steps, found));
                let (growth_only, of_step) = (function.growth_only(), function.of_step());
                self.window(window, Hint { range_ms: 0, growth_only, of_step }, steps, found);
            }
            Kind::Map { arguments, .. } | Kind::Whole { arguments, .. } => {
                arguments.iter().for_each(|argument| self.node(argument, steps, found));
            }
        }
    }

    /// `of` says what the function looks at.
    fn window(&self, window: &Window, of: Hint, steps: (i64, i64), found: &mut [Option<Select>]) {
        match &window.source {
            Source::Samples(selector) => {
                let hint = Hint { range_ms: window.range_ms, ..of };
                self.samples(selector, window.range_ms, hint, steps, found);
            }
            Source::Subquery { inner, offset_ms, at, .. } => {
                let (first, last) = self.tied(*at, *offset_ms, steps);
                self.node(inner, (first - window.range_ms, last), found);
            }
        }
    }

    fn samples(&self, selector: &Selector, back_ms: i64, hint: Hint, steps: (i64, i64), found: &mut [Option<Select>]) {
        let (first, last) = self.tied(selector.at, selector.offset_ms, steps);
        let select = Select { matchers: selector.matchers.clone(), after_ms: first - back_ms, to_ms: last, hint };
        found[selector.index] = Some(select);
    }
}
