//! What the fuzz targets do with their bytes, as ordinary functions: `cargo fuzz` calls them without end,
//! and a test replays the committed seeds and mutations of them.
//!
//! A body panics where a promise is broken, and must not where none is. It knows no fuzzer, and no other
//! body.

mod address_list;
mod authority;
mod client_address;
mod client_hello;
mod configuration;
mod decision_record;
mod escalated_case;
mod feed;
mod gateways_report;
mod h2_frames;
mod head;
mod model_answer;
mod path;
mod proxy_protocol;
mod redis_answer;
mod request_shape;
mod robots;
mod shared_store;

/// One target: takes any bytes, and panics where what it stands for is broken.
pub type Body = fn(&[u8]);

/// Every target by its name, in the order of the alphabet.
pub const BODIES: &[(&str, Body)] = &[
    ("address_list", address_list::run),
    ("authority", authority::run),
    ("client_address", client_address::run),
    ("client_hello", client_hello::run),
    ("configuration", configuration::run),
    ("decision_record", decision_record::run),
    ("escalated_case", escalated_case::run),
    ("feed", feed::run),
    ("gateways_report", gateways_report::run),
    ("h2_frames", h2_frames::run),
    ("head", head::run),
    ("model_answer", model_answer::run),
    ("path", path::run),
    ("proxy_protocol", proxy_protocol::run),
    ("redis_answer", redis_answer::run),
    ("request_shape", request_shape::run),
    ("robots", robots::run),
    ("shared_store", shared_store::run),
];

/// The body of this name. A fuzz target that names none is a mistake in its own text.
pub fn body(name: &str) -> Body {
    let found = BODIES.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("there is no body `{name}`"))
        .1
}

/// The bytes as text, as far as they are UTF-8.
fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}
