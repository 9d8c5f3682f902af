//! What was counted in a box and beside it, by node, label, attribute, service and route, and what is over-represented. Pure.

use std::{cmp::Ordering, collections::HashMap};

use starling_proto::v1;

use super::super::significance::ln_tail;

/// With fewer in the box, or beside it, nothing is called significant.
const COUNT_MIN: f64 = 20.0;
/// What is significant has a corrected probability below this by chance.
const SIGNIFICANT_P: f64 = 0.01;

/// What can be over-represented.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Candidate {
    /// A node by name.
    Node(Box<str>),
    /// All nodes with a label.
    Label(Box<str>, Box<str>),
    /// All series with an attribute.
    Attribute(Box<str>, Box<str>),
    /// A service by name.
    Service(Box<str>),
    /// A route: service and route.
    Route(Box<str>, Box<str>),
}

impl Candidate {
    /// Dimension, key and value of a row.
    fn parts(&self) -> (&'static str, &str, &str) {
        match self {
            Self::Node(name) => ("node", "", name),
            Self::Label(key, value) => ("label", key, value),
            Self::Attribute(key, value) => ("attribute", key, value),
            Self::Service(name) => ("service", "", name),
            Self::Route(service, route) => ("route", service, route),
        }
    }

    /// Whether it is counted in a metric of its own.
    const fn is_of_services(&self) -> bool {
        matches!(self, Self::Service(_) | Self::Route(..))
    }

    /// As people write it.
    fn text(&self) -> String {
        match self {
            Self::Node(name) => format!("node {name}"),
            Self::Label(key, value) => format!("{key}:{value}"),
            Self::Attribute(key, value) => format!("{key} {value}"),
            Self::Service(name) => format!("service {name}"),
            Self::Route(service, route) => format!("route {route} of {service}"),
        }
    }
}

/// How much was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    /// In the box.
    pub(super) inside: f64,
    /// Of the rest.
    pub(super) rest: f64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.inside += other.inside;
        self.rest += other.rest;
    }

    /// Its share of all that is in the box, and of the rest; 0 where there is nothing.
    fn shares(self, all: Self) -> (f64, f64) {
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        (share(self.inside, all.inside), share(self.rest, all.rest))
    }
}

/// See the module. Services and routes have totals of their own: they are counted in another metric.
#[derive(Debug, Default)]
pub(super) struct Tally {
    all: Counts,
    services: Counts,
    of: HashMap<Candidate, Counts>,
}

impl Tally {
    /// Adds what was counted of one series of one node to everything that it is.
    pub(super) fn add(&mut self, counts: Counts, is: impl IntoIterator<Item = Candidate>) {
        self.all.add(counts);
        is.into_iter().for_each(|candidate| self.of.entry(candidate).or_default().add(counts));
    }

    /// Adds what was counted of one service and route.
    pub(super) fn add_service(&mut self, counts: Counts, service: &str, route: &str) {
        self.services.add(counts);
        self.of.entry(Candidate::Service(service.into())).or_default().add(counts);
        self.of.entry(Candidate::Route(service.into(), route.into())).or_default().add(counts);
    }

    /// All that was counted of nodes.
    pub(super) const fn all(&self) -> Counts {
        self.all
    }

    /// The `top` that explain most of the box, what is significant first; how many were tested; and what was found as a sentence,
    /// in which one thing that is counted is called `one` and more of it `many`.
    pub(super) fn rank(&self, top: usize, (one, many): (&str, &str)) -> (Vec<v1::Overrepresented>, u32, String) {
        let tested = self.of.values().filter(|counts| counts.inside > 0.0).count();
        let mut rows: Vec<(&Candidate, v1::Overrepresented)> =
            self.of.iter().filter_map(|(is, counts)| Some((is, self.row(is, *counts, tested)?))).collect();
        rows.sort_by(|(a_is, a), (b_is, b)| {
            let significant = b.significant.cmp(&a.significant);
            let excess = b.excess().total_cmp(&a.excess());
            let lift = |row: &v1::Overrepresented| row.lift.unwrap_or(f64::INFINITY);
            significant.then(excess).then_with(|| lift(b).total_cmp(&lift(a))).then_with(|| a_is.cmp(b_is))
        });
        let text = self.text(rows.first(), (one, many));
        let rows = rows.into_iter().take(top).map(|(_, row)| row).collect();
        (rows, u32::try_from(tested).unwrap_or(u32::MAX), text)
    }

    const fn enough(all: Counts) -> bool {
        all.inside >= COUNT_MIN && all.rest >= COUNT_MIN
    }

    /// `None` of what is not over-represented.
    fn row(&self, is: &Candidate, counts: Counts, tested: usize) -> Option<v1::Overrepresented> {
        let all = if is.is_of_services() { self.services } else { self.all };
        if all.rest <= 0.0 {
            return None;
        }
        let (share_inside, share_rest) = counts.shares(all);
        if share_inside.partial_cmp(&share_rest) != Some(Ordering::Greater) {
            return None;
        }
        let [inside, rest, of_all, of_rest] = [counts.inside, counts.rest, all.inside, all.rest].map(f64::round);
        let ln = ln_tail(inside, of_all, rest, of_rest) + libm::log(tested as f64);
        let log10_p = (ln / std::f64::consts::LN_10).min(0.0);
        let (dimension, key, value) = is.parts();
        let share_of_all = (counts.inside + counts.rest) / (all.inside + all.rest);
        Some(v1::Overrepresented {
            dimension: dimension.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
            inside: Some(counts.inside),
            rest: Some(counts.rest),
            share_inside: Some(share_inside),
            share_rest: Some(share_rest),
            lift: (share_rest > 0.0).then(|| share_inside / share_rest),
            excess: Some(counts.inside - all.inside * share_of_all),
            log10_p: Some(log10_p),
            significant: Self::enough(all) && log10_p < libm::log10(SIGNIFICANT_P),
        })
    }

    fn text(&self, first: Option<&(&Candidate, v1::Overrepresented)>, (one, many): (&str, &str)) -> String {
        let all = self.all;
        let called = |count: f64| if count == 1.0 { one.to_owned() } else { many.to_owned() };
        if all.inside == 0.0 {
            return format!("There are no {many} in the box.");
        }
        if all.rest == 0.0 {
            return format!(
                "All {} {} are in the box: there is nothing to hold them against.",
                all.inside,
                called(all.inside)
            );
        }
        if !Self::enough(all) {
            return format!(
                "Too few to say what differs: {} {} in the box and {} beside it, at least {COUNT_MIN} of each are wanted.",
                all.inside,
                called(all.inside),
                all.rest
            );
        }
        match first {
            Some((is, row)) if row.significant => format!(
                "{} makes {} of the {} {} in the box, and {} of the others.",
                is.text(),
                percent(row.share_inside()),
                all.inside,
                called(all.inside),
                percent(row.share_rest()),
            ),
            _ => format!("Nothing stands out among the {} {} in the box.", all.inside, called(all.inside)),
        }
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 {
        "none".to_owned()
    } else if percent < 0.1 {
        "less than 0.1 %".to_owned()
    } else if percent < 10.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(n: usize) -> Candidate {
        Candidate::Node(format!("n{n:02}").into())
    }

    fn label(value: &str) -> Candidate {
        Candidate::Label("zone".into(), value.into())
    }

    const WORDS: (&str, &str) = ("value", "values");

    /// 30 nodes in 3 zones with 1,000 values each; `slow` of them are in the box.
    fn fleet(slow: impl Fn(usize) -> f64) -> Tally {
        let mut tally = Tally::default();
        for n in 0..30 {
            let inside = slow(n);
            let counts = Counts { inside, rest: 1_000.0 - inside };
            tally.add(counts, [node(n), label(["a", "b", "c"][n % 3])]);
        }
        tally
    }

    #[test]
    fn the_culprit_comes_before_what_it_is_part_of() {
        let (rows, tested, text) = fleet(|n| if n == 17 { 800.0 } else { 8.0 }).rank(20, WORDS);
        assert_eq!((rows[0].dimension.as_str(), rows[0].value.as_str(), tested), ("node", "n17", 33));
        assert_eq!((rows[0].inside, rows[0].rest), (Some(800.0), Some(200.0)));
        assert!(rows[0].significant && rows[0].log10_p() < -300.0, "{:?}", rows[0]);
        // Zone c holds it: over-represented too, and explains less.
        assert_eq!((rows[1].key.as_str(), rows[1].value.as_str()), ("zone", "c"));
        assert_eq!(rows.len(), 2, "no other is over-represented: {rows:?}");
        assert_eq!(text, "node n17 makes 78 % of the 1032 values in the box, and 0.7 % of the others.");
    }

    #[test]
    fn a_zone_comes_before_its_nodes() {
        let (rows, ..) = fleet(|n| if n % 3 == 1 { 500.0 } else { 5.0 }).rank(20, WORDS);
        assert_eq!((rows[0].key.as_str(), rows[0].value.as_str()), ("zone", "b"));
        assert_eq!(rows.len(), 11);
        let only = fleet(|n| if n % 3 == 1 { 1_000.0 } else { 0.0 }).rank(1, WORDS);
        assert_eq!((only.0.len(), only.0[0].lift, only.0[0].share_rest), (1, None, Some(0.0)));
    }

    #[test]
    fn chance_is_not_called_significant() {
        let (rows, _, text) = fleet(|n| 50.0 + (n % 5) as f64).rank(20, WORDS);
        assert!(rows.iter().all(|row| !row.significant), "{rows:?}");
        assert_eq!(text, "Nothing stands out among the 1560 values in the box.");
        let (rows, _, text) = fleet(|n| if n == 3 { 19.0 } else { 0.0 }).rank(20, WORDS);
        assert!(!rows[0].significant);
        assert!(text.starts_with("Too few to say what differs: 19 values in the box and 29981 beside it"), "{text}");
        assert_eq!(fleet(|_| 0.0).rank(1, WORDS).2, "There are no values in the box.");
        let whole = fleet(|_| 1_000.0).rank(9, WORDS);
        assert!(whole.0.is_empty());
        assert!(whole.2.starts_with("All 30000 values are in the box"), "{}", whole.2);
    }

    #[test]
    fn services_have_totals_of_their_own() {
        let mut tally = fleet(|_| 10.0);
        tally.add_service(Counts { inside: 90.0, rest: 10.0 }, "shop", "/pay");
        tally.add_service(Counts { inside: 10.0, rest: 890.0 }, "shop", "/");
        let (rows, tested, _) = tally.rank(20, WORDS);
        assert_eq!(tested, 36);
        let shown: Vec<_> =
            rows.iter().map(|row| (row.dimension.as_str(), row.key.as_str(), row.value.as_str())).collect();
        assert_eq!(shown, [("route", "shop", "/pay")], "the only service is not over-represented");
        assert_eq!(rows[0].share_inside, Some(0.9));
    }

    proptest! {
        #[test]
        fn rows_hold_what_was_counted(counts in prop::collection::vec((0u32..500, 0u32..500), 1..40)) {
            let mut tally = Tally::default();
            for (n, (inside, rest)) in counts.iter().enumerate() {
                tally.add(Counts { inside: f64::from(*inside), rest: f64::from(*rest) }, [node(n)]);
            }
            let (rows, tested, _) = tally.rank(200, WORDS);
            let total: u32 = counts.iter().map(|(inside, _)| inside).sum();
            prop_assert_eq!(tally.all().inside, f64::from(total));
            prop_assert_eq!(tested as usize, counts.iter().filter(|(inside, _)| *inside > 0).count());
            for row in &rows {
                let n: usize = row.value[1..].parse().unwrap();
                prop_assert_eq!((row.inside(), row.rest()), (f64::from(counts[n].0), f64::from(counts[n].1)));
                prop_assert!(row.share_inside() > row.share_rest() && row.log10_p() <= 0.0 && row.excess() > 0.0);
            }
            let ranks: Vec<_> = rows.iter().map(|row| (!row.significant, -row.excess())).collect();
            prop_assert!(ranks.windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
