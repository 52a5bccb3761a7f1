//! Verdicts of filters on a request, and the ruling that a pipeline makes of them.

use std::time::Duration;

use thornwall_detectors::signal::Reason;

use thornwall_decisions::decision::Action;

/// Verdict of one filter.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Have this done to the request, and ask no further filter.
    Act(Action, Reason),
    /// Let the request through and ask no further filter.
    Allow(Reason),
    /// Refuse this request, since what its client may have is used up.
    Limit(Denial),
    /// Go on; signals may have been added to the trail.
    Pass,
}

impl Verdict {
    /// The names of all verdicts, by [`Verdict::place`].
    pub(crate) const NAMES: [&str; 2 + Action::COUNT] = {
        let mut names = ["pass"; 2 + Action::COUNT];
        names[0] = "allow";
        let mut at = 0;
        while at < Action::COUNT {
            names[2 + at] = Action::ALL[at].name();
            at += 1;
        }
        names
    };

    /// Index of its name. A limit's refusal has always been counted as a denial.
    pub(crate) const fn place(&self) -> usize {
        match self {
            Self::Allow(_) => 0,
            Self::Pass => 1,
            Self::Act(action, _) => 2 + *action as usize,
            Self::Limit(_) => 2 + Action::Deny as usize,
        }
    }
}

/// A refusal: its reason, and what the client is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Denial {
    /// Reason, which is never sent to the client.
    pub reason: Reason,
    /// What the client is answered.
    pub refusal: Refusal,
}

/// Answer to a client that is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// Too much is under way: this status, 429 or 503, and when to come back.
    Busy(u16, Duration),
    /// Nothing but 403.
    Forbidden,
    /// 429, the limit, and when to come back.
    Limited(Limit),
}

impl Denial {
    /// A refusal for good: 403.
    pub const fn forbidden(reason: Reason) -> Self {
        Self {
            reason,
            refusal: Refusal::Forbidden,
        }
    }
}

/// The limit that a client ran into, for the headers of a 429
/// (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Requests that a full bucket allows at once.
    pub burst: u32,
    /// Requests that the bucket would still allow; fewer than what was asked for costs.
    pub remaining: u32,
    /// Time in which an empty bucket fills up.
    pub window: Duration,
    /// Time until the next request would be let through.
    pub retry_after: Duration,
}

/// Ruling of the pipeline: the gateway has one `if`.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ruling {
    /// Answer instead of the origin.
    Answer(Answer),
    /// Let the origin answer.
    Forward,
}

impl Ruling {
    /// The label of metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Answer(Answer::Deny(denial)) => match denial.refusal {
                Refusal::Forbidden => "deny",
                Refusal::Busy(..) | Refusal::Limited(_) => "limit",
            },
            Self::Answer(Answer::Tarpit(_)) => "tarpit",
            Self::Forward => "forward",
        }
    }

    /// The reason, where the ruling is not to forward.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Answer(Answer::Deny(denial)) => Some(denial.reason),
            Self::Answer(Answer::Tarpit(reason)) => Some(*reason),
            Self::Forward => None,
        }
    }
}

/// An answer of our own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// A short refusal.
    Deny(Denial),
    /// A slow stream.
    Tarpit(Reason),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_the_name_that_it_is_counted_by() {
        let reason = Reason::PathProbe;
        let check = |verdict: Verdict, name| assert_eq!(Verdict::NAMES[verdict.place()], name);
        check(Verdict::Allow(reason), "allow");
        check(Verdict::Pass, "pass");
        for action in Action::ALL {
            check(Verdict::Act(action, reason), action.name());
        }
        check(Verdict::Limit(Denial::forbidden(reason)), "deny");
    }
}
