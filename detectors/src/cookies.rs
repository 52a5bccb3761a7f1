//! Cookies of a request (RFC 6265 section 4.2.1).

use http::{HeaderMap, HeaderValue, header::COOKIE};

/// The value of the first cookie of this name, without the quotes that servers take off.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    lines
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .find_map(|pair| value_of(pair.trim_ascii(), name))
        .map(unquoted)
}

/// Half a pair of quotes is part of the value.
fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"");
    inner
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// The value of a `name=value` pair, where it has this name.
pub fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Whether a cookie can have this name: a token, RFC 6265 section 4.1.1.
pub fn is_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header::COOKIE};

    #[test]
    fn the_first_of_a_name_counts() {
        let check = |sent: &[&str], found: Option<&str>| {
            let mut headers = HeaderMap::new();
            for line in sent {
                headers.append(COOKIE, line.parse().unwrap());
            }
            assert_eq!(
                super::find(&headers, "s"),
                found.map(str::as_bytes),
                "{sent:?}"
            );
        };
        check(&[], None);
        check(&["s=1"], Some("1"));
        check(&["a=b; s=1;c=d"], Some("1"));
        check(&["a=b", "s=1; s=2"], Some("1"));
        check(&["s="], Some(""));
        check(&["s=\"1\""], Some("1"));
        check(&["s=\"1"], Some("\"1"));
        check(&["s=\""], Some("\""));
        check(&["ss=1; as=2;  x = s=3; s"], None);
    }
}
