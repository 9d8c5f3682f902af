//! Where messages come from.

use starling_dashboard::Viewer;
use starling_proto::live::{ClientMessage, ServerMessage, Subscribe, View, client_message, server_message};
use starling_service::credentials::Security;

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arrival {
    /// A message.
    Message(server_message::Body),
}

/// Where messages come from.
#[allow(missing_debug_implementations, reason = "connections say nothing")]
pub struct Source(From);

enum From {
    Aggregators(Box<Viewer>),
}

impl Source {
    /// Any aggregator, by gRPC: one of these ("host:port" each, at least one), and others that it names when that one fails.
    /// To be called on a runtime.
    #[must_use]
    pub fn aggregators(security: Security, addresses: Vec<String>) -> Self {
        Self(From::Aggregators(Box::new(Viewer::follow(security, addresses))))
    }

    /// The next arrival. Nothing is lost when it is dropped before it is done.
    pub(crate) async fn next(&mut self) -> Arrival {
        let From::Aggregators(viewer) = &mut self.0;
        loop {
            // Without a body it is of a version that says more than this one knows.
            if let ServerMessage { body: Some(body) } = viewer.next().await {
                return Arrival::Message(body);
            }
        }
    }

    /// Name of the cluster; empty while it is not known.
    pub(crate) fn cluster(&self) -> String {
        let From::Aggregators(viewer) = &self.0;
        viewer.cluster()
    }

    /// Asks for something.
    pub(crate) fn send(&mut self, body: client_message::Body) {
        let From::Aggregators(viewer) = &mut self.0;
        viewer.send(ClientMessage { body: Some(body) });
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
