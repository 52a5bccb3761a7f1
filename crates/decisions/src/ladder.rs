//! Scores, and the actions that start at them.

use crate::decision::Action;

/// The score, above 0 and up to 1, at which each action starts; none where it never does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ladder([Option<f32>; Action::COUNT]);

impl Ladder {
    /// The ladder on which each action starts at the score that `start` gives for it. Harsher
    /// actions start at higher scores.
    pub fn new(start: impl FnMut(Action) -> Option<f32>) -> Self {
        Self(Action::ALL.map(start))
    }

    /// The score at which an action starts.
    pub const fn start(&self, action: Action) -> Option<f32> {
        self.0[action as usize]
    }

    /// The actions that start at all and their scores, the mildest first.
    pub fn rungs(&self) -> impl DoubleEndedIterator<Item = (Action, f32)> {
        let rungs = Action::ALL.into_iter().zip(self.0);
        rungs.filter_map(|(action, start)| Some((action, start?)))
    }

    /// The harshest action that a score reaches.
    pub fn action(&self, score: f32) -> Option<Action> {
        let mut rungs = self.rungs().rev();
        rungs
            .find(|(_, start)| score >= *start)
            .map(|(action, _)| action)
    }
}

#[cfg(test)]
mod tests {
    use super::Ladder;
    use crate::decision::Action;

    #[test]
    fn a_score_comes_to_the_harshest_action_that_it_reaches() {
        let ladder = Ladder::new(|action| match action {
            Action::Throttle => Some(0.5),
            Action::Tarpit => None,
            Action::Deny => Some(0.9),
        });
        let check = |score, expected| assert_eq!(ladder.action(score), expected, "{score}");
        check(0.0, None);
        check(0.49, None);
        check(0.5, Some(Action::Throttle));
        check(0.89, Some(Action::Throttle));
        check(0.9, Some(Action::Deny));
        check(f32::NAN, None);
        assert_eq!(Ladder::default().action(1.0), None);
        let rungs: Vec<_> = ladder.rungs().collect();
        assert_eq!(rungs, [(Action::Throttle, 0.5), (Action::Deny, 0.9)]);
        assert_eq!(ladder.start(Action::Tarpit), None);
    }
}
