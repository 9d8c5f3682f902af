//! Log lines: their level, their form, and how many of one kind.

use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Libraries that write a line for what any outsider can send, and those whose news is not ours. Raised by
/// `--log chitchat=info` and the like.
const QUIET: &str = "chitchat=error,h2=error,hyper=warn,hyper_util=warn,tonic=warn,tower=warn,tower_http=warn,axum=warn,\
                     tungstenite=error,tokio_tungstenite=error,opentelemetry=warn,opentelemetry_sdk=warn,\
                     opentelemetry_otlp=warn";

/// Flags for the log of every program.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// Which lines are logged: off, error, warn, info, debug, trace, or a list such as info,starling_node=debug.
    #[arg(long = "log", value_name = "FILTER", env = "STARLING_LOG")]
    filter: Option<String>,
    /// Form of the log lines.
    #[arg(long = "log-format", value_enum, default_value_t = LogFormat::Text, env = "STARLING_LOG_FORMAT")]
    format: LogFormat,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogArgs {
    /// Form of the log lines.
    #[must_use]
    pub const fn format(&self) -> LogFormat {
        self.format
    }

    /// Starts logging to standard error, at level `default` unless a filter was given. Colours only on a terminal, and
    /// not with `NO_COLOR` in the environment (no-color.org). Keeps what was started before.
    ///
    /// # Errors
    /// When the filter is not one, in words.
    pub fn start(&self, default: &str) -> Result<(), String> {
        let wanted = self.filter.as_deref().filter(|filter| !filter.is_empty()).unwrap_or(default);
        let filter = EnvFilter::builder().parse(format!("{QUIET},{wanted}")).map_err(|error| {
            format!("--log {wanted:?} is not a filter ({error}); write info, or info,starling_node=debug")
        })?;
        let registry = tracing_subscriber::registry().with(filter);
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        // A second start, as of several services in one process, keeps the first.
        let _ = match self.format {
            LogFormat::Text => registry.with(fmt::layer().with_ansi(colours).with_writer(std::io::stderr)).try_init(),
            LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
        };
        Ok(())
    }
}

/// Lets one log line of a kind through per interval; for lines that input from outside can bring about. Counters count
/// every occurrence, the line says how many lines were left out.
#[derive(Debug)]
pub struct LogLimiter {
    /// Lines per interval.
    most: u32,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the interval began, and the lines written in it.
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl LogLimiter {
    /// One line per `every`.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self::of(1, every)
    }

    /// At most `most` lines per `every`: for lines that usually come one by one and in a burst at worst.
    #[must_use]
    pub const fn of(most: u32, every: Duration) -> Self {
        Self { most, every, state: Mutex::new(State { since: None, written: 0, left_out: 0 }) }
    }

    /// How many lines were left out since the last one, when one may be written now.
    pub fn allow(&self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    /// As [`LogLimiter::allow`], at a given time.
    pub fn allow_at(&self, now: Instant) -> Option<u64> {
        // A short section without a way to panic; what is left of a poisoned one is right.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= self.every) {
            (state.since, state.written) = (Some(now), 0);
        }
        if state.written >= self.most {
            state.left_out += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_per_interval() {
        let every = Duration::from_secs(10);
        let (limiter, start) = (LogLimiter::new(every), Instant::now());
        assert_eq!(limiter.allow_at(start), Some(0));
        assert!((1..10).all(|n| limiter.allow_at(start + n * Duration::from_secs(1)).is_none()));
        assert_eq!(limiter.allow_at(start + every), Some(9));
        assert_eq!(limiter.allow_at(start + 3 * every), Some(0));
    }

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let every = Duration::from_secs(10);
        let (limiter, start) = (LogLimiter::of(3, every), Instant::now());
        let allowed =
            |at: u32, n: usize| (0..n).filter_map(|_| limiter.allow_at(start + at * every)).collect::<Vec<_>>();
        assert_eq!(allowed(0, 1000), [0, 0, 0]);
        assert_eq!(allowed(1, 2), [997, 0]);
    }

    #[test]
    fn a_filter_that_is_none_is_refused_in_words() {
        let args = |filter: &str| LogArgs { filter: Some(filter.to_owned()), format: LogFormat::Text };
        let error = args("starling_node=loud").start("info").unwrap_err();
        assert!(error.contains("starling_node=loud") && error.contains("write info"), "{error}");
    }
}
