//! Upstreams that lead to the gateway itself.

use std::net::{IpAddr, SocketAddr};

use thornwall_settings::report::Report;

use super::socket_address;
use crate::config::Config;

/// Warns of servers that are listeners of ours. Names are looked up later, and what they come to
/// may change.
pub(super) fn warn(config: &Config, report: &mut Report) {
    let ours: Vec<SocketAddr> = config.listener.iter().filter_map(socket_address).collect();
    for upstream in &config.upstream {
        for server in upstream.servers.get_ref() {
            let written = server.address.get_ref();
            let numbered = written.replacen("localhost:", "127.0.0.1:", 1);
            let Ok(address) = numbered.parse::<SocketAddr>() else {
                continue;
            };
            if ours.iter().any(|listener| reaches(address, *listener)) {
                let name = upstream.name.get_ref();
                report.warnings.push(format!(
                    "upstream `{name}`: {written} is a listener of the gateway itself; what a site \
                     sends there comes back to it, and is answered with 508"
                ));
            }
        }
    }
}

/// Whether a connection to `address` comes to `listener`, as far as the machine's own addresses are known.
fn reaches(address: SocketAddr, listener: SocketAddr) -> bool {
    let here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    let everywhere = listener.ip().is_unspecified() && here(address.ip());
    address.port() == listener.port() && (address.ip() == listener.ip() || everywhere)
}

#[cfg(test)]
mod tests {
    use super::reaches;

    #[test]
    fn a_listener_is_reached_by_its_address() {
        let check = |address: &str, listener: &str, expected: bool| {
            let found = reaches(address.parse().unwrap(), listener.parse().unwrap());
            assert_eq!(found, expected, "{address} {listener}");
        };
        check("127.0.0.1:80", "127.0.0.1:80", true);
        check("127.0.0.1:80", "0.0.0.0:80", true);
        check("127.0.0.1:80", "[::]:80", true);
        check("[::1]:80", "[::]:80", true);
        check("192.0.2.7:80", "192.0.2.7:80", true);
        check("127.0.0.1:81", "127.0.0.1:80", false);
        check("192.0.2.7:80", "127.0.0.1:80", false);
        check("192.0.2.7:80", "0.0.0.0:80", false);
    }
}
