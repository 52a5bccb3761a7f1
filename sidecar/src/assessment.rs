//! What cases come to, in types of our own: assessments with the steps that led to them, decisions and
//! withdrawals, and what is known to be true about clients.
//!
//! Numbers and messages of the contract are read and made in `wire` alone.

use serde::{Deserialize, Serialize};
use thornwall_decisions::{decision::Action, prefix_set::Prefix};

use crate::case::{Case, CaseId};

/// What follows for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing.
    None,
    /// People are notified; requests are let through.
    Alert,
    /// Gateways act on the client's requests.
    Act(Action),
    /// A number of the contract that this version does not know. It is sent on as it came, so that a
    /// gateway that knows it may act on it, and is no consequence here.
    Unknown(i32),
}

/// How harsh a consequence is, mildest first. The contract's numbers of actions are names and imply
/// nothing about it: one that is added takes the next number, wherever it stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// People are notified.
    Alert,
    /// The client is slowed down.
    Throttle,
    /// The client is held.
    Tarpit,
    /// The client is denied.
    Deny,
}

impl Severity {
    /// The severity of a consequence; `None` where it has none, or one that this version does not know.
    pub(crate) const fn of(consequence: Consequence) -> Option<Self> {
        match consequence {
            Consequence::None | Consequence::Unknown(_) => None,
            Consequence::Alert => Some(Self::Alert),
            Consequence::Act(Action::Throttle) => Some(Self::Throttle),
            Consequence::Act(Action::Tarpit) => Some(Self::Tarpit),
            Consequence::Act(Action::Deny) => Some(Self::Deny),
        }
    }

    /// The name in configurations, metrics and alerts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Throttle => "throttle",
            Self::Tarpit => "tarpit",
            Self::Deny => "deny",
        }
    }
}

impl Consequence {
    /// Whether this is as harsh as another consequence, or harsher.
    pub fn covers(self, other: Self) -> bool {
        Severity::of(self) >= Severity::of(other)
    }
}

/// What a case came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The case.
    pub case: CaseId,
    /// The site's name.
    pub site: String,
    /// The client.
    pub subject: Prefix,
    /// The evidence of all steps together, 0 to 1.
    pub score: f32,
    /// What follows for the client.
    pub consequence: Consequence,
    /// The reason code of the strongest evidence.
    pub reason: String,
    /// The steps that were taken, in their order.
    pub steps: Vec<TakenStep>,
    /// The decision about the client, made now or earlier, where there is one.
    pub decision: Option<Decision>,
    /// When the case was assessed, in milliseconds of Unix time.
    pub made_ms: u64,
    /// Whether steps that ask others are still to be taken.
    pub pending: bool,
}

/// One step that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenStep {
    /// The step's name.
    pub name: String,
    /// The score after the step.
    pub score: f32,
    /// What the step rests on, for people.
    pub evidence: String,
    /// Microseconds that the step took.
    pub took_us: u64,
    /// Whether the step failed; `evidence` says why.
    pub failed: bool,
}

/// An entry about a client, until its time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Grows with each decision and withdrawal of this sidecar; 0 before it is given.
    pub number: u64,
    /// The client, or a network.
    pub subject: Prefix,
    /// The site's name; empty for every site.
    pub site: String,
    /// What gateways do about the subject's requests.
    pub consequence: Consequence,
    /// A reason code.
    pub reason: String,
    /// What the decision rests on, for people.
    pub evidence: String,
    /// When the decision was made, in milliseconds of Unix time.
    pub made_ms: u64,
    /// When the decision ends, in milliseconds of Unix time.
    pub until_ms: u64,
    /// Ids of requests that led to the decision.
    pub request_ids: Vec<String>,
    /// Whether an operator made it, which stands against other sources.
    pub by_operator: bool,
    /// The operator's note.
    pub note: String,
}

impl Decision {
    /// Whether the decision stands when `consequence` would be decided for `lifetime_ms`: an operator's does;
    /// any other where it is as harsh, or harsher, and lasts for at least half of that time.
    pub(crate) fn stands_against(
        &self,
        consequence: Consequence,
        now_ms: u64,
        lifetime_ms: u64,
    ) -> bool {
        let lasts = self.until_ms >= now_ms + lifetime_ms / 2;
        self.by_operator || (self.consequence.covers(consequence) && lasts)
    }
}

/// An entry that is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Follows the numbers of decisions.
    pub number: u64,
    /// The subject of the decision that is taken back.
    pub subject: Prefix,
    /// The site of that decision; empty for every site.
    pub site: String,
    /// When it was taken back, in milliseconds of Unix time.
    pub made_ms: u64,
    /// Whether an operator took it back.
    pub by_operator: bool,
}

/// The label that a person gave to the client of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// A person with a browser.
    Person,
    /// A crawler that the site gains by.
    WelcomeBot,
    /// Automation that takes content away.
    Scraper,
    /// Probes for holes, or attacks.
    Malicious,
}

impl Label {
    /// Whether clients with this label are let through, whatever the steps would find.
    pub(crate) const fn spares(self) -> bool {
        matches!(self, Self::Person | Self::WelcomeBot)
    }
}

/// What proved true about the client of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// The client followed a link that only the tarpit has.
    Trap,
    /// The client is a welcome crawler, verified by its address.
    Verified,
}

/// A case of the history, as far as this version can read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The case.
    pub case: Option<Case>,
    /// What the case came to.
    pub assessment: Option<Assessment>,
    /// The label that a person gave.
    pub label: Option<Label>,
    /// What proved true about the client, each once.
    pub proved: Vec<Truth>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(consequence: Consequence, until_ms: u64) -> Decision {
        Decision {
            number: 1,
            subject: "192.0.2.7".parse().unwrap(),
            site: "shop".to_owned(),
            consequence,
            reason: "sidecar.rules".to_owned(),
            evidence: String::new(),
            made_ms: 0,
            until_ms,
            request_ids: Vec::new(),
            by_operator: false,
            note: String::new(),
        }
    }

    /// Numbers of actions rise with harshness neither on the wire nor in records of gateways.
    #[test]
    fn a_milder_action_with_a_greater_number_displaces_no_harsher_one() {
        let deny = Consequence::Act(Action::Deny);
        let throttle = Consequence::Act(Action::Throttle);
        let later_version = Consequence::Unknown(6);
        let denied = decision(deny, 1_000);
        for milder in [throttle, Consequence::Act(Action::Tarpit), later_version] {
            assert!(denied.stands_against(milder, 0, 1_000), "{milder:?}");
            let current = decision(milder, 1_000);
            assert!(!current.stands_against(deny, 0, 1_000), "{milder:?}");
        }
        // A decision that is about to end makes room for one that lasts.
        assert!(denied.stands_against(deny, 500, 1_000));
        assert!(!denied.stands_against(throttle, 501, 1_000));
        let by_operator = Decision {
            by_operator: true,
            ..decision(throttle, 0)
        };
        assert!(by_operator.stands_against(deny, 0, 1_000));
    }

    #[test]
    fn a_consequence_covers_what_is_no_harsher() {
        let rising = [
            &[
                Consequence::None,
                Consequence::Unknown(0),
                Consequence::Unknown(6),
            ][..],
            &[Consequence::Alert],
            &[Consequence::Act(Action::Throttle)],
            &[Consequence::Act(Action::Tarpit)],
            &[Consequence::Act(Action::Deny)],
        ];
        for (place, alike) in rising.iter().enumerate() {
            for (other_place, others) in rising.iter().enumerate() {
                let pairs = alike
                    .iter()
                    .flat_map(|one| others.iter().map(move |other| (one, other)));
                for (one, other) in pairs {
                    assert_eq!(
                        one.covers(*other),
                        place >= other_place,
                        "{one:?} {other:?}"
                    );
                }
            }
        }
    }
}
