//! A connection to a receiver: looked up, checked, dialled, checked again.

use std::{
    fmt,
    net::IpAddr,
    path::Path,
    sync::{Arc, OnceLock},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::destination::{Network, Target, check};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    /// It is not to be connected to.
    #[error("{0}")]
    Denied(String),
    /// It does not answer, or is not who it should be.
    #[error("cannot be reached: {0}")]
    Failed(String),
}

fn failed(error: &dyn fmt::Display) -> ConnectError {
    ConnectError::Failed(error.to_string())
}

/// Bytes in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to an address that may be connected to.
pub(crate) async fn dial(host: &str, port: u16, allowed: &[Network]) -> Result<TcpStream, ConnectError> {
    let found = lookup_host((host, port)).await.map_err(|error| failed(&error))?;
    let (mut denied, mut last) = (None, None);
    for address in found.take(ADDRESSES_MAX) {
        if let Err(why) = check(address.ip(), allowed) {
            denied = Some(ConnectError::Denied(why.to_string()));
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let peer: IpAddr = stream.peer_addr().map_err(|error| failed(&error))?.ip();
                check(peer, allowed).map_err(|why| ConnectError::Denied(why.to_string()))?;
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Some(failed(&error)),
        }
    }
    Err(last.or(denied).unwrap_or_else(|| ConnectError::Failed("the name has no address".to_owned())))
}

/// Bytes of a file of certificates.
const CA_BYTES_MAX: u64 = 1024 * 1024;

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, ConnectError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// What the host trusts, read once.
fn trust() -> Result<Arc<ClientConfig>, ConnectError> {
    static TRUST: OnceLock<Result<Arc<ClientConfig>, ConnectError>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(ConnectError::Failed(
                "this host has no certificates that it trusts (ca-certificates)".to_owned(),
            ));
        }
        config(roots)
    };
    TRUST.get_or_init(read).clone()
}

/// The bytes of a file of certificates.
///
/// # Errors
/// That it cannot be read, or is no such file, with its name.
pub(crate) async fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.display();
    let refused = |what: String| format!("ca_file: {name} {what}");
    let size = tokio::fs::metadata(path).await.map_err(|error| refused(format!("cannot be read: {error}")))?.len();
    if size > CA_BYTES_MAX {
        return Err(refused(format!("has {size} bytes, at most {CA_BYTES_MAX} are read")));
    }
    let bytes = tokio::fs::read(path).await.map_err(|error| refused(format!("cannot be read: {error}")))?;
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(bytes),
        _ => Err(refused("holds no certificate in PEM".to_owned())),
    }
}

/// Whom to believe that they are who they should be: the CAs of a file, else those of this host.
async fn believed(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, ConnectError> {
    let Some(path) = ca_file else { return trust() };
    let bytes = read_ca(path).await.map_err(ConnectError::Failed)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
    config(roots)
}

/// An error of TLS for people: who signed a certificate is what goes wrong most.
pub(crate) fn plain(error: &str, host: &str, ca_file: Option<&Path>) -> String {
    // The second: a CA of the same name with another key.
    if !["UnknownIssuer", "BadSignature"].iter().any(|one| error.contains(one)) {
        return error.to_owned();
    }
    match ca_file {
        Some(path) => format!("the certificate of {host} is not signed by a CA in ca_file {}", path.display()),
        None => format!("the certificate of {host} is not signed by a CA that this host trusts: ca_file names another"),
    }
}

/// A connection over which requests of HTTP can be sent.
pub(crate) async fn connect(
    target: &Target,
    allowed: &[Network],
    ca_file: Option<&Path>,
) -> Result<Box<dyn Stream>, ConnectError> {
    let stream = dial(&target.host, target.port, allowed).await?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|error| failed(&error))?;
    let secured = TlsConnector::from(believed(ca_file).await?).connect(name, stream).await;
    let secured = secured.map_err(|error| ConnectError::Failed(plain(&error.to_string(), &target.host, ca_file)))?;
    Ok(Box::new(secured))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_when_it_is_looked_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = dial("localhost", port, &[]).await.unwrap_err();
        assert!(matches!(&error, ConnectError::Denied(what) if what.contains("loopback")), "{error}");
        // Nobody came.
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await.is_err());
        dial("localhost", port, &[Network::parse("127.0.0.1").unwrap()]).await.unwrap();
    }
}
