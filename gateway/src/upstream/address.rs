//! Where a server is, as it is written in the configuration.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use pingora::{protocols::l4::socket::SocketAddr as PeerAddress, tls::ServerName};

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// An address and a port.
    Inet(SocketAddr),
    /// A name that stands for addresses, and a port.
    Name(String, u16),
    /// The path of a unix socket.
    Unix(String),
}

/// What a server's address is expected to be.
const EXPECTED: &str = "expected an address or name, and a port, such as \"127.0.0.1:9000\" or \
                        \"app.internal:9000\", or \"unix:\" and a path";

/// Longest path that fits into the address of a unix socket (unix(7)), with its closing zero.
const LONGEST_PATH: usize = 107;

impl Address {
    /// Reads an address, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{text}` {what}; {EXPECTED}");
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err(wrong("has no path")),
                1..=LONGEST_PATH if Path::new(path).is_absolute() => {
                    Ok(Self::Unix(path.to_owned()))
                }
                1..=LONGEST_PATH => Err(wrong("has a path that is not absolute")),
                _ => Err(wrong("has too long a path for a unix socket")),
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(wrong("has no port")),
                _ => Ok(Self::Inet(address)),
            };
        }
        let (name, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| wrong("has no port that is a number"))?;
        match ServerName::try_from(name) {
            // Names that look like numbers are mistyped addresses.
            Ok(ServerName::DnsName(_)) if !is_number(name) => Ok(Self::Name(name.to_owned(), port)),
            _ => Err(wrong("has no valid name")),
        }
    }

    /// The name or address without its port: what a certificate is for. A path has none.
    pub(super) fn host(&self) -> Option<String> {
        match self {
            Self::Inet(address) => Some(plain(address.ip()).to_string()),
            Self::Name(name, _) => Some(name.trim_end_matches('.').to_owned()),
            Self::Unix(_) => None,
        }
    }

    /// The addresses that need not be looked up.
    pub(super) fn fixed(&self) -> Option<PeerAddress> {
        match self {
            Self::Inet(address) => Some(PeerAddress::Inet(*address)),
            Self::Name(..) => None,
            Self::Unix(path) => {
                let address = std::os::unix::net::SocketAddr::from_pathname(path).ok()?;
                Some(PeerAddress::Unix(address))
            }
        }
    }

    /// What a request of our own asks for as its host.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Inet(address) => address.to_string(),
            Self::Name(name, port) => format!("{name}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// IPv4 addresses in the clothes of IPv6 stand in certificates as what they are.
const fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn is_number(name: &str) -> bool {
    let last = name.trim_end_matches('.').rsplit('.').next();
    last.is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_paths_are_read() {
        let check = |text: &str, host: Option<&str>, fixed: bool| {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.host().as_deref(), host, "{text}");
            assert_eq!(address.fixed().is_some(), fixed, "{text}");
        };
        check("127.0.0.1:80", Some("127.0.0.1"), true);
        check("[::1]:80", Some("::1"), true);
        check("[::ffff:192.0.2.1]:80", Some("192.0.2.1"), true);
        check("app.internal:9000", Some("app.internal"), false);
        check("unix:/run/app.sock", None, true);
    }

    #[test]
    fn what_is_no_address_is_told() {
        for text in [
            "",
            "nonsense",
            ":80",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:99999",
            "300.1.1.1:80",
            "a b:80",
            "http://a:80",
            "unix:",
            "unix:relative",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(
                error.contains("expected an address or name"),
                "{text}: {error}"
            );
        }
    }
}
