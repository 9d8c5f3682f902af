//! Processor time and bytes of keeping the seconds of one node: `cargo bench -p starling-aggregator --bench blocks`.
//!
//! The load is that of the bench `decode`: 500 series, 70 % changed, 5 histograms of 1,000 values.

#[path = "../../proto/benches/load/mod.rs"]
mod load;

use std::hint::black_box;

use load::{SECONDS, SERIES, frames, measure};
use starling_aggregator::blocks::{BLOCK_SECONDS, Block, History, OpenBlock};
use starling_proto::{
    frame::{DecodedFrame, Decoder},
    interner::Interner,
};

fn main() {
    let (mut decoder, names) = (Decoder::new(), Interner::default());
    let decoded: Vec<DecodedFrame> =
        frames().iter().map(|frame| decoder.decode(frame, &names).expect("a good frame")).collect();
    println!("{SECONDS} seconds of {SERIES} series");
    measure("keep a second", decoded.len(), || {
        let mut history = History::default();
        assert!(decoded.iter().all(|frame| history.push(&frame.second, &frame.sparse)));
        drop(black_box(history));
    });
    let start = decoded[0].second.tick;
    let mut open = OpenBlock::new(start);
    let mut without = OpenBlock::new(start);
    for frame in &decoded[..BLOCK_SECONDS as usize] {
        open.push(&frame.second, &frame.sparse);
        let mut plain = frame.second.clone();
        plain.cluster.histograms = Box::default();
        without.push(&plain, &<[Box<[bytes::Bytes]>; 2]>::default());
    }
    let (sealed, plain) = (open.seal(None).0, without.seal(None).0);
    measure("seal a block of 300 seconds", 1, || drop(black_box(open.seal(None))));
    let at = start + BLOCK_SECONDS - 1;
    let mut history = History::default();
    assert!(decoded[..BLOCK_SECONDS as usize].iter().all(|frame| history.push(&frame.second, &frame.sparse)));
    measure("read the last second of an open block", 1, || drop(black_box(history.slice(at, at).seconds())));
    measure("read a minute of a sealed block", 1, || drop(black_box(sealed.seconds(at - 59, at))));
    let bytes = sealed.encode();
    measure("decode a block of somebody else", 1, || drop(black_box(Block::decode(&bytes, &names))));
    println!("bytes of a block: open {}, sealed {}, sent {}", open.bytes(), sealed.bytes(), bytes.len());
    println!("without histograms: open {}, sealed {}", without.bytes(), plain.bytes());
}
