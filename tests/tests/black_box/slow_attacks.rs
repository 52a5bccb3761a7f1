//! Clients that are slow on purpose, one by one: each is sent away in time and counted, and a person
//! beside it is served all the while.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{CHROME, Gateway, OPEN_SITE, send, wait_for};

mod bodies;
mod caps;
mod evictions;
mod frames;
mod http1;
mod http2;
mod memory;
mod secure;
mod tls;
mod unbegun;
mod unread;

/// Every limit of these tests is a second or two. Whoever is still there after this was forgotten.
const BOUND: Duration = Duration::from_secs(12);
/// How long an attacker listens between two moves.
const TICK: Duration = Duration::from_millis(100);

/// Limits of a second for everything that can be slow.
const SHORT: &str = "header_timeout_secs = 1\nidle_timeout_secs = 1\nbody_timeout_secs = 1";

/// A gateway with these `[limits]` and no filters.
fn gateway(origin: &Site, limits: &str) -> Gateway {
    Gateway::start(origin.port, &format!("[limits]\n{limits}\n{OPEN_SITE}"))
}

/// A browser's visit on a connection of its own.
fn person_is_served(gateway: &Gateway) {
    assert_eq!(gateway.get("/", CHROME).status, 200);
}

/// Waits until so many connections, or requests of HTTP/2 connections, were ended for one of these
/// reasons.
fn closed(gateway: &Gateway, reasons: &[&str], at_least: u32) {
    let started = Instant::now();
    loop {
        let endings = endings(gateway);
        let counted = endings
            .iter()
            .filter(|(reason, _)| reasons.contains(&reason.as_str()))
            .map(|(_, count)| count);
        if counted.sum::<f64>() >= f64::from(at_least) {
            return;
        }
        assert!(
            started.elapsed() < BOUND,
            "{at_least} were to be ended for {reasons:?}; there were {endings:?}"
        );
        thread::sleep(TICK);
    }
}

/// A number that grows, once it has not for half a second.
fn settled(number: impl Fn() -> u64) -> u64 {
    let (started, mut most, mut since) = (Instant::now(), number(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        assert!(started.elapsed() < BOUND, "it still grows, from {most} on");
        thread::sleep(TICK);
        let now = number();
        if now > most {
            (most, since) = (now, Instant::now());
        }
    }
    most
}

/// Why connections and requests were ended so far, and how many.
fn endings(gateway: &Gateway) -> Vec<(String, f64)> {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let metrics = send(gateway.admin, request).body;
    let counted = metrics.lines().filter_map(|line| {
        let rest = ["connections_closed", "streams_reset"]
            .into_iter()
            .find_map(|what| line.strip_prefix(&format!("thornwall_{what}_total{{reason=\"")))?;
        let (reason, count) = rest.split_once("\"} ")?;
        Some((reason.to_owned(), count.parse().ok()?))
    });
    counted.collect()
}

/// A connection of an attacker.
fn attacker(port: u16) -> TcpStream {
    listening(TcpStream::connect(("127.0.0.1", port)).unwrap())
}

/// The connection, set up so that reads end after a tick and each write is a packet.
fn listening(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(TICK)).unwrap();
    stream.set_write_timeout(Some(BOUND)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// How an attack ended.
struct Gone {
    /// The time until the other side hung up.
    after: Duration,
    /// What it said before.
    said: Vec<u8>,
}

impl Gone {
    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }
}

/// Makes a move each tick until the other side hangs up, which it must.
fn until_gone<S: Read>(
    stream: &mut S,
    mut next_move: impl FnMut(&mut S) -> io::Result<()>,
) -> Gone {
    let started = Instant::now();
    let mut said = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let after = started.elapsed();
        let text = String::from_utf8_lossy(&said);
        assert!(after < BOUND, "still connected; it said {text:?}");
        if next_move(stream).is_err() {
            return Gone { after, said };
        }
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => said.extend_from_slice(&buffer[..read]),
            Err(error) if is_quiet(&error) => {}
            Ok(0) | Err(_) => return Gone { after, said },
        }
    }
}

/// Whether nothing came for a tick.
fn is_quiet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// A move that does nothing.
fn silence<S>(_: &mut S) -> io::Result<()> {
    Ok(())
}

/// A move that sends one more byte of `text`, and nothing once it is over.
fn dribble<S: Write>(text: &str) -> impl FnMut(&mut S) -> io::Result<()> {
    let mut bytes = text.to_owned().into_bytes().into_iter();
    move |stream| match bytes.next() {
        Some(byte) => {
            stream.write_all(&[byte])?;
            stream.flush()
        }
        None => Ok(()),
    }
}

/// Reads what is left of a connection that was ended while much was still to come.
fn rest_is_short(stream: &mut impl Read) {
    let started = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => total += read,
            Err(error) if is_quiet(&error) => {}
            Ok(0) | Err(_) => break,
        }
        assert!(started.elapsed() < BOUND, "still open after {total} bytes");
        assert!(total < LARGE / 2, "nobody stopped the answer");
    }
}

/// Bytes of the answer that no buffer on its way can hold.
const LARGE: usize = 1 << 30;
/// Where the origin gives it.
const LARGE_PATH: &str = "/large";

/// An origin with a short answer for everybody, and a very long one.
struct Site {
    port: u16,
    large_begun: Arc<AtomicUsize>,
    large_ended: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Site {
    /// An origin that is served elsewhere.
    fn at(port: u16) -> Self {
        Self {
            port,
            large_begun: Arc::default(),
            large_ended: Arc::default(),
            requests: Arc::default(),
        }
    }

    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Self::at(listener.local_addr().unwrap().port());
        let counts = [&site.large_begun, &site.large_ended, &site.requests].map(Arc::clone);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = counts.clone();
                // A proxy that hangs up is what many of these tests are about.
                thread::spawn(move || serve(&stream, &counts));
            }
        });
        site
    }

    /// Waits until every long answer that was begun was let go by who asked for it.
    fn is_let_go(&self) {
        wait_for("the origin's connection to be let go", || {
            let begun = self.large_begun.load(Ordering::SeqCst);
            begun > 0 && begun == self.large_ended.load(Ordering::SeqCst)
        });
    }
}

fn serve(mut stream: &TcpStream, [begun, ended, requests]: &[Arc<AtomicUsize>; 3]) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (path, length) = head(&mut reader)?;
        io::copy(&mut (&mut reader).take(length), &mut io::sink()).ok()?;
        if path != "/robots.txt" {
            requests.fetch_add(1, Ordering::SeqCst);
        }
        if path == LARGE_PATH {
            begun.fetch_add(1, Ordering::SeqCst);
            let _ = large(stream);
            ended.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer).ok()?;
    }
}

/// The path of the next request, and the length of its body.
fn head(reader: &mut impl BufRead) -> Option<(String, u64)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line == "\r\n" {
            return Some((path, length));
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
}

fn large(mut stream: &TcpStream) -> io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
    let piece = [b'x'; 64 * 1024];
    for _ in 0..LARGE / piece.len() {
        stream.write_all(&piece)?;
    }
    Ok(())
}
