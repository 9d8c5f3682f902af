//! Opening a listener, with errors that name the next step; taking its connections ([`Connections`]), each proved
//! before anything else looks at it; and serving HTTP on them ([`serve_http`]).

mod accept;
mod admission;
mod connection;
mod http;
mod metrics;

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

pub use self::{
    accept::Connections,
    connection::{Connection, Peer},
    http::serve_http,
    metrics::ListenMetrics,
};

/// Why a listener could not be opened: the operating system refused, mostly because the port is taken.
#[derive(Debug, thiserror::Error)]
#[error("{setting} = {address}: {}", reason(source))]
pub struct ListenError {
    /// Name of the setting.
    pub setting: String,
    /// Its value.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or set another port".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; set a port above 1023".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this host has no such address; set one of its own, or 0.0.0.0".to_owned(),
        _ => error.to_string(),
    }
}

/// Opens a TCP listener, and says where it is: port 0 takes a free one. What may be open to other hosts is a matter of
/// the settings ([`Exposure`](crate::credentials::Exposure)).
///
/// # Errors
/// [`ListenError`], naming the setting and the next step.
pub async fn tcp(address: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bound.await.map_err(|source| ListenError { setting: setting.to_owned(), address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_the_setting_and_the_next_step() {
        let (_first, taken) = tcp("127.0.0.1:0".parse().unwrap(), "grpc_listen").await.unwrap();
        let error = tcp(taken, "grpc_listen").await.unwrap_err().to_string();
        assert!(error.contains("grpc_listen = 127.0.0.1:") && error.contains("set another port"), "{error}");
    }
}
