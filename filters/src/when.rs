//! Which requests a filter looks at.

use http::Method;
use serde::Deserialize;
use thornwall_detectors::request::{RequestView, is_ambiguous, written_path};
use toml::Spanned;

use thornwall_settings::report::Report;

/// The table `when`: a request must meet every key that is there.
///
/// Paths and hosts are exact, or patterns in which one `*` stands for anything: `/api/*`,
/// `*.jpg`, `*.shop.example`. Paths may be written as people read them: `/café` is `/caf%C3%A9`.
///
/// Upper and lower case differ in paths and methods (RFC 3986 section 6.2.2.1, RFC 9110 section 9.1):
/// where an origin takes `/SEARCH`, `/index.php/search` or `post` for what is named here, name them too.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Hosts, one of which must be asked for.
    pub hosts: Option<Vec<Spanned<String>>>,
    /// Methods, one of which must be used.
    pub methods: Option<Vec<Spanned<String>>>,
    /// Paths, none of which may be asked for.
    pub not_paths: Option<Vec<Spanned<String>>>,
    /// Paths, one of which must be asked for.
    pub paths: Option<Vec<Spanned<String>>>,
}

/// A [`When`] that is ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    hosts: Option<Vec<Pattern>>,
    methods: Option<Vec<Method>>,
    not_paths: Vec<Pattern>,
    paths: Option<Vec<Pattern>>,
}

impl Condition {
    /// Compiles `when`, or notes what is wrong with it.
    pub(crate) fn build(when: &When, report: &mut Report) -> Self {
        Self {
            hosts: when
                .hosts
                .as_deref()
                .map(|hosts| patterns(hosts, "", report)),
            methods: when.methods.as_deref().map(|list| methods(list, report)),
            not_paths: patterns(when.not_paths.as_deref().unwrap_or_default(), "/*", report),
            paths: when
                .paths
                .as_deref()
                .map(|paths| patterns(paths, "/*", report)),
        }
    }

    /// Whether the filter looks at this request.
    pub(crate) fn holds(&self, request: &RequestView<'_>) -> bool {
        let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|p| p.matches(text));
        // What origins may read in several ways is looked at whatever it begins with.
        let ambiguous = is_ambiguous(&request.path);
        self.hosts
            .as_deref()
            .is_none_or(|hosts| any(hosts, request.host))
            && self
                .methods
                .as_deref()
                .is_none_or(|list| list.contains(request.method))
            && (ambiguous || !any(&self.not_paths, &request.path))
            && self
                .paths
                .as_deref()
                .is_none_or(|paths| ambiguous || any(paths, &request.path))
    }
}

fn patterns(texts: &[Spanned<String>], starts: &str, report: &mut Report) -> Vec<Pattern> {
    let mut compiled = Vec::with_capacity(texts.len());
    for text in texts {
        match Pattern::parse(text.get_ref(), starts) {
            // Hosts are looked at in lower case; paths keep theirs.
            Ok(pattern) if starts.is_empty() => compiled.push(pattern.lower_case()),
            Ok(pattern) => compiled.push(pattern.written()),
            Err(what) => report.problem(text.span(), what),
        }
    }
    compiled
}

fn methods(names: &[Spanned<String>], report: &mut Report) -> Vec<Method> {
    let mut parsed = Vec::with_capacity(names.len());
    for name in names {
        match Method::from_bytes(name.get_ref().as_bytes()) {
            Ok(method) if name.get_ref().chars().all(|c| c.is_ascii_uppercase()) => {
                parsed.push(method);
            }
            _ => report.problem(
                name.span(),
                format!(
                    "`{}` is not a method; expected an upper-case name such as \"GET\"",
                    name.get_ref()
                ),
            ),
        }
    }
    parsed
}

/// A text, or a beginning and an end with anything between.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    start: String,
    end: Option<String>,
}

impl Pattern {
    /// `starts` names the characters that a pattern may start with; empty allows any.
    fn parse(text: &str, starts: &str) -> Result<Self, String> {
        let first = text.chars().next();
        if first.is_none_or(|first| !starts.is_empty() && !starts.contains(first)) {
            return Err(format!(
                "pattern `{text}` can match nothing; expected a text that starts with `/` or `*`"
            ));
        }
        let (start, end) = match text.split_once('*') {
            Some((_, end)) if end.contains('*') => {
                return Err(format!(
                    "pattern `{text}` has more than one `*`; expected at most one"
                ));
            }
            Some((start, end)) => (start, Some(end)),
            None => (text, None),
        };
        Ok(Self {
            start: start.to_owned(),
            end: end.map(str::to_owned),
        })
    }

    fn lower_case(self) -> Self {
        Self {
            start: self.start.to_ascii_lowercase(),
            end: self.end.map(|end| end.to_ascii_lowercase()),
        }
    }

    fn written(self) -> Self {
        Self {
            start: written_path(&self.start),
            end: self.end.as_deref().map(written_path),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match &self.end {
            None => text == self.start,
            Some(end) => text
                .strip_prefix(self.start.as_str())
                .is_some_and(|rest| rest.ends_with(end.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_as_documented() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let parsed = Pattern::parse(pattern, "/*").unwrap();
            assert_eq!(parsed.matches(text), expected, "{pattern} {text}");
        };
        check("/api/*", "/api/v1/x", true);
        check("/api/*", "/apix", false);
        check("*.jpg", "/a/b.jpg", true);
        check("*.jpg", "/a/b.jpg.html", false);
        check("/robots.txt", "/robots.txt", true);
        check("/robots.txt", "/robots.txt/x", false);
        check("/a*a", "/a", false);
        check("*", "", true);
        for bad in ["", "api", "/a*b*c"] {
            assert!(Pattern::parse(bad, "/*").is_err(), "{bad}");
        }
    }
}
