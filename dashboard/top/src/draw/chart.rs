//! Figures with the shape of the last seconds: of the cluster and of a node, as the page has them.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use starling_proto::v1::Sections;

use super::{Theme, cut, padded, put};
use crate::{
    format::{byte_rate, bytes, count, micros, micros_within, percent, plural, rate, significant, span},
    older::Older,
    rings::Rings,
};

/// Columns of names and of values.
const NAME: usize = 13;
const VALUE: usize = 11;
/// Columns of what is said beside a value, and of a shape at least.
const FACTS: usize = 34;
const SHAPE_LEAST: usize = 12;

/// One figure.
struct Figure {
    name: &'static str,
    value: String,
    facts: String,
    /// The column whose shape is drawn, and whether its scale begins at zero and ends at one.
    column: &'static str,
    share: bool,
}

/// Lines that the figures take, each of one line.
pub(crate) const FIGURES: u16 = 8;

/// What figures are made of.
pub(crate) struct Of<'a> {
    /// `None` where nothing is known but the charted values: those are shown.
    pub(crate) sections: Option<&'a Sections>,
    pub(crate) rings: &'a Rings,
    pub(crate) tick: u32,
    /// Shapes of hours or days, and how long they are; without answers there are none yet.
    pub(crate) older: Option<(&'static str, Option<&'a Older>)>,
}

/// The figures of a second.
pub(crate) fn draw(buffer: &mut Buffer, area: Rect, of: &Of<'_>, theme: Theme) {
    let Of { sections, rings, tick, older } = *of;
    // A terminal with room shows shapes of several lines.
    let high = (area.height / FIGURES).clamp(1, 3);
    let facts = if area.width >= 110 { FACTS + 14 } else { FACTS };
    let width = usize::from(area.width).saturating_sub(1 + NAME + VALUE + facts + 2);
    for (at, figure) in (0..).zip(figures(sections, rings, tick)) {
        let line = at * high;
        let room = if width >= SHAPE_LEAST { facts } else { usize::from(area.width).saturating_sub(1 + NAME + VALUE) };
        put(
            buffer,
            area,
            line,
            &Line::from(vec![
                Span::styled(format!(" {}", padded(figure.name, NAME)), theme.dim()),
                Span::styled(padded(&figure.value, VALUE), theme.bold()),
                Span::raw(cut(&figure.facts, room.saturating_sub(1))),
            ]),
        );
        if width < SHAPE_LEAST {
            continue;
        }
        let values = match older {
            None => rings.last(figure.column, tick, width),
            Some((_, Some(older))) => older.shape(figure.column, width),
            Some((_, None)) => vec![None; width],
        };
        for (row, text) in (0..).zip(shape(&values, usize::from(high), figure.share.then_some(1.0))) {
            let x = u16::try_from(1 + NAME + VALUE + facts + 1).unwrap_or(u16::MAX);
            let room = Rect { x: area.x + x, width: area.width - x, ..area };
            put(buffer, room, line + row, &Line::styled(text, theme.line()));
        }
    }
}

fn figures(sections: Option<&Sections>, rings: &Rings, tick: u32) -> [Figure; FIGURES as usize] {
    let charted = |column: &str| rings.get(column, tick).map(f64::from);
    let traffic = sections.and_then(|is| is.traffic.as_ref());
    let connections = sections.and_then(|is| is.connections.as_ref());
    let cpu = sections.and_then(|is| is.cpu.as_ref());
    let memory = sections.and_then(|is| is.memory.as_ref());
    let minute = traffic.and_then(|is| is.latency_last_minute.as_ref());
    let latency = match minute {
        Some(is) => micros_within(Some(is.p99_micros), is.error_bound_ppm),
        None => micros(charted("latency.p99_minute")),
    };
    let requests = charted("rps.total");
    let errors = match (charted("errors.total"), requests) {
        (Some(errors), Some(requests)) if requests > 0.0 => Some(errors / requests),
        _ => None,
    };
    let pair = |first: &str, a: &str, second: &str, b: &str| {
        format!("{first} {}  {second} {}", byte_rate(charted(a)), byte_rate(charted(b)))
    };
    let peak = rings.last("rps.total", tick, 900).into_iter().flatten().map(f64::from).reduce(f64::max);
    let every = traffic.and_then(|is| is.reported_every_seconds);
    let every = every.map_or_else(String::new, |seconds| format!("  reported every {}", span(whole(seconds))));
    [
        Figure {
            name: "Requests",
            value: rate(traffic.map_or(requests, |is| is.requests_per_second)),
            facts: format!("peak {}{every}", rate(peak)),
            column: "rps.total",
            share: false,
        },
        Figure {
            name: "p99, 60 s",
            value: latency,
            facts: minute.map_or_else(String::new, |is| {
                format!("p50 {}  p95 {}", micros(Some(is.p50_micros)), micros(Some(is.p95_micros)))
            }),
            column: "latency.p99",
            share: false,
        },
        Figure {
            name: "Errors",
            value: percent(traffic.map_or(errors, |is| is.error_ratio)),
            facts: rate(traffic.map_or_else(|| charted("errors.total"), |is| is.errors_per_second)),
            column: "errors.total",
            share: false,
        },
        Figure {
            name: "Connections",
            value: count(connections.map_or_else(|| charted("connections.active"), |is| is.active)),
            facts: connections
                .map_or_else(String::new, |is| format!("idle {}  new {}", count(is.idle), rate(is.opened_per_second))),
            column: "connections.active",
            share: false,
        },
        Figure {
            name: "CPU",
            value: percent(cpu.map_or_else(|| charted("cpu.total"), |is| is.utilization_ratio)),
            facts: cpu
                .map_or_else(String::new, |is| format!("{}  load {}", plural(is.cores, "core"), significant(is.load1))),
            column: "cpu.total",
            share: true,
        },
        Figure {
            name: "Memory",
            value: percent(memory.map_or_else(|| charted("memory.used_ratio"), |is| is.used_ratio)),
            facts: memory
                .map_or_else(String::new, |is| format!("{} of {}", bytes(is.used_bytes), bytes(is.total_bytes))),
            column: "memory.used_ratio",
            share: true,
        },
        Figure {
            name: "Network in",
            value: byte_rate(charted("network.received")),
            facts: pair("in", "network.received", "out", "network.sent"),
            column: "network.received",
            share: false,
        },
        Figure {
            name: "Disk written",
            value: byte_rate(charted("disk.written")),
            facts: pair("read", "disk.read", "written", "disk.written"),
            column: "disk.written",
            share: false,
        },
    ]
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
fn whole(seconds: f64) -> u32 {
    seconds.round() as u32
}

/// Blocks of eighths.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Values as blocks in `lines` lines, the highest line first; zero is the lowest block, and what is missing is blank.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // a few lines
pub(crate) fn shape(values: &[Option<f32>], lines: usize, top: Option<f32>) -> Vec<String> {
    let most = top.unwrap_or_else(|| values.iter().flatten().copied().fold(0.0, f32::max));
    let levels = (lines * 8) as f32;
    let level = |value: f32| match value {
        value if most <= 0.0 || value <= 0.0 => 1,
        value => ((value / most * levels).round() as usize).clamp(1, lines * 8),
    };
    let block = |value: &Option<f32>, below: usize| match value {
        Some(value) => BLOCKS[level(*value).saturating_sub(below).min(8)],
        None => ' ',
    };
    (0..lines).rev().map(|line| values.iter().map(|value| block(value, line * 8)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_is_blank_and_zero_is_not() {
        let values = [Some(0.0), None, Some(4.0), Some(8.0), Some(0.001)];
        assert_eq!(shape(&values, 1, None), ["▁ ▄█▁"]);
        assert_eq!(shape(&values, 2, None), ["   █ ", "▁ ██▁"]);
        assert_eq!(shape(&[Some(0.0), None], 1, None), ["▁ "]);
        assert_eq!(shape(&[Some(0.5), Some(2.0)], 1, Some(1.0)), ["▄█"]);
    }
}
