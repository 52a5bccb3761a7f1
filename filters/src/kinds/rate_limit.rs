//! `rate_limit`: denies requests beyond a rate, counted by client, network, header, path and more.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `key` | Who shares a limit: one of the facts below, or a list of those that count together, such as `["client", "path"]`. | `"client"` |
//! | `requests` | Requests that come back in `per_secs`, 1 to 1000000. | required |
//! | `per_secs` | Seconds, 1 to 86400. | `1` |
//! | `burst` | Requests at once after a pause, 1 to 1000000. | as `requests` |
//! | `costs` | What requests cost: a list of `{ paths, methods, cost }`, of which the first that fits counts; patterns as in `when`, costs of 1 to the burst, 16 entries at most. | `[]`: each costs 1 |
//! | `shared` | Whether gateways with a shared store keep the limit together; without one, each keeps its own. | `true` |
//! | `capacity` | Keys remembered at a time, 1024 to 16777216, at 38 bytes each. | `262144` |
//!
//! | Fact | What it is |
//! | --- | --- |
//! | `client` | An IPv4 address or an IPv6 /64. |
//! | `prefix` | An IPv4 /24 or an IPv6 /48. |
//! | `site` | All clients of a site together; only alone. |
//! | `header:NAME` | The values of a header. A client that sends none counts by its address. |
//! | `cookie:NAME` | The first cookie of this name. A client that sends none counts by its address. |
//! | `path` | The path's template: numbers, UUIDs, hexadecimal ids of 8 digits or more and long tokens are one, upper and lower case and path parameters make no difference, and only the first 256 bytes count. |
//!
//! Each site counts for itself. The limit is exact: after a pause `burst` requests pass at once,
//! then `requests` in each `per_secs`, evenly spread. The client is answered with 429 and told
//! when to come back; the reason is `rate_limit.client`, `rate_limit.prefix`, `rate_limit.site`, or
//! `rate_limit.key` with the facts as evidence. A page with its images, loaded by several people
//! behind one address, is a burst of hundreds. Whoever chooses headers, cookies and paths chooses its
//! bucket: beside such a limit belongs one of the client. Any number of limits may stand in a
//! pipeline.
//!
//! A request that costs more than one takes as many out of the bucket at once:
//! `costs = [{ paths = ["/search*"], methods = ["POST"], cost = 5 }]`. A path that origins may read
//! in several ways (`%2F`) fits all `paths`.
//!
//! Gateways that share a store (`[store]`) tell each other ten times a second what they let through,
//! and take what the others did out of their own buckets: all together keep to the limit as one
//! would, but for what happens within a tenth of a second, which is owed afterwards. Bursts below
//! 100 are exceeded by one request for each gateway at most. While the others cannot be heard, each
//! gateway keeps to its share.
//!
//! Keys that have been quiet long enough to have their whole burst back are forgotten first. While
//! the table holds no such key, as in a flood of keys, new ones are only estimated until they seem
//! to have asked for more than a burst, and each of their requests counts as an overflow of the
//! table in the metrics. So a client is refused for its own requests only, however many others
//! there are, and a flood on one site takes no places from sites that hold fewer. Counts live on
//! through a reload that changes neither the rate nor the capacity.
//!
//! ```toml
//! [[pipeline.filter]]
//! name = "per_client"
//! rate_limit = { key = "client", requests = 50, per_secs = 1, burst = 200 }
//! ```

use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use serde::Deserialize;
use thornwall_detectors::{
    request::RequestView,
    signal::{Evidence, Reason, Signal},
};
use toml::Spanned;

use crate::{
    build::BuildContext,
    filter::{Filter, FilterError, Round},
    key::{KeyRule, KeySpec},
    rate::{Buckets, Quota, SharedLimit},
    verdict::{Denial, Refusal, Verdict},
    when::{Condition, When},
};

const REQUESTS: RangeInclusive<u64> = 1..=1_000_000;
const PER_SECS: RangeInclusive<u64> = 1..=86_400;
const BURST: RangeInclusive<u64> = 1..=1_000_000;
const CAPACITY: RangeInclusive<u64> = 1024..=16_777_216;
const DEFAULT_PER_SECS: u64 = 1;
const DEFAULT_CAPACITY: u64 = 262_144;

/// The table `rate_limit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who shares a limit.
    pub key: Option<Spanned<KeySpec>>,
    /// Requests that come back in `per_secs`.
    pub requests: Spanned<u64>,
    /// The time in which `requests` come back.
    pub per_secs: Option<Spanned<u64>>,
    /// Requests that pass at once after a pause.
    pub burst: Option<Spanned<u64>>,
    /// What requests cost; 1 where nothing fits.
    #[serde(default)]
    pub costs: Vec<Spanned<CostSpec>>,
    /// Whether gateways with a shared store keep the limit together.
    #[serde(default = "yes")]
    pub shared: bool,
    /// Keys remembered at a time.
    pub capacity: Option<Spanned<u64>>,
}

const fn yes() -> bool {
    true
}

/// What the requests of a route cost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSpec {
    /// Paths, one of which must be asked for.
    pub paths: Option<Vec<Spanned<String>>>,
    /// Methods, one of which must be used.
    pub methods: Option<Vec<Spanned<String>>>,
    /// What they take out of the bucket.
    pub cost: Spanned<u64>,
}

/// Most entries of `costs`: each is looked at for every request.
const MOST_COSTS: usize = 16;

/// Builds the filter, or notes what is wrong.
pub fn build(spec: &Spanned<Config>, context: &mut BuildContext) -> Option<Box<dyn Filter>> {
    let config = spec.get_ref();
    let key = KeyRule::build(config.key.as_ref(), context);
    let requests = context.within("requests", Some(&config.requests), REQUESTS);
    let per_secs = context.within("per_secs", config.per_secs.as_ref(), PER_SECS);
    let burst = context.within("burst", config.burst.as_ref(), BURST);
    let capacity = context.within("capacity", config.capacity.as_ref(), CAPACITY);
    let requests = requests?.unwrap_or_default();
    let quota = Quota {
        requests: count(requests)?,
        per: Duration::from_secs(per_secs?.unwrap_or(DEFAULT_PER_SECS)),
        burst: count(burst?.unwrap_or(requests))?,
    };
    let costs = costs(&config.costs, quota.burst.get(), context)?;
    let capacity = usize::try_from(capacity?.unwrap_or(DEFAULT_CAPACITY)).ok()?;
    let key = key?;
    key.warn_of_sharing("rate_limit", context);
    let shared = config.shared && context.gateways_share;
    let buckets = context.carry_over(
        "buckets",
        |buckets: &Buckets| {
            let same = buckets.quota() == quota && buckets.capacity() == capacity;
            same && buckets.is_shared() == shared
        },
        || match shared {
            true => Buckets::shared(quota, capacity),
            false => Buckets::new(quota, capacity),
        },
    );
    context.show_table("buckets", buckets.stats());
    if shared {
        context
            .shared_limits
            .push(SharedLimit::new(&context.scope, &buckets));
    }
    Some(Box::new(RateLimit {
        signal: signal(&key),
        key,
        costs,
        buckets,
    }))
}

/// Routes and what they cost, or notes what is wrong with them.
fn costs(
    specs: &[Spanned<CostSpec>],
    burst: u32,
    context: &mut BuildContext,
) -> Option<Vec<(Condition, u32)>> {
    let before = context.problems.len();
    let mut costs = Vec::with_capacity(specs.len());
    for (at, spec) in specs.iter().enumerate() {
        let CostSpec {
            paths,
            methods,
            cost,
        } = spec.get_ref();
        if at == MOST_COSTS {
            let what = format!("more than {MOST_COSTS} costs");
            context.problem(spec.span(), what);
        }
        if paths.is_none() && methods.is_none() {
            let what = "a cost of every request; expected `paths`, `methods` or both";
            context.problem(spec.span(), what);
        }
        let value = *cost.get_ref();
        if !(1..=u64::from(burst)).contains(&value) {
            let what = format!("`cost` is {value}; expected 1 to the burst, {burst}");
            context.problem(cost.span(), what);
        }
        let when = When {
            paths: paths.clone(),
            methods: methods.clone(),
            ..When::default()
        };
        let cost = u32::try_from(value).unwrap_or(burst);
        costs.push((Condition::build(&when, context), cost));
    }
    (context.problems.len() == before).then_some(costs)
}

/// What is noted of a request beyond the limit.
fn signal(key: &KeyRule) -> Signal {
    let reason = match key.label().as_str() {
        "client" => Reason::RateLimitClient,
        "prefix" => Reason::RateLimitPrefix,
        "site" => Reason::RateLimitSite,
        _ => Reason::RateLimitKey,
    };
    let evidence = match reason {
        Reason::RateLimitKey => Evidence::Label(key.label()),
        _ => Evidence::None,
    };
    // Weighs nothing: it shows what a filter that only observes would have denied.
    Signal::with_evidence(reason, 0.0, evidence)
}

struct RateLimit {
    key: KeyRule,
    signal: Signal,
    costs: Vec<(Condition, u32)>,
    buckets: Arc<Buckets>,
}

impl Filter for RateLimit {
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        let (key, cost) = (self.key.key(request), self.cost(request));
        let Err(limit) = self.buckets.take(key, cost, request.now) else {
            return Ok(Verdict::Pass);
        };
        round.trail.push(self.signal);
        Ok(Verdict::Deny(Denial {
            reason: self.signal.reason,
            refusal: Refusal::Limited(limit),
        }))
    }
}

impl RateLimit {
    fn cost(&self, request: &RequestView<'_>) -> u32 {
        let mut costs = self.costs.iter();
        let fitting = costs.find(|(condition, _)| condition.holds(request));
        fitting.map_or(1, |(_, cost)| *cost)
    }
}

fn count(value: u64) -> Option<NonZeroU32> {
    u32::try_from(value).ok().and_then(NonZeroU32::new)
}

#[cfg(test)]
mod tests;
