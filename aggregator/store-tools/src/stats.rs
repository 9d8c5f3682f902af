//! `store stats`: what a store holds, by tier.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
    path::Path,
};

use indicatif::HumanBytes;
use serde_json::{Value, json};
use starling_history::{Selection, Tier};
use starling_store::TierStats;

use crate::{place, progress::Progress, reader::Reader, times::told};

/// Gaps of a tier that are told one by one.
const GAPS_NAMED: usize = 20;

/// What is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StatsArgs {
    /// Read no block: without series, samples and bytes a sample, and gaps only as far as windows tell them
    #[arg(long)]
    quick: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// One tier.
struct Told {
    files: TierStats,
    /// First and last second with data.
    seconds: Option<Range<u32>>,
    blocks: u64,
    subjects: usize,
    /// Only when blocks are read.
    series: Option<usize>,
    samples: Option<u64>,
    /// Seconds without data between those with.
    gaps: Vec<Range<u32>>,
}

/// Tells; false when something could not be read.
pub(crate) fn run(folder: &Path, args: &StatsArgs, quiet: bool, now: u32) -> anyhow::Result<bool> {
    let (store, _) = place::to_read(folder)?;
    let files = store.stats(now);
    drop(store);
    let mut reader = Reader::open(folder)?;
    let mut progress = Progress::new("read", quiet || args.json || args.quick);
    let total: u64 = files.tiers.iter().map(|tier| tier.bytes).sum();
    let mut done = 0;
    let mut tiers = Vec::new();
    for (tier, files) in Tier::ALL.into_iter().zip(files.tiers) {
        tiers.push(tell(&mut reader, tier, files, args.quick, &mut |bytes| {
            done += bytes;
            progress.at(done, total);
        })?);
    }
    drop(progress);
    let (log, bad) = (files.log, files.bad_blocks);
    let bytes = log.bytes + total;
    if args.json {
        let tiers: Vec<Value> = tiers.iter().map(Told::json).collect();
        let all = json!({
            "folder": folder.display().to_string(), "bytes": bytes, "tiers": tiers,
            "log": { "files": log.files, "bytes": log.bytes },
            "blocks_set_aside": bad, "damages": reader.damages.lines().collect::<Vec<_>>(),
            "not_read": reader.damages.count(),
        });
        println!("{all:#}");
        return Ok(reader.damages.is_empty());
    }
    println!("{}: {} ({bytes} bytes)", folder.display(), HumanBytes(bytes));
    tiers.iter().for_each(Told::print);
    println!("log: {} files, {} ({} bytes)", log.files, HumanBytes(log.bytes), log.bytes);
    println!("blocks set aside as corrupt: {bad}");
    reader.damages.lines().for_each(|damage| println!("damaged: {damage}"));
    if !reader.damages.is_empty() {
        println!("{} could not be read: what they hold is in no number above", reader.damages.count());
    }
    Ok(reader.damages.is_empty())
}

fn tell(
    reader: &mut Reader,
    tier: Tier,
    files: TierStats,
    quick: bool,
    read: &mut dyn FnMut(u64),
) -> anyhow::Result<Told> {
    let mut all_subjects: BTreeSet<Box<str>> = BTreeSet::new();
    let (mut series, mut samples, mut blocks) = (HashSet::<u64>::new(), 0, 0);
    let mut covered = Spans::default();
    for window in reader.windows(tier, &(0..u32::MAX)) {
        let subjects = reader.subjects(tier, &window)?;
        if quick {
            let found = reader.store.find(tier.code(), starling_store::Subjects::All, window.clone());
            blocks += found.blocks.iter().filter(|block| window.contains(&block.window().start)).count() as u64;
            found.blocks.iter().for_each(|block| covered.add(block.window()));
            all_subjects.extend(subjects);
            continue;
        }
        let mut steps = BTreeSet::new();
        for subject in subjects {
            for piece in reader.pieces(tier, &subject, &window)? {
                read(piece.bytes);
                blocks += piece.versions;
                let held = piece.block.coverage().filter(|(_, coverage)| coverage.seconds > 0);
                steps.extend(held.map(|(tick, _)| tick));
                let selection = Selection::all(0, u32::MAX).without_histograms();
                // What is computed on reading is not kept.
                for one in piece.block.read(&selection)?.iter().filter(|one| tier != Tier::Second || !one.derived) {
                    samples += one.cells.len() as u64;
                    let mut hasher = DefaultHasher::new();
                    (&subject, &one.series, one.derived).hash(&mut hasher);
                    series.insert(hasher.finish());
                }
            }
            all_subjects.insert(subject);
        }
        steps.into_iter().for_each(|tick| covered.add(tick..tick.saturating_add(tier.seconds())));
    }
    let spans = covered.0;
    Ok(Told {
        files,
        seconds: spans.first().zip(spans.last()).map(|(first, last)| first.start..last.end),
        blocks,
        subjects: all_subjects.len(),
        series: (!quick).then_some(series.len()),
        samples: (!quick).then_some(samples),
        gaps: spans.windows(2).map(|pair| pair[0].end..pair[1].start).collect(),
    })
}

/// Seconds with data, ascending and apart.
#[derive(Default)]
struct Spans(Vec<Range<u32>>);

impl Spans {
    /// What begins not before the last one.
    fn add(&mut self, more: Range<u32>) {
        match self.0.last_mut() {
            Some(last) if more.start <= last.end => last.end = last.end.max(more.end),
            _ => self.0.push(more),
        }
    }
}

impl Told {
    fn bytes_per_sample(&self) -> Option<f64> {
        self.samples.filter(|samples| *samples > 0).map(|samples| self.files.bytes as f64 / samples as f64)
    }

    fn json(&self) -> Value {
        let TierStats { name, segments, bytes, future, .. } = &self.files;
        let gaps: Vec<Value> = self.gaps.iter().map(|gap| json!({ "from": gap.start, "to": gap.end - 1 })).collect();
        json!({
            "tier": name, "bytes": bytes, "segments": segments, "segments_of_the_future": future, "blocks": self.blocks,
            "subjects": self.subjects, "series": self.series, "samples": self.samples,
            "bytes_per_sample": self.bytes_per_sample(),
            "oldest": self.seconds.as_ref().map(|seconds| seconds.start),
            "newest": self.seconds.as_ref().map(|seconds| seconds.end - 1),
            "gaps": gaps,
        })
    }

    fn print(&self) {
        let TierStats { name, segments, bytes, future, .. } = &self.files;
        let Self { blocks, subjects, .. } = self;
        println!(
            "{name}: {} ({bytes} bytes), {segments} segments, {blocks} blocks, {subjects} subjects",
            HumanBytes(*bytes)
        );
        let Some(seconds) = &self.seconds else { return };
        println!("  from {} to {}", told(seconds.start), told(seconds.end - 1));
        if let (Some(series), Some(samples)) = (self.series, self.samples) {
            let each = self.bytes_per_sample().unwrap_or_default();
            println!("  {series} series, {samples} samples, {each:.3} bytes a sample");
        }
        if *future > 0 {
            println!("  {future} segments lie in the future: a clock was wrong when they were written");
        }
        let missing: u64 = self.gaps.iter().map(|gap| u64::from(gap.end - gap.start)).sum();
        if missing > 0 {
            println!("  {} gaps, {missing} s in all", self.gaps.len());
            for gap in self.gaps.iter().take(GAPS_NAMED) {
                println!("    {} to {} ({} s)", told(gap.start), told(gap.end - 1), gap.end - gap.start);
            }
        }
    }
}
