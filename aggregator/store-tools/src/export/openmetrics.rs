//! OpenMetrics with times: counters as running sums from their first second here, histograms as classic ones with the bounds
//! that are used.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    ops::Range,
};

use starling_history::Subject;
use starling_promql::{NAME, names};
use starling_proto::{catalogue::Kind, histogram::bucket_bounds, series::Series};

use super::{Part, Wanted, number};
use crate::reader::Reader;

type Key = (Subject, Series);

pub(super) fn write(
    out: &mut impl Write,
    reader: &mut Reader,
    wanted: &Wanted,
    progress: &mut dyn FnMut(u64, u64),
) -> anyhow::Result<()> {
    let windows = reader.windows(wanted.tier, &wanted.range);
    // Names of series by the family they are written as.
    let mut families: BTreeMap<(String, Kind), BTreeSet<(String, String)>> = BTreeMap::new();
    for window in &windows {
        for subject in wanted.subjects_in(reader, window)? {
            for piece in reader.pieces(wanted.tier, &subject, window)? {
                for (series, _) in
                    piece.block.series()?.into_iter().filter(|(series, _)| wanted.wants_name(series.name()))
                {
                    let labels = names::labels(piece.block.subject(), &series, &[]);
                    let name = labels.get(NAME);
                    let family = name.strip_suffix("_total").filter(|_| series.kind() == Kind::Counter).unwrap_or(name);
                    let of = (series.name().to_owned(), subject.to_string());
                    families.entry((family.to_owned(), series.kind())).or_default().insert(of);
                }
            }
        }
    }
    let total = families.len() as u64;
    for (done, ((family, kind), members)) in families.iter().enumerate() {
        progress(done as u64, total);
        writeln!(out, "# TYPE {family} {}", kind.as_str())?;
        let mut written = Family { kind: *kind, family, sums: BTreeMap::new(), histograms: BTreeMap::new() };
        if *kind == Kind::Histogram {
            each(reader, wanted, &windows, members, *kind, &mut |part| {
                written.bounds(part);
                Ok(())
            })?;
        }
        each(reader, wanted, &windows, members, *kind, &mut |part| written.write(out, part))?;
    }
    writeln!(out, "# EOF")?;
    Ok(())
}

fn each(
    reader: &mut Reader,
    wanted: &Wanted,
    windows: &[Range<u32>],
    members: &BTreeSet<(String, String)>,
    kind: Kind,
    take: &mut dyn FnMut(&Part<'_>) -> io::Result<()>,
) -> anyhow::Result<()> {
    for (name, subject) in members {
        for window in windows {
            let mut of_kind = |part: &Part<'_>| if part.cells.series.kind() == kind { take(part) } else { Ok(()) };
            wanted.of_subject(reader, subject, window, &|other| other == name, &mut of_kind)?;
        }
    }
    Ok(())
}

struct Family<'a> {
    kind: Kind,
    family: &'a str,
    /// What counters counted so far.
    sums: BTreeMap<Key, f64>,
    histograms: BTreeMap<Key, Running>,
}

/// A histogram that goes on.
#[derive(Default)]
struct Running {
    /// By bound: how many values are between it and the one below.
    buckets: BTreeMap<u64, u64>,
    sum: f64,
    count: u64,
}

impl Family<'_> {
    /// Notes the bounds that a series uses: those of each bucket on both sides, so that nothing is spread when it is read.
    fn bounds(&mut self, part: &Part<'_>) {
        let running = self.histograms.entry(key(part)).or_default();
        for (index, _) in
            part.cells.cells.iter().filter_map(|(_, cell)| cell.histogram.as_ref()).flat_map(|one| one.buckets())
        {
            let (low, high) = bucket_bounds(index);
            running.buckets.entry(low).or_default();
            running.buckets.entry(high + 1).or_default();
        }
    }

    fn write(&mut self, out: &mut impl Write, part: &Part<'_>) -> io::Result<()> {
        let series = &part.cells.series;
        let labels = names::labels(part.subject, series, &[]);
        let pairs: Vec<String> = labels
            .iter()
            .filter(|(key, _)| *key != NAME)
            .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)))
            .collect();
        let named = |suffix: &str, more: Option<String>| {
            let all: Vec<String> = pairs.iter().cloned().chain(more).collect();
            let labels = if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) };
            format!("{}{suffix}{labels}", self.family)
        };
        let last = part.cells.tier.seconds() - 1;
        match self.kind {
            Kind::Gauge => {
                let name = named("", None);
                for (tick, cell) in &part.cells.cells {
                    writeln!(out, "{name} {} {}", number(cell.last), tick + last)?;
                }
            }
            Kind::Counter => {
                let name = named("_total", None);
                let sum = self.sums.entry(key(part)).or_default();
                for (tick, cell) in &part.cells.cells {
                    *sum += cell.sum;
                    writeln!(out, "{name} {} {}", number(*sum), tick + last)?;
                }
            }
            Kind::Histogram => {
                let unit = series.to_f64(1);
                let Some(running) = self.histograms.get_mut(&key(part)) else { return Ok(()) };
                let bucket = |bound: &str| named("_bucket", Some(format!("le=\"{bound}\"")));
                let texts: Vec<String> =
                    running.buckets.keys().map(|bound| bucket(&number(*bound as f64 * unit))).collect();
                let (open, sum, count) = (bucket("+Inf"), named("_sum", None), named("_count", None));
                for (tick, cell) in &part.cells.cells {
                    let Some(histogram) = &cell.histogram else { continue };
                    for (index, n) in histogram.buckets() {
                        *running.buckets.entry(bucket_bounds(index).1 + 1).or_default() += n;
                    }
                    running.count += histogram.count();
                    running.sum += histogram.sum() as f64 * unit;
                    let (at, mut below) = (tick + last, 0);
                    for (text, n) in texts.iter().zip(running.buckets.values()) {
                        below += n;
                        writeln!(out, "{text} {below} {at}")?;
                    }
                    writeln!(
                        out,
                        "{open} {} {at}\n{sum} {} {at}\n{count} {} {at}",
                        running.count,
                        number(running.sum),
                        running.count
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn key(part: &Part<'_>) -> Key {
    (part.subject.clone(), part.cells.series.clone())
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
