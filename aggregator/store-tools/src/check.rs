//! `store check`: every byte of a store, and with `--deep` what the bytes say.

use std::{collections::BTreeSet, num::NonZeroU64, ops::ControlFlow, path::Path};

use serde_json::json;
use starling_history::{Cell, Selection, SeriesCells, Tier, roll_up};
use starling_store::LogFault;

use crate::{
    damages::of_block,
    place,
    progress::Progress,
    reader::{Piece, Reader, grid},
};

/// How a check is done.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CheckArgs {
    /// Take every block apart too, and compare the coarser tiers with the seconds where both are there
    #[arg(long)]
    deep: bool,
    /// Read at most so many megabytes a second, so that others can work
    #[arg(long, value_name = "MB/S")]
    rate: Option<NonZeroU64>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What a deep check did.
#[derive(Debug, Default)]
struct Deep {
    blocks: u64,
    /// Coarse steps that are what their seconds make.
    right: u64,
    /// Hours of subjects that are not rolled up yet, or whose seconds are partly gone.
    not_compared: u64,
}

/// Checks; true when everything is as it was written. Every damage is named.
pub(crate) fn run(folder: &Path, args: &CheckArgs, quiet: bool) -> anyhow::Result<bool> {
    let (store, recovered) = place::to_read(folder)?;
    let mut progress = Progress::new("check", quiet || args.json);
    let rate = args.rate.and_then(|rate| rate.checked_mul(NonZeroU64::new(1_000_000)?));
    let report = store.check(rate, |state| {
        progress.at(state.bytes, state.bytes_total);
        ControlFlow::Continue(())
    });
    drop(progress);
    let mut damages: BTreeSet<String> = report.bad.iter().map(of_block).collect();
    damages.extend(report.faults.iter().map(ToString::to_string));
    let (cut, log): (Vec<_>, Vec<_>) = report.log.iter().partition(|damage| matches!(damage.what, LogFault::Tail));
    damages.extend(log.iter().map(ToString::to_string));
    let findings = recovered.findings;
    if findings.format_damaged {
        damages.insert(format!("{}: missing or damaged, nothing is lost", folder.join("FORMAT").display()));
    }
    let notes: Vec<String> = cut
        .iter()
        .map(ToString::to_string)
        .chain(findings.unknown.iter().map(|path| format!("{}: not of a store", path.display())))
        .collect();
    let deep = match args.deep {
        true => Some(deep(folder, quiet || args.json, &mut damages)?),
        false => None,
    };
    if args.json {
        let deep = deep.map(|Deep { blocks, right, not_compared }| {
            json!({ "blocks": blocks, "steps_compared": right, "hours_not_compared": not_compared })
        });
        let report = json!({
            "clean": damages.is_empty(), "damages": damages, "notes": notes, "segments": report.segments,
            "deleted_meanwhile": report.deleted, "blocks": report.blocks, "records": report.records,
            "bytes": report.bytes, "deep": deep,
        });
        println!("{report:#}");
        return Ok(damages.is_empty());
    }
    damages.iter().for_each(|damage| println!("damaged: {damage}"));
    notes.iter().for_each(|note| println!("note: {note}"));
    let (segments, blocks, records, bytes) = (report.segments, report.blocks, report.records, report.bytes);
    println!("read {bytes} bytes: {segments} segments with {blocks} right blocks, {records} right records of the log");
    if let Some(Deep { blocks, right, not_compared }) = deep {
        println!(
            "took {blocks} blocks apart; {right} coarser steps are what their seconds make, {not_compared} hours of a subject \
             could not be compared (not rolled up yet, or their seconds are gone)"
        );
    }
    println!("{}", if damages.is_empty() { "clean".to_owned() } else { format!("{} damages", damages.len()) });
    Ok(damages.is_empty())
}

fn deep(folder: &Path, quiet: bool, damages: &mut BTreeSet<String>) -> anyhow::Result<Deep> {
    let mut reader = Reader::open(folder)?;
    let mut progress = Progress::new("take apart", quiet);
    let total = Tier::ALL.iter().flat_map(|tier| reader.store.segments(tier.code())).map(|one| one.bytes).sum();
    let (mut found, mut bytes) = (Deep::default(), 0);
    let all = 0..u32::MAX;
    for tier in Tier::ALL {
        for window in reader.windows(tier, &all) {
            for subject in reader.subjects(tier, &window)? {
                let pieces = reader.pieces(tier, &subject, &window)?;
                bytes += pieces.iter().map(|piece| piece.bytes).sum::<u64>();
                found.blocks += pieces.iter().map(|piece| piece.versions).sum::<u64>();
                progress.at(bytes, total);
                if tier == Tier::Second {
                    compare(&mut reader, &subject, window.start, &pieces, &mut found, damages)?;
                }
            }
        }
    }
    // What was found corrupt before reads the same.
    damages.extend(reader.damages.lines());
    Ok(found)
}

/// Compares the coarser tiers of an hour of a subject with what its seconds make.
fn compare(
    reader: &mut Reader,
    subject: &str,
    hour: u32,
    seconds: &[Piece],
    found: &mut Deep,
    damages: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let blocks: Vec<_> = seconds.iter().map(|piece| piece.block.clone()).collect();
    let newest = seconds.iter().map(|piece| piece.segment).max();
    let held: u32 = blocks.iter().flat_map(|block| block.coverage()).map(|(_, coverage)| coverage.seconds).sum();
    for tier in &Tier::ALL[1..] {
        let begin = hour - hour % grid(*tier);
        let coarse: Vec<Piece> = reader
            .pieces(*tier, subject, &(hour..hour + 3_600))?
            .into_iter()
            .filter(|piece| piece.block.start() >= begin)
            .collect();
        let inside = |tick: u32| (hour..hour + 3_600).contains(&tick);
        let of_hour = coarse.iter().flat_map(|piece| piece.block.coverage()).filter(|(tick, _)| inside(*tick));
        let kept: u32 = of_hour.map(|(_, coverage)| coverage.seconds).sum();
        if kept != held || coarse.iter().map(|piece| piece.segment).max() < newest {
            found.not_compared += 1;
            continue;
        }
        let selection = Selection::all(hour, hour + 3_599);
        let made = roll_up(&blocks, *tier, hour)?.read(&selection)?;
        let mut kept = Vec::new();
        for piece in &coarse {
            kept.extend(piece.block.read(&selection)?);
        }
        for series in &made {
            let same = |other: &&SeriesCells| other.series == series.series && other.derived == series.derived;
            let theirs: Vec<_> = kept.iter().filter(same).flat_map(|other| &other.cells).collect();
            for (tick, cell) in &series.cells {
                match theirs.iter().find(|(at, _)| at == tick) {
                    Some((_, other)) if is_same(cell, other) => found.right += 1,
                    other => {
                        damages.insert(format!(
                            "{subject}: {} from {tick} of {tier} is not what its seconds make: {:?} instead of {cell:?}",
                            series.series,
                            other.map(|(_, cell)| cell)
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

fn is_same(a: &Cell, b: &Cell) -> bool {
    let numbers = |cell: &Cell| [cell.sum, cell.spread, cell.min, cell.max, cell.last].map(f64::to_bits);
    (a.seconds, a.nodes, numbers(a)) == (b.seconds, b.nodes, numbers(b))
        && (a.node_min, a.node_max, &a.histogram) == (b.node_min, b.node_max, &b.histogram)
}
