//! Who is at the other end of a connection, from its certificate alone: never from a message.
//!
//! A certificate of the cluster has exactly one URI among its alternative names,
//! `spiffe://<trust domain>/<role>/<name>` (X509-SVID, <https://spiffe.io/docs/latest/spiffe-specs/x509-svid/>). Further
//! segments may stand before the role, as certificates of other issuers have them.

use std::{fmt, time::Duration};

use rustls::pki_types::CertificateDer;
use starling_proto::ids::{IdError, NodeId};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer as _, X509Certificate},
};

/// Longest URI that is read: SPIFFE allows 2,048 bytes, a trust domain and a name are much shorter.
const URI_LEN_MAX: usize = 512;

/// How long before it was made a certificate of `starling ca`, or of an aggregator that signs, begins: a clock that is a
/// little behind takes it.
pub const BACKDATED: Duration = Duration::from_secs(300);

/// What somebody may do in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reports one host, its own.
    Node,
    /// Keeps the ledger with its peers.
    Aggregator,
    /// Shows a cluster to people, and acts for them.
    Dashboard,
    /// A person or a tool that asks and acts.
    Operator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Node, Self::Aggregator, Self::Dashboard, Self::Operator];

    /// As it stands in a certificate.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Aggregator => "aggregator",
            Self::Dashboard => "dashboard",
            Self::Operator => "operator",
        }
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Whose certificates these are: the cluster's name for those of `starling ca`.
    pub trust_domain: String,
    /// What the bearer may do.
    pub role: Role,
    /// The bearer's name.
    pub name: NodeId,
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not X.509.
    #[error("it is not an X.509 certificate")]
    Malformed,
    /// No URI among the alternative names, or several: then it is not clear whom it names.
    #[error("it has {0} URIs among its alternative names, wanted is one: spiffe://CLUSTER/ROLE/NAME")]
    Uris(usize),
    /// A URI of another form.
    #[error(
        "it names {0:?}, wanted is spiffe://CLUSTER/ROLE/NAME with a role of node, aggregator, dashboard, operator"
    )]
    Form(String),
    /// A name that no node can have.
    #[error("it names {uri:?}: {error}")]
    Name {
        /// The whole URI.
        uri: String,
        /// What is wrong with its last segment.
        error: IdError,
    },
}

impl Identity {
    /// Whom a certificate names. Says nothing of who signed it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Malformed)?;
        let names = parsed.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
        let uris: Vec<&str> = names
            .flatten()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        match uris[..] {
            [uri] => Self::parse(uri),
            _ => Err(IdentityError::Uris(uris.len())),
        }
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// [`IdentityError::Form`] and [`IdentityError::Name`].
    pub fn parse(uri: &str) -> Result<Self, IdentityError> {
        let form = || IdentityError::Form(uri.chars().take(URI_LEN_MAX).collect());
        let (trust_domain, path) = uri
            .strip_prefix("spiffe://")
            .filter(|_| uri.len() <= URI_LEN_MAX)
            .and_then(|rest| rest.split_once('/'))
            .filter(|(domain, _)| is_trust_domain(domain))
            .ok_or_else(form)?;
        let mut segments = path.rsplit('/');
        let (Some(name), Some(role)) = (segments.next(), segments.next().and_then(Role::parse)) else {
            return Err(form());
        };
        if segments.any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(form());
        }
        let name = NodeId::parse(name).map_err(|error| IdentityError::Name { uri: uri.to_owned(), error })?;
        Ok(Self { trust_domain: trust_domain.to_owned(), role, name })
    }

    /// Role and name without the trust domain, such as "node web-1".
    #[must_use]
    pub fn short(&self) -> String {
        format!("{} {}", self.role, self.name)
    }
}

/// Lower case letters, digits, '.', '-' and '_' (SPIFFE-ID, section 2.1).
#[must_use]
pub fn is_trust_domain(text: &str) -> bool {
    let is_allowed = |c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
    (1..=255).contains(&text.len()) && text.chars().all(is_allowed)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.trust_domain, self.role, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_cluster_role_and_name() {
        for (uri, role, name) in [
            ("spiffe://starling/node/web-1", Role::Node, "web-1"),
            ("spiffe://prod.example/ns/mon/aggregator/a1.example", Role::Aggregator, "a1.example"),
            ("spiffe://s/operator/ann", Role::Operator, "ann"),
        ] {
            let identity = Identity::parse(uri).unwrap();
            assert_eq!((identity.role, identity.name.as_str()), (role, name));
        }
        let uri = "spiffe://starling/dashboard/d1";
        assert_eq!(Identity::parse(uri).unwrap().to_string(), uri);
    }

    #[test]
    fn what_is_no_such_uri_is_refused() {
        let long = format!("spiffe://starling/node/{}", "a".repeat(600));
        for uri in [
            "",
            "https://starling/node/a",
            "spiffe://starling",
            "spiffe://starling/a",
            "spiffe:///node/a",
            "spiffe://Starling/node/a",
            "spiffe://starling/admin/a",
            "spiffe://starling//node/a",
            "spiffe://starling/../node/a",
            "spiffe://star ling/node/a",
            &long,
        ] {
            assert!(matches!(Identity::parse(uri), Err(IdentityError::Form(_))), "{uri}");
        }
        for uri in ["spiffe://s/node/", "spiffe://s/node/A", "spiffe://s/node/a%20b"] {
            assert!(matches!(Identity::parse(uri), Err(IdentityError::Name { .. })), "{uri}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        let junk = CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff]);
        assert_eq!(Identity::of(&junk), Err(IdentityError::Malformed));
    }
}
