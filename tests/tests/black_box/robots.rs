//! robots.txt through the gateway: whose it is, what crawlers are told, and what origins are asked.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};

use crate::harness::{Gateway, OPEN_SITE, Reply, connect, send, wait_for};

/// An origin that answers by what it is asked: the request's head, in lower case.
struct Scripted {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    most_at_once: Arc<AtomicUsize>,
}

impl Scripted {
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = Self {
            port: listener.local_addr().unwrap().port(),
            heads: Arc::default(),
            most_at_once: Arc::default(),
        };
        let (answer, at_once) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let (heads, most) = (Arc::clone(&origin.heads), Arc::clone(&origin.most_at_once));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, heads) = (Arc::clone(&answer), Arc::clone(&heads));
                let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
                thread::spawn(move || {
                    let head = read_head(&stream);
                    if head.is_empty() {
                        return;
                    }
                    let own = head.contains("user-agent: thornwall\r\n");
                    if own {
                        most.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
                        // So that readings overlap, if they may.
                        thread::sleep(Duration::from_millis(20));
                    }
                    let said = answer(&head);
                    heads.lock().unwrap().push(head);
                    let _ = (&stream).write_all(&said);
                    if own {
                        at_once.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        origin
    }

    /// Heads of the gateway's own requests.
    fn readings(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let own = |head: &&String| head.contains("user-agent: thornwall\r\n");
        heads.iter().filter(own).cloned().collect()
    }
}

fn read_head(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return String::new();
        }
    }
    head.to_ascii_lowercase()
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_default()
}

fn response(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn text(body: &str) -> Vec<u8> {
    response("200 OK", "Content-Type: text/plain\r\n", body.as_bytes())
}

const GOOGLEBOT: &str =
    "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)\r\n";

/// A site with these hosts, whose robots are judged.
fn judged(hosts: &str) -> String {
    format!(
        "[[site]]\nname = \"t\"\nhosts = {hosts}\nupstream = \"o\"\npipeline = \"p\"\n\
         [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"shape\"\nheuristics = {{}}\n"
    )
}

fn ask(gateway: &Gateway, host: &str, path: &str, fields: &str) -> Reply {
    send(
        gateway.port,
        &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n"),
    )
}

fn robots(gateway: &Gateway, host: &str) -> Reply {
    ask(gateway, host, "/robots.txt", CHROME_AGENT)
}

/// The file as the gateway answers with it. A client waits a second for the origin's to be read, and only then
/// gets the origin's own answer, which has no tag.
fn file(gateway: &Gateway, host: &str, fields: &str) -> Reply {
    let asked = Instant::now();
    let mut reply = ask(gateway, host, "/robots.txt", fields);
    let waited = asked.elapsed();
    let is_the_gateways = |reply: &Reply| reply.header("etag").is_some();
    assert!(
        is_the_gateways(&reply) || waited >= Duration::from_secs(1),
        "passed on after {waited:?}"
    );
    wait_for("the gateway's file", || {
        if !is_the_gateways(&reply) {
            reply = ask(gateway, host, "/robots.txt", fields);
        }
        is_the_gateways(&reply)
    });
    reply
}

const CHROME_AGENT: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/138.0.0.0\r\n";

/// The one folder that the gateway adds.
fn closed_folder(reply: &Reply, own: &[&str]) -> String {
    let rules: HashSet<&str> = reply
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("Disallow: "))
        .filter(|rule| !own.contains(rule))
        .collect();
    assert_eq!(rules.len(), 1, "{}\n{}", reply.head, reply.body);
    rules.into_iter().next().unwrap().to_owned()
}

fn disobeys(gateway: &Gateway, host: &str, path: &str) -> bool {
    let decided = gateway.explain(ask(gateway, host, path, GOOGLEBOT).id());
    decided["signals"].to_string().contains("robots.disallowed")
}

#[test]
fn every_host_and_scheme_has_a_robots_txt_of_its_own() {
    let origin = Scripted::start(|head| {
        let (host, scheme) = (field(head, "host"), field(head, "x-forwarded-proto"));
        text(&format!("User-agent: *\nDisallow: /of-{host}-{scheme}/\n"))
    });
    let trusted = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let config = format!("{trusted}{}", judged("[\"*\"]"));
    let gateway = Gateway::start(origin.port, &config);
    let check = |host: &str, proto: &str, own: &str| {
        let fields = format!("{CHROME_AGENT}X-Forwarded-Proto: {proto}\r\n");
        // The very first crawler is told of the tarpit's folder already.
        let reply = file(&gateway, host, &fields);
        assert_eq!(reply.status, 200);
        assert!(
            reply.body.contains(&format!("Disallow: {own}\n")),
            "{}",
            reply.body
        );
        closed_folder(&reply, &[own]);
    };
    check("a.example", "http", "/of-a.example-http/");
    check("b.example", "http", "/of-b.example-http/");
    check("a.example", "https", "/of-a.example-https/");
    check("a.example:80", "http", "/of-a.example-http/");
    check("A.EXAMPLE.", "http", "/of-a.example-http/");
    assert!(disobeys(&gateway, "a.example", "/of-a.example-http/x"));
    assert!(!disobeys(&gateway, "a.example", "/of-b.example-http/x"));
    assert!(!disobeys(&gateway, "a.example", "/of-a.example-https/x"));
    let readings = origin.readings().len();
    assert_eq!(
        readings, 3,
        "one for each host and scheme that was asked for"
    );
}

#[test]
fn redirects_within_the_site_are_followed_and_no_others() {
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    let stranger = canary.local_addr().unwrap();
    canary.set_nonblocking(true).unwrap();
    let own_port = Arc::new(AtomicUsize::new(0));
    let port = Arc::clone(&own_port);
    let origin = Scripted::start(move |head| {
        let own = port.load(SeqCst);
        let to = |place: String| response("301 Moved", &format!("Location: {place}\r\n"), b"");
        let path = head.split(' ').nth(1).unwrap_or_default();
        match (field(head, "host"), path) {
            ("www.t.example", "/robots.txt") => to("http://t.example/1?x".to_owned()),
            ("t.example", "/1?x") => to("/2".to_owned()),
            ("t.example", "/2") => to("3".to_owned()),
            ("t.example", "/3") => to(format!("http://127.0.0.1:{own}/4")),
            ("t.example", "/4") if field(head, "x-forwarded-proto") == "http" => {
                to("https://t.example/4".to_owned())
            }
            ("t.example", "/4") => text("User-agent: *\nDisallow: /found/\n"),
            ("circle.t.example", _) => to("/robots.txt".to_owned()),
            ("away.t.example", _) => to(format!("http://{stranger}/robots.txt")),
            ("other.t.example", _) => to("http://elsewhere.example/robots.txt".to_owned()),
            _ => response("200 OK", "", b"page"),
        }
    });
    own_port.store(origin.port.into(), SeqCst);
    let gateway = Gateway::start(origin.port, &judged("[\"t.example\", \"*.t.example\"]"));
    let followed = file(&gateway, "www.t.example", CHROME_AGENT);
    assert_eq!(followed.status, 200, "{}", followed.head);
    closed_folder(&followed, &["/found/"]);
    assert!(disobeys(&gateway, "www.t.example", "/found/x"));
    for (host, place) in [
        ("circle.t.example", "/robots.txt".to_owned()),
        ("away.t.example", format!("http://{stranger}/robots.txt")),
        (
            "other.t.example",
            "http://elsewhere.example/robots.txt".to_owned(),
        ),
    ] {
        let passed = robots(&gateway, host);
        assert_eq!(passed.status, 301, "{host} {}", passed.body);
        assert_eq!(passed.header("location"), Some(&*place));
        assert!(!disobeys(&gateway, host, "/found/x"));
    }
    assert!(canary.accept().is_err(), "nobody else was asked");
    let foreign = "host: elsewhere.example\r\n";
    assert!(!origin.readings().iter().any(|head| head.contains(foreign)));
}

#[test]
fn only_a_robots_txt_is_served_as_one() {
    let origin = Scripted::start(|head| {
        let rules = "\u{feff}User-agent: *\nDisallow: /own/\n";
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(rules.as_bytes()).unwrap();
        match field(head, "host") {
            "gzip.example" => response(
                "200 OK",
                "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n",
                &gzip.finish().unwrap(),
            ),
            "page.example" => response(
                "200 OK",
                "Content-Type: text/html\r\n",
                b"<!doctype html><title>Shop</title>\nUser-agent: *\nDisallow: /\n",
            ),
            "none.example" => response("404 Not Found", "", b"Disallow: /"),
            "secret.example" => response("401 Unauthorized", "WWW-Authenticate: Basic\r\n", b"no"),
            "program.example" => {
                response("200 OK", "Content-Type: text/html\r\n", rules.as_bytes())
            }
            _ => text(rules),
        }
    });
    let gateway = Gateway::start(origin.port, &judged("[\"*\"]"));
    let check = |host: &str, own: &[&str]| {
        let reply = file(&gateway, host, CHROME_AGENT);
        assert_eq!(reply.status, 200, "{host}");
        assert_eq!(
            reply.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(reply.header("content-encoding"), None, "{host}");
        assert!(
            reply.body.starts_with("User-agent: *\nDisallow: "),
            "{host} {}",
            reply.body
        );
        assert!(!reply.body.contains('<'), "{}", reply.body);
        let folder = closed_folder(&reply, own);
        assert!(
            own.iter().all(|rule| reply.body.contains(rule)),
            "{host} {}",
            reply.body
        );
        assert!(folder.len() > 2, "{folder}");
        assert_eq!(
            disobeys(&gateway, host, "/own/x"),
            !own.is_empty(),
            "{host}"
        );
    };
    check("plain.example", &["/own/"]);
    check("gzip.example", &["/own/"]);
    check("program.example", &["/own/"]);
    check("page.example", &[]);
    check("none.example", &[]);
    check("secret.example", &[]);
}

#[test]
fn a_known_robots_txt_is_not_sent_twice() {
    let origin = Scripted::start(|_| text("User-agent: *\nDisallow: /own/\n"));
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let first = file(&gateway, "t.example", CHROME_AGENT);
    let tag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(first.header("cache-control"), Some("max-age=300"));
    let fields = format!("{CHROME_AGENT}If-None-Match: \"x\", W/{tag}\r\n");
    let again = ask(&gateway, "t.example", "/robots.txt", &fields);
    assert_eq!((again.status, &*again.body), (304, ""));
    assert_eq!(again.header("etag"), Some(&*tag));
    let head = gateway.send(&format!(
        "HEAD /robots.txt HTTP/1.1\r\nHost: t.example\r\n{CHROME_AGENT}Connection: close\r\n\r\n"
    ));
    assert_eq!((head.status, &*head.body), (200, ""));
    let length = first.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
}

#[test]
fn an_origin_in_trouble_speaks_for_itself_and_is_told_of_once() {
    let broken = Arc::new(AtomicUsize::new(1));
    let state = Arc::clone(&broken);
    let origin = Scripted::start(move |_| match state.load(SeqCst) {
        1 => response("503 Service Unavailable", "Retry-After: 7\r\n", b"later"),
        2 => response("429 Too Many Requests", "", b"slowly"),
        _ => text("User-agent: *\nDisallow: /own/\n"),
    });
    let gateway = Gateway::start(origin.port, &judged("[\"*\"]"));
    let check = |host: &str, status: u16, body: &str| {
        let reply = robots(&gateway, host);
        assert_eq!((reply.status, &*reply.body), (status, body));
        assert!(!disobeys(&gateway, host, "/own/x"));
    };
    check("t.example", 503, "later");
    check("u.example", 503, "later");
    assert_eq!(
        robots(&gateway, "t.example").header("retry-after"),
        Some("7")
    );
    broken.store(2, SeqCst);
    check("v.example", 429, "slowly");
    // The next try is some seconds away, and nobody is told again.
    broken.store(0, SeqCst);
    wait_for("the next try", || {
        // The tarpit's folder beside the origin's own.
        robots(&gateway, "t.example")
            .body
            .matches("Disallow")
            .count()
            == 2
    });
    assert!(disobeys(&gateway, "t.example", "/own/x"));
    let told = gateway.stderr().matches("robots.txt").count();
    assert_eq!(told, 1, "{}", gateway.stderr());
}

#[test]
fn a_huge_robots_txt_is_cut_to_what_crawlers_read() {
    const LONGEST: usize = 500 * 1024;
    let origin = Scripted::start(|_| {
        let group = |n: usize| format!("User-agent: bot{n}\nDisallow: /own/\n");
        text(&(0..30_000).map(group).collect::<String>())
    });
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let reply = file(&gateway, "t.example", CHROME_AGENT);
    assert_eq!(reply.status, 200);
    assert!(reply.body.len() <= LONGEST, "{}", reply.body.len());
    assert!(reply.body.len() > LONGEST - 1000, "{}", reply.body.len());
    let folder = closed_folder(&reply, &["/own/"]);
    let end = format!("User-agent: *\nDisallow: {folder}\n");
    assert!(
        reply.body.ends_with(&end),
        "the group for everybody is not cut off"
    );
}

const MADE_UP: usize = 120;

#[test]
fn made_up_hosts_cost_the_origin_little_and_a_named_one_nothing() {
    let origin = Scripted::start(|head| {
        let host = field(head, "host");
        text(&format!("User-agent: *\nDisallow: /of-{host}/\n"))
    });
    let gateway = Gateway::start(origin.port, &judged("[\"named.example\", \"*\"]"));
    assert!(
        file(&gateway, "named.example", CHROME_AGENT)
            .body
            .contains("/of-named.example/")
    );
    let started = Instant::now();
    // One connection is enough for a flood.
    let mut flood = connect(gateway.port).unwrap();
    for n in 0..MADE_UP {
        let end = if n + 1 == MADE_UP {
            "Connection: close\r\n"
        } else {
            ""
        };
        let request = format!("OPTIONS / HTTP/1.1\r\nHost: x{n}.example\r\n{end}\r\n");
        flood.write_all(request.as_bytes()).unwrap();
    }
    let mut answers = Vec::new();
    flood.read_to_end(&mut answers).unwrap();
    let answered = String::from_utf8_lossy(&answers)
        .matches("HTTP/1.1 200")
        .count();
    assert_eq!(answered, MADE_UP);
    let readings = origin.readings().len();
    // A burst, then a few a second.
    let most = 25.0 + started.elapsed().as_secs_f64() * 5.0;
    assert!(
        (readings as f64) < most,
        "{readings} in {:?}",
        started.elapsed()
    );
    assert!(origin.most_at_once.load(SeqCst) <= 4);
    assert!(gateway.metric("thornwall_table_entries{table=\"sites.robots\"}") > 0.0);
    assert!(disobeys(&gateway, "named.example", "/of-named.example/x"));
    let named = "host: named.example\r\n";
    let of_named = origin
        .readings()
        .iter()
        .filter(|head| head.contains(named))
        .count();
    assert_eq!(of_named, 1);
    // Who is not read yet hears the origin itself.
    let passed = ask(&gateway, "x-late.example", "/robots.txt", CHROME_AGENT);
    assert!(
        passed.body.contains("/of-x-late.example/"),
        "{}",
        passed.body
    );
}
