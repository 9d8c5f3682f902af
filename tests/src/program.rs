//! Real processes.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use starling_testkit::{LIMIT, eventually};

use crate::cost::Cost;

/// A running program of this workspace. Killed when dropped, and by the system when the thread that started it is gone without
/// that; its log is printed when the test fails.
#[derive(Debug)]
pub struct Program {
    name: String,
    path: PathBuf,
    arguments: Vec<String>,
    child: Child,
    directory: TempDir,
    addresses: HashMap<String, SocketAddr>,
}

/// How a program is started.
#[allow(missing_debug_implementations, reason = "it holds a function")]
pub struct Launch {
    /// The file that is run.
    pub path: PathBuf,
    /// Its arguments; `{dir}` becomes a folder of its own.
    pub arguments: Vec<String>,
    /// The user it runs as, which only root can choose; `None`: the one that runs us.
    pub user: Option<u32>,
    /// Takes every line of its output but the announcement of its addresses.
    pub lines: Option<Lines>,
}

/// Takes the lines a program prints.
pub type Lines = Box<dyn Fn(&str) + Send>;

/// Where the programs are: beside this one, or above it for a test binary in `deps`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {name} near {}: run `cargo build --workspace --bins` first", own.display()))
}

/// A program as the same process as `setpriv`: it ends with the thread that started it, also when that is killed. A daemon
/// keeps its frames in `folder`, not where that of this host does.
fn ends_with_us(path: &Path, arguments: &[String], folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(path).args(arguments);
    command.env("STARLING_NODE__SPOOL_DIR", folder.join("spool"));
    command
}

impl Program {
    /// Starts `name` with `arguments` and waits until it announces its addresses. Every occurrence of `{dir}` in an
    /// argument becomes a folder of its own.
    ///
    /// # Panics
    /// When it ends or says nothing within [`LIMIT`].
    #[must_use]
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self::launch(Launch { path: binary(name), arguments, user: None, lines: None })
    }

    /// [`Program::start`] with a say in which file is run, by whom, and where its lines go.
    ///
    /// # Panics
    /// As [`Program::start`].
    #[must_use]
    pub fn launch(launch: Launch) -> Self {
        let Launch { path, arguments, user, lines: sink } = launch;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let directory = tempfile::tempdir().expect("a temporary folder");
        let log = File::create(directory.path().join("log")).expect("a log file");
        let folder = directory.path().display().to_string();
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.replace("{dir}", &folder)).collect();
        let mut command = ends_with_us(&path, &arguments, directory.path());
        command
            .env("STARLING_LOG", std::env::var("STARLING_LOG").unwrap_or_else(|_| "info".to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(user) = user {
            chown(directory.path(), Some(user), Some(user)).expect("only root starts programs as others");
            command.uid(user).gid(user);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", path.display()));
        let mut program = Self { name, path, arguments, child, directory, addresses: HashMap::new() };
        program.listen(sink);
        program
    }

    /// Reads what it prints until it has announced its addresses, and goes on in the background.
    fn listen(&mut self, sink: Option<Lines>) {
        let lines = BufReader::new(self.child.stdout.take().expect("a pipe"));
        let (sender, announced) = mpsc::channel();
        // Ends with the program's output.
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(addresses) = parse_announcement(&line) {
                    let _ = sender.send(addresses);
                } else if let Some(sink) = &sink {
                    sink(&line);
                }
            }
        });
        self.addresses = announced
            .recv_timeout(LIMIT)
            .unwrap_or_else(|_| panic!("{} announced nothing; its log:\n{}", self.name, self.log()));
    }

    /// Starts it again as it was started, in its folder and at the addresses that it announced; what runs is killed before.
    ///
    /// # Panics
    /// As [`Program::start`].
    pub fn start_again(&mut self) {
        self.kill();
        for (what, address) in &self.addresses {
            let (free, taken) = (format!("{what}_listen=127.0.0.1:0"), format!("{what}_listen={address}"));
            self.arguments
                .iter_mut()
                .filter(|argument| **argument == free)
                .for_each(|argument| argument.clone_from(&taken));
        }
        let log = File::options().append(true).open(self.directory.path().join("log")).expect("its log");
        let mut command = ends_with_us(&self.path, &self.arguments, self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        self.child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", self.path.display()));
        self.listen(None);
    }

    /// Starts `name` with each of `settings` (`key=value`) as a `--set` flag; see [`Program::start`].
    #[must_use]
    pub fn with_settings(name: &str, settings: &[&str]) -> Self {
        let flags: Vec<&str> = settings.iter().flat_map(|&setting| ["--set", setting]).collect();
        Self::start(name, &flags)
    }

    /// A daemon of this host on free ports, named `node_id`, that knows `aggregators`; with further settings.
    #[must_use]
    pub fn daemon(node_id: &str, aggregators: &[String], settings: &[&str]) -> Self {
        let seeds: Vec<String> = aggregators.iter().map(|seed| format!("\"{seed}\"")).collect();
        let own = [
            format!("node_id={node_id}"),
            format!("aggregators=[{}]", seeds.join(",")),
            "admin_listen=127.0.0.1:0".to_owned(),
            "otlp_listen=127.0.0.1:0".to_owned(),
            "otlp_http_listen=127.0.0.1:0".to_owned(),
            "statsd_listen=127.0.0.1:0".to_owned(),
        ];
        let all: Vec<&str> = own.iter().map(String::as_str).chain(settings.iter().copied()).collect();
        Self::with_settings("starling-node", &all)
    }

    /// Runs a program to its end; gives its exit code and standard error.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run_to_end(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(binary(name)).args(arguments).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// As [`Program::run_to_end`], with all that it printed: its output, then its errors.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn all_of(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(binary(name)).args(arguments).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
    }

    /// The address announced as `what`.
    ///
    /// # Panics
    /// When none was announced.
    #[must_use]
    pub fn address(&self, what: &str) -> SocketAddr {
        *self.addresses.get(what).unwrap_or_else(|| panic!("{} announced no {what}: {:?}", self.name, self.addresses))
    }

    /// `http://` and the address announced as `what`.
    #[must_use]
    pub fn url(&self, what: &str) -> String {
        format!("http://{}", self.address(what))
    }

    /// Ends it without a chance to say anything (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Asks it to stop (SIGTERM) and waits; gives the exit code.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let name = self.name.clone();
        eventually(&format!("{name} stops"), async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            other => Err(format!("{other:?}")),
        })
        .await
    }

    /// Its folder: what `{dir}` stands for.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Processor time used so far and resident memory in bytes, from `/proc`.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn cost(&self) -> (Duration, u64) {
        let cost = Cost::of(self.child.id()).expect("the process is there");
        (cost.processor, cost.resident)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}", self.name, self.log());
        }
    }
}

/// Reads a line such as `starling-aggregator listening grpc=127.0.0.1:7400 admin=127.0.0.1:7402`.
fn parse_announcement(line: &str) -> Option<HashMap<String, SocketAddr>> {
    let (_, pairs) = line.split_once(" listening ")?;
    pairs
        .split_whitespace()
        .map(|pair| pair.split_once('=').and_then(|(name, address)| Some((name.to_owned(), address.parse().ok()?))))
        .collect()
}
