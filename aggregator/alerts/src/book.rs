//! Episodes, acknowledgements, silences and what notifiers were told: records that every aggregator holds. Of two with one
//! key the newer stays, whoever has it and in whatever order they come, so that all books are equal once all records were
//! exchanged.

use std::{collections::BTreeMap, fmt, sync::Arc};

use starling_proto::v1::{self, alert_control::What, alert_record::Record as Wire};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Episode, EpisodeId, Matcher, State,
    control::{self, ControlError},
    judge::FLAP_SECONDS,
};

/// Episodes that are kept. Beyond it the one that was over first goes; while all are open a further one is refused.
pub(crate) const EPISODES_MAX: usize = 10_000;
/// Acknowledgements and silences that are kept; a further one is refused.
pub(crate) const CONTROLS_MAX: usize = 10_000;
/// Notes of who had dead letters sent again. Beyond it the oldest goes.
pub(crate) const RESENDS_MAX: usize = 100;
/// Notes of what notifiers were told: of each episode three. Beyond it those of the oldest episodes go.
pub(crate) const DELIVERIES_MAX: usize = 3 * EPISODES_MAX;
/// How far ahead of our clock a record may be made, in milliseconds: one from farther ahead would win for ever.
pub(crate) const AHEAD_MAX_MS: u64 = 60_000;
/// Seconds an episode that is over is kept.
pub(crate) const OVER_KEPT: u32 = 30 * 86_400;
/// Seconds an episode that nobody heard of is kept once it is over.
const PASSED_KEPT: u32 = FLAP_SECONDS;
/// Seconds a record that was taken back or ran out is kept, so that no older version of it returns.
const DELETED_KEPT: u32 = 86_400;
/// The id of the notes that say whether a notifier works: `firing` while its receiver takes nothing.
pub const TROUBLE_ID: EpisodeId = EpisodeId(u64::MAX);
/// Such a note holds for so long, in milliseconds: it comes again each 10 s.
const TROUBLE_KEPT_MS: u64 = 30_000;
/// Longest name of a notifier.
const NOTIFIER_LEN_MAX: usize = 64;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An episode.
    Episode(Episode),
    /// An acknowledgement or a silence.
    Control(v1::AlertControl),
    /// What a notifier was told.
    Delivery(v1::AlertDelivery),
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is new, or newer than what was here.
    Taken,
    /// What is here is as new.
    Known,
    /// It is not taken.
    Refused(String),
}

impl From<Record> for v1::AlertRecord {
    fn from(record: Record) -> Self {
        Self {
            record: Some(match record {
                Record::Episode(episode) => Wire::Episode((&episode).into()),
                Record::Control(control) => Wire::Control(control),
                Record::Delivery(delivery) => Wire::Delivery(delivery),
            }),
        }
    }
}

impl TryFrom<v1::AlertRecord> for Record {
    type Error = String;

    fn try_from(wire: v1::AlertRecord) -> Result<Self, String> {
        match wire.record {
            Some(Wire::Episode(episode)) => {
                episode.try_into().map(Self::Episode).map_err(|error: super::WireError| error.to_string())
            }
            Some(Wire::Control(one)) => control::check(&one).map(|()| Self::Control(one)).map_err(|e| e.to_string()),
            Some(Wire::Delivery(one)) => {
                let named = (1..=NOTIFIER_LEN_MAX).contains(&one.notifier.len());
                let known = EpisodeId::parse(&one.episode_id).is_some();
                if named && known { Ok(Self::Delivery(one)) } else { Err("a delivery without names".to_owned()) }
            }
            None => Err("an empty record".to_owned()),
        }
    }
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("taken"),
            Self::Known => f.write_str("known"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

#[derive(Debug, Clone)]
struct Held<T> {
    record: T,
    /// The revision of the book with which it came.
    revision: u64,
    /// Of an episode [`Episode::cause`], which does not change.
    cause: u64,
    /// Its part in the digest; 0 for none.
    hash: u64,
}

impl<T> Held<T> {
    fn new(record: T, revision: u64, cause: u64, named: Option<&str>) -> Self {
        Self { record, revision, cause, hash: named.map_or(0, |text| xxh3_64(text.as_bytes())) }
    }
}

fn held_episode(episode: Episode, revision: u64, cause: u64) -> Held<Arc<Episode>> {
    let named = episode.has_fired().then(|| format!("{} {}", episode.id, episode.sequence));
    Held::new(Arc::new(episode), revision, cause, named.as_deref())
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Book {
    episodes: BTreeMap<EpisodeId, Held<Arc<Episode>>>,
    controls: BTreeMap<String, Held<v1::AlertControl>>,
    /// What the silences among them match, by their key.
    matchers: BTreeMap<String, Vec<Matcher>>,
    deliveries: BTreeMap<(EpisodeId, String), Held<v1::AlertDelivery>>,
    revision: u64,
    /// The newest version of a control that was seen.
    version: u64,
}

impl Book {
    /// Grows with each record that is taken.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes a record at `now_ms`, in milliseconds since 1970.
    pub fn put(&mut self, record: Record, now_ms: u64) -> Put {
        let put = match record {
            Record::Episode(episode) => self.put_episode(episode, now_ms),
            Record::Control(control) => self.put_control(control, now_ms),
            Record::Delivery(delivery) => self.put_delivery(delivery),
        };
        self.revision += u64::from(put == Put::Taken);
        put
    }

    fn put_episode(&mut self, episode: Episode, now_ms: u64) -> Put {
        if u64::from(episode.judged) * 1_000 > now_ms + AHEAD_MAX_MS {
            return Put::Refused(format!("the episode {} is of a second that is far ahead", episode.id));
        }
        let revision = self.revision + 1;
        match self.episodes.get_mut(&episode.id) {
            Some(held) if episode.newer(&held.record).is_gt() => {
                let cause = held.cause;
                *held = held_episode(episode, revision, cause);
            }
            Some(_) => return Put::Known,
            None => {
                if is_outdated(&episode, (now_ms / 1_000) as u32) {
                    return Put::Known;
                }
                if self.episodes.len() >= EPISODES_MAX {
                    let over = self.episodes.values().filter_map(|held| Some((held.record.ended?.0, held.record.id)));
                    let Some((_, oldest)) = over.min() else {
                        return Put::Refused(format!("{EPISODES_MAX} episodes are open"));
                    };
                    self.remove(oldest);
                }
                let cause = episode.cause();
                self.episodes.insert(episode.id, held_episode(episode, revision, cause));
            }
        }
        Put::Taken
    }

    fn put_control(&mut self, control: v1::AlertControl, now_ms: u64) -> Put {
        if (control.version >> 16) > now_ms + AHEAD_MAX_MS {
            return Put::Refused("it was made in the far future: the clock of who took it is wrong".to_owned());
        }
        let Some(key) = control::key(&control) else { return Put::Refused("it says nothing".to_owned()) };
        let matchers = match &control.what {
            Some(What::Silence(silence)) => match control::compiled(&silence.matchers) {
                Ok(matchers) => Some(matchers),
                Err(error) => return Put::Refused(error.to_string()),
            },
            _ => None,
        };
        let (revision, version, held) = (self.revision + 1, control.version, self.controls.len());
        let named = format!("{key} {version}");
        match self.controls.get_mut(&key) {
            Some(held) if control::newer(&control, &held.record).is_gt() => {
                *held = Held::new(control, revision, 0, Some(&named));
            }
            Some(_) => return Put::Known,
            None if u64::from(control.expires_tick) * 1_000 < now_ms => return Put::Known,
            None if key.starts_with(control::RESEND) => {
                if self.resends().count() >= RESENDS_MAX
                    && let Some(oldest) = self.oldest_resend()
                {
                    if key < oldest {
                        return Put::Known;
                    }
                    self.controls.remove(&oldest);
                }
                self.controls.insert(key.clone(), Held::new(control, revision, 0, Some(&named)));
            }
            None if held >= CONTROLS_MAX => {
                return Put::Refused(format!("{CONTROLS_MAX} acknowledgements and silences are kept: end some first"));
            }
            None => drop(self.controls.insert(key.clone(), Held::new(control, revision, 0, Some(&named)))),
        }
        if let Some(matchers) = matchers {
            self.matchers.insert(key, matchers);
        }
        self.version = self.version.max(version);
        Put::Taken
    }

    fn put_delivery(&mut self, delivery: v1::AlertDelivery) -> Put {
        let Some(id) = EpisodeId::parse(&delivery.episode_id) else { return Put::Refused("no id".to_owned()) };
        let order = |one: &v1::AlertDelivery| (one.sequence, !one.firing, one.at_unix_ms);
        let (revision, key) = (self.revision + 1, (id, delivery.notifier.clone()));
        let named = format!("{id} {} {}", delivery.notifier, delivery.sequence);
        match self.deliveries.get_mut(&key) {
            Some(held) if order(&delivery) > order(&held.record) => {
                *held = Held::new(delivery, revision, 0, Some(&named));
            }
            Some(_) => return Put::Known,
            None => {
                if self.deliveries.len() >= DELIVERIES_MAX {
                    self.deliveries.pop_first();
                }
                self.deliveries.insert(key, Held::new(delivery, revision, 0, Some(&named)));
            }
        }
        Put::Taken
    }

    fn remove(&mut self, id: EpisodeId) {
        self.episodes.remove(&id);
        let of_it: Vec<_> = self
            .deliveries
            .range((id, String::new())..)
            .map(|(key, _)| key.clone())
            .take_while(|key| key.0 == id)
            .collect();
        of_it.iter().for_each(|key| drop(self.deliveries.remove(key)));
    }

    /// Forgets what is kept no longer.
    pub fn expire(&mut self, now_tick: u32) {
        let outdated = self.episodes.values().filter(|held| is_outdated(&held.record, now_tick));
        let outdated: Vec<EpisodeId> = outdated.map(|held| held.record.id).collect();
        outdated.into_iter().for_each(|id| self.remove(id));
        self.controls.retain(|_, held| held.record.expires_tick >= now_tick);
        self.matchers.retain(|key, _| self.controls.contains_key(key));
    }

    /// The records that came after `revision`, those that came first in front.
    #[must_use]
    pub fn since(&self, revision: u64) -> Vec<Record> {
        let mut found: Vec<(u64, Record)> = Vec::new();
        let new = |at: u64| at > revision;
        let episodes = self.episodes.values().filter(|held| new(held.revision));
        found.extend(episodes.map(|held| (held.revision, Record::Episode((*held.record).clone()))));
        let controls = self.controls.values().filter(|held| new(held.revision));
        found.extend(controls.map(|held| (held.revision, Record::Control(held.record.clone()))));
        let deliveries = self.deliveries.values().filter(|held| new(held.revision));
        found.extend(deliveries.map(|held| (held.revision, Record::Delivery(held.record.clone()))));
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, record)| record).collect()
    }

    /// Of two books with the same one nobody has a transition, a word of a person or a delivery that the other lacks.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let episodes = self.episodes.values().map(|held| held.hash);
        let controls = self.controls.values().map(|held| held.hash);
        let deliveries = self.deliveries.values().map(|held| held.hash);
        episodes.chain(controls).chain(deliveries).fold(0, |all, one| all ^ one)
    }

    /// All episodes, in no order.
    pub fn episodes(&self) -> impl Iterator<Item = &Episode> {
        self.episodes.values().map(|held| &*held.record)
    }

    /// What those that judge go on with at second `tick`: all that are open, and those that were over for less than ten minutes.
    #[must_use]
    pub fn recent(&self, tick: u32) -> Vec<Arc<Episode>> {
        let recent = |one: &Episode| one.ended.is_none_or(|(end, _)| end.saturating_add(FLAP_SECONDS) > tick);
        self.episodes.values().filter(|held| recent(&held.record)).map(|held| Arc::clone(&held.record)).collect()
    }

    /// Those that are open: of several of one rule, subject and attributes the one that began first.
    #[must_use]
    pub fn open(&self) -> Vec<&Episode> {
        let mut by_cause: BTreeMap<u64, &Episode> = BTreeMap::new();
        for Held { record, cause, .. } in self.episodes.values().filter(|held| held.record.is_open()) {
            let first = by_cause.entry(*cause).or_insert(record);
            if (record.since, record.id) < (first.since, first.id) {
                *first = record;
            }
        }
        by_cause.into_values().collect()
    }

    /// One of them.
    #[must_use]
    pub fn episode(&self, id: EpisodeId) -> Option<&Episode> {
        self.episodes.get(&id).map(|held| &*held.record)
    }

    /// What a notifier was told of an episode.
    #[must_use]
    pub fn delivery(&self, id: EpisodeId, notifier: &str) -> Option<&v1::AlertDelivery> {
        self.deliveries.get(&(id, notifier.to_owned())).map(|held| &held.record)
    }

    /// Notifiers whose receivers take nothing, as those say that try, at `now_ms`.
    #[must_use]
    pub fn notifiers_failing(&self, now_ms: u64) -> Vec<&str> {
        let notes = self.deliveries.range((TROUBLE_ID, String::new())..).map(|(_, held)| &held.record);
        let failing = notes.filter(|note| note.firing && note.at_unix_ms.saturating_add(TROUBLE_KEPT_MS) > now_ms);
        failing.map(|note| note.notifier.as_str()).collect()
    }

    /// A version for a record that is made now: after all that were seen.
    #[must_use]
    pub const fn next_version(&self, now_ms: u64) -> u64 {
        let now = now_ms << 16;
        if now > self.version { now } else { self.version + 1 }
    }

    /// Who looks after an episode at second `tick`.
    #[must_use]
    pub fn acknowledgement(&self, episode: &Episode, tick: u32) -> Option<&v1::AlertAcknowledgement> {
        let held = self.controls.get(&format!("acknowledgement/{}", episode.id))?;
        let Some(What::Acknowledgement(one)) = held.record.what.as_ref().filter(|_| !held.record.deleted) else {
            return None;
        };
        let one = one.acknowledgement.as_ref()?;
        one.until_tick.is_none_or(|until| until > tick).then_some(one)
    }

    /// The acknowledgement that holds for an episode because one of the same cause, over for less than ten minutes when this
    /// one began, was acknowledged.
    #[must_use]
    pub fn inherited(&self, episode: &Episode, tick: u32) -> Option<&v1::AlertAcknowledgement> {
        let cause = episode.cause();
        let before = self.episodes().filter(|other| {
            let ended_lately = other.ended.is_some_and(|(end, _)| end + FLAP_SECONDS > episode.since);
            other.id != episode.id && other.since < episode.since && ended_lately && other.cause() == cause
        });
        before.max_by_key(|other| other.since).and_then(|other| self.acknowledgement(other, tick))
    }

    /// All silences that were not taken back, those too that are over.
    pub fn silences(&self) -> impl Iterator<Item = &v1::AlertSilence> {
        self.controls.values().filter(|held| !held.record.deleted).filter_map(|held| {
            match held.record.what.as_ref()? {
                What::Silence(silence) => Some(silence),
                What::Acknowledgement(_) | What::Resend(_) => None,
            }
        })
    }

    /// Who had dead letters sent again, oldest first.
    pub fn resends(&self) -> impl Iterator<Item = &v1::DeadLetterResend> {
        self.controls.range(control::RESEND.to_owned()..).map_while(|(_, held)| match held.record.what.as_ref()? {
            What::Resend(resend) => Some(resend),
            What::Silence(_) | What::Acknowledgement(_) => None,
        })
    }

    fn oldest_resend(&self) -> Option<String> {
        let first = self.controls.range(control::RESEND.to_owned()..).next();
        first.map(|(key, _)| key.clone()).filter(|key| key.starts_with(control::RESEND))
    }

    /// The record of who had dead letters sent again, to be put and shared.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn resend(
        &self,
        resend: v1::DeadLetterResend,
        origin: &str,
        now_ms: u64,
    ) -> Result<v1::AlertControl, ControlError> {
        control::check_resend(&resend)?;
        let author = resend.author.clone();
        Ok(v1::AlertControl {
            version: self.next_version(now_ms),
            origin: origin.to_owned(),
            deleted: false,
            expires_tick: ((now_ms / 1_000) as u32).saturating_add(OVER_KEPT),
            author,
            what: Some(What::Resend(v1::DeadLetterResend { at_unix_ms: now_ms, ..resend })),
        })
    }

    /// The silences that cover what has these labels at second `tick`; `of_alerting` as in [`control::covers`].
    #[must_use]
    pub fn silenced_by(&self, labels: &BTreeMap<String, String>, of_alerting: bool, tick: u32) -> Vec<String> {
        let covers = |silence: &&v1::AlertSilence| {
            let matchers = self.matchers.get(&control::silence_key(&silence.silence_id));
            (silence.starts_tick..silence.ends_tick).contains(&tick)
                && matchers.is_some_and(|matchers| control::covers(matchers, labels, of_alerting))
        };
        self.silences().filter(covers).map(|silence| silence.silence_id.clone()).collect()
    }

    /// Changes when a silence begins or ends, or an acknowledgement ends, by itself: the same while all that is in force at second
    /// `tick` is.
    #[must_use]
    pub fn in_force(&self, tick: u32) -> u64 {
        let is_in_force = |control: &v1::AlertControl| match control.what.as_ref() {
            Some(What::Silence(one)) => (one.starts_tick..one.ends_tick).contains(&tick),
            Some(What::Acknowledgement(one)) => {
                one.acknowledgement.as_ref().is_some_and(|one| one.until_tick.is_none_or(|until| until > tick))
            }
            Some(What::Resend(_)) | None => false,
        };
        let held = self.controls.values().filter(|held| !held.record.deleted && is_in_force(&held.record));
        held.fold(0, |all, held| all ^ held.hash)
    }

    /// What is over and was told to some notifier as open: a silence holds its end back.
    pub fn owed_ends(&self) -> impl Iterator<Item = EpisodeId> {
        let told = self.deliveries.iter().filter(|(_, held)| held.record.firing && !held.record.given_up);
        told.map(|((id, _), _)| *id).filter(|id| self.episode(*id).is_some_and(|one| !one.is_open()))
    }

    /// The record of an acknowledgement, to be put and shared.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn acknowledge(
        &self,
        episode: &Episode,
        acknowledgement: v1::AlertAcknowledgement,
        origin: &str,
        now_ms: u64,
    ) -> Result<v1::AlertControl, ControlError> {
        control::text("author", &acknowledgement.author, true)?;
        control::text("comment", &acknowledgement.comment, false)?;
        let now = (now_ms / 1_000) as u32;
        let seconds = acknowledgement.until_tick.map_or(0, |until| until.saturating_sub(now));
        if seconds > control::SECONDS_MAX {
            let what = format!("wanted are at most {}", control::SECONDS_MAX);
            return Err(ControlError { field: "for_seconds".to_owned(), what });
        }
        Ok(v1::AlertControl {
            version: self.next_version(now_ms),
            origin: origin.to_owned(),
            deleted: false,
            // As long as the episode itself.
            expires_tick: now.saturating_add(OVER_KEPT + DELETED_KEPT),
            author: acknowledgement.author.clone(),
            what: Some(What::Acknowledgement(v1::EpisodeAcknowledgement {
                episode_id: episode.id.to_string(),
                acknowledgement: Some(acknowledgement),
            })),
        })
    }

    /// The record of a silence, to be put and shared.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn silence(
        &self,
        silence: v1::AlertSilence,
        origin: &str,
        now_ms: u64,
    ) -> Result<v1::AlertControl, ControlError> {
        control::check_silence(&silence)?;
        control::check_possible(&silence.matchers)?;
        let version = self.next_version(now_ms);
        let silence_id = control::silence_id(&silence.author, version, origin);
        Ok(v1::AlertControl {
            version,
            origin: origin.to_owned(),
            deleted: false,
            expires_tick: silence.ends_tick.saturating_add(DELETED_KEPT),
            author: silence.author.clone(),
            what: Some(What::Silence(v1::AlertSilence { silence_id, at_unix_ms: now_ms, ..silence })),
        })
    }

    /// The record that takes an acknowledgement or a silence back, with what it was; `None` when there is none.
    #[must_use]
    pub fn take_back(&self, key: &Taken<'_>, author: &str, origin: &str, now_ms: u64) -> Option<v1::AlertControl> {
        let key = match key {
            Taken::Acknowledgement(id) => format!("acknowledgement/{id}"),
            Taken::Silence(id) => control::silence_key(id),
        };
        let held = self.controls.get(&key).filter(|held| !held.record.deleted)?;
        let mut control = v1::AlertControl {
            version: self.next_version(now_ms),
            origin: origin.to_owned(),
            deleted: true,
            author: author.to_owned(),
            ..held.record.clone()
        };
        if let Some(What::Silence(silence)) = &mut control.what {
            let now = (now_ms / 1_000) as u32;
            silence.ends_tick = silence.ends_tick.min(now.max(silence.starts_tick + 1));
        }
        Some(control)
    }
}

/// What is taken back.
#[derive(Debug, Clone, Copy)]
pub enum Taken<'a> {
    /// Of this episode.
    Acknowledgement(EpisodeId),
    /// The silence of this name.
    Silence(&'a str),
}

fn is_outdated(episode: &Episode, now_tick: u32) -> bool {
    let kept = if episode.has_fired() { OVER_KEPT } else { PASSED_KEPT };
    let lost = episode.state == State::Pending && episode.judged + PASSED_KEPT < now_tick;
    lost || episode.ended.is_some_and(|(end, _)| end.saturating_add(kept) < now_tick)
}

#[cfg(test)]
mod tests;
