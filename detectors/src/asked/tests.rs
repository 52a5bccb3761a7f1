//! Requests of real programs, and what they are taken for.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Form, form, is_page};

const BROWSER: &str = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,\
    image/webp,*/*;q=0.8";

/// Header fields, one a line.
fn fields(text: &str) -> HeaderMap {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, value) = line.trim().split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

#[test]
fn readers_of_pages_ask_for_pages() {
    let check = |path: &str, headers: &str| {
        let headers = fields(headers);
        assert!(is_page(&Method::GET, path, &headers), "{path} {headers:?}");
    };
    for path in [
        "/",
        "/docs/",
        "/docs/a.html",
        "/x",
        "/index.php",
        "/wiki/St._Louis",
        "/.env",
        "/a.",
        "/show.jsp;jsessionid=1",
        "/v2/docs/intro",
        "/rest-of-it",
        "/wp-login.php",
    ] {
        check(path, "");
        check(path, "accept: */*");
        check(path, BROWSER);
    }
    let navigation = format!("{BROWSER}\nsec-fetch-mode: navigate\nsec-fetch-dest: document");
    check("/", &navigation);
    check("/", "sec-fetch-dest: iframe");
    // An app's own browser, old WebKit, lynx, an agent that would rather have Markdown.
    check(
        "/",
        &format!("{BROWSER}\nx-requested-with: org.example.app"),
    );
    check(
        "/",
        "accept: application/xml,application/xhtml+xml,text/html;q=0.9,text/plain;q=0.8",
    );
    check(
        "/",
        "accept: text/html, text/plain, text/sgml, text/css, */*;q=0.01",
    );
    check("/", "accept: text/markdown, text/html;q=0.9, */*;q=0.1");
    check("/", "content-length: 0");
}

#[test]
fn whoever_is_no_reader_asks_for_none() {
    for method in [
        "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "MKCOL", "get",
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert!(!is_page(&method, "/", &fields(BROWSER)), "{method}");
    }
    for path in [
        "/debian.iso",
        "/a/App.AppImage",
        "/install.sh",
        "/x.tar.gz",
        "/lib.so.1",
        "/app.js",
        "/style.css",
        "/logo.png",
        "/data.json",
        "/feed",
        "/blog/index.xml",
        "/robots.txt",
        "/api/items",
        "/v1/API/x",
        "/graphql",
        "/.well-known/openid-configuration",
        "/v2/",
        "/v2/library/debian/blobs/sha256:0",
        "/repo/info/refs",
        "/repo/HEAD",
        "/repo/objects/aa/b",
        "/dists/bookworm/InRelease",
        "/file.iso;x",
        "/download/7",
    ] {
        assert!(
            !is_page(&Method::GET, path, &fields("accept: */*")),
            "{path}"
        );
    }
    for headers in [
        "range: bytes=0-",
        "if-none-match: \"a\"",
        "if-match: \"a\"",
        "upgrade: websocket",
        "upgrade: h2c",
        "content-length: 3",
        "transfer-encoding: chunked",
        "content-type: application/json",
        "content-type: application/grpc+proto",
        "origin: https://t.example",
        "authorization: Bearer x",
        "git-protocol: version=2",
        "x-requested-with: XMLHttpRequest",
        "sec-fetch-mode: cors",
        "sec-fetch-mode: no-cors",
        "sec-fetch-dest: script",
        "sec-fetch-dest: image",
        "sec-fetch-dest: empty",
        "sec-fetch-mode: websocket",
        "accept: application/json",
        "accept: image/avif,*/*;q=0.8",
        "accept: text/css,*/*;q=0.1",
        "accept: application/json, text/plain, */*",
        "accept: application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*",
        "accept: application/vnd.pypi.simple.v1+json, text/html; q=0.01",
        "accept: application/vnd.oci.image.manifest.v1+json",
        "accept: text/event-stream",
        "user-agent: Wget2/2.1.0",
        "accept: application/atom+xml,application/rss+xml,application/xml;q=0.9,*/*;q=0.1",
        "accept: application/xml, text/html;q=0.5",
        "accept: application/x-protobuf",
    ] {
        let page = is_page(&Method::GET, "/", &fields(headers));
        assert!(!page, "{headers}");
    }
}

#[test]
fn a_refusal_has_the_form_that_is_understood() {
    let check = |path: &str, headers: &str, expected: Form| {
        assert_eq!(form(path, &fields(headers)), expected, "{path} {headers}");
    };
    check("/", BROWSER, Form::Page);
    check("/api/items", BROWSER, Form::Page);
    check("/", "", Form::Page);
    check("/docs/", "accept: */*", Form::Page);
    check("/debian.iso", "accept: */*", Form::Text);
    check("/", "accept: image/avif,image/webp,*/*;q=0.8", Form::Text);
    check("/app.js", "accept: */*\nsec-fetch-dest: script", Form::Text);
    for headers in [
        "accept: application/json",
        "accept: APPLICATION/JSON; charset=utf-8",
        "accept: application/json, text/html",
        "accept: application/ld+json;q=0.9, text/html;q=0.8",
        "accept: application/problem+json\naccept: */*",
        "accept: application/xml, text/html;q=0.5",
        "accept: application/x-protobuf",
        "accept: text/event-stream",
        "content-type: application/json",
        "content-type: application/cloudevents+json; charset=utf-8",
        "content-type: text/xml",
        "x-requested-with: XMLHttpRequest",
        "authorization: Bearer x",
        "accept: */*\nsec-fetch-mode: cors\nsec-fetch-dest: empty",
    ] {
        check("/", headers, Form::Problem);
    }
    check("/api/items", "accept: */*", Form::Problem);
    check("/items.json", "", Form::Problem);
    check("/", "accept: text/html, application/json", Form::Page);
    check("/", "accept: application/json;q=0.5, text/html", Form::Page);
    check("/a.B/C", "content-type: application/grpc", Form::Grpc);
    check("/a.B/C", "content-type: application/grpc+proto", Form::Grpc);
    check(
        "/a.B/C",
        "content-type: application/grpc-web-text",
        Form::GrpcWeb,
    );
}

#[test]
fn no_accept_of_whatever_bytes_breaks_it() {
    for bytes in [
        &b"\xff\xfe"[..],
        b",,;;q=",
        b";q=0.5",
        b"/",
        b"a/",
        b"/b+",
        b"text/html;q=nan",
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_bytes(bytes).unwrap());
        let _ = is_page(&Method::GET, "/", &headers);
        assert_ne!(form("/", &headers), Form::Grpc);
    }
}
