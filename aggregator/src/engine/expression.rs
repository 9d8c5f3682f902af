//! Questions to an engine as PromQL. Pure.
//!
//! A step of a tier of T seconds that begins at k holds the samples of k to k + T - 1. It is asked for at the moment k + T with
//! `offset 1s` and a range of T seconds less a millisecond: moments are then multiples of T, which engines may round them to,
//! and the sample on the left edge is not in the range, whether that is closed (Prometheus 2) or open (Prometheus 3).

use std::fmt::Write as _;

use starling_history::Tier;
use starling_proto::catalogue::Kind;

/// The label that tells the statistics of one answer apart.
pub(super) const STATISTIC: &str = "starling_statistic";

/// What is asked of the samples of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Statistic {
    /// How many.
    Count,
    /// The last one, or the last one before the step.
    Last,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their mean.
    Mean,
    /// The mean square of their distances from it.
    Variance,
    /// How often a counter started again between two of them.
    Resets,
    /// Growth of a counter, as the engine estimates it.
    Increase,
}

impl Statistic {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Count, "count"),
        (Self::Last, "last"),
        (Self::Min, "min"),
        (Self::Max, "max"),
        (Self::Mean, "mean"),
        (Self::Variance, "variance"),
        (Self::Resets, "resets"),
        (Self::Increase, "increase"),
    ];

    /// By its word.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == word).map(|(statistic, _)| statistic)
    }

    fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(statistic, _)| *statistic == self).map_or("", |(_, word)| word)
    }

    /// What is asked of a kind.
    fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Gauge => &[Self::Count, Self::Last, Self::Min, Self::Max, Self::Mean, Self::Variance],
            Kind::Counter => &[Self::Count, Self::Last, Self::Min, Self::Max, Self::Resets, Self::Increase],
            // The histograms themselves are asked for alone: functions that change labels lose them (Prometheus 2.42).
            Kind::Histogram => &[Self::Count],
        }
    }
}

/// A condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// The label.
    pub(super) label: String,
    /// "=", "!=" or "=~".
    pub(super) operator: &'static str,
    /// The value or pattern.
    pub(super) value: String,
}

/// `NAME{...}`; without a name the conditions alone.
pub(super) fn selector(name: &str, conditions: &[Condition]) -> String {
    let mut text = format!("{name}{{");
    for (at, Condition { label, operator, value }) in conditions.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{label}{operator}{}", quoted(value));
    }
    text.push('}');
    text
}

/// A text as PromQL writes it: the escapes of Go.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// All statistics of a kind in one question, told apart by [`STATISTIC`].
pub(super) fn statistics(selector: &str, kind: Kind, tier: Tier) -> String {
    let range = u64::from(tier.seconds()) * 1_000 - 1;
    let of = |statistic: &Statistic| {
        let over = |function: &str| format!("{function}({selector}[{range}ms] offset 1s)");
        let value = match statistic {
            Statistic::Count => over("count_over_time"),
            Statistic::Last => format!("({selector} offset 1s)"),
            Statistic::Min => over("min_over_time"),
            Statistic::Max => over("max_over_time"),
            Statistic::Mean => over("avg_over_time"),
            Statistic::Variance => over("stdvar_over_time"),
            Statistic::Resets => over("resets"),
            Statistic::Increase => over("increase"),
        };
        format!("label_replace({value},\"{STATISTIC}\",\"{}\",\"\",\"\")", statistic.word())
    };
    Statistic::of(kind).iter().map(of).collect::<Vec<_>>().join(" or ")
}

/// What the histograms of a selector had reached at the end of a step.
pub(super) fn histograms(selector: &str) -> String {
    format!("{selector} offset 1s")
}

/// What came in a step, as the engine estimates it.
pub(super) fn increases(selector: &str, tier: Tier) -> String {
    format!("increase({selector}[{}ms] offset 1s)", u64::from(tier.seconds()) * 1_000 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(label: &str, value: &str) -> Condition {
        Condition { label: label.to_owned(), operator: "=", value: value.to_owned() }
    }

    #[test]
    fn values_cannot_leave_their_quotes() {
        let odd = selector("up", &[is("node", "a\"} or up{x=\"\\"), is("zone", "x\ny")]);
        assert_eq!(odd, r#"up{node="a\"} or up{x=\"\\",zone="x\ny"}"#);
        let ours = starling_promql::Query::selector(&odd).unwrap();
        let values: Vec<_> = ours.iter().filter_map(|matcher| matcher.condition.only()).collect();
        assert!(values.contains(&"a\"} or up{x=\"\\") && values.contains(&"x\ny"), "{values:?}");
    }

    #[test]
    fn what_is_asked_is_promql() {
        for kind in [Kind::Gauge, Kind::Counter, Kind::Histogram] {
            let text = statistics(&selector("cluster:a_total", &[is("zone", "a")]), kind, Tier::Minute);
            starling_promql::Query::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(text.matches(STATISTIC).count(), Statistic::of(kind).len());
            assert!(text.contains("[59999ms] offset 1s"), "{text}");
        }
        for (statistic, word) in Statistic::ALL {
            assert_eq!((Statistic::parse(word), statistic.word()), (Some(statistic), word));
        }
        assert_eq!(histograms("h{}"), "h{} offset 1s");
    }
}
