//! HTTP/2 requests: held to the same rules as raw ones, and the same to the origin.

use std::time::Duration;

use http::{HeaderName, Method, Request, Uri, request::Builder};

use crate::{
    harness::{Folder, Gateway, Origin, Reply},
    scripted::{Scripted, answer},
    tls_client::{Client, SecureListener},
};

/// A gateway that speaks TLS for `a.t.example` and takes bodies of 100 bytes.
struct Secure<O = Origin> {
    gateway: Gateway,
    origin: O,
    client: Client,
    _files: Folder,
}

impl Secure {
    fn start() -> Self {
        let origin = Origin::start();
        Self::start_with(origin.port, origin, "max_body_bytes = 100")
    }
}

impl<O> Secure<O> {
    /// The site and what else comes after it are said by `site`.
    fn start_with(origin_port: u16, origin: O, site: &str) -> Self {
        let listener = SecureListener::named("a.t.example");
        let extra = format!(
            "{}[[site]]\nname = \"a\"\nhosts = [\"a.t.example\"]\nupstream = \"o\"\n\
             pipeline = \"open\"\n{site}\n[[pipeline]]\nname = \"open\"\n",
            listener.toml
        );
        Self {
            gateway: Gateway::start(origin_port, &extra),
            client: listener.client,
            origin,
            _files: listener.files,
        }
    }

    fn send(&self, request: Builder, body: Option<&'static [u8]>) -> Result<Reply, String> {
        let request = request.body(()).unwrap();
        self.client.h2_send("a.t.example", request, body)
    }
}

fn get(target: &str) -> Builder {
    Request::get(format!("https://a.t.example{target}"))
}

#[test]
fn the_origin_sees_one_request_of_http_1() {
    let secure = Secure::start();
    let request = Request::get("https://A.t.example:8443/x/%2e%2e/%61//b?c=%2e%2e")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .header("te", "trailers")
        .header("x_forwarded_for", "6.6.6.6")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-proto", "http")
        .header("proxy", "6.6.6.6");
    let reply = secure.send(request, None).unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "origin"));
    let seen = secure.origin.requests().remove(0).to_ascii_lowercase();
    assert!(
        seen.starts_with("get /a//b?c=%2e%2e http/1.1\r\n"),
        "{seen}"
    );
    for line in [
        "host: a.t.example:8443",
        "cookie: a=b; c=d",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
    ] {
        assert!(
            seen.lines().any(|seen| seen == line),
            "{line} is not in\n{seen}"
        );
    }
    for gone in ["6.6.6.6", "te:", "proxy:"] {
        assert!(!seen.contains(gone), "{gone} is in\n{seen}");
    }
}

#[test]
fn the_same_is_refused_as_of_http_1() {
    let secure = Secure::start();
    let large: &'static [u8] = &[b'x'; 101];
    let post = || Request::post("https://a.t.example/up");
    let check = |request: Builder, body: Option<&'static [u8]>, status: u16, reason: &str| {
        let reply = secure.send(request, body).unwrap();
        assert_eq!(reply.status, status, "{reason}: {reply:?}");
        assert_eq!(secure.gateway.explain(reply.id())["reason"], reason);
    };
    check(get("/%zz"), None, 400, "request.target_invalid");
    check(get("/a/..;/b"), None, 400, "request.target_invalid");
    check(
        get("/").method(Method::TRACE),
        None,
        405,
        "request.method_refused",
    );
    check(
        get("/").header("expect", "x"),
        None,
        417,
        "request.expectation",
    );
    let announced = post().header("content-length", "101");
    check(announced, Some(large), 413, "request.body_too_large");
    let other = Request::get("https://other.example/");
    check(other, None, 421, "host.unknown");
    assert!(secure.origin.requests().is_empty());
    // How large this one is shows only on its way.
    check(post(), Some(large), 413, "request.body_too_large");
    let reply = secure.send(post(), Some(&large[..100])).unwrap();
    assert_eq!(reply.status, 200);
}

#[test]
fn decoded_heads_are_held_to_the_rules_of_raw_ones() {
    let secure = Secure::start();
    let post = || Request::post("https://a.t.example/up");
    let path = |path: &str| {
        let uri = Uri::builder().scheme("https").authority("a.t.example");
        Request::get(uri.path_and_query(path).build().unwrap())
    };
    let check = |request: Builder, body: Option<&'static [u8]>, status: u16, reason: &str| {
        let reply = secure.send(request, body).unwrap();
        assert_eq!(reply.status, status, "{reason}: {reply:?}");
        assert_eq!(secure.gateway.explain(reply.id())["reason"], reason);
    };
    let length = |value: &str| post().header("content-length", value);
    let (framing, target) = ("request.framing_invalid", "request.target_invalid");
    check(length("010"), Some(b"0123456789"), 400, framing);
    check(
        length("5").header("content-length", "05"),
        Some(b"01234"),
        400,
        framing,
    );
    check(
        length("5").header("content-length", "5"),
        Some(b"01234"),
        400,
        framing,
    );
    check(path("?x"), None, 400, target);
    check(path("*"), None, 400, target);
    check(path("/a\\..\\b"), None, 400, target);
    let expect = get("/").header("expect", "100-continue");
    // No token, but what the library takes for a name.
    let quoted = HeaderName::from_lowercase(b"a\"b").unwrap();
    check(
        expect.header("expect", "100-continue"),
        None,
        417,
        "request.expectation",
    );
    check(
        get("/").header(quoted, "c"),
        None,
        400,
        "request.field_invalid",
    );
    let fields = (0..200).fold(get("/"), |request, number| {
        request.header(format!("x-{number}"), "x")
    });
    check(fields, None, 431, "request.head_too_large");
    assert!(secure.origin.requests().is_empty());

    // What no URI has is asked for in one form.
    assert_eq!(
        secure.send(path("/\u{e9}\\?\u{e9}"), None).unwrap().status,
        200
    );
    let seen = secure.origin.requests();
    assert!(
        seen[0].starts_with("GET /%C3%A9%5C?%C3%A9 HTTP/1.1\r\n"),
        "{seen:?}"
    );

    let crumbs = (0..200).fold(get("/"), |request, _| request.header("cookie", "a=b"));
    assert_eq!(secure.send(crumbs, None).unwrap().status, 200);
    let options = path("*").method(Method::OPTIONS);
    assert_eq!(secure.send(options, None).unwrap().status, 200);
    let seen = secure.origin.requests();
    assert!(seen[2].starts_with("OPTIONS * HTTP/1.1\r\n"), "{seen:?}");
}

/// More than all buffers on its way can hold.
static LONG_BODY: [u8; 16 << 20] = [b'x'; 16 << 20];

#[test]
fn a_client_is_not_to_blame_for_an_origin_that_reads_late() {
    let origin = Origin::reading_after(Duration::from_secs(4));
    let secure = Secure::start_with(origin.port, origin, "[limits]\nbody_timeout_secs = 1");
    let upload = Request::post("https://a.t.example/up").header("content-length", LONG_BODY.len());
    let reply = secure.send(upload, Some(&LONG_BODY)).unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "origin"));
}

/// Two last chunks would be a body and the beginning of somebody else's request.
#[test]
fn a_body_that_ends_with_nothing_ends_once() {
    let origin = Scripted::start(|peer| {
        while let Some(head) = peer.request() {
            let body = head.contains("chunked").then(|| peer.chunked());
            peer.say(&answer(&body.unwrap_or_default()));
        }
    });
    let secure = Secure::start_with(origin.port, origin, "");
    let post = Request::post("https://a.t.example/up");
    assert_eq!(secure.send(post, Some(b"text")).unwrap().status, 200);
    assert_eq!(secure.send(get("/next"), None).unwrap().status, 200);
    let heads = secure.origin.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads[1].starts_with("GET /next HTTP/1.1\r\n"), "{heads:?}");
}
