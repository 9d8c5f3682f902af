//! Gathers lines by stream, so that the receiver is asked once for many.
//!
//! A line is found by a hash of its bytes (name, tags, type), without an allocation; what these bytes mean is worked out
//! once. Different spellings of one stream, as tags in another order, share it. Everything is bounded: streams, spellings,
//! and values that wait to be flushed.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    time::Duration,
};

use starling_proto::{histogram::HistogramSum, limits};
use starling_service::settings::kind::Word;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use super::{
    carry::Carry,
    line::{Kind, Line},
    stream::{Count, Gauge, Stream},
    tags,
};
use crate::receive::{
    AppReceiver, Mapping, Moment, Outcome, Refusal, application, decimal,
    mapping::{self, unit_of},
    observation::{Attribute, AttributeValue, Identity, Number, Observation, Reading, StreamKey, Temporality},
    traffic::{Role, unit_ns},
};

/// Values and members of sets that wait for a flush: what comes at a million lines a second in a twentieth. When there are as
/// many the table is to be flushed at once.
const WAITING_MAX: usize = 65_536;
/// Spellings of a stream that are known by their bytes, on average. When there are more all are forgotten, and worked out
/// again as they come.
const SPELLINGS_PER_STREAM: usize = 4;
/// Streams that were silent for this long make room for others.
const IDLE_MAX: Duration = Duration::from_secs(900);
/// Refusals that are named in one flush.
const NAMED_MAX: u64 = 16;
/// Values of one line.
const PACKED_MAX: usize = 4_096;
/// Gauges that hold are handed over again this often.
const HOLD_EVERY: Duration = Duration::from_secs(1);
/// Times ahead of ours by more than this are wrong, and older ones than this are past: as of frames.
const EARLY_MAX: u64 = limits::EARLY_SECONDS as u64;
const LATE_MAX: u64 = limits::LATE_WINDOW as u64;
/// Senders are not told apart: StatsD names none.
const SENDER: StreamKey = 0x5354_4154_5344;

/// How a gauge with a minus sign is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegativeGauges {
    /// As a value where the line has something that only DogStatsD has, else as a change.
    Auto,
    /// As a change: StatsD.
    Change,
    /// As a value: DogStatsD.
    Value,
}

/// Rules that the settings give.
#[derive(Debug, Clone)]
pub(crate) struct StatsdRules {
    /// Names of requests.
    pub(crate) mappings: Vec<Mapping>,
    pub(crate) negative_gauges: NegativeGauges,
    /// How long a gauge holds without a line.
    pub(crate) gauges_hold: Duration,
    /// Streams at most.
    pub(crate) streams: usize,
}

impl Word for NegativeGauges {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("change", Self::Change), ("value", Self::Value)];
}

/// Passes a hash through.
#[derive(Debug, Default)]
struct Through(u64);

impl Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= xxh3_64(bytes);
    }

    fn write_u128(&mut self, hash: u128) {
        // Its lower half is a hash by itself.
        self.0 = hash as u64;
    }
}

type ByHash<T> = HashMap<u128, T, BuildHasherDefault<Through>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    rules: StatsdRules,
    spellings: ByHash<usize>,
    places: ByHash<usize>,
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    due: Vec<usize>,
    /// Stream, value in its layout, weight.
    values: Vec<(usize, u64, u64)>,
    /// Stream, hash of a member.
    members: Vec<(usize, u64)>,
    outcome: Outcome,
    named: u64,
    held: Duration,
    /// 37 kB, once.
    scratch: HistogramSum,
}

impl Table {
    pub(super) fn new(rules: StatsdRules) -> Self {
        Self {
            rules,
            spellings: ByHash::default(),
            places: ByHash::default(),
            streams: Vec::new(),
            free: Vec::new(),
            due: Vec::new(),
            values: Vec::new(),
            members: Vec::new(),
            outcome: Outcome::default(),
            named: 0,
            held: Duration::ZERO,
            scratch: HistogramSum::new(),
        }
    }

    /// Streams that are known.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// True when nothing more should be taken before a flush.
    pub(super) fn is_full(&self) -> bool {
        self.values.len() + self.members.len() >= WAITING_MAX
    }

    /// Takes the lines of one datagram. What is wrong with one of them concerns no other.
    pub(super) fn take(&mut self, datagram: &[u8], now: Moment) {
        for line in datagram.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            if let Err(refusal) = self.line(line, now) {
                self.refuse(line, &refusal, 1);
            }
        }
    }

    /// Counts what was refused as a whole.
    pub(super) fn refuse(&mut self, line: &[u8], refusal: &Refusal, samples: u64) {
        if self.named >= NAMED_MAX {
            return self.outcome.refuse_unnamed(refusal, samples);
        }
        self.named += 1;
        let name = &line[..line.iter().position(|&byte| byte == b':').unwrap_or(line.len()).min(80)];
        self.outcome.refuse(&String::from_utf8_lossy(name), refusal, samples);
    }

    fn line(&mut self, line: &[u8], now: Moment) -> Result<(), Refusal> {
        let line = Line::parse(line)?;
        if let Some(time) = line.time_unix_s {
            let ours = now.unix_ns / 1_000_000_000;
            if time > ours + EARLY_MAX || time + LATE_MAX < ours {
                return Err(Refusal::OutOfRange("the time"));
            }
        }
        let place = self.place(&line, now)?;
        let Some(stream) = self.streams.get_mut(place).and_then(Option::as_mut) else { return Ok(()) };
        stream.seen = now.monotonic;
        if !stream.is_due {
            stream.is_due = true;
            self.due.push(place);
        }
        if line.kind == Kind::Set {
            stream.samples += 1;
            self.members.push((place, xxh3_64(line.values)));
            return Ok(());
        }
        let mut refused = Ok(());
        for (i, text) in line.values.split(|&byte| byte == b':').enumerate() {
            if i >= PACKED_MAX {
                refused = Err(Refusal::Malformed("the line has too many values"));
                break;
            }
            match self.rules.value(stream, &line, text) {
                Ok(None) => stream.samples += 1,
                Ok(Some((value, weight))) => {
                    stream.samples += 1;
                    self.values.push((place, value, weight));
                }
                // The first one is told, all are counted.
                Err(refusal) if refused.is_ok() => refused = Err(refusal),
                Err(refusal) => self.outcome.refuse_unnamed(&refusal, 1),
            }
        }
        refused
    }

    /// The place of the stream that a line belongs to.
    fn place(&mut self, line: &Line<'_>, now: Moment) -> Result<usize, Refusal> {
        let (name, tags) = (xxh3_64(line.name), xxh3_64_with_seed(line.tags, line.kind as u64));
        // The type is part of both halves; the lower one picks the bucket.
        let spelling = (u128::from(name) << 64) | u128::from(tags ^ name.rotate_left(17));
        if let Some(place) = self.spellings.get(&spelling) {
            return Ok(*place);
        }
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed("a name or tag is not UTF-8"));
        let stream = self.rules.stream(text(line.name)?, text(line.tags)?, line.kind);
        let place = match self.places.get(&stream.key) {
            Some(place) => *place,
            None => self.settle(stream, now)?,
        };
        if self.spellings.len() >= self.rules.streams * SPELLINGS_PER_STREAM {
            self.spellings.clear();
        }
        self.spellings.insert(spelling, place);
        Ok(place)
    }

    fn settle(&mut self, stream: Stream, now: Moment) -> Result<usize, Refusal> {
        if self.places.len() >= self.rules.streams {
            self.sweep(now);
            if self.places.len() >= self.rules.streams {
                return Err(Refusal::StreamsFull(self.rules.streams));
            }
        }
        let key = stream.key;
        let place = match self.free.pop() {
            Some(place) => {
                self.streams[place] = Some(stream);
                place
            }
            None => {
                self.streams.push(Some(stream));
                self.streams.len() - 1
            }
        };
        self.places.insert(key, place);
        Ok(place)
    }

    /// Forgets what was silent for long.
    fn sweep(&mut self, now: Moment) {
        let keep = IDLE_MAX.max(self.rules.gauges_hold);
        let (streams, free) = (&mut self.streams, &mut self.free);
        self.places.retain(|_, place| {
            let stream = &mut streams[*place];
            let stays = stream.as_ref().is_some_and(|s| s.is_due || now.monotonic.saturating_sub(s.seen) < keep);
            if !stays {
                *stream = None;
                free.push(*place);
            }
            stays
        });
        self.spellings.clear();
    }

    /// Hands everything that was gathered to `receiver`, and gives what came of it.
    pub(super) fn flush(&mut self, receiver: &mut AppReceiver, now: Moment) -> Outcome {
        self.values.sort_unstable();
        self.members.sort_unstable();
        self.members.dedup();
        self.due.sort_unstable();
        let (mut values, mut members) = (&self.values[..], &self.members[..]);
        let mut more = Vec::new();
        for &place in &self.due {
            let Some(stream) = self.streams[place].as_mut() else { continue };
            stream.is_due = false;
            if stream.samples == 0 && !stream.count.has_more() {
                // All of it was refused.
                continue;
            }
            let reading = match stream.kind {
                Kind::Count => {
                    let count = stream.count.take();
                    if stream.count.has_more() {
                        stream.is_due = true;
                        more.push(place);
                    }
                    Reading::Counter(count, Temporality::Delta)
                }
                Kind::Gauge => Reading::Level(stream.gauge.reading()),
                Kind::Timing | Kind::Values => {
                    let own;
                    (own, values) = values.split_at(values.partition_point(|&(of, ..)| of <= place));
                    self.scratch.clear();
                    own.iter().for_each(|&(_, value, weight)| self.scratch.record(value, weight));
                    Reading::Values(self.scratch.to_histogram())
                }
                Kind::Set => {
                    let own;
                    (own, members) = members.split_at(members.partition_point(|&(of, _)| of <= place));
                    Reading::Members(own.iter().map(|&(_, member)| member).collect())
                }
            };
            let samples = std::mem::take(&mut stream.samples);
            match receiver.take(stream.observation(reading), now) {
                Ok(()) => {
                    self.outcome.taken += samples;
                    stream.gauge.is_shown = true;
                }
                Err(refusal) => {
                    self.outcome.refuse(&stream.name, &refusal, samples);
                    stream.gauge.is_shown = false;
                }
            }
        }
        self.values.clear();
        self.members.clear();
        self.due = more;
        self.named = 0;
        self.hold(receiver, now);
        let outcome = std::mem::take(&mut self.outcome);
        receiver.count_refused(outcome.refused_total());
        outcome
    }

    /// Gauges hold until the next line: senders of StatsD send them when they change.
    fn hold(&mut self, receiver: &mut AppReceiver, now: Moment) {
        if now.monotonic.saturating_sub(self.held) < HOLD_EVERY {
            return;
        }
        self.held = now.monotonic;
        let hold = self.rules.gauges_hold;
        for stream in self.streams.iter_mut().flatten() {
            let holds = stream.gauge.is_shown && now.monotonic.saturating_sub(stream.seen) <= hold;
            if stream.kind == Kind::Gauge
                && holds
                && let Err(refusal) = receiver.take(stream.observation(Reading::Level(stream.gauge.reading())), now)
            {
                // It was taken before: its place was lost.
                self.outcome.refuse(&stream.name, &refusal, 1);
                stream.gauge.is_shown = false;
            }
        }
    }
}

impl StatsdRules {
    /// Takes one value; gives it with its weight when it is one of a histogram.
    fn value(&self, stream: &mut Stream, line: &Line<'_>, text: &[u8]) -> Result<Option<(u64, u64)>, Refusal> {
        let number = decimal::number(text).ok_or(Refusal::Malformed("the value is no number"))?;
        match stream.kind {
            Kind::Count => {
                // Who states a time has counted it all: the rate says how (DogStatsD protocol 1.3).
                let rate = if line.time_unix_s.is_some() { super::line::Rate::ALL } else { line.rate };
                stream.count.add(number, rate, &mut stream.carry)?;
                Ok(None)
            }
            Kind::Gauge => {
                let is_change = match text.first() {
                    Some(b'+') => true,
                    Some(b'-') => match self.negative_gauges {
                        NegativeGauges::Auto => !line.is_dog,
                        NegativeGauges::Change => true,
                        NegativeGauges::Value => false,
                    },
                    _ => false,
                };
                stream.gauge.update(number, is_change, stream.unit, line.time_unix_s)?;
                Ok(None)
            }
            Kind::Timing | Kind::Values => {
                let value = in_layout(number, stream.digits)?;
                let weight = u64::try_from(stream.carry.take(1, line.rate)).unwrap_or(u64::MAX);
                Ok(Some((value, weight)))
            }
            Kind::Set => Ok(None),
        }
    }

    /// The stream of a name, tags and a type.
    fn stream(&self, name: &str, tags: &str, kind: Kind) -> Stream {
        let mut attributes = tags::pairs(tags);
        let mut identity = Vec::with_capacity(128);
        for text in [name].into_iter().chain(attributes.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]))
        {
            identity.extend_from_slice(&(text.len() as u64).to_le_bytes());
            identity.extend_from_slice(text.as_bytes());
        }
        identity.push(kind as u8);
        let service = attributes.iter().position(|(key, _)| key == "service").map(|at| attributes.remove(at).1);
        let unit = match kind {
            Kind::Timing => "ms",
            _ => unit_of(name).unwrap_or(""),
        };
        let stated = unit_ns(unit);
        let digits = match mapping::role(&self.mappings, name) {
            Some(Role::Duration { unit_ns, .. }) => digits_of(stated.unwrap_or(unit_ns)),
            _ => digits_of(application::histogram_form(unit).2),
        };
        Stream {
            key: xxh3_128(&identity),
            name: name.to_owned(),
            service,
            attributes,
            kind,
            unit,
            digits,
            samples: 0,
            is_due: false,
            seen: Duration::ZERO,
            carry: Carry::NOTHING,
            count: Count::default(),
            gauge: Gauge::default(),
        }
    }
}

impl Stream {
    fn observation(&self, reading: Reading) -> Observation<'_> {
        let time_unix_ns = self.gauge.time_unix_s.saturating_mul(1_000_000_000);
        let identity = Identity { key: self.key, family: self.key, sender: SENDER, start_unix_ns: 0, time_unix_ns };
        let attributes = self
            .attributes
            .iter()
            .map(|(key, value)| Attribute { key, value: AttributeValue::Text(value.as_str().into()) })
            .collect();
        let service = self.service.as_deref();
        Observation { metric: &self.name, unit: self.unit, service, own: false, attributes, identity, reading }
    }
}

impl Gauge {
    fn reading(&self) -> Option<Number> {
        self.value.map(|fixed| Number::Decimal { value: fixed.value, scale: fixed.scale })
    }
}

/// The decimal digits of a factor that is a power of ten, of 1 to 10^9.
fn digits_of(factor: f64) -> u8 {
    (0u8..=9).find(|digits| 10f64.powi((*digits).into()) >= factor).unwrap_or(9)
}

/// A value in the layout of histograms, exact unless it is finer than that.
fn in_layout(number: Number, digits: u8) -> Result<u64, Refusal> {
    let value = match number {
        Number::Integer(value) => i128::from(value) * 10i128.pow(digits.into()),
        Number::Decimal { value, scale } => {
            let (value, unit) = (i128::from(value) * 10i128.pow(digits.into()), 10i128.pow(scale.into()));
            (value + value.signum() * unit / 2) / unit
        }
        Number::Double(value) if !value.is_finite() => return Err(Refusal::NotFinite("the value")),
        // Saturates.
        Number::Double(value) => (value * 10f64.powi(digits.into())).round() as i128,
    };
    if value < 0 {
        return Err(Refusal::Negative("a value of a histogram"));
    }
    Ok(u64::try_from(value).unwrap_or(u64::MAX).min(starling_proto::histogram::HIGHEST))
}
