//! Signing.

use std::net::IpAddr;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use sha2::{Digest as _, Sha256};
use starling_proto::{address::is_host, hex, ids::NodeId};
use starling_service::identity::{BACKDATED, Identity, Role};
use time::{Duration, OffsetDateTime};

use crate::{Authority, AuthorityError};

/// Longest request: one with a key of RSA has 2 KiB.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
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

/// A certificate for a key that stays where it is.
#[derive(Debug, Clone)]
pub struct Signed {
    /// PEM: the certificate, then that of the authority unless it is the root.
    pub certificate: String,
    /// Whom it names.
    pub identity: Identity,
    /// When it ends; earlier than was wished when the authority ends earlier.
    pub ends: OffsetDateTime,
    /// It ends earlier than was wished.
    pub shortened: bool,
    /// Its number, hexadecimal.
    pub serial: String,
}

/// A request for a certificate whose signature is right: who sent it first holds the key.
pub struct Request(CertificateSigningRequestParams);

impl Request {
    /// Reads one (PKCS #10, PEM).
    ///
    /// # Errors
    /// [`AuthorityError::Request`].
    pub fn parse(pem: &str) -> Result<Self, AuthorityError> {
        let wrong = |what: String| AuthorityError::Request(what);
        if pem.len() > REQUEST_BYTES_MAX {
            return Err(wrong(format!("it has more than {REQUEST_BYTES_MAX} bytes")));
        }
        CertificateSigningRequestParams::from_pem(pem).map(Self).map_err(|error| wrong(error.to_string()))
    }

    /// The common name in its subject. Of who joins or renews it counts for nothing; who leaves says so there.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        match self.0.params.distinguished_name.get(&DnType::CommonName)? {
            DnValue::Utf8String(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// SHA-256 of the key in it.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        Sha256::digest(self.0.public_key.subject_public_key_info()).into()
    }
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
        let certificate = params.signed_by(&key, &self.issuer)?.pem() + &self.between;
        Ok(Issued { certificate, key: key.serialize_pem(), identity, ends, shortened })
    }

    /// A certificate for the key in a request (PKCS #10, PEM). Nothing else in the request is believed.
    ///
    /// # Errors
    /// As [`Authority::issue`], and [`AuthorityError::Request`].
    pub fn sign(&self, request: &Request, wish: &Wish, now: OffsetDateTime) -> Result<Signed, AuthorityError> {
        let (params, identity, shortened) = self.params(wish, now)?;
        let serial = params.serial_number.as_ref().map(|serial| hex::encode(&serial.to_bytes())).unwrap_or_default();
        let ends = params.not_after;
        let certificate = params.signed_by(&request.0.public_key, &self.issuer)?.pem() + &self.between;
        Ok(Signed { certificate, identity, ends, shortened, serial })
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
        let request = Request::parse(&asked.serialize_request(&key).unwrap().pem().unwrap()).unwrap();
        let signed = authority.sign(&request, &wish(Role::Node, 1), now()).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(signed.certificate.as_bytes()).unwrap();
        let identity = Identity::of(&pem.contents.into()).unwrap();
        assert_eq!(identity.to_string(), "spiffe://prod.example/node/web-1", "what was asked for is not believed");
        let long = "-".repeat(REQUEST_BYTES_MAX + 1);
        let mut forged = asked.serialize_request(&key).unwrap().pem().unwrap();
        forged.replace_range(60..61, if &forged[60..61] == "A" { "B" } else { "A" });
        for odd in ["", "junk", &long, authority.certificate(), &forged] {
            assert!(matches!(Request::parse(odd), Err(AuthorityError::Request(_))), "{odd}");
        }
    }

    #[test]
    fn what_an_intermediate_signs_is_trusted_by_the_root_and_ends_with_it() {
        let root = Authority::create("starling", now()).unwrap();
        let between = root.intermediate("agg-1", Duration::days(2), now()).unwrap();
        let opened = Authority::open(between.certificate(), &between.key()).unwrap();
        assert_eq!((opened.cluster(), opened.ends()), ("starling", now() + Duration::days(2)));
        let issued = opened.issue(&wish(Role::Aggregator, 30), now()).unwrap();
        assert!(issued.shortened && issued.ends < opened.ends());
        assert_eq!(issued.certificate.matches("BEGIN CERTIFICATE").count(), 2, "its own and the intermediate's");
        let folder = tempfile::tempdir().unwrap();
        crate::folder::write_issued(folder.path(), &issued, root.certificate()).unwrap();
        let files = starling_service::credentials::Files::of_folder(folder.path());
        // By the clock of this host: both were made for another day.
        let error = starling_service::credentials::Credentials::load(files, None, Role::Aggregator, false).err();
        assert!(error.is_none_or(|error| error.what.contains("it ended at") || error.what.contains("it is not valid before")));
        let late = opened.issue(&wish(Role::Node, 1), opened.ends());
        assert!(matches!(late, Err(AuthorityError::Ended(_))));
        assert!(opened.intermediate("agg-2", Duration::days(1), now()).is_err(), "one below a root is enough");
    }

    #[test]
    fn of_whatever_role_it_is_valid_by_the_authority_that_signed_it_and_by_no_other() {
        use starling_service::credentials::{Credentials, Files, certificates, digest};
        let now = OffsetDateTime::now_utc();
        // Of one name, as a new authority of a cluster is.
        let (former, new) = (Authority::create("starling", now).unwrap(), Authority::create("starling", now).unwrap());
        let both = format!("{}{}", former.certificate(), new.certificate());
        let between = new.intermediate("agg-1", Duration::days(9), now).unwrap();
        for role in Role::ALL {
            for authority in [&new, &between] {
                let folder = tempfile::tempdir().unwrap();
                let issued = authority.issue(&wish(role, 1), now).unwrap();
                let load = |trusted: &str| {
                    crate::folder::write_issued(folder.path(), &issued, trusted).unwrap();
                    Credentials::load(Files::of_folder(folder.path()), None, role, false)
                };
                let error = load(former.certificate()).unwrap_err().to_string();
                assert!(error.contains("none of the trusted authorities has signed it"), "{role}: {error}");
                let root = digest(&certificates(new.certificate()).unwrap()[0]);
                assert_eq!(load(&both).unwrap().proved_by(), Some(root), "{role}");
            }
        }
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
