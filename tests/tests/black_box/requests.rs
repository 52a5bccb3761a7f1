//! Raw requests from the table `requests.toml`, one by one, to a running gateway: what is answered,
//! and what the origin sees of them. And bodies, which a table row cannot show on their way.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Deserialize;

use crate::harness::{Gateway, PATIENCE, Reply, connect, wait_for};

#[derive(Deserialize)]
struct Table {
    row: Vec<Row>,
}

/// A row; the head of the file says what its keys mean.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    source: String,
    send: String,
    repeat: Option<(String, usize)>,
    status: u16,
    #[serde(default, rename = "late")]
    _late: bool,
    #[serde(default)]
    origin: Vec<String>,
    #[serde(default)]
    absent: Vec<String>,
    body: Option<String>,
    requests: Option<usize>,
}

/// The site that the table is written for.
const SITE: &str = "[[site]]\nname = \"t\"\nhosts = [\"t.example\", \"*.t.example\", \"[2001:db8::1]\"]\n\
    upstream = \"o\"\npipeline = \"open\"\nmax_body_bytes = 100\n[[pipeline]]\nname = \"open\"\n";

/// What no refused request may carry to the origin.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: t.example\r\n\r\n";

#[test]
fn raw_requests_are_answered_as_the_table_says() {
    let table: Table = toml::from_str(include_str!("requests.toml")).unwrap();
    let origin = RawOrigin::start();
    let gateway = Gateway::start(origin.port, SITE);
    let mut wrong = Vec::new();
    for row in &table.row {
        if let Err(what) = row.check(&gateway, &origin) {
            let what: String = what.chars().take(500).collect();
            wrong.push(format!("{} ({}): {what}", row.name, row.source));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        table.row.len(),
        wrong.join("\n")
    );
    assert!(table.row.len() >= 140, "rows are there");
}

impl Row {
    fn bytes(&self) -> Vec<u8> {
        let filler = self.repeat.as_ref();
        let filler = filler.map_or_else(String::new, |(text, count)| text.repeat(*count));
        let mut text = self.send.replace("{repeat}", &filler);
        if self.origin.is_empty() {
            text.push_str(SMUGGLED);
        }
        to_bytes(&text)
    }

    fn check(&self, gateway: &Gateway, origin: &RawOrigin) -> Result<(), String> {
        let answer = exchange(gateway.port, &self.bytes())?;
        let seen = origin.take();
        let reply = Reply::parse(&answer).ok_or("no answer")?;
        if reply.status != self.status {
            return Err(format!("status {}; the origin saw {seen:?}", reply.status));
        }
        if self.origin.is_empty() {
            // Every refusal is ours, and the only answer of its connection.
            let ours = reply.header("x-request-id").is_some() && reply.body.ends_with("</html>\n");
            return match (seen.as_slice(), ours) {
                ([], true) => Ok(()),
                ([], false) => Err(format!("not our answer: {reply:?}")),
                _ => Err(format!("the origin saw {seen:?}")),
            };
        }
        let expected = self.requests.unwrap_or(1);
        if seen.len() != expected {
            return Err(format!("the origin saw {} requests: {seen:?}", seen.len()));
        }
        self.compare(&seen[0])
    }

    fn compare(&self, seen: &Seen) -> Result<(), String> {
        for line in &self.origin {
            if !seen.lines.contains(line) {
                return Err(format!("{line:?} is not in {:?}", seen.lines));
            }
        }
        let text = seen.lines.join("\n").to_ascii_lowercase();
        if let Some(found) = self.absent.iter().find(|text_| text.contains(*text_)) {
            return Err(format!("{found:?} is in {text:?}"));
        }
        match &self.body {
            Some(body) if *body != seen.body => Err(format!("the body was {:?}", seen.body)),
            _ => Ok(()),
        }
    }
}

/// Sends bytes and reads until the other side closes.
fn exchange(port: u16, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = connect(port).ok_or("no connection")?;
    // It may have been refused and closed before all of it was sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(format!("still open after {:?}", from_bytes(&answer)))
        }
        // A reset after the answer loses nothing of it.
        _ => Ok(answer),
    }
}

/// Each character is a byte.
fn to_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

fn from_bytes(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// A request as it arrived: the request line as it is, the names of fields in lower case.
#[derive(Debug, Clone)]
struct Seen {
    lines: Vec<String>,
    body: String,
}

/// An origin that keeps every byte.
struct RawOrigin {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Uploads whose head has come.
    begun: Arc<AtomicUsize>,
}

impl RawOrigin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let begun: Arc<AtomicUsize> = Arc::default();
        let (kept, counts) = (Arc::clone(&seen), Arc::clone(&begun));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, counts) = (Arc::clone(&kept), Arc::clone(&counts));
                thread::spawn(move || while answer_one(&stream, &kept, &counts).is_some() {});
            }
        });
        Self { port, seen, begun }
    }

    /// What arrived since the last call, but for robots.txt, which the gateway asks for by itself.
    fn take(&self) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.retain(|request| !request.lines[0].starts_with("GET /robots.txt"));
        seen
    }
}

/// Reads byte by byte, so that nothing of a second request is swallowed.
fn answer_one(stream: &TcpStream, kept: &Mutex<Vec<Seen>>, begun: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut lines = Vec::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = read_line(&mut reader)?;
        let Some((name, value)) = line.split_once(": ").filter(|_| !lines.is_empty()) else {
            if line.is_empty() {
                break;
            }
            lines.push(line);
            continue;
        };
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "content-length" => length = value.parse().ok()?,
            "transfer-encoding" => chunked = value == "chunked",
            _ => {}
        }
        lines.push(format!("{name}: {value}"));
    }
    let expects = lines.iter().any(|line| line == "expect: 100-continue");
    if expects {
        (&*stream)
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .ok()?;
    }
    begun.fetch_add(usize::from(lines[0].starts_with("POST ")), Ordering::SeqCst);
    let body = read_body(&mut reader, length, chunked);
    let whole = body.is_some();
    let body = from_bytes(&body.unwrap_or_default());
    kept.lock().unwrap().push(Seen { lines, body });
    if !whole {
        kept.lock().unwrap().push(Seen {
            lines: vec!["a body that broke off".to_owned()],
            body: String::new(),
        });
        return None;
    }
    (&*stream)
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .ok()
}

fn read_body(reader: &mut impl BufRead, length: usize, chunked: bool) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut read = |size: usize, reader: &mut dyn BufRead| {
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..]).ok()
    };
    if !chunked {
        read(length, reader)?;
        return Some(body);
    }
    loop {
        let size = usize::from_str_radix(&read_line(reader)?, 16).ok()?;
        if size == 0 {
            return read_line(reader)?.is_empty().then_some(body);
        }
        read(size, reader)?;
        read_line(reader)?;
    }
}

/// A line without its CRLF, which must be one.
fn read_line(reader: &mut (impl BufRead + ?Sized)) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    line.strip_suffix(b"\r\n").map(from_bytes)
}

#[test]
fn a_body_that_grows_too_large_ends_the_request() {
    let origin = RawOrigin::start();
    let gateway = Gateway::start(origin.port, SITE);
    let chunk = format!("3c\r\n{}\r\n", "x".repeat(60));
    let request = format!(
        "POST /up HTTP/1.1\r\nHost: t.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"
    );
    let answer = exchange(gateway.port, request.as_bytes()).unwrap();
    let reply = Reply::parse(&answer).unwrap();
    assert_eq!(reply.status, 413, "{reply:?}");
    assert_eq!(
        gateway.explain(reply.id())["reason"],
        "request.body_too_large"
    );
    let mut seen = Vec::new();
    wait_for("the origin to see the end", || {
        seen.extend(origin.take());
        seen.len() == 2
    });
    assert_eq!(seen[1].lines, ["a body that broke off"], "{seen:?}");

    // Up to the limit it passes, however it is cut.
    let chunk = format!("32\r\n{}\r\n", "x".repeat(50));
    let request = format!(
        "POST /up HTTP/1.1\r\nHost: t.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         {chunk}{chunk}0\r\n\r\n"
    );
    let answer = exchange(gateway.port, request.as_bytes()).unwrap();
    assert_eq!(Reply::parse(&answer).unwrap().status, 200);
    assert_eq!(origin.take()[0].body.len(), 100);
}

#[test]
fn a_client_that_is_still_sending_gets_to_read_why() {
    let origin = RawOrigin::start();
    let gateway = Gateway::start(origin.port, SITE);
    let body = "x".repeat(400_000);
    let announced = "Content-Length: 400000\r\n\r\n".to_owned();
    let measured = format!(
        "Transfer-Encoding: chunked\r\n\r\n61a80\r\n{}",
        &body[..200]
    );
    for start in [announced, measured] {
        let mut stream = connect(gateway.port).unwrap();
        write!(stream, "POST /up HTTP/1.1\r\nHost: t.example\r\n{start}").unwrap();
        // Once it is answered, nobody wants the rest.
        stream.peek(&mut [0]).unwrap();
        // A reset would show in the second write. What it does to an answer that is on its way
        // depends on the network and on the client's system.
        for piece in [&body.as_bytes()[..300_000], b"x"] {
            stream.write_all(piece).unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(Reply::parse(&answer).unwrap().status, 413);
    }
}

/// Runs curl; the status that it prints, and what it said about the exchange.
fn curl(port: u16, arguments: &[&str]) -> (String, String) {
    let output = Command::new("curl")
        .args(["-sv", "-o", "/dev/null", "-w", "%{http_code}"])
        .args(["--max-time", &PATIENCE.as_secs().to_string()])
        // Without an answer, it must not go on by itself.
        .args(["--expect100-timeout", "60", "-H", "Host: t.example"])
        .args(arguments)
        .arg(format!("http://127.0.0.1:{port}/up"))
        .output()
        .unwrap();
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn curl_is_told_to_send_what_it_holds_back() {
    let origin = RawOrigin::start();
    let gateway = Gateway::start(origin.port, SITE);
    let expect = ["-H", "Expect: 100-continue", "--data-binary"];
    let (status, said) = curl(gateway.port, &[&expect[..], &["hello"]].concat());
    assert_eq!(status, "200", "{said}");
    assert!(said.contains("< HTTP/1.1 100 Continue"), "{said}");
    assert_eq!(origin.take()[0].body, "hello");

    let large = "x".repeat(101);
    let (status, said) = curl(gateway.port, &[&expect[..], &[&large]].concat());
    assert_eq!(status, "413", "{said}");
    assert!(!said.contains("100 Continue"), "{said}");
    assert!(origin.take().is_empty());
}

#[test]
fn a_get_with_a_body_is_the_last_of_its_connection_to_the_origin() {
    let origin = RawOrigin::start();
    let gateway = Gateway::start(origin.port, SITE);
    let with_body =
        "GET /a HTTP/1.1\r\nHost: t.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    for _ in 0..3 {
        exchange(gateway.port, with_body.as_bytes()).unwrap();
    }
    let seen = origin.take();
    assert_eq!(seen.len(), 3);
    let closes = |seen: &Seen| seen.lines.iter().any(|line| line == "connection: close");
    assert!(seen.iter().all(closes), "{seen:?}");
}

#[test]
fn a_client_that_stops_in_the_middle_leaves_nothing_behind() {
    let origin = RawOrigin::start();
    let gateway = Gateway::start(origin.port, SITE);
    let mut stream = connect(gateway.port).unwrap();
    stream
        .write_all(b"POST /up HTTP/1.1\r\nHost: t.example\r\nTransfer-Encoding: chunked\r\n\r\n32\r\nGET /smuggled HTTP/1.1\r\n")
        .unwrap();
    wait_for("the origin to be asked", || {
        origin.begun.load(Ordering::SeqCst) == 1
    });
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let mut seen = Vec::new();
    wait_for("the origin to see the end", || {
        seen.extend(origin.take());
        seen.len() == 2
    });
    assert_eq!(seen[1].lines, ["a body that broke off"], "{seen:?}");
    let reply = exchange(
        gateway.port,
        b"GET /next HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(Reply::parse(&reply.unwrap()).unwrap().status, 200);
    let seen = origin.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].lines[0], "GET /next HTTP/1.1");
}
