//! What a certificate of the other end must be before one byte of payload is sent or read.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::issuer::named;
use crate::identity::{Identity, IdentityError, Role};

/// Why a certificate that an authority signed is refused all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It names nobody.
    #[error("{0}")]
    Nobody(#[from] IdentityError),
    /// It is of another cluster under the same authority.
    #[error("it is of {theirs}, wanted is one of {ours:?}")]
    OtherCluster {
        /// Whom it names.
        theirs: String,
        /// Our trust domain.
        ours: String,
    },
    /// Who answers there is something else.
    #[error("it is that of {0}, wanted is an aggregator")]
    NoAggregator(String),
    /// The operator took it out.
    #[error("{0} is revoked")]
    Revoked(String),
    /// The operator took it out; the name may be another's now.
    #[error("{0} was removed, with this key")]
    Removed(String),
}

fn other(refusal: Refusal) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
}

/// Who is refused though its certificate is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked(BTreeSet<(Role, String)>);

impl Revoked {
    /// Of lines "role name"; empty lines and those that begin with '#' are passed over.
    ///
    /// # Errors
    /// The first line that is neither, with its number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut revoked = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = line
                .split_once(char::is_whitespace)
                .and_then(|(role, name)| Some((Role::parse(role)?, name.trim().to_owned())));
            let Some(entry) = parsed else {
                return Err(format!("line {}: {line:?} is not \"role name\", such as \"node web-1\"", number + 1));
            };
            revoked.insert(entry);
        }
        Ok(Self(revoked))
    }

    /// Whether it is among them.
    #[must_use]
    pub fn has(&self, identity: &Identity) -> bool {
        self.0.contains(&(identity.role, identity.name.to_string()))
    }
}

/// SHA-256 of a public key (SubjectPublicKeyInfo).
pub type KeyDigest = [u8; 32];

/// That of the key in a certificate; `None` for what is no certificate.
#[must_use]
pub fn key_digest(certificate: &CertificateDer<'_>) -> Option<KeyDigest> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Sha256::digest(parsed.public_key().raw).into())
}

/// Keys that are refused though their certificates are valid: of who was removed, whose name may be another's now. One
/// list of a program, which changes while it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct RemovedKeys(Arc<RwLock<HashSet<KeyDigest>>>);

impl RemovedKeys {
    /// Replaces the list; true when it differs.
    pub(crate) fn set(&self, keys: HashSet<KeyDigest>) -> bool {
        let mut removed = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let differs = *removed != keys;
        *removed = keys;
        differs
    }

    pub(crate) fn has(&self, key: &KeyDigest) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }
}

/// Who is refused though its certificate is valid: by name, and by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused {
    /// Of the file `tls.revoked`.
    pub(crate) names: Revoked,
    /// Of who was removed.
    pub(crate) keys: RemovedKeys,
}

/// What both verifiers check beyond signatures and dates.
struct Rules {
    trust_domain: String,
    refused: Refused,
}

impl Rules {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<Identity, Refusal> {
        let identity = Identity::of(certificate)?;
        if identity.trust_domain != self.trust_domain {
            return Err(Refusal::OtherCluster { theirs: identity.to_string(), ours: self.trust_domain.clone() });
        }
        if self.refused.names.has(&identity) {
            return Err(Refusal::Revoked(identity.short()));
        }
        let key = key_digest(certificate).ok_or(IdentityError::Malformed)?;
        if self.refused.keys.has(&key) { Err(Refusal::Removed(identity.short())) } else { Ok(identity) }
    }
}

/// Of who answers: an aggregator of this cluster, by whatever name or address it was reached.
pub(super) struct AnAggregator {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    rules: Rules,
}

impl AnAggregator {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        trust_domain: String,
        refused: Refused,
    ) -> Self {
        Self { roots, provider, rules: Rules { trust_domain, refused } }
    }
}

impl fmt::Debug for AnAggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnAggregator").field("trust_domain", &self.rules.trust_domain).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for AnAggregator {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
            .map_err(|error| named(error, (end_entity, intermediates), &self.roots))?;
        let identity = self.rules.check(end_entity).map_err(other)?;
        match identity.role {
            Role::Aggregator => Ok(ServerCertVerified::assertion()),
            _ => Err(other(Refusal::NoAggregator(identity.short()))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Of who connects: somebody of this cluster, in any role.
pub(super) struct AMember {
    inner: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
    /// A client without a certificate is taken too: what it may call is open to all, or it brings a token.
    strangers: bool,
    rules: Rules,
}

impl AMember {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        trust_domain: String,
        (refused, strangers): (Refused, bool),
    ) -> Result<Self, String> {
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider);
        let inner = inner.build().map_err(|error| error.to_string())?;
        Ok(Self { inner, roots, strangers, rules: Rules { trust_domain, refused } })
    }
}

impl fmt::Debug for AMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AMember").field("trust_domain", &self.rules.trust_domain).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for AMember {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.strangers
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| named(error, (end_entity, intermediates), &self.roots))?;
        self.rules.check(end_entity).map_err(other)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_revoked_names_is_read_line_by_line() {
        let revoked = Revoked::parse("# gone\n\nnode web-1\n  operator\tann \n").unwrap();
        let of = |uri: &str| revoked.has(&Identity::parse(uri).unwrap());
        assert!(of("spiffe://s/node/web-1") && of("spiffe://s/operator/ann"));
        assert!(!of("spiffe://s/node/web-2") && !of("spiffe://s/aggregator/web-1"));
        let error = Revoked::parse("node web-1\nweb-2").unwrap_err();
        assert!(error.starts_with("line 2: \"web-2\" is not"), "{error}");
    }
}
