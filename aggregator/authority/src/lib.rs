//! The small certificate authority of a cluster.
//!
//! A root that is kept offline ([`Authority::create`], [`folder`]) and certificates that it signs. Every certificate names
//! cluster, role and name by one URI ([`starling_service::identity`]), begins five minutes before now so that a clock that
//! is a little behind takes it, and never outlives the one that signed it.

pub mod folder;
mod issue;
pub mod register;
mod signer;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use starling_service::identity::{BACKDATED, is_trust_domain};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use issue::{Issued, Request, Signed, Wish};
pub use signer::{Certificate, Life, Signer, SignerError};

/// How long a root lives.
const ROOT_LIFE: Duration = Duration::days(3_650);

/// Why something was not made or signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Not a name of a cluster that a URI can hold.
    #[error("{0:?} is not the name of a cluster: wanted are a-z, 0-9, '.', '-' and '_'")]
    Cluster(String),
    /// What stands in a file is no authority of a cluster.
    #[error("this is not the certificate of an authority of Starling: {0}")]
    NoAuthority(&'static str),
    /// It has ended, or ends before anything that it would sign.
    #[error("the authority ends at {0}: make a new one with `starling ca init`, trust both for a while, and renew")]
    Ended(OffsetDateTime),
    /// A host name or address that cannot stand in a certificate.
    #[error("{0:?} is neither a host name nor an address")]
    Host(String),
    /// Not a request for a certificate, or its signature is wrong.
    #[error("this is not a request for a certificate (PKCS #10): {0}")]
    Request(String),
    /// The library refused.
    #[error(transparent)]
    Library(#[from] rcgen::Error),
}

/// What signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    /// What stands after each certificate that it signs: its own, unless it is a root.
    between: String,
    cluster: String,
    ends: OffsetDateTime,
}

impl Authority {
    /// A new root for a cluster.
    ///
    /// # Errors
    /// [`AuthorityError::Cluster`].
    pub fn create(cluster: &str, now: OffsetDateTime) -> Result<Self, AuthorityError> {
        if !is_trust_domain(cluster) {
            return Err(AuthorityError::Cluster(cluster.to_owned()));
        }
        let key = KeyPair::generate()?;
        let params = params(cluster, "authority", BasicConstraints::Unconstrained, (now, now + ROOT_LIFE))?;
        let certificate = params.self_signed(&key)?.pem();
        let (cluster, ends) = (cluster.to_owned(), params.not_after);
        Ok(Self { issuer: Issuer::new(params, key), certificate, between: String::new(), cluster, ends })
    }

    /// One below this root, which signs in its place where it is wanted: on an aggregator, `name`.
    ///
    /// # Errors
    /// That this is no root, or has ended.
    pub fn intermediate(&self, name: &str, life: Duration, now: OffsetDateTime) -> Result<Self, AuthorityError> {
        if !self.between.is_empty() {
            return Err(AuthorityError::NoAuthority("it is below a root already"));
        }
        if self.ends <= now {
            return Err(AuthorityError::Ended(self.ends));
        }
        let key = KeyPair::generate()?;
        let ends = self.ends.min(now + life);
        let mut params =
            params(&self.cluster, &format!("{name} authority"), BasicConstraints::Constrained(0), (now, ends))?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let (between, cluster) = (certificate.clone(), self.cluster.clone());
        Ok(Self { issuer: Issuer::new(params, key), certificate, between, cluster, ends })
    }

    /// One that was made before, of its certificate and key in PEM.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key)?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes())
            .map_err(|_| AuthorityError::NoAuthority("it is not PEM"))?;
        let (_, parsed) = X509Certificate::from_der(&pem.contents)
            .map_err(|_| AuthorityError::NoAuthority("it is not an X.509 certificate"))?;
        if !parsed.is_ca() {
            return Err(AuthorityError::NoAuthority("it may not sign others"));
        }
        if parsed.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(AuthorityError::NoAuthority("the key beside it is another's"));
        }
        let names = parsed.subject_alternative_name().ok().flatten();
        let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            x509_parser::extensions::GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
            _ => None,
        });
        let cluster = match (uris.next(), uris.next()) {
            (Some(cluster), None) if is_trust_domain(cluster) => cluster.to_owned(),
            _ => return Err(AuthorityError::NoAuthority("it names no cluster (spiffe://CLUSTER)")),
        };
        let ends = parsed.validity().not_after.to_datetime();
        let is_root = parsed.issuer() == parsed.subject();
        let between = if is_root { String::new() } else { certificate.to_owned() };
        let issuer = Issuer::from_ca_cert_pem(certificate, key)?;
        Ok(Self { issuer, certificate: certificate.to_owned(), between, cluster, ends })
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, PEM. A secret.
    #[must_use]
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Of which cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// When it ends.
    #[must_use]
    pub const fn ends(&self) -> OffsetDateTime {
        self.ends
    }
}

/// Of an authority that lives from five minutes before the first of `from` and `to` to the second.
fn params(
    cluster: &str,
    what: &str,
    constraints: BasicConstraints,
    (from, to): (OffsetDateTime, OffsetDateTime),
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Starling {what} of {cluster}"));
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{cluster}").try_into()?)];
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (from - BACKDATED, to);
    Ok(params)
}
