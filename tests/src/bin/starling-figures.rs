//! The first figures of BENCHMARKS.md: what the daemon costs, how large frames are, and how old a second is when a
//! WebSocket client has it. Prints one table; run by `make bench` on release binaries.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use starling_node::{CollectConfig, Collectors};
use starling_proto::{
    frame::{Content, Encoder},
    live::{ClientMessage, ServerMessage, Subscribe, View, client_message, server_message},
};
use starling_tests::{Cluster, Program};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

/// Seconds that each figure is measured over.
const SECONDS: u64 = 30;
/// Seconds in which a cluster forms and its nodes find their owners; not measured.
const FORMING_SECONDS: u32 = 10;

#[tokio::main]
async fn main() {
    println!("| what | figure |\n|---|---|");
    frame_bytes().await;
    daemon_cost().await;
    for (aggregators, nodes) in [(1, 1), (3, 20)] {
        delay(aggregators, nodes).await;
    }
}

/// Encodes this host's real seconds as a connection would.
async fn frame_bytes() {
    let mut collectors = Collectors::new(&CollectConfig::default());
    let mut encoder = Encoder::new();
    let (mut last, mut bytes, mut samples, mut keyframe) = (Instant::now(), 0, 0, 0);
    for second in 0..=SECONDS as u32 {
        let content = Content {
            tick: 1 + second,
            samples: collectors.collect(last.elapsed(), Duration::from_secs(1)).samples,
            dropped: 0,
        };
        last = Instant::now();
        let frame = encoder.encode(&content, None, false);
        let size = frame.encoded_len();
        // The first second only sets baselines, and the first frame defines every series.
        match second {
            0 | 1 => keyframe += size,
            _ => (bytes, samples) = (bytes + size, samples + content.samples.len()),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let frames = SECONDS as usize - 1;
    println!("| series of this host | {} |", samples / frames);
    println!("| first frames of a connection, with all names | {keyframe} B |");
    println!("| frame, mean of {frames} s | {:.0} B |", bytes as f64 / frames as f64);
    println!("| bytes per sample | {:.2} |", bytes as f64 / samples as f64);
}

/// Processor and memory of a daemon at work.
async fn daemon_cost() {
    let cluster = Cluster::start(1).await;
    let node = Program::daemon("figures", &cluster.seeds(), &[]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (from, start) = (node.cost().0, Instant::now());
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let (to, resident) = node.cost();
    let share = (to - from).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    println!("| daemon at 1 s, share of one core over {SECONDS} s | {share:.2} % |");
    println!("| daemon, resident memory | {:.1} MiB |", resident as f64 / f64::from(1 << 20));
    let (_, resident) = cluster.aggregators[0].cost();
    println!("| aggregator of this one node, resident memory | {:.1} MiB |", resident as f64 / f64::from(1 << 20));
}

/// Milliseconds from the end of a second until a WebSocket client has it.
async fn delay(aggregators: usize, nodes: usize) {
    let (a, n) = (aggregators.to_string(), nodes.to_string());
    let all =
        Program::start("starling", &["up", "--free-ports", "--state", "{dir}", "--aggregators", &a, "--nodes", &n]);
    let mut request =
        format!("ws://{}/ws/v1/live", all.address("http")).into_client_request().expect("a valid address");
    request.headers_mut().insert("sec-websocket-protocol", "starling.live.v1".parse().expect("a header value"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("the dashboard takes the socket");
    let subscribe = Subscribe { id: 1, view: View::Overview.into(), ..Default::default() };
    let message = ClientMessage { body: Some(client_message::Body::Subscribe(subscribe)) }.encode_to_vec();
    socket.send(tungstenite::Message::Binary(message.into())).await.expect("the socket is open");
    let (mut delays, mut newest, mut seconds) = (Vec::new(), 0, 0);
    while delays.len() < SECONDS as usize {
        let message = socket.next().await.expect("the socket stays open").expect("a message");
        let tungstenite::Message::Binary(bytes) = message else { continue };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let message = ServerMessage::decode(bytes).expect("a server message");
        if let Some(server_message::Body::Tick(tick)) = message.body
            && tick.tick > newest
        {
            seconds += 1;
            if seconds > FORMING_SECONDS {
                delays.push((now - f64::from(tick.tick)) * 1000.0);
            }
            newest = tick.tick;
        }
    }
    delays.sort_by(f64::total_cmp);
    let at = |q: f64| delays[((delays.len() - 1) as f64 * q).round() as usize];
    println!(
        "| end of a second to WebSocket client, {aggregators} aggregators, {nodes} nodes, one process, {SECONDS} s: p50, p99, max | {:.0}, {:.0}, {:.0} ms |",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
