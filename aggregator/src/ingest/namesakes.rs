//! Two machines of one name: told apart by machine and boot, and the second one refused or renamed.
//!
//! A restart, a new connection or a move to another aggregator comes from the same machine and is never refused. Another
//! machine gets the name once the stream of the first one is gone or silent: a host that was rebooted, replaced or
//! installed again waits for [`ALIVE_FOR`] at most. Who does not know which machine it is on is not refused.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use starling_proto::{
    hex,
    ids::{Machine, NodeId},
    limits::NODE_ID_LEN_MAX,
    v1,
};

/// A stream without a message for this long no longer keeps its name: a living daemon sends one a second.
pub(crate) const ALIVE_FOR: Duration = Duration::from_secs(5);
/// A clash is shown for so many seconds after it last happened; whoever is refused asks again every ten.
const SHOWN_SECONDS: u32 = 60;
/// Clashes kept, of all aggregators together; beyond it the one that is longest ago goes.
const CLASHES_MAX: usize = 256;
/// Clashes of this aggregator that are published to each peer, a second.
pub(crate) const PUBLISHED_MAX: usize = 64;
/// Longest address kept.
const ADDRESS_LEN_MAX: usize = 280;

/// The machine that holds a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// "host:port" its stream comes from.
    pub(crate) address: String,
    /// The machine.
    pub(crate) machine: Machine,
    /// Where its stream is.
    pub(crate) aggregator: String,
}

/// Knows the names that are held at other aggregators.
pub(crate) trait HeldElsewhere: Send + Sync {
    /// Who holds `node` at another aggregator, if that is known to be another machine than `machine` and alive.
    fn held_by_other(&self, node: &NodeId, machine: &Machine) -> Option<Holder>;

    /// Whether some aggregator has heard of `node` in the last 15 minutes.
    fn knows(&self, node: &NodeId) -> bool;
}

/// Names for the second machine of the name `node`, best first: the same after a restart and, unless both are clones of
/// one image, after a reboot.
pub(super) fn other_names(node: &NodeId, machine: &Machine, holder: &Holder) -> Vec<NodeId> {
    let by_id = machine.id.filter(|id| holder.machine.id != Some(*id));
    let named = |part: [u8; 16]| {
        let mark = hex::encode(&part[..4]);
        let start: String = node.as_str().chars().take(NODE_ID_LEN_MAX - 9).collect();
        NodeId::sanitised(&format!("{start}.{mark}"))
    };
    by_id.into_iter().chain(machine.boot).map(named).collect()
}

/// The clashes of the last minute, of all aggregators: by name and by the aggregator that was asked.
#[derive(Debug, Default)]
pub(crate) struct Clashes(Mutex<BTreeMap<(NodeId, String), v1::NameClash>>);

impl Clashes {
    /// Plain mutex, short sections.
    fn all(&self) -> MutexGuard<'_, BTreeMap<(NodeId, String), v1::NameClash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine at `address` asked `aggregator` for the name `node`, which another one holds.
    pub(super) fn asked(
        &self,
        node: &NodeId,
        address: &str,
        aggregator: &NodeId,
        renamed_to: Option<&NodeId>,
        now: u32,
    ) {
        let times = self.all().get(&(node.clone(), aggregator.to_string())).map_or(0, |before| before.times);
        self.put(
            node.clone(),
            v1::NameClash {
                node_id: node.to_string(),
                address: address.to_owned(),
                aggregator_id: aggregator.to_string(),
                last_asked_unix_s: now,
                times: times.saturating_add(1),
                renamed_to: renamed_to.map_or_else(String::new, ToString::to_string),
            },
        );
    }

    fn put(&self, node: NodeId, clash: v1::NameClash) {
        let mut all = self.all();
        all.insert((node, clash.aggregator_id.clone()), clash);
        while all.len() > CLASHES_MAX {
            let oldest = all.iter().min_by_key(|(_, clash)| clash.last_asked_unix_s).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            all.remove(&oldest);
        }
    }

    /// Takes what a peer has seen. What is no name is left out, texts are cut.
    pub(crate) fn take(&self, from: Vec<v1::NameClash>, now: u32) {
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(ADDRESS_LEN_MAX).collect::<String>();
        for clash in from.into_iter().take(PUBLISHED_MAX) {
            let (Ok(node), Ok(_)) = (NodeId::parse(&clash.node_id), NodeId::parse(&clash.aggregator_id)) else {
                continue;
            };
            let clash = v1::NameClash {
                address: cut(&clash.address),
                renamed_to: cut(&clash.renamed_to),
                // A clock ahead of ours must not keep it for ever.
                last_asked_unix_s: clash.last_asked_unix_s.min(now),
                ..clash
            };
            self.put(node, clash);
        }
    }

    /// The clashes that `aggregator` saw, for its peers. Also forgets old ones.
    pub(crate) fn seen_by(&self, aggregator: &NodeId, now: u32) -> Vec<v1::NameClash> {
        let mut all = self.all();
        all.retain(|_, clash| clash.last_asked_unix_s.saturating_add(SHOWN_SECONDS) >= now);
        let own = all.values().filter(|clash| clash.aggregator_id == aggregator.as_str());
        own.take(PUBLISHED_MAX).cloned().collect()
    }

    /// The newest clash of each name in the last minute, sorted by name; at most [`PUBLISHED_MAX`].
    pub(crate) fn shown(&self, now: u32) -> Vec<v1::NameClash> {
        let mut newest = BTreeMap::<String, v1::NameClash>::new();
        for clash in self.all().values().filter(|clash| clash.last_asked_unix_s.saturating_add(SHOWN_SECONDS) >= now) {
            let known = newest.get(&clash.node_id);
            if known.is_none_or(|known| known.last_asked_unix_s < clash.last_asked_unix_s) {
                newest.insert(clash.node_id.clone(), clash.clone());
            }
        }
        newest.into_values().take(PUBLISHED_MAX).collect()
    }

    /// The newest clash of a name in the last minute.
    pub(crate) fn of(&self, node: &str, now: u32) -> Option<v1::NameClash> {
        let all = self.all();
        let of_name = all.values().filter(|clash| clash.node_id == node);
        let shown = of_name.filter(|clash| clash.last_asked_unix_s.saturating_add(SHOWN_SECONDS) >= now);
        shown.max_by_key(|clash| clash.last_asked_unix_s).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    #[test]
    fn a_clash_is_shown_for_a_minute_and_there_are_not_too_many() {
        let clashes = Clashes::default();
        clashes.asked(&id("web"), "h:1", &id("a"), None, 100);
        clashes.asked(&id("web"), "h:2", &id("a"), None, 110);
        let shown = clashes.of("web", 170).unwrap();
        assert_eq!((shown.address.as_str(), shown.times), ("h:2", 2));
        assert_eq!(clashes.of("web", 171), None);
        assert_eq!((clashes.shown(170), clashes.shown(171)), (vec![shown], vec![]));
        assert_eq!((clashes.seen_by(&id("a"), 120).len(), clashes.seen_by(&id("b"), 120).len()), (1, 0));
        let told = |i: u32| v1::NameClash {
            node_id: format!("n{i}"),
            aggregator_id: "b".into(),
            last_asked_unix_s: 9_000 + i,
            address: "x".repeat(1_000),
            ..v1::NameClash::default()
        };
        (0..300).for_each(|i| clashes.take(vec![told(i)], 9_500));
        clashes.take(vec![v1::NameClash { node_id: "No Name".into(), ..told(1) }], 9_500);
        assert_eq!(clashes.all().len(), CLASHES_MAX);
        assert!(clashes.of("n299", 9_310).is_some_and(|clash| clash.address.len() == ADDRESS_LEN_MAX));
        assert_eq!(clashes.seen_by(&id("b"), 20_000), []);
    }

    #[test]
    fn the_second_of_a_name_gets_one_that_stays() {
        let holder = |id| Holder {
            address: String::new(),
            machine: Machine { id: Some(id), boot: Some([1; 16]) },
            aggregator: String::new(),
        };
        let machine = Machine { id: Some([0xab; 16]), boot: Some([0xcd; 16]) };
        let long = id(&"n".repeat(64));
        assert_eq!(other_names(&id("web"), &machine, &holder([2; 16])), [id("web.abababab"), id("web.cdcdcdcd")]);
        assert_eq!(other_names(&id("web"), &machine, &holder([0xab; 16])), [id("web.cdcdcdcd")], "clones");
        assert!(other_names(&long, &machine, &holder([2; 16]))[0].as_str().ends_with("n.abababab"));
    }
}
