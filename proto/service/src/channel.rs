//! How one Starling program dials another: the one place where a gRPC channel is made, and where TLS will go.

use std::time::Duration;

use starling_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use tonic::transport::{Channel, Endpoint};

use crate::parts::chain;

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

    /// Connects.
    ///
    /// # Errors
    /// Why not, with all causes, in one line.
    pub async fn connect(self, address: &str) -> Result<Channel, String> {
        self.endpoint(address)?.connect().await.map_err(|error| chain(&error))
    }

    /// A channel that connects when it is first used, and again after it was lost.
    ///
    /// # Errors
    /// When `address` is not "host:port".
    pub fn connect_lazy(self, address: &str) -> Result<Channel, String> {
        Ok(self.endpoint(address)?.connect_lazy())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_says_its_cause_once() {
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let dial = Dial::within(Duration::from_secs(2));
        let error = dial.connect(&closed).await.unwrap_err();
        assert!(error.contains("Connection refused"), "{error}");
        assert_eq!(error.matches("tcp connect error").count(), 1, "{error}");
        assert!(dial.connect_lazy("not an address").is_err());
    }
}
