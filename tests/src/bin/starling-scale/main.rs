//! What one aggregator costs under N nodes of 500 series, and how late its views are; with `--kill`, what the others
//! of a cluster do when one dies. Prints one table, and one JSON line a run to a file. Run by `make bench-scale` on
//! release binaries.

mod cost;
mod failover;
mod restart;
mod table;

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use starling_service::{credentials::Security, identity::Role};
use starling_tests::{
    Issuer, Launch, Program, binary, eventually, http_get,
    swarm::{Proofs, Shape, Swarm, SwarmConfig, Template},
};

/// Nodes that come in one second.
const RAMP: f64 = 500.0;
/// Frames are sent evenly within this time after the end of their second.
const SPREAD: Duration = Duration::from_millis(40);
/// From the last node's arrival to the begin of the measured time.
const SETTLE: Duration = Duration::from_secs(8);
/// Start of the names of nodes.
const PREFIX: &str = "scale";
/// As who the views are read.
const READER: &str = "reader";
/// Templates that differ in their values.
const TEMPLATES: usize = 16;

/// Loads real aggregators and prints what it costs them.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// Numbers of nodes, one run each.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 3_000, 10_000])]
    nodes: Vec<usize>,
    /// Series a node.
    #[arg(long, default_value_t = 500)]
    series: usize,
    /// Measured seconds of a run.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Kill one of three aggregators without a word instead of measuring one alone.
    #[arg(long)]
    kill: bool,
    /// Start all of three aggregators again at once instead, and see how the nodes come back.
    #[arg(long, conflicts_with = "kill")]
    restart: bool,
    /// With mutual TLS, a certificate for each node, and sealed gossip.
    #[arg(long)]
    tls: bool,
    /// The folder that the aggregator keeps its history in, such as one that `starling-past` wrote; by default an empty one. Not
    /// with `--kill`.
    #[arg(long, conflicts_with = "kill")]
    state_dir: Option<PathBuf>,
    /// The aggregator's binary; by default the one beside this program.
    #[arg(long)]
    aggregator: Option<PathBuf>,
    /// A word for the JSON lines, such as the commit measured.
    #[arg(long, default_value = "here")]
    label: String,
    /// Where JSON lines are added.
    #[arg(long, default_value = "target/scale.jsonl")]
    json: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    raise_open_files()?;
    let path = arguments.aggregator.clone().unwrap_or_else(|| binary("starling-aggregator"));
    println!("{}, {} series a node, {} s each", path.display(), arguments.series, arguments.seconds);
    let templates = Shape::of(arguments.series).templates(TEMPLATES, 1);
    let mut json = OpenOptions::new().create(true).append(true).open(&arguments.json)?;
    let issuer = arguments.tls.then(|| Issuer::new("scale"));
    if let Some(issuer) = &issuer {
        issuer.issue("operator", READER);
        (1..=3).for_each(|id| issuer.issue("aggregator", &format!("agg-{id}")));
    }
    let head = if arguments.kill { failover::HEAD } else { cost::HEAD };
    println!("{}", if arguments.restart { restart::HEAD } else { head });
    for &nodes in &arguments.nodes {
        let seconds = Duration::from_secs(arguments.seconds);
        let issuer = issuer.as_ref();
        let (row, mut line) = if arguments.restart {
            restart::run(&path, issuer, nodes, &templates).await?
        } else if arguments.kill {
            failover::run(&path, issuer, nodes, &templates, seconds).await?
        } else {
            cost::run((&path, arguments.state_dir.as_deref()), issuer, nodes, &templates, seconds).await?
        };
        println!("{row}");
        line["tls"] = arguments.tls.into();
        line["label"] = arguments.label.clone().into();
        line["series"] = arguments.series.into();
        writeln!(json, "{line}")?;
    }
    Ok(())
}

/// Ten thousand connections need as many descriptors, here and in the aggregator, which inherits the limit.
fn raise_open_files() -> Result<(), rustix::io::Errno> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
}

/// Starts an aggregator that takes any number of nodes, in `state` or an empty folder, and waits until it is ready.
async fn aggregator(
    (path, state): (&Path, Option<&Path>),
    issuer: Option<&Issuer>,
    id: usize,
    seeds: &[&Program],
) -> Program {
    let joined: Vec<String> = seeds.iter().map(|seed| format!("\"{}\"", seed.address("grpc"))).collect();
    let joined = issuer.is_some().then(|| joined.join(","));
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{}\"", seed.address("gossip"))).collect();
    let settings = [
        format!("aggregator_id=agg-{id}"),
        "cluster=scale".into(),
        format!("seeds=[{}]", seeds.join(",")),
        "grpc_listen=127.0.0.1:0".into(),
        "gossip_listen=127.0.0.1:0".into(),
        "admin_listen=127.0.0.1:0".into(),
        state.map_or("state_dir={dir}/state".into(), |state| format!("state_dir={}", state.display())),
        "nodes_max=20000".into(),
        "requests.report=false".into(),
    ];
    let own = issuer.map(|issuer| issuer.settings(&format!("agg-{id}"))).unwrap_or_default();
    let join = joined.map(|list| format!("join=[{list}]"));
    let arguments =
        settings.into_iter().chain(own).chain(join).flat_map(|setting| ["--set".to_owned(), setting]).collect();
    let program = Program::launch(Launch { path: path.to_owned(), arguments, user: None, lines: None });
    eventually("the aggregator is ready", async || match http_get(program.address("admin"), "/ready").await {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    program
}

/// Three aggregators that know each other: membership is agreed on before the first node asks for its owner.
async fn three(path: &Path, issuer: Option<&Issuer>) -> Vec<Program> {
    let mut aggregators = Vec::new();
    for id in 1..=3 {
        let next = aggregator((path, None), issuer, id, &aggregators.iter().collect::<Vec<_>>()).await;
        aggregators.push(next);
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    aggregators
}

/// As who the views are read.
fn reader(issuer: Option<&Issuer>) -> Security {
    issuer.map_or_else(Security::plain, |issuer| issuer.security(READER, Role::Operator))
}

/// Starts the nodes; three zones and two roles as a usual cluster has them.
fn swarm(aggregators: &[Program], issuer: Option<&Issuer>, nodes: usize, templates: &[Arc<Template>]) -> Swarm {
    // Before the nodes come: making them takes longer than taking them.
    let proofs: Vec<_> = issuer
        .map(|issuer| (0..nodes).map(|i| issuer.proof(&format!("{PREFIX}-{i:05}"))).collect())
        .unwrap_or_default();
    let tls = issuer.is_some().then(|| -> Proofs { Box::new(move |i| Arc::clone(&proofs[i])) });
    Swarm::start(SwarmConfig {
        targets: aggregators.iter().map(|aggregator| aggregator.address("grpc")).collect(),
        nodes,
        prefix: PREFIX.into(),
        templates: templates.to_vec(),
        labels: Box::new(|i| {
            let role = ["web", "worker"][i % 2];
            [("zone", format!("z{}", i % 3)), ("role", role.into()), ("rack", format!("r{:03}", i / 20))]
                .map(|(key, value)| (key.to_owned(), value))
                .into()
        }),
        spread: SPREAD,
        ramp: RAMP,
        tls,
    })
}

/// The time in which the nodes come, and what follows until it is quiet.
fn ramp(nodes: usize) -> Duration {
    Duration::from_secs_f64(nodes as f64 / RAMP) + SETTLE
}
