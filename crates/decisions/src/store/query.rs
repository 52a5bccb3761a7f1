//! What operators ask the store.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    decision::{Decision, Scope},
    decisions::{Origin, Row},
};

/// Which decisions are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Those that cover this address.
    pub covering: Option<IpAddr>,
    /// Those of this scope.
    pub scope: Option<Scope>,
    /// Those of this kind of source: `operator`, `filter`, `feed`, `predecessor`.
    pub origin: Option<String>,
    /// Those behind this place: the `next` of the page before.
    pub after: usize,
    /// At most this many.
    pub most: usize,
}

/// Some decisions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Page {
    /// In the order of their addresses.
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
