//! How often something that costs may be done: so many times an hour, and so many a day.
//!
//! Hours and days are those of UTC, as services count them that sell questions by the day. Counts are
//! not written down: after a restart the service itself may have to refuse.

/// Milliseconds of an hour and of a day.
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The questions that are left of an hour and of a day.
#[derive(Debug)]
pub(crate) struct Budget {
    hour: Window,
    day: Window,
}

#[derive(Debug)]
struct Window {
    length_ms: u64,
    most: u32,
    number: u64,
    used: u32,
}

impl Budget {
    /// A budget of which nothing is used.
    pub(crate) const fn new(per_hour: u32, per_day: u32) -> Self {
        Self {
            hour: Window::new(HOUR_MS, per_hour),
            day: Window::new(DAY_MS, per_day),
        }
    }

    /// Changes how many there are; what was used stays so.
    pub(crate) const fn limit(&mut self, per_hour: u32, per_day: u32) {
        self.hour.most = per_hour;
        self.day.most = per_day;
    }

    /// Uses one, where one is left of both. `now_ms` is Unix time.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        let windows = [&mut self.hour, &mut self.day];
        let left = windows.map(|window| window.has_room(now_ms));
        let taken = left == [true, true];
        if taken {
            self.hour.used += 1;
            self.day.used += 1;
        }
        taken
    }
}

impl Window {
    const fn new(length_ms: u64, most: u32) -> Self {
        Self {
            length_ms,
            most,
            number: 0,
            used: 0,
        }
    }

    /// A clock that is set back does not give back what was used.
    const fn has_room(&mut self, now_ms: u64) -> bool {
        let number = now_ms / self.length_ms;
        if number > self.number {
            self.number = number;
            self.used = 0;
        }
        self.used < self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut Budget, tries: usize, now_ms: u64) -> usize {
        (0..tries).filter(|_| budget.take(now_ms)).count()
    }

    #[test]
    fn hours_and_days_both_count() {
        let mut budget = Budget::new(3, 5);
        let start = 20_000 * DAY_MS;
        assert_eq!(taken(&mut budget, 10, start), 3);
        assert_eq!(taken(&mut budget, 10, start + HOUR_MS - 1), 0);
        assert_eq!(taken(&mut budget, 10, start + HOUR_MS), 2);
        assert_eq!(taken(&mut budget, 10, start + 2 * HOUR_MS), 0);
        assert_eq!(taken(&mut budget, 10, start + DAY_MS), 3);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_back() {
        let mut budget = Budget::new(1, 9);
        let start = 20_000 * DAY_MS;
        assert!(budget.take(start + HOUR_MS));
        assert!(!budget.take(start));
        assert!(!budget.take(start + HOUR_MS));
    }

    #[test]
    fn nothing_is_left_of_nothing() {
        assert!(!Budget::new(0, 5).take(1));
        assert!(!Budget::new(5, 0).take(1));
    }
}
