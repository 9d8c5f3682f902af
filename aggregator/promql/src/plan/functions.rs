//! The functions by name.

use crate::OfStep;

/// What a part gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar,
    Vector,
    Range,
    Text,
}

impl Type {
    /// The word for it in messages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Range => "range vector",
            Self::Text => "string",
        }
    }
}

/// Functions of the samples of one series over a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverTime {
    Rate,
    Irate,
    Increase,
    Delta,
    Idelta,
    Deriv,
    PredictLinear,
    Resets,
    Changes,
    Avg,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
    Stddev,
    Stdvar,
    Mad,
    Quantile,
    Present,
    Absent,
}

impl OverTime {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "irate" => Self::Irate,
            "increase" => Self::Increase,
            "delta" => Self::Delta,
            "idelta" => Self::Idelta,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "resets" => Self::Resets,
            "changes" => Self::Changes,
            "avg_over_time" => Self::Avg,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "sum_over_time" => Self::Sum,
            "count_over_time" => Self::Count,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "mad_over_time" => Self::Mad,
            "quantile_over_time" => Self::Quantile,
            "present_over_time" => Self::Present,
            "absent_over_time" => Self::Absent,
            _ => return None,
        })
    }

    /// The name stays: the value is one that the series had.
    pub(crate) const fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    /// Which value of a longer step the function looks at.
    pub(crate) const fn of_step(self) -> OfStep {
        match self {
            Self::Avg => OfStep::Mean,
            Self::Min => OfStep::Min,
            Self::Max => OfStep::Max,
            _ => OfStep::Last,
        }
    }

    /// Only how much a counter or histogram grew is looked at, not where its running sum began.
    pub(crate) const fn growth_only(self) -> bool {
        matches!(
            self,
            Self::Rate | Self::Irate | Self::Increase | Self::Resets | Self::Count | Self::Present | Self::Absent
        )
    }
}

/// Parts of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calendar {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

/// Functions of one element.
#[derive(Debug, Clone, Copy)]
pub(crate) enum VectorFunction {
    /// Of a number alone.
    Plain(fn(f64) -> f64),
    /// Sign; not a number stays one.
    Date(Calendar),
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    HistogramCount,
    HistogramSum,
    HistogramAvg,
    HistogramStddev,
    HistogramStdvar,
}

impl VectorFunction {
    pub(super) fn named(name: &str) -> Option<Self> {
        let plain: fn(f64) -> f64 = match name {
            "abs" => f64::abs,
            "ceil" => f64::ceil,
            "floor" => f64::floor,
            "sqrt" => f64::sqrt,
            "exp" => f64::exp,
            "ln" => f64::ln,
            "log2" => f64::log2,
            "log10" => f64::log10,
            "sin" => f64::sin,
            "cos" => f64::cos,
            "tan" => f64::tan,
            "asin" => f64::asin,
            "acos" => f64::acos,
            "atan" => f64::atan,
            "sinh" => f64::sinh,
            "cosh" => f64::cosh,
            "tanh" => f64::tanh,
            "asinh" => f64::asinh,
            "acosh" => f64::acosh,
            "atanh" => f64::atanh,
            "deg" => |value| value * 180.0 / std::f64::consts::PI,
            "rad" => |value| value * std::f64::consts::PI / 180.0,
            // 0 and not a number stay what they are.
            "sgn" => |value| {
                if value > 0.0 {
                    1.0
                } else if value < 0.0 {
                    -1.0
                } else {
                    value
                }
            },
            _ => return Self::other(name),
        };
        Some(Self::Plain(plain))
    }

    fn other(name: &str) -> Option<Self> {
        Some(match name {
            "minute" => Self::Date(Calendar::Minute),
            "hour" => Self::Date(Calendar::Hour),
            "day_of_week" => Self::Date(Calendar::DayOfWeek),
            "day_of_month" => Self::Date(Calendar::DayOfMonth),
            "day_of_year" => Self::Date(Calendar::DayOfYear),
            "days_in_month" => Self::Date(Calendar::DaysInMonth),
            "month" => Self::Date(Calendar::Month),
            "year" => Self::Date(Calendar::Year),
            "round" => Self::Round,
            "clamp" => Self::Clamp,
            "clamp_min" => Self::ClampMin,
            "clamp_max" => Self::ClampMax,
            "histogram_count" => Self::HistogramCount,
            "histogram_sum" => Self::HistogramSum,
            "histogram_avg" => Self::HistogramAvg,
            "histogram_stddev" => Self::HistogramStddev,
            "histogram_stdvar" => Self::HistogramStdvar,
            _ => return None,
        })
    }
}

/// Functions of a whole vector, or of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    Time,
    Pi,
    Scalar,
    Vector,
    Timestamp,
    Absent,
    Sort,
    SortDescending,
    LabelReplace,
    LabelJoin,
    HistogramQuantile,
    HistogramFraction,
}

impl Whole {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "time" => Self::Time,
            "pi" => Self::Pi,
            "scalar" => Self::Scalar,
            "vector" => Self::Vector,
            "timestamp" => Self::Timestamp,
            "absent" => Self::Absent,
            "sort" => Self::Sort,
            "sort_desc" => Self::SortDescending,
            "label_replace" => Self::LabelReplace,
            "label_join" => Self::LabelJoin,
            "histogram_quantile" => Self::HistogramQuantile,
            "histogram_fraction" => Self::HistogramFraction,
            _ => return None,
        })
    }

    pub(super) const fn gives(self) -> Type {
        match self {
            Self::Time | Self::Pi | Self::Scalar => Type::Scalar,
            _ => Type::Vector,
        }
    }
}
