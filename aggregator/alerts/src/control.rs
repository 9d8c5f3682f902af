//! What people say: acknowledgements and silences, as records of which the newest version stays.

use std::{cmp::Ordering, collections::BTreeMap};

use prost::Message as _;
use starling_proto::v1::{self, alert_control::What};
use xxhash_rust::xxh3::xxh3_64;

use super::{Episode, Matcher, Rule};

/// Most matchers of a silence.
const MATCHERS_MAX: usize = 16;
/// Longest text of a matcher, name or comment.
const TEXT_MAX: usize = 1_000;
/// Longest silence, and longest time an acknowledgement can be given: 30 days.
pub(crate) const SECONDS_MAX: u32 = 30 * 86_400;
/// Bytes of one record.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// A key by which an episode is matched, and its value.
pub type Label = (String, String);

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct ControlError {
    /// Which field.
    pub field: String,
    /// What is wrong, and what is wanted.
    pub what: String,
}

fn wrong(field: impl Into<String>, what: impl Into<String>) -> ControlError {
    ControlError { field: field.into(), what: what.into() }
}

/// The name of a silence that `author` makes at `version` by the aggregator `origin`: two may make one each in one millisecond.
#[must_use]
pub(crate) fn silence_id(author: &str, version: u64, origin: &str) -> String {
    format!("{:016x}", xxh3_64(format!("{author:?} {version} {origin:?}").as_bytes()))
}

/// Checks a text that a person writes.
///
/// # Errors
/// The field, when it is empty where it must not be, too long, or holds control characters.
pub(crate) fn text(field: &str, text: &str, needed: bool) -> Result<(), ControlError> {
    if needed && text.trim().is_empty() {
        return Err(wrong(field, "is missing"));
    }
    if text.chars().count() > TEXT_MAX || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(wrong(
            field,
            format!("wanted are at most {TEXT_MAX} characters, none of them a control character"),
        ));
    }
    Ok(())
}

/// What an episode is matched by.
#[must_use]
pub fn labels(episode: &Episode, rule: Option<&Rule>, of_node: &[Label]) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = of_node.iter().cloned().collect();
    labels.extend(rule.into_iter().flat_map(|rule| rule.labels.clone()));
    labels.extend(episode.attributes.iter().cloned());
    let of = (episode.subject.scope().as_str(), episode.subject.name());
    add_names(&mut labels, &episode.rule, of, episode.severity.as_str());
    labels
}

/// Adds the labels that every episode has, in the place of those of the same name: `rule`, `scope`, `subject`, `severity`; of a
/// node `node`, of a group its label.
pub fn add_names(labels: &mut BTreeMap<String, String>, rule: &str, (scope, subject): (&str, &str), severity: &str) {
    let own = match (scope, subject.split_once(':')) {
        ("node", _) => Some(("node", subject)),
        ("group", Some(label)) => Some(label),
        _ => None,
    };
    let all = [("rule", rule), ("scope", scope), ("subject", subject), ("severity", severity)];
    labels.extend(all.into_iter().chain(own).map(|(key, value)| (key.to_owned(), value.to_owned())));
}

/// The matchers of a silence, checked.
///
/// # Errors
/// The field of the first that is wrong.
pub fn compiled(matchers: &[v1::AlertMatcher]) -> Result<Vec<Matcher>, ControlError> {
    let of = matchers.iter().enumerate();
    of.map(|(at, matcher)| Matcher::new(matcher.clone()).map_err(|error| wrong(format!("matchers[{at}]"), error)))
        .collect()
}

/// Whether all matchers hold, and there is one.
#[must_use]
pub fn matches(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    !matchers.is_empty() && matchers.iter().all(|matcher| matcher.matches(labels))
}

/// Whether a silence of these matchers covers what has these labels. That alerting itself fails (`of_alerting`) is covered by
/// what names its rule, and by no pattern.
#[must_use]
pub fn covers(matchers: &[Matcher], labels: &BTreeMap<String, String>, of_alerting: bool) -> bool {
    matches(matchers, labels) && (!of_alerting || matchers.iter().any(Matcher::names_rules))
}

/// Checks that something can match all of a new silence.
///
/// # Errors
/// The first matcher that excludes another one.
pub(crate) fn check_possible(matchers: &[v1::AlertMatcher]) -> Result<(), ControlError> {
    let all = compiled(matchers)?;
    for (at, one) in all.iter().enumerate() {
        if let Some(before) = all[..at].iter().position(|other| one.excludes(other)) {
            return Err(wrong(
                format!("matchers[{at}]"),
                format!("no alert can have both this and matchers[{before}]"),
            ));
        }
    }
    Ok(())
}

/// Checks a note of who had dead letters sent again.
///
/// # Errors
/// The field that is wrong.
pub fn check_resend(resend: &v1::DeadLetterResend) -> Result<(), ControlError> {
    text("author", &resend.author, true)?;
    text("notifier", &resend.notifier, true)?;
    text("aggregator_id", &resend.aggregator_id, false)
}

/// Checks a silence.
///
/// # Errors
/// The field that is wrong, and what is wanted.
pub(crate) fn check_silence(silence: &v1::AlertSilence) -> Result<(), ControlError> {
    if silence.matchers.is_empty() || silence.matchers.len() > MATCHERS_MAX {
        return Err(wrong("matchers", format!("wanted are 1 to {MATCHERS_MAX}")));
    }
    for (at, matcher) in silence.matchers.iter().enumerate() {
        text(&format!("matchers[{at}].key"), &matcher.key, true)?;
        text(&format!("matchers[{at}].value"), &matcher.value, false)?;
    }
    // Of an episode nothing is known: what matches that matches everything.
    if matches(&compiled(&silence.matchers)?, &BTreeMap::new()) {
        return Err(wrong("matchers", "they match everything: wanted is one that needs a value"));
    }
    text("author", &silence.author, true)?;
    text("comment", &silence.comment, false)?;
    match silence.ends_tick.checked_sub(silence.starts_tick) {
        Some(seconds @ 1..=SECONDS_MAX) if seconds > 0 => Ok(()),
        _ => Err(wrong("for_seconds", format!("wanted are 1 to {SECONDS_MAX}"))),
    }
}

/// Keys of the notes of who had dead letters sent again begin so, and go on in the order in which they were made.
pub(crate) const RESEND: &str = "resend/";

/// The key of the silence of this name.
pub(crate) fn silence_key(id: &str) -> String {
    format!("silence/{id}")
}

/// The key of a record: of all with one key the newest stays.
pub(crate) fn key(control: &v1::AlertControl) -> Option<String> {
    match control.what.as_ref()? {
        What::Acknowledgement(one) => Some(format!("acknowledgement/{}", one.episode_id)),
        What::Silence(one) => Some(silence_key(&one.silence_id)),
        What::Resend(_) => Some(format!("{RESEND}{:016x} {}", control.version, control.origin)),
    }
}

/// Whether a record from another aggregator can be taken.
pub(crate) fn check(control: &v1::AlertControl) -> Result<(), ControlError> {
    if control.encoded_len() > RECORD_BYTES_MAX {
        return Err(wrong("record", format!("is longer than {RECORD_BYTES_MAX} bytes")));
    }
    match &control.what {
        None => Err(wrong("record", "is neither an acknowledgement nor a silence")),
        Some(What::Resend(one)) => check_resend(one),
        Some(What::Silence(silence)) => check_silence(silence),
        Some(What::Acknowledgement(one)) => {
            if super::EpisodeId::parse(&one.episode_id).is_none() {
                return Err(wrong("episode_id", "is no id"));
            }
            let author = one.acknowledgement.as_ref().map_or("", |one| &one.author);
            text("author", author, true)?;
            text("comment", one.acknowledgement.as_ref().map_or("", |one| &one.comment), false)
        }
    }
}

/// Which of two versions of a record is the newer; never equal unless they are the same.
pub(crate) fn newer(a: &v1::AlertControl, b: &v1::AlertControl) -> Ordering {
    let hash = |one: &v1::AlertControl| xxh3_64(&one.encode_to_vec());
    (a.version, &a.origin).cmp(&(b.version, &b.origin)).then_with(|| hash(a).cmp(&hash(b)))
}
