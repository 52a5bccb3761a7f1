//! The cookie that keeps a client with its server. It names the server by a keyed hash, so that it
//! says nothing of the network behind, and the origin never sees it.

use hmac::{Hmac, Mac};
use http::{
    HeaderMap,
    header::{COOKIE, SET_COOKIE},
};
use pingora::{
    Result,
    http::{RequestHeader, ResponseHeader},
};
use sha2::Sha256;
use thornwall_detectors::cookies;
use thornwall_settings::report::Report;

use crate::config;

/// Bytes of a server's name in the cookie: enough that no two servers share one.
const NAME_BYTES: usize = 12;

/// The cookie of one upstream.
#[derive(Debug)]
pub(crate) struct Sticky {
    name: String,
    /// What follows the value, in plain and over TLS.
    attributes: [String; 2],
}

impl Sticky {
    /// Reads the settings, or notes what is wrong with them.
    pub(crate) fn build(spec: &config::StickyCookie, report: &mut Report) -> Option<Self> {
        let name = spec.name.get_ref();
        if !cookies::is_name(name) {
            let what =
                format!("`{name}` is no name of a cookie; expected letters, digits, `-`, `_`");
            report.problem(spec.name.span(), what);
            return None;
        }
        let mut attributes = "; Path=/; HttpOnly; SameSite=Lax".to_owned();
        if let Some(age) = spec.max_age_secs {
            attributes.push_str(&format!("; Max-Age={age}"));
        }
        Some(Self {
            name: name.clone(),
            attributes: [attributes.clone(), format!("{attributes}; Secure")],
        })
    }

    /// What the cookie says of a server.
    pub(crate) fn value(secret: &[u8; 32], upstream: &str, server: &str) -> Box<str> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length of key will do");
        for part in ["sticky cookie", upstream, server] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        let whole = mac.finalize().into_bytes();
        let digits = whole[..NAME_BYTES].iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>().into()
    }

    /// The server that a request names.
    pub(crate) fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        cookie(headers, &self.name)
    }

    /// Takes the cookie out of what the origin sees.
    pub(crate) fn strip(&self, request: &mut RequestHeader) -> Result<()> {
        if self.read(&request.headers).is_none() {
            return Ok(());
        }
        let is_ours = |pair: &&[u8]| cookies::value_of(pair, &self.name).is_some();
        let lines = request.headers.get_all(COOKIE).iter().map(|line| {
            let pairs = line.as_bytes().split(|byte| *byte == b';');
            let kept = pairs.map(<[u8]>::trim_ascii).filter(|pair| !is_ours(pair));
            kept.collect::<Vec<_>>().join(&b"; "[..])
        });
        let lines: Vec<Vec<u8>> = lines.filter(|line| !line.is_empty()).collect();
        request.remove_header(&COOKIE);
        for line in lines {
            request.append_header(COOKIE, line)?;
        }
        Ok(())
    }

    /// Gives the cookie to a client.
    pub(crate) fn set(
        &self,
        response: &mut ResponseHeader,
        value: &str,
        secure: bool,
    ) -> Result<()> {
        let attributes = &self.attributes[usize::from(secure)];
        let cookie = format!("{}={value}{attributes}", self.name);
        response.append_header(SET_COOKIE, cookie)?;
        Ok(())
    }
}

/// The first cookie of this name, where it is text.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    std::str::from_utf8(cookies::find(headers, name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sticky() -> Sticky {
        let spec: config::StickyCookie = toml::from_str("name = \"s\"").unwrap();
        Sticky::build(&spec, &mut Report::default()).unwrap()
    }

    #[test]
    fn the_cookie_is_read_and_taken_out() {
        let check = |sent: &[&str], found: Option<&str>, forwarded: &[&str]| {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            for line in sent {
                request.append_header(COOKIE, *line).unwrap();
            }
            assert_eq!(sticky().read(&request.headers), found, "{sent:?}");
            sticky().strip(&mut request).unwrap();
            let lines: Vec<_> = request.headers.get_all(COOKIE).iter().collect();
            assert_eq!(lines, forwarded, "{sent:?}");
        };
        check(&[], None, &[]);
        check(&["s=1"], Some("1"), &[]);
        check(&["a=b; s=1;c=d"], Some("1"), &["a=b; c=d"]);
        check(&["a=b", "s=1; s=2"], Some("1"), &["a=b"]);
        check(&["ss=1; as=2;  x = s=3"], None, &["ss=1; as=2;  x = s=3"]);
        check(&["s"], None, &["s"]);
    }

    #[test]
    fn the_cookie_says_nothing_of_the_server() {
        let value = Sticky::value(&[7; 32], "u", "10.0.0.1:80");
        assert_eq!(value.len(), 2 * NAME_BYTES);
        assert_ne!(value, Sticky::value(&[8; 32], "u", "10.0.0.1:80"));
        assert_ne!(value, Sticky::value(&[7; 32], "u", "10.0.0.2:80"));
        let mut response = ResponseHeader::build(200, None).unwrap();
        sticky().set(&mut response, &value, true).unwrap();
        assert_eq!(
            response.headers[SET_COOKIE],
            format!("s={value}; Path=/; HttpOnly; SameSite=Lax; Secure")
        );
    }
}
