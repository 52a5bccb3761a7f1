//! What settings, extensions and proxies make of the header fields that a person's browser sends.
//!
//! A recording of stock browsers knows none of this, and a model that learns from it alone takes each
//! missing field for guilt. So the trainer learns each alteration, alone and two together, as
//! people's, and the tests walk the same ones through the rules and through the shipped pipeline:
//! this is the one list of what a person must never be harmed for.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{
        ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONNECTION, DNT, REFERER, TE, UPGRADE,
        USER_AGENT, VIA,
    },
};

use crate::{
    headers::{fetch_metadata, fields::Fields, is_bare_page},
    request::RequestView,
};

/// The part of a request that an alteration may change.
#[derive(Debug, Clone)]
pub struct Message {
    /// What is asked for: only some methods are sent ahead of a person's click.
    pub method: Method,
    /// The protocol that arrives.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
}

/// One thing that happens to a browser's header fields before they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alteration {
    /// Client hints are taken away, by a setting or a proxy.
    HintsTaken,
    /// `Accept-Encoding` is taken away, by a proxy that looks into answers.
    EncodingTaken,
    /// `Accept-Language` is taken away, by an extension.
    LanguageTaken,
    /// Fetch metadata is taken away, by a proxy that ends TLS (schools, companies, antivirus).
    MetadataTaken,
    /// Of fetch metadata only the relation of the sites is taken away, by an extension for privacy.
    SiteTaken,
    /// The user agent is cut down to this by a proxy or an extension.
    NameCut,
    /// An extension or an application names something else, and leaves all other fields as they are.
    NameSwitched(&'static str),
    /// The user agent is taken away, by a proxy.
    NameTaken,
    /// The page is fetched before the person clicks.
    Prefetched,
    /// A proxy of a company or a school: HTTP/1.1, and the fields that it adds.
    Proxied,
    /// `Referer` is taken away, by a setting.
    RefererTaken,
    /// Less data is wished for.
    ThriftWished,
    /// Privacy is wished for.
    PrivacyWished,
}

use Alteration::{
    EncodingTaken, HintsTaken, LanguageTaken, MetadataTaken, NameCut, NameSwitched, NameTaken,
    Prefetched, PrivacyWished, Proxied, RefererTaken, SiteTaken, ThriftWished,
};

/// Every alteration, with the names that switchers of user agents offer, old ones included.
pub const ALL: &[Alteration] = &[
    HintsTaken,
    EncodingTaken,
    LanguageTaken,
    MetadataTaken,
    SiteTaken,
    NameCut,
    NameTaken,
    Prefetched,
    Proxied,
    RefererTaken,
    ThriftWished,
    PrivacyWished,
    NameSwitched(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    ),
    NameSwitched(
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    ),
    NameSwitched(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
    ),
    NameSwitched(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    ),
    NameSwitched("Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko"),
    NameSwitched(
        "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/60.0.3112.113 Safari/537.36",
    ),
    NameSwitched("ExampleReader/5.1.0 (Android 13; de_DE)"),
];

impl Alteration {
    /// Its name in tables; all switched names go by one.
    pub const fn name(self) -> &'static str {
        match self {
            EncodingTaken => "no Accept-Encoding",
            HintsTaken => "no client hints",
            LanguageTaken => "no Accept-Language",
            MetadataTaken => "no Sec-Fetch-*",
            NameCut => "user agent cut to Mozilla/5.0",
            NameSwitched(_) => "user agent switched",
            NameTaken => "no User-Agent",
            Prefetched => "prefetch",
            PrivacyWished => "DNT and Sec-GPC",
            Proxied => "HTTP/1.1 through a proxy",
            RefererTaken => "no Referer",
            SiteTaken => "no Sec-Fetch-Site",
            ThriftWished => "Save-Data",
        }
    }

    /// Changes a request as this would; returns whether there was anything to change.
    pub fn apply(self, message: &mut Message) -> bool {
        let headers = &mut message.headers;
        match self {
            EncodingTaken => take(headers, |name| name == ACCEPT_ENCODING),
            HintsTaken => take(headers, |name| name.as_str().starts_with("sec-ch-")),
            LanguageTaken => take(headers, |name| name == ACCEPT_LANGUAGE),
            MetadataTaken => take(headers, |name| name.as_str().starts_with("sec-fetch-")),
            NameCut => set(headers, USER_AGENT, "Mozilla/5.0"),
            NameSwitched(agent) => set(headers, USER_AGENT, agent),
            NameTaken => take(headers, |name| name == USER_AGENT),
            Prefetched if message.method == Method::GET => {
                set(headers, HeaderName::from_static("purpose"), "prefetch");
                set(headers, HeaderName::from_static("sec-purpose"), "prefetch")
            }
            Prefetched => false,
            PrivacyWished => {
                set(headers, DNT, "1");
                set(headers, HeaderName::from_static("sec-gpc"), "1")
            }
            Proxied => proxied(message),
            RefererTaken => take(headers, |name| name == REFERER),
            SiteTaken => take(headers, |name| name == "sec-fetch-site"),
            ThriftWished => set(headers, HeaderName::from_static("save-data"), "on"),
        }
    }

    /// Whether it takes nothing away and renames nothing: to a judge for whom a field more is never
    /// worse, there is nothing to learn in it.
    pub const fn only_adds(self) -> bool {
        matches!(self, Prefetched | PrivacyWished | Proxied | ThriftWished)
    }

    const fn is_of_name(self) -> bool {
        matches!(self, NameCut | NameSwitched(_) | NameTaken)
    }
}

/// Nothing, each alteration alone, and every two that can happen together.
///
/// Names are switched in graphical browsers. A text browser that claims to be one of those, and lacks
/// one more field, sends to the letter what an HTTP library under a borrowed name sends: for those,
/// `graphical` being false, switched names stand alone.
pub fn none_one_and_two(graphical: bool) -> Vec<Vec<Alteration>> {
    let switched = |one: Alteration| matches!(one, NameSwitched(_));
    let together = |first: Alteration, second: Alteration| {
        !(first.is_of_name() && second.is_of_name())
            && (graphical || !(switched(first) || switched(second)))
    };
    let mut all = vec![Vec::new()];
    all.extend(ALL.iter().map(|one| vec![*one]));
    for (at, first) in ALL.iter().enumerate() {
        let seconds = ALL[at + 1..].iter();
        let seconds = seconds.filter(|second| together(*first, **second));
        all.extend(seconds.map(|second| vec![*first, *second]));
    }
    all
}

/// The request with all of these alterations; `None` where one of them changes nothing, so that the
/// same comes of fewer.
pub fn altered(message: &Message, alterations: &[Alteration]) -> Option<Message> {
    let mut message = message.clone();
    let changed = alterations.iter().all(|one| one.apply(&mut message));
    changed.then_some(message)
}

/// Whether nothing is left in an altered request that distinguishes it from a program's, so that a
/// gateway that serves it serves every such program: no judge can know better by one request. These are the
/// exceptions from the promise that alterations do not harm, and the only ones:
/// - what [`is_library_to_the_letter`] finds;
/// - a client without a name that has no fetch metadata either and lacks its languages or encodings, or
///   asks for a page as `*/*`.
pub fn is_program_to_the_letter(view: &RequestView<'_>) -> bool {
    let fields = Fields::of(view.headers);
    if fields.user_agent.is_some() {
        return is_library_to_the_letter(view);
    }
    let told =
        fetch_metadata::is_present(&fields) && fetch_metadata::contradiction(&fields).is_none();
    let lacking = fields.accept_language.is_none() || fields.accept_encoding.is_none();
    let anything = fields.accept == Some(b"*/*") && is_bare_page(view, &fields);
    !told && (lacking || anything)
}

/// Whether a page's script asks for a page as `*/*` and names no language, without fetch metadata,
/// referrer or origin: field by field an HTTP library under a borrowed name. It takes plain HTTP or a
/// proxy that takes fetch metadata away, and two settings more.
pub fn is_library_to_the_letter(view: &RequestView<'_>) -> bool {
    let fields = Fields::of(view.headers);
    let anything = fields.accept == Some(b"*/*") && fields.accept_language.is_none();
    anything && is_bare_page(view, &fields)
}

fn take(headers: &mut HeaderMap, is_taken: impl Fn(&HeaderName) -> bool) -> bool {
    let names = headers.keys().filter(|name| is_taken(name));
    let names: Vec<HeaderName> = names.cloned().collect();
    for name in &names {
        headers.remove(name);
    }
    !names.is_empty()
}

/// Sets a field; returns whether it was another one before.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) -> bool {
    let before = headers.insert(name, HeaderValue::from_static(value));
    before.is_none_or(|before| before != value)
}

/// What Squid and its kin make of a request whose TLS they have ended.
fn proxied(message: &mut Message) -> bool {
    message.version = Version::HTTP_11;
    let headers = &mut message.headers;
    take(headers, |name| name == TE || name == "priority");
    if !headers.contains_key(UPGRADE) {
        set(headers, CONNECTION, "keep-alive");
    }
    if !headers.contains_key(CACHE_CONTROL) {
        set(headers, CACHE_CONTROL, "max-age=259200");
    }
    set(
        headers,
        HeaderName::from_static("x-forwarded-for"),
        "10.1.2.3",
    );
    set(headers, VIA, "1.1 proxy.example (squid/5.7)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
            ("accept-language", "de"),
            ("accept-encoding", "gzip"),
            ("referer", "https://site.example/"),
            ("sec-ch-ua", "x"),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate"),
        ] {
            set(&mut headers, HeaderName::from_static(name), value);
        }
        Message {
            method: Method::GET,
            version: Version::HTTP_2,
            headers,
        }
    }

    #[test]
    fn each_changes_what_it_says() {
        for &alteration in ALL {
            let changed = altered(&message(), &[alteration]);
            let name = alteration.name();
            let changed = changed.unwrap_or_else(|| panic!("{name} changed nothing"));
            assert_ne!(changed.headers, message().headers, "{name}");
            if let Some(field) = name.strip_prefix("no ") {
                let prefix = match field {
                    "client hints" => "sec-ch-".to_owned(),
                    _ => field.trim_end_matches('*').to_lowercase(),
                };
                let mut left = changed.headers.keys();
                assert!(
                    !left.any(|left| left.as_str().starts_with(&prefix)),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn what_changes_nothing_is_told() {
        let nothing = |alterations: &[Alteration]| altered(&message(), alterations).is_none();
        assert!(!nothing(&[]));
        assert!(nothing(&[LanguageTaken, LanguageTaken]));
        assert!(nothing(&[MetadataTaken, SiteTaken]));
        assert!(!nothing(&[SiteTaken, MetadataTaken]));
    }

    #[test]
    fn no_client_has_two_names() {
        let all = none_one_and_two(true);
        assert!(all[0].is_empty());
        assert!(all.contains(&vec![LanguageTaken, MetadataTaken]));
        assert!(!all.contains(&vec![NameCut, NameTaken]));
        let names = ALL.iter().filter(|one| one.is_of_name()).count();
        let others = ALL.len() - names;
        let twos = others * (others - 1) / 2 + others * names;
        assert_eq!(all.len(), 1 + ALL.len() + twos);
        let switched = |one: &Alteration| matches!(one, NameSwitched(_));
        let of_text = none_one_and_two(false);
        assert!(
            of_text
                .iter()
                .all(|few| few.len() < 2 || !few.iter().any(switched))
        );
    }
}
