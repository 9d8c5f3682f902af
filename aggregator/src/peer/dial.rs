//! Keeps a stream to every live peer that we are to dial.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use starling_proto::{ids::WriterId, limits::PEER_MESSAGE_BYTES_MAX};
use starling_service::{backoff::Backoff, channel::Dial, grpc::peer_client::PeerClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
    Exchange, OUTBOX,
    link::{self, Outbox, Wanted},
};
use crate::membership::Member;
use starling_ledger::Ledger;

/// First and longest wait between two attempts; each is jittered by half.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A connection that stood this long starts the waits again.
const STOOD: Duration = Duration::from_secs(30);
/// How another aggregator is dialled.
pub(crate) const DIAL: Dial = Dial::within(Duration::from_secs(3));

/// Follows the membership until the stop: dials who appears, lets go of who is gone.
pub(crate) async fn dial_peers(exchange: Arc<Exchange>) {
    let mut membership = exchange.membership.subscribe();
    let mut dialled: HashMap<WriterId, CancellationToken> = HashMap::new();
    loop {
        let view = membership.borrow_and_update().clone();
        dialled.retain(|writer, token| {
            let live = view.live.iter().any(|member| member.writer == *writer);
            if !live {
                token.cancel();
            }
            live
        });
        for member in view.live.iter().filter(|member| view.me.id < member.id) {
            dialled.entry(member.writer).or_insert_with(|| {
                let token = exchange.stop.child_token();
                let (kept, gone, member) = (exchange.clone(), token.clone(), member.clone());
                exchange.tasks.spawn(async move {
                    let writer = member.writer;
                    keep(kept.clone(), member, gone).await;
                    kept.links.forget(writer);
                });
                token
            });
        }
        forget_the_gone(&exchange).await;
        tokio::select! {
            biased;
            () = exchange.stop.cancelled() => return,
            changed = membership.changed() => if changed.is_err() { return },
        }
    }
}

/// A process that gossip calls dead and that no stream reaches holds no copy any more.
async fn forget_the_gone(exchange: &Exchange) {
    let view = exchange.membership.view();
    if view.suspects_partition || view.degraded {
        return;
    }
    let peers = exchange.ledger.ask(Ledger::peers).await.unwrap_or_default();
    for peer in peers {
        let live = view.live.iter().any(|member| member.writer == peer.writer);
        let in_view = view.others.iter().any(|member| member.writer == peer.writer);
        if !live && !in_view && !exchange.links.has(peer.writer) {
            tracing::info!(peer = %peer.aggregator_id, writer = %peer.writer, "peer is gone, its copies no longer count");
            exchange.ledger.peer_lost(peer.writer).await;
        }
    }
}

/// Dials one process again and again until it is gone.
async fn keep(exchange: Arc<Exchange>, member: Member, gone: CancellationToken) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let began = Instant::now();
        exchange.metrics.peer_dials.inc();
        let result = connect(&exchange, &member, &gone).await;
        if gone.is_cancelled() {
            return;
        }
        if let Err(error) = result {
            let cause = format!("{error:#}");
            exchange.metrics.peer_failed(member.id.as_str(), &cause);
            exchange.links.failed(member.writer, cause);
        }
        if began.elapsed() > STOOD {
            backoff.reset();
        }
        tokio::select! {
            biased;
            () = gone.cancelled() => return,
            () = tokio::time::sleep(backoff.wait(rand::random())) => {}
        }
    }
}

/// One stream to it, until it ends or the process is `gone`.
async fn connect(exchange: &Exchange, member: &Member, gone: &CancellationToken) -> anyhow::Result<()> {
    let (outbox, requests) = mpsc::channel(OUTBOX);
    let dial = async {
        let channel = DIAL
            .connect_to(exchange.membership.security(), &member.grpc, Some(member.id.as_str()))
            .await
            .map_err(anyhow::Error::msg)?;
        let mut client = PeerClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
        anyhow::Ok(client.sync(ReceiverStream::new(requests)).await?.into_inner())
    };
    let inbound = tokio::select! {
        biased;
        () = gone.cancelled() => return Ok(()),
        dialled = dial => dialled?,
    };
    // Not dropped half way: whoever is gone would be taken for connected, and its copies would count, for ever.
    link::run(exchange, inbound, Outbox::Dialled(outbox), Wanted::Process(member.writer), gone).await?;
    Ok(())
}
