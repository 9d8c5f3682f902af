//! What one evaluation is given, may use, and has to say.

use std::cell::{Cell, RefCell};

use super::table::{Row, joined};
use crate::{Answer, EvalError, Failure, Options, Position, Range, SeriesSamples, Value, plan::At};

/// The flag of whoever asked is looked at once in so many samples.
const LOOK_EVERY: u64 = 4_096;
/// Most texts that go with an answer, of either kind: more of them say nothing more.
const NOTES_MAX: usize = 16;

pub(crate) struct Evaluation<'a> {
    text: &'a str,
    pub(super) range: &'a Range,
    pub(super) data: &'a [Vec<SeriesSamples>],
    pub(super) options: &'a Options<'a>,
    samples: Cell<u64>,
    cells: Cell<u64>,
    looked: Cell<u64>,
    warnings: RefCell<Vec<String>>,
    infos: RefCell<Vec<String>>,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        text: &'a str,
        range: &'a Range,
        data: &'a [Vec<SeriesSamples>],
        options: &'a Options<'a>,
    ) -> Self {
        Self {
            text,
            range,
            data,
            options,
            samples: Cell::new(0),
            cells: Cell::new(0),
            looked: Cell::new(0),
            warnings: RefCell::default(),
            infos: RefCell::default(),
        }
    }

    pub(super) fn fault(&self, failure: Failure, at: usize, text: impl Into<String>) -> EvalError {
        EvalError { failure, position: Position::of(self.text, at), text: text.into() }
    }

    pub(super) fn bad(&self, at: usize, text: impl Into<String>) -> EvalError {
        self.fault(Failure::BadData, at, text)
    }

    pub(super) fn failed(&self, at: usize, text: impl Into<String>) -> EvalError {
        self.fault(Failure::Execution, at, text)
    }

    /// Counts `samples` that the part at `at` looks at.
    pub(super) fn look(&self, at: usize, samples: u64) -> Result<(), EvalError> {
        let all = self.samples.get().saturating_add(samples);
        self.samples.set(all);
        let most = self.options.limits.samples;
        if all > most {
            let text = format!(
                "the query looks at more than {most} samples; take a shorter range, a longer step or fewer series"
            );
            return Err(self.fault(Failure::Limit, at, text));
        }
        self.looked.set(self.looked.get() + samples + 1);
        if self.looked.get() >= LOOK_EVERY {
            self.looked.set(0);
            if self.options.cancelled.is_some_and(|cancelled| cancelled()) {
                return Err(self.fault(Failure::Cancelled, at, "the query was cancelled"));
            }
        }
        Ok(())
    }

    /// Counts a table of `rows` with `steps` cells each, before it is built.
    pub(super) fn build(&self, at: usize, rows: usize, steps: usize) -> Result<(), EvalError> {
        let limits = &self.options.limits;
        if rows > limits.series {
            let text =
                format!("{rows} series, at most {} are taken at once; name what is wanted more closely", limits.series);
            return Err(self.fault(Failure::Limit, at, text));
        }
        let all = self.cells.get().saturating_add(rows as u64 * steps as u64);
        self.cells.set(all);
        if all > limits.cells {
            let text = format!(
                "the query needs more than {} intermediate values; take a longer step or fewer series",
                limits.cells
            );
            return Err(self.fault(Failure::Limit, at, text));
        }
        Ok(())
    }

    /// Rows with equal labels joined.
    pub(super) fn join(&self, at: usize, rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
        joined(rows).map_err(|labels| {
            self.failed(at, format!("vector cannot contain metrics with the same labelset: {labels} stands twice"))
        })
    }

    /// The moment a step at `time` means.
    pub(super) const fn tied(&self, at: At, offset_ms: i64, time: i64) -> i64 {
        let time = match at {
            At::Step => time,
            At::Start => self.range.start_ms,
            At::End => self.range.end_ms,
            At::Time(time) => time,
        };
        time - offset_ms
    }

    /// Says, once, what makes the answer doubtful.
    pub(super) fn warn(&self, at: usize, text: &str) {
        note(&mut self.warnings.borrow_mut(), format!("{text} ({})", Position::of(self.text, at)));
    }

    /// Says, once, what is worth knowing.
    pub(super) fn inform(&self, at: usize, text: &str) {
        note(&mut self.infos.borrow_mut(), format!("{text} ({})", Position::of(self.text, at)));
    }

    pub(super) fn answer(&self, value: Value) -> Answer {
        Answer { value, warnings: self.warnings.take(), infos: self.infos.take() }
    }
}

fn note(notes: &mut Vec<String>, text: String) {
    if notes.len() < NOTES_MAX && !notes.contains(&text) {
        notes.push(text);
    }
}
