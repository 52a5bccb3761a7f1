//! The shared store, the limits that gateways keep together, and the predecessor's list, as `[store]`
//! configures them, and how all do.
//!
//! Neither is needed to serve: what is wrong with a file or an address is reported at start,
//! what is wrong with a server only later, by the tasks.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;
use thornwall_decisions::{
    clock::Clock,
    store::{
        Store,
        shared::{
            Access, AccessError, Credentials, LimitExchange, LinkStatus, Names, PredecessorList,
            SharedStore, SharedTables,
        },
    },
};
use thornwall_settings::report::Report;
use thornwall_settings::{regular_file, secret_file};
use tokio::{sync::watch, task::JoinHandle};
use toml::Spanned;

use crate::{
    config::{self, StoreKind},
    tls::{TrustError, client_config},
};

/// The database that the predecessor keeps its list in.
const PREDECESSORS_DATABASE: u8 = 2;
const MOST_PASSWORD: usize = 4096;

/// Why a Redis cannot be connected to as it is configured.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AccessError),
    /// The file of the password has none.
    #[error("{}: expected the password in its first line", .0.display())]
    NoPassword(PathBuf),
    /// The tenant gives no names of keys.
    #[error("no tenant")]
    NoTenant,
    /// The file of the password cannot be read.
    #[error("{path}: {1}", path = .0.display())]
    Password(PathBuf, io::Error),
    /// TLS cannot be used as it is configured.
    #[error(transparent)]
    Tls(#[from] TrustError),
}

/// Where the shared store and the predecessor's list are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreSettings {
    store: Option<Server>,
    predecessor: Option<Server>,
    tenant: String,
}

/// A Redis as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    url: String,
    username: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    database: u8,
}

/// State of the shared store, the shared limits and the predecessor's list, where there are any.
#[derive(Debug, Default)]
pub(crate) struct StoreStates {
    /// The shared store.
    pub store: Option<Arc<LinkStatus>>,
    /// The limits that gateways keep together.
    pub limits: Option<Arc<LinkStatus>>,
    /// The predecessor's list.
    pub predecessor: Option<Arc<LinkStatus>>,
}

/// The tasks, before they are started.
pub(crate) struct Replication {
    store: Option<SharedStore>,
    limits: Option<(Access, Arc<LinkStatus>)>,
    predecessor: Option<PredecessorList>,
    names: Names,
    clock: Arc<dyn Clock>,
}

impl StoreSettings {
    /// What the configuration says, or what is wrong with it. No file is read.
    pub(crate) fn read(spec: &config::Store, report: &mut Report) -> Option<Self> {
        let before = report.problems.len();
        check_keys(spec, report);
        let tenant = spec.tenant.get_ref().clone();
        if Names::new(&tenant).is_none() {
            let what =
                format!("`{tenant}` is no tenant; expected 1 to 64 of a-z, 0-9, `_` and `-`");
            report.problem(spec.tenant.span(), what);
        }
        for url in [&spec.url, &spec.predecessor_url].into_iter().flatten() {
            match Access::new(url.get_ref(), Credentials::default(), None, 0) {
                Ok(access) if access.is_remote() && !Access::wants_tls(url.get_ref()) => {
                    report.warnings.push(exposed(url.get_ref()));
                }
                Ok(_) => {}
                Err(error) => report.problem(url.span(), error.to_string()),
            }
        }
        let path =
            |file: &Option<Spanned<String>>| file.as_ref().map(|f| report.resolve(f.get_ref()));
        let store = spec.url.as_ref().map(|url| Server {
            url: url.get_ref().clone(),
            username: spec.username.as_ref().map(|name| name.get_ref().clone()),
            password_file: path(&spec.password_file),
            ca_file: path(&spec.ca_file),
            certificate: path(&spec.client_chain_file).zip(path(&spec.client_key_file)),
            database: 0,
        });
        let predecessor = spec.predecessor_url.as_ref().map(|url| Server {
            url: url.get_ref().clone(),
            username: None,
            password_file: path(&spec.predecessor_password_file),
            ca_file: path(&spec.ca_file),
            certificate: None,
            database: PREDECESSORS_DATABASE,
        });
        (report.problems.len() == before).then_some(Self {
            store,
            predecessor,
            tenant,
        })
    }

    /// Reads all files, and notes what is wrong with them.
    pub(crate) fn check(&self, spec: &config::Store, report: &mut Report) {
        let servers = [
            (&self.store, &spec.url),
            (&self.predecessor, &spec.predecessor_url),
        ];
        for (server, url) in servers {
            if let (Some(server), Some(url)) = (server, url)
                && let Err(error) = server.access()
            {
                report.problem(url.span(), error.to_string());
            }
        }
    }

    /// Whether gateways share their decisions.
    pub(crate) const fn is_on(&self) -> bool {
        self.store.is_some()
    }

    /// The tasks for `store`, and how they will do.
    pub(crate) fn replication(
        &self,
        store: &Store,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Replication, StoreStates), StoreError> {
        let names = Names::new(&self.tenant).ok_or(StoreError::NoTenant)?;
        let access = |server: &Option<Server>| server.as_ref().map(Server::access).transpose();
        let replication = Replication {
            store: access(&self.store)?.map(|access| {
                SharedStore::new(store.clone(), Arc::clone(clock), access, names.clone())
            }),
            limits: access(&self.store)?.map(|access| (access, Arc::default())),
            predecessor: access(&self.predecessor)?.map(|access| {
                PredecessorList::new(store.clone(), Arc::clone(clock), access, names.clone())
            }),
            names,
            clock: Arc::clone(clock),
        };
        let states = StoreStates {
            store: replication
                .store
                .as_ref()
                .map(|shared| Arc::clone(shared.status())),
            limits: replication
                .limits
                .as_ref()
                .map(|(_, standing)| Arc::clone(standing)),
            predecessor: replication
                .predecessor
                .as_ref()
                .map(|list| Arc::clone(list.status())),
        };
        Ok((replication, states))
    }
}

impl Replication {
    /// Starts the tasks `shared store`, `shared limits` and `predecessor`, as far as they are
    /// configured.
    pub(crate) fn start(
        self,
        tables: Arc<dyn SharedTables>,
        shutdown: &watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let shared = self
            .store
            .map(|task| tokio::spawn(task.run(shutdown.clone())));
        let limits = self.limits.map(|(access, standing)| {
            let exchange = LimitExchange::new(access, &self.names, self.clock, tables, standing);
            tokio::spawn(exchange.run(shutdown.clone()))
        });
        let list = self
            .predecessor
            .map(|task| tokio::spawn(task.run(shutdown.clone())));
        [shared, limits, list].into_iter().flatten().collect()
    }
}

/// The warning about an address that leads over a network without TLS.
fn exposed(url: &str) -> String {
    format!(
        "`{url}` leads over a network in clear text: whoever is on the way reads the password and \
         may decide who is blocked; rediss:// is for that"
    )
}

/// Keys that mean something only beside others.
fn check_keys(spec: &config::Store, report: &mut Report) {
    let redis_only = [
        ("url", &spec.url),
        ("username", &spec.username),
        ("password_file", &spec.password_file),
        ("client_chain_file", &spec.client_chain_file),
        ("client_key_file", &spec.client_key_file),
    ];
    if spec.kind.get_ref() == &StoreKind::Memory {
        for (name, value) in redis_only {
            if let Some(value) = value {
                let what = format!("{name} goes with kind = \"redis\"; this store is the memory");
                report.problem(value.span(), what);
            }
        }
    } else if spec.url.is_none() {
        let what = "kind = \"redis\" without url; expected one such as \"redis://127.0.0.1:6379\"";
        report.problem(spec.kind.span(), what);
    }
    let pair = (&spec.client_chain_file, &spec.client_key_file);
    if let (Some(alone), None) | (None, Some(alone)) = pair {
        let what = "client_chain_file and client_key_file belong together; expected both";
        report.problem(alone.span(), what);
    }
    if let (Some(file), None) = (&spec.predecessor_password_file, &spec.predecessor_url) {
        let what = "predecessor_password_file without predecessor_url";
        report.problem(file.span(), what);
    }
    let urls = [&spec.url, &spec.predecessor_url].into_iter().flatten();
    let any_tls = urls.into_iter().any(|url| Access::wants_tls(url.get_ref()));
    let tls_only = [
        &spec.ca_file,
        &spec.client_chain_file,
        &spec.client_key_file,
    ];
    for file in tls_only.into_iter().flatten().filter(|_| !any_tls) {
        let what = "of no use without TLS; expected an address that begins with rediss";
        report.problem(file.span(), what);
    }
}

impl Server {
    fn access(&self) -> Result<Access, StoreError> {
        let password = self.password_file.as_deref().map(password).transpose()?;
        let tls = Access::wants_tls(&self.url).then(|| {
            let certificate = self.certificate.as_ref();
            let certificate = certificate.map(|(chain, key)| (chain.as_path(), key.as_path()));
            client_config(self.ca_file.as_deref(), certificate)
        });
        let credentials = Credentials {
            username: self.username.clone(),
            password,
        };
        let access = Access::new(&self.url, credentials, tls.transpose()?, self.database);
        Ok(access?)
    }
}

/// The first line of a file.
fn password(path: &Path) -> Result<String, StoreError> {
    let text = regular_file::read_text(path);
    let text = text.map_err(|error| StoreError::Password(path.to_owned(), error))?;
    match text.lines().next() {
        Some(line) if (1..=MOST_PASSWORD).contains(&line.len()) => {
            secret_file::warn_if_public(path);
            Ok(line.to_owned())
        }
        _ => Err(StoreError::NoPassword(path.to_owned())),
    }
}
