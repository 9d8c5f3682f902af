//! `/api/v1/metrics/historical`: what a metric was like over a range, beside the period before and a week ago.

use axum::{
    Json,
    extract::{Query, State},
};
use serde_json::{Map, Value, json};
use starling_proto::v1;

use super::{
    ATTRIBUTE, ATTRIBUTES, Asker, OVER,
    answer::{Completeness, number, point, sources},
    attributes, metric, present, scope,
};
use crate::{
    hub::{Source, UnixMillis},
    rest::{
        Answer,
        number::{Number, scaled},
        parameters::{Parameters, SCOPE},
        period::{Period, RANGE},
        time::rfc3339,
    },
};

const METRIC: &str = "metric";
pub(super) const PARAMETERS: [&str; 8] =
    [OVER[0], OVER[1], OVER[2], METRIC, "statistic", "points", "timeZone", ATTRIBUTES];

pub(super) async fn answer(State(asker): State<Asker>, Query(query): Query<Parameters>) -> Answer {
    query.only_or(&[&SCOPE[..], &PARAMETERS].concat(), ATTRIBUTE)?;
    let (source, at) = (query.source()?, present(&asker.readers));
    let period = Period::asked(&query, RANGE, "24h", at)?;
    let asked = query.get(METRIC).unwrap_or("latency");
    let (name, statistic) = metric::series(asked);
    let question = v1::SummarizeRequest {
        scope: Some(scope(&source, false)),
        name: name.to_owned(),
        attributes: attributes(&query),
        statistic: query.get("statistic").unwrap_or(statistic).to_owned(),
        from_tick: period.from,
        to_tick: period.to,
        max_points: query.whole("points", 1..=11_000)?,
        time_zone: query.get("timeZone").unwrap_or_default().to_owned(),
        strict: false,
    };
    let statistic = question.statistic.clone();
    let asking = asker.aggregator().await?;
    let summary = asking
        .ask(question, async |mut client, question| client.summarize(question).await)
        .await
        .map_err(|error| error.about("name", METRIC))?;
    Ok(Json(shown(asked, &statistic, &summary, period, &source, at.now)))
}

fn shown(
    asked: &str,
    statistic: &str,
    summary: &v1::Summary,
    period: Period,
    source: &Source,
    now: UnixMillis,
) -> Value {
    let (unit, factor) = metric::unit(&summary.unit);
    let value = |is: Option<f64>| is.map(|is| Number(scaled(is, factor)));
    let extreme = |is: &Option<v1::Extreme>| is.as_ref().map(|is| rfc3339(is.tick));
    let cell = |is: &Option<v1::Extreme>| is.as_ref().map(|is| is.resolution_seconds);
    let empty = v1::RangeAnswer::default();
    let series = summary.series.as_ref().unwrap_or(&empty);
    json!({
        "metric": asked,
        "statistic": Some(statistic).filter(|name| !name.is_empty()),
        "from": rfc3339(period.from),
        "to": rfc3339(period.to),
        "unit": unit,
        "average": value(summary.average),
        "peak": value(summary.peak.as_ref().and_then(|is| is.value)),
        "peakAt": extreme(&summary.peak),
        // 1: `peakAt` is the second; else the first second of a cell that holds it.
        "peakResolutionSeconds": cell(&summary.peak),
        "low": value(summary.low.as_ref().and_then(|is| is.value)),
        "lowAt": extreme(&summary.low),
        "lowResolutionSeconds": cell(&summary.low),
        "standardDeviation": value(summary.standard_deviation),
        "total": value(summary.total),
        "stepSeconds": series.step_seconds,
        "timeSeries": time_series(series, statistic, factor),
        "comparisons": {
            "periodBefore": summary.period_before.as_ref().map(|is| comparison(is, factor)),
            "weekAgo": summary.week_ago.as_ref().map(|is| comparison(is, factor)),
        },
        "insights": summary.insights.iter().map(|is| insight(is, source)).collect::<Vec<_>>(),
        "answeredBy": summary.answered_by,
        "completeness": json!(
            Completeness::of(&series.points, sources(series), period, now)
                .holding(summary.seconds.into(), summary.seconds_expected.into())
        ),
    })
}

/// The points with the value, and the smallest and largest second where they are known.
fn time_series(from: &v1::RangeAnswer, statistic: &str, factor: f64) -> Vec<Value> {
    let statistics = from.series.first().map_or(&[][..], |series| &series.statistics);
    let named = |name: &str| statistics.iter().find(|is| is.statistic == name);
    let main = named(statistic).or_else(|| named("mean")).or_else(|| named("value")).or(statistics.first());
    let at = |of: Option<&v1::RangeValues>, place: usize| match of.and_then(|is| is.values.get(place)) {
        Some(value) => number(*value, factor),
        None => Value::Null,
    };
    let shown = |(place, is): (usize, &v1::RangePoint)| {
        let mut shown: Map<_, _> = point(is);
        shown.insert("value".into(), at(main, place));
        shown.insert("min".into(), at(named("min"), place));
        shown.insert("max".into(), at(named("max"), place));
        shown.into()
    };
    from.points.iter().enumerate().map(shown).collect()
}

fn comparison(from: &v1::Comparison, factor: f64) -> Value {
    json!({
        "from": rfc3339(from.from_tick),
        "to": rfc3339(from.to_tick),
        "average": from.average.map(|is| Number(scaled(is, factor))),
        "changeRatio": from.change_ratio.map(Number),
        "seconds": from.seconds,
        "countedIn": from.counted_in,
    })
}

fn insight(from: &v1::Insight, source: &Source) -> Value {
    json!({
        "type": from.r#type,
        "message": from.message,
        "rule": from.rule,
        "since": rfc3339(from.tick),
        "weight": Number(from.weight),
        "evidence": from.evidence.as_ref().map(|is| evidence(is, source)),
    })
}

/// A question as the address that answers it.
fn evidence(from: &v1::QueryRangeRequest, source: &Source) -> String {
    let own = scope(source, false);
    let scope = from.scope.as_ref().unwrap_or(&own);
    let mut attributes: Vec<_> = from.attributes.iter().collect();
    attributes.sort_unstable();
    let number = |is: u32| Some(is).filter(|is| *is > 0).map(|is| is.to_string());
    let text = |is: &str| Some(is.to_owned()).filter(|is| !is.is_empty());
    let yes = |is: bool| is.then(|| "true".to_owned());
    let attribute = attributes.into_iter().map(|(key, value)| (format!("{ATTRIBUTE}{key}"), Some(value.clone())));
    let pairs = [
        ("group", text(&scope.group)),
        ("node", text(&scope.node_id)),
        ("name", text(&from.name)),
        ("total", yes(from.total)),
        ("statistics", text(&from.statistics.join(","))),
        ("from", number(from.from_tick)),
        ("to", number(from.to_tick)),
        ("step", number(from.step_seconds)),
        ("eachNode", yes(scope.each_node)),
        ("top", number(from.top)),
        ("topBy", text(&from.top_by)),
        ("overNodes", text(&from.over_nodes)),
    ];
    let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(attribute);
    let pairs = pairs.filter_map(|(name, value)| Some(format!("{}={}", escaped(&name), escaped(&value?))));
    format!("/api/v1/series?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// A text within an address.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~,".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use starling_proto::group::Group;

    use super::*;

    #[test]
    fn evidence_is_an_address_that_answers() {
        let question = v1::QueryRangeRequest {
            scope: Some(v1::Scope { group: "zone:a b".into(), ..Default::default() }),
            name: "traffic.duration".into(),
            attributes: [("protocol".to_owned(), "grpc&x".to_owned())].into(),
            total: true,
            statistics: vec!["p50".into(), "p99.9".into()],
            from_tick: 1,
            to_tick: 2,
            ..Default::default()
        };
        assert_eq!(
            evidence(&question, &Source::Cluster(Group::cluster())),
            "/api/v1/series?group=zone%3Aa%20b&name=traffic.duration&total=true&statistics=p50,p99.9&from=1&to=2\
             &attribute.protocol=grpc%26x"
        );
    }

    #[test]
    fn times_are_micros_and_what_is_not_known_is_null() {
        let statistic =
            |name: &str, values: Vec<f64>| v1::RangeValues { statistic: name.into(), values, error_bound_ppm: 0 };
        let series = v1::RangeSeries {
            statistics: vec![statistic("p99", vec![0.002, f64::NAN]), statistic("max", vec![0.004, f64::NAN])],
            ..Default::default()
        };
        let point = |tick, seconds| v1::RangePoint {
            tick,
            seconds: Some(seconds),
            seconds_expected: Some(60),
            ..Default::default()
        };
        let summary = v1::Summary {
            unit: "s".into(),
            average: Some(0.002),
            peak: Some(v1::Extreme { value: Some(0.004), tick: 61, resolution_seconds: 1 }),
            seconds: 60,
            seconds_expected: 120,
            week_ago: Some(v1::Comparison { average: Some(0.001), change_ratio: Some(1.0), ..Default::default() }),
            series: Some(v1::RangeAnswer {
                points: vec![point(60, 60), point(120, 0)],
                series: vec![series],
                step_seconds: 60,
                ..Default::default()
            }),
            ..Default::default()
        };
        let answer =
            shown("latency", "p99", &summary, Period { from: 60, to: 179 }, &Source::Cluster(Group::cluster()), 0);
        assert_eq!(
            (&answer["unit"], &answer["average"], &answer["peak"]),
            (&json!("us"), &json!(2_000), &json!(4_000))
        );
        assert_eq!(
            (&answer["peakAt"], &answer["low"], &answer["lowAt"]),
            (&json!("1970-01-01T00:01:01.000Z"), &json!(null), &json!(null))
        );
        assert_eq!(
            (&answer["timeSeries"][0]["value"], &answer["timeSeries"][0]["max"]),
            (&json!(2_000), &json!(4_000))
        );
        assert_eq!((&answer["timeSeries"][1]["value"], &answer["timeSeries"][0]["min"]), (&json!(null), &json!(null)));
        assert_eq!(
            (&answer["comparisons"]["weekAgo"]["average"], &answer["comparisons"]["periodBefore"]),
            (&json!(1_000), &json!(null))
        );
        assert_eq!(answer["completeness"]["ratio"], 0.5);
    }
}
