//! What a site asks of the way to it: TLS at all, in future too, and which clients.

use std::sync::Arc;

use http::HeaderValue;
use thornwall_detectors::request::is_ambiguous;
use thornwall_settings::report::Report;

use super::{ClientPolicy, TlsFacts, admits};
use crate::{config, tls::Refusal};

/// A site's rules about TLS.
#[derive(Debug)]
pub(crate) struct SiteTls {
    /// `Strict-Transport-Security`, where the site sends it.
    pub hsts: Option<HeaderValue>,
    /// Whom the site lets in.
    pub policy: Option<Arc<ClientPolicy>>,
    redirect: bool,
}

/// How a request came, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// What the handshake of its connection said.
    pub tls: Option<&'a TlsFacts>,
    /// Whether the client itself spoke TLS, to us or to a proxy that we trust to say so.
    pub secure: bool,
    /// Path of the request, normalised.
    pub path: &'a str,
}

impl SiteTls {
    /// The rules of a site; notes what makes little sense.
    pub(crate) fn build(
        spec: &config::Site,
        policy: Option<Arc<ClientPolicy>>,
        report: &mut Report,
    ) -> Self {
        Self {
            hsts: spec.hsts.as_ref().map(|hsts| {
                if hsts.preload && !may_be_preloaded(hsts) {
                    report.warnings.push(format!(
                        "site `{}`: hsts.preload counts only with include_subdomains = true and \
                         max_age_secs of at least {PRELOAD_SECS}",
                        spec.name.get_ref()
                    ));
                }
                hsts_field(hsts)
            }),
            policy,
            redirect: spec.redirect_to_https,
        }
    }

    /// Whether a request may go on as it came.
    pub(crate) fn admits(&self, arrival: &Arrival<'_>) -> Result<(), Refusal> {
        if self.redirect && !arrival.secure && !is_challenge(arrival.path) {
            return Err(Refusal::Redirect);
        }
        admits(arrival.tls, self.policy.as_deref())
    }
}

/// Where authorities look for what proves a domain (RFC 8555 section 8.3): they come over plain
/// HTTP, maybe because there is no certificate yet.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

fn is_challenge(path: &str) -> bool {
    path.starts_with(CHALLENGES) && !is_ambiguous(path)
}

/// A year, which browsers' lists ask for.
const PRELOAD_SECS: u32 = 31_536_000;

const fn may_be_preloaded(hsts: &config::Hsts) -> bool {
    hsts.include_subdomains && hsts.max_age_secs >= PRELOAD_SECS
}

/// RFC 6797 section 6.1; `preload` is the lists' own.
fn hsts_field(hsts: &config::Hsts) -> HeaderValue {
    let mut text = format!("max-age={}", hsts.max_age_secs);
    if hsts.include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if hsts.preload {
        text.push_str("; preload");
    }
    HeaderValue::try_from(text).expect("digits and fixed words are a header value")
}

#[cfg(test)]
mod tests {
    use super::{hsts_field, is_challenge};
    use crate::config::Hsts;

    #[test]
    fn only_challenges_themselves_stay_in_clear() {
        let check = |path: &str, expected: bool| assert_eq!(is_challenge(path), expected, "{path}");
        check("/.well-known/acme-challenge/token", true);
        check("/.well-known/acme-challenge", false);
        check("/.well-known/acme-challenge/..%2f..%2fadmin", false);
        check("/a/.well-known/acme-challenge/token", false);
    }

    #[test]
    fn hsts_says_what_was_asked_for() {
        let check = |include_subdomains, preload, expected: &str| {
            let hsts = Hsts {
                max_age_secs: 300,
                include_subdomains,
                preload,
            };
            assert_eq!(hsts_field(&hsts), expected);
        };
        check(false, false, "max-age=300");
        check(true, true, "max-age=300; includeSubDomains; preload");
    }
}
