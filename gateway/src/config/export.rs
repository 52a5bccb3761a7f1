//! `[export]`: what the host's packet filter and log watcher get.

use serde::Deserialize;

/// Files that hand denials on to other programs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// File of commands for `nft -f`, written anew whenever something changes.
    pub nftables_file: Option<String>,
    /// File with a line for each decision that denies.
    pub fail2ban_log: Option<String>,
}
