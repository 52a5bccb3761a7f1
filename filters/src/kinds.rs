//! The kinds of filter, one file each. The comment on top of each file is its manual entry.

pub mod anomaly;
pub mod bandwidth;
pub mod blocklist;
pub mod escalate;
pub mod heuristics;
pub mod in_flight;
pub mod rate_limit;
