//! A cluster under faults, with nodes that make every second checkable.
//!
//! Each start of a node has a digit of its own in the sum of a second ([`Digit`]), so that a sum says how often each
//! start is in it: not at all, once, or, which must never be, twice. Processes are killed, stopped and held, the
//! network is cut and made lossy by draws from a seed (`plan`); every aggregator is read all the time and, when all
//! is healed, every second at everyone ([`Verdict`]).
//!
//! The draws keep the promise that is checked: an acknowledged frame is on two aggregators, so between two quiet
//! times one aggregator is killed at most.

mod digit;
mod fleet;
mod network;
mod node;
mod plan;
mod reader;
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
    plan::{Plan, Step},
    reader::{Expects, Readers},
};
use crate::Oracle;

/// How large the cluster is and how long it suffers.
#[derive(Debug, Clone)]
pub struct ChaosConfig {
    /// Aggregators, at least 3.
    pub aggregators: usize,
    /// Nodes, spread over the aggregators by ownership.
    pub nodes: usize,
    /// Time of faults, at most [`FAULTS_MAX`]: aggregators hold 15 minutes, and all of it is read at the end.
    pub faults: Duration,
    /// Decides every draw.
    pub seed: u64,
    /// Cut and spoil the network too; this process must be alone in its network namespace, as root.
    pub network: bool,
}

/// Longest time of faults: with forming and healing before 15 minutes are over.
pub const FAULTS_MAX: Duration = Duration::from_secs(12 * 60);
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
    let expects = Expects { begin, nodes: config.nodes };
    let readers = Readers::start(fleet.members(), expects, config.seed);
    sleep(FORMING).await;

    let mut plan = Plan::new(StdRng::seed_from_u64(config.seed), config.aggregators, config.nodes, config.network);
    let start = Instant::now();
    loop {
        let now = start.elapsed();
        if now >= config.faults {
            break;
        }
        for step in plan.due(now) {
            println!("{:6.1} s  {step}", now.as_secs_f64());
            fleet.apply(&step).await?;
        }
        sleep_until(start + plan.next().min(config.faults)).await;
    }
    for step in plan.heal() {
        println!("  heal    {step}");
        fleet.apply(&step).await?;
    }
    let drawn = plan.drawn();
    verdict::read(config, &fleet, readers, expects, drawn).await
}

impl ChaosFleet {
    /// Does one step of the plan.
    async fn apply(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Signal(party, signal) => self.signal(*party, *signal),
            Step::Start(party) => self.start_again(*party).await?,
            Step::Namesake(party) => self.namesake(*party).await?,
            Step::Network(faults) => return self.network(faults),
        }
        Ok(())
    }
}
