//! A limit that changes with how the origin does.

use std::{ops::RangeInclusive, sync::Arc};

use serde::Deserialize;
use thornwall_detectors::signal::{Evidence, Reason, Signal};
use thornwall_settings::report::{Noted, Report};
use toml::Spanned;

use super::Counts;
use crate::{
    context::FilterContext,
    key::KeyRule,
    mode::Mode,
    rate::{
        Buckets, Quota,
        adaptive::{Adaptive, Answered, Bounds, HEADROOM},
    },
    watcher::Finished,
};

const LIMIT: RangeInclusive<u64> = 1..=1_000_000;
const DEFAULT_HEADROOM: f32 = 3.0;

/// The table `adaptive`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveSpec {
    /// The lowest limit, in requests in `per_secs`.
    pub floor: Spanned<u64>,
    /// The highest limit.
    pub ceiling: Option<Spanned<u64>>,
    /// Multiple of a normal client's measured need that stays available to each client under full
    /// pressure.
    pub headroom: Option<Spanned<f32>>,
    /// Whether the adaptive limit is enforced or only observed.
    #[serde(default)]
    pub mode: Mode,
}

/// Notes answers, and how much of their buckets normal requests found in use.
pub(super) struct Learning {
    pub(super) limits: Arc<Adaptive>,
    pub(super) mode: Mode,
}

impl Learning {
    /// What is learnt for a limit, by what it counts and in which time.
    pub(super) fn build(
        spec: &Spanned<AdaptiveSpec>,
        counts: Counts,
        (key, quota): (&KeyRule, Quota),
        context: &mut FilterContext,
    ) -> Result<Self, Noted> {
        let place = spec.span();
        let spec = spec.get_ref();
        if (counts, spec.mode) == (Counts::Pages, Mode::Observe) {
            let what = "a changed limit that observes counts requests; expected \
                        `counts = \"requests\"`, or `mode = \"enforce\"`";
            context.report.problem(place, what);
            return Err(Noted);
        }
        let bounds = bounds(spec, quota.requests.get(), &mut context.report)?;
        let name = match counts {
            Counts::Pages => "adaptive pages",
            Counts::Requests => "adaptive",
        };
        let name = format!("{name} {} {}", key.label().as_str(), quota.per.as_secs());
        let fits = |limits: &Adaptive| limits.bounds() == bounds;
        let limits = context.carry_over(&name, fits, || Adaptive::new(bounds));
        let shown = (context.report.scope.clone(), Arc::clone(&limits));
        context.adaptive.push(shown);
        Ok(Self {
            limits,
            mode: spec.mode,
        })
    }

    /// What is noted of a request that would have been refused.
    pub(super) fn signal(key: &KeyRule) -> Signal {
        let evidence = Evidence::Label(key.label());
        Signal::with_evidence(Reason::RateLimitAdaptive, 0.0, evidence)
    }

    /// Learns from an answer, and from what the request found in use of its bucket.
    pub(super) fn watch(&self, in_use: Option<u32>, finished: &Finished) {
        let Finished { site, now, .. } = *finished;
        if let Some(in_use) = in_use.filter(|_| !finished.suspect) {
            self.limits.used(site, in_use);
        }
        let answer = Answered {
            took: finished.took,
            failed: finished.status.is_none_or(|status| status >= 500),
            load: finished.load,
        };
        self.limits.answered(site, answer, now);
    }
}

/// Whether buckets change with these limits, or with none.
pub(super) fn follows(buckets: &Buckets, limits: Option<&Arc<Adaptive>>) -> bool {
    match (buckets.adaptive(), limits) {
        (Some(followed), Some(limits)) => Arc::ptr_eq(followed, limits),
        (followed, limits) => followed.is_none() && limits.is_none(),
    }
}

/// The bounds of a limit of `requests`, or what is wrong with them.
fn bounds(spec: &AdaptiveSpec, requests: u32, report: &mut Report) -> Result<Bounds, Noted> {
    let before = report.problems.len();
    let requests = u64::from(requests);
    let floor = report.within("floor", &spec.floor, LIMIT);
    let ceiling = report.within_where_set("ceiling", spec.ceiling.as_ref(), LIMIT);
    if let Ok(floor) = floor
        && floor > requests
    {
        let what = format!("`floor` is {floor}; expected at most `requests`, {requests}");
        report.problem(spec.floor.span(), what);
    }
    if let (Ok(Some(value)), Some(place)) = (ceiling, &spec.ceiling)
        && value < requests
    {
        let what = format!("`ceiling` is {value}; expected at least `requests`, {requests}");
        report.problem(place.span(), what);
    }
    let headroom = spec.headroom.as_ref().map(Spanned::get_ref).copied();
    if let (Some(value), Some(place)) = (headroom, &spec.headroom)
        && !HEADROOM.contains(&value)
    {
        let (least, most) = HEADROOM.into_inner();
        let what = format!("`headroom` is {value}; expected {least} to {most}");
        report.problem(place.span(), what);
    }
    if report.problems.len() > before {
        return Err(Noted);
    }
    Ok(Bounds {
        floor: u32::try_from(floor?).map_err(|_| Noted)?,
        ceiling: u32::try_from(ceiling?.unwrap_or(requests)).map_err(|_| Noted)?,
        headroom: headroom.unwrap_or(DEFAULT_HEADROOM),
    })
}
