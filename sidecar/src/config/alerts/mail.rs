//! Where mails go, and their sender.

use std::{net::IpAddr, str::FromStr};

use lettre::message::Mailbox;
use serde::Deserialize;
use url::Url;

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// TLS from the first byte on (RFC 8314).
    Implicit,
    /// TLS after STARTTLS, without which nothing is sent.
    StartTls,
    /// None: to this machine alone.
    None,
}

/// `smtps://host:465`, `smtp+starttls://host:587`, or `smtp://127.0.0.1:25`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MailServer {
    /// How the connection is protected.
    pub secrecy: Secrecy,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl TryFrom<String> for MailServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // The text is not repeated: there may be a password in it.
        let url = Url::parse(&text).map_err(|error| format!("expected an address: {error}"))?;
        let (secrecy, port) = match url.scheme() {
            "smtps" => (Secrecy::Implicit, 465),
            "smtp+starttls" => (Secrecy::StartTls, 587),
            "smtp" => (Secrecy::None, 25),
            _ => return Err("expected smtps://, smtp+starttls:// or smtp://".to_owned()),
        };
        let host = url.host_str().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if host.is_empty() || !bare || !anonymous {
            return Err("expected SCHEME://HOST:PORT, with `user` and `password_file`".to_owned());
        }
        if secrecy == Secrecy::None && !is_loopback(&host) {
            return Err(
                "clear text only goes to this machine; expected smtps:// or smtp+starttls://"
                    .to_owned(),
            );
        }
        let port = url.port().unwrap_or(port);
        Ok(Self {
            secrecy,
            host,
            port,
        })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// An address of mail, `a@b.example` or `Name <a@b.example>`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct MailAddress(pub Mailbox);

impl TryFrom<String> for MailAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = Mailbox::from_str(&text);
        let parsed = parsed.map_err(|error| format!("{text:?} is no address of mail: {error}"))?;
        Ok(Self(parsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_servers_are_spoken_to_in_secret() {
        let check = |text: &str, expected: Option<(Secrecy, &str, u16)>| {
            let read = MailServer::try_from(text.to_owned()).ok();
            let read = read
                .as_ref()
                .map(|read| (read.secrecy, read.host.as_str(), read.port));
            assert_eq!(read, expected, "{text}");
        };
        check(
            "smtps://mail.example",
            Some((Secrecy::Implicit, "mail.example", 465)),
        );
        check(
            "smtps://mail.example:1465",
            Some((Secrecy::Implicit, "mail.example", 1465)),
        );
        check(
            "smtp+starttls://mail.example",
            Some((Secrecy::StartTls, "mail.example", 587)),
        );
        check(
            "smtp://127.0.0.1:1025",
            Some((Secrecy::None, "127.0.0.1", 1025)),
        );
        check("smtp://[::1]", Some((Secrecy::None, "::1", 25)));
        check("smtp://localhost", Some((Secrecy::None, "localhost", 25)));
        check("smtp://mail.example", None);
        check("smtp://10.0.0.1", None);
        check("smtps://user:secret@mail.example", None);
        check("smtps://mail.example/x", None);
        check("smtps://", None);
        check("https://mail.example", None);
        check("mail.example", None);
    }

    #[test]
    fn addresses_of_mail_are_checked() {
        let good = |text: &str| MailAddress::try_from(text.to_owned()).is_ok();
        assert!(good("a@b.example"));
        assert!(good("Thornwall <a@b.example>"));
        assert!(!good("a"));
        assert!(!good("a@b.example\r\nBcc: c@d.example"));
    }
}
