//! A crowd of scrapers that stay: opens many connections, asks once on each and counts what drips.
//!
//! ```text
//! hold 127.0.0.1:8080 10000 120
//! ```
//!
//! Prints one JSON line when every connection was answered or lost, and one at the end, which is
//! after the given seconds or at SIGTERM, whichever is first. The connections come from several
//! loopback addresses (127.0.1.x), because one address has ports for 28,000 of them at most and a
//! gateway may cap what one client holds.
#![allow(
    clippy::disallowed_methods,
    reason = "measuring is what this program is for"
)]

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};

/// What a scraper sends that does not even try to look like a browser.
const REQUEST: &[u8] = b"GET /articles/1 HTTP/1.1\r\nHost: bench.example\r\n\
    User-Agent: Scrapy/2.11.2 (+https://scrapy.org)\r\nAccept: */*\r\n\r\n";
/// Connections per source address.
const PER_SOURCE: usize = 500;
/// A process may hold 20,000 files; what is left over serves standard streams and the runtime.
const MOST_CONNECTIONS: usize = 19_900;
/// Connections that wait for their first byte at one time, so that no listen queue overflows.
const OPENING: usize = 256;
/// A connection without an answer after this time is lost.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, connections, seconds] = arguments.as_slice() else {
        return Err("usage: hold ADDRESS CONNECTIONS SECONDS".into());
    };
    let target: SocketAddr = target.parse()?;
    let connections: usize = connections.parse()?;
    let seconds = Duration::from_secs(seconds.parse()?);
    if !(1..=MOST_CONNECTIONS).contains(&connections) {
        return Err(format!("connections must be from 1 to {MOST_CONNECTIONS}").into());
    }
    let mut ended = signal(SignalKind::terminate())?;

    let counts = Arc::new(Counts::default());
    tokio::select! {
        () = crowd(target, connections, Arc::clone(&counts)) => {}
        () = sleep(seconds) => {}
        _ = ended.recv() => {}
    }
    counts.print("done")?;
    Ok(())
}

/// Opens the connections, reports once all were answered or lost, and keeps them.
async fn crowd(target: SocketAddr, connections: usize, counts: Arc<Counts>) {
    let opening = Arc::new(Semaphore::new(OPENING));
    let (settled, mut all_settled) = mpsc::channel::<()>(1);
    let mut held = tokio::task::JoinSet::new();
    for index in 0..connections {
        let (opening, counts, settled) = (opening.clone(), counts.clone(), settled.clone());
        held.spawn(async move {
            let Ok(permit) = opening.acquire_owned().await else {
                return;
            };
            let opened = timeout(FIRST_ANSWER, open(target, source(index), &counts)).await;
            drop((permit, settled));
            match opened {
                Ok(Ok(stream)) => stay(stream, &counts).await,
                Ok(Err(_)) | Err(_) => add(&counts.lost, 1),
            }
        });
    }
    drop(settled);
    // Every task drops its sender once it is settled, so the channel's end is the news.
    let _ = all_settled.recv().await;
    // Standard output is a pipe to the script; without it nobody is there to be told.
    let _ = counts.print("held");
    while held.join_next().await.is_some() {}
}

/// Connects, asks, and waits for the first bytes of the answer.
async fn open(target: SocketAddr, source: Ipv4Addr, counts: &Counts) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(source, 0).into())?;
    let mut stream = socket.connect(target).await?;
    stream.write_all(REQUEST).await?;
    read(&mut stream, counts).await?;
    add(&counts.answered, 1);
    Ok(stream)
}

/// Reads until the other side ends it.
async fn stay(mut stream: TcpStream, counts: &Counts) {
    while read(&mut stream, counts).await.is_ok() {}
    add(&counts.closed, 1);
}

async fn read(stream: &mut TcpStream, counts: &Counts) -> io::Result<()> {
    let mut buffer = [0; 2048];
    match stream.read(&mut buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            add(&counts.chunks, 1);
            add(&counts.bytes, read as u64);
            Ok(())
        }
    }
}

fn source(index: usize) -> Ipv4Addr {
    // At most 40 sources, by the cap on connections.
    let last = u8::try_from(1 + index / PER_SOURCE).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 0, 1, last)
}

struct Counts {
    started: Instant,
    answered: AtomicU64,
    lost: AtomicU64,
    closed: AtomicU64,
    chunks: AtomicU64,
    bytes: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            answered: AtomicU64::default(),
            lost: AtomicU64::default(),
            closed: AtomicU64::default(),
            chunks: AtomicU64::default(),
            bytes: AtomicU64::default(),
        }
    }
}

impl Counts {
    fn print(&self, event: &str) -> io::Result<()> {
        let mut out = io::stdout();
        writeln!(
            out,
            r#"{{"event":"{event}","seconds":{:.3},"answered":{},"lost":{},"closed":{},"chunks":{},"bytes":{}}}"#,
            self.started.elapsed().as_secs_f64(),
            self.answered.load(Relaxed),
            self.lost.load(Relaxed),
            self.closed.load(Relaxed),
            self.chunks.load(Relaxed),
            self.bytes.load(Relaxed),
        )?;
        out.flush()
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}
