//! Calls to services of others: bounded in size and time, and redirected nowhere.

use std::{fmt, time::Duration};

use reqwest::{
    Certificate, Client, ClientBuilder, RequestBuilder, StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use serde::Deserialize;
use thiserror::Error;
use url::Host;

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait that a server may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The address of a service. Clear text only goes to this machine and to private addresses that are
/// written as numbers: what is sent holds secrets, and what visitors do.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(Url);

impl fmt::Debug for Address {
    /// Without what may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.origin()).finish()
    }
}

impl Address {
    pub(crate) const fn url(&self) -> &Url {
        &self.0
    }

    /// What may be logged of it: its path may be a secret, as Slack's are.
    pub(crate) fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // The text is not repeated: secrets stand in addresses.
        let url = Url::parse(&text).map_err(|error| format!("expected an address: {error}"))?;
        let safe = match url.scheme() {
            "https" => true,
            "http" => is_near(&url),
            _ => return Err("expected https://, or http:// on this machine".to_owned()),
        };
        if !safe {
            return Err(
                "clear text only goes to this machine and to private addresses; expected https://"
                    .to_owned(),
            );
        }
        Ok(Self(url))
    }
}

fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_private(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        None => false,
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// It was not reached, or the connection broke.
    #[error("not reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer within the time that it has")]
    Timeout,
    /// Its answer is longer than one may be.
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// For how long the server does not want to be asked, up to an hour.
    pub retry_after: Option<Duration>,
}

/// A client whose calls take at most `timeout` as a whole.
pub(crate) fn client(timeout: Duration) -> Result<Client, HttpError> {
    builder(timeout).build().map_err(described)
}

/// The same for a server whose certificate is trusted by these (PEM), and not by the system's.
pub(crate) fn client_trusting(authorities: &[u8], timeout: Duration) -> Result<Client, HttpError> {
    let authorities = Certificate::from_pem_bundle(authorities).map_err(described)?;
    let built = builder(timeout).tls_certs_only(authorities).build();
    built.map_err(described)
}

fn builder(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .timeout(timeout)
        .no_proxy()
        .no_gzip()
        .user_agent(concat!("thornwall-sidecar/", env!("CARGO_PKG_VERSION")))
}

/// Sends a request, and reads an answer of at most `most` bytes.
pub(crate) async fn exchange(request: RequestBuilder, most: usize) -> Result<Answer, HttpError> {
    let mut response = request.send().await.map_err(described)?;
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(described)? {
        if body.len() + chunk.len() > most {
            return Err(HttpError::TooLong(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        body,
        retry_after,
    })
}

/// Seconds alone (RFC 9110, section 10.2.3): services that limit rates send those.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(secs).min(LONGEST_RETRY_AFTER))
}

/// The cause without the address, which may hold a secret.
fn described(error: reqwest::Error) -> HttpError {
    if error.is_timeout() {
        return HttpError::Timeout;
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    HttpError::Unreachable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_stays_near() {
        let check = |text: &str, good| {
            assert_eq!(Address::try_from(text.to_owned()).is_ok(), good, "{text}");
        };
        check("https://hooks.example/x", true);
        check("http://127.0.0.1:1/x", true);
        check("http://localhost:1/x", true);
        check("http://[::1]:1/x", true);
        check("http://10.0.0.5:11434/", true);
        check("http://hooks.example/x", false);
        check("http://192.0.2.1/x", false);
        check("http://localhost.example/x", false);
        check("ftp://127.0.0.1/x", false);
        check("x", false);
    }

    #[test]
    fn a_secret_path_is_not_shown() {
        let address = Address::try_from("https://hooks.example/secret".to_owned()).unwrap();
        assert_eq!(address.origin(), "https://hooks.example");
        assert!(!format!("{address:?}").contains("secret"));
        let error = Address::try_from("http://hooks.example/secret".to_owned()).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
