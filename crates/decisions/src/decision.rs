//! What has been decided about a client: an entry that ends by itself.
//!
//! Decisions come from operators, filters, feeds and sidecars. Everything in them that
//! is text is bounded, whatever its source.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use thornwall_detectors::signal::Reason;

use crate::prefix_set::{Prefix, PrefixError};

/// Longest text of evidence, of a note and of a name.
pub const MOST_TEXT: usize = 256;
/// Most requests that one decision names.
pub const MOST_REQUESTS: usize = 8;
/// Longest that a decision holds: a year, so that nothing stays by oversight.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// One entry about a client, until its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The subject: an address, as a network of one, or a network.
    pub subject: Prefix,
    /// Where it holds.
    pub scope: Scope,
    /// What happens to requests of the subject.
    pub action: Action,
    /// Reason of the decision.
    pub reason: ReasonCode,
    /// Source of the decision.
    pub source: Source,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What an operator wrote about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Ids of requests that led to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// When it was made, in milliseconds of Unix time.
    pub made_ms: u64,
    /// When it ends, in milliseconds of Unix time.
    pub until_ms: u64,
}

/// Subject and scope of a decision: there is at most one decision for each pair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DecisionKey {
    /// The subject.
    pub subject: Prefix,
    /// Where it holds.
    pub scope: Scope,
}

impl Decision {
    /// What it is about.
    pub fn key(&self) -> DecisionKey {
        DecisionKey {
            subject: self.subject,
            scope: self.scope.clone(),
        }
    }

    /// Cuts what is longer than it may be.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        clip(&mut self.evidence);
        clip(&mut self.note);
        self.requests.truncate(MOST_REQUESTS);
        self.requests.iter_mut().for_each(clip);
        let longest = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
        self.until_ms = self.until_ms.min(self.made_ms.saturating_add(longest));
        self
    }
}

fn clip(text: &mut String) {
    text.truncate(text.floor_char_boundary(MOST_TEXT));
}

/// A change of the store: a decision or a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An entry.
    Decide(Decision),
    /// No entry about this any more.
    Withdraw(Withdrawal),
}

/// Withdrawal of an entry: its source, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Subject and scope of the entry.
    pub key: DecisionKey,
    /// Source of the withdrawal.
    pub source: Source,
    /// When, in milliseconds of Unix time.
    pub made_ms: u64,
}

impl Change {
    /// What it is about.
    pub fn key(&self) -> DecisionKey {
        match self {
            Self::Decide(decision) => decision.key(),
            Self::Withdraw(withdrawal) => withdrawal.key.clone(),
        }
    }

    /// When it was made, in milliseconds of Unix time.
    pub const fn made_ms(&self) -> u64 {
        match self {
            Self::Decide(decision) => decision.made_ms,
            Self::Withdraw(withdrawal) => withdrawal.made_ms,
        }
    }

    /// Source of the change.
    pub const fn source(&self) -> &Source {
        match self {
            Self::Decide(decision) => &decision.source,
            Self::Withdraw(withdrawal) => &withdrawal.source,
        }
    }
}

/// Where a decision holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Option<Arc<str>>", into = "Option<Arc<str>>")]
pub enum Scope {
    /// For every site.
    Deployment,
    /// For the site of this name.
    Site(Arc<str>),
}

impl From<Option<Arc<str>>> for Scope {
    fn from(site: Option<Arc<str>>) -> Self {
        site.map_or(Self::Deployment, Self::Site)
    }
}

impl From<Scope> for Option<Arc<str>> {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Deployment => None,
            Scope::Site(name) => Some(name),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment => f.write_str("every site"),
            Self::Site(name) => write!(f, "site {name}"),
        }
    }
}

macro_rules! actions {
    ($($(#[$about:meta])* $name:ident = $number:literal $text:literal,)+) => {
        /// What is done to a client. Actions are listed, and compared, by how harsh they are.
        ///
        /// The numbers are on disks: one that was given stays, whatever is added. They say nothing
        /// about which action is harsher.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Action { $($(#[$about])* #[serde(rename = $text)] $name,)+ }

        impl Action {
            /// Every action, the mildest first.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name,)+];

            /// How many there are: `action as usize` is below it.
            pub const COUNT: usize = [$($number,)+].len();

            /// The number in records on the disk.
            pub(crate) const fn number(self) -> u8 {
                match self { $(Self::$name => $number,)+ }
            }

            /// The action of a number in a record; `None` where another version wrote it.
            pub(crate) const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// How it is written.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

// The mildest first.
actions! {
    /// The pipeline's slower rate.
    Throttle = 2 "throttle",
    /// A slow stream of worthless text.
    Tarpit = 1 "tarpit",
    /// 403; for the whole deployment, no connection at all.
    Deny = 0 "deny",
}

impl Action {
    /// Whether the client's requests are served all the same: such an action weighs nothing on
    /// their score, and is no offence that leads to a decision.
    pub const fn serves(self) -> bool {
        match self {
            Self::Throttle => true,
            Self::Tarpit | Self::Deny => false,
        }
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|action| action.name() == text);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().rev().map(|action| action.name()).collect();
            let (last, others) = names.split_last().unwrap_or((&"", &[]));
            format!("expected {} or {last}", others.join(", "))
        })
    }
}

/// Source of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A feed, by name.
    Feed(Arc<str>),
    /// A filter, by the names of its pipeline and itself.
    Filter(Arc<str>),
    /// An operator.
    Operator,
    /// The system that Thornwall replaces, which still writes its own keys.
    Predecessor,
    /// A sidecar, about a case that a gateway sent to it.
    Sidecar,
}

impl Source {
    /// The label of metrics and evidence.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Feed(_) => "feed",
            Self::Filter(_) => "filter",
            Self::Operator => "operator",
            Self::Predecessor => "predecessor",
            Self::Sidecar => "sidecar",
        }
    }

    /// Whether a decision of this source stands against a change of `other`: an operator's stands
    /// against all but another operator's.
    pub const fn stands_against(&self, other: &Self) -> bool {
        matches!(self, Self::Operator) && !matches!(other, Self::Operator)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(name) | Self::Filter(name) => write!(f, "{}:{name}", self.kind()),
            Self::Operator | Self::Predecessor | Self::Sidecar => f.write_str(self.kind()),
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Source {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let named = |name: &str| -> Result<Arc<str>, Self::Error> {
            match name.len() {
                1..=MOST_TEXT => Ok(name.into()),
                _ => Err("the name of a source is empty or too long"),
            }
        };
        match text.split_once(':') {
            Some(("feed", name)) => named(name).map(Self::Feed),
            Some(("filter", name)) => named(name).map(Self::Filter),
            None if text == "operator" => Ok(Self::Operator),
            None if text == "predecessor" => Ok(Self::Predecessor),
            None if text == "sidecar" => Ok(Self::Sidecar),
            _ => {
                Err("no source; expected operator, predecessor, sidecar, feed:NAME or filter:NAME")
            }
        }
    }
}

/// Reason code of a decision, which may be another version's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReasonCode {
    /// A code of another version, or of another program.
    Foreign(Arc<str>),
    /// A code of this version.
    Known(Reason),
}

/// Longest code: longer than any of ours.
const LONGEST_CODE: usize = 64;

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(code) => f.write_str(code),
            Self::Known(reason) => f.write_str(reason.code()),
        }
    }
}

impl From<ReasonCode> for String {
    fn from(code: ReasonCode) -> Self {
        code.to_string()
    }
}

impl TryFrom<String> for ReasonCode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if let Some(reason) = Reason::from_code(&text) {
            return Ok(Self::Known(reason));
        }
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
        if (1..=LONGEST_CODE).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self::Foreign(text.into()));
        }
        Err("no reason code; expected up to 64 of a-z, 0-9, _ and .")
    }
}

/// Error: the text is not a valid subject.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// A kind of subject that nothing is known about yet.
    #[error("`{0}` is a kind of subject that is still to come; expected an address or a network")]
    StillToCome(String),
    /// Not an address.
    #[error(transparent)]
    Network(#[from] PrefixError),
}

/// Kinds of subject that requests have no facts about yet.
const STILL_TO_COME: &[&str] = &["asn", "fingerprint", "token"];

/// Parses a subject as an operator writes it. Bits behind the prefix are cleared, and reported in the
/// second value.
pub fn parse_subject(text: &str) -> Result<(Prefix, Option<String>), SubjectError> {
    if let Some((kind, _)) = text.split_once(':')
        && STILL_TO_COME.contains(&kind)
    {
        return Err(SubjectError::StillToCome(kind.to_owned()));
    }
    Prefix::lenient(text).map_err(SubjectError::Network)
}

#[cfg(test)]
mod tests;
