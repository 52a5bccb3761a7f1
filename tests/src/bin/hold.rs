//! A crowd that stays: opens many connections, asks once on each, and counts what arrives.
//!
//! With the request of a scraper it sits in a tarpit and is dripped on; where that request is served,
//! its connections are the idle ones of a busy site.
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
    error::Error,
    future::poll_fn,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use http::Request;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The site that is asked for.
const HOST: &str = "bench.example";
/// A scraper that does not even try to look like a browser.
const AGENT: &str = "Scrapy/2.11.2 (+https://scrapy.org)";
/// Connections per source address.
const PER_SOURCE: usize = 500;
/// A process may hold 20,000 files; what is left over serves standard streams and the runtime.
const MOST_CONNECTIONS: u64 = 19_900;
/// Connections that wait for their first byte at one time, so that no listen queue overflows.
const OPENING: usize = 256;
/// A connection without an answer after this time is lost.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// Opens connections, asks once on each and stays.
#[derive(Parser)]
struct Options {
    /// Who is asked.
    target: SocketAddr,
    /// How many connections.
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MOST_CONNECTIONS))]
    connections: u64,
    /// How long they stay.
    seconds: u64,
    /// What is spoken.
    #[arg(long, value_enum, default_value_t = Over::Plain)]
    over: Over,
    /// PEM file of the authority that the other side's certificate must come from, for TLS.
    #[arg(long, required_if_eq_any = [("over", "tls"), ("over", "h2")])]
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Over {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    H2,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let way = Way {
        target: options.target,
        over: options.over,
        tls: connector(&options)?,
        counts: Counts::default(),
    };
    let way = Arc::new(way);
    let mut ended = signal(SignalKind::terminate())?;
    tokio::select! {
        () = crowd(options.connections, Arc::clone(&way)) => {}
        () = sleep(Duration::from_secs(options.seconds)) => {}
        _ = ended.recv() => {}
    }
    way.counts.print("done")?;
    Ok(())
}

/// What a TLS client of this crowd believes and offers; trusts nobody where TLS is not spoken.
fn connector(options: &Options) -> Result<TlsConnector, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &options.ca {
        roots.add(CertificateDer::from_pem_file(file)?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let protocol: &[u8] = match options.over {
        Over::H2 => b"h2",
        Over::Plain | Over::Tls => b"http/1.1",
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// How the crowd reaches its target, and what became of it.
struct Way {
    target: SocketAddr,
    over: Over,
    tls: TlsConnector,
    counts: Counts,
}

/// Opens the connections, reports once all were answered or lost, and keeps them.
async fn crowd(connections: u64, way: Arc<Way>) {
    let opening = Arc::new(Semaphore::new(OPENING));
    let (settled, mut all_settled) = mpsc::channel::<()>(1);
    let mut held = tokio::task::JoinSet::new();
    for index in 0..connections {
        let (opening, way, settled) = (opening.clone(), way.clone(), settled.clone());
        held.spawn(async move {
            let Ok(permit) = opening.acquire_owned().await else {
                return;
            };
            let opened = timeout(FIRST_ANSWER, Held::open(source(index), &way)).await;
            drop((permit, settled));
            match opened {
                Ok(Ok(held)) => held.stay(&way.counts).await,
                Ok(Err(_)) | Err(_) => add(&way.counts.lost, 1),
            }
        });
    }
    drop(settled);
    // Every task drops its sender once it is settled, so the channel's end is the news.
    let _ = all_settled.recv().await;
    // Standard output is a pipe to the script; without it nobody is there to be told.
    let _ = way.counts.print("held");
    while held.join_next().await.is_some() {}
}

fn source(index: u64) -> Ipv4Addr {
    // At most 40 sources, by the cap on connections.
    let last = usize::try_from(index).map_or(usize::MAX, |index| 1 + index / PER_SOURCE);
    Ipv4Addr::new(127, 0, 1, u8::try_from(last).unwrap_or(u8::MAX))
}

/// A connection that was answered.
enum Held {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    H2(Box<H2>),
}

/// An HTTP/2 connection, driven by a task of its own, and the answer on its one stream.
struct H2 {
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
    /// Kept because the connection ends with its last handle.
    _asks: h2::client::SendRequest<bytes::Bytes>,
    answer: h2::RecvStream,
}

type Lost = Box<dyn Error + Send + Sync>;

impl Held {
    /// Connects, asks, and waits for the first bytes of the answer.
    async fn open(source: Ipv4Addr, way: &Way) -> Result<Self, Lost> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddrV4::new(source, 0).into())?;
        let mut stream = socket.connect(way.target).await?;
        stream.set_nodelay(true)?;
        let held = if way.over == Over::Plain {
            ask(&mut stream, &way.counts).await?;
            Self::Plain(stream)
        } else {
            let name = ServerName::try_from(HOST)?;
            let mut stream = way.tls.connect(name, stream).await?;
            if way.over == Over::H2 {
                Self::H2(Box::new(H2::ask(stream, &way.counts).await?))
            } else {
                ask(&mut stream, &way.counts).await?;
                Self::Tls(Box::new(stream))
            }
        };
        add(&way.counts.answered, 1);
        Ok(held)
    }

    /// Reads until the other side ends the connection.
    async fn stay(self, counts: &Counts) {
        match self {
            Self::Plain(mut stream) => while read(&mut stream, counts).await.is_ok() {},
            Self::Tls(mut stream) => while read(&mut *stream, counts).await.is_ok() {},
            Self::H2(mut h2) => {
                while h2.read(counts).await.is_ok() {}
                // An answer may be complete; the connection is what is held.
                let _ = h2.connection.await;
            }
        }
        add(&counts.closed, 1);
    }
}

/// Asks over HTTP/1.1.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, counts: &Counts) -> io::Result<()> {
    let request = format!(
        "GET /articles/1 HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    read(stream, counts).await
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, counts: &Counts) -> io::Result<()> {
    let mut buffer = [0; 2048];
    match stream.read(&mut buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            counts.chunk(read);
            Ok(())
        }
    }
}

impl H2 {
    async fn ask(stream: TlsStream<TcpStream>, counts: &Counts) -> Result<Self, Lost> {
        let (mut asks, connection) = h2::client::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(format!("https://{HOST}/articles/1"))
            .header("user-agent", AGENT)
            .header("accept", "*/*")
            .body(())?;
        poll_fn(|context| asks.poll_ready(context)).await?;
        let (answer, _) = asks.send_request(request, true)?;
        let answer = answer.await?.into_body();
        let mut h2 = Self {
            connection,
            _asks: asks,
            answer,
        };
        h2.read(counts).await?;
        Ok(h2)
    }

    async fn read(&mut self, counts: &Counts) -> Result<(), Lost> {
        let data = self.answer.data().await.ok_or("the answer is complete")??;
        self.answer.flow_control().release_capacity(data.len())?;
        counts.chunk(data.len());
        Ok(())
    }
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
    fn chunk(&self, bytes: usize) {
        add(&self.chunks, 1);
        add(&self.bytes, bytes as u64);
    }

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
