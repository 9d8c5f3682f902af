//! How a program speaks with aggregators before it has a certificate, or when its own has ended.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    version::TLS13,
};
use sha2::{Digest as _, Sha256};

use super::{
    ALPN,
    verify::{AnAggregator, Refused},
};

/// Somebody without a certificate of its own.
#[derive(Debug, Clone)]
pub struct Stranger(Arc<ClientConfig>);

impl Stranger {
    /// One that believes nobody: it may ask for what is public, and send nothing.
    ///
    /// # Errors
    /// Of the library.
    pub fn unbelieving() -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self::new(&provider, Arc::new(Anybody(Arc::clone(&provider))))
    }

    /// One that speaks with aggregators of `cluster` by these authorities (PEM), and with nobody else.
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub fn of(authorities: &str, cluster: &str) -> Result<Self, String> {
        Self::by(&certificates(authorities)?, cluster)
    }

    /// As [`Stranger::of`], by one authority.
    ///
    /// # Errors
    /// That it is none.
    pub fn of_certificate(authority: &CertificateDer<'static>, cluster: &str) -> Result<Self, String> {
        Self::by(std::slice::from_ref(authority), cluster)
    }

    fn by(authorities: &[CertificateDer<'static>], cluster: &str) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in authorities {
            roots.add(certificate.clone()).map_err(|error| format!("not an authority: {error}"))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            AnAggregator::new(Arc::new(roots), Arc::clone(&provider), cluster.to_owned(), Refused::default());
        Self::new(&provider, Arc::new(verifier))
    }

    fn new(provider: &Arc<CryptoProvider>, verifier: Arc<dyn ServerCertVerifier>) -> Result<Self, String> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

/// The certificates of a PEM text, one at least.
///
/// # Errors
/// That it is not PEM, or holds none.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("it holds no certificate".to_owned()),
        Err(error) => Err(format!("it is not PEM: {error}")),
    }
}

/// SHA-256 of a certificate, as join tokens hold it.
#[must_use]
pub fn digest(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

/// Takes any certificate whose key is held at the other end.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
