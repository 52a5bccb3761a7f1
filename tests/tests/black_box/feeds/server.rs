//! A server of lists that does what a test says, right or wrong.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::CertificateDer};
use thornwall_tests::authority::Issued;

/// What is answered.
#[derive(Clone)]
pub(super) enum Answer {
    /// Head lines besides the length, and a body. With an `ETag` that the client has, 304.
    List(&'static str, String),
    /// A gigabyte of addresses.
    Endless,
    /// A redirect to this place.
    Redirect(String),
    /// Nothing but the status.
    Status(u16),
}

pub(super) struct Server {
    pub(super) port: u16,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicU64>,
}

impl Server {
    pub(super) fn start(answer: Answer) -> Self {
        Self::listen(answer, None)
    }

    pub(super) fn with_tls(answer: Answer, issued: &Issued) -> Self {
        let chain: Vec<CertificateDer<'static>> = vec![issued.certificate.der().clone()];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, issued.key())
            .unwrap();
        Self::listen(answer, Some(Arc::new(config)))
    }

    fn listen(answer: Answer, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
            sent: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&server.answer), Arc::clone(&server.asked));
        let sent = Arc::clone(&server.sent);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.lock().unwrap().clone();
                let (asked, sent, tls) = (Arc::clone(&asked), Arc::clone(&sent), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, &answer, &asked, &sent),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, stream), &answer, &asked, &sent);
                    }
                });
            }
        });
        server
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/list", self.port)
    }

    pub(super) fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Heads of the requests so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Bytes of endless lists that were taken from it.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

fn serve(
    mut stream: impl Read + Write,
    answer: &Answer,
    asked: &Mutex<Vec<String>>,
    sent: &AtomicU64,
) {
    let mut head = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    asked.lock().unwrap().push(head.clone());
    // A client that has gone away is part of some tests.
    let _ = match answer {
        Answer::List(fields, body) => {
            let tag = fields.lines().find_map(|line| line.strip_prefix("ETag: "));
            let known = tag.is_some_and(|tag| {
                head.to_ascii_lowercase()
                    .contains(&format!("if-none-match: {}", tag.to_ascii_lowercase()))
            });
            match known {
                true => write!(
                    stream,
                    "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
                ),
                false => write!(
                    stream,
                    "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                ),
            }
        }
        Answer::Endless => endless(&mut stream, sent),
        Answer::Redirect(place) => write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
        Answer::Status(status) => write!(
            stream,
            "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    };
    let _ = stream.flush();
}

fn endless(stream: &mut impl Write, sent: &AtomicU64) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    let block = "192.0.2.7\n".repeat(6_554);
    while sent.load(Relaxed) < 1 << 30 {
        stream.write_all(block.as_bytes())?;
        sent.fetch_add(block.len() as u64, Relaxed);
    }
    Ok(())
}

/// Whether somebody listens there; a port that nobody does is as good as a server that is gone.
pub(super) fn closed_port() -> u16 {
    let port = crate::harness::free_port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    port
}
