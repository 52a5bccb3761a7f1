//! From a checked configuration to a process that serves, and back to nothing.

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use thiserror::Error;
use thornwall_decisions::{clock::ProcessTime, decisions::Decisions};
use thornwall_settings::token::{Token, TokenError};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{
    access_log::AccessLog,
    admin::{self, Tokens},
    data_dir::{DataDir, DataDirError, link_secret},
    edge::{self, Edge},
    export::BanLogWriter,
    generation::{Cold, Generation, Inputs},
    handover::{Control, HandedOver, HandoverError, Inherited, Predecessor},
    metrics::Metrics,
    proxy::Proxy,
    reload::Reloader,
    service_manager,
    shared_store::{Replication, StoreError},
    state::State,
    tasks::{self, feeds::Feeds, sidecars},
    upstream,
};
use thornwall_settings::file::ConfigFile;

mod accepting;
mod drain;
mod keeper;
mod self_check;
mod signals;
mod sockets;

use accepting::Accepting;
use keeper::Keeper;
pub(crate) use self_check::NotServed;
use signals::Signals;
pub(crate) use sockets::Sockets;

/// Why the gateway does not serve.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// A socket cannot be had.
    #[error("cannot listen on {0}: {1}; stop what uses it, or choose another address")]
    Bind(String, io::Error),
    /// The configuration is wrong; each line is one mistake.
    #[error("{0}")]
    Config(String),
    /// The data folder cannot be used, or not by this process.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The running process cannot be replaced by this one.
    #[error("cannot take over: {0}")]
    Handover(#[from] HandoverError),
    /// Something of the system failed.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// Metrics could not be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A listener is bound but not served.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The shared store or the predecessor's list cannot be connected to as configured.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The admin token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl ServeError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io(what.into(), error)
    }
}

/// Serves what `path` configures until a signal ends it, or until another process takes over. With
/// `take_over`, this process takes over from the one that started it.
pub(crate) fn run(path: &Path, take_over: bool) -> Result<(), ServeError> {
    let predecessor = take_over.then(Predecessor::meet).transpose()?;
    let served = start(path, predecessor.as_ref());
    if let (Err(error), Some(predecessor)) = (&served, &predecessor) {
        predecessor.fail(&error.to_string());
    }
    served
}

fn start(path: &Path, predecessor: Option<&Predecessor>) -> Result<(), ServeError> {
    let Plan {
        metrics,
        generation,
        decisions,
        secret,
        held,
    } = plan(path, predecessor)?;
    let cold = generation.cold.clone();
    let tokens = tokens(&cold)?;
    let runtime = worker_runtime(cold.threads)?;
    let inside = runtime.enter();
    let mut inherited =
        predecessor.map_or_else(|| Ok(Inherited::default()), Predecessor::inherit)?;
    let data_dir = match held {
        Some(data_dir) => data_dir,
        None => DataDir::inherit(&cold.data_dir, inherited.lock()?)?,
    };
    // A client that finds the port open may send any of them.
    let signals = Signals::catch()?;
    let sockets = Sockets::open(&cold, &mut inherited)?;
    let (access_log, log_writer) = AccessLog::open(&cold.access_log, metrics.log_dropped.clone())
        .map_err(ServeError::io(cold.access_log.clone()))?;
    let (stop, shutdown) = watch::channel(false);
    let time = ProcessTime::start();
    let keeper = Keeper::start(decisions, time, &cold, metrics.store.clone())?;
    let (replication, store_states) = keeper.share(&cold, time)?;
    let stores = (keeper.store.clone(), time, store_states);
    let state = State::new(generation, metrics, access_log, stores, shutdown);
    let state = Arc::new(state);
    let reloader = Reloader::new(path, secret, Arc::clone(&state));
    let handed_over = handed_over(&state, &keeper);
    let control = open_control(&data_dir, &cold, &sockets, &mut inherited, handed_over)?;
    drop((inside, inherited));
    runtime.block_on(take_turn(&state, predecessor, &keeper))?;
    let ban_log = start_ban_log(&state, &cold)?;
    let feeds = Feeds::load(Arc::clone(&state));
    let parts = Parts {
        data_dir: &data_dir,
        predecessor,
        signals,
        sockets,
        tokens,
        reloader,
        control,
        replication,
        feeds,
    };
    let served = runtime.block_on(serve(Arc::clone(&state), parts, stop));
    runtime.shutdown_timeout(STOP_TIMEOUT);
    drop(state);
    keeper.end();
    log_writer.finish();
    ban_log.into_iter().for_each(BanLogWriter::finish);
    drop(data_dir);
    served
}

/// The socket of the command `upgrade`, with copies of all sockets for a successor.
fn open_control(
    data_dir: &DataDir,
    cold: &Cold,
    sockets: &Sockets,
    inherited: &mut Inherited,
    handed_over: Vec<Arc<dyn HandedOver>>,
) -> Result<Control, ServeError> {
    let shared = sockets.share(cold);
    let opened = shared.and_then(|shared| Control::open(data_dir, shared, inherited, handed_over));
    opened.map_err(ServeError::io("control socket"))
}

/// What a successor takes over besides the sockets.
fn handed_over(state: &Arc<State>, keeper: &Arc<Keeper>) -> Vec<Arc<dyn HandedOver>> {
    vec![
        Arc::<Keeper>::clone(keeper),
        Arc::new(Accepting(Arc::clone(state))),
    ]
}

/// What is known before anything is opened that one process may have alone.
struct Plan {
    metrics: Metrics,
    generation: Generation,
    decisions: Arc<Decisions>,
    secret: [u8; 32],
    held: Option<DataDir>,
}

fn plan(path: &Path, predecessor: Option<&Predecessor>) -> Result<Plan, ServeError> {
    // Each held client is an open file. Where the limit cannot be raised, the tarpit's share of it
    // still leaves room for people.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    use_aws_lc();
    let metrics = Metrics::new()?;
    let file = read_config(path)?;
    // Where the file is wrong, building says so, and all of it.
    let cold = Cold::read(&file).ok();
    let held = match (&cold, predecessor) {
        (Some(cold), None) => Some(DataDir::hold(&cold.data_dir)?),
        _ => None,
    };
    let secret = match &cold {
        Some(cold) => link_secret(&cold.data_dir)?,
        None => [0; 32],
    };
    let decisions = Arc::new(Decisions::default());
    let generation = build(&file, &metrics, &secret, &decisions)?;
    for warning in &generation.warnings {
        log::warn!("{warning}");
    }
    Ok(Plan {
        metrics,
        generation,
        decisions,
        secret,
        held,
    })
}

/// Pingora's connectors bring a second provider of cryptography; both sides use this one.
fn use_aws_lc() {
    // Only the first one in a process counts, and this is it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What serving takes, besides the shared state.
struct Parts<'a> {
    data_dir: &'a DataDir,
    predecessor: Option<&'a Predecessor>,
    signals: Signals,
    sockets: Sockets,
    tokens: Tokens,
    reloader: Reloader,
    control: Control,
    replication: Replication,
    feeds: Feeds,
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
    decisions: &Arc<Decisions>,
) -> Result<Generation, ServeError> {
    let inputs = Inputs {
        metrics: &metrics.filters,
        secret,
        decisions,
        previous: None,
    };
    Generation::build(file, &inputs)
        .map_err(|problems| ServeError::Config(file.describe(&problems)))
}

/// Who may use the operator's listener.
fn tokens(cold: &Cold) -> Result<Tokens, ServeError> {
    let viewer = cold.viewer_token_file.as_deref();
    Ok(Tokens {
        operator: Token::read_or_make(&cold.token_file)?,
        viewer: viewer.map(Token::read_or_make).transpose()?,
    })
}

/// Has the store write to a log for fail2ban, where there is to be one.
fn start_ban_log(state: &State, cold: &Cold) -> Result<Option<BanLogWriter>, ServeError> {
    let Some(path) = &cold.fail2ban_log else {
        return Ok(None);
    };
    let decisions = Arc::clone(state.store.decisions());
    let opened = state
        .ban_log
        .open(path, decisions, state.metrics.export.clone());
    let (watcher, writer) = opened.map_err(ServeError::io(path.display().to_string()))?;
    state.store.watch(watcher);
    Ok(Some(writer))
}

fn worker_runtime(threads: usize) -> Result<Runtime, ServeError> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("worker")
        .enable_all()
        .build()
        .map_err(ServeError::io("worker threads"))
}

/// Waits for all that can be waited for, and then for the predecessor to stop accepting: until this
/// process accepts, none does.
async fn take_turn(
    state: &State,
    predecessor: Option<&Predecessor>,
    keeper: &Keeper,
) -> Result<(), ServeError> {
    upstream::settle(state.generation.load().upstreams()).await;
    if let Some(predecessor) = predecessor {
        // Its accept loops leave nothing to take over.
        predecessor.release()?;
    }
    keeper.open()
}

async fn serve(
    state: Arc<State>,
    parts: Parts<'_>,
    stop: watch::Sender<bool>,
) -> Result<(), ServeError> {
    let mut signals = parts.signals;
    let (public, operator) = parts
        .sockets
        .addresses()
        .map_err(ServeError::io("listeners"))?;
    let edge = Arc::new(edge(Arc::clone(&state)));
    let applied = parts.reloader.watch();
    let mut tasks = vec![
        tokio::spawn(tasks::robots::keep(Arc::clone(&state), applied.clone())),
        tokio::spawn(tasks::upstreams::tend(Arc::clone(&state), applied.clone())),
        tokio::spawn(parts.feeds.refresh(applied)),
        tokio::spawn(tasks::nftables::refresh(Arc::clone(&state))),
        tokio::spawn(admin::serve(
            parts.sockets.admin,
            Arc::clone(&state),
            parts.tokens,
        )),
        tokio::spawn(edge::sweep(Arc::clone(&edge))),
    ];
    tasks.extend(follow(&state, parts.replication));
    listen(&edge, parts.sockets.public, &mut tasks)?;
    self_check::check(&public, operator, &state.arrivals, self_check::PATIENCE).await?;
    if let Some(predecessor) = parts.predecessor {
        succeed(predecessor, parts.data_dir)?;
    }
    state.serving.store(true, Ordering::Release);
    let (replaced, successor) = oneshot::channel();
    let control = tokio::spawn(parts.control.serve(state.shutdown.clone(), replaced));
    let watchdog = service_manager::feed_watchdog(state.shutdown.clone());
    tasks.push(tokio::spawn(watchdog));
    signals::report_ready(&state).await;
    log::info!("serving; listeners={public:?}");
    tokio::select! {
        () = signals.obey(&parts.reloader, &state) => {
            log::info!("stopping; in_flight={}", state.in_flight.count());
            let grace = state.generation.load().shutdown_grace;
            service_manager::stopping(grace).await;
        }
        Ok(pid) = successor => {
            log::info!("replaced; by={pid} in_flight={}", state.in_flight.count());
            service_manager::replaced(pid).await;
        }
    }
    let _ = stop.send(true);
    edge.retire();
    drain::drain(&state, &edge, signals.into_stop()).await;
    // It has a command to answer.
    let _ = control.await;
    for task in tasks {
        task.abort();
    }
    Ok(())
}

/// Starts the tasks that exchange decisions with others.
fn follow(state: &Arc<State>, replication: Replication) -> Vec<JoinHandle<()>> {
    let tables = Arc::<State>::clone(state);
    let mut tasks = replication.start(tables, &state.shutdown);
    tasks.extend(sidecars::start(state));
    tasks
}

/// Notifies the predecessor that it may go.
fn succeed(predecessor: &Predecessor, data_dir: &DataDir) -> Result<(), ServeError> {
    predecessor.serving()?;
    // It serves whatever the lock says.
    if let Err(error) = data_dir.sign() {
        log::error!("the lock still names the predecessor; error={error}");
    }
    Ok(())
}

/// Starts a listener on each public socket.
fn listen(
    edge: &Arc<Edge>,
    sockets: Vec<(String, std::net::TcpListener)>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<(), ServeError> {
    let facts = edge.listeners();
    for ((address, socket), (_, facts)) in sockets.into_iter().zip(facts) {
        let socket = TcpListener::from_std(socket).map_err(ServeError::io(address))?;
        tasks.push(tokio::spawn(edge::listen(Arc::clone(edge), socket, facts)));
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
