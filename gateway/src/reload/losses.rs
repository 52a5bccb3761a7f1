//! What protects a site before a reload and not after it: a file that was cut off may well be a valid
//! one with fewer filters, or none.

use thornwall_filters::{mode::Mode, pipeline::Pipeline};

use crate::{
    generation::{Generation, Site},
    limits::Limits,
};

/// What `next` has no more of all that `running` has, a sentence each.
pub(super) fn losses(running: &Generation, next: &Generation) -> Vec<String> {
    let mut lost = Vec::new();
    for site in &running.sites {
        match next.sites.iter().find(|now| now.name == site.name) {
            Some(now) => of_site(site, now, &mut lost),
            None => lost.push(format!("site {} is gone", site.name)),
        }
    }
    for feed in &running.feeds {
        if !next.feeds.iter().any(|now| now.name == feed.name) {
            lost.push(format!("feed {} is gone", feed.name));
        }
    }
    let lists = [
        ("blocklist", &running.blocklist, &next.blocklist),
        ("never_block", &running.never_block, &next.never_block),
        (
            "client_address.trusted_proxies",
            &running.client_address.trusted,
            &next.client_address.trusted,
        ),
    ];
    for (name, before, now) in lists {
        if !before.is_empty() && now.is_empty() {
            lost.push(format!("{name} names nobody any more"));
        }
    }
    of_limits(&running.limits, &next.limits, &mut lost);
    lost
}

fn of_site(site: &Site, now: &Site, lost: &mut Vec<String>) {
    let name = &site.name;
    if now.routes.len() < site.routes.len() {
        lost.push(format!("site {name} loses a route"));
    }
    for (before, after) in site.routes.iter().zip(&now.routes) {
        of_pipeline(name, &before.pipeline, &after.pipeline, lost);
    }
    if site.tls.policy.is_some() && now.tls.policy.is_none() {
        lost.push(format!(
            "site {name} asks for no client certificate any more"
        ));
    }
    if site.max_body_bytes.is_some() && now.max_body_bytes.is_none() {
        lost.push(format!("site {name} takes bodies of any size"));
    }
}

fn of_pipeline(name: &str, running: &Pipeline, next: &Pipeline, lost: &mut Vec<String>) {
    for (filter, kind, mode) in running.describe() {
        let kept = next.describe().find(|kept| kept.0 == filter);
        match kept {
            None => lost.push(format!("site {name} loses filter {filter} ({})", kind.name)),
            Some((_, _, Mode::Observe)) if matches!(mode, Mode::Enforce) => {
                lost.push(format!("site {name}: filter {filter} only observes now"));
            }
            Some(_) => {}
        }
    }
    let (before, after) = (running.ladder(), next.ladder());
    for (action, _) in before.rungs() {
        if after.start(action).is_none() {
            let rung = action.name();
            lost.push(format!("site {name} loses the rung {rung} of its ladder"));
        }
    }
}

/// Bounds that let more of one client in than before.
fn of_limits(before: &Limits, now: &Limits, lost: &mut Vec<String>) {
    let per_client = |limits: &Limits| {
        [
            ("max_connections_per_client", limits.max_per_client),
            ("max_requests_per_client", limits.max_requests_per_client),
            ("max_requests_per_connection", limits.max_requests),
            ("h2_max_streams", limits.max_streams),
        ]
    };
    for ((name, before), (_, now)) in per_client(before).into_iter().zip(per_client(now)) {
        if now > before {
            lost.push(format!("limits.{name} grows from {before} to {now}"));
        }
    }
}
