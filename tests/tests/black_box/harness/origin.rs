//! An origin on loopback.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// An origin that answers every request alike and keeps what it was sent.
pub(crate) struct Origin {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// Answers `200 OK` with the text `origin`.
    pub(crate) fn start() -> Self {
        Self::answering(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\norigin",
            Duration::ZERO,
        )
    }

    /// Answers with these bytes, after a while.
    pub(crate) fn answering(answer: &'static str, after: Duration) -> Self {
        Self::with(answer, Duration::ZERO, after)
    }

    /// Answers with the text `origin` to bodies that it reads after a while.
    pub(crate) fn reading_after(pause: Duration) -> Self {
        Self::with(
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin",
            pause,
            Duration::ZERO,
        )
    }

    fn with(answer: &'static str, pause: Duration, after: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || answer_all(&stream, answer, [pause, after], &kept));
            }
        });
        Self { port, requests }
    }

    /// What was asked for, but for robots.txt, which the gateway asks for by itself.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|head| !head.starts_with("GET /robots.txt"))
            .cloned()
            .collect()
    }
}

fn answer_all(
    stream: &TcpStream,
    answer: &str,
    [pause, after]: [Duration; 2],
    kept: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
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
        thread::sleep(pause);
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        kept.lock().unwrap().push(head);
        thread::sleep(after);
        let mut writer = stream;
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
        if !answer.contains("Content-Length") {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}
