//! The short pages that refusals and failures are told with.

use bytes::Bytes;

macro_rules! page {
    ($title:literal, $text:literal) => {
        Bytes::from_static(
            concat!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">",
                "<meta name=\"viewport\" content=\"width=device-width\"><title>",
                $title,
                "</title></head>\n<body><h1>",
                $title,
                "</h1><p>",
                $text,
                "</p></body>\n</html>\n"
            )
            .as_bytes(),
        )
    };
}

/// The page of a status.
pub(super) fn body(status: u16) -> Bytes {
    match status {
        308 => page!("Moved", "This site is reached over HTTPS."),
        400 => page!("Bad request", "The request could not be understood."),
        403 => page!("Forbidden", "This request is not allowed."),
        405 => page!("Method not allowed", "This method is not allowed here."),
        408 => page!("Request timeout", "The request took too long."),
        413 => page!("Content too large", "The request's body is too large."),
        414 => page!("URI too long", "The address is too long."),
        417 => page!("Expectation failed", "The expectation cannot be met."),
        421 => page!("Misdirected request", "This host is not served here."),
        429 => page!("Too many requests", "Please try again in a moment."),
        431 => page!(
            "Request header fields too large",
            "The request's header is too large."
        ),
        501 => page!(
            "Not implemented",
            "The request uses what is not supported here."
        ),
        502 => page!("Bad gateway", "The site cannot be reached at the moment."),
        503 => page!(
            "Service unavailable",
            "The site is busy. Please try again in a moment."
        ),
        504 => page!("Gateway timeout", "The site did not answer in time."),
        505 => page!(
            "HTTP version not supported",
            "This version of HTTP is not supported."
        ),
        _ => page!("Error", "The request could not be served."),
    }
}
