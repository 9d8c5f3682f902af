//! Opening a listener, with errors that name the next step; taking its connections ([`Connections`]), each proved
//! before anything else looks at it; and serving HTTP on them ([`serve_http`]).

mod accept;
mod admission;
mod connection;
mod http;
mod metrics;

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

pub use self::{
    accept::Connections,
    connection::{Connection, Peer},
    http::serve_http,
    metrics::ListenMetrics,
};

/// Connections that wait in the kernel to be taken; of what comes beyond, the kernel drops the first packet, and the client tries
/// again after a second. The library's 128 are fewer than the nodes of a fleet that come back at once. The kernel takes at most
/// `net.core.somaxconn`, 4,096 by default.
const QUEUE: u32 = 4_096;

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
pub fn tcp(address: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A program that starts again does not wait for the connections of the former one to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(QUEUE)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bound().map_err(|source| ListenError { setting: setting.to_owned(), address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_says_something_is_a_connection() {
        let (listener, at) = tcp("127.0.0.1:0".parse().unwrap(), "grpc_listen").unwrap();
        let mut connections = Connections::of(listener);
        let _silent: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(at).unwrap()).collect();
        let mut speaks = std::net::TcpStream::connect(at).unwrap();
        io::Write::write_all(&mut speaks, b"GET").unwrap();
        let wait = std::time::Duration::from_millis(300);
        let first = tokio::time::timeout(wait, connections.next()).await.unwrap();
        assert_eq!(first.peer().address, speaks.local_addr().unwrap());
        tokio::time::timeout(wait, connections.next()).await.expect_err("no other has spoken");
    }

    #[tokio::test]
    async fn a_burst_of_connections_waits_until_it_is_taken() {
        let (_nobody_takes, at) = tcp("127.0.0.1:0".parse().unwrap(), "grpc_listen").unwrap();
        let began = std::time::Instant::now();
        let burst: Vec<_> = (0..1_000).map(|_| std::net::TcpStream::connect(at).unwrap()).collect();
        assert!(began.elapsed() < std::time::Duration::from_millis(900), "{:?}", began.elapsed());
        drop(burst);
    }

    #[tokio::test]
    async fn a_taken_port_names_the_setting_and_the_next_step() {
        let (_first, taken) = tcp("127.0.0.1:0".parse().unwrap(), "grpc_listen").unwrap();
        let error = tcp(taken, "grpc_listen").unwrap_err().to_string();
        assert!(error.contains("grpc_listen = 127.0.0.1:") && error.contains("set another port"), "{error}");
    }
}
