//! What operators ask the store.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    decision::{Decision, Scope},
    decisions::{Origin, Row},
};

/// Filter on the decisions of a page.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only decisions that cover this address.
    pub covering: Option<IpAddr>,
    /// Only decisions of this scope.
    pub scope: Option<Scope>,
    /// Only decisions from this kind of source: `operator`, `filter`, `feed`, `sidecar`,
    /// `predecessor`.
    pub origin: Option<String>,
    /// Skip this many decisions: the `next` of the page before.
    pub after: usize,
    /// Most decisions of the page.
    pub most: usize,
}

/// A page of decisions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Page {
    /// The decisions, in the order of their addresses.
    pub decisions: Vec<Decision>,
    /// Where the next page begins, if there is one.
    pub next: Option<usize>,
}

impl Query {
    /// Whether a row is wanted, as far as that shows in it; `site` is the number of the scope.
    pub(super) fn wants(&self, row: &Row, site: Option<u16>) -> bool {
        let origin = self.origin.as_deref();
        let of_origin = origin.is_none_or(|origin| origin == Origin::name(row.origin));
        let of_scope = self.scope.is_none() || site == Some(row.site);
        of_origin && of_scope
    }
}
