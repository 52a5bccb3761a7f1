//! What a bucket belongs to.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use thornwall_detectors::address::{canonical, neighbourhood, subscriber};

/// The owner of a bucket: a client, a network or a whole site, always of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// An IPv4 address in the second word, or the first 64 bits of an IPv6 address.
    network: [u32; 2],
    /// The site's number above the [`Kind`].
    owner: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClientV4 = 0,
    ClientV6 = 1,
    PrefixV4 = 2,
    PrefixV6 = 3,
    Site = 4,
}

impl Key {
    /// One client: an IPv4 address, or the /64 of an IPv6 address.
    pub fn client(site: u16, client: IpAddr) -> Self {
        match subscriber(canonical(client)) {
            IpAddr::V4(v4) => Self::v4(site, Kind::ClientV4, v4),
            IpAddr::V6(v6) => Self::v6(site, Kind::ClientV6, v6),
        }
    }

    /// The client's neighbourhood: a /24 of IPv4 or a /48 of IPv6.
    pub fn prefix(site: u16, client: IpAddr) -> Self {
        match neighbourhood(canonical(client)) {
            IpAddr::V4(v4) => Self::v4(site, Kind::PrefixV4, v4),
            IpAddr::V6(v6) => Self::v6(site, Kind::PrefixV6, v6),
        }
    }

    /// All clients of a site together.
    pub const fn site(site: u16) -> Self {
        Self::new(site, Kind::Site, [0; 2])
    }

    /// The key of the neighbourhood that a client's key lies in; of other keys the key itself.
    pub(super) fn network(self) -> Self {
        let [high, low] = self.network;
        let site = (self.owner >> 16) as u16;
        if self.owner & 0xffff == Kind::ClientV4 as u32 {
            Self::prefix(site, Ipv4Addr::from_bits(low).into())
        } else if self.owner & 0xffff == Kind::ClientV6 as u32 {
            let bits = u128::from(high) << 96 | u128::from(low) << 64;
            Self::prefix(site, Ipv6Addr::from_bits(bits).into())
        } else {
            self
        }
    }

    const fn v4(site: u16, kind: Kind, address: Ipv4Addr) -> Self {
        Self::new(site, kind, [0, address.to_bits()])
    }

    const fn v6(site: u16, kind: Kind, address: Ipv6Addr) -> Self {
        let bits = address.to_bits();
        Self::new(site, kind, [(bits >> 96) as u32, (bits >> 64) as u32])
    }

    const fn new(site: u16, kind: Kind, network: [u32; 2]) -> Self {
        Self {
            network,
            owner: (site as u32) << 16 | kind as u32,
        }
    }
}

impl Hash for Key {
    /// In two words; derived, the array would bring its length along.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [high, low] = self.network;
        state.write_u64(u64::from(high) << 32 | u64::from(low));
        state.write_u32(self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn keys_join_what_belongs_together() {
        let check = |one: &str, other: &str, same_client: bool, same_prefix: bool| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(
                Key::client(1, one) == Key::client(1, other),
                same_client,
                "{one} {other}"
            );
            assert_eq!(
                Key::prefix(1, one) == Key::prefix(1, other),
                same_prefix,
                "{one} {other}"
            );
            assert_eq!(Key::client(1, one).network(), Key::prefix(1, one));
            assert_eq!(Key::prefix(1, one).network(), Key::prefix(1, one));
            assert_ne!(Key::client(1, one), Key::client(2, one));
            assert_ne!(Key::client(1, one), Key::prefix(1, one));
        };
        check("192.0.2.1", "192.0.2.1", true, true);
        check("192.0.2.1", "::ffff:192.0.2.1", true, true);
        check("192.0.2.1", "192.0.2.2", false, true);
        check("192.0.2.1", "192.0.3.1", false, false);
        check("2001:db8:1:2::3", "2001:db8:1:2:4::5", true, true);
        check("2001:db8:1:2::3", "2001:db8:1:3::3", false, true);
        check("2001:db8:1:2::3", "2001:db8:2:2::3", false, false);
        check("0.0.0.0", "::", false, false);
        assert_ne!(Key::site(1), Key::site(2));
        assert_eq!(Key::site(1).network(), Key::site(1));
    }
}
