//! One answer of a target in the binary format: messages `io.prometheus.client.MetricFamily`, each after its length
//! (prometheus: client_model, io/prometheus/client/metrics.proto). It is the one format with native histograms.

use std::borrow::Cow;

use starling_proto::varint::Reader;

use super::{
    exposition::{Given, Kind, Metric, UNKNOWN_START, ucum},
    labels::Labels,
    native::Native,
    write::number_reading,
};
use crate::receive::{
    Outcome, Refusal,
    mapping::unit_of,
    observation::{Number, Reading, Temporality},
    wire::{Field, WireError, each_field},
};

/// What the content type of such an answer begins with.
pub(super) const CONTENT_TYPE: &str = "application/vnd.google.protobuf";

/// Where an answer breaks off that was read.
fn broken(at: usize, error: &dyn std::fmt::Display) -> String {
    format!(
        "byte {at} of the binary format: {error}; is the path right, and is it not behind something that changes answers?"
    )
}

/// Reads an answer. Calls `give` for every metric, and notes families that cannot be read.
///
/// # Errors
/// When there are more samples than `most`, or the lengths of messages do not fit: nothing more is given then.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    most: usize,
    outcome: &mut Outcome,
    mut give: impl FnMut(Given<'a>),
) -> Result<usize, String> {
    let (mut reader, mut samples, mut left) = (Reader::new(bytes), 0, bytes);
    while !reader.is_empty() {
        let at = bytes.len() - left.len();
        let mut family = || {
            let length = usize::try_from(reader.u64()?).unwrap_or(usize::MAX);
            reader.take(length)
        };
        let message = family().map_err(|error| broken(at, &error))?;
        left = reader.rest();
        let family = match Family::read(message) {
            Ok(family) => family,
            Err(error) => {
                outcome.refuse("a family", &Refusal::Malformed("a family is not protocol buffers"), 1);
                tracing::debug!(at, %error, "a family of a target cannot be read");
                continue;
            }
        };
        for metric in &family.metrics {
            match family.metric(metric) {
                Ok((given, lines)) => {
                    samples += lines;
                    if samples > most {
                        return Err(format!("more than {most} samples: let the target show fewer, or split it"));
                    }
                    give(given);
                }
                Err(_) => outcome.refuse(family.name, &Refusal::Malformed("a metric is not protocol buffers"), 1),
            }
        }
    }
    Ok(samples)
}

/// `MetricFamily`.
struct Family<'a> {
    name: &'a str,
    kind: Kind,
    unit: &'a str,
    metrics: Vec<&'a [u8]>,
}

impl<'a> Family<'a> {
    fn read(message: &'a [u8]) -> Result<Self, WireError> {
        // The first of the types is the one that is not written.
        let mut family = Self { name: "", kind: Kind::Counter, unit: "", metrics: Vec::new() };
        each_field(message, |number, field| {
            match number {
                1 => family.name = field.text()?,
                3 => {
                    family.kind = match field.number() {
                        0 => Kind::Counter,
                        1 => Kind::Gauge,
                        2 => Kind::Summary,
                        4 => Kind::Histogram,
                        5 => Kind::GaugeHistogram,
                        _ => Kind::Unknown,
                    }
                }
                4 => family.metrics.extend(field.bytes()),
                5 => family.unit = field.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(family)
    }

    /// `Metric`, and how many samples it is.
    fn metric(&self, message: &'a [u8]) -> Result<(Given<'a>, usize), WireError> {
        let mut labels: Labels<'a> = Vec::new();
        let (mut value, mut histogram) = (None, None);
        each_field(message, |number, field| {
            match number {
                1 => labels.push(label(field)?),
                2 | 3 | 5 => value = Some(simple(field)?),
                7 => histogram = Some(Distribution::read(field.bytes().unwrap_or_default())?),
                _ => {}
            }
            Ok(())
        })?;
        let (mut start_unix_ns, mut lines) = (UNKNOWN_START, 1);
        let reading = match (self.kind, value, histogram) {
            (Kind::Histogram, _, Some(histogram)) => {
                lines += histogram.buckets.len();
                start_unix_ns = histogram.created_unix_ns;
                histogram.reading()
            }
            (Kind::Histogram, ..) => Err(Refusal::Malformed("a histogram without one")),
            (Kind::Summary, ..) => Err(Refusal::Summary),
            (Kind::GaugeHistogram, ..) => Err(Refusal::UnknownType),
            (kind, Some((value, created_unix_ns)), _) => {
                start_unix_ns = created_unix_ns;
                number_reading(kind, self.name, value)
            }
            _ => Err(Refusal::Malformed("a metric without the value of its type")),
        };
        let unit = if self.unit.is_empty() { unit_of(self.name).unwrap_or("").to_owned() } else { ucum(self.unit) };
        let given = Given { name: Cow::Borrowed(self.name), unit, labels, reading, start_unix_ns, lines: lines as u64 };
        Ok((given, lines))
    }
}

/// `LabelPair`.
fn label<'a>(field: Field<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), WireError> {
    let mut pair = ("", "");
    each_field(field.bytes().unwrap_or_default(), |number, field| {
        match number {
            1 => pair.0 = field.text()?,
            2 => pair.1 = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((Cow::Borrowed(pair.0), Cow::Borrowed(pair.1)))
}

/// `Gauge`, `Counter`, `Untyped`: the value, and when it began.
fn simple(field: Field<'_>) -> Result<(f64, u64), WireError> {
    let (mut value, mut created) = (0.0, UNKNOWN_START);
    each_field(field.bytes().unwrap_or_default(), |number, field| {
        match number {
            1 => value = field.double(),
            3 => created = timestamp(field)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((value, created))
}

/// `google.protobuf.Timestamp` in nanoseconds since the Unix epoch; [`UNKNOWN_START`] before it.
fn timestamp(field: Field<'_>) -> Result<u64, WireError> {
    let (mut seconds, mut nanos) = (0u64, 0u64);
    each_field(field.bytes().unwrap_or_default(), |number, field| {
        match number {
            1 => seconds = field.number(),
            2 => nanos = field.number(),
            _ => {}
        }
        Ok(())
    })?;
    // A negative one is beyond what nanoseconds hold, as a number without a sign.
    let all = seconds.checked_mul(1_000_000_000).and_then(|all| all.checked_add(nanos));
    Ok(all.filter(|all| *all > 0 && i64::try_from(seconds).is_ok()).unwrap_or(UNKNOWN_START))
}

/// `Histogram`: with buckets of its own, or native, or both.
struct Distribution {
    count: u64,
    sum: f64,
    /// Upper bounds with the counts up to them.
    buckets: Vec<(f64, Number)>,
    native: Native,
    created_unix_ns: u64,
}

impl Distribution {
    fn read(message: &[u8]) -> Result<Self, WireError> {
        let mut buckets = Vec::new();
        let (mut count, mut sum, mut created_unix_ns) = (0, 0.0, UNKNOWN_START);
        each_field(message, |number, field| {
            match number {
                1 => count = field.number(),
                2 => sum = field.double(),
                3 => buckets.push(bucket(field)?),
                15 => created_unix_ns = timestamp(field)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self { count, sum, buckets, native: Native::scraped(message)?, created_unix_ns })
    }

    fn reading(self) -> Result<Option<Reading>, Refusal> {
        if self.native.is_in_use() {
            return self.native.point().map(|point| Some(Reading::Histogram(point, Temporality::Cumulative)));
        }
        let mut metric = Metric::new(Cow::Borrowed(""), Vec::new());
        metric.buckets = self.buckets;
        metric.sum = Some(self.sum);
        metric.count = Some(Number::Integer(i64::try_from(self.count).unwrap_or(i64::MAX)));
        metric.reading(Kind::Histogram)
    }
}

/// `Bucket`.
fn bucket(field: Field<'_>) -> Result<(f64, Number), WireError> {
    let (mut bound, mut count) = (0.0, Number::Integer(0));
    each_field(field.bytes().unwrap_or_default(), |number, field| {
        match number {
            1 => count = Number::Integer(i64::try_from(field.number()).unwrap_or(i64::MAX)),
            2 => bound = field.double(),
            // Of fractions, which overrides the other.
            4 => count = Number::Double(field.double()),
            _ => {}
        }
        Ok(())
    })?;
    Ok((bound, count))
}

#[cfg(test)]
pub(super) use tests::examples;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use starling_proto::varint::{put, put_bytes, zigzag};

    use crate::receive::point::Buckets;

    fn key(number: u64, wire: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, number << 3 | wire);
        out
    }

    fn bytes(number: u64, value: &[u8]) -> Vec<u8> {
        let mut out = key(number, 2);
        put_bytes(&mut out, value);
        out
    }

    fn number(number: u64, value: u64) -> Vec<u8> {
        let mut out = key(number, 0);
        put(&mut out, value);
        out
    }

    fn double(number: u64, value: f64) -> Vec<u8> {
        [key(number, 1), value.to_le_bytes().to_vec()].concat()
    }

    fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
        let metrics: Vec<u8> = metrics.iter().flat_map(|metric| bytes(4, metric)).collect();
        let message = [bytes(1, name.as_bytes()), bytes(2, b"Help."), number(3, kind), metrics].concat();
        let mut out = Vec::new();
        put_bytes(&mut out, &message);
        out
    }

    fn label(key: &str, value: &str) -> Vec<u8> {
        bytes(1, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
    }

    fn all(body: &[u8]) -> (Vec<String>, Result<usize, String>, Outcome) {
        let (mut outcome, mut seen) = (Outcome::default(), Vec::new());
        let read = read(body, 1_000, &mut outcome, |given| {
            let labels: Vec<String> = given.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let reading = match given.reading {
                Ok(Some(Reading::Histogram(point, _))) => format!("{} values, {:?}", point.count, point.buckets),
                other => format!("{other:?}"),
            };
            seen.push(format!(
                "{}{{{}}} {} {} {reading}",
                given.name,
                labels.join(","),
                given.unit,
                given.start_unix_ns
            ));
        });
        (seen, read, outcome)
    }

    /// Each type in an answer of its own.
    pub(in crate::receive::prometheus) fn examples() -> Vec<Vec<u8>> {
        let created = bytes(3, &[number(1, 1_700_000_000), number(2, 500)].concat());
        let counter = [label("queue", "mail"), bytes(3, &[double(1, 12.0), created].concat())].concat();
        let buckets =
            [(1u64, 0.1), (3, 0.5)].map(|(count, bound)| bytes(3, &[number(1, count), double(2, bound)].concat()));
        let head = [number(1, 7), double(2, 1.5), number(5, zigzag(3)), double(6, 1e-9)].concat();
        let span = bytes(12, &[number(1, zigzag(1)), number(2, 2)].concat());
        let deltas = bytes(13, &[zigzag(3) as u8, zigzag(1) as u8]);
        vec![
            family("jobs_total", 0, &[counter]),
            family("depth", 1, &[bytes(2, &double(1, 12.5))]),
            family("took_seconds", 4, &[bytes(7, &[number(1, 4), double(2, 1.5), buckets.concat()].concat())]),
            family("wait_seconds", 4, &[bytes(7, &[head, span, deltas, buckets.concat()].concat())]),
            family("loose_total", 3, &[bytes(5, &double(1, 3.0))]),
        ]
    }

    #[test]
    fn counters_gauges_and_histograms_of_both_kinds_are_read() {
        let wrong = [family("s", 2, &[bytes(4, &number(1, 1))]), family("wrong", 4, &[bytes(2, &double(1, 12.5))])];
        let body = [examples().concat(), wrong.concat()].concat();
        let (seen, read, outcome) = all(&body);
        assert_eq!(read, Ok(11), "{outcome}");
        assert_eq!(
            seen[..2],
            [
                "jobs_total{queue=mail}  1700000000000000500 Ok(Some(Counter(Integer(12), Cumulative)))",
                "depth{}  1 Ok(Some(Level(Some(Decimal { value: 125, scale: 1 }))))",
            ]
        );
        assert!(seen[2].starts_with("took_seconds{} s 1 4 values, Explicit"), "{}", seen[2]);
        assert!(seen[3].starts_with("wait_seconds{} s 1 7 values, Exponential { scale: 3"), "{}", seen[3]);
        assert!(seen[4].contains("Counter(Integer(3)"), "{}", seen[4]);
        assert!(seen[5].contains("Summary") && seen[6].contains("Malformed"), "{seen:?}");
    }

    #[test]
    fn one_without_values_yet_is_native_by_its_empty_span() {
        let native = Native::scraped(&bytes(12, &[])).unwrap();
        assert!(native.is_in_use());
        assert!(matches!(native.point().unwrap().buckets, Buckets::Exponential { .. }));
        assert!(!Native::scraped(&number(1, 7)).unwrap().is_in_use());
        assert!(Native::scraped(&[bytes(12, &[]), double(4, 1.5)].concat()).unwrap().point().is_err(), "of fractions");
    }

    #[test]
    fn what_breaks_off_says_where_and_a_broken_family_costs_itself() {
        let good = family("a", 1, &[bytes(2, &double(1, 1.0))]);
        let (seen, read, _) = all(&[good.clone(), vec![200, 1, 7]].concat());
        assert!(read.unwrap_err().starts_with(&format!("byte {} of", good.len())));
        assert_eq!(seen.len(), 1);
        let (seen, read, outcome) = all(&[vec![2, 0x0a, 9], good].concat());
        assert_eq!((seen.len(), read, outcome.refused_total()), (1, Ok(1), 1));
        let many = vec![bytes(2, &double(1, 1.0)); 1_001];
        assert!(all(&family("many", 1, &many)).1.unwrap_err().contains("more than 1000 samples"));
        assert_eq!(all(&[]).1, Ok(0));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = all(&body);
        }

        /// Bytes of a good answer, some of them changed.
        #[test]
        fn no_change_makes_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
            let native = [number(1, 7), double(2, 1.5), number(5, 6), bytes(12, &[number(1, 2), number(2, 2)].concat()), bytes(13, &[6, 2])];
            let metric = [label("a", "b"), bytes(7, &native.concat())].concat();
            let mut body = family("wait_seconds", 4, &[metric]);
            for (at, to) in changes {
                let at = at.index(body.len());
                body[at] = to;
            }
            let _ = all(&body);
        }
    }
}
