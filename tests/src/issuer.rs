//! Certificates of a cluster under test, made by `starling ca` as its users make them.

use std::{path::Path, sync::Arc};

use rustls::ClientConfig;
use starling_authority::{Authority, Wish};
use starling_proto::ids::NodeId;
use starling_service::{
    credentials::{Credentials, Files, Security},
    identity::Role,
    state_folder,
};
use tempfile::TempDir;

use crate::Program;

/// The authority of a cluster and what it has issued, in one folder.
#[derive(Debug)]
pub struct Issuer(TempDir);

impl Issuer {
    /// A new authority.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(cluster: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let issuer = Self(folder);
        issuer.run(&["init", "--cluster", cluster, "--dir", &issuer.path("ca")]);
        issuer
    }

    /// A file or folder beside it.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Runs `starling ca`.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) {
        let (code, error) = Program::run_to_end("starling", &[&["ca"], arguments].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {error}");
    }

    /// Issues a certificate into the folder of that name.
    ///
    /// # Panics
    /// When it cannot.
    pub fn issue(&self, role: &str, name: &str) {
        self.run(&["issue", role, name, "--dir", &self.path("ca"), "--out", &self.path(name)]);
    }

    /// Settings of a program with the certificate of that name.
    #[must_use]
    pub fn settings(&self, name: &str) -> Vec<String> {
        let of = |key: &str, file: &str| format!("tls.{key}={}", Path::new(&self.path(name)).join(file).display());
        vec![of("certificate", "certificate.pem"), of("key", "key.pem"), of("ca", "ca.pem")]
    }

    /// How the node of that name speaks TLS, without a command and without a process: for thousands of them.
    ///
    /// # Panics
    /// When it cannot be issued.
    #[must_use]
    pub fn proof(&self, name: &str) -> Arc<ClientConfig> {
        let read = |file: &str| std::fs::read_to_string(self.path(&format!("ca/{file}"))).expect("the authority");
        let ca = read("ca.pem");
        let authority = Authority::open(&ca, &read("ca-key.pem")).expect("the authority");
        let name = NodeId::parse(name).expect("a name");
        let wish = Wish { role: Role::Node, name, life: time::Duration::days(1), hosts: Vec::new() };
        let issued = authority.issue(&wish, time::OffsetDateTime::now_utc()).expect("a certificate");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = [("ca.pem", &ca), ("certificate.pem", &issued.certificate), ("key.pem", &issued.key)];
        for (file, text) in files {
            state_folder::replace(&folder.path().join(file), text.as_bytes(), state_folder::SECRET).expect("a file");
        }
        let loaded = Credentials::load(Files::of_folder(folder.path()), None, Role::Node, false);
        loaded.expect("what was just issued").client()
    }

    /// As somebody who has been issued this certificate.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn security(&self, name: &str, role: Role) -> Security {
        let files = Files::of_folder(&self.0.path().join(name));
        Security::of(Credentials::load(files, None, role, false).expect("what was just issued").into())
    }
}

/// An aggregator with a certificate of its own, on free ports.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn aggregator(issuer: &Issuer, name: &str, seeds: &[String], more: &[String]) -> Program {
    issuer.issue("aggregator", name);
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
    let own = [
        "cluster=test".to_owned(),
        format!("seeds=[{}]", seeds.join(",")),
        "grpc_listen=127.0.0.1:0".to_owned(),
        "gossip_listen=127.0.0.1:0".to_owned(),
        "admin_listen=127.0.0.1:0".to_owned(),
        "state_dir={dir}/state".to_owned(),
        format!("gossip_keyring={}", Path::new(&issuer.path(name)).join("gossip.keyring").display()),
    ];
    let settings: Vec<String> = own.into_iter().chain(issuer.settings(name)).chain(more.iter().cloned()).collect();
    Program::with_settings("starling-aggregator", &settings.iter().map(String::as_str).collect::<Vec<_>>())
}
