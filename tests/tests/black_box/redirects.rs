//! Addresses in answers: those of the origin lead back to the gateway, all others stay.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
};

use crate::{
    harness::{Folder, Gateway, Reply, free_port, send, try_send, wait_for},
    tls_client::SecureListener,
};

/// An origin that answers with the field that its path names: `/Location=http://...`, with `PORT`
/// for its own port.
fn echoing() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let said = head
                    .lines()
                    .find_map(|line| line.strip_prefix("X-Say: "))
                    .unwrap_or("X-None: none");
                let answer = format!(
                    "HTTP/1.1 302 Found\r\n{said}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    port
}

const PIPELINE: &str = "[[pipeline]]\nname = \"open\"\n";

fn site(hosts: &str, keys: &str) -> String {
    format!(
        "[[site]]\nname = \"t\"\nhosts = {hosts}\nupstream = \"o\"\npipeline = \"open\"\n{keys}\n{PIPELINE}"
    )
}

/// What becomes of a field that the origin sends.
fn said(gateway: &Gateway, host: &str, fields: &str, say: &str) -> String {
    let name = say.split(':').next().unwrap();
    let reply = send(
        gateway.port,
        &format!(
            "GET /asked HTTP/1.1\r\nHost: {host}\r\n{fields}X-Say: {say}\r\nConnection: close\r\n\r\n"
        ),
    );
    let all: Vec<&str> = reply
        .head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect();
    all.join(" | ")
}

#[test]
fn addresses_of_the_origin_become_the_public_ones_and_no_others_do() {
    let port = echoing();
    let gateway = Gateway::start(port, &site("[\"t.example\", \"[2001:db8::1]\"]", ""));
    let public = gateway.port;
    let check = |host: &str, say: &str, expected: &str| {
        let fill = |text: &str| {
            let text = text.replace("OWN", &port.to_string());
            text.replace("PUBLIC", &public.to_string())
        };
        assert_eq!(
            said(&gateway, host, "", &fill(say)),
            fill(expected),
            "{host} {say}"
        );
    };
    let host = format!("t.example:{public}");
    check(
        &host,
        "Location: http://t.example:OWN/docs/",
        "http://t.example:PUBLIC/docs/",
    );
    check(
        &host,
        "Location: HTTP://T.Example.:OWN?a=b#c",
        "http://t.example:PUBLIC?a=b#c",
    );
    check(
        &host,
        "Location: //t.example:OWN/docs/",
        "//t.example:PUBLIC/docs/",
    );
    check(
        &host,
        "Location: http://127.0.0.1:OWN/docs/",
        "http://t.example:PUBLIC/docs/",
    );
    check(
        &host,
        "Location: http://localhost:OWN/docs/",
        "http://t.example:PUBLIC/docs/",
    );
    check(
        &host,
        "Content-Location: http://t.example:OWN/a",
        "http://t.example:PUBLIC/a",
    );
    check(
        &host,
        "Refresh: 5; url=http://t.example:OWN/a",
        "5; url=http://t.example:PUBLIC/a",
    );
    check(
        &host,
        "Refresh: 0;URL='http://t.example:OWN/a'",
        "0;URL='http://t.example:PUBLIC/a'",
    );
    check(
        "t.example",
        "Location: http://t.example:OWN/docs/",
        "http://t.example/docs/",
    );
    check(
        "t.example:80",
        "Location: http://t.example:OWN/",
        "http://t.example/",
    );
    check(
        "[2001:db8::1]:8080",
        "Location: http://[2001:DB8::1]:OWN/x",
        "http://[2001:db8::1]:8080/x",
    );
    for kept in [
        "/docs/",
        "docs/",
        "http://other.example/docs/",
        "http://other.example:OWN/",
        "http://t.example/docs/",
        "https://t.example/docs/",
        "http://t.example:1/docs/",
        "http://127.0.0.1:1/",
        "http://t.example:OWN@other.example/",
        "http://t.example:OWN\\@other.example/",
        "http:/t.example:OWN/",
        "ftp://t.example:OWN/",
        "mailto:a@t.example:OWN",
        "http://[2001:db8::1/",
    ] {
        check("t.example", &format!("Location: {kept}"), kept);
    }
    check(
        "t.example",
        "Link: <http://t.example:OWN/>; rel=x",
        "<http://t.example:OWN/>; rel=x",
    );
}

#[test]
fn a_trusted_proxy_says_where_the_client_is_and_a_stranger_does_not() {
    let port = echoing();
    let trusted = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let hosts = "[\"t.example\", \"www.t.example\"]";
    let gateway = Gateway::start(port, &format!("{trusted}{}", site(hosts, "")));
    let own = format!("Location: http://t.example:{port}/x");
    let check = |fields: &str, say: &str, expected: &str| {
        assert_eq!(
            said(&gateway, "t.example", fields, say),
            expected,
            "{fields} {say}"
        );
    };
    check("X-Forwarded-Proto: https\r\n", &own, "https://t.example/x");
    check(
        "X-Forwarded-Proto: https\r\n",
        "Location: http://t.example/x",
        "https://t.example/x",
    );
    let asked = "Location: http://t.example/asked";
    check(
        "X-Forwarded-Proto: https\r\n",
        asked,
        "http://t.example/asked",
    );
    check(
        "X-Forwarded-Proto: http\r\n",
        "Location: https://t.example/x",
        "https://t.example/x",
    );
    check(
        "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n",
        &own,
        "https://t.example:8443/x",
    );
    check(
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: www.t.example:444\r\n",
        &own,
        "https://www.t.example:444/x",
    );
    check(
        "X-Forwarded-Host: evil.example\r\n",
        &own,
        "http://t.example/x",
    );
    // A wildcard and a catch-all take in any name, and such a proxy passes on what its client sent.
    let everybody = Gateway::start(port, &format!("{trusted}{}", site("[\"*\"]", "")));
    let made_up = "X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 4444\r\n";
    let place = said(&everybody, "t.example", made_up, &own);
    assert_eq!(place, "http://t.example/x");
    let stranger = Gateway::start(port, &site(hosts, ""));
    let fields = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: www.t.example\r\n";
    assert_eq!(
        said(&stranger, "t.example", fields, &own),
        "http://t.example/x"
    );
}

#[test]
fn a_site_can_have_addresses_and_cookies_its_own_way() {
    let port = echoing();
    let keys = "rewrite_redirects = false\ncookie_domain = { \"app.internal\" = \"t.example\" }\n\
                cookie_path = { \"/app/\" = \"/\" }";
    let gateway = Gateway::start(port, &site("[\"t.example\"]", keys));
    let own = format!("http://t.example:{port}/docs/");
    assert_eq!(
        said(&gateway, "t.example", "", &format!("Location: {own}")),
        own
    );
    let check = |gateway: &Gateway, cookie: &str, expected: &str| {
        let say = format!("Set-Cookie: {cookie}");
        assert_eq!(said(gateway, "t.example", "", &say), expected);
    };
    let cookie = "a=b; Domain=.app.internal; Path=/app/x; Secure";
    check(&gateway, cookie, "a=b; Domain=t.example; Path=/x; Secure");
    check(
        &gateway,
        "a=b; Domain=other.example; Path=/",
        "a=b; Domain=other.example; Path=/",
    );
    let usual = Gateway::start(port, &site("[\"t.example\"]", ""));
    check(&usual, cookie, cookie);
}

/// A server of somebody else's, which ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's nginx with a folder `/docs` and nothing configured about redirects.
fn nginx(files: &Folder, port: u16) -> Server {
    let folder = files.path().display();
    fs::create_dir_all(files.join("root/docs")).unwrap();
    files.write("root/docs/index.html", "here");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    let config = files.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;\n\
             events {{}}\nhttp {{ access_log off;\n{temporary}\
             server {{ listen 127.0.0.1:{port}; root {folder}/root; }} }}\n"
        ),
    );
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let started = Command::new("nginx")
        .env("PATH", path)
        .args(["-e", "stderr", "-p"])
        .arg(files.path())
        .arg("-c")
        .arg(config)
        .stderr(Stdio::null())
        .spawn();
    let server = Server(started.expect("nginx is there; tests/setup installs it"));
    answers(port);
    server
}

fn answers(port: u16) {
    wait_for("the origin", || {
        try_send(port, "GET / HTTP/1.0\r\nHost: t.example\r\n\r\n").is_some()
    });
}

fn location(reply: &Reply) -> &str {
    assert!((300..400).contains(&reply.status), "{}", reply.head);
    reply
        .header("location")
        .expect("a redirect leads somewhere")
}

#[test]
fn folders_of_nginx_are_reached_through_http_and_tls() {
    let files = Folder::new();
    let own = free_port();
    let _nginx = nginx(&files, own);
    let listener = SecureListener::named("t.example");
    let (secure, client) = (listener.port, listener.client);
    let config = format!("{}{}", listener.toml, site("[\"t.example\"]", ""));
    let gateway = Gateway::start(own, &config);
    let direct = send(
        own,
        "GET /docs HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(
        location(&direct),
        format!("http://t.example:{own}/docs/"),
        "as nginx comes"
    );
    let public = gateway.port;
    for port in ["".to_owned(), format!(":{public}")] {
        let asked =
            format!("GET /docs HTTP/1.1\r\nHost: t.example{port}\r\nConnection: close\r\n\r\n");
        assert_eq!(
            location(&gateway.send(&asked)),
            format!("http://t.example{port}/docs/")
        );
    }
    for port in ["".to_owned(), format!(":{secure}")] {
        let host = format!("t.example{port}");
        let expected = format!("https://t.example{port}/docs/");
        let first = client.h1("t.example", &host, "/docs", "").unwrap();
        assert_eq!(location(&first), expected, "over HTTP/1.1");
        let second = client.h2("t.example", &host, "/docs", &[]).unwrap();
        assert_eq!(location(&second), expected, "over HTTP/2");
    }
    // A real client that follows it arrives.
    let arrived = Command::new("curl")
        .args(["-sSfL", "--noproxy", "*", "--max-time", "10", "--resolve"])
        .arg(format!("t.example:{public}:127.0.0.1"))
        .arg(format!("http://t.example:{public}/docs"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&arrived.stdout), "here");
}

#[test]
fn folders_of_pythons_server_are_reached() {
    let files = Folder::new();
    fs::create_dir_all(files.join("docs")).unwrap();
    files.write("docs/index.html", "here");
    let port = free_port();
    let started = Command::new("python3")
        .args([
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            &port.to_string(),
        ])
        .current_dir(files.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Server(started.expect("python3 is there"));
    answers(port);
    let gateway = Gateway::start(port, &site("[\"*\"]", ""));
    let arrived = Command::new("curl")
        .args([
            "-sSfL",
            "--noproxy",
            "*",
            "--max-time",
            "10",
            "-w",
            "%{url_effective}",
        ])
        .arg(format!("http://127.0.0.1:{}/docs", gateway.port))
        .output()
        .unwrap();
    let expected = format!("herehttp://127.0.0.1:{}/docs/", gateway.port);
    assert_eq!(String::from_utf8_lossy(&arrived.stdout), expected);
}
