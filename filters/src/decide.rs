//! From repeated offences to a decision: a client that is refused or held again and again gets a
//! decision of its own, for longer each time.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use serde::Deserialize;
use thornwall_decisions::{decision::Action, prefix_set::Prefix};
use thornwall_detectors::{
    address::{canonical, subscriber},
    request::RequestView,
    signal::Reason,
};
use toml::Spanned;

use crate::{
    context::FilterContext,
    counters::{CounterKey, Counters},
};

/// The table `decide` of a filter or of a ladder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideSpec {
    /// Offences of one client within `within_secs` that lead to a decision.
    #[serde(default = "ten")]
    pub after: NonZeroU32,
    /// Seconds within which they count.
    #[serde(default = "minute")]
    pub within_secs: NonZeroU32,
    /// How long the first decision holds; each further one within a week holds twice as long as
    /// the one before.
    #[serde(default = "ten_minutes")]
    pub for_secs: Spanned<NonZeroU32>,
    /// The longest that one holds.
    #[serde(default = "day")]
    pub most_secs: Spanned<NonZeroU32>,
    /// What happens to the client's requests.
    #[serde(default = "deny")]
    pub action: Action,
}

const fn of(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the defaults are not zero")
}

const fn ten() -> NonZeroU32 {
    of(10)
}

const fn minute() -> NonZeroU32 {
    of(60)
}

fn ten_minutes() -> Spanned<NonZeroU32> {
    Spanned::new(0..0, of(600))
}

fn day() -> Spanned<NonZeroU32> {
    Spanned::new(0..0, of(86_400))
}

const fn deny() -> Action {
    Action::Deny
}

/// Decisions are remembered for this long, so that the next one holds longer.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);
/// Doublings beyond this reach any cap.
const MOST_DOUBLINGS: u64 = 31;
/// The longest that a filter may decide for: a month.
const MOST_SECS: u32 = 30 * 86_400;

/// A decision that a pipeline wants to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The client: an address, or the /64 of an IPv6 address.
    pub subject: Prefix,
    /// What happens to its requests.
    pub action: Action,
    /// Reason of the decision.
    pub reason: Reason,
    /// The source: the names of pipeline and filter.
    pub by: Arc<str>,
    /// What it rests on.
    pub evidence: String,
    /// How long it holds.
    pub lifetime: Duration,
}

/// Counts offences, and proposes decisions.
pub(crate) struct Decide {
    spec: DecideSpec,
    by: Arc<str>,
    counters: Arc<dyn Counters>,
}

impl Decide {
    pub(crate) fn build(spec: &DecideSpec, context: &mut FilterContext) -> Option<Self> {
        let (first, most) = (spec.for_secs.get_ref(), spec.most_secs.get_ref());
        if most.get() > MOST_SECS {
            let what = format!("`most_secs` is {most}; expected at most {MOST_SECS}");
            context.report.problem(spec.most_secs.span(), what);
            return None;
        }
        if first > most {
            let what = format!("`for_secs` is {first}; expected at most `most_secs`, {most}");
            context.report.problem(spec.for_secs.span(), what);
            return None;
        }
        Some(Self {
            spec: spec.clone(),
            by: context.report.scope.as_str().into(),
            counters: Arc::clone(&context.counters),
        })
    }

    /// Counts an offence; the decision that it leads to, if it is one too many.
    pub(crate) fn count(&self, request: &RequestView<'_>, reason: Reason) -> Option<Proposal> {
        let (site, now) = (request.site.id, request.now);
        let client = subscriber(canonical(request.client));
        let whom = octets(client);
        let within = Duration::from_secs(self.spec.within_secs.get().into());
        let offences = CounterKey::new(site, &format!("{} offences", self.by), &whom);
        let count = self.counters.hit(offences, within, now);
        if count < u64::from(self.spec.after.get()) {
            return None;
        }
        // Requests that were in flight then show no more than the one that was one too many.
        let settled = CounterKey::new(site, &format!("{} settled", self.by), &whom);
        if self.counters.flagged(settled, now).is_some() {
            return None;
        }
        let before = CounterKey::new(site, &format!("{} decisions", self.by), &whom);
        let times = self.counters.hit(before, REMEMBERED, now);
        let lifetime = self.lifetime(times);
        self.counters.flag(settled, now + lifetime, now);
        Some(Proposal {
            subject: subject(client)?,
            action: self.spec.action,
            reason,
            by: Arc::clone(&self.by),
            evidence: format!("{count} in {} s, time {times}", within.as_secs()),
            lifetime,
        })
    }

    /// How long the decision of this number holds.
    fn lifetime(&self, times: u64) -> Duration {
        let doublings = times.saturating_sub(1).min(MOST_DOUBLINGS);
        let secs = u64::from(self.spec.for_secs.get_ref().get()) << doublings;
        let most = u64::from(self.spec.most_secs.get_ref().get());
        Duration::from_secs(secs.min(most))
    }
}

/// The network that a client decides for: what [`subscriber`] leaves of its address.
fn subject(client: IpAddr) -> Option<Prefix> {
    let length = match client {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 64,
    };
    Prefix::around(client, length)
}

fn octets(client: IpAddr) -> Vec<u8> {
    match client {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
