//! Starting the server, making data, and clients.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use serde_json::Value;
use starling_dashboard::{Config, Service};
use starling_proto::{live, v1};
use starling_service::{Program as _, metrics::Registry};
pub(crate) use starling_testkit::LIMIT;
use starling_testkit::eventually;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest as _, http::HeaderValue},
};
use tokio_util::sync::CancellationToken;

/// The present second.
pub(crate) fn now() -> u32 {
    u32::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A second of the cluster with a number to recognise it by.
pub(crate) fn view(tick: u32, rps: f64) -> v1::ClusterView {
    v1::ClusterView {
        tick,
        cluster: "test".to_owned(),
        completeness: Some(v1::Completeness {
            nodes_reporting: Some(2),
            nodes_expected: Some(2),
            tick,
            age_ms: Some(0),
            copies: 1,
            skipped_cells: Some(0),
            ..v1::Completeness::default()
        }),
        sections: Some(v1::Sections {
            traffic: Some(v1::Traffic {
                requests_per_second: Some(rps),
                protocols: vec![v1::ProtocolTraffic {
                    protocol: "http1".to_owned(),
                    requests_per_second: Some(rps),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            connections: Some(v1::Connections {
                active: Some(5.0),
                total: Some(8.0),
                healthy: Some(8.0),
                warning: Some(0.0),
                error: Some(0.0),
                ..Default::default()
            }),
            cpu: Some(v1::Cpu {
                utilization_ratio: Some(0.5),
                load1: Some(1.0),
                cores: Some(8.0),
                ..Default::default()
            }),
            memory: Some(v1::Memory {
                total_bytes: Some(1_000.0),
                used_bytes: Some(400.0),
                available_bytes: Some(600.0),
                used_ratio: Some(0.4),
                ..Default::default()
            }),
            ..Default::default()
        }),
        charted: [("rps.total", rps), ("rps.http1", rps), ("cpu.total", 0.5)]
            .map(|(name, is)| (name.to_owned(), is))
            .into(),
        ..Default::default()
    }
}

/// The table of `count` nodes n0, n1, ...
pub(crate) fn table(tick: u32, count: usize) -> v1::NodeTable {
    let nodes = (0..count)
        .map(|i| v1::NodeRow {
            node_id: format!("n{i:04}"),
            state: v1::NodeState::Reporting.into(),
            last_tick: tick,
            labels: [("zone".to_owned(), if i % 2 == 0 { "a" } else { "b" }.to_owned())].into(),
            cpu_utilization_ratio: Some(f64::from(tick % 10) / 10.0),
            ..Default::default()
        })
        .collect();
    v1::NodeTable { tick, nodes, ..Default::default() }
}

/// A server on a free port; stopped when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Server {
    pub(crate) async fn start(aggregators: &[SocketAddr]) -> Self {
        Self::with(Config { aggregators: aggregators.iter().map(ToString::to_string).collect(), ..Config::default() })
            .await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..config };
        let service = Service::bind(config, Registry::default()).await.unwrap();
        let (address, shutdown) = (service.addresses()[0].1, CancellationToken::new());
        let task = Some(tokio::spawn(service.run(shutdown.clone())));
        Self { address, shutdown, task }
    }

    /// GET: status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// GET until `good`.
    pub(crate) async fn get_until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{path} is good"), async || match self.get(path).await {
            (200, answer) if good(&answer) => Ok(answer),
            (status, answer) => Err(format!("{status} {answer}")),
        })
        .await
    }

    /// Waits until the server says it is ready.
    pub(crate) async fn ready(&self) {
        eventually("the server is ready", async || match self.get("/ready").await {
            (200, _) => Ok(()),
            (status, answer) => Err(format!("{status} {answer}")),
        })
        .await;
    }

    /// Asks the server to stop.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits until it stopped.
    pub(crate) async fn stopped(&mut self) {
        self.stop();
        timeout(LIMIT, self.task.take().unwrap()).await.expect("the server stops in time").unwrap().unwrap();
    }

    /// A page.
    pub(crate) async fn page(&self) -> Page {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Page::over(stream, self.address).await
    }

    /// A JSON socket.
    pub(crate) async fn socket(&self, path: &str) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        client_async(format!("ws://{}{path}", self.address), stream).await.unwrap().0
    }

    /// What an upgrade with these headers is answered.
    pub(crate) async fn try_upgrade(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<(), u16> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        match client_async(request, stream).await {
            Ok(_) => Ok(()),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client of the live socket.
pub(crate) struct Page(pub(crate) WebSocketStream<TcpStream>);

impl Page {
    pub(crate) async fn over(stream: TcpStream, address: SocketAddr) -> Self {
        Self::with(stream, address, &[]).await
    }

    /// The same with further headers.
    pub(crate) async fn with(stream: TcpStream, address: SocketAddr, headers: &[(&'static str, &str)]) -> Self {
        let mut request = format!("ws://{address}/ws/v1/live").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("starling.live.v1"));
        request.headers_mut().insert("origin", HeaderValue::from_str(&format!("http://{address}")).unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Self(client_async(request, stream).await.unwrap().0)
    }

    pub(crate) async fn send(&mut self, body: live::client_message::Body) {
        let bytes = live::ClientMessage { body: Some(body) }.encode_to_vec();
        self.0.send(Message::Binary(bytes.into())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: u32, view: live::View, node_id: &str, resume_tick: u32) {
        let view = view.into();
        let subscribe = live::Subscribe { id, view, node_id: node_id.to_owned(), group: String::new(), resume_tick };
        self.send(live::client_message::Body::Subscribe(subscribe)).await;
    }

    /// The next message, which must be binary.
    pub(crate) async fn next(&mut self) -> live::server_message::Body {
        loop {
            let message =
                timeout(LIMIT, self.0.next()).await.expect("a message comes").expect("the socket is open").unwrap();
            match message {
                Message::Binary(bytes) => return live::ServerMessage::decode(bytes).unwrap().body.unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn snapshot(&mut self) -> live::Snapshot {
        loop {
            match self.next().await {
                live::server_message::Body::Snapshot(snapshot) => return snapshot,
                live::server_message::Body::Hello(_) | live::server_message::Body::Tick(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn tick(&mut self) -> live::Tick {
        loop {
            match self.next().await {
                live::server_message::Body::Tick(tick) => return tick,
                // A loss of the aggregator is reported beside the ticks.
                live::server_message::Body::Error(error) if error.code == "unavailable" => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Code of the close frame, after whatever else comes.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            match timeout(LIMIT, self.0.next()).await.expect("the socket ends") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

/// Value of a column of a history at a second.
pub(crate) fn charted(history: &live::History, name: &str, tick: u32) -> f32 {
    let column = history.columns.iter().find(|column| column.name == name).unwrap();
    column.values[(tick - history.first_tick) as usize]
}

/// Place of `rps.total` in a tick of an overview.
pub(crate) const RPS_TOTAL: usize = 5;
