//! A dashboard server, by the live WebSocket of its page: for where only the dashboard can be reached.
//!
//! A task of its own connects, moves messages, and connects again: each connection begins with a hello, after which all views are
//! asked for from the second that is known.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use starling_proto::live::{ClientMessage, ServerMessage, server_message::Body};
use starling_service::backoff::Backoff;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        http::{
            HeaderValue, StatusCode, Uri,
            header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
        },
        protocol::WebSocketConfig,
    },
};

use super::Arrival;

const PATH: &str = "/ws/v1/live";
const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("starling.live.v1");
/// For a connection, TLS and the handshake together.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Ticks come each second while the server reaches an aggregator, and pings every 20 s when it does not.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Between attempts: short at first, for a server that restarts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Largest message: a table of 100,000 nodes has some 12 MB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Messages on their way to the screen, which takes them in at once: when it is stopped the connection waits, and what is behind
/// skips to the latest.
const ARRIVALS_MAX: usize = 64;
/// Messages on their way to the server. Beyond it the connection is stuck: what is asked is left out, and asked again when it has
/// been replaced.
const ASKED_MAX: usize = 64;

/// Where a dashboard is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    tls: bool,
    host: String,
    port: u16,
    /// As it stands in the address: what the server knows itself by.
    authority: String,
    /// A path in front of all others, behind a proxy.
    prefix: String,
}

impl Address {
    /// Reads "http://host:port/prefix", with https for TLS; without a scheme http is meant.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is not the address of a dashboard, such as http://127.0.0.1:7480");
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| wanted())?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(wanted()),
        };
        let authority = uri.authority().filter(|is| !is.as_str().contains('@')).ok_or_else(wanted)?;
        if uri.query().is_some() || authority.host().is_empty() {
            return Err(wanted());
        }
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// The header that brings a token.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_| "the token holds what no header takes".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A dashboard that is followed until this is dropped.
pub(crate) struct Page {
    arrivals: mpsc::Receiver<Arrival>,
    asked: mpsc::Sender<ClientMessage>,
    cluster: String,
    task: JoinHandle<()>,
}

impl Page {
    pub(crate) fn follow(address: Address, token: Option<HeaderValue>) -> Self {
        let (arriving, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let (asked, asking) = mpsc::channel(ASKED_MAX);
        let task = tokio::spawn(run((address, token), arriving, asking));
        Self { arrivals, asked, cluster: String::new(), task }
    }

    /// The next arrival; nothing is lost when it is dropped before it is done.
    pub(crate) async fn next(&mut self) -> Arrival {
        let arrival = self.arrivals.recv().await.unwrap_or_else(|| Arrival::Lost("its task ended".to_owned()));
        if let Arrival::Message(body) = &arrival
            && let Body::Hello(hello) = &**body
            && !hello.cluster.is_empty()
        {
            self.cluster.clone_from(&hello.cluster);
        }
        arrival
    }

    pub(crate) fn send(&self, message: ClientMessage) {
        // See `ASKED_MAX`.
        let _ = self.asked.try_send(message);
    }

    pub(crate) fn cluster(&self) -> String {
        self.cluster.clone()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    (address, token): (Address, Option<HeaderValue>),
    arriving: mpsc::Sender<Arrival>,
    mut asking: mpsc::Receiver<ClientMessage>,
) {
    let mut pauses = Backoff::new(PAUSE.0, PAUSE.1);
    loop {
        let connected = timeout(CONNECT_WAIT, connect(&address, token.as_ref())).await;
        let why = match connected {
            Ok(Ok(socket)) => {
                // What was asked of a connection before is asked again by whoever hears its hello.
                while asking.try_recv().is_ok() {}
                pauses.reset();
                talk(socket, &arriving, &mut asking).await
            }
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {} s", CONNECT_WAIT.as_secs()),
        };
        if arriving.send(Arrival::Lost(format!("{}: {why}", address.authority))).await.is_err() {
            return;
        }
        sleep(pauses.wait(rand::random())).await;
    }
}

/// A connection with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

type Socket = WebSocketStream<Box<dyn Stream>>;

async fn connect(address: &Address, token: Option<&HeaderValue>) -> Result<Socket, String> {
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|error| error.to_string())?;
    let _ = tcp.set_nodelay(true);
    let stream: Box<dyn Stream> = if address.tls { Box::new(secured(address, tcp).await?) } else { Box::new(tcp) };
    let uri = format!("ws://{}{}{PATH}", address.authority, address.prefix);
    let mut request = uri.into_client_request().map_err(|error| error.to_string())?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    request.headers_mut().extend(token.map(|token| (AUTHORIZATION, token.clone())));
    let limits =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    match client_async_with_config(request, stream, Some(limits)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) if answer.status() == StatusCode::UNAUTHORIZED => Err(match token {
            Some(_) => "it does not know this token; `starling tokens add NAME` makes one".to_owned(),
            None => "it has a log-in: --token-file FILE, with a token that `starling tokens add NAME` makes".to_owned(),
        }),
        Err(Error::Http(answer)) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let start: String = String::from_utf8_lossy(body).chars().take(200).collect();
            Err(format!("it answers {} {start}", answer.status()))
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn secured(address: &Address, tcp: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(address.host.clone()).map_err(|error| error.to_string())?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| error.to_string())
}

/// Moves messages until something fails; what.
async fn talk(
    mut socket: Socket,
    arriving: &mpsc::Sender<Arrival>,
    asking: &mut mpsc::Receiver<ClientMessage>,
) -> String {
    loop {
        tokio::select! {
            asked = asking.recv() => {
                let Some(asked) = asked else { return "nobody listens".to_owned() };
                if let Err(error) = socket.send(Message::Binary(asked.encode_to_vec().into())).await {
                    return error.to_string();
                }
            }
            came = timeout(SILENCE_MAX, socket.next()) => match came {
                Err(_) => return format!("nothing came for {} s", SILENCE_MAX.as_secs()),
                Ok(None) => return "the connection was closed".to_owned(),
                Ok(Some(Err(error))) => return error.to_string(),
                Ok(Some(Ok(Message::Binary(bytes)))) => match ServerMessage::decode(bytes) {
                    Ok(ServerMessage { body: Some(body) }) => {
                        if arriving.send(Arrival::Message(Box::new(body))).await.is_err() {
                            return "nobody listens".to_owned();
                        }
                    }
                    // Of a newer server, which says more than this program knows.
                    Ok(ServerMessage { body: None }) => {}
                    Err(error) => return format!("what came is no message of starling.live.v1: {error}"),
                },
                Ok(Some(Ok(Message::Close(frame)))) => {
                    let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    return if reason.is_empty() { "the server closed it".to_owned() } else { reason };
                }
                Ok(Some(Ok(_))) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (bool, String, u16, String, String) {
        let Address { tls, host, port, authority, prefix } = Address::parse(text).unwrap();
        (tls, host, port, authority, prefix)
    }

    #[test]
    fn addresses_have_defaults_and_prefixes() {
        let all = |tls, host: &str, port, authority: &str, prefix: &str| {
            (tls, host.to_owned(), port, authority.to_owned(), prefix.to_owned())
        };
        assert_eq!(read("127.0.0.1:7480"), all(false, "127.0.0.1", 7480, "127.0.0.1:7480", ""));
        assert_eq!(read("http://page"), all(false, "page", 80, "page", ""));
        assert_eq!(read("https://page/ops/starling/"), all(true, "page", 443, "page", "/ops/starling"));
        assert_eq!(read("https://[::1]:8443"), all(true, "::1", 8443, "[::1]:8443", ""));
        for text in ["", "ftp://page", "http://", "http://user@page", "http://page/?a=b", "a b"] {
            assert!(Address::parse(text).unwrap_err().contains("is not the address of a dashboard"), "{text}");
        }
    }
}
