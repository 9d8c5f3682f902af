//! One gRPC stream to one aggregator, as a task.

use std::time::Instant;

use starling_proto::{
    limits::{MESSAGE_BYTES_MAX, NODE_WINDOW_BYTES, OFFER_WINDOW},
    v1::{self, ingest_request, ingest_response},
};
use starling_service::{channel::Dial, clock, credentials::Security, grpc::ingest_client::IngestClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use super::session::{OPENING_MAX, excerpt};

/// How an aggregator is dialled.
const DIAL: Dial = Dial { connect_timeout: OPENING_MAX, window: Some(NODE_WINDOW_BYTES) };
/// Messages between the session and the socket: a full window, the same again after a fresh start, hello, end of stream.
/// The window bounds what is in flight, so a full queue means that the aggregator asks for fresh starts and does not
/// read; the link is then dropped.
const OUTGOING_MAX: usize = 2 * OFFER_WINDOW + 4;

/// Why a link is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LinkEnd {
    /// It was not made, it broke, or the aggregator ended it.
    Lost(String),
    /// Another machine reports under our name.
    NameHeld(String),
}

impl From<&str> for LinkEnd {
    fn from(reason: &str) -> Self {
        Self::Lost(reason.to_owned())
    }
}

/// What happened on a link.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// The aggregator sent a message.
    Received(v1::IngestResponse),
    /// The aggregator's clock less ours, in milliseconds.
    ClockOffset(i64),
    /// The link is over, and why.
    Ended(LinkEnd),
}

/// A link being made or open. Dropping it ends the stream and the connection.
pub(super) struct Link {
    number: u64,
    outgoing: Option<mpsc::Sender<v1::IngestRequest>>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// Starts to connect. What happens comes out at `events`, the end last.
    pub(super) fn dial(
        number: u64,
        (security, address): (Security, String),
        hello: v1::Hello,
        events: mpsc::Sender<(u64, LinkEvent)>,
    ) -> Self {
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let task = tokio::spawn(async move {
            let carried = carry(number, (&security, &address), hello, queue, &events).await;
            let end = carried.err().unwrap_or_else(|| "the aggregator ended the stream".into());
            // Without a receiver the session is gone, and so is anyone who would care.
            let _ = events.send((number, LinkEvent::Ended(end))).await;
        });
        Self { number, outgoing: Some(outgoing), _task: AbortOnDropHandle::new(task) }
    }

    /// The number it was dialled under.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Queues a message. False when the aggregator does not read.
    pub(super) fn send(&self, request: v1::IngestRequest) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| outgoing.try_send(request).is_ok())
    }

    /// Nothing more will be sent; the aggregator may end the stream when it has read all.
    pub(super) fn finish(&mut self) {
        self.outgoing = None;
    }
}

async fn carry(
    number: u64,
    (security, address): (&Security, &str),
    hello: v1::Hello,
    queue: mpsc::Receiver<v1::IngestRequest>,
    events: &mpsc::Sender<(u64, LinkEvent)>,
) -> Result<(), LinkEnd> {
    let channel = DIAL.connect(security, address).await.map_err(LinkEnd::Lost)?;
    let mut client = IngestClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);

    let (said_at, said_at_unix_ms) = (Instant::now(), clock::unix_ms());
    let hello = v1::Hello { sent_at_unix_ms: said_at_unix_ms, ..hello };
    let hello = v1::IngestRequest { body: Some(ingest_request::Body::Hello(hello)) };
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(hello), ReceiverStream::new(queue));
    let mut responses = client.stream(requests).await.map_err(|status| refused(&status))?.into_inner();
    while let Some(response) = responses.message().await.map_err(|status| refused(&status))? {
        if let Some(ingest_response::Body::Accept(accept)) = &response.body {
            let middle = said_at_unix_ms + clock::millis(said_at.elapsed() / 2);
            let offset = i128::from(accept.sent_at_unix_ms) - i128::from(middle);
            let offset = LinkEvent::ClockOffset(i64::try_from(offset).unwrap_or(i64::MAX));
            events.send((number, offset)).await.map_err(|_| "the uplink has ended")?;
        }
        events.send((number, LinkEvent::Received(response))).await.map_err(|_| "the uplink has ended")?;
    }
    Ok(())
}

fn refused(status: &tonic::Status) -> LinkEnd {
    let message = excerpt(status.message());
    match status.code() {
        tonic::Code::AlreadyExists => LinkEnd::NameHeld(message),
        code if message.is_empty() => LinkEnd::Lost(code.to_string()),
        code => LinkEnd::Lost(format!("{code:?}: {message}")),
    }
}
