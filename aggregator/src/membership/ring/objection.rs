//! What a step of a change of keys would break. Pure.

use starling_proto::hex;

use super::state::{RingStatus, Sealing, Step};

/// A member that is known, with what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its name, or "host:port" of one that never said it.
    pub(crate) name: String,
    /// Why it does not answer over TLS; `None` when it does.
    pub(crate) unreachable: Option<String>,
    /// It gossips, whether it answers or not.
    pub(crate) alive: bool,
    /// What it has, of one that does not answer by what gossip last heard. `None` when it never said.
    pub(crate) status: Option<RingStatus>,
}

/// What `step` would break at whom: a sentence each, none when it is safe. `members` are all that are known, this process
/// among them.
///
/// Members that are away fetch the newest ring when they are back, over TLS and before they gossip; they are in the way only of
/// what they still seal by. One that gossips and does not answer is not away: it does not hear of a step either.
pub(crate) fn objections(step: Step, members: &[Standing]) -> Vec<String> {
    let mut found = Vec::new();
    for Standing { name, unreachable, alive, status } in members {
        match (status, unreachable) {
            (Some(status), _) if status.from_file => {
                found.push(format!("{name} has its keys from a file (gossip_keyring): change them there"));
            }
            (Some(status), unreachable) => {
                found.extend(of_member(step, status, unreachable.is_some() && !alive).map(|what| match unreachable {
                    Some(why) => format!("{name} {what}, and does not answer: {why}"),
                    None => format!("{name} {what}"),
                }));
            }
            (None, None) => found.push(format!("{name} has no ring yet: wait some seconds")),
            (None, Some(why)) if *alive => found.push(format!("{name} gossips and does not answer: {why}")),
            (None, Some(_)) => {}
        }
    }
    found
}

fn of_member(step: Step, status: &RingStatus, is_away: bool) -> Option<String> {
    match step {
        Step::Use(key) => {
            (!is_away && !status.ids.contains(&key)).then(|| format!("does not have {} yet", hex::encode(&key)))
        }
        // Who sends open datagrams seals by nothing.
        Step::Retire(key) => (status.ids.first() == Some(&key) && status.sealing > Sealing::Open)
            .then(|| format!("still seals by {}", hex::encode(&key))),
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
        /// One that runs can no longer be reached over TLS, or again.
        Mute(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            (0..MEMBERS, 0u8..7, 0usize..4).prop_map(|(at, kind, key)| Event::Step(at, kind, key)),
            (0..MEMBERS, 0..MEMBERS).prop_map(|(a, b)| Event::Exchange(a, b)),
            (0..MEMBERS).prop_map(Event::Toggle),
            (0..MEMBERS).prop_map(Event::Mute),
        ];
        prop::collection::vec(event, 0..60)
    }

    struct World {
        rings: Vec<Ring>,
        up: Vec<bool>,
        mute: Vec<bool>,
    }

    impl World {
        /// Two exchange their rings: the newer stays at both.
        fn exchange(&mut self, a: usize, b: usize) {
            if [a, b].iter().all(|&i| self.up[i] && (!self.mute[i] || a == b)) {
                self.take(a, b);
                self.take(b, a);
            }
        }

        fn take(&mut self, to: usize, from: usize) {
            if self.rings[to].is_before(&self.rings[from]) {
                self.rings[to] = self.rings[from].clone();
            }
        }

        /// As the aggregator does it: the newest ring of those that answer first, then the objections, then the step, which
        /// the others hear of later.
        fn step(&mut self, at: usize, kind: u8, key: usize) {
            for other in 0..MEMBERS {
                self.exchange(at, other);
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
                    unreachable: (i != at && (!self.up[i] || self.mute[i] || self.mute[at]))
                        .then(|| "no answer".to_owned()),
                    alive: self.up[i],
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
            let mut world = World { rings: vec![first; MEMBERS], up: vec![true; MEMBERS], mute: vec![false; MEMBERS] };
            for event in events {
                match event {
                    Event::Step(at, ..) if !world.up[at] => {}
                    Event::Step(at, kind, key) => world.step(at, kind, key),
                    Event::Exchange(a, b) => world.exchange(a, b),
                    Event::Mute(at) => world.mute[at] = world.up[at] && !world.mute[at],
                    Event::Toggle(at) => {
                        world.up[at] = !world.up[at];
                        // Who comes back exchanges rings with all that run before it gossips; who cannot reach them stays out.
                        world.mute = vec![false; MEMBERS];
                        for other in 0..MEMBERS {
                            world.exchange(at, other);
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
            alive: unreachable.is_none(),
            status,
        };
        let away = [at("a", Some("no route"), Some(ring.status(false)))];
        assert_eq!(objections(Step::Retire(key), &away).len(), 1, "it still seals by it");
        assert!(objections(Step::Use([0; 4]), &away).is_empty(), "it fetches the key when it is back");
        let mute = [Standing { alive: true, ..away[0].clone() }];
        assert_eq!(objections(Step::Use([0; 4]), &mute).len(), 1, "it gossips, and would hear nothing any more");
        assert_eq!(objections(Step::Install, &[Standing { status: None, ..mute[0].clone() }]).len(), 1);
        assert_eq!(objections(Step::Use([0; 4]), &[at("b", None, Some(ring.status(false)))]).len(), 1);
        assert!(objections(Step::Install, &[at("c", None, Some(ring.status(true)))])[0].contains("from a file"));
        assert!(objections(Step::Install, &[at("d", None, None)])[0].contains("no ring yet"));
        assert!(objections(Step::Install, &[at("host:1", Some("refused"), None)]).is_empty());
    }
}
