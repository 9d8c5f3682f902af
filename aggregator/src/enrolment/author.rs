//! Who asks.

use starling_service::listen::Peer;
use tonic::Request;

/// Longest name of an author.
const LEN_MAX: usize = 128;
/// In whose name another aggregator asks.
pub(super) const ON_BEHALF_OF: &str = "starling-on-behalf-of";

/// The caller by its certificate; of another aggregator, in whose name it asks; else what the request says of it.
pub(super) fn of<T>(request: &Request<T>, said: &str) -> String {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.identity.clone());
    let behalf = request.metadata().get(ON_BEHALF_OF).and_then(|name| name.to_str().ok());
    let name = match (&peer, behalf) {
        (Some(peer), Some(behalf)) if peer.role == starling_service::identity::Role::Aggregator => behalf.to_owned(),
        (Some(peer), _) => peer.short(),
        (None, _) if said.is_empty() => "an operator".to_owned(),
        (None, _) => said.to_owned(),
    };
    name.chars().filter(|c| !c.is_control()).take(LEN_MAX).collect()
}
