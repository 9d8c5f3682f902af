//! Services and routes over the cluster: two hosts, two services by two protocols, one aggregator and its answers.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use starling_proto::v1::{GetSeriesRequest, ListServicesRequest, QueryPromqlRequest, ServiceList};
use starling_tests::{Cluster, Oracle, Program, eventually};
use tokio::net::UdpSocket;

/// What one route is sent: requests of each status, all of one duration.
struct Sent {
    service: &'static str,
    route: &'static str,
    status: u16,
    millis: f64,
    requests: u64,
}

const fn sent(service: &'static str, route: &'static str, status: u16, millis: f64, requests: u64) -> Sent {
    Sent { service, route, status, millis, requests }
}

/// By DogStatsD, to the first and to the second host. The second one is slow, and has one percent of the requests and a
/// half of a cart.
const BY_STATSD: [&[Sent]; 2] = [
    &[sent("cart", "/items/{id}", 200, 10.0, 490), sent("cart", "/", 200, 10.0, 300), sent("cart", "/", 503, 10.0, 8)],
    &[sent("cart", "/items/{id}", 200, 2_000.0, 10)],
];
/// By OTLP, to the first host: two of these routes have a series of their own, as many as one service may have.
const BY_OTLP: &[Sent] = &[
    sent("shop", "/a", 200, 300.0, 40),
    sent("shop", "/b", 404, 300.0, 30),
    sent("shop", "/c", 200, 300.0, 20),
    sent("shop", "/d", 500, 300.0, 10),
];

async fn by_statsd(node: &Program, all: &[Sent]) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for Sent { service, route, status, millis, requests } in all {
        for _ in 0..*requests {
            let line =
                format!("gunicorn.request.duration:{millis}|ms|#service:{service},route:{route},status:{status}");
            socket.send_to(line.as_bytes(), node.address("statsd")).await.unwrap();
        }
    }
}

async fn by_otlp(node: &Program, all: &[Sent]) {
    let now = u64::from(Oracle::now()) * 1_000_000_000;
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let point = |Sent { route, status, millis, requests, .. }: &Sent| {
        json!({
            "startTimeUnixNano": (now - 1_000_000_000).to_string(), "timeUnixNano": now.to_string(),
            "count": requests.to_string(), "sum": *requests as f64 * millis / 1e3,
            "explicitBounds": [0.1, 0.4], "bucketCounts": ["0", requests.to_string(), "0"],
            "attributes": [text("http.route", route), {"key": "http.response.status_code", "value": {"intValue": status.to_string()}}],
        })
    };
    let metric = json!({"name": "http.server.request.duration", "unit": "s",
        "histogram": {"aggregationTemporality": 1, "dataPoints": all.iter().map(point).collect::<Vec<_>>()}});
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": [text("service.name", all[0].service)]},
        "scopeMetrics": [{"metrics": [metric]}],
    }]});
    let url = format!("{}/v1/metrics", node.url("otlp_http"));
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    let answer: Json = answer.error_for_status().unwrap().json().await.unwrap();
    assert!(answer["partialSuccess"]["rejectedDataPoints"].is_null(), "{answer}");
}

/// Requests by service, route and status over the whole window of an answer.
fn counted(list: &ServiceList) -> BTreeMap<(String, String, String), u64> {
    let seconds = f64::from(list.seconds());
    let mut counted = BTreeMap::new();
    for service in &list.services {
        for route in &service.routes {
            for (status, per_second) in &route.requests_per_second_by_status {
                let key = (service.service.clone(), route.route.clone(), status.clone());
                counted.insert(key, (per_second * seconds).round() as u64);
            }
        }
    }
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_and_routes_add_up_over_the_cluster() {
    let cluster = Cluster::start(1).await;
    let daemon = |name: &str| Program::daemon(name, &cluster.seeds(), &["routes_max=4"]);
    let nodes = [daemon("host-0"), daemon("host-1")];
    eventually("both nodes report", async || match cluster.view(0, 0).await {
        Ok(view) if view.completeness.as_ref().is_some_and(|c| c.nodes_reporting() == 2) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let send = async || {
        by_otlp(&nodes[0], BY_OTLP).await;
        for (node, all) in nodes.iter().zip(BY_STATSD) {
            by_statsd(node, all).await;
        }
    };
    send().await;

    let wanted: BTreeMap<_, _> = [
        (("cart", "/items/{id}", "2xx"), 500),
        (("cart", "/", "2xx"), 300),
        (("cart", "/", "5xx"), 8),
        (("shop", "/a", "2xx"), 40),
        (("shop", "/b", "4xx"), 30),
        (("shop", "_other", "2xx"), 20),
        (("shop", "_other", "5xx"), 10),
    ]
    .map(|((service, route, status), n)| ((service.to_owned(), route.to_owned(), status.to_owned()), n))
    .into();
    let client = cluster.query(0).await;
    let request = ListServicesRequest { window_seconds: 120, ..Default::default() };
    let list = eventually("every request is in one route", async || {
        let list = client.clone().list_services(request.clone()).await.map_err(|status| status.to_string())?;
        let list = list.into_inner();
        if counted(&list) == wanted { Ok(list) } else { Err(format!("{:?}", counted(&list))) }
    })
    .await;

    // The percentiles are those of all requests together: the mean of the hosts' own would be a second.
    let cart = &list.services[0];
    let items = &cart.routes[0];
    assert_eq!((cart.service.as_str(), items.route.as_str(), items.nodes()), ("cart", "/items/{id}", 2));
    let latency = items.latency.as_ref().unwrap();
    assert!((latency.p95_micros - 10_000.0).abs() < 50.0, "{latency:?}");
    assert!((latency.p99_micros - 2e6).abs() < 1e4, "{latency:?}");
    assert_eq!((latency.count, latency.max_micros), (500.0, 2e6));
    let all = list.all.as_ref().unwrap();
    let per_second = |n: f64| n / f64::from(list.seconds());
    assert_eq!((all.requests_per_second(), all.errors_per_second()), (per_second(908.0), per_second(18.0)));

    // The same seconds by series: services and protocols are the same requests.
    let sum = async |name: &str| {
        let request = GetSeriesRequest {
            name: name.to_owned(),
            total: true,
            from_tick: list.from_tick,
            to_tick: list.to_tick,
            ..Default::default()
        };
        let answer = client.clone().get_series(request).await.unwrap().into_inner();
        answer.series[0].statistics[0].values.iter().filter(|value| value.is_finite()).sum::<f64>()
    };
    assert_eq!((sum("traffic.requests").await, sum("traffic.service.requests").await), (908.0, 908.0));
    assert_eq!((sum("traffic.errors").await, sum("traffic.service.errors").await), (18.0, 18.0));
    assert_eq!((sum("traffic.duration").await, sum("traffic.service.duration").await), (908.0, 908.0));

    // And in PromQL, for which a series grows from its first second on.
    send().await;
    let promql = async |query: &str| {
        let at = i64::from(cluster.view(0, 0).await?.tick) * 1_000;
        let request = QueryPromqlRequest { query: query.to_owned(), start_ms: at, end_ms: at, ..Default::default() };
        let answer = client.clone().query_promql(request).await.map_err(|status| status.to_string())?;
        let series = answer.into_inner().series.into_iter().map(|one| {
            let labels: Vec<String> = one.labels.into_values().collect();
            (labels.join(","), one.values.first().copied().unwrap_or(f64::NAN))
        });
        Ok::<_, String>(series.collect::<BTreeMap<_, _>>())
    };
    eventually("PromQL says the same", async || {
        let rates = promql("sum by (service) (rate(cluster:traffic_service_requests_total[2m]))").await?;
        let of = |service: &str| rates.get(service).copied().unwrap_or(f64::NAN);
        let slowest =
            "histogram_quantile(0.99, sum(rate(cluster:traffic_service_duration_seconds{route=~\"/items.*\"}[2m])))";
        let slowest = promql(slowest).await?.get("").copied().unwrap_or(f64::NAN);
        let right = rates.len() == 2 && (of("cart") / of("shop") - 8.08).abs() < 0.01 && (slowest - 2.0).abs() < 0.02;
        if right { Ok(()) } else { Err(format!("{rates:?}, {slowest}")) }
    })
    .await;

    let metrics = reqwest::get(format!("{}/metrics", nodes[0].url("admin"))).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("starling_node_requests_in_other_total 60\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promoted_metrics_of_applications_add_up_over_the_cluster() {
    let cluster = Cluster::start(1).await;
    let promote = "promote=[\"shop.orders by currency\", \"queue.*\", \"shop.size\"]";
    let daemon = |name: &str| Program::daemon(name, &cluster.seeds(), &[promote]);
    let nodes = [daemon("host-0"), daemon("host-1")];
    let lines = [
        "shop.orders:3|c|#currency:eur,user:7\nshop.orders:2.5|c|#currency:eur,user:8\nshop.orders:1|c|#currency:usd\n\
         queue.depth:5|g|#queue:a\nqueue.depth:2|g|#queue:b\nshop.size:100|h|@0.1\nlocal:4|c",
        "shop.orders:4|c|#currency:eur\nqueue.depth:9.5|g\nshop.size:9000|h\nlocal:4|c",
    ];
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for (node, lines) in nodes.iter().zip(lines) {
        socket.send_to(lines.as_bytes(), node.address("statsd")).await.unwrap();
    }
    let client = cluster.query(0).await;
    let from_tick = Oracle::now() - 10;
    let read = async |name: &str, statistics: &[&str]| {
        let statistics = statistics.iter().map(|&one| one.to_owned()).collect();
        let request = GetSeriesRequest { name: name.to_owned(), statistics, from_tick, ..Default::default() };
        let answer = client.clone().get_series(request).await.map_err(|status| status.to_string())?.into_inner();
        Ok::<_, String>(answer.series)
    };
    eventually("they add up", async || {
        let known = |values: &[f64]| values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<_>>();
        let orders = read("shop.orders", &[]).await?;
        let sums = orders.iter().map(|series| {
            assert!(series.scope == "cluster" && series.attributes.len() == 1, "{series:?}");
            (series.attributes["currency"].as_str(), known(&series.statistics[0].values).iter().sum())
        });
        let sums: BTreeMap<_, f64> = sums.collect();
        let depth = read("queue.depth", &["value", "min", "max"]).await?;
        let newest = depth.first().map_or_else(Vec::new, |series| {
            let last = |of: &starling_proto::v1::StatisticValues| known(&of.values).last().copied();
            series.statistics.iter().filter_map(last).collect()
        });
        let sizes = read("shop.size", &["count", "max"]).await?;
        let counted: Vec<f64> = sizes.iter().map(|series| known(&series.statistics[0].values).iter().sum()).collect();
        let local = read("local", &[]).await?.len();
        let is = (sums, newest, counted, local);
        if is == ([("eur", 9.5), ("usd", 1.0)].into(), vec![16.5, 7.0, 9.5], vec![11.0], 0) {
            Ok(())
        } else {
            Err(format!("{is:?}"))
        }
    })
    .await;
}
