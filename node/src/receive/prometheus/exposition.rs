//! One answer of a target: its lines gathered by family, as observations.

use std::{borrow::Cow, collections::HashMap};

use super::{
    labels::{Labels, Source, attributes},
    line::Line,
};
use crate::receive::{
    AppReceiver, Moment, Outcome, Refusal,
    mapping::unit_of,
    observation::{Identity, Number, Observation, Reading, StreamKey, Temporality},
    point::{Buckets, Point},
};

/// The start of what does not say when it began: before everything, so that its first value is where counting begins, and
/// the same for all, so that one that comes later in a family is known to be new.
pub(super) const UNKNOWN_START: u64 = 1;

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    /// Histograms of values that come and go.
    GaugeHistogram,
    Unknown,
}

impl Kind {
    fn parse(word: &str) -> Self {
        match word {
            "counter" => Self::Counter,
            "gauge" | "info" | "stateset" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "gaugehistogram" => Self::GaugeHistogram,
            _ => Self::Unknown,
        }
    }

    /// What a sample may have after the name of its family.
    const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter => &["", "_total", "_created"],
            Self::Gauge => &["", "_info"],
            Self::Histogram => &["_bucket", "_sum", "_count", "_created", ""],
            Self::Summary => &["", "_sum", "_count", "_created"],
            Self::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
            Self::Unknown => &[""],
        }
    }
}

/// One metric of a family: what its lines said.
#[derive(Debug, Default)]
pub(super) struct Metric<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) labels: Labels<'a>,
    number: Option<Number>,
    /// Upper bounds with the counts up to them.
    pub(super) buckets: Vec<(f64, Number)>,
    pub(super) sum: Option<f64>,
    pub(super) count: Option<Number>,
    /// Seconds since the Unix epoch.
    created: Option<f64>,
    lines: u64,
}

impl<'a> Metric<'a> {
    /// One of which nothing was said yet.
    pub(super) fn new(name: Cow<'a, str>, labels: Labels<'a>) -> Self {
        Self { name, labels, ..Self::default() }
    }
}

/// A family that is being gathered.
#[derive(Debug)]
struct Family<'a> {
    name: Cow<'a, str>,
    kind: Kind,
    unit: Option<&'a str>,
    metrics: Vec<Metric<'a>>,
    places: HashMap<StreamKey, usize>,
}

impl<'a> Family<'a> {
    fn new(name: Cow<'a, str>, kind: Kind) -> Self {
        Self { name, kind, unit: None, metrics: Vec::new(), places: HashMap::new() }
    }

    /// What stands after the name of the family in the name of a sample of it.
    fn suffix(&self, name: &str) -> Option<&'static str> {
        let rest = name.strip_prefix(&*self.name)?;
        self.kind.suffixes().iter().find(|suffix| **suffix == rest).copied()
    }
}

/// What is to be given to the receiver of one metric, or why it is not.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) unit: String,
    pub(super) labels: Labels<'a>,
    pub(super) reading: Result<Option<Reading>, Refusal>,
    pub(super) start_unix_ns: u64,
    /// Lines it was made of.
    pub(super) lines: u64,
}

/// Reads an answer. Calls `give` for every metric, and notes lines that cannot be read.
///
/// # Errors
/// When there are more samples than `most`, or none and something else: nothing more is given then.
pub(super) fn read<'a>(
    text: &'a str,
    most: usize,
    outcome: &mut Outcome,
    mut give: impl FnMut(Given<'a>, &mut Outcome),
) -> Result<usize, String> {
    let mut family: Family<'a> = Family::new(Cow::Borrowed(""), Kind::Unknown);
    let (mut samples, mut broken) = (0, 0u64);
    for line in text.split('\n') {
        match Line::parse(line) {
            Ok(Line::Nothing) => {}
            Ok(Line::Type { name, kind }) => {
                // A unit may stand before the type.
                let unit = family.unit.filter(|_| family.name == name && family.metrics.is_empty());
                let next = Family { unit, ..Family::new(name, Kind::parse(kind)) };
                give_all(std::mem::replace(&mut family, next), outcome, &mut give);
            }
            Ok(Line::Unit { name, unit }) => {
                if family.name != name {
                    give_all(std::mem::replace(&mut family, Family::new(name, Kind::Unknown)), outcome, &mut give);
                }
                family.unit = Some(unit).filter(|unit| !unit.is_empty());
            }
            Ok(Line::Sample { name, labels, value }) => {
                samples += 1;
                if samples > most {
                    return Err(format!("more than {most} samples: let the target show fewer, or split it"));
                }
                if family.suffix(&name).is_none() {
                    let next = Family::new(name.clone(), Kind::Unknown);
                    give_all(std::mem::replace(&mut family, next), outcome, &mut give);
                }
                if let Some(suffix) = family.suffix(&name) {
                    family.add(suffix, name, labels, value);
                }
            }
            Err(refusal) => {
                broken += 1;
                if broken <= 5 {
                    let start: String = line.chars().take(80).collect();
                    outcome.refuse(&start, &refusal, 1);
                } else {
                    outcome.refuse_unnamed(&refusal, 1);
                }
            }
        }
    }
    give_all(family, outcome, &mut give);
    if samples == 0 && broken > 0 {
        return Err("the answer holds no metrics in the text format of Prometheus: is the path right?".to_owned());
    }
    Ok(samples)
}

fn give_all<'a>(family: Family<'a>, outcome: &mut Outcome, give: &mut impl FnMut(Given<'a>, &mut Outcome)) {
    let Family { kind, unit, metrics, name: family_name, .. } = family;
    for metric in metrics {
        let lines = metric.lines;
        let start_unix_ns = metric.created.filter(|created| *created > 0.0).map_or(UNKNOWN_START, |s| (s * 1e9) as u64);
        let name = match kind {
            Kind::Histogram | Kind::Summary | Kind::GaugeHistogram => family_name.clone(),
            _ => metric.name.clone(),
        };
        let unit = unit.map_or_else(|| unit_of(&name).unwrap_or("").to_owned(), ucum);
        let mut metric = metric;
        let labels = std::mem::take(&mut metric.labels);
        let reading = metric.reading(kind);
        give(Given { name, unit, labels, reading, start_unix_ns, lines }, outcome);
    }
}

/// A unit of OpenMetrics by UCUM.
pub(super) fn ucum(unit: &str) -> String {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        "ratios" | "ratio" => "1",
        "milliseconds" => "ms",
        "celsius" => "Cel",
        "meters" => "m",
        "volts" => "V",
        "amperes" => "A",
        "joules" => "J",
        "grams" => "g",
        other => other,
    }
    .to_owned()
}

impl<'a> Family<'a> {
    fn add(&mut self, suffix: &str, name: Cow<'a, str>, mut labels: Labels<'a>, value: Number) {
        // A gauge or an unknown of that name is no suffix.
        let of_family = matches!(self.kind, Kind::Histogram | Kind::Summary | Kind::GaugeHistogram);
        let bound = match (of_family, suffix) {
            (true, "_bucket") => take(&mut labels, "le"),
            (true, "") if self.kind == Kind::Summary => take(&mut labels, "quantile"),
            _ => None,
        };
        labels.sort_unstable();
        let key = Source::labels_key(&labels);
        let place = *self.places.entry(key).or_insert_with(|| {
            self.metrics.push(Metric::new(name.clone(), labels));
            self.metrics.len() - 1
        });
        let metric = &mut self.metrics[place];
        metric.lines += 1;
        match suffix {
            "_created" => metric.created = Some(float(value)),
            "_sum" | "_gsum" if of_family => metric.sum = Some(float(value)),
            "_count" | "_gcount" if of_family => metric.count = Some(value),
            "_bucket" if of_family => {
                // One that is no number is found when the buckets are put together.
                let bound = bound.and_then(|bound| bound.parse().ok()).unwrap_or(f64::NAN);
                metric.buckets.push((bound, value));
            }
            _ => {
                metric.name = name;
                metric.number = Some(value);
            }
        }
    }
}

fn take(labels: &mut Labels<'_>, key: &str) -> Option<String> {
    let at = labels.iter().position(|(own, _)| own == key)?;
    Some(labels.remove(at).1.into_owned())
}

pub(super) fn float(number: Number) -> f64 {
    match number {
        Number::Integer(value) => value as f64,
        Number::Double(value) => value,
        Number::Decimal { value, scale } => value as f64 / 10f64.powi(scale.into()),
    }
}

/// A count of things: a whole number that is not negative, also when it is written as a double.
fn whole(number: Number) -> Result<u64, Refusal> {
    let value = match number {
        Number::Integer(value) => return u64::try_from(value).map_err(|_| Refusal::Negative("a count")),
        number => float(number),
    };
    if !value.is_finite() {
        return Err(Refusal::NotFinite("a count"));
    }
    if value < 0.0 {
        return Err(Refusal::Negative("a count"));
    }
    // Saturates; far beyond what is taken.
    Ok(value.round() as u64)
}

impl Metric<'_> {
    /// What it says; `None` when it has no value now.
    pub(super) fn reading(self, kind: Kind) -> Result<Option<Reading>, Refusal> {
        let is_nan = |number: &Number| matches!(number, Number::Double(value) if value.is_nan());
        let is_counter = match kind {
            Kind::Counter => true,
            // What has no type is told by its name, as everywhere.
            Kind::Unknown => self.name.ends_with("_total"),
            _ => false,
        };
        match kind {
            Kind::Summary => Err(Refusal::Summary),
            Kind::GaugeHistogram => Err(Refusal::UnknownType),
            Kind::Histogram => self.histogram().map(Some),
            _ if is_counter => Ok(self
                .number
                .filter(|number| !is_nan(number))
                .map(|number| Reading::Counter(number, Temporality::Cumulative))),
            _ => Ok(self.number.map(|number| Reading::Level(Some(number).filter(|number| !is_nan(number))))),
        }
    }

    fn histogram(mut self) -> Result<Reading, Refusal> {
        if self.buckets.iter().any(|(bound, _)| bound.is_nan()) {
            return Err(Refusal::Malformed("a bucket has no upper bound that is a number (le)"));
        }
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0u64);
        let mut closed = false;
        for (bound, count) in &self.buckets {
            let up_to = whole(*count)?;
            // Read while values came in, a bucket may know more than a later one: it is not less than the one before.
            counts.push(up_to.saturating_sub(below));
            below = below.max(up_to);
            if bound.is_infinite() {
                closed = true;
            } else {
                bounds.push(*bound);
            }
        }
        if !closed {
            // Without +Inf the count says how many there are in all.
            let all = self.count.map_or(Ok(below), whole)?.max(below);
            counts.push(all - below);
        }
        let count = counts.iter().sum();
        let sum = self.sum.filter(|sum| !sum.is_nan());
        let buckets = Buckets::explicit(bounds, counts)?;
        let point = Point { start_unix_ns: 0, time_unix_ns: 0, count, sum, min: None, max: None, peak: None, buckets };
        Ok(Reading::Histogram(point.checked()?, Temporality::Cumulative))
    }
}

/// Hands one metric to the receiver.
pub(super) fn take_one(
    receiver: &mut AppReceiver,
    source: &Source,
    given: Given<'_>,
    now: Moment,
    outcome: &mut Outcome,
) {
    let Given { name, unit, labels, reading, start_unix_ns, lines } = given;
    let labels = source.with(labels);
    let reading = match reading {
        Ok(Some(reading)) => reading,
        Ok(None) => return outcome.taken += lines,
        Err(refusal) => return outcome.refuse(&name, &refusal, lines),
    };
    let start = match &reading {
        Reading::Level(_) => 0,
        // Not in time to come, which would be no start.
        _ => start_unix_ns.min(now.unix_ns),
    };
    let identity = Identity {
        key: source.key(&name, &labels, start),
        family: source.key(&name, &[], start),
        sender: source.key,
        start_unix_ns: start,
        time_unix_ns: now.unix_ns,
    };
    let reading = match reading {
        Reading::Histogram(point, temporality) => {
            Reading::Histogram(Point { start_unix_ns: start, time_unix_ns: now.unix_ns, ..point }, temporality)
        }
        other => other,
    };
    let (service, attributes) = attributes(&labels);
    let observation = Observation { metric: &name, unit: &unit, service, own: false, attributes, identity, reading };
    match receiver.take(observation, now) {
        Ok(()) => outcome.taken += lines,
        Err(refusal) => outcome.refuse(&name, &refusal, lines),
    }
}
