//! Which address of this host the others are told, where the settings do not say.
//!
//! The routes of the host are asked, not the list of its addresses: what a datagram to a seed would go out from leads back from
//! there, whatever bridges and tunnels there are beside it. Nothing is sent for that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::seeds::canonical;

/// Addresses that are nobody's (RFC 5737, RFC 3849): the route to them is that to everywhere.
const ANYWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// What an address is to be found from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// Where it listens; another family than this is none of ours.
    pub(super) listen: IpAddr,
    /// Addresses of seeds, as far as they are known.
    pub(super) seeds: &'a [SocketAddr],
    /// Seeds are set, known or not.
    pub(super) seeded: bool,
}

/// The address of this host, and why it is this one.
///
/// # Errors
/// Why there is none (yet), for the log and `/ready`.
pub(super) fn find(known: Known<'_>) -> Result<(IpAddr, String), String> {
    find_by(known, source_toward)
}

/// `source`: the address from which this host sends to another; `None` without a route.
fn find_by(
    Known { listen, seeds, seeded }: Known<'_>,
    source: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Result<(IpAddr, String), String> {
    let family = |ip: &IpAddr| listen.is_ipv6() || ip.is_ipv4();
    let others =
        seeds.iter().map(|seed| canonical(*seed)).filter(|seed| !seed.ip().is_loopback() && family(&seed.ip()));
    let mut unusable = None;
    for seed in others {
        match source(seed.ip()).map(|ip| ip.to_canonical()) {
            Some(ip) if is_told(ip) => return Ok((ip, format!("the way to the seed {seed} begins there"))),
            Some(ip) => {
                unusable = Some(format!("the way to the seed {seed} begins at {ip}, which means nothing elsewhere"));
            }
            None => {}
        }
    }
    if let Some(unusable) = unusable {
        return Err(format!("{unusable}: set gossip_advertise and grpc_advertise"));
    }
    let out =
        ANYWHERE.into_iter().filter(family).find_map(source).map(|ip| ip.to_canonical()).filter(|ip| is_told(*ip));
    let elsewhere = seeds.iter().any(|seed| !seed.ip().is_loopback());
    match out {
        Some(ip) => Ok((ip, "the way out of this host begins there".to_owned())),
        None if seeded && (elsewhere || seeds.is_empty()) => {
            Err("no address of this host leads to a seed: waiting for one \
             (else set gossip_advertise and grpc_advertise)"
                .to_owned())
        }
        // Nobody else can reach this host.
        None => Ok((loopback(listen), "this host has no way out".to_owned())),
    }
}

const fn loopback(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// An address that means the same to another host.
fn is_told(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !link_local && !ip.is_loopback() && !ip.is_unspecified()
}

fn source_toward(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // The port does not matter to the routes.
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

    /// What is told where `routes` are the destinations with the addresses from which they are reached.
    fn told(listen: IpAddr, seeds: &[&str], routes: &[(&str, &str)]) -> Result<String, String> {
        let source = |to: IpAddr| {
            let found = routes.iter().find(|(begin, _)| to.to_string().starts_with(begin));
            found.map(|(_, from)| from.parse().unwrap())
        };
        let addresses: Vec<SocketAddr> = seeds.iter().filter_map(|seed| seed.parse().ok()).collect();
        let known = Known { listen, seeds: &addresses, seeded: !seeds.is_empty() };
        find_by(known, source).map(|(ip, _)| ip.to_string())
    }

    #[test]
    fn the_way_to_a_seed_decides() {
        let bridge_and_tunnel = [("10.90.", "10.90.0.1"), ("10.8.", "10.8.0.2"), ("192.0.2.", "172.17.0.1")];
        assert_eq!(told(V4, &["10.90.0.2:7401"], &bridge_and_tunnel), Ok("10.90.0.1".into()));
        assert_eq!(told(V4, &["10.8.0.9:7401"], &bridge_and_tunnel), Ok("10.8.0.2".into()));
        assert_eq!(
            told(V4, &["10.90.0.1:7401", "10.90.0.2:7401"], &bridge_and_tunnel),
            Ok("10.90.0.1".into()),
            "itself first"
        );
        assert_eq!(told(V4, &[], &[("192.0.2.", "203.0.113.9")]), Ok("203.0.113.9".into()), "only a public one");
        assert_eq!(told(V6, &["[fd90::2]:7401"], &[("fd90", "fd90::1")]), Ok("fd90::1".into()), "only IPv6");
        assert_eq!(
            told(V6, &["10.90.0.2:7401"], &[("10.90.", "10.90.0.1")]),
            Ok("10.90.0.1".into()),
            "a socket of both families"
        );
        assert_eq!(
            told(V4, &["[fd90::2]:7401", "10.90.0.2:7401"], &[("10.", "10.90.0.1"), ("fd", "fd90::1")]),
            Ok("10.90.0.1".into())
        );
    }

    #[test]
    fn what_means_nothing_elsewhere_is_not_told() {
        assert!(
            told(V6, &["[fe80::2]:7401"], &[("fe80", "fe80::1"), ("2001", "2001:db8:9::1")])
                .unwrap_err()
                .contains("fe80::1")
        );
        assert!(told(V4, &["169.254.0.2:7401"], &[("169.254.", "169.254.0.1")]).is_err());
        assert!(told(V4, &["10.90.0.2:7401"], &[]).unwrap_err().starts_with("no address of this host"), "not up yet");
        assert!(told(V4, &["agg-2:7401"], &[]).is_err(), "a name that is not known yet");
        assert_eq!(told(V4, &["agg-2:7401"], &[("192.0.2.", "10.90.0.1")]), Ok("10.90.0.1".into()));
        assert_eq!(
            told(V4, &["127.0.1.1:7401"], &[("192.0.2.", "10.90.0.1")]),
            Ok("10.90.0.1".into()),
            "its own name, as Debian has it"
        );
        assert_eq!(told(V4, &[], &[]), Ok("127.0.0.1".into()), "alone on a host without a network");
        assert_eq!(told(V4, &["127.0.0.1:7411"], &[]), Ok("127.0.0.1".into()), "all on one host");
    }

    #[test]
    fn the_routes_of_this_host_are_asked() {
        assert_eq!(source_toward(Ipv4Addr::new(127, 0, 0, 5).into()), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
