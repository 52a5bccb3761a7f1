//! Decisions at run time: read with either token, changed with that of the operator.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Query as Asked, State as Extracted, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use thornwall_decisions::{
    decision::{
        Action, Change, Decision, DecisionKey, LONGEST, ReasonCode, Scope, Source, Withdrawal,
        parse_subject,
    },
    prefix_set::Prefix,
    store::{ChangeOrigin, Page, Query, Receipt, WriteOutcome},
};
use thornwall_detectors::signal::Reason;
use tokio::sync::oneshot;

use super::{Admin, Caller, refusal};
use crate::state::State;

/// Most decisions of one page.
const MOST: usize = 1000;
/// Decisions of one page, where the query has no `limit`.
const USUAL: usize = 100;
/// Characters of a note that the log has.
const LONGEST_NOTE: usize = 200;

/// Which decisions are wanted.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Only decisions that cover this address.
    pub covering: Option<IpAddr>,
    /// Only decisions for this site.
    pub site: Option<String>,
    /// Only decisions from this kind of source.
    pub source: Option<String>,
    /// Only decisions behind this position.
    pub after: Option<usize>,
    /// Decisions of one page at most.
    pub limit: Option<usize>,
}

/// What an operator decides.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// An address or a network.
    pub subject: String,
    /// The site that it is for; all where absent.
    pub site: Option<String>,
    /// What happens to the subject's requests.
    #[serde(default = "deny")]
    pub action: Action,
    /// How long.
    pub for_secs: u64,
    /// What the operator says about it.
    #[serde(default)]
    pub note: String,
    /// Whether the subject may be a large part of all addresses.
    #[serde(default)]
    pub broad: bool,
}

const fn deny() -> Action {
    Action::Deny
}

/// What an operator takes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    /// An address or a network.
    pub subject: String,
    /// The site that it was for; all where absent.
    pub site: Option<String>,
    /// What the operator says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What became of an order or a release.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The subject as it was understood, as far as `[privacy]` lets it be shown.
    pub subject: String,
    /// Whether it survives a crash.
    pub durable: bool,
    /// What deserves a second look.
    pub warnings: Vec<String>,
}

/// Some decisions, as far as `[privacy]` lets them be shown.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// In the order of their addresses.
    pub decisions: Vec<ShownDecision>,
    /// Where the next page begins, if there is one.
    pub next: Option<usize>,
}

/// A decision, as far as `[privacy]` lets it be shown.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShownDecision {
    /// Whom it is about.
    pub subject: String,
    /// Where it holds.
    pub scope: Scope,
    /// What happens to requests of the subject.
    pub action: Action,
    /// Why it was made.
    pub reason: ReasonCode,
    /// Who made it.
    pub source: Source,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What an operator wrote about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Ids of requests that led to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// When it was made, in milliseconds of Unix time.
    pub made_ms: u64,
    /// When it ends, in milliseconds of Unix time.
    pub until_ms: u64,
}

impl Shown {
    fn of(page: Page, state: &State) -> Self {
        let show = |decision: Decision| ShownDecision {
            subject: format_subject(state, decision.subject),
            scope: decision.scope,
            action: decision.action,
            reason: decision.reason,
            source: decision.source,
            evidence: decision.evidence,
            note: decision.note,
            requests: decision.requests,
            made_ms: decision.made_ms,
            until_ms: decision.until_ms,
        };
        Self {
            decisions: page.decisions.into_iter().map(show).collect(),
            next: page.next,
        }
    }
}

pub(super) async fn list(
    Extracted(admin): Extracted<Admin>,
    wanted: Result<Asked<Wanted>, QueryRejection>,
) -> Response {
    let Asked(wanted) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let query = Query {
        covering: wanted.covering,
        scope: wanted.site.map(|site| Scope::Site(site.into())),
        origin: wanted.source,
        after: wanted.after.unwrap_or_default(),
        most: wanted.limit.unwrap_or(USUAL).min(MOST),
    };
    match read(&admin.state, query).await {
        Some(page) => Json(Shown::of(page, &admin.state)).into_response(),
        None => gone(),
    }
}

pub(super) async fn make(
    Extracted(admin): Extracted<Admin>,
    Extension(caller): Extension<Caller>,
    Json(order): Json<Order>,
) -> Response {
    let state = &admin.state;
    let (subject, warning) = match parse_subject(&order.subject) {
        Ok(parsed) => parsed,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if subject.is_broad() && !order.broad {
        let what = format!(
            "{subject} is a large part of all addresses: people are likely behind it; \
             --broad (\"broad\": true) decides it all the same"
        );
        return refusal(StatusCode::BAD_REQUEST, &what);
    }
    let scope = match scope(state, order.site) {
        Ok(scope) => scope,
        Err(what) => return refusal(StatusCode::BAD_REQUEST, &what),
    };
    if !(1..=LONGEST.as_secs()).contains(&order.for_secs) {
        let what = format!(
            "for_secs is {}; expected 1 to {}",
            order.for_secs,
            LONGEST.as_secs()
        );
        return refusal(StatusCode::BAD_REQUEST, &what);
    }
    let made_ms = state.moment().unix_ms;
    let deed = format!(
        "subject={} site={} action={} for_secs={} note={:?}",
        state.pseudonymiser.subject(subject, made_ms),
        site_of(&scope),
        order.action.name(),
        order.for_secs,
        shortened(&order.note)
    );
    let decision = Decision {
        subject,
        scope,
        action: order.action,
        reason: ReasonCode::Known(Reason::DecisionOperator),
        source: Source::Operator,
        evidence: String::new(),
        note: order.note,
        requests: Vec::new(),
        made_ms,
        until_ms: made_ms + order.for_secs * 1000,
    };
    let warnings = warning.into_iter().collect();
    let outcome = finish(state, subject, Change::Decide(decision), warnings).await;
    put_down("decided", &deed, caller, &outcome);
    match outcome {
        Ok(done) => Json(done).into_response(),
        Err(refused) => refused,
    }
}

pub(super) async fn withdraw(
    Extracted(admin): Extracted<Admin>,
    Extension(caller): Extension<Caller>,
    Json(release): Json<Release>,
) -> Response {
    let state = &admin.state;
    let (subject, warning) = match parse_subject(&release.subject) {
        Ok(parsed) => parsed,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let scope = match scope(state, release.site) {
        Ok(scope) => scope,
        Err(what) => return refusal(StatusCode::BAD_REQUEST, &what),
    };
    let shown = format_subject(state, subject);
    let was = held_decision(state, subject, &scope).await;
    let deed = format!(
        "subject={shown} site={} was={was} note={:?}",
        site_of(&scope),
        shortened(&release.note)
    );
    let change = Change::Withdraw(Withdrawal {
        key: DecisionKey { subject, scope },
        source: Source::Operator,
        made_ms: state.moment().unix_ms,
    });
    let outcome = finish(state, subject, change, warning.into_iter().collect()).await;
    put_down("taken back", &deed, caller, &outcome);
    match outcome {
        Ok(mut done) => {
            done.warnings.extend(covering(state, subject, &shown).await);
            Json(done).into_response()
        }
        Err(refused) if refused.status() == StatusCode::NOT_FOUND => {
            let mut what = vec![format!("nothing is decided about exactly {shown}")];
            what.extend(covering(state, subject, &shown).await);
            refusal(StatusCode::NOT_FOUND, &what.join("; "))
        }
        Err(refused) => refused,
    }
}

/// Puts down what an operator had done, once it is known what became of it.
fn put_down(what: &str, deed: &str, caller: Caller, outcome: &Result<Done, Response>) {
    match outcome {
        Ok(done) => log::info!(
            "{what} by an operator; {deed} durable={} {caller}",
            done.durable
        ),
        Err(refused) => log::warn!(
            "not {what}, though an operator asked; {deed} status={} {caller}",
            refused.status().as_u16()
        ),
    }
}

fn site_of(scope: &Scope) -> &str {
    match scope {
        Scope::Deployment => "all",
        Scope::Site(name) => name,
    }
}

/// An operator's note, as much of it as a line of the log may have.
fn shortened(note: &str) -> String {
    note.chars().take(LONGEST_NOTE).collect()
}

/// What is decided about exactly this, as the log has it.
async fn held_decision(state: &State, subject: Prefix, scope: &Scope) -> String {
    let query = Query {
        covering: Some(subject.first()),
        scope: Some(scope.clone()),
        most: MOST,
        ..Query::default()
    };
    let page = read(state, query).await.unwrap_or_default();
    let mut decisions = page.decisions.iter();
    let found = decisions.find(|decision| decision.subject == subject && decision.scope == *scope);
    found.map_or_else(
        || "nothing".to_owned(),
        |was| {
            let note = shortened(&was.note);
            let (action, reason) = (was.action.name(), was.reason.to_string());
            format!("{action}/{reason:?}/{:?}/{note:?}", was.source.to_string())
        },
    )
}

/// What else covers a subject that an operator has let off.
async fn covering(state: &State, subject: Prefix, shown: &str) -> Vec<String> {
    let query = Query {
        covering: Some(subject.first()),
        most: 10,
        ..Query::default()
    };
    let page = Shown::of(read(state, query).await.unwrap_or_default(), state);
    let covered = page.decisions.iter().map(|left| {
        format!(
            "{shown} is still covered: {} by {}, {}",
            left.subject, left.source, left.scope
        )
    });
    covered.collect()
}

async fn finish(
    state: &State,
    subject: Prefix,
    change: Change,
    mut warnings: Vec<String>,
) -> Result<Done, Response> {
    let receipt = write(state, change).await;
    let Receipt { outcomes, durable } = receipt.ok_or_else(gone)?;
    let hidden = state.pseudonymiser.hides_subject(subject);
    if hidden {
        // What was written in another way than it was understood has the address in it too.
        warnings.clear();
        warnings.push(
            "kept in memory alone, as privacy.mode asks: it ends with the process".to_owned(),
        );
    } else if !durable {
        warnings.push("kept in memory alone: the disk could not be written".to_owned());
    }
    let subject = format_subject(state, subject);
    match outcomes.first() {
        Some(WriteOutcome::Made | WriteOutcome::Withdrawn) => Ok(Done {
            subject,
            durable: durable && !hidden,
            warnings,
        }),
        Some(WriteOutcome::Spared) => {
            let what = format!(
                "{subject} is on the never-block list: [never_block], trusted proxies, upstreams"
            );
            Err(refusal(StatusCode::CONFLICT, &what))
        }
        Some(WriteOutcome::Absent) => Err(refusal(
            StatusCode::NOT_FOUND,
            "nothing is decided about it",
        )),
        outcome => Err(refusal(
            StatusCode::CONFLICT,
            &format!("not done: {outcome:?}"),
        )),
    }
}

/// A subject as it may be shown now.
fn format_subject(state: &State, subject: Prefix) -> String {
    state.pseudonymiser.subject(subject, state.moment().unix_ms)
}

/// The scope of an order; a site that is not there is a mistake.
fn scope(state: &State, site: Option<String>) -> Result<Scope, String> {
    let Some(site) = site else {
        return Ok(Scope::Deployment);
    };
    let generation = state.generation.load();
    let mut names = generation.sites.iter().map(|site| &site.name);
    match names.find(|name| ***name == *site) {
        Some(name) => Ok(Scope::Site(Arc::clone(name))),
        None => Err(format!("no site `{site}`")),
    }
}

async fn write(state: &State, change: Change) -> Option<Receipt> {
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |receipt| {
        // The client has gone.
        let _ = sender.send(receipt);
    });
    state.store.write(vec![change], ChangeOrigin::Here, done);
    receiver.await.ok()
}

async fn read(state: &State, query: Query) -> Option<Page> {
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |page| {
        // The client has gone.
        let _ = sender.send(page);
    });
    state.store.read(query, done);
    receiver.await.ok()
}

fn gone() -> Response {
    refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "the store has no room for more at the moment, or has ended",
    )
}
