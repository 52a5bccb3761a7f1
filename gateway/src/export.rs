//! What other programs on this host get of decisions, so that the kernel drops what the edge has
//! decided: a file for nftables, and a log for fail2ban.
//!
//! Neither ever names anybody on the never-block list.

mod fail2ban;
mod metrics;
mod nftables;

pub(crate) use fail2ban::{BanLog, BanLogWriter};
pub(crate) use metrics::ExportMetrics;
pub(crate) use nftables::{Source, script, update};
