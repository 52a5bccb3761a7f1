//! How a shared store is reached: one server, the servers behind sentinels, or a cluster.

use std::{borrow::Cow, fmt, net::IpAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use thiserror::Error as ThisError;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{
    DECISIONS,
    link::{ANSWER, Command, Duplex, Link, LinkError, Stream},
    random,
    wire::{self, Bounds, Value},
};

/// Longest wait for a connection, with TLS and the password.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for one server where others are named that can be asked.
const ONE_OF_MANY: Duration = Duration::from_secs(2);
/// Ports where none is named.
const PORT: u16 = 6379;
const SENTINELS_PORT: u16 = 26_379;
/// Servers of a cluster that are known by address; 1,000 is what Redis's own documents go up to.
pub(super) const MOST_NODES: usize = 1024;

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
    kind: Kind,
    /// The servers or sentinels that are named.
    named: Vec<Address>,
    database: Option<u8>,
    credentials: Credentials,
    tls: Option<Arc<ClientConfig>>,
}

/// What is found where an address leads.
#[derive(Debug, Clone)]
enum Kind {
    Cluster,
    /// Sentinels, which know where the server of this name is.
    Sentinels(String),
    Single,
}

/// A host by name or number, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
}

/// As whom a shared store is entered.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user of an access list; the default one where absent.
    pub username: Option<String>,
    /// The password; none is asked for where absent.
    pub password: Option<String>,
}

/// Error: the access to a shared store is configured wrongly.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum AccessError {
    /// Not one of the forms.
    #[error(
        "no address of a Redis or Valkey ({0}); expected redis://HOST:PORT/DATABASE, \
         redis-cluster://HOST:PORT?node=HOST:PORT or \
         redis-sentinel://HOST:PORT?node=HOST:PORT&sentinelServiceName=NAME, or rediss for TLS"
    )]
    Form(String),
    /// Credentials in the address, where all who see the address see them.
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

    /// Parses `url`. With a scheme that asks for TLS, `tls` decides which certificates are trusted. Where no database
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
        // The errors of the library show nothing of the address.
        let url = Url::parse(&format!("redis://{rest}"))
            .map_err(|error| AccessError::Form(error.to_string()))?;
        let query = |name: &str| url.query_pairs().find(|(key, _)| key == name);
        let of_sentinels = ["sentinelUsername", "sentinelPassword"];
        if !url.username().is_empty()
            || url.password().is_some()
            || of_sentinels.iter().any(|name| query(name).is_some())
        {
            return Err(AccessError::Credentials);
        }
        let (kind, port) = Kind::of(scheme, query("sentinelServiceName"))?;
        if matches!(kind, Kind::Single) && query("node").is_some() {
            return Err(form("node with a scheme of one server"));
        }
        let mut named = vec![Address {
            host: host(&url).ok_or_else(|| form("no host"))?,
            port: url.port().unwrap_or(port),
        }];
        for (_, node) in url.query_pairs().filter(|(key, _)| key == "node") {
            named.push(Address::parse(&node).ok_or_else(|| form("node is not HOST:PORT"))?);
        }
        let named_database = match url.path().trim_start_matches('/') {
            "" => None,
            number => Some(
                number
                    .parse()
                    .map_err(|_| form("no number of a database"))?,
            ),
        };
        let database = match kind {
            Kind::Cluster => None,
            _ => Some(named_database.unwrap_or(database)).filter(|number| *number > 0),
        };
        Ok(Self {
            kind,
            named,
            database,
            credentials,
            tls: tls.map(Arc::new),
        })
    }

    /// Whether it leads beyond this machine.
    pub fn is_remote(&self) -> bool {
        let is_local = |address: &Address| {
            let number = address.host.parse::<IpAddr>();
            address.host == "localhost" || number.is_ok_and(|number| number.is_loopback())
        };
        !self.named.iter().all(is_local)
    }

    /// A connection, or one to each server of a cluster, that ends when this is dropped. It does not
    /// reconnect: that is a new session's business. No answer is read beyond `bounds`.
    pub(super) async fn connect(&self, bounds: Bounds) -> Result<Link, LinkError> {
        let mut last = LinkError::Form("no server is named");
        // Beginning anywhere: one that knows no better is not asked first by each session.
        let (before, from) = self.named.split_at(self.somewhere());
        for address in from.iter().chain(before) {
            match timeout(self.patience(), self.open(address, bounds)).await {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) => last = error,
                Err(_) => last = LinkError::Timeout,
            }
        }
        Err(last)
    }

    fn somewhere(&self) -> usize {
        let number = usize::try_from(random()).unwrap_or_default();
        number % self.named.len().max(1)
    }

    /// Longest wait for a connection: several servers may hang at a time, as where a part of the network
    /// is gone.
    fn patience(&self) -> Duration {
        match self.named.len() {
            0 | 1 => CONNECT + ANSWER,
            _ => ONE_OF_MANY,
        }
    }

    async fn open(&self, address: &Address, bounds: Bounds) -> Result<Link, LinkError> {
        match &self.kind {
            Kind::Single => self.single(address, bounds).await,
            Kind::Cluster => self.cluster(address, bounds).await,
            Kind::Sentinels(name) => self.master(address, name, bounds).await,
        }
    }

    async fn single(&self, address: &Address, bounds: Bounds) -> Result<Link, LinkError> {
        let mut link = Link::new(self.clone(), bounds, vec![address.clone()], vec![]);
        link.begin().await?;
        Ok(link)
    }

    /// The server that a sentinel names as the master, if that server confirms it.
    async fn master(&self, at: &Address, name: &str, bounds: Bounds) -> Result<Link, LinkError> {
        let strange = || LinkError::Form("a sentinel that does not know the server");
        let sentinel = Self {
            kind: Kind::Single,
            database: None,
            credentials: Credentials::default(),
            ..self.clone()
        };
        let mut link = Link::new(sentinel, bounds, vec![at.clone()], vec![]);
        let question = Command::new("SENTINEL").word("GET-MASTER-ADDR-BY-NAME");
        let answer = link.ask(question.word(name)).await?;
        let parts = answer.list().ok_or_else(strange)?;
        let mut parts = parts.into_iter().filter_map(Value::text);
        let (host, port) = parts.next().zip(parts.next()).ok_or_else(strange)?;
        let address = Address::of(host, &port).ok_or_else(strange)?;
        let mut link = self.single(&address, bounds).await?;
        let role = link.ask(Command::new("ROLE")).await?.list();
        let role = role.and_then(|parts| parts.into_iter().next()?.text());
        match role.as_deref() {
            Some(b"master") => Ok(link),
            _ => Err(LinkError::Form(
                "the server that a sentinel names is no master",
            )),
        }
    }

    /// The servers of a cluster, as one of them lists them.
    async fn cluster(&self, at: &Address, bounds: Bounds) -> Result<Link, LinkError> {
        let strange = || LinkError::Form("no parts of a cluster");
        // Those of a large cluster are more than some ask for: a part of them would send commands astray.
        let mut link = Link::new(self.clone(), DECISIONS, vec![at.clone()], vec![]);
        let answer = link.ask(Command::new("CLUSTER").word("SLOTS")).await?;
        if answer.is_cut() {
            return Err(LinkError::Bounds);
        }
        let (mut nodes, mut slots) = (Vec::new(), Vec::new());
        for part in answer.list().ok_or_else(strange)? {
            let (first, last, node) = part_of_cluster(part, at).ok_or_else(strange)?;
            let known = nodes.iter().position(|known| *known == node);
            let number = known.unwrap_or(nodes.len());
            if known.is_none() {
                nodes.push(node);
            }
            if nodes.len() > MOST_NODES {
                return Err(LinkError::Bounds);
            }
            slots.push((first, last, number));
        }
        if nodes.is_empty() {
            return Err(strange());
        }
        Ok(Link::new(self.clone(), bounds, nodes, slots))
    }

    /// A connection to one server, entered.
    pub(super) async fn enter(
        &self,
        address: &Address,
        bounds: Bounds,
    ) -> Result<Stream, LinkError> {
        let dialled = timeout(CONNECT, self.dial(address)).await;
        let mut stream = BufReader::new(dialled.map_err(|_| LinkError::Timeout)??);
        let Credentials { username, password } = &self.credentials;
        if let Some(password) = password {
            let auth = username.iter().fold(Command::new("AUTH"), Command::word);
            let auth = auth.word(password);
            if let Value::Failure(words) = say(&mut stream, &auth, bounds).await? {
                return Err(not_entered(&words));
            }
        }
        if let Some(database) = self.database {
            let select = Command::new("SELECT").word(database.to_string());
            say(&mut stream, &select, bounds).await?.or_refusal()?;
        }
        Ok(stream)
    }

    async fn dial(&self, address: &Address) -> Result<Box<dyn Duplex>, LinkError> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| LinkError::Form("no name for TLS"))?;
        let tls = TlsConnector::from(Arc::clone(tls));
        let stream = tls.connect(name, stream).await.map_err(LinkError::Tls)?;
        Ok(Box::new(stream))
    }
}

impl Kind {
    /// What a scheme means, and the port where none is named.
    fn of(scheme: &str, service: Option<Pair<'_>>) -> Result<(Self, u16), AccessError> {
        match scheme.split_once('-').map_or("", |(_, kind)| kind) {
            "" => Ok((Self::Single, PORT)),
            "cluster" => Ok((Self::Cluster, PORT)),
            _ => {
                let (_, name) = service.ok_or_else(|| form("no sentinelServiceName"))?;
                Ok((Self::Sentinels(name.into_owned()), SENTINELS_PORT))
            }
        }
    }
}

/// A key of a query and its value.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

fn form(what: &str) -> AccessError {
    AccessError::Form(what.to_owned())
}

fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain("") => None,
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

impl Address {
    /// `HOST:PORT`, where numbers of IPv6 may be in brackets.
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self::of(host.into(), port.as_bytes())
    }

    /// What this server means by an address: without a host, its own.
    pub(super) fn naming(&self, text: &str) -> Option<Self> {
        match text.strip_prefix(':') {
            Some(port) => Self::of(self.host.clone().into(), port.as_bytes()),
            None => Self::parse(text),
        }
    }

    fn of(host: Vec<u8>, port: &[u8]) -> Option<Self> {
        Some(Self {
            host: String::from_utf8(host)
                .ok()
                .filter(|host| !host.is_empty())?,
            port: str::from_utf8(port).ok()?.parse().ok()?,
        })
    }
}

/// First and last slot of a part, and its server; a server without a host has that of the answering one.
fn part_of_cluster(part: Value, teller: &Address) -> Option<(u16, u16, Address)> {
    let mut parts = part.list()?.into_iter();
    let mut number = || match parts.next()? {
        Value::Number(number) => u16::try_from(number).ok(),
        _ => None,
    };
    let (first, last) = (number()?, number()?);
    let mut node = parts.next()?.list()?.into_iter();
    let (host, Value::Number(port)) = (node.next()?.text(), node.next()?) else {
        return None;
    };
    let host = host.and_then(|host| String::from_utf8(host).ok());
    let host = host.filter(|host| !matches!(host.as_str(), "" | "?"));
    let address = Address {
        host: host.unwrap_or_else(|| teller.host.clone()),
        port: u16::try_from(port).ok()?,
    };
    Some((first, last, address))
}

/// Error of a login. Unknown text may repeat the password, and is not shown.
fn not_entered(words: &str) -> LinkError {
    const FULL: &str = "ERR max number of clients reached";
    match words.split(' ').next().unwrap_or_default() {
        _ if words == FULL => LinkError::Refused(FULL.to_owned()),
        kind @ ("DENIED" | "LOADING") => LinkError::Refused(kind.to_owned()),
        kind @ ("ERR" | "NOAUTH" | "NOPERM" | "WRONGPASS") => LinkError::Auth(kind.to_owned()),
        _ => LinkError::Auth("it does not take the password".to_owned()),
    }
}

/// Sends one command on a new connection.
async fn say(stream: &mut Stream, command: &Command, bounds: Bounds) -> Result<Value, LinkError> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(wire::read(stream, bounds).await?)
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever holds a password does not print it.
        f.debug_struct("Access")
            .field("kind", &self.kind)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}
