//! How a shared store is reached: one server, the servers behind sentinels, or a cluster.

use std::{fmt, time::Duration};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, ClusterInterface},
    types::{
        Builder, ConnectHandle,
        config::{Config, Server, ServerConfig, TlsConnector},
    },
};
use rustls::ClientConfig;
use thiserror::Error as ThisError;
use tokio::{task::JoinError, time::timeout};

/// Longest wait for a connection, with TLS and the password.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for an answer, besides the time that a command is told to wait itself.
pub(super) const ANSWER: Duration = Duration::from_secs(3);

/// Schemes that are understood, and whether they mean TLS. What Valkey calls itself is the same.
const SCHEMES: [(&str, bool); 12] = [
    ("redis", false),
    ("redis-cluster", false),
    ("redis-sentinel", false),
    ("rediss", true),
    ("rediss-cluster", true),
    ("rediss-sentinel", true),
    ("valkey", false),
    ("valkey-cluster", false),
    ("valkey-sentinel", false),
    ("valkeys", true),
    ("valkeys-cluster", true),
    ("valkeys-sentinel", true),
];

/// Where a shared store is, and as whom it is entered.
#[derive(Clone)]
pub struct Access {
    config: Config,
}

/// As whom a shared store is entered.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user of an access list; the default one where absent.
    pub username: Option<String>,
    /// The password; none is asked for where absent.
    pub password: Option<String>,
}

/// Why a shared store cannot be reached as it is written.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum AccessError {
    /// Not one of the forms.
    #[error(
        "no address of a Redis or Valkey ({0}); expected redis://HOST:PORT/DATABASE, \
         redis-cluster://HOST:PORT?node=HOST:PORT or \
         redis-sentinel://HOST:PORT?node=HOST:PORT&sentinelServiceName=NAME, or rediss for TLS"
    )]
    Form(String),
    /// Credentials are seen by everybody who sees the address.
    #[error(
        "an address with credentials in it; expected the keys for a username and a password file"
    )]
    Credentials,
}

impl Access {
    /// Whether an address asks for TLS.
    pub fn wants_tls(url: &str) -> bool {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        SCHEMES
            .iter()
            .any(|(known, tls)| *tls && scheme == Some(known))
    }

    /// What `url` says. With a scheme that asks for TLS, `tls` says whom to trust. Where no database
    /// is named, it is `database`.
    pub fn new(
        url: &str,
        credentials: Credentials,
        tls: Option<ClientConfig>,
        database: u8,
    ) -> Result<Self, AccessError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| AccessError::Form("no scheme".to_owned()))?;
        if !SCHEMES.iter().any(|(known, _)| *known == scheme) {
            return Err(AccessError::Form("an unknown scheme".to_owned()));
        }
        let kind = scheme.split_once('-').map_or("", |(_, kind)| kind);
        // The library would read the system's certificates by itself for TLS.
        let plain = match kind {
            "" => format!("redis://{rest}"),
            kind => format!("redis-{kind}://{rest}"),
        };
        // An error of the library's could show what is in the address.
        let mut config = Config::from_url(&plain)
            .map_err(|error| AccessError::Form(error.kind().to_str().to_lowercase()))?;
        let named_by_sentinel = match &config.server {
            ServerConfig::Sentinel {
                username, password, ..
            } => username.is_some() || password.is_some(),
            _ => false,
        };
        if config.username.is_some() || config.password.is_some() || named_by_sentinel {
            return Err(AccessError::Credentials);
        }
        if config.server.is_clustered() {
            config.database = None;
        } else if config.database.is_none() && database > 0 {
            config.database = Some(database);
        }
        config.username = credentials.username;
        config.password = credentials.password;
        config.tls = tls.map(|tls| TlsConnector::from(tls).into());
        Ok(Self { config })
    }

    /// A connection, or one to each server of a cluster, that ends when this is dropped. It does not
    /// reconnect: that is a new session's business.
    pub(super) async fn connect(&self) -> Result<Link, Error> {
        let client = Builder::from_config(self.config.clone())
            .with_connection_config(|config| {
                config.connection_timeout = CONNECT;
                config.internal_command_timeout = ANSWER;
            })
            .with_performance_config(|config| config.default_command_timeout = ANSWER)
            .build()?;
        let task = client.connect();
        let mut link = Link { client, task };
        let connected = async {
            tokio::select! {
                connected = link.client.wait_for_connect() => connected,
                // It may have failed before anybody waited.
                ended = &mut link.task => Err(failure(ended)),
            }
        };
        let late = |_| Error::new(ErrorKind::Timeout, "no connection in time");
        timeout(CONNECT + ANSWER, connected).await.map_err(late)??;
        Ok(link)
    }
}

/// Why a connection ended before it was one.
fn failure(ended: Result<Result<(), Error>, JoinError>) -> Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => Error::new(ErrorKind::IO, "closed"),
        Err(error) => error.into(),
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever holds a password does not print it.
        f.debug_struct("Access")
            .field("server", &self.config.server)
            .finish_non_exhaustive()
    }
}

/// A connection that ends when it is dropped.
pub(super) struct Link {
    pub(super) client: Client,
    task: ConnectHandle,
}

impl Link {
    /// The servers that each have a part of the keys; one that is nameless where there is one only.
    pub(super) fn parts(&self) -> Vec<Option<Server>> {
        match self.client.cached_cluster_state() {
            Some(state) => state.unique_primary_nodes().into_iter().map(Some).collect(),
            None => vec![None],
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It may hang on a server that does not answer.
        self.task.abort();
    }
}
