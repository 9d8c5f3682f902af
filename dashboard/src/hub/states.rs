//! What is shown beside the charts of each view, built of the newest second, the fleet and the verdict.

use std::collections::BTreeMap;

use starling_proto::{group::Group, ids::NodeId, live, nodes::Measure, v1};

use super::{
    Link, OfSource, UnixMillis, age_ms, faults,
    fleet::{Host, Medians, ShownFleet, Table},
    judged::{judged, without_histograms},
    minute::LastMinute,
    sections::Second,
};

/// The state of a view.
fn state(body: live::state::Body) -> live::State {
    live::State { body: Some(body) }
}

/// Completeness of a second, as old as it is now.
fn completeness(from: Option<&v1::Completeness>, tick: u32, now: UnixMillis) -> Option<v1::Completeness> {
    from.map(|from| v1::Completeness { tick, age_ms: Some(age_ms(tick, now)), ..from.clone() })
}

/// The cluster or a group.
pub(crate) fn overview(
    second: &Second,
    alerts: &OfSource,
    verdict: live::Verdict,
    minute: &LastMinute,
    now: UnixMillis,
) -> live::State {
    state(live::state::Body::Overview(live::Overview {
        completeness: completeness(second.completeness(), second.tick(), now),
        sections: second.sections().map(without_histograms),
        judged: Some(judged(second.traffic(), minute, verdict, alerts)),
        alerts: Some(alerts.for_page()),
    }))
}

/// One node. The fleet's row is the newer one: it also shows that a node fell silent.
#[allow(clippy::cast_possible_truncation)] // shares are drawn
pub(crate) fn node(
    view: &v1::NodeView,
    second: &Second,
    node: &NodeId,
    fleet: &ShownFleet,
    (alerts, verdict): (&OfSource, live::Verdict),
    minute: &LastMinute,
) -> live::State {
    let shown = view.row.as_ref().and_then(Host::of);
    let row = fleet.host(node.as_str()).or(shown.as_ref());
    let facts = view.facts.as_ref();
    let (previous_node_id, next_node_id) = fleet.neighbours(node.as_str());
    let fact = |value: fn(&v1::NodeFacts) -> &String| facts.map(value).cloned().unwrap_or_default();
    let mut labels: Vec<String> =
        row.map(|row| row.labels().iter().map(|(key, value)| format!("{key}:{value}")).collect()).unwrap_or_default();
    labels.sort_unstable();
    state(live::state::Body::Node(live::NodeDetail {
        node_id: node.as_str().to_owned(),
        state: row.map_or(v1::NodeState::Unspecified, Host::state).into(),
        last_tick: row.map_or(0, Host::last_tick),
        aggregator_id: row.map(|row| row.aggregator().to_owned()).unwrap_or_default(),
        labels,
        simulated: row.is_some_and(|row| row.entry().simulated),
        delay_ms: row.map_or(0, Host::delay_ms),
        kernel: fact(|is| &is.kernel),
        os: fact(|is| &is.os),
        cpu_model: fact(|is| &is.cpu_model),
        version: fact(|is| &is.version),
        uptime_seconds: view.uptime_seconds.unwrap_or(0.0),
        sections: second.sections().map(without_histograms),
        cores: second.cores().iter().map(|&core| core as f32).collect(),
        median: fleet.medians().map(median),
        judged: Some(judged(second.traffic(), minute, verdict, alerts)),
        previous_node_id,
        next_node_id,
        silent_reason: row.map(|row| row.entry().silent_reason.clone()).unwrap_or_default(),
        collector_faults: row.map(|row| row.entry().collector_faults.clone()).unwrap_or_default(),
        clash: row.map(faults::clash_in_words).unwrap_or_default(),
        alerts: Some(alerts.for_page()),
        host_name: fact(|is| &is.host_name),
    }))
}

#[allow(clippy::cast_possible_truncation)] // drawn
fn narrow(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, |value| value as f32)
}

fn median(from: Medians) -> live::Median {
    live::Median {
        cpu: narrow(from.cpu),
        memory: narrow(from.memory),
        requests_per_second: narrow(from.requests_per_second),
        errors_per_second: narrow(from.errors_per_second),
        p99_micros: narrow(from.p99_micros),
        connections: narrow(from.connections),
    }
}

/// The fleet in columns; with the dictionary only when asked.
pub(crate) fn hosts(fleet: &ShownFleet, group: &Group, with_dictionary: bool, now: UnixMillis) -> live::State {
    let Some(table) = fleet.table() else { return state(live::state::Body::Hosts(live::Hosts::default())) };
    let rows: Vec<&Host> = table.hosts.iter().filter(|host| group.holds(host.labels())).collect();
    let column = |measure| rows.iter().map(|host| narrow(host.value(measure))).collect();
    let aggregators = Dictionary::of(rows.iter().map(|row| Some(row.aggregator()).filter(|name| !name.is_empty())));
    let mut hosts = live::Hosts {
        dictionary_version: fleet.dictionary_version(),
        states: rows.iter().map(|row| row.state().into()).collect(),
        silent_seconds: rows.iter().map(|row| table.tick.saturating_sub(row.last_tick())).collect(),
        cpu: column(Measure::Cpu),
        memory: column(Measure::Memory),
        requests_per_second: column(Measure::Requests),
        errors_per_second: column(Measure::Errors),
        p99_micros: column(Measure::P99),
        load1: column(Measure::Load1),
        connections: column(Measure::Connections),
        cores: rows.iter().map(|row| row.entry().cores).collect(),
        aggregators: aggregators.names(),
        aggregator_of: aggregators.places,
        completeness: Some(hosts_completeness(table, &rows, group, now)),
        notes: notes(&rows),
        ..Default::default()
    };
    if with_dictionary {
        hosts.node_ids = rows.iter().map(|row| row.id().to_owned()).collect();
        (hosts.labels, hosts.labels_left_out) = labels(&rows);
        hosts.simulated = rows.iter().map(|row| row.entry().simulated).collect();
    }
    state(live::state::Body::Hosts(hosts))
}

/// Notes of one table, which are sent each second: some 100 bytes each. When more nodes have one, the rest are in what
/// the verdict and their own pages say.
const NOTES_MAX: usize = 1_000;

/// What is to be said of nodes beyond their numbers.
fn notes(rows: &[&Host]) -> Vec<live::HostNote> {
    let note = |(place, row): (u32, &&Host)| {
        let entry = row.entry();
        let silent_reason = match row.state() {
            v1::NodeState::Silent => entry.silent_reason.clone(),
            _ => String::new(),
        };
        let faults = faults::in_words(&entry.collector_faults);
        let clash = faults::clash_in_words(row);
        let empty = silent_reason.is_empty() && faults.is_empty() && clash.is_empty();
        (!empty).then_some(live::HostNote { place, silent_reason, faults, clash })
    };
    (0..).zip(rows).filter_map(note).take(NOTES_MAX).collect()
}

/// Keys of labels in one table. A key beyond the usual handful costs a byte or two per node; each is a column of a table
/// that people read.
const LABEL_COLUMNS_MAX: usize = 32;

/// The labels that most of `rows` carry, sorted by key, and how many keys there are beside them.
fn labels(rows: &[&Host]) -> (Vec<live::LabelColumn>, u32) {
    let mut carriers: BTreeMap<&str, usize> = BTreeMap::new();
    for key in rows.iter().flat_map(|row| row.labels().keys()) {
        *carriers.entry(key).or_default() += 1;
    }
    let mut keys: Vec<_> = carriers.into_iter().collect();
    // Stable: of two that equally many carry, the first by name stays.
    keys.sort_by_key(|(_, carriers)| std::cmp::Reverse(*carriers));
    let left_out = keys.len().saturating_sub(LABEL_COLUMNS_MAX);
    keys.truncate(LABEL_COLUMNS_MAX);
    keys.sort_unstable();
    let column = |(key, _): (&str, usize)| {
        let values = Dictionary::of(rows.iter().map(|row| row.labels().get(key).map(String::as_str)));
        live::LabelColumn { key: key.to_owned(), values: values.names(), places: values.places }
    };
    (keys.into_iter().map(column).collect(), u32::try_from(left_out).unwrap_or(u32::MAX))
}

/// A column of texts as the texts that occur in it, sorted, and one place among them per row.
struct Dictionary<'a> {
    texts: BTreeMap<&'a str, u32>,
    /// From 1; 0 for no text.
    places: Vec<u32>,
}

impl<'a> Dictionary<'a> {
    fn of(column: impl Iterator<Item = Option<&'a str>> + Clone) -> Self {
        let mut texts: BTreeMap<&str, u32> = column.clone().flatten().map(|text| (text, 0)).collect();
        for (place, text) in (1..).zip(texts.values_mut()) {
            *text = place;
        }
        let places = column.map(|text| text.and_then(|text| texts.get(text)).copied().unwrap_or_default()).collect();
        Self { texts, places }
    }

    fn names(&self) -> Vec<String> {
        self.texts.keys().map(|&text| text.to_owned()).collect()
    }
}

/// The table's own completeness is for all nodes; a group counts its rows.
fn hosts_completeness(table: &Table, rows: &[&Host], group: &Group, now: UnixMillis) -> v1::Completeness {
    let whole = completeness(table.completeness.as_ref(), table.tick, now);
    let count = |is: &dyn Fn(v1::NodeState) -> bool| {
        u32::try_from(rows.iter().filter(|row| is(row.state())).count()).unwrap_or(u32::MAX)
    };
    match whole {
        Some(whole) if group.is_cluster() => whole,
        whole => v1::Completeness {
            nodes_reporting: Some(count(&|state| state == v1::NodeState::Reporting)),
            nodes_expected: Some(count(&|state| state != v1::NodeState::Stopped)),
            tick: table.tick,
            age_ms: Some(age_ms(table.tick, now)),
            copies: whole.map_or(0, |whole| whole.copies),
            skipped_cells: Some(0),
            ..v1::Completeness::default()
        },
    }
}

/// The aggregators, as the one we are connected to sees them.
pub(crate) fn aggregators(known: &[v1::Aggregator], link: &Link, now: UnixMillis) -> live::State {
    state(live::state::Body::Aggregators(live::Aggregators {
        aggregators: known.to_vec(),
        connected_to: link.name().unwrap_or_default().to_owned(),
        server_time_unix_ms: now as f64,
        reason: match link {
            Link::Up { .. } => String::new(),
            Link::Down { reason } => reason.clone(),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_testkit::update;
    use std::collections::HashMap;

    fn fleet() -> ShownFleet {
        let row = |name: &str, zone: &str, last_tick: u32| v1::NodeRow {
            node_id: name.into(),
            state: v1::NodeState::Reporting.into(),
            labels: HashMap::from([("zone".to_owned(), zone.to_owned())]),
            last_tick,
            cpu_utilization_ratio: Some(0.5),
            ..Default::default()
        };
        let mut fleet = ShownFleet::default();
        let held = v1::NodeRow { aggregator_id: "one".into(), ..row("b", "y", 97) };
        let nodes = vec![row("a", "x", 100), held];
        fleet.apply(&[update(&v1::NodeTable { tick: 100, nodes, ..Default::default() })]).unwrap();
        fleet
    }

    fn hosts_of(group: &str, with_dictionary: bool) -> live::Hosts {
        let state = hosts(&fleet(), &Group::parse(group).unwrap(), with_dictionary, 100_250);
        let Some(live::state::Body::Hosts(hosts)) = state.body else { panic!("hosts") };
        hosts
    }

    #[test]
    fn columns_are_of_one_length_and_follow_the_dictionary() {
        let hosts = hosts_of("", true);
        assert_eq!(hosts.node_ids, ["a", "b"]);
        let [zone] = hosts.labels.as_slice() else { panic!("{:?}", hosts.labels) };
        assert_eq!(
            (zone.key.as_str(), &zone.values[..], &zone.places[..]),
            ("zone", &["x".to_owned(), "y".to_owned()][..], &[1, 2][..])
        );
        assert_eq!(hosts.silent_seconds, [0, 3]);
        assert_eq!((hosts.aggregators, hosts.aggregator_of), (vec!["one".to_owned()], vec![0, 1]));
        assert!(hosts.p99_micros.iter().all(|value| value.is_nan()));
        assert!(hosts_of("", false).node_ids.is_empty());
        assert_eq!(hosts_of("", false).cpu.len(), 2);
    }

    #[test]
    fn the_labels_most_nodes_carry_are_columns() {
        let node = |name: &str, labels: Vec<(String, String)>| {
            Host::of(&v1::NodeRow { node_id: name.into(), labels: labels.into_iter().collect(), ..Default::default() })
        };
        let own = |i: usize| (format!("own{i:02}"), "x".to_owned());
        let common = || ("tier".to_owned(), "gold".to_owned());
        // As many keys as there may be and one more, in nodes of at most 16 labels.
        let hosts: Vec<_> = [0..11, 11..22, 22..32]
            .into_iter()
            .enumerate()
            .filter_map(|(i, range)| node(&format!("n{i}"), range.map(own).chain([common()]).collect()))
            .collect();
        let rows: Vec<_> = hosts.iter().collect();
        let (columns, left_out) = labels(&rows);
        assert_eq!((columns.len(), left_out), (LABEL_COLUMNS_MAX, 1));
        assert!(columns.is_sorted_by_key(|column| &column.key));
        let tier = columns.iter().find(|column| column.key == "tier").unwrap();
        assert_eq!((&tier.values, &tier.places), (&vec!["gold".to_owned()], &vec![1, 1, 1]));
        assert_eq!(columns[0].places, [1, 0, 0]);
        assert!(!columns.iter().any(|column| column.key == "own31"), "the last by name of those one node carries");
    }

    #[test]
    fn a_silent_node_says_why_and_one_that_cannot_read_says_what() {
        let fault = v1::CollectorFault {
            collector: "memory".into(),
            trouble: v1::CollectorTrouble::Failed.into(),
            ..Default::default()
        };
        let row = |name: &str, last_tick| v1::NodeRow {
            node_id: name.into(),
            last_tick,
            silent_reason: "its clock is 3600 s ahead".into(),
            ..Default::default()
        };
        let broken = v1::NodeRow { collector_faults: vec![fault], ..row("b", 100) };
        let mut fleet = ShownFleet::default();
        let nodes = vec![row("a", 50), broken, row("c", 100)];
        fleet.apply(&[update(&v1::NodeTable { tick: 100, nodes, ..Default::default() })]).unwrap();
        let Some(live::state::Body::Hosts(hosts)) = hosts(&fleet, &Group::cluster(), true, 0).body else { panic!() };
        let note = |place, silent_reason: &str, faults: &str| live::HostNote {
            place,
            silent_reason: silent_reason.into(),
            faults: faults.into(),
            clash: String::new(),
        };
        // What was the reason once is none for a node that reports.
        assert_eq!(hosts.notes, [note(0, "its clock is 3600 s ahead", ""), note(1, "", "memory cannot be read")]);
    }

    #[test]
    fn a_group_holds_its_nodes_and_counts_them() {
        let hosts = hosts_of("zone:y", true);
        assert_eq!(hosts.node_ids, ["b"]);
        let completeness = hosts.completeness.unwrap();
        assert_eq!((completeness.nodes_reporting(), completeness.nodes_expected(), completeness.age_ms()), (1, 1, 250));
    }

    #[test]
    fn what_is_not_known_of_an_aggregator_is_absent() {
        let known = [v1::Aggregator { aggregator_id: "a1".into(), state: 2, ..Default::default() }];
        let Some(live::state::Body::Aggregators(is)) = aggregators(&known, &Link::default(), 5_250).body else {
            panic!()
        };
        assert_eq!(is.aggregators[0].connected_nodes, None);
        assert_eq!(is.aggregators[0].state(), v1::AggregatorState::Ready);
        assert_eq!((is.connected_to.as_str(), is.server_time_unix_ms), ("", 5_250.0));
    }

    #[test]
    fn a_second_grows_old_on_the_way_and_keeps_the_rest() {
        let from = v1::Completeness {
            nodes_reporting: Some(2),
            nodes_expected: Some(3),
            tick: 10,
            age_ms: Some(1),
            copies: 2,
            skipped_cells: Some(3),
            sections: Some(v1::SectionNodes { cpu: Some(2), memory: Some(1), ..v1::SectionNodes::default() }),
            nodes_missing: vec!["web-3".to_owned()],
            copies_on_disk: Some(1),
        };
        assert_eq!(completeness(Some(&from), 10, 10_350), Some(v1::Completeness { age_ms: Some(350), ..from }));
    }
}
