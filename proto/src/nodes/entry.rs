//! Who a node is, as the table carries it.

use std::collections::BTreeMap;

use super::faults::{clean, taken_faults};
use crate::{
    ids::{IdError, Machine, NodeId},
    limits::{LABEL_KEY_LEN_MAX, LABEL_VALUE_LEN_MAX, LABELS_MAX},
    v1,
};

/// Longest address of a node: a host name and a port fit.
const ADDRESS_LEN_MAX: usize = 280;

/// From where a node's stream comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// "host:port" as the aggregator that holds the stream sees it. Empty when not known.
    pub address: String,
    /// The machine.
    pub machine: Machine,
    /// Since when it has held the name, milliseconds since the Unix epoch by the clock of that aggregator. 0 when not
    /// known.
    pub since_unix_ms: u64,
}

impl Origin {
    fn to_wire(&self) -> v1::NodeOrigin {
        let (machine, boot) = self.machine.to_bytes();
        v1::NodeOrigin { address: self.address.clone(), machine, boot, since_unix_ms: self.since_unix_ms }
    }

    fn from_wire(from: &v1::NodeOrigin) -> Self {
        Self {
            address: clean(&from.address, ADDRESS_LEN_MAX).0,
            machine: Machine::parse(&from.machine, &from.boot).unwrap_or_default(),
            since_unix_ms: from.since_unix_ms,
        }
    }
}

/// Who a node is: changes with a reconnect, a restart or a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the node.
    pub id: NodeId,
    /// Operator's labels.
    pub labels: BTreeMap<String, String>,
    /// Name of the aggregator that holds its stream.
    pub aggregator: Option<NodeId>,
    /// Its samples are replays made for a demonstration.
    pub simulated: bool,
    /// Logical processors.
    pub cores: u32,
    /// The daemon ended its stream on purpose.
    pub stopped: bool,
    /// Its collectors that do not read all they should, sorted by name.
    pub collector_faults: Vec<v1::CollectorFault>,
    /// Why none of its newest seconds are counted; empty when that is not known.
    pub silent_reason: String,
    /// The host's own name, where it is another than the node's; empty otherwise, and when that is not known.
    pub host_name: String,
    /// From where its stream comes, or came.
    pub origin: Origin,
}

/// Longest [`Entry::host_name`], in characters: the kernel allows no longer one.
const HOST_NAME_LEN_MAX: usize = 64;
/// Longest [`Entry::silent_reason`], in characters; a longer one is cut.
pub const SILENT_REASON_LEN_MAX: usize = 128;

impl Entry {
    /// A node of which nothing but the name is known.
    ///
    /// # Errors
    /// [`IdError`] for a text that is no name.
    pub fn of(name: &str) -> Result<Self, IdError> {
        Ok(Self {
            id: NodeId::parse(name)?,
            labels: BTreeMap::new(),
            aggregator: None,
            simulated: false,
            cores: 0,
            stopped: false,
            collector_faults: Vec::new(),
            silent_reason: String::new(),
            host_name: String::new(),
            origin: Origin::default(),
        })
    }

    /// As it travels, with its number.
    #[must_use]
    pub fn to_wire(&self, number: u32) -> v1::NodeEntry {
        v1::NodeEntry {
            number,
            node_id: self.id.to_string(),
            labels: self.labels.clone().into_iter().collect(),
            aggregator_id: self.aggregator.as_ref().map_or_else(String::new, ToString::to_string),
            simulated: self.simulated,
            cores: self.cores,
            stopped: self.stopped,
            collector_faults: self.collector_faults.clone(),
            silent_reason: self.silent_reason.clone(),
            host_name: self.host_name.clone(),
            origin: Some(self.origin.to_wire()),
        }
    }

    /// Takes what travelled. Labels and faults beyond their limits are cut and left out, not refused: a table is a
    /// picture, and one odd row must not hide the others. Returns whether anything was cut.
    ///
    /// # Errors
    /// [`IdError`] for a name that is none.
    pub fn from_wire(from: &v1::NodeEntry) -> Result<(Self, bool), IdError> {
        let mut cut = from.labels.len() > LABELS_MAX;
        let mut sorted: Vec<(&String, &String)> = from.labels.iter().collect();
        sorted.sort_unstable();
        sorted.truncate(LABELS_MAX);
        let mut labels = BTreeMap::new();
        for (key, value) in sorted {
            let (key, whole_key) = clean(key, LABEL_KEY_LEN_MAX);
            let (value, whole_value) = clean(value, LABEL_VALUE_LEN_MAX);
            cut |= !whole_key || !whole_value;
            if !key.is_empty() {
                labels.insert(key, value);
            }
        }
        let (collector_faults, faults_cut) = taken_faults(&from.collector_faults);
        let (silent_reason, whole_reason) = clean(&from.silent_reason, SILENT_REASON_LEN_MAX);
        let (host_name, whole_name) = clean(&from.host_name, HOST_NAME_LEN_MAX);
        cut |= !whole_reason || !whole_name;
        let entry = Self {
            id: NodeId::parse(&from.node_id)?,
            labels,
            aggregator: NodeId::parse(&from.aggregator_id).ok(),
            simulated: from.simulated,
            cores: from.cores,
            stopped: from.stopped,
            collector_faults,
            silent_reason,
            host_name,
            origin: from.origin.as_ref().map(Origin::from_wire).unwrap_or_default(),
        };
        Ok((entry, cut || faults_cut))
    }

    /// Whether what stays while a node moves or stops is the same: name, labels, facts.
    #[must_use]
    pub fn same_dictionary(&self, other: &Self) -> bool {
        let of = |entry: &Self| (entry.simulated, entry.cores);
        self.id == other.id && self.labels == other.labels && of(self) == of(other)
    }

    /// Bytes of its texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let aggregator = self.aggregator.as_ref().map_or(0, |name| name.as_str().len());
        let labels: usize = self.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        let faults: usize = self.collector_faults.iter().map(|fault| fault.collector.len() + fault.reason.len()).sum();
        let rest = self.silent_reason.len() + self.host_name.len() + self.origin.address.len();
        self.id.as_str().len() + aggregator + labels + faults + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_travels_and_odd_labels_are_cut() {
        let mut entry = Entry::of("web-1").unwrap();
        entry.labels = [("zone".to_owned(), "a".to_owned())].into();
        entry.aggregator = NodeId::parse("one").ok();
        (entry.simulated, entry.cores, entry.stopped) = (true, 8, true);
        let reason = "/proc/stat: permission denied".to_owned();
        entry.collector_faults =
            vec![v1::CollectorFault { collector: "cpu".into(), trouble: 1, reason, since_unix_s: 5 }];
        entry.silent_reason = "its clock is 3600 s ahead: its frames are held".into();
        entry.host_name = "Web-9.example".into();
        let machine = Machine { id: Some([1; 16]), boot: None };
        entry.origin = Origin { address: "127.0.0.1:5000".into(), machine, since_unix_ms: 7 };
        assert_eq!(Entry::from_wire(&entry.to_wire(7)), Ok((entry.clone(), false)));

        let mut odd = entry.to_wire(7);
        odd.labels = (0..100).map(|i| (format!("{i:03}"), "x".repeat(1_000_000))).collect();
        odd.aggregator_id = "Not A Name".into();
        odd.host_name = "h".repeat(1_000_000);
        odd.silent_reason = "\u{1b}".repeat(1_000_000) + &"y".repeat(1_000_000);
        let (cut, was_cut) = Entry::from_wire(&odd).unwrap();
        assert!(was_cut && cut.labels.len() == LABELS_MAX && cut.bytes() < 2_000, "{} bytes", cut.bytes());
        assert_eq!(cut.aggregator, None);

        odd.node_id = "Not A Name".into();
        assert!(Entry::from_wire(&odd).is_err());
    }
}
