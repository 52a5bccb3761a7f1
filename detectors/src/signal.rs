//! What a detector noticed about a request, and how the notes add up to one score.

use std::{fmt, net::IpAddr};

use smallvec::SmallVec;

/// Most signals that one request's trail holds; later ones are dropped and counted.
pub const TRAIL_CAPACITY: usize = 32;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// Why something was noticed or decided. Codes are stable: logs, metrics, the admin API
        /// and tests use the same ones.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)+ }

        impl Reason {
            /// Every reason, in the order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The reason of this code, where there is one.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)+ _ => None }
            }

            /// The stable code, such as `headers.client_hint_mismatch`.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

reasons! {
    /// The client's address is on a list of the pipeline.
    BlocklistListed = "blocklist.listed",
    /// The client has as many requests under way as it may.
    ClientTooManyRequests = "client.too_many_requests",
    /// A signed link that only a tarpit page contains was followed.
    DeceptionMarkedLink = "deception.marked_link",
    /// A path below the tarpit's own prefix without a valid signature.
    DeceptionUnsignedLink = "deception.unsigned_link",
    /// A current decision covers the client.
    DecisionEnforced = "decision.enforced",
    /// An operator decided.
    DecisionOperator = "decision.operator",
    /// A sidecar assessed the client's case while the request waited for it.
    EscalationAssessed = "escalation.assessed",
    /// A filter failed and is configured with `on_error = "deny"`.
    FilterFailed = "filter.failed",
    /// A client that claims to be a browser accepts no content encoding.
    HeadersAcceptEncodingMissing = "headers.accept_encoding_missing",
    /// A client that claims to be a browser names no language.
    HeadersAcceptLanguageMissing = "headers.accept_language_missing",
    /// A client that claims to be a browser names no media type that it accepts.
    HeadersAcceptMissing = "headers.accept_missing",
    /// A page is asked for as `*/*` by something that claims to be a browser.
    HeadersAcceptWildcard = "headers.accept_wildcard",
    /// Client hints contradict the user agent.
    HeadersClientHintMismatch = "headers.client_hint_mismatch",
    /// Fetch metadata that no browser sends in this combination.
    HeadersFetchMetadataMismatch = "headers.fetch_metadata_mismatch",
    /// A browser that always sends fetch metadata over TLS did not.
    HeadersFetchMetadataMissing = "headers.fetch_metadata_missing",
    /// A page deep in the site is asked for without a referrer.
    HeadersRefererMissing = "headers.referer_missing",
    /// The `Host` is not a valid authority.
    HostInvalid = "host.invalid",
    /// No `Host` was sent.
    HostMissing = "host.missing",
    /// No site serves this host.
    HostUnknown = "host.unknown",
    /// As much is under way of what a limit counts by as may be.
    InFlightExceeded = "in_flight.exceeded",
    /// A method that neither browsers nor crawlers use on pages.
    MethodUnusual = "method.unusual",
    /// The anomaly model's score.
    ModelAnomalous = "model.anomalous",
    /// A path that vulnerability scanners ask for.
    PathProbe = "path.probe",
    /// A path that climbs out of the site.
    PathTraversal = "path.traversal",
    /// Would have been refused by a limit that changes with the origin, and only observes.
    RateLimitAdaptive = "rate_limit.adaptive",
    /// The client's own bucket is empty.
    RateLimitClient = "rate_limit.client",
    /// The bucket of what a limit counts by is empty: a header's value, a path, a combination.
    RateLimitKey = "rate_limit.key",
    /// The bucket of the client's network is empty.
    RateLimitPrefix = "rate_limit.prefix",
    /// The site's bucket is empty.
    RateLimitSite = "rate_limit.site",
    /// The body is larger than the site takes.
    RequestBodyTooLarge = "request.body_too_large",
    /// An `Expect` other than `100-continue`.
    RequestExpectation = "request.expectation",
    /// A header field that is none, or that may not be sent like that.
    RequestFieldInvalid = "request.field_invalid",
    /// Where the body ends can be read in more than one way.
    RequestFramingInvalid = "request.framing_invalid",
    /// A head took longer than it may.
    RequestHeadTimeout = "request.head_timeout",
    /// More header bytes or fields than are taken, or an endless request line.
    RequestHeadTooLarge = "request.head_too_large",
    /// The first line is no request line.
    RequestLineInvalid = "request.line_invalid",
    /// The site's own request, which its upstream has sent back to it.
    RequestLoop = "request.loop",
    /// A method that no site is asked with.
    RequestMethodRefused = "request.method_refused",
    /// Something else than HTTP/1: a TLS handshake, an HTTP/2 preface, noise.
    RequestNotHttp = "request.not_http",
    /// The request target has a form or characters that servers read differently.
    RequestTargetInvalid = "request.target_invalid",
    /// A version other than HTTP/1.0 and HTTP/1.1.
    RequestVersionUnsupported = "request.version_unsupported",
    /// A client that calls itself a bot asks for what robots.txt forbids it.
    RobotsDisallowed = "robots.disallowed",
    /// The tarpit is full, so the client was denied instead.
    TarpitFull = "tarpit.full",
    /// A throttled client is above its slower rate.
    ThrottleExceeded = "throttle.exceeded",
    /// A connection whose handshake was not made under the site's rules for client certificates.
    TlsMisdirected = "tls.misdirected",
    /// Asked for in clear text, and sent on to HTTPS.
    TlsRedirect = "tls.redirect",
    /// Asked for in clear text, while the site asks for a client certificate.
    TlsRequired = "tls.required",
    /// The origin's answer breaks HTTP in a way that clients could be misled by.
    UpstreamAnswerInvalid = "upstream.answer_invalid",
    /// Every server of the origin has as many requests as it may.
    UpstreamBusy = "upstream.busy",
    /// The origin did not accept a connection.
    UpstreamConnectFailed = "upstream.connect_failed",
    /// The origin broke the connection or answered with something that is not HTTP.
    UpstreamFailed = "upstream.failed",
    /// The head of the origin's answer has more bytes than are read.
    UpstreamHeadTooLarge = "upstream.head_too_large",
    /// The origin did not answer in time.
    UpstreamTimeout = "upstream.timeout",
    /// The origin could not prove who it is, or does not speak TLS.
    UpstreamTlsFailed = "upstream.tls_failed",
    /// The head of the origin's answer has more fields than are read.
    UpstreamTooManyFields = "upstream.too_many_fields",
    /// No server of the origin is known: its name has not been found so far.
    UpstreamUnresolved = "upstream.unresolved",
    /// Declares itself a crawler that gathers data for AI.
    UserAgentAiCrawler = "user_agent.ai_crawler",
    /// Declares itself an automated browser.
    UserAgentAutomation = "user_agent.automation",
    /// Declares itself a bot without being a crawler that sites usually welcome.
    UserAgentDeclaredBot = "user_agent.declared_bot",
    /// A library or command-line client for HTTP.
    UserAgentHttpLibrary = "user_agent.http_library",
    /// A program that the catalogue knows by its purpose, which nothing has verified.
    UserAgentKnownProgram = "user_agent.known_program",
    /// Has a shape that no client of its claimed kind has.
    UserAgentMalformed = "user_agent.malformed",
    /// No user agent at all.
    UserAgentMissing = "user_agent.missing",
    /// Claims to be a browser version that has been out of use for years.
    UserAgentOutdatedBrowser = "user_agent.outdated_browser",
    /// Declares itself a vulnerability scanner.
    UserAgentScanner = "user_agent.scanner",
    /// A name that the catalogue does not know.
    UserAgentUnrecognised = "user_agent.unrecognised",
    /// Claims to be a crawler that sites welcome, which nothing has verified.
    UserAgentUnverifiedCrawler = "user_agent.unverified_crawler",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What a signal rests on, small enough to copy; it becomes text only when it is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Evidence {
    /// A name from the configuration.
    Label(Label),
    /// An entry of the catalogue: what such a program is for, and the entry.
    Named(&'static str, &'static str),
    /// A network that covers the client: first address, prefix length, and who decided about it.
    Network(IpAddr, u8, &'static str),
    /// No evidence besides the reason.
    None,
    /// A list entry that covers the client: first and last address of the range.
    Range(IpAddr, IpAddr),
    /// A model's output, 0..1.
    Score(f32),
    /// A pattern of ours that matched, or a short fixed remark.
    Text(&'static str),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => f.write_str(label.as_str()),
            Self::Network(first, length, by) => write!(f, "{first}/{length} by {by}"),
            Self::Named(purpose, entry) => write!(f, "{purpose}: {entry}"),
            Self::None => Ok(()),
            Self::Range(first, last) if first == last => write!(f, "{first}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Score(score) => write!(f, "{score:.4}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A short text of the configuration that can be copied: what is too long ends in `...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    bytes: [u8; Self::LONGEST],
    length: u8,
}

impl Label {
    /// As many bytes as an [`Evidence`] takes anyway.
    const LONGEST: usize = 38;

    /// The beginning of a text.
    pub fn new(text: &str) -> Self {
        const DOTS: &str = "...";
        let (start, end) = if text.len() <= Self::LONGEST {
            (text, "")
        } else {
            (
                &text[..text.floor_char_boundary(Self::LONGEST - DOTS.len())],
                DOTS,
            )
        };
        let mut bytes = [0; Self::LONGEST];
        bytes[..start.len()].copy_from_slice(start.as_bytes());
        bytes[start.len()..][..end.len()].copy_from_slice(end.as_bytes());
        Self {
            bytes,
            length: (start.len() + end.len()) as u8,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// One thing that a detector noticed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signal {
    /// What was noticed.
    pub reason: Reason,
    /// How much it counts against the client, 0..1: the probability, on its own, that the client
    /// is unwelcome.
    pub weight: f32,
    /// What it rests on.
    pub evidence: Evidence,
    /// Noticed by a filter that only observes: shown, not counted.
    pub observed: bool,
}

impl Signal {
    /// A counted signal without evidence beyond its reason.
    pub const fn new(reason: Reason, weight: f32) -> Self {
        Self::with_evidence(reason, weight, Evidence::None)
    }

    /// A counted signal and what it rests on.
    pub const fn with_evidence(reason: Reason, weight: f32, evidence: Evidence) -> Self {
        Self {
            reason,
            weight,
            evidence,
            observed: false,
        }
    }
}

/// The signals of one request: append-only and bounded.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    signals: SmallVec<[Signal; 2]>,
    observing: bool,
}

impl Trail {
    /// Notes a signal; beyond [`TRAIL_CAPACITY`] it is dropped, since by then the score is settled.
    pub fn push(&mut self, mut signal: Signal) {
        signal.observed |= self.observing;
        signal.weight = signal.weight.clamp(0.0, 1.0);
        if self.signals.len() < TRAIL_CAPACITY {
            self.signals.push(signal);
        }
    }

    /// Whether signals from here on are shown but not counted.
    pub const fn observe(&mut self, observing: bool) {
        self.observing = observing;
    }

    /// What was noticed, in order.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// All counted signals as one number in 0..1: `1 - (1-w1)(1-w2)…`, the noisy-or of
    /// independent causes (Pearl 1988, section 4.3.2). Monotone: a further signal never lowers it.
    pub fn score(&self) -> f32 {
        let innocent: f32 = self
            .signals
            .iter()
            .filter(|signal| !signal.observed)
            .map(|signal| 1.0 - signal.weight)
            .product();
        1.0 - innocent
    }

    /// The counted signal that weighs most: what a ladder's action is put down to.
    pub fn strongest(&self) -> Option<Signal> {
        self.signals
            .iter()
            .filter(|signal| !signal.observed)
            .copied()
            .max_by(|a, b| a.weight.total_cmp(&b.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::{Evidence, Label, Reason, Signal, TRAIL_CAPACITY, Trail};

    #[test]
    fn labels_are_short() {
        let check = |text: &str, kept: &str| assert_eq!(Label::new(text).as_str(), kept);
        check("", "");
        check("client+header:x-api-key", "client+header:x-api-key");
        check(&"k".repeat(38), &"k".repeat(38));
        check(&"k".repeat(39), &format!("{}...", "k".repeat(35)));
        check(&"\u{e9}".repeat(30), &format!("{}...", "\u{e9}".repeat(17)));
        assert_eq!(size_of::<Evidence>(), 40);
    }

    #[test]
    fn codes_are_unique_and_sorted() {
        let codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    }

    #[test]
    fn score_is_monotone_and_bounded() {
        let mut trail = Trail::default();
        assert_eq!(trail.score(), 0.0);
        let mut before = 0.0;
        for weight in [0.3, 0.5, 0.0, 7.0, -1.0] {
            trail.push(Signal::new(Reason::MethodUnusual, weight));
            assert!(trail.score() >= before && trail.score() <= 1.0);
            before = trail.score();
        }
        assert_eq!(before, 1.0);
    }

    #[test]
    fn observed_signals_are_shown_but_not_counted() {
        let mut trail = Trail::default();
        trail.observe(true);
        trail.push(Signal::new(Reason::PathProbe, 0.9));
        trail.observe(false);
        trail.push(Signal::new(Reason::MethodUnusual, 0.2));
        assert_eq!(trail.signals().len(), 2);
        assert!((trail.score() - 0.2).abs() < 1e-6);
        assert_eq!(
            trail.strongest().map(|s| s.reason),
            Some(Reason::MethodUnusual)
        );
    }

    #[test]
    fn trail_is_bounded() {
        let mut trail = Trail::default();
        for _ in 0..100 {
            trail.push(Signal::new(Reason::MethodUnusual, 0.1));
        }
        assert_eq!(trail.signals().len(), TRAIL_CAPACITY);
    }
}
