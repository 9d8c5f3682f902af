//! The state of one rule for one subject, a second further. All of it is in the [`Episode`], so that whoever has that goes
//! on where another left off: neither the time a value was bad so far nor what was fired is lost with a process.
//!
//! | now | value | becomes |
//! |---|---|---|
//! | nothing | beyond a level | pending; firing when `for` is 0 |
//! | pending | beyond a level for `for` seconds | firing |
//! | pending | not beyond | over, and nobody hears of it |
//! | pending | none for more than [`ABSENT_MAX`] s | over, and nobody hears of it |
//! | firing | beyond a more severe level | firing, more severe at once |
//! | firing | back beyond `clear` of its level for `hold` seconds | less severe, or over |
//! | firing | none | firing: silence is no recovery |
//! | pending | judged again after a gap of more than [`ABSENT_MAX`] s and a quarter of `for` | over, and nobody hears of it |
//!
//! A value that is missing for less than three seconds breaks no recovery.
//!
//! What fires the third time within ten minutes is held for five minutes instead of `hold`: it stays one open episode until
//! it has been good for so long. The recovery is late, and always comes.

use super::{Episode, Outcome, Rule, State, Subject};

/// Longest a pending episode waits for a value.
pub const ABSENT_MAX: u32 = 30;
/// What is pending goes on over a gap of this part of `for`.
const GAP_PART: u32 = 4;
/// Seconds without a value from which on what was good until then counts no more.
const ABSENT_SHORT: u32 = 3;
/// Fires of the same rule for the same subject within [`FLAP_SECONDS`] from which on it is held longer.
pub const FLAPS: usize = 3;
/// See [`FLAPS`].
pub const FLAP_SECONDS: u32 = 600;
/// How long it must be good then.
pub const FLAP_HOLD: u32 = 300;

/// What a second says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Which second.
    pub tick: u32,
    /// The value; `None` when there is none, or none that may be judged.
    pub value: Option<f64>,
    /// Nodes that were in it, and that were expected.
    pub coverage: (u32, u32),
}

/// Whether it had fired so often when it fired last that it is held longer.
#[must_use]
pub const fn is_flapping(episode: &Episode) -> bool {
    episode.fires.len() >= FLAPS
}

/// The episode after `judged`; `last` is the one before, also one that is over. `None`: nothing is or was wrong. A second
/// that is not after the one judged last changes nothing.
#[must_use]
pub fn step(
    rule: &Rule,
    (subject, attributes): (&Subject, &[(String, String)]),
    last: Option<&Episode>,
    judged: Judged,
) -> Option<Episode> {
    let Judged { tick, value, .. } = judged;
    let gap = last.filter(|last| last.is_open()).map_or(0, |last| tick.saturating_sub(last.judged + 1));
    // Who takes over needs some seconds, and a query has a period of its own.
    if gap <= ABSENT_MAX.max(2 * rule.every.unwrap_or(0)) {
        return next(rule, (subject, attributes), last, judged);
    }
    // Nobody judged: it was neither good nor bad.
    let mut episode = last?.clone();
    episode.good_since = None;
    if value.is_some() {
        episode.unseen += gap;
    }
    // What waits for hours waits on.
    if episode.state == State::Pending && gap > rule.pending / GAP_PART {
        episode.end(tick, Outcome::Passed);
    }
    next(rule, (subject, attributes), Some(&episode), judged)
}

/// The episode after `judged`, which follows on what was judged last.
fn next(
    rule: &Rule,
    (subject, attributes): (&Subject, &[(String, String)]),
    last: Option<&Episode>,
    judged: Judged,
) -> Option<Episode> {
    let Judged { tick, value, coverage } = judged;
    let bad = value.and_then(|value| rule.level(value).map(|level| (value, level.severity)));
    let mut episode = match last {
        Some(last) if last.is_open() => last.clone(),
        before => {
            let Some((value, severity)) = bad else { return before.cloned() };
            if before.is_some_and(|before| before.judged >= tick) {
                return before.cloned();
            }
            let mut episode = Episode::begin(rule, subject, attributes, (tick, value), severity);
            let recent = before.map_or(&[][..], |before| &before.fires).iter();
            episode.fires = recent.copied().filter(|fired| fired + FLAP_SECONDS > tick).collect();
            episode.coverage = coverage;
            if rule.pending == 0 {
                fire(&mut episode, tick, value);
            }
            return Some(episode);
        }
    };
    if tick <= episode.judged {
        return Some(episode);
    }
    let passed = tick - episode.judged;
    (episode.judged, episode.coverage) = (tick, coverage);
    let Some(value) = value else {
        let since = *episode.absent_since.get_or_insert(tick);
        episode.unseen += passed;
        if tick - since >= ABSENT_SHORT {
            episode.good_since = None;
        }
        if episode.state == State::Pending && tick - since > ABSENT_MAX {
            episode.end(tick, Outcome::Passed);
        }
        return Some(episode);
    };
    episode.absent_since = None;
    episode.value = value;
    episode.worst = rule.worse(episode.worst, value);
    match (episode.state, bad) {
        (State::Pending, Some((_, severity))) => {
            if severity != episode.severity {
                episode.become_severity(rule, tick, severity);
            }
            if tick - episode.since >= rule.pending {
                fire(&mut episode, tick, value);
            }
        }
        (State::Pending, None) => episode.end(tick, Outcome::Passed),
        (_, Some((_, severity))) if severity > episode.severity => {
            episode.good_since = None;
            episode.become_severity(rule, tick, severity);
        }
        (_, bad) => {
            if !rule.is_clear(value, episode.severity) {
                episode.crossings += u32::from(episode.good_since.take().is_some());
                return Some(episode);
            }
            let since = *episode.good_since.get_or_insert(tick);
            if tick - since >= hold(rule, &episode) {
                match bad {
                    Some((_, severity)) => episode.become_severity(rule, tick, severity),
                    None => episode.end(tick, Outcome::Recovered),
                }
                if episode.is_open() {
                    episode.good_since = None;
                }
            }
        }
    }
    Some(episode)
}

/// The episode after the seconds `judged.tick..=to`, which all have the value of `judged`: the same as [`step`] for each of
/// them.
#[must_use]
pub fn span(
    rule: &Rule,
    who: (&Subject, &[(String, String)]),
    last: Option<Episode>,
    judged: Judged,
    to: u32,
) -> Option<Episode> {
    let is_bad = judged.value.is_some_and(|value| rule.level(value).is_some());
    let mut last = last;
    let mut tick = judged.tick;
    loop {
        if !is_bad && last.as_ref().is_none_or(|last| !last.is_open()) {
            return last;
        }
        let judge = if tick == judged.tick { step } else { next };
        last = judge(rule, who, last.as_ref(), Judged { tick, ..judged });
        if tick >= to {
            return last;
        }
        // The next second in which something happens though the value stays.
        let due = last.as_ref().and_then(|last| due(rule, last, judged.value.is_some()));
        tick = due.filter(|due| *due > tick).unwrap_or(to).min(to);
    }
}

/// The episode after an answer to a query of `judged.tick`. A set of labels that a whole answer does not have is no
/// recovery at once: what was pending is over, what fires is no longer known after `hold`, at least after two answers.
#[must_use]
pub fn answered(
    rule: &Rule,
    who: (&Subject, &[(String, String)]),
    last: Option<&Episode>,
    judged: Judged,
) -> Option<Episode> {
    let mut next = step(rule, who, last, judged)?;
    if judged.value.is_none() && next.is_open() && next.judged == judged.tick {
        let absent = judged.tick - next.absent_since.unwrap_or(judged.tick);
        match next.state {
            State::Pending => next.end(judged.tick, Outcome::Passed),
            _ if absent >= hold(rule, &next).max(rule.every.unwrap_or(1)) => next.end(judged.tick, Outcome::Forgotten),
            _ => {}
        }
    }
    Some(next)
}

/// When an episode changes while the value, or that there is none, stays.
fn due(rule: &Rule, episode: &Episode, has_value: bool) -> Option<u32> {
    match (episode.state, has_value) {
        (State::Pending, true) => Some(episode.since + rule.pending),
        (State::Pending, false) => episode.absent_since.map(|since| since + ABSENT_MAX + 1),
        (State::Firing, true) => episode.good_since.map(|since| since + hold(rule, episode)),
        (State::Firing, false) => episode.absent_since.map(|since| since + ABSENT_SHORT),
        (State::Cleared, _) => None,
    }
}

/// How long it must be good.
fn hold(rule: &Rule, episode: &Episode) -> u32 {
    if is_flapping(episode) { rule.hold.max(FLAP_HOLD) } else { rule.hold }
}

fn fire(episode: &mut Episode, tick: u32, value: f64) {
    episode.state = State::Firing;
    episode.fired = Some(tick);
    episode.value_at_firing = value;
    episode.fires.retain(|fired| fired + FLAP_SECONDS > tick);
    if episode.fires.len() > FLAPS {
        episode.fires.remove(0);
    }
    episode.fires.push(tick);
    episode.sequence += 1;
}

#[cfg(test)]
mod tests;
