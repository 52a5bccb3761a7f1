//! Pingora with nothing of ours in it: what the benchmark measures Thornwall against.
//!
//! One worker, one listener, one upstream, Pingora's own defaults and Thornwall's allocator. Over TLS
//! it speaks HTTP/2 with those who can. Its access log is buffered as the other proxies' logs are.

use std::{
    error::Error,
    fs::File,
    io::{BufWriter, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use clap::Parser;
use mimalloc::MiMalloc;
use pingora::{
    listeners::tls::TlsSettings,
    prelude::{HttpPeer, ProxyHttp, Result, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Proxies everything to one origin.
#[derive(Parser)]
struct Options {
    /// Address to listen on.
    listen: String,
    /// Address of the origin, which speaks plain HTTP.
    origin: SocketAddr,
    /// File of a line per request.
    #[arg(long)]
    access_log: Option<PathBuf>,
    /// PEM file of the certificate and its chain: the listener speaks TLS.
    #[arg(long, requires = "key")]
    chain: Option<String>,
    /// PEM file of the certificate's key.
    #[arg(long, requires = "chain")]
    key: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let bare = Bare {
        peer: HttpPeer::new(options.origin, false, String::new()),
        log: options
            .access_log
            .as_deref()
            .map(AccessLog::create)
            .transpose()?,
    };

    let conf = ServerConf {
        threads: 1,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, bare);
    if let (Some(chain), Some(key)) = (&options.chain, &options.key) {
        let mut tls = TlsSettings::intermediate(chain, key)?;
        tls.enable_h2();
        service.add_tls_with_settings(&options.listen, None, tls);
    } else {
        service.add_tcp(&options.listen);
    }
    server.add_service(service);
    server.run_forever()
}

struct Bare {
    peer: HttpPeer,
    log: Option<AccessLog>,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }

    async fn logging(
        &self,
        session: &mut Session,
        _error: Option<&pingora::Error>,
        _ctx: &mut Self::CTX,
    ) {
        if let Some(log) = &self.log {
            log.write(session);
        }
    }
}

/// One line per request through a buffer of 64 KiB, the size that nginx is given too.
struct AccessLog(Mutex<BufWriter<File>>);

impl AccessLog {
    fn create(path: &Path) -> std::io::Result<Self> {
        let file = BufWriter::with_capacity(64 * 1024, File::create(path)?);
        Ok(Self(Mutex::new(file)))
    }

    fn write(&self, session: &Session) {
        let request = session.req_header();
        let client = session.client_addr().map(ToString::to_string);
        let agent = request.headers.get("user-agent");
        let status = session.response_written().map(|answer| answer.status);
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the benchmark; the proxy has no one to tell.
        let _ = writeln!(
            file,
            "{} {} {} {} {:?}",
            client.as_deref().unwrap_or("-"),
            request.method,
            request.uri,
            status.map_or(0, |status| status.as_u16()),
            agent
        );
    }
}
