//! What is to be said to one notifier of one episode: the difference between what it took and what is so.

use starling_alerts::EpisodeId;
use starling_proto::v1::AlertState;

use super::{
    Desk, Known,
    lane::{Need, Pair},
};
use crate::{message::What, settings::Kind};

/// An Alertmanager is told for so long what ended, in seconds: as Prometheus does.
const ENDED_RESENT: u32 = 900;

impl Need {
    const fn now(what: What, event: u32) -> Option<Self> {
        Some(Self { what, event, at: None })
    }

    const fn later(what: What, at: u64) -> Option<Self> {
        Some(Self { what, event: 0, at: Some(at) })
    }
}

impl Desk {
    /// See the module.
    pub(super) fn need(&self, n: usize, id: EpisodeId) -> Option<Need> {
        let (known, lane) = (self.known.get(&id)?, &self.lanes[n]);
        let pair = lane.pairs.get(&id).filter(|pair| !pair.flying)?;
        let repeat = pair.route.and_then(|route| self.plan.routes.get(route)).map_or(u64::MAX, |route| route.repeat);
        let resends = (lane.kind == Kind::Alertmanager).then_some(lane.resend);
        let (muted, loud_since) = self.mute_of(pair);
        let held = Held {
            quiet: known.quiet || muted,
            silenced: known.silenced || muted,
            loud_since: known.loud_since.max(loud_since),
        };
        match known.episode()?.state() {
            AlertState::Firing => of_open((known, &held), pair, repeat, resends),
            AlertState::Cleared => {
                #[cfg(test)]
                if self.planted == Some(super::simulator::Planted::ClearedAlone) && pair.told.is_none() {
                    return Need::now(What::Cleared, known.ended()?);
                }
                of_over((known, &held), pair, resends, self.now)
            }
            _ => None,
        }
    }
}

/// Why nothing is to be said, by what is known of an episode and by the hours of its route.
struct Held {
    quiet: bool,
    silenced: bool,
    /// From this second on it is neither.
    loud_since: u32,
}

fn of_open((known, held): (&Known, &Held), pair: &Pair, repeat: u64, resends: Option<u64>) -> Option<Need> {
    let episode = known.episode()?;
    let told = pair.told;
    if told.is_some_and(|told| told.sequence > episode.sequence) {
        return None;
    }
    let severity_since = episode.severities.last().map_or(0, |last| last.tick);
    let event = episode.fired_tick.unwrap_or(episode.since_tick).max(severity_since).max(held.loud_since);
    let again = |at: u64| match resends {
        Some(every) => Need::later(What::Refresh, at.saturating_add(every)),
        None => Need::later(What::Repeat, at.saturating_add(repeat)),
    };
    let open = told.filter(|told| told.firing && !told.given_up);
    match (open, told) {
        (Some(_), _) if !pair.routed => Need::now(What::Left, event),
        // Who was told keeps to it: an Alertmanager would take silence for an end.
        (Some(told), _) if held.quiet => resends.and_then(|_| again(told.at)),
        (Some(told), _) if told.sequence < episode.sequence => Need::now(What::Changed, event),
        (Some(told), _) => again(told.at),
        (None, _) if !pair.routed || held.quiet => None,
        (None, _) if pair.owed => Need::now(What::Firing, event),
        // It was refused, or given up: it is tried again when it would be repeated.
        (None, Some(told)) if told.given_up && told.firing => Need::later(What::Firing, told.at.saturating_add(repeat)),
        (None, _) => None,
    }
}

fn of_over((known, held): (&Known, &Held), pair: &Pair, resends: Option<u64>, now: u64) -> Option<Need> {
    let ended = known.ended()?;
    let sequence = known.episode()?.sequence;
    let since = ended.max(held.loud_since);
    match pair.told {
        // An Alertmanager would take silence for an end, and has silences of its own.
        _ if held.silenced && !pair.doubt && resends.is_none() => None,
        Some(told) if told.firing && !told.given_up => {
            (told.sequence <= sequence).then_some(Need::now(What::Cleared, since)).flatten()
        }
        Some(_) if pair.doubt => Need::now(What::Cleared, ended),
        // What was not said in time is said in full: its beginning first, then its end.
        _ if pair.owed => Need::now(What::Firing, ended),
        Some(told) if !told.given_up => {
            let at = told.at.saturating_add(resends?);
            let until = u64::from(ended.saturating_add(ENDED_RESENT)) * 1_000;
            (now < until && at < until).then_some(Need::later(What::Refresh, at)).flatten()
        }
        _ => None,
    }
}
