//! One robots.txt, read from a site's own origin and from nowhere else, within bounds.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use http::{HeaderMap, HeaderName, header};
use thornwall_detectors::robots::{LONGEST, Robots, is_markup};
use url::Url;

use crate::{
    forward::{FORWARDED_HOST, FORWARDED_PROTO, Public, Way},
    generation::{Generation, Site},
    hosts::split_authority,
    robots::{PATH, Want, counts},
    upstream::{self, Asked, ProbeReply, Upstream},
};

/// RFC 9309 section 2.3.1.2: crawlers follow at least five in a row.
const MOST_REDIRECTS: usize = 5;

/// What an origin has for a robots.txt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// The file's text, empty where there is none.
    Text(Vec<u8>),
    /// Something that only the asker can follow or read, and why.
    Foreign(String),
}

/// Asks for a file. An error is an origin that cannot be asked now.
pub(super) async fn fetch(
    generation: &Generation,
    site: &Site,
    want: &Want,
    now: std::time::Duration,
) -> Result<Fetched, String> {
    let Some(upstream) = site.route().and_then(|route| route.backend.upstream()) else {
        return Ok(Fetched::Foreign("no server has it".to_owned()));
    };
    let mut place = Public::new(want.secure, want.host.to_string(), want.port);
    let mut target = PATH.to_owned();
    for _ in 0..=MOST_REDIRECTS {
        let reply = ask(upstream, &place, &target, now).await?;
        match reply.status {
            200..=299 => return Ok(text(&reply)),
            301 | 302 | 303 | 307 | 308 => {
                let Some(next) =
                    follow(generation, (site, upstream), &reply.fields, &place, &target)
                else {
                    return Ok(Fetched::Foreign("a redirect to elsewhere".to_owned()));
                };
                (place, target) = next;
            }
            // Both say that the origin is busy, and not that there is nothing.
            status @ (408 | 429) => return Err(format!("status {status}")),
            // "Unavailable": crawlers may ask for everything (section 2.3.1.3).
            400..=499 => return Ok(Fetched::Text(Vec::new())),
            status => return Err(format!("status {status}")),
        }
    }
    Ok(Fetched::Foreign("too many redirects".to_owned()))
}

async fn ask(
    upstream: &Upstream,
    place: &Public,
    target: &str,
    now: std::time::Duration,
) -> Result<ProbeReply, String> {
    let authority = place.authority();
    let fields: [(HeaderName, &str); 3] = [
        (FORWARDED_PROTO, place.scheme()),
        (FORWARDED_HOST, &authority),
        (header::ACCEPT_ENCODING, "identity"),
    ];
    let asked = Asked {
        authority: &authority,
        target,
        fields: &fields,
        // One more than is used, so that the cut is noticed.
        most_bytes: LONGEST + 1,
    };
    let reply = upstream::fetch(upstream, &asked, now).await;
    reply.map_err(|error| error.to_string())
}

/// Where a redirect leads, as long as it is the same site's: it is asked for at the same origin, so
/// that no answer can lead the gateway to anything else.
fn follow(
    generation: &Generation,
    (site, upstream): (&Site, &Upstream),
    fields: &HeaderMap,
    from: &Public,
    target: &str,
) -> Option<(Public, String)> {
    let location = fields.get(header::LOCATION)?.as_bytes();
    let way = Way {
        public: from,
        asked: &from.host,
        target: Some(target),
        upstream,
        never_secure: false,
    };
    let mended = way.mend(location);
    let location = str::from_utf8(mended.as_deref().unwrap_or(location)).ok()?;
    let base = format!("{}://{}{target}", from.scheme(), from.authority());
    let url = Url::parse(&base).ok()?.join(location).ok()?;
    let secure = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let (host, _) = split_authority(url.host_str()?)?;
    let to = Public::new(secure, host, url.port());
    let served = generation.hosts.find(&to.host);
    let same_site = served
        .and_then(|at| generation.sites.get(at))
        .is_some_and(|found| found.id == site.id);
    // Another port is another server's.
    let same_port = to.port == from.port
        || to
            .port
            .is_none_or(|port| counts(&generation.ports, secure, port));
    let query = url.query().map(|query| format!("?{query}"));
    let path = format!("{}{}", url.path(), query.unwrap_or_default());
    (same_site && same_port).then_some((to, path))
}

/// What an answer has to say to crawlers.
fn text(reply: &ProbeReply) -> Fetched {
    let field = |name| reply.fields.get(name).and_then(|value| value.to_str().ok());
    let coding = field(header::CONTENT_ENCODING).unwrap_or("identity").trim();
    let body = match coding.to_ascii_lowercase().as_str() {
        "identity" | "" if !reply.body.starts_with(GZIP) => reply.body.clone(),
        "identity" | "" | "gzip" | "x-gzip" => match unzip(&reply.body) {
            Some(body) => body,
            None => return Fetched::Foreign("a damaged gzip".to_owned()),
        },
        other => return Fetched::Foreign(format!("content-encoding {other:?}")),
    };
    // Applications answer a page to whatever they do not know; programs without a type of their own
    // say `text/html` of anything.
    let says_html = field(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
    });
    if is_markup(&body) || (says_html && Robots::parse(&body).is_empty()) {
        return Fetched::Text(Vec::new());
    }
    Fetched::Text(cut(body))
}

/// How gzip begins (RFC 1952 section 2.3.1).
const GZIP: &[u8] = b"\x1f\x8b";

/// The beginning of what is in there, as far as it came.
fn unzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(body)
        .take(LONGEST as u64 + 1)
        .read_to_end(&mut text);
    (read.is_ok() || (body.len() > LONGEST && !text.is_empty())).then_some(text)
}

/// Half a rule would forbid, or allow, too much (RFC 9309 section 2.5).
fn cut(mut text: Vec<u8>) -> Vec<u8> {
    if text.len() > LONGEST {
        let end = text[..LONGEST]
            .iter()
            .rposition(|byte| b"\r\n".contains(byte));
        text.truncate(end.map_or(0, |end| end + 1));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use http::{HeaderMap, HeaderValue};

    use super::{Fetched, LONGEST, ProbeReply, text};

    fn fetched(fields: &[(&'static str, &'static str)], body: &[u8]) -> Fetched {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        text(&ProbeReply {
            status: 200,
            fields: fields.collect::<HeaderMap>(),
            body: body.to_vec(),
        })
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn only_what_is_a_robots_txt_counts_as_one() {
        let rules = b"User-agent: *\nDisallow: /x\n";
        let full = Fetched::Text(rules.to_vec());
        let none = Fetched::Text(Vec::new());
        let html = [("content-type", "text/html; charset=utf-8")];
        let zipped = [("content-encoding", "GZIP")];
        assert_eq!(fetched(&[], rules), full);
        assert_eq!(fetched(&html, rules), full, "a program without a type");
        assert_eq!(fetched(&html, b"Welcome: here\n"), none);
        assert_eq!(fetched(&[], b" \n<!DOCTYPE html>User-agent: *"), none);
        assert_eq!(fetched(&zipped, &gzip(rules)), full);
        assert_eq!(fetched(&[], &gzip(rules)), full, "a file that is one");
        assert!(matches!(fetched(&zipped, b"no gzip"), Fetched::Foreign(_)));
        assert!(matches!(
            fetched(&[("content-encoding", "br")], rules),
            Fetched::Foreign(_)
        ));
    }

    #[test]
    fn a_bomb_is_read_no_further_than_any_file_and_cut_at_a_line() {
        let line = b"Disallow: /0123456789\n";
        let bomb = gzip(&line.repeat(4 << 20));
        let Fetched::Text(text) = fetched(&[("content-encoding", "gzip")], &bomb) else {
            panic!("it is a text");
        };
        assert!(text.len() <= LONGEST && text.len() > LONGEST - line.len());
        assert!(text.ends_with(line));
    }
}
