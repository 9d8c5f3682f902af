//! The nodes of one second, as rows.

use std::rc::Rc;

use starling_proto::{live::Hosts, v1::NodeState};

/// Bytes of a node in a second that is kept: eleven numbers.
const ROW_BYTES: usize = 44;

/// Who the nodes are: sent once, and again when it changes.
#[derive(Debug, Default)]
struct Dictionary {
    version: u32,
    names: Vec<String>,
    /// Keys with the values of each node, as places in the texts; from 1, 0 for none.
    labels: Vec<(String, Vec<String>, Vec<u32>)>,
    simulated: Vec<bool>,
}

/// All nodes at one second.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    dictionary: Rc<Dictionary>,
    /// Without its dictionary.
    hosts: Hosts,
}

/// What the table can be sorted by and compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Measure {
    Cpu,
    Memory,
    Requests,
    Errors,
    P99,
    Load,
    Connections,
    Cores,
}

impl Measure {
    /// The word for it in filters.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Requests => "requests",
            Self::Errors => "errors",
            Self::P99 => "p99",
            Self::Load => "load",
            Self::Connections => "connections",
            Self::Cores => "cores",
        }
    }

    pub(crate) const ALL: [Self; 8] =
        [Self::Cpu, Self::Memory, Self::Requests, Self::Errors, Self::P99, Self::Load, Self::Connections, Self::Cores];
}

impl Fleet {
    /// The nodes that came, with who they are from `before` when that did not change. `None` when it is not known: what came belongs
    /// to a dictionary that was never seen.
    pub(crate) fn of(mut hosts: Hosts, before: Option<&Self>) -> Option<Self> {
        let version = hosts.dictionary_version;
        let nodes = hosts.states.len();
        let dictionary = match before {
            Some(before) if before.dictionary.version == version && hosts.node_ids.is_empty() => {
                Rc::clone(&before.dictionary)
            }
            _ => Rc::new(Dictionary {
                version,
                names: std::mem::take(&mut hosts.node_ids),
                labels: std::mem::take(&mut hosts.labels)
                    .into_iter()
                    .map(|column| (column.key, column.values, column.places))
                    .collect(),
                simulated: std::mem::take(&mut hosts.simulated),
            }),
        };
        (dictionary.names.len() == nodes).then_some(Self { dictionary, hosts })
    }

    /// About how much memory it takes, beside its dictionary.
    pub(crate) fn bytes(&self) -> usize {
        let notes =
            self.hosts.notes.iter().map(|note| note.silent_reason.len() + note.faults.len() + note.clash.len() + 80);
        self.len() * ROW_BYTES + notes.sum::<usize>()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.dictionary.names.len()
    }

    /// All, by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|at| Row { fleet: self, at })
    }

    /// One, by its place.
    pub(crate) fn row(&self, at: usize) -> Option<Row<'_>> {
        (at < self.len()).then_some(Row { fleet: self, at })
    }

    /// Keys of labels, sorted.
    pub(crate) fn label_keys(&self) -> impl Iterator<Item = &str> {
        self.dictionary.labels.iter().map(|(key, ..)| key.as_str())
    }
}

/// One node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    fleet: &'a Fleet,
    at: usize,
}

impl<'a> Row<'a> {
    pub(crate) fn place(self) -> usize {
        self.at
    }

    pub(crate) fn name(self) -> &'a str {
        self.fleet.dictionary.names.get(self.at).map_or("", String::as_str)
    }

    /// Value of a label; empty when the node does not carry it.
    pub(crate) fn label(self, key: &str) -> &'a str {
        let column = self.fleet.dictionary.labels.iter().find(|(name, ..)| name == key);
        let value = column.and_then(|(_, values, places)| values.get((*places.get(self.at)? as usize).checked_sub(1)?));
        value.map_or("", String::as_str)
    }

    /// All labels it carries.
    pub(crate) fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fleet.label_keys().map(move |key| (key, self.label(key))).filter(|(_, value)| !value.is_empty())
    }

    pub(crate) fn simulated(self) -> bool {
        self.fleet.dictionary.simulated.get(self.at).copied().unwrap_or(false)
    }

    pub(crate) fn state(self) -> NodeState {
        let state = self.fleet.hosts.states.get(self.at).copied().unwrap_or(0);
        NodeState::try_from(state).unwrap_or(NodeState::Unspecified)
    }

    /// Its state as the page calls it.
    pub(crate) fn state_word(self) -> &'static str {
        match self.state() {
            NodeState::Reporting => "reporting",
            NodeState::Silent => "silent",
            NodeState::Stopped => "stopped",
            NodeState::Unspecified => "unknown",
        }
    }

    /// Seconds since its last frame.
    pub(crate) fn silent_seconds(self) -> u32 {
        self.fleet.hosts.silent_seconds.get(self.at).copied().unwrap_or(0)
    }

    /// `None` when it was not reported. Of a node that does not report now: its last value.
    pub(crate) fn value(self, measure: Measure) -> Option<f32> {
        let hosts = &self.fleet.hosts;
        let column = match measure {
            Measure::Cpu => &hosts.cpu,
            Measure::Memory => &hosts.memory,
            Measure::Requests => &hosts.requests_per_second,
            Measure::Errors => &hosts.errors_per_second,
            Measure::P99 => &hosts.p99_micros,
            Measure::Load => &hosts.load1,
            Measure::Connections => &hosts.connections,
            #[allow(clippy::cast_precision_loss)] // thousands
            Measure::Cores => return hosts.cores.get(self.at).filter(|cores| **cores > 0).map(|cores| *cores as f32),
        };
        column.get(self.at).copied().filter(|value| !value.is_nan())
    }

    /// The aggregator that holds its stream; empty for none.
    pub(crate) fn aggregator(self) -> &'a str {
        let hosts = &self.fleet.hosts;
        let place = hosts.aggregator_of.get(self.at).and_then(|place| (*place as usize).checked_sub(1));
        place.and_then(|place| hosts.aggregators.get(place)).map_or("", String::as_str)
    }

    /// Who else has its name, why it is silent, or what its daemon cannot read; empty when there is nothing to say.
    pub(crate) fn note(self) -> &'a str {
        let note = self.fleet.hosts.notes.iter().find(|note| note.place as usize == self.at);
        let texts = note.map(|note| [&note.clash, &note.silent_reason, &note.faults]);
        texts.and_then(|texts| texts.into_iter().find(|text| !text.is_empty())).map_or("", String::as_str)
    }

    /// Another machine calls itself so.
    pub(crate) fn clash(self) -> bool {
        self.fleet.hosts.notes.iter().any(|note| note.place as usize == self.at && !note.clash.is_empty())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use starling_proto::live::{HostNote, LabelColumn};

    use super::*;

    /// Nodes n0, n1, ... of zones a and b; the second is silent.
    pub(crate) fn hosts(nodes: u32) -> Hosts {
        let all = |value: fn(u32) -> f32| (0..nodes).map(value).collect::<Vec<_>>();
        Hosts {
            dictionary_version: 1,
            node_ids: (0..nodes).map(|at| format!("n{at}")).collect(),
            labels: vec![LabelColumn {
                key: "zone".into(),
                values: vec!["a".into(), "b".into()],
                places: (0..nodes).map(|at| at % 2 + 1).collect(),
            }],
            simulated: vec![false; nodes as usize],
            states: (0..nodes).map(|at| if at == 1 { 2 } else { 1 }).collect(),
            silent_seconds: (0..nodes).map(|at| if at == 1 { 75 } else { 0 }).collect(),
            cpu: all(|at| (at % 10) as f32 / 10.0),
            memory: all(|_| 0.5),
            requests_per_second: all(|at| if at == 2 { f32::NAN } else { at as f32 }),
            errors_per_second: all(|_| 0.0),
            p99_micros: all(|at| at as f32 * 1_000.0),
            load1: all(|_| 1.5),
            connections: all(|at| at as f32),
            cores: vec![4; nodes as usize],
            aggregators: vec!["agg-1".into()],
            aggregator_of: vec![1; nodes as usize],
            notes: vec![HostNote { place: 1, silent_reason: "its clock is ahead".into(), ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn a_second_without_a_dictionary_has_that_of_before() {
        let first = Fleet::of(hosts(3), None).unwrap();
        let next = Hosts { node_ids: Vec::new(), labels: Vec::new(), simulated: Vec::new(), ..hosts(3) };
        assert!(Fleet::of(next.clone(), None).is_none(), "who they are is not known");
        let second = Fleet::of(next.clone(), Some(&first)).unwrap();
        let row = second.row(1).unwrap();
        assert_eq!((row.name(), row.label("zone"), row.label("rack")), ("n1", "b", ""));
        assert_eq!((row.state_word(), row.silent_seconds(), row.note()), ("silent", 75, "its clock is ahead"));
        assert_eq!((row.aggregator(), row.value(Measure::Cores)), ("agg-1", Some(4.0)));
        assert_eq!(second.row(2).unwrap().value(Measure::Requests), None, "missing is not zero");
        assert!(second.row(3).is_none());
        let other = Hosts { dictionary_version: 2, ..next };
        assert!(Fleet::of(other, Some(&first)).is_none(), "another dictionary that never came");
    }

    #[test]
    fn columns_that_are_too_short_say_nothing() {
        let short = Hosts { node_ids: vec!["a".into()], states: vec![9], ..Default::default() };
        let fleet = Fleet::of(short, None).unwrap();
        let row = fleet.row(0).unwrap();
        assert_eq!((row.state_word(), row.aggregator(), row.note(), row.labels().count()), ("unknown", "", "", 0));
        assert!(Measure::ALL.iter().all(|measure| row.value(*measure).is_none()));
    }
}
