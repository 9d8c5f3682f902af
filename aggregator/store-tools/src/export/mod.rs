//! `store export`: what a store holds, as text that others read.

mod csv;
mod json;
mod openmetrics;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use starling_history::{Selection, SeriesCells, Subject, Tier};

use crate::{progress::Progress, reader::Reader, times::tick};

/// What is exported, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExportArgs {
    /// The form: `openmetrics` for Prometheus (`promtool tsdb create-blocks-from openmetrics`), `csv`, `json` (lines)
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Only of these: `cluster`, `group/LABEL:VALUE`, `node/NAME`; what ends in `*` stands for all that begin so
    #[arg(long, value_name = "SUBJECT")]
    subject: Vec<String>,
    /// Only series of these names; what ends in `*` stands for all that begin so
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// First second: Unix seconds or RFC 3339
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Last second
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// How fine: 1s, 10s, 1m or 1h
    #[arg(long, value_name = "TIER", default_value = "1s")]
    tier: String,
    /// Where to; standard output without it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Openmetrics,
    Csv,
    Json,
}

/// What is wanted.
pub(crate) struct Wanted {
    subjects: Vec<String>,
    names: Vec<String>,
    tier: Tier,
    range: Range<u32>,
}

/// One series in one block.
pub(crate) struct Part<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) cells: &'a SeriesCells,
}

/// Exports; false when something could not be read and is left out.
pub(crate) fn run(folder: &Path, args: &ExportArgs, quiet: bool) -> anyhow::Result<bool> {
    let time = |name: &str, text: &Option<String>, usual: u32| match text {
        None => Ok(usual),
        Some(text) => tick(text).with_context(|| format!("{name}: {text:?} is no time")),
    };
    let tier =
        Tier::parse(&args.tier).with_context(|| format!("--tier: {:?} is none of 1s, 10s, 1m, 1h", args.tier))?;
    let (from, to) = (time("--from", &args.from, 1)?, time("--to", &args.to, u32::MAX - 1)?);
    anyhow::ensure!(from <= to, "--from is after --to");
    let wanted = Wanted { subjects: args.subject.clone(), names: args.name.clone(), tier, range: from..to + 1 };
    let mut reader = Reader::open(folder)?;
    let mut progress = Progress::new("export", quiet);
    let out: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(File::create(path).with_context(|| format!("cannot create {}", path.display()))?),
        None => Box::new(io::stdout().lock()),
    };
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut shown = |bytes, total| progress.at(bytes, total);
    match args.format {
        Format::Json => wanted.each(&mut reader, &mut shown, &mut |part| json::write(&mut out, part))?,
        Format::Csv => {
            csv::head(&mut out, tier)?;
            wanted.each(&mut reader, &mut shown, &mut |part| csv::write(&mut out, part))?;
        }
        Format::Openmetrics => openmetrics::write(&mut out, &mut reader, &wanted, &mut shown)?,
    }
    out.flush().context("the export was not written")?;
    drop(progress);
    reader.damages.lines().for_each(|damage| eprintln!("left out: {damage}"));
    if !reader.damages.is_empty() {
        eprintln!("{} could not be read: what they hold is not in the export", reader.damages.count());
    }
    Ok(reader.damages.is_empty())
}

impl Wanted {
    fn wants_subject(&self, subject: &str) -> bool {
        one_of(&self.subjects, subject)
    }

    fn wants_name(&self, name: &str) -> bool {
        one_of(&self.names, name)
    }

    /// Hands over every series, window by window and subject by subject.
    fn each(
        &self,
        reader: &mut Reader,
        progress: &mut dyn FnMut(u64, u64),
        take: &mut dyn FnMut(&Part<'_>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let total = reader.store.segments(self.tier.code()).iter().map(|segment| segment.bytes).sum();
        let mut done = 0;
        for window in reader.windows(self.tier, &self.range) {
            for subject in self.subjects_in(reader, &window)? {
                done += self.of_subject(reader, &subject, &window, &|name| self.wants_name(name), take)?;
                progress(done, total);
            }
        }
        Ok(())
    }

    fn subjects_in(&self, reader: &mut Reader, window: &Range<u32>) -> anyhow::Result<BTreeSet<Box<str>>> {
        let mut subjects = reader.subjects(self.tier, window)?;
        subjects.retain(|subject| self.wants_subject(subject));
        Ok(subjects)
    }

    /// The wanted series of a subject in a window; how many bytes were read.
    fn of_subject(
        &self,
        reader: &mut Reader,
        subject: &str,
        window: &Range<u32>,
        wants: &dyn Fn(&str) -> bool,
        take: &mut dyn FnMut(&Part<'_>) -> io::Result<()>,
    ) -> anyhow::Result<u64> {
        let range = window.start.max(self.range.start)..window.end.min(self.range.end);
        let mut bytes = 0;
        for piece in reader.pieces(self.tier, subject, &range)? {
            bytes += piece.bytes;
            let selection = Selection::all(range.start, range.end - 1);
            for cells in piece.block.read_where(&selection, |text| wants(text.name))? {
                // What is computed of seconds is not exported: it is computed again of what is.
                if cells.cells.is_empty() || (cells.derived && self.tier == Tier::Second) {
                    continue;
                }
                let part = Part { subject: piece.block.subject(), cells: &cells };
                take(&part).context("the export was not written")?;
            }
        }
        Ok(bytes)
    }
}

fn one_of(wanted: &[String], text: &str) -> bool {
    let fits = |wanted: &String| match wanted.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == wanted,
    };
    wanted.is_empty() || wanted.iter().any(fits)
}

/// A number that reads back as it is, in Prometheus's spelling.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // The shortest digits that do.
    let text = format!("{value:?}");
    match text.strip_suffix(".0") {
        Some(whole) if whole != "-0" => whole.to_owned(),
        _ => text,
    }
}
