//! Certificates of the right authority that must not be taken all the same, before anything is read of who shows them.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{fs, sync::Arc};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use starling_tests::{Issuer, LIMIT, aggregator, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What a client of HTTP/2 sends first: a listener that had taken the certificate would answer its settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A certificate as no authority of Starling makes one.
fn odd(uris: &[&str], change: impl Fn(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1));
    change(&mut params);
    params
}

/// The first bytes that the listener sends to who shows this certificate; none when it is refused.
async fn answer(issuer: &Issuer, address: std::net::SocketAddr, params: &CertificateParams) -> Vec<u8> {
    let read = |file: &str| fs::read_to_string(issuer.path(&format!("ca/{file}"))).unwrap();
    let authority = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
    let authority = rcgen::Issuer::from_ca_cert_pem(&read("ca.pem"), authority).unwrap();
    let key = KeyPair::generate().unwrap();
    let chain = vec![params.signed_by(&key, &authority).unwrap().der().clone()];
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(read("ca.pem").as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("agg-1.example").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    // The refusal comes after the handshake of the client, as an alert.
    let mut first = vec![0; 64];
    if stream.write_all(HELLO).await.is_err() {
        return Vec::new();
    }
    let count = tokio::time::timeout(LIMIT, stream.read(&mut first)).await.expect("an answer or an end");
    first.truncate(count.unwrap_or(0));
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_not_right_are_refused_before_anything_is_read_and_the_log_says_why() {
    let issuer = Issuer::new("test");
    let ca = issuer.path("ca");
    let named = ["issue", "aggregator", "agg-1", "--dir", &ca, "--host", "agg-1.example", "--out", &issuer.path("agg")];
    issuer.run(&named);
    let own = ["certificate", "key", "ca"].map(|key| format!("tls.{key}={}/{key}.pem", issuer.path("agg")));
    let one = aggregator(&issuer, "agg-1", &[], &own);
    let address = one.address("grpc");
    let good = "spiffe://test/operator/ann";
    assert!(
        !answer(&issuer, address, &odd(&[good], |_| ())).await.is_empty(),
        "the same client with a good one is taken"
    );
    // Checks of the port that speak something else leave room in the log for who is of the cluster.
    for _ in 0..60 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let _ = tokio::time::timeout(LIMIT, stream.read(&mut [0; 64])).await.expect("an end");
    }
    let cases: [(&str, CertificateParams); 8] = [
        ("it ended at Jan  1", odd(&[good], |params| params.not_after = date_time_ymd(2024, 1, 1))),
        ("one of the two clocks is wrong", odd(&[good], |params| params.not_before = date_time_ymd(2090, 1, 1))),
        ("it has 2 URIs", odd(&[good, "spiffe://test/node/web-1"], |_| ())),
        ("it has 0 URIs", odd(&[], |_| ())),
        ("it names \\\"spiffe://test/king/ann\\\"", odd(&["spiffe://test/king/ann"], |_| ())),
        ("it is of spiffe://other/operator/ann", odd(&["spiffe://other/operator/ann"], |_| ())),
        ("it names \\\"https://test/operator/ann\\\"", odd(&["https://test/operator/ann"], |_| ())),
        (
            "does not allow extended key usage for client authentication",
            odd(&[good], |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
    ];
    for (why, params) in cases {
        let answer = answer(&issuer, address, &params).await;
        assert!(answer.is_empty(), "{why}: {answer:?}");
        eventually(why, async || match one.log() {
            log if log.contains(why) => Ok(()),
            log => Err(log),
        })
        .await;
    }
    let foreign = one.log().lines().filter(|line| line.contains("it does not speak TLS here")).count();
    assert_eq!(foreign, 1, "{}", one.log());
    assert!(one.log().contains("connection refused"));
}
