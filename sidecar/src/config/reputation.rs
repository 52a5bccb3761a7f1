//! Services that know addresses: `[[reputation]]`.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use toml::Spanned;

use super::Limits;
use crate::http::Address;

/// One service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reputation {
    /// The service's name in evidence and metrics.
    pub name: Spanned<String>,
    /// Kind of the service.
    pub kind: Kind,
    /// File with the key that it knows us by.
    pub key_file: Option<String>,
    /// Where it is, with `{address}` for the client's address where `kind` is `http`.
    pub address: Option<Spanned<Template>>,
    /// Header field of the key where `kind` is `http`; in `Authorization` it stands after `Bearer`.
    pub key_header: Option<Spanned<String>>,
    /// JSON pointer (RFC 6901) to the number where `kind` is `http`; the whole answer where absent.
    pub score: Option<Spanned<String>>,
    /// The worst that the number can be where `kind` is `http`; 100 where absent.
    pub full: Option<Spanned<f64>>,
    /// The number from which it counts; half of the worst where absent, which is the predecessor's 50.
    pub floor: Option<Spanned<f64>>,
    /// What the worst number weighs.
    #[serde(default = "most_weight")]
    pub most_weight: Spanned<f32>,
    /// Whether a /64 is asked about by its first address.
    #[serde(default)]
    pub networks: bool,
    /// What asking the service may cost.
    #[serde(default = "limits")]
    pub limits: Spanned<Limits>,
}

/// Kind of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Version 2 of AbuseIPDB.
    Abuseipdb,
    /// Any service that answers a GET with a number in JSON.
    Http,
}

fn most_weight() -> Spanned<f32> {
    Spanned::new(0..0, 0.6)
}

fn limits() -> Spanned<Limits> {
    Spanned::new(0..0, Limits::default())
}

/// An address of a service in which `{address}` stands for the client's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(String);

/// What stands for the client's address.
const PLACE: &str = "{address}";

impl Template {
    /// Whether the client's address has a place.
    pub(crate) fn has_place(&self) -> bool {
        self.0.contains(PLACE)
    }

    /// The address for one client.
    pub(crate) fn of(&self, client: IpAddr) -> Result<Address, String> {
        Address::try_from(self.0.replace(PLACE, &client.to_string()))
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let template = Self(text);
        let [one, other] = [1, 2].map(|last| template.of(Ipv4Addr::new(192, 0, 2, last).into()));
        if one?.origin() != other?.origin() {
            return Err(
                "`{address}` stands in the path or the query, and not in the host".to_owned(),
            );
        }
        Ok(template)
    }
}

impl Reputation {
    pub(crate) fn full(&self) -> f64 {
        self.full.as_ref().map_or(100.0, |full| *full.get_ref())
    }

    /// The number from which it counts.
    pub(crate) fn floor(&self) -> f64 {
        let half = self.full() / 2.0;
        self.floor.as_ref().map_or(half, |floor| *floor.get_ref())
    }

    /// What is wrong with it, and where.
    pub(super) fn complaints(&self) -> Vec<(std::ops::Range<usize>, String)> {
        let mut found = self.form();
        let name = self.name.get_ref();
        if name.is_empty() || name.len() > 64 || name == "classifier" {
            found.push((
                self.name.span(),
                "`reputation.name`: expected 1 to 64 bytes, and not `classifier`".to_owned(),
            ));
        }
        if !(0.0..=1.0).contains(self.most_weight.get_ref()) {
            let what = "`reputation.most_weight`: expected 0 to 1".to_owned();
            found.push((self.most_weight.span(), what));
        }
        if let Some(full) = &self.full
            && !(full.get_ref().is_finite() && *full.get_ref() > 0.0)
        {
            found.push((
                full.span(),
                "`reputation.full`: expected more than 0".to_owned(),
            ));
        }
        if let Some(floor) = &self.floor
            && !(0.0..=self.full()).contains(floor.get_ref())
        {
            let what = format!("`reputation.floor`: expected 0 to {}", self.full());
            found.push((floor.span(), what));
        }
        if let Some(what) = self.limits.get_ref().complaint() {
            found.push((self.limits.span(), format!("`reputation.limits`: {what}")));
        }
        found
    }

    /// What fits its kind.
    fn form(&self) -> Vec<(std::ops::Range<usize>, String)> {
        let mut found = Vec::new();
        let mut wrong = |span, what: &str| found.push((span, format!("`reputation.{what}")));
        match self.kind {
            Kind::Abuseipdb => {
                let texts = [("key_header", &self.key_header), ("score", &self.score)];
                let texts = texts.map(|(key, text)| (key, text.as_ref().map(Spanned::span)));
                let full = ("full", self.full.as_ref().map(Spanned::span));
                for (key, span) in texts.into_iter().chain([full]) {
                    if let Some(span) = span {
                        wrong(span, &format!("{key}` is for `kind = \"http\"` alone"));
                    }
                }
                if self.key_file.is_none() {
                    wrong(
                        self.name.span(),
                        "key_file`: AbuseIPDB answers nobody without a key",
                    );
                }
            }
            Kind::Http => {
                match &self.address {
                    Some(address) if address.get_ref().has_place() => {}
                    Some(address) => wrong(address.span(), "address`: expected `{address}` in it"),
                    None => wrong(self.name.span(), "address` is missing"),
                }
                let pointer = self.score.as_ref();
                let fits = |text: &str| text.is_empty() || text.starts_with('/');
                if let Some(score) = pointer.filter(|score| !fits(score.get_ref())) {
                    wrong(
                        score.span(),
                        "score`: expected a JSON pointer such as \"/score\"",
                    );
                }
            }
        }
        if let Some(header) = &self.key_header
            && reqwest::header::HeaderName::try_from(header.get_ref()).is_err()
        {
            wrong(
                header.span(),
                "key_header`: expected the name of a header field",
            );
        }
        found
    }
}

#[cfg(test)]
mod tests;
