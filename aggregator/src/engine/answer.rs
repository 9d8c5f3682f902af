//! Answers of an engine: JSON of Prometheus's query API, taken apart. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;

use super::expression::{STATISTIC, Statistic};

/// Label sets in one answer.
const SERIES_MAX: usize = 20_000;
/// Characters of an engine's own text in a reason.
const TEXT_MAX: usize = 200;

/// The labels of a series, by name.
pub(super) type LabelSet = BTreeMap<String, String>;

/// A histogram as an engine has it, in the unit of the series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Buckets {
    /// Values.
    pub(super) count: f64,
    /// Their sum.
    pub(super) sum: f64,
    /// Lower and upper bound, and values in it; ascending.
    pub(super) buckets: Vec<(f64, f64, f64)>,
}

/// What was answered of one series, by the moment in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Points {
    /// Numbers.
    Numbers(Vec<(u32, f64)>),
    /// Histograms.
    Histograms(Vec<(u32, Buckets)>),
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OneSeries {
    /// Its labels, without name and statistic.
    pub(super) labels: LabelSet,
    /// Which statistic, when several were asked for.
    pub(super) statistic: Option<Statistic>,
    /// Its points, ascending.
    pub(super) points: Points,
}

#[derive(Deserialize)]
struct Body<'a, T> {
    status: Cow<'a, str>,
    data: Option<T>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Matrix<'a> {
    #[serde(rename = "resultType", borrow)]
    result_type: Cow<'a, str>,
    #[serde(borrow)]
    result: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    metric: LabelSet,
    #[serde(default, borrow)]
    values: Vec<(f64, &'a str)>,
    #[serde(default, borrow)]
    histograms: Vec<(f64, Histogram<'a>)>,
}

#[derive(Deserialize)]
struct Histogram<'a> {
    count: &'a str,
    sum: &'a str,
    #[serde(default, borrow)]
    buckets: Vec<(u8, &'a str, &'a str, &'a str)>,
}

/// What an engine says beside its answer.
pub(super) type Warning = Option<String>;

/// Reads an answer to `query_range`.
///
/// # Errors
/// What is wrong with it, in words that follow "the engine".
pub(super) fn matrix(body: &[u8]) -> Result<(Vec<OneSeries>, Warning), String> {
    let (Matrix { result_type, result }, warning) = data::<Matrix<'_>>(body)?;
    if result_type != "matrix" {
        return Err(format!("answered a {:?}, wanted a matrix", short(&result_type)));
    }
    if result.len() > SERIES_MAX {
        return Err(format!("answered {} series, at most {SERIES_MAX} are taken", result.len()));
    }
    let series = result.into_iter().map(one).collect::<Result<_, _>>()?;
    Ok((series, warning))
}

/// Reads an answer that is a list of texts.
///
/// # Errors
/// As [`matrix`].
pub(super) fn texts(body: &[u8]) -> Result<Vec<String>, String> {
    Ok(data::<Vec<String>>(body)?.0)
}

/// What an engine says is wrong, when the body is one of its errors.
pub(super) fn error(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Body<'_, serde::de::IgnoredAny>>(body).ok()?.error.map(|error| short(&error))
}

fn data<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<(T, Warning), String> {
    let body: Body<'a, T> =
        serde_json::from_slice(body).map_err(|error| format!("answered what is not its JSON: {error}"))?;
    let warning = body.warnings.and_then(|all| all.into_iter().next()).map(|warning| short(&warning));
    match body.data {
        Some(data) if body.status == "success" => Ok((data, warning)),
        _ => Err(format!("answered {:?}: {}", short(&body.status), short(&body.error.unwrap_or_default()))),
    }
}

fn one(row: Row<'_>) -> Result<OneSeries, String> {
    let Row { metric: mut labels, values, histograms } = row;
    labels.remove(starling_promql::NAME);
    let statistic = labels.remove(STATISTIC).and_then(|word| Statistic::parse(&word));
    // A fraction of a second is none of ours; `as` saturates.
    let moment = |time: f64| time.round() as u32;
    let points = if histograms.is_empty() {
        let point = |(time, text): (f64, &str)| Ok((moment(time), number(text)?));
        Points::Numbers(values.into_iter().map(point).collect::<Result<_, String>>()?)
    } else {
        let point = |(time, histogram): (f64, Histogram<'_>)| Ok((moment(time), buckets(&histogram)?));
        Points::Histograms(histograms.into_iter().map(point).collect::<Result<_, String>>()?)
    };
    Ok(OneSeries { labels, statistic, points })
}

fn buckets(histogram: &Histogram<'_>) -> Result<Buckets, String> {
    let bucket = |(_, lower, upper, count): &(u8, &str, &str, &str)| {
        let (lower, upper, count) = (number(lower)?, number(upper)?, number(count)?);
        if lower.is_nan() || upper.is_nan() || !(0.0..=9e15).contains(&count) {
            return Err(format!("answered a bucket of {count} values from {lower} to {upper}"));
        }
        Ok((lower, upper, count))
    };
    let buckets = histogram.buckets.iter().map(bucket).collect::<Result<_, String>>()?;
    Ok(Buckets { count: number(histogram.count)?, sum: number(histogram.sum)?, buckets })
}

/// A number as Prometheus writes it.
fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        _ => text.parse().map_err(|_| format!("answered {:?} as a number", short(text))),
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_histograms_are_read() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"a","node":"w\u0065b","starling_statistic":"max"},"values":[[1800000000,"1.5"],[1800000060.0,"+Inf"]]},
            {"metric":{},"histograms":[[1800000000,{"count":"3","sum":"0.6","buckets":[[3,"-1e-128","1e-128","1"],[0,"0.5","1","2"]]}]]}
        ]},"warnings":["a store is down"]}"#;
        let (series, warning) = matrix(body).unwrap();
        assert_eq!(warning.as_deref(), Some("a store is down"));
        assert_eq!((series[0].labels["node"].as_str(), series[0].labels.len()), ("web", 1));
        assert_eq!(series[0].statistic, Some(Statistic::Max));
        assert_eq!(series[0].points, Points::Numbers(vec![(1_800_000_000, 1.5), (1_800_000_060, f64::INFINITY)]));
        let Points::Histograms(points) = &series[1].points else { panic!("{series:?}") };
        assert_eq!(points[0].1.buckets, [(-1e-128, 1e-128, 1.0), (0.5, 1.0, 2.0)]);
    }

    #[test]
    fn what_is_no_answer_says_what_it_is() {
        for (body, wanted) in [
            ("", "answered what is not its JSON"),
            ("<html>login</html>", "answered what is not its JSON"),
            ("[]", "answered what is not its JSON"),
            (
                r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#,
                "answered \"error\": query timed out",
            ),
            (r#"{"status":"success"}"#, "answered \"success\": "),
            (r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, "answered a \"vector\""),
            (
                r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}"#,
                "answered \"x\" as a number",
            ),
            (
                r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1,{"count":"1","sum":"1","buckets":[[0,"1","2","-1"]]}]]}]}}"#,
                "answered a bucket of -1 values",
            ),
        ] {
            let error = matrix(body.as_bytes()).unwrap_err();
            assert!(error.starts_with(wanted), "{body}: {error}");
        }
        assert_eq!(error(br#"{"status":"error","error":"bad\nquery"}"#).as_deref(), Some("bad query"));
        assert_eq!(texts(br#"{"status":"success","data":["a","b"]}"#).unwrap(), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..150) {
            let _ = matrix(&bytes);
            let good = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1,"2"]]}]}}"#;
            prop_assert_eq!(matrix(&good[..cut.min(good.len())]).is_ok(), cut >= good.len());
        }
    }
}
