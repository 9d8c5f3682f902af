//! Series that are computed from others, second by second ([`starling_proto::catalogue::Derivation`]).

use std::collections::BTreeSet;

use starling_proto::{
    catalogue::{Attributes, Derived, Kind, METRICS, Metric},
    series::Series,
};

use crate::{
    Tier,
    numbers::Numbers,
    table::{Component, Table, Track, components},
};

/// The metrics that are computed and are `wanted`.
pub(crate) fn wanted(wanted: impl Fn(&Metric) -> bool) -> Vec<&'static Metric> {
    METRICS.iter().copied().filter(|metric| !metric.is_sent() && wanted(metric)).collect()
}

/// Names of what `metrics` are computed from, as it is sent.
pub(crate) fn operands(metrics: &[&'static Metric]) -> BTreeSet<&'static str> {
    fn collect(metric: &Metric, names: &mut BTreeSet<&'static str>) {
        for operand in metric.derivation.iter().flat_map(|derivation| derivation.operands()) {
            if operand.metric.is_sent() {
                names.insert(operand.metric.name);
            }
            collect(operand.metric, names);
        }
    }
    let mut names = BTreeSet::new();
    metrics.iter().for_each(|metric| collect(metric, &mut names));
    names
}

/// The series of `metrics` that can be computed from a table of seconds, in the fixed point they are kept in.
pub(crate) fn tracks(table: &Table, metrics: &[&'static Metric]) -> Vec<Track> {
    let mut found = Vec::new();
    if table.tier != Tier::Second {
        return found;
    }
    for metric in metrics {
        let of_metric = |track: &Track| {
            let all = track.series.attributes().iter().map(|(key, value)| (key.to_string(), value.to_string()));
            all.filter(|(key, _)| metric.attributes.contains(&key.as_str())).collect::<Vec<_>>()
        };
        let sets: BTreeSet<_> = named(table, metric.base().name).iter().map(of_metric).collect();
        for attributes in sets {
            let with: Vec<_> = attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            found.extend(compute(table, metric, &with));
        }
    }
    found
}

/// The tracks of one name.
fn named<'a>(table: &'a Table, name: &str) -> &'a [Track] {
    let from = table.tracks.partition_point(|track| track.series.name() < name);
    let count = table.tracks[from..].partition_point(|track| track.series.name() == name);
    &table.tracks[from..from + count]
}

/// `None` when it can be computed in no second.
fn compute(table: &Table, metric: &Metric, with: &Attributes<'_>) -> Option<Track> {
    let (unit, scale) = (metric.unit, metric.kept_scale());
    let series = Series::kept(metric.name, with, Kind::Gauge, unit, scale, metric.scope).ok()?;
    let parts = components(Tier::Second, Kind::Gauge, table.merged());
    let mut track = Track::new(series, true, parts, false);
    // What is read in one second is read in every other one, in the same order.
    let mut read: Vec<Vec<Option<Derived>>> = Vec::new();
    for rank in 0..table.held.len() {
        let mut call = 0;
        let derived = metric.derive(with, &[], &mut |metric, with, without| {
            if call == read.len() {
                read.push(totals(table, metric.name, with, without));
            }
            call += 1;
            read[call - 1][rank]
        });
        let Some(Derived { value, nodes, .. }) = derived else { continue };
        // `as` saturates.
        let fixed = (value * 10f64.powi(scale.into())).round() as i128;
        track.ranks.push(rank as u16);
        for (part, column) in parts.iter().zip(&mut track.columns) {
            column.push(if *part == Component::Nodes { nodes.into() } else { fixed });
        }
    }
    (!track.ranks.is_empty()).then_some(track)
}

/// The sum over the series of one name with some attributes, by rank. Series that mean different things have none.
fn totals(table: &Table, name: &str, with: &Attributes<'_>, without: &Attributes<'_>) -> Vec<Option<Derived>> {
    let mut sums: Vec<Option<(i128, i128)>> = vec![None; table.held.len()];
    let has = |track: &Track, (key, value): &(&str, &str)| track.series.attribute(key) == Some(value);
    let mut first: Option<&Series> = None;
    let chosen = named(table, name)
        .iter()
        .filter(|track| !track.derived && with.iter().all(|one| has(track, one)))
        .filter(|track| !without.iter().any(|one| has(track, one)));
    for track in chosen {
        let series = &track.series;
        let meaning = |series: &Series| (series.kind(), series.unit().to_owned(), series.scale());
        if series.kind() == Kind::Histogram || first.is_some_and(|first| meaning(first) != meaning(series)) {
            return vec![None; table.held.len()];
        }
        first = Some(series);
        let parts = components(table.tier, series.kind(), table.merged());
        let column = |part| parts.iter().position(|one| *one == part).map(|at| &track.columns[at]);
        let (Some(values), nodes) = (column(Component::Sum), column(Component::Nodes)) else { continue };
        // Imported numbers are no fixed point.
        if matches!(values, Numbers::Floats(_)) {
            continue;
        }
        for (at, rank) in track.ranks.iter().enumerate() {
            let (sum, most) = sums[usize::from(*rank)].get_or_insert((0, 0));
            *sum = sum.saturating_add(values.whole(at));
            *most = nodes.map_or(1, |nodes| nodes.whole(at)).max(*most);
        }
    }
    let Some(series) = first else { return vec![None; table.held.len()] };
    let derived = |(sum, nodes): (i128, i128)| Derived {
        value: series.to_f64(sum),
        nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
        gauge: series.kind() == Kind::Gauge,
    };
    sums.into_iter().map(|sum| sum.map(derived)).collect()
}
