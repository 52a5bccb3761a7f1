//! Several servers: who gets a request, and where servers are.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use crate::harness::{Folder, Gateway, OPEN_SITE, Origin, Reply, free_port, wait_for};

/// What a server does with a request.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// Answers with this status and its name.
    Answer(u16),
    /// Sends the head at once, and the body after a while.
    AnswerSlowly(Duration),
    /// Answers after a while.
    AnswerLate(Duration),
    /// Reads the request and closes the connection.
    Close,
}

/// A server that can change its mind.
pub(crate) struct Server {
    pub(crate) port: u16,
    does: Arc<Mutex<Does>>,
    heads: Arc<Mutex<Vec<String>>>,
    /// Health checks are answered with this status, and not counted.
    health: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self {
            port,
            does: Arc::new(Mutex::new(does)),
            heads: Arc::default(),
            health: Arc::new(AtomicUsize::new(200)),
        };
        let (does, heads) = (Arc::clone(&server.does), Arc::clone(&server.heads));
        let health = Arc::clone(&server.health);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (does, heads) = (Arc::clone(&does), Arc::clone(&heads));
                let health = Arc::clone(&health);
                thread::spawn(move || serve(stream, port, &does, &heads, &health));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn serve(
    stream: impl Read + Write,
    port: u16,
    does: &Mutex<Does>,
    heads: &Mutex<Vec<String>>,
    health: &AtomicUsize,
) {
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_request(&mut stream) {
        let ours = ["GET /robots.txt", "GET /health"];
        let asked = ours.iter().position(|start| head.starts_with(start));
        let does = match asked {
            Some(0) => Does::Answer(404),
            Some(_) => Does::Answer(u16::try_from(health.load(SeqCst)).unwrap()),
            None => {
                heads.lock().unwrap().push(head);
                *does.lock().unwrap()
            }
        };
        let body = port.to_string();
        let head = |status: u16| {
            let length = body.len();
            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n")
        };
        let writer = stream.get_mut();
        let sent = match does {
            Does::Close => return,
            Does::Answer(status) => writer.write_all((head(status) + &body).as_bytes()),
            Does::AnswerLate(after) => {
                thread::sleep(after);
                writer.write_all((head(200) + &body).as_bytes())
            }
            Does::AnswerSlowly(after) => {
                let _ = writer.write_all(head(200).as_bytes());
                let _ = writer.flush();
                thread::sleep(after);
                writer.write_all(body.as_bytes())
            }
        };
        if sent.and_then(|()| writer.flush()).is_err() {
            return;
        }
    }
}

/// Reads a request with its body; its head.
pub(crate) fn read_request(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}

/// An upstream `u` of these servers, with these keys, behind the site of all hosts.
pub(crate) fn config(servers: &[&str], keys: &str) -> String {
    let servers: Vec<String> = servers
        .iter()
        .map(|server| format!("{{ {server} }}"))
        .collect();
    let site = OPEN_SITE.replace("upstream = \"o\"", "upstream = \"u\"");
    format!(
        "[[upstream]]\nname = \"u\"\nservers = [{}]\n{keys}\n{site}",
        servers.join(", ")
    )
}

/// A gateway in front of these servers.
pub(crate) fn gateway(servers: &[&Server], keys: &str) -> Gateway {
    let addresses: Vec<String> = servers
        .iter()
        .map(|server| format!("address = \"{}\"", server.address()))
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    Gateway::start(9, &config(&addresses, keys))
}

pub(crate) fn get(gateway: &Gateway) -> Reply {
    gateway.get("/", "")
}

pub(crate) fn send(gateway: &Gateway, method: &str) -> Reply {
    gateway.send(&format!(
        "{method} / HTTP/1.1\r\nHost: t.example\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    ))
}

pub(crate) fn metric(gateway: &Gateway, name: &str, server: &Server) -> f64 {
    let address = server.address();
    gateway.metric(&format!(
        "thornwall_upstream_{name}{{server=\"{address}\",upstream=\"u\"}}"
    ))
}

pub(crate) fn metric_of_upstream(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(&format!("thornwall_upstream_{name}{{upstream=\"u\"}}"))
}

#[test]
fn requests_come_by_weight() {
    let (first, second) = (
        Server::start(Does::Answer(200)),
        Server::start(Does::Answer(200)),
    );
    let servers = [
        format!("address = \"{}\", weight = 3", first.address()),
        format!("address = \"{}\"", second.address()),
    ];
    let gateway = Gateway::start(9, &config(&[&servers[0], &servers[1]], ""));
    for _ in 0..40 {
        assert_eq!(get(&gateway).status, 200);
    }
    assert_eq!((first.count(), second.count()), (30, 10));
}

#[test]
fn random_uses_all() {
    let (first, second) = (
        Server::start(Does::Answer(200)),
        Server::start(Does::Answer(200)),
    );
    let gateway = gateway(&[&first, &second], "balance = \"random\"");
    for _ in 0..60 {
        assert_eq!(get(&gateway).status, 200);
    }
    assert!(
        first.count() > 10 && second.count() > 10,
        "{}",
        first.count()
    );
}

#[test]
fn least_connections_passes_by_who_is_busy() {
    let busy = Server::start(Does::AnswerLate(Duration::from_secs(3)));
    let idle = Server::start(Does::Answer(200));
    let gateway = Arc::new(gateway(&[&busy, &idle], "balance = \"least_connections\""));
    // One of the first two requests meets the busy server and stays there.
    let held: Vec<_> = (0..4)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            thread::spawn(move || get(&gateway).status)
        })
        .collect();
    wait_for("all to have a server", || busy.count() + idle.count() == 4);
    let before = busy.count();
    for _ in 0..20 {
        assert_eq!(get(&gateway).status, 200);
    }
    assert_eq!(busy.count(), before);
    assert!(
        held.into_iter()
            .all(|request| request.join().unwrap() == 200)
    );
}

#[test]
fn the_same_key_goes_to_the_same_server() {
    let servers: Vec<Server> = (0..4).map(|_| Server::start(Does::Answer(200))).collect();
    let all: Vec<&Server> = servers.iter().collect();
    let check = |hash: &str, header: &dyn Fn(usize) -> String| {
        let keys = format!("balance = \"consistent_hash\"\n{hash}");
        let gateway = gateway(&all, &keys);
        let ask = |key: usize| gateway.get("/", &header(key)).body;
        let chosen: Vec<String> = (0..40).map(ask).collect();
        let again: Vec<String> = (0..40).map(ask).collect();
        assert_eq!(chosen, again, "{hash}");
        chosen.into_iter().collect::<BTreeSet<_>>().len()
    };
    assert_eq!(
        check("hash = \"header:x-user\"", &|key| format!(
            "X-User: {key}\r\n"
        )),
        4
    );
    assert_eq!(
        check("hash = \"cookie:user\"", &|key| format!(
            "Cookie: a=b; user={key}\r\n"
        )),
        4
    );
    assert_eq!(check("", &|key| format!("X-User: {key}\r\n")), 1);
}

#[test]
fn a_client_stays_with_its_server_by_cookie() {
    let (first, second) = (
        Server::start(Does::Answer(200)),
        Server::start(Does::Answer(200)),
    );
    let gateway = gateway(&[&first, &second], "sticky_cookie = { max_age_secs = 60 }");
    let reply = get(&gateway);
    let cookie = reply.header("set-cookie").unwrap().to_owned();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Max-Age=60");
    assert!(pair.starts_with("thornwall_server="), "{pair}");
    assert!(
        !pair.contains(&reply.body) && !pair.contains("127"),
        "{pair}"
    );
    for _ in 0..10 {
        let again = gateway.get("/", &format!("Cookie: a=b; {pair}; c=d\r\n"));
        assert_eq!(again.body, reply.body);
        assert_eq!(again.header("set-cookie"), None);
    }
    let servers = [&first, &second];
    let own = servers
        .iter()
        .find(|server| server.port.to_string() == reply.body)
        .unwrap();
    let seen = own.heads().pop().unwrap().to_ascii_lowercase();
    assert!(seen.contains("cookie: a=b; c=d\r\n"), "{seen}");
    // Where the server fails, the client moves on and is told so.
    own.does(Does::Close);
    let moved = gateway.get("/", &format!("Cookie: {pair}\r\n"));
    assert_eq!(moved.status, 200);
    assert_ne!(moved.body, reply.body);
    assert!(
        moved
            .header("set-cookie")
            .is_some_and(|cookie| !cookie.starts_with(pair))
    );
    // A made-up one names nobody.
    let made_up = gateway.get("/", "Cookie: thornwall_server=127.0.0.1\r\n");
    assert!(made_up.header("set-cookie").is_some());
}

#[test]
fn health_checks_take_a_server_out_and_bring_it_back() {
    let (first, second) = (
        Server::start(Does::Answer(200)),
        Server::start(Does::Answer(200)),
    );
    let check = "health_check = { path = \"/health\", interval_secs = 1, healthy_after = 1, \
                 unhealthy_after = 1 }\nejection = { slow_start_secs = 0 }";
    let gateway = gateway(&[&first, &second], check);
    let up = |expected: f64| {
        wait_for("health to be noticed", || {
            metric(&gateway, "addresses_up", &first) == expected
        });
    };
    up(1.0);
    first.health.store(500, SeqCst);
    up(0.0);
    let before = first.count();
    for _ in 0..10 {
        assert_eq!(get(&gateway).body, second.port.to_string());
    }
    assert_eq!(first.count(), before);
    // With both out, both are used: better than nobody.
    second.health.store(500, SeqCst);
    wait_for("the other", || {
        metric(&gateway, "addresses_up", &second) == 0.0
    });
    for _ in 0..10 {
        assert_eq!(get(&gateway).status, 200);
    }
    assert!(first.count() > before);
    assert_eq!(metric_of_upstream(&gateway, "all_out_total"), 10.0);
    first.health.store(200, SeqCst);
    up(1.0);
    assert_eq!(get(&gateway).body, first.port.to_string());
    let log = gateway.stderr();
    assert!(log.contains("server down; upstream=u") && log.contains("server up; upstream=u"));
}

#[test]
fn without_a_path_being_there_is_being_well() {
    let server = Server::start(Does::Answer(200));
    let nobody = free_port();
    let servers = [
        format!("address = \"{}\"", server.address()),
        format!("address = \"127.0.0.1:{nobody}\""),
    ];
    let check = "health_check = { interval_secs = 1, unhealthy_after = 1 }\nretry = { most = 0 }";
    let gateway = Gateway::start(9, &config(&[&servers[0], &servers[1]], check));
    let line = format!(
        "thornwall_upstream_addresses_up{{server=\"127.0.0.1:{nobody}\",upstream=\"u\"}} 0"
    );
    wait_for("the check", || {
        crate::harness::send(
            gateway.admin,
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .body
        .contains(&line)
    });
    for _ in 0..10 {
        assert_eq!(get(&gateway).status, 200);
    }
}

#[test]
fn unix_sockets_are_servers() {
    let folder = Folder::new();
    let path = folder.join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                serve(
                    stream,
                    7,
                    &Mutex::new(Does::Answer(200)),
                    &kept,
                    &AtomicUsize::new(200),
                );
            });
        }
    });
    let server = format!("address = \"unix:{}\"", path.display());
    let check = "health_check = { path = \"/health\", interval_secs = 1, unhealthy_after = 1 }";
    let gateway = Gateway::start(9, &config(&[&server], check));
    for _ in 0..3 {
        assert_eq!(get(&gateway).body, "7");
    }
    assert_eq!(heads.lock().unwrap().len(), 3);
    assert!(
        !gateway.stderr().contains("server down"),
        "{}",
        gateway.stderr()
    );
}

#[test]
fn names_are_looked_up_beside_requests() {
    let server = Server::start(Does::Answer(200));
    let servers = |address: &str| config(&[&format!("address = \"{address}\"")], "");
    let gateway = Gateway::start(9, &servers("nowhere.invalid:80"));
    let reply = get(&gateway);
    assert_eq!(reply.status, 502);
    assert_eq!(gateway.explain(reply.id())["reason"], "upstream.unresolved");
    let line = "thornwall_upstream_lookups_failed_total{upstream=\"u\"}";
    wait_for("another look", || gateway.metric(line) >= 2.0);
    // After a reload the name of this machine is known before the first request.
    let known = servers(&format!("localhost:{}", server.port));
    let text = Gateway::toml(gateway.port, gateway.admin, 9, &known);
    std::fs::write(&gateway.config, text).unwrap();
    gateway.signal("HUP");
    wait_for("the reload", || {
        gateway.metric("thornwall_generation") == 2.0
    });
    assert_eq!(get(&gateway).status, 200);
}

#[test]
fn robots_are_read_from_whatever_server_there_is() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nUser-agent: *\nDisallow: /",
        Duration::ZERO,
    );
    let server = format!("address = \"127.0.0.1:{}\"", origin.port);
    let gateway = Gateway::start(9, &config(&[&server], ""));
    wait_for("the tarpit's prefix in robots.txt", || {
        let text = gateway.get("/robots.txt", "").body;
        text.lines()
            .filter(|line| line.starts_with("Disallow: /"))
            .count()
            == 2
    });
}
