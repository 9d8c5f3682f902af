//! Opening a listener, with errors that tell the next step.

use std::net::SocketAddr;

use starling_proto::address::LOOPBACK_ONLY;
use tokio::net::TcpListener;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not a loopback address.
    #[error("{setting} = {address}: {LOOPBACK_ONLY}")]
    NotLoopback {
        /// Name of the setting.
        setting: String,
        /// Its value.
        address: SocketAddr,
    },
    /// The operating system refused, mostly because the port is taken.
    #[error("{setting} = {address}: {}", reason(source))]
    Bind {
        /// Name of the setting.
        setting: String,
        /// Its value.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program listens there; stop it or set another port".to_owned(),
        std::io::ErrorKind::PermissionDenied => "not permitted; set a port above 1023".to_owned(),
        _ => error.to_string(),
    }
}

/// Refuses addresses that other hosts can reach.
///
/// # Errors
/// [`ListenError::NotLoopback`], naming the setting.
fn require_loopback(address: SocketAddr, setting: &str) -> Result<(), ListenError> {
    if address.ip().is_loopback() {
        Ok(())
    } else {
        Err(ListenError::NotLoopback { setting: setting.to_owned(), address })
    }
}

/// Opens a TCP listener on a loopback address, and says where it is: port 0 takes a free one.
///
/// # Errors
/// [`ListenError`], naming the setting and the next step.
pub async fn tcp(address: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), ListenError> {
    require_loopback(address, setting)?;
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bound.await.map_err(|source| ListenError::Bind { setting: setting.to_owned(), address, source })
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

    #[tokio::test]
    async fn other_hosts_are_kept_out() {
        let error = tcp("0.0.0.0:0".parse().unwrap(), "listen").await.unwrap_err().to_string();
        assert!(error.contains("listen = 0.0.0.0:0") && error.contains("loopback"), "{error}");
    }
}
