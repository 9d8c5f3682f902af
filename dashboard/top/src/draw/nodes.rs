//! The table of nodes.

use ratatui::{buffer::Buffer, layout::Rect, text::Line};
use starling_dashboard::harmless;
use starling_proto::v1::NodeState;

use super::{Theme, alerts::window, padded, put, put_right, right};
use crate::{
    fleet::{Measure, Row},
    format::{count, micros, rate, significant, span, whole_percent},
    model::Model,
    select::Column,
};

/// Columns of numbers: measure, head, width. Those that do not fit are left out, from the last.
const NUMBERS: [(Measure, &str, usize); 7] = [
    (Measure::Cpu, "cpu", 5),
    (Measure::Memory, "mem", 5),
    (Measure::Requests, "req/s", 9),
    (Measure::Errors, "err/s", 9),
    (Measure::P99, "p99", 9),
    (Measure::Load, "load", 6),
    (Measure::Connections, "conns", 7),
];
/// Columns of a state, and of a name at least.
const STATE: usize = 16;
const NAME_LEAST: usize = 14;
const NAME_MOST: usize = 40;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let table = &model.table;
    let Some(fleet) = model.fleet() else {
        let text = match (&model.at, model.kept_from().1) {
            (Some(_), from) if from > 0 => format!(" Nodes are kept here from {} on.", crate::format::clock(from)),
            _ => " The table of nodes has not come yet.".to_owned(),
        };
        put(buffer, area, 0, &Line::from(text));
        return;
    };
    let shown = if table.filter.is_empty() {
        format!("{} nodes", fleet.len())
    } else {
        format!("{} of {} nodes", table.rows.len(), fleet.len())
    };
    put_right(buffer, area, 0, &Line::styled(format!("{}; {shown} ", table.sort.words()), theme.dim()));
    if !table.filter.is_empty() {
        put(buffer, area, 0, &Line::styled(format!(" {}", harmless(&table.filter)), theme.bold()));
    }
    let width = usize::from(area.width);
    let mut numbers = NUMBERS.len();
    let room = |numbers: usize| {
        width.saturating_sub(2 + STATE + NUMBERS[..numbers].iter().map(|(.., width)| width).sum::<usize>())
    };
    while numbers > 0 && room(numbers) < NAME_LEAST {
        numbers -= 1;
    }
    let name = room(numbers).min(NAME_MOST);
    let labels = room(numbers).saturating_sub(name + 1);
    let numbers = &NUMBERS[..numbers];
    put(buffer, area, 1, &Line::styled(head(name, numbers, labels, model), theme.dim()));
    let lines = usize::from(area.height).saturating_sub(2);
    let from = window(table.rows.len(), lines, table.at);
    for (line, (at, place)) in (2..).zip(table.rows.iter().enumerate().skip(from).take(lines)) {
        let Some(row) = fleet.row(*place) else { continue };
        let text = text_of(row, name, numbers, labels);
        let style = if at == table.at {
            theme.reversed()
        } else {
            match row.state() {
                _ if row.clash() => theme.severity(starling_proto::live::Severity::Critical),
                NodeState::Reporting if !row.note().is_empty() => theme.warning(),
                NodeState::Reporting => theme.plain(),
                NodeState::Silent => theme.warning(),
                NodeState::Stopped | NodeState::Unspecified => theme.dim(),
            }
        };
        put(buffer, area, line, &Line::styled(text, style));
    }
    if table.rows.is_empty() {
        let text = if table.filter.is_empty() { " No node has reported yet." } else { " No node is like that." };
        put(buffer, area, 2, &Line::from(text));
    }
}

fn head(name: usize, numbers: &[(Measure, &str, usize)], labels: usize, model: &Model) -> String {
    let sort = model.table.sort;
    let marked = |column: Column, text: &str| {
        let arrow = if sort.descending { "↓" } else { "↑" };
        if sort.column == column { format!("{arrow}{text}") } else { text.to_owned() }
    };
    let mut head = format!(" {} ", padded(&marked(Column::Name, "node"), name));
    head += &padded(&marked(Column::State, "state"), STATE);
    for (measure, text, width) in numbers {
        head += &right(&marked(Column::Of(*measure), text), *width);
    }
    if labels > 8 { head + "  labels" } else { head }
}

fn text_of(row: Row<'_>, name: usize, numbers: &[(Measure, &str, usize)], labels: usize) -> String {
    let mut text = format!(" {} {}", padded(&harmless(row.name()), name), padded(&state(row), STATE));
    for (measure, _, width) in numbers {
        // What a node said last is no word about now.
        let value = row.value(*measure).filter(|_| row.state() == NodeState::Reporting);
        text += &right(&written(*measure, value), *width);
    }
    if labels > 8 {
        let all: Vec<String> = row.labels().map(|(key, value)| format!("{key}:{value}")).collect();
        text += &format!("  {}", harmless(&all.join(" ")));
    }
    text
}

/// Its state in words, with how long a silent one has been so.
pub(super) fn state(row: Row<'_>) -> String {
    match row.state() {
        NodeState::Silent => format!("silent {}", span(row.silent_seconds())),
        NodeState::Unspecified => "no data".to_owned(),
        NodeState::Reporting if row.simulated() => "simulated".to_owned(),
        _ => row.state_word().to_owned(),
    }
}

/// A value in a cell.
pub(super) fn written(measure: Measure, value: Option<f32>) -> String {
    let value = value.map(f64::from);
    match measure {
        Measure::Cpu | Measure::Memory => whole_percent(value),
        Measure::P99 => micros(value),
        Measure::Requests | Measure::Errors => rate(value),
        Measure::Load => significant(value),
        Measure::Connections | Measure::Cores => count(value),
    }
}
