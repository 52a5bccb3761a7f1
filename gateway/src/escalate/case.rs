//! One case: what one client does at one site in one way, as it grows.

use std::net::IpAddr;

use thornwall_decisions::prefix_set::Prefix;
use thornwall_detectors::signal::Reason;
use thornwall_filters::escalation::{CaseId, Question};
use thornwall_proto::v1;

use crate::request_id::RequestId;

/// Most requests that a case shows.
pub(super) const MOST_SAMPLES: usize = 32;
const MOST_SIGNALS: usize = 32;
/// Most ids of requests.
const MOST_IDS: usize = 8;
/// Bytes that one case may take on the heap: ten thousand of them stay below 64 MiB.
pub(super) const MOST_BYTES: usize = 6_000;
/// Bytes that names of header fields may take of them.
const MOST_NAME_BYTES: usize = 2_500;
/// What an allocation costs beside its content.
const ALLOCATION: usize = 16;
/// A case is sent again when its score has risen by this.
const RISE: f32 = 0.05;

/// How much an assessment of a case is worth: its score, then its requests by powers of two.
pub(super) type Rank = (u32, u32);

/// What one client does at one site in one way.
#[derive(Debug)]
pub(super) struct Case {
    site: u16,
    client: IpAddr,
    shape: u64,
    requests: u32,
    first_ms: u64,
    /// When the first request came, in milliseconds of Unix time.
    first_unix_ms: u64,
    /// When the last one came, on the gateway's clock.
    pub(super) last_ms: u64,
    score: f32,
    signals: Vec<(Reason, f32)>,
    samples: Vec<Sample>,
    /// Requests whose facts were taken up.
    learnt: usize,
    claims: v1::Claims,
    ids: Vec<RequestId>,
    bytes: usize,
    sent: Option<Sent>,
    /// Whether its client followed a link that only the tarpit has.
    is_trapped: bool,
    /// Whether it was ever assessed.
    pub(super) is_assessed: bool,
    /// Where it is in the queue.
    pub(super) state: CaseState,
}

/// One request of a case, in one piece of memory: ten thousand cases have many.
#[derive(Debug)]
struct Sample {
    after_ms: u32,
    score: f32,
    /// Method, path and names of parameters, a line each: no request has a line break in them.
    text: Box<str>,
}

impl Sample {
    fn message(&self) -> v1::Request {
        let mut lines = self.text.split('\n').map(str::to_owned);
        v1::Request {
            after_ms: self.after_ms,
            method: lines.next().unwrap_or_default(),
            path: lines.next().unwrap_or_default(),
            parameters: lines.collect(),
            score: self.score,
        }
    }
}

/// What the sidecar knows of a case.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at_ms: u64,
    requests: u32,
    score: f32,
    /// Whether an assessment came since.
    is_answered: bool,
}

/// Whether, and since when, a case is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CaseState {
    /// It may be sent again from this time on.
    Resting(u64),
    /// It was sent at this time, and has not grown much since.
    Settled(u64),
    /// It is to be sent.
    Waiting(Rank),
}

/// Least time between two messages about one case.
const REST_MS: u64 = 1_000;

impl Case {
    /// A case of one request.
    pub(super) fn new(question: Question, id: RequestId, now_ms: u64, unix_ms: u64) -> Self {
        let sighting = question.sighting;
        let mut case = Self {
            site: sighting.site,
            client: sighting.client,
            shape: sighting.shape,
            requests: 1,
            first_ms: now_ms,
            first_unix_ms: unix_ms,
            last_ms: now_ms,
            score: sighting.score,
            signals: Vec::new(),
            samples: Vec::new(),
            learnt: 0,
            claims: v1::Claims::default(),
            ids: Vec::new(),
            bytes: 0,
            sent: None,
            is_trapped: false,
            is_assessed: false,
            state: CaseState::Waiting((0, 0)),
        };
        case.state = CaseState::Waiting(case.rank());
        case.learn(question, id, now_ms);
        case
    }

    pub(super) fn count(&mut self, score: f32, now_ms: u64) {
        self.requests = self.requests.saturating_add(1);
        self.last_ms = self.last_ms.max(now_ms);
        self.score = self.score.max(score);
    }

    /// Whether the facts of a request that was just counted are wanted: as long as there are few,
    /// and whenever the case is to be sent.
    pub(super) fn wants_facts(&self) -> bool {
        self.learnt < MOST_SAMPLES || self.is_due() && matches!(self.state, CaseState::Settled(_))
    }

    /// Takes up the facts of a request.
    pub(super) fn learn(&mut self, question: Question, id: RequestId, now_ms: u64) {
        for (reason, weight) in &question.signals {
            let known = self.signals.iter_mut().find(|(known, _)| known == reason);
            if let Some((_, greatest)) = known {
                *greatest = greatest.max(*weight);
            } else if self.signals.len() < MOST_SIGNALS {
                self.signals.push((*reason, *weight));
            }
        }
        if self.ids.len() < MOST_IDS {
            self.ids.push(id);
        }
        let after_ms = now_ms.saturating_sub(self.first_ms);
        if self.samples.len() >= MOST_SAMPLES {
            self.samples.remove(self.samples.len() / 2);
        }
        let lines = [question.method, question.path].into_iter();
        let lines: Vec<String> = lines.chain(question.parameters).collect();
        self.samples.push(Sample {
            after_ms: u32::try_from(after_ms).unwrap_or(u32::MAX),
            score: question.sighting.score,
            text: lines.join("\n").into(),
        });
        self.learnt += 1;
        self.claims = v1::Claims {
            user_agent: question.user_agent,
            accept_language: question.accept_language,
            referer: question.referer,
            header_names: within(question.header_names),
            http_version: question.http_version.into(),
            tls: question.tls,
        };
        self.keep_within_bounds();
    }

    /// The beginning of a case and its end say most: what goes is from between them.
    fn keep_within_bounds(&mut self) {
        self.bytes = self.heap_bytes();
        while self.bytes > MOST_BYTES && self.samples.len() > 1 {
            self.samples.remove(self.samples.len() / 2);
            self.bytes = self.heap_bytes();
        }
    }

    /// Bytes that it takes beside itself.
    fn heap_bytes(&self) -> usize {
        let claims = &self.claims;
        let texts = [&claims.user_agent, &claims.accept_language, &claims.referer];
        let names = claims
            .header_names
            .iter()
            .map(|name| text(name))
            .sum::<usize>();
        let sample = |sample: &Sample| ALLOCATION + sample.text.len();
        texts.map(|claim| text(claim)).into_iter().sum::<usize>()
            + names
            + self.samples.iter().map(sample).sum::<usize>()
            + self.samples.capacity() * size_of::<Sample>()
            + self.signals.capacity() * size_of::<(Reason, f32)>()
            + self.ids.capacity() * size_of::<RequestId>()
    }

    /// What an assessment is worth.
    pub(super) fn rank(&self) -> Rank {
        rank(self.score, self.requests)
    }

    /// Whether it is to be sent to the sidecar: it is new, or has grown much.
    pub(super) fn is_due(&self) -> bool {
        self.sent.is_none_or(|sent| {
            self.requests >= sent.requests.saturating_mul(2) || self.score >= sent.score + RISE
        })
    }

    /// Where it belongs in the queue now.
    pub(super) fn state_at(&self, now_ms: u64) -> CaseState {
        match self.sent {
            None => CaseState::Waiting(self.rank()),
            Some(sent) if !self.is_due() => CaseState::Settled(sent.at_ms),
            Some(sent) if now_ms < sent.at_ms + REST_MS => CaseState::Resting(sent.at_ms + REST_MS),
            Some(_) => CaseState::Waiting(self.rank()),
        }
    }

    /// Notes that it is sent now.
    pub(super) const fn send(&mut self, now_ms: u64) {
        self.sent = Some(Sent {
            at_ms: now_ms,
            requests: self.requests,
            score: self.score,
            is_answered: false,
        });
    }

    /// Notes that it was assessed.
    pub(super) const fn answer(&mut self) {
        self.is_assessed = true;
        if let Some(sent) = &mut self.sent {
            sent.is_answered = true;
        }
    }

    /// Notes that its client walked into the trap. Whether that is to be sent to the sidecar.
    pub(super) const fn trap(&mut self) -> bool {
        let is_news = self.sent.is_some() && !self.is_trapped;
        self.is_trapped |= is_news;
        is_news
    }

    /// Forgets that it was sent, where nothing came of that. Whether it did.
    pub(super) fn forget_sending(&mut self) -> bool {
        let lost = self.sent.is_some_and(|sent| !sent.is_answered);
        if lost {
            self.sent = None;
        }
        lost
    }

    /// Bytes that it takes on the heap.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The site's number.
    pub(super) const fn site(&self) -> u16 {
        self.site
    }

    /// The message about it.
    pub(super) fn message(&self, id: CaseId, site: &str) -> v1::Case {
        let length = if self.client.is_ipv4() { 32 } else { 64 };
        let subject = Prefix::around(self.client, length);
        let signal = |(reason, weight): &(Reason, f32)| v1::Signal {
            reason: reason.code().to_owned(),
            weight: *weight,
        };
        v1::Case {
            id: id.to_string(),
            site: site.to_owned(),
            subject: subject
                .map(|subject| subject.to_string())
                .unwrap_or_default(),
            shape: self.shape,
            requests: self.requests,
            first_ms: self.first_unix_ms,
            last_ms: self.first_unix_ms + self.last_ms.saturating_sub(self.first_ms),
            score: self.score,
            signals: self.signals.iter().map(signal).collect(),
            samples: self.samples.iter().map(Sample::message).collect(),
            claims: Some(self.claims.clone()),
            request_ids: self.ids.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Names of header fields, as many as fit.
fn within(mut names: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let fitting = names.iter().take_while(|name| {
        bytes += text(name);
        bytes <= MOST_NAME_BYTES
    });
    let fitting = fitting.count();
    names.truncate(fitting);
    names.shrink_to_fit();
    names
}

/// Bytes that a text in a list takes.
fn text(text: &str) -> usize {
    size_of::<String>() + ALLOCATION + text.len()
}

/// What an assessment of a case with this score and so many requests is worth.
pub(super) fn rank(score: f32, requests: u32) -> Rank {
    // Scores are not negative, so that their bits have their order.
    (score.to_bits(), requests.checked_ilog2().unwrap_or(0))
}
