//! About whom nothing is decided, and whom no list covers: the operator's own.

use std::net::{IpAddr, SocketAddr};

use thornwall_decisions::prefix_set::{Prefix, PrefixSet};
use thornwall_filters::kinds::blocklist::read_lists;
use thornwall_settings::report::Report;

use crate::config::Config;

/// Networks that are named in a warning.
const MOST_WARNINGS: usize = 10;

/// What `[never_block]` names, trusted proxies, and servers of upstreams, but not this machine
/// itself: what comes from there may be anybody's, through a tunnel.
pub(super) fn build(config: &Config, report: &mut Report) -> Option<PrefixSet> {
    let before = report.problems.len();
    let mut never = Vec::new();
    for text in &config.never_block.addresses {
        match Prefix::lenient(text.get_ref()) {
            Ok((prefix, warning)) => {
                never.push(prefix);
                let warning = warning.map(|what| format!("never_block.addresses: {what}"));
                report.warnings.extend(warning);
            }
            Err(error) => report.problem(text.span(), error.to_string()),
        }
    }
    let lists = read_lists(&config.never_block.files, report).ok()?;
    never.extend(lists.into_iter().flatten());
    for broad in never
        .iter()
        .filter(|prefix| prefix.is_broad())
        .take(MOST_WARNINGS)
    {
        report.warnings.push(format!(
            "[never_block]: {broad} is a large part of all addresses: nobody in it is ever blocked"
        ));
    }
    // What is wrong with these is reported where they are used first.
    let proxies = config.client_address.trusted_proxies.iter();
    never.extend(proxies.filter_map(|text| text.get_ref().parse::<Prefix>().ok()));
    let servers = config
        .upstream
        .iter()
        .flat_map(|upstream| upstream.servers.get_ref());
    never.extend(servers.filter_map(|server| host(server.address.get_ref())));
    (report.problems.len() == before).then(|| never.into_iter().collect())
}

/// A server's address, where it is written as one and is another machine's.
fn host(address: &str) -> Option<Prefix> {
    let socket: SocketAddr = address.parse().ok()?;
    let other = |address: IpAddr| !address.is_loopback() && !address.is_unspecified();
    other(socket.ip()).then(|| Prefix::host(socket.ip()))
}
