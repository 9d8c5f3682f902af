//! How one collector does, and what is said about it.

use std::time::Duration;

use starling_proto::v1::{CollectorFault, CollectorTrouble};
use starling_service::{clock, log::LogLimiter, parts::chain};
use tracing::{error, info, warn};

use super::CollectError;

/// A collector with a fault is named in the log at most this often.
const LINE_EVERY: Duration = Duration::from_secs(60);
/// A collector that is out for longer hangs; before, the machine may just be busy.
const HANGS_AFTER: Duration = Duration::from_secs(2);

/// What became of a collector in one second.
#[derive(Clone, Copy)]
pub(super) enum Seen<'a> {
    /// It gave its samples, all but those named here.
    Works(Option<&'a str>),
    /// It gave none.
    Failed(&'a CollectError),
    /// It has not returned, and is out for this long; `None` when it was not begun, because too many others hang.
    Late(Option<Duration>),
}

/// See the module.
pub(super) struct Health {
    name: &'static str,
    /// What it reads, for people.
    reads: String,
    fault: Option<CollectorFault>,
    up: bool,
    lines: LogLimiter,
    /// The log says that it has a fault.
    said: bool,
}

impl Health {
    pub(super) fn new(name: &'static str, reads: String) -> Self {
        Self { name, reads, fault: None, up: true, lines: LogLimiter::new(LINE_EVERY), said: false }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it gave samples.
    pub(super) fn up(&self) -> bool {
        self.up
    }

    /// What is wrong with it.
    pub(super) fn reported(&self) -> Option<CollectorFault> {
        self.fault.clone()
    }

    /// Takes note of one second, and logs a fault now and then, and the end of one that was logged.
    pub(super) fn saw(&mut self, seen: Seen<'_>) {
        self.up = matches!(seen, Seen::Works(_));
        match seen {
            Seen::Works(None) => {
                self.fault = None;
                if std::mem::take(&mut self.said) {
                    info!(collector = self.name, "collector works again");
                }
            }
            Seen::Works(Some(left_out)) => {
                self.fault(CollectorTrouble::Partial, left_out.to_owned());
                if let Some(lines_left_out) = self.line() {
                    warn!(collector = self.name, reason = left_out, lines_left_out, "collector leaves something out");
                }
            }
            Seen::Failed(error) => {
                let reason = chain(error);
                if let Some(lines_left_out) = self.line() {
                    warn!(collector = self.name, reason, lines_left_out, "collector failed, what it reads is absent");
                }
                self.fault(CollectorTrouble::Failed, reason);
            }
            Seen::Late(out) if out.is_none_or(|out| out >= HANGS_AFTER) => {
                let reason = match out {
                    Some(_) => format!("a read of {} does not return", self.reads),
                    None => format!("{} is not read, too many other collectors hang", self.reads),
                };
                if let Some(lines_left_out) = self.line() {
                    let seconds = out.map_or(0, |out| out.as_secs());
                    warn!(
                        collector = self.name,
                        reason, seconds, lines_left_out, "collector hangs, what it reads is absent"
                    );
                }
                self.fault(CollectorTrouble::Hanging, reason);
            }
            // Not yet a fault; the second shows it by `up`.
            Seen::Late(_) => {}
        }
    }

    /// It panicked, and begins again.
    pub(super) fn panicked(&self) {
        error!(collector = self.name, "collector panicked, which is a bug; it begins again");
    }

    fn line(&mut self) -> Option<u64> {
        let left_out = self.lines.allow();
        self.said |= left_out.is_some();
        left_out
    }

    /// The time of a fault stays while its kind does.
    fn fault(&mut self, trouble: CollectorTrouble, reason: String) {
        let before = self.fault.as_ref().filter(|fault| fault.trouble() == trouble);
        let now = || u32::try_from(clock::unix().as_secs()).unwrap_or(u32::MAX);
        let since_unix_s = before.map_or_else(now, |fault| fault.since_unix_s);
        self.fault =
            Some(CollectorFault { collector: self.name.to_owned(), trouble: trouble.into(), reason, since_unix_s });
    }
}
