//! Requests for tests, written as text.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::{
    request::{RequestView, SiteFacts, plain_path},
    robots::Robots,
};

/// A request that owns what a view borrows.
pub(crate) struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    secure: bool,
    robots: Option<Robots>,
}

impl Request {
    /// A request line such as `GET /a`, and header lines such as `Accept: */*`.
    pub(crate) fn new(line: &str, headers: &[&str]) -> Self {
        let (method, target) = line.split_once(' ').unwrap();
        let fields = headers.iter().map(|header| {
            let (name, value) = header.split_once(':').unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (
                name,
                HeaderValue::from_bytes(value.trim_start().as_bytes()).unwrap(),
            )
        });
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        Self {
            method: method.parse().unwrap(),
            uri: target.parse().unwrap(),
            headers: map,
            secure: false,
            robots: None,
        }
    }

    /// The same over TLS.
    pub(crate) fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    /// The same to a site with this robots.txt.
    pub(crate) fn with_robots(mut self, text: &str) -> Self {
        self.robots = Some(Robots::parse(text.as_bytes()));
        self
    }

    /// The view that judges see.
    pub(crate) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            uri: &self.uri,
            path: plain_path(self.uri.path()),
            version: Version::HTTP_11,
            headers: &self.headers,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: "site.example",
            site: SiteFacts {
                id: 0,
                robots: self.robots.as_ref(),
            },
            secure: self.secure,
            now: Duration::ZERO,
        }
    }
}
