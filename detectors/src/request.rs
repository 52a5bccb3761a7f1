//! The facts of one request, read-only, as every judge sees them.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderName, Method, Uri, Version};

use crate::robots::Robots;

/// One request as filters and detectors see it.
///
/// Borrowed from the connection, so that judging copies nothing. Time arrives in it as data.
#[derive(Debug, Clone)]
pub struct RequestView<'a> {
    /// Method token as sent.
    pub method: &'a Method,
    /// Request target as sent.
    pub uri: &'a Uri,
    /// Path of `uri`, normalised by [`normalise_path`]: the form that every rule looks at.
    pub path: Cow<'a, str>,
    /// Protocol version of the request line.
    pub version: Version,
    /// Header fields as sent, hop-by-hop fields included.
    pub headers: &'a HeaderMap,
    /// Who the client is, trusted proxies already resolved.
    pub client: IpAddr,
    /// Host that was asked for: lower case, without port and trailing dot.
    pub host: &'a str,
    /// The site that serves this host.
    pub site: SiteFacts<'a>,
    /// Whether the client spoke TLS, to us or to a trusted proxy that says so. Browsers send
    /// fetch metadata and client hints only then (or to loopback names).
    pub secure: bool,
    /// Monotonic time since the gateway started.
    pub now: Duration,
}

/// What a judge may know of the site that a request is for.
#[derive(Debug, Clone, Copy)]
pub struct SiteFacts<'a> {
    /// Number of the site within its generation: the tenant part of every table key.
    pub id: u16,
    /// The site's robots.txt, where it is known.
    pub robots: Option<&'a Robots>,
}

impl RequestView<'_> {
    /// A header's text, or `None` where it is absent or not visible ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Brings a path into the one form that rules are matched against.
///
/// Percent-encoded unreserved characters are decoded (RFC 3986 section 6.2.2.2), dot segments are
/// removed (section 5.2.4) and runs of slashes become one, which is how common origins read them.
/// Borrows where the path is in that form already, which is nearly always.
pub fn normalise_path(path: &str) -> Cow<'_, str> {
    let odd = path.contains('%') || path.contains("//") || path.contains("/.");
    if !odd && path.starts_with('/') {
        return Cow::Borrowed(path);
    }
    Cow::Owned(remove_dot_segments(&decode_unreserved(path)))
}

/// Whether origins may read a path, as normalised, in different ways: an encoded slash or backslash
/// that some decode, a path parameter after dots that some drop, a NUL that some stop at.
///
/// No rule may let such a path off because of what it begins with.
pub fn is_ambiguous(path: &str) -> bool {
    let encoded = |code: &str| {
        let mut at = path.match_indices('%');
        at.any(|(at, _)| {
            path[at + 1..]
                .get(..2)
                .is_some_and(|hex| hex.eq_ignore_ascii_case(code))
        })
    };
    path.contains('\\')
        || path.contains("..;")
        || (path.contains('%') && ["2f", "5c", "00"].into_iter().any(encoded))
}

fn decode_unreserved(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match encoded_unreserved(&bytes[at..]) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The unreserved character that `rest` starts with in percent-encoded form, if it does.
fn encoded_unreserved(rest: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = rest else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then_some(byte)
}

fn remove_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let ends_in_folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let mut normalised = String::with_capacity(path.len());
    for segment in &segments {
        normalised.push('/');
        normalised.push_str(segment);
    }
    if ends_in_folder || normalised.is_empty() {
        normalised.push('/');
    }
    normalised
}

#[cfg(test)]
mod tests {
    use super::{is_ambiguous, normalise_path};

    #[test]
    fn what_origins_read_differently_is_ambiguous() {
        let check = |path: &str, expected: bool| assert_eq!(is_ambiguous(path), expected, "{path}");
        check("/a/b.html", false);
        check("/a%20b", false);
        check("/a;b=c", false);
        check("/100%", false);
        check("/api/..%2Fx", true);
        check("/api/..%2fx", true);
        check("/api/..%5cx", true);
        check("/api/..\\x", true);
        check("/api/..;/x", true);
        check("/x%00.html", true);
    }

    #[test]
    fn paths_take_one_form() {
        let check = |sent: &str, judged: &str| assert_eq!(normalise_path(sent), judged, "{sent}");
        check("/", "/");
        check("/a/b.html", "/a/b.html");
        check("//a///b/", "/a/b/");
        check("/api/../private", "/private");
        check("/a/./b/..", "/a/");
        check("/../../x", "/x");
        check("/%61dmin/%2e%2e/x", "/x");
        check("/a%2Fb", "/a%2Fb");
        check("/.well-known/x", "/.well-known/x");
        check("/bad%zz%", "/bad%zz%");
        check("*", "/*");
    }
}
