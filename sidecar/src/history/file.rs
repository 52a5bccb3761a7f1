//! The file of the history: cases by id and by time, and the numbers of decisions.

use std::{borrow::Cow, io, ops::ControlFlow, path::Path};

use prost::Message;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    Table, TableDefinition, TableError, WriteTransaction,
};
use thiserror::Error;
use thornwall_decisions::prefix_set::Prefix;
use thornwall_proto::v1;
use thornwall_settings::secret_file;

use super::{Order, Written};
use crate::{
    assess::is_lifted, assessment::Label, case::CaseId, config, decision_log::MOST_ENTRIES,
    wire::label_of,
};

/// Cases with what they came to, by id.
const CASES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("cases");
/// The same cases, by when they were assessed last.
const TIMES: TableDefinition<'_, (u64, u128), ()> = TableDefinition::new("times");
/// Decisions, by number.
const DECISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("decisions");
/// The last number.
const LAST: TableDefinition<'_, (), u64> = TableDefinition::new("last");
/// What the numbering is called.
const NAME: TableDefinition<'_, (), &str> = TableDefinition::new("name");

/// Memory for pages of the file.
const CACHE_BYTES: usize = 8 << 20;
/// For how long a condemned case counts against its client.
const REMEMBERED_MS: u64 = 7 * 24 * 3_600_000;
/// Cases that are forgotten with one write, so that none takes long.
const MOST_FORGOTTEN: usize = 1024;
/// Decisions that are kept at most, and how many of them stay then: as many as are ever sent.
const MOST_DECISIONS: u64 = 2 * MOST_ENTRIES as u64;
/// Cases that are remembered over a start.
const MOST_REMEMBERED: usize = 65_536;
/// Cases that one listing looks at.
const MOST_LOOKED_AT: usize = 100_000;
/// Cases of a page where none was asked for, and at most.
const PAGE: usize = 100;
const MOST_PAGE: usize = 1000;
/// Bytes from which a page is full, so that the next assessment, of 6 KiB at most, still fits into a
/// message.
const MOST_PAGE_BYTES: usize = 48 << 10;

/// The number of no label. Labels are compared by number, so that one of a later version stays.
const UNLABELLED: i32 = v1::Label::Unspecified as i32;

/// A page of a listing, and where the next one begins.
pub(crate) type Page = (Vec<v1::Assessment>, String);

/// Error: the file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The database failed.
    #[error("{0}")]
    Database(#[from] redb::Error),
    /// The operating system failed.
    #[error("{0}")]
    Io(io::Error),
    /// Another process has it.
    #[error("another process uses it; give each sidecar a data_dir of its own")]
    Taken,
    /// The page is none that an answer named.
    #[error("`page` is none that an answer named")]
    Page,
}

/// What was in the file.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) name: Option<String>,
    pub(super) last: u64,
    pub(super) decisions: Vec<v1::Decision>,
    pub(super) remembered: Vec<Remembered>,
}

/// A case of an earlier process that still counts.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub id: CaseId,
    pub site: String,
    pub subject: Prefix,
    /// How its requests looked.
    pub shape: u64,
    /// When it was assessed.
    pub when_ms: u64,
    /// Until when it was condemned, where it was.
    pub condemned_until_ms: Option<u64>,
    /// The label that a person gave.
    pub label: Option<Label>,
}

impl Remembered {
    fn of(case: &v1::Explanation) -> Option<Self> {
        let (label, assessment) = (label_of(case.label()), case.assessment.as_ref()?);
        let steps: Vec<_> = assessment.steps.iter().cloned().map(Into::into).collect();
        let decision = assessment.decision.as_ref();
        let own = decision.filter(|made| !made.by_operator && !is_lifted(&steps));
        let sent = case.case.as_ref()?;
        (own.is_some() || label.is_some()).then_some(Self {
            id: sent.id.parse().ok()?,
            site: sent.site.clone(),
            subject: sent.subject.parse().ok()?,
            shape: sent.shape,
            when_ms: own.map_or(assessment.made_ms, |made| made.made_ms),
            condemned_until_ms: own.map(|made| made.until_ms),
            label,
        })
    }
}

impl Written {
    /// As it is written; nothing where it has no name.
    fn of(case: &v1::Explanation) -> Option<Self> {
        let (id, made_ms) = name_of(case)?;
        Some(Self {
            id: CaseId(id),
            made_ms,
            bytes: case.encode_to_vec(),
        })
    }
}

pub(super) struct File(Database);

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        secret_file::keep_private(path);
        let mut builder = Builder::new();
        let made = builder.set_cache_size(CACHE_BYTES).create(path);
        let file = Self(made.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => FileError::Taken,
            other => FileError::Database(other.into()),
        })?);
        // From here on every table is there.
        file.change(|_| Ok(()))?;
        Ok(file)
    }

    /// Opens one that is there.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, redb::Error> {
        let mut builder = Builder::new();
        Ok(Self(builder.set_cache_size(CACHE_BYTES).open(path)?))
    }

    /// Everything that the next start needs.
    pub(super) fn load(&self, now_ms: u64) -> Result<Stored, FileError> {
        Ok(self.read_all(now_ms)?)
    }

    fn read_all(&self, now_ms: u64) -> Result<Stored, redb::Error> {
        let read = self.0.begin_read()?;
        let mut stored = Stored {
            name: read
                .open_table(NAME)?
                .get(())?
                .map(|name| name.value().to_owned()),
            last: read
                .open_table(LAST)?
                .get(())?
                .map_or(0, |last| last.value()),
            ..Stored::default()
        };
        for entry in read.open_table(DECISIONS)?.iter()? {
            let (_, bytes) = entry?;
            let decision = v1::Decision::decode(bytes.value()).ok();
            stored
                .decisions
                .extend(decision.filter(|decision| decision.until_ms > now_ms));
        }
        let cases = read.open_table(CASES)?;
        let since = now_ms.saturating_sub(REMEMBERED_MS);
        let times = read.open_table(TIMES)?;
        for entry in times.range((since, 0)..)?.rev() {
            let (_, id) = entry?.0.value();
            let bytes = cases.get(id)?;
            let case = bytes.and_then(|bytes| v1::Explanation::decode(bytes.value()).ok());
            stored
                .remembered
                .extend(case.as_ref().and_then(Remembered::of));
            if stored.remembered.len() == MOST_REMEMBERED {
                break;
            }
        }
        // As they came.
        stored.remembered.reverse();
        Ok(stored)
    }

    /// Gives the numbering its name.
    pub(super) fn set_name(&self, name: &str) -> Result<String, FileError> {
        self.change(|transaction| {
            transaction.open_table(NAME)?.insert((), name)?;
            Ok(())
        })?;
        Ok(name.to_owned())
    }

    /// Writes a batch, and forgets what is too old or too much.
    pub(super) fn write(&self, batch: &[Order], limits: config::History) -> Result<(), FileError> {
        self.change(|transaction| {
            let mut cases = Cases::open(transaction)?;
            for order in batch {
                match order {
                    Order::Case(case) => cases.put(case)?,
                    Order::Decision(decision) => decide(transaction, decision)?,
                    Order::Withdrawal(withdrawal) => withdraw(transaction, withdrawal)?,
                    Order::Proved(id, truth) => cases.prove(*id, *truth)?,
                    _ => {}
                }
            }
            drop(cases);
            let made = |order: &Order| match order {
                Order::Case(case) => Some(case.made_ms),
                _ => None,
            };
            forget(transaction, limits, batch.iter().filter_map(made).max())
        })
    }

    /// A case and what it came to.
    pub(super) fn explain(&self, id: CaseId) -> Result<Option<v1::Explanation>, FileError> {
        Ok(self.find(id)?)
    }

    fn find(&self, id: CaseId) -> Result<Option<v1::Explanation>, redb::Error> {
        let cases = self.0.begin_read()?.open_table(CASES)?;
        let bytes = cases.get(id.0)?;
        Ok(bytes.and_then(|bytes| v1::Explanation::decode(bytes.value()).ok()))
    }

    /// Stores the label that a person gave to a case.
    pub(super) fn label(
        &self,
        id: CaseId,
        label: v1::Label,
        note: String,
    ) -> Result<Option<v1::Explanation>, FileError> {
        let Some(mut case) = self.find(id)? else {
            return Ok(None);
        };
        case.label = label.into();
        case.note = note;
        if let Some(written) = Written::of(&case) {
            self.change(|transaction| Cases::open(transaction)?.put(&written))?;
        }
        Ok(Some(case))
    }

    /// A page of cases, newest first.
    pub(super) fn list(&self, request: &v1::ListRequest) -> Result<Page, FileError> {
        let before = match request.page.as_str() {
            "" => (u64::MAX, u128::MAX),
            page => parse_page(page).ok_or(FileError::Page)?,
        };
        Ok(self.page(request, before)?)
    }

    fn page(&self, request: &v1::ListRequest, before: (u64, u128)) -> Result<Page, redb::Error> {
        let most = match request.page_size as usize {
            0 => PAGE,
            size => size.min(MOST_PAGE),
        };
        let inside: Option<Prefix> = request.subject.parse().ok();
        let wanted = |assessment: &v1::Assessment| {
            let site = request.site.is_empty() || assessment.site == request.site;
            site && inside.is_none_or(|network| covers(network, &assessment.subject))
        };
        let read = self.0.begin_read()?;
        let (cases, times) = (read.open_table(CASES)?, read.open_table(TIMES)?);
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut last = before;
        for entry in times.range(..before)?.rev().take(MOST_LOOKED_AT) {
            last = entry?.0.value();
            let kept = cases.get(last.1)?;
            let case = kept.and_then(|bytes| v1::Explanation::decode(bytes.value()).ok());
            if let Some(next) = case.and_then(|case| case.assessment).filter(wanted) {
                bytes += next.encoded_len();
                found.push(next);
            }
            if found.len() == most || bytes > MOST_PAGE_BYTES {
                break;
            }
        }
        let more = times.range(..last)?.next().is_some() && last != before;
        Ok((
            found,
            if more {
                page_after(last)
            } else {
                String::new()
            },
        ))
    }

    /// Shows every case that was assessed since, the oldest first, until `show` breaks.
    pub(super) fn each(
        &self,
        since_ms: u64,
        mut show: impl FnMut(v1::Explanation) -> ControlFlow<()>,
    ) -> Result<(), redb::Error> {
        let read = self.0.begin_read()?;
        let (cases, times) = (read.open_table(CASES)?, read.open_table(TIMES)?);
        for entry in times.range((since_ms, 0)..)? {
            let (_, id) = entry?.0.value();
            let bytes = cases.get(id)?;
            let case = bytes.and_then(|bytes| v1::Explanation::decode(bytes.value()).ok());
            if case.is_some_and(|case| show(case).is_break()) {
                break;
            }
        }
        Ok(())
    }

    fn change(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), FileError> {
        let transaction = self.0.begin_write().map_err(redb::Error::from)?;
        tables(&transaction).map_err(redb::Error::from)?;
        change(&transaction)?;
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }
}

/// Makes the tables that are not there.
fn tables(transaction: &WriteTransaction) -> Result<(), TableError> {
    transaction.open_table(CASES)?;
    transaction.open_table(TIMES)?;
    transaction.open_table(DECISIONS)?;
    transaction.open_table(LAST)?;
    transaction.open_table(NAME)?;
    Ok(())
}

/// The two tables of cases, opened for a whole batch.
struct Cases<'t> {
    cases: Table<'t, u128, &'static [u8]>,
    times: Table<'t, (u64, u128), ()>,
}

impl<'t> Cases<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            cases: transaction.open_table(CASES)?,
            times: transaction.open_table(TIMES)?,
        })
    }

    fn put(&mut self, written: &Written) -> Result<(), redb::Error> {
        let id = written.id.0;
        let before = self.cases.get(id)?;
        let before = before.and_then(|bytes| v1::Explanation::decode(bytes.value()).ok());
        let mut bytes = Cow::Borrowed(written.bytes.as_slice());
        if let Some(before) = before {
            if let Some((_, earlier_ms)) = name_of(&before) {
                self.times.remove((earlier_ms, id))?;
            }
            if let Some(whole) = with_past(&before, &bytes) {
                bytes = Cow::Owned(whole);
            }
        }
        self.cases.insert(id, &*bytes)?;
        self.times.insert((written.made_ms, id), ())?;
        Ok(())
    }

    /// Notes what proved true about the client of a case that is known.
    fn prove(&mut self, id: CaseId, truth: v1::outcome::Truth) -> Result<(), redb::Error> {
        let known = self.cases.get(id.0)?;
        let known = known.and_then(|bytes| v1::Explanation::decode(bytes.value()).ok());
        if let Some(mut case) = known
            && !case.proved.contains(&truth.into())
        {
            case.proved.push(truth.into());
            let bytes = case.encode_to_vec();
            self.cases.insert(id.0, bytes.as_slice())?;
        }
        Ok(())
    }
}

/// A case with the label that a person gave and what proved true earlier, which stay as the case
/// grows, and with the last whole assessment where this one is not; nothing where there is nothing to
/// add.
fn with_past(before: &v1::Explanation, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut case = v1::Explanation::decode(bytes).ok()?;
    let is_whole = |case: &v1::Explanation| case.assessment.as_ref().is_some_and(|it| !it.pending);
    if !is_whole(&case) && is_whole(before) {
        let made_ms = case.assessment.as_ref().map_or(0, |it| it.made_ms);
        case.assessment.clone_from(&before.assessment);
        if let Some(kept) = &mut case.assessment {
            // It is found by the time of its last change.
            kept.made_ms = made_ms;
        }
    } else if before.label == UNLABELLED && before.proved.is_empty() {
        return None;
    }
    if case.label == UNLABELLED {
        (case.label, case.note) = (before.label, before.note.clone());
    }
    let new = |truth: &&i32| !case.proved.contains(truth);
    let proved: Vec<i32> = before.proved.iter().filter(new).copied().collect();
    case.proved.extend(proved);
    Some(case.encode_to_vec())
}

fn decide(transaction: &WriteTransaction, decision: &v1::Decision) -> Result<(), redb::Error> {
    let mut decisions = transaction.open_table(DECISIONS)?;
    decisions.insert(decision.number, decision.encode_to_vec().as_slice())?;
    transaction.open_table(LAST)?.insert((), decision.number)?;
    Ok(())
}

fn withdraw(transaction: &WriteTransaction, gone: &v1::Withdrawal) -> Result<(), redb::Error> {
    let mut decisions = transaction.open_table(DECISIONS)?;
    let same =
        |decision: &v1::Decision| decision.subject == gone.subject && decision.site == gone.site;
    decisions.retain(|_, bytes| !v1::Decision::decode(bytes).is_ok_and(|d| same(&d)))?;
    transaction.open_table(LAST)?.insert((), gone.number)?;
    Ok(())
}

/// Forgets what is older than the retention, and what is too much: of decisions first those that have
/// ended. `newest_ms` is when the newest case that is just written was assessed: one that a wrong clock
/// dated years ahead must not make all others old for good.
fn forget(
    transaction: &WriteTransaction,
    limits: config::History,
    newest_ms: Option<u64>,
) -> Result<(), redb::Error> {
    let (mut cases, mut times) = (
        transaction.open_table(CASES)?,
        transaction.open_table(TIMES)?,
    );
    let newest = newest_ms.unwrap_or(0);
    let oldest = newest.saturating_sub(u64::from(limits.retention_days) * 24 * 3_600_000);
    let surplus = cases.len()?.saturating_sub(limits.max_cases);
    for number in 0..MOST_FORGOTTEN as u64 {
        let first = times.first()?.map(|(key, _)| key.value());
        let Some(key) = first.filter(|key| key.0 < oldest || number < surplus) else {
            break;
        };
        times.remove(key)?;
        cases.remove(key.1)?;
    }
    let mut decisions = transaction.open_table(DECISIONS)?;
    if decisions.len()? > MOST_DECISIONS {
        let holds = |bytes: &[u8]| v1::Decision::decode(bytes).is_ok_and(|d| d.until_ms > newest);
        decisions.retain(|_, bytes| holds(bytes))?;
        while decisions.len()? > MOST_DECISIONS / 2 {
            decisions.pop_first()?;
        }
    }
    Ok(())
}

/// The id of a case, and when it was assessed.
fn name_of(case: &v1::Explanation) -> Option<(u128, u64)> {
    let assessment = case.assessment.as_ref()?;
    let id: CaseId = assessment.case_id.parse().ok()?;
    Some((id.0, assessment.made_ms))
}

fn covers(network: Prefix, subject: &str) -> bool {
    let inside = subject.parse::<Prefix>();
    inside
        .is_ok_and(|subject| network.first() <= subject.first() && subject.last() <= network.last())
}

fn page_after(last: (u64, u128)) -> String {
    format!("{:x}-{:x}", last.0, last.1)
}

/// Whether it is how a page is named.
pub(crate) fn is_page(text: &str) -> bool {
    parse_page(text).is_some()
}

fn parse_page(text: &str) -> Option<(u64, u128)> {
    let (time, id) = text.split_once('-')?;
    let time = u64::from_str_radix(time, 16).ok()?;
    Some((time, u128::from_str_radix(id, 16).ok()?))
}

#[cfg(test)]
mod tests;
