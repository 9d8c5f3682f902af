//! Where a request comes from, through proxies that are believed. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// A network: addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    address: IpAddr,
    bits: u8,
}

impl Net {
    /// Reads "10.0.0.7", "10.0.0.0/8" or "fd00::/8".
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is no address or network, such as \"127.0.0.1\" or \"10.0.0.0/8\"");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wanted())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).ok().filter(|bits| *bits <= all).ok_or_else(wanted)?;
        Ok(Self { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(is)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(net) & mask == u32::from(is) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(is)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(net) & mask == u128::from(is) & mask
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Where a request comes from: the other end of its connection; behind a proxy of `trusted` the last of `forwarded`, the values
/// of `X-Forwarded-For`, that is none of them. What stands before that anybody can have written.
pub(crate) fn origin<'a>(peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>, trusted: &[Net]) -> IpAddr {
    let mut client = peer.to_canonical();
    for said in forwarded.rev().flat_map(|value| value.rsplit(',')) {
        if !trusted.iter().any(|net| net.holds(client)) {
            break;
        }
        // Some write a port behind it.
        let said = said.trim();
        let address = said.parse().or_else(|_| said.parse().map(|at: std::net::SocketAddr| at.ip()));
        let Ok(address) = address else { break };
        client = IpAddr::to_canonical(&address);
    }
    client
}

/// Whose bucket an address shares: of IPv6 a network of 64 bits, which is what one customer has at least.
pub(crate) fn bucket(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(is) => IpAddr::V6(Ipv6Addr::from(u128::from(is) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<Net> {
        texts.iter().map(|text| Net::parse(text).unwrap()).collect()
    }

    #[test]
    fn networks_are_read_and_hold_their_addresses() {
        for (net, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::1/128", "::1", "::2"),
        ] {
            let net = Net::parse(net).unwrap();
            assert!(net.holds(inside.parse().unwrap()) && !net.holds(outside.parse().unwrap()), "{net}");
        }
        for bad in ["", "localhost", "10.0.0.0/33", "10.0.0.0/x", "::/129", "10.0.0.0/"] {
            assert!(Net::parse(bad).unwrap_err().contains("no address or network"), "{bad}");
        }
    }

    #[test]
    fn what_a_client_says_of_itself_is_not_believed() {
        let of = |peer: &str, said: &[&str], trusted: &[&str]| {
            origin(peer.parse().unwrap(), said.iter().copied(), &nets(trusted)).to_string()
        };
        // Straight to the port.
        assert_eq!(of("192.0.2.1", &["127.0.0.1"], &[]), "192.0.2.1");
        assert_eq!(of("192.0.2.1", &["127.0.0.1"], &["127.0.0.1"]), "192.0.2.1");
        // Through a proxy that adds what it sees.
        assert_eq!(of("127.0.0.1", &["192.0.2.7"], &["127.0.0.1"]), "192.0.2.7");
        assert_eq!(of("127.0.0.1", &["10.9.9.9, 192.0.2.7"], &["127.0.0.1"]), "192.0.2.7");
        assert_eq!(of("127.0.0.1", &["10.9.9.9", "192.0.2.7"], &["127.0.0.1"]), "192.0.2.7");
        // Through two of them.
        assert_eq!(of("127.0.0.1", &["192.0.2.7, 10.0.0.3"], &["127.0.0.1", "10.0.0.0/8"]), "192.0.2.7");
        assert_eq!(of("::ffff:127.0.0.1", &["[2001:db8::1]:443"], &["127.0.0.1"]), "2001:db8::1");
        assert_eq!(of("127.0.0.1", &["nonsense"], &["127.0.0.1"]), "127.0.0.1");
        assert_eq!(of("127.0.0.1", &[], &["127.0.0.1"]), "127.0.0.1");
    }

    #[test]
    fn a_customer_of_ipv6_is_one() {
        let of = |text: &str| bucket(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
