//! What is asked over the network: names, aggregators, and the programs of this host.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use starling_proto::v1::{ListAggregatorsRequest, ListAggregatorsResponse};
use starling_service::{
    channel::Dial,
    clock,
    credentials::Security,
    grpc::cluster_client::ClusterClient,
    http_client::{Access, HttpClient},
    identity::Role,
};
use tokio::time::{Instant, timeout};
use tonic::{Response, metadata::MetadataMap, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::doctor::{
    facts::{Answer, ClockDifference, Dialled, Name, Said},
    installed::Kind,
};

/// No check takes longer.
pub(crate) const WITHIN: Duration = Duration::from_secs(5);
/// A host that does not answer a connection attempt within this time is not reached; the rest is for questions.
const DIAL: Dial = Dial::within(Duration::from_secs(3));
/// The answer of `/ready`, and of `/metrics`.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Resolves "host:port".
pub(crate) async fn resolve(text: String) -> Name {
    let began = Instant::now();
    let found = match timeout(WITHIN, tokio::net::lookup_host(&text)).await {
        Err(_) => Err(format!("was not resolved within {} s", WITHIN.as_secs())),
        Ok(Err(error)) => Err(format!("is not resolved: {error}")),
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            if addresses.is_empty() { Err("resolves to no address".to_owned()) } else { Ok(addresses) }
        }
    };
    Name { text, found, took: began.elapsed() }
}

/// Dials an aggregator in the name of `by` and asks for its health, its clock, and the cluster as it sees it.
pub(crate) async fn dial(by: String, security: Security, address: String) -> Dialled {
    let began = Instant::now();
    let mut answer = Answer::default();
    // A node may not ask who is there: each question of this kind would be a refused call in the log of an aggregator.
    let lists = security.identity().is_none_or(|own| own.role != Role::Node);
    let reached = timeout(WITHIN, async {
        let channel = DIAL.connect(&security, &address).await?;
        ask(channel, lists, &mut answer).await;
        Ok(())
    });
    let answer = match reached.await {
        Ok(Err(error)) => Err(error),
        // What came before the time was over counts.
        Ok(Ok(())) => Ok(answer),
        Err(_) if answer.serving.is_some() => Ok(answer),
        Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
    };
    Dialled { by, address, answer, took: began.elapsed() }
}

async fn ask(channel: Channel, lists: bool, answer: &mut Answer) {
    let before = clock::unix_ms();
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    let after = clock::unix_ms();
    answer.serving = Some(match health {
        Ok(response) => {
            answer.clock = by_date(response.metadata(), before, after);
            Ok(response.into_inner().status() == ServingStatus::Serving)
        }
        Err(status) => Err(status.message().to_owned()),
    });
    if !lists {
        return;
    }
    let before = clock::unix_ms();
    // Who may not ask is not answered; one that catches up says so by its health.
    let list = ClusterClient::new(channel).list_aggregators(ListAggregatorsRequest {}).await;
    let Ok(list) = list.map(Response::into_inner) else { return };
    answer.clock = by_field(&list, before, clock::unix_ms()).or(answer.clock);
    answer.cluster = Some(list);
}

fn signed(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// The time was taken somewhere between question and answer.
fn by_field(list: &ListAggregatorsResponse, before: u64, after: u64) -> Option<ClockDifference> {
    let theirs = Some(signed(list.clock_unix_ms)).filter(|&theirs| theirs > 0)?;
    Some(ClockDifference { low_ms: theirs - signed(after), high_ms: theirs - signed(before) })
}

/// The header has whole seconds, and stands for the second that begins with it.
fn by_date(metadata: &MetadataMap, before: u64, after: u64) -> Option<ClockDifference> {
    let date = httpdate_seconds(metadata.get("date")?.to_str().ok()?)?;
    let theirs = signed(date.checked_mul(1_000)?);
    Some(ClockDifference { low_ms: theirs - signed(after), high_ms: theirs + 1_000 - signed(before) })
}

/// Unix seconds of a date as HTTP has it, such as "Sun, 06 Nov 1994 08:49:37 GMT".
fn httpdate_seconds(text: &str) -> Option<u64> {
    let time: SystemTime = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().into();
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// What a program of this host says at its admin port.
pub(crate) async fn said(kind: Kind, admin: SocketAddr) -> Said {
    // A wildcard listens on loopback too.
    let address = match (admin.ip().is_unspecified(), admin) {
        (false, admin) => admin,
        (true, SocketAddr::V4(_)) => SocketAddr::from(([127, 0, 0, 1], admin.port())),
        (true, SocketAddr::V6(_)) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, admin.port())),
    };
    let client = HttpClient::new(Access { url: format!("http://{address}"), ..Access::default() });
    let client = match client {
        Ok(client) => client,
        Err(error) => return Said { kind, address, ready: Err(error), version: None },
    };
    let (ready, metrics) =
        tokio::join!(client.get("/ready", WITHIN, ANSWER_BYTES_MAX), client.get("/metrics", WITHIN, ANSWER_BYTES_MAX));
    let ready = ready.map_err(|error| error.to_string());
    let ready = ready.map(|answer| (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).trim().to_owned()));
    let version = metrics.ok().and_then(|answer| version(&String::from_utf8_lossy(&answer.body)));
    Said { kind, address, ready, version }
}

fn version(metrics: &str) -> Option<String> {
    let line = metrics.lines().find(|line| line.starts_with("starling_build_info{"))?;
    let (_, rest) = line.split_once("version=\"")?;
    rest.split_once('"').map(|(version, _)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_gives_bounds_and_a_field_better_ones() {
        assert_eq!(httpdate_seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        let mut metadata = MetadataMap::new();
        metadata.insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        let at = 784_111_777_000;
        let found = by_date(&metadata, at - 10, at + 10).unwrap();
        assert_eq!((found.low_ms, found.high_ms), (-10, 1_010));
        assert_eq!(by_date(&MetadataMap::new(), at, at), None);
        let list = ListAggregatorsResponse { clock_unix_ms: at + 45_000, ..Default::default() };
        let found = by_field(&list, at, at + 20).unwrap();
        assert_eq!((found.low_ms, found.high_ms), (44_980, 45_000));
        assert_eq!(by_field(&ListAggregatorsResponse::default(), at, at), None, "an older one does not say");
    }

    #[test]
    fn the_version_stands_in_the_metrics() {
        let text = "# HELP x\nstarling_build_info{version=\"0.1.0\",commit=\"abc\"} 1\n";
        assert_eq!(version(text).as_deref(), Some("0.1.0"));
        assert_eq!(version(""), None);
    }
}
