//! What a client claims to be by its `User-Agent` (RFC 9110 section 10.1.5). A claim, not a fact:
//! it counts against a client that declares a bad kind and proves nothing for one that declares a good
//! one.

mod automaton;
mod browser;
// One name a line would make it unreadable.
#[rustfmt::skip]
mod catalogue;
mod contact;
mod judge;
mod purpose;

pub use browser::{Browser, Engine, Family, Platform};
pub use judge::judge;
pub use purpose::Purpose;

/// Bytes of a user agent that are looked at: the longest that real browsers send (Internet
/// Explorer with its plug-ins, in-app browsers) stay below 600.
pub const LONGEST: usize = 1024;

/// What the client says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Gathers text for AI, or fetches on behalf of an assistant's user.
    AiCrawler,
    /// A browser that a program steers, and says so.
    Automation,
    /// A graphical browser; only these are held to what browsers send.
    Browser(Browser),
    /// Some other bot.
    DeclaredBot,
    /// A library or command-line client under its default name.
    HttpLibrary,
    /// Nothing: no user agent, or an empty one.
    Missing,
    /// A program that the catalogue knows, and whose purpose most sites welcome.
    Program(Purpose),
    /// A vulnerability scanner.
    Scanner,
    /// A browser for text, or one that keeps to an older web.
    TextBrowser,
    /// None of these: an application's own name, a device, nonsense.
    Unknown,
}

impl Claim {
    /// Whether such a client walks a site by itself, so that its robots.txt binds it.
    pub const fn is_robot(self) -> bool {
        match self {
            Self::AiCrawler | Self::DeclaredBot => true,
            Self::Program(purpose) => purpose.walks(),
            _ => false,
        }
    }

    /// The browser that the client claims to be.
    pub const fn browser(self) -> Option<Browser> {
        match self {
            Self::Browser(browser) => Some(browser),
            _ => None,
        }
    }
}

/// A parsed user agent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UserAgent<'a> {
    /// What the client says it is.
    pub claim: Claim,
    /// The product name that decided, as sent: what robots.txt groups are matched against. Empty
    /// where none did.
    pub name: &'a str,
    /// Entry of the catalogue that decided; empty where none did.
    pub entry: &'static str,
    /// What the program that the entry names is for, where that is known.
    pub purpose: Option<Purpose>,
    /// How the text is put together.
    pub shape: Shape,
}

/// How a user agent's text is put together, whatever it says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shape {
    /// Length in bytes, as sent.
    pub length: usize,
    /// Slashes that divide a product from its version.
    pub products: u16,
    /// Groups in parentheses.
    pub comments: u16,
    /// Whether an address is given by which the program's owner can be reached. A merit: it
    /// changes nothing of what the client claims to be, and a client that gives one is held to less.
    pub contact: bool,
    /// What no client of any kind sends on purpose.
    pub flaw: Option<Flaw>,
}

/// What is wrong with a user agent's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// `Mozilla/5.0` and no browser's name.
    Bare,
    /// Control characters.
    Control,
    /// The header's own name, a quotation or a placeholder that was never filled in.
    Template,
    /// Parentheses that do not match.
    Unbalanced,
}

impl Flaw {
    /// The remark that goes with a signal.
    pub const fn remark(self) -> &'static str {
        match self {
            Self::Bare => "a bare product without a browser",
            Self::Control => "control characters",
            Self::Template => "a template that was never filled in",
            Self::Unbalanced => "parentheses that do not match",
        }
    }
}

impl<'a> UserAgent<'a> {
    /// Parses a user agent's text.
    pub fn parse(text: &'a str) -> Self {
        Self::parse_bytes(text.as_bytes())
    }

    /// Parses a user agent as it came, which need not be UTF-8.
    pub fn parse_bytes(sent: &'a [u8]) -> Self {
        let text = sent.trim_ascii();
        let text = &text[..text.len().min(LONGEST)];
        if text.is_empty() {
            return Self {
                claim: Claim::Missing,
                name: "",
                entry: "",
                purpose: None,
                shape: Shape::default(),
            };
        }
        let found = automaton::scan(text);
        let mut shape = Shape::of(text);
        shape.length = sent.len();
        let browser = browser::assemble(text, &found.tokens);
        let named = match browser {
            Some(_) => found.name_in_browser,
            None => found.name,
        };
        if let Some(named) = named {
            return Self {
                claim: named.claim,
                name: automaton::product(text, named.start..named.end),
                entry: named.entry,
                purpose: named.purpose,
                shape,
            };
        }
        let claim = browser.map_or(Claim::Unknown, Claim::Browser);
        if claim == Claim::Unknown && !shape.contact && text.starts_with(b"Mozilla/") {
            shape.flaw = shape.flaw.or(Some(Flaw::Bare));
        }
        Self {
            claim,
            name: "",
            entry: "",
            purpose: None,
            shape,
        }
    }
}

impl Shape {
    fn of(text: &[u8]) -> Self {
        let mut shape = Self::default();
        let (mut depth, mut before) = (0_i32, b' ');
        let mut broken = false;
        for (at, &byte) in text.iter().enumerate() {
            match byte {
                // Nearly every octet, and of no interest but in `%s`.
                _ if byte.is_ascii_alphanumeric() && before != b'%' => {}
                b':' | b'@' | b'.' | b'+' if !shape.contact => {
                    shape.contact = contact::shows(text, at);
                }
                b'/' if before.is_ascii_alphanumeric() => {
                    shape.products = shape.products.saturating_add(1);
                }
                b'(' => {
                    depth += 1;
                    shape.comments = shape.comments.saturating_add(1);
                }
                b')' => {
                    depth -= 1;
                    broken |= depth < 0;
                }
                0..=31 | 127 => shape.flaw = Some(Flaw::Control),
                b'{' if matches!(before, b'{' | b'$') => shape.flaw = Some(Flaw::Template),
                b's' if before == b'%' => shape.flaw = Some(Flaw::Template),
                _ => {}
            }
            before = byte;
        }
        if is_quoted(text) {
            shape.flaw = Some(Flaw::Template);
        } else if broken || depth != 0 {
            shape.flaw = shape.flaw.or(Some(Flaw::Unbalanced));
        }
        shape
    }
}

/// Starts with the header's own name, a quotation mark or a placeholder.
fn is_quoted(text: &[u8]) -> bool {
    const OWN_NAME: &[u8] = b"user-agent:";
    matches!(text.first(), Some(b'"' | b'\'' | b'<'))
        || text
            .get(..OWN_NAME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(OWN_NAME))
}

#[cfg(test)]
mod tests;
