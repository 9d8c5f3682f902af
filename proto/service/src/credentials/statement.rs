//! Statements that an aggregator signs with the key of its certificate, for others to pass on: whoever holds one knows whose it
//! is, whoever brought it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use rustls::{
    SignatureScheme,
    client::danger::ServerCertVerifier as _,
    pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime},
};

use super::{
    Credentials,
    files::{plain, validity},
};
use crate::identity::Identity;

/// Longest chain as text, in bytes: four certificates with keys of 4,096 bits by RSA.
const CHAIN_LEN_MAX: usize = 12 * 1024;
/// Longest signature as text, in bytes: by a key of 8,192 bits.
const SIGNATURE_LEN_MAX: usize = 1_400;
/// Certificates of a chain: the own one, and those between it and its authority.
const CHAIN_MAX: usize = 4;

/// An aggregator of this cluster as a chain of certificates shows it.
#[derive(Debug, Clone)]
pub struct Signatory {
    identity: Identity,
    certificate: CertificateDer<'static>,
    /// End of the first that ends.
    ends: SystemTime,
    algorithms: &'static [(SignatureScheme, &'static [&'static dyn SignatureVerificationAlgorithm])],
}

impl Signatory {
    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Until when it is believed.
    #[must_use]
    pub const fn ends(&self) -> SystemTime {
        self.ends
    }

    /// Whether it signed `message`. `signature` is as [`Credentials::sign`] gives it.
    ///
    /// # Errors
    /// That it did not, or what is wrong with the signature.
    pub fn verify(&self, message: &[u8], signature: &str) -> Result<(), String> {
        let odd = || "its signature cannot be read".to_owned();
        let (scheme, text) =
            signature.split_once('.').filter(|_| signature.len() <= SIGNATURE_LEN_MAX).ok_or_else(odd)?;
        let scheme = SignatureScheme::from(u16::from_str_radix(scheme, 16).map_err(|_| odd())?);
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| odd())?;
        let (_, algorithms) = self
            .algorithms
            .iter()
            .find(|(known, _)| *known == scheme)
            .ok_or_else(|| format!("it is signed by {scheme:?}, which is not known here"))?;
        let certificate = webpki::EndEntityCert::try_from(&self.certificate).map_err(|error| error.to_string())?;
        let is_signed = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            certificate.verify_signature(*algorithm, message, &bytes).is_ok()
        };
        if algorithms.iter().any(is_signed) {
            Ok(())
        } else {
            Err(format!("it is not signed by {}", self.identity.short()))
        }
    }
}

impl Credentials {
    /// The certificate and those between it and its authority, as text.
    ///
    /// # Errors
    /// That it is longer than 12 KiB, or has more than four.
    pub fn chain(&self) -> Result<String, String> {
        let key = &self.current().key;
        let text = key.cert.iter().map(|one| STANDARD_NO_PAD.encode(one)).collect::<Vec<_>>().join(",");
        if text.len() > CHAIN_LEN_MAX || key.cert.len() > CHAIN_MAX {
            let (length, count) = (text.len(), key.cert.len());
            return Err(format!(
                "the certificate comes with {} others and has {length} bytes: at most {} and {CHAIN_LEN_MAX} are told to others",
                count - 1,
                CHAIN_MAX - 1
            ));
        }
        Ok(text)
    }

    /// Signs a message with the key of the own certificate: how, and the signature, as text.
    ///
    /// # Errors
    /// Of the library.
    pub fn sign(&self, message: &[u8]) -> Result<String, String> {
        let offered = self.source.provider.signature_verification_algorithms.supported_schemes();
        let key = &self.current().key.key;
        let signer = key.choose_scheme(&offered).ok_or("the key of the certificate cannot sign")?;
        let signature = signer.sign(message).map_err(|error| error.to_string())?;
        Ok(format!("{:04x}.{}", u16::from(signer.scheme()), STANDARD_NO_PAD.encode(signature)))
    }

    /// The aggregator of this cluster that `chain` shows, by the rules of a handshake at the time `now`.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn signatory(&self, chain: &str, now: SystemTime) -> Result<Signatory, String> {
        if chain.len() > CHAIN_LEN_MAX {
            return Err(format!("its certificate has {} bytes, at most {CHAIN_LEN_MAX} are read", chain.len()));
        }
        let decode = |one: &str| STANDARD_NO_PAD.decode(one).map(CertificateDer::from);
        let chain: Vec<_> =
            chain.split(',').map(decode).collect::<Result<_, _>>().map_err(|_| "its certificate cannot be read")?;
        let (own, between) =
            chain.split_first().filter(|_| chain.len() <= CHAIN_MAX).ok_or("its certificate cannot be read")?;
        let at = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        let name = ServerName::try_from("aggregator").map_err(|error| error.to_string())?;
        let current = self.current();
        // Who answers at an address is not asked for here, nor by the rules of this cluster anywhere.
        current
            .aggregators
            .verify_server_cert(own, between, &name, &[], at)
            .map_err(|error| format!("its certificate: {}", plain(&error)))?;
        let identity = Identity::of(own).map_err(|error| error.to_string())?;
        let ends = chain.iter().filter_map(|one| validity(one).map(|(_, ends)| ends)).min().unwrap_or(now);
        let algorithms = self.source.provider.signature_verification_algorithms.mapping;
        Ok(Signatory { identity, certificate: own.clone(), ends, algorithms })
    }
}
