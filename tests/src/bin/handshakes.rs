//! A client that does nothing but TLS handshakes, and counts them.
//!
//! ```text
//! handshakes 127.0.0.1:8443 --name shop.example --count 20000
//! handshakes 127.0.0.1:8443 --name shop.example --count 20000 --resume --tls 1.2
//! handshakes 127.0.0.1:8443 --name shop.example --distinct-clients 10000
//! ```
//!
//! Each handshake has a connection of its own, which the client ends in order, so that the server
//! has done all of its work for what is counted. With `--resume` each of the connections at a time
//! is a client that first makes one full handshake, which is not counted. With
//! `--distinct-clients` that many clients make a full handshake each and then resume it once.
//! Prints one JSON line. Handshakes are checked, the certificate's chain is not: what is measured
//! is the server.
#![allow(
    clippy::disallowed_methods,
    reason = "measuring is what this program is for"
)]

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, SignatureScheme,
    client::Resumption,
    crypto::{
        CryptoProvider, aws_lc_rs,
        aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768},
    },
    pki_types::ServerName,
};
use thornwall_tests::tls_client::{OneSession, Watching};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Most handshakes of one run: more would tell nothing new.
const MOST: u32 = 1_000_000;
/// Most connections at one time, within what a process may open.
const MOST_AT_ONCE: u32 = 4096;
/// A handshake that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
struct Arguments {
    /// Address and port of the server
    address: SocketAddr,
    /// Server name to send
    #[arg(long, default_value = "bench.example")]
    name: String,
    /// Handshakes to make
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    count: u32,
    /// Connections at one time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_AT_ONCE)))]
    at_once: u32,
    /// Protocol version
    #[arg(long, value_enum, default_value_t = Version::Tls13)]
    tls: Version,
    /// Signatures that the client takes, for servers with several certificates
    #[arg(long, value_enum, default_value_t = Signature::Any)]
    signature: Signature,
    /// Key exchange that the client offers
    #[arg(long, value_enum, default_value_t = Group::Any)]
    group: Group,
    /// Resume sessions instead of making full handshakes
    #[arg(long, conflicts_with = "distinct_clients")]
    resume: bool,
    /// So many clients make a full handshake each, then resume it once; instead of --count
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    distinct_clients: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Signature {
    Any,
    Ecdsa,
    Rsa,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Group {
    /// X25519MLKEM768 first, then the curves
    Any,
    X25519,
    #[value(name = "x25519mlkem768")]
    X25519Mlkem768,
    #[value(name = "p256")]
    P256,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let template = client_config(&arguments)?;
    let name = ServerName::try_from(arguments.name.clone())?;
    let client = |resuming: bool| {
        let mut config = template.clone();
        config.resumption = if resuming {
            Resumption::store(Arc::new(OneSession::default()))
        } else {
            Resumption::disabled()
        };
        Arc::new(Client {
            address: arguments.address,
            name: name.clone(),
            connector: TlsConnector::from(Arc::new(config)),
        })
    };
    let at_once = arguments.at_once;
    let (clients, rounds) = match arguments.distinct_clients {
        Some(clients) => (clients, 1),
        None => (at_once.min(arguments.count), u32::MAX),
    };
    let resuming = arguments.resume || arguments.distinct_clients.is_some();
    let clients: Vec<Arc<Client>> = (0..clients).map(|_| client(resuming)).collect();
    let total = arguments.distinct_clients.unwrap_or(arguments.count);

    let prepared = if resuming {
        run(&clients, 1, u32::MAX, at_once).await
    } else {
        Outcome::default()
    };
    let counted = run(&clients, rounds, total, at_once).await;
    report(&prepared, &counted)?;
    Ok(())
}

fn client_config(arguments: &Arguments) -> Result<ClientConfig, rustls::Error> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = match arguments.group {
        Group::Any => vec![X25519MLKEM768, X25519, SECP256R1],
        Group::X25519 => vec![X25519],
        Group::X25519Mlkem768 => vec![X25519MLKEM768],
        Group::P256 => vec![SECP256R1],
    };
    let provider = Arc::new(provider);
    let version = match arguments.tls {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    };
    let (chain, _) = Watching::new(schemes(&provider, arguments.signature));
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(chain))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn schemes(provider: &CryptoProvider, wanted: Signature) -> Vec<SignatureScheme> {
    let mut schemes = provider
        .signature_verification_algorithms
        .supported_schemes();
    schemes.retain(|scheme| {
        let rsa = format!("{scheme:?}").starts_with("RSA");
        match wanted {
            Signature::Any => true,
            Signature::Ecdsa => !rsa,
            Signature::Rsa => rsa,
        }
    });
    schemes
}

/// What became of the handshakes of one phase.
#[derive(Debug, Default)]
struct Outcome {
    done: u32,
    failures: u32,
    resumed: u32,
    tls13: u32,
    took: Duration,
    first_error: Option<String>,
}

/// Lets each client make up to `rounds` handshakes one after the other, `at_once` clients at a time,
/// until `total` are made.
async fn run(clients: &[Arc<Client>], rounds: u32, total: u32, at_once: u32) -> Outcome {
    let started = Instant::now();
    let places = Arc::new(Semaphore::new(at_once as usize));
    let left = Arc::new(AtomicU32::new(total));
    let mut tasks = JoinSet::new();
    for client in clients {
        let (client, places, left) = (Arc::clone(client), Arc::clone(&places), Arc::clone(&left));
        tasks.spawn(async move {
            let _place = places.acquire_owned().await;
            client.handshakes(rounds, &left).await
        });
    }
    let mut outcome = Outcome::default();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(one) => outcome.add(one),
            Err(_) => outcome.failures += 1,
        }
    }
    outcome.took = started.elapsed();
    outcome
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.failures += other.failures;
        self.resumed += other.resumed;
        self.tls13 += other.tls13;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

struct Client {
    address: SocketAddr,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Client {
    async fn handshakes(&self, rounds: u32, left: &AtomicU32) -> Outcome {
        let mut outcome = Outcome::default();
        for _ in 0..rounds {
            let taken = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            if taken.is_err() {
                break;
            }
            let made = timeout(LONGEST, self.handshake()).await;
            match made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((kind, version)) => {
                    outcome.done += 1;
                    outcome.resumed += u32::from(kind == Some(HandshakeKind::Resumed));
                    outcome.tls13 += u32::from(version == Some(ProtocolVersion::TLSv1_3));
                }
                Err(error) => {
                    outcome.failures += 1;
                    outcome.first_error.get_or_insert_with(|| error.to_string());
                }
            }
        }
        outcome
    }

    /// One handshake on a connection of its own, up to the server's last byte: the tickets of
    /// TLS 1.3 come after the handshake.
    async fn handshake(&self) -> io::Result<(Option<HandshakeKind>, Option<ProtocolVersion>)> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let mut stream = self.connector.connect(self.name.clone(), tcp).await?;
        let (_, session) = stream.get_ref();
        let made = (session.handshake_kind(), session.protocol_version());
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        // A server that ends the connection without a word has still made the handshake.
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        Ok(made)
    }
}

fn report(prepared: &Outcome, counted: &Outcome) -> io::Result<()> {
    let line = serde_json::json!({
        "count": counted.done,
        "failures": counted.failures,
        "resumed": counted.resumed,
        "tls13": counted.tls13,
        "wall_secs": counted.took.as_secs_f64(),
        "prepared": prepared.done,
        "prepare_failures": prepared.failures,
        "prepare_secs": prepared.took.as_secs_f64(),
        "first_error": prepared.first_error.as_ref().or(counted.first_error.as_ref()),
    });
    writeln!(io::stdout(), "{line}")
}
