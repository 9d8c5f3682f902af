//! The processes of the run.

use std::{
    fs::{self, Permissions},
    net::Ipv4Addr,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    ChaosConfig, Digit,
    network::{Cut, Network, Party},
    node::Line,
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

/// What one start of a node said.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// Number of the node.
    pub(super) node: usize,
    /// Seconds it cut, or was about to cut when it was killed.
    pub(super) cut: Vec<u32>,
    /// Acknowledged, not acknowledged and lost, as it said last.
    pub(super) acked: u64,
    pub(super) unacked: u64,
    pub(super) lost: u64,
    /// It was neither killed nor asked to stop.
    pub(super) alive: bool,
}

/// What all starts said, by number of the start.
pub(super) type AllSaid = Arc<Mutex<Vec<Said>>>;

/// All processes.
#[derive(Debug)]
pub(super) struct ChaosFleet {
    directory: TempDir,
    /// `None` without rule over the network.
    network: Option<Network>,
    base: [u8; 3],
    aggregators: Vec<Option<Program>>,
    nodes: Vec<Option<(usize, Program)>>,
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
        for i in 0..config.nodes {
            fleet.start_node(i);
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

    /// Waits until `/ready` of every aggregator says so.
    pub(super) async fn everybody_ready(&self) {
        for member in self.members() {
            eventually("everybody is ready", async || member.ready().await).await;
        }
    }

    /// Lines that a log should not hold: what every aggregator logged as an error.
    pub(super) fn errors(&self) -> Vec<String> {
        let logs = self.aggregators.iter().flatten().map(Program::log);
        logs.flat_map(|log| log.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect::<Vec<_>>())
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

    fn start_node(&mut self, i: usize) {
        let party = Party::Node(i);
        let start = {
            let mut said = self.said();
            said.push(Said { node: i, alive: true, ..Said::default() });
            said.len() - 1
        };
        assert!(Digit::of(start).is_some(), "nodes are started {} times at most", Digit::ALL);
        let mut seeds: Vec<String> =
            (0..self.aggregators.len()).map(|i| format!("{}:{GRPC}", self.address(i))).collect();
        let n = seeds.len();
        seeds.rotate_left(i % n);
        let arguments = ["--node", &party.to_string(), "--start", &start.to_string(), "--seeds", &seeds.join(",")];
        let all = Arc::clone(&self.said);
        let launch = Launch {
            path: self.binaries[1].clone(),
            arguments: arguments.map(str::to_owned).into(),
            user: self.user(party),
            lines: Some(Box::new(move |line| {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                match Line::parse(line) {
                    Some(Line::Cut(tick)) => all[start].cut.push(tick),
                    Some(Line::Stats { acked, unacked, lost }) => {
                        (all[start].acked, all[start].unacked, all[start].lost) = (acked, unacked, lost);
                    }
                    None => {}
                }
            })),
        };
        self.nodes[i] = Some((start, Program::launch(launch)));
    }

    /// Sends a signal; a node that ends is marked.
    pub(super) fn signal(&mut self, party: Party, signal: Signal) {
        let Some(program) = self.program(party) else { return };
        if signal == Signal::KILL {
            program.kill();
        } else {
            program.signal(signal);
        }
        if let (Party::Node(i), Signal::KILL | Signal::TERM) = (party, signal)
            && let Some((start, _)) = self.nodes[i]
        {
            self.said()[start].alive = false;
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
            Party::Node(i) => self.start_node(i),
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
            Party::Node(i) => self.nodes[i].as_mut().map(|(_, program)| program),
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
