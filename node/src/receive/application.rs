//! Series of applications that are not part of the traffic model.
//!
//! They are drill-down of this node. Attributes are those of the point, and `service.name` of its resource. Counters
//! and histograms with more attributes than the wire takes keep the first by name, and add up; gauges do not add up, so
//! they are refused.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use starling_proto::{
    catalogue::{self, Kind, Scope},
    histogram::{Histogram, HistogramSum},
    limits::{ATTRIBUTES_MAX, COUNTER_INCREMENT_MAX},
    series::{Sample, Series, Value},
};

use super::{observation::Observation, point::Point, refusal::Refusal, traffic::unit_ns};

/// A series that reported nothing for this long is absent: three of the SDKs' default intervals of a minute.
const PRESENT_MAX: Duration = Duration::from_secs(180);

/// What a series gathered since the last cut.
#[derive(Debug)]
enum Gathered {
    Counter(u64),
    /// Its value is held by the levels.
    Gauge,
    Histogram(Option<Histogram>),
}

#[derive(Debug)]
struct Present {
    gathered: Gathered,
    seen: Duration,
}

/// The application series that are present, within a bound.
#[derive(Debug)]
pub(super) struct Applications {
    present: HashMap<Series, Present>,
    most: usize,
    /// For building and adding histograms: 37 kB, once.
    scratch: HistogramSum,
}

impl Applications {
    pub(super) fn new(most: usize) -> Self {
        Self { present: HashMap::new(), most, scratch: HistogramSum::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    /// Makes room for a series, or finds it there.
    pub(super) fn admit(&mut self, series: &Series, now: Duration) -> Result<(), Refusal> {
        if let Some(present) = self.present.get_mut(series) {
            present.seen = now;
            return Ok(());
        }
        if self.present.len() >= self.most {
            self.sweep(now);
            if self.present.len() >= self.most {
                return Err(Refusal::SeriesFull(self.most));
            }
        }
        let gathered = match series.kind() {
            Kind::Counter => Gathered::Counter(0),
            Kind::Gauge => Gathered::Gauge,
            Kind::Histogram => Gathered::Histogram(None),
        };
        self.present.insert(series.clone(), Present { gathered, seen: now });
        Ok(())
    }

    /// Counts an increment of an admitted counter.
    pub(super) fn count(&mut self, series: &Series, increment: u64) -> Result<(), Refusal> {
        if let Some(Present { gathered: Gathered::Counter(sum), .. }) = self.present.get_mut(series) {
            let next = sum.checked_add(increment).filter(|&next| next <= COUNTER_INCREMENT_MAX);
            *sum = next.ok_or(Refusal::OutOfRange("the increment"))?;
        }
        Ok(())
    }

    /// Adds a point to an admitted histogram.
    pub(super) fn record(&mut self, series: &Series, point: &Point, factor: f64) -> Result<(), Refusal> {
        if let Some(Present { gathered: Gathered::Histogram(sum), .. }) = self.present.get_mut(series) {
            self.scratch.clear();
            point.spread_into(&mut self.scratch, factor)?;
            if let Some(before) = sum {
                self.scratch.add(before).map_err(|_| Refusal::OutOfRange("the count"))?;
            }
            *sum = Some(self.scratch.to_histogram());
        }
        Ok(())
    }

    /// Takes out what was gathered since the last cut.
    pub(super) fn cut(&mut self, now: Duration, samples: &mut Vec<Sample>) {
        self.sweep(now);
        for (series, present) in &mut self.present {
            let value = match &mut present.gathered {
                Gathered::Counter(sum) => Value::Counter(std::mem::take(sum)),
                Gathered::Histogram(sum) => Value::Histogram(Arc::new(sum.take().unwrap_or_default())),
                Gathered::Gauge => continue,
            };
            samples.push(Sample { series: series.clone(), value });
        }
    }

    fn sweep(&mut self, now: Duration) {
        self.present.retain(|_, present| now.saturating_sub(present.seen) <= PRESENT_MAX);
    }
}

/// The series of an observation.
pub(super) fn series(observation: &Observation<'_>, kind: Kind, unit: &str, scale: u8) -> Result<Series, Refusal> {
    let name = observation.metric;
    if catalogue::find(name).is_some() {
        return Err(Refusal::Reserved);
    }
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(observation.attributes.len() + 1);
    for attribute in &observation.attributes {
        let value = attribute.text().ok_or(Refusal::Malformed("an attribute is not a plain value"))?;
        pairs.push((attribute.key, value));
    }
    let service = observation.service.filter(|_| pairs.iter().all(|(key, _)| *key != "service.name"));
    let room = ATTRIBUTES_MAX - usize::from(service.is_some());
    if pairs.len() > room && kind != Kind::Gauge {
        pairs.sort_unstable_by(|a, b| a.0.cmp(b.0));
        pairs.truncate(room);
    }
    pairs.extend(service.map(|name| ("service.name", Cow::Borrowed(name))));
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (*key, &**value)).collect();
    Ok(Series::application(name, &pairs, kind, unit, scale, Scope::Node)?)
}

/// Decimal digits kept of a sum or gauge that came as a double: none of bytes, six of seconds and ratios, which are
/// small, three of everything else.
pub(super) fn scale(unit: &str) -> u8 {
    match unit {
        "By" => 0,
        "s" | "1" | "" | "%" => 6,
        _ => 3,
    }
}

/// How a histogram of `unit` is kept: unit, scale, and units of the layout in one unit of the sender's. Times become
/// seconds in nanoseconds, sizes bytes, other things thousandths.
pub(super) fn histogram_form(unit: &str) -> (&str, u8, f64) {
    match unit_ns(unit) {
        Some(ns) => ("s", 9, ns),
        None if unit == "By" => (unit, 0, 1.0),
        None => (unit, 3, 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        observation::{Attribute, AttributeValue, Identity, Number, Reading},
        otlp::testing::{decoded_explicit, explicit},
    };
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn attribute<'a>(key: &'a str, value: &'a str) -> Attribute<'a> {
        Attribute { key, value: AttributeValue::Text(value.into()) }
    }

    fn observation<'a>(metric: &'a str, attributes: Vec<Attribute<'a>>) -> Observation<'a> {
        let identity = Identity { key: 1, family: 1, start_unix_ns: 0, time_unix_ns: 0 };
        let reading = Reading::Level(Some(Number::Integer(1)));
        Observation { metric, unit: "1", service: None, attributes, identity, reading }
    }

    fn named(name: &str, kind: Kind) -> Series {
        series(&observation(name, vec![attribute("queue", "mail")]), kind, "1", 0).unwrap()
    }

    fn cut(applications: &mut Applications, now: Duration) -> Vec<Value> {
        let mut samples = Vec::new();
        applications.cut(now, &mut samples);
        samples.into_iter().map(|sample| sample.value).collect()
    }

    #[test]
    fn counters_add_up_and_are_present_until_silent() {
        let mut applications = Applications::new(10);
        let jobs = named("jobs", Kind::Counter);
        applications.admit(&jobs, NOW).unwrap();
        applications.count(&jobs, 3).unwrap();
        applications.count(&jobs, 4).unwrap();
        assert!(matches!(applications.count(&jobs, u64::MAX), Err(Refusal::OutOfRange(_))));
        assert_eq!(cut(&mut applications, NOW), [Value::Counter(7)]);
        assert_eq!(cut(&mut applications, NOW), [Value::Counter(0)], "nothing happened, and that is known");
        assert_eq!(cut(&mut applications, NOW + PRESENT_MAX * 2), []);
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let mut applications = Applications::new(2);
        applications.admit(&named("a", Kind::Counter), NOW).unwrap();
        applications.admit(&named("b", Kind::Histogram), NOW).unwrap();
        assert_eq!(applications.admit(&named("c", Kind::Gauge), NOW), Err(Refusal::SeriesFull(2)));
        applications.admit(&named("c", Kind::Gauge), NOW + PRESENT_MAX * 2).unwrap();
        assert_eq!(applications.len(), 1);
    }

    #[test]
    fn histograms_of_one_second_add_up() {
        let mut applications = Applications::new(2);
        let sizes = named("sizes", Kind::Histogram);
        applications.admit(&sizes, NOW).unwrap();
        let point = decoded_explicit(&explicit(&[100.0], &[2, 1], 300.0, Some((10.0, 200.0)))).unwrap();
        applications.record(&sizes, &point, 1.0).unwrap();
        applications.record(&sizes, &point, 1.0).unwrap();
        let values = cut(&mut applications, NOW);
        let [Value::Histogram(histogram)] = &values[..] else { panic!("{values:?}") };
        assert_eq!((histogram.count(), histogram.sum(), histogram.max()), (6, 600, 200));
    }

    #[test]
    fn names_of_the_catalogue_and_odd_attributes_are_refused() {
        let of = |name, attributes: &[Attribute<'static>], kind| {
            series(&observation(name, attributes.to_vec()), kind, "1", 0)
        };
        assert_eq!(of("system.cpu.utilization", &[], Kind::Gauge), Err(Refusal::Reserved));
        let nine = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|key| attribute(key, "v"));
        assert!(matches!(of("m", &nine, Kind::Gauge), Err(Refusal::Series(_))));
        assert_eq!(of("m", &nine, Kind::Counter).unwrap().attributes().len(), ATTRIBUTES_MAX);
        let list = Attribute { key: "k", value: AttributeValue::NotPlain };
        assert!(matches!(of("m", &[list], Kind::Counter), Err(Refusal::Malformed(_))));
    }
}
