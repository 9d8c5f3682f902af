//! What a test double answers over time: INVENTED data that can be computed by hand, the same for every series.
//!
//! A second's value is its place in its minute, 0 to 59. The first minute of every ten has no data. Times are that many
//! milliseconds.

use starling_proto::v1;
use tonic::Status;

/// The node that all doubles know.
const NODE: &str = "n0000";

/// Value of a second; `None` in a gap.
fn value(tick: u32) -> Option<f64> {
    (tick % 600 >= 60).then(|| f64::from(tick % 60))
}

fn known(scope: Option<&v1::Scope>, name: &str) -> Result<(), Status> {
    let none = v1::Scope::default();
    let scope = scope.unwrap_or(&none);
    if !["", NODE].contains(&scope.node_id.as_str()) {
        return Err(Status::not_found(format!("scope.node_id: no node is called {:?}", scope.node_id)));
    }
    if !["", "zone:a"].contains(&scope.group.as_str()) {
        return Err(Status::invalid_argument(format!("scope.group: no node is in {}", scope.group)));
    }
    if name == "no.such" {
        return Err(Status::not_found("name: no series is called no.such"));
    }
    Ok(())
}

/// Of the one node the seconds of the box whose value is within the bounds, which are given in micros; the rest is that of two more.
pub(crate) fn differences(request: &v1::DifferRequest, by: &str) -> Result<v1::Differences, Status> {
    known(request.scope.as_ref(), &request.name)?;
    let or = |given: u32, usual: u32| if given == 0 { usual } else { given };
    let (from, to) = (request.from_tick, request.to_tick);
    let (first, last) = (or(request.box_from_tick, from), or(request.box_to_tick, to));
    let within = |value: &f64| {
        let micros = value * 1e3;
        request.lower.is_none_or(|lower| micros >= lower) && request.upper.is_none_or(|upper| micros < upper)
    };
    let inside = (first..=last).filter_map(value).filter(within).count() as f64;
    let rest = 3.0 * (from..=to).filter_map(value).count() as f64 - inside;
    let completeness = steps(from, to, u32::MAX).into_iter().next().map(|(point, _)| point);
    Ok(v1::Differences {
        rows: vec![v1::Overrepresented {
            dimension: "node".to_owned(),
            value: NODE.to_owned(),
            inside: Some(inside),
            significant: inside > 0.0,
            ..v1::Overrepresented::default()
        }],
        inside: Some(inside),
        rest: Some(rest),
        counted: "values".to_owned(),
        lower: request.lower.map(|micros| micros / 1e6),
        upper: request.upper.map(|micros| micros / 1e6),
        unit: "s".to_owned(),
        text: "INVENTED".to_owned(),
        completeness,
        box_from_tick: first,
        box_to_tick: last,
        answered_by: by.to_owned(),
        ..v1::Differences::default()
    })
}

/// One node that is odd since a second.
pub(crate) fn outliers(by: &str) -> v1::Outliers {
    let p99 = v1::Quantile {
        quantile: Some(0.99),
        value: Some(0.25),
        lower: Some(0.2),
        upper: Some(0.3),
        ..Default::default()
    };
    v1::Outliers {
        rows: vec![v1::Outlier {
            node_id: NODE.to_owned(),
            values: Some(120.0),
            p99: Some(p99),
            peers_p99: Some(0.05),
            factor: Some(4.0),
            odd: true,
            since_tick: Some(60),
            ..v1::Outlier::default()
        }],
        nodes: 3,
        unit: "s".to_owned(),
        text: "INVENTED".to_owned(),
        answered_by: by.to_owned(),
        ..v1::Outliers::default()
    }
}

/// The steps of `from..=to`, each with the values that its seconds have.
fn steps(from: u32, to: u32, step: u32) -> Vec<(v1::RangePoint, Vec<f64>)> {
    let ticks: Vec<u32> = (from..=to).collect();
    let of_step = ticks.chunk_by(|a, b| a / step == b / step).map(|seconds| {
        let values: Vec<f64> = seconds.iter().filter_map(|&tick| value(tick)).collect();
        let point = v1::RangePoint {
            tick: seconds[0],
            seconds_expected: u32::try_from(seconds.len()).ok(),
            seconds: u32::try_from(values.len()).ok(),
            nodes_reporting: (!values.is_empty()).then_some(2),
            nodes_expected: (!values.is_empty()).then_some(3),
            provisional: false,
        };
        (point, values)
    });
    of_step.collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn statistic(name: &str, values: &[f64]) -> f64 {
    match name {
        "min" => values.iter().copied().fold(f64::NAN, f64::min),
        "max" => values.iter().copied().fold(f64::NAN, f64::max),
        _ => mean(values),
    }
}

/// Unit of a series by its name, and what a value is in it.
fn unit(name: &str) -> (&'static str, f64) {
    if name.ends_with("duration") || name == "latency" { ("s", 1e-3) } else { ("1", 1.0) }
}

/// One series, named as asked. `missing.part` lacks what the aggregator `gone` holds; of `many.series` only a part has room in an
/// answer of more than 100 points.
pub(crate) fn range(request: &v1::QueryRangeRequest, name: &str) -> Result<v1::RangeAnswer, Status> {
    known(request.scope.as_ref(), &request.name)?;
    let statistics = match &*request.statistics {
        [] => ["mean", "min", "max"].map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    let steps = steps(request.from_tick, request.to_tick, request.step_seconds.max(1));
    let (unit, factor) = unit(&request.name);
    let read = |wanted: &String| v1::RangeValues {
        statistic: wanted.clone(),
        values: steps.iter().map(|(_, values)| statistic(wanted, values) * factor).collect(),
        error_bound_ppm: if wanted.starts_with('p') { 3_906 } else { 0 },
    };
    let missing = (request.name == "missing.part").then(|| v1::MissingPart {
        aggregator_id: "gone".into(),
        nodes: 1,
        from_tick: request.from_tick,
        to_tick: request.from_tick + 59,
        reason: "does not answer".into(),
        ..Default::default()
    });
    let series = v1::RangeSeries {
        node_id: request.scope.as_ref().map(|scope| scope.node_id.clone()).unwrap_or_default(),
        name: request.name.clone(),
        attributes: request.attributes.clone(),
        kind: "gauge".into(),
        unit: unit.into(),
        statistics: statistics.iter().map(read).collect(),
        ..Default::default()
    };
    let beyond = request.name == "many.series" && steps.len() > 100;
    Ok(v1::RangeAnswer {
        points: steps.into_iter().map(|(point, _)| point).collect(),
        series: vec![series],
        step_seconds: request.step_seconds.max(1),
        resolution_seconds: 1,
        missing: missing.into_iter().collect(),
        left_out: Some(beyond.into()),
        answered_by: name.to_owned(),
        from_engine: None,
    })
}

/// Two rows: the values below 30, and the others; an open row above them is empty.
pub(crate) fn heatmap(request: &v1::GetHeatmapRequest, name: &str) -> Result<v1::Heatmap, Status> {
    known(request.scope.as_ref(), &request.name)?;
    let (unit, factor) = unit(&request.name);
    let columns = if request.max_columns == 0 { 120 } else { request.max_columns };
    let step = (request.to_tick - request.from_tick + 1).div_ceil(columns);
    let steps = steps(request.from_tick, request.to_tick, step);
    let row = |lower: f64, upper: Option<f64>| v1::HeatmapRow {
        lower: Some(lower * factor),
        upper: upper.map(|upper| upper * factor),
        node_id: String::new(),
        cells: steps
            .iter()
            .map(|(_, values)| {
                let inside = |value: &&f64| **value >= lower && upper.is_none_or(|upper| **value < upper);
                if values.is_empty() { f64::NAN } else { values.iter().filter(inside).count() as f64 }
            })
            .collect(),
    };
    Ok(v1::Heatmap {
        rows: vec![row(0.0, Some(30.0)), row(30.0, Some(60.0)), row(60.0, None)],
        columns: steps.iter().map(|(point, _)| *point).collect(),
        unit: unit.into(),
        step_seconds: step,
        error_bound_ppm: 3_906,
        missing: Vec::new(),
        answered_by: name.to_owned(),
        cells_are: "counts".into(),
        from_engine: None,
    })
}

/// The numbers of the range, a period before that was half as high, a week ago of which nothing is known, one insight.
pub(crate) fn summary(request: &v1::SummarizeRequest, name: &str) -> Result<v1::Summary, Status> {
    known(request.scope.as_ref(), &request.name)?;
    let (unit, factor) = unit(&request.name);
    let (from, to) = (request.from_tick, request.to_tick);
    let values: Vec<(u32, f64)> = (from..=to).filter_map(|tick| Some((tick, value(tick)? * factor))).collect();
    let all: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let extreme = |best: fn(f64, f64) -> bool| {
        let first = values.iter().copied().reduce(|kept, next| if best(next.1, kept.1) { next } else { kept })?;
        Some(v1::Extreme { value: Some(first.1), tick: first.0, resolution_seconds: 1 })
    };
    let seconds = to - from + 1;
    let average = (!all.is_empty()).then(|| mean(&all));
    let deviation =
        average.map(|mean| (all.iter().map(|is| (is - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt());
    let question = v1::QueryRangeRequest {
        scope: request.scope.clone(),
        name: request.name.clone(),
        from_tick: from,
        to_tick: to,
        step_seconds: seconds.div_ceil(300),
        ..Default::default()
    };
    Ok(v1::Summary {
        average,
        peak: extreme(|a, b| a > b),
        low: extreme(|a, b| a < b),
        standard_deviation: deviation,
        total: None,
        unit: unit.into(),
        seconds: u32::try_from(all.len()).unwrap_or(u32::MAX),
        seconds_expected: seconds,
        period_before: Some(v1::Comparison {
            from_tick: from - seconds,
            to_tick: from - 1,
            average: average.map(|is| is / 2.0),
            change_ratio: Some(1.0),
            seconds,
            counted_in: String::new(),
        }),
        week_ago: Some(v1::Comparison {
            from_tick: from - 604_800,
            to_tick: to - 604_800,
            counted_in: "168 hours in UTC".into(),
            ..Default::default()
        }),
        insights: vec![v1::Insight {
            r#type: "new_peak".into(),
            message: "an invented insight".into(),
            rule: "none: it is invented".into(),
            evidence: Some(question.clone()),
            tick: from,
            weight: 0.5,
        }],
        series: Some(range(&question, name)?),
        from_tick: from,
        to_tick: to,
        answered_by: name.to_owned(),
    })
}
