//! Reading a TOML file so that every mistake in it is reported at once, with its place.
//!
//! Serde stops at the first mistake. So whatever a mistake points at is struck out of the parsed
//! table and the rest is read again, until it reads or nothing is left to strike out.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, Deserializer, Error},
};

/// Most mistakes that are looked for in one file.
const MOST_PROBLEMS: usize = 50;

/// One mistake in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Bytes of the file that are wrong, where one place is.
    pub span: Option<Range<usize>>,
    /// What is wrong, and what was expected.
    pub what: String,
}

impl Problem {
    /// A mistake of a file as a whole.
    pub fn in_file(file: &Path, what: impl Into<String>) -> Self {
        Self {
            file: file.to_path_buf(),
            span: None,
            what: what.into(),
        }
    }

    /// `file:line:column: what`, given the text that the span points into.
    pub fn describe(&self, text: &str) -> String {
        let file = self.file.display();
        match &self.span {
            Some(span) => {
                let (line, column) = line_and_column(text, span.start);
                format!("{file}:{line}:{column}: {}", self.what)
            }
            None => format!("{file}: {}", self.what),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

/// A file as far as it could be read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The configuration as written, without the parts that are wrong.
    pub value: Option<T>,
    /// Every mistake found.
    pub problems: Vec<Problem>,
}

/// Keys that are planned and do not work yet, each with a description.
pub type StillToCome = &'static [(&'static str, &'static str)];

/// Reads `text` as a `T`. The value is there as long as the mistakes are only unknown
/// keys: then what remains is what its author meant, and can be looked at further.
pub fn load<T: DeserializeOwned>(file: &Path, text: &str, to_come: StillToCome) -> Loaded<T> {
    let mut loaded = read(file, text, to_come);
    loaded
        .problems
        .sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
    loaded
}

fn read<T: DeserializeOwned>(file: &Path, text: &str, to_come: StillToCome) -> Loaded<T> {
    let (mut root, syntax) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = syntax
        .iter()
        .take(MOST_PROBLEMS)
        .map(|error| problem(file, error, to_come))
        .collect();
    if !problems.is_empty() {
        return Loaded {
            value: None,
            problems,
        };
    }
    let mut faithful = true;
    while problems.len() < MOST_PROBLEMS {
        match T::deserialize(Deserializer::from(root.clone())) {
            Ok(value) => {
                return Loaded {
                    value: faithful.then_some(value),
                    problems,
                };
            }
            Err(error) => {
                faithful &= error.message().starts_with(UNKNOWN_FIELD);
                problems.push(problem(file, &error, to_come));
                let struck = error
                    .span()
                    .is_some_and(|span| strike(root.get_mut(), &span));
                if !struck {
                    break;
                }
            }
        }
    }
    Loaded {
        value: None,
        problems,
    }
}

/// Beginning of serde's message about an unknown key.
const UNKNOWN_FIELD: &str = "unknown field `";

fn problem(file: &Path, error: &Error, to_come: StillToCome) -> Problem {
    Problem {
        file: file.to_path_buf(),
        span: error.span(),
        what: explain(error.message(), to_come),
    }
}

/// Turns serde's sentence into ours: what is wrong, then what was expected.
fn explain(message: &str, to_come: StillToCome) -> String {
    let Some((key, rest)) = message
        .strip_prefix(UNKNOWN_FIELD)
        .and_then(|rest| rest.split_once('`'))
    else {
        return message
            .replace(", expected", "; expected")
            .replace('\n', " ");
    };
    let expected = rest.trim_start_matches(", ");
    match to_come.iter().find(|(name, _)| *name == key) {
        Some((_, what)) => format!("`{key}` is still to come ({what}); {expected}"),
        None => format!("unknown key `{key}`; {expected}"),
    }
}

/// Takes the smallest entry that `span` points at out of `table`.
fn strike(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let mut struck = false;
    for (_, value) in table.iter_mut() {
        struck = struck || strike_within(value, span);
    }
    if struck {
        return true;
    }
    let blamed = table
        .iter()
        .find(|(key, value)| covers(&key.span(), span) || covers(&value.span(), span))
        .map(|(key, _)| key.clone());
    blamed.is_some_and(|key| table.remove(&key).is_some())
}

fn strike_within<'i>(value: &mut Spanned<DeValue<'i>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => strike(table, span),
        DeValue::Array(array) => {
            if array.iter_mut().any(|element| strike_within(element, span)) {
                return true;
            }
            let before = array.len();
            let kept: DeArray<'i> = std::mem::replace(array, DeArray::new())
                .into_iter()
                .filter(|element| !covers(&element.span(), span))
                .collect();
            *array = kept;
            array.len() < before
        }
        _ => false,
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Line and column, both from 1, of a byte of `text`; columns count characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;
    use toml::Spanned;

    use super::load;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Root {
        #[serde(default)]
        server: Server,
        #[serde(default)]
        site: Vec<Site>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Server {
        #[serde(default)]
        threads: usize,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Site {
        name: Spanned<String>,
        #[serde(default)]
        hosts: Vec<String>,
    }

    fn check(text: &str, expected: &[&str], readable: bool) {
        let loaded = load::<Root>(Path::new("t.toml"), text, &[("store", "shared state")]);
        let told: Vec<String> = loaded.problems.iter().map(|p| p.describe(text)).collect();
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told} / {expected}");
        }
        assert_eq!(loaded.value.is_some(), readable, "{told:#?}");
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        check("[server]\nthreads = 2\n", &[], true);
        check(
            "bogus = 1\n[server]\nthreds = 2\n[store]\nkind = \"redis\"\n",
            &[
                "t.toml:1:1: unknown key `bogus`; expected `server` or `site`",
                "t.toml:3:1: unknown key `threds`; expected `threads`",
                "t.toml:4:2: `store` is still to come (shared state); expected",
            ],
            true,
        );
        check(
            "[server]\nthreads = \"two\"\n[[site]]\nname = 7\n[[site]]\nhosts = [1, \"a\"]\nname = \"b\"\n",
            &[
                "t.toml:2:11: invalid type: string \"two\"; expected usize",
                "t.toml:3:1: missing field `name`",
                "t.toml:4:8: invalid type: integer `7`; expected a string",
                "t.toml:6:10: invalid type: integer `1`; expected a string",
            ],
            false,
        );
        check(
            "[server\nthreads = = 1\n",
            &["t.toml:1:8: ", "t.toml:2:11: ", "t.toml:2:13: "],
            false,
        );
        check("\"é\" = 1\n", &["t.toml:1:1: unknown key"], true);
    }

    #[test]
    fn sites_keep_their_values() {
        let loaded = load::<Root>(
            Path::new("t"),
            "[[site]]\nname = \"a\"\nhosts = [\"b\"]",
            &[],
        );
        let root = loaded.value.unwrap();
        assert_eq!(root.site[0].name.get_ref(), "a");
        assert_eq!(root.site[0].hosts, ["b"]);
        assert_eq!(root.server.threads, 0);
    }
}
