//! What is kept of a decision: the access line and the answer of `explain` are the same record.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, header};
use jiff::Timestamp;
use pingora::proxy::Session;
use serde::{Deserialize, Serialize};
use thornwall_detectors::signal::{Reason, Signal};
use thornwall_filters::{escalation::CaseId, pipeline::Judgement};

use crate::{
    escalate::{Course, Label},
    exchange::{Exchange, answer_of},
    metrics::Metrics,
    request_id::RequestId,
    veil::Veil,
};

mod refused;

pub use refused::RefusedHead;

/// Longest piece of a client's text that is kept.
const LONGEST_TEXT: usize = 512;

/// Longest method name that is kept: longer than any registered one.
const LONGEST_METHOD: usize = 32;

/// One request, what was decided about it and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// When its header had been read.
    pub time: Timestamp,
    /// The id that the client and the origin saw as `x-gateway-request-id`, or where there was none
    /// as `x-request-id`.
    pub id: String,
    /// The id that a trusted proxy had given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_id: Option<String>,
    /// Who asked, as far as `[privacy]` tells it.
    pub client: Option<String>,
    /// The site that serves the host, where one does.
    pub site: Option<String>,
    /// Method.
    pub method: String,
    /// Host, empty where it was no valid one.
    pub host: String,
    /// Path, without the query, which may hold secrets.
    pub path: String,
    /// User agent.
    pub user_agent: Option<String>,
    /// Status of the answer; 0 where the client got none.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// `forward`, `limit`, `deny`, `tarpit`, or `error` where no pipeline was asked.
    pub ruling: String,
    /// Why the answer is ours, where it is.
    pub reason: Option<String>,
    /// Of a client that was to be held in the tarpit: whether it is, or was refused in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    /// Served within the slower rate of suspects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub throttled: bool,
    /// Connections to the origin that failed.
    #[serde(default)]
    pub failed_connects: u8,
    /// All counted signals as one number, 0..1.
    pub score: f32,
    /// What was noticed.
    pub signals: Vec<SignalRecord>,
    /// What the sidecar said of the case that it belongs to, where it did so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<LabelRecord>,
    /// Microseconds that each filter took.
    pub filters_us: Vec<(String, f32)>,
    /// Milliseconds until the origin began its answer.
    pub origin_ms: Option<f32>,
    /// Milliseconds from header to end.
    pub took_ms: f32,
    /// Number of the generation that decided.
    pub generation: u64,
}

/// One signal, as people read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignalRecord {
    /// The stable code.
    pub reason: String,
    /// What it counts.
    pub weight: f32,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// From a filter that only observes: not counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
}

/// What a case came to, as people read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabelRecord {
    /// The case, as the sidecar knows it.
    pub case: String,
    /// 0 (a person) to 1 (a bot).
    pub score: f32,
    /// What the sidecar has done.
    pub action: Course,
    /// The step that weighed most.
    pub reason: String,
    /// Whether it still asks others.
    pub pending: bool,
}

impl LabelRecord {
    /// What is told of the case.
    pub fn new(case: CaseId, label: &Label) -> Self {
        Self {
            case: case.to_string(),
            score: label.score,
            action: label.course,
            reason: label.reason.to_string(),
            pending: label.pending,
        }
    }
}

impl From<&Signal> for SignalRecord {
    fn from(signal: &Signal) -> Self {
        Self {
            reason: signal.reason.code().to_owned(),
            weight: signal.weight,
            evidence: signal.evidence.to_string(),
            observed: signal.observed,
        }
    }
}

/// One ended exchange as the ring keeps it: small, and text only where the client's was.
#[derive(Debug)]
pub struct Decision {
    /// Names the request.
    pub id: RequestId,
    proxy_id: Option<HeaderValue>,
    time: SystemTime,
    client: Option<Client>,
    site: Option<Arc<str>>,
    filters: Option<Arc<[String]>>,
    method: Box<str>,
    host: String,
    path: Box<str>,
    user_agent: Option<Box<[u8]>>,
    status: u16,
    bytes: u64,
    judgement: Option<Judgement>,
    /// What was noticed, in place of the judgement's own trail.
    signals: Option<Box<[SignalRecord]>>,
    reason: Option<Reason>,
    held: Option<bool>,
    failed_connects: u8,
    origin_took: Option<Duration>,
    took: Duration,
    generation: u64,
}

/// A client, as it is kept.
#[derive(Debug)]
enum Client {
    Address(IpAddr),
    /// What is told in place of the address.
    Label(Box<str>),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Label(label) => f.write_str(label),
        }
    }
}

impl Decision {
    /// Sums up an exchange that has ended after `took`.
    pub fn new(session: &Session, exchange: &mut Exchange, took: Duration) -> Self {
        let request = session.req_header();
        let site = exchange.site();
        Self {
            id: exchange.id,
            proxy_id: exchange.proxy_id.clone(),
            time: SystemTime::now(),
            client: exchange.client.map(Client::Address),
            site: site.map(|site| Arc::clone(&site.name)),
            filters: site.map(|site| site.pipeline.filter_names()),
            method: clip(request.method.as_str(), LONGEST_METHOD),
            path: clip(request.uri.path(), LONGEST_TEXT),
            user_agent: text(session, &header::USER_AGENT),
            status: exchange
                .detached_status
                .unwrap_or_else(|| written_status(session)),
            bytes: session.body_bytes_sent() as u64,
            host: std::mem::take(&mut exchange.host),
            judgement: exchange.judgement.take(),
            signals: None,
            reason: exchange.reason,
            held: exchange.held,
            failed_connects: exchange.failed_connects,
            origin_took: exchange.origin_took,
            took,
            generation: exchange.generation.number,
        }
    }

    /// Forgets the client's address, and what else would tell it.
    pub fn hide(&mut self, veil: &Veil, now_ms: u64) {
        if let Some(Client::Address(address)) = self.client {
            self.client = Some(Client::Label(veil.client(address, now_ms).into()));
        }
        let Some(judgement) = &mut self.judgement else {
            return;
        };
        let trail = std::mem::take(&mut judgement.trail);
        let told = trail.signals().iter().map(|signal| SignalRecord {
            evidence: veil.evidence(&signal.evidence, now_ms),
            ..SignalRecord::from(signal)
        });
        self.signals = Some(told.collect());
    }

    /// Adds the request to the counters.
    pub fn count(&self, metrics: &Metrics) {
        let site = self.site.as_deref().unwrap_or("none");
        metrics.request(site, self.ruling(), self.status, self.took.as_secs_f64());
        if let Some(reason) = self.reason {
            metrics.own_answer(reason);
        }
    }

    /// The case that the request belongs to, where it was taken for a second opinion.
    pub fn case(&self) -> Option<CaseId> {
        let referral = self.judgement.as_ref()?.referral.as_ref()?;
        Some(referral.case)
    }

    /// The id that a trusted proxy had given the request.
    pub fn proxy_id(&self) -> Option<&str> {
        self.proxy_id.as_ref()?.to_str().ok()
    }

    fn ruling(&self) -> &'static str {
        self.judgement
            .as_ref()
            .map_or("error", |judgement| judgement.ruling.name())
    }

    fn filters_us(&self) -> Vec<(String, f32)> {
        let (Some(judgement), Some(names)) = (&self.judgement, &self.filters) else {
            return Vec::new();
        };
        let name = |place: u8| names.get(usize::from(place)).cloned().unwrap_or_default();
        let timings = judgement.timings.iter();
        timings
            .map(|(place, nanos)| (name(*place), *nanos as f32 / 1e3))
            .collect()
    }
}

impl From<&Decision> for Record {
    fn from(decision: &Decision) -> Self {
        let judgement = decision.judgement.as_ref();
        let milliseconds = |time: Duration| time.as_secs_f32() * 1e3;
        let ended = Timestamp::try_from(decision.time).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            time: ended.checked_sub(decision.took).unwrap_or(ended),
            id: decision.id.to_string(),
            proxy_id: decision.proxy_id().map(str::to_owned),
            client: decision.client.as_ref().map(Client::to_string),
            site: decision.site.as_deref().map(str::to_owned),
            method: decision.method.to_string(),
            host: decision.host.clone(),
            path: decision.path.to_string(),
            user_agent: decision
                .user_agent
                .as_deref()
                .map(|text| String::from_utf8_lossy(text).into_owned()),
            status: decision.status,
            bytes: decision.bytes,
            ruling: decision.ruling().to_owned(),
            reason: decision.reason.map(|reason| reason.code().to_owned()),
            held: decision.held,
            throttled: judgement.is_some_and(|judgement| judgement.throttled),
            failed_connects: decision.failed_connects,
            score: judgement.map_or(0.0, |judgement| judgement.score),
            signals: match (&decision.signals, judgement) {
                (Some(signals), _) => signals.to_vec(),
                (None, Some(judgement)) => {
                    judgement.trail.signals().iter().map(Into::into).collect()
                }
                (None, None) => Vec::new(),
            },
            sidecar: None,
            filters_us: decision.filters_us(),
            origin_ms: decision.origin_took.map(milliseconds),
            took_ms: milliseconds(decision.took),
            generation: decision.generation,
        }
    }
}

fn written_status(session: &Session) -> u16 {
    answer_of(session).map_or(0, |answer| answer.status.as_u16())
}

/// The bytes of a field: whether they are text is asked by who reads them.
fn text(session: &Session, name: &HeaderName) -> Option<Box<[u8]>> {
    let value = session.req_header().headers.get(name)?.as_bytes();
    Some(value[..value.len().min(LONGEST_TEXT)].into())
}

fn clip(text: &str, longest: usize) -> Box<str> {
    text[..text.floor_char_boundary(longest)].into()
}
