//! Uploads that are refused while the client still sends: it gets to read why.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use crate::{
    harness::{Folder, Gateway, OPEN_SITE, Origin, PATIENCE, Reply, connect, wait_for},
    scripted::{Scripted, answer},
    tls_client::SecureListener,
};

/// Four sites, each of which refuses uploads in its way, and none for other names.
const SITES: &str = "[[site]]\nname = \"small\"\nhosts = [\"small.example\"]\nupstream = \"o\"\n\
    pipeline = \"open\"\nmax_body_bytes = 1000\n\
    [[site]]\nname = \"deny\"\nhosts = [\"deny.example\"]\nupstream = \"o\"\npipeline = \"deny\"\n\
    [[site]]\nname = \"limit\"\nhosts = [\"limit.example\"]\nupstream = \"o\"\npipeline = \"limit\"\n\
    [[pipeline]]\nname = \"open\"\n\
    [[pipeline]]\nname = \"deny\"\n[[pipeline.filter]]\nname = \"shape\"\nheuristics = {}\n\
    [pipeline.ladder]\ndeny = 0.5\n\
    [[pipeline]]\nname = \"limit\"\n[[pipeline.filter]]\nname = \"one\"\n\
    rate_limit = { key = \"site\", requests = 1, per_secs = 3600, burst = 1 }\n";

const REFUSALS: [(&str, &str); 4] = [
    ("small.example", "413"),
    ("deny.example", "403"),
    ("limit.example", "429"),
    ("none.example", "421"),
];

/// More than the buffers on the way hold.
const LARGE: usize = 24 << 20;

struct Server {
    gateway: Gateway,
    tls_port: u16,
    files: Folder,
}

impl Server {
    fn start() -> Self {
        let listener = SecureListener::named("small.example");
        let extra = format!("{}{SITES}", listener.toml);
        let gateway = Gateway::start(Origin::start().port, &extra);
        let host = "Host: limit.example\r\nConnection: close\r\n\r\n";
        assert_eq!(
            gateway.send(&format!("GET / HTTP/1.1\r\n{host}")).status,
            200
        );
        Self {
            gateway,
            tls_port: listener.port,
            files: listener.files,
        }
    }
}

#[test]
fn curl_reads_why_its_upload_is_refused() {
    let server = Server::start();
    let upload = server.files.join("upload");
    std::fs::write(&upload, vec![0; LARGE]).unwrap();
    let ways = [
        ("http", server.gateway.port, "--http1.1"),
        ("https", server.tls_port, "--http1.1"),
        ("https", server.tls_port, "--http2"),
    ];
    for (scheme, port, version) in ways {
        for (host, status) in REFUSALS {
            for turn in 0..4 {
                let output = Command::new("curl")
                    .args([
                        "-sSk",
                        version,
                        "-o",
                        "/dev/null",
                        "-w",
                        "%{http_code}",
                        "-T",
                    ])
                    .arg(&upload)
                    .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
                    .arg(format!("{scheme}://{host}:{port}/x"))
                    .output()
                    .unwrap();
                let told = String::from_utf8_lossy(&output.stdout);
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(
                    (&*told, output.status.code()),
                    (status, Some(0)),
                    "{scheme} {version} {host}, turn {turn}: {said}"
                );
            }
        }
    }
}

#[test]
fn who_reads_only_behind_its_whole_upload_gets_the_answer_too() {
    let server = Server::start();
    for (host, status) in REFUSALS {
        let mut stream = connect(server.gateway.port).unwrap();
        let head = format!("PUT /x HTTP/1.1\r\nHost: {host}\r\nUser-Agent: curl/8.5.0\r\n");
        write!(stream, "{head}Content-Length: {LARGE}\r\n\r\n").unwrap();
        for piece in vec![0; LARGE].chunks(1 << 16) {
            stream
                .write_all(piece)
                .unwrap_or_else(|error| panic!("{host}: {error}"));
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let reply = Reply::parse(&answer).unwrap();
        assert_eq!(reply.status.to_string(), status, "{host}");
    }
}

#[test]
fn who_still_sends_does_not_keep_the_process() {
    let mut server = Server::start();
    let mut stream = connect(server.gateway.port).unwrap();
    let head = "PUT /x HTTP/1.1\r\nHost: small.example\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    server.gateway.signal("TERM");
    // What it sends goes on and on, well within what a lingering client may.
    let dripping = thread::spawn(move || {
        wait_for("the end", || {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(b"more").is_err()
        });
    });
    assert_eq!(server.gateway.wait(), Some(0));
    dripping.join().unwrap();
}

#[test]
fn who_was_refused_and_falls_silent_is_let_go_of() {
    let server = Server::start();
    let mut stream = connect(server.gateway.port).unwrap();
    let head = "PUT /x HTTP/1.1\r\nHost: small.example\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Reply::parse(&answer).unwrap().status, 413);
    let open = || server.gateway.metric("thornwall_connections ");
    wait_for("the connection to be seen", || open() == 1.0);
    wait_for("the connection to end", || open() == 0.0);
    // What was taken in and thrown away before is answered by a reset now.
    wait_for("a reset", || stream.write_all(b"more").is_err());
}

/// An origin that tells what it reads of an upload, and answers at its end.
fn reader() -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while !seen.ends_with(b"\r\n0\r\n\r\n") && !seen.starts_with(b"GET /robots") {
                    let read = stream.read(&mut buffer).unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    seen.extend_from_slice(&buffer[..read]);
                    if seen.starts_with(b"POST") {
                        let _ = tell.send(buffer[..read].to_vec());
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            });
        }
    });
    (port, told)
}

fn upload_in_chunks(gateway: &Gateway) -> TcpStream {
    let mut stream = connect(gateway.port).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: t.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Waits until the origin has seen something that ends so; all that it has seen meanwhile.
fn seen_until(told: &Receiver<Vec<u8>>, end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        seen.extend(told.recv_timeout(PATIENCE).expect("more for the origin"));
    }
    String::from_utf8(seen).unwrap()
}

#[test]
fn chunks_that_are_there_go_on_as_one() {
    let (port, told) = reader();
    let gateway = Gateway::start(port, OPEN_SITE);
    let mut stream = upload_in_chunks(&gateway);
    // One that is alone waits for no other.
    for piece in ["first", "second"] {
        let chunk = format!("{:x};note=1\r\n{piece}\r\n", piece.len());
        stream.write_all(chunk.as_bytes()).unwrap();
        let seen = seen_until(&told, "\r\n");
        let seen = if seen.ends_with("\r\n\r\n") {
            seen_until(&told, "\r\n")
        } else {
            seen
        };
        let expected = format!("{:x}\r\n{piece}\r\n", piece.len());
        assert!(seen.to_ascii_lowercase().ends_with(&expected), "{seen}");
    }
    let letters: String = ('a'..='z').cycle().take(20_000).collect();
    let chunks: String = letters
        .chars()
        .map(|letter| format!("1\r\n{letter}\r\n"))
        .collect();
    stream.write_all(chunks.as_bytes()).unwrap();
    stream.write_all(b"0\r\nx-trailer: 1\r\n\r\n").unwrap();
    let seen = seen_until(&told, "\r\n0\r\n\r\n");
    let (mut rest, mut body, mut count) = (seen.as_str(), String::new(), 0);
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&more[..size]);
        rest = &more[size + 2..];
        count += 1;
    }
    assert_eq!(body, letters);
    assert!(count < 200, "{count} chunks for 20,000");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn whose_chunks_are_malformed_is_told_so() {
    let (port, _told) = reader();
    let gateway = Gateway::start(port, OPEN_SITE);
    let malformed = [
        "zz\r\n",
        "5\nhello\r\n",
        "5\r\nhelloX\r\n",
        "-1\r\n",
        "5 5\r\n\x01\r\n",
        "0\r\n\n",
        "ffffffffffffffff\r\n",
    ];
    for rest in malformed {
        for before in ["", "3\r\nabc\r\n"] {
            let mut stream = upload_in_chunks(&gateway);
            stream.write_all(before.as_bytes()).unwrap();
            stream.write_all(rest.as_bytes()).unwrap();
            stream
                .write_all(b"GET /next HTTP/1.1\r\nHost: t.example\r\n\r\n")
                .unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let reply = Reply::parse(&answer).unwrap_or_else(|| panic!("no answer to {rest:?}"));
            assert_eq!(reply.status, 400, "{rest:?}");
            let reason = gateway.explain(reply.id())["reason"].clone();
            assert_eq!(reason, "request.framing_invalid", "{rest:?}");
            assert_eq!(answer.windows(9).filter(|w| w == b"HTTP/1.1 ").count(), 1);
        }
    }
}

/// However the network cuts it, all of it arrives, and nothing else.
#[test]
fn a_chunked_body_may_come_in_any_two_pieces() {
    let origin = Scripted::start(|peer| {
        while peer.request().is_some() {
            let body = peer.chunked();
            peer.say(&answer(&body));
        }
    });
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let head =
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let body = "5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\n\r\n";
    for cut in 1..body.len() {
        let mut client = connect(gateway.port).unwrap();
        client.set_nodelay(true).unwrap();
        client.write_all(head.as_bytes()).unwrap();
        client.write_all(&body.as_bytes()[..cut]).unwrap();
        // So that it is read in two pieces; in one it would pass, too.
        thread::sleep(Duration::from_millis(20));
        client.write_all(&body.as_bytes()[cut..]).unwrap();
        let mut said = Vec::new();
        client.read_to_end(&mut said).unwrap();
        let reply = Reply::parse(&said).unwrap();
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "helloyou"),
            "{cut}"
        );
    }
}
