//! From a checked configuration to a process that serves, and back to nothing.

use std::{
    fs,
    io::{self, Read},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    access_log::AccessLog,
    admin::{self, Token, TokenError},
    config::ConfigFile,
    edge::{self, Edge, ListenerFacts},
    generation::{Cold, Generation, Inputs},
    metrics::Metrics,
    proxy::Proxy,
    reload::Reloader,
    robots,
    state::State,
};

/// Why the gateway does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A socket cannot be had.
    #[error("cannot listen on {0}: {1}; stop what uses it, or choose another address")]
    Bind(String, io::Error),
    /// The configuration is wrong; each line is one mistake.
    #[error("{0}")]
    Config(String),
    /// Something of the system failed.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// Metrics could not be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The admin token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl ServeError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io(what.into(), error)
    }
}

/// Serves what `path` configures until a signal ends it.
pub fn run(path: &Path) -> Result<(), ServeError> {
    // Each held client is an open file. Where the limit cannot be raised, the tarpit's share of it
    // still leaves room for people.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    use_aws_lc();
    let metrics = Metrics::new()?;
    let file = read_config(path)?;
    // Where the file is wrong, building says so, and all of it.
    let secret = match Cold::read(&file) {
        Ok(cold) => make_data_dir(&cold)?,
        Err(_) => [0; 32],
    };
    let generation = build(&file, &metrics, &secret)?;
    for warning in &generation.warnings {
        log::warn!("{warning}");
    }
    let cold = generation.cold.clone();
    let token = Token::read_or_make(&cold.token_file)?;
    let runtime = worker_runtime(cold.threads)?;
    let sockets = runtime.block_on(Sockets::bind(&cold))?;
    let dropped = metrics.log_dropped.clone();
    let (access_log, log_writer) = AccessLog::open(&cold.access_log, dropped)
        .map_err(ServeError::io(cold.access_log.clone()))?;
    let (stop, shutdown) = watch::channel(false);
    let state = Arc::new(State::new(generation, metrics, access_log, shutdown));
    let reloader = Reloader::new(path, secret, Arc::clone(&state));
    let served = runtime.block_on(serve(Arc::clone(&state), sockets, token, reloader, stop));
    runtime.shutdown_timeout(STOP_TIMEOUT);
    drop(state);
    log_writer.finish();
    served
}

/// Pingora's connectors bring a second provider of cryptography; both sides use this one.
fn use_aws_lc() {
    // Only the first one in a process counts, and this is it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Longest wait for tasks that are still there when everything is over.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);

fn read_config(path: &Path) -> Result<ConfigFile, ServeError> {
    ConfigFile::read(path).map_err(|problem| ServeError::Config(problem.to_string()))
}

fn build(
    file: &ConfigFile,
    metrics: &Metrics,
    secret: &[u8; 32],
) -> Result<Generation, ServeError> {
    let inputs = Inputs {
        metrics: &metrics.filters,
        secret,
        previous: None,
    };
    Generation::build(file, &inputs)
        .map_err(|problems| ServeError::Config(file.describe(&problems)))
}

/// Makes the data folder, and in it the secret that signs links.
fn make_data_dir(cold: &Cold) -> Result<[u8; 32], ServeError> {
    let folder = &cold.data_dir;
    fs::create_dir_all(folder).map_err(ServeError::io(folder.display().to_string()))?;
    let path = folder.join("links.key");
    let failed = || ServeError::io(path.display().to_string());
    let fresh = || -> io::Result<[u8; 32]> {
        let mut secret = [0; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(secret)
    };
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    match made {
        Ok(mut file) => {
            let secret = fresh().map_err(failed())?;
            io::Write::write_all(&mut file, &secret).map_err(failed())?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let kept = fs::read(&path).map_err(failed())?;
            kept.try_into().map_err(|_| {
                let what = "is not 32 bytes long; remove it to get a new one";
                failed()(io::Error::new(io::ErrorKind::InvalidData, what))
            })
        }
        Err(error) => Err(failed()(error)),
    }
}

fn worker_runtime(threads: usize) -> Result<Runtime, ServeError> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("worker")
        .enable_all()
        .build()
        .map_err(ServeError::io("worker threads"))
}

/// Pending connections that the system keeps for a listener; it caps the number itself.
const BACKLOG: u32 = 65_535;

/// Everything that is listened on, bound before anything is served.
struct Sockets {
    public: Vec<(TcpListener, ListenerFacts)>,
    admin: TcpListener,
}

impl Sockets {
    async fn bind(cold: &Cold) -> Result<Self, ServeError> {
        let listen = |address: &String| {
            let bound = address
                .parse::<SocketAddr>()
                .map_err(io::Error::other)
                .and_then(listen_on);
            bound.map_err(|error| ServeError::Bind(address.clone(), error))
        };
        let mut public = Vec::with_capacity(cold.listeners.len());
        for (address, facts) in &cold.listeners {
            public.push((listen(address)?, *facts));
        }
        Ok(Self {
            public,
            admin: listen(&cold.admin)?,
        })
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit what is set on the listening socket (socket(7), tcp(7)).
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(
    state: Arc<State>,
    sockets: Sockets,
    token: Token,
    reloader: Reloader,
    stop: watch::Sender<bool>,
) -> Result<(), ServeError> {
    let mut signals = Signals::catch()?;
    let robots = tokio::spawn(robots::refresh(Arc::clone(&state), reloader.watch()));
    let admin = tokio::spawn(admin::serve(sockets.admin, Arc::clone(&state), token));
    let edge = Arc::new(edge(Arc::clone(&state)));
    let sweep = tokio::spawn(edge::sweep(Arc::clone(&edge)));
    let mut tasks = vec![robots, admin, sweep];
    for (socket, facts) in sockets.public {
        tasks.push(tokio::spawn(edge::listen(Arc::clone(&edge), socket, facts)));
    }
    log::info!(
        "serving; listeners={:?}",
        state.generation.load().cold.listeners
    );
    signals.obey(&reloader).await;
    log::info!("stopping; in_flight={}", state.in_flight.count());
    let _ = stop.send(true);
    drain(&state, tasks).await;
    Ok(())
}

/// The public side: Pingora's proxy behind an edge of our own.
fn edge(state: Arc<State>) -> Edge {
    let proxy = http_proxy(
        &Arc::new(server_conf(&state)),
        Proxy::new(Arc::clone(&state)),
    );
    Edge::new(proxy, state)
}

fn server_conf(state: &State) -> ServerConf {
    ServerConf {
        threads: state.generation.load().cold.threads,
        max_retries: 2,
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    }
}

/// Waits until the last request has ended, at most for the grace period; what is idle or held in
/// the tarpit has ended by itself by then.
async fn drain(state: &State, tasks: Vec<JoinHandle<()>>) {
    let grace = state.generation.load().shutdown_grace;
    let last_request = async {
        while state.in_flight.count() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(grace, last_request).await.is_err() {
        log::warn!("grace period is over; cut off={}", state.in_flight.count());
    }
    for task in tasks {
        task.abort();
    }
}

/// The signals that the process obeys.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> Result<Self, ServeError> {
        let catch = |kind| signal(kind).map_err(ServeError::io("signals"));
        Ok(Self {
            hangup: catch(SignalKind::hangup())?,
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// Reloads on SIGHUP; returns on SIGTERM or SIGINT.
    async fn obey(&mut self, reloader: &Reloader) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reloader.reload().await,
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
            }
        }
    }
}
