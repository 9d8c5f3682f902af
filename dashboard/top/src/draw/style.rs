//! Colours. A state has a mark and a word; its colour only repeats them.

use ratatui::style::{Color, Modifier, Style};
use starling_proto::{live::Severity, v1::AlertSeverity};

/// With colours or without: without them only bold, dim and reversed are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    colour: bool,
}

/// From little to much, of the 256 colours: readable on black and on white.
const RAMP: [u8; 10] = [61, 67, 66, 72, 71, 107, 142, 178, 172, 166];

impl Theme {
    /// With colours or without.
    pub(crate) const fn new(colour: bool) -> Self {
        Self { colour }
    }

    pub(crate) fn plain(self) -> Style {
        Style::new()
    }

    pub(crate) fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(crate) fn reversed(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(crate) fn warning(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// Of a chart.
    pub(crate) fn line(self) -> Style {
        self.coloured(Color::Cyan)
    }

    pub(crate) fn severity(self, severity: Severity) -> Style {
        match severity {
            Severity::Unspecified => self.dim(),
            Severity::Ok => self.coloured(Color::Green),
            Severity::Info => self.coloured(Color::Blue),
            Severity::Warning => self.coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Severity::Error | Severity::Critical => self.coloured(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// Of a share of the largest value, 0 to 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // one of ten
    pub(crate) fn ramp(self, share: f32) -> Style {
        let at = (share.clamp(0.0, 1.0) * (RAMP.len() - 1) as f32).round() as usize;
        self.coloured(Color::Indexed(RAMP[at.min(RAMP.len() - 1)]))
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}

/// How bad, among what can also be well.
pub(crate) const fn shown(severity: AlertSeverity) -> Severity {
    match severity {
        AlertSeverity::Unspecified => Severity::Unspecified,
        AlertSeverity::Info => Severity::Info,
        AlertSeverity::Warning => Severity::Warning,
        AlertSeverity::Error => Severity::Error,
        AlertSeverity::Critical => Severity::Critical,
    }
}

/// The mark of a severity; of nothing known "?".
pub(crate) const fn mark(severity: Option<Severity>) -> &'static str {
    match severity {
        None | Some(Severity::Unspecified) => "?",
        Some(Severity::Ok) => "✓",
        Some(Severity::Info) => "i",
        Some(Severity::Warning) => "▲",
        Some(Severity::Error) => "◆",
        Some(Severity::Critical) => "■",
    }
}

/// The word of a severity.
pub(crate) const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Unspecified => "unknown",
        Severity::Ok => "ok",
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical => "critical",
    }
}
