//! What refusals and failures say, for every kind of client.

use bytes::Bytes;

/// A status in the words of each form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    pub page: &'static str,
    /// Problem details (RFC 9457 section 3); without a type of its own, the title is that of the
    /// status (section 4.2.1).
    pub problem: &'static str,
    /// A line of text.
    pub line: &'static str,
    /// The line without its end, as a gRPC message: ASCII without `%`, so that nothing is escaped.
    pub message: &'static str,
}

macro_rules! words {
    ($status:literal, $phrase:literal, $text:literal) => {
        Words {
            page: concat!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">",
                "<meta name=\"viewport\" content=\"width=device-width\"><title>",
                $phrase,
                "</title></head>\n<body><h1>",
                $phrase,
                "</h1><p>",
                $text,
                "</p></body>\n</html>\n"
            ),
            problem: concat!(
                "{\"type\":\"about:blank\",\"title\":\"",
                $phrase,
                "\",\"status\":",
                $status,
                ",\"detail\":\"",
                $text,
                "\"}\n"
            ),
            line: concat!($phrase, ". ", $text, "\n"),
            message: concat!($phrase, ". ", $text),
        }
    };
}

/// What Pingora refuses with a status that nothing here is known of: problem details that name none
/// are true of each.
const OTHER: Words = Words {
    problem: "{\"type\":\"about:blank\",\"detail\":\"The request could not be served.\"}\n",
    ..words!(0, "Error", "The request could not be served.")
};

/// The page of a status.
pub(crate) fn body(status: u16) -> Bytes {
    Bytes::from_static(words(status).page.as_bytes())
}

/// The words of a status.
#[rustfmt::skip]
pub(crate) const fn words(status: u16) -> Words {
    match status {
        308 => words!(308, "Permanent Redirect", "This site is reached over HTTPS."),
        400 => words!(400, "Bad Request", "The request could not be understood."),
        403 => words!(403, "Forbidden", "This request is not allowed."),
        405 => words!(405, "Method Not Allowed", "This method is not allowed here."),
        408 => words!(408, "Request Timeout", "The request took too long."),
        413 => words!(413, "Content Too Large", "The request's body is too large."),
        414 => words!(414, "URI Too Long", "The address is too long."),
        417 => words!(417, "Expectation Failed", "The expectation cannot be met."),
        421 => words!(421, "Misdirected Request", "This host is not served here."),
        429 => words!(429, "Too Many Requests", "Please try again in a moment."),
        431 => words!(431, "Request Header Fields Too Large", "The request's header is too large."),
        501 => words!(501, "Not Implemented", "The request uses what is not supported here."),
        502 => words!(502, "Bad Gateway", "The site cannot be reached at the moment."),
        503 => words!(503, "Service Unavailable", "The site is busy. Please try again in a moment."),
        504 => words!(504, "Gateway Timeout", "The site did not answer in time."),
        505 => words!(505, "HTTP Version Not Supported", "This version of HTTP is not supported."),
        500 => words!(500, "Internal Server Error", "The request could not be served."),
        _ => OTHER,
    }
}
