//! Blocks against the seconds they were made of, and against noise.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use proptest::prelude::*;
use starling_history::column::{self, ColumnError};
use starling_proto::{
    catalogue::{self, Kind, Scope},
    frame::{Content, DecodedFrame, Decoder, Encoder, Second},
    histogram::HistogramSum,
    ids::NodeId,
    interner::Interner,
    limits::COUNTER_INCREMENT_MAX,
    series::{Sample, Series, Value},
};

use super::*;

/// A small world of series that come, go and change.
fn world() -> Vec<Series> {
    (0..12)
        .map(|i| {
            let kind = [Kind::Counter, Kind::Gauge, Kind::Histogram][i % 3];
            let scope = if i % 2 == 0 { Scope::Cluster } else { Scope::Node };
            Series::application(&format!("series.{i}"), &[("app", "a")], kind, "1", 2, scope).unwrap()
        })
        .collect()
}

fn content(tick: u32, values: &[Option<i64>]) -> Content {
    let value = |kind, seed: i64| match kind {
        Kind::Counter => Value::Counter(seed.unsigned_abs() % (1 << 40)),
        Kind::Gauge => Value::Gauge(seed % (1 << 62)),
        Kind::Histogram => {
            let mut sum = HistogramSum::new();
            (0..seed.unsigned_abs() % 5).for_each(|i| sum.record(seed.unsigned_abs() >> i, i + 1));
            Value::Histogram(Arc::new(sum.to_histogram()))
        }
    };
    let samples = world()
        .into_iter()
        .zip(values)
        .filter_map(|(series, seed)| seed.map(|seed| Sample { value: value(series.kind(), seed), series }))
        .collect();
    Content { tick, samples, dropped: tick % 3 }
}

/// Seconds as a connection brings them, with the bytes of their histograms.
fn decoded(contents: &[Content], names: &Interner) -> Vec<DecodedFrame> {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    contents
        .iter()
        .map(|content| decoder.decode(&encoder.encode(content, None, content.tick % 7 == 0), names).unwrap())
        .collect()
}

fn sorted(mut content: Content) -> Content {
    content.samples.sort_by(|a, b| a.series.cmp(&b.series));
    content
}

/// A log in memory, by number of the row.
#[derive(Debug, Default)]
struct RowsHeld(Mutex<Vec<Vec<u8>>>);

impl RowsHeld {
    /// Takes rows out of the memory of a history; gives them with their places.
    fn take(&self, mut rows: LogRows, history: &mut History) -> LogRows {
        let mut held = self.0.lock().unwrap();
        for (number, row) in rows.rows.iter_mut().enumerate() {
            let place = LogPlace { file: 7, offset: held.len() as u64 };
            history.now_logged(rows.start, rows.first as usize + number, &row.bytes, place);
            held.push(row.bytes.to_vec());
            row.place = Some(place);
        }
        rows
    }

    /// Changes a byte, if there is one.
    fn damage(&self, at: prop::sample::Index) {
        let mut held = self.0.lock().unwrap();
        let rows = held.len();
        if let Some(byte) = (rows > 0).then(|| at.index(rows)).and_then(|row| held[row].first_mut()) {
            *byte ^= 1;
        }
    }
}

impl Backing for RowsHeld {
    fn row(&self, place: LogPlace, length: usize) -> Option<Vec<u8>> {
        let held = self.0.lock().unwrap().get(place.offset as usize)?.clone();
        (place.file == 7 && held.len() == length).then_some(held)
    }

    fn kept(&self, _: &NodeId, _: u32, _: u32) -> Vec<Second> {
        Vec::new()
    }
}

/// A second in which nothing comes.
fn quiet(history: &mut History, now_tick: u32) {
    history.prune(now_tick, 900, false);
}

/// Seals what is due, as whoever keeps the history does.
fn seal(history: &mut History, now_tick: u32, log: Option<&dyn Backing>) {
    for open in history.due(now_tick) {
        let (sealed, unread) = open.seal(log);
        assert_eq!(unread, 0);
        history.seal(&open, sealed);
    }
}

fn by_tick(seconds: &[Second]) -> BTreeMap<u32, Content> {
    seconds.iter().map(|second| (second.tick, sorted(second.content()))).collect()
}

/// What is picked of these seconds.
fn picked_of(seconds: &BTreeMap<u32, Content>, lost: &[(u32, u32)]) -> Picked {
    let mut picked = Picked { seconds: lost.to_vec(), ..Picked::default() };
    for content in seconds.values() {
        for sample in content.samples.iter().filter(|sample| sample.series.name().ends_with(['1', '2', '3'])) {
            let value = match &sample.value {
                Value::Counter(increment) => PickedValue::Integer(increment.cast_signed()),
                Value::Gauge(value) => PickedValue::Integer(*value),
                Value::Histogram(histogram) => {
                    PickedValue::Histogram((!histogram.is_empty()).then(|| histogram.clone()))
                }
            };
            picked.series.entry(sample.series.clone()).or_default().push((content.tick, value));
        }
    }
    picked
}

/// Values of some ticks of one block, in any order; a tick may stand twice.
fn ticks() -> impl Strategy<Value = Vec<(u32, Vec<Option<i64>>)>> {
    let value = prop_oneof![Just(None), Just(Some(0)), Just(Some(7)), Just(Some(7)), any::<i64>().prop_map(Some)];
    let second = (600u32..900, prop::collection::vec(value, 12));
    prop::collection::vec(second, 1..40)
}

proptest! {
    #[test]
    fn a_block_is_the_seconds_it_was_made_of(ticks in ticks(), from in 590u32..910, length in 0u32..300) {
        let names = Interner::default();
        // What is sent again says the same: the first counts here.
        let mut expected = BTreeMap::new();
        for (tick, values) in &ticks {
            expected.entry(*tick).or_insert_with(|| sorted(content(*tick, values)));
        }
        let contents: Vec<Content> = ticks.iter().map(|(tick, values)| content(*tick, values)).collect();
        let mut open = OpenBlock::new(600);
        for frame in decoded(&contents, &names) {
            prop_assert!(open.push(&frame.second, &frame.sparse));
        }
        prop_assert_eq!(&by_tick(&open.rows().seconds(None, 0, u32::MAX).0), &expected);
        let sealed = open.seal(None).0;
        prop_assert_eq!(&by_tick(&sealed.seconds(0, u32::MAX)), &expected);
        prop_assert!((590..910).all(|tick| sealed.holds(tick) == expected.contains_key(&tick)));
        // Somebody else, with names of his own.
        let theirs = Interner::default();
        let (read, left_out) = Block::decode(&sealed.encode(), &theirs).unwrap();
        prop_assert_eq!((&by_tick(&read.seconds(0, u32::MAX)), left_out), (&expected, 0));
        prop_assert_eq!(read.encode(), sealed.encode());
        // Any part of it.
        let part: BTreeMap<_, _> = expected.range(from..=from + length).map(|(tick, content)| (*tick, content.clone())).collect();
        prop_assert_eq!(&by_tick(&read.seconds(from, from + length)), &part);
        prop_assert_eq!(&by_tick(&open.rows().seconds(None, from, from + length).0), &part);
        // Some of its series.
        let mut history = History::default();
        for frame in decoded(&contents, &names) {
            prop_assert!(history.push(&frame.second, &frame.sparse));
        }
        for sealed in [false, true] {
            if sealed {
                (0..20).for_each(|_| quiet(&mut history, 0));
                seal(&mut history, 2000, None);
            }
            let wanted = |series: &Series| series.name().ends_with(['1', '2', '3']);
            let (picked, _) = history.picking(from, from + length, &[]).pick(&[], None, (wanted, &WantedOfLayouts::default()));
            let lost: Vec<_> = part.values().map(|content| (content.tick, content.dropped)).collect();
            prop_assert_eq!(&picked.seconds, &lost);
            prop_assert_eq!(&picked, &picked_of(&part, &lost));
        }
    }

    #[test]
    fn what_was_picked_is_gone_on_with(
        ticks in prop::collection::btree_map(0u32..900, prop::collection::vec(prop_oneof![Just(None), (0i64..9).prop_map(Some)], 12), 1..60),
        order in any::<u64>(),
        asked in prop::collection::vec((0u32..900, 0u32..900, 1usize..30), 1..8),
        again in 0usize..40,
    ) {
        let names = Interner::default();
        let mut contents: Vec<Content> = ticks.iter().map(|(tick, values)| content(*tick, values)).collect();
        // Some come late.
        contents.sort_by_key(|content| content.tick + (u64::from(content.tick).wrapping_mul(order | 1) % 40) as u32);
        let frames = decoded(&contents, &names);
        let mut frames = frames.iter();
        let (mut history, of_layouts) = (History::default(), WantedOfLayouts::default());
        let wanted = |series: &Series| series.name().ends_with(['1', '2', '3']);
        let mut begun = Vec::new();
        for (at, (a, b, count)) in asked.iter().enumerate() {
            for frame in frames.by_ref().take(*count) {
                prop_assert!(history.push(&frame.second, &frame.sparse));
            }
            if at == again {
                // As blocks that begin again have other rows.
                (0..20).for_each(|_| quiet(&mut history, 0));
                seal(&mut history, 2000, None);
            }
            let (from, to) = (*a.min(b), *a.max(b));
            let (picked, after) = history.picking(from, to, &begun).pick(&begun, None, (wanted, &of_layouts));
            let (afresh, _) = history.picking(from, to, &[]).pick(&[], None, (wanted, &WantedOfLayouts::default()));
            prop_assert_eq!(&picked, &afresh, "{} to {}", from, to);
            prop_assert!(after.iter().all(|begun| begun.bytes() > 0));
            begun = after;
        }
    }

    #[test]
    fn a_history_takes_seconds_in_any_order(ticks in prop::collection::vec((0u32..1200, prop::collection::vec(prop_oneof![Just(None), (0i64..9).prop_map(Some)], 12)), 1..40), seal_at: prop::sample::Index) {
        let names = Interner::default();
        let contents: Vec<Content> = ticks.iter().map(|(tick, values)| content(*tick, values)).collect();
        let mut expected = BTreeMap::new();
        let mut history = History::default();
        let seal_at = seal_at.index(ticks.len());
        for (i, (frame, content)) in decoded(&contents, &names).iter().zip(&contents).enumerate() {
            if i == seal_at {
                (0..20).for_each(|_| quiet(&mut history, 0));
                seal(&mut history, 2000, None);
                prop_assert_eq!(history.blocks_open(), 0);
            }
            prop_assert!(history.push(&frame.second, &frame.sparse));
            expected.entry(content.tick).or_insert_with(|| sorted(content.clone()));
        }
        prop_assert_eq!(&by_tick(&history.slice(0, 2000).seconds()), &expected);
        prop_assert!(history.slice(0, 2000).seconds().is_sorted_by_key(|second| second.tick));
        prop_assert_eq!(history.bytes(), history.counted());
        history.prune(1500, 900, false);
        expected.retain(|tick, _| *tick >= 600);
        prop_assert_eq!(&by_tick(&history.slice(0, 2000).seconds()), &expected);
        while history.drop_oldest() > 0 {}
        prop_assert_eq!((history.bytes(), history.oldest()), (0, None));
    }

    #[test]
    fn a_log_gives_back_the_seconds_it_took(
        ticks in prop::collection::vec((0u32..1200, prop::collection::vec(prop_oneof![Just(None), any::<i64>().prop_map(Some)], 12)), 1..40),
        takes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..5),
        seal_at: prop::sample::Index,
        hole: Option<prop::sample::Index>,
        damage: prop::sample::Index,
        newest in 0usize..20,
    ) {
        let names = Interner::default();
        let contents: Vec<Content> = ticks.iter().map(|(tick, values)| content(*tick, values)).collect();
        let mut expected = BTreeMap::new();
        let (mut history, mut log) = (History::default(), Vec::new());
        let (bytes, web) = (Arc::new(RowsHeld::default()), NodeId::parse("web").unwrap());
        let backing: Arc<dyn Backing> = bytes.clone();
        let seal_at = seal_at.index(ticks.len());
        for (i, (frame, content)) in decoded(&contents, &names).iter().zip(&contents).enumerate() {
            if i == seal_at {
                // A block that is opened again stands in the log a second time.
                log.extend(history.unlogged());
                (0..20).for_each(|_| quiet(&mut history, 0));
                seal(&mut history, 2000, Some(&*bytes));
            }
            prop_assert!(history.push(&frame.second, &frame.sparse));
            expected.entry(content.tick).or_insert_with(|| sorted(content.clone()));
            for (_, fails) in takes.iter().filter(|(at, _)| at.index(ticks.len()) == i) {
                let taken = history.unlogged();
                if *fails {
                    // Some of it may have been written.
                    taken.iter().for_each(|rows| history.log_again(rows.start, rows.first));
                    log.extend(taken.into_iter().take(1));
                } else {
                    // From now on memory holds only some of them.
                    log.extend(taken.into_iter().map(|rows| bytes.take(rows, &mut history)));
                    history.keep_newest(newest);
                }
            }
        }
        log.extend(history.unlogged().into_iter().map(|rows| bytes.take(rows, &mut history)));
        prop_assert!(history.unlogged().is_empty());
        history.keep_newest(newest);
        prop_assert_eq!(history.bytes(), history.counted());
        prop_assert!(history.picking(0, 2000, &[]).rows().0 <= newest);
        let read = |history: &History| by_tick(&history.slice(0, 2000).of(&web, Some(&backing)).seconds());
        prop_assert_eq!(&read(&history), &expected);
        let mut again = History::default();
        for rows in log.clone() {
            prop_assert_eq!(again.restore(rows).lost, 0);
        }
        prop_assert_eq!(&read(&again), &expected);
        prop_assert_eq!((again.bytes(), again.newest()), (again.counted(), expected.keys().last().copied()));
        // It goes on where it was.
        prop_assert!(again.unlogged().is_empty());
        let next = decoded(&[content(1199, &[Some(3); 12])], &names);
        prop_assert!(again.push(&next[0].second, &next[0].sparse) && history.push(&next[0].second, &next[0].sparse));
        prop_assert_eq!(read(&again), read(&history));
        // What a log does not give back is absent, never wrong, and so is what follows it in its block.
        bytes.damage(damage);
        expected.entry(1199).or_insert_with(|| sorted(content(1199, &[Some(3); 12])));
        for (tick, content) in read(&history) {
            prop_assert_eq!(Some(&content), expected.get(&tick));
        }
        // What stands in a log after a hole is absent, never wrong.
        if let Some(hole) = hole {
            let mut holed = History::default();
            let hole = hole.index(log.len());
            log.remove(hole);
            for rows in log {
                holed.restore(rows);
            }
            for (tick, content) in read(&holed) {
                prop_assert_eq!(Some(&content), expected.get(&tick));
            }
        }
    }

    #[test]
    fn damaged_blocks_never_panic(ticks in ticks(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), random in prop::collection::vec(any::<u8>(), 0..300)) {
        let names = Interner::default();
        let contents: Vec<Content> = ticks.iter().map(|(tick, values)| content(*tick, values)).collect();
        let mut open = OpenBlock::new(600);
        for frame in decoded(&contents, &names) {
            open.push(&frame.second, &frame.sparse);
        }
        let good = open.seal(None).0.encode();
        for end in (0..good.len()).step_by(1 + good.len() / 50) {
            prop_assert!(Block::decode(&good[..end], &names).is_err(), "cut at {end} of {} was taken", good.len());
        }
        let mut longer = good.to_vec();
        longer.push(0);
        prop_assert_eq!(Block::decode(&longer, &names).unwrap_err(), BlockError::Trailing(1));
        let mut damaged = good.to_vec();
        for (at, with) in flips {
            let at = at.index(damaged.len());
            damaged[at] ^= with;
        }
        for bytes in [damaged, [&[1u8][..], &random].concat(), random] {
            match Block::decode(&bytes, &names) {
                // Whatever is taken can be read, and says the same when it is sent on.
                Ok((block, _)) => {
                    let seconds = block.seconds(0, u32::MAX);
                    prop_assert!(seconds.len() <= BLOCK_SECONDS as usize);
                    let (again, _) = Block::decode(&block.encode(), &names).unwrap();
                    prop_assert_eq!(by_tick(&again.seconds(0, u32::MAX)), by_tick(&seconds));
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// Of the last minute nothing is read from the log, also just after the turn of a block.
#[test]
fn the_newest_rows_are_read_from_memory() {
    let names = Interner::default();
    let contents: Vec<Content> = (190..340).map(|tick| content(tick, &[Some(i64::from(tick * tick)); 12])).collect();
    let (mut history, log) = (History::default(), RowsHeld::default());
    let wanted = |series: &Series| series.name().ends_with(['1', '2', '3']);
    let pick = |history: &History, from: u32, to: u32, log: Option<&dyn Backing>| {
        history.picking(from, to, &[]).pick(&[], log, (wanted, &WantedOfLayouts::default())).0
    };
    for frame in decoded(&contents, &names) {
        assert!(history.push(&frame.second, &frame.sparse));
        for rows in history.unlogged() {
            log.take(rows, &mut history);
        }
        history.keep_newest(NEWEST_ROWS_MAX);
        let to = frame.second.tick;
        let from = to.saturating_sub(61).max(190);
        assert_eq!(history.picking(from, to, &[]).rows().1, 0, "{from} to {to}");
        let lost: Vec<_> = (from..=to).map(|tick| (tick, tick % 3)).collect();
        let part = contents.iter().filter(|one| (from..=to).contains(&one.tick));
        let part = part.map(|one| (one.tick, sorted(one.clone()))).collect();
        assert_eq!(pick(&history, from, to, None), picked_of(&part, &lost));
    }
    // Of what is before some is in the log only, and is the same.
    let (here, logged) = history.picking(190, 339, &[]).rows();
    assert_eq!((here, logged), (80, 70));
    let before = pick(&history, 190, 339, Some(&log));
    let kept = history.newest_bytes();
    history.keep_newest(20);
    assert_eq!((history.picking(190, 339, &[]).rows(), pick(&history, 190, 339, Some(&log))), ((20, 130), before));
    assert!(history.newest_bytes() < kept && history.bytes() == history.counted());
    // A node that is gone takes nothing.
    for _ in 0..=NEWEST_ROWS_MAX {
        history.prune(340, 900, true);
    }
    assert_eq!((history.newest_bytes(), history.bytes()), (0, history.counted()));
}

#[test]
fn rows_that_cannot_be_read_are_lost_and_counted() {
    let names = Interner::default();
    let mut history = History::default();
    for frame in decoded(&[content(600, &[Some(5); 12]), content(601, &[Some(6); 12])], &names) {
        history.push(&frame.second, &frame.sparse);
    }
    let taken = history.unlogged();
    let with = |change: fn(&mut LogRows)| {
        let mut rows = taken[0].clone();
        change(&mut rows);
        History::default().restore(rows)
    };
    assert_eq!(with(|_| ()), Restored { rows: 2, lost: 0 });
    assert_eq!(with(|rows| rows.rows[0].bytes = rows.rows[0].bytes[1..].into()), Restored { rows: 0, lost: 2 });
    assert_eq!(with(|rows| rows.rows[1].bytes = [&rows.rows[1].bytes[..], &[0]].concat().into()).lost, 1);
    assert_eq!(with(|rows| rows.rows[0].offset = 300).lost, 2);
    assert_eq!(with(|rows| rows.first = 1).lost, 2, "a row before them is missing");
}

#[test]
fn what_was_not_kept_elsewhere_is_told() {
    let names = Interner::default();
    let mut history = History::default();
    for frame in
        decoded(&[content(10, &[Some(5); 12]), content(310, &[Some(5); 12]), content(311, &[Some(5); 12])], &names)
    {
        history.push(&frame.second, &frame.sparse);
    }
    let waiting = |history: &History| history.waiting(600).collect::<Vec<_>>();
    assert_eq!(waiting(&history), [(0, false), (300, false)]);
    (0..20).for_each(|_| quiet(&mut history, 600));
    assert_eq!((waiting(&history), history.due(600).len()), (vec![(0, true), (300, true)], 2));
    // Somebody keeps the first one; of the other a second came while it was being written.
    history.forget(0, 1);
    history.forget(300, 1);
    assert_eq!((waiting(&history), history.bytes()), (vec![(300, true)], history.counted()));
    while history.drop_oldest() > 0 {}
    let lost = Lost { seconds: 2, first: 300, last: 300 };
    assert_eq!((history.take_lost(), history.take_lost(), history.is_empty()), (lost, Lost::default(), true));
}

#[test]
fn limits_are_checked_before_allocation() {
    let names = Interner::default();
    let decode = |bytes: &[u8]| Block::decode(bytes, &names).unwrap_err();
    assert_eq!(decode(&[2]), BlockError::Version(2));
    assert_eq!(decode(&[1, 7]), BlockError::Start(7));
    assert_eq!(decode(&vec![0; BLOCK_BYTES_MAX + 1]), BlockError::Bytes(BLOCK_BYTES_MAX + 1));
    // 38 bytes of held seconds, the last of which ends after 4 bits.
    let head = |last: u8| [&[1, 0][..], &[0; 37], &[last]].concat();
    assert_eq!(decode(&head(0x10)), BlockError::Column(ColumnError::Beyond));
    assert_eq!(decode(&[&head(0)[..], &[0xff, 0xff, 0x7f]].concat()), BlockError::Series(0x001f_ffff));
    assert_eq!(decode(&[&head(0)[..], &[200, 1, 0, 0]].concat()), BlockError::Series(200), "more than bytes");

    // One second with a counter of 2^40 and one more.
    let with = |value: i64| {
        let mut bytes = head(0);
        bytes[2] = 1;
        bytes.push(1);
        bytes.push(0);
        starling_proto::frame::put_series(&mut bytes, &Series::of(&catalogue::TCP_OPENED, &[]));
        // Nothing dropped; the column: in all seconds, constant.
        bytes.extend_from_slice(&[0, 0]);
        let mut column = vec![0];
        column::put(&mut column, &[value]);
        starling_proto::varint::put_bytes(&mut bytes, &column);
        Block::decode(&bytes, &names).map(|(block, _)| block.seconds(0, 0))
    };
    let most = COUNTER_INCREMENT_MAX.cast_signed();
    assert_eq!(with(most).unwrap()[0].cluster.values[..], [most]);
    for beyond in [most + 1, -1] {
        let error = with(beyond).unwrap_err().to_string();
        assert!(error.contains(&format!("system.tcp.opened is {beyond}, beyond")), "{error}");
    }
}

#[test]
fn a_series_without_a_number_is_left_out_and_the_others_are_read() {
    let contents = [content(600, &[Some(5); 12]), content(601, &[Some(6); 12])];
    let mut open = OpenBlock::new(600);
    for frame in decoded(&contents, &Interner::default()) {
        open.push(&frame.second, &frame.sparse);
    }
    let (block, left_out) = Block::decode(&open.seal(None).0.encode(), &Interner::new(5)).unwrap();
    assert_eq!(left_out, 7);
    let seconds = block.seconds(0, u32::MAX);
    assert_eq!(seconds.iter().map(|second| second.cluster.len() + second.node.len()).collect::<Vec<_>>(), [5, 5]);
    for (second, content) in seconds.iter().zip(&contents) {
        assert!(second.content().samples.iter().all(|sample| content.samples.contains(sample)));
    }
}

#[test]
fn blocks_of_one_node_are_bounded() {
    let mut history = History::default();
    for n in 0..50 {
        let second = Second { tick: n * BLOCK_SECONDS, ..Second::default() };
        assert!(history.push(&second, &<[Box<[Bytes]>; 2]>::default()));
        assert!(history.slice(0, u32::MAX).seconds().len() <= 16);
    }
    assert_eq!(history.oldest(), Some(34 * BLOCK_SECONDS));
}

/// 500 series that change as those of a real host did (trace of 954 series: 26 % ever changed, 12 % in a second), for
/// 15 minutes.
#[test]
fn fifteen_minutes_of_a_host_take_less_than_eighty_kilobytes() {
    let names = Interner::default();
    let series: Vec<Series> = (0..500)
        .map(|i| {
            let kind = if i % 2 == 0 { Kind::Counter } else { Kind::Gauge };
            Series::application(&format!("host.{i}"), &[("device", "sda")], kind, "By", 0, Scope::Node).unwrap()
        })
        .collect();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut gauges = vec![1i64 << 30; series.len()];
    let contents: Vec<Content> = (0..900)
        .map(|tick| {
            let samples = series.iter().enumerate().map(|(i, series)| {
                let changes = i % 8 < 2 && random() % 100 < 47;
                let value = match series.kind() {
                    Kind::Counter => Value::Counter(if changes { random() % 64 } else { 0 }),
                    _ => {
                        gauges[i] += if changes { (random() % 64) as i64 - 32 } else { 0 };
                        Value::Gauge(gauges[i])
                    }
                };
                Sample { series: series.clone(), value }
            });
            Content { tick, samples: samples.collect(), dropped: 0 }
        })
        .collect();
    let mut history = History::default();
    let mut open = 0;
    for frame in decoded(&contents, &names) {
        assert!(history.push(&frame.second, &frame.sparse));
        open = open.max(history.bytes());
        history.prune(frame.second.tick, 900, false);
        seal(&mut history, frame.second.tick, None);
    }
    (0..20).for_each(|_| quiet(&mut history, 900));
    seal(&mut history, 900, None);
    assert_eq!(by_tick(&history.slice(0, 900).seconds()).len(), 900);
    let sealed = history.bytes();
    println!("15 minutes of 500 series: at most {open} bytes with the last block open, {sealed} sealed");
    assert!(sealed < 80_000, "{sealed} bytes sealed");
    assert!(open < 2 * sealed, "{open} bytes with one open block");
}

#[test]
fn the_next_block_shares_the_list_of_series_while_it_is_the_same() {
    let names = Interner::default();
    let mut values = [Some(5); 12];
    let mut contents: Vec<Content> = (890..910).map(|tick| content(tick, &values)).collect();
    let mut history = History::default();
    let read = |history: &History| by_tick(&history.slice(0, 2_000).seconds());
    let wanted = |contents: &[Content]| contents.iter().map(|one| (one.tick, sorted(one.clone()))).collect();
    for frame in decoded(&contents, &names) {
        assert!(history.push(&frame.second, &frame.sparse));
    }
    assert!(history.blocks_open() == 2 && history.shares_series());
    assert_eq!(read(&history), wanted(&contents));
    // A series went: the block after has no column for it.
    values[4] = None;
    contents.push(content(1_200, &values));
    let all = decoded(&contents, &names);
    let last = all.last().unwrap();
    assert!(history.push(&last.second, &last.sparse));
    assert!(history.blocks_open() == 3 && !history.shares_series());
    assert_eq!(read(&history), wanted(&contents));
}
