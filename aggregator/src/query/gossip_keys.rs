//! The keys of gossip, for operators.

use starling_proto::v1::{self, change_gossip_keys_request::Step as WireStep};
use tonic::Status;

use crate::{
    membership::{KeyId, Sealing, Standing, Step},
    peer::Changed,
};

/// Reads a step.
///
/// # Errors
/// `INVALID_ARGUMENT` with the field.
pub(super) fn step(request: &v1::ChangeGossipKeysRequest) -> Result<Step, Status> {
    let id = |field: &str, bytes: &[u8]| {
        let wanted = || Status::invalid_argument(format!("{field}: wanted is the name of a key, 4 bytes"));
        KeyId::try_from(bytes).map_err(|_| wanted())
    };
    match &request.step {
        Some(WireStep::Install(_)) => Ok(Step::Install),
        Some(WireStep::Use(key)) => Ok(Step::Use(id("use", key)?)),
        Some(WireStep::Retire(key)) => Ok(Step::Retire(id("retire", key)?)),
        Some(WireStep::Seal(sealing)) => Sealing::of_wire(*sealing)
            .map(Step::Seal)
            .ok_or_else(|| Status::invalid_argument("seal: wanted is OPEN, SEND or REQUIRE")),
        None => Err(Status::invalid_argument("step: wanted is one of install, use, retire, seal")),
    }
}

/// The answer to a step.
pub(super) fn changed(changed: Changed, answered_by: &str) -> v1::GossipKeysChanged {
    v1::GossipKeysChanged {
        key_id: changed.made.map(|id| id.to_vec().into()).unwrap_or_default(),
        breaks: changed.breaks,
        keys: Some(keys(changed.members, answered_by)),
    }
}

/// The list.
pub(super) fn keys(members: Vec<Standing>, answered_by: &str) -> v1::GossipKeys {
    let member = |Standing { name, unreachable, status, .. }: Standing| v1::GossipKeysOfMember {
        aggregator_id: name,
        unreachable: unreachable.unwrap_or_default(),
        status: status.map(|status| status.to_wire()),
    };
    v1::GossipKeys { members: members.into_iter().map(member).collect(), answered_by: answered_by.to_owned() }
}
