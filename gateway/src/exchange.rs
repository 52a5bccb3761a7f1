//! One request and its answer, from the first hook to the log line.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Uri, uri::PathAndQuery};
use pingora::{http::ResponseHeader, proxy::Session};
use thornwall_detectors::signal::Reason;
use thornwall_filters::{filter::Holds, pipeline::Judgement};

use crate::{
    edge::Connection,
    generation::{Generation, Site},
    request_id::RequestId,
    shares::Share,
    state::InFlightGuard,
    tls::TlsFacts,
    unread::AnswerBody,
    upstream::attempt::Attempt,
};

/// What the hooks of one request hand on to each other.
pub(crate) struct Exchange {
    /// The generation that serves this request to its end.
    pub generation: Arc<Generation>,
    /// Names the request in logs, answers and at the origin.
    pub id: RequestId,
    /// When its header had been read, on the gateway's clock.
    pub started: Duration,
    /// What the request came over.
    pub connection: Option<Arc<Connection>>,
    /// Who asked, as far as that is known.
    pub client: Option<IpAddr>,
    /// Its place among the requests of its client, where they have a cap.
    pub share: Option<Share>,
    /// The host that was asked for, once it is known to be one; empty where none was named.
    pub host: String,
    /// What is judged and asked for in place of what was sent.
    pub target: Target,
    /// The id that a trusted proxy has given the request.
    pub proxy_id: Option<HeaderValue>,
    /// Whether the client spoke TLS, to us or to somebody whom we trust to say so.
    pub secure: bool,
    /// Whether the peer is a trusted proxy.
    pub peer_trusted: bool,
    /// Whether the connection is to carry another protocol from here on.
    pub upgrade: bool,
    /// What the pipeline made of it.
    pub judgement: Option<Judgement>,
    /// What filters hold until it ends.
    pub holds: Holds,
    /// Why the answer is ours, where it is.
    pub reason: Option<Reason>,
    /// Whether the client was told to send the body that it held back.
    pub invited: bool,
    /// Whether a failure was answered by a page of ours, which is the last word of its connection.
    pub explained: bool,
    /// Whether a client that was to be held in the tarpit is held, or was refused in its place.
    pub held: Option<bool>,
    /// Status of an answer that Pingora does not know of, since it was sent past it.
    pub detached_status: Option<u16>,
    /// Connections to the origin that failed for this request.
    pub failed_connects: u8,
    /// Time that the origin took to begin its answer.
    pub origin_took: Option<Duration>,
    /// The same from the end of the request's body on.
    pub origin_waited: Option<Duration>,
    /// How often the origin said something before its answer.
    pub interim: u8,
    /// Status of the origin's answer.
    pub origin_status: Option<u16>,
    /// Whether the origin's answer is a page; nothing where it does not say what it is.
    pub page: Option<bool>,
    /// How far the answer's body has come, where it is not one that lasts.
    pub answer: Option<AnswerBody>,
    /// Whether filters have been told that.
    pub settled: bool,
    /// When all of the request's body had come, where it has one.
    pub body_came: Option<Duration>,
    /// Its tries at the origin's servers.
    pub attempt: Attempt,
    site: Option<usize>,
    _in_flight: InFlightGuard,
}

impl Exchange {
    /// A request whose header has just been read.
    pub(crate) fn new(
        generation: Arc<Generation>,
        started: Duration,
        in_flight: InFlightGuard,
    ) -> Self {
        Self {
            generation,
            id: RequestId::fresh(),
            started,
            connection: None,
            client: None,
            share: None,
            host: String::new(),
            target: Target::default(),
            proxy_id: None,
            secure: false,
            peer_trusted: false,
            upgrade: false,
            judgement: None,
            holds: Holds::default(),
            reason: None,
            invited: false,
            explained: false,
            held: None,
            detached_status: None,
            failed_connects: 0,
            origin_took: None,
            origin_waited: None,
            interim: 0,
            origin_status: None,
            page: None,
            answer: None,
            settled: false,
            body_came: None,
            attempt: Attempt::default(),
            site: None,
            _in_flight: in_flight,
        }
    }

    /// What the handshake of the request's connection said; `None` over plain TCP.
    pub(crate) fn tls(&self) -> Option<&TlsFacts> {
        self.connection.as_ref()?.tls()
    }

    /// Notes which host is asked for; whether a site serves it.
    pub(crate) fn find_site(&mut self, host: String) -> bool {
        self.site = self.generation.hosts.find(&host);
        self.host = host;
        self.site.is_some()
    }

    /// Whether the configuration names this host itself, for the same site. A wildcard takes in whatever somebody
    /// makes up.
    pub(crate) fn is_named_beside(&self, host: &str) -> bool {
        let hosts = &self.generation.hosts;
        self.site.is_some() && hosts.is_definite(host) && hosts.find(host) == self.site
    }

    /// The path that is judged, of a request whose target was sent as `sent`.
    pub(crate) fn path<'a>(&'a self, sent: &'a Uri) -> &'a str {
        self.target.judged.as_deref().unwrap_or_else(|| sent.path())
    }

    /// The origin begins an answer, or says something before it (1xx).
    pub(crate) fn origin_answers(&mut self, status: u16, now: Duration) {
        self.origin_took = Some(now.saturating_sub(self.started));
        if (100..200).contains(&status) && status != 101 {
            return;
        }
        // A client that sends slowly makes no origin slow.
        let asked = self.body_came.unwrap_or(self.started);
        self.origin_waited = Some(now.saturating_sub(asked));
        self.origin_status = Some(status);
    }

    /// The site that is asked for, where one serves the host.
    pub(crate) fn site(&self) -> Option<&Site> {
        self.generation.sites.get(self.site?)
    }
}

/// The head of the answer that the client has got: 1xx come before it, but for 101, which is one.
pub(crate) fn answer_of(session: &Session) -> Option<&ResponseHeader> {
    let written = session.response_written();
    written.filter(|head| !head.status.is_informational() || head.status.as_u16() == 101)
}

/// Whether the client has got the head of its answer.
pub(crate) fn has_begun(session: &Session) -> bool {
    answer_of(session).is_some()
}

/// What became of a request's target.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// The path that is judged, where it is not the one that was sent.
    pub judged: Option<String>,
    /// What the origin is asked with, where that may not be what was sent.
    pub asked: Option<PathAndQuery>,
}
