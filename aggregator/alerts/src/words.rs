//! Episodes in sentences.

use std::fmt::Write as _;

use starling_proto::catalogue::Unit;

use super::{Episode, Outcome, Rule, State};

/// Seconds without data from which on an ended episode says so.
const UNSEEN_SAID: u32 = 10;

/// A value with its unit.
#[must_use]
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => format!("{} %", digits(value * 100.0)),
        Unit::Number => digits(value),
        Unit::Rate => format!("{} /s", digits(value)),
        Unit::Bytes => bytes(value),
        Unit::BytesPerSecond => format!("{}/s", bytes(value)),
        Unit::Time => time(value),
    }
}

/// A length of time: "45 s", "12 min", "3 h 20 min", "4 d".
#[must_use]
pub fn length(seconds: u32) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..3_600 => format!("{minutes} min"),
        3_600..86_400 if minutes == 0 => format!("{hours} h"),
        3_600..86_400 => format!("{hours} h {minutes} min"),
        _ if hours == 0 => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

/// The time of the day, UTC.
#[must_use]
pub fn clock(tick: u32) -> String {
    format!("{:02}:{:02}:{:02} UTC", tick / 3_600 % 24, tick / 60 % 60, tick % 60)
}

fn digits(value: f64) -> String {
    let text = match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut at) = (value, 0);
    while value.abs() >= 1_024.0 && at + 1 < UNITS.len() {
        (value, at) = (value / 1_024.0, at + 1);
    }
    format!("{} {}", digits(value), UNITS[at])
}

fn time(seconds: f64) -> String {
    match seconds.abs() {
        60.0.. => length(seconds.round() as u32),
        1.0.. => format!("{} s", digits(seconds)),
        1e-3.. => format!("{} ms", digits(seconds * 1e3)),
        _ => format!("{} us", digits(seconds * 1e6)),
    }
}

/// The last value; of a trend with what it lies between: "12 h (10 h to 15 h)".
#[must_use]
pub fn measured(rule: &Rule, episode: &Episode) -> String {
    let at = value(episode.value, rule.unit);
    let Some((low, high)) = episode.between else { return at };
    // Such an interval is no exact one: within hours ten minutes are enough.
    let step = match high {
        36_000.0.. => 3_600.0,
        3_600.0.. => 600.0,
        _ => 60.0,
    };
    let near = |of: f64| (of / step).round() * step;
    let (low, high) = (near(low).min(episode.value), near(high).max(episode.value));
    format!("{at} ({} to {})", value(low, rule.unit), value(high, rule.unit))
}

/// `text` with what its placeholders stand for. Text from outside is put in once: what it brings is not read again.
#[must_use]
pub fn filled(text: &str, rule: &Rule, episode: &Episode) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            rest = after;
            continue;
        };
        match name {
            "subject" => {
                let _ = write!(out, "{}", episode.subject);
            }
            "value" => out.push_str(&measured(rule, episode)),
            "limit" => out.push_str(&value(episode.limit.0, rule.unit)),
            "worst" => out.push_str(&value(episode.worst, rule.unit)),
            "for" => out.push_str(&length(episode.seconds())),
            "detail" => out.push_str(&episode.detail),
            "since" => out.push_str(&clock(episode.since)),
            key => {
                let found = episode.attributes.iter().find(|(name, _)| name == key);
                out.push_str(found.map_or("", |(_, value)| value));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    // Nothing is known beside.
    out.truncate(out.trim_end_matches(": ").len());
    out
}

/// The episode in one sentence without the texts and the numbers of its rule, which may be gone.
#[must_use]
pub fn bare(episode: &Episode) -> String {
    let who = format!("{}: {}", episode.subject, episode.rule);
    match episode.ended {
        Some((_, outcome)) => format!("{who} is over after {} ({})", length(episode.seconds()), outcome.as_str()),
        None => who,
    }
}

/// The same of an open one whose node is gone: what it says was so until then.
#[must_use]
pub fn of_gone(rule: &Rule, episode: &Episode) -> String {
    let since = episode.absent_since.unwrap_or(episode.judged);
    let what = filled(&rule.summary, rule, episode);
    format!("{} {what}; unknown since {}: the node is gone", episode.subject, clock(since))
}

/// The episode in one sentence, without a full stop.
#[must_use]
pub fn sentence(rule: &Rule, episode: &Episode) -> String {
    let what = format!("{} {}", episode.subject, filled(&rule.summary, rule, episode));
    let side = if rule.above { "at or below" } else { "at or above" };
    match (episode.state, episode.ended) {
        (State::Cleared, Some((_, outcome))) => {
            // Only what recovered has a value of the second in which it ended.
            let now = if outcome == Outcome::Recovered { "now" } else { "last" };
            let mut text = bare(episode);
            let _ = if rule.is_of_silence() {
                write!(text, "; it was not heard from {} on", clock(episode.since))
            } else {
                write!(
                    text,
                    "; {now} {}, over {side} {}, worst {}",
                    value(episode.value, rule.unit),
                    value(episode.limit.1, rule.unit),
                    value(episode.worst, rule.unit),
                )
            };
            if episode.crossings > 0 {
                let _ = write!(text, "; went back and forth {} times", episode.crossings);
            }
            if episode.unseen >= UNSEEN_SAID {
                let _ = write!(text, "; nothing was known for {} of it", length(episode.unseen));
            }
            text
        }
        (State::Pending, _) => format!("{what}, for {} of {}", length(episode.seconds()), length(rule.pending)),
        _ => match episode.absent_since {
            Some(since) => format!("{what}; no data for {}", length(episode.judged.saturating_sub(since))),
            None => what,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Rules, Scope, Subject,
        judge::{self, Judged},
    };

    #[test]
    fn an_end_says_why_and_what_it_went_through() {
        // A05, A16, A46 and A59.
        let text = "[[rule]]\nname = \"busy\"\nscope = \"cluster\"\nexpression = \"system.cpu.utilization\"\nsummary = \"is busy\"\nabove = \"90%\"\nclear = \"80%\"\nseverity = \"error\"";
        let rules = Rules::read(&[("f", text)]).unwrap();
        let rule = rules.get("busy").unwrap();
        let judged = |tick, value| Judged { tick, value: Some(value), coverage: (1, 1) };
        let fired = judge::step(rule, (&Subject::Cluster, &[]), None, judged(1_000, 0.97)).unwrap();
        let over = judge::step(rule, (&Subject::Cluster, &[]), Some(&fired), judged(1_001, 0.12)).unwrap();
        let over = Episode { ended: Some((1_070, Outcome::Recovered)), ..over };
        let plain = "the cluster: busy is over after 70 s (recovered); now 12 %, over at or below 80 %, worst 97 %";
        assert_eq!(sentence(rule, &over), plain);
        let rough = Episode { crossings: 30, unseen: 3_600, ..over.clone() };
        assert_eq!(
            sentence(rule, &rough),
            format!("{plain}; went back and forth 30 times; nothing was known for 1 h of it")
        );
        let changed = Episode { ended: Some((1_070, Outcome::RuleChanged)), ..over };
        assert_eq!(bare(&changed), "the cluster: busy is over after 70 s (rule changed)");
        assert_eq!(bare(&fired), "the cluster: busy");
    }

    #[test]
    fn a_node_that_is_gone_is_told_with_the_second_it_was_heard_last() {
        // A32.
        let rules = crate::defaults::with(&[], &[]).unwrap();
        let rule = rules.get("node-gone").unwrap();
        let subject = Subject::of(Scope::Node, "db-2").unwrap();
        // 15:02:58 UTC.
        let heard = 1_800_025_378;
        let judged = |tick, silent| Judged { tick, value: Some(silent), coverage: (39, 40) };
        let fired = judge::step(rule, (&subject, &[]), None, judged(heard + 4, 4.0)).unwrap();
        assert_eq!(sentence(rule, &fired), "db-2 is gone: last heard 15:02:58 UTC, 4 s ago");
        assert_eq!(fired.since, heard);
        let later = judge::step(rule, (&subject, &[]), Some(&fired), judged(heard + 20, 20.0)).unwrap();
        let back = judge::step(rule, (&subject, &[]), Some(&later), judged(heard + 21, 0.0)).unwrap();
        assert_eq!(
            sentence(rule, &back),
            "db-2: node-gone is over after 21 s (recovered); it was not heard from 15:02:58 UTC on"
        );
        // Another episode of the same silence has another name: the rule was changed meanwhile.
        let again = judge::step(rule, (&subject, &[]), None, judged(heard + 30, 30.0)).unwrap();
        assert!(again.since == heard && again.id != fired.id);
    }

    #[test]
    fn values_are_written_for_people() {
        for (number, unit, wanted) in [
            (0.953_4, Unit::Share, "95.3 %"),
            (1.0, Unit::Share, "100 %"),
            (0.0263, Unit::Time, "26.3 ms"),
            (75.0, Unit::Time, "75 s"),
            (7_500.0, Unit::Time, "2 h 5 min"),
            (1_610_612_736.0, Unit::Bytes, "1.5 GiB"),
            (12.0, Unit::Rate, "12 /s"),
            (0.004, Unit::Number, "0"),
            (100.0, Unit::Number, "100"),
        ] {
            assert_eq!(value(number, unit), wanted);
        }
        assert_eq!(length(90_000), "1 d 1 h");
    }
}
