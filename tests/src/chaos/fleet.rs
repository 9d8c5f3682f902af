//! The processes of the run.

use std::{
    fs::{self, Permissions},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    ChaosConfig, Digit,
    network::{Cut, Network, Party},
    node::{Clock, Line, Start},
    said::{AllSaid, Said},
};
use crate::{Launch, Program, binary, eventually, health::Member};

const GRPC: u16 = 7400;
const GOSSIP: u16 = 7401;
const ADMIN: u16 = 7402;
/// Longest stop by SIGTERM: the drain of 10 s, and a slow machine.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// How far the ports of a namesake are from those of the aggregator whose name it has.
const NAMESAKE: u16 = 10;
/// How soon a namesake must have ended.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// Numbers of the machines of second daemons; those of the nodes are below.
const SECOND_MACHINE: u8 = 128;

/// All processes.
#[derive(Debug)]
pub(super) struct ChaosFleet {
    directory: TempDir,
    /// `None` without rule over the network.
    network: Option<Network>,
    base: [u8; 3],
    aggregators: Vec<Option<Program>>,
    nodes: Vec<Option<Program>>,
    /// Second daemons, by the node whose name they have.
    seconds: Vec<Option<Program>>,
    /// One for each aggregator, which it asks first.
    dashboards: Vec<Program>,
    said: AllSaid,
    /// Namesakes that were not refused.
    strange: Vec<String>,
    /// Aggregator and node, where every user may run them.
    binaries: [PathBuf; 2],
}

impl ChaosFleet {
    /// Starts all aggregators, waits until they are ready, and starts all nodes.
    pub(super) async fn start(config: &ChaosConfig) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut binaries = [binary("starling-aggregator"), binary("starling-oracle-node")];
        let network = config.network.then_some(Network { aggregators: config.aggregators, nodes: config.nodes });
        let base = if let Some(network) = &network {
            network.lay()?;
            for path in &mut binaries {
                *path = for_everybody(directory.path(), path).map_err(|error| error.to_string())?;
            }
            let [a, b, c, _] = Network::address(0).octets();
            [a, b, c]
        } else {
            // Two runs on one host must not meet.
            let id = std::process::id();
            [127, 100 + (id / 250 % 100) as u8, (id % 250) as u8]
        };
        let mut fleet = Self {
            directory,
            network,
            base,
            aggregators: (0..config.aggregators).map(|_| None).collect(),
            nodes: (0..config.nodes).map(|_| None).collect(),
            seconds: (0..config.nodes).map(|_| None).collect(),
            dashboards: Vec::new(),
            said: AllSaid::default(),
            strange: Vec::new(),
            binaries,
        };
        for i in 0..config.aggregators {
            fleet.start_aggregator(i);
        }
        fleet.everybody_ready().await;
        // Membership is agreed on before the first node asks for its owner.
        tokio::time::sleep(Duration::from_secs(4)).await;
        for i in 0..config.aggregators {
            fleet.start_dashboard(i);
        }
        for i in 0..config.nodes {
            fleet.start_node(i)?;
        }
        Ok(fleet)
    }

    /// Where the aggregators answer, running or not.
    pub(super) fn members(&self) -> Vec<Member> {
        let member = |i| Member {
            name: Party::Aggregator(i).to_string(),
            grpc: (self.address(i), GRPC).into(),
            admin: (self.address(i), ADMIN).into(),
        };
        (0..self.aggregators.len()).map(member).collect()
    }

    /// What the nodes said so far.
    pub(super) fn said(&self) -> MutexGuard<'_, Vec<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for who reads meanwhile.
    pub(super) fn all_said(&self) -> AllSaid {
        Arc::clone(&self.said)
    }

    /// Waits until `/ready` of every aggregator says so.
    pub(super) async fn everybody_ready(&self) {
        for member in self.members() {
            eventually("everybody is ready", async || member.ready().await).await;
        }
    }

    /// Lines that a log should not hold: what every aggregator logged as an error.
    pub(super) fn errors(&self) -> Vec<String> {
        let logs = self.aggregators.iter().flatten().map(Program::log);
        logs.flat_map(|log| log.lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    fn address(&self, i: usize) -> Ipv4Addr {
        let [a, b, c] = self.base;
        Ipv4Addr::new(a, b, c, i as u8 + 1)
    }

    fn seeds(&self) -> String {
        let seeds = (0..self.aggregators.len()).map(|i| format!("\"{}:{GOSSIP}\"", self.address(i)));
        format!("[{}]", seeds.collect::<Vec<_>>().join(","))
    }

    fn user(&self, party: Party) -> Option<u32> {
        self.network.as_ref().map(|network| network.user(party))
    }

    fn start_aggregator(&mut self, i: usize) {
        let party = Party::Aggregator(i);
        let state = self.directory.path().join(party.to_string());
        fs::create_dir_all(&state).expect("a folder for what survives");
        if let Some(user) = self.user(party) {
            chown(&state, Some(user), Some(user)).expect("only root starts programs as others");
        }
        let own = self.address(i);
        let settings = [
            format!("aggregator_id={party}"),
            "cluster=chaos".into(),
            format!("seeds={}", self.seeds()),
            format!("grpc_listen={own}:{GRPC}"),
            format!("gossip_listen={own}:{GOSSIP}"),
            format!("admin_listen={own}:{ADMIN}"),
            format!("state_dir={}", state.display()),
            "requests.report=false".into(),
        ];
        let arguments = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect();
        let launch = Launch { path: self.binaries[0].clone(), arguments, user: self.user(party), lines: None };
        self.aggregators[i] = Some(Program::launch(launch));
    }

    /// The addresses of the dashboards.
    pub(super) fn dashboards(&self) -> Vec<SocketAddr> {
        self.dashboards.iter().map(|dashboard| dashboard.address("http")).collect()
    }

    fn start_dashboard(&mut self, i: usize) {
        let seeds: Vec<String> = self.addresses_from(i).iter().map(|seed| format!("\"{seed}\"")).collect();
        let seeds = format!("aggregators=[{}]", seeds.join(","));
        let settings = [&seeds, "listen=127.0.0.1:0", "admin_listen=127.0.0.1:0"];
        self.dashboards.push(Program::with_settings("starling-dashboard", &settings));
    }

    /// The gRPC addresses of all aggregators, the `i`-th first.
    fn addresses_from(&self, i: usize) -> Vec<String> {
        let mut all: Vec<String> = (0..self.aggregators.len()).map(|i| format!("{}:{GRPC}", self.address(i))).collect();
        let n = all.len();
        all.rotate_left(i % n);
        all
    }

    /// The next start of a node, with a digit that nobody has.
    fn next_start(&self, node: usize) -> Result<Start, String> {
        let mut said = self.said();
        let free = |digit: &Digit| said.iter().all(|said| said.digit != *digit || said.is_free());
        let digit = (0..Digit::ALL).filter_map(Digit::of).find(free).ok_or("too many starts in a short time")?;
        said.push(Said::new(node, digit));
        Ok(Start { number: said.len() - 1, digit })
    }

    fn start_node(&mut self, i: usize) -> Result<(), String> {
        let start = self.next_start(i)?;
        self.nodes[i] = Some(self.launch_node(i, start, i as u8));
        Ok(())
    }

    fn launch_node(&self, i: usize, start: Start, machine: u8) -> Program {
        let party = Party::Node(i);
        let (clock, seeds) = (self.clock_file(i), self.addresses_from(i).join(","));
        let clock = if machine < SECOND_MACHINE { clock } else { clock.with_extension("second") };
        let arguments = [
            ["--node", &party.to_string()],
            ["--machine", &machine.to_string()],
            ["--start", &start.to_string()],
            ["--seeds", &seeds],
            ["--clock", &clock.display().to_string()],
        ];
        let all = Arc::clone(&self.said);
        Program::launch(Launch {
            path: self.binaries[1].clone(),
            arguments: arguments.as_flattened().iter().map(|&argument| argument.to_owned()).collect(),
            user: self.user(party),
            lines: Some(Box::new(move |line| {
                let Some((start, line)) = Line::parse(line) else { return };
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(said) = all.get_mut(start) {
                    said.take(line);
                }
            })),
        })
    }

    /// Where a node reads how far its clock is ahead.
    fn clock_file(&self, i: usize) -> PathBuf {
        self.directory.path().join(format!("clock-{i}"))
    }

    /// Sets the clock of a node; a new stream begins.
    pub(super) fn set_clock(&mut self, party: Party, ahead_ms: i64) -> Result<(), String> {
        let Party::Node(i) = party else { return Ok(()) };
        let start = self.next_start(i)?;
        self.said()[start.number].ahead_ms = ahead_ms;
        Clock { ahead_ms, start }.write(&self.clock_file(i)).map_err(|error| error.to_string())
    }

    /// Starts a daemon on another machine with the name of a node that is well: it must not be counted.
    pub(super) fn start_second(&mut self, party: Party) -> Result<(), String> {
        let Party::Node(i) = party else { return Ok(()) };
        let start = self.next_start(i)?;
        self.said()[start.number].second = true;
        self.seconds[i] = Some(self.launch_node(i, start, SECOND_MACHINE + i as u8));
        Ok(())
    }

    /// Kills it.
    pub(super) fn end_second(&mut self, party: Party) {
        let Party::Node(i) = party else { return };
        // Killed when dropped.
        drop(self.seconds[i].take());
        self.said().iter_mut().filter(|said| said.node == i && said.second).for_each(Said::end);
    }

    /// Notes that something happens to an aggregator or to a link.
    pub(super) fn disturb(&self) {
        self.said().iter_mut().filter(|said| said.second && said.alive).for_each(|said| said.disturbed = true);
    }

    /// Sends a signal; the streams of a node that ends are marked.
    pub(super) fn signal(&mut self, party: Party, signal: Signal) {
        let Some(program) = self.program(party) else { return };
        if signal == Signal::KILL {
            program.kill();
        } else {
            program.signal(signal);
        }
        if let (Party::Node(i), Signal::KILL | Signal::TERM) = (party, signal) {
            self.said().iter_mut().filter(|said| said.node == i && !said.second).for_each(Said::end);
        }
    }

    /// Starts a killed process again, a stopping one as soon as it has ended.
    pub(super) async fn start_again(&mut self, party: Party) -> Result<(), String> {
        let begun = Instant::now();
        while self.program(party).is_some_and(Program::is_running) {
            if begun.elapsed() > STOP_WITHIN {
                return Err(format!("{party} does not stop"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        match party {
            Party::Node(i) => self.start_node(i)?,
            Party::Aggregator(i) => self.start_aggregator(i),
        }
        Ok(())
    }

    /// Starts an aggregator with the name of one that is well, under other addresses: it must not stay.
    pub(super) async fn namesake(&mut self, party: Party) -> Result<(), String> {
        let Party::Aggregator(i) = party else { return Ok(()) };
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let own = self.address(i);
        let settings = [
            format!("aggregator_id={party}"),
            "cluster=chaos".into(),
            format!("seeds={}", self.seeds()),
            format!("grpc_listen={own}:{}", GRPC + NAMESAKE),
            format!("gossip_listen={own}:{}", GOSSIP + NAMESAKE),
            format!("admin_listen={own}:{}", ADMIN + NAMESAKE),
            format!("state_dir={}", directory.path().display()),
            "requests.report=false".into(),
        ];
        let mut command = tokio::process::Command::new(&self.binaries[0]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = tokio::time::timeout(REFUSED_WITHIN, command.output()).await;
        let said = match output {
            Ok(Ok(output)) if output.status.code() == Some(1) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Ok(Ok(output)) => format!("it ended with {}", output.status),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it goes on".to_owned(),
        };
        if !said.contains("is alive") {
            self.strange.push(format!("a second {party}: {said}"));
        }
        Ok(())
    }

    /// What was done against the rules by somebody who is no part of the cluster.
    pub(super) fn strange(&self) -> &[String] {
        &self.strange
    }

    fn program(&mut self, party: Party) -> Option<&mut Program> {
        match party {
            Party::Aggregator(i) => self.aggregators[i].as_mut(),
            Party::Node(i) => self.nodes[i].as_mut(),
        }
    }

    /// Cuts links.
    pub(super) fn network(&self, cuts: &[Cut]) -> Result<(), String> {
        self.network.as_ref().map_or(Ok(()), |network| network.set(cuts))
    }
}

/// A copy that any user can reach and run.
fn for_everybody(directory: &Path, program: &Path) -> std::io::Result<PathBuf> {
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    let copy = directory.join(program.file_name().unwrap_or_default());
    fs::copy(program, &copy)?;
    fs::set_permissions(&copy, Permissions::from_mode(0o755))?;
    Ok(copy)
}
