//! A question over time, checked.

use starling_history::Subject;
use tonic::Status;

use super::{
    asked::{Wanted, Whose},
    found::Keep,
};
use crate::select::{Folded, Part, Span};

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
    /// Its steps of what was read of a subject.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` when counts do not fit 64 bits.
    pub(super) fn fold(&self, part: &Part) -> Result<Folded, Status> {
        let overflow = |_| Status::out_of_range("name: the counts of its histograms over this range exceed 64 bits");
        if !self.total {
            return Folded::of(part, &self.span).map_err(overflow);
        }
        let total = Folded::total(part, &self.wanted.with).map_err(overflow)?;
        let total = total.unwrap_or_else(|| Part { series: Vec::new(), coverage: part.coverage.clone() });
        Folded::of(&total, &self.span).map_err(overflow)
    }

    /// Whether `subject` is among those that are asked for.
    pub(super) fn asks_for(&self, subject: &Subject) -> bool {
        match &self.whose {
            Whose::Subject(asked) => asked == subject,
            Whose::EachNode(_) => !subject.is_merged(),
        }
    }
}
