//! The cookie of a session: how it is called, set, read and taken back.
//!
//! Browsers hold cookies by host, not by port, so the name has the port of this server: two of them on one host do not sign each other
//! out. With TLS a prefix of the name makes the browser keep it from being set by anybody else (RFC 6265bis, section 4.1.3).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// Prefixes of the name, the safest first: one that anybody can set does not win over one that only this host could.
const PREFIXES: [&str; 3] = ["__Host-", "__Secure-", ""];

/// See the module.
#[derive(Debug)]
pub(crate) struct Cookies {
    name: String,
    /// Below which the browser sends it.
    path: String,
    /// How long the browser keeps it.
    keep: Duration,
}

impl Cookies {
    /// Of a server at `port`, below `base` ("" or "/prefix").
    pub(crate) fn new(port: u16, base: &str, keep: Duration) -> Self {
        let path = if base.is_empty() { "/" } else { base };
        Self { name: format!("starling_{port}"), path: path.to_owned(), keep }
    }

    /// The secret that a browser sends.
    pub(super) fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let all = || {
            let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
        };
        let of = |prefix: &str| {
            all().find(|(name, _)| name.strip_prefix(prefix) == Some(&*self.name)).map(|(_, value)| value)
        };
        PREFIXES.iter().find_map(|prefix| of(prefix))
    }

    /// The header that gives a browser its secret.
    pub(super) fn set(&self, secret: &str, https: bool) -> Option<HeaderValue> {
        self.header(secret, https, self.keep.as_secs())
    }

    /// The header that takes it back.
    pub(super) fn clear(&self, https: bool) -> Option<HeaderValue> {
        self.header("", https, 0)
    }

    fn header(&self, value: &str, https: bool, seconds: u64) -> Option<HeaderValue> {
        let (prefix, secure) = match (https, self.path.as_str()) {
            (true, "/") => (PREFIXES[0], "; Secure"),
            (true, _) => (PREFIXES[1], "; Secure"),
            (false, _) => (PREFIXES[2], ""),
        };
        let Self { name, path, .. } = self;
        let text = format!("{prefix}{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        // Of parts that were checked.
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// Whether a page came by TLS, as its browser says when it sends a form: the proxy that ends TLS need not be believed.
pub(super) fn by_tls(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(base: &str) -> Cookies {
        Cookies::new(7480, base, Duration::from_secs(60))
    }

    #[test]
    fn the_name_says_how_safe_it_is() {
        let set = |base: &str, https| cookies(base).set("s", https).unwrap().to_str().unwrap().to_owned();
        let rest = "Max-Age=60; HttpOnly; SameSite=Lax";
        assert_eq!(set("", true), format!("__Host-starling_7480=s; Path=/; {rest}; Secure"));
        assert_eq!(set("/mon", true), format!("__Secure-starling_7480=s; Path=/mon; {rest}; Secure"));
        assert_eq!(set("", false), format!("starling_7480=s; Path=/; {rest}"));
        let clear = cookies("").clear(false).unwrap();
        assert!(clear.to_str().unwrap().starts_with("starling_7480=; Path=/; Max-Age=0;"));
        assert!(clear.is_sensitive());
    }

    #[test]
    fn the_safest_is_read_and_none_of_another_port() {
        let read = |values: &[&str]| {
            let values = values.iter().map(|value| (header::COOKIE, value.parse().unwrap()));
            cookies("").read(&HeaderMap::from_iter(values)).map(str::to_owned)
        };
        assert_eq!(read(&["a=b; starling_7480=s"]).as_deref(), Some("s"));
        assert_eq!(read(&["starling_7480=s; __Host-starling_7480=t"]).as_deref(), Some("t"));
        assert_eq!(read(&["starling_7481=s", "xstarling_7480=s", "starling_7480", ""]), None);
    }
}
