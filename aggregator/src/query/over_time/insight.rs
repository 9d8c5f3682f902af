//! What stands out in a series: rules with stated windows and numbers, each silent unless it is sure. Pure.
//!
//! A rule is given what was read and says nothing, or what stands out, since when, and how strong it is.

use std::collections::BTreeMap;

use starling_proto::{histogram::Histogram, ids::NodeId};

/// Points that a rule over time needs on each side of a change.
const SIDE_MIN: usize = 12;
/// Requests behind a share or ratio that is compared.
const REQUESTS_MIN: f64 = 1_000.0;
/// Nodes that one of them can depart from.
const PEERS_MIN: usize = 4;
/// Values behind a distribution that is compared.
const VALUES_MIN: u64 = 100;

/// Something that stands out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Insight {
    /// Which rule.
    pub(crate) kind: &'static str,
    /// In words, with its numbers.
    pub(crate) message: String,
    /// The rule with its thresholds.
    pub(crate) rule: &'static str,
    /// When it begins; 0 for the whole range.
    pub(crate) tick: u32,
    /// 0 to 1.
    pub(crate) weight: f64,
    /// The node that it is about.
    pub(crate) node: Option<NodeId>,
    /// What shows it, when that is another metric than the one summarized.
    pub(crate) metric: Option<&'static str>,
}

impl Insight {
    fn of(kind: &'static str, rule: &'static str, tick: u32, weight: f64, message: String) -> Self {
        Self { kind, message, rule, tick, weight: weight.clamp(0.0, 1.0), node: None, metric: None }
    }
}

/// Mean and variance.
fn moments(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let apart = value - mean;
        mean += apart / count;
        squares += apart * (value - mean);
    }
    (mean, if count > 0.0 { squares / count } else { 0.0 })
}

/// Sum of the squared distances from the best two levels, and where the second begins.
fn two_levels(points: &[(u32, f64)]) -> Option<(f64, usize)> {
    let splits = SIDE_MIN..=points.len().checked_sub(SIDE_MIN)?;
    let rest = |split: usize| {
        let of = |side: &[(u32, f64)]| moments(side.iter().map(|(_, value)| *value)).1 * side.len() as f64;
        (of(&points[..split]) + of(&points[split..]), split)
    };
    splits.map(rest).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// Slope per second, value at the first point, and the sum of the squared distances from the line.
fn line(points: &[(u32, f64)]) -> Option<(f64, f64, f64)> {
    let first = points.first()?.0;
    let xs = || points.iter().map(|(tick, _)| f64::from(tick - first));
    let ((mean_x, var_x), (mean_y, _)) = (moments(xs()), moments(points.iter().map(|(_, value)| *value)));
    if var_x == 0.0 {
        return None;
    }
    let together: f64 =
        xs().zip(points).map(|(x, (_, y))| (x - mean_x) * (y - mean_y)).sum::<f64>() / points.len() as f64;
    let slope = together / var_x;
    let start = mean_y - slope * mean_x;
    let rest = xs().zip(points).map(|(x, (_, y))| (y - start - slope * x).powi(2)).sum();
    Some((slope, start, rest))
}

/// The series went from one level to another and stayed.
pub(crate) fn level_shift(points: &[(u32, f64)]) -> Option<Insight> {
    const RULE: &str = "the mean after some moment differs from that before it by at least 3 standard deviations of either \
                        side and 10 %, with at least 12 points on each side, and two levels fit better than a line";
    let (rest, split) = two_levels(points)?;
    let side = |points: &[(u32, f64)]| moments(points.iter().map(|(_, value)| *value));
    let ((before, var_before), (after, var_after)) = (side(&points[..split]), side(&points[split..]));
    let (shift, noise) = ((after - before).abs(), var_before.max(var_after).sqrt());
    let fits = line(points).is_none_or(|(.., of_line)| rest < of_line);
    if !fits || shift < 3.0 * noise || shift < 0.1 * before.abs() || shift == 0.0 {
        return None;
    }
    let tick = points[split].0;
    let weight = shift / (shift + before.abs().min(after.abs()) + noise);
    let message = format!("from {before:.4} to {after:.4} since {tick}");
    Some(Insight::of("level_shift", RULE, tick, weight, message))
}

/// The series rises or falls all the time; `limit` is what it cannot exceed.
pub(crate) fn trend(points: &[(u32, f64)], limit: Option<f64>) -> Option<Insight> {
    const RULE: &str = "a straight line explains at least 80 % of the variance of at least 24 points and changes by at least \
                        10 % of the mean over the range, and fits better than two levels";
    if points.len() < 2 * SIDE_MIN {
        return None;
    }
    let (slope, start, rest) = line(points)?;
    let (mean, variance) = moments(points.iter().map(|(_, value)| *value));
    let whole = variance * points.len() as f64;
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let change = slope * f64::from(last - first);
    let fits = two_levels(points).is_none_or(|(levels, _)| rest < levels);
    if whole <= 0.0 || rest > 0.2 * whole || change.abs() < 0.1 * mean.abs() || !fits {
        return None;
    }
    let per_hour = slope * 3_600.0;
    let now = start + change;
    let reaches = limit.filter(|limit| slope > 0.0 && now < *limit).map(|limit| (limit - now) / slope);
    let message = match reaches {
        Some(seconds) => format!(
            "{per_hour:+.4} an hour: it reaches {} in {:.1} hours",
            limit.unwrap_or_default(),
            seconds / 3_600.0
        ),
        None => format!("{per_hour:+.4} an hour, from {start:.4} to {now:.4}"),
    };
    // A limit within a day matters more than one within a month.
    let urgent = reaches.map_or(0.0, |seconds| 86_400.0 / (86_400.0 + seconds));
    let weight = (change.abs() / (mean.abs() + change.abs())).max(urgent) * (1.0 - rest / whole);
    Some(Insight::of("trend", RULE, first, weight, message))
}

/// The highest value is above all that was seen before; `before` are the peaks of the ranges compared with.
pub(crate) fn new_peak(peak: f64, tick: u32, before: &[f64]) -> Option<Insight> {
    const RULE: &str = "the peak is at least 20 % above the highest value of the period before and of the same time a week ago, \
                        as far as these are known";
    let highest = before.iter().copied().reduce(f64::max)?;
    if highest <= 0.0 || peak < 1.2 * highest {
        return None;
    }
    let message = format!("{peak:.4} at {tick}, before that at most {highest:.4}");
    Some(Insight::of("new_peak", RULE, tick, 1.0 - highest / peak, message))
}

/// The range is not as it was at the same time a week ago; `near` are the averages of an hour to either side of it, when
/// the time zone is not known.
pub(crate) fn daily_pattern(average: f64, week_ago: f64, near: &[f64], from: u32) -> Option<Insight> {
    const RULE: &str = "the average differs by at least 50 % from the same time a week ago; where the time zone is not known \
                        also from an hour to either side of it";
    let differs = |then: f64| (average - then).abs() >= 0.5 * then.abs().max(f64::MIN_POSITIVE);
    if !differs(week_ago) || !near.iter().copied().all(differs) {
        return None;
    }
    let message = format!("{average:.4} on average, {week_ago:.4} at the same time a week ago");
    let weight = (average - week_ago).abs() / (average.abs() + week_ago.abs());
    Some(Insight::of("daily_pattern", RULE, from, weight, message))
}

/// Requests and errors of the range and of the period before.
pub(crate) fn error_ratio(now: (f64, f64), before: (f64, f64), from: u32) -> Option<Insight> {
    const RULE: &str = "the share of failed requests is at least twice that of the period before, or at most half, and differs \
                        by at least 0.5 % of the requests, of which there are at least 1,000 in each";
    if now.0 < REQUESTS_MIN || before.0 < REQUESTS_MIN {
        return None;
    }
    let (now, before) = (now.1 / now.0, before.1 / before.0);
    let apart = (now - before).abs();
    if apart < 0.005 || now.max(before) < 2.0 * now.min(before) {
        return None;
    }
    let message = format!("{:.2} % of the requests failed, {:.2} % in the period before", now * 100.0, before * 100.0);
    // A tenth of all requests is as bad as it needs to be.
    let insight = Insight::of("error_ratio", RULE, from, apart / (apart + 0.05), message);
    Some(Insight { metric: Some("traffic.error_ratio"), ..insight })
}

/// Requests by protocol of the range and of the period before.
pub(crate) fn share_shift(now: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>, from: u32) -> Option<Insight> {
    const RULE: &str = "the share of a protocol in the requests differs by at least 10 points from the period before, with at \
                        least 1,000 requests in each";
    let (all, all_before): (f64, f64) = (now.values().sum(), before.values().sum());
    if all < REQUESTS_MIN || all_before < REQUESTS_MIN {
        return None;
    }
    let share = |of: &BTreeMap<String, f64>, name: &str, all: f64| of.get(name).copied().unwrap_or(0.0) / all;
    let names = now.keys().chain(before.keys());
    let moved = names.map(|name| (share(now, name, all) - share(before, name, all_before), name));
    let (by, name) = moved.max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()))?;
    if by.abs() < 0.1 {
        return None;
    }
    let (is, was) = (share(now, name, all) * 100.0, share(before, name, all_before) * 100.0);
    let message = format!("{name} has {is:.1} % of the requests, {was:.1} % in the period before");
    Some(Insight { metric: Some("traffic.requests"), ..Insight::of("share_shift", RULE, from, by.abs(), message) })
}

/// One node is unlike the others by its mean.
pub(crate) fn departs_by_mean(nodes: &[(NodeId, f64)], from: u32) -> Option<Insight> {
    const RULE: &str = "the mean of a node differs from the mean of the others by at least 5 standard deviations of these and \
                        20 %, with at least 4 others";
    if nodes.len() <= PEERS_MIN {
        return None;
    }
    let depart = |at: usize| {
        let (node, value) = &nodes[at];
        let others = nodes.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, (_, value))| *value);
        let (mean, variance) = moments(others);
        let apart = (value - mean).abs();
        let sure = apart > 0.0 && apart >= 5.0 * variance.sqrt() && apart >= 0.2 * mean.abs();
        sure.then(|| (apart / (apart + mean.abs()), node, *value, mean))
    };
    let all = (0..nodes.len()).filter_map(depart);
    let (weight, node, value, mean) = all.max_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
    let message = format!("node {node} has {value:.4}, the others {mean:.4} on average");
    Some(Insight { node: Some(node.clone()), ..Insight::of("departs_from_peers", RULE, from, weight, message) })
}

/// One node is unlike the others by all its values.
pub(crate) fn departs_by_values(nodes: &[(NodeId, Histogram)], from: u32) -> Option<Insight> {
    const RULE: &str = "the distribution of a node is at least 0.5 apart from that of all others merged (Kolmogorov-Smirnov), \
                        and at least twice as far as that of any other node, with at least 4 others and 100 values of each";
    let nodes: Vec<_> = nodes.iter().filter(|(_, histogram)| histogram.count() >= VALUES_MIN).collect();
    if nodes.len() <= PEERS_MIN {
        return None;
    }
    let mut all = Histogram::empty();
    for (_, histogram) in &nodes {
        all = all.plus(histogram).ok()?;
    }
    let distances: Option<Vec<(f64, &NodeId)>> =
        nodes.iter().map(|(node, own)| Some((distance(own, &all.minus(own).ok()?), node))).collect();
    let mut distances = distances?;
    distances.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let ((most, node), (next, _)) = (distances[0], distances[1]);
    if most < 0.5 || most < 2.0 * next {
        return None;
    }
    let message =
        format!("the values of node {node} are {most:.2} apart from those of all others, the next node's {next:.2}");
    Some(Insight { node: Some(node.clone()), ..Insight::of("departs_from_peers", RULE, from, most, message) })
}

/// Largest difference between the shares of values up to any bucket, 0 to 1.
fn distance(a: &Histogram, b: &Histogram) -> f64 {
    let mut buckets: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    a.buckets().for_each(|(bucket, count)| buckets.entry(bucket).or_default().0 += count);
    b.buckets().for_each(|(bucket, count)| buckets.entry(bucket).or_default().1 += count);
    let (all_a, all_b) = (a.count().max(1) as f64, b.count().max(1) as f64);
    let (mut of_a, mut of_b, mut most) = (0, 0, 0.0f64);
    for (in_a, in_b) in buckets.into_values() {
        (of_a, of_b) = (of_a + in_a, of_b + in_b);
        most = most.max((of_a as f64 / all_a - of_b as f64 / all_b).abs());
    }
    most
}

#[cfg(test)]
mod tests {
    use starling_proto::histogram::HistogramSum;

    use super::*;

    /// Noise without a pattern, between -1 and 1.
    fn noise(at: u32) -> f64 {
        let x = u64::from(at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((x ^ x >> 32) & 0xffff) as f64 / 32_767.5 - 1.0
    }

    fn points(value: impl Fn(u32) -> f64) -> Vec<(u32, f64)> {
        (0..120).map(|at| (1_000 + at * 30, value(at))).collect()
    }

    fn node(n: usize) -> NodeId {
        NodeId::parse(&format!("n{n}")).unwrap()
    }

    #[test]
    fn a_shift_speaks_and_noise_a_peak_and_a_slope_are_silent() {
        let shifted = level_shift(&points(|at| if at < 80 { 100.0 } else { 140.0 } + 3.0 * noise(at))).unwrap();
        assert_eq!((shifted.kind, shifted.tick), ("level_shift", 1_000 + 80 * 30));
        assert!(shifted.message.starts_with("from ") && shifted.rule.contains("3 standard deviations"));
        assert!(level_shift(&points(|at| if at < 80 { 0.0 } else { 5.0 })).is_some(), "from nothing");
        for silent in [
            points(|at| 100.0 + 20.0 * noise(at)),
            points(|at| if at == 60 { 900.0 } else { 100.0 }),
            points(|at| 100.0 + f64::from(at)),
            points(|_| 7.0),
            points(|at| if at < 80 { 100.0 } else { 105.0 }),
            points(|at| f64::from(at % 2)),
        ] {
            assert_eq!(level_shift(&silent), None);
        }
        assert_eq!(level_shift(&[]), None);
    }

    #[test]
    fn a_slope_speaks_with_the_time_to_its_limit() {
        let rising = points(|at| 0.5 + f64::from(at) * 0.001 + 0.002 * noise(at));
        let found = trend(&rising, Some(1.0)).unwrap();
        // 0.001 in 30 s; from 0.619 to 1 in 3.2 hours.
        assert!(found.message.contains("it reaches 1 in 3.2 hours"), "{}", found.message);
        assert!(found.weight > 0.5 && trend(&rising, None).unwrap().weight < found.weight);
        assert!(trend(&points(|at| 500.0 - f64::from(at)), Some(1.0)).unwrap().message.starts_with('-'));
        for silent in [
            points(|at| 100.0 + 20.0 * noise(at)),
            points(|at| if at < 60 { 100.0 } else { 200.0 }),
            points(|at| 1_000.0 + f64::from(at) * 0.1),
            points(|_| 7.0),
        ] {
            assert_eq!(trend(&silent, Some(1e9)), None);
        }
        assert_eq!(trend(&rising[..20], None), None, "too few");
    }

    #[test]
    fn a_peak_is_new_only_beside_what_is_known() {
        let found = new_peak(640.0, 41_237, &[300.0, 500.0]).unwrap();
        assert_eq!((found.tick, found.message.as_str()), (41_237, "640.0000 at 41237, before that at most 500.0000"));
        assert_eq!(new_peak(590.0, 1, &[300.0, 500.0]), None);
        assert_eq!((new_peak(640.0, 1, &[]), new_peak(640.0, 1, &[0.0])), (None, None));
    }

    /// Scenario 49.
    #[test]
    fn a_pattern_that_fits_an_hour_beside_is_not_broken() {
        assert!(daily_pattern(1_000.0, 100.0, &[], 1).is_some());
        assert_eq!(daily_pattern(1_000.0, 1_000.0, &[], 1), None);
        assert_eq!(daily_pattern(1_000.0, 100.0, &[1_000.0, 100.0], 1), None, "the clocks were changed");
        assert!(daily_pattern(0.0, 100.0, &[90.0, 110.0], 1).is_some());
    }

    #[test]
    fn more_errors_speak_and_few_requests_are_silent() {
        let found = error_ratio((10_000.0, 300.0), (10_000.0, 50.0), 5).unwrap();
        assert_eq!(found.message, "3.00 % of the requests failed, 0.50 % in the period before");
        assert!(error_ratio((10_000.0, 0.0), (10_000.0, 90.0), 5).is_some(), "fewer is a change too");
        for (now, before) in [
            ((10_000.0, 40.0), (10_000.0, 10.0)),
            ((10_000.0, 300.0), (10_000.0, 200.0)),
            ((999.0, 300.0), (10_000.0, 50.0)),
            ((10_000.0, 300.0), (0.0, 0.0)),
        ] {
            assert_eq!(error_ratio(now, before, 5), None);
        }
    }

    #[test]
    fn a_share_that_moves_speaks() {
        let of = |http1: f64, grpc: f64| BTreeMap::from([("http1".to_owned(), http1), ("grpc".to_owned(), grpc)]);
        let found = share_shift(&of(5_000.0, 5_000.0), &of(8_000.0, 2_000.0), 5).unwrap();
        assert!(found.message.contains("50.0 % of the requests") && (found.weight - 0.3).abs() < 1e-9);
        assert_eq!(share_shift(&of(5_000.0, 5_000.0), &of(50_000.0, 45_000.0), 5), None, "half as many of each");
        assert_eq!(share_shift(&of(500.0, 5.0), &of(5.0, 500.0), 5), None, "too few");
        assert_eq!(share_shift(&BTreeMap::new(), &BTreeMap::new(), 5), None);
    }

    #[test]
    fn one_node_that_is_unlike_the_others_is_named() {
        let means = |odd: f64| -> Vec<(NodeId, f64)> {
            (0..10).map(|n| (node(n), if n == 7 { odd } else { 0.5 + 0.02 * noise(n as u32) })).collect()
        };
        let found = departs_by_mean(&means(0.9), 5).unwrap();
        assert_eq!((found.node, found.kind), (Some(node(7)), "departs_from_peers"));
        assert_eq!(departs_by_mean(&means(0.51), 5), None);
        assert_eq!(departs_by_mean(&means(0.9)[4..8], 5), None, "three others are no crowd");
        let spread: Vec<_> = (0..10).map(|n| (node(n), n as f64)).collect();
        assert_eq!(departs_by_mean(&spread, 5), None, "each is another");
    }

    #[test]
    fn one_node_whose_values_are_unlike_the_others_is_named() {
        let values = |low: u64, high: u64| {
            let mut sum = HistogramSum::new();
            (0..200).for_each(|n| sum.record(low + n * (high - low) / 200, 1));
            sum.to_histogram()
        };
        let nodes = |low, high| -> Vec<(NodeId, Histogram)> {
            (0..8).map(|n| (node(n), if n == 3 { values(low, high) } else { values(1_000, 2_000) })).collect()
        };
        // The same mean, and yet another distribution: half far below, half far above.
        let mut odd = nodes(1_000, 2_000);
        odd[3].1 = values(100, 200).plus(&values(2_800, 2_900)).unwrap();
        assert_eq!(departs_by_values(&odd, 5).unwrap().node, Some(node(3)));
        assert_eq!(departs_by_values(&nodes(9_000, 9_900), 5).unwrap().node, Some(node(3)));
        assert_eq!(departs_by_values(&nodes(1_000, 2_050), 5), None);
        assert_eq!(departs_by_values(&nodes(9_000, 9_900)[..4], 5), None, "too few");
        let few: Vec<_> = (0..8).map(|n| (node(n), Histogram::of(n as u64 * 1_000, 50))).collect();
        assert_eq!(departs_by_values(&few, 5), None);
    }
}
