//! One line of StatsD or DogStatsD, taken apart without a copy.
//!
//! `NAME:VALUE[:VALUE...]|TYPE[|@RATE][|#TAG,...][|TUNIX_SECONDS]` and fields that name a container (`c:`, `e:`, `card:`),
//! as in statsd/statsd: docs/metric_types.md, and "DogStatsD datagram format" of Datadog's documentation up to protocol 1.4.
//! Fields that are not known are passed over, so that a newer client is understood.

use crate::receive::Refusal;

/// The type of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Count,
    Gauge,
    /// `ms`.
    Timing,
    /// `h` and `d`: values of any unit.
    Values,
    Set,
}

/// A sampling rate above 0 and at most 1, exact: `part` of `whole`, which is a power of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) part: u64,
    pub(super) whole: u64,
}

impl Rate {
    /// Every sample was sent.
    pub(super) const ALL: Self = Self { part: 1, whole: 1 };
    /// Decimal digits of a rate: one in a billion is sent.
    const DIGITS_MAX: usize = 9;

    fn parse(text: &[u8]) -> Option<Self> {
        let (before, after) = match text.iter().position(|&byte| byte == b'.') {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, &[][..]),
        };
        let after = &after[..after.iter().rposition(|&byte| byte != b'0').map_or(0, |last| last + 1)];
        let plain = before.iter().chain(after).all(u8::is_ascii_digit) && !(before.is_empty() && after.is_empty());
        if !plain || after.len() > Self::DIGITS_MAX || before.len() > 2 {
            // "1e-3", and digits without end as of 1/3.
            let rate: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            return Self::near(rate);
        }
        let digits = before.iter().chain(after).fold(0u64, |number, byte| number * 10 + u64::from(byte - b'0'));
        // At most nine digits.
        Self::checked(digits, 10u64.pow(after.len() as u32))
    }

    fn near(rate: f64) -> Option<Self> {
        const WHOLE: u64 = 1_000_000_000;
        (rate.is_finite() && rate > 0.0)
            .then(|| (rate * WHOLE as f64).round() as u64)
            .and_then(|part| Self::checked(part, WHOLE))
    }

    fn checked(part: u64, whole: u64) -> Option<Self> {
        (part > 0 && part <= whole).then_some(Self { part, whole })
    }
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) name: &'a [u8],
    /// What stands between the name and the type.
    pub(super) values: &'a [u8],
    pub(super) kind: Kind,
    pub(super) rate: Rate,
    /// What stands after `#`; empty without.
    pub(super) tags: &'a [u8],
    /// When it was measured, where the sender says so: seconds since the Unix epoch.
    pub(super) time_unix_s: Option<u64>,
    /// It has a field that only DogStatsD has.
    pub(super) is_dog: bool,
}

impl<'a> Line<'a> {
    /// Takes `line`, without its end, apart.
    ///
    /// # Errors
    /// [`Refusal`]; for all of the line.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        if line.starts_with(b"_e{") {
            return Err(Refusal::Event);
        }
        if line.starts_with(b"_sc|") {
            return Err(Refusal::ServiceCheck);
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Refusal::Malformed("the line has no value"))?;
        let (name, rest) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() {
            return Err(Refusal::Malformed("the line has no name"));
        }
        let mut fields = rest.split(|&byte| byte == b'|');
        let values = fields.next().unwrap_or_default();
        let kind = match fields.next() {
            Some(b"c") => Kind::Count,
            Some(b"g") => Kind::Gauge,
            Some(b"ms") => Kind::Timing,
            Some(b"h" | b"d") => Kind::Values,
            Some(b"s") => Kind::Set,
            None => return Err(Refusal::Malformed("the line has no type")),
            Some(_) => return Err(Refusal::UnknownType),
        };
        let mut parsed =
            Self { name, values, kind, rate: Rate::ALL, tags: &[], time_unix_s: None, is_dog: kind == Kind::Values };
        for field in fields {
            match field {
                [b'@', rate @ ..] => {
                    let wrong = Refusal::Malformed("the sampling rate is not above 0 and at most 1");
                    parsed.rate = Rate::parse(rate).ok_or(wrong)?;
                    continue;
                }
                [b'#', tags @ ..] => parsed.tags = tags,
                [b'T', time @ ..] => {
                    let time = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok());
                    parsed.time_unix_s = Some(time.ok_or(Refusal::Malformed("the time is not in whole seconds"))?);
                }
                _ => {}
            }
            parsed.is_dog = true;
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(text: &str) -> Option<(u64, u64)> {
        Rate::parse(text.as_bytes()).map(|rate| (rate.part, rate.whole))
    }

    #[test]
    fn fields_come_in_any_order_and_unknown_ones_are_passed_over() {
        let line =
            Line::parse(b"shop.sold:1:2:3|c|#env:t,fast|@0.25|T1656581400|c:ci-1|e:it-false|card:low|z").unwrap();
        assert_eq!((line.name, line.values, line.kind), (&b"shop.sold"[..], &b"1:2:3"[..], Kind::Count));
        assert_eq!((line.tags, line.time_unix_s, line.is_dog), (&b"env:t,fast"[..], Some(1_656_581_400), true));
        assert_eq!(line.rate, Rate { part: 25, whole: 100 });
        let plain = Line::parse(b"a:-5|g|@1").unwrap();
        assert_eq!((plain.rate, plain.is_dog, plain.kind), (Rate::ALL, false, Kind::Gauge));
        for (kind, wanted) in [("ms", Kind::Timing), ("h", Kind::Values), ("d", Kind::Values), ("s", Kind::Set)] {
            assert_eq!(Line::parse(format!("a:1|{kind}").as_bytes()).unwrap().kind, wanted);
        }
    }

    #[test]
    fn rates_are_exact() {
        assert_eq!(
            (rate("0.1"), rate("1"), rate("1.000"), rate(".5")),
            (Some((1, 10)), Some((1, 1)), Some((1, 1)), Some((5, 10)))
        );
        assert_eq!(rate("0.123456789"), Some((123_456_789, 1_000_000_000)));
        assert_eq!(
            (rate("1e-3"), rate("0.3333333333333333")),
            (Some((1_000_000, 1_000_000_000)), Some((333_333_333, 1_000_000_000)))
        );
        for wrong in ["", ".", "0", "1.1", "-1", "nan", "inf", "0.0000000001", "x", "99999999999999999999"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_metric_has_its_reason() {
        let reason = |line: &str| Line::parse(line.as_bytes()).unwrap_err().as_str();
        assert_eq!((reason("_e{5,4}:title|text"), reason("_sc|db|0|#a:b")), ("event", "service_check"));
        assert_eq!(
            (reason("a"), reason("a:1"), reason(":1|c"), reason("a:1|x")),
            ("malformed", "malformed", "malformed", "type")
        );
        assert_eq!((reason("a:1|c|@2"), reason("a:1|c|Tnow")), ("malformed", "malformed"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[a-c:|@#T.0-9,-]{0,60}") {
            let _ = Line::parse(&bytes);
            let _ = Line::parse(text.as_bytes());
        }
    }
}
