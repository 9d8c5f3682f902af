//! How many points of OTLP a daemon takes: starts one, sends to it at a rate, and says what arrived and what it cost.
//! Built for release to be worth something.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use starling_testkit::{FakeAggregator, Manners};
use starling_tests::{Program, Scrape};

/// Sends OTLP by gRPC to a daemon, as one SDK each per connection with cumulative sums and exponential histograms, and counts
/// what it took.
#[derive(Debug, Parser)]
struct Arguments {
    /// Points a second.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    rate: u64,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Series, which is the points of one request; the daemon takes 500 of its default.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=500))]
    series: u64,
    /// Of a hundred series, those that are histograms.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100))]
    histograms: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let acks = Manners { ack: true, ..Manners::default() };
    let aggregator = FakeAggregator::start("agg-1", acks).await;
    let node = Program::daemon("loaded", &[aggregator.address.to_string()], &[]);
    aggregator.until("the node", |seen| !seen.contents.is_empty()).await;
    let mut client = MetricsServiceClient::connect(node.url("otlp")).await?;

    let requests = (arguments.rate * arguments.seconds).div_ceil(arguments.series);
    let start = nanoseconds();
    let (before, began) = (node.cost().0, Instant::now());
    let mut rejected = 0;
    for number in 1..=requests {
        let answer = client.export(request(arguments, start, number)).await?.into_inner();
        rejected += answer.partial_success.map_or(0, |partial| partial.rejected_data_points);
        let due = Duration::from_secs(arguments.seconds).mul_f64(number as f64 / requests as f64);
        tokio::time::sleep_until((began + due).into()).await;
    }
    let took = began.elapsed();
    let cost = node.cost().0.saturating_sub(before);
    let metrics = Scrape::of(node.address("admin")).await?;
    println!("sent {} points in {requests} requests in {:.2} s", requests * arguments.series, took.as_secs_f64());
    println!("cost {:.2} s of CPU, {:.3} of a core", cost.as_secs_f64(), cost.as_secs_f64() / took.as_secs_f64());
    println!("taken {} rejected {rejected}", metrics.sum("starling_node_otlp_points_total"));
    Ok(())
}

fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// The `number`-th export: every sum and every histogram has grown since the one before.
fn request(arguments: &Arguments, start: u64, number: u64) -> ExportMetricsServiceRequest {
    let now = nanoseconds();
    let metrics = (0..arguments.series).map(|series| {
        let attributes = vec![text("place", &format!("{}", series % 20)), text("kind", "load")];
        let is_histogram = series % 100 < arguments.histograms;
        let data = if is_histogram {
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![ExponentialHistogramDataPoint {
                    attributes,
                    start_time_unix_nano: start,
                    time_unix_nano: now,
                    count: 40 * number,
                    sum: Some(number as f64),
                    scale: 4,
                    positive: Some(Buckets { offset: -64, bucket_counts: vec![number; 40] }),
                    ..ExponentialHistogramDataPoint::default()
                }],
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
            })
        } else {
            Data::Sum(Sum {
                data_points: vec![NumberDataPoint {
                    attributes,
                    start_time_unix_nano: start,
                    time_unix_nano: now,
                    value: Some(number_data_point::Value::AsInt(i64::try_from(3 * number).unwrap_or(i64::MAX))),
                    ..NumberDataPoint::default()
                }],
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            })
        };
        Metric {
            name: format!("load.{series}"),
            unit: if is_histogram { "s".to_owned() } else { String::new() },
            data: Some(data),
            ..Metric::default()
        }
    });
    let scope_metrics = vec![ScopeMetrics { metrics: metrics.collect(), ..ScopeMetrics::default() }];
    let resource = Some(Resource { attributes: vec![text("service.name", "load")], ..Resource::default() });
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}
