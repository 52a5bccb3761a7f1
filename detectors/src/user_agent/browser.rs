//! Which browser a user agent is put together to name.

use super::{automaton::Tokens, catalogue::Token};

/// A graphical browser, as it names itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Browser {
    /// The product.
    pub family: Family,
    /// Its major version; 0 where it names none.
    pub version: u16,
    /// What it renders with, which decides what it sends.
    pub engine: Engine,
    /// The engine's major version: Chrome's for Blink, Firefox's for Gecko, that of Safari or of
    /// iOS for WebKit; 0 where unknown.
    pub engine_version: u16,
    /// The system it runs on.
    pub platform: Platform,
    /// Whether it calls itself mobile: a telephone's edition, or an iPad's.
    pub mobile: bool,
}

/// A browser's product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Google Chrome, Chromium, and those that call themselves nothing else.
    Chrome,
    /// Microsoft Edge.
    Edge,
    /// Mozilla Firefox.
    Firefox,
    /// Microsoft Internet Explorer.
    InternetExplorer,
    /// Opera.
    Opera,
    /// None of these.
    Other,
    /// Apple Safari.
    Safari,
    /// Samsung Internet.
    Samsung,
}

/// A rendering engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Chrome and its kin.
    Blink,
    /// Firefox and its kin.
    Gecko,
    /// Engines out of use: Trident, EdgeHTML, Presto, those of early telephones.
    Retired,
    /// Safari, its kin, and every browser on iOS.
    WebKit,
}

/// An operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Android.
    Android,
    /// ChromeOS.
    ChromeOs,
    /// iOS and iPadOS, but for iPads that pass for a Mac.
    Ios,
    /// Linux and the BSDs.
    Linux,
    /// macOS.
    MacOs,
    /// None of these.
    Other,
    /// Windows.
    Windows,
}

/// The browser that the tokens add up to, if they do.
pub(super) fn assemble(text: &[u8], tokens: &Tokens) -> Option<Browser> {
    let starts = |prefix: &[u8]| {
        text.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let (engine, engine_version) = engine(text, tokens)?;
    let platform = platform(tokens);
    if !starts(b"mozilla/") && !starts(b"opera/") && platform == Platform::Other {
        return None;
    }
    let (family, version) = family(text, tokens, engine, engine_version, platform);
    let mobile = tokens.has(Token::Mobile) || tokens.has(Token::OldMobile);
    Some(Browser {
        family,
        version,
        engine,
        engine_version,
        platform,
        mobile,
    })
}

fn engine(text: &[u8], tokens: &Tokens) -> Option<(Engine, u16)> {
    let version = |token| tokens.version(text, token);
    let retired = [
        Token::InternetExplorer,
        Token::Trident,
        Token::EdgeLegacy,
        Token::Presto,
        Token::OldMobile,
    ];
    if retired.into_iter().any(|token| tokens.has(token)) {
        return Some((Engine::Retired, 0));
    }
    if tokens.has(Token::Ios) && (tokens.has(Token::WebKit) || tokens.has(Token::Safari)) {
        return Some((Engine::WebKit, version(Token::IosVersion)));
    }
    if tokens.has(Token::Chrome) {
        return Some((Engine::Blink, version(Token::Chrome)));
    }
    if tokens.has(Token::Firefox) || tokens.has(Token::Gecko) {
        return Some((Engine::Gecko, version(Token::Firefox)));
    }
    let webkit = tokens.has(Token::WebKit) || tokens.has(Token::Safari);
    webkit.then(|| (Engine::WebKit, version(Token::Version)))
}

fn family(
    text: &[u8],
    tokens: &Tokens,
    engine: Engine,
    engine_version: u16,
    platform: Platform,
) -> (Family, u16) {
    const NAMED: &[(Token, Family)] = &[
        (Token::Fork, Family::Other),
        (Token::Edge, Family::Edge),
        (Token::EdgeIos, Family::Edge),
        (Token::EdgeLegacy, Family::Edge),
        (Token::Opera, Family::Opera),
        (Token::Presto, Family::Opera),
        (Token::Samsung, Family::Samsung),
        (Token::ChromeIos, Family::Chrome),
        (Token::FirefoxIos, Family::Firefox),
        (Token::InternetExplorer, Family::InternetExplorer),
        (Token::Trident, Family::InternetExplorer),
        (Token::Firefox, Family::Firefox),
        (Token::Chrome, Family::Chrome),
    ];
    let apple = matches!(platform, Platform::MacOs | Platform::Ios);
    NAMED
        .iter()
        .find(|(token, _)| tokens.has(*token))
        .map_or_else(
            || match engine {
                Engine::WebKit if apple && tokens.has(Token::Safari) => {
                    (Family::Safari, tokens.version(text, Token::Version))
                }
                _ => (Family::Other, engine_version),
            },
            |&(token, family)| {
                // Trident's number runs four behind the browser's.
                let ahead = if token == Token::Trident { 4 } else { 0 };
                (family, tokens.version(text, token) + ahead)
            },
        )
}

fn platform(tokens: &Tokens) -> Platform {
    // Windows Phone and Android name their ancestors too, so the particular goes first.
    const ORDER: &[(Token, Platform)] = &[
        (Token::Windows, Platform::Windows),
        (Token::Android, Platform::Android),
        (Token::Ios, Platform::Ios),
        (Token::ChromeOs, Platform::ChromeOs),
        (Token::MacOs, Platform::MacOs),
        (Token::Linux, Platform::Linux),
    ];
    let seen = ORDER.iter().find(|(token, _)| tokens.has(*token));
    seen.map_or(Platform::Other, |(_, platform)| *platform)
}
