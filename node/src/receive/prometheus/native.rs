//! Native histograms of Prometheus, as remote write sends them: `prometheus.Histogram`, the same in both versions
//! (prometheus: prompb/types.proto), and as targets show them in the binary format: `io.prometheus.client.Histogram`
//! (client_model: metrics.proto), which numbers its fields otherwise.

use starling_proto::varint::unzigzag;

use crate::receive::{
    Refusal,
    point::{Buckets, EXPONENTIAL_BUCKETS_MAX, Point},
    wire::{Field, WireError, each_field, numbers},
};

/// What a value is that says: there is none from now on (prometheus: model/value/value.go, `StaleNaN`).
const STALE: u64 = 0x7ff0_0000_0000_0002;
/// The schema of buckets with bounds of their own.
const CUSTOM: i64 = -53;
/// Buckets of one histogram that are read: those that Prometheus keeps by default are 160.
const DELTAS_MAX: usize = 4_096;

/// True for the value that ends a series.
pub(super) const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

/// A histogram as it came.
#[derive(Debug, Default)]
pub(super) struct Native {
    count: u64,
    is_float: bool,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: u64,
    negative_deltas: Vec<u64>,
    /// Offset from the one before, and length.
    spans: Vec<(i64, u64)>,
    deltas: Vec<u64>,
    bounds: Vec<f64>,
    pub(super) time_ms: i64,
    pub(super) start_ms: i64,
}

impl Native {
    /// Reads one.
    ///
    /// # Errors
    /// [`WireError`].
    pub(super) fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let mut native = Self::default();
        each_field(bytes, |number, field| {
            match number {
                1 => native.count = field.number(),
                2 | 7 | 10 | 13 => native.is_float = true,
                3 => native.sum = field.double(),
                4 => native.schema = unzigzag(field.number()),
                5 => native.zero_threshold = field.double(),
                6 => native.zero_count = field.number(),
                9 => numbers(field, &mut native.negative_deltas)?,
                11 => native.spans.push(span(field)?),
                12 => numbers(field, &mut native.deltas)?,
                // Two's complement.
                15 => native.time_ms = field.number() as i64,
                16 => doubles(field, &mut native.bounds),
                17 => native.start_ms = field.number() as i64,
                _ => {}
            }
            Ok(())
        })?;
        Ok(native)
    }

    /// Reads the native part of one as a target shows it.
    ///
    /// # Errors
    /// [`WireError`].
    pub(super) fn scraped(bytes: &[u8]) -> Result<Self, WireError> {
        let mut native = Self::default();
        each_field(bytes, |number, field| {
            match number {
                1 => native.count = field.number(),
                2 => native.sum = field.double(),
                // Counts of fractions, in all, in the zero bucket, and of buckets.
                4 | 8 | 11 | 14 => native.is_float = true,
                5 => native.schema = unzigzag(field.number()),
                6 => native.zero_threshold = field.double(),
                7 => native.zero_count = field.number(),
                10 => numbers(field, &mut native.negative_deltas)?,
                12 => native.spans.push(span(field)?),
                13 => numbers(field, &mut native.deltas)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(native)
    }

    /// True when a target shows it with buckets of this kind, or with none yet: then by a span of no length, without which it
    /// would look like one with classic buckets.
    pub(super) fn is_in_use(&self) -> bool {
        let has_buckets = !self.spans.is_empty() || !self.negative_deltas.is_empty();
        has_buckets || self.zero_threshold > 0.0 || self.zero_count > 0
    }

    /// True for one that ends its series.
    pub(super) const fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// As a point without times.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn point(self) -> Result<Point, Refusal> {
        if self.is_float {
            return Err(Refusal::Malformed("histograms of fractions, which rules make, are not taken"));
        }
        if !self.negative_deltas.is_empty() {
            return Err(Refusal::Negative("a bucket in use"));
        }
        if self.deltas.len() > DELTAS_MAX {
            return Err(Refusal::Buckets { found: self.deltas.len(), most: DELTAS_MAX });
        }
        let used = self.used()?;
        let buckets = if self.schema == CUSTOM { custom(self.bounds, &used)? } else { self.exponential(&used)? };
        let point = Point {
            start_unix_ns: 0,
            time_unix_ns: 0,
            count: self.count,
            sum: Some(self.sum).filter(|sum| !sum.is_nan()),
            min: None,
            max: None,
            peak: None,
            buckets,
        };
        point.checked()
    }

    /// The buckets in use, by their index, with their counts.
    fn used(&self) -> Result<Vec<(i64, u64)>, Refusal> {
        const BROKEN: Refusal = Refusal::Malformed("the spans and buckets of a histogram do not fit each other");
        let (mut used, mut deltas) = (Vec::with_capacity(self.deltas.len()), self.deltas.iter());
        let (mut index, mut count) = (0i64, 0i64);
        for (i, (offset, length)) in self.spans.iter().enumerate() {
            if i > 0 && *offset < 0 {
                return Err(BROKEN);
            }
            index = index.checked_add(*offset).ok_or(BROKEN)?;
            for _ in 0..*length {
                // Ends with the deltas, whatever a length says.
                count = count.checked_add(unzigzag(*deltas.next().ok_or(BROKEN)?)).ok_or(BROKEN)?;
                used.push((index, u64::try_from(count).map_err(|_| BROKEN)?));
                index = index.checked_add(1).ok_or(BROKEN)?;
            }
        }
        if deltas.next().is_some() { Err(BROKEN) } else { Ok(used) }
    }

    fn exponential(&self, used: &[(i64, u64)]) -> Result<Buckets, Refusal> {
        if !(-4..=8).contains(&self.schema) {
            return Err(Refusal::OutOfRange("the schema"));
        }
        if !self.zero_threshold.is_finite() || self.zero_threshold < 0.0 {
            return Err(Refusal::Malformed("the zero threshold is no positive number"));
        }
        // Bucket i ends at base^i here and begins there in a point, hence one less.
        let (first, last) = match used {
            [] => (0, -1),
            [first, .., last] => (first.0 - 1, last.0 - 1),
            [only] => (only.0 - 1, only.0 - 1),
        };
        if first < i64::from(i32::MIN) / 4 || last > i64::from(i32::MAX) / 4 {
            return Err(Refusal::OutOfRange("the offset"));
        }
        // Each step merges two neighbours, until there are not too many.
        let mut steps = 0;
        while (last >> steps) - (first >> steps) >= EXPONENTIAL_BUCKETS_MAX as i64 {
            steps += 1;
        }
        let offset = first >> steps;
        let mut counts = vec![0u64; usize::try_from((last >> steps) - offset + 1).unwrap_or(0)];
        for (index, n) in used {
            // Between the first and the last.
            let place = usize::try_from(((index - 1) >> steps) - offset).unwrap_or(0);
            counts[place] = counts[place].checked_add(*n).ok_or(Refusal::OutOfRange("the count"))?;
        }
        Ok(Buckets::Exponential {
            // -4 less at most 30.
            scale: self.schema as i32 - steps,
            zero: self.zero_count,
            zero_threshold: self.zero_threshold,
            offset: offset as i32,
            counts,
        })
    }
}

fn custom(bounds: Vec<f64>, used: &[(i64, u64)]) -> Result<Buckets, Refusal> {
    let most = bounds.len();
    if most > DELTAS_MAX {
        return Err(Refusal::Buckets { found: most, most: DELTAS_MAX });
    }
    let mut counts = vec![0u64; most + 1];
    for (index, n) in used {
        let place = usize::try_from(*index).ok().filter(|place| *place <= most);
        counts[place.ok_or(Refusal::Malformed("a bucket beyond the bounds of its histogram"))?] = *n;
    }
    Buckets::explicit(bounds, counts)
}

fn span(field: Field<'_>) -> Result<(i64, u64), WireError> {
    let mut span = (0, 0);
    each_field(field.bytes().unwrap_or_default(), |number, field| {
        match number {
            1 => span.0 = unzigzag(field.number()),
            2 => span.1 = field.number(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(span)
}

fn doubles(field: Field<'_>, all: &mut Vec<f64>) {
    match field {
        Field::Bytes(bytes) => all.extend(bytes.as_chunks::<8>().0.iter().map(|eight| f64::from_le_bytes(*eight))),
        field => all.push(field.double()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use starling_proto::varint::zigzag;

    fn native(schema: i64, spans: &[(i64, u64)], deltas: &[i64], count: u64) -> Native {
        Native {
            count,
            sum: 1.0,
            schema,
            spans: spans.to_vec(),
            deltas: deltas.iter().map(|delta| zigzag(*delta)).collect(),
            ..Native::default()
        }
    }

    #[test]
    fn spans_and_deltas_become_dense_buckets() {
        // Buckets 1 and 2, then 5: counts 3, 4, 1.
        let point = native(3, &[(1, 2), (2, 1)], &[3, 1, -3], 8).point().unwrap();
        let Buckets::Exponential { scale, offset, counts, .. } = point.buckets else { panic!("exponential") };
        assert_eq!((scale, offset, counts), (3, 0, vec![3, 4, 0, 0, 1]));
    }

    #[test]
    fn wide_histograms_become_coarser_and_keep_their_counts() {
        let point = native(8, &[(-2_000, 1), (4_000, 1)], &[3, 2], 8).point().unwrap();
        let Buckets::Exponential { scale, offset, counts, .. } = point.buckets else { panic!("exponential") };
        assert_eq!((scale, offset), (4, -126));
        assert!(counts.len() <= EXPONENTIAL_BUCKETS_MAX && counts.iter().sum::<u64>() == 8);
    }

    #[test]
    fn bounds_of_their_own_are_explicit() {
        let native = Native { bounds: vec![0.1, 0.5], ..native(CUSTOM, &[(0, 1), (1, 1)], &[2, 1], 5) };
        let Buckets::Explicit { counts, .. } = native.point().unwrap().buckets else { panic!("explicit") };
        assert_eq!(counts, [2, 0, 3]);
        assert!(Native { bounds: vec![0.1], ..self::native(CUSTOM, &[(2, 1)], &[1], 1) }.point().is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for broken in [
            native(3, &[(0, 2)], &[1], 1),
            native(3, &[(0, 1)], &[1, 1], 1),
            native(3, &[(0, u64::MAX)], &[1], 1),
            native(3, &[(0, 1), (-1, 1)], &[1, 0], 2),
            native(3, &[(0, 1)], &[-1], 0),
            native(3, &[(0, 1)], &[1], 2),
            native(9, &[(0, 1)], &[1], 1),
            native(3, &[(i64::MAX, 2)], &[1, 0], 2),
            Native { is_float: true, ..native(3, &[], &[], 0) },
        ] {
            assert!(broken.point().is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(native) = Native::read(&bytes) {
                let _ = native.point();
            }
        }

        #[test]
        fn counts_are_exact(counts in prop::collection::vec(0u64..1_000, 1..400), offset in -5_000i64..5_000, schema in -4i64..=8) {
            let mut before = 0i64;
            let deltas: Vec<i64> = counts.iter().map(|&n| (n as i64) - std::mem::replace(&mut before, n as i64)).collect();
            let all = counts.iter().sum();
            let point = native(schema, &[(offset, counts.len() as u64)], &deltas, all).point().unwrap();
            let Buckets::Exponential { counts, .. } = point.buckets else { panic!("exponential") };
            prop_assert_eq!(counts.iter().sum::<u64>(), all);
        }
    }
}
