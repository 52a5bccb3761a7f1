//! Pingora with nothing of ours in it: what the benchmark measures Thornwall against.
//!
//! One worker, one listener, one upstream, Pingora's own defaults and Thornwall's allocator. With a
//! third argument it writes an access log, buffered as the other proxies' logs are.
//!
//! ```text
//! bare_pingora 127.0.0.1:8080 127.0.0.1:9000 [access.log]
//! ```

use std::{
    env,
    error::Error,
    fs::File,
    io::{BufWriter, Write},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use mimalloc::MiMalloc;
use pingora::{
    prelude::{HttpPeer, ProxyHttp, Result, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (listen, origin, log) = match arguments.as_slice() {
        [listen, origin] => (listen, origin, None),
        [listen, origin, log] => (listen, origin, Some(log)),
        _ => return Err("usage: bare_pingora LISTEN ORIGIN [ACCESS_LOG]".into()),
    };
    let origin: SocketAddr = origin.parse()?;
    let bare = Bare {
        peer: HttpPeer::new(origin, false, String::new()),
        log: log.map(|path| AccessLog::create(path)).transpose()?,
    };

    let conf = ServerConf {
        threads: 1,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, bare);
    service.add_tcp(listen);
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
    fn create(path: &str) -> std::io::Result<Self> {
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
