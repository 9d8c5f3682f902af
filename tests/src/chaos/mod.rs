//! A cluster under faults, with nodes that make every second checkable.
//!
//! Each start of a node has a digit of its own in the sum of a second ([`Digit`]), so that a sum says how often each
//! start is in it: not at all, once, or, which must never be, twice. Processes are killed, stopped and held, clocks of
//! nodes are set, second processes of one name are started, the network is cut and made lossy by draws from a seed
//! (`plan`). Every aggregator is read and the page of every dashboard is open all the time. At the end of each round of
//! some minutes, when all is healed, every second is read at everyone, over gRPC, by REST and on the pages
//! ([`Verdict`]).
//!
//! The draws keep the promise that is checked: an acknowledged frame is on two aggregators, so between two quiet
//! times one aggregator is killed at most.

mod digit;
mod fleet;
mod network;
mod node;
mod plan;
mod reader;
mod said;
mod shown;
mod verdict;

use std::time::Duration;

use rand::{SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, sleep, sleep_until};

pub use digit::{Digit, Sum};
pub use network::available as network_available;
pub use node::{NodeArguments, run_node};
pub use verdict::Verdict;

use self::{
    fleet::ChaosFleet,
    network::Party,
    plan::{Plan, Step},
    reader::{Expects, Readers},
    shown::Pages,
    verdict::Judge,
};
use crate::Oracle;

/// How large the cluster is and how long it suffers.
#[derive(Debug, Clone)]
pub struct ChaosConfig {
    /// Aggregators, at least 3.
    pub aggregators: usize,
    /// Nodes, spread over the aggregators by ownership.
    pub nodes: usize,
    /// Time of faults, at most [`FAULTS_MAX`].
    pub faults: Duration,
    /// Decides every draw.
    pub seed: u64,
    /// Cut and spoil the network too; this process must be alone in its network namespace, as root.
    pub network: bool,
}

/// Longest time of faults.
pub const FAULTS_MAX: Duration = Duration::from_secs(30 * 60);
/// Longest time of faults before all is healed and read: aggregators hold 15 minutes.
const ROUND: Duration = Duration::from_secs(9 * 60);
/// Quiet seconds before the first fault.
const FORMING: Duration = Duration::from_secs(5);

/// Starts the cluster, lets the faults come, heals and reads everything.
///
/// # Errors
/// When the cluster could not be started or not be healed; what it counted wrong stands in the verdict.
///
/// # Panics
/// When a program cannot be started.
pub async fn run(config: &ChaosConfig) -> Result<Verdict, String> {
    println!("seed {}", config.seed);
    let mut fleet = ChaosFleet::start(config).await?;
    let begin = Oracle::now() + 2;
    let expects = Expects { begin, nodes: config.nodes, said: fleet.all_said() };
    let readers = Readers::start(fleet.members(), &expects, config.seed);
    let pages = Pages::open(fleet.dashboards(), &expects, &readers.reads());
    let mut judge = Judge::new(config, expects);
    sleep(FORMING).await;

    let mut plan = Plan::new(StdRng::seed_from_u64(config.seed), config.aggregators, config.nodes, config.network);
    let mut suffered = Duration::ZERO;
    while suffered < config.faults {
        let until = config.faults.min(suffered + ROUND);
        let start = Instant::now() - suffered;
        loop {
            let now = start.elapsed();
            if now >= until {
                break;
            }
            for step in plan.due(now) {
                println!("{:6.1} s  {step}", now.as_secs_f64());
                fleet.apply(&step).await?;
            }
            sleep_until(start + plan.next().min(until)).await;
        }
        for step in plan.heal() {
            println!("  heal    {step}");
            fleet.apply(&step).await?;
        }
        suffered = start.elapsed();
        judge.round(&fleet, &pages).await?;
        println!("{:6.1} s  read everywhere", suffered.as_secs_f64());
    }
    Ok(judge.end(&fleet, readers, plan.drawn()).await)
}

impl ChaosFleet {
    /// Does one step of the plan.
    async fn apply(&mut self, step: &Step) -> Result<(), String> {
        if matches!(step, Step::Signal(Party::Aggregator(_), _) | Step::Start(Party::Aggregator(_)) | Step::Network(_))
        {
            self.disturb();
        }
        match step {
            Step::Signal(party, signal) => self.signal(*party, *signal),
            Step::Start(party) => self.start_again(*party).await?,
            Step::Namesake(party) => self.namesake(*party).await?,
            Step::Second(party) => self.start_second(*party)?,
            Step::SecondEnds(party) => self.end_second(*party),
            Step::Clock(party, ahead_ms) => self.set_clock(*party, *ahead_ms)?,
            Step::Network(faults) => return self.network(faults),
        }
        Ok(())
    }
}
