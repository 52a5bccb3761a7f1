//! The key of a limit as it is written, and what it makes of a request.

use std::{fmt, ops::Range};

use http::HeaderName;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use thornwall_detectors::{cookies, request::RequestView, signal::Label};
use toml::Spanned;

use super::{KeySeed, LimitKey, Owner, template::Template};
use thornwall_settings::report::{Noted, Report};

/// Most facts of one key.
const MOST_PARTS: usize = 8;

const EXPECTED: &str = "`client`, `prefix`, `site`, `path`, `header:NAME` or `cookie:NAME`";

/// Facts that nothing finds out yet.
const TO_COME: [&str; 5] = ["asn", "country", "crawler", "fingerprint", "token"];

/// `key` as it is written: one fact, or a list of several that count together.
#[derive(Debug)]
pub enum KeySpec {
    /// `"client"`.
    One(String),
    /// `["client", "path"]`.
    All(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for KeySpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = KeySpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text such as \"client\", or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<KeySpec, E> {
                Ok(KeySpec::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<KeySpec, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = list.next_element()? {
                    all.push(text);
                }
                Ok(KeySpec::All(all))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A fact of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Client,
    Cookie(String),
    Header(HeaderName),
    Path,
    Prefix,
    Site,
}

/// Makes the keys of one limit.
#[derive(Debug)]
pub struct KeyRule {
    parts: Vec<Part>,
    seed: KeySeed,
    label: Label,
}

impl KeyRule {
    /// Reads `key`, or notes what is wrong with it; without one, clients are counted.
    pub fn build(
        spec: Option<&Spanned<KeySpec>>,
        seed: KeySeed,
        report: &mut Report,
    ) -> Result<Self, Noted> {
        let before = report.problems.len();
        let mut parts = match spec.map(|spec| (spec.get_ref(), spec.span())) {
            None => vec![Part::Client],
            Some((KeySpec::One(text), span)) => parse(text, span, report).into_iter().collect(),
            Some((KeySpec::All(texts), span)) => parse_all(texts, span, report),
        };
        if report.problems.len() != before {
            return Err(Noted);
        }
        // The order in which they are written means nothing.
        parts.sort_by_cached_key(Part::to_string);
        let names: Vec<String> = parts.iter().map(Part::to_string).collect();
        Ok(Self {
            label: Label::new(&names.join("+")),
            parts,
            seed,
        })
    }

    /// The key of a request.
    pub fn key(&self, request: &RequestView<'_>) -> LimitKey {
        let mut owner = self.seed.owner();
        for part in &self.parts {
            let found = match part {
                Part::Client => false,
                Part::Cookie(name) => owner.cookie(name, request),
                Part::Header(name) => owner.header(name, request),
                Part::Path => owner.part(5, Template::of(&request.path).as_bytes()),
                Part::Prefix => owner.prefix(request.client),
                Part::Site => true,
            };
            // Clients without the header or cookie must not share one limit.
            if !found {
                owner.client(request.client);
            }
        }
        owner.key(request.site.id)
    }

    /// What is counted by, for people.
    pub const fn label(&self) -> Label {
        self.label
    }

    /// Warns where nothing in the key of a filter of this kind separates clients.
    pub(crate) fn warn_of_sharing(&self, kind: &str, report: &mut Report) {
        let common = |part: &Part| matches!(part, Part::Path | Part::Site);
        if self.parts.iter().all(common) {
            report.warnings.push(format!(
                "{}: a `{kind}` with key = \"{}\" lets one attacker shut everybody out",
                report.scope,
                self.label.as_str()
            ));
        }
    }
}

impl Owner {
    /// Adds the values of a header; whether there are any.
    fn header(&mut self, name: &HeaderName, request: &RequestView<'_>) -> bool {
        let mut found = false;
        for value in request.headers.get_all(name) {
            if !value.is_empty() {
                self.part(6, name.as_str().as_bytes());
                self.part(6, value.as_bytes());
                found = true;
            }
        }
        found
    }

    /// Adds the value of a cookie; whether there is one.
    fn cookie(&mut self, name: &str, request: &RequestView<'_>) -> bool {
        let value = cookies::find(request.headers, name);
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return false;
        };
        self.part(7, name.as_bytes());
        self.part(7, value);
        true
    }
}

fn parse_all(texts: &[Spanned<String>], span: Range<usize>, report: &mut Report) -> Vec<Part> {
    if texts.is_empty() || texts.len() > MOST_PARTS {
        let what = format!(
            "`key` lists {} facts; expected 1 to {MOST_PARTS}",
            texts.len()
        );
        report.problem(span, what);
    }
    let mut parts = Vec::new();
    for text in texts {
        let Some(part) = parse(text.get_ref(), text.span(), report) else {
            continue;
        };
        if parts.contains(&part) {
            report.problem(
                text.span(),
                format!("`{part}` is there twice; expected it once"),
            );
        }
        if part == Part::Site && texts.len() > 1 {
            let what = "each site counts for itself anyway; expected `site` alone or not at all";
            report.problem(text.span(), what);
        }
        parts.push(part);
    }
    parts
}

fn parse(text: &str, span: Range<usize>, report: &mut Report) -> Option<Part> {
    let (kind, name) = match text.split_once(':') {
        Some((kind, name)) => (kind, Some(name)),
        None => (text, None),
    };
    let part = match (kind, name) {
        ("client", None) => Part::Client,
        ("prefix", None) => Part::Prefix,
        ("site", None) => Part::Site,
        ("path", None) => Part::Path,
        ("header", Some(name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Part::Header(name),
            Err(_) => {
                report.problem(span, format!("`{name}` is no name of a header"));
                return None;
            }
        },
        ("cookie", Some(name)) if cookies::is_name(name) => Part::Cookie(name.to_owned()),
        ("cookie", Some(name)) => {
            report.problem(span, format!("`{name}` is no name of a cookie"));
            return None;
        }
        (fact, _) if TO_COME.contains(&fact) => {
            let what = format!("the fact `{fact}` is still to come; expected {EXPECTED}");
            report.problem(span, what);
            return None;
        }
        _ => {
            report.problem(span, format!("`{text}` is no key; expected {EXPECTED}"));
            return None;
        }
    };
    Some(part)
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Prefix => f.write_str("prefix"),
            Self::Site => f.write_str("site"),
            Self::Path => f.write_str("path"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

#[cfg(test)]
mod tests;
