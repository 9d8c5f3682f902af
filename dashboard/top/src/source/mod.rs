//! Where messages come from.
//!
//! - any aggregator, through the hub of the dashboard server in this process;
//! - [`page`]: a dashboard server, through its live WebSocket.

mod page;

use starling_dashboard::Viewer;
use starling_proto::live::{ClientMessage, ServerMessage, Subscribe, View, client_message, server_message};
use starling_service::credentials::Security;
use tonic::transport::Channel;

use page::{Address, Page, bearer};

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arrival {
    /// A message.
    Message(Box<server_message::Body>),
    /// The connection is lost, or was not made: why. It is tried again, and a hello begins the next one.
    Lost(String),
}

/// Where messages come from.
#[allow(missing_debug_implementations, reason = "connections say nothing")]
pub struct Source(From);

enum From {
    Aggregators(Box<Viewer>),
    Page(Page),
    #[cfg(feature = "testsuite")]
    Panics,
}

impl Source {
    /// Any aggregator, by gRPC: one of these ("host:port" each, at least one), and others that it names when that one fails.
    /// To be called on a runtime.
    #[must_use]
    pub fn aggregators(security: Security, addresses: Vec<String>) -> Self {
        Self(From::Aggregators(Box::new(Viewer::follow(security, addresses))))
    }

    /// A dashboard server at an address such as "http://127.0.0.1:7480", by an API token when it has a log-in. To be called on a
    /// runtime.
    ///
    /// # Errors
    /// What is wrong with the address or the token.
    pub fn dashboard(address: &str, token: Option<&str>) -> Result<Self, String> {
        Ok(Self(From::Page(Page::follow(Address::parse(address)?, token.map(bearer).transpose()?))))
    }

    /// Panics soon after the screen was drawn for the first time.
    #[cfg(feature = "testsuite")]
    #[must_use]
    pub fn panics_for_test() -> Self {
        Self(From::Panics)
    }

    /// The next arrival. Nothing is lost when it is dropped before it is done.
    pub(crate) async fn next(&mut self) -> Arrival {
        match &mut self.0 {
            From::Aggregators(viewer) => loop {
                // Without a body it is of a version that says more than this one knows.
                if let ServerMessage { body: Some(body) } = viewer.next().await {
                    return Arrival::Message(Box::new(body));
                }
            },
            From::Page(page) => page.next().await,
            #[cfg(feature = "testsuite")]
            From::Panics => {
                // Shorter than what else wakes the screen, which would ask again.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                panic!("a planted panic");
            }
        }
    }

    /// Name of the cluster; empty while it is not known.
    pub(crate) fn cluster(&self) -> String {
        match &self.0 {
            From::Aggregators(viewer) => viewer.cluster(),
            From::Page(page) => page.cluster(),
            #[cfg(feature = "testsuite")]
            From::Panics => String::new(),
        }
    }

    /// The aggregator that is followed; `None` while none is, and behind a dashboard.
    pub(crate) fn upstream(&self) -> Option<Channel> {
        match &self.0 {
            From::Aggregators(viewer) => viewer.upstream(),
            _ => None,
        }
    }

    /// Asks for something.
    pub(crate) fn send(&mut self, body: client_message::Body) {
        let message = ClientMessage { body: Some(body) };
        match &mut self.0 {
            From::Aggregators(viewer) => viewer.send(message),
            From::Page(page) => page.send(message),
            #[cfg(feature = "testsuite")]
            From::Panics => {}
        }
    }
}

/// Asks for a view.
pub(crate) fn subscribe(id: u32, view: View, node_id: &str, resume_tick: u32) -> client_message::Body {
    client_message::Body::Subscribe(Subscribe {
        id,
        view: view.into(),
        node_id: node_id.to_owned(),
        group: String::new(),
        resume_tick,
    })
}
