//! Origins that answer before they have read a request's body, and take what is still to come for a
//! request: what an attacker puts there is answered to nobody.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use http::Request;

use crate::{
    harness::{Folder, Gateway, OPEN_SITE, connect},
    tls_client::SecureListener,
};

/// What the attacker would have the origin read.
const CHOSEN: &str = "GET /attackers-choice HTTP/1.1\r\nHost: t.example\r\n\r\n";
const METHODS: [&str; 4] = ["POST", "PUT", "OPTIONS", "PATCH"];
const FRAMINGS: [bool; 2] = [false, true];

/// An origin that answers `/early/<status>` as soon as it has the head, and leaves the body where it
/// is. All else gets its own path for an answer.
struct Early {
    port: u16,
    /// Targets in the order in which they were read.
    targets: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Early {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let early = Self {
            port: listener.local_addr().unwrap().port(),
            targets: Arc::default(),
            connections: Arc::default(),
        };
        let (targets, connections) = (Arc::clone(&early.targets), Arc::clone(&early.connections));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, SeqCst);
                stream.set_nodelay(true).unwrap();
                let targets = Arc::clone(&targets);
                thread::spawn(move || serve(stream, &targets));
            }
        });
        early
    }

    fn was_asked_for(&self, target: &str) -> bool {
        let targets = self.targets.lock().unwrap();
        targets.iter().any(|asked| asked == target)
    }
}

fn serve(stream: impl Read + Write, targets: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let target = head.split(' ').nth(1).unwrap_or("none").to_owned();
        targets.lock().unwrap().push(target.clone());
        let status = target.strip_prefix("/early/");
        if status.is_none() {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            let mut body = vec![0; length.unwrap_or(0)];
            if stream.read_exact(&mut body).is_err() {
                return;
            }
        }
        let status = status.unwrap_or("200");
        let answer = match status {
            "204" => "HTTP/1.1 204 X\r\n\r\n".to_owned(),
            _ => {
                let length = target.len();
                let field = match target.as_str() {
                    // It says so, and stays.
                    "/closing" => "Connection: close\r\n",
                    _ => "",
                };
                format!("HTTP/1.1 {status} X\r\n{field}Content-Length: {length}\r\n\r\n{target}")
            }
        };
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// So large that no origin is asked when all of it is there, but once it has begun.
const LARGE: usize = 80_000;

/// The attacker's head with the first byte of the body, and the rest of it.
fn attack(method: &str, status: &str, chunked: bool) -> (String, String) {
    let (framing, first, rest) = if chunked {
        let length = CHOSEN.len();
        let rest = format!("{}\r\n0\r\n\r\n", &CHOSEN[1..]);
        (
            "Transfer-Encoding: chunked".to_owned(),
            format!("{length:x}\r\nG"),
            rest,
        )
    } else {
        let rest = CHOSEN[1..].to_owned() + &"x".repeat(LARGE - CHOSEN.len());
        (format!("Content-Length: {LARGE}"), "G".to_owned(), rest)
    };
    let head = format!("{method} /early/{status} HTTP/1.1\r\nHost: t.example\r\n{framing}\r\n\r\n");
    (head + &first, rest)
}

/// Sends the rest of the body so long behind the answer.
fn attack_late(gateway: &Gateway, method: &str, status: &str, chunked: bool, pause: Duration) {
    let (begun, rest) = attack(method, status, chunked);
    let mut stream = connect(gateway.port).unwrap();
    stream.write_all(begun.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start[9..], status.as_bytes(), "{method}");
    thread::sleep(pause);
    // Nobody may want it any more.
    let _ = stream.write_all(rest.as_bytes());
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Asks until the attack is over; how many answers there were, each of which is the victim's own.
fn victims(gateway: &Gateway, name: usize, over: &AtomicBool) -> usize {
    let mut count = 0;
    while !over.load(SeqCst) || count < 20 {
        let token = format!("/victim-{name}-{count}");
        let (method, length, body) = match count % 3 {
            0 => ("POST", 5, "12345"),
            _ => ("GET", 0, ""),
        };
        let reply = gateway.send(&format!(
            "{method} {token} HTTP/1.1\r\nHost: t.example\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        ));
        assert_eq!((reply.status, reply.body), (200, token));
        count += 1;
    }
    count
}

/// Attacks with each method at once, with victims beside them.
fn beside_victims(gateway: &Gateway, attack: impl Fn(&'static str) + Sync) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let people: Vec<_> = (0..2)
            .map(|name| {
                let over = &over;
                scope.spawn(move || victims(gateway, name, over))
            })
            .collect();
        let attack = &attack;
        let attackers = METHODS.map(|method| scope.spawn(move || attack(method)));
        let failed = attackers
            .into_iter()
            .filter_map(|one| one.join().err())
            .count();
        over.store(true, SeqCst);
        let served: usize = people.into_iter().map(|one| one.join().unwrap()).sum();
        assert!(
            failed == 0 && served >= 40,
            "{failed} failed, {served} served"
        );
    });
}

fn pauses() -> impl Iterator<Item = Duration> {
    [0, 2, 20, 100].map(Duration::from_millis).into_iter()
}

#[test]
fn a_body_behind_its_answer_is_read_by_nobody() {
    let origin = Early::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    beside_victims(&gateway, |method| {
        for (chunked, status) in FRAMINGS.into_iter().zip(["401", "200"]) {
            for pause in pauses() {
                attack_late(&gateway, method, status, chunked, pause);
            }
        }
        for (chunked, status) in FRAMINGS.into_iter().zip(["204", "302"]) {
            attack_late(&gateway, method, status, chunked, Duration::ZERO);
        }
    });
    assert!(!origin.was_asked_for("/attackers-choice"));
}

#[test]
fn a_body_behind_its_answer_is_read_by_nobody_over_http2() {
    let listener = SecureListener::named("t.example");
    let extra = format!("{}{OPEN_SITE}", listener.toml);
    let origin = Early::start();
    let gateway = Gateway::start(origin.port, &extra);
    let client = &listener.client;
    beside_victims(&gateway, |method| {
        for (chunked, pause) in FRAMINGS
            .into_iter()
            .flat_map(|one| pauses().map(move |p| (one, p)))
        {
            for status in ["401", "200"] {
                let mut request = Request::builder()
                    .method(method)
                    .uri(format!("https://t.example/early/{status}"));
                let mut body = CHOSEN.to_owned();
                if !chunked {
                    request = request.header("content-length", LARGE);
                    body += &"x".repeat(LARGE - CHOSEN.len());
                }
                let request = request.body(()).unwrap();
                let told = client.h2_late("t.example", request, body.into(), pause);
                assert_eq!(told.unwrap().to_string(), status);
            }
        }
    });
    assert!(!origin.was_asked_for("/attackers-choice"));
}

#[test]
fn who_is_refused_leaves_nothing_to_others_whenever_the_body_came() {
    let origin = Early::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    beside_victims(&gateway, |method| {
        for turn in 0..40_usize {
            let status = ["401", "302", "405", "500"][turn % 4];
            let (begun, rest) = attack(method, status, turn % 2 == 0);
            let mut stream = connect(gateway.port).unwrap();
            stream.write_all(begun.as_bytes()).unwrap();
            // About when the answer is on its way.
            thread::sleep(Duration::from_micros(turn as u64 * 10));
            let _ = stream.write_all(rest.as_bytes());
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start[9..], status.as_bytes());
        }
    });
}

#[test]
fn a_connection_that_was_left_or_is_to_close_serves_nobody() {
    let origin = Early::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    beside_victims(&gateway, |method| {
        for turn in 0..20 {
            // All but the end of the body, before or behind its answer.
            let (begun, rest) = attack(method, "200", turn % 2 == 0);
            let mut stream = connect(gateway.port).unwrap();
            stream.write_all(begun.as_bytes()).unwrap();
            if turn % 4 < 2 {
                stream.read_exact(&mut [0; 12]).unwrap();
            }
            let _ = stream.write_all(&rest.as_bytes()[..rest.len() - 6]);
        }
    });
    let before = origin.connections.load(SeqCst);
    for _ in 0..40 {
        assert_eq!(gateway.get("/closing", "").body, "/closing");
    }
    // A few were kept from before.
    assert!(origin.connections.load(SeqCst) - before > 20);
}

#[test]
fn a_connection_whose_bodies_were_read_serves_on() {
    let origin = Early::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let before = origin.connections.load(SeqCst);
    let client = connect(gateway.port).unwrap();
    let mut client = BufReader::new(client);
    for turn in 0..50 {
        let (framing, body) = match turn % 3 {
            0 => ("Content-Length: 5", "12345"),
            _ => ("Content-Length: 0", ""),
        };
        let target = format!("/{turn:05}");
        let request =
            format!("POST {target} HTTP/1.1\r\nHost: t.example\r\n{framing}\r\n\r\n{body}");
        client.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            client.read_line(&mut line).unwrap();
        }
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, target.as_bytes());
    }
    let made = origin.connections.load(SeqCst) - before;
    assert!(made <= 5, "{made} connections for 50 requests");
}

#[test]
fn an_answer_that_begins_early_takes_in_the_whole_upload() {
    // Both ways at once: each line is answered as it comes.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
    let gateway = Gateway::start(port, OPEN_SITE);
    let mut stream = BufReader::new(connect(gateway.port).unwrap());
    let head = "POST /echo HTTP/1.1\r\nHost: t.example\r\nContent-Length: 80000\r\n\r\n";
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    for turn in 0..3 {
        let piece = format!("piece {turn}");
        stream
            .get_mut()
            .write_all(format!("{piece}\n").as_bytes())
            .unwrap();
        let mut line = String::new();
        while line.trim_end() != piece {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "no {piece}");
        }
    }
}

/// Answers with what comes, while it comes.
fn echo(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap_or(0) > 0 {}
    let answer = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.get_mut().write_all(answer).unwrap();
    let mut line = String::new();
    while stream.read_line(&mut line).unwrap_or(0) > 0 {
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        if stream.get_mut().write_all(chunk.as_bytes()).is_err() {
            return;
        }
        line.clear();
    }
}

#[test]
fn an_origin_behind_a_unix_socket_keeps_no_connection_behind_a_body() {
    let folder = Folder::new();
    let path = folder.join("o.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let targets: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&targets);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let targets = Arc::clone(&kept);
            thread::spawn(move || serve(stream, &targets));
        }
    });
    let extra = format!(
        "[[upstream]]\nname = \"u\"\nservers = [{{ address = \"unix:{}\" }}]\n{}",
        path.display(),
        OPEN_SITE.replace("upstream = \"o\"", "upstream = \"u\"")
    );
    let gateway = Gateway::start(9, &extra);
    beside_victims(&gateway, |method| {
        for pause in pauses() {
            attack_late(&gateway, method, "200", false, pause);
        }
    });
    let targets = targets.lock().unwrap();
    assert!(targets.iter().all(|target| target != "/attackers-choice"));
}
