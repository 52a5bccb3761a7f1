//! Getting the text of a feed, within bounds, and from nowhere but where it may come from.
//!
//! Redirects are followed by hand: a stranger's server must not lead the gateway to what only the
//! gateway can reach. Every hop's name is looked up once, the addresses are checked, and the connection
//! goes to one of exactly these.

use std::{
    fs,
    io::{self, Read},
    sync::{Arc, OnceLock},
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use thiserror::Error;
use thornwall_detectors::address::is_global;
use ureq::{
    Agent, Body,
    config::Config,
    http::Uri,
    tls::{Certificate, RootCerts, TlsConfig},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};
use url::Url;

use super::{Location, Spec};

/// Longest time for one answer, from the name's lookup to its last byte.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects that are followed.
const MOST_REDIRECTS: usize = 3;
/// Longest `ETag` or `Last-Modified` that is kept.
const LONGEST_VALIDATOR: usize = 256;

/// What a server said about the state of its text, to be asked for later ones only.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
}

/// What came.
pub(crate) enum Fetched {
    /// A text, and its validators.
    Fresh(Vec<u8>, Validators),
    /// It is as it was.
    Unchanged,
}

/// Why nothing came.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("the answer is compressed ({0}), which was not asked for")]
    Compressed(String),
    #[error("the file cannot be read: {0}")]
    File(io::Error),
    #[error("{0}")]
    Http(#[from] ureq::Error),
    #[error("is HTML, where a list was expected")]
    Html,
    #[error("the redirect cannot be followed: {0}")]
    Redirect(String),
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("is larger than max_bytes = {0}")]
    TooLarge(u64),
}

/// Asks for the text, unless it is still the one of `known`.
pub(crate) fn fetch(spec: &Spec, known: &Validators) -> Result<Fetched, FetchError> {
    match &spec.location {
        Location::File(path) => {
            // Opening a pipe without a writer would never end.
            let facts = fs::metadata(path).map_err(FetchError::File)?;
            if !facts.is_file() {
                let what = io::Error::other("it is not a regular file");
                return Err(FetchError::File(what));
            }
            let file = fs::File::open(path).map_err(FetchError::File)?;
            read_file(&file, spec.max_bytes, known)
        }
        Location::Url(url) => follow(spec, url, known),
    }
}

fn read_file(file: &fs::File, most: u64, known: &Validators) -> Result<Fetched, FetchError> {
    let facts = file.metadata().map_err(FetchError::File)?;
    let modified = facts.modified().map_err(FetchError::File)?;
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let validators = Validators {
        etag: None,
        modified: Some(format!("{} {}", modified.as_nanos(), facts.len())),
    };
    if validators == *known {
        return Ok(Fetched::Unchanged);
    }
    let bytes = read_within(file, most, facts.len())?;
    Ok(Fetched::Fresh(bytes, validators))
}

fn follow(spec: &Spec, start: &Url, known: &Validators) -> Result<Fetched, FetchError> {
    let mut url = start.clone();
    for _ in 0..=MOST_REDIRECTS {
        // The operator has said where the feed is; where its server points to is the server's claim.
        let own = url.origin() == start.origin();
        let answer = ask(&url, spec.allow_private && own, known)?;
        match answer.status() {
            StatusCode::OK => return take(answer, spec.max_bytes),
            // A server that was asked for the text itself has to send it.
            StatusCode::NOT_MODIFIED if *known != Validators::default() => {
                return Ok(Fetched::Unchanged);
            }
            StatusCode::NOT_MODIFIED => return Err(FetchError::Status(304)),
            status if status.is_redirection() => url = next(&url, answer.headers())?,
            status => return Err(FetchError::Status(status.as_u16())),
        }
    }
    let what = format!("there are more than {MOST_REDIRECTS}");
    Err(FetchError::Redirect(what))
}

fn next(url: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    let wrong = |what: &str| FetchError::Redirect(what.to_owned());
    let target = text(headers, &header::LOCATION).ok_or_else(|| wrong("it names no place"))?;
    let next = url.join(&target).map_err(|_| wrong("it names no URL"))?;
    match (url.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => Ok(next),
        ("https", "http") => Err(wrong("it leads from HTTPS to HTTP")),
        _ => Err(wrong("it leads away from HTTP")),
    }
}

fn ask(url: &Url, private: bool, known: &Validators) -> Result<Response<Body>, FetchError> {
    let agent = Agent::with_parts(config(), DefaultConnector::default(), Checked { private });
    let mut request = agent.get(url.as_str());
    let conditions = [
        (header::IF_NONE_MATCH, &known.etag),
        (header::IF_MODIFIED_SINCE, &known.modified),
    ];
    for (name, value) in conditions {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    Ok(request.call()?)
}

fn config() -> Config {
    let tls = TlsConfig::builder()
        .root_certs(authorities())
        .unversioned_rustls_crypto_provider(provider())
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(TIMEOUT))
        .tls_config(tls)
        .user_agent(concat!("thornwall/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The authorities that the system trusts, read once.
fn authorities() -> RootCerts {
    static FOUND: OnceLock<RootCerts> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            log::error!("this system has no certificates of authorities; feeds over HTTPS fail");
        }
        let owned =
            |der: &rustls::pki_types::CertificateDer<'_>| Certificate::from_der(der).to_owned();
        found.certs.iter().map(owned).collect::<Vec<_>>().into()
    });
    found.clone()
}

fn take(mut answer: Response<Body>, most: u64) -> Result<Fetched, FetchError> {
    let headers = answer.headers();
    if let Some(coding) = text(headers, &header::CONTENT_ENCODING)
        && coding != "identity"
    {
        // What a few bytes of it unpack to would have no bound.
        return Err(FetchError::Compressed(coding.chars().take(20).collect()));
    }
    if text(headers, &header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(FetchError::Html);
    }
    let validators = Validators {
        etag: text(headers, &header::ETAG),
        modified: text(headers, &header::LAST_MODIFIED),
    };
    let length = answer.body().content_length().unwrap_or(0);
    let bytes = read_within(answer.body_mut().as_reader(), most, length)?;
    Ok(Fetched::Fresh(bytes, validators))
}

/// Everything, unless it is more than `most`. Not a byte more than that is read or kept.
fn read_within(reader: impl Read, most: u64, announced: u64) -> Result<Vec<u8>, FetchError> {
    if announced > most {
        return Err(FetchError::TooLarge(most));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
    let mut reader = reader.take(most + 1);
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| FetchError::Http(error.into()))?;
    match bytes.len() as u64 > most {
        true => Err(FetchError::TooLarge(most)),
        false => Ok(bytes),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    let longest = match *name {
        header::LOCATION => 4096,
        _ => LONGEST_VALIDATOR,
    };
    (value.len() <= longest).then(|| value.to_owned())
}

/// Looks names up, and forgets the addresses that no request may be led to.
#[derive(Debug)]
struct Checked {
    private: bool,
}

impl Resolver for Checked {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        for address in found.iter() {
            if self.private || is_global(address.ip(), address.ip()) {
                allowed.push(*address);
            }
        }
        if allowed.is_empty() {
            let what = format!(
                "{} is a private address, and allow_private is not for it",
                uri.host().unwrap_or_default()
            );
            return Err(io::Error::other(what).into());
        }
        Ok(allowed)
    }
}
