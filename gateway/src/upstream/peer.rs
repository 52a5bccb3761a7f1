//! What Pingora gets to know about a server. It leaves every time without a limit, keeps one
//! request on an HTTP/2 connection, and shares connections between settings that differ; all of it
//! ends here.

use std::time::Duration;

use pingora::{
    protocols::TcpKeepalive,
    upstreams::peer::{HttpPeer, PeerOptions},
};

use super::tls::Tls;
use crate::{
    config::{self, HttpVersion},
    hash::Key,
};

/// Requests at once on one HTTP/2 connection: as many as most servers take.
const H2_STREAMS: usize = 100;

/// How often an HTTP/2 connection is asked whether it is alive.
const H2_PING: Duration = Duration::from_secs(30);

/// A peer without its address.
pub(super) fn template(spec: &config::Upstream, tls: Option<&Tls>, name: String) -> HttpPeer {
    let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let mut peer = HttpPeer::new(nowhere, tls.is_some(), name);
    peer.options = options(spec);
    if let Some(tls) = tls {
        peer.options.ca.clone_from(&tls.authorities);
        peer.client_cert_key.clone_from(&tls.certificate);
    }
    peer.group_key = group(spec, tls).0;
    peer
}

/// Connections are shared only within a group: its members trust the same authorities, show the
/// same certificate and speak the same protocol.
fn group(spec: &config::Upstream, tls: Option<&Tls>) -> Key {
    let protocol: &[u8] = match spec.http {
        HttpVersion::One => b"1",
        HttpVersion::Two => b"2",
    };
    let trust = tls.map_or_else(Key::default, |tls| tls.key.with(Key(1)));
    let name = Key::of(spec.name.get_ref().as_bytes());
    name.with(Key::of(protocol)).with(trust)
}

fn options(spec: &config::Upstream) -> PeerOptions {
    let connect = Duration::from_millis(u64::from(spec.connect_timeout_ms.get()));
    let read = Duration::from_secs(u64::from(spec.read_timeout_secs.get()));
    let mut options = PeerOptions::new();
    options.connection_timeout = Some(connect);
    options.total_connection_timeout = Some(connect.saturating_mul(2));
    options.read_timeout = Some(read);
    options.write_timeout = Some(read);
    options.idle_timeout = Some(Duration::from_secs(u64::from(spec.idle_timeout_secs.get())));
    options.tcp_keepalive = Some(tcp_keepalive());
    let room = usize::try_from(spec.receive_buffer_bytes).unwrap_or(usize::MAX);
    options.tcp_recv_buf = (room > 0 && spec.http == HttpVersion::One).then_some(room);
    if spec.http == HttpVersion::Two {
        options.set_http_version(2, 2);
        options.max_h2_streams = H2_STREAMS;
        options.h2_ping_interval = Some(H2_PING);
    }
    options
}

/// A peer that vanished without a FIN or RST is noticed after some 90 s.
pub(crate) const fn tcp_keepalive() -> TcpKeepalive {
    TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        count: 3,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    }
}
