//! What gossip uses of a ring. Pure.

use super::{
    keyring::Keyring,
    state::{Ring, RingStatus, Sealing},
};

/// Why gossip cannot begin without a ring.
pub(super) const NO_KEY: &str = "no key of gossip yet: no aggregator that has one answers (see `join`)";

/// What gossip uses now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::membership) struct InUse {
    /// `None`: there are none yet, and no datagram is sent or believed that needs one.
    pub(in crate::membership) keys: Option<Keyring>,
    /// Datagrams go out sealed.
    pub(in crate::membership) sends_sealed: bool,
    /// Open datagrams are believed.
    pub(in crate::membership) believes_open: bool,
    /// What is published of it.
    pub(in crate::membership) status: Option<RingStatus>,
    /// Why gossip cannot begin.
    pub(in crate::membership) wanting: Option<String>,
}

impl InUse {
    /// Of a file: as every datagram is sealed then.
    pub(super) fn of_file(keys: Keyring) -> Self {
        Self { status: Some(Ring::of_file(keys.clone()).status(true)), ..Self::sealed(keys) }
    }

    const fn sealed(keys: Keyring) -> Self {
        Self { keys: Some(keys), sends_sealed: true, believes_open: false, status: None, wanting: None }
    }

    /// Of a ring that was handed to us.
    pub(super) fn of_ring(ring: Option<&Ring>, may_be_open: bool) -> Self {
        let nothing = |wanting: &str| Self {
            keys: None,
            sends_sealed: true,
            believes_open: false,
            status: ring.map(|ring| ring.status(false)),
            wanting: Some(wanting.to_owned()),
        };
        let Some(ring) = ring else {
            return nothing(NO_KEY);
        };
        if ring.sealing() == Sealing::Open && !may_be_open {
            return nothing(
                "the gossip of this cluster is open, and insecure is not set here: run `starling gossip seal send`, then \
                 `starling gossip seal require`",
            );
        }
        Self {
            sends_sealed: ring.sealing() > Sealing::Open,
            // Who does not allow it never believes it, also on the way.
            believes_open: ring.sealing() < Sealing::Require && may_be_open,
            status: Some(ring.status(false)),
            ..Self::sealed(ring.keys().clone())
        }
    }
}
