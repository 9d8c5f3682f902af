//! Receivers over TLS, with certificates that are made here.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;

/// A CA with its file, and what a server called localhost that it knows proves itself by.
struct Authority {
    _dir: tempfile::TempDir,
    file: PathBuf,
    server: TlsAcceptor,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Authority { _dir: dir, file, server: TlsAcceptor::from(Arc::new(config)) }
}

/// Reads a request of HTTP and answers 200. Returns its body.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<String> {
    let mut stream = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while stream.read_line(&mut line).await? > 2 {
        let head = std::mem::take(&mut line).to_lowercase();
        length = head.strip_prefix("content-length: ").map_or(Ok(length), |rest| rest.trim().parse()).unwrap();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    stream.get_mut().flush().await?;
    Ok(String::from_utf8(body).unwrap())
}

/// A webhook over HTTPS.
async fn https(server: TlsAcceptor) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not believe us goes away.
            let Ok(stream) = server.accept(stream).await else { continue };
            if let Ok(body) = serve(stream).await {
                let _ = sender.send(body).await;
            }
        }
    });
    (port, receiver)
}

#[tokio::test]
async fn a_webhook_over_https_is_told_when_its_ca_is_known_and_only_then() {
    let (known, other) = (authority("Ours"), authority("Ours"));
    // A CA is not known by its name.
    let (port, mut bodies) = https(known.server.clone()).await;
    let keys = |host: &str, more: String| format!("url = \"https://{host}:{port}/hook\"\n{more}");
    let of = |authority: &Authority| format!("ca_file = \"{}\"", authority.file.display());
    let none = other.file.with_file_name("none.pem");
    let bench = bench(&file(&[
        ("well", keys("localhost", of(&known))),
        ("stranger", keys("localhost", of(&other))),
        ("host", keys("localhost", String::new())),
        ("named", keys("127.0.0.1", of(&known))),
        ("lost", keys("localhost", format!("ca_file = \"{}\"", none.display()))),
    ]));
    bench.notifiers.test("well").await.unwrap();
    assert_eq!(bodies.recv().await.unwrap().parse::<Json>().unwrap()["test"], true);
    for (name, wanted) in [
        ("stranger", format!("the certificate of localhost is not signed by a CA in ca_file {}", other.file.display())),
        ("host", "not signed by a CA that this host trusts: ca_file names another".to_owned()),
        ("named", "not valid for name".to_owned()),
        ("lost", format!("ca_file: {} cannot be read", none.display())),
    ] {
        let error = bench.notifiers.test(name).await.unwrap_err();
        assert!(error.contains(&wanted), "{name}: {error}");
    }
    assert!(bodies.try_recv().is_err(), "nobody said anything to whom it does not believe");
    // Renewed in place.
    std::fs::copy(&known.file, &other.file).unwrap();
    bench.notifiers.test("stranger").await.unwrap();
    std::fs::write(&other.file, "no certificate").unwrap();
    let error = bench.notifiers.test("stranger").await.unwrap_err();
    assert!(error.contains("holds no certificate in PEM"), "{error}");
}

#[test]
fn a_ca_that_proves_nothing_is_a_mistake() {
    for (keys, wanted) in [
        ("url = \"http://hooks.example.org/\"\nca_file = \"/etc/ca.pem\"", "write https://"),
        ("url = \"https://hooks.example.org/\"\nca_file = \"ca.pem\"", "is not an absolute path"),
        (
            "kind = \"email\"\nserver = \"127.0.0.1:25\"\nprotection = \"none\"\nfrom = \"s@example.org\"\nto = [\"o@example.org\"]\nca_file = \"/etc/ca.pem\"",
            "nobody proves who it is",
        ),
    ] {
        let found = Config::read("n.toml", &file(&[("a", keys.to_owned())])).unwrap_err();
        assert!(found.iter().any(|line| line.contains(wanted)), "{wanted}: {found:?}");
    }
}

/// What a mail server was told: before TLS, and after it.
type Said = (Vec<String>, Vec<String>);

/// A mail server that offers STARTTLS, or that does not.
async fn mail_server(server: Option<TlsAcceptor>) -> (u16, mpsc::Receiver<Said>) {
    /// Talks until the client asks for TLS, or ends. Returns what it said.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, offers: bool) -> Vec<String> {
        let (mut said, mut line) = (Vec::new(), String::new());
        while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
            let command = std::mem::take(&mut line).trim_end().to_owned();
            said.push(command.clone());
            let answer = match command.split(' ').next().unwrap_or_default() {
                "EHLO" if offers => "250-sink\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n",
                "EHLO" => "250-sink\r\n250 AUTH PLAIN\r\n",
                "AUTH" => "235 fine\r\n",
                "STARTTLS" => "220 go on\r\n",
                "DATA" => "354 go on\r\n",
                "QUIT" => "221 bye\r\n",
                _ => "250 fine\r\n",
            };
            let _ = stream.get_mut().write_all(answer.as_bytes()).await;
            let _ = stream.get_mut().flush().await;
            if command == "DATA" {
                while stream.read_line(&mut line).await.unwrap_or(0) > 0 && line != ".\r\n" {
                    line.clear();
                }
                line.clear();
                let _ = stream.get_mut().write_all(b"250 taken\r\n").await;
                let _ = stream.get_mut().flush().await;
            }
            if command == "STARTTLS" {
                break;
            }
        }
        said
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let _ = stream.get_mut().write_all(b"220 sink\r\n").await;
            let before = talk(&mut stream, server.is_some()).await;
            let after = match &server {
                Some(server) if before.last().is_some_and(|last| last == "STARTTLS") => {
                    match server.accept(stream.into_inner()).await {
                        Ok(secured) => talk(&mut BufReader::new(secured), false).await,
                        Err(_) => Vec::new(),
                    }
                }
                _ => Vec::new(),
            };
            let _ = sender.send((before, after)).await;
        }
    });
    (port, receiver)
}

#[tokio::test]
async fn a_mail_and_its_password_go_over_starttls_or_not_at_all() {
    let (known, other) = (authority("Ours"), authority("Theirs"));
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hush\n").unwrap();
    let (port, mut said) = mail_server(Some(known.server.clone())).await;
    let (clear, mut said_clear) = mail_server(None).await;
    let keys = |port: u16, authority: &Authority| {
        format!(
            "kind = \"email\"\nserver = \"localhost:{port}\"\nfrom = \"s@example.org\"\nto = [\"o@example.org\"]\nuser = \"s\"\nsecret = \"file:{}\"\nca_file = \"{}\"",
            secret.path().display(),
            authority.file.display()
        )
    };
    let bench =
        bench(&file(&[("well", keys(port, &known)), ("stranger", keys(port, &other)), ("clear", keys(clear, &known))]));
    bench.notifiers.test("well").await.unwrap();
    let (before, after) = said.recv().await.unwrap();
    assert_eq!(before, ["EHLO starling", "STARTTLS"], "nothing else in the clear");
    let verbs: Vec<&str> = after.iter().map(|line| line.split([' ', ':']).next().unwrap()).collect();
    assert_eq!(verbs, ["EHLO", "AUTH", "MAIL", "RCPT", "DATA", "QUIT"], "{after:?}");
    let error = bench.notifiers.test("stranger").await.unwrap_err();
    assert!(error.contains("the certificate of localhost is not signed by a CA in ca_file"), "{error}");
    let (before, after) = said.recv().await.unwrap();
    assert_eq!((before.len(), after.len()), (2, 0), "{before:?} {after:?}");
    // A server that does not offer it, or somebody between who takes the offer away.
    let error = bench.notifiers.test("clear").await.unwrap_err();
    assert!(error.to_lowercase().contains("starttls"), "{error}");
    drop(bench);
    let (before, _) = said_clear.recv().await.unwrap();
    assert!(before.iter().all(|line| !line.contains("AUTH") && !line.contains("MAIL")), "{before:?}");
}
