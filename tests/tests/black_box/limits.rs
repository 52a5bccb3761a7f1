//! Limits of rates, of what is under way and of bandwidth, through the port.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{CHROME, Folder, Gateway, Origin, PATIENCE, Reply, connect, thornwall, wait_for},
    tls_client::SecureListener,
};

/// A site behind a trusted proxy, so that a test can choose its client's address, and the filters
/// of its pipeline.
fn site(filters: &str) -> String {
    format!(
        "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
         [[pipeline]]\nname = \"p\"\n{filters}"
    )
}

fn from(client: &str, more: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n{more}{CHROME}")
}

#[test]
fn a_header_a_cookie_or_a_path_has_a_limit_of_its_own() {
    let origin = Origin::start();
    let check = |key: &str, evidence: &str, one: [&str; 3], other: [&str; 3]| {
        let filters = format!(
            "[[pipeline.filter]]\nname = \"f\"\n\
             rate_limit = {{ key = {key}, requests = 1, per_secs = 60, burst = 2 }}\n"
        );
        let gateway = Gateway::start(origin.port, &site(&filters));
        let get = |[client, path, field]: [&str; 3]| gateway.get(path, &from(client, field));
        assert_eq!([get(one).status, get(one).status], [200, 200], "{key}");
        let refused = get(one);
        assert_eq!(refused.status, 429, "{key}");
        let told = gateway.explain(refused.id());
        let signal = &told["signals"][0];
        assert_eq!(
            (&told["reason"], &signal["evidence"]),
            (&"rate_limit.key".into(), &evidence.into())
        );
        let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((50..=60).contains(&wait), "{wait}");
        let policy = refused.header("ratelimit-policy");
        assert_eq!(policy, Some("\"default\";q=2;w=120"));
        let left = format!("\"default\";r=0;t={wait}");
        assert_eq!(refused.header("ratelimit"), Some(left.as_str()));
        assert_eq!(get(other).status, 200, "{key} of another");
    };
    let (a, b) = ("192.0.2.1", "192.0.2.2");
    let (first, second) = ("X-Api-Key: 1\r\n", "X-Api-Key: 2\r\n");
    check(
        "\"header:x-api-key\"",
        "header:x-api-key",
        [a, "/", first],
        [a, "/", second],
    );
    // Without the header, by address: nobody is shut out by others that lack it too.
    check(
        "\"header:x-api-key\"",
        "header:x-api-key",
        [a, "/", ""],
        [b, "/", ""],
    );
    let (first, second) = ("Cookie: x=y; sid=1\r\n", "Cookie: sid=2\r\n");
    check(
        "\"cookie:sid\"",
        "cookie:sid",
        [a, "/", first],
        [a, "/", second],
    );
    check(
        "\"path\"",
        "path",
        [a, "/orders/1", ""],
        [a, "/items/1", ""],
    );
    check(
        "[\"client\", \"path\"]",
        "client+path",
        [a, "/orders/1", ""],
        [b, "/orders/1", ""],
    );
}

#[test]
fn limits_of_a_pipeline_add_up_and_requests_cost_what_they_do() {
    let filters = "[[pipeline.filter]]\nname = \"searches\"\n\
        rate_limit = { requests = 1, per_secs = 60, burst = 10, costs = [\
        { paths = [\"/search*\"], methods = [\"GET\"], cost = 4 }] }\n\
        [[pipeline.filter]]\nname = \"network\"\n\
        rate_limit = { key = \"prefix\", requests = 1, per_secs = 60, burst = 5 }\n";
    let gateway = Gateway::start(Origin::start().port, &site(filters));
    let get = |client: &str, path: &str| gateway.get(path, &from(client, ""));
    let searched = [(); 2].map(|()| get("192.0.2.1", "/search?q=x").status);
    assert_eq!(searched, [200, 200]);
    let refused = get("192.0.2.1", "/search?q=x");
    assert_eq!(refused.status, 429);
    assert!(
        refused.header("ratelimit").unwrap().contains(";r=2;"),
        "{}",
        refused.head
    );
    assert_eq!(get("192.0.2.1", "/").status, 200, "two are left");
    assert_eq!(
        [get("192.0.2.2", "/").status, get("192.0.2.3", "/").status],
        [200, 200]
    );
    let refused = get("192.0.2.4", "/");
    assert_eq!(gateway.explain(refused.id())["reason"], "rate_limit.prefix");
    assert_eq!(get("198.51.100.1", "/").status, 200);
}

#[test]
fn facts_that_are_still_to_come_are_refused_by_saying_so() {
    let folder = Folder::new();
    let filters = "[[pipeline.filter]]\nname = \"f\"\n\
        in_flight = { key = [\"client\", \"country\"], most = 1 }\n";
    let config = folder.write("t.toml", &Gateway::toml(18_084, 19_184, 9, &site(filters)));
    let output = Command::new(thornwall())
        .args(["check", "-c"])
        .arg(config)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("the fact `country` is still to come"),
        "{told}"
    );
}

/// An origin that answers `/wait` only when it may, stops in the middle of `/stall`, breaks off at
/// `/fail`, and sends as many bytes as another path says.
struct SlowOrigin {
    port: u16,
    may_answer: Arc<AtomicBool>,
}

impl SlowOrigin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let may_answer = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&may_answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let gate = Arc::clone(&gate);
                thread::spawn(move || answer(&stream, &gate));
            }
        });
        Self { port, may_answer }
    }
}

/// Whoever asked may have left meanwhile, so nothing here is sure to work.
fn answer(mut stream: &TcpStream, may_answer: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let started = Instant::now();
        let waits = |path: &str| path == "/wait" || path == "/stall";
        let bytes: usize = path[1..].parse().unwrap_or(6);
        let length = if path == "/stall" { 1000 } else { bytes };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        if path == "/fail" {
            return;
        }
        if path == "/stall" {
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&[b'x'; 10]);
        }
        while waits(path) && !may_answer.load(Ordering::Relaxed) && started.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        if path == "/stall" {
            return;
        }
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&vec![b'x'; bytes]);
    }
}

/// Sends a request and does not wait for the answer.
fn begin(gateway: &Gateway, client: &str, path: &str) -> TcpStream {
    let mut stream = connect(gateway.port).unwrap();
    let head = from(client, "").replace("Connection: keep-alive\r\n", "");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n{head}\r\n"
    )
    .unwrap();
    stream
}

fn finish(mut stream: TcpStream) -> Reply {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Reply::parse(&answer).unwrap()
}

const ONE_AT_A_TIME: &str = "[[pipeline.filter]]\nname = \"f\"\nin_flight = { most = 1 }\n";

fn held(gateway: &Gateway) -> f64 {
    gateway.metric("thornwall_table_entries{table=\"p.f.in_flight\"}")
}

fn wait_until_held(gateway: &Gateway, count: f64) {
    wait_for("what is under way to be counted", || held(gateway) == count);
}

#[test]
fn whoever_has_enough_under_way_is_told_to_come_back() {
    let origin = SlowOrigin::start();
    let filters = "[[pipeline.filter]]\nname = \"f\"\nin_flight = { most = 2, status = 503 }\n";
    let gateway = Gateway::start(origin.port, &site(filters));
    let first = begin(&gateway, "192.0.2.1", "/wait");
    wait_until_held(&gateway, 1.0);
    let second = begin(&gateway, "192.0.2.1", "/wait");
    let other = begin(&gateway, "192.0.2.2", "/wait");
    wait_until_held(&gateway, 2.0);
    // Which of the two came first is not known, so it is asked until both are there.
    wait_for("a refusal", || {
        let reply = finish(begin(&gateway, "192.0.2.1", "/6"));
        reply.status == 503
    });
    let refused = finish(begin(&gateway, "192.0.2.1", "/6"));
    assert_eq!(
        (
            refused.status,
            refused.header("retry-after"),
            refused.header("ratelimit")
        ),
        (503, Some("1"), None)
    );
    let told = gateway.explain(refused.id());
    assert_eq!(
        (&told["reason"], &told["ruling"]),
        (&"in_flight.exceeded".into(), &"limit".into())
    );
    assert_eq!(finish(begin(&gateway, "192.0.2.2", "/6")).status, 200);
    origin.may_answer.store(true, Ordering::Relaxed);
    assert_eq!(
        [first, second, other].map(|stream| finish(stream).status),
        [200; 3]
    );
    wait_until_held(&gateway, 0.0);
    assert_eq!(finish(begin(&gateway, "192.0.2.1", "/6")).status, 200);
}

#[test]
fn a_place_is_free_again_however_the_request_ended() {
    let origin = SlowOrigin::start();
    let deny = "[[pipeline.filter]]\nname = \"g\"\n\
        rate_limit = { requests = 1, per_secs = 3600, burst = 1 }\nwhen = { paths = [\"/denied\"] }\n";
    let gateway = Gateway::start(origin.port, &site(&format!("{ONE_AT_A_TIME}{deny}")));
    let get = |path: &str| finish(begin(&gateway, "192.0.2.1", path)).status;
    // The origin breaks off.
    assert_eq!([get("/fail"), get("/fail")], [502, 502]);
    wait_until_held(&gateway, 0.0);
    // A later filter refuses.
    assert_eq!(
        [get("/denied"), get("/denied"), get("/denied")],
        [200, 429, 429]
    );
    wait_until_held(&gateway, 0.0);
    // The client leaves before the answer begins, and in its middle.
    for path in ["/wait", "/stall"] {
        let stream = begin(&gateway, "192.0.2.1", path);
        wait_until_held(&gateway, 1.0);
        assert_eq!(get("/6"), 429, "{path}");
        drop(stream);
        wait_until_held(&gateway, 0.0);
    }
    // The gateway is told anew what to do.
    let stream = begin(&gateway, "192.0.2.1", "/wait");
    wait_until_held(&gateway, 1.0);
    gateway.signal("HUP");
    wait_for("the reload", || {
        gateway.metric("thornwall_generation") == 2.0
    });
    assert_eq!((held(&gateway), get("/6")), (1.0, 429));
    origin.may_answer.store(true, Ordering::Relaxed);
    assert_eq!(finish(stream).status, 200);
    wait_until_held(&gateway, 0.0);
    assert_eq!(get("/6"), 200);
    // The origin breaks off in the middle of its answer.
    assert_eq!(get("/stall"), 200);
    wait_until_held(&gateway, 0.0);
}

#[test]
fn a_stream_of_http_2_that_is_left_frees_its_place() {
    let origin = SlowOrigin::start();
    let listener = SecureListener::named("a.t.example");
    let (port, config) = (listener.port, listener.toml + &site(ONE_AT_A_TIME));
    let gateway = Gateway::start(origin.port, &config);
    let ask = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--http2", "--insecure", "--silent", "--output", "/dev/null"])
            .args(["--write-out", "%{http_version} %{http_code}", "--resolve"])
            .arg(format!("a.t.example:{port}:127.0.0.1"))
            .arg(format!("https://a.t.example:{port}{path}"))
            .stdout(Stdio::piped());
        curl
    };
    let told = |path: &str| String::from_utf8(ask(path).output().unwrap().stdout).unwrap();
    assert_eq!(told("/6"), "2 200");
    for path in ["/wait", "/stall"] {
        let mut waiting = ask(path).spawn().unwrap();
        wait_until_held(&gateway, 1.0);
        assert_eq!(told("/6"), "2 429", "{path}");
        waiting.kill().unwrap();
        waiting.wait().unwrap();
        wait_until_held(&gateway, 0.0);
    }
    assert_eq!(told("/6"), "2 200");
}

#[test]
fn answers_of_a_client_share_its_bandwidth() {
    let origin = SlowOrigin::start();
    let filters = "[[pipeline.filter]]\nname = \"f\"\n\
        bandwidth = { bytes_per_sec = 200000, burst_bytes = 100000 }\n\
        [[pipeline.filter]]\nname = \"g\"\nin_flight = { most = 10 }\n";
    let gateway = Gateway::start(origin.port, &site(filters));
    let started = Instant::now();
    let [one, other] = [(); 2].map(|()| begin(&gateway, "192.0.2.1", "/250000"));
    let another = begin(&gateway, "192.0.2.2", "/100000");
    let reply = finish(another);
    assert_eq!((reply.status, reply.body.len()), (200, 100_000));
    assert!(
        started.elapsed() < Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
    for stream in [one, other] {
        let reply = finish(stream);
        assert_eq!((reply.status, reply.body.len()), (200, 250_000));
    }
    // 500 kB of which 100 kB are free, at 200 kB a second.
    let took = started.elapsed();
    assert!(took > Duration::from_millis(1900), "{took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    // Whoever leaves while it waits is forgotten.
    let stream = begin(&gateway, "192.0.2.1", "/4000000");
    let under_way = || gateway.metric("thornwall_table_entries{table=\"p.g.in_flight\"}");
    wait_for("the answer to begin", || under_way() == 1.0);
    drop(stream);
    wait_for("the end of the answer", || under_way() == 0.0);
}
