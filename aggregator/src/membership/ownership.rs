//! Which aggregator owns a node: weighted rendezvous hashing. Pure.
//!
//! Every aggregator computes it alone from its own view. Views may differ for a while: a node still has one stream,
//! and what is counted never depends on who owns it.

use std::cmp::Ordering;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Seed of the hash, never to be changed: another one would move every node.
const HASH_SEED: u64 = 0x5354_4152_4c49_4e47;

/// An aggregator that can take nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Share of the nodes, relative to the others; 0 counts as 1.
    pub(crate) weight: u16,
    /// What fails together with it; empty: not said.
    pub(crate) zone: &'a str,
}

/// The aggregators in the order in which they are to take `node`, the owner first. The order of `candidates` does not matter.
///
/// Of one zone, or without zones: without one of them the order of the others stays the same, so a leaving aggregator moves
/// its own nodes and no others, and a new one takes nodes only for itself. With several zones that holds for the owner; the
/// second is the first in that order that stands in another zone than the owner.
#[must_use]
pub(crate) fn rank<'a>(node: &str, candidates: impl IntoIterator<Item = Candidate<'a>>) -> Vec<&'a str> {
    let mut scored: Vec<(f64, Candidate<'_>)> =
        candidates.into_iter().map(|one| (score(node, one.name, one.weight), one)).collect();
    scored.sort_unstable_by(|(a, one), (b, other)| {
        b.partial_cmp(a).unwrap_or(Ordering::Equal).then_with(|| one.name.cmp(other.name))
    });
    scored.dedup_by(|a, b| a.1.name == b.1.name);
    if let Some(elsewhere) = scored.iter().position(|(_, one)| one.zone != scored[0].1.zone) {
        scored[1..=elsewhere].rotate_right(1);
    }
    scored.into_iter().map(|(_, one)| one.name).collect()
}

/// -weight / ln(h), h uniform in (0, 1): the highest of several wins in proportion to its weight
/// (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005).
fn score(node: &str, aggregator: &str, weight: u16) -> f64 {
    let mut key = Vec::with_capacity(node.len() + aggregator.len() + 1);
    key.extend_from_slice(node.as_bytes());
    // Neither name can hold this byte, so ("ab", "c") and ("a", "bc") differ.
    key.push(0);
    key.extend_from_slice(aggregator.as_bytes());
    let hash = xxh3_64_with_seed(&key, HASH_SEED);
    // 53 bits fit a double exactly; half a step keeps it off 0 and 1.
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    // From `libm` and not from the platform: every aggregator must come to the same bits.
    -f64::from(weight.max(1)) / libm::log(uniform)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of one zone.
    fn all<'a>(members: impl IntoIterator<Item = (&'a str, u16)>) -> impl Iterator<Item = Candidate<'a>> {
        members.into_iter().map(|(name, weight)| Candidate { name, weight, zone: "" })
    }

    fn owners(members: &[(String, u16)], nodes: usize) -> Vec<&str> {
        (0..nodes)
            .map(|i| rank(&format!("node-{i}"), all(members.iter().map(|(id, weight)| (id.as_str(), *weight))))[0])
            .collect()
    }

    fn members(count: usize, weight: u16) -> Vec<(String, u16)> {
        (0..count).map(|i| (format!("agg-{i}"), weight)).collect()
    }

    #[test]
    fn the_order_is_fixed_for_ever() {
        // A change of the hash would move every node of every cluster at an upgrade.
        let three = members(3, 100);
        let ranked = rank("web-1", all(three.iter().map(|(id, weight)| (id.as_str(), *weight))));
        assert_eq!(ranked, ["agg-0", "agg-2", "agg-1"]);
        assert!(rank("web-1", []).is_empty());
    }

    #[test]
    fn load_is_even_and_follows_the_weights() {
        for (count, limit) in [(3, 1.06), (10, 1.12)] {
            let members = members(count, 7);
            let owners = owners(&members, 10_000);
            let largest = members.iter().map(|(id, _)| owners.iter().filter(|owner| *owner == id).count()).max();
            let ratio = largest.unwrap() as f64 * count as f64 / 10_000.0;
            assert!(ratio < limit, "{count} members: the largest holds {ratio} times the mean");
        }
        let uneven = [("big".to_owned(), 300), ("small".to_owned(), 100)];
        let big = owners(&uneven, 10_000).iter().filter(|owner| **owner == "big").count();
        assert!((7_300..7_700).contains(&big), "three quarters of 10,000 expected, found {big}");
    }

    proptest! {
        #[test]
        fn removing_one_moves_only_its_nodes(count in 2usize..12, gone in 0usize..12, weights in prop::collection::vec(1u16..1000, 12)) {
            let all: Vec<_> = (0..count).map(|i| (format!("agg-{i}"), weights[i])).collect();
            let gone = gone % count;
            let rest: Vec<_> = all.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, m)| m.clone()).collect();
            for (before, after) in owners(&all, 200).into_iter().zip(owners(&rest, 200)) {
                prop_assert!(before == after || before == all[gone].0);
            }
        }

        #[test]
        fn the_order_of_the_candidates_does_not_matter(mut names in prop::collection::btree_set("[a-z]{1,8}", 1..10), node in "[a-z0-9]{1,12}") {
            let forward: Vec<_> = names.iter().map(|name| (name.as_str(), 5)).collect();
            let mut backward = forward.clone();
            backward.reverse();
            let ranked = rank(&node, all(forward));
            prop_assert_eq!(&ranked, &rank(&node, all(backward)));
            prop_assert_eq!(ranked.len(), names.len());
            // Without its first, the rest keeps its order: this is what makes a node's cached list useful.
            let first = ranked[0].to_owned();
            let tail: Vec<String> = ranked[1..].iter().map(|name| (*name).to_owned()).collect();
            names.remove(&first);
            prop_assert_eq!(rank(&node, all(names.iter().map(|name| (name.as_str(), 5)))), tail);
        }

        #[test]
        fn the_second_stands_in_another_zone_when_there_is_one(zones in prop::collection::vec("[abc]?", 2..9), node in "[a-z0-9]{1,12}") {
            let names: Vec<String> = (0..zones.len()).map(|i| format!("agg-{i}")).collect();
            let candidates = || names.iter().zip(&zones).map(|(name, zone)| Candidate { name, weight: 100, zone });
            let zone_of = |name: &str| candidates().find(|one| one.name == name).unwrap().zone.to_owned();
            let (ranked, plain) = (rank(&node, candidates()), rank(&node, candidates().map(|one| Candidate { zone: "", ..one })));
            prop_assert_eq!(ranked[0], plain[0], "zones move no owner");
            let several = zones.iter().any(|zone| *zone != zones[0]);
            prop_assert_eq!(zone_of(ranked[0]) != zone_of(ranked[1]), several);
            let others = |ranked: &[&str]| ranked.iter().filter(|name| **name != ranked[1]).map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let mut rest: Vec<&str> = plain.clone();
            rest.retain(|name| *name != ranked[1]);
            prop_assert_eq!(others(&ranked), rest, "and the others keep their order");
        }
    }
}
