//! What must hold of a run.

use std::collections::{BTreeMap, BTreeSet};

use starling_alerts::{Book, Episode, Outcome, Record};
use starling_proto::v1;

use super::{
    Cause, Fault, Said, Schedule, Span, T0,
    cluster::{Cluster, Taken},
    seconds::zone_of,
};
use crate::{desk::newer, message::What};

/// Books are equal so long after a partition, in milliseconds; while messages are lost it takes longer.
const EQUAL_WITHIN: (u64, u64) = (2_000, 6_000);
/// A side of a partition is by itself after so many seconds: who was on the other one is no longer waited for.
const BY_ITSELF: u32 = 12;

/// A silence that somebody made.
pub(super) struct Silence {
    pub(super) id: String,
    /// From which second on, and where.
    pub(super) made: (u32, usize),
    pub(super) ends: u32,
    /// When it was taken back, in milliseconds.
    pub(super) back: Option<u64>,
}

/// What was seen of a run so far.
#[derive(Default)]
pub(super) struct Oracle {
    /// When which cause was acknowledged.
    pub(super) acknowledged: Vec<(u64, Cause)>,
    pub(super) silences: Vec<Silence>,
    /// Names of silences, and until when their records are kept.
    pub(super) outdated: Vec<(String, u32)>,
    /// What all have together when a partition ends, and when each has it.
    healed: Vec<(u64, Vec<Record>)>,
    /// Silences that a process has in force, and that it saw end.
    in_force: BTreeSet<(usize, u32, String)>,
    ended: BTreeSet<(usize, u32, String)>,
}

/// Longest time in seconds from what is bad for long enough until it is told, when who is to tell it is killed: a rank, and
/// seven seconds.
const TOLD_WITHIN: u32 = 5 + 7;

/// Whether a book has a record, or a newer one in its place.
fn has(book: &Book, all: &[Record], record: &Record) -> bool {
    match record {
        Record::Episode(one) => book.episode(one.id).is_some_and(|held| one.newer(held).is_le()),
        Record::Delivery(one) => {
            let id = starling_alerts::EpisodeId::parse(&one.episode_id).unwrap();
            book.delivery(id, &one.notifier).is_some_and(|held| newer(one, held).is_le())
        }
        Record::Control(one) => all.iter().any(|held| match held {
            Record::Control(held) => key(held) == key(one) && held.version >= one.version,
            _ => false,
        }),
    }
}

fn key(control: &v1::AlertControl) -> String {
    match control.what.as_ref().unwrap() {
        v1::alert_control::What::Silence(one) => one.silence_id.clone(),
        v1::alert_control::What::Acknowledgement(one) => one.episode_id.clone(),
        v1::alert_control::What::Resend(one) => one.author.clone(),
    }
}

impl Oracle {
    /// Looks at the moment.
    pub(super) fn look(&mut self, cluster: &Cluster<'_>) -> Result<(), String> {
        let (now, tick) = (cluster.now, cluster.tick());
        for fault in &cluster.schedule.faults {
            let within = if cluster.schedule.loss == 0 { EQUAL_WITHIN.0 } else { EQUAL_WITHIN.1 };
            if let Fault::Cut { span, .. } = fault
                && u64::from(span.end()) * 1_000 == now
                && cluster.schedule.is_quiet(now, now + within)
            {
                let books = cluster.members.iter().filter_map(|member| Some(&member.awake()?.book));
                let all = books.flat_map(|book| book.since(0)).collect();
                self.healed.push((now + within, all));
            }
        }
        for (at, member) in cluster.members.iter().enumerate() {
            let Some(process) = member.awake() else { continue };
            let book = &process.book;
            let silences: BTreeSet<&str> = book.silences().map(|silence| silence.silence_id.as_str()).collect();
            for silence in &self.silences {
                let of = (at, member.life, silence.id.clone());
                let there = silences.contains(silence.id.as_str()) && tick < T0 + silence.ends;
                if there && self.ended.contains(&of) {
                    return Err(format!("{now}: the silence {} is back at {at}", silence.id));
                }
                if there {
                    self.in_force.insert(of);
                } else if self.in_force.remove(&of) {
                    self.ended.insert(of);
                }
            }
            let outdated =
                self.outdated.iter().find(|(id, until)| tick > T0 + until + 1 && silences.contains(id.as_str()));
            if let Some((id, _)) = outdated {
                return Err(format!("{now}: the outdated silence {id} is at {at}"));
            }
            let due = self.healed.iter().filter(|(due, _)| *due == now && process.started + EQUAL_WITHIN.1 <= now);
            for (_, healed) in due {
                let all = book.since(0);
                let outdated = |record: &Record| match record {
                    Record::Control(one) => one.expires_tick <= tick,
                    Record::Episode(one) => !one.has_fired(),
                    Record::Delivery(_) => false,
                };
                if let Some(lacks) = healed.iter().find(|record| !outdated(record) && !has(book, &all, record)) {
                    return Err(format!("{now}: after the partition {at} lacks {lacks:?}"));
                }
            }
        }
        Ok(())
    }

    /// Looks back on the whole run, at whose end nothing is bad.
    pub(super) fn judge(&self, cluster: &Cluster<'_>) -> Result<(), String> {
        let schedule = cluster.schedule;
        let awake: Vec<(usize, &Book)> =
            cluster.members.iter().enumerate().filter_map(|(at, member)| Some((at, &member.awake()?.book))).collect();
        for (at, book) in &awake {
            if let Some(open) = book.episodes().find(|one| one.is_open() && one.has_fired()) {
                return Err(format!("{} of {} is still open at {at}", open.rule, open.subject));
            }
            if book.digest() != awake[0].1.digest() {
                return Err(format!("the books of {} and {at} differ", awake[0].0));
            }
            self.acknowledged(book, *at)?;
            let back = self
                .silences
                .iter()
                .find(|silence| silence.back.is_some() && book.silences().any(|one| one.silence_id == silence.id));
            if let Some(back) = back {
                return Err(format!("the silence {} is not taken back at {at}", back.id));
            }
        }
        if !schedule.loses_what_was_told() {
            by_key(&cluster.taken)?;
        }
        by_cause(schedule, &cluster.taken)?;
        by_side(schedule, &cluster.taken)
    }

    /// What was acknowledged is so to its end.
    fn acknowledged(&self, book: &Book, at: usize) -> Result<(), String> {
        for (when, cause) in &self.acknowledged {
            let (rule, subject) = cause.names();
            let when = T0 + (when / 1_000) as u32;
            let is = |one: &&Episode| {
                let merged = matches!(one.ended, Some((_, Outcome::Merged)));
                let then = one.since <= when && one.ended.is_none_or(|(end, _)| end >= when);
                one.has_fired() && one.rule == rule && one.subject.name() == subject && then && !merged
            };
            let mut all = book.episodes().filter(is);
            if let Some(lacks) = all.find(|one| book.acknowledgement(one, when).is_none()) {
                return Err(format!("{} of {} is not acknowledged at {at}", lacks.rule, lacks.subject));
            }
        }
        Ok(())
    }
}

/// Of each key the receiver hears the beginning first, and its end last.
fn by_key(taken: &[Taken]) -> Result<(), String> {
    let mut keys: BTreeMap<&str, Vec<&Taken>> = BTreeMap::new();
    for one in taken {
        keys.entry(&one.key).or_default().push(one);
    }
    for (key, all) in keys {
        let of = || format!("{} of {:?}, {key}: {:?}", all[0].rule, all[0].subject, said(&all));
        if !all[0].firing {
            return Err(format!("its end came without its beginning: {}", of()));
        }
        if all.last().is_some_and(|last| last.firing) {
            return Err(format!("the last word is that it is open: {}", of()));
        }
    }
    Ok(())
}

fn said(all: &[&Taken]) -> Vec<(u64, usize, bool, u32)> {
    all.iter().map(|one| (one.at, one.who, one.firing, one.sequence)).collect()
}

/// Whether it is told of this cause.
fn is_of(cause: Cause, one: &Taken) -> bool {
    let (rule, subject) = cause.names();
    one.rule == rule && one.subject == subject
}

impl Fault {
    /// The milliseconds in which it makes a difference.
    fn lasts(&self) -> (u64, u64) {
        let (from, to) = match *self {
            Self::Kill { at, back, .. } => return (at, at + u64::from(back.unwrap_or(0)) * 1_000 + 8_000),
            Self::Sleep { span, .. } | Self::Cut { span, .. } => (span.from, span.end()),
            Self::Move { at, .. } => (at, at),
        };
        (u64::from(from) * 1_000, u64::from(to) * 1_000)
    }
}

impl Schedule {
    /// Nothing befalls the cluster between these milliseconds.
    fn is_quiet(&self, from: u64, to: u64) -> bool {
        self.faults.iter().all(|fault| {
            let (begin, end) = fault.lasts();
            end <= from || begin >= to
        })
    }

    /// An aggregator ends during a partition: if it was alone, nobody knows what it told in its last seconds.
    fn loses_what_was_told(&self) -> bool {
        let cut = |at: u64| self.faults.iter().any(|fault| matches!(fault, Fault::Cut { span, .. } if span.has(at)));
        self.faults.iter().any(|fault| matches!(*fault, Fault::Kill { at, .. } if cut(at)))
    }

    /// So many faults, and nothing else.
    const fn is_only_faults(&self, count: usize) -> bool {
        self.faults.len() == count && self.failing.is_empty() && self.loss == 0
    }

    /// Whether somebody can judge and tell what is bad then: not when no aggregator has the nodes for all of it.
    fn sees(&self, span: Span) -> bool {
        let kills = self.faults.iter().filter(|fault| matches!(fault, Fault::Kill { .. })).count();
        let last = self.faults.iter().map(|fault| fault.lasts().1).max().unwrap_or(0);
        kills == self.faults.len() && kills < 2 || u64::from(span.end()) * 1_000 >= last + 12_000
    }
}

/// Each planted cause is told, and nothing else.
fn by_cause(schedule: &Schedule, taken: &[Taken]) -> Result<(), String> {
    let cuts = schedule.faults.iter().any(|fault| matches!(fault, Fault::Cut { .. }));
    let sleeps = schedule.faults.iter().any(|fault| matches!(fault, Fault::Sleep { .. }));
    let calm = schedule.faults.is_empty() && schedule.failing.is_empty() && schedule.loss == 0;
    let causes: BTreeSet<String> = schedule.bad.iter().map(|(cause, _)| format!("{:?}", cause.names())).collect();
    for one in taken {
        let planted = causes.contains(&format!("{:?}", (one.rule.as_str(), one.subject.clone())));
        // Nodes of the other side, and of an aggregator that sleeps, are silent.
        if !planted && !(one.rule == "gone" && (cuts || sleeps)) {
            return Err(format!("nobody planted {one:?}"));
        }
    }
    for (cause, span) in &schedule.bad {
        let quiet = schedule.said.iter().any(|said| match said {
            Said::Silence { cause: other, .. } => other.names().0 == cause.names().0,
            Said::Acknowledge { cause: other, .. } => other == cause,
            Said::Outdated { .. } => false,
        });
        // It may have been silent for some before.
        let before = matches!(cause, Cause::Gone(_)) && (cuts || sleeps);
        if quiet || before || !schedule.sees(*span) {
            continue;
        }
        let until = schedule.bad.iter().filter(|(other, next)| other == cause && next.from > span.from);
        let until = until.map(|(_, next)| next.from).min().unwrap_or(u32::MAX);
        let within =
            |one: &&Taken| is_of(*cause, one) && (u64::from(span.from)..u64::from(until)).contains(&(one.at / 1_000));
        let all: Vec<&Taken> = taken.iter().filter(within).collect();
        let of = || format!("{cause:?} of {span:?}: {:?}", said(&all));
        let count = |firing: bool| all.iter().filter(|one| one.firing == firing).count();
        if count(true) == 0 || count(false) == 0 {
            return Err(format!("it was not told: {}", of()));
        }
        let kills = schedule.faults.iter().filter(|fault| matches!(fault, Fault::Kill { .. })).count();
        if kills == 1
            && schedule.is_only_faults(1)
            && all[0].at > u64::from(span.from + cause.pending() + TOLD_WITHIN) * 1_000
        {
            return Err(format!("it was told late: {}", of()));
        }
        if calm && (count(true), count(false)) != (1, 1) {
            return Err(format!("without faults each is told once: {}", of()));
        }
        let keys: BTreeSet<&str> = all.iter().map(|one| one.key.as_str()).collect();
        if !cuts && !sleeps && schedule.loss == 0 && keys.len() > 1 {
            return Err(format!("it was told by different keys: {} {keys:?}", of()));
        }
    }
    Ok(())
}

/// Each side of a partition that sees a cause tells of it once.
fn by_side(schedule: &Schedule, taken: &[Taken]) -> Result<(), String> {
    let [Fault::Cut { members, nodes, span: cut }] = schedule.faults[..] else { return Ok(()) };
    if !schedule.failing.is_empty() || !schedule.said.is_empty() || schedule.loss > 0 {
        return Ok(());
    }
    for (cause, span) in &schedule.bad {
        let Span { from, .. } = *span;
        if from < cut.from + BY_ITSELF || from + 20 > cut.end().min(span.end() + 5) {
            continue;
        }
        for side in [0, 1] {
            let here = |mask: u8, at: usize| mask >> at & 1 == side;
            let reports = |node: &usize| {
                let mut gone = schedule.bad.iter().filter(|(other, _)| *other == Cause::Gone(*node) && other != cause);
                gone.all(|(_, gone)| gone.end() <= from || gone.from >= span.end())
            };
            let mut nodes = (0..schedule.nodes).filter(|node| here(nodes, *node) && reports(node));
            let sees = match *cause {
                Cause::Busy(node) | Cause::Slow(node) | Cause::Gone(node) => nodes.any(|one| one == node),
                Cause::Zone(zone) => nodes.any(|one| zone_of(one) == zone),
                Cause::Errors | Cause::Load => nodes.next().is_some(),
            };
            if !sees || !(0..schedule.members).any(|member| here(members, member)) {
                continue;
            }
            let told = |one: &&Taken| {
                is_of(*cause, one) && one.what == What::Firing && here(members, one.who) && cut.has(one.at)
            };
            let all: Vec<&Taken> = taken.iter().filter(told).collect();
            if all.len() != 1 {
                return Err(format!("side {side} of {cut:?} told of {cause:?} {span:?}: {:?}", said(&all)));
            }
        }
    }
    Ok(())
}
