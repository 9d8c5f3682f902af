//! Signing.

use std::net::IpAddr;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use starling_proto::{address::is_host, ids::NodeId};
use starling_service::identity::{Identity, Role};
use time::{Duration, OffsetDateTime};

use crate::{Authority, AuthorityError, BACKDATED};

/// What is signed ends this long before the one that signed it.
const BEFORE_THE_END: Duration = Duration::minutes(1);

/// What somebody is to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What it may do.
    pub role: Role,
    /// Its name.
    pub name: NodeId,
    /// How long.
    pub life: Duration,
    /// Host names and addresses by which clients that are not Starling's check whom they reach.
    pub hosts: Vec<String>,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// PEM. A secret.
    pub key: String,
    /// Whom it names.
    pub identity: Identity,
    /// When it ends; earlier than was wished when the authority ends earlier.
    pub ends: OffsetDateTime,
    /// It ends earlier than was wished.
    pub shortened: bool,
}

impl Authority {
    /// A new key, and a certificate for it.
    ///
    /// # Errors
    /// [`AuthorityError::Ended`], [`AuthorityError::Host`].
    pub fn issue(&self, wish: &Wish, now: OffsetDateTime) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate()?;
        let (params, identity, shortened) = self.params(wish, now)?;
        let ends = params.not_after;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem(), identity, ends, shortened })
    }

    /// A certificate for the key in a request (PKCS #10, PEM). Nothing else in the request is believed.
    ///
    /// # Errors
    /// As [`Authority::issue`], and [`AuthorityError::Request`].
    pub fn sign(&self, request: &str, wish: &Wish, now: OffsetDateTime) -> Result<String, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(request)
            .map_err(|error| AuthorityError::Request(error.to_string()))?;
        let (params, ..) = self.params(wish, now)?;
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }

    fn params(&self, wish: &Wish, now: OffsetDateTime) -> Result<(CertificateParams, Identity, bool), AuthorityError> {
        let latest = self.ends - BEFORE_THE_END;
        if latest <= now {
            return Err(AuthorityError::Ended(self.ends));
        }
        let wished = now + wish.life;
        let identity = Identity { trust_domain: self.cluster.clone(), role: wish.role, name: wish.name.clone() };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, identity.short());
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
        for host in &wish.hosts {
            params.subject_alt_names.push(match host.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if is_host(host) => SanType::DnsName(host.as_str().try_into()?),
                Err(_) => return Err(AuthorityError::Host(host.clone())),
            });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match wish.role {
            // Aggregators dial each other.
            Role::Aggregator => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Role::Node | Role::Dashboard | Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        // Of the public key by default: then a renewal would have the number of the one before.
        let mut serial = starling_proto::ids::StreamId::random().as_bytes().to_vec();
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        (params.not_before, params.not_after) = (now - BACKDATED, wished.min(latest));
        Ok((params, identity, wished > latest))
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    fn wish(role: Role, days: i64) -> Wish {
        Wish { role, name: NodeId::parse("web-1").unwrap(), life: Duration::days(days), hosts: Vec::new() }
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap()
    }

    fn validity(pem: &str) -> (i64, i64) {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let (_, parsed) = X509Certificate::from_der(&pem.contents).unwrap();
        (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp())
    }

    #[test]
    fn a_clock_that_is_behind_takes_what_was_just_signed() {
        let authority = Authority::create("starling", now()).unwrap();
        let issued = authority.issue(&wish(Role::Node, 1), now()).unwrap();
        for pem in [authority.certificate(), &issued.certificate] {
            assert!(validity(pem).0 <= now().unix_timestamp() - 300);
        }
    }

    #[test]
    fn nothing_outlives_its_authority() {
        let authority = Authority::create("starling", now()).unwrap();
        let late = authority.ends() - Duration::minutes(10);
        let issued = authority.issue(&wish(Role::Node, 30), late).unwrap();
        assert!(issued.shortened && issued.ends < authority.ends());
        assert_eq!(validity(&issued.certificate).1, issued.ends.unix_timestamp());
        let over = authority.issue(&wish(Role::Node, 30), authority.ends());
        assert!(matches!(over, Err(AuthorityError::Ended(_))));
    }

    #[test]
    fn an_authority_is_opened_again_and_signs_for_a_key_that_it_never_saw() {
        let made = Authority::create("prod.example", now()).unwrap();
        let authority = Authority::open(made.certificate(), &made.key()).unwrap();
        assert_eq!((authority.cluster(), authority.ends()), ("prod.example", made.ends()));
        let key = KeyPair::generate().unwrap();
        let mut asked = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        asked.subject_alt_names.push(SanType::URI("spiffe://prod.example/operator/root".try_into().unwrap()));
        let request = asked.serialize_request(&key).unwrap().pem().unwrap();
        let signed = authority.sign(&request, &wish(Role::Node, 1), now()).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(signed.as_bytes()).unwrap();
        let identity = Identity::of(&pem.contents.into()).unwrap();
        assert_eq!(identity.to_string(), "spiffe://prod.example/node/web-1", "what was asked for is not believed");
        assert!(matches!(authority.sign("junk", &wish(Role::Node, 1), now()), Err(AuthorityError::Request(_))));
    }

    #[test]
    fn what_is_no_authority_is_refused_with_the_reason() {
        let one = Authority::create("starling", now()).unwrap();
        let other = Authority::create("starling", now()).unwrap();
        let leaf = one.issue(&wish(Role::Aggregator, 1), now()).unwrap();
        for (certificate, key, wanted) in [
            (one.certificate(), other.key(), "the key beside it is another's"),
            (&leaf.certificate, leaf.key.clone(), "it may not sign others"),
            ("junk", one.key(), "it is not PEM"),
        ] {
            let error = Authority::open(certificate, &key).err().unwrap().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(matches!(Authority::create("No Such", now()), Err(AuthorityError::Cluster(_))));
    }
}
