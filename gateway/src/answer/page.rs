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
        408 => page!("Request timeout", "The request took too long."),
        421 => page!("Misdirected request", "This host is not served here."),
        429 => page!("Too many requests", "Please try again in a moment."),
        502 => page!("Bad gateway", "The site cannot be reached at the moment."),
        504 => page!("Gateway timeout", "The site did not answer in time."),
        _ => page!("Error", "The request could not be served."),
    }
}
