//! Rules that are queries in PromQL: checked when they are read, and what an answer says.

use starling_promql::{Options, Query, Range, Value};
use starling_proto::v1;

use crate::subject::INSTANCES_MAX;

/// The label that holds the name of a metric: it is no part of who an alert is about.
const NAME: &str = "__name__";
/// Longest label and value of one: what an episode may have.
const LABEL_LEN_MAX: usize = 1_024;
/// Most labels of one set.
const LABELS_MAX: usize = 32;

/// Values by their labels, sorted by these.
pub type Values = Vec<(Vec<(String, String)>, f64)>;

/// What a query answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answered {
    /// The first 256 sets of labels.
    pub values: Values,
    /// Sets that found no place.
    pub left_out: u64,
}

/// Checks a query: that it is one, and that its answer is numbers by labels.
///
/// # Errors
/// The place in the query, and what is wrong there.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let query = Query::parse(text).map_err(|error| error.to_string())?;
    let (range, options) = (Range::instant(0), Options::default());
    let nothing = vec![Vec::new(); query.selects(&range, &options).len()];
    // What it gives is known without data; what it does with none is not its mistake.
    match query.evaluate(&range, &nothing, &options).map(|answer| answer.value) {
        Ok(Value::Text(..)) => Err("1:1: it gives a text, wanted are numbers".to_owned()),
        Ok(Value::Matrix(_)) => {
            Err("1:1: it gives all samples of a range, wanted is one number of each: avg_over_time(...) and the like"
                .to_owned())
        }
        Ok(Value::Scalar(..) | Value::Vector(_)) | Err(_) => Ok(()),
    }
}

/// The values of an answer about one moment. What is no number is no value.
///
/// # Errors
/// Why it cannot be judged.
pub fn values(answer: &v1::PromqlAnswer) -> Result<Answered, String> {
    let mut all: Values = Vec::new();
    for series in &answer.series {
        if !series.histograms.is_empty() {
            return Err("it gives a histogram, wanted are numbers: histogram_quantile(...) and the like".to_owned());
        }
        let Some(value) = series.values.last().copied().filter(|value| value.is_finite()) else { continue };
        all.push((labels(series)?, value));
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    if let Some(pair) = all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("two series of its answer have the same labels {:?}: aggregate or rename them", pair[0].0));
    }
    let left_out = all.len().saturating_sub(INSTANCES_MAX) as u64;
    all.truncate(INSTANCES_MAX);
    Ok(Answered { values: all, left_out })
}

/// The labels of a series, but for its name, sorted.
///
/// # Errors
/// When there are too many, or they are too long.
pub fn labels(series: &v1::PromqlSeries) -> Result<Vec<(String, String)>, String> {
    let own = series.labels.iter().filter(|(key, _)| *key != NAME);
    let mut labels: Vec<(String, String)> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    if labels.len() > LABELS_MAX || labels.iter().any(|(key, value)| key.len().max(value.len()) > LABEL_LEN_MAX) {
        return Err(format!(
            "a series of its answer has more than {LABELS_MAX} labels, or one of more than {LABEL_LEN_MAX} bytes"
        ));
    }
    labels.sort_unstable();
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], value: f64) -> v1::PromqlSeries {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        v1::PromqlSeries { labels, times_ms: vec![5_000], values: vec![value], ..Default::default() }
    }

    fn answer(series: Vec<v1::PromqlSeries>) -> v1::PromqlAnswer {
        v1::PromqlAnswer { result_type: "vector".into(), series, ..Default::default() }
    }

    #[test]
    fn what_is_no_query_for_numbers_is_refused_with_its_place() {
        for good in ["sum(rate(traffic_requests_total[1m])) by (node)", "1", "absent(up)", "histogram_quantile(0.9, x)"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, wanted) in [
            ("sum(up", "1:"),
            ("up[5m]", "all samples of a range"),
            ("\"text\"", "it gives a text"),
            ("nothing_such(up)", "nothing_such"),
        ] {
            assert!(check(bad).unwrap_err().contains(wanted), "{bad}: {:?}", check(bad));
        }
    }

    #[test]
    fn the_first_sets_are_taken_and_the_others_counted() {
        let one = |at: usize| series(&[("__name__", "up"), ("pod", &format!("{at:04}"))], at as f64);
        let answered = values(&answer((0..300).rev().map(one).collect())).unwrap();
        assert_eq!((answered.values.len(), answered.left_out), (256, 44));
        assert_eq!(answered.values[0], (vec![("pod".to_owned(), "0000".to_owned())], 0.0));
        let odd = answer(vec![series(&[("a", "1")], f64::NAN), series(&[], 3.0)]);
        assert_eq!(values(&odd).unwrap().values, [(Vec::new(), 3.0)], "what is no number is no value");
        let same = answer(vec![series(&[("__name__", "a")], 1.0), series(&[("__name__", "b")], 1.0)]);
        assert!(values(&same).unwrap_err().contains("the same labels"));
        let histogram = v1::PromqlSeries { histograms: vec![v1::PromqlHistogram::default()], ..Default::default() };
        assert!(values(&answer(vec![histogram])).unwrap_err().contains("a histogram"));
    }
}
