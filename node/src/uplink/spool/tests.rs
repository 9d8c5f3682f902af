use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use starling_proto::{
    catalogue,
    frame::Content,
    ids::WriterId,
    series::{Sample, Series, Value},
};

use super::{
    super::pin::Pin,
    files::{Files, Kept},
    *,
};

const BOOT: [u8; 16] = [5; 16];
const NOW: u32 = 1_000_000;

fn node() -> NodeId {
    NodeId::parse("web-1").unwrap()
}

fn head(stream: u8) -> Head {
    Head { stream: StreamId::new([stream; 16]), boot: BOOT, node: node() }
}

/// A second with a series of `bytes`, so that segments fill.
fn second(tick: u32, bytes: usize) -> Arc<Content> {
    let filler = "x".repeat(bytes.min(100));
    let many = (0..bytes.div_ceil(100)).map(|n| Sample {
        series: Series::of(
            &catalogue::INTERFACE_IO,
            &[("network.interface.name", &format!("{n}{filler}")), ("network.io.direction", "receive")],
        ),
        value: Value::Counter(u64::from(tick)),
    });
    Arc::new(Content { tick, samples: many.collect(), dropped: 0 })
}

fn writer(number: u8) -> WriterId {
    WriterId::new([number; 16])
}

fn open(folder: &Path) -> Found {
    Spool::open(folder, &node(), BOOT, NOW).unwrap().1
}

/// The seconds and whose they are.
fn pins(former: &Former) -> Vec<(u32, Pin)> {
    former.kept.iter().map(|(&tick, &(pin, _))| (tick, pin)).collect()
}

fn stream_of(folder: &Path, stream: u8) -> PathBuf {
    folder.join(node().as_str()).join(head(stream).stream.to_string())
}

#[derive(Debug, Clone)]
enum Step {
    Cut {
        bytes: usize,
    },
    Offer {
        nth: usize,
        writer: u8,
    },
    Gone {
        nth: usize,
    },
    /// The process is killed and another one goes on.
    Killed,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![3 => Just(200usize), 1 => Just(90_000)].prop_map(|bytes| Step::Cut { bytes }),
        3 => (any::<usize>(), 1..4u8).prop_map(|(nth, writer)| Step::Offer { nth, writer }),
        3 => any::<usize>().prop_map(|nth| Step::Gone { nth }),
        1 => Just(Step::Killed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whenever the process is killed, what is found is what it kept, and a pin that was given is never another one.
    #[test]
    fn what_was_kept_is_found_whenever_the_process_ends(steps in proptest::collection::vec(step(), 1..120)) {
        let folder = tempfile::tempdir().unwrap();
        let stream = stream_of(folder.path(), 1);
        let mut files = Files::begin(&stream, &head(1), (&BTreeMap::new(), &Aside::default()), 0).unwrap();
        let mut model: BTreeMap<u32, Pin> = BTreeMap::new();
        let mut last = 0;
        for step in steps {
            let nth = |nth: usize| model.keys().nth(nth.checked_rem(model.len()).unwrap_or(0)).copied();
            match step {
                Step::Cut { bytes } => {
                    last += 1;
                    files.write(&[Change::Cut(second(last, bytes))]).unwrap();
                    model.insert(last, Pin::Unknown);
                }
                Step::Offer { nth: n, writer: w } => {
                    let Some(tick) = nth(n).filter(|tick| model[tick] == Pin::Unknown) else { continue };
                    files.write(&[Change::Offered { tick, writer: writer(w) }]).unwrap();
                    model.insert(tick, Pin::To(writer(w)));
                }
                Step::Gone { nth: n } => {
                    let Some(tick) = nth(n) else { continue };
                    files.write(&[Change::Gone { ticks: vec![tick] }]).unwrap();
                    model.remove(&tick);
                }
                Step::Killed => {
                    drop(files);
                    let found = open(folder.path());
                    prop_assert_eq!(found.unreadable, 0);
                    prop_assert!(found.former.is_empty());
                    let former = found.current.unwrap();
                    prop_assert_eq!(pins(&former), model.clone().into_iter().collect::<Vec<_>>());
                    prop_assert_eq!(former.last_tick, last, "whether it is kept or not");
                    let kept = |(tick, (pin, content)): (u32, (Pin, Arc<Content>))| (tick, Kept { content, pin });
                    files = Files::begin(&stream, &head(1), (&former.kept.into_iter().map(kept).collect(), &former.aside), last).unwrap();
                }
            }
        }
        let most = model.len() * 120_000 + 2 * 1024 * 1024 + 200_000;
        let oldest = model.keys().next().map_or(0, |oldest| last - oldest) as usize;
        prop_assert!(files.bytes() <= most.max(oldest * 120_000 + 3 * 1024 * 1024), "{} bytes", files.bytes());
    }
}

#[test]
fn a_stream_goes_on_only_where_every_second_of_it_is_known() {
    let write = |changes: &[Change]| {
        let folder = tempfile::tempdir().unwrap();
        let mut files =
            Files::begin(&stream_of(folder.path(), 1), &head(1), (&BTreeMap::new(), &Aside::default()), 0).unwrap();
        files.write(changes).unwrap();
        folder
    };
    let cuts = [Change::Cut(second(100, 200)), Change::Offered { tick: 100, writer: writer(1) }];
    let more = [Change::Cut(second(101, 200))];

    let whole = write(&[&cuts[..], &more].concat());
    assert_eq!(pins(&open(whole.path()).current.unwrap()), [(100, Pin::To(writer(1))), (101, Pin::Unknown)]);

    // After a start of the machine, what was written last may be missing; and nobody is older than a second to come.
    for (boot, now) in [([6; 16], NOW), ([0; 16], NOW), (BOOT, 100)] {
        let found = Spool::open(whole.path(), &node(), boot, now).unwrap().1;
        assert!(found.current.is_none(), "{boot:?} {now}");
        assert_eq!(pins(&found.former[0]), [(100, Pin::To(writer(1))), (101, Pin::Unknown)]);
    }

    let ended = write(&[&cuts[..], &[Change::Ended]].concat());
    let found = open(ended.path());
    assert!(found.current.is_none() && found.former.len() == 1);

    let torn = write(&[&cuts[..], &more].concat());
    let file = stream_of(torn.path(), 1).join("0000000000000000.seg");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(pins(&open(torn.path()).current.unwrap()), [(100, Pin::To(writer(1)))], "it was not sent");

    let damaged = write(&[&cuts[..], &more].concat());
    let file = stream_of(damaged.path(), 1).join("0000000000000000.seg");
    let mut bytes = fs::read(&file).unwrap();
    // In the first frame.
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let found = open(damaged.path());
    assert_eq!((found.unreadable, found.current.is_none()), (2, true), "the second one cannot be read without it");
}

#[test]
fn streams_of_others_and_without_anything_are_not_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    for stream in 1..=5 {
        let mut files =
            Files::begin(&stream_of(folder.path(), stream), &head(stream), (&BTreeMap::new(), &Aside::default()), 0)
                .unwrap();
        files.write(&[Change::Cut(second(100 + u32::from(stream), 200)), Change::Ended]).unwrap();
    }
    // Nothing is kept of it.
    let mut files =
        Files::begin(&stream_of(folder.path(), 6), &head(6), (&BTreeMap::new(), &Aside::default()), 0).unwrap();
    files.write(&[Change::Cut(second(90, 200)), Change::Gone { ticks: vec![90] }, Change::Ended]).unwrap();
    // Not what its folder says, of another node, and no spool at all.
    let mut files =
        Files::begin(&stream_of(folder.path(), 7), &head(8), (&BTreeMap::new(), &Aside::default()), 0).unwrap();
    files.write(&[Change::Cut(second(90, 200))]).unwrap();
    let other = Head { node: NodeId::parse("web-2").unwrap(), ..head(9) };
    let mut files =
        Files::begin(&stream_of(folder.path(), 9), &other, (&BTreeMap::new(), &Aside::default()), 0).unwrap();
    files.write(&[Change::Cut(second(90, 200))]).unwrap();
    let foreign = folder.path().join("web-1/lost+found");
    fs::create_dir(&foreign).unwrap();

    let found = open(folder.path());
    assert!(found.current.is_none());
    let ticks: Vec<u32> = found.former.iter().map(|former| former.last_tick).collect();
    assert_eq!(ticks, [103, 104, 105], "the newest, the oldest of them first");
    assert_eq!(found.unreadable, 4, "two of which there is no room, and two that are not of this node");
    let left = fs::read_dir(folder.path().join("web-1")).unwrap().count();
    assert_eq!(left, 3 + 2, "three streams, the lock, and what is not ours");
    assert!(foreign.exists());
}

#[test]
fn one_daemon_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = Spool::open(folder.path(), &node(), BOOT, NOW).unwrap();
    let error = Spool::open(folder.path(), &node(), BOOT, NOW).unwrap_err().to_string();
    assert!(error.contains("another daemon has it"), "{error}");
    let other = Spool::open(folder.path(), &NodeId::parse("web-2").unwrap(), BOOT, NOW);
    assert!(other.is_ok(), "another node is another folder");
    drop(held);
    Spool::open(folder.path(), &node(), BOOT, NOW).unwrap();
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn what_cannot_be_written_is_told_and_written_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let stream = stream_of(folder.path(), 1);
    let before = [(second(99, 200), Pin::To(writer(1)))];
    let (spool, _) = Writer::start(stream.clone(), head(1), (before.into_iter(), 99), Aside::default()).unwrap();
    spool.push(Change::Cut(second(100, 200)));
    until("it is written", || spool.health().bytes > 400);
    // Whatever is written from here on goes to a file that nobody finds, and the next segment cannot be made.
    fs::remove_dir_all(&stream).unwrap();
    fs::write(&stream, "in the way").unwrap();
    (101..450).for_each(|tick| spool.push(Change::Cut(second(tick, 200))));
    until("it is told", || spool.health().trouble.is_some());
    assert!(spool.health().trouble.unwrap().contains(&stream.display().to_string()));
    spool.push(Change::Cut(second(450, 200)));
    spool.push(Change::Offered { tick: 100, writer: writer(2) });
    fs::remove_file(&stream).unwrap();
    until("it is written again", || spool.health().trouble.is_none());
    spool.push(Change::Gone { ticks: vec![101] });
    spool.end();
    let found = pins(&open(folder.path()).current.unwrap());
    let wanted = (102..=450).map(|tick| (tick, Pin::Unknown));
    let first = [(99, Pin::To(writer(1))), (100, Pin::To(writer(2)))];
    assert_eq!(found, first.into_iter().chain(wanted).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_ended_with_everything_acknowledged_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stream = stream_of(folder.path(), 1);
    let (spool, _) = Writer::start(stream.clone(), head(1), (std::iter::empty(), 0), Aside::default()).unwrap();
    spool.push(Change::Cut(second(100, 200)));
    spool.push(Change::Gone { ticks: vec![100] });
    spool.push(Change::Ended);
    spool.end();
    assert!(!stream.exists());
}

/// What a thread answers.
fn answer(answers: &mut tokio::sync::mpsc::Receiver<Answer>) -> Answer {
    answers.blocking_recv().expect("the thread is there")
}

fn read_back(spool: &Writer, answers: &mut tokio::sync::mpsc::Receiver<Answer>, ticks: &[u32]) -> Vec<Content> {
    spool.push(Change::Fetch { ticks: ticks.to_vec() });
    let Answer::Read(frames) = answer(answers) else { panic!("it is read") };
    frames.iter().map(|frame| (**frame).clone()).collect()
}

#[test]
fn what_is_put_aside_is_read_back_also_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let stream = stream_of(folder.path(), 1);
    let (spool, mut answers) =
        Writer::start(stream.clone(), head(1), (std::iter::empty(), 0), Aside::default()).unwrap();
    let last = 1_000 + 900 + 700;
    // As a ring of 900 does it.
    for tick in 1_000..=last {
        spool.push(Change::Cut(second(tick, 300)));
        if tick >= 1_900 {
            spool.push(Change::Aside { tick: tick - 900 });
        }
        if tick % 200 == 0 {
            assert!(read_back(&spool, &mut answers, &[]).is_empty(), "it keeps up");
        }
    }
    spool.push(Change::Offered { tick: 1_001, writer: writer(3) });
    spool.push(Change::Gone { ticks: vec![1_002] });
    let read = read_back(&spool, &mut answers, &[1_000, 1_002, 1_003, 1_650, 7]);
    assert_eq!(read, [1_000, 1_003, 1_650].map(|tick| (*second(tick, 300)).clone()), "and not what is gone");
    spool.end();

    // Killed, and once more before anything is acknowledged.
    for _ in 0..2 {
        let former = open(folder.path()).current.unwrap();
        assert_eq!((former.kept.len(), former.aside.frames.len(), former.len()), (900, 700, 1_600));
        assert_eq!(former.last_tick, last);
        let aside = former.aside();
        assert_eq!(
            (aside[&1_000], aside[&1_001], aside.contains_key(&1_002)),
            (Pin::Unknown, Pin::To(writer(3)), false)
        );
        let kept = former.kept.into_values().map(|(pin, content)| (content, pin));
        let (spool, mut answers) = Writer::start(stream.clone(), head(1), (kept, last), former.aside).unwrap();
        let read = read_back(&spool, &mut answers, &[1_001, 1_650, 1_002]);
        assert_eq!(read, [1_001, 1_650].map(|tick| (*second(tick, 300)).clone()));
        spool.end();
    }
    let segments = fs::read_dir(&stream).unwrap().count();
    let former = open(folder.path()).current.unwrap();
    let (spool, _) = Writer::start(stream.clone(), head(1), (std::iter::empty(), last), former.aside).unwrap();
    spool.push(Change::Gone { ticks: (1_000..=last).collect() });
    until("what is acknowledged goes", || fs::read_dir(&stream).unwrap().count() == 1 && segments > 3);
    spool.end();
}

#[test]
fn what_is_aside_outlives_a_disk_that_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let stream = stream_of(folder.path(), 1);
    let (spool, mut answers) =
        Writer::start(stream.clone(), head(1), (std::iter::empty(), 0), Aside::default()).unwrap();
    for tick in 1_000..1_400 {
        spool.push(Change::Cut(second(tick, 300)));
    }
    (1_000..1_200).for_each(|tick| spool.push(Change::Aside { tick }));
    spool.push(Change::Gone { ticks: vec![1_100] });
    until("two segments", || stream.join("0000000000000001.seg").exists());
    // The third segment cannot be made.
    fs::write(stream.join("0000000000000002.seg"), "in the way").unwrap();
    (1_400..1_700).for_each(|tick| spool.push(Change::Cut(second(tick, 300))));
    until("it is told", || spool.health().trouble.is_some());
    spool.push(Change::Aside { tick: 1_201 });
    let Answer::Lost(lost) = answer(&mut answers) else { panic!("what is not on the disk is lost") };
    assert_eq!(lost, [1_201]);
    spool.push(Change::Gone { ticks: vec![1_201, 1_250] });
    // A process that ended now would leave this: what was aside, and no word of what was cut since.
    let found = fs::read_dir(&stream).unwrap().count();
    assert_eq!(found, 2, "the segment and the mark");
    until("it is written again", || spool.health().trouble.is_none());
    let read = read_back(&spool, &mut answers, &[1_000, 1_100, 1_199]);
    assert_eq!(read, [1_000, 1_199].map(|tick| (*second(tick, 300)).clone()));
    spool.end();
    let former = open(folder.path()).current.unwrap();
    assert_eq!((former.aside.frames.len() + former.kept.len(), former.last_tick), (199 + 500 - 2, 1_699));
    assert!(!former.aside().contains_key(&1_100));
}

#[test]
fn a_stream_that_was_cut_short_does_not_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let stream = stream_of(folder.path(), 1);
    let mut files = Files::begin(&stream, &head(1), (&BTreeMap::new(), &Aside::default()), 0).unwrap();
    let cuts: Vec<Change> = (100..450).map(|tick| Change::Cut(second(tick, 300))).collect();
    files.write(&cuts).unwrap();
    let mut aside = Aside { frames: [(100, (Pin::Unknown, 0)), (9, (Pin::Unknown, 0))].into(), ..Aside::default() };
    files.cut_short(&mut aside).unwrap();
    assert_eq!(aside.frames.keys().copied().collect::<Vec<_>>(), [100], "of what is there");
    let found = open(folder.path());
    assert!(found.current.is_none());
    assert_eq!(found.former[0].len(), 300);
}
