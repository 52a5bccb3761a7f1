//! Which requests a filter looks at.

use serde::Deserialize;

/// The table `when`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {}
