//! The keys of gossip: which there are, which one seals, and how they change while nobody is left deaf.
//!
//! They stand in a file that an operator looks after (`gossip_keyring`), or aggregators hand them to each other over mutual
//! TLS: then the ring is the same at all of them, is kept in `state_dir`, and changes by steps that are checked first. Who
//! comes new, or was away during a change, needs a certificate and nothing else.
//!
//! - [`keyring`]: keys, and their text;
//! - [`state`]: the ring with its version, how two are brought in step, the steps, and the first ring; pure;
//! - [`objection`]: what a step would break, by what every member has; pure;
//! - [`in_use`]: what gossip uses of a ring; pure;
//! - [`file`]: a file of keys, read again and again;
//! - [`held`]: the ring of this process, on the disk and in use.

mod file;
mod held;
mod in_use;
mod keyring;
mod objection;
mod state;

#[cfg(test)]
pub(super) use self::keyring::of_test;
pub(crate) use self::{
    held::{KeySource, Rings},
    keyring::KeyId,
    objection::{Standing, objections},
    state::{Answered, Ring, RingStatus, Sealing, Step, may_make},
};
pub(super) use self::{
    in_use::InUse,
    keyring::{Key, Keyring},
};
