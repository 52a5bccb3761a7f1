//! What a score comes to, and which scores are in doubt.

use serde::Deserialize;
use thornwall_decisions::{decision::Action, ladder::Ladder};

use crate::assessment::Consequence;

/// Scores at which each action starts, and how long it lasts.
///
/// The thresholds are the predecessor's (0.80, 0.85, 0.92, 0.98), which compared as floats and so
/// missed what sums up to exactly a threshold; ours are compared with a tolerance of 1e-4.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LadderSpec {
    /// Score from which people are notified.
    pub alert: f32,
    /// Score from which the client gets the slower rate of suspects.
    pub throttle: f32,
    /// Score from which the client is held in a slow stream.
    pub tarpit: f32,
    /// Score from which the client is denied.
    pub deny: f32,
    /// Seconds that a throttle lasts at first.
    pub throttle_secs: u32,
    /// Seconds that a tarpit lasts at first.
    pub tarpit_secs: u32,
    /// Seconds that a denial lasts at first.
    pub deny_secs: u32,
    /// Seconds that any of them lasts at most; each further time within a week lasts twice as long.
    pub most_secs: u32,
}

impl Default for LadderSpec {
    fn default() -> Self {
        Self {
            alert: 0.80,
            throttle: 0.85,
            tarpit: 0.92,
            deny: 0.98,
            throttle_secs: 900,
            tarpit_secs: 3600,
            deny_secs: 3600,
            most_secs: 86_400,
        }
    }
}

/// Sums of floats miss a threshold by less than this.
const TOLERANCE: f32 = 1e-4;
/// Doublings beyond this reach any cap.
const MOST_DOUBLINGS: u32 = 20;

impl LadderSpec {
    /// What follows from a score.
    pub(crate) fn consequence(&self, score: f32) -> Consequence {
        let score = score + TOLERANCE;
        let ladder = Ladder::new(|action| Some(self.rung(action).0));
        match ladder.action(score) {
            Some(action) => Consequence::Act(action),
            None if score >= self.alert => Consequence::Alert,
            None => Consequence::None,
        }
    }

    /// The score at which an action starts, and the seconds that it lasts at first.
    const fn rung(&self, action: Action) -> (f32, u32) {
        match action {
            Action::Throttle => (self.throttle, self.throttle_secs),
            Action::Tarpit => (self.tarpit, self.tarpit_secs),
            Action::Deny => (self.deny, self.deny_secs),
        }
    }

    /// How long an action lasts about a subject that was condemned so often before; `None` where the
    /// consequence is no decision.
    pub(crate) fn lifetime_ms(&self, consequence: Consequence, before: u32) -> Option<u64> {
        let secs = match consequence {
            Consequence::Act(action) => self.rung(action).1,
            Consequence::None | Consequence::Alert | Consequence::Unknown(_) => return None,
        };
        let longer = u64::from(secs) << before.min(MOST_DOUBLINGS);
        Some(longer.min(u64::from(self.most_secs)) * 1000)
    }

    pub(super) fn complaint(&self) -> Option<&'static str> {
        let rungs = [self.alert, self.throttle, self.tarpit, self.deny];
        if rungs
            .iter()
            .any(|rung| !(0.0..=1.0).contains(rung) || *rung == 0.0)
        {
            return Some("expected scores above 0 and up to 1");
        }
        if !rungs.is_sorted() {
            return Some("expected alert <= throttle <= tarpit <= deny");
        }
        let lives = [self.throttle_secs, self.tarpit_secs, self.deny_secs];
        let fits = |secs: &u32| (1..=self.most_secs).contains(secs);
        (!lives.iter().all(fits)).then_some("expected lifetimes of 1 to `most_secs`")
    }
}

/// The scores that leave a case in doubt: only then others are asked, and only up to its upper end
/// does a language model lift a case.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Band {
    /// The lowest score in doubt.
    pub from: f32,
    /// Its upper end: a case that reaches it is sure enough.
    pub to: f32,
}

impl Default for Band {
    /// The lower end is that of the filter `escalate`; the upper one throttles, and does no more.
    fn default() -> Self {
        Self {
            from: 0.45,
            to: 0.90,
        }
    }
}

impl Band {
    /// Whether a score is in doubt.
    pub fn contains(self, score: f32) -> bool {
        score + TOLERANCE >= self.from && score + TOLERANCE < self.to
    }

    pub(super) fn complaint(self) -> Option<&'static str> {
        let good = 0.0 <= self.from && self.from < self.to && self.to <= 1.0;
        (!good).then_some("expected scores, `from` below `to`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_actions() {
        let ladder = LadderSpec::default();
        let check =
            |score: f32, expected: Consequence| assert_eq!(ladder.consequence(score), expected);
        check(0.0, Consequence::None);
        check(0.79, Consequence::None);
        // The predecessor's 0.7 + 0.1 was below its 0.8.
        check(0.799_999_9, Consequence::Alert);
        check(0.85, Consequence::Act(Action::Throttle));
        check(0.92, Consequence::Act(Action::Tarpit));
        check(1.0, Consequence::Act(Action::Deny));
    }

    #[test]
    fn repeated_actions_last_longer_up_to_the_cap() {
        let ladder = LadderSpec::default();
        let hours = |before| {
            ladder
                .lifetime_ms(Consequence::Act(Action::Deny), before)
                .map(|ms| ms / 3_600_000)
        };
        assert_eq!(hours(0), Some(1));
        assert_eq!(hours(3), Some(8));
        assert_eq!(hours(u32::MAX), Some(24));
        assert_eq!(ladder.lifetime_ms(Consequence::Alert, 3), None);
    }

    #[test]
    fn the_band_is_open_at_its_upper_end() {
        let band = Band::default();
        assert!(!band.contains(0.44));
        assert!(band.contains(0.45 - 1e-6));
        assert!(band.contains(0.89));
        assert!(!band.contains(0.90 - 1e-6));
    }
}
