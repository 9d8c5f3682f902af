//! Connects by TCP, then by TLS, for [`HttpClient`](super::HttpClient).

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task,
    time::Duration,
};

use axum::http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use crate::trust;

/// What answers TCP and no TLS within this time is given up: the port of a firewall, or of plain text that waits.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// How it is known that the other end is who it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// The authorities that may have signed its certificate; `None`: those that this host trusts.
    pub ca_file: Option<PathBuf>,
    /// The name that its certificate must have; `None`: the host of the address.
    pub server_name: Option<String>,
}

/// A connection by TLS.
#[derive(Debug)]
pub(super) struct Secured(TokioIo<TlsStream<TcpStream>>);

impl Connection for Secured {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// See the module.
#[derive(Clone)]
pub(super) struct ByTls {
    tcp: HttpConnector,
    ca_file: Option<Arc<Path>>,
    server_name: Option<ServerName<'static>>,
}

impl ByTls {
    /// # Errors
    /// When the name is none that a certificate can have.
    pub(super) fn new(mut tcp: HttpConnector, trust: Trust) -> Result<Self, String> {
        tcp.enforce_http(false);
        let named = |name: String| {
            ServerName::try_from(name.clone())
                .map_err(|_| format!("server_name: {name:?} is no name of a host and no address"))
        };
        let server_name = trust.server_name.map(named).transpose()?;
        Ok(Self { tcp, ca_file: trust.ca_file.map(Into::into), server_name })
    }
}

impl Service<Uri> for ByTls {
    type Response = Secured;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        self.tcp.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let connected = self.tcp.call(uri);
        let (ca_file, server_name) = (self.ca_file.clone(), self.server_name.clone());
        Box::pin(async move {
            let config = trust::config(ca_file.as_deref()).await.map_err(io::Error::other)?;
            let stream = connected.await.map_err(io::Error::other)?.into_inner();
            let name = match server_name {
                Some(name) => name,
                None => ServerName::try_from(host.clone()).map_err(io::Error::other)?,
            };
            let secured = timeout(HANDSHAKE_MAX, TlsConnector::from(config).connect(name, stream)).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "TCP connects there, and TLS gets no answer");
            secured
                .map_err(|_| late())?
                .map(|stream| Secured(TokioIo::new(stream)))
                .map_err(|error| of_handshake(&error, &host, ca_file.as_deref()))
        })
    }
}

/// In the words of somebody who has to mend it.
fn of_handshake(error: &io::Error, host: &str, ca_file: Option<&Path>) -> io::Error {
    let text = error.to_string();
    let plain = match text.as_str() {
        text if text.contains("NotValidForName") || text.contains("not valid for name") => {
            format!("{text}: server_name says which name of its certificate is meant")
        }
        text if text.contains("InvalidContentType") || text.contains("corrupt message") => {
            format!("it does not speak TLS ({text}): write http://")
        }
        text => trust::plain(text, host, ca_file),
    };
    io::Error::other(plain)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::super::{Access, Answer, HttpClient, HttpError, Trust};
    use super::*;

    /// Serves one connection after the other by TLS as `shop.internal`, whose authority is written to `ca`.
    async fn serve(ca: &Path) -> String {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own =
            CertificateParams::new(vec!["shop.internal".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(ca, authority.pem()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(own.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut asked = [0; 1_024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup").await;
                let _ = stream.shutdown().await;
            }
        });
        url
    }

    async fn ask(url: &str, ca_file: Option<&Path>, server_name: Option<&str>) -> Result<Answer, HttpError> {
        let access = Access { url: url.to_owned(), ..Access::default() };
        let trust = Trust { ca_file: ca_file.map(Path::to_owned), server_name: server_name.map(str::to_owned) };
        HttpClient::trusting(access, trust).unwrap().get("/metrics", Duration::from_secs(5), 1_000).await
    }

    #[tokio::test]
    async fn who_is_trusted_by_its_name_is_asked_and_others_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let url = serve(&ca).await;
        assert_eq!(&ask(&url, Some(&ca), Some("shop.internal")).await.unwrap().body[..], b"up");
        for (ca_file, name, wanted) in [
            (None, Some("shop.internal"), "ca_file names another"),
            (Some(&*ca), None, "server_name says which name of its certificate is meant"),
            (Some(&*ca), Some("cart.internal"), "server_name says which name of its certificate is meant"),
            (Some(Path::new("/nowhere/ca.pem")), Some("shop.internal"), "ca_file: /nowhere/ca.pem cannot be read"),
        ] {
            let error = ask(&url, ca_file, name).await.unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", plain.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = plain.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
        });
        let error = ask(&url, Some(&ca), None).await.unwrap_err().to_string();
        assert!(error.contains("it does not speak TLS"), "{error}");
        let access = Access { url, ..Access::default() };
        assert!(HttpClient::trusting(access, Trust { server_name: Some("a b".into()), ..Trust::default() }).is_err());
    }
}
