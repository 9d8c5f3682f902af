//! A connection to a receiver: looked up, checked, dialled, checked again.

use std::{fmt, net::IpAddr, path::Path};

use starling_service::trust::{self, plain};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

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
    let secured =
        TlsConnector::from(trust::config(ca_file).await.map_err(ConnectError::Failed)?).connect(name, stream).await;
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
