//! Who asks a target, and whom to believe that it is the one.

use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use starling_service::http_client::{Credentials, Trust};

/// What the settings say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Login {
    pub(super) trust: Trust,
    token_file: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
}

impl Login {
    /// Takes a word `key=value`; false when it is about something else.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        let file = || match Path::new(value).is_absolute() {
            true => Ok(Some(PathBuf::from(value))),
            false => Err(format!("has {key}={value:?}, where an absolute path is wanted")),
        };
        match key {
            "ca_file" => self.trust.ca_file = file()?,
            "server_name" => self.trust.server_name = Some(value.to_owned()),
            "token_file" => self.token_file = file()?,
            "user" => self.user = Some(value.to_owned()),
            "password_file" => self.password_file = file()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the words fit each other.
    ///
    /// # Errors
    /// Which do not.
    pub(super) fn check(&self, is_https: bool) -> Result<(), String> {
        let what = match (&self.token_file, &self.user, &self.password_file) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => "has a token and a password, of which one is sent",
            (None, Some(_), None) => "has a user without password_file",
            (None, None, Some(_)) => "has password_file without a user",
            _ if !is_https && self.trust != Trust::default() => {
                "has ca_file or server_name and is http: write https://"
            }
            _ => return Ok(()),
        };
        Err(what.to_owned())
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials::of(self.token_file.as_deref().or(self.password_file.as_deref()), self.user.as_deref())
    }

    /// Whether somebody on the way to `base` can read the credentials.
    pub(super) fn is_in_the_clear(&self, base: &str) -> bool {
        let Some(authority) = base.strip_prefix("http://") else { return false };
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        self.credentials() != Credentials::None && !is_here
    }

    /// What to do about an answer that is about who asks.
    pub(super) fn advice(&self, status: StatusCode) -> Option<String> {
        if ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) {
            return None;
        }
        Some(match self.token_file.as_ref().or(self.password_file.as_ref()) {
            Some(file) => format!(
                "it does not take what stands in {}: renew that file, it is read for each scrape",
                file.display()
            ),
            None => {
                "it wants to know who asks: add token_file=/path, or user=NAME password_file=/path, to the target in \
                     scrape_targets"
                    .to_owned()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_the_clear_are_noticed_and_a_refusal_says_what_to_do() {
        let mut login = Login::default();
        assert!(!login.is_in_the_clear("http://a:1"));
        assert!(login.advice(StatusCode::UNAUTHORIZED).unwrap().contains("token_file=/path"));
        assert_eq!(login.set("token_file", "/t"), Ok(true));
        assert_eq!(login.set("env", "/t"), Ok(false));
        assert!(login.is_in_the_clear("http://a:1") && !login.is_in_the_clear("https://a:1"));
        for here in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert!(!login.is_in_the_clear(here), "{here}");
        }
        assert!(login.advice(StatusCode::FORBIDDEN).unwrap().contains("what stands in /t"));
        assert_eq!(login.advice(StatusCode::NOT_FOUND), None);
    }
}
