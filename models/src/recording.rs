//! The lab's recording: what real clients sent, one request a line, JSON, gzip.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use serde::Deserialize;
use thiserror::Error;
use thornwall_detectors::{
    alteration::{self, Alteration, Message},
    model::sha256_hex,
    request::RequestView,
};

/// The host that every recorded request is made to ask for, so that no port or name of one run
/// can tell clients apart.
const HOST: &str = "lab.example";

/// The family of browsers for text.
const TEXT_BROWSERS: &str = "text-browser";

/// Largest compressed recording.
const MOST_FILE_BYTES: u64 = 256 << 20;

/// Longest line: a request with all its headers.
const MOST_LINE_BYTES: u64 = 1 << 20;

/// Most requests.
const MOST_REQUESTS: usize = 2_000_000;

/// A whole recording.
#[derive(Debug)]
pub struct Recording {
    /// SHA-256 of the file.
    pub sha256: String,
    /// The requests, in the file's order.
    pub requests: Vec<Recorded>,
}

/// One recorded request and who sent it.
#[derive(Debug)]
pub struct Recorded {
    /// Name of the client program.
    pub client: String,
    /// The engine or library that the client is built on: what is left out as one in evaluation.
    pub family: String,
    /// What the client was there for.
    pub label: Label,
    /// Seconds since its run started.
    pub seconds: f64,
    uri: Uri,
    secure: bool,
    message: Message,
}

/// What a client was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// A feed reader: welcome.
    Feed,
    /// Somebody with a browser: welcome.
    Person,
    /// Takes what it finds: unwelcome.
    Scraper,
}

impl Label {
    /// The word in recordings and cards.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Person => "person",
            Self::Scraper => "scraper",
        }
    }
}

impl Recording {
    /// Reads a recording, or says which line is wrong.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MOST_FILE_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST_FILE_BYTES {
            return Err(RecordingError::TooLarge(MOST_FILE_BYTES));
        }
        let requests = read_lines(BufReader::new(MultiGzDecoder::new(bytes.as_slice())))?;
        Ok(Self {
            sha256: sha256_hex(&bytes),
            requests,
        })
    }
}

impl Recorded {
    /// The request as the gateway's judges would see it, but for what only tells runs apart: the
    /// client's address, the host and the time are the same for all.
    pub fn view(&self) -> RequestView<'_> {
        RequestView {
            version: self.message.version,
            host: HOST,
            secure: self.secure,
            ..RequestView::bare(&self.message.method, &self.uri, &self.message.headers)
        }
    }

    /// The request as it arrives where these things were done to it on the way; `None` where one of
    /// them has nothing to do.
    pub fn altered(&self, alterations: &[Alteration]) -> Option<Self> {
        Some(Self {
            client: self.client.clone(),
            family: self.family.clone(),
            label: self.label,
            seconds: self.seconds,
            uri: self.uri.clone(),
            secure: self.secure,
            message: alteration::altered(&self.message, alterations)?,
        })
    }

    /// Whether a person with a graphical browser sent it.
    pub fn is_graphical(&self) -> bool {
        self.label == Label::Person && self.family != TEXT_BROWSERS
    }

    /// The request target as sent.
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }
}

fn read_lines(input: impl BufRead) -> Result<Vec<Recorded>, RecordingError> {
    each_line(input, parse)
}

/// What `parse` makes of each line that is not empty; a mistake is told with its number.
pub(crate) fn each_line<T>(
    mut input: impl BufRead,
    parse: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<Vec<T>, RecordingError> {
    let mut found = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let wrong = |what: String| RecordingError::Line { number, what };
        let read = (&mut input)
            .take(MOST_LINE_BYTES + 1)
            .read_until(b'\n', &mut line)
            .map_err(|error| wrong(error.to_string()))?;
        if read == 0 {
            break;
        }
        if read as u64 > MOST_LINE_BYTES {
            return Err(wrong(format!("longer than {MOST_LINE_BYTES} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if found.len() == MOST_REQUESTS {
            return Err(wrong(format!("more than {MOST_REQUESTS} requests")));
        }
        found.push(parse(&line).map_err(wrong)?);
    }
    if found.is_empty() {
        return Err(RecordingError::Empty);
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Line {
    client: String,
    family: String,
    label: Label,
    t: f64,
    method: String,
    path: String,
    version: String,
    #[serde(default)]
    secure: bool,
    headers: Vec<(String, String)>,
}

fn parse(line: &[u8]) -> Result<Recorded, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if line.client.is_empty() || line.family.is_empty() {
        return Err("a client and its family must have names".to_owned());
    }
    if !(line.t.is_finite() && line.t >= 0.0) {
        return Err(format!("the time {} is none", line.t));
    }
    let method = Method::from_bytes(line.method.as_bytes())
        .map_err(|_| format!("`{}` is no method", line.method))?;
    let uri = Uri::try_from(&line.path).map_err(|error| format!("path: {error}"))?;
    Ok(Recorded {
        client: line.client,
        family: line.family,
        label: line.label,
        seconds: line.t,
        uri,
        secure: line.secure,
        message: Message {
            method,
            version: version(&line.version)?,
            headers: headers(&line.headers)?,
        },
    })
}

fn version(written: &str) -> Result<Version, String> {
    match written {
        "HTTP/0.9" => Ok(Version::HTTP_09),
        "HTTP/1.0" => Ok(Version::HTTP_10),
        "HTTP/1.1" => Ok(Version::HTTP_11),
        "HTTP/2" | "HTTP/2.0" => Ok(Version::HTTP_2),
        "HTTP/3" | "HTTP/3.0" => Ok(Version::HTTP_3),
        _ => Err(format!(
            "`{written}` is no version; expected such as HTTP/1.1"
        )),
    }
}

fn headers(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    let authority = fields
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty());
    let mut headers = HeaderMap::new();
    for (written, value) in fields {
        let name = HeaderName::from_bytes(written.as_bytes())
            .map_err(|_| format!("`{written}` is no header name"))?;
        let value = match authority {
            Some(authority) if names_host(&name) => value.replace(authority, HOST),
            _ => value.clone(),
        };
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the value of `{written}` is none"))?;
        headers
            .try_append(name, value)
            .map_err(|_| "too many headers".to_owned())?;
    }
    Ok(headers)
}

/// Whether a field repeats the host that was asked for.
fn names_host(name: &HeaderName) -> bool {
    [header::HOST, header::ORIGIN, header::REFERER].contains(name)
}

/// Why there is no recording.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// No request in it.
    #[error("no request in it")]
    Empty,
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// A line is not a request.
    #[error("line {number}: {what}")]
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The file is larger than any recording.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"run":"r1","client":"curl","family":"curl","label":"scraper","t":1.5,"method":"GET","path":"/a?b","version":"HTTP/1.1","secure":false,"headers":[["Host","127.0.0.1:4711"],["Referer","http://127.0.0.1:4711/"],["X-Port","4711"]]}"#;

    #[test]
    fn request_is_read_and_its_host_masked() {
        let requests = read_lines(GOOD.as_bytes()).expect("a good line");
        let request = &requests[0];
        assert_eq!(
            (request.client.as_str(), request.label),
            ("curl", Label::Scraper)
        );
        let view = request.view();
        assert_eq!((view.path.as_ref(), view.uri.query()), ("/a", Some("b")));
        assert_eq!(view.headers[header::HOST], HOST);
        assert_eq!(view.headers[header::REFERER], "http://lab.example/");
        assert_eq!(view.headers["x-port"], "4711");
    }

    #[test]
    fn mistake_is_reported_with_its_line() {
        let check = |from: &str, to: &str, complaint: &str| {
            let text = format!("{GOOD}\n\n{}\n", GOOD.replace(from, to));
            let said = read_lines(text.as_bytes())
                .expect_err(complaint)
                .to_string();
            assert!(
                said.starts_with("line 3: ") && said.contains(complaint),
                "{said}"
            );
        };
        check(r#""scraper""#, r#""robot""#, "unknown variant");
        check("1.5", "-1", "time");
        check("HTTP/1.1", "HTTP/7", "version");
        check("GET", "G T", "method");
        check("/a?b", "/a b", "path");
        check("X-Port", "X Port", "header name");
        check(r#""client":"curl""#, r#""client":"""#, "names");
        check("}", "", "EOF");
        check(r#""4711""#, "\"4\\u00007\"", "X-Port");
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        assert!(matches!(read_lines(&b""[..]), Err(RecordingError::Empty)));
        let long = vec![b'x'; 2 << 20];
        let said = read_lines(long.as_slice())
            .expect_err("too long")
            .to_string();
        assert!(said.contains("longer than"), "{said}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(Recording::read(&folder.join("nowhere")).is_err());
        assert!(Recording::read(&folder.join("Cargo.toml")).is_err());
    }
}
