//! `blocklist`: enforces decisions about a client, and denies clients whose address is on a list.
//!
//! Current decisions of operators, filters, feeds and the store are always looked up, those of the
//! site before those of the whole deployment and a narrower network before a wider one, unless an
//! operator decided something harsher about the wider one: `deny` is answered with 403, `tarpit`
//! with a slow stream, `throttle` lets the client through within the pipeline's slower rate. The
//! reason is `decision.enforced`, the evidence the network and the source of the decision. Addresses of
//! `[never_block]` and trusted proxies pass despite all lists and decisions.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `files` | Paths of lists, relative to the folder of the configuration. | `[]` |
//!
//! A list is a text file with one IPv4 or IPv6 address or network per line (`192.0.2.7`,
//! `198.51.100.0/24`, `2001:db8::/32`); `#` and `;` start comments. A line that is anything else
//! is a mistake, and the configuration is refused with the place of every such line. Lists are
//! read again on every reload. However long they are, a lookup takes a fraction of a microsecond.
//! The client is answered with 403; the reason is `blocklist.listed`, the evidence the range that
//! covers the address.
//!
//! ```toml
//! [[pipeline.filter]]
//! name = "known_bad"
//! blocklist = { files = ["lists/deny.txt"] }
//! ```

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use thornwall_decisions::{
    decision::Action,
    decisions::{Decisions, Found},
    prefix_set::{
        Prefix, PrefixSet,
        list::{LineError, ListError, read_list},
    },
};
use thornwall_detectors::{
    request::RequestView,
    signal::{Evidence, Reason, Signal, Trail},
};
use thornwall_settings::{
    load::Problem,
    report::{Noted, Report},
};
use toml::Spanned;

use crate::{
    context::FilterContext,
    filter::{Filter, FilterError, Round},
    kinds::Kind,
    verdict::Verdict,
};

/// The table `blocklist`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Paths of lists.
    #[serde(default)]
    pub files: Vec<Spanned<String>>,
}

impl Kind for Config {
    const COST: &'static str = "below 1 us";

    fn build(spec: &Spanned<Self>, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted> {
        let listed = read_files(&spec.get_ref().files, &mut context.report)?;
        Ok(Box::new(Blocklist {
            listed,
            decisions: Arc::clone(&context.decisions),
        }))
    }
}

/// The addresses of all files, or notes what is wrong with them.
pub fn read_files(files: &[Spanned<String>], report: &mut Report) -> Result<PrefixSet, Noted> {
    let lists = read_lists(files, report)?;
    for (file, prefixes) in files.iter().zip(&lists) {
        warn_of_broad(file.get_ref(), prefixes, report);
    }
    Ok(lists.into_iter().flatten().collect())
}

/// The networks of each file, or notes what is wrong with them.
pub fn read_lists(
    files: &[Spanned<String>],
    report: &mut Report,
) -> Result<Vec<Vec<Prefix>>, Noted> {
    let mut lists = Vec::new();
    for file in files {
        let path = report.resolve(file.get_ref());
        match read_list(&path) {
            Ok(list) => {
                let warning =
                    |LineError { line, what }| format!("{}:{line}: {what}", path.display());
                report
                    .warnings
                    .extend(list.warnings.into_iter().map(warning));
                lists.push(list.prefixes);
            }
            Err(error) => note(file, error, report),
        }
    }
    (lists.len() == files.len()).then_some(lists).ok_or(Noted)
}

struct Blocklist {
    listed: PrefixSet,
    decisions: Arc<Decisions>,
}

impl Filter for Blocklist {
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        let trail = &mut round.trail;
        let (client, site) = (request.client, request.site.id);
        let found = self.decisions.lookup(client, site, request.now);
        // Whom a list names is denied, though a decision has it served.
        if let Some(found) = found.filter(|found| !found.action.serves()) {
            return Ok(enforce(&found, trail));
        }
        let Some((first, last)) = self.listed.lookup(client) else {
            return Ok(found.map_or(Verdict::Pass, |found| enforce(&found, trail)));
        };
        if self.decisions.spares(client) {
            return Ok(Verdict::Pass);
        }
        let evidence = Evidence::Range(first, last);
        trail.push(Signal::with_evidence(
            Reason::BlocklistListed,
            1.0,
            evidence,
        ));
        Ok(Verdict::Act(Action::Deny, Reason::BlocklistListed))
    }
}

/// Verdict of a decision on a request of its subject.
fn enforce(found: &Found, trail: &mut Trail) -> Verdict {
    let reason = Reason::DecisionEnforced;
    let Found {
        subject, origin, ..
    } = found;
    let evidence = Evidence::Network(subject.first(), subject.length(), origin.name());
    // A client that is to be served keeps its score, whatever was decided.
    let weight = if found.action.serves() { 0.0 } else { 1.0 };
    trail.push(Signal::with_evidence(reason, weight, evidence));
    Verdict::Act(found.action, reason)
}

/// A mistake inside of a list is reported at its line, everything else where the list is named.
fn note(file: &Spanned<String>, error: ListError, report: &mut Report) {
    let path = report.resolve(file.get_ref());
    match error {
        ListError::Lines(errors) => {
            report
                .problems
                .extend(errors.into_iter().map(|error| at_line(&path, error)));
        }
        error => report.problem(file.span(), format!("list `{}` {error}", path.display())),
    }
}

fn at_line(path: &Path, error: LineError) -> Problem {
    let place = format!("{}:{}", path.display(), error.line);
    Problem {
        file: PathBuf::from(place),
        span: None,
        what: error.what,
    }
}

fn warn_of_broad(file: &str, prefixes: &[Prefix], report: &mut Report) {
    let broad = prefixes.iter().filter(|prefix| prefix.is_broad());
    for prefix in broad.take(MAX_WARNINGS) {
        let scope = &report.scope;
        report.warnings.push(format!(
            "{scope}: `{file}` lists {prefix}, a large part of all addresses: people are likely behind it"
        ));
    }
}

/// Warnings about one list.
const MAX_WARNINGS: usize = 10;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        time::Duration,
    };

    use tempfile::TempDir;
    use thornwall_detectors::{
        fixture::Request,
        signal::{Reason, Trail},
    };
    use thornwall_settings::report::Report;
    use toml::Spanned;

    use super::Config;
    use crate::{
        context::FilterContext,
        filter::{Filter, Round},
        kinds::Kind,
        verdict::Verdict,
    };
    use thornwall_decisions::{
        decision::Action,
        decisions::{Origin, Row, Table},
    };

    #[derive(serde::Deserialize)]
    struct File {
        blocklist: Spanned<Config>,
    }

    /// A folder of lists that goes away with the test.
    struct Folder(TempDir);

    impl Folder {
        fn new(lists: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in lists {
                fs::write(folder.path().join(name), text).unwrap();
            }
            Self(folder)
        }

        fn build(&self, config: &str) -> (Option<Box<dyn Filter>>, FilterContext) {
            let file: File = toml::from_str(config).unwrap();
            let mut context = FilterContext {
                report: Report {
                    folder: self.path().to_owned(),
                    file: PathBuf::from("thornwall.toml"),
                    scope: String::from("standard.known_bad"),
                    ..Report::default()
                },
                ..FilterContext::default()
            };
            let filter = Config::build(&file.blocklist, &mut context);
            (filter.ok(), context)
        }

        fn path(&self) -> &Path {
            self.0.path()
        }
    }

    #[test]
    fn listed_clients_are_denied_with_the_range_as_evidence() {
        let folder = Folder::new(&[
            ("a.txt", "192.0.2.0/24 # one\n"),
            ("b.txt", "2001:db8::/32\n198.51.100.7\n"),
        ]);
        let (filter, context) = folder.build("blocklist = { files = ['a.txt', 'b.txt'] }");
        assert!(context.report.problems.is_empty() && context.report.warnings.is_empty());
        let filter = filter.unwrap();
        let check = |client: &str, evidence: Option<&str>| {
            let mut trail = Trail::default();
            let verdict = judge(filter.as_ref(), client, &mut trail);
            let expected = evidence.map_or(Verdict::Pass, |_| {
                Verdict::Act(Action::Deny, Reason::BlocklistListed)
            });
            assert_eq!(verdict, expected, "{client}");
            let noted: Vec<String> = trail
                .signals()
                .iter()
                .map(|signal| signal.evidence.to_string())
                .collect();
            assert_eq!(noted, Vec::from_iter(evidence), "{client}");
        };
        check("192.0.2.9", Some("192.0.2.0-192.0.2.255"));
        check("::ffff:192.0.2.9", Some("192.0.2.0-192.0.2.255"));
        check("198.51.100.7", Some("198.51.100.7"));
        check(
            "2001:db8::1",
            Some("2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        );
        check("198.51.100.8", None);
        check("2001:db9::1", None);
    }

    #[test]
    fn whom_a_list_names_is_denied_though_slowed_down_before() {
        let folder = Folder::new(&[("a.txt", "192.0.2.1\n")]);
        let (filter, context) = folder.build("blocklist = { files = ['a.txt'] }");
        let mut table = Table::new(context.decisions, 10);
        for subject in ["192.0.2.1", "192.0.2.2"] {
            table.put(Row {
                subject: subject.parse().unwrap(),
                site: 0,
                action: Action::Throttle,
                origin: Origin::Filter,
                until: 10_000,
            });
        }
        table.show();
        let filter = filter.unwrap();
        let judged = |client| judge(filter.as_ref(), client, &mut Trail::default());
        let denied = Verdict::Act(Action::Deny, Reason::BlocklistListed);
        assert_eq!(judged("192.0.2.1"), denied);
        assert_eq!(
            judged("192.0.2.2"),
            Verdict::Act(Action::Throttle, Reason::DecisionEnforced)
        );
    }

    #[test]
    fn mistakes_are_reported_where_they_are() {
        let folder = Folder::new(&[
            ("bad.txt", "192.0.2.1\nshop.example\n\n192.0.2.1/24\n"),
            ("good.txt", "192.0.2.1\n"),
        ]);
        let config = "blocklist = { files = ['good.txt', 'bad.txt', 'none.txt', '.'] }";
        let (filter, context) = folder.build(config);
        assert!(filter.is_none());
        let [name, missing, no_file] = context.report.problems.as_slice() else {
            panic!("{:?}", context.report.problems);
        };
        let bad = folder.path().join("bad.txt");
        let line = |number: usize| format!("{}:{number}: ", bad.display());
        assert!(
            name.to_string()
                .starts_with(&(line(2) + "`shop.example` is not an address"))
        );
        assert_eq!(&config[missing.span.clone().unwrap()], "'none.txt'");
        assert!(
            missing.what.contains("none.txt` cannot be read: "),
            "{}",
            missing.what
        );
        assert_eq!(&config[no_file.span.clone().unwrap()], "'.'");
        assert!(
            no_file.what.contains("is not a regular file; expected"),
            "{}",
            no_file.what
        );
    }

    #[test]
    fn lists_that_name_nearly_everybody_deserve_a_second_look() {
        let folder = Folder::new(&[("all.txt", "0.0.0.0/0\n::/0\n10.0.0.0/8\n2001::/16\n")]);
        let (filter, context) = folder.build("blocklist = { files = ['all.txt'] }");
        assert!(filter.is_some());
        assert_eq!(
            context.report.warnings.len(),
            2,
            "{:?}",
            context.report.warnings
        );
        assert!(context.report.warnings[0].contains("`all.txt` lists 0.0.0.0/0"));
        assert!(context.report.warnings[1].contains("`all.txt` lists ::/0"));
    }

    fn judge(filter: &dyn Filter, client: &str, trail: &mut Trail) -> Verdict {
        let request = Request::new("GET /", &[])
            .client(client)
            .at(Duration::from_secs(1));
        let mut round = Round::default();
        let verdict = filter.judge(&request.view(), &mut round).unwrap();
        *trail = round.trail;
        verdict
    }
}
