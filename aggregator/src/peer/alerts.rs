//! Records of alerts between aggregators: what is new here goes to every other one at once, and what two lack of each other
//! after a partition is found by their digests.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use starling_alerts::Exchange;
use starling_proto::v1;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use super::Channels;
use crate::{
    alerts::{Alerts, RECORDS_MAX},
    clock::now_ms,
    membership::{Member, Membership},
    metrics::Metrics,
};

/// Without anything new the digests are compared this often.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// An answer takes this long at most: what was on its way when a partition heals is not to hold up what comes after it.
const ANSWER: Duration = Duration::from_secs(1);
/// All records take this long at most.
const READ: Duration = Duration::from_secs(20);
/// Messages on their way to one asker.
const OUTBOX: usize = 4;
/// After a failure it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// Gives records to the other aggregators, until the stop.
pub(crate) async fn share_alerts(
    alerts: Alerts,
    membership: Membership,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let channels = Arc::new(Channels::new(membership.security().clone()));
    let mut view = membership.subscribe();
    let (mut tasks, mut running) = (JoinSet::new(), HashMap::new());
    loop {
        // Those too that nodes are not sent to yet: after a partition they are to agree at once.
        let others: Vec<Member> = view.borrow_and_update().live.clone();
        alerts.set_alone(others.is_empty());
        running.retain(|writer, token: &mut CancellationToken| {
            let stays = others.iter().any(|member| member.writer == *writer);
            if !stays {
                token.cancel();
            }
            stays
        });
        for member in others {
            running.entry(member.writer).or_insert_with(|| {
                let token = stop.child_token();
                tasks.spawn(give(alerts.clone(), channels.clone(), member, metrics.clone(), token.clone()));
                token
            });
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = tasks.join_next() => {}
            changed = view.changed() => if changed.is_err() { break },
        }
    }
    running.values().for_each(CancellationToken::cancel);
    while tasks.join_next().await.is_some() {}
}

async fn give(alerts: Alerts, channels: Arc<Channels>, member: Member, metrics: Arc<Metrics>, stop: CancellationToken) {
    let (mut changed, mut exchange) = (alerts.changed(), Exchange::default());
    loop {
        changed.mark_unchanged();
        let offer = alerts.read(|book| exchange.offer(book));
        let mut answer = Ok(None);
        for part in chunks(offer.records.clone(), offer.digest) {
            answer = put(&alerts, &channels, &member, part).await.map(Some);
            if answer.is_err() {
                break;
            }
        }
        let mut again = COMPARE_EVERY;
        match answer {
            Ok(theirs) => {
                let theirs = theirs.unwrap_or_default();
                let asks = exchange.taken(&offer, theirs);
                alerts.set_shared(exchange.given());
                let differs = theirs != offer.digest;
                if !differs {
                    alerts.set_caught_up();
                }
                // At the start at once: nothing is told before.
                if asks || differs && !alerts.is_caught_up(false) {
                    match read(&channels, &member).await {
                        Ok(records) => {
                            alerts.put_wire(records);
                            alerts.set_caught_up();
                            exchange.asked();
                        }
                        Err(status) => metrics.alert_peer_failed(member.id.as_str(), status.message()),
                    }
                }
            }
            // One of a version without alerts takes none.
            Err(status) if status.code() == Code::Unimplemented => {}
            Err(status) => {
                again = RETRY_AFTER;
                metrics.alert_peer_failed(member.id.as_str(), status.message());
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(again) => {}
            result = changed.changed(), if again == COMPARE_EVERY => if result.is_err() { return },
        }
    }
}

/// In messages; the digest is compared after the last one, so that one comes also when there is nothing to give.
fn chunks(records: Vec<starling_alerts::Record>, digest: u64) -> Vec<v1::AlertRecords> {
    let mut left = records.into_iter().map(v1::AlertRecord::from).peekable();
    let mut parts = Vec::new();
    loop {
        parts.push(v1::AlertRecords { records: left.by_ref().take(RECORDS_MAX).collect(), digest });
        if left.peek().is_none() {
            return parts;
        }
    }
}

async fn put(alerts: &Alerts, channels: &Channels, member: &Member, records: v1::AlertRecords) -> Result<u64, Status> {
    let mut request = Request::new(records);
    request.set_timeout(ANSWER);
    let mut client = channels.peer(&member.grpc).map_err(Status::unavailable)?;
    let asked = Instant::now();
    let answer = tokio::time::timeout(ANSWER, client.put_alerts(request)).await;
    let answer = answer.map_err(|_| Status::deadline_exceeded("no answer within 1 s"))??.into_inner();
    alerts.measured(&member.id, (answer.clock_unix_ms, now_ms()), asked.elapsed());
    Ok(answer.digest)
}

async fn read(channels: &Channels, member: &Member) -> Result<Vec<v1::AlertRecord>, Status> {
    let mut request = Request::new(v1::ReadAlertsRequest {});
    request.set_timeout(READ);
    let mut client = channels.peer(&member.grpc).map_err(Status::unavailable)?;
    let all = async {
        let mut stream = client.read_alerts(request).await?.into_inner();
        let mut records = Vec::new();
        while let Some(part) = stream.message().await? {
            records.extend(part.records);
            if records.len() > 100 * RECORDS_MAX {
                return Err(Status::out_of_range("more records than are ever kept"));
            }
        }
        Ok(records)
    };
    tokio::time::timeout(READ, all).await.map_err(|_| Status::deadline_exceeded("not all came within 20 s"))?
}

/// Takes what another aggregator gives.
///
/// # Errors
/// `INVALID_ARGUMENT` beyond the limit of one message.
pub(super) fn take(alerts: &Alerts, records: v1::AlertRecords) -> Result<v1::AlertDigest, Status> {
    if records.records.len() > RECORDS_MAX {
        return Err(Status::invalid_argument(format!("records: more than {RECORDS_MAX}")));
    }
    Ok(v1::AlertDigest { digest: alerts.put_wire(records.records), clock_unix_ms: now_ms() })
}

/// Gives all that is here.
pub(super) fn all(alerts: &Alerts) -> mpsc::Receiver<Result<v1::AlertRecords, Status>> {
    let (outbox, answers) = mpsc::channel(OUTBOX);
    let (records, digest) = alerts.read(|book| (book.since(0), book.digest()));
    tokio::spawn(async move {
        for part in chunks(records, digest) {
            if outbox.send(Ok(part)).await.is_err() {
                return;
            }
        }
    });
    answers
}
