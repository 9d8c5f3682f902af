//! What engines hold, sent as Starling sends it; and engines that fail.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use starling_history::{Cell, SeriesCells, Subject, Tier};
use starling_out::write::{Outlet, OutletSettings, Protocol};
use starling_proto::series::Series;
use starling_service::http_client::{Access, HttpClient};
use starling_testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::codegen::http::header;

/// Sends by the writer of Starling what each of `subjects` had in the seconds of `ticks`: `values` says its series; at `restart`
/// the process that sends began again. Every series has the label `replica` that was added on the way.
pub(crate) async fn write(
    url: &str,
    subjects: &[Subject],
    ticks: RangeInclusive<u32>,
    restart: u32,
    values: impl Fn(u32) -> Vec<(Series, Cell)>,
) {
    let client = HttpClient::new(Access { url: url.to_owned(), ..Access::default() }).unwrap();
    let settings = OutletSettings {
        external: vec![("replica".to_owned(), "x".to_owned())],
        batch_samples: u64::MAX,
        series_max: 1_000,
        ..OutletSettings::default()
    };
    let mut outlet = Outlet::new(settings.clone(), BTreeMap::new());
    let of_node = [("zone".to_owned(), "a".to_owned())];
    // All series together, some minutes at a time: an engine takes nothing that is much older than the newest.
    let ticks: Vec<u32> = ticks.collect();
    for some in ticks.chunk_by(|before, tick| tick % 300 != 0 && *tick != restart && before + 1 == *tick) {
        if some[0] == restart {
            outlet = Outlet::new(settings.clone(), BTreeMap::new());
        }
        for subject in subjects {
            let mut by_series: BTreeMap<String, SeriesCells> = BTreeMap::new();
            for tick in some {
                for (series, cell) in values(*tick) {
                    let new = || SeriesCells {
                        subject: subject.clone(),
                        series: series.clone(),
                        derived: false,
                        tier: Tier::Second,
                        cells: Vec::new(),
                    };
                    by_series.entry(format!("{series:?}")).or_insert_with(new).cells.push((*tick, cell));
                }
            }
            let cells: Vec<SeriesCells> = by_series.into_values().collect();
            let labels = if subject.is_merged() { &[][..] } else { &of_node };
            outlet.take(subject, labels, &cells, some[some.len() - 1]);
        }
        for batch in outlet.batches(some[some.len() - 1]) {
            let body = Bytes::from(snappy(&batch.body(Protocol::V1)));
            let headers = [
                (header::CONTENT_ENCODING, "snappy"),
                (header::CONTENT_TYPE, Protocol::V1.content_type()),
                (header::HeaderName::from_static("x-prometheus-remote-write-version"), Protocol::V1.version()),
            ];
            let answer = client.post("/api/v1/write", &headers, body, Duration::from_secs(20), 10_000).await.unwrap();
            assert_eq!(answer.failure(), None);
        }
    }
    let last = format!("/api/v1/query?query=count(%7Breplica=%22x%22%7D)&time={}&nocache=1", ticks[ticks.len() - 1]);
    eventually("what was written to be there", async || {
        let answer = client.get(&last, Duration::from_secs(5), 100_000).await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if text.contains("\"value\"") { Ok(()) } else { Err(text) }
    })
    .await;
}

/// The bytes as they are, in the block format (google/snappy:format_description.txt): a length and literals.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1_000 + 16);
    let mut length = bytes.len();
    while length >= 128 {
        out.push(length as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    for chunk in bytes.chunks(65_536) {
        out.push(61 << 2);
        out.extend(u16::try_from(chunk.len() - 1).unwrap().to_le_bytes());
        out.extend(chunk);
    }
    out
}

/// An engine that answers every request with the same bytes, or never.
pub(crate) struct FalseEngine {
    pub(crate) url: String,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FalseEngine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FalseEngine {
    /// With a status line, further header lines and a body; `None` never answers.
    pub(crate) async fn start(answer: Option<(&str, &str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let bytes = answer.map(|(status, headers, body)| {
            let head =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
            Arc::new([head.into_bytes(), body].concat())
        });
        let counted = requests.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let (bytes, counted) = (bytes.clone(), counted.clone());
                tokio::spawn(async move {
                    let mut asked = vec![0; 65_536];
                    if !matches!(connection.read(&mut asked).await, Ok(n) if n > 0) {
                        return;
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                    match bytes {
                        Some(bytes) => {
                            let _ = connection.write_all(&bytes).await;
                            // What is still being sent is read, so that the answer is not lost with the connection.
                            let _ = tokio::time::timeout(Duration::from_millis(200), connection.read(&mut asked)).await;
                        }
                        None => std::future::pending().await,
                    }
                });
            }
        });
        Self { url, requests, task }
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}
