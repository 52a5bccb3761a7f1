//! Which site serves which host.

use std::{collections::HashMap, net::Ipv6Addr};

use thornwall_settings::report::Report;

use crate::config;

/// Hosts to places in the list of sites.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: HashMap<String, usize>,
    /// `shop.example` stands for `*.shop.example`.
    wildcard: HashMap<String, usize>,
    catch_all: Option<usize>,
}

impl Hosts {
    /// Collects the hosts of all sites; notes what is no host and what two sites claim.
    pub(crate) fn build(sites: &[config::Site], report: &mut Report) -> Self {
        let mut hosts = Self::default();
        for (at, site) in sites.iter().enumerate() {
            for host in site.hosts.get_ref() {
                if let Err(what) = hosts.add(host, at) {
                    report.problem(site.hosts.span(), what);
                }
            }
        }
        hosts
    }

    fn add(&mut self, host: &str, at: usize) -> Result<(), String> {
        let taken = if host == "*" {
            self.catch_all.replace(at)
        } else {
            let (map, name) = match host.strip_prefix("*.") {
                Some(name) => (&mut self.wildcard, name),
                None => (&mut self.exact, host),
            };
            let name = normalise_host(name).filter(|_| !host.contains(':') || host.contains('['));
            let Some(name) = name else {
                return Err(format!(
                    "`{host}` is no host; expected a name without port, `*.name` or `*`"
                ));
            };
            map.insert(name, at)
        };
        match taken {
            Some(_) => Err(format!(
                "host `{host}` is there twice; expected one site for it"
            )),
            None => Ok(()),
        }
    }

    /// Whether the configuration names this host itself.
    pub(crate) fn is_definite(&self, host: &str) -> bool {
        self.exact.contains_key(host)
    }

    /// The exact name, else the longest wildcard, else the catch-all.
    pub(crate) fn find(&self, host: &str) -> Option<usize> {
        if let Some(at) = self.exact.get(host) {
            return Some(*at);
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(at) = self.wildcard.get(parent) {
                return Some(*at);
            }
            rest = parent;
        }
        self.catch_all
    }
}

/// Longest host name, RFC 1035 section 2.3.4.
const LONGEST_HOST: usize = 253;

/// A `Host` value or HTTP/2 authority in the one form that sites are looked up by: without its
/// port and trailing dot, in lower case. `None` where it is not a valid one.
///
/// Names of other scripts arrive as A-labels (RFC 5890 section 2.3.2.1) and are taken as they are.
pub fn normalise_host(host: &str) -> Option<String> {
    let name = host_name(host)?;
    match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        // One address has many spellings (RFC 5952 section 2).
        Some(inside) => Some(format!("[{}]", inside.parse::<Ipv6Addr>().ok()?)),
        None => Some(name.to_ascii_lowercase()),
    }
}

/// The host of an authority in that form, and its port where it names one.
pub(crate) fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let host = normalise_host(authority)?;
    let port = authority
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    Some((host, port))
}

/// The name or address in a `Host` value, without its port and trailing dot; `None` where it is
/// not a valid one (RFC 9110 section 7.2, restricted to what names and addresses really contain).
pub(crate) fn host_name(host: &str) -> Option<&str> {
    let name_end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(name_end);
    let port_is_sound = match port.strip_prefix(':') {
        // An empty port is the scheme's own (RFC 3986 section 3.2.3).
        Some("") => true,
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    if !port_is_sound {
        return None;
    }
    if let Some(inside) = name.strip_prefix('[') {
        let address = inside.strip_suffix(']')?.parse::<Ipv6Addr>();
        return address.is_ok().then_some(name);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let sound = !name.is_empty()
        && name.len() <= LONGEST_HOST
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    sound.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{Hosts, normalise_host};

    #[test]
    fn hosts_take_one_form_or_none() {
        let check = |sent: &str, expected: Option<&str>| {
            assert_eq!(normalise_host(sent).as_deref(), expected, "{sent}");
        };
        check("Shop.Example", Some("shop.example"));
        check("shop.example.:8080", Some("shop.example"));
        check("192.0.2.1:80", Some("192.0.2.1"));
        check("[2001:DB8::1]:80", Some("[2001:db8::1]"));
        check("[2001:db8::1]", Some("[2001:db8::1]"));
        check("[2001:db8:0::0:1]", Some("[2001:db8::1]"));
        check("xn--mnchen-3ya.example:", Some("xn--mnchen-3ya.example"));
        check("my_host", Some("my_host"));
        check("", None);
        check(":80", None);
        check("a..b", None);
        check("a/../b?\"<x>", None);
        check("a b", None);
        check("shop.example:80:90", None);
        check("shop.example:http", None);
        check("shop.example:65536", None);
        check("shop.example:+80", None);
        check("shop.example..", None);
        check("[fe80::1%25eth0]", None);
        check("[]", None);
        check("user@shop.example", None);
        check("[::1", None);
        check("[::1]x", None);
        check("é.example", None);
        check(&"a".repeat(254), None);
    }

    #[test]
    fn the_most_definite_site_serves() {
        let mut hosts = Hosts::default();
        for (host, at) in [("a.example", 0), ("*.a.example", 1), ("*.x.a.example", 2)] {
            hosts.add(host, at).unwrap();
        }
        let check = |host: &str, expected: Option<usize>| assert_eq!(hosts.find(host), expected);
        check("a.example", Some(0));
        check("b.a.example", Some(1));
        check("c.b.a.example", Some(1));
        check("y.x.a.example", Some(2));
        check("b.example", None);
        assert!(hosts.clone_with_catch_all(3).find("b.example") == Some(3));
    }

    #[test]
    fn two_sites_cannot_claim_one_host() {
        let mut hosts = Hosts::default();
        hosts.add("a.example", 0).unwrap();
        for bad in ["A.example", "a.example:80", "*x", "", "*.", "http://a"] {
            assert!(hosts.add(bad, 1).is_err(), "{bad}");
        }
    }

    impl Hosts {
        fn clone_with_catch_all(mut self, at: usize) -> Self {
            self.add("*", at).unwrap();
            self
        }
    }
}
