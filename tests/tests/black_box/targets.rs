//! Request targets as real programs send them: what is judged, and what the origin is asked for.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

use crate::harness::{Folder, Gateway, OPEN_SITE, Origin, PATIENCE, Reply, send};

/// Asks with curl for these bytes behind the port; the status.
fn curl(port: u16, target: &[u8]) -> String {
    let url = [format!("http://127.0.0.1:{port}").as_bytes(), target].concat();
    let output = Command::new("curl")
        .args([
            "-sg",
            "--path-as-is",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
        ])
        .args(["--max-time", &PATIENCE.as_secs().to_string()])
        .arg(OsStr::from_bytes(&url))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn curl_gets_what_it_asks_for_however_it_is_written() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let check = |sent: &[u8], expected: &str| {
        assert_eq!(curl(gateway.port, sent), "200", "{}", sent.escape_ascii());
        let seen = origin.requests().pop().unwrap();
        // curl encodes letters of paths by itself, in small digits.
        let line = seen
            .lines()
            .next()
            .unwrap()
            .replace("%c3%a9", "%C3%A9")
            .replace("%e9", "%E9");
        assert_eq!(line, format!("GET {expected} HTTP/1.1"));
    };
    check("/caf\u{e9}?q=\u{e9}".as_bytes(), "/caf%C3%A9?q=%C3%A9");
    check(b"/caf\xe9?q=\xe9", "/caf%E9?q=%E9");
    check(b"/?q=\"<x>\"&r=a\\b", "/?q=%22%3Cx%3E%22&r=a\\b");
    check(b"/?filter={\"a\":[1]}|^`", "/?filter={%22a%22:[1]}|^`");
    check(b"/a<b>`", "/a%3Cb%3E%60");
}

#[test]
fn a_signed_target_arrives_as_it_was_signed_while_rules_see_through_it() {
    let origin = Origin::start();
    let lists = Folder::new();
    let list = lists.write("deny.txt", "127.0.0.0/8\n");
    let gateway = Gateway::start(
        origin.port,
        &format!(
            "[[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
             [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"private\"\n\
             blocklist = {{ files = [\"{}\"] }}\nwhen = {{ paths = [\"/private/*\", \"/café/*\"] }}\n",
            list.display()
        ),
    );
    let signed = "/bucket/%7Eme/a%2Db%20c/%41?X-Amz-Date=%7E%2f";
    assert_eq!(gateway.get(signed, "").status, 200);
    let seen = origin.requests().pop().unwrap();
    assert!(
        seen.starts_with(&format!("GET {signed} HTTP/1.1\r\n")),
        "{seen}"
    );
    for hidden in [
        "/%70rivate/x",
        "/a/%2e%2e/private/x",
        "//private/x",
        "/./%70rivat%65//x",
        "/caf%C3%A9/x",
        "/caf%c3%a9/x",
    ] {
        assert_eq!(gateway.get(hidden, "").status, 403, "{hidden}");
    }
    assert_eq!(curl(gateway.port, "/caf\u{e9}/x".as_bytes()), "403");
    assert_eq!(origin.requests().len(), 1);
}

/// What only looks whether somebody is there: HAProxy's `option httpchk`, and an empty host.
const CHECKS: [&str; 4] = [
    "OPTIONS / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nUser-Agent: check_http/v2.3.3 (monitoring-plugins 2.3.3)\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
    "HEAD / HTTP/1.0\r\nHost: \r\n\r\n",
];

#[test]
fn health_checks_without_a_host_ask_the_site_for_all_hosts() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    for check in CHECKS {
        let reply = gateway.send(check);
        assert_eq!(reply.status, 200, "{check:?}");
        // HTTP/1.1 needs a host, and nginx names the server then.
        let seen = origin.requests().pop().unwrap().to_ascii_lowercase();
        let host = format!("\r\nhost: 127.0.0.1:{}\r\n", origin.port);
        assert!(seen.contains(&host), "{seen}");
        assert!(!seen.contains("x-forwarded-host"), "{seen}");
    }
    // HTTP/1.1 must name one (RFC 9112 section 3.2).
    let nameless = gateway.send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert_eq!(nameless.status, 400);
}

#[test]
fn who_names_no_host_gets_no_site_that_is_for_one() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &OPEN_SITE.replace("\"*\"", "\"t.example\""));
    let ask = |check: &str| -> Reply { send(gateway.port, check) };
    for check in CHECKS {
        assert_eq!(ask(check).status, 400, "{check:?}");
    }
    let id = ask(CHECKS[1]).id().to_owned();
    assert_eq!(gateway.explain(&id)["reason"], "host.missing");
    assert!(origin.requests().is_empty());
}
