//! Requests for tests, written as text.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::{
    request::{RequestView, SiteFacts},
    robots::Robots,
};

/// A request that owns what a view borrows: what [`RequestView::bare`] says where nothing else is
/// given.
pub struct Request {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    client: IpAddr,
    site: u16,
    robots: Option<Robots>,
    secure: bool,
    now: Duration,
}

impl Request {
    /// A request line such as `GET /a`, and header lines such as `Accept: */*`.
    pub fn new(line: &str, headers: &[&str]) -> Self {
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let fields = headers.iter().map(|header| {
            let (name, value) = header.split_once(':').expect("a name and a value");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a field's name");
            let value = HeaderValue::from_bytes(value.trim_start().as_bytes());
            (name, value.expect("a field's value"))
        });
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        Self {
            method: method.parse().expect("a method"),
            uri: target.parse().expect("a target"),
            version: Version::HTTP_11,
            headers: map,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            site: 0,
            robots: None,
            secure: false,
            now: Duration::ZERO,
        }
    }

    /// With these header fields.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// In this version of HTTP.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Over TLS.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    /// From the client of this address.
    #[must_use]
    pub fn client(mut self, address: &str) -> Self {
        self.client = address.parse().expect("an address");
        self
    }

    /// To the site of this number.
    #[must_use]
    pub fn site(mut self, id: u16) -> Self {
        self.site = id;
        self
    }

    /// To a site with this robots.txt.
    #[must_use]
    pub fn with_robots(mut self, text: &str) -> Self {
        self.robots = Some(Robots::parse(text.as_bytes()));
        self
    }

    /// So long after the gateway's start.
    #[must_use]
    pub fn at(mut self, now: Duration) -> Self {
        self.now = now;
        self
    }

    /// The view that judges see.
    pub fn view(&self) -> RequestView<'_> {
        RequestView {
            version: self.version,
            client: self.client,
            site: SiteFacts {
                id: self.site,
                robots: self.robots.as_ref(),
            },
            secure: self.secure,
            now: self.now,
            ..RequestView::bare(&self.method, &self.uri, &self.headers)
        }
    }
}
