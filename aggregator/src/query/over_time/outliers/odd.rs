//! Which of some nodes is odd: its values are beyond those of its peers. Pure.
//!
//! The peers of a node are all others: what is left of the sum over all without its own, which is exact, as counts are integers. A
//! share of a hundredth of the peers' values lies beyond their p99; a node is odd when its own share is so much larger that chance
//! does not make it, in the last step, or the last few, or all of the window: the short ones notice early, the long one what is
//! small. Nothing is learnt before, and nothing kept.

use std::sync::Arc;

use starling_proto::histogram::{Histogram, HistogramSum, OverflowError, bucket_bounds, bucket_index};

use super::super::significance::ln_tail;

/// Values a node needs in the window to be compared, and its peers need.
pub(super) const VALUES_MIN: u64 = 20;
/// What the share of the peers is read at.
const QUANTILE: f64 = 0.99;
/// A node that is odd has so many times the share of its peers, at least.
const TIMES: f64 = 3.0;
/// And so much of its values, at least: five times what its peers have.
const SHARE_MIN: f64 = 0.03;
/// Corrected for all tests, as decimal logarithm. Values of one second are not independent of each other, so that this is far
/// below what one false name a day would need if they were.
const LOG10_P_MAX: f64 = -6.0;
/// What is usual has at least this part of the share now.
const USUAL_PART: f64 = 0.5;
/// Steps without oddness that do not end it.
const PAUSE_MAX: usize = 2;

/// A node: its values by step, oldest first, and those of some time before.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    /// Its name.
    pub(super) id: String,
    /// `None` where nothing is known.
    pub(super) steps: Vec<Option<Arc<Histogram>>>,
    /// Of a time before them.
    pub(super) usual: Option<Arc<Histogram>>,
}

/// A node beside its peers.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    /// Its place in the list.
    pub(super) at: usize,
    /// All values of the window.
    pub(super) own: Histogram,
    /// Value at the peers' p99.
    pub(super) peers_p99: u64,
    /// Natural logarithm of how many times as large its values are as theirs.
    pub(super) ln_factor: f64,
    /// The same without direction.
    pub(super) distance: f64,
    /// Share of its values beyond the peers' p99, in the steps that tell most.
    pub(super) share: f64,
    /// The same of before; `None` with too few values.
    pub(super) usual_share: Option<f64>,
    /// Decimal logarithm of its probability by chance.
    pub(super) log10_p: f64,
    pub(super) odd: bool,
    pub(super) usual: bool,
    /// First step since which it is odd, and whether it may have begun before the first of all.
    pub(super) since: Option<(usize, bool)>,
}

/// Each node beside its peers, in the order of [`Beside::rank`]; and how many had too few values. `windows`: lengths of the
/// steps that are looked at, ascending; the last one is that of what is shown.
///
/// # Errors
/// [`OverflowError`] when counts do not fit 64 bits.
pub(super) fn beside(nodes: &[Node], windows: &[usize]) -> Result<(Vec<Beside>, usize), OverflowError> {
    if windows.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let own: Vec<Vec<Histogram>> =
        nodes.iter().map(|node| windows.iter().map(|n| last(&node.steps, *n)).collect()).collect::<Result<_, _>>()?;
    let mut all = Vec::with_capacity(windows.len());
    for at in 0..windows.len() {
        let mut sum = HistogramSum::new();
        own.iter().try_for_each(|own| sum.add(&own[at]))?;
        all.push(sum.to_histogram());
    }
    let (mut found, mut few) = (Vec::new(), 0);
    let tests = (nodes.len() * windows.len()) as f64;
    for (at, node) in nodes.iter().enumerate() {
        let window = &own[at][windows.len() - 1];
        let peers = all[windows.len() - 1].minus(window)?;
        let Some(peers_p99) =
            peers.quantile(QUANTILE).filter(|_| window.count() >= VALUES_MIN && peers.count() >= VALUES_MIN)
        else {
            few += usize::from(!window.is_empty());
            continue;
        };
        let border = bucket_index(peers_p99);
        // What tells most of the windows, each beside what the peers did in the same steps.
        let mut most = (0.0, 0.0);
        for (own, all) in own[at].iter().zip(&all) {
            let peers = all.minus(own)?;
            let (beyond, peers_beyond) = (beyond(own, border), beyond(&peers, border));
            let ln = ln_tail(beyond as f64, own.count() as f64, peers_beyond as f64, peers.count() as f64);
            let share = share(beyond, own.count());
            let times = share >= TIMES * share_of(&peers, border) && share >= SHARE_MIN;
            if own.count() >= VALUES_MIN && times && ln < most.0 {
                most = (ln, share);
            }
        }
        let log10_p = ((most.0 + libm::log(tests)) / std::f64::consts::LN_10).min(0.0);
        let odd = log10_p <= LOG10_P_MAX;
        let share = if most.1 > 0.0 { most.1 } else { share_of(window, border) };
        let enough = node.usual.as_deref().filter(|usual| usual.count() >= VALUES_MIN);
        let usual_share = enough.map(|usual| share_of(usual, border));
        let (ln_factor, distance) = apart(window, &peers);
        let since = odd.then(|| since(&node.steps, border, share));
        let known = node.steps.iter().position(|step| step.as_deref().is_some_and(|step| !step.is_empty()));
        // One that was never otherwise, as far as it is known, is nothing new.
        let always = usual_share.is_none() && since.zip(known).is_some_and(|((step, _), known)| step <= known);
        found.push(Beside {
            at,
            own: window.clone(),
            peers_p99,
            ln_factor,
            distance,
            share,
            usual_share,
            log10_p,
            odd,
            usual: odd && (always || usual_share.is_some_and(|usual| usual >= USUAL_PART * share)),
            since: since.map(|(step, before)| (step, before || always)),
        });
    }
    found.sort_by(|a, b| a.rank().partial_cmp(&b.rank()).unwrap_or(std::cmp::Ordering::Equal));
    Ok((found, few))
}

impl Beside {
    /// What is new first, then what is odd, then by distance, then as listed.
    fn rank(&self) -> (bool, bool, f64, usize) {
        (!self.odd || self.usual, !self.odd, -self.distance, self.at)
    }
}

/// The last `n` steps in one.
fn last(steps: &[Option<Arc<Histogram>>], n: usize) -> Result<Histogram, OverflowError> {
    let mut sum = HistogramSum::new();
    let some = &steps[steps.len().saturating_sub(n)..];
    some.iter().flatten().try_for_each(|step| sum.add(step))?;
    Ok(sum.to_histogram())
}

/// Values in buckets above `border`.
fn beyond(histogram: &Histogram, border: usize) -> u64 {
    histogram.buckets().rev().take_while(|(bucket, _)| *bucket > border).map(|(_, count)| count).sum()
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

fn share_of(histogram: &Histogram, border: usize) -> f64 {
    share(beyond(histogram, border), histogram.count())
}

/// The first of the newest steps that are all odd but for short pauses, and whether that is the first of all.
fn since(steps: &[Option<Arc<Histogram>>], border: usize, now: f64) -> (usize, bool) {
    // Of the steps of a beginning only a part is odd.
    let least = (now * USUAL_PART / 2.0).max(SHARE_MIN / 2.0);
    let (mut first, mut pause) = (steps.len().saturating_sub(1), 0);
    for (at, step) in steps.iter().enumerate().rev() {
        let is = step.as_deref().is_some_and(|step| !step.is_empty() && share_of(step, border) >= least);
        if is {
            (first, pause) = (at, 0);
        } else {
            pause += 1;
            if pause > PAUSE_MAX {
                break;
            }
        }
    }
    (first, first == 0)
}

/// The area between two distributions over the natural logarithm of the value, with its direction (above 0: `own` is larger) and
/// without. Between quantile functions it is the same area (Wasserstein's distance of first order; Vallender 1974), so the first
/// is the mean over all quantiles of the logarithm of how many times as large `own` is.
fn apart(own: &Histogram, peers: &Histogram) -> (f64, f64) {
    let (mut own_at, mut peers_at) = (own.buckets().peekable(), peers.buckets().peekable());
    let [own_all, peers_all] = [own, peers].map(|of| of.count().max(1) as f64);
    let (mut below_own, mut below_peers) = (0.0, 0.0);
    let (mut before, mut with, mut without) = (None::<f64>, 0.0, 0.0);
    while let Some(bucket) = [own_at.peek(), peers_at.peek()].into_iter().flatten().map(|(bucket, _)| *bucket).min() {
        let (low, high) = bucket_bounds(bucket);
        let here = libm::log(((low as f64 + high as f64) / 2.0).max(1.0));
        if let Some(before) = before {
            let area = (below_peers / peers_all - below_own / own_all) * (here - before);
            with += area;
            without += area.abs();
        }
        before = Some(here);
        below_own += own_at.next_if(|(is, _)| *is == bucket).map_or(0, |(_, count)| count) as f64;
        below_peers += peers_at.next_if(|(is, _)| *is == bucket).map_or(0, |(_, count)| count) as f64;
    }
    (with, without)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: f64 = 1e6;
    const WINDOWS: [usize; 3] = [1, 3, 12];

    /// A generator of ours that needs no crate: splitmix64.
    struct Random(u64);

    impl Random {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }

        /// About 20 ms, with the tail that latencies have (log-normal, sigma 0.6).
        fn latency(&mut self) -> f64 {
            let normal =
                (-2.0 * self.uniform().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos();
            20.0 * MS * (0.6 * normal).exp()
        }
    }

    fn step(random: &mut Random, values: usize, times: f64) -> Option<Arc<Histogram>> {
        let mut sum = HistogramSum::new();
        (0..values).for_each(|_| sum.record((random.latency() * times) as u64, 1));
        Some(Arc::new(sum.to_histogram()))
    }

    /// Nodes with 60 steps of so many values, each `times` as large as usual.
    fn fleet(seed: u64, nodes: usize, values: usize, times: impl Fn(usize, usize) -> f64) -> Vec<Node> {
        let mut random = Random(seed);
        let node = |n: usize| Node {
            id: format!("n{n}"),
            steps: (0..60).map(|at| step(&mut random, values, times(n, at))).collect(),
            usual: step(&mut random, 10 * values, times(n, 0)),
        };
        (0..nodes).map(node).collect()
    }

    #[test]
    fn a_node_at_twice_its_own_is_named_with_the_first_step_of_five_seconds() {
        for seed in 0..20 {
            // 60 requests a second.
            let nodes = fleet(seed, 100, 300, |n, at| if n == 17 && at == 59 { 2.0 } else { 1.0 });
            let (found, few) = beside(&nodes, &WINDOWS).unwrap();
            let first = &found[0];
            assert_eq!(
                (nodes[first.at].id.as_str(), first.odd, first.usual, few),
                ("n17", true, false, 0),
                "{first:?}"
            );
            assert_eq!(first.since, Some((59, false)));
            assert_eq!(found.iter().filter(|is| is.odd).count(), 1);
        }
    }

    #[test]
    fn since_is_the_beginning_and_what_always_was_is_said_to_be_usual() {
        let nodes = fleet(3, 50, 100, |n, at| if n == 4 || n == 5 && at >= 20 { 3.0 } else { 1.0 });
        let (found, _) = beside(&nodes, &WINDOWS).unwrap();
        let of = |is: &Beside| (nodes[is.at].id.clone(), is.odd, is.usual, is.since.unwrap());
        assert_eq!(of(&found[0]), ("n5".into(), true, false, (20, false)));
        assert_eq!(of(&found[1]), ("n4".into(), true, true, (0, true)));
        assert!(!found[2].odd);
        assert!((found[0].ln_factor.exp() - 3.0).abs() < 0.2, "{}", found[0].ln_factor.exp());
    }

    #[test]
    fn what_was_never_otherwise_is_nothing_new() {
        let mut nodes = fleet(4, 50, 100, |n, _| if n == 4 { 3.0 } else { 1.0 });
        for node in &mut nodes {
            node.usual = None;
            node.steps[..40].fill(None);
        }
        let (found, _) = beside(&nodes, &WINDOWS).unwrap();
        let first = &found[0];
        assert_eq!(
            (nodes[first.at].id.as_str(), first.odd, first.usual, first.since),
            ("n4", true, true, Some((40, true)))
        );
    }

    #[test]
    fn nobody_is_named_among_equals_and_few_values_say_nothing() {
        for seed in 100..140 {
            let (found, _) = beside(&fleet(seed, 100, 40, |_, _| 1.0), &WINDOWS).unwrap();
            assert!(found.iter().all(|is| !is.odd), "{:?}", found[0]);
        }
        // One is slow, of whom too little is known, and one is silent.
        let mut nodes = fleet(1, 10, 40, |_, _| 1.0);
        let slow = |at: usize| step(&mut Random(at as u64), usize::from(at > 50), 50.0);
        nodes[3].steps = (0..60).map(slow).collect();
        nodes[4].steps = vec![None; 60];
        let (found, few) = beside(&nodes, &WINDOWS).unwrap();
        assert_eq!((found.len(), few), (8, 1));
        // All move: nobody is odd.
        let all = fleet(2, 30, 100, |_, at| if at > 50 { 4.0 } else { 1.0 });
        assert!(beside(&all, &WINDOWS).unwrap().0.iter().all(|is| !is.odd));
        assert!(beside(&[], &WINDOWS).unwrap().0.is_empty());
        assert!(beside(&fleet(1, 1, 40, |_, _| 1.0), &WINDOWS).unwrap().0.is_empty(), "alone there are no peers");
    }

    proptest! {
        /// Against means of sorted values: as many of both, so that quantiles pair up.
        #[test]
        fn the_area_is_the_mean_over_quantiles(mut pairs in prop::collection::vec((1u64..1 << 40, 1u64..1 << 40), 1..80)) {
            let of = |values: &[u64]| {
                let mut sum = HistogramSum::new();
                values.iter().for_each(|value| sum.record(*value, 1));
                sum.to_histogram()
            };
            let (mut own, mut peers): (Vec<u64>, Vec<u64>) = pairs.drain(..).unzip();
            own.sort_unstable();
            peers.sort_unstable();
            let middle = |value: &u64| {
                let (low, high) = bucket_bounds(bucket_index(*value));
                ((low as f64 + high as f64) / 2.0).ln()
            };
            let logs: Vec<f64> = own.iter().zip(&peers).map(|(a, b)| middle(a) - middle(b)).collect();
            let (with, without) = apart(&of(&own), &of(&peers));
            let n = logs.len() as f64;
            prop_assert!((with - logs.iter().sum::<f64>() / n).abs() < 1e-9, "{} {:?}", with, logs);
            prop_assert!((without - logs.iter().map(|is| is.abs()).sum::<f64>() / n).abs() < 1e-9);
        }
    }
}
