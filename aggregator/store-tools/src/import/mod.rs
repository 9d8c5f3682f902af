//! `store import`: samples with times from files into a store.
//!
//! - [`said`]: what a line means; [`text`], [`json`], [`csv`]: the forms;
//! - [`spill`]: samples by hour; [`rows`]: seconds of them;
//! - [`seal`]: into the store, hour by hour; [`merge`]: the cluster of its nodes.

mod csv;
mod fixed;
mod json;
mod merge;
mod rows;
mod said;
mod seal;
mod spill;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{BufRead as _, BufReader, Read, Stdin, stdin},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use indicatif::HumanBytes;
use starling_history::Subject;
use starling_proto::series::Series;

use self::{
    csv::Csv,
    rows::{Carry, Component, Met, Row, SPREAD_MAX},
    said::{Amount, Meant, Reading},
    seal::{Became, Sealer},
    spill::{HOUR, Sample, Spill, tick_of},
    text::Text,
};
use crate::{damages::Damages, place, progress::Progress, times::told};

/// Longest line: a series of 300 s with histograms.
const LINE_MAX: u64 = 16 << 20;
/// Refused lines that are named one by one.
const NAMED: usize = 20;
/// Series of one import, buckets of classic histograms each for itself: about 400 bytes each.
const COMPONENTS_MAX: usize = 2_000_000;

/// What is imported, and how it is read.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImportArgs {
    /// Files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What they are. Without it by the ending (.json, .jsonl, .csv), else OpenMetrics or Prometheus text
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Whose the samples are that name nobody: `node/NAME`, `cluster` or `group/LABEL:VALUE`
    #[arg(long, value_name = "SUBJECT", default_value = "node/imported")]
    subject: String,
    /// The label that names the node
    #[arg(long, value_name = "LABEL", default_value = starling_promql::names::NODE)]
    node_label: String,
    /// The label that is the group's, of series `group:NAME`
    #[arg(long, value_name = "LABEL")]
    group_label: Option<String>,
    /// Keep the nodes alone: without this the cluster is made of its nodes, where no more nodes are behind what is there
    #[arg(long)]
    no_merge: bool,
}

/// A form of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Prometheus's text formats, each sample with its time
    Openmetrics,
    /// One series a line
    Json,
    /// One sample a line
    Csv,
}

impl Format {
    fn of(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("json" | "jsonl" | "ndjson") => Self::Json,
            Some("csv") => Self::Csv,
            _ => Self::Openmetrics,
        }
    }
}

/// Imports; false when lines were refused, or blocks that were there are damaged.
pub(crate) fn run(folder: &Path, args: &ImportArgs, quiet: bool, now: u32) -> anyhow::Result<bool> {
    let subject = Subject::parse(&args.subject).context("--subject")?;
    let reading = Reading { subject, node_label: args.node_label.clone(), group_label: args.group_label.clone() };
    let store = place::to_write(folder)?;
    let mut import = Import::new(folder, now);
    let mut progress = Progress::new("read", quiet);
    let total = args.files.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
    for path in &args.files {
        let format = args.format.unwrap_or_else(|| Format::of(path));
        import.file(path, format, &reading, &mut |bytes| progress.at(bytes, total))?;
    }
    drop(progress);
    let mut progress = Progress::new("write", quiet);
    let last = import.told.last.unwrap_or(0);
    let merge = !args.no_merge;
    let sealer = Sealer { store: &store, now, merge, last, became: Became::default(), damages: Damages::default() };
    let end = import.seal(sealer, &mut |done, total| progress.at(done, total))?;
    drop(progress);
    end.print(quiet);
    Ok(end.refused == 0 && end.damages.is_empty())
}

struct Import {
    /// Where temporary files go.
    beside: PathBuf,
    now: u32,
    spill: Spill,
    series: Vec<(Subject, Series)>,
    numbers: HashMap<(Subject, Series), u32>,
    components: Vec<Component>,
    component_numbers: HashMap<Meant, u32>,
    told: Told,
    read: u64,
}

/// What is told at the end.
#[derive(Debug, Default)]
struct Told {
    lines: u64,
    samples: u64,
    series: usize,
    refused: u64,
    named: Vec<String>,
    first: Option<u32>,
    last: Option<u32>,
    met: Met,
    became: Became,
    damages: Damages,
}

impl Import {
    fn new(folder: &Path, now: u32) -> Self {
        Self {
            beside: folder.parent().unwrap_or(folder).to_owned(),
            now,
            spill: Spill::new(),
            series: Vec::new(),
            numbers: HashMap::new(),
            components: Vec::new(),
            component_numbers: HashMap::new(),
            told: Told::default(),
            read: 0,
        }
    }

    fn file(
        &mut self,
        path: &Path,
        format: Format,
        reading: &Reading,
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        let name = path.display().to_string();
        let input: Box<dyn Read> = if name == "-" {
            Box::<Stdin>::new(stdin())
        } else {
            Box::new(File::open(path).with_context(|| format!("cannot open {name}"))?)
        };
        let mut input = BufReader::with_capacity(1 << 18, input);
        let (mut text, mut csv) = (Text::default(), Csv::default());
        let mut bytes = Vec::new();
        for number in 1u64.. {
            bytes.clear();
            let length = input.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes);
            let length = length.with_context(|| format!("cannot read {name}"))? as u64;
            if length == 0 {
                break;
            }
            self.read += length;
            progress(self.read);
            let place = (name.as_str(), number);
            if length == LINE_MAX && bytes.last() != Some(&b'\n') {
                self.refuse(place, &format!("longer than {LINE_MAX} bytes"));
                skip_line(&mut input).with_context(|| format!("cannot read {name}"))?;
                continue;
            }
            let Ok(line) = std::str::from_utf8(&bytes) else {
                self.refuse(place, "no UTF-8");
                continue;
            };
            let line = line.trim_end_matches(['\n', '\r']);
            if line.trim().is_empty() {
                continue;
            }
            self.told.lines += 1;
            match format {
                Format::Openmetrics => match text.read(line, reading) {
                    Ok(Some((meant, ms, amount))) => self.sample(place, &meant, ms, amount)?,
                    Ok(None) => {}
                    Err(error) => self.refuse(place, &error),
                },
                Format::Csv => match csv.read(line, reading) {
                    Ok(Some((meant, ms, amount))) => self.sample(place, &meant, ms, amount)?,
                    Ok(None) => {}
                    Err(error) => self.refuse(place, &error),
                },
                Format::Json => match json::read(line, reading) {
                    Ok(Some(json::Samples { meant, samples })) => {
                        for (ms, amount) in samples {
                            self.sample(place, &meant, ms, amount)?;
                        }
                    }
                    Ok(None) => {}
                    Err(error) => self.refuse(place, &error),
                },
            }
        }
        Ok(())
    }

    fn sample(&mut self, place: (&str, u64), meant: &Meant, ms: i64, amount: Amount) -> anyhow::Result<()> {
        let Some(tick) = tick_of(ms) else {
            self.refuse(place, &format!("the time {ms} ms is before 1970 or after 2106"));
            return Ok(());
        };
        if tick > self.now {
            self.refuse(place, &format!("the time {} lies in the future", told(tick)));
            return Ok(());
        }
        let component = match self.component_numbers.get(meant) {
            Some(number) => *number,
            None if self.components.len() >= COMPONENTS_MAX => {
                self.refuse(place, &format!("more than {COMPONENTS_MAX} series: import fewer at once"));
                return Ok(());
            }
            None => self.component(meant),
        };
        self.told.samples += 1;
        self.told.first = Some(self.told.first.map_or(tick, |first| first.min(tick)));
        self.told.last = self.told.last.max(Some(tick));
        self.spill.add(&self.beside, tick, &Sample { component, ms, amount })
    }

    fn component(&mut self, meant: &Meant) -> u32 {
        let of = (meant.subject.clone(), meant.series.clone());
        let series = *self.numbers.entry(of.clone()).or_insert_with(|| {
            self.series.push(of);
            self.series.len() as u32 - 1
        });
        let number = self.components.len() as u32;
        let factor = 10f64.powi(meant.series.scale().into());
        self.components.push(Component { series, part: meant.part, factor });
        self.component_numbers.insert(meant.clone(), number);
        number
    }

    fn refuse(&mut self, (file, line): (&str, u64), why: &str) {
        self.told.refused += 1;
        if self.told.named.len() < NAMED {
            let why: String = why.chars().take(300).collect();
            self.told.named.push(format!("{file}:{line}: {why}"));
        }
    }

    /// Writes hour by hour; one waits until no later sample can say something of it.
    fn seal(mut self, mut sealer: Sealer<'_>, progress: &mut dyn FnMut(u64, u64)) -> anyhow::Result<Told> {
        let hours = self.spill.hours();
        let total = hours.iter().map(|(_, bytes)| bytes).sum();
        let mut done = 0;
        let mut carry = Carry::default();
        let mut open: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
        for (hour, bytes) in hours {
            let settled: BTreeSet<u32> = open.range(..hour.saturating_sub(SPREAD_MAX)).map(|(hour, _)| *hour).collect();
            for hour in settled {
                sealer.hour(hour, open.remove(&hour).unwrap_or_default(), &self.series)?;
            }
            let samples = self.spill.take(hour)?;
            for row in carry.rows(&self.components, samples, &mut self.told.met) {
                open.entry(row.tick - row.tick % HOUR).or_default().push(row);
            }
            done += bytes;
            progress(done, total);
        }
        for (hour, rows) in open {
            sealer.hour(hour, rows, &self.series)?;
        }
        self.told.became = sealer.became;
        self.told.damages = sealer.damages;
        self.told.series = self.series.len();
        Ok(self.told)
    }
}

fn skip_line(input: &mut BufReader<Box<dyn Read>>) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (length, end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(length);
        if end {
            return Ok(());
        }
    }
}

impl Told {
    fn print(&self, quiet: bool) {
        for refused in &self.named {
            eprintln!("refused: {refused}");
        }
        if self.refused > self.named.len() as u64 {
            eprintln!("refused: {} lines more", self.refused - self.named.len() as u64);
        }
        self.damages.lines().for_each(|damage| eprintln!("not read: {damage}"));
        if quiet {
            return;
        }
        let Self { lines, samples, series, refused, met, became, .. } = self;
        println!("{samples} samples of {series} series in {lines} lines; {refused} refused");
        if let (Some(first), Some(last)) = (self.first, self.last) {
            println!("  from {} to {}", told(first), told(last));
        }
        println!(
            "  {} new, {} already there, {} with another value than was there (the new one counts)",
            became.new, became.there, became.replaced
        );
        for (count, what) in [
            (met.repeated, "stood there twice"),
            (met.contradicted, "at a time that had another value in the input (the last one counts)"),
            (met.no_number, "were no number (NaN, or an infinite counter) and are left out"),
            (became.too_old, "of hours of which only coarser steps are left: those cannot be changed"),
            (became.left_out, "had no place: too many series of one subject, or several kinds of one series"),
            (met.resets, "counters began again"),
            (met.long_gaps, "gaps of counters longer than two hours: the growth stands in the second after them"),
        ] {
            if count > 0 {
                println!("  {count} {what}");
            }
        }
        let not_read = match self.damages.count() {
            0 => String::new(),
            count => format!("; {count} blocks that were there could not be read: what they held is not in it"),
        };
        println!("  {} hours written, {}{not_read}", became.hours, HumanBytes(became.bytes));
    }
}
