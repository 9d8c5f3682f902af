//! Samples by the hour they belong to: in memory, and beyond a bound in files of a temporary folder.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::Context as _;
use starling_proto::{
    histogram::Histogram,
    varint::{self, Reader},
};
use tempfile::TempDir;

use super::said::Amount;

/// Bytes of samples in memory; about four million of them.
const MEMORY_BYTES: usize = 64 << 20;
/// Bytes of samples of one hour: it is worked on as a whole, in about four times as much memory.
const HOUR_BYTES: u64 = 1 << 30;
/// Seconds of an hour.
pub(crate) const HOUR: u32 = 3_600;

/// A sample of a component.
pub(crate) struct Sample {
    /// Number of the component.
    pub(crate) component: u32,
    pub(crate) ms: i64,
    pub(crate) amount: Amount,
}

/// The second a time belongs to: the one that ends at it or after it, as a node reports the second before each tick.
pub(crate) fn tick_of(ms: i64) -> Option<u32> {
    u32::try_from(ms.checked_add(999)?.div_euclid(1_000)).ok().filter(|tick| *tick > 0)
}

/// See the module.
pub(crate) struct Spill {
    hours: BTreeMap<u32, Hour>,
    bytes: usize,
    folder: Option<TempDir>,
}

#[derive(Default)]
struct Hour {
    open: Vec<u8>,
    written: u64,
}

impl Spill {
    pub(crate) fn new() -> Self {
        Self { hours: BTreeMap::new(), bytes: 0, folder: None }
    }

    /// Adds a sample of the second `tick`; files go below `beside`.
    pub(crate) fn add(&mut self, beside: &Path, tick: u32, sample: &Sample) -> anyhow::Result<()> {
        let hour = self.hours.entry(tick - tick % HOUR).or_default();
        let before = hour.open.len();
        put(&mut hour.open, sample);
        self.bytes += hour.open.len() - before;
        let bytes = hour.written + hour.open.len() as u64;
        if bytes > HOUR_BYTES {
            anyhow::bail!(
                "the hour from {} has more samples than are taken at once ({HOUR_BYTES} bytes): import fewer series at once",
                tick - tick % HOUR
            );
        }
        if self.bytes > MEMORY_BYTES {
            self.write(beside)?;
        }
        Ok(())
    }

    fn write(&mut self, beside: &Path) -> anyhow::Result<()> {
        if self.folder.is_none() {
            let folder = tempfile::Builder::new().prefix("import-").tempdir_in(beside);
            self.folder = Some(folder.with_context(|| format!("no temporary folder in {}", beside.display()))?);
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        for (start, hour) in &mut self.hours {
            if !hour.open.is_empty() {
                let path = folder.path().join(start.to_string());
                let file = OpenOptions::new().create(true).append(true).open(&path);
                file.and_then(|mut file| file.write_all(&hour.open))
                    .with_context(|| format!("cannot write {}", path.display()))?;
                hour.written += hour.open.len() as u64;
                hour.open = Vec::new();
            }
        }
        self.bytes = 0;
        Ok(())
    }

    /// The hours there are, ascending, with their bytes.
    pub(crate) fn hours(&self) -> Vec<(u32, u64)> {
        self.hours.iter().map(|(start, hour)| (*start, hour.written + hour.open.len() as u64)).collect()
    }

    /// Takes the samples of an hour, in the order they came.
    pub(crate) fn take(&mut self, start: u32) -> anyhow::Result<Vec<Sample>> {
        let Some(hour) = self.hours.remove(&start) else { return Ok(Vec::new()) };
        self.bytes = self.bytes.saturating_sub(hour.open.len());
        let mut bytes = Vec::new();
        if let (Some(folder), true) = (&self.folder, hour.written > 0) {
            let path = folder.path().join(start.to_string());
            bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            // Its space is wanted for what it becomes.
            let _ = fs::remove_file(&path);
        }
        bytes.extend_from_slice(&hour.open);
        let mut reader = Reader::new(&bytes);
        let mut samples = Vec::new();
        while !reader.is_empty() {
            samples.push(read(&mut reader).context("a temporary file is damaged")?);
        }
        Ok(samples)
    }
}

fn put(out: &mut Vec<u8>, sample: &Sample) {
    varint::put(out, sample.component.into());
    varint::put(out, sample.ms.cast_unsigned());
    match &sample.amount {
        Amount::One(value) => {
            out.push(0);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Amount::Over(sum, nodes, min, max) => {
            out.push(1);
            varint::put(out, (*nodes).into());
            [sum, min, max].into_iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
        Amount::Histogram(histogram, nodes) => {
            out.push(2);
            varint::put(out, (*nodes).into());
            varint::put_bytes(out, &histogram.encode());
        }
    }
}

fn read(reader: &mut Reader<'_>) -> anyhow::Result<Sample> {
    let component = u32::try_from(reader.u64()?)?;
    let ms = reader.u64()?.cast_signed();
    let float = |reader: &mut Reader<'_>| anyhow::Ok(f64::from_le_bytes(reader.take(8)?.try_into()?));
    let amount = match reader.byte()? {
        0 => Amount::One(float(reader)?),
        1 => {
            let nodes = u32::try_from(reader.u64()?)?;
            Amount::Over(float(reader)?, nodes, float(reader)?, float(reader)?)
        }
        _ => {
            let nodes = u32::try_from(reader.u64()?)?;
            Amount::Histogram(Histogram::decode(reader.bytes(1 << 20)?)?, nodes)
        }
    };
    Ok(Sample { component, ms, amount })
}
