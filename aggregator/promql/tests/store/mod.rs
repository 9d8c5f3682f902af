//! Samples in memory, selected as a query asks for them.

use std::sync::Arc;

use starling_promql::{
    Answer, EvalError, HistogramSamples, Labels, NAME, Options, Query, Range, SampleValue, Samples, Select,
    SeriesSamples, SeriesValues, Value,
};

/// A whole UTC hour, in seconds: 2026-10-20T03:00:00Z.
pub(crate) const T0: i64 = 1_792_465_200;

#[derive(Default)]
pub(crate) struct Store(pub(crate) Vec<SeriesSamples>);

#[allow(dead_code, reason = "each test program uses a part")]
impl Store {
    /// Adds the series `name{labels}` with numbers at seconds after [`T0`].
    pub(crate) fn add(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> &mut Self {
        let points = points.into_iter().map(|(at, value)| (T0 * 1000 + (at * 1000.0).round() as i64, value)).collect();
        let labels = Labels::new(labels.iter().copied().chain([(NAME, name)]));
        self.0.push(SeriesSamples { labels, samples: Samples::Floats(points) });
        self
    }

    /// Adds a counter of which a second `t` after [`T0`] counted `growth(t)`, as the store keeps it.
    pub(crate) fn add_sums(
        &mut self,
        name: &str,
        seconds: std::ops::Range<i64>,
        growth: impl Fn(i64) -> f64,
    ) -> &mut Self {
        let mut sum = 0.0;
        let point = |t: i64| {
            sum = if (T0 + t) % 86_400 == 0 { 0.0 } else { sum } + growth(t);
            ((T0 + t) * 1000, sum)
        };
        self.0.push(SeriesSamples {
            labels: Labels::new([(NAME, name)]),
            samples: Samples::Sums(seconds.map(point).collect()),
        });
        self
    }

    /// Adds a histogram series with increments at seconds after [`T0`].
    pub(crate) fn add_histograms(
        &mut self,
        name: &str,
        scale: u8,
        increments: impl IntoIterator<Item = (i64, starling_proto::histogram::Histogram)>,
    ) -> &mut Self {
        let increments = increments.into_iter().map(|(at, h)| ((T0 + at) * 1000, Some(Arc::new(h)))).collect();
        let samples = Samples::Histograms(HistogramSamples { scale, base: None, increments });
        self.0.push(SeriesSamples { labels: Labels::new([(NAME, name)]), samples });
        self
    }

    pub(crate) fn select(&self, select: &Select) -> Vec<SeriesSamples> {
        let within = |time: i64| time > select.after_ms && time <= select.to_ms;
        let matches = |labels: &Labels| select.matchers.iter().all(|m| m.condition.matches(labels.get(&m.label)));
        let cut = |series: &SeriesSamples| SeriesSamples {
            labels: series.labels.clone(),
            samples: match &series.samples {
                Samples::Floats(points) => Samples::Floats(points.iter().copied().filter(|p| within(p.0)).collect()),
                Samples::Sums(points) => Samples::Sums(points.iter().copied().filter(|p| within(p.0)).collect()),
                Samples::Histograms(h) => Samples::Histograms(HistogramSamples {
                    scale: h.scale,
                    base: None,
                    increments: h.increments.iter().filter(|p| within(p.0)).cloned().collect(),
                }),
            },
        };
        let mut found: Vec<_> =
            self.0.iter().filter(|series| matches(&series.labels)).map(cut).filter(|s| !s.samples.is_empty()).collect();
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        found
    }

    pub(crate) fn ask(&self, query: &str, range: Range) -> Result<Answer, EvalError> {
        self.ask_with(query, range, &Options::default())
    }

    pub(crate) fn ask_with(&self, query: &str, range: Range, options: &Options<'_>) -> Result<Answer, EvalError> {
        let parsed = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let data: Vec<_> = parsed.selects(&range, options).iter().map(|select| self.select(select)).collect();
        parsed.evaluate(&range, &data, options)
    }

    /// The elements at `at` seconds after [`T0`].
    pub(crate) fn vector(&self, query: &str, at: f64) -> Vec<(String, f64)> {
        let answer = self.ask(query, Range::instant(T0 * 1000 + (at * 1000.0).round() as i64));
        match answer.unwrap_or_else(|error| panic!("{query}: {error}")).value {
            Value::Vector(series) => series.iter().map(|s| (s.labels.to_string(), float(&s.points[0].1))).collect(),
            Value::Scalar(_, value) => vec![(String::new(), value)],
            other => panic!("{query}: {other:?}"),
        }
    }

    /// The only value at `at`; `None` when there is none.
    pub(crate) fn one(&self, query: &str, at: f64) -> Option<f64> {
        let found = self.vector(query, at);
        assert!(found.len() < 2, "{query}: {found:?}");
        found.first().map(|(_, value)| *value)
    }

    /// Series over `from..=to` seconds after [`T0`], their times in seconds after it.
    pub(crate) fn range(&self, query: &str, from: i64, to: i64, step: i64) -> Vec<(String, Vec<(f64, f64)>)> {
        let range = Range { start_ms: (T0 + from) * 1000, end_ms: (T0 + to) * 1000, step_ms: step * 1000 };
        let answer = self.ask(query, range).unwrap_or_else(|error| panic!("{query}: {error}"));
        let Value::Matrix(series) = answer.value else { panic!("{query}: {:?}", answer.value) };
        series.iter().map(|s| (s.labels.to_string(), points(s))).collect()
    }

    /// The values of the only series over a range.
    pub(crate) fn values(&self, query: &str, from: i64, to: i64, step: i64) -> Vec<f64> {
        let series = self.range(query, from, to, step);
        assert_eq!(series.len(), 1, "{query}: {series:?}");
        series[0].1.iter().map(|(_, value)| *value).collect()
    }
}

fn points(series: &SeriesValues) -> Vec<(f64, f64)> {
    series.points.iter().map(|(time, value)| ((time - T0 * 1000) as f64 / 1000.0, float(value))).collect()
}

fn float(value: &SampleValue) -> f64 {
    match value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(histogram) => panic!("a histogram: {histogram:?}"),
    }
}
