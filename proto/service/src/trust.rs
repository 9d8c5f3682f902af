//! Whom a client of HTTPS believes: the certificates that the host trusts, or those of a file.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Bytes of a file of certificates: that of Debian, with every public authority, has 220 KB.
const CA_BYTES_MAX: u64 = 1024 * 1024;

/// Whom to believe: the authorities of `ca_file`, which is read each time because it is renewed in place, else those of
/// this host, which are read once.
///
/// # Errors
/// What is missing or wrong, with the name of the file.
pub async fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let Some(path) = ca_file else { return of_host() };
    let bytes = read_ca(path).await?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
    believing(roots)
}

/// The bytes of a file of certificates.
///
/// # Errors
/// That it cannot be read, or is no such file, with its name.
pub async fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.display();
    let refused = |what: String| format!("ca_file: {name} {what}");
    let size = tokio::fs::metadata(path).await.map_err(|error| refused(format!("cannot be read: {error}")))?.len();
    if size > CA_BYTES_MAX {
        return Err(refused(format!("has {size} bytes, at most {CA_BYTES_MAX} are read")));
    }
    let bytes = tokio::fs::read(path).await.map_err(|error| refused(format!("cannot be read: {error}")))?;
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(bytes),
        _ => Err(refused("holds no certificate in PEM".to_owned())),
    }
}

/// An error of TLS for people: who signed a certificate is what goes wrong most, then whom it names.
#[must_use]
pub fn plain(error: &str, host: &str, ca_file: Option<&Path>) -> String {
    // The second: a CA of the same name with another key.
    if !["UnknownIssuer", "BadSignature"].iter().any(|one| error.contains(one)) {
        return error.to_owned();
    }
    match ca_file {
        Some(path) => format!("the certificate of {host} is not signed by a CA in ca_file {}", path.display()),
        None => format!("the certificate of {host} is not signed by a CA that this host trusts: ca_file names another"),
    }
}

/// What the host trusts, read once.
fn of_host() -> Result<Arc<ClientConfig>, String> {
    static TRUST: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("this host has no certificates that it trusts (ca-certificates)".to_owned());
        }
        believing(roots)
    };
    TRUST.get_or_init(read).clone()
}

fn believing(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
