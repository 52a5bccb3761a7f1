//! Cases with labels, as `thornwall-sidecar export --format training` writes them: JSON lines.
//!
//! A case tells the names of its last request's header fields, and the values of the user agent and of
//! the languages alone. What a feature says that looks at another value is not known then, which is
//! `NaN` here; the trees learn from the rest of the row. Such rows are learned from and never judged:
//! threshold and evaluation rest on the recording, whose requests are whole.
//!
//! Weak labels are this system's own decisions. Who learns from them learns what it knew, so that they
//! are left out unless somebody wants them. Welcome crawlers are left out too: they are known by their
//! addresses, and what their requests look like must excuse nobody.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use serde::{Deserialize, Serialize};
use thornwall_detectors::{
    features::{FEATURES, Feature, extract},
    model::sha256_hex,
    request::RequestView,
};

use crate::{
    recording::{Label, RecordingError, each_line},
    table::Row,
};

/// Largest file of cases.
const MOST_FILE_BYTES: u64 = 1 << 30;

/// What all cases are left in or out as, and weigh together as one of: whatever a site sees must not
/// drown what the lab recorded.
const FAMILY: &str = "cases";

/// Features that look at the value of a field that cases do not tell, and those fields: where one was
/// sent, the feature is not known.
const UNTOLD: &[(&str, &[&str])] = &[
    ("accept_wildcard", &["accept"]),
    ("accept_html_first", &["accept"]),
    ("accept_image_first", &["accept"]),
    ("accept_xhtml", &["accept"]),
    ("accept_modern_image", &["accept"]),
    ("accept_quality_values", &["accept"]),
    ("page_without_html", &["accept"]),
    ("accept_encoding_gzip", &["accept-encoding"]),
    ("accept_encoding_deflate", &["accept-encoding"]),
    ("accept_encoding_br", &["accept-encoding"]),
    ("accept_encoding_zstd", &["accept-encoding"]),
    ("connection_close", &["connection"]),
    ("connection_keep_alive", &["connection"]),
    ("sec_fetch_navigate", &["sec-fetch-mode"]),
    (
        "fetch_metadata_odd",
        &[
            "sec-fetch-site",
            "sec-fetch-mode",
            "sec-fetch-dest",
            "sec-fetch-user",
        ],
    ),
    (
        "client_hints_agree",
        &["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"],
    ),
    (
        "client_hints_contradict",
        &["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"],
    ),
];

/// The cases of a file that may be learned from.
#[derive(Debug)]
pub struct Cases {
    /// A row for each, with all features.
    pub rows: Vec<Row>,
    /// What cards tell.
    pub facts: CaseFacts,
}

/// What a card tells of the cases that a model learned from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CaseFacts {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Cases of people.
    pub people: usize,
    /// Cases of scrapers, malicious ones included.
    pub scrapers: usize,
    /// Cases that were left out since their labels are weak.
    pub weak: usize,
    /// Cases of welcome crawlers, which are left out.
    pub welcome: usize,
}

#[derive(Deserialize)]
struct Line {
    label: Said,
    weak: bool,
    facts: Facts,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Said {
    Person,
    WelcomeBot,
    Scraper,
    Malicious,
}

#[derive(Deserialize)]
struct Facts {
    shape: String,
    requests: usize,
    samples: Vec<Sample>,
    claims: Claims,
}

#[derive(Deserialize)]
struct Sample {
    method: String,
    path: String,
}

#[derive(Deserialize)]
struct Claims {
    user_agent: String,
    accept_language: String,
    header_names: Vec<String>,
    http_version: u32,
    tls: bool,
}

impl Cases {
    /// Reads a file, or says which line is wrong; weak labels are learned from where `weak` says so.
    pub fn read(path: &Path, weak: bool) -> Result<Self, RecordingError> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MOST_FILE_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST_FILE_BYTES {
            return Err(RecordingError::TooLarge(MOST_FILE_BYTES));
        }
        let lines = each_line(BufReader::new(bytes.as_slice()), |line| {
            let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            let values = values(&line.facts)?;
            Ok((line, values))
        })?;
        let mut cases = Self {
            rows: Vec::new(),
            facts: CaseFacts {
                sha256: sha256_hex(&bytes),
                ..CaseFacts::default()
            },
        };
        for (line, values) in lines {
            cases.take(line, values, weak);
        }
        Ok(cases)
    }

    fn take(&mut self, line: Line, values: Vec<f32>, weak: bool) {
        if line.weak && !weak {
            self.facts.weak += 1;
            return;
        }
        let label = match line.label {
            Said::WelcomeBot => {
                self.facts.welcome += 1;
                return;
            }
            Said::Person => Label::Person,
            Said::Scraper | Said::Malicious => Label::Scraper,
        };
        match label {
            Label::Scraper => self.facts.scrapers += 1,
            Label::Feed | Label::Person => self.facts.people += 1,
        }
        self.rows.push(Row {
            values,
            label,
            client: line.facts.shape,
            family: FAMILY.to_owned(),
            engine: FAMILY.to_owned(),
            requests: line.facts.requests,
            altered: false,
        });
    }
}

/// The features of a case's last request, as far as they are known.
fn values(facts: &Facts) -> Result<Vec<f32>, String> {
    let sample = facts.samples.last().ok_or("a case without requests")?;
    let method = Method::from_bytes(sample.method.as_bytes())
        .map_err(|_| format!("`{}` is no method", sample.method))?;
    let uri = Uri::try_from(&sample.path).map_err(|error| format!("path: {error}"))?;
    let headers = headers(&facts.claims)?;
    let features = extract(&RequestView {
        version: version(facts.claims.http_version)?,
        secure: facts.claims.tls,
        ..RequestView::bare(&method, &uri, &headers)
    });
    let known = |(feature, value)| {
        if is_known(feature, &headers) {
            value
        } else {
            f32::NAN
        }
    };
    Ok(FEATURES.iter().zip(features).map(known).collect())
}

fn is_known(feature: &Feature, headers: &HeaderMap) -> bool {
    let untold = UNTOLD.iter().find(|(name, _)| *name == feature.name);
    untold.is_none_or(|(_, fields)| !fields.iter().any(|field| headers.contains_key(*field)))
}

fn headers(claims: &Claims) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for written in &claims.header_names {
        let name = HeaderName::from_bytes(written.as_bytes())
            .map_err(|_| format!("`{written}` is no header name"))?;
        let value = match name.as_str() {
            "user-agent" => &claims.user_agent,
            "accept-language" => &claims.accept_language,
            _ => "",
        };
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the value of `{written}` is none"))?;
        headers
            .try_append(name, value)
            .map_err(|_| "too many headers".to_owned())?;
    }
    Ok(headers)
}

fn version(told: u32) -> Result<Version, String> {
    match told {
        9 => Ok(Version::HTTP_09),
        10 => Ok(Version::HTTP_10),
        11 => Ok(Version::HTTP_11),
        20 => Ok(Version::HTTP_2),
        30 => Ok(Version::HTTP_3),
        _ => Err(format!(
            "{told} is no version; expected 9, 10, 11, 20 or 30"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        forest::Forest,
        prior::directions,
        table::{Table, tests::row},
    };

    /// What the sidecar's own test writes.
    fn golden() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cases.jsonl")
    }

    fn value(row: &Row, name: &str) -> f32 {
        let at = FEATURES.iter().position(|feature| feature.name == name);
        row.values[at.unwrap()]
    }

    #[test]
    fn what_a_sidecar_exports_is_read() {
        let cases = Cases::read(&golden(), false).unwrap();
        let CaseFacts {
            people,
            scrapers,
            weak,
            welcome,
            ..
        } = cases.facts;
        // A person's word about two, a trap's about one; a verified crawler; two decisions of ours.
        assert_eq!((people, scrapers, weak, welcome), (1, 2, 2, 1));
        assert_eq!(cases.rows.len(), 3);
        let labels: Vec<Label> = cases.rows.iter().map(|row| row.label).collect();
        assert_eq!(labels, [Label::Person, Label::Scraper, Label::Scraper]);
        let row = &cases.rows[0];
        assert_eq!(
            (value(row, "ua_http_library"), value(row, "cookie")),
            (1.0, 1.0)
        );
        // It sent no `Accept`, so that what that says is known.
        assert_eq!(value(row, "accept_wildcard"), 0.0);
        let all = Cases::read(&golden(), true).unwrap();
        assert_eq!((all.facts.weak, all.rows.len()), (0, 5));
    }

    #[test]
    fn what_is_not_told_is_not_known_and_is_learned_around() {
        let text = std::fs::read_to_string(golden()).unwrap();
        let line = text.lines().next().unwrap();
        let sent = line.replace(r#""host""#, r#""host","accept","sec-fetch-mode""#);
        let line: Line = serde_json::from_slice(sent.as_bytes()).unwrap();
        let known = values(&line.facts).unwrap();
        let at = |name| {
            FEATURES
                .iter()
                .position(|feature| feature.name == name)
                .unwrap()
        };
        assert!(known[at("accept_wildcard")].is_nan() && known[at("fetch_metadata_odd")].is_nan());
        assert_eq!(
            (known[at("accept")], known[at("sec_fetch_fields")]),
            (1.0, 0.25)
        );
        let case = |label, library: f32| {
            let mut values = known.clone();
            values[at("ua_http_library")] = library;
            row(FAMILY, "a", label, &values)
        };
        let cases = [case(Label::Scraper, 1.0), case(Label::Person, 0.0)];
        let empty = vec![0.0; FEATURES.len()];
        let mut library = empty.clone();
        library[at("ua_http_library")] = 1.0;
        let table = Table {
            // Nothing but the cases tells these apart.
            rows: vec![
                row("x", "x", Label::Person, &empty),
                row("y", "y", Label::Scraper, &empty),
            ],
            directions: directions(),
            cases: (0..20).flat_map(|_| cases.clone()).collect(),
        };
        let forest = Forest::fit(&table).unwrap();
        let (bad, good) = (forest.score(&library), forest.score(&empty));
        assert!(bad.is_finite() && bad > good + 0.2, "{bad} {good}");
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        let text = std::fs::read_to_string(golden()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let check = |from: &str, to: &str, complaint: &str| {
            std::fs::write(path, text.replacen(from, to, 1)).unwrap();
            let said = Cases::read(path, false).unwrap_err().to_string();
            assert!(
                said.starts_with("line 1: ") && said.contains(complaint),
                "{said}"
            );
        };
        check(r#""person""#, r#""saint""#, "unknown variant");
        check(r#""weak":false,"#, "", "missing field `weak`");
        check(r#""GET""#, r#""G T""#, "method");
        check(r#""http_version":11"#, r#""http_version":7"#, "version");
        check(r#""cookie""#, r#""coo kie""#, "header name");
    }
}
