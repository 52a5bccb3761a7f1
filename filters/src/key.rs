//! What a limit counts by: who owns a bucket, a count or an allowance.
//!
//! A key is a keyed hash, so that an owner of any length takes 16 bytes and no client can choose
//! owners that fall on the same place. It does not depend on the filter that asks: the same owner
//! has the same key in each.

mod rule;
mod template;

use std::{fmt, net::IpAddr};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

pub use self::rule::{KeyRule, KeySpec};
use thornwall_decisions::limit_report;
use thornwall_detectors::address::{canonical, neighbourhood, subscriber};

/// An owner, always of one site: the site's number and 112 bits of SipHash-1-3.
///
/// Among 2^24 keys of a site, the most that a table holds, two are alike with a probability of
/// 2^-65; without the [`KeySeed`] such a pair cannot be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LimitKey {
    /// The site's number in the upper 16 bits.
    high: u64,
    low: u64,
}

impl LimitKey {
    /// The key without its site, which every gateway with the same [`KeySeed`] has alike.
    pub fn digest(self) -> limit_report::Digest {
        let mut digest = [0; limit_report::DIGEST];
        digest[..6].copy_from_slice(&self.high.to_be_bytes()[2..]);
        digest[6..].copy_from_slice(&self.low.to_be_bytes());
        digest
    }

    /// The key of a site with this digest.
    pub fn of(site: u16, digest: limit_report::Digest) -> Self {
        let mut high = [0; 8];
        high[..2].copy_from_slice(&site.to_be_bytes());
        high[2..].copy_from_slice(&digest[..6]);
        let mut low = [0; 8];
        low.copy_from_slice(&digest[6..]);
        Self {
            high: u64::from_be_bytes(high),
            low: u64::from_be_bytes(low),
        }
    }

    /// The site that it belongs to.
    pub const fn site(self) -> u16 {
        (self.high >> 48) as u16
    }

    /// Evenly spread bits that place the key in a table. One client's places on different
    /// sites have nothing to do with each other.
    pub(crate) const fn place(self) -> u64 {
        // 2^64 over the golden ratio (Knuth, TAOCP volume 3, section 6.4).
        let site = (self.high >> 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.low.wrapping_add(site.rotate_left(32) ^ site)
    }
}

/// The secret that keys are made with.
#[derive(Clone, Copy)]
pub struct KeySeed([u8; 16]);

impl KeySeed {
    /// The seed of an installation, from its secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length of key will do");
        mac.update(b"keys of limits");
        let whole = mac.finalize().into_bytes();
        let mut seed = [0; 16];
        seed.copy_from_slice(&whole[..16]);
        Self(seed)
    }

    /// The seed of gateways that keep limits together. It is no secret, and need not be: there are
    /// 112 bits of each key, and nothing but its bucket hangs on one.
    pub fn shared(tenant: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update("keys of shared limits ");
        hash.update(tenant);
        let whole = hash.finalize();
        let mut seed = [0; 16];
        seed.copy_from_slice(&whole[..16]);
        Self(seed)
    }

    /// One client: an IPv4 address, or the /64 of an IPv6 address.
    #[inline]
    pub fn client(&self, site: u16, client: IpAddr) -> LimitKey {
        let mut owner = self.owner();
        owner.client(client);
        owner.key(site)
    }

    /// A hash of other things under this seed.
    pub(crate) fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }

    #[inline]
    fn owner(&self) -> Owner {
        Owner(SipHasher13::new_with_key(&self.0))
    }
}

impl Default for KeySeed {
    /// A seed that differs from process to process.
    fn default() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let random = RandomState::new();
        let word = |number: u64| random.hash_one(number).to_ne_bytes();
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&word(0));
        seed[8..].copy_from_slice(&word(1));
        Self(seed)
    }
}

impl fmt::Debug for KeySeed {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySeed")
    }
}

/// An owner in the making: parts, each marked by a tag.
struct Owner(SipHasher13);

impl Owner {
    #[inline]
    fn client(&mut self, client: IpAddr) -> bool {
        match subscriber(canonical(client)) {
            IpAddr::V4(v4) => self.word(1, v4.to_bits().into()),
            IpAddr::V6(v6) => self.word(2, (v6.to_bits() >> 64) as u64),
        }
    }

    #[inline]
    fn prefix(&mut self, client: IpAddr) -> bool {
        match neighbourhood(canonical(client)) {
            IpAddr::V4(v4) => self.word(3, v4.to_bits().into()),
            IpAddr::V6(v6) => self.word(4, (v6.to_bits() >> 64) as u64),
        }
    }

    /// Adds a word. Like all that adds a fact, it returns whether there was one.
    #[inline]
    fn word(&mut self, tag: u8, word: u64) -> bool {
        self.0.write_u64(u64::from(tag) << 56 | 8);
        self.0.write_u64(word);
        true
    }

    /// Adds bytes; their number keeps them apart from what follows.
    fn part(&mut self, tag: u8, bytes: &[u8]) -> bool {
        self.0.write_u64(u64::from(tag) << 56 | bytes.len() as u64);
        self.0.write(bytes);
        true
    }

    #[inline]
    fn key(self, site: u16) -> LimitKey {
        let (high, low) = self.0.finish128().as_u64();
        LimitKey {
            high: u64::from(site) << 48 | high >> 16,
            low,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{KeySeed, LimitKey};

    #[test]
    fn keys_join_what_belongs_together() {
        let seed = KeySeed::new(&[1; 32]);
        let prefix = |client: IpAddr| {
            let mut owner = seed.owner();
            owner.prefix(client);
            owner.key(1)
        };
        let check = |one: &str, other: &str, same_client: bool, same_prefix: bool| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            let same: fn(LimitKey, LimitKey) -> bool = |one, other| one == other;
            assert_eq!(
                same(seed.client(1, one), seed.client(1, other)),
                same_client,
                "{one} {other}"
            );
            assert_eq!(
                same(prefix(one), prefix(other)),
                same_prefix,
                "{one} {other}"
            );
            assert_ne!(seed.client(1, one), seed.client(2, one));
            assert_ne!(seed.client(1, one), prefix(one));
        };
        check("192.0.2.1", "192.0.2.1", true, true);
        check("192.0.2.1", "::ffff:192.0.2.1", true, true);
        check("192.0.2.1", "192.0.2.2", false, true);
        check("192.0.2.1", "192.0.3.1", false, false);
        check("2001:db8:1:2::3", "2001:db8:1:2:4::5", true, true);
        check("2001:db8:1:2::3", "2001:db8:1:3::3", false, true);
        check("2001:db8:1:2::3", "2001:db8:2:2::3", false, false);
        check("0.0.0.0", "::", false, false);
    }

    #[test]
    fn keys_belong_to_a_site_and_an_installation() {
        let client = "192.0.2.1".parse().unwrap();
        let seed = KeySeed::new(&[1; 32]);
        assert_eq!(seed.client(65_535, client).site(), 65_535);
        assert_eq!(
            seed.client(7, client),
            KeySeed::new(&[1; 32]).client(7, client)
        );
        assert_ne!(
            seed.client(7, client),
            KeySeed::new(&[2; 32]).client(7, client)
        );
        assert_ne!(
            KeySeed::default().client(7, client),
            KeySeed::default().client(7, client)
        );
        let place = |site: u16| seed.client(site, client).place();
        assert_ne!(place(0) & 0xffff, place(1) & 0xffff);
        assert_ne!(place(0) >> 48, place(1) >> 48);
    }
}
