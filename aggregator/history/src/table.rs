//! A block taken apart: what is written, merged and rolled up.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use starling_proto::{catalogue::Kind, histogram::Histogram, series::Series};

use crate::{
    Coverage, Step, Subject, Tier,
    exact::{Amount, Exact, Fixed, Float},
    numbers::Numbers,
};

/// Steps of one block: an hour of seconds, a day of minutes, a month of hours.
pub const STEPS_MAX: usize = 3_600;

/// One number that is kept of a series and a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    /// Seconds with data.
    Seconds,
    /// Sum of the values of the seconds.
    Sum,
    /// Floor of the mean less the smallest; of floats the smallest.
    Low,
    /// Largest less the floor of the mean; of floats the largest.
    High,
    /// Last less the smallest; of floats the last.
    Last,
    /// [`Fixed::short`] of [`Fixed::residual`], -1 when it is not known; of floats the sum of squares.
    Residual,
    /// Nodes behind the value, added over the seconds.
    Nodes,
    /// Smallest value of a node.
    NodeMin,
    /// Largest value of a node.
    NodeMax,
}

impl Component {
    /// Whether it is a number with a fraction in a series of such.
    pub(crate) const fn is_value(self) -> bool {
        !matches!(self, Self::Seconds | Self::Nodes)
    }
}

/// What is kept of each step of a series, in this order. Of a node there is one node, and every value is its own; a
/// second has one value.
pub(crate) const fn components(tier: Tier, kind: Kind, merged: bool) -> &'static [Component] {
    use Component::{High, Last, Low, NodeMax, NodeMin, Nodes, Residual, Seconds, Sum};
    match (tier, merged, kind) {
        (Tier::Second, false, Kind::Counter | Kind::Gauge) => &[Sum],
        (Tier::Second, false, Kind::Histogram) => &[],
        (Tier::Second, true, Kind::Counter) => &[Sum, Nodes],
        (Tier::Second, true, Kind::Gauge) => &[Sum, Nodes, NodeMin, NodeMax],
        (Tier::Second, true, Kind::Histogram) => &[Nodes],
        (_, false, _) => &[Seconds, Sum, Low, High, Last, Residual],
        (_, true, Kind::Counter | Kind::Histogram) => &[Seconds, Sum, Low, High, Last, Residual, Nodes],
        (_, true, Kind::Gauge) => &[Seconds, Sum, Low, High, Last, Residual, Nodes, NodeMin, NodeMax],
    }
}

/// A step that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its number in the block.
    pub(crate) step: u16,
    /// A later version of the same step has a higher one.
    pub(crate) revision: u64,
    pub(crate) coverage: Coverage,
}

impl Held {
    /// Which of two versions of a step is kept, see [`Step::rank`]; of equal ones that with more nodes.
    fn rank(&self, merged: bool) -> ((u64, u64), u32, u32) {
        (self.version().rank(merged), self.coverage.nodes_reporting, self.coverage.nodes_expected)
    }

    pub(crate) fn version(&self) -> Step {
        Step { seconds: self.coverage.seconds, revision: self.revision }
    }
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Track {
    pub(crate) series: Series,
    pub(crate) derived: bool,
    /// Numbers of the held steps that have it, ascending.
    pub(crate) ranks: Vec<u16>,
    /// By [`components`].
    pub(crate) columns: Vec<Numbers>,
    /// Of histogram series, and of gauges that keep a distribution; one a rank.
    pub(crate) histograms: Option<Vec<Option<Arc<Histogram>>>>,
    /// How many values the histogram of each rank holds, when several of them were merged into one.
    pub(crate) counts: Option<Vec<u64>>,
}

impl Track {
    pub(crate) fn new(series: Series, derived: bool, parts: &[Component], float: bool) -> Self {
        let columns = parts.iter().map(|part| Numbers::new(float && part.is_value())).collect();
        Self { series, derived, ranks: Vec::new(), columns, histograms: None, counts: None }
    }

    pub(crate) fn is_float(&self) -> bool {
        self.columns.iter().any(Numbers::is_float)
    }

    /// Sets the histogram of the rank that was pushed last.
    pub(crate) fn push_histogram(&mut self, histogram: Option<Arc<Histogram>>) {
        let at = self.ranks.len() - 1;
        if histogram.is_some() || self.histograms.is_some() {
            let all = self.histograms.get_or_insert_default();
            all.resize(at, None);
            all.push(histogram);
        }
    }

    /// A histogram series has histograms, also when all of them are empty.
    pub(crate) fn complete(&mut self) {
        if self.series.kind() == Kind::Histogram && self.histograms.is_none() {
            self.histograms = Some(vec![None; self.ranks.len()]);
        }
    }

    pub(crate) fn histogram(&self, at: usize) -> Option<&Arc<Histogram>> {
        self.histograms.as_ref()?.get(at)?.as_ref()
    }

    /// How many values the histogram at `at` holds.
    fn count(&self, at: usize) -> i128 {
        match &self.counts {
            Some(counts) => counts.get(at).copied().unwrap_or_default().into(),
            None => self.histogram(at).map_or(0, |histogram| i128::from(histogram.count())),
        }
    }

    /// The cell at `at`.
    pub(crate) fn exact(&self, at: usize, tier: Tier, merged: bool) -> Exact {
        let parts = components(tier, self.series.kind(), merged);
        let find = |part| parts.iter().position(|one| *one == part).map(|at| &self.columns[at]);
        let whole = |part| find(part).map_or(0, |column| column.whole(at));
        let float = |part| find(part).map_or(0.0, |column| column.float(at));
        if tier == Tier::Second {
            let nodes = find(Component::Nodes).map_or(1, |column| u64::try_from(column.whole(at)).unwrap_or_default());
            if self.is_float() {
                let value = float(Component::Sum);
                let extreme = |part| find(part).map_or(value, |column| column.float(at));
                return Exact::float(value, nodes, (extreme(Component::NodeMin), extreme(Component::NodeMax)));
            }
            let value = find(Component::Sum).map_or_else(|| self.count(at), |column| column.whole(at));
            let extreme = |part| find(part).map_or(value, |column| column.whole(at));
            return Exact::second(value, nodes, (extreme(Component::NodeMin), extreme(Component::NodeMax)));
        }
        let seconds = u32::try_from(whole(Component::Seconds)).unwrap_or_default();
        let nodes = find(Component::Nodes).map_or(i128::from(seconds), |column| column.whole(at));
        let amount = if self.is_float() {
            Amount::Float(Float {
                sum: float(Component::Sum),
                squares: float(Component::Residual),
                min: float(Component::Low),
                max: float(Component::High),
                last: float(Component::Last),
                node_min: find(Component::NodeMin).map_or(float(Component::Low), |column| column.float(at)),
                node_max: find(Component::NodeMax).map_or(float(Component::High), |column| column.float(at)),
            })
        } else {
            let sum = whole(Component::Sum);
            let mean = Fixed::floor_mean(sum, seconds);
            let min = mean.saturating_sub(whole(Component::Low));
            let max = mean.saturating_add(whole(Component::High));
            Amount::Fixed(Fixed {
                sum,
                squares: Fixed::squares_of(Fixed::long(whole(Component::Residual)), sum, seconds),
                min,
                max,
                last: min.saturating_add(whole(Component::Last)),
                node_min: find(Component::NodeMin).map_or(min, |column| column.whole(at)),
                node_max: find(Component::NodeMax).map_or(max, |column| column.whole(at)),
            })
        };
        Exact { seconds, nodes: u64::try_from(nodes).unwrap_or_default(), amount }
    }

    /// Appends a cell of a tier beyond the first.
    pub(crate) fn push_exact(&mut self, rank: u16, exact: &Exact, parts: &[Component]) {
        self.ranks.push(rank);
        for (part, column) in parts.iter().zip(&mut self.columns) {
            match (&exact.amount, part) {
                (_, Component::Seconds) => column.push(exact.seconds.into()),
                (_, Component::Nodes) => column.push(exact.nodes.into()),
                (Amount::Fixed(fixed), _) => {
                    let mean = Fixed::floor_mean(fixed.sum, exact.seconds);
                    column.push(match part {
                        Component::Sum => fixed.sum,
                        Component::Low => mean.saturating_sub(fixed.min),
                        Component::High => fixed.max.saturating_sub(mean),
                        Component::Last => fixed.last.saturating_sub(fixed.min),
                        Component::Residual => Fixed::short(fixed.residual(exact.seconds).unwrap_or(-1)),
                        Component::NodeMin => fixed.node_min,
                        _ => fixed.node_max,
                    });
                }
                (Amount::Float(float), _) => column.push_float(match part {
                    Component::Sum => float.sum,
                    Component::Low => float.min,
                    Component::NodeMin => float.node_min,
                    Component::NodeMax => float.node_max,
                    Component::Last => float.last,
                    Component::Residual => float.squares,
                    _ => float.max,
                }),
            }
        }
    }

    /// Appends what stands at `at` of `other`, of the same tier.
    fn push_from(&mut self, rank: u16, other: &Self, at: usize) {
        self.ranks.push(rank);
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            if theirs.is_float() { mine.push_float(theirs.float(at)) } else { mine.push(theirs.whole(at)) }
        }
        self.push_histogram(other.histogram(at).cloned());
    }

    /// The same with fractions: of a series of which another part has some.
    fn into_floats(self, tier: Tier, merged: bool) -> Self {
        let parts = components(tier, self.series.kind(), merged);
        let mut floats = Self::new(self.series.clone(), self.derived, parts, true);
        for (at, rank) in self.ranks.iter().enumerate() {
            floats.push_exact(*rank, &self.exact(at, tier, merged).to_float(&self.series), parts);
            floats.push_histogram(self.histogram(at).cloned());
        }
        floats
    }
}

/// A block taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    pub(crate) subject: Subject,
    pub(crate) tier: Tier,
    /// First second, a multiple of the tier's.
    pub(crate) start: u32,
    /// Steps of the window, whether held or not.
    pub(crate) steps: u16,
    /// By ascending step.
    pub(crate) held: Vec<Held>,
    /// Sorted by series, then those that are derived; of each there is one.
    pub(crate) tracks: Vec<Track>,
}

impl Table {
    pub(crate) fn merged(&self) -> bool {
        self.subject.is_merged()
    }

    /// The first second of a held step.
    pub(crate) fn tick(&self, rank: usize) -> u32 {
        self.start + u32::from(self.held[rank].step) * self.tier.seconds()
    }

    /// Several tables of one subject and tier in one window, step by step: of several versions of a step the one of the
    /// highest rank counts, whatever the order of the tables is.
    pub(crate) fn combined(subject: Subject, tier: Tier, start: u32, steps: u16, tables: Vec<Self>) -> Self {
        let (seconds, merged) = (tier.seconds(), subject.is_merged());
        let mut best: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
        for (n, table) in tables.iter().enumerate() {
            for (rank, held) in table.held.iter().enumerate() {
                let Some(offset) = table.tick(rank).checked_sub(start) else { continue };
                let Ok(step) = u16::try_from(offset / seconds) else { continue };
                if step >= steps {
                    continue;
                }
                let (winner, at) = *best.entry(step).or_insert((n, rank));
                if held.rank(merged) > tables[winner].held[at].rank(merged) {
                    best.insert(step, (n, rank));
                }
            }
        }
        let held = best.iter().map(|(step, (n, rank))| Held { step: *step, ..tables[*n].held[*rank] }).collect();
        // Where each rank of each table goes.
        let mut goes: Vec<Vec<Option<u16>>> = tables.iter().map(|table| vec![None; table.held.len()]).collect();
        best.values().zip(0u16..).for_each(|((n, rank), new)| goes[*n][*rank] = Some(new));
        Self { subject, tier, start, steps, held, tracks: Vec::new() }.filled(tables, &goes)
    }

    /// Several tables as [`Table::combined`], of which the later ones are corrections of some series: nothing of a step
    /// goes, and of a series that several have in it that of the last one counts.
    pub(crate) fn overlaid(subject: Subject, tier: Tier, start: u32, steps: u16, tables: Vec<Self>) -> Self {
        let seconds = tier.seconds();
        let step_of = |table: &Self, rank: usize| {
            let step = u16::try_from(table.tick(rank).checked_sub(start)? / seconds).ok()?;
            (step < steps).then_some(step)
        };
        let mut all: BTreeMap<u16, Held> = BTreeMap::new();
        for table in &tables {
            for (rank, held) in table.held.iter().enumerate() {
                let Some(step) = step_of(table, rank) else { continue };
                let known = all.entry(step).or_insert(Held { step, ..*held });
                known.revision = known.revision.max(held.revision);
                let (a, b) = (known.coverage, held.coverage);
                known.coverage = Coverage {
                    seconds: a.seconds.max(b.seconds),
                    nodes_reporting: a.nodes_reporting.max(b.nodes_reporting),
                    nodes_expected: a.nodes_expected.max(b.nodes_expected),
                    dropped: a.dropped.max(b.dropped),
                };
            }
        }
        let places: BTreeMap<u16, u16> = all.keys().copied().zip(0..).collect();
        let goes: Vec<Vec<Option<u16>>> = tables
            .iter()
            .map(|table| (0..table.held.len()).map(|rank| places.get(&step_of(table, rank)?).copied()).collect())
            .collect();
        let held = all.into_values().collect();
        Self { subject, tier, start, steps, held, tracks: Vec::new() }.filled(tables, &goes)
    }

    /// The same with the tracks of `tables`, each rank of which goes where `goes` says. Of several that go to one place the
    /// last counts.
    fn filled(self, tables: Vec<Self>, goes: &[Vec<Option<u16>>]) -> Self {
        let Self { subject, tier, start, steps, held, .. } = self;
        let merged = subject.is_merged();
        let mut by_series: HashMap<(Series, bool), Vec<(usize, Track)>> = HashMap::new();
        for (n, table) in tables.into_iter().enumerate() {
            for track in table.tracks {
                by_series.entry((track.series.clone(), track.derived)).or_default().push((n, track));
            }
        }
        let mut tracks: Vec<Track> = by_series
            .into_iter()
            .map(|((series, derived), mut parts)| {
                let float = parts.iter().any(|(_, part)| part.is_float());
                if float {
                    let whole = |(n, part): (usize, Track)| (n, part.into_floats(tier, merged));
                    parts = parts.into_iter().map(|one| if one.1.is_float() { one } else { whole(one) }).collect();
                }
                let mut places: Vec<(u16, usize, usize)> = Vec::new();
                for (part, (n, track)) in parts.iter().enumerate() {
                    let to = |rank: &u16| goes[*n].get(usize::from(*rank)).copied().flatten();
                    places.extend(track.ranks.iter().enumerate().filter_map(|(at, rank)| Some((to(rank)?, part, at))));
                }
                places.sort_unstable();
                // Of those with the same rank the last.
                places.reverse();
                places.dedup_by_key(|(rank, ..)| *rank);
                places.reverse();
                let mut track = Track::new(series, derived, components(tier, parts[0].1.series.kind(), merged), float);
                places.into_iter().for_each(|(rank, part, at)| track.push_from(rank, &parts[part].1, at));
                track.complete();
                track
            })
            .filter(|track| !track.ranks.is_empty())
            .collect();
        tracks.sort_unstable_by(|a, b| (&a.series, a.derived).cmp(&(&b.series, b.derived)));
        Self { subject, tier, start, steps, held, tracks }
    }
}
