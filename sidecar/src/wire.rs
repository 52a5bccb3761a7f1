//! The border to the contract: messages that come are checked and become types of our own, and those become
//! messages.
//!
//! A number of an enum that this version does not know reads as unknown, and is sent on as it came.

use prost::Message;
use thornwall_decisions::{decision::Action, prefix_set::Prefix};
use thornwall_proto::v1;

use crate::{
    assessment::{
        Assessment, Consequence, Decision, Explanation, Label, TakenStep, Truth, Withdrawal,
    },
    case::{Case, CaseError, Claims, Noticed, Sample},
};

/// Most signals of a case.
const MOST_SIGNALS: usize = 32;
/// Most requests that a case shows.
const MOST_SAMPLES: usize = 32;
/// Most names of header fields.
const MOST_HEADER_NAMES: usize = 64;
/// Most parameters of one request.
const MOST_PARAMETERS: usize = 8;
/// Most ids of requests.
const MOST_REQUEST_IDS: usize = 8;
/// Longest name of a site, a signal or a header field, and longest `Accept-Language`.
pub(crate) const LONGEST_NAME: usize = 64;
/// Longest path, user agent or referrer.
const LONGEST_TEXT: usize = 256;

impl TryFrom<v1::Case> for Case {
    type Error = CaseError;

    fn try_from(sent: v1::Case) -> Result<Self, CaseError> {
        if sent.site.is_empty() {
            return Err(CaseError::Missing("case.site"));
        }
        if sent.requests == 0 || sent.first_ms > sent.last_ms {
            return Err(CaseError::Range("case.requests"));
        }
        bounded("case.signals", sent.signals.len(), MOST_SIGNALS)?;
        bounded("case.samples", sent.samples.len(), MOST_SAMPLES)?;
        bounded("case.request_ids", sent.request_ids.len(), MOST_REQUEST_IDS)?;
        let id = |text: String| text_of("case.request_ids", text, LONGEST_NAME);
        Ok(Self {
            id: sent.id.parse()?,
            site: text_of("case.site", sent.site, LONGEST_NAME)?,
            subject: client_of(&sent.subject)?,
            shape: sent.shape,
            requests: sent.requests,
            first_ms: sent.first_ms,
            last_ms: sent.last_ms,
            score: share_of("case.score", sent.score)?,
            signals: sent
                .signals
                .into_iter()
                .map(noticed)
                .collect::<Result<_, _>>()?,
            samples: sent
                .samples
                .into_iter()
                .map(sample)
                .collect::<Result<_, _>>()?,
            claims: claims(sent.claims.unwrap_or_default())?,
            request_ids: sent
                .request_ids
                .into_iter()
                .map(id)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<Case> for v1::Case {
    fn from(case: Case) -> Self {
        let signal = |noticed: Noticed| v1::Signal {
            reason: noticed.reason,
            weight: noticed.weight,
        };
        let request = |sample: Sample| v1::Request {
            after_ms: sample.after_ms,
            method: sample.method,
            path: sample.path,
            parameters: sample.parameters,
            score: sample.score,
        };
        let claims = case.claims;
        Self {
            id: case.id.to_string(),
            site: case.site,
            subject: case.subject.to_string(),
            shape: case.shape,
            requests: case.requests,
            first_ms: case.first_ms,
            last_ms: case.last_ms,
            score: case.score,
            signals: case.signals.into_iter().map(signal).collect(),
            samples: case.samples.into_iter().map(request).collect(),
            claims: Some(v1::Claims {
                user_agent: claims.user_agent,
                accept_language: claims.accept_language,
                referer: claims.referer,
                header_names: claims.header_names,
                http_version: claims.http_version,
                tls: claims.tls,
            }),
            request_ids: case.request_ids,
        }
    }
}

/// A case as bytes: a quarter of what it takes in memory otherwise.
pub(crate) fn encode_case(case: Case) -> Box<[u8]> {
    v1::Case::from(case).encode_to_vec().into_boxed_slice()
}

/// The case of bytes that [`encode_case`] made.
pub(crate) fn decode_case(bytes: &[u8]) -> Option<Case> {
    let case = v1::Case::decode(bytes).ok()?;
    Case::try_from(case).ok()
}

/// An address or a network, as callers name it.
pub(crate) fn subject_of(field: &'static str, text: &str) -> Result<Prefix, CaseError> {
    text.parse().map_err(|_| CaseError::Form(field))
}

/// One client: an address, or the /64 of an IPv6 one. No client is assessed for its neighbours.
fn client_of(text: &str) -> Result<Prefix, CaseError> {
    let subject = subject_of("case.subject", text)?;
    let widest = if subject.first().is_ipv4() { 32 } else { 64 };
    if subject.length() < widest {
        return Err(CaseError::Range("case.subject"));
    }
    Ok(subject)
}

/// A text of at most `most` bytes.
pub(crate) fn text_of(field: &'static str, text: String, most: usize) -> Result<String, CaseError> {
    bounded(field, text.len(), most)?;
    Ok(text)
}

fn bounded(field: &'static str, length: usize, most: usize) -> Result<(), CaseError> {
    if length > most {
        return Err(CaseError::TooLong(field));
    }
    Ok(())
}

fn share_of(field: &'static str, number: f32) -> Result<f32, CaseError> {
    if !(0.0..=1.0).contains(&number) {
        return Err(CaseError::Range(field));
    }
    Ok(number)
}

fn noticed(signal: v1::Signal) -> Result<Noticed, CaseError> {
    Ok(Noticed {
        reason: text_of("signal.reason", signal.reason, LONGEST_NAME)?,
        weight: share_of("signal.weight", signal.weight)?,
    })
}

fn sample(request: v1::Request) -> Result<Sample, CaseError> {
    bounded(
        "request.parameters",
        request.parameters.len(),
        MOST_PARAMETERS,
    )?;
    let parameter = |name: String| text_of("request.parameters", name, 32);
    let parameters = request.parameters.into_iter().map(parameter);
    Ok(Sample {
        after_ms: request.after_ms,
        method: text_of("request.method", request.method, 16)?,
        path: text_of("request.path", request.path, LONGEST_TEXT)?,
        parameters: parameters.collect::<Result<_, _>>()?,
        score: share_of("request.score", request.score)?,
    })
}

fn claims(sent: v1::Claims) -> Result<Claims, CaseError> {
    bounded(
        "claims.header_names",
        sent.header_names.len(),
        MOST_HEADER_NAMES,
    )?;
    let name = |name: String| text_of("claims.header_names", name, LONGEST_NAME);
    let header_names = sent.header_names.into_iter().map(name);
    Ok(Claims {
        user_agent: text_of("claims.user_agent", sent.user_agent, LONGEST_TEXT)?,
        accept_language: text_of("claims.accept_language", sent.accept_language, LONGEST_NAME)?,
        referer: text_of("claims.referer", sent.referer, LONGEST_TEXT)?,
        header_names: header_names.collect::<Result<_, _>>()?,
        http_version: sent.http_version,
        tls: sent.tls,
    })
}

/// The consequence that a number of the contract names.
pub(crate) fn consequence_of(number: i32) -> Consequence {
    match v1::Action::try_from(number) {
        Ok(v1::Action::None) => Consequence::None,
        Ok(v1::Action::Alert) => Consequence::Alert,
        Ok(v1::Action::Throttle) => Consequence::Act(Action::Throttle),
        Ok(v1::Action::Tarpit) => Consequence::Act(Action::Tarpit),
        Ok(v1::Action::Deny) => Consequence::Act(Action::Deny),
        Ok(v1::Action::Unspecified) | Err(_) => Consequence::Unknown(number),
    }
}

fn number_of(consequence: Consequence) -> i32 {
    let action = match consequence {
        Consequence::None => v1::Action::None,
        Consequence::Alert => v1::Action::Alert,
        Consequence::Act(Action::Throttle) => v1::Action::Throttle,
        Consequence::Act(Action::Tarpit) => v1::Action::Tarpit,
        Consequence::Act(Action::Deny) => v1::Action::Deny,
        Consequence::Unknown(number) => return number,
    };
    action.into()
}

/// The label that a message names; `None` where it names none, or one that this version does not know.
pub(crate) const fn label_of(label: v1::Label) -> Option<Label> {
    match label {
        v1::Label::Unspecified => None,
        v1::Label::Person => Some(Label::Person),
        v1::Label::WelcomeBot => Some(Label::WelcomeBot),
        v1::Label::Scraper => Some(Label::Scraper),
        v1::Label::Malicious => Some(Label::Malicious),
    }
}

impl From<Label> for v1::Label {
    fn from(label: Label) -> Self {
        match label {
            Label::Person => Self::Person,
            Label::WelcomeBot => Self::WelcomeBot,
            Label::Scraper => Self::Scraper,
            Label::Malicious => Self::Malicious,
        }
    }
}

/// The contract's name of a label.
pub(crate) fn label_name(label: Label) -> &'static str {
    v1::Label::from(label).as_str_name()
}

/// The truth that a message names; `None` where it names none, or one that this version does not know.
pub(crate) const fn truth_of(truth: v1::outcome::Truth) -> Option<Truth> {
    match truth {
        v1::outcome::Truth::Unspecified => None,
        v1::outcome::Truth::Trap => Some(Truth::Trap),
        v1::outcome::Truth::Verified => Some(Truth::Verified),
    }
}

impl From<Truth> for v1::outcome::Truth {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::Trap => Self::Trap,
            Truth::Verified => Self::Verified,
        }
    }
}

impl From<TakenStep> for v1::Step {
    fn from(step: TakenStep) -> Self {
        Self {
            name: step.name,
            score: step.score,
            evidence: step.evidence,
            took_us: step.took_us,
            failed: step.failed,
        }
    }
}

impl From<v1::Step> for TakenStep {
    fn from(sent: v1::Step) -> Self {
        Self {
            name: sent.name,
            score: sent.score,
            evidence: sent.evidence,
            took_us: sent.took_us,
            failed: sent.failed,
        }
    }
}

impl From<Assessment> for v1::Assessment {
    fn from(made: Assessment) -> Self {
        Self {
            case_id: made.case.to_string(),
            site: made.site,
            subject: made.subject.to_string(),
            score: made.score,
            action: number_of(made.consequence),
            reason: made.reason,
            steps: made.steps.into_iter().map(Into::into).collect(),
            decision: made.decision.map(Into::into),
            made_ms: made.made_ms,
            pending: made.pending,
        }
    }
}

impl TryFrom<v1::Assessment> for Assessment {
    type Error = CaseError;

    fn try_from(sent: v1::Assessment) -> Result<Self, CaseError> {
        Ok(Self {
            case: sent.case_id.parse()?,
            subject: subject_of("assessment.subject", &sent.subject)?,
            site: sent.site,
            score: sent.score,
            consequence: consequence_of(sent.action),
            reason: sent.reason,
            steps: sent.steps.into_iter().map(Into::into).collect(),
            decision: sent.decision.map(Decision::try_from).transpose()?,
            made_ms: sent.made_ms,
            pending: sent.pending,
        })
    }
}

impl From<Decision> for v1::Decision {
    fn from(made: Decision) -> Self {
        Self {
            number: made.number,
            subject: made.subject.to_string(),
            site: made.site,
            action: number_of(made.consequence),
            reason: made.reason,
            evidence: made.evidence,
            made_ms: made.made_ms,
            until_ms: made.until_ms,
            request_ids: made.request_ids,
            by_operator: made.by_operator,
            note: made.note,
        }
    }
}

impl TryFrom<v1::Decision> for Decision {
    type Error = CaseError;

    fn try_from(sent: v1::Decision) -> Result<Self, CaseError> {
        Ok(Self {
            number: sent.number,
            subject: subject_of("decision.subject", &sent.subject)?,
            site: sent.site,
            consequence: consequence_of(sent.action),
            reason: sent.reason,
            evidence: sent.evidence,
            made_ms: sent.made_ms,
            until_ms: sent.until_ms,
            request_ids: sent.request_ids,
            by_operator: sent.by_operator,
            note: sent.note,
        })
    }
}

impl From<Withdrawal> for v1::Withdrawal {
    fn from(made: Withdrawal) -> Self {
        Self {
            number: made.number,
            subject: made.subject.to_string(),
            site: made.site,
            made_ms: made.made_ms,
            by_operator: made.by_operator,
        }
    }
}

impl From<v1::Explanation> for Explanation {
    /// What cannot be read of a message that another version wrote is left out.
    fn from(sent: v1::Explanation) -> Self {
        Self {
            label: label_of(sent.label()),
            proved: sent.proved().filter_map(truth_of).collect(),
            case: sent.case.and_then(|case| Case::try_from(case).ok()),
            assessment: sent
                .assessment
                .and_then(|made| Assessment::try_from(made).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of the contract are on the wire between versions, and in the history's file.
    #[test]
    fn the_contracts_numbers_stay() {
        let named = |number: i32| v1::Action::try_from(number).map(|action| action.as_str_name());
        let names = (0..=6).map(|number| named(number).unwrap_or("unknown"));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "ACTION_UNSPECIFIED",
                "ACTION_NONE",
                "ACTION_ALERT",
                "ACTION_THROTTLE",
                "ACTION_TARPIT",
                "ACTION_DENY",
                "unknown",
            ]
        );
    }

    #[test]
    fn a_number_of_a_later_version_is_sent_on_as_it_came() {
        for number in -1..=7 {
            assert_eq!(number_of(consequence_of(number)), number);
        }
        assert_eq!(consequence_of(6), Consequence::Unknown(6));
    }

    #[test]
    fn messages_that_are_read_and_sent_again_are_the_same() {
        let decision = v1::Decision {
            number: 7,
            subject: "192.0.2.0/24".to_owned(),
            site: "shop".to_owned(),
            action: 6,
            reason: "decision.operator".to_owned(),
            evidence: "by o".to_owned(),
            made_ms: 1,
            until_ms: 2,
            request_ids: vec!["r".to_owned()],
            by_operator: true,
            note: "n".to_owned(),
        };
        let assessment = v1::Assessment {
            case_id: "0123456789abcdef0123456789abcdef".to_owned(),
            site: "shop".to_owned(),
            subject: "2001:db8::/64".to_owned(),
            score: 0.5,
            action: 5,
            reason: "sidecar.rules".to_owned(),
            steps: vec![v1::Step {
                name: "rules".to_owned(),
                score: 0.5,
                evidence: "e".to_owned(),
                took_us: 3,
                failed: true,
            }],
            decision: Some(decision),
            made_ms: 4,
            pending: true,
        };
        let read = Assessment::try_from(assessment.clone()).unwrap();
        let again = v1::Assessment::from(read);
        assert_eq!(again.encode_to_vec(), assessment.encode_to_vec());
    }
}
