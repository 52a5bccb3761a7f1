//! Any bytes are a ClientHello, the start of one, or none; more bytes change none of the ends.

use thornwall_gateway::edge::client_hello::{Hello, MOST_BYTES, message, read};

pub(crate) fn run(bytes: &[u8]) {
    let whole = read(bytes);
    let first = (0..=bytes.len())
        .map(|end| read(&bytes[..end]))
        .find(|part| *part != Ok(Hello::Partial));
    assert_eq!(first.unwrap_or(Ok(Hello::Partial)), whole);
    assert!(bytes.len() < MOST_BYTES || whole != Ok(Hello::Partial));
    match (whole, message(bytes)) {
        (Ok(Hello::Complete { length }), Some(message)) => {
            assert!(length <= MOST_BYTES && message.len() < length);
            let [kind, high, middle, low, body @ ..] = &message[..] else {
                panic!("shorter than its header");
            };
            assert_eq!(*kind, 1);
            assert_eq!(
                body.len() as u32,
                u32::from_be_bytes([0, *high, *middle, *low])
            );
        }
        (Ok(Hello::Complete { .. }), None) => panic!("a whole hello without its message"),
        (_, message) => assert_eq!(message, None),
    }
}
