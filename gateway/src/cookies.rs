//! Cookies that an origin sets for its own name or path, as far as a site wants them changed:
//! nginx's `proxy_cookie_domain` and `proxy_cookie_path`.

use std::collections::BTreeMap;

use thornwall_settings::report::Report;
use toml::Spanned;

use crate::{config, hosts::normalise_host};

/// What becomes of the attributes of cookies.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    /// Domains, and what stands for them; none takes the attribute out.
    domains: Vec<(String, Option<String>)>,
    /// Beginnings of paths, the longest first, and what stands for them.
    paths: Vec<(String, String)>,
}

impl Cookies {
    /// The rules of a site; notes what makes no sense.
    pub(crate) fn build(spec: &config::Site, report: &mut Report) -> Self {
        let mut built = Self::default();
        for (from, to) in entries(spec.cookie_domain.as_ref()) {
            match (normalise_host(from), normalise_host(to), to.is_empty()) {
                (Some(from), to @ Some(_), _) => built.domains.push((from, to)),
                (Some(from), None, true) => built.domains.push((from, None)),
                _ => note(
                    spec.cookie_domain.as_ref(),
                    "expected names, such as { \"app.internal\" = \"shop.example\" }, or \"\" for none",
                    report,
                ),
            }
        }
        for (from, to) in entries(spec.cookie_path.as_ref()) {
            if is_path(from) && is_path(to) {
                built.paths.push((from.clone(), to.clone()));
            } else {
                let what = "expected paths, such as { \"/app/\" = \"/\" }";
                note(spec.cookie_path.as_ref(), what, report);
            }
        }
        built
            .paths
            .sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        built
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.paths.is_empty()
    }

    /// A cookie with other attributes; `None` where none of them changes (RFC 6265 section 5.2).
    pub(crate) fn mended(&self, cookie: &[u8]) -> Option<Vec<u8>> {
        let mut changed = false;
        let mut parts = cookie.split(|byte| *byte == b';');
        let mut mended = parts.next()?.to_vec();
        for part in parts {
            match self.attribute(part) {
                Some(other) => {
                    changed = true;
                    mended.extend(other);
                }
                None => {
                    mended.push(b';');
                    mended.extend_from_slice(part);
                }
            }
        }
        changed.then_some(mended)
    }

    /// What stands for an attribute, with its semicolon: nothing where it is taken out.
    fn attribute(&self, part: &[u8]) -> Option<Vec<u8>> {
        let (name, value) = str::from_utf8(part).ok()?.split_once('=')?;
        let value = value.trim();
        if name.trim().eq_ignore_ascii_case("domain") {
            let domain = value.strip_prefix('.').unwrap_or(value);
            let mut rules = self.domains.iter();
            let (_, to) = rules.find(|(from, _)| from.eq_ignore_ascii_case(domain))?;
            let field = to.as_ref().map(|to| format!("; Domain={to}"));
            return Some(field.unwrap_or_default().into_bytes());
        }
        if !name.trim().eq_ignore_ascii_case("path") {
            return None;
        }
        let mut rules = self.paths.iter();
        let found = rules.find_map(|(from, to)| Some((value.strip_prefix(from.as_str())?, to)));
        found.map(|(rest, to)| format!("; Path={to}{rest}").into_bytes())
    }
}

type Rules = Spanned<BTreeMap<String, String>>;

fn entries(rules: Option<&Rules>) -> impl Iterator<Item = (&String, &String)> {
    rules.into_iter().flat_map(|rules| rules.get_ref())
}

fn note(rules: Option<&Rules>, what: &str, report: &mut Report) {
    let span = rules.map(Spanned::span).unwrap_or_default();
    report.problem(span, what);
}

/// What a field may carry.
fn is_path(text: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_graphic() && byte != b';';
    text.starts_with('/') && text.bytes().all(sound)
}

#[cfg(test)]
mod tests {
    use super::Cookies;

    #[test]
    fn attributes_are_changed_and_nothing_else() {
        let rules = Cookies {
            domains: vec![
                ("app.internal".into(), Some("shop.example".into())),
                ("old.internal".into(), None),
            ],
            paths: vec![("/app/".into(), "/".into())],
        };
        let check = |cookie: &str, expected: Option<&str>| {
            let mended = rules.mended(cookie.as_bytes());
            let mended = mended.map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(mended.as_deref(), expected, "{cookie}");
        };
        check(
            "a=domain=app.internal; domain=.APP.internal; HttpOnly",
            Some("a=domain=app.internal; Domain=shop.example; HttpOnly"),
        );
        check("a=b;Domain=old.internal;Secure", Some("a=b;Secure"));
        check("a=b; Path=/app/x; Secure", Some("a=b; Path=/x; Secure"));
        check("a=b; Path=/apple", None);
        check("a=b; Domain=other.example; Path=/", None);
        check("a=/app/", None);
    }
}
