//! `heuristics`: adds signals for what a request shows of its client.
//!
//! The filter looks at the user agent, at header fields that contradict it or that its browser always sends,
//! at the method, at the path, and at the site's robots.txt where a robot asks. It never decides:
//! it adds signals, and the pipeline's ladder turns their sum into an action. Only clients that
//! claim to be browsers are held to what browsers send, and `/robots.txt` itself is never judged,
//! since a robot must be able to read it.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `weights` | Weight by reason code, 0 to 1, in place of the built-in one; 0 turns the finding off. | `{}` |
//!
//! Codes: `headers.accept_encoding_missing`, `headers.accept_language_missing`,
//! `headers.accept_missing`, `headers.accept_wildcard`, `headers.client_hint_mismatch`,
//! `headers.fetch_metadata_mismatch`, `headers.fetch_metadata_missing`, `headers.referer_missing`,
//! `method.unusual`, `path.probe`, `path.traversal`, `robots.disallowed`, `user_agent.ai_crawler`,
//! `user_agent.automation`, `user_agent.declared_bot`, `user_agent.http_library`,
//! `user_agent.known_program`, `user_agent.malformed`, `user_agent.missing`,
//! `user_agent.outdated_browser`, `user_agent.scanner`, `user_agent.unrecognised`,
//! `user_agent.unverified_crawler`. A code whose built-in weight depends on the circumstances has the
//! operator's weight in all of them.
//!
//! Programs that the catalogue knows have a purpose, which the evidence names
//! (`version control: git/`). The name is a claim that nothing has verified: it spares a program
//! what is expected of browsers, and excuses nothing that it does.
//!
//! | Purpose | Programs | Code | Weight |
//! | --- | --- | --- | --- |
//! | `AI assistant`, `AI search`, `AI training` | fetch for the user of a model, for its answers, to train it | `user_agent.ai_crawler` | 0.82 |
//! | `marketing` | rank trackers, brand monitors, advertisers | `user_agent.declared_bot` | 0.55 |
//! | `archive`, `search engine` | walk a site and obey its robots.txt | `user_agent.unverified_crawler` | 0.15 |
//! | `application`, `device` | Dalvik, CFNetwork, okhttp, Dart; televisions, consoles, e-readers | `user_agent.known_program` | 0.05 |
//! | `delivery network`, `monitor`, `site check`, `webhook` | health checks, validators, certificate authorities, payment and code hosts | `user_agent.known_program` | 0.05 |
//! | `federation`, `link preview` | Mastodon, Matrix; what shows where a shared link leads | `user_agent.known_program` | 0.05 |
//! | `feed reader`, `media player`, `podcast` | read, play and fetch for a person | `user_agent.known_program` | 0.05 |
//! | `home automation`, `mail`, `office`, `synchronisation` | Home Assistant; mail clients and their image proxies; links of documents; CalDAV, CardDAV, WebDAV, backups | `user_agent.known_program` | 0.05 |
//! | `package manager`, `version control` | apt, pip, npm, cargo, docker; git, Subversion | `user_agent.known_program` | 0.05 |
//!
//! Weights of clients that the catalogue does not know:
//!
//! | User agent | Weight | Weight with its owner's address (`+https://example.com/bot`, `bot@example.com`) |
//! | --- | --- | --- |
//! | A declared robot (`ExampleBot`) | 0.55 | 0.20 |
//! | Any other name | 0.20 | 0 |
//! | None, and more for each field that is missing as well | 0.40, or 0.22 with a browser's fetch metadata | |
//!
//! An address never makes a score higher. robots.txt binds search engines, archives, AI, marketing and
//! declared robots.
//!
//! For a site whose interface is meant to be called with libraries:
//!
//! ```toml
//! [[pipeline.filter]]
//! name = "shape"
//! heuristics = { weights = { "user_agent.http_library" = 0.2 } }
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use thornwall_detectors::{
    heuristics,
    request::RequestView,
    signal::{Reason, Signal},
    user_agent::UserAgent,
};
use thornwall_settings::report::Noted;
use toml::Spanned;

use crate::{
    context::FilterContext,
    filter::{Filter, FilterError, Round},
    kinds::Kind,
    verdict::Verdict,
};

/// The table `heuristics`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Weights by reason code, in place of the built-in ones.
    #[serde(default)]
    weights: BTreeMap<Spanned<String>, Spanned<f32>>,
}

impl Kind for Config {
    const COST: &'static str = "about 1 us";

    fn build(spec: &Spanned<Self>, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted> {
        // The catalogue's automaton is built on first use, which must not be a request.
        let _ = UserAgent::parse("-");
        let mut weights = Weights::default();
        let before = context.report.problems.len();
        for (code, weight) in &spec.get_ref().weights {
            let Some(reason) = heuristics::FINDINGS
                .iter()
                .find(|reason| reason.code() == code.get_ref())
            else {
                context.report.problem(
                    code.span(),
                    format!(
                        "unknown reason code `{}`; expected one of {}",
                        code.get_ref(),
                        heuristics::FINDINGS
                            .iter()
                            .map(|reason| reason.code())
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                );
                continue;
            };
            if !(0.0..=1.0).contains(weight.get_ref()) {
                context.report.problem(
                    weight.span(),
                    format!(
                        "weight {} is out of range; expected 0 to 1",
                        weight.get_ref()
                    ),
                );
            }
            weights.0[*reason as usize] = Some(*weight.get_ref());
        }
        if context.report.problems.len() > before {
            return Err(Noted);
        }
        Ok(Box::new(Heuristics { weights }))
    }
}

struct Heuristics {
    weights: Weights,
}

impl Filter for Heuristics {
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        let trail = &mut round.trail;
        heuristics::judge(request, &mut |signal| {
            if let Some(signal) = self.weights.weigh(signal) {
                trail.push(signal);
            }
        });
        Ok(Verdict::Pass)
    }
}

/// The operator's weights, by the place of the reason.
struct Weights([Option<f32>; Reason::ALL.len()]);

impl Default for Weights {
    fn default() -> Self {
        Self([None; Reason::ALL.len()])
    }
}

impl Weights {
    /// The signal with the operator's weight; `None` where that turns it off.
    fn weigh(&self, mut signal: Signal) -> Option<Signal> {
        if let Some(weight) = self.0[signal.reason as usize] {
            signal.weight = weight;
        }
        (signal.weight > 0.0).then_some(signal)
    }
}

#[cfg(test)]
mod tests {
    use thornwall_detectors::fixture::Request;
    use toml::Spanned;

    use super::Config;
    use crate::{
        context::FilterContext,
        filter::{Filter, Round},
        kinds::Kind,
        verdict::Verdict,
    };

    #[derive(serde::Deserialize)]
    struct File {
        heuristics: Spanned<Config>,
    }

    fn built(text: &str) -> Result<Box<dyn Filter>, (String, String)> {
        let file: File = toml::from_str(text).map_err(|error| {
            (
                text[error.span().unwrap_or(0..0)].to_owned(),
                error.to_string(),
            )
        })?;
        let mut context = FilterContext::default();
        Config::build(&file.heuristics, &mut context).map_err(|_| {
            let problem = context.report.problems.remove(0);
            (text[problem.span.unwrap_or(0..0)].to_owned(), problem.what)
        })
    }

    fn score(configuration: &str, target: &str, agent: &str) -> f32 {
        let filter = built(configuration).unwrap();
        let agent = format!("User-Agent: {agent}");
        let request = Request::new(&format!("GET {target}"), &[&agent]);
        let mut round = Round::default();
        assert_eq!(
            filter.judge(&request.view(), &mut round).unwrap(),
            Verdict::Pass
        );
        round.trail.score()
    }

    #[test]
    fn weights_are_the_built_in_ones_but_for_the_operators() {
        let check = |configuration: &str, target: &str, expected: std::ops::Range<f32>| {
            let score = score(configuration, target, "curl/8.5.0");
            assert!(
                expected.contains(&score),
                "{configuration} {target} {score}"
            );
        };
        check("heuristics = {}", "/", 0.80..0.85);
        check("heuristics = {}", "/robots.txt", 0.0..0.01);
        check(
            "heuristics = { weights = { \"user_agent.http_library\" = 0.25 } }",
            "/",
            0.24..0.26,
        );
        check(
            "heuristics = { weights = { \"user_agent.http_library\" = 0 } }",
            "/",
            0.0..0.01,
        );
        check(
            "heuristics = { weights = { \"path.probe\" = 1 } }",
            "/.env",
            1.0..1.1,
        );
    }

    #[test]
    fn manual_entry_names_every_code() {
        let source = include_str!("heuristics.rs");
        let manual: String = source
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        for reason in super::heuristics::FINDINGS {
            assert!(manual.contains(&format!("`{reason}`")), "{reason}");
        }
    }

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        let check = |configuration: &str, place: &str, what: &str| {
            let (found, message) = built(configuration).err().unwrap();
            assert!(
                found.contains(place) && message.contains(what),
                "{found}: {message}"
            );
        };
        check("heuristics = { wights = {} }", "wights", "unknown field");
        check(
            "heuristics = { weights = { \"rate_limit.client\" = 0.2 } }",
            "rate_limit.client",
            "unknown reason code `rate_limit.client`; expected one of headers.",
        );
        check(
            "heuristics = { weights = { \"path.probe\" = 1.5 } }",
            "1.5",
            "expected 0 to 1",
        );
        check(
            "heuristics = { weights = { \"path.probe\" = nan } }",
            "nan",
            "expected 0 to 1",
        );
        check(
            "heuristics = { weights = { path.probe = 0.5 } }",
            "path",
            "expected f32",
        );
    }
}
