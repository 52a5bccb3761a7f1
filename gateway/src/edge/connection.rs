//! One client's connection: who is at its other end, and what was seen of it before HTTP.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pingora::proxy::Session;
use thornwall_detectors::address::canonical;
use tokio::sync::{Notify, watch};

use super::{
    clock::Clock,
    h1_stream::H1Stream,
    watch::{Phase, Watch},
    windows::PROVEN,
};
use crate::{ending::Ending, tls::TlsFacts, unread::Recipient};

/// Bytes of an HTTP/2 client that are kept: SETTINGS, WINDOW_UPDATE, PRIORITY and the first HEADERS
/// of browsers are some 300 to 700 bytes.
const PREFACE_KEPT: usize = 1024;

/// Who has another protocol carried on over a connection, and to which site.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// Who asked for it: not whose connection it is, where that is a proxy's.
    pub client: IpAddr,
    /// The site's number.
    pub site: u16,
    /// What was decided when its client was last looked at.
    pub(super) seen: AtomicU64,
}

impl Tunnel {
    /// A client's tunnel that has not been judged.
    pub(crate) const fn new(client: IpAddr, site: u16) -> Self {
        Self {
            client,
            site,
            seen: AtomicU64::new(u64::MAX),
        }
    }
}

/// Shared by the connection's task, the sweep and the requests on it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket's other end.
    peer: SocketAddr,
    /// Whom a trusted proxy named in its PROXY header.
    named: OnceLock<IpAddr>,
    /// Whether a proxy's PROXY header names no client.
    unnamed: AtomicBool,
    /// What the TLS handshake said.
    tls: OnceLock<TlsFacts>,
    /// The raw ClientHello: all records that carried it.
    client_hello: OnceLock<Bytes>,
    /// The first bytes of an HTTP/2 client: preface, SETTINGS, first frames.
    http2_preface: Mutex<Vec<u8>>,
    /// Whether another protocol has taken over.
    upgraded: AtomicBool,
    /// Whose, where it is a site's.
    tunnel: OnceLock<Box<Tunnel>>,
    /// Bytes of uploads over HTTP/2 that origins have taken in, and who waits for enough of them.
    taken_in: AtomicU64,
    upload_goes_on: Notify,
    /// Turns true when an HTTP/2 connection is to take no more requests.
    retire: OnceLock<watch::Sender<bool>>,
    pub(super) watch: Watch,
    clock: Arc<Clock>,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, clock: Arc<Clock>) -> Self {
        Self {
            peer,
            named: OnceLock::new(),
            unnamed: AtomicBool::new(false),
            tls: OnceLock::new(),
            client_hello: OnceLock::new(),
            http2_preface: Mutex::new(Vec::new()),
            upgraded: AtomicBool::new(false),
            tunnel: OnceLock::new(),
            taken_in: AtomicU64::new(0),
            upload_goes_on: Notify::new(),
            retire: OnceLock::new(),
            watch: Watch::new(clock.now()),
            clock,
        }
    }

    /// What the request of a session came over; `None` once it was taken out of the session.
    pub(crate) fn of(session: &Session) -> Option<&Arc<Self>> {
        let client = session.as_downstream();
        if let Some(stream) = client.stream() {
            let stream = (**stream).as_any().downcast_ref::<H1Stream>();
            return stream.map(H1Stream::connection);
        }
        let carried = client.digest()?.proxy_digest.as_ref()?;
        carried.user_data.as_ref()?.downcast_ref::<Arc<Self>>()
    }

    /// Who the connection of a session is from; an address that cannot be had counts as unspecified.
    pub(crate) fn client_of(session: &Session) -> IpAddr {
        Self::of(session).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |c| c.client())
    }

    /// The socket's other end; a mapped IPv4 address as IPv4.
    pub(crate) fn peer(&self) -> IpAddr {
        canonical(self.peer.ip())
    }

    /// Who the connection is from: whom a PROXY header named, or the peer.
    pub(crate) fn client(&self) -> IpAddr {
        self.named.get().copied().unwrap_or_else(|| self.peer())
    }

    /// Whether its client may be a proxy that names others in header fields. Where proxies name
    /// clients by the PROXY protocol, one that names no client asks for itself, or does not know who
    /// does (`LOCAL`, `UNKNOWN`): the fields of such requests are anybody's.
    pub(crate) fn may_name_others(&self) -> bool {
        !self.unnamed.load(Relaxed)
    }

    /// What the TLS handshake said; `None` over plain TCP.
    pub(crate) fn tls(&self) -> Option<&TlsFacts> {
        self.tls.get()
    }

    /// The raw ClientHello, record headers included.
    #[expect(dead_code, reason = "kept for prints of clients, which come next")]
    pub(crate) fn client_hello(&self) -> Option<&Bytes> {
        self.client_hello.get()
    }

    /// The first bytes that an HTTP/2 client sent, up to 1 KiB; empty for others.
    #[expect(dead_code, reason = "kept for prints of clients, which come next")]
    pub(crate) fn http2_preface(&self) -> Vec<u8> {
        self.http2_preface.lock().clone()
    }

    /// From here on, the bytes of this HTTP/1 connection are those of another protocol.
    pub(crate) fn upgrade(&self, tunnel: Option<Tunnel>) {
        if let Some(tunnel) = tunnel {
            // A connection is upgraded once.
            let _ = self.tunnel.set(Box::new(tunnel));
        }
        self.upgraded.store(true, Relaxed);
        self.enter(Phase::Upgraded);
    }

    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.get().map(Box::as_ref)
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    /// No more bytes of the current request's body are due.
    pub(crate) fn body_is_complete(&self) {
        self.watch.set_body_due(false);
    }

    /// An origin takes in so many bytes of an upload over HTTP/2.
    pub(crate) fn took_in(&self, bytes: usize) {
        let before = self.taken_in.fetch_add(bytes as u64, Relaxed);
        if before < PROVEN && before + bytes as u64 >= PROVEN {
            self.upload_goes_on.notify_one();
        }
    }

    /// Returns once, when origins have taken in much of what the client uploads.
    pub(super) async fn upload_goes_on(&self) {
        self.upload_goes_on.notified().await;
    }

    /// The connection is held in the tarpit from here on, which has limits of its own.
    pub(crate) fn hold(&self) {
        self.upgraded.store(true, Relaxed);
        self.enter(Phase::Held);
    }

    /// Notes that one of its HTTP/2 streams is held in the tarpit: the connection is not idle
    /// meanwhile.
    pub(crate) fn hold_stream(self: &Arc<Self>) -> OpenStream {
        OpenStream::hold(self)
    }

    pub(super) fn name_client(&self, client: IpAddr) {
        // A connection has one PROXY header.
        let _ = self.named.set(canonical(client));
    }

    pub(super) fn name_nobody(&self) {
        self.unnamed.store(true, Relaxed);
    }

    pub(super) fn set_tls(&self, facts: TlsFacts) {
        let _ = self.tls.set(facts);
    }

    pub(super) fn set_client_hello(&self, hello: Bytes) {
        let _ = self.client_hello.set(hello);
    }

    /// Keeps the first bytes of an HTTP/2 client; whether there is room for more.
    pub(super) fn keep_preface(&self, bytes: &[u8]) -> bool {
        let mut kept = self.http2_preface.lock();
        let room = PREFACE_KEPT - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        kept.len() < PREFACE_KEPT
    }

    /// A receiver that turns true when the connection is to take no more requests.
    pub(super) fn retirement(&self) -> watch::Receiver<bool> {
        self.retire
            .get_or_init(|| watch::channel(false).0)
            .subscribe()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.watch.enter(phase, self.clock.now());
    }

    /// How long it has been at what it is at.
    pub(super) fn in_phase(&self) -> Duration {
        Duration::from_millis(self.watch.in_phase(self.clock.now()).into())
    }

    /// Whether it was not to be ended before.
    pub(super) fn end(&self, ending: Ending) -> bool {
        self.watch.end(ending)
    }

    /// Asks an HTTP/2 connection to finish what it has and to end.
    pub(super) fn retire(&self) {
        if let Some(retire) = self.retire.get() {
            retire.send_if_modified(|retired| !std::mem::replace(retired, true));
        }
    }

    pub(super) const fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }
}

impl Recipient for Connection {
    fn sent_bytes(&self) -> u64 {
        self.watch.sent_bytes()
    }

    fn awaits_room(&self) -> bool {
        self.watch.awaits_room()
    }

    fn end(&self, ending: Ending) -> bool {
        self.watch.end(ending)
    }
}

/// A request of an HTTP/2 connection, counted as under way as long as it lasts.
#[derive(Debug)]
pub(crate) struct OpenStream {
    connection: Arc<Connection>,
    held: bool,
}

impl OpenStream {
    pub(super) fn enter(connection: &Arc<Connection>) -> Self {
        connection.watch.stream_begins();
        Self {
            connection: Arc::clone(connection),
            held: false,
        }
    }

    /// A stream that the tarpit holds.
    fn hold(connection: &Arc<Connection>) -> Self {
        let mut stream = Self::enter(connection);
        stream.held = true;
        connection.watch.hold_begins();
        stream
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let watch = &self.connection.watch;
        if self.held {
            watch.hold_ends();
        }
        watch.stream_ends(self.connection.clock.now());
    }
}
