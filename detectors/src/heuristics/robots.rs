//! What robots.txt forbids a client to ask for.

use std::borrow::Cow;

use crate::{
    request::RequestView,
    signal::{Reason, Signal},
    user_agent::UserAgent,
    weights,
};

/// Notes a client that calls itself a robot and asks for what robots.txt keeps it from.
///
/// Browsers, feed readers and whatever fetches a single address for a person are not bound by it.
pub(super) fn judge(view: &RequestView<'_>, agent: &UserAgent<'_>, note: &mut impl FnMut(Signal)) {
    let Some(robots) = view.site.robots.filter(|_| agent.claim.is_robot()) else {
        return;
    };
    // `Sogou web spider` goes by its first word.
    let token = agent.name.split(' ').next().unwrap_or_default();
    let sent = view
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    // A path that was sent in disguise counts as what it is.
    let disguised = matches!(view.path, Cow::Owned(_));
    if !robots.allows(token, sent) || (disguised && !robots.allows(token, &view.path)) {
        note(Signal::new(
            Reason::RobotsDisallowed,
            weights::ROBOTS_DISALLOWED,
        ));
    }
}
