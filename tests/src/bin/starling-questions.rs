//! How long questions over time take at a running aggregator, each beside the same one to engines of the Prometheus kind that
//! hold the same samples. Prints one table: the first answer apart from the others, which find everything warm.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use clap::Parser;
use starling_proto::v1::{
    self, DifferRequest, GetDistributionRequest, GetHeatmapRequest, QueryPromqlRequest, QueryRangeRequest, Scope,
};
use starling_service::grpc::query_client::QueryClient;
use tonic::transport::Channel;

/// Asks, and prints how long the answers took.
#[derive(Debug, Parser)]
struct Arguments {
    /// An aggregator, such as `http://127.0.0.1:7400`.
    #[arg(long)]
    aggregator: String,
    /// An engine beside it, as `name=http://host:port`; may be given more than once.
    #[arg(long = "beside", value_parser = beside)]
    beside: Vec<(String, String)>,
    /// The node that is asked for.
    #[arg(long, default_value = "scale-00007")]
    node: String,
    /// Only questions whose name holds this text.
    #[arg(long, default_value = "")]
    only: String,
    /// Answers of each question; the first one counts apart.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
}

fn beside(text: &str) -> Result<(String, String), String> {
    let (name, url) = text.split_once('=').ok_or("expected name=url")?;
    Ok((name.to_owned(), url.trim_end_matches('/').to_owned()))
}

/// What is asked.
struct Question {
    what: &'static str,
    ours: Ours,
    /// The same in PromQL over the last `seconds` by `step`; a step of 0 asks for one moment.
    promql: String,
    seconds: u32,
    step: u32,
}

/// How we are asked for it.
enum Ours {
    Range(QueryRangeRequest),
    Distribution(GetDistributionRequest),
    Heatmap(GetHeatmapRequest),
    Differ(DifferRequest),
    Promql,
}

const HOUR: u32 = 3_600;

fn questions(node: &str, newest: u32) -> Vec<Question> {
    let p99 = |seconds: u32, step_seconds| QueryRangeRequest {
        name: "traffic.duration".into(),
        total: true,
        statistics: vec!["p99".into()],
        from_tick: newest - seconds + 1,
        to_tick: newest,
        step_seconds,
        ..Default::default()
    };
    let p99_by =
        |window: &str| format!("histogram_quantile(0.99, sum(rate(cluster:traffic_duration_seconds[{window}])))");
    vec![
        Question {
            what: "one series of a node, 1 h by 1 s",
            ours: Ours::Range(QueryRangeRequest {
                scope: Some(Scope { node_id: node.into(), ..Default::default() }),
                name: "system.cpu.utilization".into(),
                statistics: vec!["mean".into()],
                from_tick: newest - HOUR + 1,
                to_tick: newest,
                step_seconds: 1,
                max_points: 11_000,
                ..Default::default()
            }),
            promql: format!("system_cpu_utilization_ratio{{node=\"{node}\"}}"),
            seconds: HOUR,
            step: 1,
        },
        Question {
            what: "p99 of the cluster over the last minute",
            ours: Ours::Distribution(GetDistributionRequest {
                from_tick: newest - 59,
                to_tick: newest,
                quantiles: vec![0.99],
                ..Default::default()
            }),
            promql: p99_by("1m"),
            seconds: 0,
            step: 0,
        },
        Question {
            what: "p99 of the cluster, 1 h by 15 s",
            ours: Ours::Range(p99(HOUR, 15)),
            promql: p99_by("15s"),
            seconds: HOUR,
            step: 15,
        },
        Question {
            what: "p99 of the cluster, 7 d by 20 min",
            ours: Ours::Range(p99(7 * 24 * HOUR, 1_200)),
            promql: p99_by("20m"),
            seconds: 7 * 24 * HOUR,
            step: 1_200,
        },
        Question {
            what: "a series of 200 nodes, 1 h by 15 s",
            ours: Ours::Promql,
            promql: "avg_over_time(system_cpu_utilization_ratio{node=~\"scale-00[01]..\"}[15s])".into(),
            seconds: HOUR,
            step: 15,
        },
        Question {
            what: "heatmap of latency, 24 h",
            ours: Ours::Heatmap(GetHeatmapRequest {
                from_tick: newest - 24 * HOUR + 1,
                to_tick: newest,
                ..Default::default()
            }),
            promql: "sum(increase(cluster:traffic_duration_seconds[12m]))".into(),
            seconds: 24 * HOUR,
            step: 720,
        },
        Question {
            what: "the ten busiest nodes of the last minute",
            ours: Ours::Range(QueryRangeRequest {
                scope: Some(Scope { each_node: true, ..Default::default() }),
                name: "system.cpu.utilization".into(),
                top: 10,
                from_tick: newest - 59,
                to_tick: newest,
                step_seconds: 60,
                ..Default::default()
            }),
            promql: "topk(10, avg_over_time(system_cpu_utilization_ratio[1m]))".into(),
            seconds: 0,
            step: 0,
        },
        Question {
            what: "what differs: the slowest hundredth of a minute",
            ours: Ours::Differ(DifferRequest::default()),
            // One label of many, without its share, counts or chance.
            promql: "topk(20, sum by (node) (increase(traffic_duration_seconds_count[1m])))".into(),
            seconds: 0,
            step: 0,
        },
        Question {
            what: "topk(10, cpu) now",
            ours: Ours::Promql,
            promql: "topk(10, system_cpu_utilization_ratio)".into(),
            seconds: 0,
            step: 0,
        },
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut client = QueryClient::connect(arguments.aggregator.clone()).await?.max_decoding_message_size(64 << 20);
    let newest = client.get_cluster(v1::GetClusterRequest::default()).await?.into_inner().tick;
    let http = reqwest::Client::new();
    print!("| question | answer holds | first, ms | median, p95 of {}, ms |", arguments.rounds - 1);
    arguments.beside.iter().for_each(|(name, _)| print!(" {name}: holds | first, ms | median, p95, ms |"));
    println!("\n|---|---|---|---|{}", "---|---|---|".repeat(arguments.beside.len()));
    let asked = |question: &Question| question.what.contains(&arguments.only);
    for question in questions(&arguments.node, newest).into_iter().filter(asked) {
        let mut row = format!("| {} |", question.what);
        let mut times = Times::default();
        for _ in 0..arguments.rounds {
            let start = Instant::now();
            let held = ask(&mut client, &question, newest).await?;
            times.add(start.elapsed(), held);
        }
        row += &times.row();
        for (name, url) in &arguments.beside {
            let mut times = Times::default();
            for _ in 0..arguments.rounds {
                let start = Instant::now();
                let held =
                    ask_beside(&http, url, &question, newest).await.map_err(|error| format!("{name}: {error}"))?;
                times.add(start.elapsed(), held);
            }
            row += &times.row();
        }
        println!("{row}");
    }
    Ok(())
}

/// Asks us; gives what the answer holds.
async fn ask(client: &mut QueryClient<Channel>, question: &Question, newest: u32) -> Result<String, tonic::Status> {
    Ok(match &question.ours {
        Ours::Range(request) => {
            let answer = client.query_range(request.clone()).await?.into_inner();
            let whole = answer.points.iter().filter(|point| point.seconds.is_some_and(|seconds| seconds > 0)).count();
            format!("{} x {whole} points{}", answer.series.len(), missing(answer.missing.len()))
        }
        Ours::Distribution(request) => {
            let answer = client.get_distribution(request.clone()).await?.into_inner();
            format!("{} values", answer.count.unwrap_or(0.0))
        }
        Ours::Heatmap(request) => {
            let answer = client.get_heatmap(request.clone()).await?.into_inner();
            let whole =
                answer.columns.iter().filter(|column| column.seconds.is_some_and(|seconds| seconds > 0)).count();
            format!("{} x {whole} cells{}", answer.rows.len(), missing(answer.missing.len()))
        }
        Ours::Differ(request) => {
            let answer = client.differ(request.clone()).await?.into_inner();
            format!("{} of {} values, {} tested", answer.inside(), answer.inside() + answer.rest(), answer.tested)
        }
        Ours::Promql => {
            let (end_ms, step_ms) = (i64::from(newest) * 1_000, i64::from(question.step) * 1_000);
            let start_ms = end_ms - i64::from(question.seconds) * 1_000;
            let request =
                QueryPromqlRequest { query: question.promql.clone(), start_ms, end_ms, step_ms, ..Default::default() };
            let answer = client.query_promql(request).await?.into_inner();
            format!("{} series{}", answer.series.len(), missing(answer.warnings.len()))
        }
    })
}

fn missing(parts: usize) -> String {
    if parts == 0 { String::new() } else { format!(", {parts} missing") }
}

/// Asks an engine by its HTTP API; gives what the answer holds.
async fn ask_beside(
    http: &reqwest::Client,
    url: &str,
    question: &Question,
    newest: u32,
) -> Result<String, Box<dyn Error>> {
    let (end, query) = (newest.to_string(), question.promql.as_str());
    let request = if question.step == 0 {
        http.get(format!("{url}/api/v1/query")).query(&[("query", query), ("time", &end)])
    } else {
        let (start, step) = ((newest - question.seconds).to_string(), question.step.to_string());
        http.get(format!("{url}/api/v1/query_range")).query(&[
            ("query", query),
            ("start", &start),
            ("end", &end),
            ("step", &step),
        ])
    };
    let body = request.send().await?.text().await?;
    let answer: serde_json::Value = serde_json::from_str(&body)?;
    let Some(result) = answer["data"]["result"].as_array() else { return Err(body.into()) };
    Ok(format!("{} series", result.len()))
}

/// How long the answers of one question took.
#[derive(Default)]
struct Times {
    held: String,
    all: Vec<Duration>,
}

impl Times {
    fn add(&mut self, time: Duration, held: String) {
        self.all.push(time);
        self.held = held;
    }

    fn row(mut self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let first = self.all.remove(0);
        self.all.sort_unstable();
        let at = |q: f64| {
            self.all.get(((self.all.len().max(1) - 1) as f64 * q).round() as usize).copied().unwrap_or_default()
        };
        format!(" {} | {:.1} | {:.1}, {:.1} |", self.held, ms(first), ms(at(0.5)), ms(at(0.95)))
    }
}
