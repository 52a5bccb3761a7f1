//! The facts of one request, read-only, as every judge sees them.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use http::{HeaderMap, HeaderName, Method, Uri, Version};
use thiserror::Error;

use crate::robots::Robots;

/// One request as filters and detectors see it.
///
/// Borrowed from the connection, so that judging copies nothing. Time arrives in it as data.
#[derive(Debug, Clone)]
pub struct RequestView<'a> {
    /// Method token as sent.
    pub method: &'a Method,
    /// Request target as sent, but for bytes that no URI has, which are percent-encoded.
    pub uri: &'a Uri,
    /// Path of `uri` in the form of [`plain_path`], which every rule looks at.
    pub path: Cow<'a, str>,
    /// Protocol version of the request line.
    pub version: Version,
    /// Header fields as sent, hop-by-hop fields included.
    pub headers: &'a HeaderMap,
    /// Address of the client, trusted proxies already resolved.
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

impl<'a> RequestView<'a> {
    /// A request of which nothing else is known: without TLS, from this machine, to a site without a
    /// robots.txt, at the gateway's start. Code that judges recorded requests again fills in what it
    /// knows with `..RequestView::bare(..)`, so that a new fact needs a value here and in the gateway.
    pub fn bare(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        Self {
            method,
            uri,
            path: plain_path(uri.path()),
            version: Version::HTTP_11,
            headers,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: "site.example",
            site: SiteFacts {
                id: 0,
                robots: None,
            },
            secure: false,
            now: Duration::ZERO,
        }
    }

    /// A header's text, or `None` where it is absent or not visible ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Error: the path is not one that an origin is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// A backslash, which some servers take for a slash; a URL parser has replaced it
    /// (WHATWG URL, path state).
    #[error("a backslash in the path")]
    Backslash,
    /// A byte that no path is made of.
    #[error("a byte in the path that must be percent-encoded")]
    Byte,
    /// A dot segment with a parameter, which servers that drop parameters climb with.
    #[error("a dot segment with a parameter")]
    DotParameter,
    /// `%` without two hexadecimal digits (RFC 3986 section 2.1), or an encoded NUL, at which some
    /// servers end the path.
    #[error("a broken percent-encoding in the path")]
    Encoding,
}

/// Brings a path into the one form that is judged, or refuses it. The origin is asked for that form
/// too, but where the path as sent only [`spells`] it.
///
/// The steps are those of RFC 3986 section 6.2.2 that change no resource's name:
/// - percent-encoded unreserved characters are decoded (section 6.2.2.2), and the digits of all others
///   are capitals (section 6.2.2.1);
/// - dot segments are removed (section 5.2.4), encoded ones included;
/// - slashes at the start become one: a reference that starts with two names a host (section 4.2),
///   and origins have sent people there.
///
/// Everything else stays, since some origin gives it a meaning: empty segments inside (keys of S3,
/// URLs in paths), `%2F` (names in WebDAV and GitLab), path parameters, upper and lower case. The
/// asterisk of `OPTIONS *` is a path of its own. Borrows where nothing changes, which is nearly
/// always.
pub fn normalise_path(path: &str) -> Result<Cow<'_, str>, PathError> {
    let mut before = 0;
    let mut odd = false;
    for byte in path.bytes() {
        if !byte.is_ascii_graphic() {
            return Err(PathError::Byte);
        }
        odd |= matches!((before, byte), (b'/', b'/' | b'.') | (_, b'%' | b'\\'));
        before = byte;
    }
    if path == "*" || (!odd && path.starts_with('/')) {
        return Ok(Cow::Borrowed(path));
    }
    let normalised = remove_dot_segments(&decode_unreserved(path)?)?;
    if normalised == path {
        return Ok(Cow::Borrowed(path));
    }
    Ok(Cow::Owned(normalised))
}

/// The path that rules look at: as [`normalise_path`] has it, but without empty segments, which
/// many origins skip. A path that is refused stays as it is.
pub fn plain_path(path: &str) -> Cow<'_, str> {
    let Ok(normalised) = normalise_path(path) else {
        return Cow::Borrowed(path);
    };
    if !normalised.contains("//") {
        return normalised;
    }
    let mut plain = String::with_capacity(normalised.len());
    for char in normalised.chars() {
        if char != '/' || !plain.ends_with('/') {
            plain.push(char);
        }
    }
    Cow::Owned(plain)
}

/// Whether a path is only another spelling of `normalised`: some of its unreserved characters are
/// percent-encoded, which every origin that decodes at all reads alike, and nothing else differs.
///
/// Such a path can go on as it was sent, for those protocols that sign it.
pub fn spells(sent: &str, normalised: &str) -> bool {
    decode_unreserved(sent).is_ok_and(|decoded| decoded == normalised)
}

/// A path, or a part of one, that an operator has written down, in the form of [`plain_path`]: what a
/// person writes as `/café` comes as `/caf%C3%A9`.
pub fn written_path(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"#<>\\`".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let digits =
                [byte >> 4, byte & 15].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]);
            encoded.extend([b'%', digits[0], digits[1]].map(char::from));
        }
    }
    decode_unreserved(&encoded).unwrap_or(encoded)
}

/// Whether origins may read a path, as normalised, in different ways: an encoded slash or backslash
/// that some decode, a path parameter after dots or instead of a name that some drop, a NUL that some
/// stop at, and dots or any of these encoded twice, since some decode twice.
///
/// No rule may let such a path off because of what it begins with.
pub fn is_ambiguous(path: &str) -> bool {
    let folded = |code: &str, meanings: &[&str]| {
        meanings
            .iter()
            .any(|meaning| code.eq_ignore_ascii_case(meaning))
    };
    let is_folded = |(at, _)| {
        let once = path[at + 1..].get(..2).unwrap_or_default();
        let twice = path[at + 1..].get(2..4).unwrap_or_default();
        folded(once, &["2f", "5c", "00"])
            || (once == "25" && folded(twice, &["2e", "2f", "5c", "00"]))
    };
    path.contains('\\')
        || path.contains("..;")
        || path.contains("/;")
        || path.match_indices('%').any(is_folded)
}

fn decode_unreserved(path: &str) -> Result<String, PathError> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, encoded)) = rest.split_once('%') {
        decoded.push_str(plain);
        let digits = encoded.get(..2).ok_or(PathError::Encoding)?;
        match octet(digits.as_bytes()) {
            None | Some(0) => return Err(PathError::Encoding),
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
            }
            Some(_) => {
                decoded.push('%');
                decoded.extend(digits.chars().map(|digit| digit.to_ascii_uppercase()));
            }
        }
        rest = &encoded[2..];
    }
    decoded.push_str(rest);
    Ok(decoded)
}

fn octet(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// RFC 3986 section 5.2.4; a `..` takes the segment before it away, also an empty one.
fn remove_dot_segments(path: &str) -> Result<String, PathError> {
    if path.contains('\\') {
        return Err(PathError::Backslash);
    }
    let mut segments: Vec<&str> = Vec::new();
    let mut in_folder = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        in_folder = false;
        match segment {
            "." => in_folder = true,
            ".." => {
                segments.pop();
                in_folder = true;
            }
            _ if is_dot_with_parameter(segment) => return Err(PathError::DotParameter),
            // Nothing but slashes so far.
            "" if segments.is_empty() => in_folder = true,
            _ => segments.push(segment),
        }
    }
    let mut normalised = String::with_capacity(path.len() + 1);
    // A `..` may have left empty segments at the start.
    for segment in segments.iter().skip_while(|segment| segment.is_empty()) {
        normalised.push('/');
        normalised.push_str(segment);
    }
    if in_folder || normalised.is_empty() {
        normalised.push('/');
    }
    Ok(normalised)
}

fn is_dot_with_parameter(segment: &str) -> bool {
    let name = segment.split_once(';').map(|(name, _)| name);
    matches!(name, Some("." | ".."))
}

#[cfg(test)]
mod tests {
    use super::{PathError, is_ambiguous, normalise_path, plain_path, spells, written_path};

    #[test]
    fn what_people_write_is_what_comes() {
        let check = |text: &str, expected: &str| assert_eq!(written_path(text), expected, "{text}");
        check("/api/*", "/api/*");
        check("/caf\u{e9}/*", "/caf%C3%A9/*");
        check("/caf%c3%a9 x", "/caf%C3%A9%20x");
        check("/%7Eme/%2f", "/~me/%2F");
        check("/<a>\"|", "/%3Ca%3E\"|");
        check("/100%", "/100%");
    }

    #[test]
    fn what_spells_a_path_goes_on_as_sent() {
        let check = |sent: &str, expected: bool| {
            let normalised = normalise_path(sent).unwrap();
            assert_eq!(spells(sent, &normalised), expected, "{sent}");
        };
        check("/a", true);
        check("/%61dmin/%7Euser%2Dx", true);
        check("/%252e%252e/%25%32%65", true);
        check("/a%2Fb//%41", true);
        check("/.%2e./%2e%2ea", true);
        check("/caf%c3%A9", true);
        check("/a/%2e%2e/b", false);
        check("/a/./%61", false);
        check("/a/.%2E", false);
        check("//%61", false);
        check("/a/%2e", false);
    }

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
        check("/;/x", true);
        check("/api/%252e%252e/x", true);
        check("/api/..%252Fx", true);
        check("/api/%255cx", true);
        check("/50%25", false);
        check("/50%25%20", false);
        check("/50%2541", false);
    }

    #[test]
    fn paths_take_one_form() {
        let check = |sent: &str, expected: &str| {
            let normalised = normalise_path(sent).unwrap();
            assert_eq!(normalised, expected, "{sent}");
            assert_eq!(normalise_path(&normalised).unwrap(), expected, "again");
        };
        check("/", "/");
        check("/a/b.html", "/a/b.html");
        check("//a///b/", "/a///b/");
        check("////", "/");
        check("/api/../private", "/private");
        check("/a/./b/..", "/a/");
        check("/a/.", "/a/");
        check("/../../x", "/x");
        check("/a//../b", "/a/b");
        check("/a/..//b", "/b");
        check("/..//..//", "/");
        check("/a/b//..", "/a/b/");
        check("/%61dmin/%2e%2e/x", "/x");
        check("/%7euser/%2D", "/~user/-");
        check("/a%2Fb", "/a%2Fb");
        check("/a%2f..%2Fb", "/a%2F..%2Fb");
        check("/caf%C3%A9/a%20b", "/caf%C3%A9/a%20b");
        check("/a;v=1/b;", "/a;v=1/b;");
        check("/.well-known/x", "/.well-known/x");
        check("/.../..a/a..", "/.../..a/a..");
        check("/%2525", "/%2525");
        check("/web/http://a.example//x", "/web/http://a.example//x");
        check("*", "*");
    }

    #[test]
    fn paths_that_servers_read_differently_are_refused() {
        let check = |sent: &str, expected: PathError| {
            assert_eq!(normalise_path(sent), Err(expected), "{sent}");
        };
        for broken in ["/%", "/%2", "/%zz", "/%+1", "/a%00", "/%\u{e9}"] {
            let expected = if broken.is_ascii() {
                PathError::Encoding
            } else {
                PathError::Byte
            };
            check(broken, expected);
        }
        check("/a\\..\\b", PathError::Backslash);
        check("/a/..;/b", PathError::DotParameter);
        check("/a/%2e%2E;x=y/b", PathError::DotParameter);
        check("/.;", PathError::DotParameter);
        check("/a b", PathError::Byte);
        check("/caf\u{e9}", PathError::Byte);
        check("/a\u{7f}", PathError::Byte);
    }

    #[test]
    fn rules_look_past_empty_segments() {
        let check = |sent: &str, expected: &str| assert_eq!(plain_path(sent), expected, "{sent}");
        check("/a/b", "/a/b");
        check("//api//v1///x//", "/api/v1/x/");
        check("/a//../b", "/a/b");
        check("/bad%zz//", "/bad%zz//");
    }
}
