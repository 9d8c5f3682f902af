//! Parts as aggregators send them to each other.

use std::collections::BTreeMap;

use starling_history::{Cell, Coverage, Matcher, MatcherError, Selection, SeriesCells, Subject, Tier};
use starling_proto::{
    catalogue::Scope,
    frame::{SeriesText, put_series},
    histogram::Histogram,
    limits::ATTRIBUTES_MAX,
    series::Series,
    v1::{self, MatchKind},
    varint::Reader,
};

use super::Part;

/// Conditions that a question may have.
pub(crate) const MATCHERS_MAX: usize = 16;
/// Conditions of each kind in one request to another aggregator: those of a question, and the attributes it names.
const CONDITIONS_MAX: usize = MATCHERS_MAX + ATTRIBUTES_MAX;
/// Bytes of cells in one message: far below what a message may have, so that none waits long behind it.
const MESSAGE_BYTES: usize = 512 * 1024;
/// Cells of one series in one message: two years by the hour, or five hours by the second.
const CELLS_MAX: usize = 20_000;
/// Cells of one series are sent in pieces of so many; of those with histograms, which are long, in pieces of fewer.
const CELLS_PIECE: usize = 4_096;
/// See [`CELLS_PIECE`].
const HISTOGRAMS_PIECE: usize = 256;
/// Cells in one message: a byte may stand for a cell, which takes a hundred once it is read.
const MESSAGE_CELLS_MAX: usize = 100_000;

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Not a tier.
    #[error("steps of {0} s, there are 1, 10, 60 and 3600")]
    Tier(u32),
    /// A list has neither one number for each, nor one for all.
    #[error("{found} {field} for {wanted} cells")]
    Length {
        /// Which list.
        field: &'static str,
        /// How many it has.
        found: usize,
        /// How many there are.
        wanted: usize,
    },
    /// More cells than one series or message may have.
    #[error("{0} cells in one message, at most {CELLS_MAX} of one series and {MESSAGE_CELLS_MAX} of all are taken")]
    Cells(usize),
    /// Times beyond the range of seconds, or the same twice.
    #[error("steps that do not ascend")]
    Starts,
    /// A series that cannot be read.
    #[error("a series that is refused: {0}")]
    Series(String),
    /// A histogram that cannot be read.
    #[error("a histogram that is refused: {0}")]
    Histogram(#[from] starling_proto::histogram::DecodeError),
}

/// Reads conditions of a request; `field` is how they are called there.
///
/// # Errors
/// The field, and what is wrong with which of them.
pub(crate) fn matchers(field: &str, given: &[v1::AttributeMatcher]) -> Result<Vec<(Box<str>, Matcher)>, String> {
    read_matchers(field, given, MATCHERS_MAX)
}

fn read_matchers(field: &str, given: &[v1::AttributeMatcher], most: usize) -> Result<Vec<(Box<str>, Matcher)>, String> {
    if given.len() > most {
        return Err(format!("{field}: {} are given, at most {most}", given.len()));
    }
    let read = |(at, one): (usize, &v1::AttributeMatcher)| {
        let kind = MatchKind::try_from(one.kind).map_err(|_| format!("{field}[{at}].kind: {} is no kind", one.kind))?;
        let matcher = match kind {
            MatchKind::Unspecified | MatchKind::Equal => Ok(Matcher::equal(&one.value)),
            MatchKind::NotEqual => Ok(Matcher::not_equal(&one.value)),
            MatchKind::Regex => Matcher::regex(&one.value),
            MatchKind::NotRegex => Matcher::not_regex(&one.value),
        };
        let matcher = matcher.map_err(|error: MatcherError| format!("{field}[{at}].value: {error}"))?;
        Ok((one.key.as_str().into(), matcher))
    };
    given.iter().enumerate().map(read).collect()
}

/// What `request` selects.
///
/// # Errors
/// The field that is wrong, and why.
pub(crate) fn selection(request: &v1::ReadHistoryRequest) -> Result<Selection, String> {
    let names = matchers("names", &request.names)?.into_iter().map(|(_, matcher)| matcher).collect();
    let attributes = read_matchers("attributes", &request.attributes, CONDITIONS_MAX)?;
    if request.from_tick > request.to_tick {
        return Err(format!("from_tick: {} is after to_tick, which is {}", request.from_tick, request.to_tick));
    }
    Ok(Selection { names, attributes, from: request.from_tick, to: request.to_tick, histograms: request.histograms })
}

/// The messages of one subject, at least one.
pub(crate) fn messages(subject: &Subject, part: &Part) -> Vec<v1::HistoryPart> {
    let mut messages = vec![v1::HistoryPart { subject: subject.to_string(), steps: steps(part), ..Default::default() }];
    let (mut bytes, mut count) = (0, 0);
    for series in &part.series {
        let histograms = series.cells.iter().any(|(_, cell)| cell.histogram.is_some());
        for piece in series.cells.chunks(if histograms { HISTOGRAMS_PIECE } else { CELLS_PIECE }) {
            let one = pack(series, piece);
            count += piece.len();
            if (bytes > MESSAGE_BYTES || count > MESSAGE_CELLS_MAX)
                && let Some(last) = messages.last_mut()
            {
                last.more = true;
                messages.push(v1::HistoryPart { subject: subject.to_string(), ..Default::default() });
                (bytes, count) = (0, piece.len());
            }
            bytes += prost::Message::encoded_len(&one);
            if let Some(last) = messages.last_mut() {
                last.series.push(one);
            }
        }
    }
    messages
}

/// Adds a message of the same subject to what the ones before it said.
///
/// # Errors
/// [`WireError`], naming what is wrong.
pub(crate) fn take(part: &mut Part, subject: &Subject, message: &v1::HistoryPart) -> Result<(), WireError> {
    let cells: usize = message.series.iter().map(|series| series.starts.len()).sum();
    if cells > MESSAGE_CELLS_MAX {
        return Err(WireError::Cells(cells));
    }
    for steps in &message.steps {
        let tier = tier(steps.tier_seconds)?;
        let starts = unpack_starts(&steps.starts, tier)?;
        let n = starts.len();
        let seconds = Listed::of("seconds", &steps.seconds, n)?;
        let reporting = Listed::of("nodes_reporting", &steps.nodes_reporting, n)?;
        let expected = Listed::of("nodes_expected", &steps.nodes_expected, n)?;
        let dropped = Listed::of("dropped", &steps.dropped, n)?;
        for (at, start) in starts.into_iter().enumerate() {
            let coverage = Coverage {
                seconds: seconds.at(at, 0).min(tier.seconds()),
                nodes_reporting: reporting.at(at, 0),
                nodes_expected: expected.at(at, 0),
                dropped: dropped.at(at, 0),
            };
            part.coverage.insert((start, tier), coverage);
        }
    }
    for packed in &message.series {
        let cells = unpack(subject, packed)?;
        let same = |held: &&mut SeriesCells| {
            (&held.series, held.derived, held.tier) == (&cells.series, cells.derived, cells.tier)
        };
        match part.series.iter_mut().find(same) {
            Some(held) => {
                held.cells.extend(cells.cells);
                held.cells.sort_by_key(|(start, _)| *start);
                held.cells.dedup_by_key(|(start, _)| *start);
            }
            None => part.series.push(cells),
        }
    }
    Ok(())
}

fn tier(seconds: u32) -> Result<Tier, WireError> {
    Tier::ALL.into_iter().find(|tier| tier.seconds() == seconds).ok_or(WireError::Tier(seconds))
}

fn steps(part: &Part) -> Vec<v1::HistorySteps> {
    let mut by_tier: BTreeMap<Tier, Vec<(u32, Coverage)>> = BTreeMap::new();
    for ((start, tier), coverage) in &part.coverage {
        by_tier.entry(*tier).or_default().push((*start, *coverage));
    }
    let all = by_tier.into_iter().map(|(tier, steps)| v1::HistorySteps {
        tier_seconds: tier.seconds(),
        starts: pack_starts(steps.iter().map(|(start, _)| *start), tier),
        seconds: listed(steps.iter().map(|(_, one)| one.seconds)),
        nodes_reporting: listed(steps.iter().map(|(_, one)| one.nodes_reporting)),
        nodes_expected: listed(steps.iter().map(|(_, one)| one.nodes_expected)),
        dropped: listed(steps.iter().map(|(_, one)| one.dropped)),
    });
    all.collect()
}

fn pack(series: &SeriesCells, cells: &[(u32, Cell)]) -> v1::HistorySeries {
    let mut name = Vec::new();
    put_series(&mut name, &series.series);
    let of = |read: fn(&Cell) -> f64| cells.iter().map(move |(_, cell)| read(cell));
    let bare = cells.iter().all(|(_, cell)| {
        let alike = [cell.min, cell.max, cell.last].map(f64::to_bits) == [cell.sum.to_bits(); 3];
        cell.seconds == 1 && alike && cell.spread.to_bits() == Cell::second(cell.sum).spread.to_bits()
    });
    let unless_bare = |read: fn(&Cell) -> f64| if bare { Vec::new() } else { listed_bits(of(read)) };
    let some = |read: fn(&Cell) -> Option<f64>| {
        let any = cells.iter().any(|(_, cell)| read(cell).is_some());
        if any { listed_bits(cells.iter().map(|(_, cell)| read(cell).unwrap_or(f64::NAN))) } else { Vec::new() }
    };
    let histograms = if cells.iter().any(|(_, cell)| cell.histogram.is_some()) {
        cells.iter().map(|(_, cell)| cell.histogram.as_ref().map(|one| one.encode()).unwrap_or_default()).collect()
    } else {
        Vec::new()
    };
    v1::HistorySeries {
        series: name.into(),
        of_node: series.series.scope() == Scope::Node,
        derived: series.derived,
        tier_seconds: series.tier.seconds(),
        starts: pack_starts(cells.iter().map(|(start, _)| *start), series.tier),
        sums: listed_bits(of(|cell| cell.sum)),
        seconds: if bare { Vec::new() } else { listed(cells.iter().map(|(_, cell)| cell.seconds)) },
        spreads: unless_bare(|cell| cell.spread),
        mins: unless_bare(|cell| cell.min),
        maxs: unless_bare(|cell| cell.max),
        lasts: unless_bare(|cell| cell.last),
        nodes: listed(cells.iter().map(|(_, cell)| cell.nodes)),
        node_mins: some(|cell| cell.node_min),
        node_maxs: some(|cell| cell.node_max),
        histograms,
    }
}

fn unpack(subject: &Subject, packed: &v1::HistorySeries) -> Result<SeriesCells, WireError> {
    let tier = tier(packed.tier_seconds)?;
    let refused = |error: &dyn std::fmt::Display| WireError::Series(error.to_string());
    let text = SeriesText::read(&mut Reader::new(&packed.series)).map_err(|error| refused(&error))?;
    let scope = if packed.of_node { Scope::Node } else { Scope::Cluster };
    let series = Series::kept(text.name, &text.attributes, text.kind, text.unit, text.scale, scope);
    let series = series.map_err(|error| refused(&error))?;
    let starts = unpack_starts(&packed.starts, tier)?;
    let n = starts.len();
    let sums = Listed::of("sums", &packed.sums, n)?;
    let seconds = Listed::of("seconds", &packed.seconds, n)?;
    let nodes = Listed::of("nodes", &packed.nodes, n)?;
    let spreads = Listed::of("spreads", &packed.spreads, n)?;
    let (mins, maxs) = (Listed::of("mins", &packed.mins, n)?, Listed::of("maxs", &packed.maxs, n)?);
    let lasts = Listed::of("lasts", &packed.lasts, n)?;
    let node_mins = Listed::of("node_mins", &packed.node_mins, n)?;
    let node_maxs = Listed::of("node_maxs", &packed.node_maxs, n)?;
    if !packed.histograms.is_empty() && packed.histograms.len() != n {
        return Err(WireError::Length { field: "histograms", found: packed.histograms.len(), wanted: n });
    }
    let mut cells = Vec::with_capacity(n);
    for (at, start) in starts.into_iter().enumerate() {
        let histogram = match packed.histograms.get(at) {
            Some(bytes) if !bytes.is_empty() => Some(Histogram::decode(bytes)?.into()),
            _ => None,
        };
        let (sum, known) = (sums.at(at, 0.0), |value: f64| (!value.is_nan()).then_some(value));
        let cell = Cell {
            seconds: seconds.at(at, 1).clamp(1, tier.seconds()),
            sum,
            spread: spreads.at(at, Cell::second(sum).spread),
            min: mins.at(at, sum),
            max: maxs.at(at, sum),
            last: lasts.at(at, sum),
            nodes: nodes.at(at, 1).max(1),
            node_min: known(node_mins.at(at, f64::NAN)),
            node_max: known(node_maxs.at(at, f64::NAN)),
            histogram,
        };
        cells.push((start, cell));
    }
    Ok(SeriesCells { subject: subject.clone(), series, derived: packed.derived, tier, cells })
}

/// Numbers of cells: one for each, one for all, or none.
struct Listed<'a, T>(&'a [T]);

impl<'a, T: Copy> Listed<'a, T> {
    fn of(field: &'static str, given: &'a [T], wanted: usize) -> Result<Self, WireError> {
        if given.len() > 1 && given.len() != wanted {
            return Err(WireError::Length { field, found: given.len(), wanted });
        }
        Ok(Self(given))
    }

    fn at(&self, at: usize, usual: T) -> T {
        match self.0 {
            [] => usual,
            [all] => *all,
            each => each[at],
        }
    }
}

/// The numbers, or the one that all of them are.
fn listed<T: Copy + PartialEq>(numbers: impl Iterator<Item = T>) -> Vec<T> {
    let all: Vec<T> = numbers.collect();
    match all.first() {
        Some(first) if all.iter().all(|one| one == first) => vec![*first],
        _ => all,
    }
}

/// The same, bit by bit: 0 is not -0.
fn listed_bits(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    listed(numbers.map(f64::to_bits)).into_iter().map(f64::from_bits).collect()
}

fn pack_starts(starts: impl Iterator<Item = u32>, tier: Tier) -> Vec<u32> {
    let mut before = 0;
    let mut difference = |start: u32| {
        let step = start / tier.seconds();
        std::mem::replace(&mut before, step).abs_diff(step)
    };
    starts.map(&mut difference).collect()
}

fn unpack_starts(packed: &[u32], tier: Tier) -> Result<Vec<u32>, WireError> {
    if packed.len() > CELLS_MAX {
        return Err(WireError::Cells(packed.len()));
    }
    let mut step = 0u32;
    let mut starts = Vec::with_capacity(packed.len());
    for (at, difference) in packed.iter().enumerate() {
        step = step.checked_add(*difference).filter(|_| at == 0 || *difference > 0).ok_or(WireError::Starts)?;
        starts.push(step.checked_mul(tier.seconds()).ok_or(WireError::Starts)?);
    }
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use starling_proto::catalogue;

    use super::*;

    fn cell() -> impl Strategy<Value = Cell> {
        let number = prop_oneof![Just(0.0), Just(-0.0), Just(f64::INFINITY), -1e9..1e9];
        let bare = number.clone().prop_map(Cell::second);
        let full = (1u32..10, prop::array::uniform5(number), 1u64..100, prop::option::of(0u64..1000)).prop_map(
            |(seconds, [sum, spread, min, max, last], nodes, values)| Cell {
                seconds,
                sum,
                spread,
                min,
                max,
                last,
                nodes,
                node_min: values.is_some().then_some(min),
                node_max: (nodes > 50).then_some(max),
                histogram: values.map(|n| Histogram::of(n, n).into()),
            },
        );
        prop_oneof![bare, full]
    }

    proptest! {
        #[test]
        fn parts_are_read_as_they_were(cells in prop::collection::btree_map(0u32..400, cell(), 1..40), minutes in prop::collection::btree_map(0u32..400, cell(), 0..40), reporting in 0u32..9) {
            let subject = Subject::parse("node/web-1").unwrap();
            let mut part = Part::default();
            for (tier, cells) in [(Tier::TenSeconds, &cells), (Tier::Minute, &minutes)] {
                if cells.is_empty() {
                    continue;
                }
                let at = |step: &u32| (1_800_000_000 / 60 * 60) + step * tier.seconds();
                for (step, cell) in cells {
                    let coverage = Coverage { seconds: cell.seconds, nodes_reporting: reporting, nodes_expected: 9, dropped: (*step).into() };
                    part.coverage.insert((at(step), tier), coverage);
                }
                part.series.push(SeriesCells {
                    subject: subject.clone(),
                    series: Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
                    derived: false,
                    tier,
                    cells: cells.iter().map(|(step, cell)| (at(step), cell.clone())).collect(),
                });
            }
            let mut read = Part::default();
            for message in messages(&subject, &part) {
                take(&mut read, &subject, &message).unwrap();
            }
            // Debug tells 0 from -0.
            prop_assert_eq!(format!("{read:?}"), format!("{part:?}"));
        }

        #[test]
        fn any_numbers_give_cells_or_an_error(starts in prop::collection::vec(any::<u32>(), 0..5), sums in prop::collection::vec(any::<f64>(), 0..5), seconds in prop::collection::vec(any::<u32>(), 0..5), histograms in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..4), tier in prop_oneof![Just(1u32), Just(3600), any::<u32>()], series in prop::collection::vec(any::<u8>(), 0..30)) {
            let subject = Subject::Cluster;
            let mut name = Vec::new();
            put_series(&mut name, &Series::of(&catalogue::LOAD_1M, &[]));
            for series in [name, series] {
                let steps = v1::HistorySteps { tier_seconds: tier, starts: starts.clone(), seconds: seconds.clone(), ..Default::default() };
                let packed = v1::HistorySeries {
                    series: series.into(),
                    tier_seconds: tier,
                    starts: starts.clone(),
                    sums: sums.clone(),
                    histograms: histograms.iter().map(|bytes| bytes.clone().into()).collect(),
                    ..Default::default()
                };
                let message = v1::HistoryPart { steps: vec![steps], series: vec![packed], ..Default::default() };
                let mut part = Part::default();
                if let Err(error) = take(&mut part, &subject, &message) {
                    prop_assert!(!error.to_string().is_empty());
                }
            }
        }
    }

    #[test]
    fn seconds_of_one_gauge_are_one_number_each() {
        let subject = Subject::parse("node/web-1").unwrap();
        let cells: Vec<_> = (0..900).map(|tick| (tick, Cell::second(f64::from(tick)))).collect();
        let coverage = cells.iter().map(|(tick, _)| ((*tick, Tier::Second), Coverage::second(1, 1, 0))).collect();
        let series = Series::of(&catalogue::LOAD_1M, &[]);
        let series = SeriesCells { subject: subject.clone(), series, derived: false, tier: Tier::Second, cells };
        let sent = messages(&subject, &Part { series: vec![series], coverage });
        assert_eq!(sent.len(), 1);
        let bytes = prost::Message::encoded_len(&sent[0]);
        assert!(bytes < 900 * 11, "{bytes} bytes for 900 seconds");
    }

    #[test]
    fn long_parts_are_cut_into_messages() {
        let subject = Subject::Cluster;
        let cells: Vec<_> = (0..100_000).map(|tick| (tick, Cell::second(f64::from(tick)))).collect();
        let series = Series::of(&catalogue::LOAD_1M, &[]);
        let series = SeriesCells { subject: subject.clone(), series, derived: false, tier: Tier::Second, cells };
        let part = Part { series: vec![series], coverage: BTreeMap::new() };
        let sent = messages(&subject, &part);
        assert!(sent.len() > 1 && sent[..sent.len() - 1].iter().all(|message| message.more));
        assert!(sent.iter().all(|message| prost::Message::encoded_len(message) < 2 * MESSAGE_BYTES));
        let mut read = Part::default();
        sent.iter().for_each(|message| take(&mut read, &subject, message).unwrap());
        assert_eq!(read, part);
    }

    #[test]
    fn conditions_are_refused_with_their_place() {
        let one = |kind: MatchKind, value: &str| v1::AttributeMatcher {
            key: "k".into(),
            kind: kind.into(),
            value: value.into(),
        };
        assert_eq!(matchers("matchers", &[one(MatchKind::NotEqual, "a")]).unwrap().len(), 1);
        let error = matchers("matchers", &[one(MatchKind::Equal, "a"), one(MatchKind::Regex, "(")]).unwrap_err();
        assert!(error.starts_with("matchers[1].value: "), "{error}");
        let odd = v1::AttributeMatcher { kind: 9, ..Default::default() };
        assert_eq!(matchers("matchers", &[odd]).unwrap_err(), "matchers[0].kind: 9 is no kind");
        assert!(matchers("names", &vec![one(MatchKind::Equal, "a"); 17]).unwrap_err().starts_with("names: 17"));
    }
}
