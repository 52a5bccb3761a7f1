//! Any bytes are a list of prefixes or of broken lines; a list can always be looked into.

use std::net::IpAddr;

use thornwall_decisions::prefix_set::{PrefixSet, list::parse_list};

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(list) = parse_list(bytes) {
        let prefixes = list.prefixes;
        let firsts: Vec<IpAddr> = prefixes.iter().map(|prefix| prefix.first()).collect();
        let set: PrefixSet = prefixes.into_iter().collect();
        assert!(
            firsts
                .into_iter()
                .all(|address| set.lookup(address).is_some())
        );
    }
}
