use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    catalogue::{self, Kind},
    histogram::HistogramSum,
    ids::WriterId,
    series::Series,
};

/// A small world of series that come, go and change.
fn world() -> Vec<Series> {
    let app = |name: &str, kind, scope| Series::application(name, &[("app", "a")], kind, "1", 2, scope).unwrap();
    let mut all = vec![
        Series::of(&catalogue::CPU_UTILIZATION, &[]),
        Series::of(&catalogue::CPU_TIME, &[("cpu.mode", "user")]),
        Series::of(&catalogue::DURATION, &[("protocol", "grpc")]),
        Series::of(&catalogue::CORE_UTILIZATION, &[("cpu.logical_number", "0")]),
    ];
    for i in 0..20 {
        let kind = [Kind::Counter, Kind::Gauge, Kind::Histogram][i % 3];
        all.push(app(&format!("series.{i}"), kind, if i % 2 == 0 { Scope::Cluster } else { Scope::Node }));
    }
    all
}

fn value(kind: Kind, seed: i64) -> Value {
    match kind {
        Kind::Counter => Value::Counter(seed.unsigned_abs() % (1 << 40)),
        Kind::Gauge => Value::Gauge(seed % (1 << 62)),
        Kind::Histogram => {
            let mut sum = HistogramSum::new();
            (0..seed.unsigned_abs() % 5).for_each(|i| sum.record(seed.unsigned_abs() >> i, i + 1));
            Value::Histogram(Arc::new(sum.to_histogram()))
        }
    }
}

fn sorted(mut content: Content) -> Content {
    content.samples.sort_by(|a, b| a.series.cmp(&b.series));
    content
}

fn contents() -> impl Strategy<Value = Vec<(Vec<Option<i64>>, bool)>> {
    let small_or_any = prop_oneof![Just(None), Just(Some(0)), Just(Some(7)), any::<i64>().prop_map(Some)];
    prop::collection::vec((prop::collection::vec(small_or_any, 24), prop::bool::weighted(0.2)), 1..20)
}

fn content(tick: u32, values: &[Option<i64>]) -> Content {
    let samples = world()
        .into_iter()
        .zip(values)
        .filter_map(|(series, seed)| seed.map(|seed| Sample { value: value(series.kind(), seed), series }))
        .collect();
    Content { tick, samples, dropped: tick % 3 }
}

proptest! {
    #[test]
    fn what_is_decoded_is_what_was_cut(ticks in contents(), restart in any::<prop::sample::Index>()) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let restart = restart.index(ticks.len());
        for (i, (values, keyframe)) in ticks.iter().enumerate() {
            if i == restart {
                encoder.restart();
            }
            let content = content(1000 + i as u32, values);
            let frame = encoder.encode(&content, Some(WriterId::new([1; 16])), *keyframe);
            prop_assert_eq!(decoder.decode(&frame).map(sorted), Ok(sorted(content)));
        }
    }

    #[test]
    fn a_clone_reads_on_from_a_keyframe(ticks in contents()) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let mut log: Vec<(Decoder, Vec<crate::v1::Frame>, Vec<Content>)> = Vec::new();
        for (i, (values, keyframe)) in ticks.iter().enumerate() {
            let content = content(1000 + i as u32, values);
            let frame = encoder.encode(&content, None, *keyframe);
            if frame.keyframe {
                log.push((decoder.clone(), Vec::new(), Vec::new()));
            }
            decoder.decode(&frame).unwrap();
            let segment = log.last_mut().unwrap();
            segment.1.push(frame);
            segment.2.push(sorted(content));
        }
        for (mut decoder, frames, contents) in log {
            for (frame, content) in frames.iter().zip(contents) {
                prop_assert_eq!(decoder.decode(frame).map(sorted), Ok(content));
            }
        }
    }

    #[test]
    fn damaged_frames_never_panic(ticks in contents(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), random in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for (i, (values, _)) in ticks.iter().enumerate() {
            let mut frame = encoder.encode(&content(1000 + i as u32, values), None, false);
            let mut bytes = frame.rollup.to_vec();
            for (at, with) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            frame.rollup = bytes.into();
            let _ = decoder.decode(&frame);
        }
        let frame = crate::v1::Frame { sequence: 1, keyframe: true, rollup: random.clone().into(), node: random.into(), ..Default::default() };
        let _ = decoder.decode(&frame);
    }
}

fn frames(n: usize) -> Vec<crate::v1::Frame> {
    let mut encoder = Encoder::new();
    (0..n).map(|i| encoder.encode(&content(1000 + i as u32, &[Some(i as i64); 24]), None, false)).collect()
}

#[test]
fn a_gap_asks_for_a_keyframe_and_a_fresh_start_heals_it() {
    let frames = frames(4);
    let mut decoder = Decoder::new();
    decoder.decode(&frames[0]).unwrap();
    assert_eq!(decoder.decode(&frames[2]), Err(FrameError::NeedKeyframe { sequence: 3, last: 1 }));
    decoder.decode(&frames[1]).expect("nothing was touched by the frame that did not fit");
    let mut damaged = frames[2].clone();
    damaged.node = vec![0xff; 3].into();
    assert!(matches!(decoder.decode(&damaged), Err(FrameError::Invalid(detail)) if detail.starts_with("node part")));
    assert!(matches!(decoder.decode(&frames[2]), Err(FrameError::NeedKeyframe { .. })));
    decoder.decode(&frames[0]).expect("sequence 1 starts anew");
    assert!(Decoder::new().decode(&frames[1]).is_err(), "a connection starts with sequence 1");
}

#[test]
fn an_unchanged_second_is_nearly_nothing() {
    let mut encoder = Encoder::new();
    let still = |tick| content(tick, &[Some(0); 24]);
    encoder.encode(&still(1), None, false);
    let frame = encoder.encode(&still(2), None, false);
    assert!(frame.rollup.len() + frame.node.len() <= 10, "{frame:?}");
}

#[test]
fn limits_are_checked_before_allocation() {
    let decode = |rollup: &[u8]| {
        let frame = crate::v1::Frame {
            sequence: 1,
            keyframe: true,
            rollup: rollup.to_vec().into(),
            node: vec![0, 0, 0, 0].into(),
            ..Default::default()
        };
        Decoder::new().decode(&frame).unwrap_err().to_string()
    };
    assert!(decode(&[0xff, 0xff, 0xff, 0x7f]).contains("at most 4096 at once"));
    assert!(decode(&[0, 5]).contains("5 series go of 0"));
    assert!(decode(&[0, 0, 9, 0]).contains("9 values for 0 series"));
    assert!(decode(&[0, 0, 0, 7]).contains("form 7"));
    assert!(decode(&[0, 0, 0, 0, 1]).contains("1 bytes after"));

    let series = Series::of(&catalogue::CPU_TIME, &[("cpu.mode", "user")]);
    let one = Sample { series: series.clone(), value: Value::Counter(1) };
    let twice = Content { samples: vec![one.clone(), one.clone()], ..Default::default() };
    assert!(twice.check().unwrap_err().to_string().contains("system.cpu.time{cpu.mode=user} stands twice"));
    let frame = Encoder::new().encode(&twice, None, false);
    assert_eq!(Decoder::new().decode(&frame).unwrap().samples, [one]);
    let over = Content { samples: vec![Sample { series, value: Value::Counter((1 << 40) + 1) }], ..Default::default() };
    assert!(over.check().unwrap_err().to_string().contains("system.cpu.time{cpu.mode=user} rose by"));
}

#[test]
fn a_dictionary_that_outgrows_its_limit_starts_anew() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for round in 0..20 {
        let samples = (0..1000)
            .map(|i| Sample {
                series: Series::application(&format!("s.{round}.{i}"), &[], Kind::Counter, "1", 0, Scope::Node)
                    .unwrap(),
                value: Value::Counter(1),
            })
            .collect();
        let content = Content { tick: round, samples, dropped: 0 };
        let frame = encoder.encode(&content, None, false);
        assert_eq!(decoder.decode(&frame).map(sorted), Ok(sorted(content)));
        assert!(decoder.dictionary_len() <= limits::DICTIONARY_MAX);
    }
}
