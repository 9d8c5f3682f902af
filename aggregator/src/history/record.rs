//! What stands in the log of an aggregator, and how it is read back. Pure.
//!
//! Kind 1 was node seconds whose gauges were differences from the first row of a block on.
//!
//! Every record of history begins with a varint, the number of its *epoch*: names are written once in an epoch and used by
//! number in it. Numbers ascend from 0 and every definition says its own, so that a record which is lost takes nothing
//! with it but what it said itself.
//!
//! ```text
//! 5 node seconds     epoch, node, start of the block / 300, number of the first row, varint n, then of each row:
//!                    varint offset, layout, varint dropped, varint length and bytes of the row
//! 2 ledger entry     a run of a log, `Entries` of peer.proto; alone it has no epoch
//! 3 cluster second   epoch, varint tick, rank, nodes reporting, nodes expected, cells skipped, varint n and
//!                    n times group and its frames, sums by the rollup codec
//! 6 settled          varint tick: answers went up to this second, of which the cluster has nothing yet; without an epoch
//! 4 names            epoch, then to the end: 1 byte what, its number, and
//!                    0 node: name    1 group: name    2 series: 1 byte scope, series as in a frame
//!                    3 layout: varint n and n series of cluster scope, varint n and n of node scope
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use starling_ledger::{
    Coverage, TickView,
    rollup::{self, Census, Definitions, NumberedCell, NumberedSums, Sums},
};
use starling_proto::{
    catalogue::Scope,
    frame::{put_series, read_series},
    group::Group,
    ids::NodeId,
    interner::{Interned, Interner, Layout, Resolve as _},
    limits,
    series::Series,
    varint::{self, Reader, VarintError},
};

use crate::blocks::{BLOCK_SECONDS, LogPlace, LogRow, LogRows};

/// What a record of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    /// Seconds of one node.
    NodeSeconds = 5,
    /// An entry of a ledger; the history does not read it.
    LedgerEntry = 2,
    /// A settled second of the cluster and its groups.
    ClusterSecond = 3,
    /// Names that the others use by number.
    Names = 4,
    /// Up to which second it was answered, where no second of the cluster says so.
    Settled = 6,
}

impl RecordKind {
    const ALL: [Self; 5] = [Self::NodeSeconds, Self::LedgerEntry, Self::ClusterSecond, Self::Names, Self::Settled];

    /// The kind of a number.
    pub(crate) fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// Rows of a node go into one record up to so many bytes. A row is at most a frame, 256 KiB.
const ROWS_BYTES: usize = 1024 * 1024;
/// Names of nodes and groups.
const TEXT_MAX: usize = 1024;

const NODE: u8 = 0;
const GROUP: u8 = 1;
const SERIES: u8 = 2;
const LAYOUT: u8 = 3;

/// Why a record cannot be used. Nothing else is affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// A kind that this version does not know.
    #[error("a record of kind {0}")]
    Kind(u8),
    /// Its names stand in a record that is gone.
    #[error("a record that uses a name which is not in the log")]
    Unnamed,
    /// It does not say what it should.
    #[error("a record that is not understood: {0}")]
    Odd(String),
    /// A number is cut or too long.
    #[error("a record is damaged: {0}")]
    Number(#[from] VarintError),
}

fn odd(what: impl std::fmt::Display) -> RecordError {
    RecordError::Odd(what.to_string())
}

/// Makes records; see the module. Names are those of the epoch.
#[derive(Debug, Default)]
pub(crate) struct RecordWriter {
    epoch: u64,
    nodes: HashMap<NodeId, u32>,
    groups: HashMap<Group, u32>,
    series: HashMap<Series, u32>,
    /// By address; kept, so that no other layout gets it.
    layouts: HashMap<[usize; 2], (u32, [Arc<Layout>; 2])>,
    /// Definitions that are in no record yet.
    names: Vec<u8>,
    records: Vec<(RecordKind, Vec<u8>)>,
    rows: Vec<WrittenRow>,
}

/// A row of a node in a record.
#[derive(Debug, Clone)]
pub(crate) struct WrittenRow {
    /// Number of the record among those that were taken with it.
    pub(crate) record: usize,
    /// Where its bytes begin in the payload.
    pub(crate) offset: usize,
    /// They.
    pub(crate) bytes: Arc<[u8]>,
}

/// What was written since the last time.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The records, in their order.
    pub(crate) records: Vec<(RecordKind, Vec<u8>)>,
    /// The rows of nodes in them, in the order in which they were given.
    pub(crate) rows: Vec<WrittenRow>,
}

impl RecordWriter {
    /// Of an epoch that no other in the log has the number of.
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Writes rows of one block of a node.
    pub(crate) fn node(&mut self, node: &NodeId, rows: &LogRows) {
        let number = numbered(&mut self.nodes, node, NODE, &mut self.names, |out, node| {
            varint::put_bytes(out, node.as_str().as_bytes());
        });
        let mut first = rows.first;
        let mut rest = &rows.rows[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take_while(|row| {
                bytes += row.bytes.len();
                bytes <= ROWS_BYTES
            });
            let (some, after) = rest.split_at(fit.count().max(1));
            let mut record = Vec::with_capacity(bytes.min(ROWS_BYTES) + 16 * some.len() + 32);
            let head =
                [self.epoch, number.into(), (rows.start / BLOCK_SECONDS).into(), first.into(), some.len() as u64];
            head.into_iter().for_each(|part| varint::put(&mut record, part));
            let before = self.rows.len();
            for LogRow { offset, dropped, layouts, bytes, .. } in some {
                let layout = self.layout(layouts);
                for part in [u32::from(*offset), layout, *dropped] {
                    varint::put(&mut record, part.into());
                }
                varint::put_bytes(&mut record, bytes);
                let offset = record.len() - bytes.len();
                self.rows.push(WrittenRow { record: 0, offset, bytes: bytes.clone() });
            }
            self.push(RecordKind::NodeSeconds, record);
            let record = self.records.len() - 1;
            self.rows[before..].iter_mut().for_each(|row| row.record = record);
            first += some.len() as u32;
            rest = after;
        }
    }

    /// Writes a second of the cluster.
    pub(crate) fn cluster(&mut self, view: &TickView) {
        self.second(view.tick, [view.rank(), view.skipped_cells], view.coverage, &view.sums());
    }

    fn second(&mut self, tick: u32, [rank, skipped]: [u32; 2], coverage: Coverage, sums: &Sums) {
        let Coverage { reporting, expected } = coverage;
        let mut record = Vec::new();
        varint::put(&mut record, self.epoch);
        let groups = sums.groups().count() as u32;
        for part in [tick, rank, reporting, expected, skipped, groups] {
            varint::put(&mut record, part.into());
        }
        for group in sums.groups() {
            let frames = sums.census(group).map_or(0, Census::frames);
            for part in [self.group(group), frames] {
                varint::put(&mut record, part.into());
            }
        }
        let mut cells = Vec::with_capacity(sums.len());
        for (group, series, cell) in sums.iter() {
            let group = self.group(group);
            let series = numbered(&mut self.series, series, SERIES, &mut self.names, put_scoped);
            cells.push(NumberedCell { group, series, cell: cell.clone() });
        }
        record.extend(NumberedSums::of(cells).encode());
        self.push(RecordKind::ClusterSecond, record);
    }

    /// Writes that all seconds up to `tick` are settled.
    pub(crate) fn settled(&mut self, tick: u32) {
        let mut record = Vec::new();
        varint::put(&mut record, tick.into());
        self.push(RecordKind::Settled, record);
    }

    fn group(&mut self, group: &Group) -> u32 {
        numbered(&mut self.groups, group, GROUP, &mut self.names, |out, group| {
            varint::put_bytes(out, group.name().as_bytes());
        })
    }

    fn layout(&mut self, layouts: &[Arc<Layout>; 2]) -> u32 {
        let address = layouts.each_ref().map(|layout| Arc::as_ptr(layout) as usize);
        if let Some((number, _)) = self.layouts.get(&address) {
            return *number;
        }
        let mut definition = Vec::new();
        for layout in layouts {
            varint::put(&mut definition, layout.series().len() as u64);
            for one in layout.series() {
                let number = numbered(&mut self.series, one.series(), SERIES, &mut self.names, put_scoped);
                varint::put(&mut definition, number.into());
            }
        }
        let number = self.layouts.len() as u32;
        self.names.push(LAYOUT);
        varint::put(&mut self.names, number.into());
        self.names.extend(definition);
        self.layouts.insert(address, (number, layouts.clone()));
        number
    }

    /// The names it uses stand before it.
    fn push(&mut self, kind: RecordKind, record: Vec<u8>) {
        if !self.names.is_empty() {
            let mut names = Vec::with_capacity(self.names.len() + 8);
            varint::put(&mut names, self.epoch);
            names.append(&mut self.names);
            self.records.push((RecordKind::Names, names));
        }
        self.records.push((kind, record));
    }

    /// What was written since the last call.
    pub(crate) fn take(&mut self) -> Written {
        Written { records: std::mem::take(&mut self.records), rows: std::mem::take(&mut self.rows) }
    }
}

fn put_scoped(out: &mut Vec<u8>, series: &Series) {
    out.push(u8::from(series.scope() == Scope::Node));
    put_series(out, series);
}

/// The number of a name; a new one is defined in `names`.
fn numbered<T: Clone + Eq + std::hash::Hash>(
    known: &mut HashMap<T, u32>,
    name: &T,
    what: u8,
    names: &mut Vec<u8>,
    put: impl Fn(&mut Vec<u8>, &T),
) -> u32 {
    if let Some(number) = known.get(name) {
        return *number;
    }
    let number = known.len() as u32;
    names.push(what);
    varint::put(names, number.into());
    put(names, name);
    known.insert(name.clone(), number);
    number
}

/// What a record says.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// Rows of a node.
    Node(NodeId, LogRows),
    /// The second of a tick is among the [`Recalled`].
    Cluster(u32),
    /// Names, or what is not of the history.
    Nothing,
}

/// A second of the cluster as the log has it.
#[derive(Debug)]
struct Recall {
    epoch: u64,
    rank: u32,
    coverage: Coverage,
    skipped: u32,
    /// Frames by group, and the sums.
    rest: Bytes,
}

/// A second of the cluster that was read again.
#[derive(Debug, Clone)]
pub(crate) struct RecalledSecond {
    /// As [`TickView::rank`].
    pub(crate) rank: u32,
    /// Nodes behind it.
    pub(crate) coverage: Coverage,
    /// Cells that are missing in the sums.
    pub(crate) skipped: u32,
    /// Frames behind each group.
    pub(crate) frames_of: BTreeMap<Group, u32>,
    /// By group and series.
    pub(crate) sums: Arc<Sums>,
}

/// Seconds of the cluster from the log, still packed.
#[derive(Debug, Default)]
pub(crate) struct Recalled {
    seconds: BTreeMap<u32, Recall>,
    epochs: HashMap<u64, Tables>,
    /// The largest one that a record of its own says.
    settled: Option<u32>,
}

/// The names of one epoch by number; a number that no record defined is free.
#[derive(Debug, Default)]
struct Tables {
    nodes: HashMap<u32, NodeId>,
    groups: HashMap<u32, Group>,
    series: HashMap<u32, Series>,
    layouts: HashMap<u32, [Arc<Layout>; 2]>,
}

impl Definitions for Tables {
    fn series(&self, number: u32) -> Option<&Series> {
        self.series.get(&number)
    }

    fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(&number)
    }
}

impl Recalled {
    /// Reads one record of the log, whose payload begins at `at`; `names` are those of the process.
    ///
    /// # Errors
    /// [`RecordError`]; the records after it are read all the same.
    pub(crate) fn read(
        &mut self,
        code: u8,
        payload: &[u8],
        at: LogPlace,
        names: &Interner,
    ) -> Result<Said, RecordError> {
        let kind = RecordKind::of(code).ok_or(RecordError::Kind(code))?;
        if kind == RecordKind::LedgerEntry {
            return Ok(Said::Nothing);
        }
        let mut reader = Reader::new(payload);
        if kind == RecordKind::Settled {
            self.settled = self.settled.max(Some(number(&mut reader)?));
            return Ok(Said::Nothing);
        }
        let epoch = reader.u64()?;
        let tables = self.epochs.entry(epoch).or_default();
        match kind {
            RecordKind::LedgerEntry | RecordKind::Settled => {}
            RecordKind::Names => tables.read(&mut reader, names)?,
            RecordKind::NodeSeconds => {
                let (node, rows) = tables.rows(&mut reader, (payload.len(), at))?;
                return Ok(Said::Node(node, rows));
            }
            RecordKind::ClusterSecond => {
                let tick = number(&mut reader)?;
                let rank = number(&mut reader)?;
                let coverage = Coverage { reporting: number(&mut reader)?, expected: number(&mut reader)? };
                let skipped = number(&mut reader)?;
                // Of one second that of the highest rank says most; of equals the later one.
                if self.seconds.get(&tick).is_none_or(|known| known.rank <= rank) {
                    let rest = Bytes::copy_from_slice(reader.rest());
                    self.seconds.insert(tick, Recall { epoch, rank, coverage, skipped, rest });
                }
                return Ok(Said::Cluster(tick));
            }
        }
        Ok(Said::Nothing)
    }

    /// Rank of a second; `None` when it is not among them.
    pub(crate) fn rank(&self, tick: u32) -> Option<u32> {
        Some(self.seconds.get(&tick)?.rank)
    }

    /// A second; `None` when it is not among them, or cannot be read.
    pub(crate) fn second(&self, tick: u32) -> Option<RecalledSecond> {
        let Recall { epoch, rank, coverage, skipped, rest } = self.seconds.get(&tick)?;
        let tables = self.epochs.get(epoch)?;
        let mut reader = Reader::new(rest);
        let mut frames_of = BTreeMap::new();
        for _ in 0..reader.u64().ok()? {
            let (group, frames) = (number(&mut reader).ok()?, number(&mut reader).ok()?);
            if let Some(group) = tables.groups.get(&group) {
                frames_of.insert(group.clone(), frames);
            }
        }
        let (sums, without_name) = rollup::decode(reader.rest()).ok()?.resolve(tables);
        let skipped = skipped.saturating_add(without_name);
        let sums = Arc::new(sums);
        Some(RecalledSecond { rank: *rank, coverage: *coverage, skipped, frames_of, sums })
    }

    /// The seconds there are, ascending.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = u32> + '_ {
        self.seconds.keys().copied()
    }

    /// The newest second that was settled when the log was written.
    pub(crate) fn settled(&self) -> Option<u32> {
        self.settled.max(self.ticks().last())
    }

    /// Forgets seconds before `tick`.
    pub(crate) fn forget_before(&mut self, tick: u32) {
        self.seconds = self.seconds.split_off(&tick);
        let used = |epoch: &u64| self.seconds.values().any(|second| second.epoch == *epoch);
        self.epochs.retain(|epoch, _| used(epoch));
    }
}

impl Tables {
    fn read(&mut self, reader: &mut Reader<'_>, names: &Interner) -> Result<(), RecordError> {
        while !reader.is_empty() {
            let what = reader.byte()?;
            let at = number(reader)?;
            match what {
                NODE => drop(self.nodes.insert(at, NodeId::parse(text(reader)?).map_err(odd)?)),
                GROUP => drop(self.groups.insert(at, Group::parse(text(reader)?).map_err(odd)?)),
                SERIES => {
                    let scope = if reader.byte()? == 0 { Scope::Cluster } else { Scope::Node };
                    self.series.insert(at, read_series(reader, scope).map_err(odd)?);
                }
                LAYOUT => {
                    let layouts = [self.layout(reader, names)?, self.layout(reader, names)?];
                    if let [Some(cluster), Some(node)] = layouts {
                        self.layouts.insert(at, [cluster, node]);
                    }
                }
                what => return Err(odd(format_args!("a name of form {what}"))),
            }
        }
        Ok(())
    }

    /// `None` when a series of it is not named, or the table of the process has no room for it.
    fn layout(&self, reader: &mut Reader<'_>, names: &Interner) -> Result<Option<Arc<Layout>>, RecordError> {
        let count = reader.u64()?;
        if count > limits::DICTIONARY_MAX as u64 {
            return Err(odd(format_args!("a layout of {count} series")));
        }
        let numbers = (0..count).map(|_| number(reader)).collect::<Result<Vec<u32>, _>>()?;
        let interned = |number: &u32| names.intern(self.series.get(number)?);
        let series: Option<Vec<Interned>> = numbers.iter().map(interned).collect();
        Ok(series.map(|series| names.layout(series)))
    }

    /// Rows of a payload of `length` bytes that begins at `at`.
    fn rows(&self, reader: &mut Reader<'_>, (length, at): (usize, LogPlace)) -> Result<(NodeId, LogRows), RecordError> {
        let node = self.nodes.get(&number(reader)?).cloned().ok_or(RecordError::Unnamed)?;
        let start = number(reader)?.checked_mul(BLOCK_SECONDS).ok_or_else(|| odd("a block beyond all time"))?;
        let first = number(reader)?;
        let count = reader.u64()?;
        if count > u64::from(BLOCK_SECONDS) {
            return Err(odd(format_args!("{count} rows of one block")));
        }
        let mut rows = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let offset = u16::try_from(reader.u64()?).map_err(odd)?;
            let layouts = self.layouts.get(&number(reader)?).cloned().ok_or(RecordError::Unnamed)?;
            let dropped = number(reader)?;
            let bytes: Arc<[u8]> = reader.bytes(limits::MESSAGE_BYTES_MAX * 4)?.into();
            let begins = length.saturating_sub(reader.rest().len() + bytes.len());
            let place = Some(LogPlace { offset: at.offset + begins as u64, ..at });
            rows.push(LogRow { offset, dropped, layouts, bytes, place });
        }
        if reader.is_empty() { Ok((node, LogRows { start, first, rows })) } else { Err(odd("bytes after its end")) }
    }
}

fn number(reader: &mut Reader<'_>) -> Result<u32, RecordError> {
    u32::try_from(reader.u64()?).map_err(odd)
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, RecordError> {
    std::str::from_utf8(reader.bytes(TEXT_MAX)?).map_err(odd)
}

#[cfg(test)]
mod tests {
    use starling_proto::{
        catalogue,
        frame::{Content, Decoder, Encoder, Second},
        series::{Sample, Value},
    };

    use super::*;
    use crate::blocks::{Backing, History};

    fn contents(ticks: std::ops::Range<u32>) -> Vec<Content> {
        let sample = |metric, attributes: &[(&str, &str)], value| Sample {
            series: Series::of(metric, attributes),
            value: Value::Gauge(value),
        };
        ticks
            .map(|tick| {
                let mut samples = vec![
                    sample(&catalogue::UPTIME, &[], tick.into()),
                    sample(&catalogue::LOAD_1M, &[], (tick * 7 % 13).into()),
                ];
                if tick % 50 > 20 {
                    samples.push(sample(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "1")], 4_000));
                }
                Content { tick, samples, dropped: tick % 3 }
            })
            .collect()
    }

    fn history(contents: &[Content], names: &Interner) -> History {
        let (mut encoder, mut decoder, mut history) = (Encoder::new(), Decoder::new(), History::default());
        for content in contents {
            let frame = decoder.decode(&encoder.encode(content, None, false), names).unwrap();
            assert!(history.push(&frame.second, &frame.sparse));
        }
        history
    }

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    /// Records by the number of their file.
    #[derive(Debug)]
    struct Files(Vec<Vec<u8>>);

    impl Backing for Files {
        fn row(&self, place: LogPlace, length: usize) -> Option<Vec<u8>> {
            let payload = self.0.get(place.file as usize)?;
            Some(payload.get(place.offset as usize..)?.get(..length)?.to_vec())
        }

        fn kept(&self, _: &NodeId, _: u32, _: u32) -> Vec<Second> {
            Vec::new()
        }
    }

    /// What a log brings back of each node; memory holds nothing of it.
    fn read(records: &[(RecordKind, Vec<u8>)], names: &Interner) -> (BTreeMap<NodeId, Vec<Content>>, usize) {
        let (mut recalled, mut nodes, mut odd) = (Recalled::default(), BTreeMap::<NodeId, History>::new(), 0);
        for (file, (kind, payload)) in records.iter().enumerate() {
            match recalled.read(*kind as u8, payload, LogPlace { file: file as u64, offset: 0 }, names) {
                Ok(Said::Node(node, rows)) => drop(nodes.entry(node).or_default().restore(rows)),
                Ok(_) => {}
                Err(_) => odd += 1,
            }
        }
        let files: Arc<dyn Backing> = Arc::new(Files(records.iter().map(|(_, payload)| payload.clone()).collect()));
        (nodes.into_iter().map(|(node, history)| (node, seconds(&history, Some(&files)))).collect(), odd)
    }

    fn seconds(history: &History, log: Option<&Arc<dyn Backing>>) -> Vec<Content> {
        history.slice(0, 1_000).of(&node("any"), log).seconds().iter().map(|one| one.content()).collect()
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_epoch_and_a_lost_record_changes_nothing_else() {
        let names = Interner::default();
        let all = contents(550..700);
        let mut records = Vec::new();
        let mut nodes = [("web-1", history(&all[..40], &names)), ("web-2", history(&all, &names))];
        for (epoch, halves) in [(5, [true, false]), (9, [true, true])] {
            let mut writer = RecordWriter::new(epoch);
            for (at, (name, history)) in nodes.iter_mut().enumerate() {
                if halves[at] {
                    history.unlogged().iter().for_each(|rows| writer.node(&node(name), rows));
                }
            }
            let Written { records: some, rows } = writer.take();
            assert!(rows.iter().all(|row| some[row.record].1[row.offset..].starts_with(&row.bytes)));
            records.extend(some);
            assert!(writer.take().records.is_empty());
        }
        let theirs = Interner::default();
        let (back, odd) = read(&records, &theirs);
        assert_eq!((odd, back.len()), (0, 2));
        for (name, history) in &nodes {
            assert_eq!(back[&node(name)], seconds(history, None));
        }
        for lost in 0..records.len() {
            let mut rest = records.clone();
            rest.remove(lost);
            for (name, contents) in read(&rest, &theirs).0 {
                let whole: BTreeMap<u32, &Content> =
                    back[&name].iter().map(|content| (content.tick, content)).collect();
                assert!(contents.iter().all(|content| whole.get(&content.tick) == Some(&content)), "{name}");
            }
        }
        let at = LogPlace { file: 0, offset: 0 };
        // Bytes that are cut or changed are refused, or say something else; they never panic.
        for (kind, payload) in &records {
            for end in 0..payload.len().min(200) {
                let mut changed = payload.clone();
                changed[end] ^= 0x55;
                for bytes in [&payload[..end], &changed] {
                    let _ = Recalled::default().read(*kind as u8, bytes, at, &theirs);
                    let mut after = records.clone();
                    after[0] = (*kind, bytes.to_vec());
                    read(&after[..2], &theirs);
                }
            }
        }
        assert_eq!(Recalled::default().read(77, &[], at, &theirs), Err(RecordError::Kind(77)));
        assert_eq!(Recalled::default().read(2, &[1, 2], at, &theirs), Ok(Said::Nothing), "of the ledger");
    }

    #[test]
    fn a_second_of_the_cluster_is_read_again_and_the_one_of_the_highest_rank_counts() {
        let mut sums = Sums::new();
        let groups = [Group::of("zone", "a").unwrap()];
        for content in contents(600..603) {
            sums.add_samples(&groups, &content.samples).unwrap();
        }
        let mut recalled = Recalled::default();
        let names = Interner::default();
        for (epoch, frames) in [(1u64, 3u32), (2, 1)] {
            let mut writer = RecordWriter::new(epoch);
            let sums = if frames == 3 { sums.clone() } else { Sums::new() };
            writer.second(600, [frames, 0], Coverage { reporting: frames, expected: 4 }, &sums);
            for (kind, payload) in writer.take().records {
                recalled.read(kind as u8, &payload, LogPlace { file: 0, offset: 0 }, &names).unwrap();
            }
        }
        let second = recalled.second(600).unwrap();
        assert_eq!((second.rank, second.coverage, &*second.sums), (3, Coverage { reporting: 3, expected: 4 }, &sums));
        assert_eq!((recalled.rank(600), recalled.rank(601)), (Some(3), None));
        recalled.forget_before(601);
        assert_eq!((recalled.ticks().count(), recalled.epochs.len()), (0, 0));
    }
}
