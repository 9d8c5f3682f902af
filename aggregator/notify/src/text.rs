//! Messages in words, within what receivers take.

use std::{cmp::Ordering, fmt::Write as _};

use starling_alerts::severity_word;
use starling_proto::v1::{AlertEpisode, AlertScope, AlertSeverity, AlertState};

use crate::message::{Item, Message, What};

/// Episodes that the text of a message names; the others are counted.
pub(crate) const NAMED_MAX: usize = 10;

/// The start of `text` in at most `most` bytes, with an ellipsis if anything is left out. Never within a character.
pub(crate) fn cut(text: &str, most: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &text[..end])
}

/// Breaks a line, ends it, or turns the direction of what follows.
fn is_trick(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` as one line of at most `most` characters.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let clean: String = text.chars().map(|c| if is_trick(c) { ' ' } else { c }).collect();
    let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    match clean.char_indices().nth(most) {
        None => clean,
        Some(_) => clean.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A second as "2026-11-27T12:01:05Z".
pub(crate) fn time(tick: u32) -> String {
    jiff::Timestamp::from_second(tick.into()).map(|time| time.to_string()).unwrap_or_default()
}

/// When it fired, or began.
pub(crate) fn fired(episode: &AlertEpisode) -> u32 {
    episode.fired_tick.unwrap_or(episode.since_tick)
}

/// Worst first: by severity, then by how far it is beyond its limit.
pub(crate) fn worse(one: &Item, other: &Item) -> Ordering {
    let beyond = |item: &Item| {
        let (worst, limit) = (item.episode().worst.unwrap_or(0.0), item.episode().limit.unwrap_or(0.0));
        let distance = if item.alert.above { worst - limit } else { limit - worst };
        if limit == 0.0 { distance } else { distance / limit.abs() }
    };
    let by_severity = other.episode().severity.cmp(&item_severity(one));
    by_severity.then_with(|| beyond(other).total_cmp(&beyond(one))).then_with(|| one.id.cmp(&other.id))
}

fn item_severity(item: &Item) -> i32 {
    item.episode().severity
}

/// What is said of an episode, in one line.
pub(crate) fn line(item: &Item) -> String {
    let episode = item.episode();
    let sentence = if item.alert.sentence.is_empty() {
        format!("{} {}", episode.subject, episode.rule)
    } else {
        item.alert.sentence.clone()
    };
    let since = time(episode.since_tick);
    match item.what {
        What::Left => {
            let before =
                episode.severities.iter().rev().nth(1).map_or(AlertSeverity::Unspecified, |one| one.severity());
            format!(
                "no longer {} ({}, {}): {sentence}",
                severity_word(before),
                severity_word(episode.severity()),
                item.alert.value_text
            )
        }
        What::Changed => format!("now {}: {sentence}, since {since}", severity_word(episode.severity())),
        What::Repeat => format!("still {}: {sentence}, since {since}", severity_word(episode.severity())),
        _ if item.firing && episode.state() == AlertState::Cleared => {
            let ended = episode.ended_tick.map(time).unwrap_or_default();
            format!("fired {}, cleared {ended}: {sentence}", time(fired(episode)))
        }
        _ if item.firing => format!("{}: {sentence}, since {since}", severity_word(episode.severity())),
        _ => sentence,
    }
}

/// The message in one line.
pub(crate) fn title(message: &Message) -> String {
    if message.test {
        return "Test: messages of this notifier arrive".to_owned();
    }
    let word = if message.is_firing() { "FIRING" } else { "CLEARED" };
    match (&message.group, &message.items[..]) {
        (None, [item]) => format!("{} {}", if item.firing { "FIRING" } else { "CLEARED" }, line(item)),
        (_, items) => {
            let mut parts = Vec::new();
            let mut say = |count: usize, what: &str| {
                if count > 0 {
                    parts.push(format!("{count} {what}"));
                }
            };
            let of = |wanted: &[What]| items.iter().filter(|item| wanted.contains(&item.what)).count();
            say(of(&[What::Firing]), "new");
            say(of(&[What::Changed]), "changed");
            say(of(&[What::Repeat, What::Refresh]), "still open");
            say(of(&[What::Cleared, What::Left]), "over");
            let open = message.group.as_ref().map_or(0, |group| group.open);
            format!("{word} {}{} ({})", open_of(message, open), common(message), parts.join(", "))
        }
    }
}

/// "400 of 412 nodes", or "3 open".
fn open_of(message: &Message, open: usize) -> String {
    let of_nodes = |item: &Item| {
        let expected = item.episode().nodes_expected.filter(|expected| *expected as usize >= open && *expected > 0);
        expected.filter(|_| item.episode().scope() == AlertScope::Node)
    };
    let one_rule = message.items.windows(2).all(|pair| pair[0].episode().rule == pair[1].episode().rule);
    match message.items.iter().filter_map(of_nodes).max().filter(|_| one_rule) {
        Some(expected) => format!("{open} of {expected} nodes"),
        None => format!("{open} open"),
    }
}

fn common(message: &Message) -> String {
    let by = message.group.iter().flat_map(|group| &group.by).filter(|(_, value)| !value.is_empty());
    let by: Vec<String> = by.map(|(key, value)| format!("{key} {value}")).collect();
    if by.is_empty() { String::new() } else { format!(": {}", by.join(", ")) }
}

/// The message in lines: title, the worst episodes, how many more, what is still open, what to do, the link.
pub(crate) fn body(message: &Message, page_url: &str, most: usize) -> String {
    let mut items: Vec<&Item> = message.items.iter().collect();
    items.sort_by(|one, other| worse(one, other));
    // What must be whole comes first; names and descriptions are cut.
    let mut text = one_line(&title(message), 300);
    let tail = if page_url.is_empty() { String::new() } else { format!("\n{page_url}/alerts") };
    if message.group.is_some() || items.len() > 1 {
        for item in items.iter().take(NAMED_MAX) {
            let _ = write!(text, "\n- {} [{}]", one_line(&line(item), 200), item.id);
        }
        if items.len() > NAMED_MAX {
            let _ = write!(text, "\n- and {} more", items.len() - NAMED_MAX);
        }
        let still = message.group.iter().flat_map(|group| &group.still);
        let still: Vec<String> = still.map(|alert| one_line(&alert.sentence, 100)).collect();
        if !still.is_empty() {
            let _ = write!(text, "\nStill open: {}", still.join("; "));
        }
    }
    if let Some(item) = items.first() {
        let episode = item.episode();
        let mut facts = format!("\nkey {}, sequence {}", message.dedup_key(), item.sequence);
        if let (Some(reporting), Some(expected)) = (episode.nodes_reporting, episode.nodes_expected) {
            let _ = write!(facts, ", {reporting} of {expected} nodes reporting");
        }
        text.push_str(&facts);
        let labels: Vec<String> = item.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let _ = write!(text, "\nlabels {}", one_line(&labels.join(", "), 500));
        for part in [&item.alert.description, &item.alert.resolution, &item.alert.runbook] {
            if !part.is_empty() {
                let _ = write!(text, "\n{}", one_line(part, 500));
            }
        }
    }
    cut(&text, most.saturating_sub(tail.len())) + &tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        for most in 3..40 {
            let short = cut(&"größe😀".repeat(8), most);
            assert!(short.len() <= most && short.ends_with('…'), "{short}");
        }
    }

    #[test]
    fn a_line_is_one_line() {
        let tricks = "web\r\nBcc: x@example.test\u{2028}\0\u{202e}end";
        let line = one_line(tricks, 200);
        assert_eq!(line, "web Bcc: x@example.test end");
        assert_eq!(one_line(&"é".repeat(300), 200).chars().count(), 200);
    }
}
