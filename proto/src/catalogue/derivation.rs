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

/// What is read of a metric: the sum over the nodes that reported it, in its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Derived {
    /// The sum, or what it was computed to.
    pub value: f64,
    /// Nodes behind it.
    pub nodes: u32,
    /// Of a gauge, not of a counter.
    pub gauge: bool,
}

impl Derived {
    /// Two gauges of different nodes say nothing about each other; of counters, nothing happened where none was sent.
    fn comparable(self, other: Self) -> bool {
        !self.gauge || !other.gauge || self.nodes == other.nodes
    }
}

/// Keys and values that select series.
pub type Attributes<'a> = [(&'a str, &'a str)];

/// Decimal digits in which a ratio is kept: parts per million.
const RATIO_SCALE: u8 = 6;

impl Metric {
    /// The sum over nodes of a metric that is sent, or what a derived one comes to, of the series that have the attributes
    /// `with` and none of `without`. `total` reads a metric that is sent. `None` when something it needs is absent.
    pub fn derive(
        &self,
        with: &Attributes<'_>,
        without: &Attributes<'_>,
        total: &mut impl FnMut(&Metric, &Attributes<'_>, &Attributes<'_>) -> Option<Derived>,
    ) -> Option<Derived> {
        let Some(derivation) = &self.derivation else { return total(self, with, without) };
        if !with.iter().all(|(key, _)| self.attributes.contains(key)) {
            return None;
        }
        let mut read = |operand: &Operand| {
            let asked = with.iter().filter(|(key, _)| !operand.whole && operand.metric.attributes.contains(key));
            let with: Vec<_> = asked.chain(operand.with).copied().collect();
            operand.metric.derive(&with, operand.without, total)
        };
        match derivation {
            Derivation::Ratio { part, whole } => {
                let (part, whole) = (read(part)?, read(whole)?);
                (whole.value > 0.0 && part.comparable(whole)).then(|| Derived {
                    value: part.value / whole.value,
                    nodes: part.nodes.min(whole.nodes),
                    gauge: true,
                })
            }
            Derivation::Difference { of, less } => {
                let (of, less) = (read(of)?, read(less)?);
                of.comparable(less).then(|| Derived { value: (of.value - less.value).max(0.0), ..of })
            }
            Derivation::Sum { of } => read(of),
        }
    }

    /// The metric that is sent and whose series have the attributes of this one: what comes first of what it is derived
    /// from, or itself.
    #[must_use]
    pub fn base(&self) -> &Self {
        self.derivation.as_ref().map_or(self, |derivation| derivation.operands()[0].metric.base())
    }

    /// Decimal digits in which its values are kept: of a ratio parts per million, else those of what it comes from.
    #[must_use]
    pub fn kept_scale(&self) -> u8 {
        match &self.derivation {
            None => self.scale,
            Some(Derivation::Ratio { .. }) => RATIO_SCALE,
            Some(derivation) => derivation.operands()[0].metric.kept_scale(),
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
