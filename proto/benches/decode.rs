//! Processor time of reading one node's frame: `cargo bench -p starling-proto --bench decode`.
//!
//! A frame has 500 series: 250 counters, 245 gauges and 5 histograms of 1,000 log-normal values; 70 % of counters and
//! gauges change each second; half of the plain series are of cluster scope. Prints the thread's own time, so that a
//! busy machine does not show; name the processor beside a figure that is published.

mod load;

use std::hint::black_box;

use load::{Random, SECONDS, SERIES, frames, histogram, measure};
use starling_proto::{frame::Decoder, histogram::Histogram, interner::Interner};

fn main() {
    let frames = frames();
    let bytes: usize = frames[1..].iter().map(|frame| frame.rollup.len() + frame.node.len()).sum();
    println!("{SECONDS} frames of {} series, {} bytes each", SERIES, bytes / (frames.len() - 1));
    let interner = Interner::default();
    measure("decode a frame", frames.len(), || {
        let mut decoder = Decoder::new();
        for frame in &frames {
            black_box(decoder.decode(frame, &interner).expect("a good frame"));
        }
    });
    let mut random = Random(7);
    let histograms: Vec<_> = (0..100).map(|_| histogram(&mut random)).collect();
    let encoded: Vec<_> = histograms.iter().map(|histogram| histogram.encode()).collect();
    measure("decode a histogram of 1,000 values", encoded.len(), || {
        encoded.iter().for_each(|bytes| drop(black_box(Histogram::decode(bytes))));
    });
    measure("four quantiles of a histogram of 1,000 values", histograms.len(), || {
        histograms.iter().for_each(|histogram| drop(black_box(histogram.quantiles(&[0.5, 0.9, 0.99, 0.999]))));
    });
}
