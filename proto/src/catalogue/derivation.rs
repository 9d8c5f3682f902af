//! What a value is computed from on reading.

use super::Metric;

/// One side of a derivation: a metric, read with the attributes that were asked for as far as it has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operand {
    /// Which metric.
    pub metric: &'static Metric,
    /// Attributes it is read with beside those asked for.
    pub with: &'static [(&'static str, &'static str)],
    /// Values that are left out.
    pub without: &'static [(&'static str, &'static str)],
    /// Read over all its attributes, whatever was asked for.
    pub whole: bool,
}

impl Operand {
    /// `metric` with the attributes asked for.
    pub(super) const fn of(metric: &'static Metric) -> Self {
        Self { metric, with: &[], without: &[], whole: false }
    }

    /// `metric` over all its attributes.
    pub(super) const fn whole(metric: &'static Metric) -> Self {
        Self { whole: true, ..Self::of(metric) }
    }

    /// Only the series with these attributes.
    pub(super) const fn with(self, with: &'static [(&'static str, &'static str)]) -> Self {
        Self { with, ..self }
    }

    /// Without the series that have one of these attributes.
    pub(super) const fn without(self, without: &'static [(&'static str, &'static str)]) -> Self {
        Self { without, ..self }
    }
}

/// How a value is computed from others of the same second. It is absent when one of them is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Derivation {
    /// Part / whole, of sums over nodes. Absent when the whole is 0.
    Ratio {
        /// What is divided.
        part: Operand,
        /// By what.
        whole: Operand,
    },
    /// One less another; never below 0, because the two are read one after another at the node.
    Difference {
        /// What is left of it.
        of: Operand,
        /// What is taken away.
        less: Operand,
    },
    /// The sum over the attributes that its operand leaves in.
    Sum {
        /// What is added up.
        of: Operand,
    },
}

impl Derivation {
    /// What it is computed from.
    #[must_use]
    pub fn operands(&self) -> Vec<Operand> {
        match *self {
            Self::Ratio { part, whole } => vec![part, whole],
            Self::Difference { of, less } => vec![of, less],
            Self::Sum { of } => vec![of],
        }
    }
}

/// [`Derivation::Ratio`].
pub(super) const fn ratio(part: Operand, whole: Operand) -> Derivation {
    Derivation::Ratio { part, whole }
}

/// [`Derivation::Difference`].
pub(super) const fn difference(of: Operand, less: Operand) -> Derivation {
    Derivation::Difference { of, less }
}

/// [`Derivation::Sum`].
pub(super) const fn sum(of: Operand) -> Derivation {
    Derivation::Sum { of }
}
