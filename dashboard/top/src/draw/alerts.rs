//! What is open.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use starling_dashboard::harmless;
use starling_proto::v1;

use super::{Theme, cut, foreign, padded, put, style, wrapped};
use crate::{
    format::{NONE, clock, span},
    model::Model,
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let Some((at, alert)) = model.chosen_alert() else {
        list(buffer, area, model, theme, None);
        return;
    };
    if model.alert_open {
        details(buffer, area, alert, model.tick(), theme);
    } else {
        list(buffer, area, model, theme, Some(at));
    }
}

/// A line an alert, worst first; `chosen` is marked.
pub(super) fn list(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme, chosen: Option<usize>) {
    let Some(alerts) = model.alerts() else { return };
    if !alerts.unavailable.is_empty() {
        put(buffer, area, 0, &Line::from(format!(" Alerts are not known: {}.", harmless(&alerts.unavailable))));
        return;
    }
    if alerts.alerts.is_empty() {
        let rules = alerts.rules.map_or_else(String::new, |rules| format!(" {rules} rules watched each second."));
        put(buffer, area, 0, &Line::styled(format!(" No alert is open.{rules}"), theme.dim()));
        return;
    }
    let beyond = alerts.open.saturating_sub(u32::try_from(alerts.alerts.len()).unwrap_or(u32::MAX));
    let lines = usize::from(area.height).saturating_sub(usize::from(beyond > 0)).max(1);
    let from = window(alerts.alerts.len(), lines, chosen.unwrap_or(0));
    for (line, (at, alert)) in (0..).zip(alerts.alerts.iter().enumerate().skip(from).take(lines)) {
        let episode = alert.episode.clone().unwrap_or_default();
        let severity = style::shown(episode.severity());
        let quiet = standing(alert);
        let since = format!("{}  ", padded(&span(model.tick().saturating_sub(episode.since_tick)), 9));
        let lead = format!(" {} {} ", style::mark(Some(severity)), padded(style::word(severity), 8));
        let sentence = harmless(&alert.sentence) + &quiet;
        let room = usize::from(area.width).saturating_sub(24);
        let mut text = Line::from(vec![
            Span::styled(lead, theme.severity(severity)),
            Span::styled(since, theme.dim()),
            Span::raw(cut(&sentence, room)),
        ]);
        if chosen == Some(at) {
            text = text.style(theme.reversed());
        }
        put(buffer, area, line, &text);
    }
    if beyond > 0 {
        let line = area.height.saturating_sub(1);
        put(buffer, area, line, &Line::styled(format!(" and {beyond} more"), theme.dim()));
    }
}

/// First of `all` entries that stands in a window of `lines`, so that `chosen` is in it.
pub(super) fn window(all: usize, lines: usize, chosen: usize) -> usize {
    chosen.saturating_sub(lines / 2).min(all.saturating_sub(lines))
}

/// Who looks after it, or that it is silenced.
fn standing(alert: &v1::Alert) -> String {
    match (&alert.acknowledgement, alert.silenced_by.is_empty()) {
        (_, false) => " (silenced)".to_owned(),
        (Some(by), _) => format!(" (acknowledged by {})", harmless(&by.author)),
        (None, true) => String::new(),
    }
}

fn details(buffer: &mut Buffer, area: Rect, alert: &v1::Alert, tick: u32, theme: Theme) {
    let episode = alert.episode.clone().unwrap_or_default();
    let severity = style::shown(episode.severity());
    let subject = match (episode.scope(), episode.subject.as_str()) {
        (v1::AlertScope::Cluster, _) => "the cluster".to_owned(),
        (_, "") => NONE.to_owned(),
        (_, subject) => subject.to_owned(),
    };
    let value = |text: &str| if text.is_empty() { NONE.to_owned() } else { text.to_owned() };
    let attributes =
        episode.attributes.iter().map(|is| format!("{}={}", is.key, is.value)).collect::<Vec<_>>().join(", ");
    let since = format!("{}, for {}", clock(episode.since_tick), span(tick.saturating_sub(episode.since_tick)));
    let values =
        format!("{}, limit {}, worst {}", value(&alert.value_text), value(&alert.limit_text), value(&alert.worst_text));
    let facts = [
        ("Severity", style::word(severity).to_owned()),
        ("Rule", episode.rule.clone()),
        ("Of", subject),
        ("Series", attributes),
        ("Since", since),
        ("Value", values),
        ("State", standing(alert).trim_matches(|edge| " ()".contains(edge)).to_owned()),
        ("What it is", alert.description.clone()),
        ("What to do", alert.resolution.clone()),
    ];
    put(buffer, area, 0, &Line::from(vec![Span::raw(" "), foreign(&alert.sentence, theme.bold())]));
    let mut line = 2;
    let width = usize::from(area.width).saturating_sub(15);
    for (name, text) in facts.iter().filter(|(_, text)| !text.is_empty()) {
        for (row, text) in wrapped(&harmless(text), width, 6).into_iter().enumerate() {
            let name = if row == 0 { name } else { "" };
            let lead = Span::styled(format!(" {}", padded(name, 12)), theme.dim());
            put(buffer, area, line, &Line::from(vec![lead, Span::raw(text)]));
            line += 1;
        }
    }
}
