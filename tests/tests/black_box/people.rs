//! People whose browsers, extensions or proxies send other header fields than a stock browser, over
//! TLS, through the pipeline that ships. Everything that may happen to a header set is walked in
//! process, by the tests of the filters; here are some of it, and requests that browsers make beside
//! pages, over the wire.

use crate::{
    harness::{Folder, Gateway, Origin, Reply, connect},
    tls_client::{Client, SecureListener},
};

const HOST: &str = "site.t.example";

/// A gateway with the pipeline that ships, behind a listener for TLS.
struct Site {
    gateway: Gateway,
    client: Client,
    _files: Folder,
    _origin: Origin,
}

impl Site {
    /// `extra` is TOML that follows the certificate.
    fn start(extra: &str) -> Self {
        let listener = SecureListener::named("*.t.example");
        let extra = format!(
            "{}{extra}[tarpit]\ninterval_ms = 1000\nmax_secs = 2\n\
             [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\n",
            listener.toml
        );
        let origin = Origin::start();
        Self {
            gateway: Gateway::start(origin.port, &extra),
            client: listener.client,
            _files: listener.files,
            _origin: origin,
        }
    }

    /// Sees that an answer is the origin's, and that its request came to no rung.
    fn served(&self, what: &str, reply: Result<Reply, String>) {
        let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
        let decided = self.gateway.explain(reply.id());
        let score = decided["score"].as_f64().unwrap();
        assert!(
            reply.status < 400 && score < 0.5,
            "{what}: {} {decided:#}",
            reply.status
        );
        assert!(
            reply.header("content-length").is_some(),
            "{what}: {}",
            reply.head
        );
    }

    fn h2(&self, what: &str, line: &str, headers: &[(&str, &str)]) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method);
        request = request.uri(format!("https://{HOST}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body: Option<&[u8]> = (method == "POST").then_some(b"[]");
        let request = request.body(()).unwrap();
        self.served(what, self.client.h2_send(HOST, request, body));
    }
}

const CHROME: &[(&str, &str)] = &[
    (
        "sec-ch-ua",
        r#""Chromium";v="126", "Google Chrome";v="126", "Not-A.Brand";v="8""#,
    ),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Windows\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    ),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "de-DE,de;q=0.9"),
];

const FIREFOX: &[(&str, &str)] = &[
    ("user-agent", FIREFOX_NAME),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-user", "?1"),
    ("te", "trailers"),
];

const FIREFOX_NAME: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

const SAFARI: &[(&str, &str)] = &[
    ("sec-fetch-dest", "document"),
    ("user-agent", SAFARI_NAME),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("accept-language", "fr-FR,fr;q=0.9"),
    ("accept-encoding", "gzip, deflate, br"),
];

const SAFARI_NAME: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";

/// What is taken away on the way, by the beginnings of the fields' names.
const TAKEN: &[&str] = &[
    "sec-fetch-",
    "sec-ch-",
    "accept-language",
    "accept-encoding",
];

#[test]
fn browsers_that_lack_two_kinds_of_fields_are_served_over_tls() {
    let site = Site::start("");
    for (name, browser) in [("Chrome", CHROME), ("Safari", SAFARI)] {
        for (at, first) in TAKEN.iter().enumerate() {
            for second in &TAKEN[at..] {
                let mut left = browser.to_vec();
                left.retain(|(name, _)| !name.starts_with(first) && !name.starts_with(second));
                let what = format!("{name} without {first} and {second}");
                site.h2(&what, "GET /a/b.html", &left);
            }
        }
        // An extension that switches names, and one that takes a field away.
        for first in ["sec-fetch-", "accept-language"] {
            let mut left = browser.to_vec();
            left.retain(|(name, _)| !name.starts_with(first) && *name != "user-agent");
            left.push(("user-agent", FIREFOX_NAME));
            site.h2(
                &format!("{name} as Firefox without {first}"),
                "GET /a/b.html",
                &left,
            );
        }
    }
}

#[test]
fn browsers_behind_a_proxy_that_looks_into_tls_are_served() {
    let site = Site::start("");
    for (name, browser) in [("Chrome", CHROME), ("Firefox", FIREFOX), ("Safari", SAFARI)] {
        let kept = browser
            .iter()
            .filter(|(name, _)| !name.starts_with("sec-") && *name != "te");
        let headers: String = kept
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let headers = format!(
            "{headers}Via: 1.1 proxy.example (squid/5.7)\r\nX-Forwarded-For: 10.1.2.3\r\n\
             Cache-Control: max-age=259200\r\n"
        );
        site.served(name, site.client.h1(HOST, HOST, "/a/b.html", &headers));
    }
}

#[test]
fn what_browsers_ask_for_beside_pages_is_served_over_tls() {
    let site = Site::start("");
    let chrome = CHROME[4];
    // The Reporting API's uploads come from Chrome's network service: with its name and little else.
    let report = [
        chrome,
        ("content-type", "application/reports+json"),
        ("accept-encoding", "gzip, deflate, br"),
    ];
    site.h2("Chrome's report", "POST /reports", &report);
    let asked = [
        chrome,
        ("origin", "https://other.t.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    site.h2(
        "the preflight of Chrome's report",
        "OPTIONS /reports",
        &asked,
    );
    let asked = [
        ("user-agent", FIREFOX_NAME),
        ("accept", "*/*"),
        ("access-control-request-method", "PUT"),
        ("origin", "https://other.t.example"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-site"),
    ];
    site.h2("Firefox's preflight", "OPTIONS /items/1", &asked);
    let beacon = [
        ("user-agent", SAFARI_NAME),
        ("accept", "*/*"),
        ("content-type", "text/plain;charset=UTF-8"),
        ("origin", "https://site.t.example"),
        ("accept-language", "fr-FR,fr;q=0.9"),
        ("accept-encoding", "gzip, deflate, br"),
    ];
    site.h2("Safari's beacon behind a proxy", "POST /collect", &beacon);
}

/// Over HTTP/1.1, since the gateway speaks WebSockets there, and behind something that ends TLS. The
/// origin does not speak them and answers with a page; what counts is that the request came to it.
#[test]
fn websocket_handshakes_are_no_anomaly() {
    use std::io::{Read, Write};
    let site = Site::start("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://site.t.example\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n";
    let chrome = "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: de-DE,de;q=0.9\r\n";
    for (agent, further) in [(CHROME[4].1, chrome), (SAFARI_NAME, "")] {
        let mut stream = connect(site.gateway.port).unwrap();
        let raw = format!(
            "GET /live HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Proto: https\r\nUser-Agent: {agent}\r\n{further}{handshake}\r\n"
        );
        stream.write_all(raw.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        site.served(
            agent,
            Reply::parse(&head).ok_or_else(|| "no answer".to_owned()),
        );
    }
}
