//! Where a notifier may connect to.
//!
//! An address within this machine or its network is refused unless the settings allow it: who may write a URL must not reach
//! what only this host reaches, such as the metadata service of a cloud at 169.254.169.254. A name is looked up for each
//! connection, and the address that is connected to is the one that was checked.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hyper::Uri;

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    bits: u128,
    mask: u128,
}

const fn as_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Network {
    /// "10.0.0.0/8", "fd00::/8", or one address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is not an address or a network such as \"10.0.0.0/8\"");
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| wanted())?;
        let longest: u32 = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = length.map_or(Ok(longest), str::parse).map_err(|_| wanted())?;
        let free = longest.checked_sub(length).ok_or_else(wanted)?;
        let mask = u128::MAX.checked_shl(free).unwrap_or(0);
        Ok(Self { bits: as_bits(address) & mask, mask })
    }

    fn has(self, address: IpAddr) -> bool {
        as_bits(address) & self.mask == self.bits
    }
}

/// Why an address is not for everybody.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, ..] = address.octets();
    Some(match (a, b) {
        _ if address.is_loopback() => "loopback",
        _ if address.is_link_local() => "link-local",
        _ if address.is_private() => "private",
        // RFC 6598, RFC 6890, RFC 2544, RFC 1112: of a carrier, of protocols, for benchmarks, reserved with broadcast.
        (100, 64..=127) => "shared",
        (0, _) | (192, 0) | (198, 18..=19) | (240..=255, _) => "reserved",
        _ if address.is_multicast() => "multicast",
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    // An address of version 4 inside one of version 6: mapped, compatible, by NAT64 (RFC 6052) and by 6to4 (RFC 3056).
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| special_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    Some(match (a, b, c, d, e, f) {
        _ if address.is_loopback() => "loopback",
        _ if address.is_unspecified() => "reserved",
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => return v4(g, h),
        (0x2002, ..) => return v4(b, c),
        (0xfe80..=0xfebf, ..) => "link-local",
        (0xfc00..=0xfdff | 0xfec0..=0xfeff, ..) => "private",
        (0xff00..=0xffff, ..) => "multicast",
        _ => return None,
    })
}

/// An address that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("destination refused: {address} is {what}; allow_networks of the notifier can allow it")]
pub(crate) struct Denied {
    address: IpAddr,
    what: &'static str,
}

/// Whether `address` may be connected to.
pub(crate) fn check(address: IpAddr, allowed: &[Network]) -> Result<(), Denied> {
    match special(address) {
        Some(what) if !allowed.iter().any(|network| network.has(address)) => Err(Denied { address, what }),
        _ => Ok(()),
    }
}

/// A host and what is asked of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl fmt::Debug for Target {
    /// Without the path: that of many a webhook is its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The address that a host of a URL is, in any of the spellings that resolvers take for numbers: "127.1", "0x7f000001",
/// "2130706433", "0177.0.0.1".
fn number(host: &str) -> Option<Ipv4Addr> {
    let part = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some("") => Some(0),
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    let parts: Vec<u32> = host.trim_end_matches('.').split('.').map(part).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) || u64::from(*last) >= 1 << (8 * (4 - first.len())) {
        return None;
    }
    let high = first.iter().enumerate().map(|(at, part)| part << (24 - 8 * at)).sum::<u32>();
    Some(Ipv4Addr::from_bits(high | last))
}

impl Target {
    /// Of a URL of http or https, whose host is no refused address. Errors do not repeat the path.
    pub(crate) fn parse(url: &str, allowed: &[Network]) -> Result<Self, String> {
        let uri: Uri = url.trim().parse().map_err(|error| format!("it is no URL: {error}"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(format!("{other:?} is not taken, only http and https are")),
            None => return Err("it does not start with http:// or https://".to_owned()),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a name or password: for these there are keys of their own".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("it names no host".to_owned());
        }
        let literal = host.parse().ok().or_else(|| number(&host).map(IpAddr::V4));
        if let Some(address) = literal {
            check(address, allowed).map_err(|denied| denied.to_string())?;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let host = literal.map_or(host, |address| address.to_string());
        Ok(Self { tls, host, port, path })
    }

    /// As it stands in the header `Host`.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_refused_in_every_spelling() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://127.1:6379/",
            "http://0177.0.0.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://10.1.2.3/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "file:///etc/passwd",
            "gopher://example.org/",
            "http://user:pass@example.org/",
            "example.org/hook",
            "http:///hook",
        ] {
            assert!(Target::parse(url, &[]).is_err(), "{url}");
        }
        for url in ["https://hooks.example.org/a?b=c", "http://192.0.2.7:8080/", "http://[2001:db8::1]/"] {
            // 192.0.2.0/24 is for documents, and within what is reserved.
            assert_eq!(Target::parse(url, &[Network::parse("192.0.2.0/24").unwrap()]).err(), None, "{url}");
        }
    }

    #[test]
    fn what_is_allowed_is_taken_and_nothing_else() {
        let allowed = [Network::parse("127.0.0.0/8").unwrap(), Network::parse("fd00::7").unwrap()];
        assert!(Target::parse("http://127.0.0.1:9/", &allowed).is_ok());
        assert!(Target::parse("http://0x7f000001/", &allowed).is_ok());
        assert!(Target::parse("http://[fd00::7]/", &allowed).is_ok());
        for url in ["http://10.0.0.1/", "http://[fd00::8]/", "http://[::1]/"] {
            assert!(Target::parse(url, &allowed).is_err(), "{url}");
        }
        for text in ["", "10.0.0.0/33", "a", "10.0.0.0/x"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
        let target = Target::parse("https://hooks.example.org/T0/secret", &[]).unwrap();
        assert!(!format!("{target:?}").contains("secret"));
        assert_eq!((target.authority().as_str(), target.path.as_str()), ("hooks.example.org", "/T0/secret"));
    }
}
