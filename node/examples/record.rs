//! Records the frames of this host into a file, one a second: real data for measurements of codecs and stores.
//!
//! ```text
//! cargo run --release -p starling-node --example record FILE SECONDS
//! ```
//!
//! The file holds one frame after another as `prost` writes it with its length in front, first a keyframe.

use std::{
    error::Error,
    fs::File,
    io::{BufWriter, Write as _},
    sync::mpsc,
    time::{Duration, Instant, SystemTime},
};

use prost::Message as _;
use starling_node::{CollectConfig, Collectors};
use starling_proto::frame::{Content, Encoder};

/// A collector that takes longer is left out of its second.
const LIMIT: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, seconds] = &arguments[..] else {
        return Err("usage: record FILE SECONDS".into());
    };
    let seconds: u32 = seconds.parse()?;
    let mut out = BufWriter::new(File::create(path)?);
    let mut collectors = Collectors::new(&CollectConfig::default());
    let mut encoder = Encoder::new();
    collectors.collect(Duration::ZERO, LIMIT);
    let mut before = Instant::now();
    for _ in 0..seconds {
        let tick = next_second()?;
        let now = Instant::now();
        let samples = collectors.collect(now - before, LIMIT).samples;
        before = now;
        let content = Content { tick, samples, dropped: 0 };
        content.check()?;
        out.write_all(&encoder.encode(&content, None, false).encode_length_delimited_to_vec())?;
        out.flush()?;
    }
    Ok(())
}

/// Waits for the start of the next second of Unix time and returns it.
fn next_second() -> Result<u32, Box<dyn Error>> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let rest = Duration::from_nanos(u64::from(1_000_000_000 - since.subsec_nanos()));
    // Waits on a channel without a sender: timing out is the purpose.
    let (_sender, receiver) = mpsc::channel::<()>();
    receiver.recv_timeout(rest).unwrap_or_default();
    Ok(u32::try_from(since.as_secs() + 1)?)
}
