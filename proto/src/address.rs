//! "host:port" as it stands in settings and in messages: one rule for all programs.

use std::net::{IpAddr, Ipv6Addr};

/// Longest address: 253 characters of a DNS name (RFC 1035), brackets, colon and port.
const ADDRESS_LEN_MAX: usize = 262;

/// Not "host:port".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not \"host:port\", such as \"127.0.0.1:7400\"")]
pub struct NotHostPort(pub String);

/// Host and port of an address. The host is a DNS name, an IPv4 address, or an IPv6 address in brackets; the port is
/// not 0.
///
/// # Errors
/// [`NotHostPort`] with the start of the text.
pub fn host_port(text: &str) -> Result<(&str, u16), NotHostPort> {
    let not = || NotHostPort(text.chars().take(ADDRESS_LEN_MAX).collect());
    if text.len() > ADDRESS_LEN_MAX {
        return Err(not());
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(not)?;
    // `parse` also takes "+80".
    let port = if port.starts_with('+') { None } else { port.parse::<u16>().ok().filter(|&port| port > 0) };
    if is_host(host) { port.map(|port| (host, port)).ok_or_else(not) } else { Err(not()) }
}

/// True for a DNS name, an IPv4 address, or an IPv6 address in brackets.
#[must_use]
pub fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()),
        None => !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    }
}

/// True for "host:port".
#[must_use]
pub fn is_host_port(text: &str) -> bool {
    host_port(text).is_ok()
}

/// True for a host that no other machine can be: a loopback address or the name `localhost` (RFC 6761).
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["127.0.0.1:7400", "[::1]:7400", "a.example-1:1", "localhost:65535"] {
            assert!(is_host_port(good), "{good}");
        }
        let long = format!("{}:1", "a".repeat(300));
        for bad in
            ["", ":1", "a", "a:", "a:0", "a:+1", "a:65536", "::1:7400", "[::1:7400", "a b:1", "http://a:1", &long]
        {
            let error = host_port(bad).unwrap_err().to_string();
            assert!(error.contains("host:port") && error.len() < 400, "{bad}");
        }
    }

    #[test]
    fn loopback_is_distinguished_from_the_rest() {
        for here in ["127.0.0.1", "127.9.9.9", "[::1]", "LocalHost", "::ffff:127.0.0.1"] {
            assert!(is_loopback_host(here), "{here}");
        }
        for there in ["10.0.0.1", "example.org", "[2001:db8::1]", "::ffff:10.0.0.1"] {
            assert!(!is_loopback_host(there), "{there}");
        }
    }
}
