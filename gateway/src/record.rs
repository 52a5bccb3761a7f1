//! What is kept of an ended request: the access line and the answer of `explain` are the same record.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thornwall_detectors::signal::{Reason, Signal};
use thornwall_filters::{escalation::CaseId, pipeline::Judgement};

use crate::{
    escalate::{Assessment, Consequence},
    pseudonymise::Pseudonymiser,
    request_id::RequestId,
};

mod refused;

pub(crate) use refused::RefusedHead;

/// Longest piece of a client's text that is kept.
pub(crate) const LONGEST_TEXT: usize = 512;

/// Longest method name that is kept: longer than any registered one.
pub(crate) const LONGEST_METHOD: usize = 32;

/// One request, what was decided about it and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When its header had been read.
    pub time: Timestamp,
    /// The id that the client and the origin saw as `x-gateway-request-id`, or where there was none
    /// as `x-request-id`.
    pub id: String,
    /// The id that a trusted proxy had given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_id: Option<String>,
    /// Who asked, as far as `[privacy]` lets it be shown.
    pub client: Option<String>,
    /// The site that serves the host, where one does.
    pub site: Option<String>,
    pub method: String,
    /// Host, empty where it was no valid one.
    pub host: String,
    /// Path, without the query, which may hold secrets.
    pub path: String,
    pub user_agent: Option<String>,
    /// Status of the answer; 0 where the client got none.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// `forward`, `limit`, `deny`, `tarpit`, or `error` where no pipeline was asked.
    pub ruling: String,
    /// Why the answer is ours, where it is.
    pub reason: Option<String>,
    /// Whether a client that was to be held in the tarpit is held, or was refused instead.
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
    pub sidecar: Option<AssessmentRecord>,
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
pub(crate) struct SignalRecord {
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

/// The assessment of a case, as people read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AssessmentRecord {
    /// The case, as the sidecar knows it.
    pub case: String,
    /// 0 (a person) to 1 (a bot).
    pub score: f32,
    /// What the sidecar has done.
    pub action: Consequence,
    /// The step that weighed most.
    pub reason: String,
    /// Whether it still asks others.
    pub pending: bool,
}

impl AssessmentRecord {
    /// What is shown of an assessment.
    pub(crate) fn new(case: CaseId, assessment: &Assessment) -> Self {
        Self {
            case: case.to_string(),
            score: assessment.score,
            action: assessment.consequence,
            reason: assessment.reason.to_string(),
            pending: assessment.pending,
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

/// One ended request as the ring keeps it: small, and text only where the client's was.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Names the request.
    pub id: RequestId,
    /// The id that a trusted proxy had given it.
    pub(crate) proxy_id: Option<HeaderValue>,
    pub(crate) time: SystemTime,
    /// Who asked, as far as that is known.
    pub(crate) client: Option<Client>,
    /// The site that served it, where one did.
    pub(crate) site: Option<Arc<str>>,
    /// Names of the site's filters, which the judgement has by number.
    pub(crate) filters: Option<Arc<[String]>>,
    pub(crate) method: Box<str>,
    /// The host that was asked for; empty where it was no valid one.
    pub(crate) host: String,
    /// Its path, without the query.
    pub(crate) path: Box<str>,
    /// The bytes of its user agent: whether they are text is for the reader to find out.
    pub(crate) user_agent: Option<Box<[u8]>>,
    /// Status of the answer; 0 where the client got none.
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    /// What the pipeline made of it, where one was asked.
    pub(crate) judgement: Option<Judgement>,
    /// What was noticed, in place of the judgement's own trail.
    pub(crate) signals: Option<Box<[SignalRecord]>>,
    /// Why the answer is ours, where it is.
    pub(crate) reason: Option<Reason>,
    /// Whether a client that was to be held in the tarpit is held.
    pub(crate) held: Option<bool>,
    /// Connections to the origin that failed.
    pub(crate) failed_connects: u8,
    /// Time until the origin began its answer.
    pub(crate) origin_took: Option<Duration>,
    /// Time from its header to its end.
    pub(crate) took: Duration,
    /// Number of the generation that decided.
    pub(crate) generation: u64,
}

/// A client, as it is kept.
#[derive(Debug)]
pub(crate) enum Client {
    Address(IpAddr),
    /// What is shown in place of the address.
    Pseudonym(Box<str>),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Pseudonym(text) => f.write_str(text),
        }
    }
}

impl Ended {
    /// Forgets the client's address, and what else would give it away.
    pub(crate) fn hide(&mut self, pseudonymiser: &Pseudonymiser, now_ms: u64) {
        if let Some(Client::Address(address)) = self.client {
            self.client = Some(Client::Pseudonym(
                pseudonymiser.client(address, now_ms).into(),
            ));
        }
        let Some(judgement) = &mut self.judgement else {
            return;
        };
        let trail = std::mem::take(&mut judgement.trail);
        let signals = trail.signals().iter().map(|signal| SignalRecord {
            evidence: pseudonymiser.evidence(&signal.evidence, now_ms),
            ..SignalRecord::from(signal)
        });
        self.signals = Some(signals.collect());
    }

    /// The case that the request belongs to, where it was taken for a second opinion.
    pub(crate) fn case(&self) -> Option<CaseId> {
        let referral = self.judgement.as_ref()?.referral.as_ref()?;
        Some(referral.case)
    }

    /// The id that a trusted proxy had given the request.
    pub(crate) fn proxy_id(&self) -> Option<&str> {
        self.proxy_id.as_ref()?.to_str().ok()
    }

    /// What was ruled, as metrics and records name it.
    pub(crate) fn ruling(&self) -> &'static str {
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

impl From<&Ended> for Record {
    fn from(request: &Ended) -> Self {
        let judgement = request.judgement.as_ref();
        let milliseconds = |time: Duration| time.as_secs_f32() * 1e3;
        let ended = Timestamp::try_from(request.time).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            time: ended.checked_sub(request.took).unwrap_or(ended),
            id: request.id.to_string(),
            proxy_id: request.proxy_id().map(str::to_owned),
            client: request.client.as_ref().map(Client::to_string),
            site: request.site.as_deref().map(str::to_owned),
            method: request.method.to_string(),
            host: request.host.clone(),
            path: request.path.to_string(),
            user_agent: request
                .user_agent
                .as_deref()
                .map(|text| String::from_utf8_lossy(text).into_owned()),
            status: request.status,
            bytes: request.bytes,
            ruling: request.ruling().to_owned(),
            reason: request.reason.map(|reason| reason.code().to_owned()),
            held: request.held,
            throttled: judgement.is_some_and(|judgement| judgement.throttled),
            failed_connects: request.failed_connects,
            score: judgement.map_or(0.0, |judgement| judgement.score),
            signals: match (&request.signals, judgement) {
                (Some(signals), _) => signals.to_vec(),
                (None, Some(judgement)) => {
                    judgement.trail.signals().iter().map(Into::into).collect()
                }
                (None, None) => Vec::new(),
            },
            sidecar: None,
            filters_us: request.filters_us(),
            origin_ms: request.origin_took.map(milliseconds),
            took_ms: milliseconds(request.took),
            generation: request.generation,
        }
    }
}

/// The beginning of a text, at most so many bytes of it.
pub(crate) fn clip(text: &str, longest: usize) -> Box<str> {
    text[..text.floor_char_boundary(longest)].into()
}
