//! What language models have cost, minute by minute, and whether the next question may be asked.
//!
//! The most that a question can cost is reserved before it is asked, and on the disk before it is sent:
//! neither a crash nor a restart makes a budget larger. What it did cost takes the reservation's place
//! later. A minute counts until the last second of it is outside of the window.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    backends::InMemoryBackend,
};
use thiserror::Error;

use crate::config::Budget;

/// Tokens and millionths of money, by minutes of Unix time.
const MINUTES: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("minutes");
/// Memory for pages of the file.
const CACHE_BYTES: usize = 1 << 20;
const MINUTE_MS: u64 = 60_000;
const HOUR: u64 = 60;
const DAY: u64 = 24 * 60;
/// Minutes that are kept: those of a day, and what wrong clocks may have added.
const MOST_MINUTES: u64 = 4 * DAY;
/// Money is counted in millionths, so that sums are exact.
pub(super) const MICROS: f64 = 1e6;

/// Tokens, and millionths of money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Tokens of prompt and answer.
    pub tokens: u64,
    /// Millionths of money.
    pub micros: u64,
}

/// Error: a question is not asked.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// It could cost more than is left.
    #[error("the budget {0} is used up")]
    Spent(&'static str),
    /// It failed, and is not of a file that could be opened again.
    #[error("what is spent is not known")]
    Gone,
    /// What is spent cannot be written.
    #[error("what is spent cannot be written: {0}")]
    Database(#[from] redb::Error),
}

/// A part of the budget that is set aside.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub(crate) struct Reservation {
    minute: u64,
    cost: Cost,
}

/// What was spent within a day.
pub struct Ledger {
    path: Option<PathBuf>,
    /// Looking and writing are one. Nothing after a failure, until it is opened again.
    minutes: Mutex<Option<Minutes>>,
}

struct Minutes(Database);

impl Ledger {
    /// Opens the file of what was spent.
    pub fn open(path: &Path) -> Result<Self, redb::Error> {
        Ok(Self {
            minutes: Mutex::new(Some(Minutes::open(path)?)),
            path: Some(path.to_path_buf()),
        })
    }

    /// One that is gone with the process.
    pub fn in_memory() -> Result<Self, redb::Error> {
        let file = Builder::new().create_with_backend(InMemoryBackend::new())?;
        Ok(Self {
            minutes: Mutex::new(Some(Minutes::over(file)?)),
            path: None,
        })
    }

    /// Works on the file, which is opened anew where it failed before: a database that failed once
    /// refuses everything.
    fn on_file<T>(
        &self,
        work: impl FnOnce(&Minutes) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut held = self.minutes.lock();
        if held.is_none()
            && let Some(path) = &self.path
        {
            *held = Some(Minutes::open(path)?);
        }
        let minutes = held.as_ref().ok_or(LedgerError::Gone)?;
        let done = work(minutes);
        if matches!(done, Err(LedgerError::Database(_))) && self.path.is_some() {
            *held = None;
        }
        done
    }

    /// Sets the most that a question can cost aside. It writes to a disk.
    pub(crate) fn reserve(
        &self,
        budget: &Budget,
        cost: Cost,
        now_ms: u64,
    ) -> Result<Reservation, LedgerError> {
        self.on_file(|minutes| minutes.reserve(budget, cost, now_ms))
    }

    /// Puts what a question did cost in the place of what was set aside for it.
    pub(crate) fn settle(&self, reserved: Reservation, cost: Cost) -> Result<(), LedgerError> {
        self.on_file(|minutes| Ok(minutes.replace(reserved, cost)?))
    }

    /// What was spent or is set aside within an hour, and within a day.
    pub(crate) fn spent(&self, now_ms: u64) -> Result<(Cost, Cost), LedgerError> {
        self.on_file(|minutes| Ok(minutes.spent(now_ms / MINUTE_MS)?))
    }
}

impl Minutes {
    fn open(path: &Path) -> Result<Self, redb::Error> {
        thornwall_settings::secret_file::keep_private(path);
        Self::over(Builder::new().set_cache_size(CACHE_BYTES).create(path)?)
    }

    fn over(file: Database) -> Result<Self, redb::Error> {
        let write = file.begin_write()?;
        write.open_table(MINUTES)?;
        write.commit()?;
        Ok(Self(file))
    }

    fn reserve(
        &self,
        budget: &Budget,
        cost: Cost,
        now_ms: u64,
    ) -> Result<Reservation, LedgerError> {
        let minute = now_ms / MINUTE_MS;
        let (hour, day) = self.spent(minute)?;
        let share = u64::from(budget.sidecars.max(1));
        let money = |sum: f64| (sum * MICROS) as u64 / share;
        let limits = [
            (
                hour.tokens.saturating_add(cost.tokens),
                budget.tokens_per_hour / share,
                "of tokens per hour",
            ),
            (
                day.tokens.saturating_add(cost.tokens),
                budget.tokens_per_day / share,
                "of tokens per day",
            ),
            (
                hour.micros.saturating_add(cost.micros),
                money(budget.money_per_hour),
                "of money per hour",
            ),
            (
                day.micros.saturating_add(cost.micros),
                money(budget.money_per_day),
                "of money per day",
            ),
        ];
        if let Some((.., which)) = limits.iter().find(|(sum, limit, _)| sum > limit) {
            return Err(LedgerError::Spent(which));
        }
        self.add(minute, cost)?;
        Ok(Reservation { minute, cost })
    }

    fn spent(&self, minute: u64) -> Result<(Cost, Cost), redb::Error> {
        let (mut hour, mut day) = (Cost::default(), Cost::default());
        let read = self.0.begin_read()?;
        // Where a clock was set back, what was spent later counts too.
        for entry in read
            .open_table(MINUTES)?
            .range(minute.saturating_sub(DAY)..)?
        {
            let (at, spent) = entry?;
            let (tokens, micros) = spent.value();
            let spent = Cost { tokens, micros };
            day = day.and(spent);
            if at.value() + HOUR >= minute {
                hour = hour.and(spent);
            }
        }
        Ok((hour, day))
    }

    fn add(&self, minute: u64, cost: Cost) -> Result<(), redb::Error> {
        self.change(minute, |(tokens, micros)| Cost { tokens, micros }.and(cost))
    }

    fn replace(&self, reserved: Reservation, cost: Cost) -> Result<(), redb::Error> {
        self.change(reserved.minute, |(tokens, micros)| {
            let others = Cost {
                tokens: tokens.saturating_sub(reserved.cost.tokens),
                micros: micros.saturating_sub(reserved.cost.micros),
            };
            others.and(cost)
        })
    }

    fn change(
        &self,
        minute: u64,
        change: impl FnOnce((u64, u64)) -> Cost,
    ) -> Result<(), redb::Error> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(MINUTES)?;
            let before = table.get(minute)?.map_or((0, 0), |spent| spent.value());
            let Cost { tokens, micros } = change(before);
            table.insert(minute, (tokens, micros))?;
            // By number and not by age, as a clock that is ahead must not make what is true old.
            if table.len()? > MOST_MINUTES {
                table.pop_first()?;
            }
        }
        write.commit()?;
        Ok(())
    }
}

impl Cost {
    /// Both together. What is beyond all numbers is beyond all budgets.
    const fn and(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micros: self.micros.saturating_add(other.micros),
        }
    }

    /// No more than so many times `most`.
    pub(super) fn at_most(self, times: u64, most: Self) -> Self {
        Self {
            tokens: self.tokens.min(most.tokens.saturating_mul(times)),
            micros: self.micros.min(most.micros.saturating_mul(times)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget {
        tokens_per_hour: 100,
        tokens_per_day: 250,
        money_per_hour: 1.0,
        money_per_day: 2.0,
        sidecars: 1,
    };
    const HOUR_MS: u64 = HOUR * MINUTE_MS;

    const fn tokens(tokens: u64) -> Cost {
        Cost { tokens, micros: 0 }
    }

    fn refused(ledger: &Ledger, cost: Cost, now_ms: u64) -> Option<&'static str> {
        match ledger.reserve(&BUDGET, cost, now_ms) {
            Ok(_) => None,
            Err(LedgerError::Spent(which)) => Some(which),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_set_aside_counts_until_its_hour_is_over() {
        let ledger = Ledger::in_memory().unwrap();
        assert_eq!(refused(&ledger, tokens(101), 0), Some("of tokens per hour"));
        assert_eq!(refused(&ledger, tokens(60), 59_999), None);
        assert_eq!(
            refused(&ledger, tokens(60), HOUR_MS + 59_999),
            Some("of tokens per hour")
        );
        assert_eq!(refused(&ledger, tokens(60), HOUR_MS + 60_000), None);
        assert_eq!(refused(&ledger, tokens(60), 3 * HOUR_MS), None);
        assert_eq!(refused(&ledger, tokens(60), 5 * HOUR_MS), None);
        assert_eq!(
            refused(&ledger, tokens(60), 7 * HOUR_MS),
            Some("of tokens per day")
        );
        assert_eq!(refused(&ledger, tokens(60), 24 * HOUR_MS + 60_000), None);
        let money = Cost {
            tokens: 0,
            micros: 1_000_001,
        };
        assert_eq!(
            refused(&ledger, money, 90 * HOUR_MS),
            Some("of money per hour")
        );
    }

    #[test]
    fn what_it_did_cost_takes_the_place_of_what_was_set_aside() {
        let ledger = Ledger::in_memory().unwrap();
        let reserved = ledger.reserve(&BUDGET, tokens(90), 0).unwrap();
        assert_eq!(refused(&ledger, tokens(20), 0), Some("of tokens per hour"));
        ledger.settle(reserved, tokens(30)).unwrap();
        assert_eq!(ledger.spent(0).unwrap().0, tokens(30));
        assert_eq!(refused(&ledger, tokens(70), 0), None);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_new_budget() {
        let ledger = Ledger::in_memory().unwrap();
        assert_eq!(refused(&ledger, tokens(100), 5 * HOUR_MS), None);
        assert_eq!(
            refused(&ledger, tokens(1), 2 * HOUR_MS),
            Some("of tokens per hour")
        );
    }

    /// Numbers are what a vendor reports.
    #[test]
    fn what_is_spent_is_never_so_much_that_it_is_forgotten() {
        let ledger = Ledger::in_memory().unwrap();
        let endless = Cost {
            tokens: u64::MAX,
            micros: u64::MAX,
        };
        for minute in 0..3 {
            let reserved = ledger.reserve(&Budget::default(), tokens(1), minute * MINUTE_MS);
            if let Ok(reserved) = reserved {
                ledger.settle(reserved, endless).unwrap();
            }
            assert_eq!(refused(&ledger, tokens(1), 0), Some("of tokens per hour"));
        }
        assert_eq!(ledger.spent(0).unwrap(), (endless, endless));
    }

    #[test]
    fn sidecars_divide_a_budget() {
        let ledger = Ledger::in_memory().unwrap();
        let halved = Budget {
            sidecars: 2,
            ..BUDGET
        };
        assert!(ledger.reserve(&halved, tokens(51), 0).is_err());
        assert!(ledger.reserve(&halved, tokens(50), 0).is_ok());
    }

    /// What an earlier version spent: tables are found by name, and values by their types.
    #[test]
    fn what_another_version_wrote_is_spent() {
        let written: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("minutes");
        let file = Builder::new()
            .create_with_backend(InMemoryBackend::new())
            .unwrap();
        let write = file.begin_write().unwrap();
        write
            .open_table(written)
            .unwrap()
            .insert(60, (80, 7))
            .unwrap();
        write.commit().unwrap();
        let ledger = Ledger {
            minutes: Mutex::new(Some(Minutes::over(file).unwrap())),
            path: None,
        };
        let cost = Cost {
            tokens: 80,
            micros: 7,
        };
        assert_eq!(ledger.spent(60 * MINUTE_MS).unwrap(), (cost, cost));
    }

    #[test]
    fn a_restart_makes_no_new_budget() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spend.redb");
        for expected in [None, Some("of tokens per hour")] {
            let ledger = Ledger::open(&path).unwrap();
            assert_eq!(refused(&ledger, tokens(90), 0), expected);
        }
    }

    /// A day of questions as fast as they come: no hour and no day costs more than it may.
    #[test]
    fn no_window_of_a_busy_day_costs_more_than_the_budget() {
        let ledger = Ledger::in_memory().unwrap();
        let mut spent: Vec<(u64, u64)> = Vec::new();
        let mut now_ms = 7_777;
        for step in 0..6_000_u64 {
            now_ms += 1_000 * (1 + (step * 7_919) % 31);
            if let Ok(reserved) = ledger.reserve(&BUDGET, tokens(3 + step % 5), now_ms) {
                let actual = 1 + step % 3;
                ledger.settle(reserved, tokens(actual)).unwrap();
                spent.push((now_ms, actual));
            }
        }
        assert!(now_ms > 24 * HOUR_MS);
        let most = |window_ms: u64| {
            let within = |(at, _): &(u64, u64)| {
                let inside = spent
                    .iter()
                    .filter(|(other, _)| (*at..at + window_ms).contains(other));
                inside.map(|(_, tokens)| tokens).sum::<u64>()
            };
            spent.iter().map(within).max().unwrap_or(0)
        };
        let (hour, day) = (most(HOUR_MS), most(24 * HOUR_MS));
        assert!(
            (80..=100).contains(&hour) && (200..=250).contains(&day),
            "{hour} {day}"
        );
    }
}
