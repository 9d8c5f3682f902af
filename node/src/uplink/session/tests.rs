use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use starling_proto::{
    catalogue,
    frame::Decoder,
    ids::WriterId,
    interner::Interner,
    limits::{DETAIL_SECONDS_MAX, EARLY_SECONDS, LATE_WINDOW, RING},
    series::{Sample, Series, Value},
};

use super::{
    super::spool::{ASIDE_MAX, Answer},
    *,
};

/// The far end as the session sees it: executes actions, decodes every frame and checks what must always hold.
struct Bench {
    session: UplinkSession,
    now: Duration,
    /// The node's clock. By default so late that every frame is really too old.
    wall: Duration,
    next_tick: u32,
    cut: BTreeMap<u32, Arc<Content>>,
    pins: BTreeMap<u32, WriterId>,
    settled: BTreeSet<u32>,
    lost: BTreeSet<u32>,
    link: Option<FarEnd>,
    end_of_stream: Option<u32>,
    continues: bool,
    collectors: Vec<Vec<v1::CollectorFault>>,
    /// Seconds for which somebody looks.
    looks: Vec<u32>,
    details: Vec<v1::NodeDetail>,
    dialled: Vec<(String, v1::Hello)>,
    events: Vec<Event>,
    /// What is written down.
    disk: BTreeMap<u32, Pin>,
    /// What of it is to be read back.
    fetch: Option<Vec<u32>>,
    /// What aggregators say they take by its age: from the one on, of the old up to the other.
    gate: (u32, u32),
    /// Seconds of which a process that went on did not know to whom they were offered.
    unknown: BTreeSet<u32>,
    /// Cut by this process.
    cut_here: u64,
    /// Acknowledged and lost by processes before.
    before: u64,
}

struct FarEnd {
    number: u64,
    decoder: Decoder,
    names: Interner,
    writer: Option<WriterId>,
    in_flight: BTreeSet<u32>,
    sent: Vec<v1::Frame>,
    finished: bool,
}

fn settings(seeds: &[&str], ring_frames: usize) -> Settings {
    Settings {
        hello: v1::Hello { node_id: "n1".into(), ..v1::Hello::default() },
        seeds: seeds.iter().map(|&s| s.to_owned()).collect(),
        ring_frames,
        ring_bytes: usize::MAX,
        grace: Duration::from_secs(4),
        hold: Duration::ZERO,
        seed: 1,
        before: Before::default(),
        spooled: false,
    }
}

fn writer(n: u8) -> WriterId {
    WriterId::new([n; 16])
}

fn accept(n: u8) -> ingest_response::Body {
    ingest_response::Body::Accept(v1::Accept {
        writer_id: writer(n).to_bytes(),
        aggregator_id: format!("agg-{n}"),
        ..v1::Accept::default()
    })
}

fn endpoint(address: &str) -> v1::Endpoint {
    v1::Endpoint { aggregator_id: "a".into(), address: address.into() }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let mut bench = Self {
            session: UplinkSession::new(settings),
            now: Duration::ZERO,
            wall: Duration::from_secs(1_000_000),
            next_tick: 1000,
            cut: BTreeMap::new(),
            pins: BTreeMap::new(),
            settled: BTreeSet::new(),
            lost: BTreeSet::new(),
            link: None,
            end_of_stream: None,
            continues: false,
            collectors: vec![],
            looks: vec![],
            details: vec![],
            dialled: vec![],
            events: vec![],
            disk: BTreeMap::new(),
            fetch: None,
            gate: (0, 0),
            unknown: BTreeSet::new(),
            cut_here: 0,
            before: 0,
        };
        bench.session.advance(bench.now);
        bench.run();
        bench
    }

    fn cut(&mut self) -> u32 {
        let tick = self.next_tick;
        self.next_tick += 1;
        let content = Arc::new(Content {
            tick,
            samples: vec![
                Sample { series: Series::of(&catalogue::TCP_OPENED, &[]), value: Value::Counter(u64::from(tick % 3)) },
                Sample { series: Series::of(&catalogue::UPTIME, &[]), value: Value::Gauge(i64::from(tick) * 7) },
            ],
            dropped: tick % 2,
        });
        self.cut.insert(tick, Arc::clone(&content));
        self.cut_here += 1;
        self.session.offer(content, self.now);
        self.run();
        tick
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.advance(self.now);
        self.run();
    }

    fn say(&mut self, body: ingest_response::Body) {
        let Some(link) = &mut self.link else { return };
        let mut body = body;
        if let ingest_response::Body::Accept(accept) = &mut body {
            link.writer = WriterId::parse(&accept.writer_id).ok();
            (accept.floor, accept.old_until) = self.gate;
        }
        if let ingest_response::Body::KeyframeRequest(_) = &body {
            link.in_flight.clear();
        }
        let number = link.number;
        self.session.received(number, v1::IngestResponse { body: Some(body) }, self.now, self.wall);
        self.run();
    }

    fn ack(&mut self, ticks: Vec<u32>) {
        let in_flight = self.link.as_ref().map(|link| link.in_flight.clone()).unwrap_or_default();
        self.settled.extend(ticks.iter().filter(|tick| in_flight.contains(tick)));
        if let Some(link) = &mut self.link {
            link.in_flight.retain(|tick| !ticks.contains(tick));
        }
        let (floor, old_until) = self.gate;
        self.say(ingest_response::Body::Ack(v1::Ack { ticks, copies: 2, alone: false, floor, old_until }));
    }

    /// The disk gives back what was asked for and `is_good`.
    fn read_back(&mut self, is_good: impl Fn(u32) -> bool) {
        let Some(ticks) = self.fetch.take() else { return };
        let read = ticks.iter().filter(|&&tick| is_good(tick)).map(|tick| Arc::clone(&self.cut[tick])).collect();
        self.session.disk_answered(Answer::Read(read), self.now);
        self.run();
    }

    fn unacknowledged(&self) -> usize {
        self.session.ring().len() + self.session.aside_len()
    }

    fn refuse(&mut self, tick: u32, reason: v1::RefusalReason) {
        let detail = "a test".to_owned();
        self.say(ingest_response::Body::Refusal(v1::Refusal { tick, reason: reason as i32, detail }));
    }

    /// Sets the node's clock to the newest second.
    fn clock_is_right(&mut self) {
        self.wall = Duration::from_secs(u64::from(self.next_tick) - 1);
    }

    fn in_flight(&self) -> Vec<u32> {
        self.link.as_ref().map(|link| link.in_flight.iter().copied().collect()).unwrap_or_default()
    }

    fn sent(&self) -> Vec<u32> {
        self.link.as_ref().map(|link| link.sent.iter().map(|frame| frame.tick).collect()).unwrap_or_default()
    }

    fn cut_link(&mut self) {
        if let Some(link) = self.link.take() {
            self.session.lost(link.number, "cut", self.now);
            self.run();
        }
    }

    fn run(&mut self) {
        while let Some(action) = self.session.next_action() {
            self.execute(action);
        }
        let totals = self.session.totals();
        let ended = totals.acked + totals.lost.total() + totals.left;
        assert_eq!(totals.recovered + totals.cut, ended + self.unacknowledged() as u64, "conservation");
        assert_eq!(totals.cut, self.cut_here);
        // A comparison of hours at each second takes long.
        if self.session.settings.spooled && !self.session.ended() && self.disk.len() < 3_000 {
            let mut kept = self.session.aside.frames.clone();
            let aside = kept.len();
            kept.extend(self.session.ring().iter().map(|kept| (kept.content.tick, kept.pin)));
            assert_eq!(kept.len(), aside + self.session.ring().len(), "it is kept here or there");
            assert_eq!(kept, self.disk, "what is kept is written down");
            assert!(aside <= ASIDE_MAX);
            let asked = self.fetch.iter().flatten().copied().collect();
            assert_eq!(self.session.aside.fetched, asked);
        }
    }

    /// The process is killed, with what it wrote last of the pins not on the disk when that `is_behind`, and another one goes on
    /// with the stream.
    fn kill(&mut self, is_behind: bool) {
        self.link = None;
        let behind = self.disk.keys().next_back().copied().filter(|_| is_behind);
        let pin = |(&tick, &pin)| (tick, if pin == Pin::Free || behind == Some(tick) { Pin::Unknown } else { pin });
        self.disk = self.disk.iter().map(pin).collect();
        self.unknown.extend(self.disk.iter().filter(|(_, pin)| **pin == Pin::Unknown).map(|(tick, _)| tick));
        let mut settings = self.session.settings.clone();
        let in_memory = settings.ring_frames.min(self.disk.len());
        let newest = self.disk.iter().skip(self.disk.len() - in_memory);
        self.fetch = None;
        settings.before = Before {
            kept: newest.map(|(tick, &pin)| (pin, Arc::clone(&self.cut[tick]))).collect(),
            aside: self.disk.iter().take(self.disk.len() - in_memory).map(|(&tick, &pin)| (tick, pin)).collect(),
            last_tick: self.next_tick - 1,
            links: self.dialled.last().map_or(0, |(_, hello)| hello.session),
        };
        self.cut_here = 0;
        let totals = self.session.totals();
        self.before += totals.acked + totals.lost.total();
        self.session = UplinkSession::new(settings);
        self.session.advance(self.now);
        self.run();
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::Dial { link, address, hello } => {
                assert!(self.link.as_ref().is_none_or(|old| old.number < link), "one link at a time, numbers rise");
                let before = self.dialled.last().map_or(0, |(_, hello)| hello.session);
                assert!(hello.session > before, "over all processes: {} after {before}", hello.session);
                self.dialled.push((address, *hello));
                self.link = Some(FarEnd {
                    number: link,
                    decoder: Decoder::new(),
                    names: Interner::default(),
                    writer: None,
                    in_flight: BTreeSet::new(),
                    sent: vec![],
                    finished: false,
                });
            }
            Action::Send { link, request } | Action::Tell { link, request } => self.take(link, request),
            Action::Look { seconds } => self.looks.push(seconds),
            Action::Finish { link } => {
                let far = self.link.as_mut().filter(|far| far.number == link).expect("a link to finish");
                far.finished = true;
            }
            Action::Close { link } => {
                if self.link.as_ref().is_some_and(|far| far.number == link) {
                    self.link = None;
                }
            }
            Action::Spool(Change::Cut(content)) => drop(self.disk.insert(content.tick, Pin::Free)),
            Action::Spool(Change::Offered { tick, writer }) => {
                assert!(self.disk.insert(tick, Pin::To(writer)).is_some(), "it is kept");
            }
            Action::Spool(Change::Gone { ticks }) => {
                assert!(ticks.iter().all(|tick| self.disk.remove(tick).is_some()), "it was kept");
            }
            Action::Spool(Change::Aside { tick }) => {
                assert!(self.disk.contains_key(&tick), "it is on the disk");
                if let Some(far) = &mut self.link {
                    far.in_flight.remove(&tick);
                }
            }
            Action::Spool(Change::Fetch { ticks }) => {
                assert!(self.fetch.replace(ticks).is_none(), "one at a time");
            }
            Action::Spool(Change::Ended) => {}
            Action::Report(event) => {
                if let Event::Lost { tick, .. } = &event {
                    self.lost.insert(*tick);
                    if let Some(far) = &mut self.link {
                        far.in_flight.remove(tick);
                    }
                }
                self.events.push(event);
            }
        }
    }

    fn take(&mut self, link: u64, request: v1::IngestRequest) {
        let far = self.link.as_mut().filter(|far| far.number == link).expect("sent on the open link");
        assert!(!far.finished, "nothing after the end of stream");
        match request.body.expect("a body") {
            ingest_request::Body::Frame(frame) => {
                let decoded = far.decoder.decode(&frame, &far.names).expect("what is sent can be decoded");
                let content = decoded.second.content();
                assert_eq!(&content, &*self.cut[&frame.tick], "content is immutable");
                if frame.pin.is_empty() {
                    assert!(self.unknown.contains(&frame.tick), "who knows whose it is says so");
                } else {
                    assert!(!self.unknown.contains(&frame.tick), "who does not know gives it to nobody");
                    let pin = WriterId::parse(&frame.pin).expect("a pin");
                    match self.pins.insert(frame.tick, pin) {
                        Some(first) => assert_eq!(pin, first, "a pin never changes"),
                        None => assert_eq!(Some(pin), far.writer, "the pin is the first writer it is offered to"),
                    }
                }
                far.in_flight.insert(frame.tick);
                assert!(far.in_flight.len() <= OFFER_WINDOW, "window");
                far.sent.push(frame);
            }
            ingest_request::Body::Collectors(report) => self.collectors.push(report.faults),
            ingest_request::Body::Detail(detail) => self.details.push(detail),
            ingest_request::Body::EndOfStream(end) => {
                self.end_of_stream = Some(end.last_tick);
                self.continues = end.continues;
            }
            ingest_request::Body::Hello(_) => panic!("the shell sends the hello"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Cut,
    Pass(u64),
    Accept(u8),
    Redirect,
    Ack(usize),
    AckOther(u32),
    Refuse(usize, i32, bool),
    FreshStart,
    Break,
    OldLink,
    Kill(bool),
    Gate(u32, u32),
    Disk(u32),
    AllLost,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Cut),
        3 => (1u64..7000).prop_map(Step::Pass),
        4 => (0u8..4).prop_map(Step::Accept),
        1 => Just(Step::Redirect),
        5 => (0usize..30).prop_map(Step::Ack),
        1 => (990u32..1100).prop_map(Step::AckOther),
        2 => (0usize..30, 0i32..=4, any::<bool>()).prop_map(|(n, reason, fresh)| Step::Refuse(n, reason, fresh)),
        1 => Just(Step::FreshStart),
        2 => Just(Step::Break),
        1 => Just(Step::OldLink),
        1 => any::<bool>().prop_map(Step::Kill),
        1 => (0u32..5, 0u32..40).prop_map(|(up, until)| Step::Gate(up, until)),
        3 => (1u32..9).prop_map(Step::Disk),
        1 => Just(Step::AllLost),
    ];
    prop::collection::vec(step, 1..200)
}

fn take_step(bench: &mut Bench, step: Step) {
    match step {
        Step::Cut => {
            bench.cut();
        }
        Step::Pass(ms) => bench.pass(Duration::from_millis(ms)),
        Step::Accept(n) => {
            if bench.session.taker().is_none() && bench.link.is_some() {
                bench.say(accept(n));
                let newest = bench.session.ring().newest();
                assert_eq!(bench.sent().first().copied(), newest, "the live frame goes first");
            }
        }
        Step::Redirect => bench.say(ingest_response::Body::Redirect(v1::Redirect {
            ranked: vec![endpoint("b:1"), endpoint("c:1")],
            known: vec![endpoint("d:1")],
        })),
        Step::Ack(n) => {
            let ticks = bench.in_flight().into_iter().take(n).collect();
            bench.ack(ticks);
        }
        Step::AckOther(tick) => bench.ack(vec![tick]),
        Step::Refuse(n, reason, fresh) => {
            if let Some(&tick) = bench.in_flight().get(n) {
                let late_or_early = (1..=2).contains(&reason);
                if reason == v1::RefusalReason::NotYet as i32
                    && let Some(link) = &mut bench.link
                {
                    link.in_flight.remove(&tick);
                }
                let (lost, open) = (bench.session.totals().lost.total(), bench.session.taker().is_some());
                if fresh {
                    bench.clock_is_right();
                }
                bench.say(ingest_response::Body::Refusal(v1::Refusal { tick, reason, detail: String::new() }));
                bench.wall = Duration::from_secs(1_000_000);
                if open && fresh && late_or_early {
                    assert_eq!(bench.session.totals().lost.total(), lost, "a fresh frame is kept");
                    assert!(bench.session.taker().is_none(), "and that aggregator is left");
                }
            }
        }
        Step::FreshStart => {
            if bench.session.taker().is_some() {
                // The session may ignore it, so what is in flight stays a bound from below.
                let request = v1::KeyframeRequest { reason: "test".into() };
                bench.say(ingest_response::Body::KeyframeRequest(request));
            }
        }
        Step::Break => bench.cut_link(),
        Step::Gate(up, until) => {
            let floor = bench.gate.0.max(990) + up;
            bench.gate = (floor, if until == 0 { 0 } else { floor + until });
            bench.ack(vec![]);
            assert!(bench.session.aside.frames.keys().all(|&tick| bench.session.taker().is_none() || tick >= floor));
        }
        // One in `bad` cannot be read.
        Step::Disk(bad) => bench.read_back(|tick| bad < 6 || tick % bad > 0),
        Step::AllLost => {
            if bench.session.settings.spooled {
                bench.fetch = None;
                bench.session.disk_answered(Answer::AllLost, bench.now);
                bench.run();
                assert_eq!(bench.session.aside_len(), 0);
            }
        }
        Step::Kill(is_behind) => {
            if bench.session.settings.spooled {
                bench.kill(is_behind);
            }
        }
        Step::OldLink => {
            let body = Some(ingest_response::Body::Ack(v1::Ack {
                ticks: vec![1000, 1001],
                copies: 1,
                alone: true,
                ..v1::Ack::default()
            }));
            let before = bench.session.totals().acked;
            bench.session.received(0, v1::IngestResponse { body }, bench.now, bench.wall);
            bench.run();
            assert_eq!(bench.session.totals().acked, before, "a link that is gone has no say");
        }
    }
}

/// Time passes and every aggregator answers, until nothing is unacknowledged.
fn heal(bench: &mut Bench) {
    for _ in 0..1000 {
        if bench.unacknowledged() == 0 {
            return;
        }
        bench.gate.1 = u32::MAX;
        bench.read_back(|_| true);
        if bench.session.taker().is_some() {
            let ticks = bench.in_flight();
            assert!(!ticks.is_empty() || bench.session.ring().is_empty(), "an open link offers what is kept");
            bench.ack(ticks);
        } else if bench.link.is_some() {
            bench.say(accept(9));
        } else {
            bench.pass(Duration::from_secs(1));
        }
    }
    panic!("{} frames are still unacknowledged", bench.session.ring().len());
}

proptest! {
    #[test]
    fn every_frame_is_acknowledged_kept_or_counted(steps in steps(), ring in 1usize..60, spooled in any::<bool>()) {
        let mut bench = Bench::new(Settings { spooled, ..settings(&["a:1", "e:1"], ring) });
        for step in steps {
            take_step(&mut bench, step);
        }
        // A link whose far end and session disagree about what is in flight heals by being cut.
        bench.cut_link();
        heal(&mut bench);
        let totals = *bench.session.totals();
        prop_assert_eq!(totals.recovered + totals.cut, totals.acked + totals.lost.total());
        let all = bench.before + totals.acked + totals.lost.total();
        prop_assert_eq!(bench.cut.len() as u64, all, "each second was acknowledged or lost once by one of the processes");

        bench.session.stop(bench.now);
        bench.run();
        bench.pass(LEAVING_MAX);
        prop_assert!(bench.session.ended() && bench.session.deadline().is_none());
        prop_assert_eq!(bench.session.totals().lost.get(LossReason::Shutdown), 0);
        prop_assert!(bench.disk.is_empty());
    }
}

fn connected() -> Bench {
    let mut bench = Bench::new(settings(&["a:1"], 900));
    bench.say(accept(1));
    bench
}

#[test]
fn a_new_link_gets_the_live_frame_first_and_all_others_with_their_pins() {
    let mut bench = connected();
    let first: Vec<u32> = (0..5).map(|_| bench.cut()).collect();
    assert_eq!(bench.sent(), first);
    bench.cut_link();
    let live = bench.cut();
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.dialled.last().map(|(_, hello)| hello.session), Some(2));
    bench.say(accept(2));
    assert_eq!(bench.sent()[0], live);
    assert_eq!(bench.sent().len(), 6);
    assert_eq!(bench.pins[&live], writer(2));
    assert!(first.iter().all(|tick| bench.pins[tick] == writer(1)));
    assert!(bench.link.as_ref().is_some_and(|link| link.sent[0].keyframe && link.sent[0].sequence == 1));
}

#[test]
fn the_window_is_bounded_and_live_frames_pass_the_backlog() {
    let mut bench = Bench::new(settings(&["a:1"], 900));
    (0..100).for_each(|_| {
        bench.cut();
    });
    bench.say(accept(1));
    assert_eq!(bench.sent().len(), BACKLOG_WINDOW);
    for _ in 0..20 {
        bench.cut();
    }
    assert_eq!(bench.in_flight().len(), OFFER_WINDOW);
    let live = *bench.in_flight().last().expect("frames in flight");
    assert_eq!(live, 1000 + 100 + (OFFER_WINDOW - BACKLOG_WINDOW) as u32 - 1);
    let unpinned = bench.cut.keys().filter(|tick| !bench.pins.contains_key(tick)).count();
    assert_eq!(unpinned, 120 - OFFER_WINDOW, "what was never offered is free to be pinned elsewhere");
    heal(&mut bench);
}

#[test]
fn keyframes_stand_on_the_grid() {
    let mut bench = connected();
    bench.next_tick = 1200 - 2;
    let keyframes: Vec<bool> = (0..4)
        .map(|_| {
            bench.cut();
            let frame = bench.link.as_ref().and_then(|link| link.sent.last()).expect("a frame");
            frame.keyframe
        })
        .collect();
    assert_eq!(keyframes, [true, false, true, false]);
}

#[test]
fn a_fresh_start_sends_everything_again_once() {
    let mut bench = connected();
    (0..3).for_each(|_| {
        bench.cut();
    });
    let request = || ingest_response::Body::KeyframeRequest(v1::KeyframeRequest { reason: "gap".into() });
    bench.say(request());
    assert_eq!(bench.sent(), [1000, 1001, 1002, 1002, 1001, 1000]);
    assert_eq!(bench.link.as_ref().map(|link| link.sent[3].sequence), Some(1));
    bench.session.received(1, v1::IngestResponse { body: Some(request()) }, bench.now, bench.wall);
    bench.run();
    assert_eq!(bench.sent().len(), 6, "a second request for the same damage is ignored");
}

#[test]
fn an_aggregator_that_never_acknowledges_is_left_with_growing_patience() {
    let mut bench = Bench::new(settings(&["a:1", "b:1"], 900));
    let mut hops = Vec::new();
    let mut waited = Duration::ZERO;
    for _ in 0..2500 {
        if bench.link.is_some() && bench.session.taker().is_none() {
            bench.say(accept(1));
        }
        if bench.session.ring().len() < 5 {
            bench.cut();
        }
        let before = bench.session.totals().no_ack_hops;
        bench.pass(Duration::from_millis(100));
        waited += Duration::from_millis(100);
        if bench.session.totals().no_ack_hops > before {
            hops.push(waited.as_secs());
            waited = Duration::ZERO;
        }
    }
    assert!((5..=6).contains(&hops[0]), "{hops:?}");
    for (hop, wanted) in hops[1..].iter().zip([10u64, 20, 40, 60]) {
        assert!((wanted * 8 / 10..=wanted * 13 / 10 + 1).contains(hop), "{hops:?}");
    }
    let different = bench.dialled.iter().map(|(address, _)| address).collect::<BTreeSet<_>>();
    assert_eq!(different.len(), 2, "it tried the other one");
    if bench.session.taker().is_none() {
        bench.pass(Duration::from_secs(5));
        bench.say(accept(1));
    }
    let ticks = bench.in_flight();
    bench.ack(ticks);
    assert_eq!(bench.session.patience, PATIENCE[0]);
}

#[test]
fn redirects_end_with_the_final_hop() {
    let mut bench = Bench::new(settings(&["a:1"], 900));
    for hop in 0..3 {
        assert!(!bench.dialled[hop].1.final_hop);
        bench.say(ingest_response::Body::Redirect(v1::Redirect { ranked: vec![endpoint("b:1")], known: vec![] }));
    }
    let (address, hello) = bench.dialled.last().expect("a dial");
    assert!(hello.final_hop && address == "b:1" && hello.session == 4);
}

#[test]
fn a_dead_seed_is_tried_again_after_a_pause() {
    let mut bench = Bench::new(settings(&["a:1", "b:1"], 900));
    bench.cut_link();
    bench.cut_link();
    assert!(bench.events.iter().any(|event| matches!(event, Event::RoundFailed { rounds: 1, .. })));
    assert!(bench.link.is_none());
    let wait = bench.session.deadline().expect("a next dial") - bench.now;
    bench.pass(wait);
    assert_eq!(bench.dialled.len(), 3);
    bench.pass(OPENING_MAX);
    assert_eq!(bench.dialled.len(), 4, "no answer counts as a failure");
}

#[test]
fn a_stop_waits_for_acknowledgements_and_ends_its_stream() {
    let mut bench = connected();
    let tick = bench.cut();
    bench.session.stop(bench.now);
    bench.run();
    assert_eq!(bench.end_of_stream, None);
    bench.ack(vec![tick]);
    assert_eq!(bench.end_of_stream, Some(tick));
    assert!(!bench.session.ended());
    bench.cut_link();
    assert!(bench.session.ended());
    assert_eq!(bench.session.totals().lost.total(), 0);
}

#[test]
fn the_end_of_a_replaced_stream_is_no_stop_of_the_node() {
    for replaced in [false, true] {
        let mut bench = connected();
        let tick = bench.cut();
        if replaced {
            bench.session.replaced();
        }
        bench.session.drain(bench.now);
        bench.run();
        bench.ack(vec![tick]);
        assert_eq!((bench.end_of_stream, bench.continues), (Some(tick), replaced));
    }
}

#[test]
fn a_stop_without_acknowledgement_ends_within_the_grace_and_counts() {
    let mut bench = connected();
    let tick = bench.cut();
    bench.session.stop(bench.now);
    bench.run();
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.end_of_stream, Some(tick));
    bench.pass(LEAVING_MAX);
    assert!(bench.session.ended());
    assert_eq!(bench.session.totals().lost.get(LossReason::Shutdown), 1);
}

#[test]
fn a_stop_by_default_outlasts_the_slowest_acknowledgement() {
    let grace = crate::UplinkConfig::GRACE - LEAVING_MAX;
    let mut bench = Bench::new(Settings { grace, ..settings(&["a:1"], 900) });
    bench.say(accept(1));
    let tick = bench.cut();
    bench.session.stop(bench.now);
    bench.run();
    // 1.4 s until the frame has its copy, 3 s between two acknowledgements, and the network.
    bench.pass(Duration::from_millis(4_900));
    assert_eq!(bench.end_of_stream, None, "it still waits");
    bench.ack(vec![tick]);
    assert_eq!(bench.end_of_stream, Some(tick));
    assert_eq!(bench.session.totals().lost.total(), 0);
}

#[test]
fn what_an_aggregator_must_not_say_ends_the_link() {
    let mut bench = Bench::new(settings(&["a:1"], 900));
    bench.say(ingest_response::Body::Accept(v1::Accept { aggregator_id: "agg".into(), ..v1::Accept::default() }));
    assert!(bench.link.is_none() && bench.session.taker().is_none());
    let mut bench = connected();
    let tick = bench.cut();
    bench.say(accept(2));
    assert!(bench.session.taker().is_none(), "it accepted twice");
    assert_eq!(bench.session.ring().len(), 1);
    assert_eq!(bench.pins[&tick], writer(1));
}

#[test]
fn frames_out_of_order_or_beyond_limits_are_refused_and_counted() {
    let mut bench = connected();
    let tick = bench.cut();
    let again = Arc::clone(&bench.cut[&tick]);
    bench.session.offer(again, bench.now);
    let too_much = Sample { series: Series::of(&catalogue::TCP_OPENED, &[]), value: Value::Counter(u64::MAX) };
    bench.session.offer(Arc::new(Content { tick: tick + 1, samples: vec![too_much], dropped: 0 }), bench.now);
    let losses = bench.session.totals().lost;
    assert_eq!((losses.get(LossReason::OutOfOrder), losses.get(LossReason::Invalid)), (1, 1));
    assert_eq!(bench.session.ring().len(), 1);
}

#[test]
fn an_aggregator_with_a_wrong_clock_is_left_and_nothing_is_lost() {
    for reason in [v1::RefusalReason::TooEarly, v1::RefusalReason::TooLate] {
        let mut bench = Bench::new(settings(&["a:1", "b:1"], 900));
        bench.say(accept(1));
        bench.session.clock_offset(1, -30_500);
        let tick = bench.cut();
        bench.clock_is_right();
        bench.refuse(tick, reason);
        let totals = *bench.session.totals();
        assert_eq!((totals.lost.total(), totals.clock_hops, bench.session.ring().len()), (0, 1, 1));
        let trouble = bench.session.trouble().expect("a reason");
        assert!(trouble.ends_with("its clock differs by -30 s"), "{trouble}");
        let reported = |event: &Event| matches!(event, Event::ClockDiffers { .. });
        assert_eq!(bench.events.iter().filter(|event| reported(event)).count(), 1);
        assert_ne!(bench.dialled[0].0, bench.dialled[1].0, "the next one is dialled at once");

        bench.say(accept(2));
        assert!(bench.session.trouble().is_some(), "an accept alone mends nothing");
        assert_eq!(bench.pins[&tick], writer(1), "the pin is kept");
        bench.ack(vec![tick]);
        assert_eq!((bench.session.totals().acked, bench.session.trouble()), (1, None));
    }
}

#[test]
fn when_every_clock_differs_rounds_are_paused_and_the_frames_wait() {
    let mut bench = Bench::new(settings(&["a:1", "b:1"], 900));
    for _ in 0..120 {
        bench.cut();
        bench.clock_is_right();
        for _ in 0..20 {
            if bench.link.is_none() {
                break;
            }
            if bench.session.taker().is_none() {
                bench.say(accept(1));
            }
            assert!(bench.session.totals().clock_hops == 0 || bench.session.trouble().is_some());
            if let Some(&tick) = bench.in_flight().last() {
                bench.refuse(tick, v1::RefusalReason::TooEarly);
            }
        }
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!((bench.session.totals().lost.total(), bench.session.ring().len()), (0, 120));
    assert!(bench.dialled.len() < 160, "{} dials in 120 s", bench.dialled.len());
}

/// An aggregator that refuses what is older than the gate and acknowledges at the slowest pace that was measured: what
/// is in flight once in 1.5 s.
#[test]
fn a_long_outage_costs_only_what_did_not_fit_into_the_ring() {
    let mut bench = Bench::new(settings(&["a:1"], RING as usize));
    for _ in 0..1_200 {
        bench.pass(Duration::from_secs(1));
        bench.cut();
    }
    assert_eq!(bench.session.totals().lost.total(), 1_200 - u64::from(RING), "the ring is full");
    while bench.link.is_none() {
        bench.pass(Duration::from_millis(100));
    }
    bench.say(accept(1));
    for round in 0..80 {
        bench.pass(Duration::from_millis(1_500));
        for _ in 0..1 + round % 2 {
            bench.cut();
        }
        bench.clock_is_right();
        let gate = bench.next_tick - 1 - LATE_WINDOW;
        for tick in bench.in_flight().into_iter().filter(|tick| *tick < gate) {
            bench.refuse(tick, v1::RefusalReason::TooLate);
        }
        bench.ack(bench.in_flight());
    }
    assert_eq!(bench.session.totals().lost.get(LossReason::TooLate), 0);
    assert_eq!(bench.session.ring().len(), 0, "all of it was handed over");
}

#[test]
fn a_frame_that_is_really_too_old_or_to_come_is_lost() {
    let mut bench = connected();
    let (old, fresh) = (bench.cut(), bench.cut());
    bench.wall = Duration::from_secs(u64::from(old + LATE_WINDOW - EARLY_SECONDS));
    bench.refuse(old, v1::RefusalReason::TooLate);
    assert_eq!(bench.session.totals().lost.get(LossReason::TooLate), 1);
    assert!(bench.session.taker().is_some(), "the link stays");
    bench.wall = Duration::from_secs(u64::from(fresh) - 2);
    bench.refuse(fresh, v1::RefusalReason::TooEarly);
    assert_eq!(bench.session.totals().lost.get(LossReason::TooEarly), 1, "our clock was set back");
}

#[test]
fn an_aggregator_that_refuses_everything_is_left_like_one_that_acknowledges_nothing() {
    let mut bench = Bench::new(settings(&["a:1", "b:1"], 900));
    bench.say(accept(1));
    for second in 0..6 {
        let tick = bench.cut();
        bench.refuse(tick, v1::RefusalReason::Invalid);
        if second == 3 {
            let trouble = bench.session.trouble().expect("it takes nothing");
            assert!(trouble.contains("refused 4 frames") && trouble.contains("invalid: a test"), "{trouble}");
        }
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.session.totals().no_ack_hops, 1);
    assert_ne!(bench.dialled[0].0, bench.dialled[1].0);
    assert!(bench.session.patience > PATIENCE[0], "the next one is given longer");
    bench.say(accept(2));
    assert!(bench.session.trouble().is_some());
    let tick = bench.cut();
    bench.ack(vec![tick]);
    assert_eq!(bench.session.trouble(), None);
}

#[test]
fn odd_frames_among_good_ones_are_no_reason_to_leave() {
    let mut bench = connected();
    for _ in 0..60 {
        let (bad, good) = (bench.cut(), bench.cut());
        bench.refuse(bad, v1::RefusalReason::Invalid);
        assert_eq!(bench.session.trouble(), None);
        bench.pass(Duration::from_secs(1));
        bench.ack(vec![good]);
    }
    assert_eq!((bench.session.totals().no_ack_hops, bench.dialled.len()), (0, 1));
}

#[test]
fn detail_is_read_while_somebody_looks_and_shown_to_who_has_the_stream() {
    let mut bench = Bench::new(settings(&["a:1", "b:1"], 900));
    let detail = v1::NodeDetail { tick: 7, ..Default::default() };
    bench.session.detail(&detail);
    bench.run();
    bench.say(accept(1));
    assert_eq!((bench.details.len(), bench.looks.len()), (0, 0), "nobody to show it to");
    let ask = |seconds| ingest_response::Body::DetailRequest(v1::DetailRequest { seconds });
    [10, 0, u32::MAX].into_iter().for_each(|seconds| bench.say(ask(seconds)));
    assert_eq!(bench.looks, [10, 0, DETAIL_SECONDS_MAX]);
    bench.session.detail(&detail);
    bench.run();
    assert_eq!(bench.details, std::slice::from_ref(&detail));
    take_step(&mut bench, Step::Break);
    bench.session.detail(&detail);
    bench.say(accept(2));
    assert_eq!(bench.details.len(), 1, "the next aggregator asks for itself");
}

#[test]
fn faults_of_collectors_are_reported_when_they_change_and_on_every_new_link() {
    let fault = v1::CollectorFault { collector: "disk".into(), trouble: 2, reason: "x".into(), since_unix_s: 7 };
    let mut bench = Bench::new(settings(&["a:1", "b:1"], 900));
    bench.session.collectors(std::slice::from_ref(&fault));
    bench.run();
    assert!(bench.collectors.is_empty(), "nobody to report to");
    bench.say(accept(1));
    assert_eq!(bench.collectors, [vec![fault.clone()]]);
    bench.session.collectors(std::slice::from_ref(&fault));
    bench.run();
    assert_eq!(bench.collectors.len(), 1, "nothing new");
    take_step(&mut bench, Step::Break);
    bench.say(accept(2));
    assert_eq!(bench.collectors.len(), 2, "another aggregator knows nothing of it");
    bench.session.collectors(&[]);
    bench.run();
    assert_eq!(bench.collectors[2], []);
    take_step(&mut bench, Step::Break);
    bench.say(accept(3));
    assert_eq!(bench.collectors.len(), 3, "all work, which is what an aggregator takes for granted");
}

#[test]
fn a_held_session_keeps_frames_and_dials_when_released_or_at_the_limit() {
    let held = || Settings { hold: Duration::from_secs(3), ..settings(&["a:1"], 900) };
    let mut bench = Bench::new(held());
    bench.cut();
    bench.pass(Duration::from_secs(2));
    assert_eq!((bench.dialled.len(), bench.session.ring().len()), (0, 1));
    bench.session.release(bench.now);
    bench.run();
    assert_eq!(bench.dialled.len(), 1);

    let mut bench = Bench::new(held());
    assert_eq!(bench.session.deadline(), Some(Duration::from_secs(3)));
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.dialled.len(), 1);

    let mut bench = Bench::new(held());
    bench.cut();
    bench.session.stop(bench.now);
    bench.run();
    assert_eq!(bench.dialled.len(), 1, "a stop does not wait");
}

#[test]
fn a_name_that_another_machine_holds_is_asked_for_again_later_and_nothing_is_lost() {
    let mut bench = Bench::new(settings(&["a:1", "b:1"], 900));
    let tick = bench.cut();
    let link = bench.session.links();
    bench.session.name_held(u64::from(link), "another machine at h:1 reports as node n1", bench.now);
    bench.run();
    assert!(bench.events.iter().any(|event| matches!(event, Event::NameHeld { .. })), "{:?}", bench.events);
    assert!(bench.session.trouble().is_some_and(|trouble| trouble.contains("another machine at h:1")));
    bench.pass(NAME_HELD_RETRY.mul_f64(0.7));
    assert_eq!(bench.dialled.len(), 1, "no other aggregator is asked meanwhile");
    bench.pass(NAME_HELD_RETRY.mul_f64(0.6));
    assert_eq!(bench.dialled.len(), 2);
    bench.say(ingest_response::Body::Accept(v1::Accept {
        writer_id: writer(1).to_bytes(),
        aggregator_id: "agg-1".into(),
        node_id: "n1.0a0b0c0d".into(),
        ..v1::Accept::default()
    }));
    assert!(bench.events.contains(&Event::Renamed { name: "n1.0a0b0c0d".into() }));
    bench.ack(vec![tick]);
    assert_eq!((bench.session.totals().acked, bench.session.trouble()), (1, None));
}

/// An outage of `seconds`, with room for 900 in memory; nobody is connected at its end.
fn after_an_outage_of(seconds: usize) -> Bench {
    let mut bench = Bench::new(Settings { spooled: true, ..settings(&["a:1"], RING as usize) });
    for _ in 0..seconds {
        bench.cut();
    }
    assert_eq!((bench.session.ring().len(), bench.session.aside_len()), (900, seconds - 900));
    bench.clock_is_right();
    bench
}

#[test]
fn what_all_aggregators_were_away_for_is_handed_over_in_its_turn() {
    let mut bench = after_an_outage_of(3 * 3_600);
    let newest = bench.next_tick - 1;
    bench.gate = (1000, 0);
    bench.say(accept(1));
    assert_eq!(bench.sent()[0], newest);
    while !bench.session.ring().is_empty() {
        let ticks = bench.in_flight();
        bench.ack(ticks);
        bench.read_back(|_| true);
    }
    let oldest_recent = newest - (LATE_WINDOW - EARLY_SECONDS);
    assert_eq!(
        bench.disk.last_key_value().map(|(&tick, _)| tick),
        Some(oldest_recent - 1),
        "what any aggregator takes"
    );
    assert_eq!(bench.fetch, None, "the rest waits for its turn");

    bench.gate = (1000, 1300);
    bench.ack(vec![]);
    bench.read_back(|_| true);
    let (oldest, newest_sent) = (bench.in_flight()[0], *bench.in_flight().last().expect("some"));
    assert!((1000..1060).contains(&oldest) && newest_sent < 1060, "the oldest first, {oldest} to {newest_sent}");
    // The floor follows, and live frames go on.
    let mut seconds = 0;
    while bench.unacknowledged() > 0 {
        seconds += 1;
        assert!(seconds < 2_000, "{} left at {:?}", bench.unacknowledged(), bench.gate);
        bench.cut();
        assert_eq!(bench.sent().last(), bench.session.ring().newest().as_ref(), "the live one at once");
        let oldest = bench.disk.keys().next().copied().unwrap_or(u32::MAX);
        bench.gate = ((bench.gate.0 + 10).min(oldest), (bench.gate.0 + 310).min(newest));
        let ticks = bench.in_flight();
        bench.ack(ticks);
        bench.read_back(|_| true);
        bench.pass(Duration::from_secs(1));
    }
    let totals = bench.session.totals();
    assert_eq!((totals.acked, totals.lost.total()), (3 * 3_600 + seconds, 0));
    assert!(bench.disk.is_empty());
}

#[test]
fn what_somebody_has_forgotten_is_lost_and_said_so() {
    let mut bench = after_an_outage_of(2_000);
    // The cluster was not away: its floor follows the clock.
    let (newest, floor) = (bench.next_tick - 1, bench.next_tick - 1 - LATE_WINDOW);
    bench.gate = (floor, 0);
    bench.say(accept(1));
    assert_eq!(bench.session.totals().lost.get(LossReason::TooLate), u64::from(floor - 1000));
    for _ in 0..200 {
        let ticks = bench.in_flight();
        bench.ack(ticks);
        bench.read_back(|_| true);
    }
    let kept: Vec<u32> = bench.disk.keys().copied().collect();
    assert_eq!(kept, (floor..=newest - LATE_WINDOW + EARLY_SECONDS - 1).collect::<Vec<_>>(), "clocks may differ");
    bench.gate = (newest, 0);
    bench.ack(vec![]);
    assert_eq!(bench.unacknowledged(), 0);
}

#[test]
fn a_second_whose_turn_has_not_come_waits_on_the_disk() {
    let mut bench = after_an_outage_of(2_000);
    bench.gate = (1000, 1100);
    bench.say(accept(1));
    while bench.in_flight().iter().all(|&tick| tick > 1100) {
        let ticks = bench.in_flight();
        bench.ack(ticks);
        bench.read_back(|_| true);
    }
    let (tick, left) = (bench.in_flight()[5], bench.unacknowledged());
    bench.refuse(tick, v1::RefusalReason::NotYet);
    assert_eq!((bench.unacknowledged(), bench.session.totals().lost.total()), (left, 0));
    assert!(bench.session.ring().get(tick).is_none() && bench.disk[&tick] == Pin::To(writer(1)));
    heal(&mut bench);
    assert_eq!((bench.session.totals().acked, bench.session.totals().lost.total()), (2_000, 0));
}

#[test]
fn what_the_disk_does_not_give_back_is_counted() {
    let mut bench = after_an_outage_of(1_500);
    bench.gate = (1000, 0);
    bench.session.disk_answered(Answer::Lost(vec![1000, 1001, 7]), bench.now);
    bench.run();
    bench.say(accept(1));
    while bench.fetch.is_none() {
        let ticks = bench.in_flight();
        bench.ack(ticks);
    }
    bench.read_back(|tick| tick != 1599 - 3);
    heal(&mut bench);
    let totals = bench.session.totals();
    assert_eq!((totals.acked, totals.lost.get(LossReason::Unreadable), totals.lost.total()), (1_497, 3, 3));
}

#[test]
fn six_hours_are_kept() {
    let mut bench = after_an_outage_of(ASIDE_MAX + 900);
    bench.cut();
    assert_eq!((bench.session.aside_len(), bench.session.totals().lost.get(LossReason::RingFull)), (ASIDE_MAX, 1));
    bench.session.stop(bench.now);
    bench.run();
    bench.pass(Duration::from_secs(10));
    assert!(bench.session.ended());
    assert_eq!(bench.session.totals().left, ASIDE_MAX as u64 + 900);
}
