//! Alerts by mail.
//!
//! The headers are ours but for the subject, and that is one line of escaped text. All receivers get the same
//! mail, and a server that refuses one receiver refuses it for all.

use std::{fmt, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message as Letter, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use tokio::time::timeout;

use super::{
    channel::Failure,
    message::{Message, lines},
    notice::clean,
};
use crate::config::{self, ConfigError, MailServer, Secrecy};

/// Longest subject, in bytes.
const LONGEST_SUBJECT: usize = 200;

/// A mail server, with the sender and the receivers.
pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    within: Duration,
}

impl fmt::Debug for Mail {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mail").field(&self.to).finish()
    }
}

impl Mail {
    /// The way that a table describes.
    pub(super) fn build(
        alert: &config::Alert,
        password: Option<String>,
        trusted: Option<&[u8]>,
    ) -> Result<Self, ConfigError> {
        let (Some(server), Some(from)) = (&alert.smtp, &alert.from) else {
            return Err(ConfigError::Mistakes(
                "expected `smtp` and `from`".to_owned(),
            ));
        };
        let within = Duration::from_secs(alert.timeout_secs.into());
        let tls = tls(server, trusted).map_err(|error| ConfigError::Mistakes(error.to_string()))?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .timeout(Some(within))
            .tls(tls);
        if let (Some(user), Some(password)) = (&alert.user, password) {
            transport = transport.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Self {
            transport: transport.build(),
            from: from.0.clone(),
            to: alert.to.iter().map(|to| to.0.clone()).collect(),
            within,
        })
    }

    pub(super) async fn send(&self, message: &Message, now_ms: u64) -> Result<(), Failure> {
        let letter = self.letter(message, now_ms);
        let letter = letter.map_err(|error| Failure::lasting(error.to_string()))?;
        // The transport's own time is that of one step.
        match timeout(self.within, self.transport.send(letter)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(judged(&error)),
            Err(_) => Err(Failure::passing(
                "no answer within the time that it has".to_owned(),
            )),
        }
    }

    fn letter(&self, message: &Message, now_ms: u64) -> Result<Letter, lettre::error::Error> {
        let mut subject = format!("[Thornwall] {}", message.headline());
        subject.truncate(subject.floor_char_boundary(LONGEST_SUBJECT));
        let written = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
        let mut letter = Letter::builder()
            .from(self.from.clone())
            .subject(subject)
            .date(written)
            .message_id(Some(format!(
                "<{}@{}>",
                message.id,
                self.from.email.domain()
            )))
            // No automatic reply answers it (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            letter = letter.to(to.clone());
        }
        letter.body(text(message))
    }
}

fn text(message: &Message) -> String {
    let mut paragraphs: Vec<String> = message
        .notices
        .iter()
        .map(|notice| lines(notice).join("\n"))
        .collect();
    paragraphs.extend(message.remainder());
    paragraphs.join("\n\n") + "\n"
}

fn tls(server: &MailServer, trusted: Option<&[u8]>) -> Result<Tls, smtp::Error> {
    if server.secrecy == Secrecy::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(server.host.clone());
    if let Some(authorities) = trusted {
        parameters = parameters
            .certificate_store(CertificateStore::None)
            .add_root_certificate(Certificate::from_pem(authorities)?);
    }
    let parameters = parameters.build_rustls()?;
    Ok(match server.secrecy {
        Secrecy::Implicit => Tls::Wrapper(parameters),
        Secrecy::StartTls | Secrecy::None => Tls::Required(parameters),
    })
}

/// A failure with the server's text, which is not trusted and so is escaped.
fn judged(error: &smtp::Error) -> Failure {
    let why = clean(&error.to_string());
    if error.is_permanent() {
        Failure::lasting(why)
    } else {
        Failure::passing(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::notice::Notice;

    #[test]
    fn no_text_of_others_makes_a_header() {
        let table = "name = \"m\"\nsmtp = \"smtp://127.0.0.1\"\nfrom = \"T <t@a.example>\"\nto = [\"o@b.example\", \"p@c.example\"]";
        let alert: config::Alert = toml::from_str(table).unwrap();
        let mail = Mail::build(&alert, None, None).unwrap();
        let mut notice = Notice::test(0);
        notice.ip_address = "x\r\nBcc: evil@e.example\r\n\r\nbody".to_owned();
        notice.details.site = "é".repeat(200);
        let message = Message {
            id: "i".to_owned(),
            notices: vec![notice],
            not_shown: 0,
            repeated: 0,
            held: 0,
        };
        let written = mail.letter(&message, 1_700_000_000_000).unwrap();
        let written = String::from_utf8(written.formatted()).unwrap();
        let (head, _) = written.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = head
            .split("\r\n")
            .filter(|line| !line.starts_with(' '))
            .map(|line| line.split_once(':').unwrap().0)
            .collect();
        let expected = [
            "From",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "Content-Type",
            "To",
            "Content-Transfer-Encoding",
        ];
        assert_eq!(names, expected, "{head}");
        assert!(head.contains("Message-ID: <i@a.example>"), "{head}");
        assert!(head.lines().all(|line| line.len() <= 78), "{head}");
    }
}
