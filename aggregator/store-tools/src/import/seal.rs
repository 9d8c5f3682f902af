//! Seconds of an hour into the store: laid over what is there, sealed and rolled up as live ones are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use starling_history::{Block, BlockBuilder, Cell, Coverage, SecondValue, Selection, Subject, Tier, roll_up};
use starling_proto::{catalogue::Kind, limits::LATE_WINDOW, series::Series};
use starling_store::{BlockKey, BlockRef, ReadError, Store, Subjects, WriteError, overlapping};

use super::{
    fixed::fixed,
    merge::Merged,
    rows::{How, Row, Value},
    spill::HOUR,
};
use crate::damages::Damages;

/// How nodes are called as subjects.
const NODES: &str = "node/";

/// What became of the samples.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Became {
    /// New ones.
    pub(crate) new: u64,
    /// Ones that were there as they are.
    pub(crate) there: u64,
    /// Ones that were there with another value.
    pub(crate) replaced: u64,
    /// Of hours of which only coarser steps are left, which cannot be changed.
    pub(crate) too_old: u64,
    /// Beyond the series of one block, or of a kind that goes against the others.
    pub(crate) left_out: u64,
    /// Hours written.
    pub(crate) hours: u64,
    /// Bytes written.
    pub(crate) bytes: u64,
}

/// Seals hours.
pub(crate) struct Sealer<'a> {
    pub(crate) store: &'a Store,
    /// Unix seconds.
    pub(crate) now: u32,
    /// Whether the cluster is made of its nodes.
    pub(crate) merge: bool,
    /// The last second of the import.
    pub(crate) last: u32,
    pub(crate) became: Became,
    /// Blocks of the hours that were there and cannot be read: what they held is not in what is written.
    pub(crate) damages: Damages,
}

impl Sealer<'_> {
    /// Puts `rows` of the hour that begins at `hour` into the store; they are of `series`.
    pub(crate) fn hour(&mut self, hour: u32, rows: Vec<Row>, series: &[(Subject, Series)]) -> anyhow::Result<()> {
        let mut by_subject: BTreeMap<&Subject, Vec<Row>> = BTreeMap::new();
        for row in rows {
            if let Some((subject, _)) = series.get(row.series as usize) {
                by_subject.entry(subject).or_default().push(row);
            }
        }
        let of_cluster = by_subject.remove(&Subject::Cluster).unwrap_or_default();
        let mut made: BTreeMap<Subject, Vec<Block>> = BTreeMap::new();
        for (subject, rows) in by_subject {
            let there = self.there(subject, Tier::Second, hour)?;
            let blocks = self.subject(subject, hour, rows, series, &there)?;
            if !blocks.is_empty() {
                made.insert(subject.clone(), blocks);
            }
        }
        let mut cluster = self.there(&Subject::Cluster, Tier::Second, hour)?;
        let mut changed: BTreeMap<u32, Block> = BTreeMap::new();
        if self.merge {
            // What the input says of the cluster itself is not made of its nodes.
            let said = of_cluster.iter().filter_map(|row| series.get(row.series as usize)).map(|(_, series)| series);
            for block in self.merged(&made, &cluster, &said.collect())? {
                changed.insert(block.start(), block);
            }
            cluster.retain(|block| !changed.contains_key(&block.start()));
            cluster.extend(changed.values().cloned());
        }
        for block in self.subject(&Subject::Cluster, hour, of_cluster, series, &cluster)? {
            changed.insert(block.start(), block);
        }
        if !changed.is_empty() {
            made.insert(Subject::Cluster, changed.into_values().collect());
        }
        self.write(hour, &made)
    }

    /// The blocks of a subject in an hour, each version that counts; what is damaged is not among them, and counted.
    fn there(&mut self, subject: &Subject, tier: Tier, hour: u32) -> anyhow::Result<Vec<Block>> {
        let blocks = self.found(tier, Subjects::One(&subject.to_string()), hour..hour + HOUR)?;
        let mut all = Vec::new();
        for run in overlapping(&blocks) {
            let blocks = self.read(run)?;
            match &blocks[..] {
                [] => {}
                [only] => all.push(only.clone()),
                several => all.push(Block::join(several).with_context(|| format!("{subject} from {hour}"))?),
            }
        }
        Ok(all)
    }

    /// What is in the indexes; those that are set aside already are counted.
    fn found(&mut self, tier: Tier, subjects: Subjects<'_>, window: Range<u32>) -> anyhow::Result<Vec<BlockRef>> {
        let found = self.store.find(tier.code(), subjects, window);
        // It may be read later: nothing is laid over it until then.
        if let Some(unreadable) = found.unreadable.into_iter().next() {
            return Err(unreadable.error).context("the index of a segment is not read");
        }
        found.bad.iter().for_each(|bad| self.damages.block(bad));
        Ok(found.blocks)
    }

    fn read(&mut self, found: &[BlockRef]) -> anyhow::Result<Vec<Block>> {
        let mut blocks = Vec::with_capacity(found.len());
        for block in found {
            match self.store.read(block) {
                Ok(bytes) => match Block::decode(bytes) {
                    Ok(block) => blocks.push(block),
                    Err(error) => self.damages.not_understood(block, &error),
                },
                Err(ReadError::Corrupt(bad)) => self.damages.block(&bad),
                Err(ReadError::Disk(error)) => return Err(error.into()),
            }
        }
        Ok(blocks)
    }

    /// The windows of a subject that change, as they are then.
    fn subject(
        &mut self,
        subject: &Subject,
        hour: u32,
        mut rows: Vec<Row>,
        series: &[(Subject, Series)],
        there: &[Block],
    ) -> anyhow::Result<Vec<Block>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if self.is_too_old(subject, hour, there)? {
            self.became.too_old += rows.iter().filter(|row| row.how != How::Between).count() as u64;
            return Ok(Vec::new());
        }
        rows.sort_by_key(|row| (row.tick, row.series));
        let window = Tier::Second.block_seconds();
        let mut blocks = Vec::new();
        for rows in rows.chunk_by(|a, b| a.tick / window == b.tick / window) {
            let start = rows[0].tick - rows[0].tick % window;
            let there = there.iter().find(|block| block.start() == start);
            let known = there.map(Known::of).transpose()?.unwrap_or_default();
            let mut seconds = Vec::new();
            for same in rows.chunk_by(|a, b| (a.tick, a.series) == (b.tick, b.series)) {
                let (_, series) = &series[same[0].series as usize];
                let Some(row) = together(same, series.kind()) else {
                    self.became.left_out += same.len() as u64;
                    continue;
                };
                // Several samples of one second are one then.
                let samples = same.iter().filter(|row| row.how != How::Between).count() as u64;
                let (counted, wanted) = match (known.knows(series, &row), row.how) {
                    (Knows::Not, _) => (&mut self.became.new, true),
                    (Knows::Same, _) | (Knows::Other, How::Begins | How::Between) => (&mut self.became.there, false),
                    (Knows::Other, How::Said) => (&mut self.became.replaced, true),
                };
                *counted += samples;
                if wanted {
                    seconds.push((row, series));
                }
            }
            if seconds.is_empty() {
                continue;
            }
            let revision = revision(subject, self.now, there);
            let (block, left_out) =
                block(subject, start, &revision, &seconds).with_context(|| format!("{subject} from {start}"))?;
            self.became.left_out += left_out;
            blocks.push(match there {
                Some(there) => {
                    Block::overlay(&[there.clone(), block]).with_context(|| format!("{subject} from {start}"))?
                }
                None => block,
            });
        }
        Ok(blocks)
    }

    /// Whether coarser steps of the hour know more seconds than are left.
    fn is_too_old(&mut self, subject: &Subject, hour: u32, there: &[Block]) -> anyhow::Result<bool> {
        let held: u32 = there.iter().flat_map(Block::coverage).map(|(_, coverage)| coverage.seconds).sum();
        let inside = |tick: u32| (hour..hour + HOUR).contains(&tick);
        for tier in &Tier::ALL[1..] {
            let coarse = self.there(subject, *tier, hour)?;
            let steps = coarse.iter().flat_map(Block::coverage).filter(|(tick, _)| inside(*tick));
            if steps.map(|(_, coverage)| coverage.seconds).sum::<u32>() > held {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The cluster in the windows of the nodes that changed, unless more nodes are behind what is there.
    fn merged(
        &mut self,
        made: &BTreeMap<Subject, Vec<Block>>,
        cluster: &[Block],
        but: &HashSet<&Series>,
    ) -> anyhow::Result<Vec<Block>> {
        let nodes = || made.iter().filter(|(subject, _)| subject.node().is_some());
        let starts: BTreeSet<u32> = nodes().flat_map(|(_, blocks)| blocks).map(Block::start).collect();
        let mut merged = Vec::new();
        for start in starts {
            let mut sums = Merged::new(start);
            let mut taken = BTreeSet::new();
            for (subject, block) in
                nodes().flat_map(|(subject, blocks)| blocks.iter().map(move |block| (subject, block)))
            {
                if block.start() == start {
                    taken.insert(subject.to_string());
                    sums.add(block, but)?;
                }
            }
            let window = start..start + Tier::Second.block_seconds();
            let found = self.found(Tier::Second, Subjects::Prefix(NODES), window)?;
            for of_node in found.chunk_by(|a, b| a.subject() == b.subject()) {
                if taken.contains(of_node[0].subject()) {
                    continue;
                }
                let blocks = self.read(of_node)?;
                if !blocks.is_empty() {
                    sums.add(&Block::join(&blocks)?, but)?;
                }
            }
            let there = cluster.iter().find(|block| block.start() == start);
            let more: BTreeMap<u32, u32> = there
                .iter()
                .flat_map(|block| block.coverage())
                .map(|(tick, coverage)| (tick, coverage.nodes_reporting))
                .collect();
            let seconds = sums.seconds(|tick, nodes| more.get(&tick).is_none_or(|more| *more <= nodes));
            if seconds.is_empty() {
                continue;
            }
            let revision = revision(&Subject::Cluster, self.now, there);
            let built =
                Merged::block(start, &revision, &seconds).with_context(|| format!("the cluster from {start}"))?;
            merged.push(match there {
                Some(there) => Block::overlay(&[there.clone(), built])?,
                None => built,
            });
        }
        Ok(merged)
    }

    /// Writes the seconds, and the coarser steps of an hour that is over.
    fn write(&mut self, hour: u32, made: &BTreeMap<Subject, Vec<Block>>) -> anyhow::Result<()> {
        let mut windows: BTreeMap<u32, Vec<&Block>> = BTreeMap::new();
        // Of the last day as live ones are, so that retention takes them window by window; before it fewer files.
        let by_window = hour.saturating_add(24 * HOUR) > self.last;
        for block in made.values().flatten() {
            windows.entry(if by_window { block.start() } else { hour }).or_default().push(block);
        }
        if windows.is_empty() {
            return Ok(());
        }
        self.became.hours += 1;
        for (start, blocks) in windows {
            let end = blocks.iter().map(|block| block.start() + block.seconds()).max().unwrap_or(start);
            self.segment(Tier::Second, start..end, blocks.into_iter().map(row))?;
        }
        if hour.saturating_add(HOUR + LATE_WINDOW + 60) > self.now {
            // The aggregator does it when the hour is final.
            return Ok(());
        }
        for (finer, tier) in Tier::ALL.iter().zip(&Tier::ALL[1..]) {
            let mut rows = Vec::with_capacity(made.len());
            for subject in made.keys() {
                let blocks = self.there(subject, *finer, hour)?;
                let rolled = roll_up(&blocks, *tier, hour).with_context(|| format!("{subject} from {hour}"))?;
                rows.push(row(&rolled));
            }
            self.segment(*tier, hour..hour + HOUR, rows.into_iter())?;
        }
        Ok(())
    }

    fn segment(
        &mut self,
        tier: Tier,
        window: Range<u32>,
        rows: impl Iterator<Item = (BlockKey, u64, Bytes)>,
    ) -> anyhow::Result<()> {
        let mut bytes = 0;
        let rows = rows.inspect(|(_, _, body)| bytes += body.len() as u64);
        match self.store.write_segment(tier.code(), window, rows) {
            Ok(_) | Err(WriteError::NoBlocks) => {}
            Err(error) => return Err(error.into()),
        }
        self.became.bytes += bytes;
        Ok(())
    }
}

/// A block for the store.
fn row(block: &Block) -> (BlockKey, u64, Bytes) {
    let key = BlockKey { subject: block.subject().to_string().into(), start: block.start(), seconds: block.seconds() };
    (key, block.revision(), block.encode())
}

/// Gives the revision of a second by the nodes behind it: as that of live seconds, and above what is there.
fn revision(subject: &Subject, now: u32, there: Option<&Block>) -> impl Fn(u32) -> u64 + use<> {
    let (merged, known) = (subject.is_merged(), there.map_or(0, Block::revision));
    move |nodes| {
        let own = if merged { u64::from(nodes) << 32 | u64::from(now) } else { now.into() };
        own.max(known + 1)
    }
}

/// What several samples of a series say of one second: growth adds up, of levels the last one counts.
fn together(rows: &[Row], kind: Kind) -> Option<Row> {
    let mut whole = rows[0].clone();
    for row in &rows[1..] {
        let how = if whole.how == How::Said || row.how == How::Said { How::Said } else { whole.how };
        whole.value = match (whole.value, &row.value) {
            (Value::Number { sum: a, nodes, min, max }, Value::Number { sum: b, .. }) if kind == Kind::Counter => {
                Value::Number { sum: a + b, nodes, min: min + b, max: max + b }
            }
            (Value::Number { .. }, value @ Value::Number { .. }) => value.clone(),
            (Value::Histogram(a, nodes), Value::Histogram(b, _)) => Value::Histogram(Arc::new(a.plus(b).ok()?), nodes),
            _ => return None,
        };
        whole.how = how;
    }
    let fits = matches!(whole.value, Value::Histogram(..)) == (kind == Kind::Histogram);
    fits.then_some(whole)
}

/// What is there of a window.
#[derive(Default)]
struct Known {
    cells: HashMap<Series, BTreeMap<u32, Cell>>,
    /// Seconds that are there, not filled.
    seconds: BTreeSet<u32>,
}

/// What is known of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knows {
    Not,
    Same,
    Other,
}

impl Known {
    fn of(block: &Block) -> anyhow::Result<Self> {
        let mut known = Self::default();
        let there = block.coverage().filter(|(_, coverage)| coverage.seconds > 0);
        known.seconds.extend(there.map(|(tick, _)| tick));
        let selection = Selection::all(block.start(), block.start() + (block.seconds() - 1));
        for one in block.read(&selection)?.into_iter().filter(|one| !one.derived) {
            known.cells.insert(one.series, one.cells.into_iter().collect());
        }
        Ok(known)
    }

    fn knows(&self, series: &Series, row: &Row) -> Knows {
        let Some(cell) = self.cells.get(series).and_then(|cells| cells.get(&row.tick)) else { return Knows::Not };
        if row.how != How::Between && !self.seconds.contains(&row.tick) {
            return Knows::Not;
        }
        let same = match &row.value {
            Value::Number { sum, .. } => cell.sum.to_bits() == sum.to_bits(),
            Value::Histogram(histogram, _) => {
                cell.histogram.as_deref().map_or(histogram.is_empty(), |known| *known == **histogram)
            }
        };
        if same { Knows::Same } else { Knows::Other }
    }
}

/// One series in one second.
type Second<'a> = (Row, &'a Series);

/// A block of seconds that ascend; and how many values had no place in it.
fn block(
    subject: &Subject,
    start: u32,
    revision: &impl Fn(u32) -> u64,
    seconds: &[Second<'_>],
) -> anyhow::Result<(Block, u64)> {
    let whole: HashMap<&Series, bool> = seconds.iter().fold(HashMap::new(), |mut all, (row, series)| {
        let fits = match &row.value {
            Value::Number { sum, min, max, .. } => [sum, min, max].iter().all(|value| fixed(series, **value).is_some()),
            Value::Histogram(..) => true,
        };
        all.entry(*series).and_modify(|known| *known &= fits).or_insert(fits);
        all
    });
    let mut builder = BlockBuilder::new(subject.clone(), start);
    for same in seconds.chunk_by(|a, b| a.0.tick == b.0.tick) {
        let said = same.iter().filter(|(row, _)| row.how != How::Between);
        let nodes = said.map(|(row, _)| nodes_of(&row.value)).max().unwrap_or(0);
        let mut values: Vec<(&Series, SecondValue<'_>)> = same
            .iter()
            .map(|(row, series)| (*series, value(series, &row.value, whole.get(series).copied().unwrap_or(false))))
            .collect();
        values.sort_by(|a, b| a.0.cmp(b.0));
        builder.push(same[0].0.tick, revision(nodes), Coverage::second(nodes, nodes.max(1), 0), values)?;
    }
    let left_out = builder.left_out();
    Ok((builder.seal()?, left_out))
}

fn nodes_of(value: &Value) -> u32 {
    match value {
        Value::Number { nodes, .. } | Value::Histogram(_, nodes) => (*nodes).max(1),
    }
}

fn value<'a>(series: &Series, value: &'a Value, whole: bool) -> SecondValue<'a> {
    match value {
        Value::Histogram(histogram, nodes) => SecondValue::Histogram { histogram, nodes: (*nodes).max(1) },
        Value::Number { sum, nodes, min, max } => {
            let nodes = (*nodes).max(1);
            let (sum, min, max) = (*sum, *min, *max);
            let fixed = |value| fixed(series, value);
            match (whole, fixed(sum), fixed(min), fixed(max)) {
                (true, Some(sum), ..) if series.kind() == Kind::Counter => {
                    SecondValue::Counter { sum: sum.into(), nodes }
                }
                (true, Some(sum), Some(min), Some(max)) => {
                    SecondValue::Gauge { sum: sum.into(), nodes, min, max, distribution: None }
                }
                _ => SecondValue::Float { sum, nodes, min, max },
            }
        }
    }
}
