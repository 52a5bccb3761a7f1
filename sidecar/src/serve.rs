//! From a checked configuration to a process that serves, and back to nothing.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use thiserror::Error;
use thornwall_decisions::clock::{Clock, ProcessTime};
use thornwall_proto::{
    MOST_MESSAGE_BYTES,
    v1::{FILE_DESCRIPTOR_SET, escalation_server::EscalationServer},
};
use thornwall_settings::{secret_file, token::TokenError};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tonic::transport::{Server, server::Router as Routes};

mod caller_limits;
mod listen;

use self::{
    caller_limits::{CallerLimits, Guarded},
    listen::Listener,
};
use crate::{
    alerts::{self, Plan},
    assess::{Assessor, Memory},
    callers::Callers,
    config::{ConfigError, ConfigFile, Endpoint},
    decision_log::DecisionLog,
    history::{FileError, History},
    identity::{self, Identity},
    llm::{Ledger, Paid},
    metrics::Metrics,
    reload::{Fixed, reload},
    service::{MOST_ASKING, MOST_STREAMS, Service, Sidecar},
    shutdown::stopped,
    step_builder::{self, StepsError},
    waiting::{Newest, Waiting},
};

/// Longest that a call may take which brought no deadline.
const LONGEST_CALL: Duration = Duration::from_secs(30);
/// Pings that show whether a quiet caller is still there.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// Calls at a time on one connection.
const MOST_CALLS: u32 = 128;
/// Largest question about health: the name of a service.
const MOST_CHECK_BYTES: usize = 1024;

/// Error: the sidecar does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A socket cannot be had.
    #[error("cannot listen on {0}: {1}; stop what uses it, or choose another address")]
    Bind(String, io::Error),
    /// The configuration, or a file that it names, cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The steps of the configuration cannot be built.
    #[error(transparent)]
    Steps(#[from] StepsError),
    /// The ledger of costs cannot be made.
    #[error("{0}")]
    Ledger(redb::Error),
    /// The service that describes the contract cannot be built.
    #[error("{0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The history cannot be used.
    #[error("{path}: {cause}", path = .0.display(), cause = .1)]
    History(PathBuf, FileError),
    /// The operating system failed.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// Metrics could not be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A caller's token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// gRPC failed.
    #[error("gRPC: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves what `path` configures until SIGTERM, SIGINT or SIGQUIT.
pub fn run(path: &Path) -> Result<(), ServeError> {
    let file = ConfigFile::read(path)?;
    let (stop, shutdown) = watch::channel(false);
    let (sidecar, history, alerts) = build(&file, shutdown)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(io_error("threads"))?;
    let alerts = alerts.start(runtime.handle());
    let served = runtime.block_on(async {
        tokio::spawn(reloads(
            path.to_path_buf(),
            Fixed::of(&file.config),
            Arc::clone(&sidecar),
        ));
        serve(&file, Arc::clone(&sidecar), &stop).await
    });
    runtime.block_on(alerts.finish());
    let grace = Duration::from_secs(file.config.server.shutdown_grace_secs);
    runtime.shutdown_timeout(grace);
    sidecar.history.stop();
    // A thread that panicked has logged it.
    let _ = history.join();
    served
}

/// Everything that can be found wrong without serving: keys of others that cannot be read as well.
pub fn check(path: &Path) -> Result<(), ServeError> {
    let file = ConfigFile::read(path)?;
    let metrics = Metrics::new()?;
    let ledger = Ledger::in_memory().map_err(ServeError::Ledger)?;
    let paid = Arc::new(Paid::new(ledger, &metrics.llm));
    if let Some(tls) = &file.config.server.tls {
        identity::identity(&file, tls)?;
    }
    Plan::build(&file, &metrics.alerts)?;
    step_builder::build(&file, &paid, &metrics)?;
    Ok(())
}

/// Everything that calls share, and the thread that writes the history.
pub(crate) fn build(
    file: &ConfigFile,
    shutdown: watch::Receiver<bool>,
) -> Result<(Arc<Sidecar>, JoinHandle<()>, alerts::Keeper), ServeError> {
    let data_dir = file.resolve(&file.config.server.data_dir);
    let mut folder = DirBuilder::new();
    let made = folder.recursive(true).mode(0o700).create(&data_dir);
    made.map_err(io_error(data_dir.display()))?;
    secret_file::warn_if_open(&data_dir);
    let callers = Callers::build(file, &data_dir)?;
    let metrics = Metrics::new()?;
    let time = ProcessTime::start();
    let path = data_dir.join("history.redb");
    let now_ms = time.now().unix_ms;
    let opened = History::open(&path, file.config.history, metrics.history.clone(), now_ms);
    let (history, inherited, thread) = opened.map_err(|error| ServeError::History(path, error))?;
    let memory = Arc::new(Memory::default());
    Sidecar::remember(&memory, &inherited);
    let path = data_dir.join("spend.redb");
    let ledger = Ledger::open(&path);
    let ledger = ledger.map_err(|error| ServeError::History(path, error.into()))?;
    let (ladder, band) = (*file.config.ladder.get_ref(), *file.config.band.get_ref());
    let paid = Arc::new(Paid::new(ledger, &metrics.llm));
    let steps = step_builder::build(file, &paid, &metrics)?;
    let assessor = Assessor::new(ladder, band, Arc::clone(&memory), steps);
    let entries = metrics.entries.clone();
    let queue = *file.config.queue.get_ref();
    let plan = Plan::build(file, &metrics.alerts)?;
    let (alerts, keeper) = alerts::open(plan, &data_dir, &metrics.alerts, time);
    let tls = file.config.server.tls.as_ref();
    let identity = tls.map(|tls| identity::identity(file, tls)).transpose()?;
    let sidecar = Sidecar {
        identity: identity.map(|identity| Arc::new(ArcSwap::from_pointee(identity))),
        callers: ArcSwap::from_pointee(callers),
        assessor: ArcSwap::from_pointee(assessor),
        memory,
        paid,
        waiting: Waiting::new(queue, metrics.waiting.clone()),
        newest: Newest::default(),
        asking: Arc::new(Semaphore::new(MOST_ASKING)),
        streams: Arc::new(Semaphore::new(MOST_STREAMS)),
        decisions: DecisionLog::new(inherited.last, inherited.decisions, entries),
        history,
        alerts,
        metrics,
        name: inherited.name,
        time,
        shutdown,
    };
    Ok((Arc::new(sidecar), thread, keeper))
}

async fn serve(
    file: &ConfigFile,
    sidecar: Arc<Sidecar>,
    stop: &watch::Sender<bool>,
) -> Result<(), ServeError> {
    let shutdown = sidecar.shutdown.clone();
    let ready = Arc::new(AtomicBool::new(false));
    let address = file.config.admin.address;
    let admin = TcpListener::bind(address).await;
    let admin = admin.map_err(|error| ServeError::Bind(address.to_string(), error))?;
    let mut workers = JoinSet::new();
    for _ in 0..file.config.queue.get_ref().workers {
        workers.spawn(Arc::clone(&sidecar).work());
    }
    let pages = pages(Arc::clone(&sidecar), Arc::clone(&ready));
    let mut stopping = shutdown.clone();
    let admin = tokio::spawn(
        axum::serve(admin, pages)
            .with_graceful_shutdown(async move { stopped(&mut stopping).await })
            .into_future(),
    );
    let tls = file.config.server.tls.as_ref();
    let endpoint = Endpoint::parse(file.config.server.address.get_ref(), tls.is_some());
    let endpoint = endpoint.map_err(ConfigError::Mistakes)?;
    let identity = sidecar.identity.clone();
    let limits = CallerLimits::new(sidecar.metrics.turned_away.clone());
    let routes = routes(sidecar, &limits).await?;
    let grpc = listen(file, (endpoint, identity), limits, routes, shutdown, &ready);
    tokio::pin!(grpc);
    tokio::select! {
        ended = &mut grpc => return ended,
        () = signalled() => {}
    }
    log::info!("stopping");
    ready.store(false, Ordering::Release);
    // There may be no receiver any more.
    let _ = stop.send(true);
    let grace = Duration::from_secs(file.config.server.shutdown_grace_secs);
    // What is asked now has been paid for.
    let ended = async {
        let _ = grpc.await;
        while workers.join_next().await.is_some() {}
    };
    if timeout(grace, ended).await.is_err() {
        log::warn!("calls were cut off after {} s", grace.as_secs());
    }
    admin.abort();
    Ok(())
}

async fn routes(sidecar: Arc<Sidecar>, limits: &Arc<CallerLimits>) -> Result<Routes, ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<EscalationServer<Service>>().await;
    let describe = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection = describe().build_v1()?;
    // What most clients ask for until they follow.
    let older_reflection = describe().build_v1alpha()?;
    let reflection = reflection.max_decoding_message_size(MOST_CHECK_BYTES);
    let older_reflection = older_reflection.max_decoding_message_size(MOST_CHECK_BYTES);
    let health_service = health_service.max_decoding_message_size(MOST_CHECK_BYTES);
    let service = EscalationServer::new(Service(Arc::clone(&sidecar)))
        .max_decoding_message_size(MOST_MESSAGE_BYTES)
        .max_encoding_message_size(MOST_MESSAGE_BYTES);
    let gate = || (Arc::clone(&sidecar), Arc::clone(limits));
    let (own, shared) = gate();
    let health_service = Guarded::open(health_service, own, shared);
    let (own, shared) = gate();
    let reflection = Guarded::closed(reflection, own, shared);
    let (own, shared) = gate();
    let older_reflection = Guarded::closed(older_reflection, own, shared);
    let (own, shared) = gate();
    let service = Guarded::closed(service, own, shared);
    Ok(Server::builder()
        .timeout(LONGEST_CALL)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PONG_WITHIN))
        .max_concurrent_streams(MOST_CALLS)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(older_reflection)
        .add_service(service))
}

async fn listen(
    file: &ConfigFile,
    (endpoint, identity): (Endpoint, Option<Identity>),
    limits: Arc<CallerLimits>,
    routes: Routes,
    mut shutdown: watch::Receiver<bool>,
    ready: &AtomicBool,
) -> Result<(), ServeError> {
    let stop = async move { stopped(&mut shutdown).await };
    let listener = match endpoint {
        Endpoint::Tcp(address) => {
            let listener = TcpListener::bind(address).await;
            let listener =
                listener.map_err(|error| ServeError::Bind(address.to_string(), error))?;
            log::info!("serving; address={address}");
            Listener::Tcp(listener, identity)
        }
        Endpoint::Unix(path) => {
            let path = file.resolve(&path.to_string_lossy());
            let listener = listen::bind_unix(&path)?;
            log::info!("serving; socket={}", path.display());
            Listener::Unix(listener)
        }
    };
    ready.store(true, Ordering::Release);
    let arriving = listen::arriving(listener, limits);
    routes.serve_with_incoming_shutdown(arriving, stop).await?;
    Ok(())
}

/// The pages of the operator's listener.
fn pages(sidecar: Arc<Sidecar>, ready: Arc<AtomicBool>) -> Router {
    let live = || async { "live\n" };
    let is_ready = || async move {
        if ready.load(Ordering::Acquire) {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
        }
    };
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(is_ready))
        .route("/metrics", get(metrics))
        .with_state(sidecar)
}

async fn metrics(State(sidecar): State<Arc<Sidecar>>) -> impl IntoResponse {
    match sidecar.metrics.render() {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string().into_bytes(),
        ),
    }
}

/// Takes a new configuration over at each SIGHUP. What the gateway does at SIGUSR1 and SIGUSR2 has no
/// meaning here, and must not end the process.
async fn reloads(path: PathBuf, fixed: Fixed, sidecar: Arc<Sidecar>) {
    let signals = (
        signal(SignalKind::hangup()),
        signal(SignalKind::user_defined1()),
        signal(SignalKind::user_defined2()),
    );
    let (Ok(mut hangup), Ok(mut reopen), Ok(mut upgrade)) = signals else {
        log::error!("signals cannot be had");
        return;
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => take_over(&path, &fixed, &sidecar),
            _ = reopen.recv() => log::info!("SIGUSR1 reopens nothing: no log file is kept open"),
            _ = upgrade.recv() => log::warn!("SIGUSR2 upgrades nothing; a restart does"),
        }
    }
}

fn take_over(path: &Path, fixed: &Fixed, sidecar: &Arc<Sidecar>) {
    let taken = reload(path, fixed, sidecar);
    let outcome = if taken.is_ok() { "taken" } else { "refused" };
    sidecar.metrics.reloads.with_label_values(&[outcome]).inc();
    match taken {
        Ok(()) => log::info!("configuration taken over; file={}", path.display()),
        Err(error) => {
            log::error!("configuration not taken over, the one before stays; {error}");
        }
    }
}

async fn signalled() {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::quit()),
    );
    let (Ok(mut term), Ok(mut int), Ok(mut quit)) = signals else {
        log::error!("signals cannot be had");
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = quit.recv() => {}
    }
}

fn io_error(what: impl ToString) -> impl FnOnce(io::Error) -> ServeError {
    move |error| ServeError::Io(what.to_string(), error)
}
