//! `escalate`: asks a sidecar for a second opinion about dubious clients.
//!
//! The filter takes requests whose score so far lies in a band, or in which one of the named reasons
//! was noticed. The requests of one client that asks one site in one way are a case, which grows. The
//! gateway sends a case to the sidecar that `[escalation]` names, when it is new and again when it has
//! grown much. Where several sidecars are named, each client of a site has one of them, and no other
//! takes its place while it is away: neither could judge half a case. Decisions of all of them hold.
//!
//! The request itself is ruled by what is known so far; `blocklist` enforces the sidecar's decision from
//! then on. With `wait_ms`, requests of a case that was not assessed yet wait so long at most, and the
//! assessment is applied to them; while the sidecar is away, none waits.
//!
//! The gateway sends method, path, names of query parameters, user agent, languages, host and path
//! of the referrer, names of header fields, and the signals of filters before this one. It never
//! sends a body, a cookie, a credential or the value of a query. Put the filter behind those whose
//! signals it is to send. In `mode = "observe"` nothing is sent.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `score` | First and last score of the band, 0 to 1. | `[0.45, 0.85]` |
//! | `reasons` | Reason codes for which a request is taken whatever its score is. | `[]` |
//! | `wait_ms` | Longest wait of a request, 0 to 2000; 0 for none. | `0` |
//!
//! A request that waited and was then refused or held has the reason `escalation.assessed`.
//!
//! ```toml
//! [[pipeline.filter]]
//! name = "second_opinion"
//! escalate = { score = [0.45, 0.85], reasons = ["path.probe"] }
//!
//! [escalation]
//! address = "unix:/run/thornwall/sidecar.sock"
//! ```

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use serde::Deserialize;
use thornwall_detectors::{
    heuristics,
    request::RequestView,
    signal::{Reason, Trail},
};
use thornwall_settings::report::Noted;
use toml::Spanned;

use crate::{
    context::FilterContext,
    escalation::{Escalation, Question, Referral, Sighting},
    filter::{Filter, FilterError, Round},
    key::KeySeed,
    kinds::Kind,
    verdict::Verdict,
};

/// The table `escalate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// First and last score of the band.
    #[serde(default = "usual_band")]
    score: Spanned<[f32; 2]>,
    /// Codes that have a request taken whatever its score is.
    #[serde(default)]
    reasons: Vec<Spanned<String>>,
    /// Longest wait of a request.
    wait_ms: Option<Spanned<u64>>,
}

fn usual_band() -> Spanned<[f32; 2]> {
    Spanned::new(0..0, [0.45, 0.85])
}

/// A visitor notices what takes longer.
const LONGEST_WAIT_MS: u64 = 2000;

impl Kind for Config {
    const COST: &'static str = "below 1 us";

    fn build(spec: &Spanned<Self>, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted> {
        let config = spec.get_ref();
        let before = context.report.problems.len();
        let [first, last] = *config.score.get_ref();
        if !(0.0..=1.0).contains(&first) || !(first..=1.0).contains(&last) {
            let what =
                format!("[{first}, {last}] is no band of scores; expected such as [0.45, 0.85]");
            context.report.problem(config.score.span(), what);
        }
        let mut reasons = [false; Reason::ALL.len()];
        for code in &config.reasons {
            match Reason::from_code(code.get_ref()) {
                Some(reason) if is_noticed(reason) => reasons[reason as usize] = true,
                found => {
                    let known = if found.is_some() {
                        "no filter before it can notice"
                    } else {
                        "unknown reason code"
                    };
                    let what = format!(
                        "{known} `{}`; expected one that filters notice, such as path.probe",
                        code.get_ref()
                    );
                    context.report.problem(code.span(), what);
                }
            }
        }
        let wait = context.report.within_where_set(
            "wait_ms",
            config.wait_ms.as_ref(),
            0..=LONGEST_WAIT_MS,
        );
        let Some(port) = context.escalation.clone() else {
            let what = "there is no sidecar to escalate to; add [escalation] with its address";
            context.report.problem(spec.span(), what);
            return Err(Noted);
        };
        if context.report.problems.len() > before {
            return Err(Noted);
        }
        Ok(Box::new(Escalate {
            band: first..=last,
            reasons,
            wait: Duration::from_millis(wait?.unwrap_or_default()),
            seed: context.key_seed,
            port,
        }))
    }
}

/// Whether a filter can have noted the reason when a request comes here: the reason of
/// what ends a request earlier, or of the gateway's own work, never is.
fn is_noticed(reason: Reason) -> bool {
    heuristics::FINDINGS.contains(&reason)
        || matches!(
            reason,
            Reason::FilterFailed | Reason::ModelAnomalous | Reason::RateLimitAdaptive
        )
}

struct Escalate {
    band: RangeInclusive<f32>,
    /// By the place of the reason.
    reasons: [bool; Reason::ALL.len()],
    wait: Duration,
    seed: KeySeed,
    port: Arc<dyn Escalation>,
}

impl Escalate {
    fn takes(&self, trail: &Trail, score: f32) -> bool {
        let mut signals = trail.signals().iter();
        self.band.contains(&score)
            || signals.any(|signal| !signal.observed && self.reasons[signal.reason as usize])
    }
}

impl Filter for Escalate {
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        let score = round.trail.score();
        // A second filter of the kind finds the request taken.
        if round.referral.is_some() || !self.takes(&round.trail, score) {
            return Ok(Verdict::Pass);
        }
        let sighting = Sighting::of(request, score, &self.seed);
        let interest = self.port.sight(&sighting);
        let question = || Question::of(request, &round.trail, sighting, interest.case);
        round.referral = Some(Referral {
            case: interest.case,
            question: interest.facts.then(|| Box::new(question())),
            wait: self.wait,
        });
        Ok(Verdict::Pass)
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use thornwall_detectors::{fixture::Request, signal::Signal};

    use super::*;
    use crate::escalation::{CaseId, Interest};

    /// Wants to know all of the first request alone.
    #[derive(Default)]
    struct Port(Mutex<Vec<Sighting>>);

    impl Escalation for Port {
        fn sight(&self, sighting: &Sighting) -> Interest {
            let mut seen = self.0.lock();
            seen.push(*sighting);
            Interest {
                case: CaseId(5),
                facts: seen.len() == 1,
            }
        }
    }

    #[derive(Deserialize)]
    struct File {
        escalate: Spanned<Config>,
    }

    fn built(
        text: &str,
        port: Option<Arc<dyn Escalation>>,
    ) -> Result<Box<dyn Filter>, (String, String)> {
        let file: File = toml::from_str(text).map_err(|error| {
            let place = text[error.span().unwrap_or(0..0)].to_owned();
            (place, error.to_string())
        })?;
        let mut context = FilterContext {
            escalation: port,
            ..FilterContext::default()
        };
        Config::build(&file.escalate, &mut context).map_err(|_| {
            let problem = context.report.problems.remove(0);
            (text[problem.span.unwrap_or(0..0)].to_owned(), problem.what)
        })
    }

    fn judge(filter: &dyn Filter, signals: &[(Reason, f32)], observed: bool) -> Round {
        let request = Request::new("GET /a?b=c", &[]);
        let mut round = Round::default();
        round.observe(observed);
        for (reason, weight) in signals {
            round.trail.push(Signal::new(*reason, *weight));
        }
        round.observe(false);
        assert_eq!(
            filter.judge(&request.view(), &mut round).unwrap(),
            Verdict::Pass
        );
        round
    }

    #[test]
    fn dubious_requests_and_named_reasons_are_taken() {
        let port: Arc<dyn Escalation> = Arc::<Port>::default();
        let text = "escalate = { score = [0.4, 0.6], reasons = [\"path.probe\"] }";
        let filter = built(text, Some(port)).unwrap();
        let taken = |reason, weight, observed| {
            let round = judge(&*filter, &[(reason, weight)], observed);
            round.referral.is_some()
        };
        assert!(!taken(Reason::MethodUnusual, 0.39, false));
        assert!(taken(Reason::MethodUnusual, 0.41, false));
        assert!(taken(Reason::MethodUnusual, 0.59, false));
        assert!(!taken(Reason::MethodUnusual, 0.61, false));
        assert!(!taken(Reason::MethodUnusual, 0.5, true));
        assert!(taken(Reason::PathProbe, 0.9, false));
        assert!(!taken(Reason::PathProbe, 0.9, true));
    }

    #[test]
    fn a_question_is_made_where_one_is_wanted() {
        let port: Arc<dyn Escalation> = Arc::<Port>::default();
        let filter = built("escalate = { wait_ms = 50 }", Some(port)).unwrap();
        let refer = || judge(&*filter, &[(Reason::MethodUnusual, 0.5)], false).referral;
        let first = refer().unwrap();
        let question = first.question.unwrap();
        assert_eq!((first.case, question.case), (CaseId(5), CaseId(5)));
        assert_eq!(question.signals, [(Reason::MethodUnusual, 0.5)]);
        let second = refer().unwrap();
        assert!(second.question.is_none());
        assert_eq!(second.wait, Duration::from_millis(50));
    }

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        let check = |text: &str, place: &str, what: &str| {
            let port: Arc<dyn Escalation> = Arc::<Port>::default();
            let (found, message) = built(text, Some(port)).err().unwrap();
            assert!(
                found.contains(place) && message.contains(what),
                "{found}: {message}"
            );
        };
        check("escalate = { score = [0.9, 0.1] }", "[0.9, 0.1]", "no band");
        check("escalate = { score = [0.5, 1.1] }", "[0.5, 1.1]", "no band");
        check("escalate = { score = [nan, 1] }", "[nan, 1]", "no band");
        check("escalate = { score = [0.5] }", "[0.5]", "length");
        check(
            "escalate = { reasons = [\"path.prob\"] }",
            "path.prob",
            "unknown reason code `path.prob`",
        );
        for code in [
            "upstream.busy",
            "host.unknown",
            "tls.redirect",
            "rate_limit.client",
        ] {
            let text = format!("escalate = {{ reasons = [\"{code}\"] }}");
            check(&text, code, "no filter before it can notice");
        }
        check("escalate = { wait_ms = 2001 }", "2001", "0 to 2000");
        check("escalate = { wait = 1 }", "wait", "unknown field");
        let (place, what) = built("escalate = {}", None).err().unwrap();
        assert!(place == "{}" && what.contains("add [escalation]"), "{what}");
    }
}
