//! The keys of a limit, as gateways report them.

use std::sync::Arc;

use thornwall_decisions::limit_report::Group;

use crate::key::LimitKey;

/// The keys of one limit, as the groups of a report; `name` returns the name of a site.
pub fn groups(
    limit: u64,
    taken: Vec<(LimitKey, u32)>,
    name: impl Fn(u16) -> Option<Arc<str>>,
) -> Vec<Group> {
    let mut groups: Vec<(u16, Group)> = Vec::new();
    for (key, cost) in taken {
        let site = key.site();
        let at = groups.iter().position(|(number, _)| *number == site);
        let at = match at {
            Some(at) => at,
            None => {
                let Some(site_name) = name(site) else {
                    continue;
                };
                let keys = Vec::new();
                groups.push((
                    site,
                    Group {
                        limit,
                        site: site_name,
                        keys,
                    },
                ));
                groups.len() - 1
            }
        };
        groups[at].1.keys.push((key.digest(), cost));
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
