//! What a sidecar says, held against what it may say. All of it comes from another process, which
//! read what strangers sent, and is trusted no further than the bounds here.

use std::sync::Arc;

use thiserror::Error;
use thornwall_decisions::{
    clock::Moment,
    decision::{self, Action, Change, DecisionKey, LONGEST, ReasonCode, Scope, Source},
    prefix_set::Prefix,
};
use thornwall_detectors::address::neighbourhood;
use thornwall_filters::escalation::CaseId;
use thornwall_proto::v1;

use super::assessments::{Assessment, Consequence};

/// The longest that a sidecar decides for, unless one of its operators does: a month.
const LONGEST_MS: u64 = 30 * 86_400_000;
/// Longest id of a request.
const LONGEST_ID: usize = 64;
/// Most ids of requests.
const MOST_IDS: usize = 8;

/// Why something that a sidecar says is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum AnswerError {
    /// It names no case.
    #[error("no id of a case")]
    Case,
    /// A reason that is no code.
    #[error("no reason code")]
    Reason,
    /// A score that is none.
    #[error("no score from 0 to 1")]
    Score,
    /// A subject that is no network.
    #[error("no address or network")]
    Subject,
    /// It ends before it begins, or has ended.
    #[error("no time in which it holds")]
    Time,
    /// A network of more than a neighbourhood, which no case is about.
    #[error("a network wider than a neighbourhood")]
    Wide,
}

/// What is made of a decision.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Taken {
    /// A change of the store.
    Change(Change),
    /// The decision has no effect here: nothing is to be done, or not at a site of ours.
    Nothing,
}

/// The case that an assessment is about, and what it came to.
pub(super) fn assessment(sent: &v1::Assessment) -> Result<(CaseId, Assessment), AnswerError> {
    let digits = sent.case_id.len() == 32 && sent.case_id.bytes().all(|b| b.is_ascii_hexdigit());
    let case = digits.then(|| u128::from_str_radix(&sent.case_id, 16).ok());
    let case = case.flatten().map(CaseId).ok_or(AnswerError::Case)?;
    if !(0.0..=1.0).contains(&sent.score) {
        return Err(AnswerError::Score);
    }
    let assessment = Assessment {
        score: sent.score,
        consequence: consequence(sent.action()),
        reason: reason(&sent.reason)?,
        pending: sent.pending,
    };
    Ok((case, assessment))
}

/// The change of the store that a decision is. `known` says whether a site is one of ours.
pub(super) fn decision(
    sent: v1::Decision,
    now: Moment,
    known: impl Fn(&str) -> bool,
) -> Result<Taken, AnswerError> {
    let Some(action) = consequence(sent.action()).action() else {
        return Ok(Taken::Nothing);
    };
    let Some(scope) = scope(&sent.site, known) else {
        return Ok(Taken::Nothing);
    };
    let subject: Prefix = sent.subject.parse().map_err(|_| AnswerError::Subject)?;
    if !sent.by_operator && is_wide(subject) {
        return Err(AnswerError::Wide);
    }
    // Clocks differ: what counts is for how long, and that it has not ended by ours.
    let lifetime = sent.until_ms.checked_sub(sent.made_ms);
    let longest = match sent.by_operator {
        true => u64::try_from(LONGEST.as_millis()).unwrap_or(LONGEST_MS),
        false => LONGEST_MS,
    };
    let lifetime = lifetime.filter(|lifetime| *lifetime > 0);
    let lifetime = lifetime.ok_or(AnswerError::Time)?.min(longest);
    let made_ms = sent.made_ms.min(now.unix_ms);
    let until_ms = made_ms.saturating_add(lifetime);
    if until_ms <= now.unix_ms {
        return Err(AnswerError::Time);
    }
    let decision = decision::Decision {
        subject,
        scope,
        action,
        reason: reason(&sent.reason)?,
        source: source(sent.by_operator),
        evidence: sent.evidence,
        note: sent.note,
        requests: ids(sent.request_ids),
        made_ms,
        until_ms,
    };
    Ok(Taken::Change(Change::Decide(decision.bounded())))
}

/// The change of the store that a withdrawal is.
pub(super) fn withdrawal(
    sent: &v1::Withdrawal,
    now: Moment,
    known: impl Fn(&str) -> bool,
) -> Result<Taken, AnswerError> {
    let Some(scope) = scope(&sent.site, known) else {
        return Ok(Taken::Nothing);
    };
    let subject: Prefix = sent.subject.parse().map_err(|_| AnswerError::Subject)?;
    Ok(Taken::Change(Change::Withdraw(decision::Withdrawal {
        key: DecisionKey { subject, scope },
        source: source(sent.by_operator),
        made_ms: sent.made_ms.min(now.unix_ms),
    })))
}

/// What a sidecar has done. A value of a later version is nothing that could be done here.
const fn consequence(action: v1::Action) -> Consequence {
    match action {
        v1::Action::Unspecified | v1::Action::None => Consequence::None,
        v1::Action::Alert => Consequence::Alert,
        v1::Action::Throttle => Consequence::Act(Action::Throttle),
        v1::Action::Tarpit => Consequence::Act(Action::Tarpit),
        v1::Action::Deny => Consequence::Act(Action::Deny),
    }
}

const fn source(by_operator: bool) -> Source {
    if by_operator {
        Source::Operator
    } else {
        Source::Sidecar
    }
}

fn reason(code: &str) -> Result<ReasonCode, AnswerError> {
    ReasonCode::try_from(code.to_owned()).map_err(|_| AnswerError::Reason)
}

/// Where it holds; nothing where that is no site of ours, which a sidecar of several gateways may
/// well name.
fn scope(site: &str, known: impl Fn(&str) -> bool) -> Option<Scope> {
    match site {
        "" => Some(Scope::Deployment),
        name => known(name).then(|| Scope::Site(Arc::from(name))),
    }
}

/// Whether a network is wider than that of one client's neighbours.
fn is_wide(subject: Prefix) -> bool {
    let least = if neighbourhood(subject.first()).is_ipv4() {
        24
    } else {
        48
    };
    subject.length() < least
}

/// Ids as they may be kept: what is longer than any of ours is none.
fn ids(sent: Vec<String>) -> Vec<String> {
    let short = |id: &String| id.len() <= LONGEST_ID;
    sent.into_iter().filter(short).take(MOST_IDS).collect()
}

#[cfg(test)]
mod tests;
