//! `rate_limit`: denies requests or pages beyond a rate, by client, network, header, path and more.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `key` | Facts by which requests share a limit: one of those below, or a list of those that count together, such as `["client", "path"]`. | `"client"` |
//! | `counts` | What is counted: `"requests"`, or `"pages"`: those that the origin answers with HTML. | `"requests"` |
//! | `requests` | Requests that come back in `per_secs`, 1 to 1000000. | required |
//! | `per_secs` | Seconds, 1 to 86400. | `1` |
//! | `burst` | Requests at once after a pause, 1 to 1000000. | as `requests` |
//! | `costs` | What requests cost: a list of `{ paths, methods, cost }`, of which the first that fits counts; patterns as in `when`, costs of 1 to the burst, 16 entries at most. | `[]`: each costs 1 |
//! | `adaptive` | How far the limit may fall while the origin is under pressure: a table, see below. | none: the limit stays |
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
//! A client with an IPv6 /48 has 65,536 buckets with the key `client`, since each /64 counts as one
//! client: a second limit with the key `prefix` bounds them together, with all others of that network.
//!
//! Each site counts for itself. The limit is exact: after a pause `burst` requests pass at once,
//! then `requests` in each `per_secs`, evenly spread. A refused client is answered with 429 and the
//! time after which to come back; the reason is `rate_limit.client`, `rate_limit.prefix`,
//! `rate_limit.site`, or `rate_limit.key` with the facts as evidence. A client chooses its headers,
//! cookies and paths, and with them its bucket: beside such a limit belongs one with the key `client`.
//! Any number of limits may stand in a pipeline.
//!
//! A page with its images, opened by ten people behind one address, is a thousand requests in a
//! second, and so is the work of a package manager. People and scrapers differ in how many pages they
//! open, which is what a limit with `counts = "pages"` bounds:
//!
//! - A page is an answer with a status of 2xx and a body of `text/html` or `application/xhtml+xml`.
//!   Only the origin's answer counts, never the path or what the client accepts.
//! - A GET or POST that accepts HTML takes its cost when it comes. It has it back where the answer is
//!   something else, such as a redirect, a 304, a download or a failure.
//! - Other requests take nothing, and pass beside an empty bucket, so that the parts of pages still
//!   load. One that is answered with a page is charged then, into debt where the bucket is empty.
//! - While a bucket is in debt, no request of its key passes. A debt is at most four bursts, or what
//!   comes back in a minute, whichever is more. So to ask for pages as something else gains what is
//!   under way at once, and that is owed.
//! - An answer without a `Content-Type`, and a request whose client has left, count as what was asked
//!   for.
//! - The evidence is `pages by` and the facts. Gateways that share a limit report pages to each other
//!   once they are answered. `adaptive` learns from requests that ask for pages what normal clients
//!   need; its `mode = "observe"` is for `counts = "requests"` alone.
//!
//! A site that answers what it does not have with a page and a status of 200 makes pages of missing
//! images: let it answer 404, or give it a larger burst.
//!
//! A request that costs more than one takes as many out of the bucket at once:
//! `costs = [{ paths = ["/search*"], methods = ["POST"], cost = 5 }]`. A path that origins may read
//! in several ways (`%2F`) fits all `paths`; what an origin takes for the same besides (`/SEARCH`,
//! `/index.php/search`, method `post`, a method in `X-HTTP-Method-Override`) has to be named as well.
//!
//! Gateways that share a store (`[store]`) report to each other ten times a second what they let
//! through, and take what the others report out of their own buckets: all together keep to the limit as
//! one would, but for what happens within a tenth of a second, which is owed afterwards. Bursts below
//! 100 are exceeded by one request for each gateway at most. While the reports of the others are
//! missing, each gateway keeps the whole limit, so that no client is refused because a store is away.
//!
//! With `adaptive = { floor = 10, ceiling = 100, headroom = 3.0, mode = "enforce" }` each site has a
//! limit of its own in place of `requests`, which falls while the origin is under pressure. The burst
//! scales along, down to one request.
//!
//! | Key of `adaptive` | Value | Default |
//! | --- | --- | --- |
//! | `floor` | The lowest limit, 1 to `requests`: what a person needs who opens a page. | required |
//! | `ceiling` | The highest limit, which holds while the origin is well. | as `requests` |
//! | `headroom` | Multiple of a normal client's measured need that stays available to each client under full pressure, 1 to 100. | `3.0` |
//! | `mode` | `"enforce"`, or `"observe"`: the plain limit counts, and each request that the adaptive one would have refused is noted with a signal of weight 0, `rate_limit.adaptive`; it costs a second table of `capacity`. | `"enforce"` |
//!
//! Once a second the filter looks at the answers to the requests that it let through. Each gateway
//! goes by the answers that it has seen itself. The pressure, from none to full, is the largest of:
//!
//! - **Time**: answers take twice as long as usual (none) to four times (full). Times are compared by
//!   geometric means, so that a few long ones weigh little. Slowness that lasts becomes the usual time
//!   after an hour or two.
//! - **Failures**: 5 % of the answers failed (none) to 25 % (full). A failure is no answer, or a status
//!   of 500 or more; refusals of the gateway and clients that leave do not count.
//! - **Load**: 80 % of a server's `max_connections` are in use (none) to all of them (full).
//!
//! Fewer than 10 answers in a second are too few to judge time and failures by. The limit then moves:
//!
//! - **Full pressure**: it falls by a fifth a second to what normal clients need, times `headroom`.
//!   After ten seconds of full pressure it falls on to the floor. Less pressure takes it a part of the
//!   way: half of the pressure, half of the way.
//! - **No pressure** for ten seconds: it rises by a twentieth of the ceiling a second.
//! - **What normal clients need** is what all but one in a thousand normal requests found in use of
//!   their key's bucket. Normal are requests that reach no rung of the ladder while the limit is at its
//!   ceiling; half of what was learnt of them is forgotten in some ten minutes. With the key `site` it
//!   is what all clients together need.
//!
//! The current limits are in `thornwall status` and in the metric `thornwall_rate_limit_adaptive`.
//! What was learnt is kept through a reload that changes neither the key, `per_secs` nor these bounds.
//!
//! Keys that have been quiet long enough to have their whole burst back are forgotten first. While
//! the table holds no such key, as in a flood of keys, new ones are only estimated until they seem
//! to have asked for more than a burst, and each of their requests counts as an overflow of the
//! table in the metrics. So a client is refused for its own requests only, however many others
//! there are, and a flood on one site takes no places from sites that hold fewer. Counts are kept
//! through a reload that changes neither the rate, the capacity nor how the limit changes.
//!
//! ```toml
//! [[pipeline.filter]]
//! name = "per_client"
//! rate_limit = { key = "client", requests = 1000, per_secs = 1, burst = 3000 }
//!
//! [[pipeline.filter]]
//! name = "pages"
//! rate_limit = { key = "client", counts = "pages", requests = 20, per_secs = 1, burst = 150 }
//! ```

mod adaptive;

use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use serde::Deserialize;
use thornwall_detectors::{
    request::RequestView,
    signal::{Evidence, Label, Reason, Signal},
};
use thornwall_settings::report::{Noted, Report};
use toml::Spanned;

use self::adaptive::{AdaptiveSpec, Learning, follows};
use crate::{
    context::FilterContext,
    filter::{Filter, FilterError, Round},
    key::{KeyRule, KeySpec},
    kinds::Kind,
    mode::Mode,
    rate::{Buckets, Quota, SharedLimit, adaptive::Adaptive, pages::asks_for_page},
    verdict::{Denial, Refusal, Verdict},
    watcher::{Answer, Finished, Note, Watcher},
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
    /// Facts by which requests share a limit.
    pub key: Option<Spanned<KeySpec>>,
    /// What is counted.
    #[serde(default)]
    pub counts: Counts,
    /// Requests that come back in `per_secs`.
    pub requests: Spanned<u64>,
    /// The time in which `requests` come back.
    pub per_secs: Option<Spanned<u64>>,
    /// Requests that pass at once after a pause.
    pub burst: Option<Spanned<u64>>,
    /// What requests cost; 1 where nothing fits.
    #[serde(default)]
    pub costs: Vec<Spanned<CostSpec>>,
    /// How far the limit may change with the origin.
    pub adaptive: Option<Spanned<AdaptiveSpec>>,
    /// Whether gateways with a shared store keep the limit together.
    #[serde(default = "yes")]
    pub shared: bool,
    /// Keys remembered at a time.
    pub capacity: Option<Spanned<u64>>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counts {
    /// Requests that the origin answers with a page.
    Pages,
    /// Requests, whatever they are answered with.
    #[default]
    Requests,
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

impl Kind for Config {
    const COST: &'static str = "below 1 us";

    fn build(spec: &Spanned<Self>, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted> {
        let config = spec.get_ref();
        let key = KeyRule::build(config.key.as_ref(), context.key_seed, &mut context.report);
        let report = &mut context.report;
        let requests = report.within("requests", &config.requests, REQUESTS);
        let per_secs = report.within_where_set("per_secs", config.per_secs.as_ref(), PER_SECS);
        let burst = report.within_where_set("burst", config.burst.as_ref(), BURST);
        let capacity = report.within_where_set("capacity", config.capacity.as_ref(), CAPACITY);
        let requests = requests?;
        let quota = Quota {
            requests: count(requests)?,
            per: Duration::from_secs(per_secs?.unwrap_or(DEFAULT_PER_SECS)),
            burst: count(burst?.unwrap_or(requests))?,
        };
        let costs = costs(&config.costs, quota.burst, &mut context.report)?;
        let capacity = usize::try_from(capacity?.unwrap_or(DEFAULT_CAPACITY)).map_err(|_| Noted)?;
        let key = key?;
        key.warn_of_sharing("rate_limit", &mut context.report);
        let learning = match &config.adaptive {
            Some(spec) => Some(Learning::build(
                spec,
                config.counts,
                (&key, quota),
                context,
            )?),
            None => None,
        };
        let limits = learning.as_ref().map(|learning| &learning.limits);
        let observes = learning
            .as_ref()
            .is_some_and(|learning| learning.mode == Mode::Observe);
        let size = Size {
            quota,
            capacity,
            shared: config.shared && context.gateways_share,
        };
        let table = match config.counts {
            Counts::Pages => "pages",
            Counts::Requests => "buckets",
        };
        Ok(Box::new(RateLimit {
            signal: signal(&key, config.counts),
            counts: config.counts,
            costs,
            buckets: size.table(table, limits.filter(|_| !observes), context),
            observed: observes.then(|| size.table("observed", limits, context)),
            learning,
            key,
        }))
    }
}

/// What tables of buckets are made by.
struct Size {
    quota: Quota,
    capacity: usize,
    shared: bool,
}

impl Size {
    /// The table of this name, with limits that change or without.
    fn table(
        &self,
        name: &str,
        limits: Option<&Arc<Adaptive>>,
        context: &mut FilterContext,
    ) -> Arc<Buckets> {
        let (quota, capacity) = (self.quota, self.capacity);
        let fits = |buckets: &Buckets| {
            let same = buckets.quota() == quota && buckets.capacity() == capacity;
            same && buckets.is_shared() == self.shared && follows(buckets, limits)
        };
        let make = || {
            let buckets = match self.shared {
                true => Buckets::shared(quota, capacity),
                false => Buckets::new(quota, capacity),
            };
            match limits {
                Some(limits) => buckets.following(Arc::clone(limits)),
                None => buckets,
            }
        };
        let buckets = context.carry_over(name, fits, make);
        context.show_table(name, buckets.stats());
        if self.shared {
            let name = format!("{}.{name}", context.report.scope);
            context
                .shared_limits
                .push(SharedLimit::new(&name, &buckets));
        }
        buckets
    }
}

/// Routes and what they cost, or notes what is wrong with them.
fn costs(
    specs: &[Spanned<CostSpec>],
    burst: NonZeroU32,
    report: &mut Report,
) -> Result<Vec<(Condition, NonZeroU32)>, Noted> {
    let before = report.problems.len();
    let mut costs = Vec::with_capacity(specs.len());
    for (at, spec) in specs.iter().enumerate() {
        let CostSpec {
            paths,
            methods,
            cost,
        } = spec.get_ref();
        if at == MOST_COSTS {
            let what = format!("more than {MOST_COSTS} costs");
            report.problem(spec.span(), what);
        }
        if paths.is_none() && methods.is_none() {
            let what = "a cost of every request; expected `paths`, `methods` or both";
            report.problem(spec.span(), what);
        }
        let value = *cost.get_ref();
        if !(1..=u64::from(burst.get())).contains(&value) {
            let what = format!("`cost` is {value}; expected 1 to the burst, {burst}");
            report.problem(cost.span(), what);
        }
        let when = When {
            paths: paths.clone(),
            methods: methods.clone(),
            ..When::default()
        };
        let cost = count(value).unwrap_or(burst);
        costs.push((Condition::build(&when, report), cost));
    }
    (report.problems.len() == before)
        .then_some(costs)
        .ok_or(Noted)
}

/// What is noted of a request beyond the limit.
fn signal(key: &KeyRule, counts: Counts) -> Signal {
    let reason = match key.label().as_str() {
        "client" => Reason::RateLimitClient,
        "prefix" => Reason::RateLimitPrefix,
        "site" => Reason::RateLimitSite,
        _ => Reason::RateLimitKey,
    };
    let evidence = match (counts, reason) {
        (Counts::Pages, _) => {
            Evidence::Label(Label::new(&format!("pages by {}", key.label().as_str())))
        }
        (Counts::Requests, Reason::RateLimitKey) => Evidence::Label(key.label()),
        (Counts::Requests, _) => Evidence::None,
    };
    // Weighs nothing: it shows what a filter that only observes would have denied.
    Signal::with_evidence(reason, 0.0, evidence)
}

struct RateLimit {
    key: KeyRule,
    signal: Signal,
    counts: Counts,
    costs: Vec<(Condition, NonZeroU32)>,
    buckets: Arc<Buckets>,
    learning: Option<Learning>,
    /// Buckets of a changed limit that only observes.
    observed: Option<Arc<Buckets>>,
}

impl Filter for RateLimit {
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        let (key, cost, now) = (self.key.key(request), self.cost(request), request.now);
        let taken = match (self.counts, &self.learning) {
            (Counts::Pages, _) => {
                let asked = self.buckets.ask(asks_for_page(request), key, cost, now);
                asked.map(|note| round.note = Some(note))
            }
            (Counts::Requests, None) => self.buckets.take(key, cost.get(), now),
            (Counts::Requests, Some(_)) => {
                let taken = self.buckets.take_counting(key, cost.get(), now);
                let note = |in_use| Note {
                    in_use,
                    claim: None,
                };
                taken.map(|in_use| round.note = Some(note(in_use)))
            }
        };
        let Err(limit) = taken else {
            if let Some(observed) = &self.observed
                && observed.take(key, cost.get(), now).is_err()
            {
                round.trail.push(Learning::signal(&self.key));
            }
            return Ok(Verdict::Pass);
        };
        round.trail.push(self.signal);
        Ok(Verdict::Limit(Denial {
            reason: self.signal.reason,
            refusal: Refusal::Limited(limit),
        }))
    }

    fn watcher(&self) -> Option<&dyn Watcher> {
        let notes = self.counts == Counts::Pages || self.learning.is_some();
        notes.then_some(self)
    }
}

impl Watcher for RateLimit {
    fn answered(&self, note: &Note, answer: &Answer) {
        self.buckets.settle(note, answer);
    }

    fn watch(&self, note: &Note, finished: &Finished) {
        if let Some(learning) = &self.learning {
            // A request that took nothing is no measure of what its client needs.
            let needed = match self.counts {
                Counts::Pages => finished.page == Some(true) && note.in_use > 0,
                Counts::Requests => true,
            };
            learning.watch(needed.then_some(note.in_use), finished);
        }
    }
}

impl RateLimit {
    fn cost(&self, request: &RequestView<'_>) -> NonZeroU32 {
        let mut costs = self.costs.iter();
        let fitting = costs.find(|(condition, _)| condition.holds(request));
        fitting.map_or(NonZeroU32::MIN, |(_, cost)| *cost)
    }
}

/// A number that is in its range.
fn count(value: u64) -> Result<NonZeroU32, Noted> {
    let value = u32::try_from(value).ok().and_then(NonZeroU32::new);
    value.ok_or(Noted)
}

#[cfg(test)]
mod tests;
