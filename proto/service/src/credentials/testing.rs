//! An authority of the cluster "test", and members that it signed for.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};

use super::{Credentials, Files, Security};
use crate::{
    identity::Role,
    state_folder::{self, SECRET},
};

/// An authority.
pub(crate) struct Site(KeyPair, CertificateParams);

/// What it gave to somebody.
pub(crate) struct Member {
    folder: tempfile::TempDir,
    pub(crate) credentials: Arc<Credentials>,
}

impl Member {
    pub(crate) fn files(&self) -> Files {
        Files::of_folder(self.folder.path())
    }

    pub(crate) fn security(&self) -> Security {
        Security::of(Arc::clone(&self.credentials))
    }
}

impl Site {
    /// Of this common name.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(KeyPair::generate().unwrap(), params)
    }

    /// Its own certificate, PEM.
    pub(crate) fn certificate(&self) -> String {
        self.1.self_signed(&self.0).unwrap().pem()
    }

    /// What it signs for `key`, PEM; another one each time.
    pub(crate) fn certificate_for(&self, key: &KeyPair, role: Role, name: &str) -> String {
        self.certificate_of_years(key, (role, name), (1975, 4096))
    }

    /// The same, valid from the first day of one year to that of another.
    pub(crate) fn certificate_of_years(&self, key: &KeyPair, (role, name): (Role, &str), years: (i32, i32)) -> String {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://test/{role}/{name}").try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(rand::random::<u64>().into());
        params.signed_by(key, &Issuer::from_params(&self.1, &self.0)).unwrap().pem()
    }

    /// Somebody who trusts `authorities`, PEM.
    pub(crate) fn member(&self, role: Role, name: &str, authorities: &str) -> Member {
        let (key, folder) = (KeyPair::generate().unwrap(), tempfile::tempdir().unwrap());
        let certificate = self.certificate_for(&key, role, name);
        let files = Files::of_folder(folder.path());
        let key = key.serialize_pem();
        for (file, content) in [(&files.certificate, &*certificate), (&files.key, &key), (&files.ca, authorities)] {
            state_folder::replace(file, content.as_bytes(), SECRET).unwrap();
        }
        let credentials = Credentials::load(files, None, role, false).unwrap();
        Member { folder, credentials: Arc::new(credentials) }
    }
}
