//! Keys and values of the shared store, which others may have written.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    decision::{Change, Decision, DecisionKey, MOST_TEXT, Scope, Source, Withdrawal},
    prefix_set::Prefix,
};

/// Largest value that is read: the longest texts of a decision, each byte of them escaped.
pub(super) const MOST_BYTES: usize = 32 << 10;

/// Names of everything that belongs to one deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    tenant: String,
}

impl Names {
    /// The names that begin with `tenant`: 1 to 64 of a-z, 0-9, `_` and `-`; nothing else.
    pub fn new(tenant: &str) -> Option<Self> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let fits = (1..=64).contains(&tenant.len()) && tenant.bytes().all(plain);
        fits.then(|| Self {
            tenant: tenant.to_owned(),
        })
    }

    /// The key of a decision.
    pub fn decision(&self, key: &DecisionKey) -> String {
        let scope = match &key.scope {
            Scope::Deployment => "*",
            Scope::Site(name) => name,
        };
        format!("{}:decision:{scope}:{}", self.tenant, key.subject)
    }

    /// What all keys of decisions begin with.
    pub(super) fn decisions(&self) -> String {
        format!("{}:decision:", self.tenant)
    }

    /// The stream of changes.
    pub(super) fn stream(&self) -> String {
        format!("{}:decisions", self.tenant)
    }

    /// The channel on which gateways publish what they let through.
    pub(super) fn limits(&self) -> String {
        format!("{}:limits", self.tenant)
    }

    /// The channel on which gateways publish what they counted.
    pub(super) fn counters(&self) -> String {
        format!("{}:counters", self.tenant)
    }

    /// Which life of the shared store this is.
    pub(super) fn epoch(&self) -> String {
        format!("{}:epoch", self.tenant)
    }

    /// What shows that the gateway of this number is there.
    pub(super) fn gateway(&self, number: u64) -> String {
        format!("{}:gateway:{number:016x}", self.tenant)
    }

    /// What the predecessor's keys begin with; an address follows.
    pub(super) fn predecessor(&self) -> String {
        format!("{}:blocklist:ip:", self.tenant)
    }
}

/// Error: a value of the shared store is not a valid entry.
#[derive(Debug, Error)]
pub enum EntryError {
    /// Not what this version writes.
    #[error("no change of this version: {0}")]
    Form(#[from] serde_json::Error),
    /// Under the key of something else.
    #[error("under the key of another decision")]
    Key,
    /// Larger than anything that is written here.
    #[error("larger than {MOST_BYTES} bytes")]
    Large,
    /// The name of a site is empty or too long.
    #[error("no name of a site")]
    Site,
}

/// A change as it is written into the stream.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Decide(Decision),
    Withdraw {
        subject: Prefix,
        scope: Scope,
        made_ms: u64,
    },
}

/// A decision as JSON.
pub(super) fn encode_value(decision: &Decision) -> String {
    // A struct of texts and numbers always becomes JSON.
    serde_json::to_string(decision).unwrap_or_default()
}

/// A decision as an entry of the stream.
pub(super) fn encode_decision(decision: &Decision) -> String {
    encode(&Entry::Decide(decision.clone()))
}

/// A withdrawal as an entry of the stream.
pub(super) fn encode_withdrawal(key: &DecisionKey, made_ms: u64) -> String {
    encode(&Entry::Withdraw {
        subject: key.subject,
        scope: key.scope.clone(),
        made_ms,
    })
}

fn encode(entry: &Entry) -> String {
    serde_json::to_string(entry).unwrap_or_default()
}

/// The change of an entry of the stream.
pub fn decode_entry(bytes: &[u8]) -> Result<Change, EntryError> {
    if bytes.len() > MOST_BYTES {
        return Err(EntryError::Large);
    }
    match serde_json::from_slice(bytes)? {
        Entry::Decide(decision) => {
            check_scope(&decision.scope)?;
            Ok(Change::Decide(decision.bounded()))
        }
        Entry::Withdraw {
            subject,
            scope,
            made_ms,
        } => {
            check_scope(&scope)?;
            Ok(Change::Withdraw(Withdrawal {
                key: DecisionKey { subject, scope },
                // The entry names no source: it counts as an operator's.
                source: Source::Operator,
                made_ms,
            }))
        }
    }
}

/// The decision under a key.
pub fn decode_value(names: &Names, key: &[u8], bytes: &[u8]) -> Result<Decision, EntryError> {
    if bytes.len() > MOST_BYTES {
        return Err(EntryError::Large);
    }
    let decision: Decision = serde_json::from_slice(bytes)?;
    check_scope(&decision.scope)?;
    // Elsewhere it would never be withdrawn.
    if names.decision(&decision.key()).as_bytes() != key {
        return Err(EntryError::Key);
    }
    Ok(decision.bounded())
}

fn check_scope(scope: &Scope) -> Result<(), EntryError> {
    match scope {
        Scope::Site(name) if !(1..=MOST_TEXT).contains(&name.len()) => Err(EntryError::Site),
        _ => Ok(()),
    }
}
