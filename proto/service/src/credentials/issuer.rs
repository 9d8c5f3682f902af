//! By whom a certificate was issued and by whom it should have been, in the words of somebody who has to mend it: what opens
//! TLS on the way is known by the name of its authority.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError, RootCertStore, pki_types::CertificateDer};
use x509_parser::{
    prelude::{FromDer as _, X509Certificate},
    x509::X509Name,
};

/// Longest name that is shown, in characters. It is a stranger's.
const NAME_LEN_MAX: usize = 96;
/// Most trusted authorities that are named: during a change of the authority there are two.
const TRUSTED_SHOWN: usize = 3;
/// Most certificates between one and its authority that are followed.
const FOLLOWED_MAX: usize = 8;

/// None of the trusted authorities has signed a certificate: it is of another cluster, or of what opens TLS on the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "none of the trusted authorities has signed it: it was issued by {issuer}, trusted is {}",
    if issuer == trusted { "another of that name" } else { trusted }
)]
pub(crate) struct Foreign {
    /// The name of the authority above it, in quotes.
    issuer: String,
    /// Those of the trusted ones, likewise.
    trusted: String,
}

/// An error that says that none of `roots` has signed the first certificate, with the names; every other as it is.
pub(super) fn named(
    error: Error,
    (own, between): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    roots: &RootCertStore,
) -> Error {
    match error {
        // The second: an authority of the same name with another key.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            let foreign = Foreign { issuer: issuer(own, between), trusted: trusted(roots) };
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(foreign))))
        }
        other => other,
    }
}

/// What [`named`] made of an error; `None` for every other.
pub(crate) fn is_foreign(error: &Error) -> Option<&Foreign> {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else { return None };
    cause.downcast_ref::<Foreign>()
}

/// The name of the authority at the top of what was shown, by what it says itself.
fn issuer(own: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> String {
    let parse = |certificate| X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed);
    let Some(mut top) = parse(own) else { return "nobody".to_owned() };
    let between: Vec<_> = between.iter().take(FOLLOWED_MAX).filter_map(|one| parse(one)).collect();
    for _ in 0..between.len() {
        match between.iter().find(|one| one.subject() == top.issuer()) {
            Some(next) if next.subject() != top.subject() => top = next.clone(),
            _ => break,
        }
    }
    shown(top.issuer())
}

/// The names of those that are trusted.
fn trusted(roots: &RootCertStore) -> String {
    let subjects = roots.subjects();
    let names = subjects.iter().filter_map(|subject| X509Name::from_der(subject.as_ref()).ok());
    let mut names: Vec<String> = names.map(|(_, name)| shown(&name)).collect();
    names.dedup();
    let further = names.len().saturating_sub(TRUSTED_SHOWN);
    names.truncate(TRUSTED_SHOWN);
    let names = names.join(", ");
    if further > 0 { format!("{names} and {further} more") } else { names }
}

/// A name in quotes, without what would break a line.
fn shown(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|found| found.as_str().ok());
    let text = common.map_or_else(|| name.to_string(), str::to_owned);
    format!("{:?}", text.chars().take(NAME_LEN_MAX).collect::<String>())
}
