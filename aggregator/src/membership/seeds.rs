//! The addresses behind the seeds that are names, looked up again and again, each on a task of its own: one slow name holds up
//! neither the start nor the others.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use tokio::{net::lookup_host, sync::watch};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// A name is looked up again this long after the last answer, jittered by half.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// One that gave no answer, sooner.
const FAILED_AGAIN: Duration = Duration::from_secs(5);
/// Addresses taken of one name.
const ADDRESSES_MAX: usize = 64;

/// Addresses by name.
pub(super) type Addresses = BTreeMap<String, Vec<SocketAddr>>;

/// One spelling for one address: IPv4 dressed as IPv6 is IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match (address.ip().to_canonical(), address) {
        // A zone stays: it is needed for dialling.
        (IpAddr::V6(ip), SocketAddr::V6(v6)) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
        (ip, _) => SocketAddr::new(ip, address.port()),
    }
}

/// Follows `names` on tasks of `tasks`, which end with the last receiver. Who cannot be looked up keeps the addresses it had.
pub(super) fn follow(names: impl IntoIterator<Item = String>, tasks: &TaskTracker) -> watch::Receiver<Addresses> {
    let (sender, receiver) = watch::channel(Addresses::new());
    for name in names {
        tasks.spawn(look_up(name, sender.clone()));
    }
    receiver
}

async fn look_up(name: String, addresses: watch::Sender<Addresses>) {
    let mut told = None;
    loop {
        let asked = tokio::select! {
            biased;
            () = addresses.closed() => return,
            asked = lookup_host(&name) => asked,
        };
        let wait = match asked {
            Ok(found) => {
                let mut found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).map(canonical).collect();
                found.sort_unstable();
                found.dedup();
                addresses.send_if_modified(|known| {
                    let differs = known.get(&name) != Some(&found);
                    if differs {
                        info!(seed = name, addresses = ?found, "seed found");
                        known.insert(name.clone(), found);
                    }
                    differs
                });
                told = None;
                LOOK_UP_EVERY
            }
            Err(error) => {
                let error = error.to_string();
                // Once for as long as it stays the same.
                if told.as_ref() != Some(&error) {
                    warn!(seed = name, error, "seed not found, it is looked up again and again");
                    told = Some(error);
                }
                FAILED_AGAIN
            }
        };
        tokio::select! {
            biased;
            () = addresses.closed() => return,
            () = tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for (given, wanted) in [
            ("[::ffff:10.90.0.2]:7401", "10.90.0.2:7401"),
            ("10.90.0.2:7401", "10.90.0.2:7401"),
            ("[FD90:0:0::2]:7401", "[fd90::2]:7401"),
            ("[fe80::1%3]:7401", "[fe80::1%3]:7401"),
        ] {
            assert_eq!(canonical(given.parse().unwrap()).to_string(), wanted);
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_found_holds_up_no_other() {
        let tasks = TaskTracker::new();
        let names = ["localhost:7401", "no-such-host.invalid:7401"].map(str::to_owned);
        let mut addresses = follow(names, &tasks);
        let found = tokio::time::timeout(Duration::from_secs(20), addresses.wait_for(|known| !known.is_empty())).await;
        let found = found.expect("localhost is known").unwrap().clone();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["localhost:7401"]);
        assert!(found["localhost:7401"].iter().all(|address| address.ip().is_loopback() && address.port() == 7401));
        drop(addresses);
        tasks.close();
        tokio::time::timeout(Duration::from_secs(20), tasks.wait()).await.expect("the tasks end with the receiver");
    }
}
