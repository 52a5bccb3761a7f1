//! What a path shows of the client that asks for it.

/// Extensions of programs and files that answer with pages.
const PAGES: [&str; 16] = [
    "action", "asp", "aspx", "cfm", "cgi", "do", "htm", "html", "jsp", "jspx", "php", "php5",
    "phtml", "pl", "shtml", "xhtml",
];

/// Longest end of a name that is an extension.
const LONGEST_EXTENSION: usize = 12;

/// Segments of interfaces, and of places where files are fetched from.
const OF_PROGRAMS: [&str; 20] = [
    ".well-known",
    "api",
    "blobs",
    "download",
    "downloads",
    "graphql",
    "hooks",
    "jsonrpc",
    "manifests",
    "objects",
    "raw",
    "rest",
    "rpc",
    "tarball",
    "webdav",
    "webhook",
    "webhooks",
    "wp-json",
    "xmlrpc",
    "zipball",
];

/// Last segments that git, registries and apt ask for.
const NAMES: [&str; 6] = [
    "HEAD",
    "InRelease",
    "Packages",
    "Release",
    "Sources",
    "refs",
];

/// Whether a path has the name of a page: without an extension, or with one of pages. A client
/// that asks for a file of an unknown kind is better refused than deceived.
pub(super) fn is_page(path: &str) -> bool {
    let extension = extension(path);
    extension.is_empty()
        || PAGES
            .iter()
            .any(|page| page.eq_ignore_ascii_case(extension))
}

/// Whether a path is one that programs ask for.
pub(super) fn is_of_programs(path: &str) -> bool {
    let mut last = "";
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if OF_PROGRAMS
            .iter()
            .any(|word| word.eq_ignore_ascii_case(segment))
        {
            return true;
        }
        last = segment;
    }
    // The root of a registry (OCI distribution specification), and where git finds out who is there.
    NAMES.contains(&last)
        || path.trim_end_matches('/') == "/v2"
        || path.ends_with("/info/refs")
        || extension(path).eq_ignore_ascii_case("json")
}

/// The extension of a path's last segment; empty where it has none.
fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.split(';').next().unwrap_or_default();
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return "";
    };
    let is_one = !stem.is_empty()
        && extension.len() <= LONGEST_EXTENSION
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_one { extension } else { "" }
}
