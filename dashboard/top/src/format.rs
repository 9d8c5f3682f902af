//! How numbers become words: the rules of the page (`dashboard/ui/src/lib/format.ts`), with a plain space before a unit.
//!
//! Three significant figures; a space before a unit, none before % and /s; K, M, G for counts; KiB to PiB for memory; ns to s
//! chosen by value; 24-hour clock in UTC, as the sentences of alerts have it. Missing is an en dash, never zero.

/// What stands for a value that is not there.
pub(crate) const NONE: &str = "–";

const COUNTS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")];
const MICROS: [(f64, &str); 3] = [(1e6, "s"), (1e3, "ms"), (1.0, "µs")];
const BYTES: [(f64, &str); 5] = [
    (1_125_899_906_842_624.0, "PiB"),
    (1_099_511_627_776.0, "TiB"),
    (1_073_741_824.0, "GiB"),
    (1_048_576.0, "MiB"),
    (1_024.0, "KiB"),
];
/// Relative error, in parts per million, up to which three figures are said, and up to which two.
const THREE_FIGURES_PPM: u32 = 10_000;
const TWO_FIGURES_PPM: u32 = 100_000;

fn known(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// `value` with so many significant figures, as a plain number.
fn precise(value: f64, figures: usize) -> String {
    let scientific = format!("{value:.*e}", figures.saturating_sub(1));
    let exponent: i32 = scientific.rsplit_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let decimals = i32::try_from(figures).unwrap_or(3) - 1 - exponent;
    format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))
}

fn rounded(value: f64, figures: usize) -> f64 {
    format!("{value:.*e}", figures.saturating_sub(1)).parse().unwrap_or(value)
}

/// Three significant figures. Whole numbers under 1,000 stay whole.
pub(crate) fn significant(value: Option<f64>) -> String {
    let Some(value) = known(value) else { return NONE.to_owned() };
    if value.fract() == 0.0 && value.abs() < 1_000.0 {
        return format!("{value:.0}");
    }
    let short = rounded(value, 3);
    if short.abs() >= 1_000.0 {
        return grouped(short);
    }
    if short.abs() < 1e-6 { "0".to_owned() } else { precise(short, 3) }
}

/// A whole number in full: 1,234,567.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && digits != "0" { format!("-{text}") } else { text }
}

/// Number and unit; an empty unit where the value is below all of `steps`.
fn scaled(value: f64, steps: &[(f64, &'static str)]) -> (String, &'static str) {
    // The unit is chosen after rounding, so that 999.96 K becomes 1.00 M and not 1,000 K.
    let size = rounded(value, 3).abs();
    match steps.iter().find(|(step, _)| size >= *step) {
        Some((step, unit)) => (precise(value / step, 3), unit),
        None => (significant(Some(value)), ""),
    }
}

fn joined(number: &str, unit: &str) -> String {
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// A count: 12, 1,624, 42.1 K, 5.24 M. Four figures are written out.
pub(crate) fn count(value: Option<f64>) -> String {
    let Some(value) = known(value) else { return NONE.to_owned() };
    if (999.5..9_995.0).contains(&value.abs()) {
        return grouped(value);
    }
    let (number, unit) = scaled(value, &COUNTS);
    joined(&number, unit)
}

/// Something per second: 624/s, 5.24 M/s.
pub(crate) fn rate(value: Option<f64>) -> String {
    known(value).map_or_else(|| NONE.to_owned(), |value| count(Some(value)) + "/s")
}

/// A share of a whole, given 0 to 1: 61.8%, 0.031%.
pub(crate) fn percent(value: Option<f64>) -> String {
    let Some(share) = known(value).map(|value| value * 100.0) else { return NONE.to_owned() };
    match share.abs() {
        0.0 => "0%".to_owned(),
        size if size < 0.000_5 => "<0.001%".to_owned(),
        size if size < 1.0 => format!("{}%", rounded(share, 2)),
        size if size >= 99.95 => format!("{share:.0}%"),
        _ => format!("{}%", precise(share, 3)),
    }
}

/// A share as a whole percentage, for cells of tables: 96%.
pub(crate) fn whole_percent(value: Option<f64>) -> String {
    known(value).map_or_else(|| NONE.to_owned(), |value| format!("{:.0}%", value * 100.0))
}

/// A duration given in microseconds: 640 ns, 12.5 µs, 1.80 ms, 2.40 s.
pub(crate) fn micros(value: Option<f64>) -> String {
    let Some(value) = known(value) else { return NONE.to_owned() };
    if value == 0.0 {
        return "0 ms".to_owned();
    }
    match scaled(value, &MICROS) {
        (_, "") => format!("{} ns", significant(Some(value * 1_000.0))),
        (number, unit) => joined(&number, unit),
    }
}

/// A percentile with as many figures as its bound of error carries: 80.5 ms, 80 ms, and beyond 10% ≈80 ms.
pub(crate) fn micros_within(value: Option<f64>, error_bound_ppm: u32) -> String {
    match known(value) {
        Some(value) if value > 0.0 && error_bound_ppm > TWO_FIGURES_PPM => format!("≈{}", short_micros(value, 1)),
        Some(value) if value > 0.0 && error_bound_ppm > THREE_FIGURES_PPM => short_micros(value, 2),
        value => micros(value),
    }
}

fn short_micros(value: f64, figures: usize) -> String {
    let value = rounded(value, figures);
    let (step, unit) = MICROS.iter().find(|(step, _)| value >= *step).copied().unwrap_or((0.001, "ns"));
    format!("{} {unit}", rounded(value / step, figures))
}

/// Memory: 15.5 TiB, 52.2 GiB, 512 B.
pub(crate) fn bytes(value: Option<f64>) -> String {
    let Some(value) = known(value) else { return NONE.to_owned() };
    match BYTES.iter().find(|(step, _)| rounded(value / step, 3) >= 1.0) {
        Some((step, unit)) => format!("{} {unit}", significant(Some(value / step))),
        None => format!("{} B", significant(Some(value.round()))),
    }
}

/// Memory moved per second: 42.0 MiB/s.
pub(crate) fn byte_rate(value: Option<f64>) -> String {
    known(value).map_or_else(|| NONE.to_owned(), |value| bytes(Some(value)) + "/s")
}

/// How long, given seconds: 38 s, 4 m 10 s, 3 h 5 m, 41 d 6 h.
pub(crate) fn span(seconds: u32) -> String {
    let pair = |of: u32, unit: &str, below: u32, under: &str| match below {
        0 => format!("{of} {unit}"),
        below => format!("{of} {unit} {below} {under}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => pair(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Time of day of a Unix second: 14:32:07 UTC.
pub(crate) fn clock(tick: u32) -> String {
    format!("{:02}:{:02}:{:02} UTC", tick / 3_600 % 24, tick / 60 % 60, tick % 60)
}

/// "1 core", "4 cores".
pub(crate) fn plural(count: Option<f64>, noun: &str) -> String {
    let ending = if count == Some(1.0) { "" } else { "s" };
    format!("{} {noun}{ending}", significant(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_rates() {
        for (value, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (12.34, "12.3"),
            (999.4, "999"),
            (1_624.0, "1,624"),
            (42_120.0, "42.1 K"),
            (999_960.0, "1.00 M"),
            (5.24e6, "5.24 M"),
            (0.012_34, "0.0123"),
        ] {
            assert_eq!(count(Some(value)), text);
        }
        assert_eq!(rate(Some(624.0)), "624/s");
        for missing in [None, Some(f64::NAN)] {
            for text in [
                count(missing),
                rate(missing),
                percent(missing),
                micros(missing),
                bytes(missing),
                whole_percent(missing),
            ] {
                assert_eq!(text, NONE);
            }
        }
    }

    #[test]
    fn shares() {
        for (value, text) in [
            (0.0, "0%"),
            (0.618, "61.8%"),
            (0.000_31, "0.031%"),
            (1.0, "100%"),
            (0.000_001, "<0.001%"),
            (0.05, "5.00%"),
        ] {
            assert_eq!(percent(Some(value)), text);
        }
    }

    #[test]
    fn durations() {
        for (value, text) in
            [(0.64, "640 ns"), (12.5, "12.5 µs"), (1_800.0, "1.80 ms"), (2.4e6, "2.40 s"), (0.0, "0 ms")]
        {
            assert_eq!(micros(Some(value)), text);
        }
        assert_eq!(micros_within(Some(80_540.0), 3_906), "80.5 ms");
        assert_eq!(micros_within(Some(80_540.0), 62_500), "81 ms");
        assert_eq!(micros_within(Some(80_540.0), 400_000), "≈80 ms");
        assert_eq!(
            (span(38), span(250), span(11_100), span(3_564_000)),
            ("38 s".into(), "4 m 10 s".into(), "3 h 5 m".into(), "41 d 6 h".into())
        );
    }

    #[test]
    fn sizes() {
        for (value, text) in [(512.0, "512 B"), (1_023.9 * 1_048_576.0, "1.00 GiB"), (56_000_000_000.0, "52.2 GiB")] {
            assert_eq!(bytes(Some(value)), text);
        }
        assert_eq!(byte_rate(Some(44_040_192.0)), "42 MiB/s");
        assert_eq!(clock(1_700_000_000), "22:13:20 UTC");
        assert_eq!((plural(Some(1.0), "core"), plural(Some(4.0), "core")), ("1 core".into(), "4 cores".into()));
    }
}
