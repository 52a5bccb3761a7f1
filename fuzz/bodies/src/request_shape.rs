//! Any request can be judged: user agent, headers, path and features hold for every byte.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use thornwall_detectors::{features, heuristics, request::RequestView, user_agent::UserAgent};

use crate::text;

/// A request as its lines say it; over TLS where the target has an odd length.
pub(crate) fn run(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = text(lines.next().unwrap_or_default());
    let (method, target) = line.split_once(' ').unwrap_or((line, "/"));
    let secure = target.len() % 2 == 1;
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), target.parse::<Uri>()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or_default());
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            let _ = UserAgent::parse_bytes(value.as_bytes());
            headers.append(name, value);
        }
    }
    let view = RequestView {
        secure,
        ..RequestView::bare(&method, &uri, &headers)
    };
    heuristics::judge(&view, &mut |signal| {
        assert!((0.0..=1.0).contains(&signal.weight))
    });
    assert!(
        features::extract(&view)
            .iter()
            .all(|value| (0.0..=1.0).contains(value))
    );
}
