//! A site of pages and parts, files for programs, and clients that keep their connections.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{CHROME, PATIENCE, connect, root};

/// An origin that says what kind each of its answers is.
pub(super) struct Site {
    pub(super) port: u16,
    /// Pages that were answered with their body.
    pub(super) pages: Arc<AtomicUsize>,
    /// Requests for files.
    pub(super) files: Arc<AtomicUsize>,
}

impl Site {
    /// A site of pages and parts; what it lacks is looked for in `folder`.
    pub(super) fn start(folder: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Self {
            port: listener.local_addr().unwrap().port(),
            pages: Arc::default(),
            files: Arc::default(),
        };
        let (pages, files) = (Arc::clone(&site.pages), Arc::clone(&site.files));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (pages, files) = (Arc::clone(&pages), Arc::clone(&files));
                let folder = folder.clone();
                thread::spawn(move || serve(&stream, folder.as_ref(), [&pages, &files]));
            }
        });
        site
    }
}

/// Answers until the connection ends.
fn serve(stream: &TcpStream, folder: Option<&PathBuf>, [pages, files]: [&AtomicUsize; 2]) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        let mut words = head.split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let (status, kind, mut body) = answer(path, folder);
        if method == "HEAD" {
            body = Vec::new();
        }
        if (status, kind) == (200, "text/html") && !body.is_empty() {
            pages.fetch_add(1, Ordering::Relaxed);
        }
        if kind == "application/octet-stream" {
            files.fetch_add(1, Ordering::Relaxed);
        }
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nLocation: /page/1\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        let mut writer = stream;
        if writer
            .write_all(&[head.as_bytes(), &body].concat())
            .is_err()
        {
            return;
        }
    }
}

fn answer(path: &str, folder: Option<&PathBuf>) -> (u16, &'static str, Vec<u8>) {
    let text = |kind, text: &str| (200, kind, text.as_bytes().to_vec());
    let first = path.split('/').nth(1).unwrap_or_default();
    match first {
        "page" => text("text/html", "<!doctype html><title>t</title>"),
        "npm" if !path.ends_with(".tgz") => text("application/json", "{}"),
        "part" if path.ends_with(".css") => text("text/css", "a{}"),
        "part" if path.ends_with(".js") => text("text/javascript", "1"),
        "part" => text("image/png", "png"),
        "moved" => (302, "text/html", b"<p>moved".to_vec()),
        "same" => (304, "text/html", Vec::new()),
        "npm" | "pool" | "crates" => text("application/octet-stream", "archive"),
        _ => match folder.map(|folder| fs::read(folder.join(&path[1..]))) {
            Some(Ok(file)) => (200, "application/octet-stream", file),
            _ => (404, "text/html", b"<p>missing".to_vec()),
        },
    }
}

/// The lines up to the empty one, if the other end still speaks.
fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// The built-in pipeline's limits alone, as the pipeline `p`.
pub(super) fn shipped_limits() -> String {
    let path = root().join("gateway/src/config/standard.toml");
    let mut file: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let pipeline = file["pipeline"][0].as_table_mut().unwrap();
    pipeline.remove("ladder");
    pipeline["name"] = "p".into();
    let filters = pipeline["filter"].as_array_mut().unwrap();
    filters.retain(|filter| filter.get("rate_limit").is_some());
    assert!(filters.len() > 1);
    toml::to_string(&file).unwrap()
}

/// What a browser sends for a page's part.
pub(super) fn part_headers() -> String {
    let kept = CHROME.split_inclusive("\r\n").filter(|line| {
        !line.starts_with("Accept:") && !line.starts_with("Upgrade-Insecure-Requests")
    });
    let own = [
        "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8\r\n",
        "Referer: http://t.example/page/1\r\n",
    ];
    kept.chain(own).collect()
}

/// The parts of a page.
pub(super) fn parts() -> Vec<String> {
    let kinds = ["css", "js", "png", "png", "png"];
    let part = |(number, kind)| format!("/part/{number}.{kind}");
    (0..100).zip(kinds.iter().cycle()).map(part).collect()
}

/// One connection to the gateway, opened anew where it has been closed.
pub(super) struct Client {
    port: u16,
    /// Header lines of every request.
    headers: String,
    reader: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(super) fn new(port: u16, headers: &str) -> Self {
        Self {
            port,
            headers: headers.to_owned(),
            reader: None,
        }
    }

    pub(super) fn with(mut self, headers: &str) -> Self {
        headers.clone_into(&mut self.headers);
        self
    }

    pub(super) fn get(&mut self, path: &str) -> u16 {
        self.ask("GET", path)
    }

    /// The answer's status.
    pub(super) fn ask(&mut self, method: &str, path: &str) -> u16 {
        // A kept connection may have been closed in the meantime.
        let again = self.reader.is_some();
        let status = self.try_ask(method, path);
        let status = if status.is_none() && again {
            self.try_ask(method, path)
        } else {
            status
        };
        status.unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    fn try_ask(&mut self, method: &str, path: &str) -> Option<u16> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => BufReader::new(connect(self.port)?),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: t.example\r\n{}\r\n",
            self.headers
        );
        reader.get_mut().write_all(request.as_bytes()).ok()?;
        let head = read_head(&mut reader)?.to_ascii_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.split("\r\ncontent-length:").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
        if method != "HEAD" && status != 304 {
            let mut body = vec![0; length?];
            reader.read_exact(&mut body).ok()?;
        }
        if !head.contains("\r\nconnection: close") {
            self.reader = Some(reader);
        }
        Some(status)
    }
}

/// All answers to `paths`, asked for over so many connections at once.
pub(super) fn over(
    connections: usize,
    paths: &[String],
    client: impl Fn() -> Client + Sync,
) -> Vec<u16> {
    let next = Mutex::new(paths.iter());
    let statuses = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut client = client();
                loop {
                    let Some(path) = next.lock().unwrap().next() else {
                        return;
                    };
                    let status = client.get(path);
                    statuses.lock().unwrap().push(status);
                }
            });
        }
    });
    statuses.into_inner().unwrap()
}

/// What a scraper got.
pub(super) struct Scraped {
    pub(super) served: usize,
    pub(super) refused: usize,
    pub(super) took: Duration,
}

/// Asks for one page after the other over eight connections: four hundred, and, where this machine
/// is too slow for the limit to be reached by then, on until something is refused.
pub(super) fn scrape(port: u16, headers: &str, path: impl Fn(usize) -> String + Sync) -> Scraped {
    let started = Instant::now();
    let (next, served, refused) = Default::default();
    let (next, served, refused): (AtomicUsize, AtomicUsize, AtomicUsize) = (next, served, refused);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::new(port, headers);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let caught = refused.load(Ordering::Relaxed) > 0;
                    if number >= 400 && (caught || started.elapsed() > PATIENCE) {
                        return;
                    }
                    let count = match client.get(&path(number)) {
                        200 => &served,
                        429 => &refused,
                        other => panic!("{other} to page {number}"),
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    Scraped {
        served: served.into_inner(),
        refused: refused.into_inner(),
        took: started.elapsed(),
    }
}
