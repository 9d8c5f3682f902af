//! A question over time, checked.

use std::sync::Arc;

use starling_history::{Selection, Subject};
use starling_proto::histogram::OverflowError;
use tonic::Status;

use super::{
    asked::{Wanted, Whose},
    found::Keep,
};
use crate::select::{Folded, Mixed, Part, Span};

/// What is asked, checked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// Whose series.
    pub(crate) whose: Whose,
    /// Which series.
    pub(crate) wanted: Wanted,
    /// When, in which steps.
    pub(crate) span: Span,
    /// All series of a subject in one.
    pub(crate) total: bool,
    /// Whether something is read of histograms.
    pub(crate) histograms: bool,
    /// What is kept of many series.
    pub(crate) keep: Keep,
}

impl Question {
    /// The series, as a selection of its range.
    pub(super) fn selection(&self) -> Selection {
        self.wanted.selection(self.span.from, self.span.to, self.histograms)
    }

    /// All that its steps depend on beside how long they are and what was read.
    pub(super) fn identity(&self) -> Arc<str> {
        let Selection { names, attributes, histograms, .. } = self.selection();
        format!("{names:?} {attributes:?} {histograms} {} {:?}", self.total, self.wanted.with).into()
    }

    /// Some cells of a subject in the steps of `span`, which are as long as its own.
    ///
    /// # Errors
    /// [`OverflowError`] when counts do not fit 64 bits.
    pub(super) fn steps(&self, part: &Part, span: &Span) -> Result<Folded, OverflowError> {
        if self.total { Folded::of_total(part, &self.wanted.with, span) } else { Folded::of(part, span) }
    }

    /// Its steps of what was read of a subject.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` when counts do not fit 64 bits.
    pub(super) fn fold(&self, read: &Mixed) -> Result<Folded, Status> {
        let overflow = |_| Status::out_of_range("name: the counts of its histograms over this range exceed 64 bits");
        let mut folded = read.fold(&self.span, |part| self.steps(part, &self.span)).map_err(overflow)?;
        if self.total && !folded.is_one_meaning() {
            // As if all of it had been read at once.
            folded.series.clear();
        }
        Ok(folded)
    }

    /// Whether `subject` is among those that are asked for.
    pub(super) fn asks_for(&self, subject: &Subject) -> bool {
        match &self.whose {
            Whose::Subject(asked) => asked == subject,
            Whose::EachNode(_) => !subject.is_merged(),
        }
    }
}
