//! How one Starling program dials another: the one place where a gRPC channel is made, in plain text or by mutual TLS.

use std::{future::Future, io, pin::Pin, sync::Arc, task, time::Duration};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use starling_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use crate::{
    credentials::{Credentials, Security, Stranger, is_foreign, plain},
    identity::Identity,
    parts::chain,
};

/// What is sent as the name of the server: an aggregator is known by the URI in its certificate, not by a host name.
const SERVER_NAME: &str = "aggregator.starling";

/// Dials "host:port". Pings find a dead connection within 15 s.
#[derive(Debug, Clone, Copy)]
pub struct Dial {
    /// A host that does not answer a connection attempt within this time, TLS included, is passed over.
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
            None => endpoint.connect_timeout(self.connect_timeout).connect().await,
            Some(credentials) => {
                let by = self.by_tls(Whose::Member(Arc::clone(credentials)), name);
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
        let by = self.by_tls(Whose::Stranger(stranger.clone()), None);
        self.endpoint(address)?.connect_with_connector(by).await.map_err(|error| chain(&error))
    }

    /// A channel that connects when it is first used, and again after it was lost.
    ///
    /// # Errors
    /// When `address` is not "host:port".
    pub fn connect_lazy(self, security: &Security, address: &str) -> Result<Channel, String> {
        let endpoint = self.endpoint(address)?;
        Ok(match security.credentials() {
            None => endpoint.connect_timeout(self.connect_timeout).connect_lazy(),
            Some(credentials) => {
                endpoint.connect_with_connector_lazy(self.by_tls(Whose::Member(Arc::clone(credentials)), None))
            }
        })
    }

    fn by_tls(self, whose: Whose, name: Option<&str>) -> ByTls {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        // Shared among the addresses of a name.
        tcp.set_connect_timeout(Some(self.connect_timeout));
        ByTls { tcp, whose, name: name.map(Into::into), within: self.connect_timeout }
    }

    /// Without a time in which it must connect.
    fn endpoint(self, address: &str) -> Result<Endpoint, String> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| chain(&error))?;
        Ok(endpoint
            .tcp_nodelay(true)
            .initial_stream_window_size(self.window)
            .initial_connection_window_size(self.window)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
    }
}

/// Connects by TCP, then by TLS, both within one time.
#[derive(Clone)]
struct ByTls {
    tcp: HttpConnector,
    whose: Whose,
    name: Option<Arc<str>>,
    within: Duration,
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

impl Service<Uri> for ByTls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        self.tcp.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = self.tcp.call(uri);
        let (whose, wanted, within) = (self.whose.clone(), self.name.clone(), self.within);
        let end = Instant::now() + within;
        Box::pin(async move {
            let tcp = timeout_at(end, connected).await.map_err(|_| late(&format!("no answer within {within:?}")))?;
            let stream = tcp.map_err(io::Error::other)?.into_inner();
            let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
            let connector = TlsConnector::from(whose.config());
            let secured = timeout_at(end, connector.connect(name, stream)).await;
            let secured = secured.map_err(|_| late(SILENT))?.map_err(of_handshake)?;
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

/// What a path looks like that loses packets of full size, and says nothing of it: the first one of TLS is short, the answer,
/// with its certificates, is not.
const SILENT: &str = "TCP connects there, and TLS gets no answer in time: what listens there hangs or is no aggregator, or \
                      packets of full size are lost on the way (MTU; `tracepath HOST` shows what the path carries)";

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("timed out: {what}"))
}

/// In the words of somebody who has to mend it.
fn of_handshake(error: io::Error) -> io::Error {
    use rustls::Error as Tls;
    let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) else { return error };
    if let Some(foreign) = is_foreign(cause) {
        let what = "the certificate there is not of this cluster's authority, but of another cluster or of something on the way \
                    that opens TLS";
        return io::Error::other(format!("{what}: {foreign}"));
    }
    io::Error::other(match cause {
        Tls::InvalidCertificate(_) => format!("the certificate there is not taken: {}", plain(cause)),
        Tls::InvalidMessage(_) => "no TLS is spoken there: it has no [tls] in its settings".to_owned(),
        Tls::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
            "no HTTP/2 is spoken there: no aggregator, or something on the way that opens TLS".to_owned()
        }
        Tls::AlertReceived(alert) => format!("our certificate is not taken there ({alert:?}); its log says why"),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{credentials::testing::Site, identity::Role, listen::Connections};

    /// Where `security` listens.
    async fn listening(security: Security) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut connections = Connections::of(listener).secured(security);
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                open.push(connections.next().await);
            }
        });
        address
    }

    const DIAL: Dial = Dial::within(Duration::from_secs(5));

    #[tokio::test]
    async fn who_answers_is_known_by_its_certificate_and_not_by_the_address() {
        let site = Site::new("one");
        let ours = site.certificate();
        let me = site.member(Role::Aggregator, "agg-1", &ours).security();
        // The name of the address says nothing: no certificate here has an address or a host name in it.
        let there = listening(site.member(Role::Aggregator, "agg-2", &ours).security()).await;
        for address in [&there, &there.replace("127.0.0.1", "localhost")] {
            DIAL.connect_to(&me, address, Some("agg-2")).await.unwrap();
            DIAL.connect(&me, address).await.unwrap();
            // A member of the same cluster in the place of another.
            let error = DIAL.connect_to(&me, address, Some("agg-3")).await.unwrap_err();
            assert!(error.contains("aggregator agg-2 answers there, wanted is aggregator agg-3"), "{error}");
        }
        let node = listening(site.member(Role::Node, "agg-3", &ours).security()).await;
        let error = DIAL.connect_to(&me, &node, Some("agg-3")).await.unwrap_err();
        assert!(error.contains("it is that of node agg-3, wanted is an aggregator"), "{error}");
    }

    #[tokio::test]
    async fn a_certificate_of_others_is_refused_by_the_name_of_its_issuer() {
        let (site, proxy) = (Site::new("Starling authority of test"), Site::new("Corporate\nproxy"));
        let (ours, both) = (site.certificate(), site.certificate() + &proxy.certificate());
        let me = site.member(Role::Aggregator, "agg-1", &ours).security();
        let there = listening(proxy.member(Role::Aggregator, "agg-2", &both).security()).await;
        let error = DIAL.connect(&me, &there).await.unwrap_err();
        let wanted = r#"it was issued by "Corporate\nproxy", trusted is "Starling authority of test""#;
        assert!(error.contains("something on the way that opens TLS") && error.contains(wanted), "{error}");
        // Of the same name, with another key.
        let other = Site::new("Starling authority of test");
        let there = listening(other.member(Role::Aggregator, "agg-2", &other.certificate()).security()).await;
        let error = DIAL.connect(&me, &there).await.unwrap_err();
        assert!(
            error.contains(r#"issued by "Starling authority of test", trusted is another of that name"#),
            "{error}"
        );
    }

    /// As of a proxy that holds a certificate of the cluster and speaks HTTP/1.1.
    #[tokio::test]
    async fn who_speaks_no_http_2_is_told_to() {
        let site = Site::new("one");
        let ours = site.certificate();
        let me = site.member(Role::Node, "web-1", &ours).security();
        let mut old = (*site.member(Role::Aggregator, "agg-1", &ours).credentials.server()).clone();
        old.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            tokio_rustls::TlsAcceptor::from(Arc::new(old)).accept(stream).await.map(drop)
        });
        let error = DIAL.connect(&me, &address).await.unwrap_err();
        assert!(error.contains("no HTTP/2 is spoken there"), "{error}");
    }

    #[tokio::test]
    async fn who_takes_a_connection_and_is_silent_is_told_from_who_is_not_there() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let site = Site::new("one");
        let me = site.member(Role::Aggregator, "agg-1", &site.certificate()).security();
        let error = Dial::within(Duration::from_millis(200)).connect(&me, &address).await.unwrap_err();
        assert!(error.contains("TCP connects there") && error.contains("MTU"), "{error}");
        drop(silent);
        let error = DIAL.connect(&me, &address).await.unwrap_err();
        assert!(error.contains("Connection refused") && !error.contains("MTU"), "{error}");
    }

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
