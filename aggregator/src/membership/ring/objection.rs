//! What a step of a change of keys would break. Pure.

use super::{
    keyring::shown,
    state::{RingStatus, Sealing, Step},
};

/// A member that is known, with what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its name, or "host:port" of one that never said it.
    pub(crate) name: String,
    /// Why it does not answer; `None` when it does.
    pub(crate) unreachable: Option<String>,
    /// What it has, of one that does not answer by what gossip last heard. `None` when it never said.
    pub(crate) status: Option<RingStatus>,
}

/// What `step` would break at whom: a sentence each, none when it is safe. `members` are all that are known, this process
/// among them.
///
/// Members that do not answer fetch the newest ring when they are back, over TLS and before they gossip; they are in the way
/// only of what they still seal by, because gossip may reach them although the question did not.
pub(crate) fn objections(step: Step, members: &[Standing]) -> Vec<String> {
    let mut found = Vec::new();
    for Standing { name, unreachable, status } in members {
        match (status, unreachable) {
            (Some(status), _) if status.from_file => {
                found.push(format!("{name} has its keys from a file (gossip_keyring): change them there"));
            }
            (Some(status), unreachable) => {
                found.extend(of_member(step, status, unreachable.is_some()).map(|what| match unreachable {
                    Some(why) => format!("{name} {what}, and does not answer: {why}"),
                    None => format!("{name} {what}"),
                }));
            }
            (None, None) => found.push(format!("{name} has no ring yet: wait some seconds")),
            (None, Some(_)) => {}
        }
    }
    found
}

fn of_member(step: Step, status: &RingStatus, unreachable: bool) -> Option<String> {
    match step {
        Step::Use(key) => {
            (!unreachable && !status.ids.contains(&key)).then(|| format!("does not have {} yet", shown(key)))
        }
        // Who sends open datagrams seals by nothing.
        Step::Retire(key) => (status.ids.first() == Some(&key) && status.sealing > Sealing::Open)
            .then(|| format!("still seals by {}", shown(key))),
        // Refuses what the others then send.
        Step::Seal(Sealing::Open) => {
            (status.sealing == Sealing::Require).then(|| "believes sealed datagrams only".to_owned())
        }
        // Sends what the others then refuse.
        Step::Seal(Sealing::Require) => {
            (status.sealing == Sealing::Open).then(|| "still sends open datagrams".to_owned())
        }
        Step::Install | Step::Seal(Sealing::Send) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::state::Ring, *};

    const MEMBERS: usize = 4;

    /// What an operator, the network and the hosts do.
    #[derive(Debug, Clone)]
    enum Event {
        /// A step at a member, by the place of a key in its ring.
        Step(usize, u8, usize),
        /// Two exchange their rings.
        Exchange(usize, usize),
        /// One stops, or comes back.
        Toggle(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            (0..MEMBERS, 0u8..7, 0usize..4).prop_map(|(at, kind, key)| Event::Step(at, kind, key)),
            (0..MEMBERS, 0..MEMBERS).prop_map(|(a, b)| Event::Exchange(a, b)),
            (0..MEMBERS).prop_map(Event::Toggle),
        ];
        prop::collection::vec(event, 0..60)
    }

    struct World {
        rings: Vec<Ring>,
        up: Vec<bool>,
    }

    impl World {
        fn take(&mut self, to: usize, from: usize) {
            if self.rings[to].is_before(&self.rings[from]) {
                self.rings[to] = self.rings[from].clone();
            }
        }

        /// As the aggregator does it: the newest ring of those that answer first, then the objections, then the step, which
        /// the others hear of later.
        fn step(&mut self, at: usize, kind: u8, key: usize) {
            for other in 0..MEMBERS {
                if self.up[other] {
                    self.take(at, other);
                    self.take(other, at);
                }
            }
            let ids = self.rings[at].status(false).ids;
            let key = ids[key % ids.len()];
            let step = match kind {
                0 | 1 => Step::Install,
                2 => Step::Use(key),
                3 => Step::Retire(key),
                4 => Step::Seal(Sealing::Open),
                5 => Step::Seal(Sealing::Send),
                _ => Step::Seal(Sealing::Require),
            };
            let standings: Vec<Standing> = (0..MEMBERS)
                .map(|i| Standing {
                    name: i.to_string(),
                    unreachable: (!self.up[i]).then(|| "down".to_owned()),
                    status: Some(self.rings[i].status(false)),
                })
                .collect();
            if objections(step, &standings).is_empty()
                && let Ok((ring, _)) = self.rings[at].step(step)
            {
                self.rings[at] = ring;
            }
        }

        /// What `a` sends is believed by `b`.
        fn hears(&self, a: usize, b: usize) -> bool {
            let (from, to) = (self.rings[a].status(false), self.rings[b].status(false));
            match from.sealing {
                Sealing::Open => to.sealing < Sealing::Require,
                Sealing::Send | Sealing::Require => to.ids.contains(&from.ids[0]),
            }
        }
    }

    proptest! {
        /// Whatever is done in whatever order, as long as nothing is forced: every two that run understand each other.
        #[test]
        fn nobody_is_left_deaf(events in events()) {
            let first = Ring::first(1, Sealing::Open).unwrap();
            let mut world = World { rings: vec![first; MEMBERS], up: vec![true; MEMBERS] };
            for event in events {
                match event {
                    Event::Step(at, ..) if !world.up[at] => {}
                    Event::Step(at, kind, key) => world.step(at, kind, key),
                    Event::Exchange(a, b) if world.up[a] && world.up[b] => {
                        world.take(a, b);
                        world.take(b, a);
                    }
                    Event::Exchange(..) => {}
                    Event::Toggle(at) => {
                        world.up[at] = !world.up[at];
                        // Who comes back exchanges rings with all that run before it gossips: each side takes the newer.
                        for other in 0..MEMBERS {
                            if world.up[at] && world.up[other] {
                                world.take(at, other);
                                world.take(other, at);
                            }
                        }
                    }
                }
                for a in 0..MEMBERS {
                    for b in 0..MEMBERS {
                        let both = world.up[a] && world.up[b];
                        prop_assert!(!both || world.hears(a, b), "{a} is not heard by {b}: {:?}", world.rings);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let ring = Ring::first(1, Sealing::Require).unwrap();
        let key = ring.status(false).ids[0];
        let at = |name: &str, unreachable: Option<&str>, status: Option<RingStatus>| Standing {
            name: name.to_owned(),
            unreachable: unreachable.map(str::to_owned),
            status,
        };
        let away = [at("a", Some("no route"), Some(ring.status(false)))];
        assert_eq!(objections(Step::Retire(key), &away).len(), 1, "it still seals by it");
        assert!(objections(Step::Use([0; 4]), &away).is_empty(), "it fetches the key when it is back");
        assert_eq!(objections(Step::Use([0; 4]), &[at("b", None, Some(ring.status(false)))]).len(), 1);
        assert!(objections(Step::Install, &[at("c", None, Some(ring.status(true)))])[0].contains("from a file"));
        assert!(objections(Step::Install, &[at("d", None, None)])[0].contains("no ring yet"));
        assert!(objections(Step::Install, &[at("host:1", Some("refused"), None)]).is_empty());
    }
}
