//! Every node as a cell.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use starling_dashboard::harmless;
use starling_proto::v1::NodeState;

use super::{
    Theme,
    alerts::window,
    chart::shape,
    nodes::{state, written},
    put, put_right,
};
use crate::{
    fleet::{Fleet, Measure, Row},
    map::{self, Line as MapLine},
    model::Model,
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let Some(fleet) = model.fleet() else {
        put(buffer, area, 0, &Line::from(" The table of nodes has not come yet."));
        return;
    };
    let rows = &model.table.rows;
    let most = scale(fleet, rows, model.fill);
    let group = model.group.as_deref();
    let by = group.map_or_else(|| "no label".to_owned(), harmless);
    let shown =
        if model.table.filter.is_empty() { String::new() } else { format!("  {}", harmless(&model.table.filter)) };
    put(buffer, area, 0, &Line::styled(format!(" {}, by {by}{shown}", model.fill.name()), theme.bold()));
    let top = written(model.fill, Some(most));
    let ramp: String = shape(&(1..=8).map(|level| Some(level as f32)).collect::<Vec<_>>(), 1, None).concat();
    let legend = format!("0 {ramp} {top}   x silent   - stopped   · no value ");
    put_right(buffer, area, 0, &Line::styled(legend, theme.dim()));
    let lines = usize::from(area.height).saturating_sub(3);
    let map = map::layout(fleet, rows, group, area.width, lines);
    let at = map.place(model.table.at).map_or(0, |(line, _)| line);
    let from = window(map.lines.len(), lines, at);
    for (line, cells) in (1..).zip(map.lines.iter().skip(from).take(lines)) {
        let text = match cells {
            MapLine::Group(value, nodes) => {
                let name = if value.is_empty() { format!("no {by}") } else { format!("{by} {}", harmless(value)) };
                Line::styled(format!(" {name}  {nodes} nodes"), theme.dim())
            }
            MapLine::Cells(cells) => {
                let mut spans = vec![Span::raw(" ")];
                for cell in cells {
                    let row = rows.get(*cell).and_then(|place| fleet.row(*place));
                    let Some(row) = row else { continue };
                    let (glyph, style) = glyph(row, model.fill, most, theme);
                    let style = if *cell == model.table.at { style.patch(theme.reversed()) } else { style };
                    spans.push(Span::styled(glyph.to_string(), style));
                    if map.cell == 2 {
                        spans.push(Span::raw(" "));
                    }
                }
                Line::from(spans)
            }
        };
        put(buffer, area, line, &text);
    }
    describe(buffer, area, model, theme);
}

/// The node that is meant, in words.
fn describe(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let row = model.table.rows.get(model.table.at).zip(model.fleet()).and_then(|(place, fleet)| fleet.row(*place));
    let Some(row) = row else { return };
    let value = match row.value(model.fill).filter(|_| row.state() == NodeState::Reporting) {
        Some(value) => format!("{} {}", model.fill.name(), written(model.fill, Some(value))),
        None => state(row),
    };
    let labels: Vec<String> = row.labels().map(|(key, value)| format!("{key}:{value}")).collect();
    let note = if row.note().is_empty() { String::new() } else { format!(", {}", row.note()) };
    let text = harmless(&format!("{}  {value}{note}  {}", row.name(), labels.join(" ")));
    put(buffer, area, area.height.saturating_sub(1), &Line::styled(format!(" {text}"), theme.bold()));
}

/// Top of the scale: everything for shares, the largest value for the rest.
fn scale(fleet: &Fleet, rows: &[usize], fill: Measure) -> f32 {
    if matches!(fill, Measure::Cpu | Measure::Memory) {
        return 1.0;
    }
    let values = rows.iter().filter_map(|place| fleet.row(*place)).filter(|row| row.state() == NodeState::Reporting);
    values.filter_map(|row| row.value(fill)).fold(0.0, f32::max)
}

/// A mark that says it without colour too.
fn glyph(row: Row<'_>, fill: Measure, most: f32, theme: Theme) -> (char, ratatui::style::Style) {
    if row.clash() {
        return ('!', theme.severity(starling_proto::live::Severity::Critical));
    }
    match (row.state(), row.value(fill)) {
        (NodeState::Reporting, Some(value)) => {
            let block = shape(&[Some(value)], 1, Some(most)).concat().chars().next().unwrap_or(' ');
            (block, theme.ramp(if most > 0.0 { value / most } else { 0.0 }))
        }
        (NodeState::Reporting, None) => ('·', theme.dim()),
        (NodeState::Stopped, _) => ('-', theme.dim()),
        _ => ('x', theme.warning()),
    }
}
