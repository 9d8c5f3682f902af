//! Bytes and processor time of the blocks of recorded frames.
//!
//! ```text
//! cargo run --release -p starling-node --example record FILE 3600
//! cargo run --release -p starling-history --example measure FILE
//! ```
//!
//! Prints bytes a sample (one series in one second) of each tier with everything a block holds, names and coverage
//! included, and nanoseconds a sample of processor time.

use std::{collections::BTreeMap, error::Error, hint::black_box};

use bytes::Bytes;
use prost::Message as _;
use rustix::time::{ClockId, clock_gettime};
use starling_history::{Block, BlockBuilder, Coverage, SecondValue, Selection, Subject, Tier, roll_up};
use starling_proto::{
    catalogue::Kind,
    frame::{Decoder, Second},
    ids::NodeId,
    interner::Interner,
    series::Series,
    v1,
};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: measure FILE")?;
    let seconds = frames(&path)?;
    println!("all series:");
    measure(&seconds, |_| true)?;
    println!("\nwithout what the daemon says of itself:");
    measure(&seconds, |series| !series.name().starts_with("starling."))
}

fn measure(seconds: &[Second], wanted: fn(&Series) -> bool) -> Result<(), Box<dyn Error>> {
    let samples: usize = seconds
        .iter()
        .flat_map(|second| [&second.cluster, &second.node])
        .flat_map(|part| part.layout.series())
        .filter(|series| wanted(series.series()))
        .count();
    println!("{} seconds, {} samples, {:.0} series a second", seconds.len(), samples, per(samples, seconds.len()));
    let subject = Subject::Node(NodeId::parse("host")?);
    let mut by_block: BTreeMap<u32, Vec<&Second>> = BTreeMap::new();
    seconds.iter().for_each(|second| by_block.entry(second.tick / 300).or_default().push(second));

    let before = cpu_ns();
    let mut builders = Vec::new();
    for seconds in by_block.values() {
        let mut builder = BlockBuilder::new(subject.clone(), seconds[0].tick);
        seconds.iter().try_for_each(|second| push(&mut builder, second, wanted))?;
        builders.push(builder);
    }
    let built = cpu_ns();
    let blocks = builders.into_iter().map(BlockBuilder::seal).collect::<Result<Vec<_>, _>>()?;
    let sealed = cpu_ns();
    println!("build {:.1} ns, encode {:.1} ns a sample", per(built - before, samples), per(sealed - built, samples));
    report("1s", &blocks, samples);

    let before = cpu_ns();
    for block in &blocks {
        black_box(block.read(&Selection::all(0, u32::MAX))?);
    }
    println!("decode all to cells {:.1} ns a sample", per(cpu_ns() - before, samples));
    let before = cpu_ns();
    let one = Selection::named("system.tcp.opened", 0, u32::MAX);
    let cells: usize = blocks.iter().map(|block| Ok(block.read(&one)?.len())).sum::<Result<_, Box<dyn Error>>>()?;
    println!("decode one series {:.0} us a block ({cells} found)", per(cpu_ns() - before, blocks.len()) / 1e3);

    let mut hours: BTreeMap<u32, Vec<Block>> = BTreeMap::new();
    blocks.iter().for_each(|block| hours.entry(block.start() / 3_600 * 3_600).or_default().push(block.clone()));
    let joined = hours.values().map(|blocks| Block::join(blocks)).collect::<Result<Vec<_>, _>>()?;
    let hourly = report("1s joined by hour", &joined, samples);
    let mut together = hourly;
    for tier in &Tier::ALL[1..] {
        let before = cpu_ns();
        let all = hours.iter().map(|(start, blocks)| roll_up(blocks, *tier, *start)).collect::<Result<Vec<_>, _>>()?;
        println!("roll up from 1s {:.1} ns a sample", per(cpu_ns() - before, samples));
        together += report(tier.name(), &all, samples);
    }
    println!("all tiers: {:.4} B/sample", per(together, samples));
    Ok(())
}

fn frames(path: &str) -> Result<Vec<Second>, Box<dyn Error>> {
    let mut bytes = Bytes::from(std::fs::read(path)?);
    let (mut decoder, names, mut seconds) = (Decoder::new(), Interner::default(), Vec::new());
    while let Ok(frame) = v1::Frame::decode_length_delimited(&mut bytes) {
        seconds.push(decoder.decode(&frame, &names)?.second);
    }
    Ok(seconds)
}

fn push(builder: &mut BlockBuilder, second: &Second, wanted: fn(&Series) -> bool) -> Result<(), Box<dyn Error>> {
    let mut values: Vec<(&Series, SecondValue<'_>)> = Vec::new();
    for columns in [&second.cluster, &second.node] {
        for (position, series) in columns.layout.series().iter().enumerate() {
            if !wanted(series.series()) {
                continue;
            }
            let number = columns.values[position];
            let value = match series.kind() {
                Kind::Counter => SecondValue::Counter { sum: number.into(), nodes: 1 },
                Kind::Gauge => {
                    SecondValue::Gauge { sum: number.into(), nodes: 1, min: number, max: number, distribution: None }
                }
                Kind::Histogram => match columns.histogram(position) {
                    Some(histogram) => SecondValue::Histogram { histogram, nodes: 1 },
                    None => continue,
                },
            };
            values.push((series.series(), value));
        }
    }
    Ok(builder.push(second.tick, 0, Coverage::second(1, 1, second.dropped.into()), values)?)
}

fn report(name: &str, blocks: &[Block], samples: usize) -> usize {
    let bytes = blocks.iter().map(|block| block.encode().len()).sum();
    println!("{name}: {} blocks, {bytes} bytes, {:.4} B/sample", blocks.len(), per(bytes, samples));
    bytes
}

fn per(amount: impl TryInto<u64>, of: usize) -> f64 {
    amount.try_into().unwrap_or_default() as f64 / of.max(1) as f64
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
