//! From a checked configuration to a process that serves, and back to nothing.

use std::{io, path::Path, sync::Arc, time::Duration};

use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
};

use crate::{
    access_log::AccessLog,
    admin::{self, Token, TokenError},
    config::ConfigFile,
    data_dir::{DataDir, DataDirError, link_secret},
    edge::{self, Edge},
    generation::{Cold, Generation, Inputs},
    metrics::Metrics,
    proxy::Proxy,
    reload::Reloader,
    robots,
    state::State,
    upstream,
};

mod drain;
mod signals;
mod sockets;

pub use sockets::Sockets;

/// Why the gateway does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A socket cannot be had.
    #[error("cannot listen on {0}: {1}; stop what uses it, or choose another address")]
    Bind(String, io::Error),
    /// The configuration is wrong; each line is one mistake.
    #[error("{0}")]
    Config(String),
    /// The data folder cannot be used, or not by this process.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
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
    let held = match Cold::read(&file) {
        Ok(cold) => Some(DataDir::hold(&cold.data_dir)?),
        Err(_) => None,
    };
    let secret = match &held {
        Some(data_dir) => link_secret(data_dir.folder())?,
        None => [0; 32],
    };
    let generation = build(&file, &metrics, &secret)?;
    for warning in &generation.warnings {
        log::warn!("{warning}");
    }
    let cold = generation.cold.clone();
    let token = Token::read_or_make(&cold.token_file)?;
    let runtime = worker_runtime(cold.threads)?;
    let sockets = runtime.block_on(async { Sockets::bind(&cold) })?;
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
    drop(held);
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

fn worker_runtime(threads: usize) -> Result<Runtime, ServeError> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("worker")
        .enable_all()
        .build()
        .map_err(ServeError::io("worker threads"))
}

async fn serve(
    state: Arc<State>,
    sockets: Sockets,
    token: Token,
    reloader: Reloader,
    stop: watch::Sender<bool>,
) -> Result<(), ServeError> {
    let mut signals = signals::Signals::catch()?;
    upstream::settle(state.generation.load().upstreams()).await;
    let robots = tokio::spawn(robots::refresh(Arc::clone(&state), reloader.watch()));
    let upstreams = tokio::spawn(upstream::tend(Arc::clone(&state), reloader.watch()));
    let admin = tokio::spawn(admin::serve(sockets.admin, Arc::clone(&state), token));
    let edge = Arc::new(edge(Arc::clone(&state)));
    let sweep = tokio::spawn(edge::sweep(Arc::clone(&edge)));
    let mut tasks = vec![robots, upstreams, admin, sweep];
    let addresses: Vec<String> = sockets.public.iter().map(|(at, _)| at.clone()).collect();
    let facts = state.generation.load().cold.listeners.clone();
    for ((address, socket), (_, facts)) in sockets.public.into_iter().zip(facts) {
        let socket = TcpListener::from_std(socket).map_err(ServeError::io(address))?;
        tasks.push(tokio::spawn(edge::listen(Arc::clone(&edge), socket, facts)));
    }
    log::info!("serving; listeners={addresses:?}");
    signals.obey(&reloader).await;
    log::info!("stopping; in_flight={}", state.in_flight.count());
    let _ = stop.send(true);
    edge.retire();
    drain::drain(&state, signals.into_stop()).await;
    for task in tasks {
        task.abort();
    }
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
        // Pingora counts tries.
        max_retries: upstream::MOST_TRIES,
        ca_file: upstream::connector_ca_file(),
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    }
}
