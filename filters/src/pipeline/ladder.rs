//! The ladder as it is written, and the slower rate of those whom it throttles.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use serde::Deserialize;
use thornwall_decisions::{decision::Action, ladder::Ladder};
use thornwall_settings::report::Report;
use toml::Spanned;

use crate::{
    context::FilterContext,
    key::LimitKey,
    rate::{Buckets, Quota},
    verdict::Limit,
    watcher::{Answer, Note},
};

/// The table `[pipeline.ladder]`: score, 0..1, at which each action starts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LadderSpec {
    /// Served within the slower rate from here on.
    pub throttle: Option<Spanned<f32>>,
    /// Held in a slow stream from here on.
    pub tarpit: Option<Spanned<f32>>,
    /// Refused from here on.
    pub deny: Option<Spanned<f32>>,
}

/// The table `[pipeline.throttle]`: what each throttled client may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThrottleSpec {
    /// Pages that are served within `per_secs`.
    pub requests: NonZeroU32,
    /// Seconds within which they are.
    pub per_secs: NonZeroU32,
    /// Pages that a full bucket allows at once.
    pub burst: NonZeroU32,
    /// Requests that are served for each of these pages, itself included.
    pub parts: NonZeroU32,
}

impl Default for ThrottleSpec {
    fn default() -> Self {
        Self {
            requests: nonzero(30),
            per_secs: nonzero(60),
            burst: nonzero(60),
            parts: nonzero(20),
        }
    }
}

const fn nonzero(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("the defaults are not zero")
}

impl LadderSpec {
    /// Where an action starts, as it is written.
    const fn rung(&self, action: Action) -> Option<&Spanned<f32>> {
        match action {
            Action::Throttle => self.throttle.as_ref(),
            Action::Tarpit => self.tarpit.as_ref(),
            Action::Deny => self.deny.as_ref(),
        }
    }
}

/// Checks the rungs: each above 0 and up to 1, in ascending order.
pub(super) fn build(spec: Option<&Spanned<LadderSpec>>, report: &mut Report) -> Option<Ladder> {
    let unset = LadderSpec::default();
    let spec = spec.map_or(&unset, Spanned::get_ref);
    let mut below = ("", 0.0);
    let mut sound = true;
    for action in Action::ALL {
        let Some(rung) = spec.rung(action) else {
            continue;
        };
        let (name, score) = (action.name(), *rung.get_ref());
        if !(score > 0.0 && score <= 1.0) {
            let what = format!("`{name} = {score}` is no score; expected above 0 and up to 1");
            report.problem(rung.span(), what);
            sound = false;
        } else if score <= below.1 {
            let what = format!(
                "`{name} = {score}` starts below `{}`; expected more than {}",
                below.0, below.1
            );
            report.problem(rung.span(), what);
            sound = false;
        }
        below = (name, score);
    }
    let start = |action| spec.rung(action).map(|rung| *rung.get_ref());
    sound.then(|| Ladder::new(start))
}

/// Clients whose slower bucket is remembered.
const THROTTLED_CLIENTS: usize = 65_536;

/// The buckets of throttled clients: one of pages, and a larger one of all requests, so that a
/// client that is throttled by mistake sees whole pages.
pub(super) struct Slower {
    pages: Arc<Buckets>,
    all: Arc<Buckets>,
}

impl Slower {
    pub(super) fn build(spec: Option<&Spanned<ThrottleSpec>>, context: &mut FilterContext) -> Self {
        let unset = ThrottleSpec::default();
        let values = spec.map_or(&unset, Spanned::get_ref);
        let quota = |each: NonZeroU32| Quota {
            requests: values.requests.saturating_mul(each),
            per: Duration::from_secs(u64::from(values.per_secs.get())),
            burst: values.burst.saturating_mul(each),
        };
        let mut table = |name: &str, quota: Quota| {
            let buckets = context.carry_over(
                name,
                |buckets: &Buckets| buckets.quota() == quota,
                || Buckets::new(quota, THROTTLED_CLIENTS),
            );
            context.show_table(name, buckets.stats());
            buckets
        };
        Self {
            pages: table("throttle", quota(NonZeroU32::MIN)),
            all: table("throttle_all", quota(values.parts)),
        }
    }

    /// Lets a request through that stays within both; returns the note for [`Self::settle`].
    pub(super) fn ask(
        &self,
        wants_page: bool,
        client: LimitKey,
        now: Duration,
    ) -> Result<Note, Limit> {
        self.all.take(client, 1, now)?;
        self.pages.ask(wants_page, client, NonZeroU32::MIN, now)
    }

    /// Charges a request by what it was answered with.
    pub(super) fn settle(&self, note: &Note, answer: &Answer) {
        self.pages.settle(note, answer);
    }
}
