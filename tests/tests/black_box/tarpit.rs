//! The slow streams, as a held client and the rest of the world see them.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    harness::{CHROME, CURL, Gateway, Origin, Reply, closing, connect, wait_for},
    tls_client::SecureListener,
};

fn site(tarpit: &str) -> String {
    format!(
        "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n[tarpit]\n{tarpit}\n\
         [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
         [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"shape\"\nheuristics = {{}}\n\
         [pipeline.ladder]\ntarpit = 0.8\n"
    )
}

const QUICK: &str = "interval_ms = 20\nmax_secs = 1";

/// A connection that asked as curl does and reads nothing yet.
fn held(gateway: &Gateway, request_line: &str, headers: &str) -> TcpStream {
    let mut stream = connect(gateway.port).unwrap();
    write!(stream, "{request_line}\r\nHost: t.example\r\n{headers}\r\n").unwrap();
    stream
}

/// The whole stream, chunks joined.
fn read(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let mut reply = Reply::parse(&bytes).expect("a held client gets an answer");
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = join_chunks(&reply.body);
    }
    reply
}

/// The chunks that came whole: the last one of all must not.
fn join_chunks(body: &str) -> String {
    let mut joined = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk begins with its size");
        assert!(size > 0, "the stream ends as a whole answer: {joined:?}");
        let Some(chunk) = after.get(..size) else {
            break;
        };
        joined.push_str(chunk);
        rest = after[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    joined
}

#[test]
fn a_scraper_is_held_in_a_slow_deterministic_plausible_stream() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &site(QUICK));
    let asked = Instant::now();
    let first = read(held(&gateway, "GET /docs/a.html HTTP/1.1", CURL));
    assert!(
        asked.elapsed() >= Duration::from_millis(900),
        "{:?}",
        asked.elapsed()
    );
    let second = read(held(&gateway, "GET /docs/a.html HTTP/1.1", CURL));
    let other = read(held(&gateway, "GET /docs/b.html HTTP/1.1", CURL));
    assert_eq!(first.status, 200);
    assert_eq!(
        first.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let same = first.body.len().min(second.body.len()) / 2;
    assert!(same > 400, "{}", first.body);
    assert_eq!(first.body[..same], second.body[..same]);
    assert_ne!(first.body[..same], other.body[..same]);
    for word in ["thornwall", "tarpit", "pingora", "trap", "scrap"] {
        let all = format!("{}{}", first.head, first.body).to_ascii_lowercase();
        assert!(!all.contains(word), "{word} is in {all}");
    }
    assert_eq!(origin.requests().len(), 0);
    let decided = gateway.explain(first.id());
    assert_eq!(
        (&decided["ruling"], &decided["held"], &decided["status"]),
        (&"tarpit".into(), &true.into(), &200.into())
    );
    wait_for("the bytes to be counted", || {
        gateway.metric("thornwall_tarpit_stay_seconds_count") == 3.0
    });
    assert_eq!(gateway.metric("thornwall_tarpit_entered_total"), 3.0);
}

#[test]
fn the_stream_suits_the_protocol() {
    let gateway = Gateway::start(Origin::start().port, &site(QUICK));
    let old = read(held(&gateway, "GET /x HTTP/1.0", CURL));
    assert_eq!(old.header("transfer-encoding"), None);
    let promised: usize = old.header("content-length").unwrap().parse().unwrap();
    assert!(old.body.contains("</p>"), "{}", old.body);
    assert!(
        old.body.len() < promised,
        "{} of {promised}",
        old.body.len()
    );
    let new = read(held(&gateway, "GET /x HTTP/1.1", CURL));
    assert_eq!(new.header("content-length"), None);
    assert!(new.body.contains("</p>"), "{}", new.body);
}

#[test]
fn whoever_follows_a_link_of_it_is_known_and_robots_txt_warns_of_it() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, &site(QUICK));
    let page = read(held(&gateway, "GET / HTTP/1.1", CURL)).body;
    let link = page
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .find(|link| link.matches('/').count() >= 3)
        .unwrap_or_else(|| panic!("no link leads deeper in {page}"));
    let prefix = &link[..link[1..].find('/').unwrap() + 2];

    // From another address, as an honest browser: known by the link alone.
    let headers = closing(&format!("X-Forwarded-For: 203.0.113.5\r\n{CHROME}"));
    let followed = read(held(&gateway, &format!("GET {link} HTTP/1.1"), &headers));
    let decided = gateway.explain(followed.id());
    assert_eq!(decided["reason"], "deception.marked_link");
    assert_eq!(decided["client"], "203.0.113.5");

    let made_up = gateway.get(&format!("{prefix}aaaaaaaaaaaaaaaaaaaaaaaa/x.html"), CHROME);
    assert_eq!(made_up.status, 403);
    assert_eq!(
        gateway.explain(made_up.id())["reason"],
        "deception.unsigned_link"
    );
    assert_eq!(
        origin.requests().len(),
        0,
        "such paths never reach the origin"
    );

    wait_for("robots.txt", || {
        let robots = gateway.get("/robots.txt", CHROME).body;
        robots.contains(&format!("Disallow: {prefix}"))
    });
}

#[test]
fn a_full_tarpit_denies_and_counts() {
    let tarpit = "interval_ms = 100\nmax_secs = 20\nmax_connections = 3\nmax_per_client = 2";
    let gateway = Gateway::start(Origin::start().port, &site(tarpit));
    let ask = |client: &str| {
        let headers = format!("X-Forwarded-For: {client}\r\n{CURL}Connection: close\r\n");
        let mut stream = held(&gateway, "GET / HTTP/1.1", &headers);
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        (String::from_utf8_lossy(&start).into_owned(), stream)
    };
    let streams: Vec<_> = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(ask).into();
    assert!(streams.iter().all(|(start, _)| start == "HTTP/1.1 200"));
    assert_eq!(gateway.metric("thornwall_tarpit_connections"), 3.0);
    assert_eq!(ask("192.0.2.1").0, "HTTP/1.1 403", "the client's own share");
    assert_eq!(ask("192.0.2.3").0, "HTTP/1.1 403", "everybody's");
    assert_eq!(gateway.metric("thornwall_tarpit_shed_total"), 2.0);
    assert_eq!(
        gateway.metric("thornwall_answers_total{reason=\"tarpit.full\"}"),
        2.0
    );
    // A client that leaves gives its place back.
    drop(streams);
    wait_for("the places", || {
        gateway.metric("thornwall_tarpit_connections") == 0.0
    });
    assert_eq!(ask("192.0.2.3").0, "HTTP/1.1 200");
}

#[test]
fn held_connections_do_not_keep_the_process() {
    let mut gateway = Gateway::start(
        Origin::start().port,
        &site("interval_ms = 600000\nmax_secs = 600"),
    );
    let streams: Vec<TcpStream> = (0..10)
        .map(|_| held(&gateway, "GET / HTTP/1.1", CURL))
        .collect();
    wait_for("ten to be held", || {
        gateway.metric("thornwall_tarpit_connections") == 10.0
    });
    gateway.stops_at_once();
    drop(streams);
}

#[test]
fn a_stream_of_http_2_is_held_like_a_connection() {
    let listener = SecureListener::named("t.example");
    // Between two chunks the connection has nothing else to do, and is not idle for it.
    let config = format!(
        "[limits]\nidle_timeout_secs = 1\n{}{}",
        site("interval_ms = 20\nmax_secs = 3"),
        listener.toml
    );
    let gateway = Gateway::start(Origin::start().port, &config);
    let curl = [("user-agent", "curl/8.5.0"), ("accept", "*/*")];
    let asked = Instant::now();
    let told = listener
        .client
        .h2("t.example", "t.example", "/docs/a.html", &curl);
    assert!(
        asked.elapsed() >= Duration::from_millis(2500),
        "{:?}",
        asked.elapsed()
    );
    let broke_off = told.expect_err("no held answer ends as a whole one");
    assert!(broke_off.contains("stream error"), "{broke_off}");
    assert!(gateway.metric("thornwall_tarpit_bytes_total") > 1000.0);
    let lines = std::fs::read_to_string(gateway.folder.join("access.log")).unwrap();
    let line = lines.lines().find(|line| line.contains("/docs/a.html"));
    let line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    assert_eq!(
        (&line["ruling"], &line["held"], &line["status"]),
        (&"tarpit".into(), &true.into(), &200.into())
    );
}
