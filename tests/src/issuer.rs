//! Certificates for tests, as `starling ca` makes them.

use std::path::Path;

use starling_service::{
    credentials::{Credentials, Files, Security},
    identity::Role,
};
use tempfile::TempDir;

use crate::Program;

/// The authority of a cluster and what it has issued, in one folder.
#[derive(Debug)]
pub struct Issuer(TempDir);

impl Issuer {
    /// Makes one of `cluster`.
    ///
    /// # Panics
    /// As all that follows, when it does not do what is asked.
    #[must_use]
    pub fn new(cluster: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let issuer = Self(folder);
        issuer.run(&["init", "--cluster", cluster, "--dir", &issuer.path("ca")]);
        issuer
    }

    /// Of something in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) {
        let (code, error) = Program::run_to_end("starling", &[&["ca"], arguments].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {error}");
    }

    /// Issues a certificate, into a folder of that name.
    pub fn issue(&self, role: &str, name: &str) {
        self.run(&["issue", role, name, "--dir", &self.path("ca"), "--out", &self.path(name)]);
    }

    /// The settings by which a program has that certificate.
    #[must_use]
    pub fn settings(&self, name: &str) -> Vec<String> {
        let of = |key: &str, file: &str| format!("tls.{key}={}", Path::new(&self.path(name)).join(file).display());
        vec![of("certificate", "certificate.pem"), of("key", "key.pem"), of("ca", "ca.pem")]
    }

    /// Speaks as somebody who has been issued this certificate.
    #[must_use]
    pub fn security(&self, name: &str, role: Role) -> Security {
        let files = Files::of_folder(&self.0.path().join(name));
        Security::of(Credentials::load(files, None, role, false).expect("what was just issued").into())
    }
}
