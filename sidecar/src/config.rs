//! The configuration as it is written: `etc/sidecar.toml`.

use std::{
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thornwall_settings::{file, load::Problem};
use toml::Spanned;

mod alerts;
mod asking;
mod classifier;
mod error;
mod ladder;
mod llm;
mod reputation;

pub use alerts::{Alert, MailAddress, MailServer, Secrecy};
pub(crate) use alerts::{authorities, key, secret, secret_address};
pub use asking::Limits;
pub use classifier::{Classifier, Format};
pub use error::ConfigError;
pub use ladder::{Band, LadderSpec};
pub use llm::{Budget, Llm, Provider as LlmProvider, Uri, Vendor};
pub use reputation::{Kind, Reputation, Template};

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[server]`.
    #[serde(default)]
    pub server: Server,
    /// `[admin]`.
    #[serde(default)]
    pub admin: Admin,
    /// `[[caller]]`.
    #[serde(default)]
    pub caller: Vec<Caller>,
    /// `[ladder]`.
    #[serde(default = "ladder")]
    pub ladder: Spanned<LadderSpec>,
    /// `[band]`.
    #[serde(default = "band")]
    pub band: Spanned<Band>,
    /// `[queue]`.
    #[serde(default = "queue")]
    pub queue: Spanned<Queue>,
    /// `[[reputation]]`.
    #[serde(default)]
    pub reputation: Vec<Reputation>,
    /// `[classifier]`.
    pub classifier: Option<Classifier>,
    /// `[llm]`.
    #[serde(default)]
    pub llm: Option<Spanned<Llm>>,
    /// `[history]`.
    #[serde(default)]
    pub history: History,
    /// `[[alert]]`.
    #[serde(default)]
    pub alert: Vec<Spanned<Alert>>,
}

fn band() -> Spanned<Band> {
    Spanned::new(0..0, Band::default())
}

fn queue() -> Spanned<Queue> {
    Spanned::new(0..0, Queue::default())
}

fn ladder() -> Spanned<LadderSpec> {
    Spanned::new(0..0, LadderSpec::default())
}

/// Where gateways reach the sidecar, and where it keeps what it must not forget.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// `127.0.0.1:9181`, or `unix:/run/thornwall/sidecar.sock`.
    pub address: Spanned<String>,
    /// Folder of what survives a restart.
    pub data_dir: String,
    /// TLS with client certificates; without it only loopback and sockets of the file system serve.
    pub tls: Option<Tls>,
    /// Longest wait for calls under way after SIGTERM.
    pub shutdown_grace_secs: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            address: Spanned::new(0..0, "127.0.0.1:9181".to_owned()),
            data_dir: "data/sidecar".to_owned(),
            tls: None,
            shutdown_grace_secs: 10,
        }
    }
}

/// `[server.tls]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates, the server's own first (PEM).
    pub chain_file: String,
    /// The key of that certificate (PEM).
    pub key_file: String,
    /// Who signs callers' certificates (PEM).
    pub client_ca_file: String,
}

/// The operator's listener: `/metrics`, `/live`, `/ready`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The listener's address.
    pub address: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9182)),
        }
    }
}

/// A caller.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// The caller's name in logs.
    pub name: Spanned<String>,
    /// File with its token; one is made where there is none.
    pub token_file: String,
    /// The caller's roles.
    pub roles: Vec<Role>,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Send cases.
    Assess,
    /// Decide, take back, and label clients.
    Operate,
    /// Read assessments and the history.
    Watch,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Assess => "assess",
            Self::Operate => "operate",
            Self::Watch => "watch",
        }
    }
}

/// Cases that wait for steps that ask others.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Cases that wait at most; of more, those with the lowest scores go.
    pub max_cases: usize,
    /// Cases that are asked about at a time.
    pub workers: usize,
    /// Seconds after which a case that waits is too old to be asked about.
    pub patience_secs: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            max_cases: 10_000,
            workers: 16,
            patience_secs: 300,
        }
    }
}

impl Queue {
    fn complaint(&self) -> Option<&'static str> {
        let cases = (1..=100_000).contains(&self.max_cases);
        let workers = (1..=1_024).contains(&self.workers);
        let patience = (1..=86_400).contains(&self.patience_secs);
        (!(cases && workers && patience))
            .then_some("expected 1 to 100000 cases, 1 to 1024 workers, 1 to 86400 seconds")
    }
}

/// What is kept of cases.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// Days after which a case is forgotten.
    pub retention_days: u32,
    /// Most cases that are kept; of more, the oldest go.
    pub max_cases: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            retention_days: 30,
            max_cases: 1_000_000,
        }
    }
}

/// A configuration that was read without mistakes.
#[derive(Debug)]
pub struct ConfigFile {
    /// Folder that relative paths start from.
    pub folder: PathBuf,
    /// The configuration as written.
    pub config: Config,
}

impl ConfigFile {
    /// Reads a file; the error names every mistake on a line of its own.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |problem: Problem| ConfigError::Mistakes(problem.to_string());
        let file = file::ConfigFile::read(path).map_err(unreadable)?;
        let loaded = file.parse::<Config>(&[]);
        let mut problems = loaded.problems;
        if let Some(config) = &loaded.value {
            problems.extend(complaints(path, config));
        }
        match loaded.value {
            Some(config) if problems.is_empty() => Ok(Self {
                folder: file.folder(),
                config,
            }),
            _ => Err(ConfigError::Mistakes(file.describe(&problems))),
        }
    }

    /// A path of the configuration.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// Mistakes beyond the form.
fn complaints(file: &Path, config: &Config) -> Vec<Problem> {
    let problem = |span, what: String| Problem {
        file: file.to_path_buf(),
        span: Some(span),
        what,
    };
    let mut problems = Vec::new();
    if let Some(what) = config.ladder.get_ref().complaint() {
        problems.push(problem(config.ladder.span(), format!("`ladder`: {what}")));
    }
    if let Some(what) = config.band.get_ref().complaint() {
        problems.push(problem(config.band.span(), format!("`band`: {what}")));
    }
    if let Some(llm) = &config.llm {
        let found = llm.get_ref().complaints();
        problems.extend(found.into_iter().map(|(span, what)| {
            problem(span.unwrap_or_else(|| llm.span()), format!("`llm`: {what}"))
        }));
    }
    if let Some(what) = config.queue.get_ref().complaint() {
        problems.push(problem(config.queue.span(), format!("`queue`: {what}")));
    }
    problems.extend(services(config).map(|(span, what)| problem(span, what)));
    let address = &config.server.address;
    if let Err(what) = Endpoint::parse(address.get_ref(), config.server.tls.is_some()) {
        problems.push(problem(address.span(), format!("`server.address`: {what}")));
    }
    for (at, caller) in config.caller.iter().enumerate() {
        let name = caller.name.get_ref();
        let earlier = &config.caller[..at];
        if name.is_empty() || earlier.iter().any(|other| other.name.get_ref() == name) {
            let what = format!("`caller.name` is {name:?}; expected a name of its own");
            problems.push(problem(caller.name.span(), what));
        }
    }
    problems.extend(alerts::complaints(file, &config.alert));
    problems
}

/// What is wrong with the services that are asked, and where.
fn services(config: &Config) -> impl Iterator<Item = (Range<usize>, String)> {
    let reputation = config
        .reputation
        .iter()
        .enumerate()
        .flat_map(|(at, service)| {
            let earlier = &config.reputation[..at];
            let taken = |other: &Reputation| other.name.get_ref() == service.name.get_ref();
            let twice = earlier.iter().any(taken).then(|| {
                let what = "`reputation.name`: expected a name of its own".to_owned();
                (service.name.span(), what)
            });
            service.complaints().into_iter().chain(twice)
        });
    let classifier = config.classifier.iter().flat_map(Classifier::complaints);
    reputation.chain(classifier)
}

/// Where the sidecar listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An address of the network.
    Tcp(SocketAddr),
    /// A socket of the file system.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads an address; clear text serves this machine alone.
    pub fn parse(text: &str, tls: bool) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match (path.is_empty(), tls) {
                (true, _) => Err("expected a path after `unix:`".to_owned()),
                (false, true) => Err("a socket of the file system has no TLS".to_owned()),
                (false, false) => Ok(Self::Unix(path.into())),
            };
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("{text:?}; expected ADDRESS:PORT or unix:PATH"))?;
        if !tls && !address.ip().is_loopback() {
            return Err(format!(
                "{address} is not of this machine; expected [server.tls], or a loopback address"
            ));
        }
        Ok(Self::Tcp(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_stays_on_this_machine() {
        let check =
            |text: &str, tls, good| assert_eq!(Endpoint::parse(text, tls).is_ok(), good, "{text}");
        check("127.0.0.1:1", false, true);
        check("[::1]:1", false, true);
        check("192.0.2.1:1", false, false);
        check("0.0.0.0:1", false, false);
        check("0.0.0.0:1", true, true);
        check("unix:/run/x", false, true);
        check("unix:", false, false);
        check("unix:/run/x", true, false);
        check("localhost:1", false, false);
    }

    #[test]
    fn the_shipped_file_shows_the_defaults() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/sidecar.toml");
        let shipped = ConfigFile::read(&shipped).unwrap().config;
        let shown = |config: &Config| {
            let Server {
                address,
                data_dir,
                tls,
                shutdown_grace_secs,
            } = &config.server;
            let server = (address.get_ref(), data_dir, tls, shutdown_grace_secs);
            let Config {
                admin,
                caller,
                ladder,
                band,
                queue,
                history,
                ..
            } = config;
            let ladder = (ladder.get_ref(), band.get_ref());
            let queue = queue.get_ref();
            format!("{server:?} {admin:?} {caller:?} {ladder:?} {queue:?} {history:?}")
        };
        let defaults: Config = toml::from_str("").unwrap();
        assert_eq!(shown(&shipped), shown(&defaults));
    }
}
