//! Paths that only a document of ours names: a client that asks for one has read such a document.
//!
//! Each site has a folder that looks like a section of the site, and below it every path carries
//! a nonce and a keyed mark. The folder belongs into the site's robots.txt, and none of its paths
//! may reach the origin.
//!
//! A mark proves that this installation wrote the link, not that its bearer is a machine: anyone
//! can copy a link, or embed it in some page so that other people's browsers fetch it.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::deception::{random::Random, text, words};

type HmacSha256 = Hmac<Sha256>;

/// What a path below the folder turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// No link of ours: made up, damaged, or the folder itself as robots.txt names it.
    Forged,
    /// A link that a document of this site carried.
    Signed,
}

/// The marked links of one site.
#[derive(Clone)]
pub struct Links {
    prefix: Box<str>,
    marks: HmacSha256,
    pages: HmacSha256,
}

impl Links {
    /// The links of the site named `site` of the installation that `secret` belongs to.
    pub fn new(secret: &[u8; 32], site: &str) -> Self {
        Self {
            prefix: folder(&derive(secret, "folder", site)),
            marks: keyed(&derive(secret, "marks", site)),
            pages: keyed(&derive(secret, "pages", site)),
        }
    }

    /// The folder of all links, with a slash at both ends: what robots.txt must disallow.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The path of the `n`th link of a page, always the same for the same page.
    pub fn link(&self, page_seed: u64, n: u32) -> String {
        let mut random = Random::of_part(page_seed, u64::from(n));
        let mut element = [0; ELEMENT_BYTES];
        let (nonce, mark) = element.split_at_mut(NONCE_BYTES);
        nonce.copy_from_slice(&random.draw().to_be_bytes()[..NONCE_BYTES]);
        let whole = self.marks.clone().chain_update(&*nonce).finalize();
        mark.copy_from_slice(&whole.into_bytes()[..MARK_BYTES]);
        let slug = text::slug(&mut random);
        let end = if random.one_in(6) { "/" } else { ".html" };
        format!("{}{}/{slug}{end}", self.prefix, encode(&element))
    }

    /// Whether a path in the form of `plain_path` is one of ours; `None` where it does
    /// not lie below the folder, which costs one comparison of a few bytes.
    ///
    /// Only the marked element counts: what follows it may be cut off or changed.
    pub fn read(&self, path: &str) -> Option<Marked> {
        let rest = path.strip_prefix(&*self.prefix)?;
        let element = rest.split('/').next().unwrap_or(rest);
        Some(if self.verify(element) {
            Marked::Signed
        } else {
            Marked::Forged
        })
    }

    /// What the text of a path is drawn from. It is not to be guessed from the path, so that the
    /// same path reads differently elsewhere.
    pub(crate) fn page_seed(&self, path: &str) -> u64 {
        let hash = self.pages.clone().chain_update(path).finalize();
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.into_bytes());
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn verify(&self, element: &str) -> bool {
        let Some(bytes) = decode(element) else {
            return false;
        };
        let (nonce, mark) = bytes.split_at(NONCE_BYTES);
        // Compares in constant time.
        let marks = self.marks.clone().chain_update(nonce);
        marks.verify_truncated_left(mark).is_ok()
    }
}

impl fmt::Debug for Links {
    /// Leaves the keys out.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Links");
        shown.field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Keeps the links of a page apart; two pages that share one do no harm.
const NONCE_BYTES: usize = 5;
/// 80 bits, the least that RFC 2104 section 5 recommends. Its other bound, half the hash, is about
/// collisions, which win a forger nothing here: he can only guess online, to be caught by it.
const MARK_BYTES: usize = 10;
const ELEMENT_BYTES: usize = NONCE_BYTES + MARK_BYTES;
const ELEMENT_CHARS: usize = ELEMENT_BYTES * 8 / 5;

/// A key of its own for each purpose and site: label, zero byte and context under a keyed hash, as
/// NIST SP 800-108 composes them. No label contains a zero byte.
fn derive(secret: &[u8; 32], purpose: &str, site: &str) -> [u8; 32] {
    let label = keyed(secret)
        .chain_update("deception 1 ")
        .chain_update(purpose);
    let derived = label.chain_update([0]).chain_update(site).finalize();
    derived.into_bytes().into()
}

fn keyed(key: &[u8; 32]) -> HmacSha256 {
    // RFC 2104 section 3: a key of any length will do.
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// A folder that looks like a section of a site: a plain word and what a content system appends.
fn folder(key: &[u8; 32]) -> Box<str> {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    let mut random = Random::new(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    let word = random.pick(words::SECTIONS);
    let suffix: String = (0..4).map(|_| char::from(random.pick(ALPHABET))).collect();
    format!("/{word}-{suffix}/").into()
}

/// Crockford's base 32 in lower case: no letter that is taken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn encode(element: &[u8; ELEMENT_BYTES]) -> String {
    let mut text = String::with_capacity(ELEMENT_CHARS);
    for five in element.chunks(5) {
        let bits = five
            .iter()
            .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let digit = (bits >> (place * 5)) & 31;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}

fn decode(text: &str) -> Option<[u8; ELEMENT_BYTES]> {
    if text.len() != ELEMENT_CHARS {
        return None;
    }
    let mut element = [0; ELEMENT_BYTES];
    for (eight, five) in text.as_bytes().chunks(8).zip(element.chunks_mut(5)) {
        let mut bits = 0_u64;
        for byte in eight {
            let digit = ALPHABET.iter().position(|letter| letter == byte)?;
            bits = bits << 5 | digit as u64;
        }
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(element)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use thornwall_detectors::request::plain_path;

    use super::*;

    fn shop() -> Links {
        Links::new(&[7; 32], "shop")
    }

    #[test]
    fn own_links_are_signed_however_they_go_on() {
        let links = shop();
        for n in 0..500 {
            let link = links.link(99, n);
            assert_eq!(links.read(&link), Some(Marked::Signed), "{link}");
            assert_eq!(plain_path(&link), link, "stands in normal form");
            let element = &link[..links.prefix().len() + ELEMENT_CHARS];
            assert_eq!(links.read(element), Some(Marked::Signed));
            assert_eq!(
                links.read(&format!("{element}/x/../y.png")),
                Some(Marked::Signed)
            );
        }
    }

    #[test]
    fn other_paths_are_told_apart() {
        let links = shop();
        let link = links.link(1, 1);
        let check = |path: &str, marked: Option<Marked>| {
            assert_eq!(links.read(path), marked, "{path}");
        };
        let within = |rest: &str| format!("{}{rest}", links.prefix());
        check("/", None);
        check("", None);
        check("/index.html", None);
        check(links.prefix().trim_end_matches('/'), None);
        check(&format!("/x{link}"), None);
        check(&link.to_uppercase(), None);
        check(links.prefix(), Some(Marked::Forged));
        check(&within("/"), Some(Marked::Forged));
        check(&within("index.html"), Some(Marked::Forged));
        check(
            &within("000000000000000000000000/a.html"),
            Some(Marked::Forged),
        );
        check(&within("éééééééééééé"), Some(Marked::Forged));
        check(&within(&"%2f".repeat(8)), Some(Marked::Forged));
        check(&within(&"a".repeat(100_000)), Some(Marked::Forged));
    }

    #[test]
    fn a_change_of_any_character_breaks_the_mark() {
        let links = shop();
        let link = links.link(1, 1);
        let start = links.prefix().len();
        for at in start..start + ELEMENT_CHARS {
            let mut bytes = link.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(links.read(&changed), Some(Marked::Forged), "{changed}");
        }
    }

    #[test]
    fn marks_of_another_site_or_secret_do_not_count() {
        let links = shop();
        for other in [Links::new(&[7; 32], "blog"), Links::new(&[8; 32], "shop")] {
            assert_ne!(other.prefix(), links.prefix());
            let foreign = other.link(1, 1);
            assert_eq!(links.read(&foreign), None);
            let moved = foreign.replacen(other.prefix(), links.prefix(), 1);
            assert_eq!(links.read(&moved), Some(Marked::Forged));
        }
    }

    #[test]
    fn folders_look_like_sections_and_differ() {
        let mut seen = HashSet::new();
        for number in 0..200_u8 {
            let links = Links::new(&[number; 32], "shop");
            let inner = links.prefix().trim_matches('/').to_owned();
            let (word, suffix) = inner.split_once('-').unwrap();
            assert!(words::SECTIONS.contains(&word), "{inner}");
            assert_eq!(suffix.len(), 4);
            assert_eq!(links.prefix(), format!("/{inner}/"));
            seen.insert(inner);
        }
        assert!(seen.len() > 195, "{}", seen.len());
    }

    #[test]
    fn links_repeat_for_a_page_and_differ_between_pages() {
        let links = shop();
        assert_eq!(links.link(5, 2), shop().link(5, 2));
        let all: HashSet<String> = (0..100)
            .flat_map(|page| {
                let links = &links;
                (0..20).map(move |n| links.link(page, n))
            })
            .collect();
        assert_eq!(all.len(), 2000);
        let folders = all.iter().filter(|link| link.ends_with('/')).count();
        assert!((200..500).contains(&folders), "{folders}");
    }

    #[test]
    fn elements_survive_the_way_through_text() {
        let mut random = Random::new(3);
        for _ in 0..200 {
            let element: [u8; ELEMENT_BYTES] = std::array::from_fn(|_| random.draw() as u8);
            assert_eq!(decode(&encode(&element)), Some(element));
        }
        assert_eq!(
            decode("0123456789abcdefghijklmn"),
            None,
            "i and l are no digits"
        );
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = format!("{:?}", shop());
        assert!(
            shown.starts_with("Links { prefix: \"/") && shown.ends_with("\", .. }"),
            "{shown}"
        );
    }
}
