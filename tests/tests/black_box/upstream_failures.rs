//! What becomes of requests where servers fail, are slow, or have enough to do.

use std::{
    fs,
    io::{Read, Write},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use crate::{
    harness::{
        Folder, Gateway, OPEN_SITE, Origin, connect, free_port, thornwall, try_send, upload_slowly,
        wait_for,
    },
    upstream::{Does, Server, config, gateway, get, metric, metric_of_upstream, send},
};

#[test]
fn a_server_that_fails_is_left_out_and_comes_back() {
    let (bad, good) = (Server::start(Does::Close), Server::start(Does::Answer(200)));
    let keys = "ejection = { failures = 3, base_secs = 8, max_secs = 8, slow_start_secs = 0 }";
    let gateway = gateway(&[&bad, &good], keys);
    for _ in 0..20 {
        assert_eq!(get(&gateway).status, 200, "the other server takes over");
    }
    assert_eq!(bad.count(), 3);
    assert_eq!(metric(&gateway, "ejections_total", &bad), 1.0);
    assert_eq!(metric(&gateway, "addresses_up", &bad), 0.0);
    // A reload forgets nothing.
    gateway.signal("HUP");
    wait_for("the reload", || {
        gateway.metric("thornwall_generation") == 2.0
    });
    assert_eq!(metric(&gateway, "ejections_total", &bad), 1.0);
    bad.does(Does::Answer(200));
    wait_for("its return", || get(&gateway).body == bad.port.to_string());
    assert_eq!(metric(&gateway, "addresses_up", &bad), 1.0);
}

#[test]
fn the_last_server_is_never_left_out() {
    let only = Server::start(Does::Close);
    let gateway = gateway(
        &[&only],
        "ejection = { failures = 1 }\nretry = { most = 0 }",
    );
    for _ in 0..5 {
        assert_eq!(get(&gateway).status, 502);
    }
    only.does(Does::Answer(200));
    assert_eq!(get(&gateway).status, 200);
    assert_eq!(metric(&gateway, "ejections_total", &only), 0.0);
}

#[test]
fn only_what_is_safe_is_sent_twice() {
    let check = |method: &str, expected: u16| {
        let (bad, good) = (Server::start(Does::Close), Server::start(Does::Answer(200)));
        let gateway = gateway(&[&bad, &good], "");
        assert_eq!(send(&gateway, method).status, expected, "{method}");
        let second = usize::from(expected == 200);
        assert_eq!((bad.count(), good.count()), (1, second), "{method}");
        assert_eq!(metric_of_upstream(&gateway, "retries_total"), second as f64);
    };
    for method in ["GET", "OPTIONS"] {
        check(method, 200);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        check(method, 502);
    }
}

#[test]
fn whatever_was_never_sent_is_sent_elsewhere() {
    let good = Server::start(Does::Answer(200));
    let servers = [
        format!("address = \"127.0.0.1:{}\"", free_port()),
        format!("address = \"{}\"", good.address()),
    ];
    let gateway = Gateway::start(9, &config(&[&servers[0], &servers[1]], ""));
    for _ in 0..4 {
        let reply = send(&gateway, "POST");
        assert_eq!(reply.status, 200);
    }
    assert_eq!(good.count(), 4);
    let heads = good.heads();
    assert!(
        heads.iter().all(|head| head.starts_with("POST / ")),
        "{heads:?}"
    );
}

#[test]
fn failures_make_no_storm_of_tries() {
    let (first, second) = (Server::start(Does::Close), Server::start(Does::Close));
    let keys = "retry = { most = 4, percent = 10, floor_per_sec = 0 }\nejection = { failures = 0 }";
    let gateway = gateway(&[&first, &second], keys);
    for _ in 0..100 {
        assert_eq!(get(&gateway).status, 502);
    }
    let tries = first.count() + second.count();
    assert!((105..=110).contains(&tries), "{tries}");
    assert_eq!(
        metric_of_upstream(&gateway, "retries_total"),
        (tries - 100) as f64
    );
    assert!(metric_of_upstream(&gateway, "retries_refused_total") >= 90.0);
}

#[test]
fn a_try_waits_only_so_long_for_an_answer_to_begin() {
    let slow = Server::start(Does::AnswerLate(Duration::from_secs(5)));
    let good = Server::start(Does::Answer(200));
    let gateway = gateway(&[&slow, &good], "try_timeout_ms = 300");
    for _ in 0..2 {
        assert_eq!(get(&gateway).body, good.port.to_string());
    }
    assert!(slow.count() > 0);
    // What has begun may take its time; and a kept connection has not aged.
    good.does(Does::AnswerSlowly(Duration::from_millis(800)));
    slow.does(Does::AnswerSlowly(Duration::from_millis(800)));
    for _ in 0..3 {
        assert_eq!(get(&gateway).status, 200);
    }
    // What may not be sent twice ends.
    good.does(Does::AnswerLate(Duration::from_secs(5)));
    slow.does(Does::AnswerLate(Duration::from_secs(5)));
    let reply = send(&gateway, "POST");
    assert_eq!(reply.status, 504);
    assert_eq!(gateway.explain(reply.id())["reason"], "upstream.timeout");
}

#[test]
fn a_slow_upload_is_no_slow_answer() {
    let server = Server::start(Does::Answer(200));
    let gateway = gateway(&[&server], "try_timeout_ms = 300\ntotal_timeout_secs = 1");
    assert_eq!(upload_slowly(gateway.port).status, 200);
    // The time of the answer itself counts still.
    server.does(Does::AnswerLate(Duration::from_secs(5)));
    assert_eq!(send(&gateway, "POST").status, 504);
}

#[test]
fn only_a_server_that_keeps_a_whole_request_waiting_has_failed() {
    let server = || Server::start(Does::Answer(200));
    let servers = [server(), server()];
    let keys = "read_timeout_secs = 1\nejection = { failures = 1 }\nretry = { most = 0 }";
    let gateway = gateway(&[&servers[0], &servers[1]], keys);
    let ejections = || {
        servers
            .iter()
            .map(|server| metric(&gateway, "ejections_total", server))
    };
    // The client's own silence, longer than the server may keep.
    let mut client = connect(gateway.port).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: t.example\r\nContent-Length: 99999\r\n\r\nx";
    client.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
    // An answer that has begun and pauses, as streams of events do.
    for server in &servers {
        server.does(Does::AnswerSlowly(Duration::from_millis(1800)));
    }
    let cut_off = try_send(gateway.port, "GET / HTTP/1.1\r\nHost: t.example\r\n\r\n");
    assert!(cut_off.is_none_or(|reply| reply.body.is_empty()));
    assert_eq!(ejections().sum::<f64>(), 0.0);
    for server in &servers {
        server.does(Does::AnswerLate(Duration::from_millis(1800)));
    }
    assert_eq!(send(&gateway, "POST").status, 504);
    assert_eq!(ejections().sum::<f64>(), 1.0);
}

#[test]
fn a_further_try_waits_for_no_other_server() {
    let (bad, busy) = (
        Server::start(Does::Close),
        Server::start(Does::AnswerLate(Duration::from_secs(4))),
    );
    let servers = [
        format!("address = \"{}\"", bad.address()),
        format!("address = \"{}\", max_connections = 1", busy.address()),
    ];
    let keys = "queue = { timeout_ms = 3000 }\nejection = { failures = 0 }";
    let gateway = Arc::new(Gateway::start(
        9,
        &config(&[&servers[0], &servers[1]], keys),
    ));
    // Its first try fails, its second one stays at the busy server.
    let other = Arc::clone(&gateway);
    let held = thread::spawn(move || get(&other).status);
    wait_for("the busy server", || busy.count() == 1);
    // Nobody waits for it where the other one can be asked again.
    let before = bad.count();
    assert_eq!(get(&gateway).status, 502);
    assert_eq!(bad.count(), before + 2);
    assert_eq!(metric_of_upstream(&gateway, "queue_refused_total"), 0.0);
    assert_eq!(held.join().unwrap(), 200);
}

#[test]
fn all_tries_together_wait_only_so_long() {
    let late = Does::AnswerLate(Duration::from_secs(10));
    let servers: Vec<Server> = (0..3).map(|_| Server::start(late)).collect();
    let all: Vec<&Server> = servers.iter().collect();
    let keys = "try_timeout_ms = 600\ntotal_timeout_secs = 1\nretry = { most = 4 }";
    let gateway = gateway(&all, keys);
    assert_eq!(get(&gateway).status, 504);
    let tries: usize = servers.iter().map(Server::count).sum();
    assert_eq!(tries, 2);
}

#[test]
fn a_full_server_is_waited_for_in_a_bounded_queue() {
    let server = Server::start(Does::AnswerLate(Duration::from_millis(700)));
    let limited = format!("address = \"{}\", max_connections = 1", server.address());
    let keys = "queue = { max_waiting = 1, timeout_ms = 5000 }";
    let gateway = Arc::new(Gateway::start(9, &config(&[&limited], keys)));
    let ask = || {
        let gateway = Arc::clone(&gateway);
        thread::spawn(move || get(&gateway))
    };
    let first = ask();
    wait_for("the first", || {
        metric(&gateway, "requests_in_flight", &server) == 1.0
    });
    let second = ask();
    wait_for("the second", || {
        metric_of_upstream(&gateway, "queue_requests") == 1.0
    });
    let third = get(&gateway);
    assert_eq!(third.status, 503);
    assert_eq!(third.header("retry-after"), Some("1"));
    assert_eq!(gateway.explain(third.id())["reason"], "upstream.busy");
    assert_eq!(first.join().unwrap().status, 200);
    assert_eq!(second.join().unwrap().status, 200);
    assert_eq!(metric_of_upstream(&gateway, "queue_refused_total"), 1.0);
    assert_eq!(server.count(), 2);
    wait_for("the end", || {
        metric(&gateway, "requests_in_flight", &server) == 0.0
    });
}

#[test]
fn who_waits_too_long_is_told_so() {
    let server = Server::start(Does::AnswerLate(Duration::from_secs(2)));
    let limited = format!("address = \"{}\", max_connections = 1", server.address());
    let keys = "queue = { timeout_ms = 100 }";
    let gateway = Arc::new(Gateway::start(9, &config(&[&limited], keys)));
    let other = Arc::clone(&gateway);
    let first = thread::spawn(move || get(&other).status);
    wait_for("the first", || {
        metric(&gateway, "requests_in_flight", &server) == 1.0
    });
    assert_eq!(get(&gateway).status, 503);
    assert_eq!(first.join().unwrap(), 200);
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let server = Server::start(Does::AnswerLate(Duration::from_secs(3)));
    let gateway = gateway(&[&server], "");
    let mut client = connect(gateway.port).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: t.example\r\n\r\n")
        .unwrap();
    wait_for("the request", || {
        metric(&gateway, "requests_in_flight", &server) == 1.0
    });
    drop(client);
    wait_for("its end", || {
        metric(&gateway, "requests_in_flight", &server) == 0.0
    });
    assert_eq!(metric(&gateway, "ejections_total", &server), 0.0);
}

#[test]
fn a_gateway_that_is_its_own_upstream_answers_soon() {
    let folder = Folder::new();
    let (port, admin) = (free_port(), free_port());
    let config = folder.write("t.toml", &Gateway::toml(port, admin, port, OPEN_SITE));
    let gateway = Gateway::start_from(folder, config, port, admin);
    let reply = gateway.get("/", "CDN-Loop: other.example; a=b\r\n");
    assert_eq!(reply.status, 508);
    let log = gateway.folder.join("access.log");
    let lines = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let asked = text.lines().filter(|line| !line.contains("/robots.txt"));
        asked.map(str::to_owned).collect::<Vec<_>>()
    };
    wait_for("all lines", || lines().len() >= 5);
    let looped = lines()
        .iter()
        .filter(|line| line.contains("request.loop"))
        .count();
    assert_eq!((lines().len(), looped), (5, 1), "{:#?}", lines());
    let checked = Command::new(thornwall())
        .args(["check", "-c"])
        .arg(&gateway.config)
        .output();
    let told = String::from_utf8(checked.unwrap().stdout).unwrap();
    let expected = format!("upstream `o`: 127.0.0.1:{port} is a listener of the gateway itself");
    assert!(told.contains(&expected), "{told}");
}

#[test]
fn marks_of_others_go_on_beside_ours() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    assert_eq!(
        gateway.get("/", "CDN-Loop: other.example; a=b\r\n").status,
        200
    );
    let seen = origin.requests().remove(0).to_ascii_lowercase();
    assert!(
        seen.contains("\r\ncdn-loop: other.example; a=b\r\n"),
        "{seen}"
    );
    assert!(seen.contains("\r\ncdn-loop: thornwall-"), "{seen}");
}
