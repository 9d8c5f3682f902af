//! What dashboards show: the page of each, open all the time, and what each answers by REST.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use starling_proto::{
    catalogue::PROTOCOLS,
    live::{ClientMessage, ServerMessage, Subscribe, View, client_message, server_message, state},
    v1::ClusterView,
};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

use super::reader::{Expects, Reads};
use crate::http_get;

/// A page without a message for so long is loaded again.
const SILENCE: Duration = Duration::from_secs(10);
/// Before it is loaded again.
const PAUSE: Duration = Duration::from_millis(500);

/// Requests a second by protocol, in the order of [`PROTOCOLS`]; `None`: not shown.
pub(super) type Rates = [Option<f64>; PROTOCOLS.len()];

/// What a view says.
pub(super) fn of_view(view: &ClusterView) -> Rates {
    let traffic = view.sections.as_ref().and_then(|sections| sections.traffic.as_ref());
    PROTOCOLS.map(|name| {
        let of = |traffic: &starling_proto::v1::Traffic| {
            let protocol = traffic.protocols.iter().find(|of| of.protocol == name)?;
            protocol.requests_per_second
        };
        traffic.and_then(of)
    })
}

/// What a dashboard answers by REST for each of these seconds.
///
/// # Errors
/// What it answered instead.
pub(super) async fn by_rest(at: SocketAddr, seconds: &RangeInclusive<u32>) -> Result<BTreeMap<u32, Answer>, String> {
    let (from, to) = (seconds.start(), seconds.end());
    let path = format!("/api/v1/series?name=traffic.requests&from={from}&to={to}&step=1&statistics=value");
    let (status, text) = http_get(at, &path).await?;
    if status != 200 {
        return Err(format!("{at} answers {status}: {text}"));
    }
    let answer: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("{at}: {error}"))?;
    let points = answer["points"].as_array().ok_or_else(|| format!("{at} answers no points: {text}"))?;
    let mut all = BTreeMap::new();
    for (i, point) in points.iter().enumerate() {
        let number = |name: &str| point[name].as_u64().and_then(|is| u32::try_from(is).ok());
        let tick = number("tick").ok_or_else(|| format!("{at}: a point without a second: {point}"))?;
        let rates = PROTOCOLS.map(|name| {
            let all = answer["series"].as_array()?;
            let series = all.iter().find(|series| series["attributes"]["protocol"] == name)?;
            series["statistics"][0]["values"][i].as_f64()
        });
        let nodes = number("nodesReporting").zip(number("nodesExpected"));
        all.insert(tick, Answer { rates, nodes });
    }
    Ok(all)
}

/// A second as REST shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) rates: Rates,
    /// Reporting and expected; `None` for a second without data.
    pub(super) nodes: Option<(u32, u32)>,
}

/// What one page has.
#[derive(Debug, Default)]
struct Page {
    columns: Vec<String>,
    /// By second: the values of `columns`.
    seconds: BTreeMap<u32, Vec<f32>>,
}

impl Page {
    fn rates(&self, tick: u32) -> Rates {
        let values = self.seconds.get(&tick);
        PROTOCOLS.map(|name| {
            let at = self.columns.iter().position(|column| *column == format!("rps.{name}"))?;
            values?.get(at).copied().filter(|value| !value.is_nan()).map(f64::from)
        })
    }

    fn newest(&self) -> u32 {
        self.seconds.keys().next_back().copied().unwrap_or(0)
    }
}

/// The pages of all dashboards. They are closed when this is dropped.
#[derive(Debug)]
pub(super) struct Pages {
    pages: Vec<(SocketAddr, Arc<Mutex<Page>>)>,
    _tasks: JoinSet<()>,
}

impl Pages {
    /// Opens the page of each; what a page claims wrongly goes to `reads`.
    pub(super) fn open(dashboards: Vec<SocketAddr>, expects: &Expects, reads: &Arc<Mutex<Reads>>) -> Self {
        let mut tasks = JoinSet::new();
        let mut open = |at| {
            let page = Arc::new(Mutex::new(Page::default()));
            let (kept, expects, reads) = (Arc::clone(&page), expects.clone(), Arc::clone(reads));
            tasks.spawn(async move {
                loop {
                    // Whatever ended it: it is loaded again and goes on from where it was.
                    let _ = follow(at, &kept, &expects, &reads).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
            (at, page)
        };
        Self { pages: dashboards.into_iter().map(&mut open).collect(), _tasks: tasks }
    }

    /// By dashboard: what its page shows for a second.
    pub(super) fn rates(&self, tick: u32) -> impl Iterator<Item = (SocketAddr, Rates)> {
        self.pages.iter().map(move |(at, page)| (*at, page.lock().unwrap_or_else(PoisonError::into_inner).rates(tick)))
    }
}

async fn follow(at: SocketAddr, page: &Mutex<Page>, expects: &Expects, reads: &Mutex<Reads>) -> Result<(), String> {
    let mut request = format!("ws://{at}/ws/v1/live").into_client_request().map_err(|error| error.to_string())?;
    request
        .headers_mut()
        .insert("sec-websocket-protocol", tungstenite::http::HeaderValue::from_static("starling.live.v1"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.map_err(|error| error.to_string())?;
    let resume_tick = page.lock().unwrap_or_else(PoisonError::into_inner).newest();
    let subscribe = Subscribe { id: 1, view: View::Overview.into(), resume_tick, ..Default::default() };
    let message = ClientMessage { body: Some(client_message::Body::Subscribe(subscribe)) }.encode_to_vec();
    socket.send(tungstenite::Message::Binary(message.into())).await.map_err(|error| error.to_string())?;
    loop {
        let message = tokio::time::timeout(SILENCE, socket.next()).await.map_err(|_| "silent")?.ok_or("closed")?;
        let tungstenite::Message::Binary(bytes) = message.map_err(|error| error.to_string())? else { continue };
        let message = ServerMessage::decode(bytes).map_err(|error| error.to_string())?;
        let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
        let (tick, state) = match message.body {
            Some(server_message::Body::Snapshot(snapshot)) => {
                let history = snapshot.history.unwrap_or_default();
                page.columns = history.columns.iter().map(|column| column.name.clone()).collect();
                page.seconds.clear();
                let length = history.columns.first().map_or(0, |column| column.values.len());
                for i in 0..length {
                    let values = history.columns.iter().map(|column| column.values[i]).collect();
                    page.seconds.insert(history.first_tick + i as u32, values);
                }
                (snapshot.tick, snapshot.state)
            }
            Some(server_message::Body::Tick(tick)) => {
                page.columns.extend(tick.new_columns);
                page.seconds.insert(tick.tick, tick.point);
                (tick.tick, tick.state)
            }
            Some(server_message::Body::GoingAway(_)) => return Ok(()),
            _ => continue,
        };
        if let Some(state::Body::Overview(overview)) = state.and_then(|state| state.body)
            && let Some(claim) = expects.wrong_completeness(tick, &overview.completeness.unwrap_or_default())
        {
            let finding = format!("second {tick} on the page of {at}: {claim}");
            reads.lock().unwrap_or_else(PoisonError::into_inner).claim(finding);
        }
    }
}
