//! A mail by SMTP.

use lettre::{
    Message as Mail,
    address::Envelope,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        extension::ClientId,
    },
};

use starling_service::trust::{plain, read_ca};

use super::retry;
use crate::{
    connect::{ConnectError, dial},
    desk::Outcome,
    encode::Speaker,
    message::Message,
    settings::{NotifierSettings, Protection},
    text::{body, one_line, title},
};

/// Characters of a subject.
const SUBJECT_MAX: usize = 200;
/// Bytes of the text.
const BODY_MAX: usize = 100_000;

/// Envelope and bytes of a mail. What comes from outside stands in the subject, on one line, and in the text.
fn mail(settings: &NotifierSettings, message: &Message, speaker: &Speaker) -> Result<(Envelope, Vec<u8>), String> {
    let from: Mailbox =
        settings.from.as_deref().unwrap_or_default().parse().map_err(|error| format!("from: {error}"))?;
    let mut builder = Mail::builder().from(from);
    for to in &settings.to {
        builder = builder.to(to.parse().map_err(|error| format!("to: {error}"))?);
    }
    let subject = one_line(&format!("[{}] {}", speaker.cluster, title(message)), SUBJECT_MAX);
    let id = format!("<{}.{}.{}@starling>", message.dedup_key(), message.id, message.attempts);
    let text = body(message, &speaker.page_url, BODY_MAX);
    let text = format!("{text}\n\nCluster {}, sent by {}\n", speaker.cluster, speaker.aggregator);
    let mail = builder.subject(subject).message_id(Some(id)).header(ContentType::TEXT_PLAIN).body(text);
    let mail = mail.map_err(|error| error.to_string())?;
    Ok((mail.envelope().clone(), mail.formatted()))
}

pub(super) async fn send(settings: &NotifierSettings, message: &Message, speaker: &Speaker) -> Outcome {
    let (envelope, bytes) = match mail(settings, message, speaker) {
        Ok(mail) => mail,
        Err(what) => return Outcome::Refused(what),
    };
    let (host, port) = match settings.mail_server() {
        Ok(server) => server,
        Err(what) => return Outcome::Refused(what),
    };
    let stream = match dial(&host, port, &settings.allowed()).await {
        Ok(stream) => stream,
        Err(error @ ConnectError::Denied(_)) => return Outcome::Refused(error.to_string()),
        Err(error) => return retry(error.to_string()),
    };
    let password = match &settings.secret {
        Some(secret) => match secret.read().await {
            Ok(password) => Some(password),
            Err(what) => return retry(what),
        },
        None => None,
    };
    let authority = match &settings.ca_file {
        Some(path) => match read_ca(path).await {
            Ok(pem) => Some(pem),
            Err(what) => return retry(what),
        },
        None => None,
    };
    let name = host.clone();
    let talk = async {
        let hello = ClientId::Domain("starling".to_owned());
        let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await?;
        if settings.protection == Protection::Starttls {
            // Fails when the server does not offer it.
            let mut protection = TlsParameters::builder(host);
            if let Some(pem) = authority {
                protection = protection.certificate_store(CertificateStore::None);
                protection = protection.add_root_certificate(Certificate::from_pem(&pem)?);
            }
            connection.starttls(protection.build_rustls()?, &hello).await?;
        }
        if let Some(password) = password {
            let user = settings.user.clone().unwrap_or_default();
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &Credentials::new(user, password)).await?;
        }
        connection.send(&envelope, &bytes).await?;
        // It is taken: how the farewell goes is of no matter.
        let _ = connection.quit().await;
        Ok::<_, SmtpError>(())
    };
    match talk.await {
        Ok(()) => Outcome::Accepted,
        Err(error) if error.is_permanent() => Outcome::Refused(said(&error)),
        Err(error) => retry(plain(&said(&error), &name, settings.ca_file.as_deref())),
    }
}

/// An error with its cause, in one line.
fn said(error: &SmtpError) -> String {
    one_line(&starling_service::parts::chain(error), SUBJECT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn nothing_from_outside_becomes_a_header() {
        let settings = NotifierSettings {
            from: Some("starling@example.org".to_owned()),
            to: vec!["ops@example.org".to_owned()],
            ..NotifierSettings::default()
        };
        let speaker = Speaker { cluster: "c".to_owned(), ..Speaker::default() };
        for hostile in samples::hostile_texts() {
            let message = samples::message(&hostile);
            let (envelope, bytes) = mail(&settings, &message, &speaker).unwrap();
            assert_eq!(envelope.to().len(), 1);
            let text = String::from_utf8(bytes).unwrap();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let mut names: Vec<&str> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split_once(':').unwrap().0)
                .collect();
            names.sort_unstable();
            let wanted = ["Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-ID", "Subject", "To"];
            assert_eq!(names, wanted, "{hostile:?}\n{head}");
        }
    }
}
