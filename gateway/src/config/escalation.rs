//! `[escalation]`: the sidecars that give a second opinion.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use toml::Spanned;

/// Where they are, and how they are talked to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// Where they listen.
    pub address: Spanned<Addresses>,
    /// File with the token that they are shown.
    pub token_file: Option<Spanned<String>>,
    /// Authorities that their certificates may come from.
    pub ca_file: Option<Spanned<String>>,
    /// The certificate that they are shown.
    pub certificate_file: Option<Spanned<String>>,
    /// The key of that certificate.
    pub key_file: Option<Spanned<String>>,
    /// What they know this gateway by.
    pub gateway: Option<Spanned<String>>,
    /// Cases that are kept at most, for all of them.
    #[serde(default = "usual_cases")]
    pub max_cases: Spanned<usize>,
}

fn usual_cases() -> Spanned<usize> {
    Spanned::new(0..0, 10_000)
}

impl Escalation {
    /// Every address, with its place.
    pub fn addresses(&self) -> Vec<(&str, Range<usize>)> {
        match self.address.get_ref() {
            Addresses::One(address) => vec![(address, self.address.span())],
            Addresses::Several(addresses) => addresses
                .iter()
                .map(|address| (address.get_ref().as_str(), address.span()))
                .collect(),
        }
    }
}

/// Most sidecars of a gateway.
const MOST_SIDECARS: usize = 16;

/// The address of one sidecar, or a list of several.
#[derive(Debug)]
pub enum Addresses {
    /// `"..."`.
    One(String),
    /// `["...", "..."]`, one at least.
    Several(Vec<Spanned<String>>),
}

// Derived, it would take no spans of what is in the list.
impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressesVisitor)
    }
}

struct AddressesVisitor;

impl<'de> Visitor<'de> for AddressesVisitor {
    type Value = Addresses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an address, or a list of 1 to {MOST_SIDECARS}")
    }

    fn visit_str<E: Error>(self, address: &str) -> Result<Addresses, E> {
        Ok(Addresses::One(address.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
        let mut addresses = Vec::new();
        while let Some(address) = list.next_element()? {
            addresses.push(address);
        }
        if !(1..=MOST_SIDECARS).contains(&addresses.len()) {
            return Err(A::Error::invalid_length(addresses.len(), &self));
        }
        Ok(Addresses::Several(addresses))
    }
}
