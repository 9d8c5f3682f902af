//! Series of applications that are not part of the traffic model.
//!
//! They are drill-down of this node, but for those that are promoted ([`promotion`](super::promotion)): these are added over
//! the nodes of the cluster, in digits that are the same everywhere. Attributes are those of the point, and `service.name` of its resource. Of more
//! attributes than a series takes those stay that are worth most ([`attributes`](super::attributes)), and points that differ
//! in the others alone are one series: counters and histograms add up to the same totals, and so do gauges, as all streams
//! of one series do.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use starling_proto::{
    catalogue::{self, Kind, Scope},
    histogram::Histogram,
    limits::{ATTRIBUTES_MAX, COUNTER_INCREMENT_MAX, GAUGE_MAGNITUDE_MAX, SCALE_MAX},
    series::{Sample, Series, Value},
};

use super::{
    attributes,
    fixed::Fixed,
    observation::{Attribute, Observation},
    promotion::{self, Promotion},
    refusal::Refusal,
    traffic::unit_ns,
};

/// A series that reported nothing for this long is absent: three of the SDKs' default intervals of a minute.
const PRESENT_MAX: Duration = Duration::from_secs(180);

/// Key of the service among the attributes.
const SERVICE: &str = "service.name";

/// What a series gathered and was not cut yet.
#[derive(Debug)]
enum Gathered {
    /// In the digits of the series that is sent, of the cluster's in all there are. What exceeds the largest increment of a
    /// second, and what is less than a digit, is part of the next one.
    Counter(u128),
    /// Its value is held by the levels.
    Gauge,
    Histogram(Option<Histogram>),
}

#[derive(Debug)]
struct Present {
    /// As it is sent: with digits.
    shown: Series,
    gathered: Gathered,
    seen: Duration,
}

/// The application series that are present, within a bound. Each is known by its series without digits: those are the
/// finest that its values came with and that hold them.
#[derive(Debug)]
pub(super) struct Applications {
    present: HashMap<Series, Present>,
    most: usize,
}

impl Applications {
    pub(super) fn new(most: usize) -> Self {
        Self { present: HashMap::new(), most }
    }

    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    /// Makes room for a series, or finds it there, to hold values with `scale` digits.
    pub(super) fn admit(&mut self, series: &Series, scale: u8, now: Duration) -> Result<(), Refusal> {
        if let Some(present) = self.present.get_mut(series) {
            present.seen = now;
            present.refine(scale);
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
        let scale = match series.scope() {
            Scope::Cluster if series.kind() != Kind::Histogram => promotion::scale(series.kind(), series.unit()),
            _ => scale,
        };
        self.present.insert(series.clone(), Present { shown: series.with_scale(scale), gathered, seen: now });
        Ok(())
    }

    /// Makes room for the series of a gauge that now has `value`.
    ///
    /// # Errors
    /// [`Refusal::SeriesFull`]; [`Refusal::OutOfRange`] for a value that the digits of the cluster do not hold.
    pub(super) fn admit_gauge(&mut self, series: &Series, value: Fixed, now: Duration) -> Result<(), Refusal> {
        let fits = |scale| value.rescaled(scale).is_some_and(|v| v.value.abs() <= GAUGE_MAGNITUDE_MAX);
        if series.scope() == Scope::Cluster {
            if !fits(promotion::scale(Kind::Gauge, series.unit())) {
                return Err(Refusal::OutOfRange("the value"));
            }
            return self.admit(series, value.scale, now);
        }
        self.admit(series, value.scale, now)?;
        if let Some(present) = self.present.get_mut(series) {
            // A large value needs room in front of the point.
            let mut scale = present.shown.scale();
            while scale > value.scale && !fits(scale) {
                scale -= 1;
            }
            present.shown = present.shown.with_scale(scale);
        }
        Ok(())
    }

    /// The series as it is sent.
    pub(super) fn shown(&self, series: &Series) -> Series {
        self.present.get(series).map_or_else(|| series.clone(), |present| present.shown.clone())
    }

    /// Counts an increment with `scale` digits of a counter.
    pub(super) fn count(&mut self, series: &Series, scale: u8, increment: u64, now: Duration) -> Result<(), Refusal> {
        self.admit(series, scale, now)?;
        if let Some(Present { shown, gathered: Gathered::Counter(sum), .. }) = self.present.get_mut(series) {
            // The digits that are gathered are at least those, and at most nine.
            let factor = 10u128.pow(u32::from(gathered_scale(shown).saturating_sub(scale)));
            *sum = sum.saturating_add(u128::from(increment) * factor);
        }
        Ok(())
    }

    /// Adds values to a histogram.
    pub(super) fn record(&mut self, series: &Series, values: Histogram, now: Duration) -> Result<(), Refusal> {
        // Its digits are part of its layout and do not change.
        self.admit(series, series.scale(), now)?;
        if let Some(Present { gathered: Gathered::Histogram(sum), .. }) = self.present.get_mut(series) {
            *sum = Some(match sum.take() {
                None => values,
                Some(before) => before.plus(&values).map_err(|_| Refusal::OutOfRange("the count"))?,
            });
        }
        Ok(())
    }

    /// Takes out what was gathered since the last cut.
    pub(super) fn cut(&mut self, now: Duration, samples: &mut Vec<Sample>) {
        self.sweep(now);
        for present in self.present.values_mut() {
            let value = match &mut present.gathered {
                Gathered::Counter(sum) => {
                    let digit = digit(&present.shown);
                    let increment = (*sum / digit).min(COUNTER_INCREMENT_MAX.into());
                    *sum -= increment * digit;
                    // At most the largest increment.
                    Value::Counter(increment as u64)
                }
                Gathered::Histogram(sum) => Value::Histogram(Arc::new(sum.take().unwrap_or_default())),
                Gathered::Gauge => continue,
            };
            samples.push(Sample { series: present.shown.clone(), value });
        }
    }

    fn sweep(&mut self, now: Duration) {
        self.present.retain(|_, present| {
            let holds = match &present.gathered {
                Gathered::Counter(sum) => *sum >= digit(&present.shown),
                Gathered::Gauge => false,
                Gathered::Histogram(values) => values.is_some(),
            };
            holds || now.saturating_sub(present.seen) <= PRESENT_MAX
        });
    }
}

impl Present {
    /// Takes values of `scale` digits from now on.
    fn refine(&mut self, scale: u8) {
        let before = self.shown.scale();
        if scale <= before || self.shown.scope() == Scope::Cluster {
            return;
        }
        self.shown = self.shown.with_scale(scale);
        if let Gathered::Counter(sum) = &mut self.gathered {
            *sum = sum.saturating_mul(10u128.pow(u32::from(scale - before)));
        }
    }
}

/// Digits in which a counter is gathered that is sent as `shown`.
fn gathered_scale(shown: &Series) -> u8 {
    if shown.scope() == Scope::Cluster { SCALE_MAX } else { shown.scale() }
}

/// What a counter that is sent as `shown` has gathered when its last digit is one.
fn digit(shown: &Series) -> u128 {
    10u128.pow(u32::from(gathered_scale(shown).saturating_sub(shown.scale())))
}

/// The series of an observation; of a number without digits, of a histogram with those of its layout. A promoted one is of
/// the cluster, with the attributes that its rule keeps. With it how many attributes found no room in it.
pub(super) fn series(
    observation: &Observation<'_>,
    promotions: &[Promotion],
    (kind, unit, scale): (Kind, &str, u8),
) -> Result<(Series, usize), Refusal> {
    let name = observation.metric;
    if catalogue::find(name).is_some() {
        return Err(Refusal::Reserved);
    }
    let promotion = Promotion::find(promotions, name);
    let keeps = |key: &str| promotion.is_none_or(|rule| rule.keeps(key));
    let mut kept: Vec<&Attribute<'_>> = observation.attributes.iter().filter(|one| keeps(one.key)).collect();
    let service = observation.service.filter(|_| keeps(SERVICE) && kept.iter().all(|one| one.key != SERVICE));
    let left_out = attributes::keep(&mut kept, ATTRIBUTES_MAX - usize::from(service.is_some()));
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(kept.len() + 1);
    for attribute in kept {
        let value = attribute.text().ok_or(Refusal::Malformed("an attribute is not a plain value"))?;
        pairs.push((attribute.key, value));
    }
    pairs.extend(service.map(|name| (SERVICE, Cow::Borrowed(name))));
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (*key, &**value)).collect();
    let scope = if promotion.is_some() { Scope::Cluster } else { Scope::Node };
    Ok((Series::application(name, &pairs, kind, unit, scale, scope)?, left_out))
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
    use super::super::observation::{AttributeValue, Identity, Number, Reading};
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn attribute<'a>(key: &'a str, value: &'a str) -> Attribute<'a> {
        Attribute { key, value: AttributeValue::Text(value.into()) }
    }

    fn observation<'a>(metric: &'a str, attributes: Vec<Attribute<'a>>) -> Observation<'a> {
        let identity = Identity { key: 1, family: 1, sender: 1, start_unix_ns: 0, time_unix_ns: 0 };
        let reading = Reading::Level(Some(Number::Integer(1)));
        Observation { metric, unit: "1", service: None, own: false, attributes, identity, reading }
    }

    fn named(name: &str, kind: Kind) -> Series {
        series(&observation(name, vec![attribute("queue", "mail")]), &[], (kind, "1", 0)).unwrap().0
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
        applications.count(&jobs, 0, 3, NOW).unwrap();
        applications.count(&jobs, 0, 4, NOW).unwrap();
        assert_eq!(cut(&mut applications, NOW), [Value::Counter(7)]);
        assert_eq!(cut(&mut applications, NOW), [Value::Counter(0)], "nothing happened, and that is known");
        assert_eq!(cut(&mut applications, NOW + PRESENT_MAX * 2), []);
    }

    #[test]
    fn what_is_too_much_for_a_second_is_part_of_the_next() {
        let mut applications = Applications::new(10);
        let rows = named("rows", Kind::Counter);
        applications.count(&rows, 6, COUNTER_INCREMENT_MAX + 5, NOW).unwrap();
        assert_eq!(cut(&mut applications, NOW), [Value::Counter(COUNTER_INCREMENT_MAX)]);
        assert_eq!(cut(&mut applications, NOW + PRESENT_MAX * 2), [Value::Counter(5)], "it is not forgotten before");
        assert_eq!(cut(&mut applications, NOW + PRESENT_MAX * 2), []);
    }

    #[test]
    fn the_finest_digits_hold_for_all_values_of_a_series() {
        let mut applications = Applications::new(10);
        let rows = named("rows", Kind::Counter);
        applications.count(&rows, 0, 3, NOW).unwrap();
        applications.count(&rows, 6, 500_000, NOW).unwrap();
        applications.count(&rows, 0, 2, NOW).unwrap();
        let mut samples = Vec::new();
        applications.cut(NOW, &mut samples);
        assert_eq!(samples, [Sample { series: rows.with_scale(6), value: Value::Counter(5_500_000) }]);

        let depth = named("depth", Kind::Gauge);
        let mut shown = |value, scale| {
            applications.admit_gauge(&depth, Fixed { value, scale }, NOW).unwrap();
            applications.shown(&depth).scale()
        };
        assert_eq!((shown(5, 0), shown(5_500, 3), shown(7, 0)), (0, 3, 3));
        assert_eq!((shown(1 << 60, 0), shown(7, 0), shown(1, 9)), (0, 0, 9), "a large value needs the room");
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let mut applications = Applications::new(2);
        applications.admit(&named("a", Kind::Counter), 0, NOW).unwrap();
        applications.admit(&named("b", Kind::Histogram), 0, NOW).unwrap();
        assert_eq!(applications.admit(&named("c", Kind::Gauge), 0, NOW), Err(Refusal::SeriesFull(2)));
        applications.admit(&named("c", Kind::Gauge), 0, NOW + PRESENT_MAX * 2).unwrap();
        assert_eq!(applications.len(), 1);
    }

    #[test]
    fn histograms_of_one_second_add_up() {
        let mut applications = Applications::new(2);
        let sizes = named("sizes", Kind::Histogram);
        applications.record(&sizes, Histogram::of(100, 2), NOW).unwrap();
        applications.record(&sizes, Histogram::of(200, 1), NOW).unwrap();
        let values = cut(&mut applications, NOW);
        let [Value::Histogram(histogram)] = &values[..] else { panic!("{values:?}") };
        assert_eq!((histogram.count(), histogram.sum(), histogram.max()), (3, 400, 200));
    }

    #[test]
    fn a_promoted_series_has_the_attributes_and_digits_of_the_cluster() {
        let rules = ["orders by queue service.name", "depth*"].map(|text| Promotion::parse(text).unwrap());
        let mut seen = observation("orders", vec![attribute("queue", "mail"), attribute("user", "7")]);
        seen.service = Some("shop");
        seen.attributes.push(Attribute { key: "list", value: AttributeValue::NotPlain });
        let orders = series(&seen, &rules, (Kind::Counter, "1", 0)).unwrap().0;
        assert_eq!(
            (orders.to_string().as_str(), orders.scope()),
            ("orders{queue=mail,service.name=shop}", Scope::Cluster)
        );
        let depth =
            series(&observation("depth.now", vec![attribute("a", "b")]), &rules, (Kind::Gauge, "", 0)).unwrap().0;
        assert_eq!((depth.to_string().as_str(), depth.scope()), ("depth.now", Scope::Cluster));

        let mut applications = Applications::new(10);
        let mut counted = |increment, scale| {
            applications.count(&orders, scale, increment, NOW).unwrap();
            let mut samples = Vec::new();
            applications.cut(NOW, &mut samples);
            (samples[0].series.scale(), samples[0].value.clone())
        };
        assert_eq!(counted(2, 0), (3, Value::Counter(2_000)));
        assert_eq!(counted(1_999_600, 6), (3, Value::Counter(1_999)));
        assert_eq!(counted(400, 6), (3, Value::Counter(1)), "what was less than a digit is not lost");
        applications.admit_gauge(&depth, Fixed { value: 5, scale: 9 }, NOW).unwrap();
        assert_eq!(applications.shown(&depth).scale(), 3);
        let huge = Fixed { value: GAUGE_MAGNITUDE_MAX, scale: 0 };
        assert_eq!(applications.admit_gauge(&depth, huge, NOW), Err(Refusal::OutOfRange("the value")));
        assert!(cut(&mut applications, NOW + PRESENT_MAX * 2).is_empty());
    }

    #[test]
    fn names_of_the_catalogue_and_odd_attributes_are_refused() {
        let of = |name, attributes: &[Attribute<'static>], kind| {
            series(&observation(name, attributes.to_vec()), &[], (kind, "1", 0))
        };
        assert_eq!(of("system.cpu.utilization", &[], Kind::Gauge), Err(Refusal::Reserved));
        let list = Attribute { key: "k", value: AttributeValue::NotPlain };
        assert!(matches!(of("m", &[list], Kind::Counter), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn of_many_attributes_those_that_matter_stay_whatever_the_kind() {
        for (count, left_out) in [(7, 0), (8, 1), (9, 2), (16, 9), (128, 121)] {
            let keys: Vec<String> = (1..count).map(|i| format!("k{i:03}")).collect();
            let mut many: Vec<Attribute<'_>> = keys.iter().map(|key| attribute(key, "v")).collect();
            many.push(attribute("http.route", "/cart"));
            many.reverse();
            for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram] {
                let mut seen = observation("m", many.clone());
                seen.service = Some("shop");
                let (series, beyond) = series(&seen, &[], (kind, "1", 0)).unwrap();
                assert_eq!((series.attributes().len(), beyond), (count.min(7) + 1, left_out), "{series}");
                assert_eq!(series.attribute("http.route"), Some("/cart"), "{series}");
                assert_eq!(series.attribute(SERVICE), Some("shop"), "{series}");
            }
        }
        let list = Attribute { key: "z", value: AttributeValue::NotPlain };
        let mut many: Vec<Attribute<'_>> =
            ["a", "b", "c", "d", "e", "f", "g", "h"].map(|key| attribute(key, "v")).into();
        many.push(list);
        let (series, beyond) = series(&observation("m", many), &[], (Kind::Gauge, "1", 0)).unwrap();
        assert_eq!((series.attributes().len(), beyond), (8, 1), "what is left out cannot be wrong");
    }
}
