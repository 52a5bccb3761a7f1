//! One request and its answer, from the first hook to the log line.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderValue, uri::PathAndQuery};
use pingora::{http::ResponseHeader, proxy::Session};
use thornwall_detectors::signal::Reason;
use thornwall_filters::{filter::Holds, pipeline::Judgement};

use crate::{
    edge::{Connection, Upload},
    generation::{Generation, Route, Site},
    quota::Permit,
    request_id::RequestId,
    state::InFlightGuard,
    tls::TlsFacts,
    unread::AnswerBody,
    upstream::{AnswerWait, Upstream, attempt::Attempt},
};

/// What the hooks of one request hand on to each other, each part by whom it is written.
pub(crate) struct Exchange {
    /// The generation that serves this request to its end.
    pub generation: Arc<Generation>,
    /// Names the request in logs, answers and at the origin.
    pub id: RequestId,
    /// When its header had been read, on the gateway's clock.
    pub started: Duration,
    /// What the request came over.
    pub connection: Option<Arc<Connection>>,
    /// How its body comes in, as the edge watches it.
    pub upload: Upload,
    /// Who asks. Written where requests are judged.
    pub client: Client,
    /// What is asked for. Written where requests are judged.
    pub asked: Asked,
    /// What the pipeline made of it.
    pub judgement: Option<Judgement>,
    /// What filters hold until it ends.
    pub holds: Holds,
    /// What came of it at the origin. Written on the way there and back.
    pub origin: Origin,
    /// What became of it without the origin. Written where the gateway answers by itself.
    pub own: Own,
    _in_flight: InFlightGuard,
}

/// Who asks.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Address of the client, as far as it is known.
    pub address: Option<IpAddr>,
    /// Whether the peer is a trusted proxy.
    pub peer_trusted: bool,
    /// Permit of the request among those of its client, where they have a cap.
    pub permit: Option<Permit>,
}

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The host, once it is known to be one; empty where none was named.
    pub host: String,
    /// What the origin is asked with, where that may not be what was sent.
    pub target: Option<PathAndQuery>,
    /// The id that a trusted proxy has given the request.
    pub proxy_id: Option<HeaderValue>,
    /// Whether the client spoke TLS, to us or to a proxy that we trust to say so.
    pub secure: bool,
    /// Whether the connection is to carry another protocol from here on.
    pub upgrade: bool,
    site: Option<usize>,
}

/// What came of a request at the origin.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// Tries at the origin's servers.
    pub attempt: Attempt,
    /// Connections that failed for this request.
    pub failed_connects: u8,
    /// Whether the client was sent `100 Continue` for the body that it held back.
    pub invited: bool,
    /// When all of the request's body had come, where it has one.
    pub upload_ended: Option<Duration>,
    /// Time until the answer began.
    pub took: Option<Duration>,
    /// Time from the end of the request's body until the answer began.
    pub waited: Option<Duration>,
    /// How often the origin said something before its answer.
    pub interim: u8,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Whether the answer is a page; nothing where it does not say what it is.
    pub page: Option<bool>,
    /// Whether filters have been notified of that.
    pub settled: bool,
    /// How far the answer's body has come, where it is not one that lasts.
    pub body: Option<AnswerBody>,
}

/// What became of a request without the origin.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Why the answer is ours, where it is.
    pub reason: Option<Reason>,
    /// Whether a failure was answered by a page of ours, which is the last answer of its connection.
    pub explained: bool,
    /// Whether a client that was to be held in the tarpit is held, or was refused in its place.
    pub held: Option<bool>,
    /// Status of an answer that Pingora does not know of, since it was sent past it.
    pub detached_status: Option<u16>,
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
            upload: Upload::running(),
            client: Client::default(),
            asked: Asked::default(),
            judgement: None,
            holds: Holds::default(),
            origin: Origin {
                attempt: Attempt::new(AnswerWait::running()),
                ..Origin::default()
            },
            own: Own::default(),
            _in_flight: in_flight,
        }
    }

    /// What the handshake of the request's connection said; `None` over plain TCP.
    pub(crate) fn tls(&self) -> Option<&TlsFacts> {
        self.connection.as_ref()?.tls()
    }

    /// Notes which host is asked for; whether a site serves it.
    pub(crate) fn find_site(&mut self, host: String) -> bool {
        self.asked.site = self.generation.hosts.find(&host);
        self.asked.host = host;
        self.asked.site.is_some()
    }

    /// Whether the configuration names this host itself, for the same site. A wildcard takes in
    /// whatever a client makes up.
    pub(crate) fn is_named_beside(&self, host: &str) -> bool {
        let (hosts, site) = (&self.generation.hosts, self.asked.site);
        site.is_some() && hosts.is_definite(host) && hosts.find(host) == site
    }

    /// The origin begins an answer, or says something before it (1xx).
    pub(crate) fn origin_answers(&mut self, status: u16, now: Duration) {
        let origin = &mut self.origin;
        origin.took = Some(now.saturating_sub(self.started));
        if (100..200).contains(&status) && status != 101 {
            return;
        }
        // A client that sends slowly makes no origin slow.
        let asked = origin.upload_ended.unwrap_or(self.started);
        origin.waited = Some(now.saturating_sub(asked));
        origin.status = Some(status);
    }

    /// The route that the request takes, where a site serves the host.
    pub(crate) fn route(&self) -> Option<&Route> {
        self.site()?.route()
    }

    /// The servers that the request goes on to, where it goes on to some.
    pub(crate) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.route()?.backend.upstream()
    }

    /// The site that is asked for, where one serves the host.
    pub(crate) fn site(&self) -> Option<&Site> {
        self.generation.sites.get(self.asked.site?)
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
