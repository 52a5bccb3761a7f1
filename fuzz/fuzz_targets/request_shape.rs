//! Any request can be judged: user agent, headers, path and features hold for every byte.
#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use libfuzzer_sys::fuzz_target;
use thornwall_detectors::{
    features, heuristics,
    request::{RequestView, SiteFacts, plain_path},
    user_agent::UserAgent,
};

fuzz_target!(|request: (&str, &str, bool, Vec<(&str, &[u8])>)| {
    let (method, target, secure, fields) = request;
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), target.parse::<Uri>()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value),
        ) {
            let _ = UserAgent::parse_bytes(value.as_bytes());
            headers.append(name, value);
        }
    }
    let view = RequestView {
        method: &method,
        uri: &uri,
        path: plain_path(uri.path()),
        version: Version::HTTP_11,
        headers: &headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host: "fuzz.example",
        site: SiteFacts { id: 0, robots: None },
        secure,
        now: Duration::ZERO,
    };
    heuristics::judge(&view, &mut |signal| assert!((0.0..=1.0).contains(&signal.weight)));
    assert!(features::extract(&view).iter().all(|value| (0.0..=1.0).contains(value)));
});
