//! One table a service: the macro, and the reference that is written from it.

use std::fmt::Write as _;

use super::Unit;

/// One metric of a service.
#[derive(Debug, Clone)]
pub struct Row {
    /// Name, without the unit and `_total`, which the text format adds.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// "counter", "gauge" or "histogram".
    pub kind: &'static str,
    /// Its unit; `None` for plain numbers.
    pub unit: Option<Unit>,
    /// Name of its label; empty without one.
    pub label: &'static str,
}

impl Row {
    /// The name as it stands at `/metrics`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        format!("{}{unit}{}", self.name, if self.kind == "counter" { "_total" } else { "" })
    }
}

/// Makes the metrics of a service from one table.
///
/// A row is `name: Type` with its help above it, `"outside name"`, and, where there are, `unit Seconds` (or `Bytes`)
/// and `label "reason"`. Types are [`Counter`](crate::metrics::Counter), [`Gauge`](crate::metrics::Gauge),
/// [`Durations`](crate::metrics::Durations), [`By`](crate::metrics::By) of the first two, and
/// [`Listed`](crate::metrics::Listed).
///
/// After the rows, `log name every duration`, or `log name most 20 every duration`, gives the service a limit of its own
/// for one kind of log line: a [`LogLimiter`](crate::log::LogLimiter) beside the counter of what it says.
///
/// ```
/// use starling_service::metrics::{By, Counter, Registry};
///
/// starling_service::metrics! {
///     /// What a kettle counts.
///     pub struct Metrics {
///         /// Cups made.
///         cups: Counter = "kettle_cups";
///         /// Cups that were not made, by reason.
///         spilt: By<Counter> = "kettle_spilt_cups", label "reason";
///
///         log spilt_line every std::time::Duration::from_secs(10);
///     }
/// }
///
/// let mut registry = Registry::default();
/// let metrics = Metrics::new(&mut registry);
/// metrics.cups.inc();
/// metrics.spilt.of("lid").add(2);
/// assert!(registry.render().contains("kettle_spilt_cups_total{reason=\"lid\"} 2"));
/// assert_eq!([metrics.spilt_line.allow(), metrics.spilt_line.allow()], [Some(0), None]);
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $help:literal])+
                $field:ident: $type:ty = $outside:literal $(, unit $unit:ident)? $(, label $label:literal)?;
            )*
            $(log $line:ident $(most $most:literal)? every $every:expr;)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $($(#[doc = $help])+ pub(crate) $field: $type,)*
            $(pub(crate) $line: std::sync::Arc<$crate::log::LogLimiter>,)*
        }

        impl $name {
            /// Makes all of them, at zero, and adds them to a registry.
            #[must_use]
            $vis fn new(registry: &mut $crate::metrics::Registry) -> Self {
                let metrics = Self {
                    $($field: <$type as $crate::metrics::Metric>::create($crate::metrics!(@label $($label)?)),)*
                    $($line: std::sync::Arc::new($crate::log::LogLimiter::of($crate::metrics!(@most $($most)?), $every)),)*
                };
                // One row a field, in the same order.
                let mut rows = Self::rows().into_iter();
                $(if let Some(row) = rows.next() {
                    registry.add(&row, &metrics.$field);
                })*
                metrics
            }

            /// The table.
            #[must_use]
            $vis fn rows() -> Vec<$crate::metrics::Row> {
                vec![$($crate::metrics::Row {
                    name: $outside,
                    help: concat!($($help),+).trim_start(),
                    kind: <$type as $crate::metrics::Metric>::TYPE,
                    unit: $crate::metrics!(@unit $($unit)?),
                    label: $crate::metrics!(@label $($label)?),
                },)*]
            }
        }
    };
    (@most) => { 1 };
    (@most $most:literal) => { $most };
    (@unit) => { None };
    (@unit $unit:ident) => { Some($crate::metrics::Unit::$unit) };
    (@label) => { "" };
    (@label $label:literal) => { $label };
}

/// The reference of a service's metrics, as a table in Markdown.
#[must_use]
pub fn reference(rows: &[Row]) -> String {
    let mut text = String::from("| name | type | label | what |\n|---|---|---|---|\n");
    for row in rows {
        let label = if row.label.is_empty() { String::new() } else { format!("`{}`", row.label) };
        let _ = writeln!(text, "| `{}` | {} | {label} | {} |", row.full_name(), row.kind, row.help);
    }
    text
}
