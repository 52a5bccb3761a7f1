//! An origin of which a test says byte for byte what it does with each connection.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::upstream::read_request;

/// An origin that runs a script on each connection.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

/// A connection of the gateway's, as the script sees it.
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
    /// What was asked for first is read already.
    first: Option<String>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Connections on which the gateway asks for robots.txt by itself get no script.
    pub(crate) fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, heads) = (Arc::new(script), Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, heads) = (Arc::clone(&script), Arc::clone(&kept));
                thread::spawn(move || serve(stream, &*script, heads));
            }
        });
        Self { port, heads }
    }

    /// Answers each request with these bytes and closes the connection.
    pub(crate) fn saying(answer: &'static str) -> Self {
        Self::start(move |peer| {
            if peer.request().is_some() {
                peer.say(answer);
            }
        })
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    script: &(impl Fn(&mut Peer) + ?Sized),
    heads: Arc<Mutex<Vec<String>>>,
) {
    // What was said is there, and does not wait for more (RFC 9293 section 3.7.4).
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    let Some(first) = read_request(&mut stream) else {
        return;
    };
    if first.starts_with("GET /robots.txt") {
        let answer = b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = stream.get_mut().write_all(answer);
        return;
    }
    script(&mut Peer {
        stream,
        first: Some(first),
        heads,
    });
}

impl Peer {
    /// Reads a request with its body; `None` at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<String> {
        let first = self.first.take();
        let head = first.or_else(|| read_request(&mut self.stream))?;
        self.heads.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// Reads a body of chunks, as far as it comes and is one.
    pub(crate) fn chunked(&mut self) -> String {
        let mut body = Vec::new();
        let mut line = String::new();
        while self
            .stream
            .read_line(&mut line)
            .is_ok_and(|length| length > 0)
        {
            let Ok(size) = u64::from_str_radix(line.trim_end(), 16) else {
                break;
            };
            let mut chunk = Vec::new();
            let _ = (&mut self.stream).take(size + 2).read_to_end(&mut chunk);
            if size == 0 {
                break;
            }
            chunk.truncate(chunk.len().saturating_sub(2));
            body.append(&mut chunk);
            line.clear();
        }
        String::from_utf8_lossy(&body).into_owned()
    }

    /// Sends bytes, if anybody still listens.
    pub(crate) fn say(&mut self, bytes: &str) {
        let _ = self.stream.get_mut().write_all(bytes.as_bytes());
    }

    /// Ends the connection: when this returns, the gateway's system knows.
    pub(crate) fn close(&mut self) {
        let _ = self.stream.get_mut().shutdown(Shutdown::Both);
    }
}

/// A whole answer that leaves the connection open.
pub(crate) fn answer(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
}
