//! The way to the aggregators: one connection at a time, to any of them, for all clients together.
//!
//! - [`endpoints`] decides whom to ask next and how long to wait (pure);
//! - [`session`] follows one aggregator until it fails.

mod endpoints;
mod session;

use std::{sync::Arc, time::Duration};

use starling_proto::v1::{ListAggregatorsRequest, ListAggregatorsResponse};
use starling_service::{channel::Dial, credentials::Security, grpc::cluster_client::ClusterClient};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{debug, info, warn};

use crate::shared::Shared;
use endpoints::Endpoints;
pub(crate) use session::without_alerts;

/// A host that does not answer a connection attempt within this time is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An aggregator that does not answer a small question within this time is passed over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Nothing is reached for so long before it is said: an aggregator that has just started answers within two seconds.
const SAY_AFTER: Duration = Duration::from_secs(3);
/// How often what is over is looked for: history caught up with, views that are not looked at.
const TIDY_INTERVAL: Duration = Duration::from_millis(250);

/// Follows aggregators until `shutdown`, one after the other.
pub(crate) async fn run(
    shared: Arc<Shared>,
    (security, configured): (Security, Vec<String>),
    shutdown: CancellationToken,
) {
    tokio::join!(follow(&shared, (security, configured), &shutdown), tidy(&shared, &shutdown));
}

async fn follow(shared: &Arc<Shared>, (security, configured): (Security, Vec<String>), shutdown: &CancellationToken) {
    let mut endpoints = Endpoints::new(configured);
    let (mut said, mut since) = (false, Instant::now());
    while !shutdown.is_cancelled() {
        let address = endpoints.next();
        shared.metrics().upstream_dials.inc();
        let attempt = async {
            let (channel, members) = connect(&security, &address).await?;
            info!(%address, aggregator = %members.answered_by, "connected to an aggregator");
            endpoints.connected();
            endpoints.learn(&members);
            shared.connected(channel.clone(), members);
            session::follow(shared, channel, &mut endpoints).await
        };
        let reason = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            end = attempt => end.err().unwrap_or_else(|| "the stream ended".to_owned()),
        };
        debug!(%address, reason, "aggregator failed");
        let reason = format!("{address}: {reason}");
        let news = shared.disconnected(&reason);
        let delay = endpoints.failed(rand::random());
        if news {
            (said, since) = (false, Instant::now());
        }
        if news && delay.is_zero() {
            info!(reason, "this aggregator is not followed, trying the next");
        }
        // All have been asked, one after the other. Said once until one is reached.
        if !delay.is_zero() && !said && since.elapsed() >= SAY_AFTER {
            said = true;
            warn!(reason, "no aggregator is reached");
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = sleep(delay) => {}
        }
    }
}

/// Connects and asks who is there, which proves that the other end is an aggregator.
async fn connect(security: &Security, address: &str) -> Result<(Channel, ListAggregatorsResponse), String> {
    let channel = Dial::within(CONNECT_TIMEOUT).connect(security, address).await.map_err(|error| plain(&error))?;
    let members = members(&channel).await?;
    Ok((channel, members))
}

/// Why a connection failed, without the names of the layers that it failed in.
fn plain(error: &str) -> String {
    let layers = ["transport error: ", "tcp connect error: "];
    layers.iter().fold(error, |text, layer| text.strip_prefix(layer).unwrap_or(text)).to_owned()
}

/// Asks an aggregator for the members of the cluster.
async fn members(channel: &Channel) -> Result<ListAggregatorsResponse, String> {
    let mut client = ClusterClient::new(channel.clone());
    match timeout(ANSWER_TIMEOUT, client.list_aggregators(ListAggregatorsRequest {})).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(format!("asked for the aggregators: {}", session::words(&status))),
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

async fn tidy(shared: &Arc<Shared>, shutdown: &CancellationToken) {
    let mut timer = interval(TIDY_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = timer.tick() => shared.tidy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_plainly() {
        assert_eq!(plain("transport error: tcp connect error: Connection refused"), "Connection refused");
        assert_eq!(plain("timed out"), "timed out");
    }
}
