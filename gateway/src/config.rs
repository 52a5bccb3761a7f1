//! The configuration as it is written: types, defaults and the places of everything.
//!
//! Only keys that work are here. `generation` turns it into something that serves.

use std::collections::BTreeMap;

use serde::Deserialize;
use thornwall_filters::pipeline::PipelineSpec;
use thornwall_settings::{
    file::ConfigFile,
    load::{Loaded, StillToCome},
};
use toml::Spanned;

mod escalation;
mod export;
mod feed;
mod limits;
mod privacy;
mod store;
mod tls;
mod upstream;

pub use escalation::Escalation;
pub use export::Export;
pub use feed::{Feed, FeedFormat};
pub use limits::Limits;
pub use privacy::{Privacy, PrivacyMode};
pub use store::{NeverBlock, Store, StoreKind};
pub use tls::{Certificate, ClientCertificate, ClientCertificateMode, Hsts};
pub use upstream::{
    Balance, Ejection, HealthCheck, HttpVersion, Queue, Retry, StickyCookie, Upstream,
    UpstreamServer, UpstreamTls,
};

/// Keys of the agreed design that no part of this version serves yet.
const STILL_TO_COME: StillToCome = &[("challenge", "challenges")];

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
    /// `[access_log]`.
    #[serde(default)]
    pub access_log: AccessLog,
    /// `[client_address]`.
    #[serde(default)]
    pub client_address: ClientAddress,
    /// `[blocklist]`.
    #[serde(default)]
    pub blocklist: Blocklist,
    /// `[never_block]`.
    #[serde(default)]
    pub never_block: NeverBlock,
    /// `[[feed]]`.
    #[serde(default)]
    pub feed: Vec<Feed>,
    /// `[export]`.
    #[serde(default)]
    pub export: Export,
    /// `[privacy]`.
    #[serde(default)]
    pub privacy: Privacy,
    /// `[store]`.
    #[serde(default)]
    pub store: Store,
    /// `[escalation]`.
    pub escalation: Option<Escalation>,
    /// `[limits]`.
    #[serde(default)]
    pub limits: Limits,
    /// `[tarpit]`.
    #[serde(default)]
    pub tarpit: Tarpit,
    /// `[[listener]]`.
    #[serde(default)]
    pub listener: Vec<Listener>,
    /// `[[certificate]]`.
    #[serde(default)]
    pub certificate: Vec<Certificate>,
    /// `[[upstream]]`.
    #[serde(default)]
    pub upstream: Vec<Upstream>,
    /// `[[site]]`.
    #[serde(default)]
    pub site: Vec<Site>,
    /// `[[pipeline]]`.
    #[serde(default)]
    pub pipeline: Vec<PipelineSpec>,
    /// Whether the last pipeline is not from the file but the built-in `standard`.
    #[serde(skip)]
    pub standard_added: bool,
}

/// The process.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Worker threads; 0 means one per core.
    pub threads: Spanned<usize>,
    /// Folder of what survives a restart.
    pub data_dir: String,
    /// Longest wait for running requests after SIGTERM.
    pub shutdown_grace_secs: u64,
    /// Folder of models and their cards.
    pub models_dir: Option<String>,
    /// ONNX Runtime's shared library.
    pub onnxruntime: Option<String>,
    /// Recent decisions that `thornwall explain` can look up.
    pub recent_decisions: Spanned<usize>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            threads: Spanned::new(0..0, 0),
            data_dir: "data".to_owned(),
            shutdown_grace_secs: 20,
            models_dir: None,
            onnxruntime: None,
            recent_decisions: Spanned::new(0..0, 4096),
        }
    }
}

/// The operator's own listener.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port; never a public one.
    pub address: Spanned<String>,
    /// File of the operator's token; in `data_dir` where absent.
    pub token_file: Option<String>,
    /// File of the token of those who may look, and change nothing.
    pub viewer_token_file: Option<String>,
    /// Names that it is asked for by, besides addresses and `localhost`.
    pub hosts: Vec<Spanned<String>>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: Spanned::new(0..0, "127.0.0.1:9180".to_owned()),
            token_file: None,
            viewer_token_file: None,
            hosts: Vec::new(),
        }
    }
}

/// `[access_log]`: one structured line per request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `stdout`, `off`, or a file that is appended to.
    pub file: String,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            file: "stdout".to_owned(),
        }
    }
}

/// Who the client is when a proxy or CDN stands in front.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientAddress {
    /// Addresses and networks that are believed about their client.
    pub trusted_proxies: Vec<Spanned<String>>,
    /// The header that they say it in.
    pub header: Spanned<String>,
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            header: Spanned::new(0..0, "x-forwarded-for".to_owned()),
        }
    }
}

/// How many are held in slow streams, and how slow those are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tarpit {
    /// Connections held at once, by all sites.
    pub max_connections: usize,
    /// Connections held at once for one client.
    pub max_per_client: usize,
    /// Mean time between two chunks.
    pub interval_ms: Spanned<u64>,
    /// Longest time that a connection is held.
    pub max_secs: Spanned<u64>,
}

impl Default for Tarpit {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_per_client: 16,
            interval_ms: Spanned::new(0..0, 5000),
            max_secs: Spanned::new(0..0, 600),
        }
    }
}

/// A public socket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port.
    pub address: Spanned<String>,
    /// Whether clients speak TLS here, with HTTP/2 for those that can.
    #[serde(default)]
    pub tls: bool,
    /// Whether every connection starts with a PROXY header of a trusted proxy.
    #[serde(default)]
    pub proxy_protocol: bool,
}

/// Addresses that get no connection at all, in the whole deployment.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Blocklist {
    /// Files with an address or network per line.
    pub files: Vec<Spanned<String>>,
}

/// Hosts that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The label of metrics and logs.
    pub name: Spanned<String>,
    /// Names, `*.` wildcards, or `*` alone for all that no other site serves.
    pub hosts: Spanned<Vec<String>>,
    /// Name of the origin.
    pub upstream: Spanned<String>,
    /// Name of the pipeline.
    #[serde(default = "default_pipeline")]
    pub pipeline: Spanned<String>,
    /// Largest request body; 0 for any.
    #[serde(default = "default_max_body")]
    pub max_body_bytes: u64,
    /// Whether plain HTTP is answered with a redirect to HTTPS.
    #[serde(default)]
    pub redirect_to_https: bool,
    /// Has browsers come back over HTTPS only.
    pub hsts: Option<Hsts>,
    /// Certificates that clients show.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether addresses in answers that name the origin itself are made the public ones.
    #[serde(default = "yes")]
    pub rewrite_redirects: bool,
    /// Domains of cookies, and what stands for them.
    pub cookie_domain: Option<Spanned<BTreeMap<String, String>>>,
    /// Beginnings of cookies' paths, and what stands for them.
    pub cookie_path: Option<Spanned<BTreeMap<String, String>>>,
}

const fn yes() -> bool {
    true
}

/// Room for most uploads; a request without a body limit is a disk of the origin's.
const fn default_max_body() -> u64 {
    128 << 20
}

/// The pipeline of sites that name none.
pub const STANDARD: &str = "standard";

fn default_pipeline() -> Spanned<String> {
    Spanned::new(0..0, STANDARD.to_owned())
}

impl Config {
    /// Parses a file, and collects all its mistakes.
    pub fn parse(file: &ConfigFile) -> Loaded<Self> {
        file.parse(STILL_TO_COME)
    }

    /// Adds what a short file leaves out: the catch-all site of a lone upstream, and the pipeline
    /// `standard` as it is shipped.
    pub fn complete(&mut self) {
        if let ([], [upstream]) = (self.site.as_slice(), self.upstream.as_slice()) {
            let name = upstream.name.clone();
            self.site.push(Site {
                hosts: Spanned::new(name.span(), vec!["*".to_owned()]),
                upstream: name.clone(),
                pipeline: default_pipeline(),
                max_body_bytes: default_max_body(),
                redirect_to_https: false,
                hsts: None,
                client_certificate: None,
                rewrite_redirects: true,
                cookie_domain: None,
                cookie_path: None,
                name,
            });
        }
        let wanted = |site: &Site| site.pipeline.get_ref() == STANDARD;
        let given = |spec: &PipelineSpec| spec.name.get_ref() == STANDARD;
        if self.site.iter().any(wanted) && !self.pipeline.iter().any(given) {
            self.pipeline.push(standard_pipeline());
            self.standard_added = true;
        }
    }
}

/// The pipeline that `etc/thornwall.toml` shows.
const STANDARD_PIPELINE: &str = include_str!("config/standard.toml");

fn standard_pipeline() -> PipelineSpec {
    let file: Config = toml::from_str(STANDARD_PIPELINE).expect("a test parses the built-in text");
    file.pipeline
        .into_iter()
        .next()
        .expect("a test finds the pipeline in the built-in text")
}

#[cfg(test)]
mod tests;
