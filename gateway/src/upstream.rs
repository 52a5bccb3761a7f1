//! Origins: where a request goes on to.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use pingora::{
    protocols::TcpKeepalive,
    upstreams::peer::{HttpPeer, PeerOptions},
};
use thornwall_filters::build::BuildContext;

use crate::config;

/// One origin, resolved.
#[derive(Debug)]
pub struct Upstream {
    /// Label of logs.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    peer: HttpPeer,
}

impl Upstream {
    /// Resolves an origin, or notes what is wrong with it.
    pub fn build(spec: &config::Upstream, context: &mut BuildContext) -> Option<Self> {
        let [server] = spec.servers.get_ref().as_slice() else {
            context.problem(
                spec.servers.span(),
                "several servers of one upstream are still to come; expected exactly one",
            );
            return None;
        };
        let text = server.address.get_ref();
        let address = match text.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => address,
            Ok(None) => {
                context.problem(server.address.span(), format!("`{text}` has no address"));
                return None;
            }
            Err(error) => {
                let what = format!("`{text}`: {error}; expected an address or name, and a port");
                context.problem(server.address.span(), what);
                return None;
            }
        };
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options = options(spec);
        Some(Self {
            name: spec.name.get_ref().clone(),
            address,
            peer,
        })
    }

    /// What Pingora connects to.
    pub fn peer(&self) -> Box<HttpPeer> {
        Box::new(self.peer.clone())
    }
}

/// Pingora leaves every one of these without a limit.
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
    options
}

/// A peer that vanished without a word is noticed after some 90 s.
pub const fn tcp_keepalive() -> TcpKeepalive {
    TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        count: 3,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    }
}
