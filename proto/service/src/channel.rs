//! How one Starling program dials another: the one place where a gRPC channel is made, in plain text or by mutual TLS.

use std::{future::Future, io, pin::Pin, sync::Arc, task, time::Duration};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use starling_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use crate::{
    credentials::{Credentials, Security, Stranger, plain},
    identity::Identity,
    parts::chain,
};

/// What is sent as the name of the server: an aggregator is known by the URI in its certificate, not by a host name.
const SERVER_NAME: &str = "aggregator.starling";

/// Dials "host:port". Pings find a dead connection within 15 s.
#[derive(Debug, Clone, Copy)]
pub struct Dial {
    /// A host that does not answer a connection attempt within this time is passed over.
    pub connect_timeout: Duration,
    /// HTTP/2 window of a stream and of the connection, in bytes; `None` for the library's own. A small one bounds what
    /// a reader that stalls makes the other end hold.
    pub window: Option<u32>,
}

impl Dial {
    /// With the library's own windows.
    #[must_use]
    pub const fn within(connect_timeout: Duration) -> Self {
        Self { connect_timeout, window: None }
    }

    /// Connects to an aggregator, or in plain text to whoever is there.
    ///
    /// # Errors
    /// Why not, with all causes, in one line.
    pub async fn connect(self, security: &Security, address: &str) -> Result<Channel, String> {
        self.connect_to(security, address, None).await
    }

    /// As [`Dial::connect`], to the aggregator of this name: with TLS its certificate says so.
    ///
    /// # Errors
    /// Why not, with all causes, in one line.
    pub async fn connect_to(self, security: &Security, address: &str, name: Option<&str>) -> Result<Channel, String> {
        let endpoint = self.endpoint(address)?;
        match security.credentials() {
            None => endpoint.connect().await,
            Some(credentials) => {
                let by = ByTls::new(Whose::Member(Arc::clone(credentials)), name);
                endpoint.connect_with_connector(by).await
            }
        }
        .map_err(|error| chain(&error))
    }

    /// Connects to an aggregator without a certificate of one's own.
    ///
    /// # Errors
    /// Why not, with all causes, in one line.
    pub async fn connect_as(self, stranger: &Stranger, address: &str) -> Result<Channel, String> {
        let by = ByTls::new(Whose::Stranger(stranger.clone()), None);
        self.endpoint(address)?.connect_with_connector(by).await.map_err(|error| chain(&error))
    }

    /// A channel that connects when it is first used, and again after it was lost.
    ///
    /// # Errors
    /// When `address` is not "host:port".
    pub fn connect_lazy(self, security: &Security, address: &str) -> Result<Channel, String> {
        let endpoint = self.endpoint(address)?;
        Ok(match security.credentials() {
            None => endpoint.connect_lazy(),
            Some(credentials) => {
                endpoint.connect_with_connector_lazy(ByTls::new(Whose::Member(Arc::clone(credentials)), None))
            }
        })
    }

    fn endpoint(self, address: &str) -> Result<Endpoint, String> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| chain(&error))?;
        Ok(endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(self.window)
            .initial_connection_window_size(self.window)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
    }
}

/// Connects by TCP, then by TLS.
#[derive(Clone)]
struct ByTls {
    tcp: HttpConnector,
    whose: Whose,
    name: Option<Arc<str>>,
}

/// Who dials.
#[derive(Clone)]
enum Whose {
    /// By the certificate that is in use at that moment.
    Member(Arc<Credentials>),
    Stranger(Stranger),
}

impl Whose {
    fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Member(credentials) => credentials.client(),
            Self::Stranger(stranger) => stranger.client(),
        }
    }
}

impl ByTls {
    fn new(whose: Whose, name: Option<&str>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        Self { tcp, whose, name: name.map(Into::into) }
    }
}

impl Service<Uri> for ByTls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        self.tcp.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = self.tcp.call(uri);
        let (whose, wanted) = (self.whose.clone(), self.name.clone());
        Box::pin(async move {
            let stream = connected.await.map_err(io::Error::other)?.into_inner();
            let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
            let connector = TlsConnector::from(whose.config());
            let secured = connector.connect(name, stream).await.map_err(of_handshake)?;
            if let Some(wanted) = wanted {
                let certificates = secured.get_ref().1.peer_certificates();
                let found = certificates.and_then(|chain| chain.first()).and_then(|own| Identity::of(own).ok());
                let is_wanted = found.as_ref().is_some_and(|found| *found.name.as_str() == *wanted);
                if !is_wanted {
                    let found = found.map_or_else(|| "nobody".to_owned(), |found| found.short());
                    return Err(io::Error::other(format!("{found} answers there, wanted is aggregator {wanted}")));
                }
            }
            Ok(TokioIo::new(secured))
        })
    }
}

/// In the words of somebody who has to mend it.
fn of_handshake(error: io::Error) -> io::Error {
    use rustls::Error as Tls;
    let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) else { return error };
    io::Error::other(match cause {
        Tls::InvalidCertificate(rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature) => {
            "the certificate there is not of this cluster's authority: another cluster, or something on the way that \
             opens TLS"
                .to_owned()
        }
        Tls::InvalidCertificate(_) => format!("the certificate there is not taken: {}", plain(cause)),
        Tls::InvalidMessage(_) => "no TLS is spoken there: it has no [tls] in its settings".to_owned(),
        Tls::AlertReceived(alert) => format!("our certificate is not taken there ({alert:?}); its log says why"),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_says_its_cause_once() {
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let (dial, plain) = (Dial::within(Duration::from_secs(2)), Security::plain());
        let error = dial.connect(&plain, &closed).await.unwrap_err();
        assert!(error.contains("Connection refused"), "{error}");
        assert_eq!(error.matches("tcp connect error").count(), 1, "{error}");
        assert!(dial.connect_lazy(&plain, "not an address").is_err());
    }
}
