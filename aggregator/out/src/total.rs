//! What a series has reached, second by second.

use std::collections::{BTreeMap, HashMap, HashSet};

use starling_history::{Cell, SeriesCells, Subject};
use starling_promql::{Labels, names};
use starling_proto::{
    catalogue::{self, Kind, OverNodes},
    histogram::Histogram,
    series::Series,
};

/// A series without data for so many settled seconds has ended. Three seconds that are missed are no end.
pub const ENDED_AFTER: u32 = 8;
/// After so many seconds without data what a series had reached is forgotten: as long as a node that is gone is known.
pub const FORGOTTEN_AFTER: u32 = starling_proto::limits::LIVE_WINDOW;

/// What a series has reached.
#[derive(Debug, Clone, PartialEq)]
pub enum Reached {
    /// The value of the last second.
    Gauge(f64),
    /// The sum of all increments.
    Counter(f64),
    /// All values.
    Histogram(Histogram),
}

/// One series.
#[derive(Debug, Clone)]
pub struct Total {
    /// Its labels, the name too.
    pub labels: Labels,
    /// Which one, as Starling has it.
    pub series: Series,
    /// Computed from others.
    derived: bool,
    /// The end of this second is when a counter was 0, and a histogram empty.
    pub created: u32,
    /// The last second with data.
    pub last: u32,
    /// What it has reached then.
    pub reached: Reached,
}

impl Total {
    /// One that begins with the second `first`.
    fn new(labels: Labels, series: &Series, derived: bool, first: u32) -> Self {
        let reached = match series.kind() {
            Kind::Gauge => Reached::Gauge(0.0),
            Kind::Counter => Reached::Counter(0.0),
            Kind::Histogram => Reached::Histogram(Histogram::empty()),
        };
        let created = first.saturating_sub(1);
        Self { labels, series: series.clone(), derived, created, last: created, reached }
    }

    /// Takes in the second `tick`; false when that is not after all that were taken, or holds nothing.
    pub fn advance(&mut self, tick: u32, cell: &Cell) -> bool {
        if tick <= self.last {
            return false;
        }
        match &mut self.reached {
            Reached::Gauge(value) => {
                // As everywhere: means over nodes are divided by them, what is computed was computed over all at once.
                let over_nodes = match self.derived {
                    true => OverNodes::Sum,
                    false => catalogue::find(self.series.name()).map_or(OverNodes::Sum, |metric| metric.over_nodes),
                };
                let last = if over_nodes == OverNodes::Sum { cell.last } else { cell.over_nodes(over_nodes).last };
                if last.is_nan() {
                    return false;
                }
                *value = last;
            }
            // Increments are not negative; a total never falls.
            Reached::Counter(sum) => *sum += cell.sum.max(0.0),
            Reached::Histogram(all) => {
                if let Some(Ok(sum)) = cell.histogram.as_ref().filter(|new| !new.is_empty()).map(|new| all.plus(new)) {
                    *all = sum;
                }
            }
        }
        self.last = tick;
        true
    }

    /// Whether it has data of late, at the settled second `settled`.
    #[must_use]
    pub const fn is_live(&self, settled: u32) -> bool {
        self.last + ENDED_AFTER > settled
    }

    /// What it counts, in words.
    #[must_use]
    pub fn help(&self) -> &'static str {
        catalogue::find(self.series.name()).map_or("Sent by an application.", |metric| metric.help)
    }
}

/// Which series of a subject; computed or not.
type Key = (Series, bool);

/// A series of which something came.
#[derive(Debug)]
enum Held {
    /// It counts.
    Total(Total),
    /// It does not, since this second; looked at again when it would be forgotten.
    LeftOut(u32),
}

/// The series of a subject.
#[derive(Debug, Default)]
struct OfSubject {
    /// The labels it had when they began.
    labels: Vec<(String, String)>,
    series: HashMap<Key, Held>,
}

/// What all series of some subjects have reached, bounded in number.
#[derive(Debug)]
pub struct Totals {
    subjects: BTreeMap<Subject, OfSubject>,
    /// Two series that would be spelled the same are one to a reader: the first stays.
    taken: HashSet<Labels>,
    most: usize,
    left_out: u64,
}

impl Totals {
    /// Nothing yet, and never more than `most` series.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { subjects: BTreeMap::new(), taken: HashSet::new(), most, left_out: 0 }
    }

    /// Takes in seconds of `subject`, which has the labels `of_node` if it is a node, of the series with `wanted` labels. `each`
    /// gets every series after each of its seconds. A series that is new and has no room, or the spelling of another one, is
    /// left out and counted.
    pub fn take(
        &mut self,
        subject: &Subject,
        of_node: &[(String, String)],
        series: &[SeriesCells],
        wanted: impl Fn(&Labels) -> bool,
        mut each: impl FnMut(&Total, u32),
    ) {
        let of_subject = self.subjects.entry(subject.clone()).or_default();
        if of_subject.labels != of_node {
            // Other labels are other series.
            free(&mut self.taken, of_subject);
            of_subject.labels = of_node.to_vec();
        }
        let held = &mut of_subject.series;
        for one in series {
            let Some((first, _)) = one.cells.first() else { continue };
            let held = held.entry((one.series.clone(), one.derived)).or_insert_with(|| {
                let labels = names::labels(subject, &one.series, of_node);
                if !wanted(&labels) {
                    return Held::LeftOut(*first);
                }
                if self.taken.len() >= self.most || !self.taken.insert(labels.clone()) {
                    self.left_out += 1;
                    return Held::LeftOut(*first);
                }
                Held::Total(Total::new(labels, &one.series, one.derived, *first))
            });
            let Held::Total(total) = held else { continue };
            for (tick, cell) in &one.cells {
                if total.advance(*tick, cell) {
                    each(total, *tick);
                }
            }
        }
    }

    /// Forgets series without data for [`FORGOTTEN_AFTER`] seconds.
    pub fn forget(&mut self, settled: u32) {
        let taken = &mut self.taken;
        self.subjects.retain(|_, OfSubject { series, .. }| {
            series.retain(|_, one| {
                let (Held::Total(Total { last, .. }) | Held::LeftOut(last)) = one;
                let stays = last.saturating_add(FORGOTTEN_AFTER) > settled;
                if let (Held::Total(total), false) = (one, stays) {
                    taken.remove(&total.labels);
                }
                stays
            });
            !series.is_empty()
        });
    }

    /// All series, by subject.
    pub fn all(&self) -> impl Iterator<Item = &Total> {
        self.subjects.values().flat_map(|held| held.series.values()).filter_map(|held| match held {
            Held::Total(total) => Some(total),
            Held::LeftOut(_) => None,
        })
    }

    /// How often a series was left out.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// Forgets all series of a subject.
fn free(taken: &mut HashSet<Labels>, of_subject: &mut OfSubject) {
    for held in of_subject.series.drain().map(|(_, held)| held) {
        if let Held::Total(total) = held {
            taken.remove(&total.labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use starling_history::Tier;
    use starling_proto::ids::NodeId;

    use super::*;

    pub(crate) fn cells(subject: &Subject, series: Series, cells: Vec<(u32, Cell)>) -> SeriesCells {
        SeriesCells { subject: subject.clone(), series, derived: false, tier: Tier::Second, cells }
    }

    fn counter() -> Series {
        Series::of(&catalogue::REQUESTS, &[("protocol", "grpc")])
    }

    #[test]
    fn counters_add_up_gauges_replace_and_histograms_merge() {
        let subject = Subject::Node(NodeId::parse("web-1").unwrap());
        let mut totals = Totals::new(10);
        let with = |value| Cell { histogram: Some(Arc::new(Histogram::of(value, 2))), ..Cell::second(2.0) };
        let part = [
            cells(&subject, counter(), vec![(10, Cell::second(3.0)), (11, Cell::second(4.0))]),
            cells(
                &subject,
                Series::of(&catalogue::LOAD_1M, &[]),
                vec![(10, Cell::second(0.5)), (11, Cell::second(0.25))],
            ),
            cells(
                &subject,
                Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
                vec![(10, with(5)), (11, with(7))],
            ),
        ];
        let mut seen = Vec::new();
        totals.take(
            &subject,
            &[],
            &part,
            |_| true,
            |total, tick| {
                if let Reached::Counter(sum) = total.reached {
                    seen.push((tick, sum, total.created));
                }
            },
        );
        assert_eq!(seen, [(10, 3.0, 9), (11, 7.0, 9)]);
        totals.take(&subject, &[], &part, |_| true, |_, _| panic!("no second counts twice"));
        let reached: Vec<_> = totals.all().map(|total| total.reached.clone()).collect();
        assert!(reached.contains(&Reached::Gauge(0.25)) && reached.contains(&Reached::Counter(7.0)));
        assert!(reached.iter().any(|one| matches!(one, Reached::Histogram(all) if all.count() == 4)));
        totals.forget(11 + FORGOTTEN_AFTER - 1);
        assert_eq!(totals.all().count(), 3);
        totals.forget(11 + FORGOTTEN_AFTER);
        assert_eq!((totals.all().count(), totals.taken.len()), (0, 0));
    }

    #[test]
    fn of_gauges_the_cluster_shows_what_questions_show() {
        let mut totals = Totals::new(10);
        // Loads of four nodes, which are read as their mean.
        let part = [cells(
            &Subject::Cluster,
            Series::of(&catalogue::LOAD_1M, &[]),
            vec![(5, Cell { nodes: 4, ..Cell::second(10.0) })],
        )];
        totals.take(&Subject::Cluster, &[], &part, |_| true, |_, _| {});
        assert_eq!(totals.all().next().unwrap().reached, Reached::Gauge(2.5));
    }

    #[test]
    fn a_node_that_comes_back_with_other_labels_has_other_series() {
        let subject = Subject::Node(NodeId::parse("web-1").unwrap());
        let mut totals = Totals::new(10);
        let part = |tick| [cells(&subject, counter(), vec![(tick, Cell::second(3.0))])];
        let rack = |name: &str| [("rack".to_owned(), name.to_owned())];
        totals.take(&subject, &rack("r1"), &part(10), |_| true, |_, _| {});
        totals.take(&subject, &rack("r2"), &part(11), |_| true, |_, _| {});
        let all: Vec<_> = totals.all().map(|total| (total.labels.get("rack"), total.created)).collect();
        assert_eq!((all, totals.taken.len()), (vec![("r2", 10)], 1));
    }

    #[test]
    fn what_has_no_room_or_no_name_of_its_own_is_left_out() {
        let subject = Subject::Cluster;
        let app = |name| Series::application(name, &[], Kind::Counter, "1", 0, catalogue::Scope::Cluster).unwrap();
        let part = ["a.b", "a_b", "c"].map(|name| cells(&subject, app(name), vec![(1, Cell::second(1.0))]));
        let mut totals = Totals::new(10);
        totals.take(&subject, &[], &part, |_| true, |_, _| {});
        assert_eq!((totals.all().count(), totals.left_out()), (2, 1), "a.b and a_b are one name");
        let mut small = Totals::new(1);
        small.take(&subject, &[], &part, |_| true, |_, _| {});
        assert_eq!((small.all().count(), small.left_out()), (1, 2));
    }

    #[test]
    fn three_missed_seconds_are_no_end() {
        let total = Total::new(Labels::default(), &counter(), false, 101);
        assert!(total.is_live(103) && total.is_live(107) && !total.is_live(108));
    }
}
