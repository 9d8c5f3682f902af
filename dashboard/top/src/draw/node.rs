//! One node.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use starling_dashboard::harmless;
use starling_proto::{live::NodeDetail, v1::NodeState};

use super::{Theme, chart, cut, padded, put, style};
use crate::{
    format::{bytes, clock, plural, span},
    model::Model,
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let Some(page) = &model.node else { return };
    if let Some(why) = page.refused() {
        put(buffer, area, 0, &Line::from(format!(" {}", harmless(why))));
        return;
    }
    if page.view.newest() == 0 {
        put(buffer, area, 0, &Line::styled(" Waiting for the first second of this node.", theme.dim()));
        return;
    }
    let node = model.node_state();
    let sections = node.and_then(|node| node.sections.as_ref());
    let high = if area.height >= 3 * chart::FIGURES { 2 * chart::FIGURES } else { chart::FIGURES };
    let figures = Rect { height: high.min(area.height), ..area };
    let of = chart::Of { sections, rings: page.view.rings(), tick: model.tick(), older: model.older() };
    chart::draw(buffer, figures, &of, theme);
    let mut line = figures.height + 1;
    let Some(node) = node else { return };
    cores(buffer, area, line, node, theme);
    line += 2;
    let width = usize::from(area.width).saturating_sub(12);
    for (name, text) in facts(node) {
        let lead = Span::styled(format!(" {}", padded(name, 10)), theme.dim());
        put(buffer, area, line, &Line::from(vec![lead, Span::raw(cut(&harmless(&text), width))]));
        line += 1;
    }
    for alert in node.alerts.iter().flat_map(|alerts| &alerts.alerts) {
        let severity = style::shown(alert.episode.as_ref().map(|is| is.severity()).unwrap_or_default());
        let text = vec![
            Span::styled(
                format!(" {} {} ", style::mark(Some(severity)), style::word(severity)),
                theme.severity(severity),
            ),
            Span::raw(harmless(&alert.sentence)),
        ];
        put(buffer, area, line, &Line::from(text));
        line += 1;
    }
}

/// How busy each core is; more cores than columns are drawn as far as there is room, and how many are not is said.
fn cores(buffer: &mut Buffer, area: Rect, line: u16, node: &NodeDetail, theme: Theme) {
    if node.cores.is_empty() {
        return;
    }
    let room = usize::from(area.width).saturating_sub(20);
    let values: Vec<_> = node.cores.iter().take(room).map(|core| Some(*core).filter(|core| !core.is_nan())).collect();
    let blocks = chart::shape(&values, 1, Some(1.0)).concat();
    let beyond = node.cores.len().saturating_sub(room);
    let beyond = if beyond > 0 { format!(" +{beyond}") } else { String::new() };
    let lead = Span::styled(format!(" {}", padded("Cores", 10)), theme.dim());
    put(buffer, area, line, &Line::from(vec![lead, Span::styled(blocks, theme.line()), Span::raw(beyond)]));
}

/// What a node says of itself, and what is wrong with it.
fn facts(node: &NodeDetail) -> Vec<(&'static str, String)> {
    let sections = node.sections.as_ref();
    let cpu = sections.and_then(|is| is.cpu.as_ref()).map(|is| plural(is.cores, "core"));
    let joined = |parts: [String; 2]| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    let memory = sections.and_then(|is| is.memory.as_ref()).map(|is| bytes(is.total_bytes)).unwrap_or_default();
    let disk = sections.and_then(|is| is.disk.as_ref()).filter(|is| is.filesystem_total_bytes.is_some());
    let disk = disk.map(|is| format!("{} of {}", bytes(is.filesystem_used_bytes), bytes(is.filesystem_total_bytes)));
    let via = match node.aggregator_id.as_str() {
        "" => String::new(),
        name => format!("{name}, {:.1} s behind", f64::from(node.delay_ms) / 1_000.0),
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
    let up = if node.uptime_seconds > 0.0 { span(node.uptime_seconds as u32) } else { String::new() };
    let last = match node.state() {
        NodeState::Reporting => String::new(),
        _ => format!("last frame at {}", clock(node.last_tick)),
    };
    let faults: Vec<String> =
        node.collector_faults.iter().map(|fault| format!("{}: {}", fault.collector, fault.reason)).collect();
    let mut facts = vec![
        ("Last", last),
        ("Why", node.silent_reason.clone()),
        ("Name", node.clash.clone()),
        ("Unread", faults.join("; ")),
        ("CPU", joined([cpu.unwrap_or_default(), node.cpu_model.clone()])),
        ("Memory", memory),
        ("Disks", disk.unwrap_or_default()),
        ("System", joined([node.os.clone(), node.kernel.clone()])),
        ("Up", up),
        ("Daemon", joined([node.version.clone(), if node.simulated { "simulated".to_owned() } else { String::new() }])),
        ("Via", via),
        ("Labels", node.labels.join(" ")),
    ];
    facts.retain(|(_, text)| !text.is_empty());
    facts
}
