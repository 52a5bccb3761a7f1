//! Whether an answer speaks of its own server: origins build addresses from where they listen.

use std::net::{IpAddr, Ipv6Addr};

use super::{Upstream, address::Address};

impl Upstream {
    /// Whether one of its servers is at this host, in the form that sites are looked up by, and port.
    pub(crate) fn is_at(&self, host: &str, port: u16) -> bool {
        let address = literal(host);
        let configured = |address: &Address| names(address, host, port);
        let looked_up = |place: &pingora::protocols::l4::socket::SocketAddr| {
            let place = place.as_inet();
            place.is_some_and(|place| {
                place.port() == port && Some(place.ip().to_canonical()) == address
            })
        };
        let mut servers = self.servers.iter();
        servers.any(|server| configured(&server.address))
            || self
                .table
                .load()
                .endpoints
                .iter()
                .any(|endpoint| looked_up(&endpoint.peer._address))
    }

    /// Whether one of its servers listens on this port.
    pub(crate) fn has_port(&self, port: u16) -> bool {
        let own = |address: &Address| match address {
            Address::Inet(address) => address.port() == port,
            Address::Name(_, own) => *own == port,
            Address::Unix(_) => false,
        };
        self.servers.iter().any(|server| own(&server.address))
    }
}

fn names(address: &Address, host: &str, port: u16) -> bool {
    match address {
        Address::Inet(address) => {
            let ip = address.ip().to_canonical();
            address.port() == port
                && (literal(host) == Some(ip) || (ip.is_loopback() && is_loopback(host)))
        }
        Address::Name(name, own) => {
            let name = name.trim_end_matches('.');
            *own == port
                && (name.eq_ignore_ascii_case(host) || (is_loopback(name) && is_loopback(host)))
        }
        // What listens there has no address; those who must name one say this.
        Address::Unix(_) => port == 80 && is_loopback(host),
    }
}

/// All of them are this machine, whatever the origin calls it.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || literal(host).is_some_and(|ip| ip.is_loopback())
}

fn literal(host: &str) -> Option<IpAddr> {
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match inside {
        Some(inside) => inside
            .parse::<Ipv6Addr>()
            .ok()
            .map(|ip| IpAddr::V6(ip).to_canonical()),
        None => host.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, names};

    #[test]
    fn a_server_goes_by_its_address_its_name_and_as_this_machine() {
        let check = |address: &str, host: &str, port: u16, expected: bool| {
            let address = Address::parse(address).unwrap();
            assert_eq!(names(&address, host, port), expected, "{address:?} {host}");
        };
        check("192.0.2.1:9000", "192.0.2.1", 9000, true);
        check("192.0.2.1:9000", "192.0.2.1", 80, false);
        check("192.0.2.1:9000", "localhost", 9000, false);
        check("127.0.0.1:9000", "localhost", 9000, true);
        check("[2001:db8::1]:9000", "[2001:db8::1]", 9000, true);
        check("[::ffff:192.0.2.1]:9000", "192.0.2.1", 9000, true);
        check("app.internal:9000", "app.internal", 9000, true);
        check("app.internal:9000", "other.internal", 9000, false);
        check("localhost:9000", "127.0.0.1", 9000, true);
        check("unix:/run/app.sock", "localhost", 80, true);
        check("unix:/run/app.sock", "site.example", 80, false);
    }
}
