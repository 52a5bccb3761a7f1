//! Why a connection was ended by us.

/// Each has a stable code, the label of `thornwall_connections_closed_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ending {
    /// It was old, and between two requests.
    Age = 1,
    /// The client's address is on the deployment's blocklist, or its WebSocket's client was denied.
    Blocklist,
    /// A body stood still for longer than `body_timeout_secs`.
    BodyTimeout,
    /// Without a request, it gave way to another connection where no permit was left.
    Evicted,
    /// What an HTTP/2 client sent was an attack, or not HTTP/2.
    H2Abuse,
    /// No HTTP/2 preface in time.
    H2Preface,
    /// A request's head took longer than `header_timeout_secs`.
    HeaderTimeout,
    /// No request for longer than `idle_timeout_secs`.
    IdleTimeout,
    /// The client had as many connections as it may.
    LimitClient,
    /// There were as many connections as there may be.
    LimitTotal,
    /// No PROXY header where one was due, or a broken one.
    ProxyInvalid,
    /// A PROXY listener was reached by a peer that is no trusted proxy.
    ProxyStranger,
    /// The client took in nothing for longer than `body_timeout_secs`.
    SendStalled,
    /// It was idle when the process stopped.
    Stop,
    /// The TLS handshake failed, or took too long.
    TlsHandshake,
    /// What should have been a ClientHello was something else.
    TlsInvalid,
    /// A body came in, or an answer was taken in, below the least pace.
    TooSlow,
    /// Answers stood still that held more memory than they may together.
    Unread,
}

impl Ending {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 18] = [
        Self::Age,
        Self::Blocklist,
        Self::BodyTimeout,
        Self::Evicted,
        Self::H2Abuse,
        Self::H2Preface,
        Self::HeaderTimeout,
        Self::IdleTimeout,
        Self::LimitClient,
        Self::LimitTotal,
        Self::ProxyInvalid,
        Self::ProxyStranger,
        Self::SendStalled,
        Self::Stop,
        Self::TlsHandshake,
        Self::TlsInvalid,
        Self::TooSlow,
        Self::Unread,
    ];

    /// The stable code.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Blocklist => "blocklist",
            Self::BodyTimeout => "body_timeout",
            Self::Evicted => "evicted",
            Self::H2Abuse => "h2_abuse",
            Self::H2Preface => "h2_preface",
            Self::HeaderTimeout => "header_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::LimitClient => "limit_client",
            Self::LimitTotal => "limit_total",
            Self::ProxyInvalid => "proxy_invalid",
            Self::ProxyStranger => "proxy_stranger",
            Self::SendStalled => "send_stalled",
            Self::Stop => "stop",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsInvalid => "tls_invalid",
            Self::TooSlow => "too_slow",
            Self::Unread => "unread",
        }
    }

    /// The reverse of `self as u8`.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number.checked_sub(1)?)).copied()
    }
}
