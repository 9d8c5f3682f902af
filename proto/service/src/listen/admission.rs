//! How many connections somebody may have open at once. Pure but for the lock.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::identity::Identity;

/// Connections of one listener. Each costs a descriptor and, open, some 10 KiB.
pub(super) const CONNECTIONS_MAX: usize = 16_384;
/// Of one certificate: a node has one, a dashboard one an aggregator and some for questions.
pub(super) const OF_CERTIFICATE_MAX: usize = 64;
/// Of one address without a certificate. Loopback has no bound of its own: all senders of a host stand behind it.
pub(super) const OF_ADDRESS_MAX: usize = 1_024;

/// Whose a connection is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// By its certificate.
    Certificate(Identity),
    /// By its address.
    Address(IpAddr),
}

impl Whose {
    fn most(&self) -> usize {
        match self {
            Self::Certificate(_) => OF_CERTIFICATE_MAX,
            Self::Address(address) if address.is_loopback() => CONNECTIONS_MAX,
            Self::Address(_) => OF_ADDRESS_MAX,
        }
    }
}

/// The connections of one listener that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct Admission(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by: HashMap<Whose, usize>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    of: Admission,
    whose: Whose,
}

impl Admission {
    /// Takes a place.
    ///
    /// # Errors
    /// Which bound it would pass.
    pub(super) fn take(&self, whose: Whose) -> Result<Place, String> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= CONNECTIONS_MAX {
            return Err(format!("{CONNECTIONS_MAX} connections are open, more are not taken"));
        }
        let most = whose.most();
        let count = open.by.entry(whose.clone()).or_default();
        if *count >= most {
            return Err(match &whose {
                Whose::Certificate(identity) => format!("{} has {most} connections open", identity.short()),
                Whose::Address(address) => format!("{address} has {most} connections open"),
            });
        }
        *count += 1;
        open.all += 1;
        Ok(Place { of: self.clone(), whose })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        if let Some(count) = open.by.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                open.by.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_certificate_or_address_takes_no_more_than_its_share() {
        let admission = Admission::default();
        let node = Whose::Certificate(Identity::parse("spiffe://s/node/web-1").unwrap());
        let mut places: Vec<_> = (0..OF_CERTIFICATE_MAX).map(|_| admission.take(node.clone()).unwrap()).collect();
        let error = admission.take(node.clone()).unwrap_err();
        assert!(error.contains("node web-1 has 64"), "{error}");
        let other = Whose::Address([10, 0, 0, 1].into());
        let others: Vec<_> = (0..OF_ADDRESS_MAX).map(|_| admission.take(other.clone()).unwrap()).collect();
        assert!(admission.take(other).is_err());
        places.pop();
        drop(admission.take(node).unwrap());
        drop((places, others));
        let open = admission.0.lock().unwrap();
        assert!(open.all == 0 && open.by.is_empty());
    }

    #[test]
    fn senders_of_this_host_share_the_bound_of_the_listener() {
        let admission = Admission::default();
        let here = Whose::Address([127, 0, 0, 1].into());
        let places: Vec<_> = (0..CONNECTIONS_MAX).map(|_| admission.take(here.clone()).unwrap()).collect();
        assert!(admission.take(here).unwrap_err().contains("are open"));
        drop(places);
    }
}
