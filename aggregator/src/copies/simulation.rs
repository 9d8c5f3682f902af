//! Aggregators that lose their disks, go and come back while nodes report, and what their copies come to. Shells are left out:
//! a shelf is a list of blocks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use starling_history::{Block, BlockBuilder, Coverage, SecondValue, Standing, Subject, Tier};
use starling_proto::{
    catalogue,
    ids::{NodeId, WriterId},
    series::Series,
};

use super::{
    plan::{self, HOLDERS, PassedOver, Wish},
    verdict::{Refusal, Verdict, judge},
};
use crate::history::listing::{Inventory, Listed};

const T0: u32 = 7_200;
const WINDOW: u32 = 300;
const MEMBERS: usize = 4;
const NODES: usize = 6;

fn node(at: usize) -> NodeId {
    NodeId::parse(&format!("web-{at}")).unwrap()
}

fn writer(at: usize, life: u8) -> WriterId {
    WriterId::new([at as u8 + 1, life, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// A block of a node with these seconds, written at `revision`.
fn block(node: &NodeId, start: u32, seconds: &BTreeSet<u32>, revision: u64) -> Block {
    let mut builder = BlockBuilder::new(Subject::Node(node.clone()), start);
    let series = Series::of(&catalogue::LOAD_1M, &[]);
    for tick in seconds {
        let value = i64::from(*tick);
        let value = SecondValue::Gauge { sum: value.into(), nodes: 1, min: value, max: value, distribution: None };
        builder.push(*tick, revision, Coverage::second(1, 1, 0), [(&series, value)]).unwrap();
    }
    builder.seal().unwrap()
}

fn listed(block: &Block) -> Listed {
    let bytes = block.encode();
    Listed {
        start: block.start(),
        seconds: block.seconds(),
        revision: block.revision(),
        checksum: starling_store::checksum(&bytes),
        bytes: bytes.len() as u32,
    }
}

/// One aggregator.
#[derive(Default)]
struct Member {
    up: bool,
    life: u8,
    shelf: BTreeMap<NodeId, Vec<Block>>,
    passed_over: PassedOver,
    /// Blocks it fetched in this life.
    fetched: BTreeMap<(NodeId, Listed), usize>,
}

impl Member {
    fn inventory(&self) -> Inventory {
        self.shelf.iter().map(|(node, blocks)| (node.clone(), blocks.iter().map(listed).collect())).collect()
    }

    fn standing(&self, wish: &Wish) -> Standing {
        let subject = Subject::Node(wish.node.clone());
        let mut standing = Standing::nothing(&subject, Tier::Second, wish.block.start, wish.block.seconds as u16);
        self.shelf.get(&wish.node).into_iter().flatten().for_each(|block| standing.add(block));
        standing
    }

    fn seconds(&self, node: &NodeId) -> BTreeSet<u32> {
        self.shelf.get(node).into_iter().flatten().flat_map(|block| block.steps().map(|(tick, _)| tick)).collect()
    }
}

struct World {
    members: Vec<Member>,
    revision: u64,
    window: u32,
    /// Seconds of each node that some member has.
    known: BTreeMap<NodeId, BTreeSet<u32>>,
}

impl World {
    fn new() -> Self {
        let member = |_| Member { up: true, ..Member::default() };
        Self { members: (0..MEMBERS).map(member).collect(), revision: 1, window: 0, known: BTreeMap::new() }
    }

    /// The members that are up in the order in which they are to hold a node: any fixed order that differs by node.
    fn rank(&self, node: &NodeId) -> Vec<usize> {
        let mut up: Vec<usize> = (0..MEMBERS).filter(|at| self.members[*at].up).collect();
        let hash = |at: usize| starling_store::checksum(format!("{node}/{at}").as_bytes());
        up.sort_by_key(|at| hash(*at));
        up
    }

    /// A window of all nodes is over; those behind it moved after `moved` seconds.
    fn seal(&mut self, moved: u32, second_owner: bool) {
        let start = T0 + self.window * WINDOW;
        self.window += 1;
        for at in 0..NODES {
            let node = node(at);
            let rank = self.rank(&node);
            let Some(owner) = rank.first() else { continue };
            let after = if second_owner { rank.get(1).unwrap_or(owner) } else { owner };
            for (owner, seconds) in [(owner, start..start + moved), (after, start + moved..start + WINDOW)] {
                let seconds: BTreeSet<u32> = seconds.collect();
                if seconds.is_empty() {
                    continue;
                }
                self.revision += 1;
                let block = block(&node, start, &seconds, self.revision);
                self.members[*owner].shelf.entry(node.clone()).or_default().push(block);
                self.known.entry(node.clone()).or_default().extend(seconds);
            }
        }
    }

    /// Forgets what nobody has any more.
    fn lose(&mut self, at: usize) {
        self.members[at].shelf.clear();
        let known: Vec<NodeId> = self.known.keys().cloned().collect();
        for node in known {
            let held: BTreeSet<u32> = self.members.iter().flat_map(|member| member.seconds(&node)).collect();
            self.known.insert(node, held);
        }
    }

    /// One look of member `at` at what the others have. `lies` changes what comes. How many blocks it took.
    fn look(&mut self, at: usize, lies: impl Fn(usize, Bytes) -> Bytes) -> usize {
        let others: Vec<usize> = (0..MEMBERS).filter(|other| *other != at && self.members[*other].up).collect();
        let theirs: Vec<(WriterId, Inventory)> = others
            .iter()
            .map(|other| (writer(*other, self.members[*other].life), self.members[*other].inventory()))
            .collect();
        let wanted: BTreeSet<NodeId> = (0..NODES)
            .map(node)
            .filter(|node| self.rank(node).iter().take(HOLDERS).any(|holder| *holder == at))
            .collect();
        let me = &self.members[at];
        let wishes = plan::wishes(
            Tier::Second,
            &me.inventory(),
            &theirs,
            |node| wanted.contains(node),
            0..u32::MAX,
            &me.passed_over,
        );
        let mut taken = 0;
        for errand in plan::errands(Tier::Second, wishes, (3, 5_000)) {
            assert!(errand.wishes.len() <= 3 && !errand.wishes.is_empty());
            let other = others.iter().copied().find(|other| writer(*other, self.members[*other].life) == errand.holder);
            let other = other.expect("an errand to somebody who listed something");
            for wish in errand.wishes {
                let theirs = self.members[other].shelf[&wish.node].iter().find(|block| listed(block) == wish.block);
                let theirs = theirs.expect("what is asked for was listed").clone();
                let me = &mut self.members[at];
                let held = me.standing(&wish);
                if !held.is_empty() && !held.is_bettered_by(&theirs) {
                    me.passed_over.add(Tier::Second, &wish, errand.holder);
                    continue;
                }
                let count = me.fetched.entry((wish.node.clone(), wish.block)).or_default();
                *count += 1;
                assert!(*count <= MEMBERS, "{wish:?} is fetched again and again");
                match judge(Tier::Second, &wish, lies(other, theirs.encode()), &held) {
                    Verdict::Better(block) => {
                        taken += 1;
                        me.shelf.entry(wish.node.clone()).or_default().push(block);
                    }
                    Verdict::NoBetter => me.passed_over.add_all(Tier::Second, &wish),
                    Verdict::Refused(_) => me.passed_over.add(Tier::Second, &wish, errand.holder),
                }
            }
        }
        taken
    }

    /// Looks until nobody takes anything.
    fn quiet(&mut self) {
        for _ in 0..20 {
            let up: Vec<usize> = (0..MEMBERS).filter(|at| self.members[*at].up).collect();
            let before: Vec<_> = up.iter().map(|at| self.members[*at].fetched.clone()).collect();
            let taken: usize = up.iter().map(|at| self.look(*at, |_, bytes| bytes)).sum();
            let after: Vec<_> = up.iter().map(|at| self.members[*at].fetched.clone()).collect();
            if taken == 0 && before == after {
                return;
            }
        }
        panic!("it never ends");
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A window is over; nodes moved within it.
    Seal(u32, bool),
    /// Some member looks once.
    Look(usize),
    /// Dies; its disk stays.
    Die(usize),
    /// Comes back, with or without its disk.
    Return(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..=WINDOW, any::<bool>()).prop_map(|(moved, second)| Step::Seal(moved, second)),
        4 => (0..MEMBERS).prop_map(Step::Look),
        1 => (0..MEMBERS).prop_map(Step::Die),
        2 => (0..MEMBERS, any::<bool>()).prop_map(|(at, lost)| Step::Return(at, lost)),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_both_holders_have_all_that_anybody_has(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Seal(moved, second) => world.seal(moved, second),
                Step::Look(at) if world.members[at].up => drop(world.look(at, |_, bytes| bytes)),
                Step::Look(_) => {}
                Step::Die(at) => {
                    let up = world.members.iter().filter(|member| member.up).count();
                    world.members[at].up &= up == 1;
                }
                Step::Return(at, lost) => {
                    if lost {
                        world.lose(at);
                    }
                    let member = &mut world.members[at];
                    (member.up, member.life) = (true, member.life + 1);
                    (member.passed_over, member.fetched) = (PassedOver::default(), BTreeMap::new());
                }
            }
        }
        // Everybody who still has a disk is there again.
        world.members.iter_mut().for_each(|member| member.up = true);
        let before: Vec<_> = world.members.iter().map(|member| member.shelf.clone()).collect();
        world.quiet();
        for (node, known) in &world.known {
            for holder in world.rank(node).into_iter().take(HOLDERS) {
                prop_assert_eq!(&world.members[holder].seconds(node), known, "{} at {}", node, holder);
            }
        }
        for (member, before) in world.members.iter().zip(before) {
            for (node, blocks) in before {
                let now: BTreeSet<Listed> = member.shelf[&node].iter().map(listed).collect();
                prop_assert!(blocks.iter().all(|block| now.contains(&listed(block))), "something was taken away");
            }
        }
    }
}

#[test]
fn one_that_lies_gives_nothing_and_takes_nothing() {
    let mut world = World::new();
    for _ in 0..3 {
        world.seal(WINDOW, false);
    }
    let honest = world.members.iter().map(Member::inventory).collect::<Vec<_>>();
    for (at, honest) in honest.iter().enumerate() {
        for _ in 0..4 {
            let taken = world.look(at, |other, bytes| match other {
                0 => Bytes::from_static(b"nothing"),
                1 => bytes.iter().map(|byte| byte ^ 1).collect(),
                _ => bytes.slice(1..),
            });
            assert_eq!(taken, 0);
        }
        assert_eq!(world.members[at].inventory(), *honest);
        assert!(world.members[at].fetched.values().all(|count| *count == 1), "it is not asked again");
    }
}

#[test]
fn what_is_not_what_was_asked_for_is_refused() {
    let (one, other) = (node(1), node(2));
    let seconds: BTreeSet<u32> = (T0..T0 + WINDOW).collect();
    let good = block(&one, T0, &seconds, 5);
    let wish = |node: &NodeId, block: Listed| Wish { node: node.clone(), block, holders: vec![writer(0, 0)] };
    let nothing = |tier: Tier, steps| Standing::nothing(&Subject::Node(one.clone()), tier, T0, steps);
    let judged = |tier, wish: &Wish| judge(tier, wish, good.encode(), &nothing(Tier::Second, 300));
    assert!(matches!(judged(Tier::Second, &wish(&one, listed(&good))), Verdict::Better(_)));
    for odd in [
        wish(&other, listed(&good)),
        wish(&one, Listed { start: T0 + WINDOW, ..listed(&good) }),
        wish(&one, Listed { seconds: 600, ..listed(&good) }),
        wish(&one, Listed { revision: 6, ..listed(&good) }),
    ] {
        assert!(matches!(judged(Tier::Second, &odd), Verdict::Refused(Refusal::Other)), "{odd:?}");
    }
    assert!(matches!(judged(Tier::Minute, &wish(&one, listed(&good))), Verdict::Refused(Refusal::Other)));
    let mut all = nothing(Tier::Second, 300);
    all.add(&good);
    let again = judge(Tier::Second, &wish(&one, listed(&good)), good.encode(), &all);
    assert!(matches!(again, Verdict::NoBetter));
}

#[test]
fn windows_that_no_tier_has_are_not_asked_for() {
    let at = |start, seconds| Listed { start, seconds, revision: 1, checksum: 1, bytes: 1 };
    let blocks = vec![at(T0, 300), at(T0, 0), at(T0 + 3_500, 300), at(u32::MAX - 5, 300), at(T0 - 3_600, 3_600)];
    let theirs = [(writer(1, 0), Inventory::from([(node(1), blocks)]))];
    let wishes = |tier, kept| {
        let wishes = plan::wishes(tier, &Inventory::new(), &theirs, |_| true, kept, &PassedOver::default());
        wishes.into_iter().map(|wish| (wish.block.start, wish.block.seconds)).collect::<Vec<_>>()
    };
    assert_eq!(wishes(Tier::Second, 0..u32::MAX), [(T0 - 3_600, 3_600), (T0, 300)]);
    assert_eq!(wishes(Tier::Second, T0..u32::MAX), [(T0, 300)], "what is older is not kept");
    assert_eq!(wishes(Tier::Second, 0..T0), [(T0 - 3_600, 3_600)], "what is of the future is not taken");
    assert_eq!(wishes(Tier::Hour, 0..u32::MAX), [(T0 - 3_600, 3_600)]);
}
