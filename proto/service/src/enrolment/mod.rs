//! How a program becomes a member of a cluster by a join token, and stays one.
//!
//! [`join`] makes a key that never leaves the host, learns the authorities of the cluster, compares them with the digest
//! in the token, and only then, over a connection proved by them, shows the token and gets a certificate. What it got is
//! in one folder ([`Folder`]); [`Renewal`] renews it long before its end, with the same key, also after its end, and
//! keeps in step with the authorities of the cluster. [`LeaveArgs`] ends it.

mod authorities;
mod command;
mod folder;
mod join;
mod leave;
mod previous;
mod renew;
mod token;

pub use self::{
    command::JoinArgs,
    folder::{Folder, FolderError, Joined, leaving},
    join::{JoinError, Reason, Wish, join},
    leave::LeaveArgs,
    renew::{Renewal, RenewalMetrics, aggregators, security, seeds},
    token::{JoinToken, TokenError},
};
