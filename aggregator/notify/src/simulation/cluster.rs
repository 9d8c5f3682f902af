//! One run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use starling_alerts::{Book, Evaluation, News, Now, Record, Rules, Taken as Key, records, shown::Shown};
use starling_proto::{ids::NodeId, v1};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Cause, Fault, MEMBER, NODE, Plant, RULES, STEP, Said, Schedule, T0,
    network::{Body, Link, Packet},
    oracle::{Oracle, Silence},
    seconds::{Around, Frames, Given, node_name},
};
use crate::{
    config::{Config, Plan},
    desk::{Action, Desk, Outcome},
    message::{Message, What},
};

/// Seconds from the end of a second until it is judged.
const LAG: u32 = 1;
/// Milliseconds from a start until an aggregator is ready.
const READY_AFTER: u64 = 3_000;
/// Between two writings of the records, in milliseconds.
const SAVE_EVERY: u64 = 5_000;
/// A node leaves an aggregator that ended after so long, and one that does not answer, in milliseconds.
const NODE_LEAVES: (u64, u64) = (1_000, 3_000);
/// What fires often ends so much later, in milliseconds.
const HELD_MAX: u64 = 360_000;
/// All is told so long after it ended, in milliseconds.
const TOLD_AFTER: u64 = 30_000;
/// Parts of a step.
pub(super) const PHASES: u8 = 4;

/// What the receiver took.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) at: u64,
    pub(super) who: usize,
    pub(super) key: String,
    pub(super) rule: String,
    pub(super) subject: String,
    pub(super) what: What,
    pub(super) firing: bool,
    pub(super) sequence: u32,
}

/// A running aggregator.
pub(super) struct Process {
    pub(super) started: u64,
    pub(super) book: Book,
    evaluation: Evaluation,
    desk: Desk,
    news: News,
    links: Vec<Link>,
    frames: Frames,
    settled: u32,
    judged: u32,
    shared: u64,
    saved: u64,
    /// What the receiver answered, and when that is here.
    answers: Vec<(u64, u64, Outcome)>,
}

impl Process {
    fn is_ready(&self, now: u64) -> bool {
        now >= self.started + READY_AFTER
    }
}

pub(super) struct Member {
    pub(super) process: Option<Process>,
    /// Of which process it is the name.
    pub(super) life: u32,
    pub(super) asleep: bool,
    back: Option<u64>,
    saved: Vec<Record>,
}

impl Member {
    pub(super) fn awake(&self) -> Option<&Process> {
        self.process.as_ref().filter(|_| !self.asleep)
    }
}

/// Where a node is.
#[derive(Default)]
struct Place {
    at: Option<(usize, u32)>,
    /// Since when it does not answer.
    lost: Option<u64>,
}

/// See the module.
pub(super) struct Cluster<'a> {
    pub(super) schedule: &'a Schedule,
    plant: Option<Plant>,
    rules: Rules,
    plan: Arc<Plan>,
    pub(super) now: u64,
    pub(super) members: Vec<Member>,
    places: Vec<Place>,
    packets: Vec<Packet>,
    /// Messages on their way to the receiver.
    sent: Vec<(u64, usize, u32, Message)>,
    pub(super) taken: Vec<Taken>,
    random: u64,
}

fn matcher(rule: &str) -> v1::AlertMatcher {
    v1::AlertMatcher { key: "rule".to_owned(), value: rule.to_owned(), ..v1::AlertMatcher::default() }
}

fn ranked(name: &str, members: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut all: Vec<usize> = members.collect();
    all.sort_by_key(|member| xxh3_64(format!("{name} {member}").as_bytes()));
    all
}

const MERGED: &str = "merged";
const MESSAGES: &str = "messages";

impl<'a> Cluster<'a> {
    pub(super) fn new(schedule: &'a Schedule, plant: Option<Plant>) -> Self {
        let config =
            Config::read("n", "[notifier.a]\nurl = \"http://a.example.org\"\n[[route]]\nnotifiers = [\"a\"]").unwrap();
        let rules = Rules::read(&[("rules", RULES)]).unwrap();
        let member = || Member { process: None, life: 0, asleep: false, back: Some(0), saved: Vec::new() };
        Self {
            schedule,
            plant,
            rules,
            plan: Arc::new(Plan::new(&config)),
            now: 0,
            members: (0..schedule.members).map(|_| member()).collect(),
            places: (0..schedule.nodes).map(|_| Place::default()).collect(),
            packets: Vec::new(),
            sent: Vec::new(),
            taken: Vec::new(),
            random: schedule.seed | 1,
        }
    }

    /// The run, with the oracle beside it.
    pub(super) fn play(mut self) -> Result<Vec<Taken>, String> {
        let mut oracle = Oracle::default();
        let mut end = u64::from(self.schedule.seconds) * 1_000;
        let latest = end + HELD_MAX;
        while self.now < end.min(latest) {
            self.step(&mut oracle);
            oracle.look(&self)?;
            self.now += STEP;
            if self.is_held() {
                end = end.max(self.now + TOLD_AFTER);
            }
        }
        oracle.judge(&self)?;
        Ok(self.taken)
    }

    /// What fired often because of faults is held before it ends.
    fn is_held(&self) -> bool {
        let mut books = self.members.iter().filter_map(|member| Some(&member.awake()?.book));
        books.any(|book| book.open().iter().any(|one| starling_alerts::judge::is_flapping(one)))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end.max(1)
    }

    fn unix_ms(&self) -> u64 {
        u64::from(T0) * 1_000 + self.now
    }

    /// The second that runs.
    pub(super) fn tick(&self) -> u32 {
        T0 + (self.now / 1_000) as u32
    }

    fn step(&mut self, oracle: &mut Oracle) {
        let now = self.now;
        for at in 0..self.members.len() {
            let sleeps = |fault: &Fault| matches!(fault, Fault::Sleep { who, span } if *who == at && span.has(now));
            self.members[at].asleep = self.schedule.faults.iter().any(sleeps);
            if self.members[at].back.is_some_and(|back| back <= now) {
                self.start(at);
            }
        }
        if now.is_multiple_of(1_000) {
            self.report();
            self.catch_up();
        }
        self.deliver();
        self.receive();
        for said in self.schedule.said.clone() {
            self.say(said, oracle);
        }
        for at in 0..self.members.len() {
            for phase in 0..PHASES {
                self.kill(at, phase);
                if self.members[at].awake().is_some() {
                    match phase {
                        0 => self.see(at),
                        1 => self.judge(at),
                        2 => self.tell(at),
                        _ => self.give(at),
                    }
                }
            }
            self.save(at);
        }
    }

    fn start(&mut self, at: usize) {
        let unix_ms = self.unix_ms();
        let member = &mut self.members[at];
        member.back = None;
        member.life += 1;
        let mut book = Book::default();
        for record in member.saved.clone() {
            book.put(record, unix_ms);
        }
        book.expire((unix_ms / 1_000) as u32);
        member.process = Some(Process {
            started: self.now,
            book,
            evaluation: Evaluation::new(self.rules.clone()),
            desk: Desk::new(self.plan.clone(), unix_ms),
            news: News::default(),
            links: (0..self.schedule.members).map(|_| Link::new()).collect(),
            frames: Frames::default(),
            settled: 0,
            judged: 0,
            shared: 0,
            saved: self.now,
            answers: Vec::new(),
        });
    }

    fn kill(&mut self, at: usize, in_phase: u8) {
        let schedule = self.schedule;
        for fault in &schedule.faults {
            if let Fault::Kill { who, at: when, phase, back } = *fault
                && (who, when / STEP, phase) == (at, self.now / STEP, in_phase)
            {
                let member = &mut self.members[at];
                member.process = None;
                member.back = back.map(|back| self.now + u64::from(back) * 1_000);
            }
        }
    }

    fn save(&mut self, at: usize) {
        let now = self.now;
        let member = &mut self.members[at];
        let Some(process) = member.process.as_mut().filter(|process| now >= process.saved + SAVE_EVERY) else { return };
        process.saved = now;
        if self.plant != Some(Plant::SavesNothing) {
            member.saved = process.book.since(0);
        }
    }

    /// Whether a node or an aggregator reaches an aggregator that answers.
    fn reaches(&self, from: (u8, usize), to: usize) -> bool {
        self.members[to].awake().is_some() && self.schedule.connects(self.now, from, (MEMBER, to))
    }

    /// Nodes report the second that ended, to where they are, and it goes on from there.
    fn report(&mut self) {
        let (now, tick) = (self.now, self.tick() - 1);
        for node in 0..self.places.len() {
            if self.schedule.is_bad(Cause::Gone(node), tick) {
                self.places[node].at = None;
                continue;
            }
            let moves =
                |fault: &Fault| matches!(fault, Fault::Move { node: one, at } if *one == node && T0 + at == tick);
            let moves = self.schedule.faults.iter().any(moves);
            let at = self.places[node].at.filter(|(at, life)| self.members[*at].life == *life && !moves);
            let answers = at.is_some_and(|(at, _)| self.reaches((NODE, node), at));
            let gone = at.is_none_or(|(at, _)| self.members[at].process.is_none());
            let lost = if answers { None } else { Some(self.places[node].lost.unwrap_or(now)) };
            self.places[node].lost = lost;
            let waits = if gone { NODE_LEAVES.0 } else { NODE_LEAVES.1 };
            if moves || lost.is_some_and(|since| now >= since + waits) || self.places[node].at.is_none() {
                let before = self.places[node].at;
                let ready = (0..self.members.len()).filter(|at| {
                    let is_ready = self.members[*at].awake().is_some_and(|process| process.is_ready(now));
                    is_ready && self.reaches((NODE, node), *at) && (!moves || before.is_none_or(|(was, _)| was != *at))
                });
                let next = ranked(&node_name(node), ready).first().copied();
                if let Some(next) = next {
                    self.places[node] = Place { at: Some((next, self.members[next].life)), lost: None };
                }
            }
            let Some((owner, life)) = self.places[node].at else { continue };
            if self.members[owner].life != life || !self.reaches((NODE, node), owner) {
                continue;
            }
            for to in 0..self.members.len() {
                // Who sleeps has it when it wakes.
                let connected = self.schedule.connects(now, (MEMBER, owner), (MEMBER, to));
                if let Some(process) = self.members[to].process.as_mut().filter(|_| connected) {
                    process.frames.take(node, tick);
                }
            }
        }
    }

    /// What one holds the others get, once they hear each other.
    fn catch_up(&mut self) {
        let last =
            |member: &Member| member.process.as_ref().map(|process| process.frames.last.clone()).unwrap_or_default();
        let held: Vec<BTreeMap<usize, u32>> = self.members.iter().map(last).collect();
        for (from, held) in held.into_iter().enumerate() {
            for to in 0..self.members.len() {
                let connected = self.schedule.connects(self.now, (MEMBER, from), (MEMBER, to));
                if let Some(process) = self.members[to].process.as_mut().filter(|_| connected) {
                    held.iter().for_each(|(node, tick)| process.frames.take(*node, *tick));
                }
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let due: Vec<Packet> = self.packets.extract_if(.., |packet| packet.due <= now).collect();
        for packet in due {
            let connected = self.schedule.connects(now, (MEMBER, packet.from), (MEMBER, packet.to));
            let lives = (self.members[packet.from].life, self.members[packet.to].life);
            if !connected || lives.1 != packet.lives.1 || self.members[packet.to].process.is_none() {
                continue;
            }
            if self.members[packet.to].asleep {
                self.packets.push(Packet { due: now + STEP, ..packet });
                continue;
            }
            let unix_ms = self.unix_ms();
            let Packet { from, to, body, .. } = packet;
            let process = self.members[to].process.as_mut().unwrap();
            let take = |book: &mut Book, records: Vec<Record>| {
                for record in records {
                    // As it travels.
                    let wire = v1::AlertRecord::from(record);
                    book.put(Record::try_from(wire).unwrap(), unix_ms);
                }
            };
            let answer = match body {
                Body::Records { records, number } => {
                    take(&mut process.book, records);
                    Some(Body::Taken { digest: process.book.digest(), number })
                }
                Body::Taken { digest, number } => {
                    let link = &mut process.links[from];
                    let asks = link.taken(now, digest, number);
                    process.shared = process.shared.max(link.exchange.given());
                    asks.map(|number| Body::Ask { number })
                }
                Body::Ask { number } => Some(Body::All { records: process.book.since(0), number }),
                Body::All { records, number } => {
                    take(&mut process.book, records);
                    process.links[from].asked(now, number);
                    None
                }
            };
            if let Some(body) = answer {
                self.send(to, from, body);
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, body: Body) {
        let delay = 10 + self.below(self.schedule.delay);
        let lost = self.below(100) < self.schedule.loss;
        let connected = self.schedule.connects(self.now, (MEMBER, from), (MEMBER, to));
        if connected && !lost {
            let lives = (self.members[from].life, self.members[to].life);
            self.packets.push(Packet { due: self.now + delay, from, to, lives, body });
        }
    }

    /// The receiver takes what has arrived.
    fn receive(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.sent.extract_if(.., |(due, ..)| *due <= now).collect();
        for (_, who, life, message) in due {
            let fails = self.schedule.failing.iter().any(|span| span.has(now));
            let outcome = if fails {
                Outcome::Retry { what: "500".to_owned(), after: None, slower: false }
            } else {
                for item in &message.items {
                    let episode = item.alert.episode.clone().unwrap();
                    self.taken.push(Taken {
                        at: now,
                        who,
                        key: message.dedup_key(),
                        rule: episode.rule,
                        subject: episode.subject,
                        what: item.what,
                        firing: item.firing,
                        sequence: item.sequence,
                    });
                }
                Outcome::Accepted
            };
            if self.members[who].life == life
                && let Some(process) = &mut self.members[who].process
            {
                process.answers.push((now + 20, message.id, outcome));
            }
        }
    }

    fn see(&mut self, at: usize) {
        let now = self.now;
        for other in (0..self.members.len()).filter(|other| *other != at) {
            let heard = self.reaches((MEMBER, at), other);
            let ready = self.members[other].process.as_ref().is_some_and(|process| process.is_ready(now));
            let life = self.members[other].life;
            let process = self.members[at].process.as_mut().unwrap();
            process.links[other].hear(now, heard, life, ready);
        }
    }

    /// This aggregator and those that it counts on.
    fn ready(&self, at: usize) -> impl Iterator<Item = usize> {
        let process = self.members[at].process.as_ref().unwrap();
        (0..self.members.len()).filter(move |other| *other == at || process.links[*other].counted)
    }

    fn judge(&mut self, at: usize) {
        let (now, unix_ms) = (self.now, self.unix_ms());
        let settled = self.tick() - 1 - LAG;
        let process = self.members[at].process.as_mut().unwrap();
        if self.plant != Some(Plant::KeepsOutdated) {
            process.book.expire((unix_ms / 1_000) as u32);
        }
        if settled <= process.settled {
            return;
        }
        let is_first = |name: &str| ranked(name, self.ready(at)).first() == Some(&at);
        let first = is_first(MERGED);
        let process = self.members[at].process.as_ref().unwrap();
        let counts = |(owner, life): (usize, u32)| {
            let link = &process.links[owner];
            owner != at && link.counted && (link.live || self.members[owner].life == life)
        };
        let (mut streams, mut cares) = (BTreeSet::new(), BTreeSet::new());
        for (node, place) in self.places.iter().enumerate() {
            let here = place.at == Some((at, self.members[at].life));
            if here && place.lost.is_none_or(|since| now < since + NODE_LEAVES.1) {
                streams.insert(node);
            } else if !place.at.is_some_and(counts) && is_first(&node_name(node)) {
                cares.insert(node);
            }
        }
        let nodes = self.schedule.nodes as u32;
        let plant = self.plant;
        let process = self.members[at].process.as_mut().unwrap();
        process.settled = settled;
        if !process.is_ready(now) {
            process.evaluation.rest(settled);
            return;
        }
        let (seconds, _) = process.evaluation.due(settled);
        let lost = process.links.iter().filter(|link| link.lost).count();
        let ids: Vec<(NodeId, u32)> =
            process.frames.last.iter().map(|(node, last)| (NodeId::parse(&node_name(*node)).unwrap(), *last)).collect();
        process.evaluation.see(ids.iter().map(|(id, last)| (id, *last, false)), lost, settled);
        for tick in seconds {
            let mut recent = process.book.recent(tick);
            if plant == Some(Plant::AdoptsNothing) {
                recent.clear();
            }
            let held = process.frames.of(tick);
            let values = Given::of_cluster(self.schedule, !held.is_empty(), tick);
            let coverage = (held.len() as u32, nodes);
            let moment = Now {
                tick,
                coverage,
                first,
                values: &values,
                facts: BTreeMap::new(),
                details: BTreeMap::new(),
                answers: Vec::new(),
            };
            let (streams, cares) = (streams.clone(), cares.clone());
            let around = Around { schedule: self.schedule, tick, frames: &process.frames, streams, cares };
            let mut changed = process.evaluation.judge(&moment, &recent, &around);
            if plant == Some(Plant::KeepsBoth) {
                changed.retain(|one| !matches!(one.ended, Some((_, starling_alerts::Outcome::Merged))));
            }
            let written = records(changed, &process.book, (tick, unix_ms), &at.to_string());
            for record in written.records {
                process.book.put(record, unix_ms);
            }
            process.judged = tick;
        }
    }

    fn give(&mut self, at: usize) {
        let now = self.now;
        for other in 0..self.members.len() {
            let process = self.members[at].process.as_mut().unwrap();
            let revision = process.book.revision();
            if !process.links[other].wants(now, revision) {
                continue;
            }
            let mut offer = process.links[other].exchange.offer(&process.book);
            if self.plant == Some(Plant::GivesNothing) {
                offer.records.clear();
            }
            let records = offer.records.clone();
            let number = process.links[other].offered(now, offer, revision);
            self.send(at, other, Body::Records { records, number });
        }
    }

    fn tell(&mut self, at: usize) {
        let (now, unix_ms, tick) = (self.now, self.unix_ms(), self.tick() - 1);
        let rank = ranked(MESSAGES, self.ready(at)).iter().position(|member| *member == at);
        let (life, random) = (self.members[at].life, self.below(1_000) as f64 / 1_000.0);
        let process = self.members[at].process.as_mut().unwrap();
        let rank = rank.filter(|_| process.is_ready(now)).map(|rank| rank as u32);
        process.desk.rank(rank);
        let others = process.links.iter().any(|link| link.live);
        let shared = (others && self.plant != Some(Plant::ToldAtOnce)).then_some(process.shared);
        let told = process.news.next(&process.book, (now, tick), shared);
        if self.plant != Some(Plant::DeafToDeliveries) {
            told.deliveries.iter().for_each(|delivery| process.desk.delivery(delivery));
        }
        let labels = |_: &str| Vec::new();
        for id in told.episodes {
            let shown = Shown::new(&self.rules, &process.book, &labels, tick);
            if let Some(episode) = process.book.episode(id) {
                process.desk.changed(shown.alert(episode), &BTreeMap::new());
            }
        }
        if process.judged > 0 {
            process.desk.judged(process.judged);
        }
        for (_, id, outcome) in process.answers.extract_if(.., |(due, ..)| *due <= now) {
            process.desk.outcome(id, outcome, unix_ms, random);
        }
        for action in process.desk.poll(unix_ms) {
            match action {
                Action::Record(record) => drop(process.book.put(Record::Delivery(record), unix_ms)),
                Action::Send(message) => self.sent.push((now + self.schedule.receipt, at, life, message)),
            }
        }
    }

    fn say(&mut self, said: Said, oracle: &mut Oracle) {
        let (now, unix_ms, tick) = (self.now, self.unix_ms(), self.tick());
        let is_now = |at: u32| u64::from(at) * 1_000 == now;
        let mut put = |who: usize, make: &dyn Fn(&Book) -> Option<v1::AlertControl>| {
            let member = &mut self.members[who];
            let process = member.process.as_mut().filter(|_| !member.asleep)?;
            let control = make(&process.book)?;
            process.book.put(Record::Control(control.clone()), unix_ms);
            // What a person said is kept before the answer.
            member.saved = process.book.since(0);
            Some(control)
        };
        match said {
            Said::Acknowledge { at, who, cause } if is_now(at) => {
                let (rule, subject) = cause.names();
                let made = put(who, &|book| {
                    let all = book.open().into_iter();
                    let mut all =
                        all.filter(|one| one.has_fired() && one.rule == rule && one.subject.name() == subject);
                    let by =
                        v1::AlertAcknowledgement { author: "eve".to_owned(), ..v1::AlertAcknowledgement::default() };
                    book.acknowledge(all.next()?, by, &who.to_string(), unix_ms).ok()
                });
                oracle.acknowledged.extend(made.map(|_| (now, cause)));
            }
            Said::Silence { span, who, cause, .. } if is_now(span.from) => {
                let (rule, _) = cause.names();
                let silence = v1::AlertSilence {
                    matchers: vec![matcher(rule)],
                    author: "eve".to_owned(),
                    starts_tick: tick,
                    ends_tick: T0 + span.end(),
                    ..v1::AlertSilence::default()
                };
                let made = put(who, &|book| book.silence(silence.clone(), &who.to_string(), unix_ms).ok());
                if let Some(v1::alert_control::What::Silence(silence)) = made.and_then(|made| made.what) {
                    let (id, made) = (silence.silence_id, (span.from, who));
                    oracle.silences.push(Silence { id, made, ends: span.end(), back: None });
                }
            }
            Said::Silence { span, who: maker, back: Some((at, who)), .. } if is_now(at) => {
                let Some(silence) = oracle.silences.iter_mut().find(|one| one.made == (span.from, maker)) else {
                    return;
                };
                let made =
                    put(who, &|book| book.take_back(&Key::Silence(&silence.id), "bob", &who.to_string(), unix_ms));
                silence.back = made.map(|_| now);
            }
            Said::Outdated { at, who, until } if is_now(at) => {
                let ends_tick = T0 + until - 86_400;
                let silence = v1::AlertSilence {
                    matchers: vec![matcher("none")],
                    author: "eve".to_owned(),
                    starts_tick: ends_tick - 60,
                    ends_tick,
                    ..v1::AlertSilence::default()
                };
                let made = put(who, &|book| book.silence(silence.clone(), &who.to_string(), unix_ms).ok());
                if let Some(v1::alert_control::What::Silence(silence)) = made.and_then(|made| made.what) {
                    oracle.outdated.push((silence.silence_id, until));
                }
            }
            _ => {}
        }
    }
}
