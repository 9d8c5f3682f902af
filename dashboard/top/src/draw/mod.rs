//! What is shown, drawn of the model and of nothing else.
//!
//! - [`style`]: colours, and none where there are to be none;
//! - [`chart`]: figures with the shape of the last seconds;
//! - [`overview`], [`nodes`], [`map`], [`alerts`], [`node`]: the pages.

mod alerts;
mod chart;
mod map;
mod node;
mod nodes;
mod overview;
mod style;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Clear, Widget as _},
};
use starling_dashboard::harmless;
use starling_proto::live;
use unicode_width::UnicodeWidthStr as _;

pub(crate) use style::Theme;

use crate::{
    format::{clock, span},
    fresh::Freshness,
    model::{HELP, Model, Page},
};

/// Smallest terminal that is drawn on.
const SMALLEST: (u16, u16) = (40, 12);
/// Lines above the body.
const HEAD: u16 = 4;
/// Lines that the sentence of a verdict may take.
const VERDICT_LINES: usize = 2;

/// Draws it all.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("{} x {} is too small: {} x {} at least", area.width, area.height, SMALLEST.0, SMALLEST.1);
        put(buffer, area, 0, &Line::from(text));
        return;
    }
    title(buffer, area, model, theme);
    verdict(buffer, area, model, theme);
    tabs(buffer, area, model, theme);
    let body = Rect { y: area.y + HEAD, height: area.height - HEAD - 1, ..area };
    if model.node.is_some() {
        node::draw(buffer, body, model, theme);
    } else {
        match model.page {
            Page::Overview => overview::draw(buffer, body, model, theme),
            Page::Nodes => nodes::draw(buffer, body, model, theme),
            Page::Map => map::draw(buffer, body, model, theme),
            Page::Alerts => alerts::draw(buffer, body, model, theme),
        }
    }
    foot(buffer, area, model, theme);
    if model.help {
        help(buffer, area, theme);
    }
}

/// A line of an area, cut at its end.
fn put(buffer: &mut Buffer, area: Rect, line: u16, text: &Line<'_>) {
    if line < area.height {
        buffer.set_line(area.x, area.y + line, text, area.width);
    }
}

/// The same, at the right end.
fn put_right(buffer: &mut Buffer, area: Rect, line: u16, text: &Line<'_>) {
    let width = u16::try_from(text.width()).unwrap_or(u16::MAX).min(area.width);
    if line < area.height {
        buffer.set_line(area.x + area.width - width, area.y + line, text, width);
    }
}

/// A text that somebody else wrote.
fn foreign<'a>(text: &str, style: Style) -> Span<'a> {
    Span::styled(harmless(text), style)
}

/// The start of `text` that fits into `width` columns; what is cut ends with "…".
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if format!("{short}{character}…").width() > width {
            break;
        }
        short.push(character);
    }
    if width > 0 { short + "…" } else { short }
}

/// `text` and blanks to `width` columns, or cut to them.
fn padded(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let blanks = " ".repeat(width.saturating_sub(text.width()));
    text + &blanks
}

/// The same with the blanks before it.
fn right(text: &str, width: usize) -> String {
    let text = cut(text, width);
    " ".repeat(width.saturating_sub(text.width())) + &text
}

/// Words in lines of `width` columns, at most `lines` of them; what is cut ends with "…".
fn wrapped(text: &str, width: usize, lines: usize) -> Vec<String> {
    let mut all: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let full = all.len() >= lines;
        let Some(line) = all.last_mut() else { break };
        let with = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if with.width() <= width || line.is_empty() || full {
            *line = with;
        } else {
            all.push(word.to_owned());
        }
    }
    all.iter().map(|line| cut(line, width)).collect()
}

/// The name of the cluster, and of which second all is.
fn title(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let mut left = vec![Span::styled(" starling ", theme.bold())];
    if !model.cluster.is_empty() {
        left.push(foreign(&model.cluster, theme.plain()));
    }
    let tick = model.tick();
    let (newest, fresh) = (model.overview.newest(), model.freshness());
    let when = match (&model.at, tick) {
        (_, 0) => Span::styled("no data ", theme.dim()),
        (Some(at), tick) if at.tick == newest => Span::styled(format!("{} paused ", clock(tick)), theme.reversed()),
        (Some(_), tick) => {
            let behind = span(newest.saturating_sub(tick));
            Span::styled(format!("{} {behind} before the newest ", clock(tick)), theme.reversed())
        }
        (None, tick) if fresh == Freshness::Fresh => Span::styled(format!("{} live ", clock(tick)), theme.plain()),
        (None, tick) => Span::styled(format!("{} stale ", clock(tick)), theme.warning()),
    };
    put(buffer, area, 0, &Line::from(left));
    put_right(buffer, area, 0, &Line::from(when));
}

/// The state in one sentence.
fn verdict(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let of_node = model.node.is_some();
    let judged = if of_node {
        model.node_state().and_then(|node| node.judged.as_ref())
    } else {
        model.cluster_state().and_then(|overview| overview.judged.as_ref())
    };
    let verdict = judged.and_then(|judged| judged.verdict.as_ref());
    let lack = if model.at.is_none() { model.lack() } else { None };
    // What was well when data stopped may not be well now.
    let (word, style, text) = match (verdict, lack) {
        (Some(verdict), None) => (verdict.word.clone(), theme.severity(verdict.severity()), sentence(verdict)),
        (Some(verdict), Some(lack)) => {
            let text = format!("{lack} Then: {} {}", verdict.word, sentence(verdict));
            ("Stale".to_owned(), theme.warning(), text)
        }
        (None, Some(lack)) => ("No data".to_owned(), theme.dim(), lack),
        (None, None) if model.at.is_some() => {
            let text = "what was said of this second is not known here: it is older than this program".to_owned();
            ("Not kept".to_owned(), theme.dim(), text)
        }
        (None, None) => ("No data".to_owned(), theme.dim(), "waiting for the first second of it.".to_owned()),
    };
    let mark =
        style::mark(verdict.filter(|_| model.lack().is_none() || model.at.is_some()).map(live::Verdict::severity));
    let lead = format!(" {mark} {}  ", harmless(&word));
    let indent = lead.width();
    let width = usize::from(area.width).saturating_sub(indent + 1);
    for (line, text) in (1..).zip(wrapped(&harmless(&text), width, VERDICT_LINES)) {
        let lead = if line == 1 { lead.clone() } else { " ".repeat(indent) };
        put(buffer, area, line, &Line::from(vec![Span::styled(lead, style), Span::raw(text)]));
    }
}

/// The sentence of a verdict.
fn sentence(verdict: &live::Verdict) -> String {
    verdict.parts.iter().map(|part| part.text.as_str()).collect()
}

fn tabs(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let mut spans = vec![Span::raw(" ")];
    for (number, (page, name)) in (1..).zip(Page::ALL) {
        let here = page == model.page && model.node.is_none();
        let open = model.alerts().map_or(0, |alerts| alerts.open);
        let text = match page {
            Page::Alerts if open > 0 => format!(" {number} {name} {open} "),
            _ => format!(" {number} {name} "),
        };
        spans.push(Span::styled(text, if here { theme.reversed() } else { theme.plain() }));
        spans.push(Span::raw(" "));
    }
    if let Some(node) = &model.node {
        spans.push(Span::styled(format!(" {} ", harmless(&node.name)), theme.reversed()));
    }
    put(buffer, area, HEAD - 1, &Line::from(spans));
    let completeness = model.cluster_state().and_then(|overview| overview.completeness.as_ref());
    let mut right = Vec::new();
    if let Some((span, known)) = model.older() {
        let waiting = if known.is_some() { "" } else { ", asked for" };
        right.push(Span::styled(format!("shapes {span}{waiting}  "), theme.bold()));
    }
    if let Some(of) = completeness.filter(|_| model.node.is_none()) {
        let (reporting, expected) = (of.nodes_reporting(), of.nodes_expected());
        let style = if reporting < expected { theme.warning() } else { theme.dim() };
        right.push(Span::styled(format!("{reporting} of {expected} nodes "), style));
    }
    put_right(buffer, area, HEAD - 1, &Line::from(right));
}

/// What is being written, what a key led to, or which keys there are.
fn foot(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let line = area.height - 1;
    if let Some(text) = &model.input {
        let typed = format!(" filter: {}█", harmless(text));
        put(buffer, area, line, &Line::styled(typed, theme.bold()));
        return;
    }
    if let Some(notice) = &model.notice {
        put(buffer, area, line, &Line::styled(format!(" {}", harmless(notice)), theme.warning()));
        return;
    }
    let keys = if model.node.is_some() {
        "Esc back"
    } else {
        match model.page {
            Page::Overview => "1-4 pages",
            Page::Nodes => "Enter open  / filter  s sort  r turn",
            Page::Map => "Enter open  f fill  g group  / filter",
            Page::Alerts => "Enter details  n node",
        }
    };
    let pause = if model.at.is_some() { "Space live" } else { "Space pause" };
    let text = format!(" {keys}  {pause}  , . < > seconds, minutes  ? help  q quit");
    put(buffer, area, line, &Line::styled(text, theme.dim()));
}

fn help(buffer: &mut Buffer, area: Rect, theme: Theme) {
    let width = area.width.min(78);
    let height = area.height.min(u16::try_from(HELP.len()).unwrap_or(u16::MAX) + 4);
    let room = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(room, buffer);
    buffer.set_style(room, theme.reversed());
    put(buffer, room, 1, &Line::styled("  Keys", theme.bold()));
    for (line, (keys, what)) in (2..).zip(HELP) {
        let text = if width < 60 { format!("  {keys}: {what}") } else { format!("  {} {what}", padded(keys, 22)) };
        put(buffer, room, line, &Line::from(text));
    }
}

#[cfg(test)]
mod tests;
