//! What each finding counts: the probability, on its own, that its sender is unwelcome.
//!
//! Findings add up by noisy-or, and a pipeline's ladder usually starts at 0.50. Three rules hold
//! the numbers together, and the tests of `heuristics` check them:
//! - what a client says of itself counts most, since no client says so by accident;
//! - whatever a person's privacy settings, extensions, filtering proxy or old machine may do to a
//!   browser's headers stays below 0.50, two such things together included;
//! - what a script under a browser's name usually lacks (its languages and its media types)
//!   reaches 0.50 together.

/// Says that it gathers text for AI: the reason why most sites install a gateway.
pub const AI_CRAWLER: f32 = 0.82;
/// Says that a program steers it.
pub const AUTOMATION: f32 = 0.85;
/// Says that it is some bot, and not who runs it.
pub const DECLARED_BOT: f32 = 0.55;
/// Says that it is some bot, and where its owner can be reached.
pub const REACHABLE_BOT: f32 = 0.20;
/// A library under its default name.
pub const HTTP_LIBRARY: f32 = 0.82;
/// Says that it looks for holes.
pub const SCANNER: f32 = 0.995;
/// Claims to be a search engine or archive. Proving it takes more than a header.
pub const UNVERIFIED_CRAWLER: f32 = 0.15;
/// Claims to be any other program that the catalogue knows and that most sites welcome.
pub const KNOWN_PROGRAM: f32 = 0.05;
/// A name that the catalogue does not know: applications, devices, nonsense.
pub const UNRECOGNISED: f32 = 0.20;

/// Sends no name. Some privacy proxies take it away, and a person behind one does not know why they
/// should be slowed down: with all else that browsers send it stays below 0.50.
pub const NAMELESS: f32 = 0.40;
/// Sends no name, but the fetch metadata of a browser.
pub const NAMELESS_BROWSER: f32 = 0.22;
/// Sends no name and asks for anything at all.
pub const NAMELESS_ACCEPT: f32 = 0.43;
/// Sends no name and names no language.
pub const NAMELESS_LANGUAGE: f32 = 0.43;
/// Sends no name and takes no encoding.
pub const NAMELESS_ENCODING: f32 = 0.20;

/// A browser version out of use for years; people with old machines exist.
pub const OUTDATED: f32 = 0.08;
/// A browser without `Accept`.
pub const ACCEPT_MISSING: f32 = 0.34;
/// A browser that asks for a page as a script would, without a script's traces.
pub const ACCEPT_WILDCARD: f32 = 0.34;
/// [`ACCEPT_WILDCARD`] where fetch metadata, one of those traces, was counted already as lacking or odd.
pub const ACCEPT_WILDCARD_AGAIN: f32 = 0.18;
/// A browser without `Accept-Language`; some extensions remove it.
pub const LANGUAGE_MISSING: f32 = 0.26;
/// A browser without `Accept-Encoding`; filtering proxies remove it.
pub const ENCODING_MISSING: f32 = 0.12;
/// Client hints that contradict the user agent; extensions that change the one forget the other.
pub const HINT_MISMATCH: f32 = 0.25;
/// Fetch metadata that no browser sends.
pub const FETCH_METADATA_ODD: f32 = 0.25;
/// No fetch metadata from a browser that sends it; some proxies remove it.
pub const FETCH_METADATA_MISSING: f32 = 0.28;
/// A page deep in the site without a referrer; people paste links.
pub const REFERER_MISSING: f32 = 0.02;

/// A placeholder that was never filled in, or control characters.
pub const BROKEN_NAME: f32 = 0.40;
/// `Mozilla/5.0` and nothing more; some proxies and extensions cut it down to that.
pub const BARE_NAME: f32 = 0.40;
/// Parentheses that do not match; old telephones cut their names off.
pub const UNBALANCED_NAME: f32 = 0.15;

/// A method of WebDAV, which file managers and calendars use where a site offers it.
pub const METHOD_WEBDAV: f32 = 0.15;
/// A method that no client of a site has a use for.
pub const METHOD_UNUSUAL: f32 = 0.40;

/// A path that is never linked: credentials, repositories, known holes.
pub const PROBE: f32 = 0.45;
/// The door of a common product, asked for by something that is not a browser.
pub const DOOR_KNOCK: f32 = 0.20;
/// [`DOOR_KNOCK`] by a browser: this may be the editor of the site.
pub const DOOR_KNOCK_BROWSER: f32 = 0.02;
/// A path that climbs out of the site, which browsers resolve before they ask.
pub const TRAVERSAL: f32 = 0.45;
/// A parameter that climbs: file managers have such parameters.
pub const TRAVERSAL_QUERY: f32 = 0.30;

/// A robot where robots.txt keeps it out.
pub const ROBOTS_DISALLOWED: f32 = 0.60;
