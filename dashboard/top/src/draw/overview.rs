//! The cluster: figures, protocols, and what is open.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use starling_proto::live::Severity;

use super::{Theme, alerts, chart, foreign, put, right, style};
use crate::{
    format::{count, micros, micros_within, percent},
    model::Model,
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let state = model.cluster_state();
    let sections = state.and_then(|overview| overview.sections.as_ref());
    if model.overview.newest() == 0 {
        return;
    }
    let traffic = sections.and_then(|sections| sections.traffic.as_ref());
    let protocols = traffic.map_or(0, |traffic| traffic.protocols.len());
    // Below the figures: the protocols, and the worst alerts.
    let below = u16::try_from(protocols).unwrap_or(0) + 5;
    let high = area.height.saturating_sub(below).max(chart::FIGURES) / chart::FIGURES * chart::FIGURES;
    let high = high.min(3 * chart::FIGURES);
    let figures = Rect { height: high.min(area.height), ..area };
    let of = chart::Of { sections, rings: model.overview.rings(), tick: model.tick(), older: model.older() };
    chart::draw(buffer, figures, &of, theme);
    let mut line = figures.height + 1;
    match traffic.filter(|traffic| !traffic.protocols.is_empty()) {
        Some(traffic) => {
            let severities =
                state.and_then(|overview| overview.judged.as_ref()).map_or(&[][..], |judged| &judged.protocols);
            let head = [right("req/s", 9), right("avg", 10), right("p99", 10), right("errors", 9), right("active", 9)];
            put(buffer, area, line, &Line::styled(format!("   Protocol  {}", head.concat()), theme.dim()));
            for (at, protocol) in traffic.protocols.iter().enumerate() {
                line += 1;
                let severity = severities.get(at).and_then(|severity| Severity::try_from(*severity).ok());
                let latency = protocol.latency.as_ref();
                let requests = protocol.requests_per_second;
                let failed = match (protocol.errors_per_second, requests) {
                    (Some(errors), Some(requests)) if requests > 0.0 => Some(errors / requests),
                    _ => None,
                };
                let p99 =
                    latency.map_or_else(|| micros(None), |is| micros_within(Some(is.p99_micros), is.error_bound_ppm));
                let cells = [
                    right(&count(requests), 9),
                    right(&micros(latency.map(|is| is.mean_micros)), 10),
                    right(&p99, 10),
                    right(&percent(failed), 9),
                    right(&count(protocol.active), 9),
                ];
                let style = theme.severity(severity.unwrap_or_default());
                let text = vec![
                    Span::styled(format!(" {} ", style::mark(severity)), style),
                    foreign(&super::padded(&protocol.protocol, 10), theme.plain()),
                    Span::raw(cells.concat()),
                ];
                put(buffer, area, line, &Line::from(text));
            }
        }
        None if sections.is_some() => {
            put(buffer, area, line, &Line::styled(" No requests reported.", theme.dim()));
        }
        None => {}
    }
    line += 2;
    if line < area.height {
        let rest = Rect { y: area.y + line, height: area.height - line, ..area };
        alerts::list(buffer, rest, model, theme, None);
    }
}
