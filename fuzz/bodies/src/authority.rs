//! Any host is none, or has one form, whichever version and field it came in.

use http::{HeaderMap, HeaderValue, Uri, Version, header::HOST};
use thornwall_gateway::{hosts::normalise_host, request::authority};

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let sent = text(bytes);
    let judged = normalise_host(sent);
    if let Some(host) = &judged {
        assert_eq!(normalise_host(host).as_ref(), Some(host));
        assert_eq!(normalise_host(&format!("{host}:443")).as_ref(), Some(host));
        assert_eq!(*host, host.to_ascii_lowercase());
        assert!(!host.contains(['@', '/', ' ', ',']));
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(sent) {
        headers.insert(HOST, value);
        let asked = authority(&Uri::from_static("/"), &headers, Version::HTTP_11);
        // An empty host names no site and asks for the one of all hosts.
        let judged = judged.clone().or_else(|| sent.is_empty().then(String::new));
        assert_eq!(asked.ok(), judged);
    }
    if let Ok(uri) = format!("https://{sent}/").parse::<Uri>()
        && uri.authority().is_some_and(|authority| authority == sent)
    {
        let asked = authority(&uri, &HeaderMap::new(), Version::HTTP_2);
        assert_eq!(asked.ok(), judged);
    }
}
