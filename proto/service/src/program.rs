//! What a Starling program is, and the one `main` of all of them.
//!
//! Same flags, same exit codes (0 stopped as asked, 1 failed, 2 settings or flags), same texts, same order: settings,
//! signals, log, listeners, one line with the addresses, work until a signal or until a part fails, drain.

use std::{
    ffi::OsString, fmt::Write as _, future::Future, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration,
};

use clap::{Args as _, FromArgMatches as _};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    admin::Readiness,
    command_text::TextArgs,
    enrolment::{JoinArgs, LeaveArgs},
    identity::Role,
    log::{LogArgs, LogFormat},
    metrics::Registry,
    parts, reload,
    service_manager::ServiceManager,
    settings::{self, Settings, Sources},
    shutdown,
    version::VERSION,
};

/// How long blocking work, such as a read of a filesystem that does not answer, may hold up the end of the process.
const BLOCKING_GRACE: Duration = Duration::from_millis(500);
/// How often a person is told what a program still waits for. Data usually comes within 2 s.
const WAITING_AGAIN: Duration = Duration::from_secs(5);
/// Name of the command by which a program becomes a member of a cluster.
const JOIN: &str = "join";
/// Name of the command by which it ends that.
const LEAVE: &str = "leave";
/// The process could not do its work.
const FAILED: u8 = 1;
/// Flags or settings were not taken; service managers need not try again.
const USAGE: u8 = 2;

/// What a program finds out with its settings, as JSON when that is true.
///
/// # Errors
/// Why it finds out nothing.
pub type Once<Config> = fn(&Config, bool) -> anyhow::Result<String>;

/// A program, or a service of one.
pub trait Program: Sized + Send + 'static {
    /// Name of the program, such as "starling-node".
    const NAME: &'static str;
    /// What it does, one sentence.
    const ABOUT: &'static str;
    /// What variables and the example file call it: `STARLING_<this>__KEY`.
    const SETTINGS: &'static str;
    /// Log level without a filter.
    const LOG: &'static str = "info";
    /// What it is in a cluster; `None` for one that is in none. With a role it has the commands `join` and `leave`.
    const ROLE: Option<Role> = None;
    /// Threads of the runtime; `None`: one a core.
    const THREADS: Option<usize> = None;
    /// What it finds out in a second or so, as text or as JSON, for `--once`; `None` for a program without that flag.
    const ONCE: Option<Once<Self::Config>> = None;
    /// Its settings.
    type Config: Settings + Send + 'static;

    /// Opens the listeners; port 0 takes a free one. The addresses are known when this returns. What the service counts
    /// goes into `registry`.
    ///
    /// # Errors
    /// Settings that are not valid, or an address that cannot be had, naming the setting and the next step.
    fn bind(config: Self::Config, registry: Registry) -> impl Future<Output = anyhow::Result<Self>> + Send;
    /// Where it listens, each with the name of its API.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)>;
    /// Whether it does its work, now and from now on.
    fn readiness(&self) -> watch::Receiver<Readiness>;
    /// Works until `shutdown`, then drains. When a part ends by itself it is no longer ready, drains, and fails.
    ///
    /// # Errors
    /// Which part ended, and why.
    fn run(self, shutdown: CancellationToken) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// What a person at a terminal wants to know once it works.
    fn introduction(&self) -> Option<String> {
        None
    }
}

/// Flags of every program.
#[derive(Debug, Clone, clap::Args)]
pub struct CommonArgs {
    /// Settings file (TOML). Without it the defaults apply.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as `--set KEY=VALUE`; wins over the environment and the file. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Check the settings, print everything that is wrong, and stop.
    #[arg(long)]
    check_config: bool,
    /// Print every setting with its value and where it came from, and stop.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// Flags of a program with [`Program::ONCE`].
#[derive(Debug, Clone, Copy, clap::Args)]
struct OnceArgs {
    /// Find out what there is to say now, print it, and stop: nothing is opened and nothing sent.
    #[arg(long)]
    once: bool,
    /// Print it as JSON.
    #[arg(long, requires = "once")]
    json: bool,
}

/// The `main` of a program.
#[must_use]
pub fn main<P: Program>() -> ExitCode {
    ExitCode::from(run_with::<P>(std::env::args_os()))
}

fn run_with<P: Program>(arguments: impl Iterator<Item = OsString>) -> u8 {
    let command = describe::<P>(CommonArgs::augment_args(clap::Command::new(P::NAME).about(P::ABOUT).version(VERSION)));
    let command = if P::ONCE.is_some() { OnceArgs::augment_args(command) } else { command };
    // Last: a table of flags brings its own description.
    let mut command = TextArgs::augment_args(command).about(P::ABOUT);
    if P::ROLE.is_some() {
        command = command.subcommand(JoinArgs::augment_args(clap::Command::new(JOIN)));
        command = command.subcommand(LeaveArgs::augment_args(clap::Command::new(LEAVE)));
    }
    let matched = command.clone().try_get_matches_from(arguments);
    if let (Ok(matches), Some(role)) = (&matched, P::ROLE)
        && let Some((command, given)) = matches.subcommand()
    {
        let code = match command {
            LEAVE => LeaveArgs::from_arg_matches(given).map(|leave| leave.run(role, P::SETTINGS)),
            _ => JoinArgs::from_arg_matches(given).map(|join| join.run(role, P::SETTINGS)),
        };
        return code.unwrap_or_else(|stop| refused(&stop));
    }
    let parsed = matched.and_then(|matches| {
        let once = P::ONCE.map(|once| OnceArgs::from_arg_matches(&matches).map(|asked| (once, asked))).transpose()?;
        let once = once.filter(|(_, asked)| asked.once).map(|(once, asked)| (once, asked.json));
        Ok((TextArgs::from_arg_matches(&matches)?, (CommonArgs::from_arg_matches(&matches)?, once)))
    });
    match parsed {
        Ok((text, _)) if text.is_asked() => match text.write(command, &mut std::io::stdout()) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{}: standard output: {error}", P::NAME);
                FAILED
            }
        },
        Ok((_, (args, once))) => execute_or::<P>(args, Vec::new(), once),
        Err(stop) => refused(&stop),
    }
}

/// Flags that were not taken; `--help` and `--version` too: clap knows where they are printed.
fn refused(stop: &clap::Error) -> u8 {
    // A closed pipe is the reader's choice.
    let _ = stop.print();
    if stop.use_stderr() { USAGE } else { 0 }
}

/// Replaces what only the program's settings can say in the help of [`CommonArgs`].
#[must_use]
pub fn describe<P: Program>(command: clap::Command) -> clap::Command {
    let mut rows = Vec::new();
    P::Config::default().rows("", &mut rows);
    let listener = rows.iter().find(|row| row.key.ends_with("listen")).or(rows.first());
    let (key, value) = match listener {
        Some(row) => (row.key.as_str(), row.value.as_ref().and_then(|value| value.as_str()).unwrap_or("VALUE")),
        None => ("KEY", "VALUE"),
    };
    let program = P::SETTINGS.to_uppercase();
    let help = format!(
        "One setting, such as `--set {key}={value}`; wins over the variable STARLING_{program}__{}, which wins over the \
         file. May be repeated",
        key.replace('.', "__").to_uppercase()
    );
    command.mut_arg("overrides", |argument| argument.help(help)).mut_arg("filter", |argument| {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        argument.help(format!("{help} [default: {}]", P::LOG))
    })
}

/// Reads the settings and runs a program, or does what the flags ask instead; the exit code. `first` are settings that
/// flags of the program's own gave; `--set` wins over them.
#[must_use]
pub fn execute<P: Program>(args: CommonArgs, first: Vec<String>) -> u8 {
    execute_or::<P>(args, first, None)
}

fn execute_or<P: Program>(args: CommonArgs, first: Vec<String>, once: Option<(Once<P::Config>, bool)>) -> u8 {
    let CommonArgs { config, overrides, check_config, print_config, log } = args;
    let overrides = first.into_iter().chain(overrides).collect();
    let sources = Sources::of_process(config, overrides);
    let loaded = settings::load::<P::Config>(P::SETTINGS, &sources);
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            let lines = mistakes.to_string().replace('\n', "\n  ");
            eprintln!("{}: the settings are not valid:\n  {lines}", P::NAME);
            return USAGE;
        }
    };
    if print_config {
        println!("# Settings of {} {VERSION}", P::NAME);
        print!("{}", loaded.print());
        return 0;
    }
    if check_config {
        println!("the settings are valid");
        return 0;
    }
    if let Some((once, json)) = once {
        return match once(&loaded.settings, json) {
            Ok(text) => {
                println!("{}", text.trim_end());
                0
            }
            Err(failure) => {
                eprintln!("{}: {failure:#}", P::NAME);
                FAILED
            }
        };
    }
    if let Err(wrong) = log.start(P::LOG) {
        eprintln!("{}: {wrong}", P::NAME);
        return USAGE;
    }
    match run::<P>(loaded.settings, sources) {
        Ok(()) => 0,
        Err(failure) => {
            match log.format() {
                LogFormat::Text => eprintln!("{}: {failure:#}", P::NAME),
                LogFormat::Json => error!(program = P::NAME, error = %format_args!("{failure:#}"), "failed"),
            }
            FAILED
        }
    }
}

fn run<P: Program>(config: P::Config, sources: Sources) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = P::THREADS {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().build()?;
    let result = runtime.block_on(async {
        // First, so that a signal during the start is a stop and not a kill.
        let shutdown = shutdown::on_signal()?;
        if !shutdown::at_terminal() {
            reload::on_hangup(P::SETTINGS, sources, &config)?;
        }
        let manager = ServiceManager::of_process();
        let starting = manager.starting();
        // A start may wait for long, such as for a certificate or a large log: who stops it then need not wait.
        let program = tokio::select! {
            bound = P::bind(config, Registry::default()) => bound?,
            () = shutdown.cancelled() => return Ok(()),
        };
        drop(starting);
        let introduction = program.introduction();
        let introduced = introduction.is_some();
        if let Some(introduction) = introduction {
            println!("{introduction}");
        }
        println!("{}", announcement(P::NAME, &program.addresses()));
        let told = introduced.then(|| tokio::spawn(tell_first_data(program.readiness(), tell)));
        let _reports = manager.working(program.readiness(), shutdown.clone());
        let result = program.run(shutdown).await;
        if let Some(told) = told {
            told.abort();
        }
        result
    });
    runtime.shutdown_timeout(BLOCKING_GRACE);
    result
}

fn tell(line: &str) {
    println!("{line}");
}

/// Tells a person when a program has its first data, and every few seconds before that what it waits for.
async fn tell_first_data(mut ready: watch::Receiver<Readiness>, tell: impl Fn(&str)) {
    let start = Instant::now();
    loop {
        match timeout(WAITING_AGAIN, ready.wait_for(Readiness::is_ready)).await {
            Ok(Ok(_)) => return tell(&format!("first data after {:.1} s", start.elapsed().as_secs_f64())),
            // It ended.
            Ok(Err(_)) => return,
            Err(_) => {}
        }
        if let Readiness::NotReady(why) = &*ready.borrow() {
            tell(&format!("waiting for the first data: {why}"));
        }
    }
}

/// The one line on standard output that says that a program works and where: its name, the word `listening`, and
/// `what=address` for each API. With port 0 in the settings this is where the chosen ports are said.
fn announcement(program: &str, addresses: &[(&str, SocketAddr)]) -> String {
    addresses.iter().fold(format!("{program} listening"), |mut line, (what, address)| {
        let _ = write!(line, " {what}={address}");
        line
    })
}

/// A program at work inside a process, on a task of its own. Dropping it stops nothing: cancel the token it was started
/// with, then await [`Running::ended`].
#[derive(Debug)]
pub struct Running {
    addresses: Vec<(&'static str, SocketAddr)>,
    readiness: watch::Receiver<Readiness>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Binds and runs a program.
    ///
    /// # Errors
    /// See [`Program::bind`].
    pub async fn start<P: Program>(config: P::Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        Ok(Self::of(P::bind(config, Registry::default()).await?, shutdown))
    }

    /// Runs a program that is bound.
    #[must_use]
    pub fn of<P: Program>(program: P, shutdown: CancellationToken) -> Self {
        let (addresses, readiness) = (program.addresses(), program.readiness());
        Self { addresses, readiness, task: tokio::spawn(program.run(shutdown)) }
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// The address of one API; `None` when it is not offered.
    #[must_use]
    pub fn address(&self, what: &str) -> Option<SocketAddr> {
        self.addresses.iter().find(|(name, _)| *name == what).map(|&(_, address)| address)
    }

    /// Whether it does its work, now and from now on.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Waits until it is ready. Returns at once when it has stopped.
    pub async fn ready(&self) {
        // An error means that it stopped.
        let _ = self.readiness.clone().wait_for(Readiness::is_ready).await;
    }

    /// Waits until it has stopped. Cancel safe.
    ///
    /// # Errors
    /// Why it stopped by itself.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        parts::flatten((&mut self.task).await)
    }
}

#[cfg(test)]
mod tests;
