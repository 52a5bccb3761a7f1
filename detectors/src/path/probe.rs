//! Paths that are asked for to find a hole, and paths that climb out of a site.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use http::Method;

use super::{
    Kind, kind,
    lists::{DOORS, HOLES},
};
use crate::{
    request::RequestView,
    signal::{Evidence, Reason, Signal},
    user_agent::{Claim, UserAgent},
    weights,
};

/// Bytes of a query that are looked at.
const LONGEST_QUERY: usize = 1024;

/// Notes an unusual method, a probe and an attempt to climb.
pub fn judge(view: &RequestView<'_>, agent: &UserAgent<'_>, note: &mut impl FnMut(Signal)) {
    if let Some(weight) = method_weight(view.method, agent.claim) {
        note(Signal::new(Reason::MethodUnusual, weight));
    }
    if let Some(probe) = find(&view.path) {
        let weight = match (probe.door, agent.claim) {
            (false, _) => weights::PROBE,
            (true, Claim::Browser(_)) => weights::DOOR_KNOCK_BROWSER,
            (true, _) => weights::DOOR_KNOCK,
        };
        note(Signal::with_evidence(
            Reason::PathProbe,
            weight,
            Evidence::Text(probe.text),
        ));
    }
    let query = view.uri.query().unwrap_or_default().as_bytes();
    if climbs_out(view.uri.path().as_bytes()) {
        note(Signal::new(Reason::PathTraversal, weights::TRAVERSAL));
    } else if climbs_in_query(&query[..query.len().min(LONGEST_QUERY)]) {
        let remark = Evidence::Text("in the query");
        note(Signal::with_evidence(
            Reason::PathTraversal,
            weights::TRAVERSAL_QUERY,
            remark,
        ));
    }
}

fn method_weight(method: &Method, claim: Claim) -> Option<f32> {
    const USUAL: &[Method] = &[
        Method::GET,
        Method::POST,
        Method::HEAD,
        Method::OPTIONS,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    // RFC 4918, 3253 (versions, with which Subversion works), 3744 (ACL), 4791 (MKCALENDAR), 5323
    // (SEARCH), 5842 (BIND); QUERY is a safe POST (draft-ietf-httpbis-safe-method-w-body).
    const WEBDAV: &[&str] = &[
        "ACL",
        "BASELINE-CONTROL",
        "BIND",
        "CHECKIN",
        "CHECKOUT",
        "COPY",
        "LABEL",
        "LOCK",
        "MERGE",
        "MKACTIVITY",
        "MKCALENDAR",
        "MKCOL",
        "MKWORKSPACE",
        "MOVE",
        "PROPFIND",
        "PROPPATCH",
        "QUERY",
        "REBIND",
        "REPORT",
        "SEARCH",
        "UNBIND",
        "UNCHECKOUT",
        "UNLOCK",
        "UPDATE",
        "VERSION-CONTROL",
    ];
    if USUAL.contains(method) {
        return None;
    }
    let webdav = WEBDAV.contains(&method.as_str());
    match claim {
        _ if !webdav => Some(weights::METHOD_UNUSUAL),
        Claim::Program(purpose) if purpose.speaks_webdav() => None,
        _ => Some(weights::METHOD_WEBDAV),
    }
}

struct Probe {
    text: &'static str,
    /// A door that the site's own people use.
    door: bool,
}

static PROBES: LazyLock<(AhoCorasick, Vec<Probe>)> = LazyLock::new(|| {
    let probe = |door| move |text: &&'static str| Probe { text, door };
    let holes = HOLES.iter().map(probe(false));
    let probes: Vec<Probe> = holes.chain(DOORS.iter().map(probe(true))).collect();
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(probes.iter().map(|probe| probe.text))
        // Fails only beyond 2^31 states; the lists above have some thousand bytes.
        .expect("the lists fit an automaton");
    (automaton, probes)
});

/// The gravest probe in a path. A name must end where the entry ends, but for suffixes such as
/// `.bak`; WordPress serves its visitors' scripts and styles from behind its door.
fn find(path: &str) -> Option<&'static Probe> {
    let (automaton, probes) = &*PROBES;
    let ends = |at: usize, text: &str| {
        text.ends_with('/')
            || path
                .as_bytes()
                .get(at)
                .is_none_or(|byte| b"/.~-_".contains(byte))
    };
    let found = automaton
        .find_overlapping_iter(path)
        .map(|at| (at.end(), &probes[at.pattern().as_usize()]))
        .filter(|(at, probe)| ends(*at, probe.text))
        .map(|(_, probe)| probe)
        .min_by_key(|probe| probe.door)?;
    let for_visitors = kind(path) == Kind::Asset || path.ends_with("/admin-ajax.php");
    (!found.door || !for_visitors).then_some(found)
}

/// Whether the segments of a path as sent lead above the root, in any encoding that servers have
/// been caught decoding: once, twice, with backslashes, with path parameters.
fn climbs_out(path: &[u8]) -> bool {
    if !path.windows(2).any(|pair| pair == b"..") && !path.contains(&b'%') {
        return false;
    }
    let mut depth = 0_i32;
    let mut segment = Segment::default();
    for byte in Decoded(path).chain([b'/']).skip(1) {
        match byte {
            b'/' | b'\\' => {
                depth += if segment.is_parent() { -1 } else { 1 };
                if depth < 0 {
                    return true;
                }
                segment = Segment::default();
            }
            0 => return true,
            _ => segment.push(byte),
        }
    }
    false
}

/// Whether a query climbs twice in a row, which no parameter of an honest link does.
fn climbs_in_query(query: &[u8]) -> bool {
    const CLIMB: &[u8] = b"../../";
    if !query.iter().any(|byte| matches!(byte, b'.' | b'%')) {
        return false;
    }
    let mut matched = 0;
    for byte in Decoded(query) {
        let byte = if byte == b'\\' { b'/' } else { byte };
        matched = match byte {
            _ if byte == CLIMB[matched] => matched + 1,
            b'.' if matched == 2 || matched == 5 => matched,
            b'.' => 1,
            _ => 0,
        };
        if matched == CLIMB.len() {
            return true;
        }
    }
    false
}

/// As much of a segment as distinguishes `..` from everything else.
#[derive(Default)]
struct Segment {
    dots: u8,
    other: bool,
    parameters: bool,
}

impl Segment {
    const fn push(&mut self, byte: u8) {
        match byte {
            _ if self.parameters => {}
            b'.' if !self.other && self.dots < 3 => self.dots += 1,
            b';' => self.parameters = true,
            _ => self.other = true,
        }
    }

    const fn is_parent(&self) -> bool {
        self.dots == 2 && !self.other
    }
}

/// Octets with their percent-encoding taken off, twice where it was put on twice.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (octet, rest) = match self.0 {
            [b'%', b'2', b'5', high, low, rest @ ..] => (octet(*high, *low), rest),
            [b'%', high, low, rest @ ..] => (octet(*high, *low), rest),
            _ => (None, self.0),
        };
        if let Some(octet) = octet {
            self.0 = rest;
            return Some(octet);
        }
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

fn octet(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::{
        fixture::Request,
        signal::{Reason, Trail},
        user_agent::UserAgent,
    };

    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

    fn check(line: &str, agent: &str, noticed: Option<Reason>, score: std::ops::Range<f32>) {
        let mut trail = Trail::default();
        let request = Request::new(line, &[]);
        judge(&request.view(), &UserAgent::parse(agent), &mut |signal| {
            trail.push(signal)
        });
        let reason = trail.strongest().map(|signal| signal.reason);
        assert_eq!(reason, noticed, "{line}");
        assert!(
            score.contains(&trail.score()),
            "{line} {agent} {}",
            trail.score()
        );
    }

    #[test]
    fn probes_are_told_from_pages() {
        let probe = Some(Reason::PathProbe);
        for path in [
            "/.env",
            "/app/.env.bak",
            "/.GIT/config",
            "/.git",
            "/wp-config.php.swp",
            "//.env",
            "/a/../.git/HEAD",
            "/%2e%65nv",
            "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
        ] {
            check(&format!("GET {path}"), CHROME, probe, 0.44..0.5);
        }
        for path in [
            "/wp-login.php",
            "/wp-admin/",
            "/blog/wp-admin",
            "/cgi-bin/x",
            "/phpMyAdmin/",
        ] {
            check(&format!("GET {path}"), CHROME, probe, 0.01..0.05);
            check(&format!("GET {path}"), "curl/8.5.0", probe, 0.15..0.25);
        }
        for path in [
            "/",
            "/.well-known/security.txt",
            "/environment",
            "/.environment",
            "/repo.git/info/refs",
            "/wp-administration",
            "/wp-admin/admin-ajax.php",
            "/wp-admin/css/login.min.css",
            "/.gitignore",
            "/blog/how-to-secure-wp-login.php-files",
            "/my.env",
            "/robots.txt",
        ] {
            check(&format!("GET {path}"), "curl/8.5.0", None, 0.0..0.01);
        }
    }

    #[test]
    fn climbing_is_noticed_in_every_encoding() {
        let climb = Some(Reason::PathTraversal);
        for path in [
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/a/%2E%2E%2f..%2fx",
            "/..%5c..%5cx",
            "/%252e%252e%252fx",
            "/..;/manager",
            "/a%00.png",
            "/..",
        ] {
            check(&format!("GET {path}"), CHROME, climb, 0.4..0.5);
        }
        for query in [
            "f=../../x",
            "f=..%2F..%2Fx",
            "f=%252e%252e%252f%252e%252e/x",
            "f=/.../../../x",
        ] {
            check(&format!("GET /?{query}"), CHROME, climb, 0.25..0.5);
        }
        for target in [
            "/a/../b",
            "/a//../../b",
            "/...",
            "/a..b/..c",
            "/100%25",
            "/%",
            "/%2",
            "/?q=a..b/..",
            "/?url=../x",
            "/?q=../..",
            "/a%2Fb",
            "/v1...v2/compare",
        ] {
            check(&format!("GET {target}"), CHROME, None, 0.0..0.01);
        }
    }

    #[test]
    fn methods_of_sites_and_interfaces_pass() {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            check(&format!("{method} /"), CHROME, None, 0.0..0.01);
        }
        for method in ["PROPFIND", "REPORT"] {
            check(
                &format!("{method} /"),
                CHROME,
                Some(Reason::MethodUnusual),
                0.1..0.2,
            );
        }
        for method in ["TRACE", "TRACK", "DEBUG", "CONNECT", "get", "X"] {
            check(
                &format!("{method} /"),
                CHROME,
                Some(Reason::MethodUnusual),
                0.35..0.5,
            );
        }
    }
}
