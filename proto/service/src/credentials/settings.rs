//! The table `tls` of every program, and the rule of what may be open to other hosts without it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use starling_proto::address::{host_port, is_loopback_host};

use super::Files;
use crate::{
    settings::{Mistakes, kind},
    state_folder,
};

/// What is known of a membership, beside its certificate.
pub(crate) const JOINED: &str = "joined.toml";

crate::settings! {
    /// Mutual TLS: who this program is, and whom it trusts. The files are read again every 5 seconds.
    pub struct TlsSettings {
        /// PEM file with the certificate of this program, then those between it and the authority. It names the cluster,
        /// the role and the name of this program: `starling ca issue` makes one, and so does any other authority with the
        /// URI spiffe://CLUSTER/ROLE/NAME.
        pub certificate: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/etc/starling/tls/certificate.pem\"";
        /// PEM file with its key. Others must not be able to read it.
        pub key: Option<PathBuf> = None, kind::optional(kind::absolute_path()), example "\"/etc/starling/tls/key.pem\"";
        /// PEM file with the authorities whose certificates are trusted, one or more.
        pub ca: Option<PathBuf> = None, kind::optional(kind::absolute_path()), example "\"/etc/starling/tls/ca.pem\"";
        /// File of names that are refused though their certificates are valid: lines of role and name, such as
        /// "node web-1". It need not be there.
        pub revoked: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/etc/starling/tls/revoked\"";
        /// Folder of the certificate that `join` got, which this program renews by itself; used while the three files above
        /// are not set and once somebody has joined. Default: `identity` in the state folder of the program, which is
        /// $STATE_DIRECTORY, else /var/lib/starling/PROGRAM for root and ~/.local/state/starling/PROGRAM for others.
        pub folder: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/var/lib/starling/PROGRAM/identity\"";
    }
    together together;
}

fn together(tls: &TlsSettings, mistakes: &mut Mistakes) {
    let given = [("tls.certificate", &tls.certificate), ("tls.key", &tls.key), ("tls.ca", &tls.ca)];
    if given.iter().any(|(_, file)| file.is_some()) {
        for (key, _) in given.iter().filter(|(_, file)| file.is_none()) {
            mistakes.add(key, "is missing: tls.certificate, tls.key and tls.ca belong together");
        }
    } else if tls.revoked.is_some() && tls.files().is_none() {
        mistakes.add("tls.revoked", "says nothing without tls.certificate, tls.key and tls.ca");
    }
}

impl TlsSettings {
    /// With the folder in which `join` of a program such as "node" puts what it gets.
    #[must_use]
    pub fn joined(program: &str) -> Self {
        Self { folder: Some(state_folder::of(program).join("identity")), ..Self::default() }
    }

    /// The files; `None` in plain text.
    #[must_use]
    pub fn files(&self) -> Option<Files> {
        match (&self.certificate, &self.key, &self.ca) {
            (Some(certificate), Some(key), Some(ca)) => {
                Some(Files { certificate: certificate.clone(), key: key.clone(), ca: ca.clone() })
            }
            _ => self.joined_folder().map(Files::of_folder),
        }
    }

    /// The folder of `join`, when it is what is used.
    #[must_use]
    pub fn joined_folder(&self) -> Option<&Path> {
        let own = self.certificate.is_some() || self.key.is_some() || self.ca.is_some();
        let folder = self.folder.as_deref().filter(|_| !own)?;
        // The last thing that `join` writes.
        folder.join(JOINED).is_file().then_some(folder)
    }
}

/// What stands between a program and other hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// TLS is set up.
    pub tls: bool,
    /// The operator wants plain text beyond this host.
    pub insecure: bool,
}

/// The way out, as it stands in errors.
const NEXT_STEP: &str = "`join` a cluster, or set tls.certificate, tls.key and tls.ca (`starling ca` makes them), or insecure = true to \
                         speak plain text that everybody on the way can read and change";

impl Exposure {
    /// Of the settings of a program.
    #[must_use]
    pub fn of(tls: &TlsSettings, insecure: bool) -> Self {
        Self { tls: tls.files().is_some(), insecure }
    }

    /// A listener that speaks TLS when there is TLS.
    pub fn listener(self, key: &str, address: SocketAddr, mistakes: &mut Mistakes) {
        if !self.tls {
            self.plain_listener(key, address, mistakes);
        }
    }

    /// A listener that speaks plain text always.
    pub fn plain_listener(self, key: &str, address: SocketAddr, mistakes: &mut Mistakes) {
        if !self.insecure && !address.ip().to_canonical().is_loopback() {
            let what = if self.tls {
                "and speaks plain text: keep it on 127.0.0.1, or set insecure = true".to_owned()
            } else {
                format!("without TLS: {NEXT_STEP}")
            };
            mistakes.add(key, format!("{address} can be reached by other hosts {what}"));
        }
    }

    /// Addresses that are dialled by TLS when there is TLS.
    pub fn dialled<'a>(self, key: &str, addresses: impl IntoIterator<Item = &'a String>, mistakes: &mut Mistakes) {
        if self.tls || self.insecure {
            return;
        }
        for address in addresses {
            if host_port(address).is_ok_and(|(host, _)| !is_loopback_host(host)) {
                mistakes.add(key, format!("{address:?} is on another machine: {NEXT_STEP}"));
            }
        }
    }

    /// An "http://" address.
    pub fn http(self, key: &str, url: &str, mistakes: &mut Mistakes) {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let address = rest.split_once('/').map_or(rest, |(address, _)| address);
        if !self.insecure && host_port(address).is_ok_and(|(host, _)| !is_loopback_host(host)) {
            let what = "is on another machine and plain text: use something on this host that forwards it, or set \
                        insecure = true";
            mistakes.add(key, format!("{url:?} {what}"));
        }
    }
}
