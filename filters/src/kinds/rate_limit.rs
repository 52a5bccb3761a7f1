//! `rate_limit`: denies requests beyond a rate, counted by client, network, header, path and more.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `key` | Who shares a limit: one of the facts below, or a list of those that count together, such as `["client", "path"]`. | `"client"` |
//! | `requests` | Requests that come back in `per_secs`, 1 to 1000000. | required |
//! | `per_secs` | Seconds, 1 to 86400. | `1` |
//! | `burst` | Requests at once after a pause, 1 to 1000000. | as `requests` |
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
    signal::{Evidence, Reason, Signal, Trail},
};
use toml::Spanned;

use crate::{
    build::BuildContext,
    filter::{Filter, FilterError},
    key::{KeyRule, KeySpec},
    rate::{Buckets, Quota},
    verdict::{Denial, Verdict},
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
    /// Keys remembered at a time.
    pub capacity: Option<Spanned<u64>>,
}

/// Builds the filter, or notes what is wrong.
pub fn build(spec: &Spanned<Config>, context: &mut BuildContext) -> Option<Box<dyn Filter>> {
    let config = spec.get_ref();
    let key = KeyRule::build(config.key.as_ref(), context);
    let requests = within("requests", Some(&config.requests), REQUESTS, context);
    let per_secs = within("per_secs", config.per_secs.as_ref(), PER_SECS, context);
    let burst = within("burst", config.burst.as_ref(), BURST, context);
    let capacity = within("capacity", config.capacity.as_ref(), CAPACITY, context);
    let requests = requests?.unwrap_or_default();
    let quota = Quota {
        requests: count(requests)?,
        per: Duration::from_secs(per_secs?.unwrap_or(DEFAULT_PER_SECS)),
        burst: count(burst?.unwrap_or(requests))?,
    };
    let capacity = usize::try_from(capacity?.unwrap_or(DEFAULT_CAPACITY)).ok()?;
    let key = key?;
    if key.is_shared_by_all() {
        context.warnings.push(format!(
            "{}: a `rate_limit` with key = \"{}\" lets one attacker shut everybody out",
            context.scope,
            key.label().as_str()
        ));
    }
    let buckets = context.carry_over(
        "buckets",
        |buckets: &Buckets| buckets.quota() == quota && buckets.capacity() == capacity,
        || Buckets::new(quota, capacity),
    );
    context.show_table("buckets", buckets.stats());
    Some(Box::new(RateLimit {
        signal: signal(&key),
        key,
        buckets,
    }))
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
    buckets: Arc<Buckets>,
}

impl Filter for RateLimit {
    fn judge(&self, request: &RequestView<'_>, trail: &mut Trail) -> Result<Verdict, FilterError> {
        let Err(limit) = self.buckets.take(self.key.key(request), 1, request.now) else {
            return Ok(Verdict::Pass);
        };
        trail.push(self.signal);
        Ok(Verdict::Deny(Denial {
            reason: self.signal.reason,
            limit: Some(limit),
        }))
    }
}

/// The value where there is one, or `None` and a note where it is out of range.
fn within(
    name: &str,
    value: Option<&Spanned<u64>>,
    range: RangeInclusive<u64>,
    context: &mut BuildContext,
) -> Option<Option<u64>> {
    let Some(spanned) = value else {
        return Some(None);
    };
    let value = *spanned.get_ref();
    if !range.contains(&value) {
        let (least, most) = range.into_inner();
        context.problem(
            spanned.span(),
            format!("`{name}` is {value}; expected {least} to {most}"),
        );
        return None;
    }
    Some(Some(value))
}

fn count(value: u64) -> Option<NonZeroU32> {
    u32::try_from(value).ok().and_then(NonZeroU32::new)
}

#[cfg(test)]
mod tests {
    use std::{mem, time::Duration};

    use http::{HeaderMap, Method, Uri, Version};
    use thornwall_detectors::{
        request::{RequestView, SiteFacts},
        signal::{Reason, Trail},
    };
    use toml::Spanned;

    use super::{Config, build};
    use crate::{
        build::BuildContext,
        filter::Filter,
        verdict::{Denial, Verdict},
    };

    #[derive(serde::Deserialize)]
    struct File {
        rate_limit: Spanned<Config>,
    }

    #[test]
    fn each_key_counts_for_itself() {
        let check = |key: &str, reason: Reason, (site, client): (u16, &str), apart: bool| {
            let config = format!("rate_limit = {{ key = '{key}', requests = 1, per_secs = 10 }}");
            let filter = build_one(&config, &mut BuildContext::default()).unwrap();
            assert_eq!(judge(filter.as_ref(), 0, "192.0.2.1"), Verdict::Pass);
            match judge(filter.as_ref(), site, client) {
                Verdict::Pass => assert!(apart, "{key} {site} {client}"),
                Verdict::Deny(Denial {
                    reason: given,
                    limit: Some(limit),
                }) => {
                    assert!(!apart, "{key} {site} {client}");
                    assert_eq!(given, reason);
                    assert_eq!((limit.burst, limit.window.as_secs()), (1, 10));
                    assert_eq!(limit.retry_after, Duration::from_secs(10));
                }
                other => panic!("{other:?}"),
            }
        };
        check("client", Reason::RateLimitClient, (0, "192.0.2.1"), false);
        check("client", Reason::RateLimitClient, (0, "192.0.2.2"), true);
        check("client", Reason::RateLimitClient, (1, "192.0.2.1"), true);
        check("prefix", Reason::RateLimitPrefix, (0, "192.0.2.2"), false);
        check("prefix", Reason::RateLimitPrefix, (0, "192.0.3.1"), true);
        check("site", Reason::RateLimitSite, (0, "2001:db8::1"), false);
        check("site", Reason::RateLimitSite, (1, "192.0.2.1"), true);
    }

    #[test]
    fn other_keys_are_named_in_the_evidence() {
        let config = "rate_limit = { key = ['path', 'client'], requests = 1, per_secs = 10 }";
        let filter = build_one(config, &mut BuildContext::default()).unwrap();
        assert_eq!(judge(filter.as_ref(), 0, "192.0.2.1"), Verdict::Pass);
        let mut trail = Trail::default();
        let verdict = judge_into(&mut trail, filter.as_ref(), 0, "192.0.2.1");
        assert_eq!(verdict.name(), "deny");
        let signal = trail.signals()[0];
        assert_eq!(signal.reason, Reason::RateLimitKey);
        assert_eq!(signal.evidence.to_string(), "client+path");
        assert_eq!(judge(filter.as_ref(), 0, "192.0.2.2"), Verdict::Pass);
    }

    #[test]
    fn several_limits_stand_beside_each_other() {
        // A burst for each client, and a slower rate for the network that it is in.
        let limits = [
            "key = 'client', requests = 2",
            "key = 'prefix', requests = 3",
        ]
        .map(|keys| format!("rate_limit = {{ {keys}, per_secs = 60 }}"))
        .map(|config| build_one(&config, &mut BuildContext::default()).unwrap());
        let passes = |client: &str| {
            let mut asked = limits.iter().map(|limit| judge(limit.as_ref(), 0, client));
            asked.all(|verdict| verdict == Verdict::Pass)
        };
        assert_eq!([(); 3].map(|()| passes("192.0.2.1")), [true, true, false]);
        assert_eq!([(); 2].map(|()| passes("192.0.2.2")), [true, false]);
        assert!(passes("198.51.100.1"));
    }

    #[test]
    fn mistakes_are_reported_where_they_are() {
        let check = |config: &str, mistakes: &[(&str, &str)]| {
            let mut context = BuildContext::default();
            assert!(build_one(config, &mut context).is_none());
            let found: Vec<(&str, &str)> = context
                .problems
                .iter()
                .map(|problem| {
                    (
                        &config[problem.span.clone().unwrap()],
                        problem.what.as_str(),
                    )
                })
                .collect();
            assert_eq!(found, mistakes);
        };
        check(
            "rate_limit = { requests = 0 }",
            &[("0", "`requests` is 0; expected 1 to 1000000")],
        );
        check(
            "rate_limit = { key = 'asn', requests = 0 }",
            &[
                (
                    "'asn'",
                    "the fact `asn` is still to come; expected `client`, `prefix`, `site`, `path`, \
                     `header:NAME` or `cookie:NAME`",
                ),
                ("0", "`requests` is 0; expected 1 to 1000000"),
            ],
        );
        check(
            "rate_limit = { requests = 5, burst = 1000001, per_secs = 86401, capacity = 1023 }",
            &[
                ("86401", "`per_secs` is 86401; expected 1 to 86400"),
                ("1000001", "`burst` is 1000001; expected 1 to 1000000"),
                ("1023", "`capacity` is 1023; expected 1024 to 16777216"),
            ],
        );
    }

    #[test]
    fn a_limit_for_a_whole_site_deserves_a_second_look() {
        let warnings = |key: &str| {
            let mut context = BuildContext::default();
            let config = format!("rate_limit = {{ key = '{key}', requests = 1 }}");
            assert!(build_one(&config, &mut context).is_some());
            context.warnings.len()
        };
        assert_eq!(
            ["client", "path", "site", "cookie:a"].map(warnings),
            [0, 1, 1, 0]
        );
    }

    #[test]
    fn counts_survive_a_reload_that_leaves_the_limit_alone() {
        let check = |next: &str, survives: bool| {
            let mut context = BuildContext {
                scope: String::from("standard.per_client"),
                ..BuildContext::default()
            };
            let before = build_one("rate_limit = { requests = 1 }", &mut context).unwrap();
            assert_eq!(judge(before.as_ref(), 0, "192.0.2.1"), Verdict::Pass);
            assert_eq!(context.tables[0].0, "standard.per_client.buckets");
            context.previous = mem::take(&mut context.carried);
            let after = build_one(next, &mut context).unwrap();
            let verdict = judge(after.as_ref(), 0, "192.0.2.1");
            assert_eq!(verdict.name() == "deny", survives, "{next}");
        };
        check("rate_limit = { requests = 1 }", true);
        check(
            "rate_limit = { requests = 1, burst = 1, per_secs = 1 }",
            true,
        );
        check("rate_limit = { requests = 1, burst = 2 }", false);
        check("rate_limit = { requests = 1, per_secs = 2 }", false);
        check("rate_limit = { requests = 1, capacity = 2048 }", false);
    }

    fn build_one(config: &str, context: &mut BuildContext) -> Option<Box<dyn Filter>> {
        let file: File = toml::from_str(config).unwrap();
        build(&file.rate_limit, context)
    }

    fn judge(filter: &dyn Filter, site: u16, client: &str) -> Verdict {
        judge_into(&mut Trail::default(), filter, site, client)
    }

    fn judge_into(trail: &mut Trail, filter: &dyn Filter, site: u16, client: &str) -> Verdict {
        let request = RequestView {
            method: &Method::GET,
            uri: &Uri::from_static("/"),
            path: "/".into(),
            version: Version::HTTP_11,
            headers: &HeaderMap::new(),
            client: client.parse().unwrap(),
            host: "shop.example",
            site: SiteFacts {
                id: site,
                robots: None,
            },
            secure: false,
            now: Duration::from_secs(1),
        };
        filter.judge(&request, trail).unwrap()
    }
}
